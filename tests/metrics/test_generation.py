"""Generation scores: closed forms, textbook loops, floors, and faults."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import labelspace as ls
from labelspace.errors import UserError
from labelspace.evaluation import judge as judges
from labelspace.labels import Schema, binary
from labelspace.metrics.generation import frechet, inception_style_score, kernel_distance, precision_recall, real_halves


def gaussian(n: int, mean: np.ndarray, covariance: np.ndarray, seed: int) -> np.ndarray:
    """Samples whose mean and (unbiased) covariance are exactly those given."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x = x - x.mean(0)
    whitened = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return mean + whitened @ np.linalg.cholesky(covariance).T


def test_frechet_of_gaussians_is_the_closed_form() -> None:
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 1.0])
    real = gaussian(300, np.zeros(3), np.diag(a), 0)
    made = gaussian(400, np.array([1.0, 0, -2]), np.diag(b), 1)
    score = frechet(real, made)
    assert score.value == pytest.approx(5 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum())
    assert score.low < score.value < score.high
    assert score.n == 300
    # Commuting or not, in one dimension or many: only the spectrum of the product matters.
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    assert frechet(real @ rotation, made @ rotation).value == pytest.approx(score.value)
    assert frechet(real[:, :1], made[:, :1]).value == pytest.approx(1 + 1)


def test_frechet_of_covariances_that_do_not_commute() -> None:
    rng = np.random.default_rng(0)
    a, b = (m @ m.T + np.eye(4) for m in rng.normal(size=(2, 4, 4)))
    value = frechet(gaussian(50, np.zeros(4), a, 1), gaussian(50, np.zeros(4), b, 2)).value
    roots = np.sqrt(np.linalg.eigvals(a @ b).real)  # tr (ab)^1/2 by another way
    assert value == pytest.approx(np.trace(a + b) - 2 * roots.sum())


def test_frechet_with_singular_covariances() -> None:
    rng = np.random.default_rng(0)
    few, others = rng.normal(size=(5, 40)), rng.normal(size=(6, 40))
    assert frechet(few, few).value == pytest.approx(0, abs=1e-9)
    assert np.isfinite(frechet(few, others).value)
    dead = np.zeros((30, 3))
    assert frechet(dead, dead + 2).value == pytest.approx(12)


def test_the_interval_of_frechet_is_that_of_fits_to_resampled_data(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(800, 3)), rng.normal(0.5, [1.0, 1.5, 0.7], size=(600, 3))
    score = frechet(real, made)
    monkeypatch.setattr("labelspace.metrics.generation.RESAMPLES", 2)  # the fits' own intervals are not needed
    fits = [frechet(real[rng.integers(0, 800, 800)], made[rng.integers(0, 600, 600)]).value for _ in range(200)]
    assert (score.high - score.low) / 3.92 == pytest.approx(np.std(fits), rel=0.15)


def test_halves_of_real_features_are_a_floor() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(1000, 10))
    floor = real_halves(frechet, real)
    assert 0 < floor.value < 0.3
    assert floor.n == 500
    assert frechet(real, rng.normal(1.0, 1, size=(1000, 10))).value > 10 * floor.value
    assert real_halves(frechet, real) == floor, "the halves are a function of the seed"
    assert real_halves(precision_recall, real)["precision"].value > 0.5


def test_kernel_distance_is_zero_on_average_for_equal_distributions() -> None:
    rng = np.random.default_rng(0)
    found = [kernel_distance(*rng.normal(size=(2, 200, 5)), seed=s) for s in range(150)]
    values = np.array([score.value for score in found])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
    assert 0.86 < np.mean([score.low <= 0 <= score.high for score in found]) <= 1
    shifted = kernel_distance(rng.normal(size=(400, 5)), rng.normal(1, 1, size=(400, 5)))
    assert shifted.low > 0
    assert shifted.n == 400


def test_kernel_distance_is_the_textbook_double_sum() -> None:
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    order = np.random.default_rng(3)
    cuts = [np.array_split(x[order.permutation(len(x))], 2) for x in (real, made)]

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 3 + 1) ** 3)

    expected = []
    for x, y in zip(*cuts, strict=True):
        xx = np.mean([kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
        yy = np.mean([kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
        expected.append(xx + yy - 2 * np.mean([kernel(a, b) for a in x for b in y]))
    assert kernel_distance(real, made, seed=3).value == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("classes", [2, 7])
def test_the_inception_style_score_has_known_ends(classes: int) -> None:
    sure = np.eye(classes)[np.arange(70 * classes) % classes]
    assert inception_style_score(sure).value == pytest.approx(classes)
    assert inception_style_score(np.eye(classes)[np.zeros(50, int)]).value == pytest.approx(1)
    assert inception_style_score(np.full((50, classes), 1 / classes)).value == pytest.approx(1)


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 4)), elements=st.floats(0.0, 1.0)))
def test_the_inception_style_score_is_its_definition(raw: np.ndarray) -> None:
    p = (raw + 1e-3) / (raw + 1e-3).sum(1, keepdims=True)
    value = inception_style_score(p).value
    assert 1 - 1e-9 <= value <= p.shape[1] + 1e-9
    assert value == pytest.approx(
        np.exp(np.mean([sum(q * np.log(q / m) for q, m in zip(r, p.mean(0), strict=True)) for r in p]))
    )


def by_loops(real: np.ndarray, made: np.ndarray, k: int) -> dict[str, float]:
    def reach(x: np.ndarray) -> list[float]:
        return [sorted(float(np.linalg.norm(a - b)) for b in x)[k] for a in x]

    def inside(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
        return np.array([[np.linalg.norm(a - c) <= r for c, r in zip(centres, reach(centres), strict=True)] for a in x])

    balls = inside(made, real)
    return {
        "precision": float(balls.any(1).mean()),
        "recall": float(inside(real, made).any(1).mean()),
        "density": float(balls.sum() / k / len(made)),
        "coverage": float(balls.any(0).mean()),
    }


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_the_textbook_loops(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(k)
    real, made = rng.normal(size=(60, 4)), rng.normal(0.4, 0.8, size=(45, 4))
    expected = by_loops(real, made, k)
    assert {name: s.value for name, s in precision_recall(real, made, k).items()} == pytest.approx(expected)
    monkeypatch.setattr("labelspace.metrics.diversity._BLOCK", 100)  # one or two rows at a time
    assert {name: s.value for name, s in precision_recall(real, made, k).items()} == pytest.approx(expected)


def test_precision_and_recall_tell_bad_samples_from_few_modes() -> None:
    rng = np.random.default_rng(0)
    real = np.concatenate([rng.normal(size=(150, 3)), rng.normal(size=(150, 3)) + 30])
    one_mode = precision_recall(real, rng.normal(size=(300, 3)))
    assert one_mode["precision"].value > 0.8
    assert 0.3 < one_mode["recall"].value < 0.5
    noise = precision_recall(real, rng.normal(size=(300, 3)) * 200)
    assert noise["precision"].value < 0.05
    assert noise["density"].value < 0.05
    # Far from the origin, and where samples repeat, rounding makes no miss.
    repeated = np.repeat(rng.normal(size=(10, 3)), 5, axis=0) + 1e4
    assert all(score.value >= 1 for score in precision_recall(repeated, repeated).values())


def test_the_judge_gives_the_features_that_it_reads_labels_from() -> None:
    schema = Schema([binary("a"), binary("b")])
    vectors = judges.Judge((5,), schema).eval()
    x = torch.randn(7, 5)
    features = vectors.features(x, batch_size=3)
    assert features.shape == (7, 128)
    assert torch.allclose(list(vectors.network)[-1](features), vectors.log_odds(x), atol=1e-6)
    for shape in ((1, 28, 28), (3, 64, 64)):
        images = judges.Judge(shape, schema).eval()
        found = images.features(torch.rand(5, *shape), batch_size=2)
        assert found.shape == (5, 96)
        assert not found.requires_grad


def test_scores_of_real_digits_are_near_their_floors() -> None:
    data = ls.open("digits")
    judge = judges.Judge(data.shape, data.schema).eval()
    features = judge.features(data.samples(data.rows("train")[:400])).numpy()
    noise = judge.features(torch.rand(200, *data.shape)).numpy()
    assert frechet(features[:200], noise).value > 5 * real_halves(frechet, features).value


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: frechet(np.zeros((5, 2)), np.zeros((5, 3))), "2 columns and generated ones 3"),
        (lambda: frechet(np.zeros((1, 2)), np.zeros((5, 2))), "at least 2 samples"),
        (lambda: frechet(np.zeros(5), np.zeros(5)), r"real features have shape \(5,\)"),
        (lambda: frechet(np.array([[0.0], [np.nan], [1]]), np.zeros((5, 1))), "NaN or infinity in 1 of 3"),
        (lambda: kernel_distance(np.zeros((3, 2)), np.zeros((9, 2))), "at least 4"),
        (lambda: precision_recall(np.zeros((3, 2)), np.zeros((9, 2)), 3), "k is 3 with 3 real"),
        (lambda: real_halves(frechet, np.zeros((6, 2))), "at least 8"),
        (lambda: inception_style_score(np.ones((4, 3))), "4 of 4 rows"),
        (lambda: inception_style_score(np.ones(4)), r"expected \(n, K\)"),
    ],
)
def test_faults_are_told_in_one_line(call: Callable[[], object], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
