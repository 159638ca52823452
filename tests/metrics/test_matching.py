"""The mean correlation coefficient where its value is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import labelspace as ls
from labelspace.metrics import mcc, mcc_between

N = 4000


def sources(k: int = 3, n: int = N, seed: int = 0) -> np.ndarray:
    """Columns that are exactly uncorrelated and of variance 1."""
    x = np.random.default_rng(seed).normal(size=(n, k))
    q, _ = np.linalg.qr(x - x.mean(0))
    return q * np.sqrt(n)


def rotated(x: np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return x @ np.array([[c, -s], [s, c]])


def test_sources_themselves_get_one_and_noise_little() -> None:
    found = mcc(sources(), sources())
    assert found.score.value == pytest.approx(1.0, abs=1e-9)
    assert found.score.n == N
    assert found.ceiling == 1.0
    assert found.floor is not None
    assert 0 < found.floor < 0.05
    assert found.to_dict()["parameters"]["correlation"] == "pearson"


@settings(max_examples=20)
@given(st.permutations(range(3)), st.lists(st.sampled_from([-3.0, -0.2, 0.5, 40.0]), min_size=3, max_size=3))
def test_order_signs_and_units_cost_nothing(order: list[int], units: list[float]) -> None:
    s = sources(n=200)
    codes = s[:, order] * np.array(units) + 7
    assert mcc(codes, s).score.value == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("degrees", [0, 10, 30, 45, 60, 80, 90])
def test_a_rotation_of_two_sources_gets_the_larger_of_cosine_and_sine(degrees: int) -> None:
    s, angle = sources(2), np.radians(degrees)
    assert mcc(rotated(s, angle), s).score.value == pytest.approx(max(np.cos(angle), np.sin(angle)), abs=1e-9)


def test_the_matching_is_one_to_one_and_the_best_there_is() -> None:
    s = sources(3)
    # Both first latents follow the first source; the greedy choice would leave the second source with noise.
    codes = np.stack([0.8 * s[:, 0] + 0.6 * s[:, 1], s[:, 0], s[:, 2]], 1)
    assert mcc(codes, s).score.value == pytest.approx((1 + 0.6 + 1) / 3, abs=1e-9)
    twice = np.stack([s[:, 0], s[:, 0], s[:, 0]], 1)
    assert mcc(twice, s).score.value == pytest.approx(1 / 3, abs=1e-9)


def test_a_source_without_a_latent_counts_nothing_and_spare_latents_cost_nothing() -> None:
    s = sources(3)
    assert mcc(s[:, :1], s).score.value == pytest.approx(1 / 3, abs=1e-9)
    assert mcc(s, s[:, 1]).score.value == pytest.approx(1.0, abs=1e-9)
    assert mcc(np.concatenate([s, np.ones((N, 1))], 1), s).score.value == pytest.approx(1.0, abs=1e-9)
    assert mcc(np.ones((N, 2)), s).score.value == 0


def test_ranks_allow_a_monotone_map_of_each_source() -> None:
    s = sources()
    bent = np.exp(2 * s)
    assert mcc(bent, s, correlation="spearman").score.value == pytest.approx(1.0, abs=1e-9)
    assert mcc(bent, s).score.value < 0.8


def test_the_interval_holds_the_true_value() -> None:
    rng = np.random.default_rng(1)
    s = rng.normal(size=(N, 2))
    codes = np.sqrt(0.75) * s + 0.5 * rng.normal(size=(N, 2))  # correlation sqrt(0.75)
    score = mcc(codes, s).score
    assert score.low < np.sqrt(0.75) < score.high
    assert score.high - score.low < 0.03


def test_models_that_agree_up_to_order_get_one_and_rotated_ones_less() -> None:
    s = sources(2)
    alike = mcc_between([s, -s[:, ::-1], 3 * s])
    assert alike.score.value == pytest.approx(1.0, abs=1e-9)
    assert alike.parameters["models"] == 3
    angle = np.radians(45)
    apart = mcc_between([s, rotated(s, angle), rotated(s, 2 * angle)])
    assert apart.score.value == pytest.approx((2 * np.sqrt(0.5) + 1) / 3, abs=1e-9)
    assert alike.floor is not None
    assert alike.floor < 0.1
    wide = np.concatenate([s, sources(3, seed=1)], 1)  # latents of the smaller model are all found
    assert mcc_between([wide, s]).score.value == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s: mcc(s, s[:-1]), "sources must be"),
        (lambda s: mcc(s, np.where(s > 2, np.nan, s)), "without NaN"),
        (lambda s: mcc(s, np.array(["a"] * len(s))), "words have no correlation"),
        (lambda s: mcc(s, s, correlation="kendall"), "kendall"),  # type: ignore[arg-type]
        (lambda s: mcc(s[:10], s[:10]), "too few samples"),
        (lambda s: mcc_between([s]), "two sets of codes"),
        (lambda s: mcc_between([s, s[:-1]]), "same samples"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, said: str) -> None:
    with pytest.raises(ls.UserError, match=said):
        call(sources(n=100))
