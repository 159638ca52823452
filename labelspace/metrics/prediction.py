"""Prediction: how well label probabilities, or predicted numbers, fit the truth.

Every function takes arrays. A score of prediction says nothing without what a predictor that sees no sample would get:
:func:`discrete` puts these beside each score. Intervals resample samples; no bin, class or frequency is fitted again unless
it says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from labelspace.errors import UserError
from labelspace.metrics.leakage import _r_squared, entropy
from labelspace.metrics.scores import Score, balanced_rate, mean

_TINY = float(np.finfo(np.float64).tiny)
_LEVELS = (0.5, 0.9)


def as_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Class probabilities ``(n, K)`` as float64. Raises UserError when rows are no distributions over two classes or more."""
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or p.shape[1] < 2 or len(p) == 0:
        raise UserError(f"probabilities have shape {p.shape}; expected (n, K) with one column for each of at least two classes")
    wrong = ~((p >= 0).all(1) & (np.abs(p.sum(1) - 1) < 1e-3))  # a NaN is wrong too
    if wrong.any():
        raise UserError(f"{wrong.sum()} of {len(p)} rows of probabilities are negative, NaN or do not sum to 1; give a softmax")
    return p


def _checked(probabilities: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, truth = as_probabilities(probabilities), np.asarray(truth)
    if truth.shape != (len(p),):
        raise UserError(f"truth has shape {truth.shape}; expected one class index for each of {len(p)} rows of probabilities")
    y = truth.astype(int)
    if not ((y == truth) & (y >= 0) & (y < p.shape[1])).all():
        raise UserError(f"truth holds {truth.min()} to {truth.max()}; expected class indices from 0 to {p.shape[1] - 1}")
    return p, y


def accuracy(probabilities: np.ndarray, truth: np.ndarray) -> Score:
    """Share of samples whose most probable class is true. Floor: :func:`majority_rate`; ceiling 1."""
    p, y = _checked(probabilities, truth)
    return mean(p.argmax(1) == y)


def balanced_accuracy(probabilities: np.ndarray, truth: np.ndarray) -> Score:
    """Mean over the classes that occur of the rate at which the class is predicted right. Chance is one over their number."""
    p, y = _checked(probabilities, truth)
    return balanced_rate(y, p.argmax(1))


def majority_rate(truth: np.ndarray) -> Score:
    """Accuracy of always answering with the most frequent class of ``truth (n,)``, a whole number each."""
    values, counts = np.unique(np.asarray(truth), return_counts=True)
    return mean(np.asarray(truth) == values[counts.argmax()])


def log_loss(probabilities: np.ndarray, truth: np.ndarray) -> Score:
    """Mean of -log p(truth) in nats; best is 0.

    Who only knows how frequent the classes are has :func:`labelspace.metrics.leakage.entropy`.
    A probability of zero counts as the smallest normal double, 708 nats, so that one sample cannot make the score infinite.
    """
    p, y = _checked(probabilities, truth)
    return mean(-np.log(np.maximum(p[np.arange(len(y)), y], _TINY)))


def brier(probabilities: np.ndarray, truth: np.ndarray) -> Score:
    """Mean squared distance between the probabilities and the truth as one-hot (Brier 1950): in [0, 2], best is 0.

    The sum is over all classes, so that a binary label has twice the value of the one-column form.
    """
    p, y = _checked(probabilities, truth)
    return mean(((p - np.eye(p.shape[1])[y]) ** 2).sum(1))


def _bins(confidence: np.ndarray, bins: int) -> np.ndarray:
    """The bin ``(n,)`` of each confidence, 0, 1, ...: equally many samples in each, but equal confidences stay together."""
    edges = np.unique(np.quantile(confidence, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.unique(np.searchsorted(edges, confidence), return_inverse=True)[1]


def _confidence(probabilities: np.ndarray, truth: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per sample: the largest probability, whether its class is true, and the bin."""
    p, y = _checked(probabilities, truth)
    if bins < 1:
        raise UserError(f"calibration was asked for in {bins} bins; expected at least 1")
    return p.max(1), p.argmax(1) == y, _bins(p.max(1), bins)


@dataclass(frozen=True)
class ReliabilityBin:
    """Samples of similar confidence: how sure the answers are on average, and how often they are right."""

    confidence: float
    accuracy: Score


def reliability(probabilities: np.ndarray, truth: np.ndarray, bins: int = 15) -> list[ReliabilityBin]:
    """The reliability table, from unsure to sure: bins of equally many samples; those of equal confidence share a bin."""
    confidence, right, place = _confidence(probabilities, truth, bins)
    return [ReliabilityBin(float(confidence[place == b].mean()), mean(right[place == b])) for b in range(place.max() + 1)]


def calibration_error(probabilities: np.ndarray, truth: np.ndarray, bins: int = 15, seed: int = 0) -> dict[str, Score]:
    """Expected calibration error of the most probable class (Naeini et al. 2015, here with bins of equal mass).

    The mean over samples of ``|accuracy - confidence|`` in their bin of :func:`reliability`; best is 0, worst 1.

    Returns:
        "value", whose interval resamples the samples' signed gaps (bins and signs stay); and "floor": the error that the same
        probabilities have if they are right, because a bin's accuracy is noisy: mean and 95% range over 200 drawn truths.
    """
    confidence, right, place = _confidence(probabilities, truth, bins)
    gap = right - confidence
    sign = np.sign(np.bincount(place, gap))
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(place.max() + 1))
    sure = confidence[order]
    rng = np.random.default_rng(seed)
    floors = [np.abs(np.add.reduceat((rng.random(len(sure)) < sure) - sure, starts)).sum() / len(sure) for _ in range(200)]
    low, high = np.quantile(floors, [0.025, 0.975])
    return {"value": mean(gap * sign[place]), "floor": Score(float(np.mean(floors)), float(low), float(high), len(sure))}


def discrete(probabilities: np.ndarray, truth: np.ndarray, seed: int = 0) -> dict[str, Score]:
    """All scores of a discrete label, each before what it is to be compared with.

    Args:
        probabilities: ``(n, K)``.
        truth: ``(n,)`` class indices.
        seed: of the floor of the calibration error.

    Returns:
        accuracy and majority_rate; balanced_accuracy (chance: one over the classes); log_loss and log_loss_of_frequencies;
        brier and brier_of_frequencies; calibration_error and calibration_error_floor. "of frequencies" is a predictor that sees
        no sample but knows how frequent the classes are in ``truth``.
    """
    _, y = _checked(probabilities, truth)
    calibration = calibration_error(probabilities, truth, seed=seed)
    shares = np.bincount(y) / len(y)
    return {
        "accuracy": accuracy(probabilities, truth),
        "majority_rate": majority_rate(y),
        "balanced_accuracy": balanced_accuracy(probabilities, truth),
        "log_loss": log_loss(probabilities, truth),
        "log_loss_of_frequencies": entropy(y),
        "brier": brier(probabilities, truth),
        "brier_of_frequencies": mean(1 - 2 * shares[y] + (shares**2).sum()),
        "calibration_error": calibration["value"],
        "calibration_error_floor": calibration["floor"],
    }


def _numbers(**arrays: np.ndarray) -> list[np.ndarray]:
    out = [np.asarray(array, np.float64) for array in arrays.values()]
    for name, array in zip(arrays, out, strict=True):
        if array.ndim != 1 or array.shape != out[0].shape or len(array) < 2 or not np.isfinite(array).all():
            given = f"{array.shape} with {int((~np.isfinite(array)).sum())} not finite"
            raise UserError(
                f"{name} is {given}; expected finite numbers (n,), at least two and as many as of {next(iter(arrays))}"
            )
    return out


def r_squared(truth: np.ndarray, predicted: np.ndarray) -> Score:
    """1 - squared error / variance of the truth, both ``(n,)``: 1 is perfect, 0 is answering with the mean.

    There is no floor: it is as far below 0 as answers are wrong. NaN where the truth is constant. Resampled are samples; the
    variance is computed again.
    """
    truth, predicted = _numbers(truth=truth, predicted=predicted)
    return _r_squared(truth, predicted)


def absolute_error(truth: np.ndarray, predicted: np.ndarray) -> Score:
    """Mean absolute error in the label's own unit; best is 0."""
    truth, predicted = _numbers(truth=truth, predicted=predicted)
    return mean(np.abs(truth - predicted))


def interval_coverage(truth: np.ndarray, predicted: np.ndarray, scale: np.ndarray, level: float = 0.9) -> Score:
    """Share of truths inside the central interval of N(predicted, scale^2); it should be ``level``: less is too sure.

    Args:
        truth, predicted, scale: ``(n,)``, in the same unit; the scale is a standard deviation.
        level: probability of the interval, between 0 and 1.
    """
    truth, predicted, scale = _numbers(truth=truth, predicted=predicted, scale=scale)
    if not 0 < level < 1 or (scale <= 0).any():
        raise UserError(f"level is {level} and the least scale {scale.min()}; expected 0 < level < 1 and positive scales")
    return mean(np.abs(truth - predicted) <= NormalDist().inv_cdf(0.5 + level / 2) * scale)


def continuous(truth: np.ndarray, predicted: np.ndarray, scale: np.ndarray) -> dict[str, Score]:
    """All scores of a continuous label; arrays ``(n,)`` as in :func:`interval_coverage`.

    Returns:
        r_squared (answering with the mean: 0); absolute_error and absolute_error_of_median, the best that one answer for all
        has; coverage_50 and coverage_90, which should be 0.5 and 0.9.
    """
    return {
        "r_squared": r_squared(truth, predicted),
        "absolute_error": absolute_error(truth, predicted),
        "absolute_error_of_median": absolute_error(truth, np.full(len(truth), np.median(truth))),
        **{f"coverage_{100 * level:.0f}": interval_coverage(truth, predicted, scale, level) for level in _LEVELS},
    }
