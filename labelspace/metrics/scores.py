"""A measured value with its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from labelspace.errors import UserError

RESAMPLES = 1000
_Z = 1.959963984540054  # standard normal, 97.5%


@dataclass(frozen=True)
class Score:
    """A value, its 95% interval (bootstrap; Wilson's of a rate), and the number of samples that it rests on."""

    value: float
    low: float
    high: float
    n: int

    def to_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def wilson(rate: float, n: float) -> tuple[float, float]:
    """Wilson's 95% interval of a rate that was found in ``n`` trials: 20 of 20 is from 0.84 to 1, not from 1 to 1."""
    z2 = _Z**2
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * float(np.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, min(rate, middle - half)), min(1.0, max(rate, middle + half))


def mean(values: np.ndarray, seed: int = 0) -> Score:
    """The mean of per-sample values ``(n,)``; of yes and no (bool) a rate, with Wilson's interval."""
    if np.asarray(values).dtype == bool:
        rate = float(np.mean(values))
        return Score(rate, *wilson(rate, len(values)), len(values))
    values = np.asarray(values, np.float64)
    if np.isnan(values).any():
        raise UserError(f"{int(np.isnan(values).sum())} of {len(values)} values are NaN, which have no mean; leave them out")
    n, rng = len(values), np.random.default_rng(seed)
    resampled = [values[rng.integers(0, n, n)].mean() for _ in range(RESAMPLES)]
    return percentile_interval(float(values.mean()), np.array(resampled), n)


def column_means(values: np.ndarray, seed: int = 0) -> list[Score]:
    """The mean of every column of ``(n, columns)``; samples are resampled once for all columns."""
    n, rng = len(values), np.random.default_rng(seed)
    counts = (np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(RESAMPLES))
    resampled = np.stack([count @ values for count in counts]) / n
    return [percentile_interval(float(x.mean()), draws, n) for x, draws in zip(values.T, resampled.T, strict=True)]


def statistic(function: Callable[..., float], *arrays: np.ndarray, seed: int = 0) -> Score:
    """A statistic of arrays that share their first dimension, resampled together."""
    n = len(arrays[0])
    rng = np.random.default_rng(seed)
    resampled = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, n, n)
        resampled.append(function(*(a[rows] for a in arrays)))
    return percentile_interval(float(function(*arrays)), np.array(resampled), n)


def balanced_rate(labels: np.ndarray, predicted: np.ndarray) -> Score:
    """Balanced accuracy of whole numbers with an interval made of Wilson's for every class (Zou and Donner 2008): it stays
    wide where a class is rare, also where all of it is predicted right."""
    rates = [(float(np.mean(predicted[labels == c] == c)), int((labels == c).sum())) for c in np.unique(labels)]
    ends = [wilson(*rate) for rate in rates]
    value = float(np.mean([p for p, _ in rates]))
    gaps = np.array([[p - low, high - p] for (p, _), (low, high) in zip(rates, ends, strict=True)])
    below, above = np.sqrt((gaps**2).sum(0)) / len(rates)
    return Score(value, max(0.0, value - float(below)), min(1.0, value + float(above)), len(labels))


def area_under_curve(levels: np.ndarray, evidence: np.ndarray, classes: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean area under the ROC curve of one class against the rest, and every sample's influence on it ``(n,)``.

    The influence of a positive is how far the share of negatives below it is from the area, and the other way round (DeLong et
    al. 1988).

    Args:
        levels: ``(n,)`` true classes.
        evidence: ``(n, K)``, larger where a class is more likely; of every class in the order of ``classes``.
        classes: ``(K,)``.
    """
    areas, influence = [], np.zeros(len(levels))
    for said, c in zip(evidence.T, classes, strict=True):
        positive = levels == c
        if positive.all() or not positive.any():
            continue
        yes, no = said[positive], said[~positive]
        above = mid_distribution(no, yes)
        beaten = 1 - mid_distribution(yes, no)
        areas.append(above.mean())
        influence[positive] += (above - areas[-1]) / positive.mean()
        influence[~positive] += (beaten - areas[-1]) / (~positive).mean()
    return float(np.mean(areas)), influence / len(areas)


def mid_distribution(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The mid-distribution function of x at each value: share of x below, ties counting half."""
    x = np.sort(x)
    return (np.searchsorted(x, at, "left") + np.searchsorted(x, at, "right")) / (2 * len(x))


def area_score(levels: np.ndarray, evidence: np.ndarray, classes: np.ndarray) -> Score:
    """:func:`area_under_curve` with the normal interval of its influences, within 0 and 1."""
    value, influence = area_under_curve(levels, evidence, classes)
    half = _Z * float(np.sqrt(np.mean(influence**2) / len(levels)))
    return Score(value, max(0.0, value - half), min(1.0, value + half), len(levels))


def percentile_interval(value: float, resampled: np.ndarray, n: int) -> Score:
    """A value with the percentile bootstrap interval of resampled values ``(r,)``, of which NaN do not count."""
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return Score(float(value), float(low), float(high), n)
