"""Diversity: closed form against brute force, styles and regions that are known, and faults."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labelspace.errors import UserError
from labelspace.metrics.diversity import (
    intra_class,
    mean_distance,
    mean_squared_distance,
    share_inside,
    squared_distances,
    style_coverage,
    variance_map,
)

rows = hnp.arrays(np.float64, st.tuples(st.integers(2, 9), st.integers(1, 4)), elements=st.floats(-100, 100))


@given(rows)
def test_distances_are_those_of_all_pairs(x: np.ndarray) -> None:
    pairs = [float(np.linalg.norm(a - b)) for a, b in combinations(x, 2)]
    assert mean_squared_distance(x).value == pytest.approx(np.mean(np.square(pairs)), rel=1e-9, abs=1e-9)
    assert mean_distance(x).value == pytest.approx(np.mean(pairs), rel=1e-5, abs=1e-5)


@given(rows, st.floats(-1e3, 1e3))
def test_diversity_does_not_depend_on_where_samples_are(x: np.ndarray, shift: float) -> None:
    assert mean_squared_distance(x + shift).value == pytest.approx(mean_squared_distance(x).value, rel=1e-6, abs=1e-6)


def test_blocks_of_distances_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(5, 1, size=(11, 3)), rng.normal(5, 1, size=(7, 3))
    expected = ((a[:, None] - b) ** 2).sum(2)
    for block in (1, 20, 2**20):
        monkeypatch.setattr("labelspace.metrics.diversity._BLOCK", block)
        found = np.empty((11, 7))
        for place, part in squared_distances(a, b):
            found[place] = part
        assert found == pytest.approx(expected)


@pytest.mark.parametrize("measure", [mean_squared_distance, mean_distance])
def test_intervals_cover_what_other_samples_give(measure: Callable) -> None:
    rng = np.random.default_rng(0)
    values = [measure(rng.normal(size=(60, 4))) for _ in range(100)]
    truth = np.mean([score.value for score in values])
    assert np.mean([score.low <= truth <= score.high for score in values]) > 0.88
    spread = np.std([score.value for score in values])
    assert np.mean([score.high - score.low for score in values]) / 3.92 == pytest.approx(spread, rel=0.25)


@pytest.mark.parametrize("measure", [mean_squared_distance, mean_distance])
def test_diversity_of_each_class_is_beside_that_of_real_samples(measure: Callable) -> None:
    rng = np.random.default_rng(0)
    real_labels, made_labels = np.repeat([0, 1, 2], 100), np.repeat([0, 1, 3], 50)
    real = rng.normal(size=(300, 6)) + 50 * real_labels[:, None]
    made = rng.normal(size=(150, 6)) + 50 * made_labels[:, None]
    made[made_labels == 0] = made[0]
    found = intra_class(made, made_labels, real, real_labels, measure)
    assert set(found) == {0, 1}, "a class needs samples of both"
    assert found[0].generated.value == pytest.approx(0, abs=1e-6)
    assert found[0].ratio == pytest.approx(0, abs=1e-6)
    assert found[1].ratio == pytest.approx(1, abs=0.2)
    assert found[1].real.n == 100
    images = made.astype(np.float32).reshape(-1, 1, 2, 3)
    assert intra_class(images, made_labels, real, real_labels, measure)[1].ratio == pytest.approx(found[1].ratio, rel=1e-4)


def test_alike_real_samples_have_no_ratio() -> None:
    found = intra_class(np.eye(3), np.zeros(3), np.ones((3, 3)), np.zeros(3))
    assert np.isnan(found[0].ratio)


def test_styles_that_draws_hit() -> None:
    errors = np.array([[0.1, 0.5, 0.9, 0.9], [0.4, 0.2, 0.9, 0.9], [0.05, 0.5, 0.9, 0.9], [0.9, 0.9, 0.9, 0.7]])
    found = style_coverage(errors)
    assert found.share.value == 0.75
    assert found.rates.tolist() == [0.5, 0.25, 0, 0.25]
    assert found.share.low < 0.75 <= found.share.high
    assert found.ceiling == pytest.approx(1 - 0.75**4)
    near = style_coverage(errors, within=0.3)
    assert near.share.value == 0.5
    assert near.rates.tolist() == [0.5, 0.25, 0, 0]


def test_styles_are_averaged_over_samples_with_their_own_draws() -> None:
    first = 1 - np.eye(3)[[0, 1, 2]]
    second = 1 - np.eye(3)[[1, 1, 1]]
    found = style_coverage(np.stack([first, second]))
    assert found.share.value == pytest.approx((1 + 1 / 3) / 2)
    assert found.share.n == 2
    assert found.rates == pytest.approx([1 / 6, 4 / 6, 1 / 6])


def test_the_ceiling_is_what_uniform_draws_hit() -> None:
    rng = np.random.default_rng(0)
    found = style_coverage(rng.random((2000, 6, 5)))
    assert found.share.low < found.ceiling < found.share.high


def test_variance_maps_and_their_share_inside_a_region() -> None:
    draws = np.zeros((300, 8, 3, 4, 4))
    draws[..., :2, :] = np.random.default_rng(0).normal(size=(300, 8, 3, 2, 4))
    maps = variance_map(draws)
    assert maps.shape == (300, 4, 4)
    assert maps[:, :2].mean() == pytest.approx(3, rel=0.05)
    assert np.abs(maps[:, 2:]).max() == 0
    region = np.zeros((300, 4, 4), bool)
    region[:, 0] = True
    found = share_inside(maps, region)
    assert found["share"].low < 0.5 < found["share"].high
    assert found["floor"].value == 0.25
    assert share_inside(np.ones((300, 4, 4)), region)["share"].value == pytest.approx(found["floor"].value)
    assert np.isnan(share_inside(np.zeros((300, 4, 4)), region)["share"].value), "a collapsed block varies nowhere"


def test_variance_of_vectors_is_by_coordinate() -> None:
    draws = np.array([[[0.0, 1.0], [2.0, 1.0]]])
    assert variance_map(draws).tolist() == [[2.0, 0.0]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mean_distance(np.zeros((1, 3))), "at least 2 samples"),
        (lambda: mean_squared_distance(np.full((3, 2), np.nan)), "3 of 3 samples"),
        (
            lambda: intra_class(np.eye(3), np.zeros(2), np.eye(3), np.zeros(3)),
            r"3 generated samples have labels of shape \(2,\)",
        ),
        (lambda: intra_class(np.eye(3), np.zeros(3), np.eye(3), np.ones(3)), "no class has two"),
        (lambda: style_coverage(np.zeros(3)), r"expected \(draws, styles\)"),
        (lambda: style_coverage(np.full((3, 2), np.nan)), "none NaN"),
        (lambda: variance_map(np.zeros((3, 1, 2))), "at least two draws"),
        (lambda: share_inside(np.zeros((3, 2)), np.zeros((2, 3))), "expected the same"),
    ],
)
def test_faults_are_told_in_one_line(call: Callable[[], object], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
