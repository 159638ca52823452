"""Agreement of several models on their latents: the unsupervised disentanglement ranking (Duan et al. 2020).

What it is good for is said in :mod:`~labelspace.metrics.disentanglement`, which also offers it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from labelspace.errors import UserError, unknown
from labelspace.metrics.scoring import (
    RESAMPLES,
    TINY,
    Metric,
    bootstrap_counts,
    checked_codes,
    covariances,
    interval,
    noise_like,
    standardised,
)


def udr(
    representations: Sequence[np.ndarray],
    *,
    divergences: Sequence[np.ndarray] | None = None,
    similarity: Literal["lasso", "spearman"] = "lasso",
    penalty: float = 0.1,
    threshold: float = 0.01,
    seed: int = 0,
) -> list[Metric]:
    """Unsupervised disentanglement ranking: how well a model's latents match, one to one, those of other models.

    The models differ in their seeds and are applied to the same samples. The similarity of a latent of the scored model to one
    of another is the size of its Lasso coefficient when all latents of the scored model predict the other's, both standardised,
    or of their rank correlation. A pair of models scores the mean dominance of the best match; a model scores the median of its
    pairs. Take at least five models. The ceiling, for agreeing uncorrelated latents, is ``1 - penalty`` for the Lasso and 1 for
    ranks (which chance correlations lower by about ``0.8 (d - 1) / sqrt(n)``). Resampled: rows, for all models together, with
    standardisation redone and ranks kept.

    Args:
        representations: per model ``(n, d)``, means of the posterior; d may differ.
        divergences: per model ``(d,)``, the mean KL divergence of each latent from its prior in nats; by default all latents
            that vary count as informative.
        similarity: "lasso" or "spearman".
        penalty: the Lasso's alpha.
        threshold: latents with no more than this divergence are left out.
        seed: of noise and resampling.

    Returns:
        One metric per model, in the order given.

    Raises:
        UserError: for an unknown similarity, and for representations or divergences that do not go together.
    """
    if similarity not in ("lasso", "spearman"):
        raise unknown("similarity", similarity, ("lasso", "spearman"))
    codes = [checked_codes(r, 1) for r in representations]
    if len(codes) < 2:
        raise UserError(f"UDR compares models: it needs at least two representations, got {len(codes)}")
    if len({len(c) for c in codes}) > 1:
        raise UserError(f"representations must be of the same samples, got {[len(c) for c in codes]} rows")
    informative = [c.std(0) > TINY for c in codes]
    if divergences is not None:
        shapes = [np.shape(k) for k in divergences]
        if shapes != [c.shape[1:] for c in codes]:
            raise UserError(f"divergences must be one (d,) per model, as {[c.shape[1:] for c in codes]}, got {shapes}")
        informative = [i & (np.asarray(k) > threshold) for i, k in zip(informative, divergences, strict=True)]
    n = len(codes[0])
    lasso = penalty if similarity == "lasso" else None
    once, rows = np.ones((1, n)), bootstrap_counts(n, RESAMPLES // 4, seed)
    values, resampled = (_agreements(codes, informative, weights, lasso) for weights in (once, rows))
    noise = [noise_like(c, seed + 1 + m) for m, c in enumerate(codes)]
    floors = _agreements(noise, [np.ones(c.shape[1], bool) for c in codes], once, lasso)[0]
    ceiling = 1.0 if lasso is None else 1 - lasso
    parameters = {"rows": n, "models": len(codes), "similarity": similarity, "threshold": threshold, "seed": seed}
    if lasso is not None:
        parameters["penalty"] = lasso
    return [
        Metric(interval(float(v), r, n), float(floor), ceiling, {**parameters, "informative": int(i.sum())})
        for v, r, floor, i in zip(values[0], resampled.T, floors, informative, strict=True)
    ]


def _agreements(
    codes: list[np.ndarray], informative: list[np.ndarray], weights: np.ndarray, penalty: float | None
) -> np.ndarray:
    """Every model's score with rows weighted by ``(r, n)``, ``(r, models)``: by the Lasso, or by ranks without a penalty."""
    from scipy.stats import rankdata  # takes a second to import

    kept = [c[:, i] for c, i in zip(codes, informative, strict=True)]
    joint = np.concatenate(kept, 1)
    correlation = _correlations(rankdata(joint, axis=0) if penalty is None else joint, weights)  # (r, all, all)
    blocks = [slice(a, b) for a, b in pairwise(np.cumsum([0, *(c.shape[1] for c in kept)]))]
    out = np.zeros((len(weights), len(codes), len(codes)))
    for a, own in enumerate(blocks):
        across = correlation[:, own]
        alike = np.abs(across if penalty is None else _lasso(across[..., own], across, penalty))
        for b, other in enumerate(blocks):
            out[:, a, b] = _one_to_one(alike[..., other])
    others = ~np.eye(len(codes), dtype=bool)
    return np.median(out[:, others].reshape(len(weights), len(codes), -1), 2)


def _correlations(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlations of columns with rows weighted by ``(r, n)``, ``(r, d, d)``; zero where a column is constant."""
    out = []
    for covariance in covariances(standardised(x, np.arange(len(x))), weights):
        scale = np.sqrt(np.diag(covariance))
        scale = np.where(scale > 1e-6, scale, np.inf)
        out.append(covariance / np.outer(scale, scale))
    return np.stack(out)


def _lasso(own: np.ndarray, across: np.ndarray, penalty: float) -> np.ndarray:
    """Lasso coefficients of standardised variables by coordinate descent.

    Args:
        own: ``(r, d, d)``, correlations of the predictors.
        across: ``(r, d, t)``, of predictors with targets.
        penalty: relative to half the mean squared error.

    Returns:
        ``(r, d, t)``.
    """
    coefficients = np.zeros_like(across)
    for _ in range(1000):
        before = coefficients.copy()
        for j in range(own.shape[1]):
            pull = across[:, j] - np.einsum("ri,rit->rt", own[:, j], coefficients) + own[:, j, j, None] * coefficients[:, j]
            coefficients[:, j] = np.sign(pull) * np.maximum(np.abs(pull) - penalty, 0)
        if np.abs(coefficients - before).max(initial=0.0) < 1e-6:
            break
    return coefficients


def _one_to_one(alike: np.ndarray) -> np.ndarray:
    """How nearly similarities ``(r, a, b)`` are one to one: mean over either side of best squared over sum."""
    if 0 in alike.shape[1:]:
        return np.zeros(len(alike))
    halves = []
    for axis in (1, 2):
        total = alike.sum(axis)
        halves.append(np.where(total > 0, alike.max(axis) ** 2 / np.where(total > 0, total, 1.0), 0.0).mean(1))
    return (halves[0] + halves[1]) / 2
