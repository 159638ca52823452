"""Codes and sources one to one: the mean correlation coefficient of nonlinear independent component analysis.

For codes that should be the sources themselves up to their order, their signs and a map of each (Hyvarinen and Morioka 2016;
Khemakhem et al. 2020). A rotation of the sources, which most scores of probes cannot see, costs as much as it should.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np

from labelspace.errors import UserError, unknown
from labelspace.metrics.scores import Score
from labelspace.metrics.scoring import RESAMPLES, TINY, Metric, by_rows, checked_codes, covariances, noise_like, standardised

Correlation = Literal["pearson", "spearman"]


def mcc(codes: np.ndarray, sources: np.ndarray, *, correlation: Correlation = "pearson", seed: int = 0) -> Metric:
    """The mean correlation coefficient: every source is matched with a latent of its own so that the sum of the absolute
    correlations is largest; their mean over sources.

    A source for which no latent is left counts 0, and so does one, or a latent, that does not vary. The ceiling is 1, which
    the sources themselves get, in whatever order, with whatever signs and units; a rotation of two independent sources gets the
    larger of the cosine and sine of its angle. Resampled: rows, of which ranks are kept.

    Args:
        codes: ``(n, d)``, means of the posterior.
        sources: ``(n, k)`` numbers, or ``(n,)`` for one: what made the data.
        correlation: "pearson", or "spearman" to allow any monotone map of each source.
        seed: of noise and resampling.

    Raises:
        UserError: arrays that cannot be compared, or an unknown correlation.
    """
    codes, sources = _pair(codes, sources)
    floor = _score(noise_like(codes, seed), sources, correlation, 0, seed).value
    parameters = {"rows": len(codes), "correlation": correlation, "seed": seed}
    return Metric(_score(codes, sources, correlation, RESAMPLES, seed), floor, 1.0, parameters)


def mcc_between(representations: Sequence[np.ndarray], *, correlation: Correlation = "pearson", seed: int = 0) -> Metric:
    """The mean correlation coefficient of models with each other, which are the same but for their seeds: the mean over pairs.

    What is identifiable comes out alike every time, whatever the sources are: a model without identifiable codes stays below 1
    however well it fits. The floor is that of standard normal codes. Resampled: rows, for all models together.

    Args:
        representations: per model ``(n, d)``, means of the posterior of the same samples; d may differ, then the latents of the
            model with fewer are matched.
        correlation, seed: as in :func:`mcc`.

    Raises:
        UserError: fewer than two models, or codes of different samples.
    """
    if len(representations) < 2:
        raise UserError(f"models are compared with each other: two sets of codes are needed, got {len(representations)}")
    codes = [checked_codes(r, 1) for r in representations]
    if len({len(c) for c in codes}) > 1:
        raise UserError(f"codes must be of the same samples, got {[len(c) for c in codes]} rows")

    def score(codes: list[np.ndarray], resamples: int) -> Score:
        ranked = [_prepared(c, correlation) for c in codes]
        pairs = [sorted(pair, key=lambda c: -c.shape[1]) for pair in itertools.combinations(ranked, 2)]

        def mean(weights: np.ndarray) -> np.ndarray:
            return np.mean([_matched(many, few, weights) for many, few in pairs], 0)

        return by_rows(mean, len(codes[0]), resamples, seed)

    floor = score([noise_like(c, seed + 1 + m) for m, c in enumerate(codes)], 0).value
    parameters = {"rows": len(codes[0]), "models": len(codes), "correlation": correlation, "seed": seed}
    return Metric(score(codes, RESAMPLES // 4), floor, 1.0, parameters)


def _pair(codes: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    codes, sources = checked_codes(codes, 1), np.asarray(sources)
    if sources.ndim not in (1, 2) or len(sources) != len(codes):
        raise UserError(f"sources must be (n, k) or (n,) with n = {len(codes)} as in codes, got shape {sources.shape}")
    if sources.dtype.kind not in "biuf" or not np.isfinite(sources).all():
        raise UserError("sources must be numbers without NaN or infinity; words have no correlation")
    return codes, sources.reshape(len(codes), -1).astype(np.float64)


def _score(codes: np.ndarray, sources: np.ndarray, correlation: Correlation, resamples: int, seed: int) -> Score:
    codes, sources = _prepared(codes, correlation), _prepared(sources, correlation)
    return by_rows(lambda weights: _matched(codes, sources, weights), len(codes), resamples, seed)


def _prepared(x: np.ndarray, correlation: Correlation) -> np.ndarray:
    """Standardised columns, or the standardised ranks of their values."""
    if correlation not in ("pearson", "spearman"):
        raise unknown("correlation", correlation, ("pearson", "spearman"))
    if correlation == "spearman":
        from scipy.stats import rankdata  # takes a second to import

        x = rankdata(x, axis=0)
    return standardised(x, np.arange(len(x)))


def _matched(codes: np.ndarray, sources: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The score of rows that count as often as weights ``(r, n)`` say, ``(r,)``."""
    from scipy.optimize import linear_sum_assignment

    d, out = codes.shape[1], []
    for covariance in covariances(np.concatenate([codes, sources], 1), weights):
        scale = np.sqrt(np.maximum(np.diag(covariance), 0))
        scale = np.where(scale > TINY, scale, np.inf)
        alike = np.abs(covariance / np.outer(scale, scale))[:d, d:]
        out.append(alike[linear_sum_assignment(alike, maximize=True)].sum() / sources.shape[1])
    return np.array(out)
