"""A measured value with its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000


@dataclass(frozen=True)
class Score:
    """A value, its bootstrap 95% interval, and the number of samples that it rests on."""

    value: float
    low: float
    high: float
    n: int

    def to_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def mean(values: np.ndarray, seed: int = 0) -> Score:
    """The mean of per-sample values ``(n,)``."""
    values = np.asarray(values, np.float64)
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


def balanced(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over classes of the rate at which the class is predicted right (scikit-learn's takes 20 times as long)."""
    counts = np.bincount(labels)
    right = np.bincount(labels, weights=labels == predicted, minlength=len(counts))
    present = counts > 0
    return float((right[present] / counts[present]).mean())


def percentile_interval(value: float, resampled: np.ndarray, n: int) -> Score:
    """A value with the percentile bootstrap interval of resampled values ``(r,)``, of which NaN do not count."""
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return Score(float(value), float(low), float(high), n)
