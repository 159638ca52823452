"""Drawn rows beside real ones, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from labelspace.errors import UserError
from labelspace.metrics import gaussian_copula, missing_like, read_as_asked, two_sample_auc

RNG = np.random.default_rng(0)


def table(n: int, seed: int, missing: float = 0.1) -> np.ndarray:
    """A number with a heavy tail, a class that goes with it, a whole number; some cells missing."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    kind = np.select([z + rng.normal(0, 0.5, n) < -0.5, z > 0.8], [2.0, 0.0], 1.0)
    x = np.stack([np.exp(z), kind, np.round(3 * z + rng.normal(size=n))], 1)
    x[rng.random(x.shape) < missing] = np.nan
    return x


def test_rows_of_one_source_cannot_be_told_apart_and_others_can() -> None:
    kinds = [False, True, False]
    real = table(500, 1)
    same = two_sample_auc(real, table(500, 2), categorical=kinds)
    assert same.low < 0.5 < same.high + 0.03
    assert same.n == 500
    other = table(500, 3)
    other[:, 1] = RNG.permutation(other[:, 1])
    assert two_sample_auc(real, other, categorical=kinds).value > 0.65
    assert two_sample_auc(real, table(500, 4, missing=0), categorical=kinds).value > 0.6, "holes tell them apart"
    assert two_sample_auc(real, missing_like(table(500, 4, missing=0), real), categorical=kinds).value < 0.57
    assert two_sample_auc(real, real + 100).value > 0.99
    assert two_sample_auc(real, other, seed=3) == two_sample_auc(real, other, seed=3)


def test_an_area_is_known_where_scores_are() -> None:
    from labelspace.metrics.scores import area_score

    said = np.array([[0.0], [0.5], [0.5], [1.0]])
    assert area_score(np.array([False, True, False, True]), said, np.array([True])).value == pytest.approx(3.5 / 4)


def test_a_copula_has_the_columns_and_their_correlations() -> None:
    train = table(4000, 5)
    made = gaussian_copula(train, 4000, categorical=[False, True, False], seed=1)
    for j in range(3):
        assert set(made[~np.isnan(made[:, j]), j]) <= set(train[~np.isnan(train[:, j]), j])
        assert np.isnan(made[:, j]).mean() == pytest.approx(0.1, abs=0.02)
        quantiles = [np.nanquantile(x[:, j], [0.1, 0.5, 0.9]) for x in (train, made)]
        np.testing.assert_allclose(*quantiles, rtol=0.1, atol=0.1)
    both = [x[~np.isnan(x[:, [0, 2]]).any(1)] for x in (train, made)]
    real, drawn = (np.corrcoef(np.log(x[:, 0]), x[:, 2])[0, 1] for x in both)
    assert drawn == pytest.approx(real, abs=0.03)
    again = gaussian_copula(train, 10, categorical=[False, True, False], seed=1)
    np.testing.assert_array_equal(again, gaussian_copula(train, 10, categorical=[False, True, False], seed=1))


def test_drawn_rows_are_read_as_asked_where_they_are() -> None:
    train, held = table(1000, 6), table(500, 7)
    asked = held[:, 1]
    x = [part[:, [0, 2]] for part in (train, held)]
    right = read_as_asked(x[0], train[:, 1], x[1], asked)
    assert right.value > 0.7
    assert right.n == (~np.isnan(asked)).sum()
    assert read_as_asked(x[0], train[:, 1], x[1], (asked + 1) % 3).value < 0.4


@pytest.mark.parametrize(
    ("real", "made", "said"),
    [
        (np.zeros((9, 2)), np.zeros((9, 3)), "2 columns and drawn ones 3"),
        (np.zeros((3, 2)), np.zeros((9, 2)), "at least 5 rows"),
        (np.zeros(9), np.zeros((9, 2)), r"shape \(9,\)"),
    ],
)
def test_rows_that_do_not_fit_are_refused(real: np.ndarray, made: np.ndarray, said: str) -> None:
    with pytest.raises(UserError, match=said):
        two_sample_auc(real, made)
