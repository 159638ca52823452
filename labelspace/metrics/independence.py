"""Scores of independence: of latents from each other, and of a latent from factors other than its own.

The two of a Gaussian are those of the study of Locatello et al. 2019, the interventional robustness score that of Suter et al.
2019. What the scores are good for is said in :mod:`~labelspace.metrics.disentanglement`, which also offers them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from labelspace.metrics.scores import Score
from labelspace.metrics.scoring import (
    TINY,
    CodedSample,
    Discrete,
    Metric,
    covariances,
    discretised,
    interval,
    measure,
    measure_codes,
)


def gaussian_total_correlation(codes: np.ndarray, *, seed: int = 0) -> Metric:
    """Total correlation in nats of the Gaussian with the codes' covariance; constant latents are left out.

    At most about 14 nats per redundant latent, since correlations are taken as less than perfect by 1e-12. Resampled: rows.

    Args:
        codes: ``(n, d)``.
        seed: of noise and resampling.
    """
    return _measure_covariance(_total_correlation, codes, seed)


def _total_correlation(covariance: np.ndarray) -> float:
    if len(covariance) == 0:
        return 0.0
    scale = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    spectrum = np.linalg.eigvalsh(covariance / np.outer(scale, scale))
    return max(0.0, float(-0.5 * np.log(np.maximum(spectrum, 1e-12)).sum()))


def gaussian_wasserstein(codes: np.ndarray, *, normalised: bool = False, seed: int = 0) -> Metric:
    """Squared Wasserstein-2 distance between the Gaussian with the codes' covariance and the one with its diagonal.

    In squared units of the codes, or, normalised, relative to the codes' total variance. Resampled: rows.

    Args:
        codes: ``(n, d)``.
        normalised: whether to divide by the total variance.
        seed: of noise and resampling.
    """

    def distance(covariance: np.ndarray) -> float:
        if len(covariance) == 0:
            return 0.0
        scale = np.sqrt(np.maximum(np.diag(covariance), 0))
        # The product of diagonal and covariance has the eigenvalues of this symmetric matrix.
        spectrum = np.linalg.eigvalsh(covariance * np.outer(scale, scale))
        distance = max(0.0, 2 * float(np.trace(covariance) - np.sqrt(np.maximum(spectrum, 0)).sum()))
        return distance / float(np.trace(covariance)) if normalised else distance

    return _measure_covariance(distance, codes, seed, normalised=normalised)


def _measure_covariance(compute: Callable[[np.ndarray], float], codes: np.ndarray, seed: int, **parameters: Any) -> Metric:
    """A score of the covariance of those latents that vary."""

    def score(codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
        # The largest latent decides what counts as constant.
        varying = codes[:, codes.std(0) > 1e-7 * max(float(codes.std(0).max()), TINY)]
        return np.array([compute(covariance) for covariance in covariances(varying - varying.mean(0), weights)])

    return measure_codes(score, codes, seed, **parameters)


def irs(
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    discrete: Discrete = None,
    quantile: float = 0.99,
    bins: int = 20,
    seed: int = 0,
) -> Metric:
    """The interventional robustness score: how little a latent moves, at most, while its best factor is held fixed.

    All factors are binned, discrete ones too. A latent's deviation is a quantile of its distance from its mean given the
    factor, averaged over the factor's bins, relative to its largest distance from its overall mean; latents weigh by the
    latter, and constant ones are left out. Zero if none is left. Resampled: rows, 100 times.

    Args:
        codes, factors, discrete, bins, seed: as in :func:`~labelspace.metrics.disentanglement.suite`.
        quantile: of the distance; the paper takes the largest (1).
    """
    return measure(_irs, CodedSample.of(codes, factors, discrete, bins, seed), quantile=quantile)


def _irs(sample: CodedSample, quantile: float) -> Score:
    bins = discretised(sample.levels, sample.bins)

    def score(rows: np.ndarray) -> float:
        codes = sample.codes[rows]
        largest = np.abs(codes - codes.mean(0)).max(0)
        kept = largest > TINY
        if not kept.any():
            return 0.0
        codes, largest = codes[:, kept], largest[kept]
        robust = np.zeros_like(largest)
        for column in bins[rows].T:
            order = np.argsort(column, kind="stable")
            ends = np.cumsum(np.unique(column, return_counts=True)[1])
            parts = np.split(codes[order], ends[:-1])
            deviation = np.mean([_quantile(np.abs(part - part.mean(0)), quantile) for part in parts], 0)
            robust = np.maximum(robust, 1 - deviation / largest)
        return float((robust * largest).sum() / largest.sum())

    draws = np.random.default_rng(sample.seed).integers(0, sample.n, (sample.resamples // 4, sample.n))
    return interval(score(np.arange(sample.n)), np.array([score(rows) for rows in draws]), sample.n)


def _quantile(x: np.ndarray, q: float) -> np.ndarray:
    """Quantile of every column by linear interpolation; numpy's takes several times as long on small arrays."""
    position = q * (len(x) - 1)
    below = int(position)
    ordered = np.partition(x, (below, min(below + 1, len(x) - 1)), axis=0)
    return ordered[below] + (position - below) * (ordered[min(below + 1, len(x) - 1)] - ordered[below])
