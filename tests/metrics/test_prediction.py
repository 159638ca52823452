"""Prediction scores against definitions, known calibration, and faults."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from labelspace.errors import UserError
from labelspace.metrics import prediction


def drawn(n: int, classes: int, seed: int = 0, power: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and truths drawn from them; a power makes the probabilities surer than they should be."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), n)
    y = (rng.random((n, 1)) > p.cumsum(1)).sum(1).clip(max=classes - 1)
    p = p**power
    return p / p.sum(1, keepdims=True), y


@given(st.integers(0, 1000), st.integers(2, 5))
def test_scores_agree_with_the_textbook(seed: int, classes: int) -> None:
    p, y = drawn(40, classes, seed)
    assert prediction.accuracy(p, y).value == pytest.approx(metrics.accuracy_score(y, p.argmax(1)))
    assert prediction.majority_rate(y).value == pytest.approx(np.bincount(y).max() / 40)
    assert prediction.log_loss(p, y).value == pytest.approx(metrics.log_loss(y, p, labels=range(classes)))
    expected = np.mean([sum((q - (k == t)) ** 2 for k, q in enumerate(row)) for row, t in zip(p, y, strict=True)])
    assert prediction.brier(p, y).value == pytest.approx(expected)
    recalls = [(p[y == k].argmax(1) == k).mean() for k in np.unique(y)]
    assert prediction.balanced_accuracy(p, y).value == pytest.approx(np.mean(recalls))


def test_references_are_predictors_without_samples() -> None:
    _, y = drawn(300, 3)
    frequencies = np.tile(np.bincount(y) / 300, (300, 1))
    found = prediction.discrete(frequencies, y)
    assert found["accuracy"].value == pytest.approx(found["majority_rate"].value)
    assert found["log_loss"].value == pytest.approx(found["log_loss_of_frequencies"].value)
    assert found["brier"].value == pytest.approx(found["brier_of_frequencies"].value)
    assert found["balanced_accuracy"].value == pytest.approx(1 / 3)
    assert found["calibration_error"].value == pytest.approx(0, abs=1e-9)


def test_certain_and_right_is_perfect_and_certain_and_wrong_is_finite() -> None:
    y = np.arange(40) % 4
    found = prediction.discrete(np.eye(4)[y], y)
    assert found["accuracy"].value == found["balanced_accuracy"].value == 1
    assert found["log_loss"].value == found["brier"].value == found["calibration_error"].value == 0
    wrong = prediction.discrete(np.eye(4)[(y + 1) % 4], y)
    assert wrong["log_loss"].value == pytest.approx(708, abs=1)
    assert wrong["brier"].value == 2
    assert wrong["calibration_error"].value == 1


def test_calibration_error_is_at_its_floor_when_probabilities_are_right() -> None:
    p, y = drawn(6000, 3)
    found = prediction.calibration_error(p, y)
    assert found["value"].value < 0.03
    assert found["floor"].low < found["value"].value < found["floor"].high
    assert found["value"].low < found["value"].value < found["value"].high


def test_calibration_error_of_known_miscalibration() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(20_000) < 0.3).astype(int)  # right with 0.7, sure with 0.9
    p = np.tile([0.9, 0.1], (20_000, 1))
    found = prediction.calibration_error(p, y)
    assert found["value"].value == pytest.approx(0.9 - (y == 0).mean())
    assert found["value"].value == pytest.approx(0.2, abs=0.01)
    assert found["floor"].high < 0.01, "equal confidences share a bin, so that the floor is one bin's"
    over, floor = (prediction.calibration_error(*drawn(6000, 3, power=3.0))[key].value for key in ("value", "floor"))
    assert over > 5 * floor


def test_the_error_is_the_mean_gap_of_the_reliability_table() -> None:
    p, y = drawn(500, 4, power=2.0)
    table = prediction.reliability(p, y)
    assert len(table) == 15
    assert {row.accuracy.n for row in table} <= {33, 34}
    assert all(a.confidence < b.confidence for a, b in pairwise(table))
    order = np.argsort(p.max(1))
    expected = sum(len(c) * abs(p[c].max(1).mean() - (p[c].argmax(1) == y[c]).mean()) for c in np.array_split(order, 15)) / 500
    gaps = sum(row.accuracy.n * abs(row.confidence - row.accuracy.value) for row in table) / 500
    assert prediction.calibration_error(p, y)["value"].value == pytest.approx(gaps)
    assert gaps == pytest.approx(expected, abs=0.01), "bins may differ by a sample at their edges"


def test_continuous_scores_have_known_values() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(3, 2, 5000)
    predicted = truth + rng.normal(0, 1, 5000)
    found = prediction.continuous(truth, predicted, np.ones(5000))
    assert found["r_squared"].value == pytest.approx(metrics.r2_score(truth, predicted))
    assert found["r_squared"].value == pytest.approx(1 - 1 / 4, abs=0.02)
    assert found["absolute_error"].value == pytest.approx(np.sqrt(2 / np.pi), rel=0.05)
    assert found["absolute_error_of_median"].value == pytest.approx(2 * np.sqrt(2 / np.pi), rel=0.05)
    assert found["coverage_50"].low < 0.5 < found["coverage_50"].high
    assert found["coverage_90"].low < 0.9 < found["coverage_90"].high
    assert prediction.interval_coverage(truth, predicted, np.full(5000, 0.1)).value < 0.2
    assert prediction.r_squared(truth, np.full(5000, truth.mean())).value == pytest.approx(0)
    assert np.isnan(prediction.r_squared(np.ones(5), np.zeros(5)).value)


half = np.full((4, 2), 0.5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: prediction.accuracy(np.full(4, 0.5), np.zeros(4)), r"shape \(4,\); expected \(n, K\)"),
        (lambda: prediction.accuracy(half * 3, np.zeros(4)), "4 of 4 rows"),
        (lambda: prediction.accuracy(half * np.nan, np.zeros(4)), "4 of 4 rows"),
        (lambda: prediction.accuracy(half, np.zeros(3)), r"truth has shape \(3,\)"),
        (lambda: prediction.log_loss(half, np.array([0, 1, 2, 0])), "from 0 to 1"),
        (lambda: prediction.brier(half, np.array([0, 0.5, 1, 0])), "class indices"),
        (lambda: prediction.reliability(half, np.zeros(4), 0), "0 bins"),
        (lambda: prediction.r_squared(np.zeros(3), np.zeros(4)), r"predicted is \(4,\)"),
        (lambda: prediction.absolute_error(np.full(3, np.nan), np.zeros(3)), "3 not finite"),
        (lambda: prediction.interval_coverage(np.zeros(3), np.zeros(3), np.zeros(3)), "positive scales"),
        (lambda: prediction.interval_coverage(np.zeros(3), np.zeros(3), np.ones(3), 90), "level is 90"),
    ],
)
def test_faults_are_told_in_one_line(call: Callable[[], object], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
