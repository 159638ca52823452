"""Generation: are generated samples as good, and as varied, as real ones?

Functions of features ``(n, d)`` or class probabilities ``(n, K)`` of samples. Those of the literature are computed with an
ImageNet network; here they come from whatever network the caller takes, usually the data set's own judge
(:meth:`labelspace.evaluation.judge.Judge.features`), so that values compare within a data set and judge only, and must not be
set beside published ones. :func:`real_halves` gives the value that samples as good as real ones would have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from labelspace.errors import UserError
from labelspace.metrics.diversity import as_matrix, squared_distances
from labelspace.metrics.prediction import as_probabilities
from labelspace.metrics.scores import RESAMPLES, Score, mean, percentile_interval, statistic

Result = TypeVar("Result")


def real_halves(score: Callable[[np.ndarray, np.ndarray], Result], real: np.ndarray, seed: int = 0) -> Result:
    """A score of one random half of the real features against the other: the floor of a distance, the ceiling of a precision.

    Each half has half as many samples, so that the floor of :func:`frechet`, whose bias falls with 1/n, is about twice that of
    the whole; compare like with like by making half as many samples.

    Args:
        score: :func:`frechet`, :func:`kernel_distance` or :func:`precision_recall`.
        real: ``(n, d)``.
        seed: of the halves.
    """
    real = as_matrix("real features", real, 8)
    order = np.random.default_rng(seed).permutation(len(real))
    return score(real[order[: len(order) // 2]], real[order[len(order) // 2 :]])


def _pair(real: np.ndarray, generated: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = (as_matrix(f"{name} features", x, least) for name, x in (("real", real), ("generated", generated)))
    if a.shape[1] != b.shape[1]:
        raise UserError(
            f"real features have {a.shape[1]} columns and generated ones {b.shape[1]}; expected those of one network"
        )
    return a.astype(np.float64), b.astype(np.float64)


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root of a positive semidefinite matrix; eigenvalues that rounding generated negative count as 0."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def frechet(real: np.ndarray, generated: np.ndarray, seed: int = 0) -> Score:
    """Frechet distance between Gaussians fitted to two sets of features (Heusel et al. 2017, with other features).

    ``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2)``, in squared units of the features; 0 is best, there is no ceiling.
    Singular covariances are no trouble. The estimate is biased upwards, by about d/n: see :func:`real_halves`.

    Resampled are the samples' influences (the derivative of the distance by a sample's weight) in both sets, not the fits: the
    interval is about the estimate, bias included.

    Args:
        real: ``(n, d)``.
        generated: ``(m, d)``; the Score's n is the smaller of n and m.
        seed: of the resampling.
    """
    real, generated = _pair(real, generated, 2)
    shift = real.mean(0) - generated.mean(0)
    spread = [np.atleast_2d(np.cov(x.T)) for x in (real, generated)]
    root = _root(spread[0])
    inner = np.maximum(np.linalg.eigvalsh(root @ spread[1] @ root), 0)
    value = max(0.0, float(shift @ shift + np.trace(spread[0]) + np.trace(spread[1]) - 2 * np.sqrt(inner).sum()))
    moved = np.zeros(RESAMPLES)
    rng = np.random.default_rng(seed)
    for x, sign, (mine, other) in ((real, 1, spread), (generated, -1, spread[::-1])):
        centred = x - x.mean(0)
        # The derivative by the covariance is I - T, where T is the optimal map from this Gaussian to the other.
        stretched = np.einsum("nd,de,ne->n", centred, _transport(mine, other), centred, optimize=True)
        influence = 2 * sign * centred @ shift + (centred**2).sum(1) - stretched
        moved += _resampled_means(influence - influence.mean(), rng)
    score = percentile_interval(value, value + moved, min(len(real), len(generated)))
    return replace(score, low=max(0.0, score.low))


def _transport(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a^-1/2 (a^1/2 b a^1/2)^1/2 a^-1/2, on the directions in which ``a`` has any variance."""
    values, vectors = np.linalg.eigh(a)
    kept = values > values[-1] * len(a) * np.finfo(np.float64).eps
    roots, vectors = np.sqrt(values[kept]), vectors[:, kept]
    middle = _root(roots[:, None] * (vectors.T @ b @ vectors) * roots)
    return vectors @ (middle / roots / roots[:, None]) @ vectors.T


def _resampled_means(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)])


def kernel_distance(real: np.ndarray, generated: np.ndarray, seed: int = 0) -> Score:
    """Squared maximum mean discrepancy with the kernel (a.b/d + 1)^3 (Binkowski et al. 2018, with other features).

    Unbiased at any sample size: 0 on average where both sets have one distribution, so that it may be negative; there is no
    ceiling. Both sets are split at random into blocks (at least 20 where there are 40 samples; of about 1,000 samples at most),
    the value is the mean over blocks, and the interval resamples the blocks.

    Args:
        real: ``(n, d)``.
        generated: ``(m, d)``; the Score's n is the smaller of n and m.
        seed: of the blocks.
    """
    real, generated = _pair(real, generated, 4)
    n, most = sorted((len(real), len(generated)))
    blocks = min(n // 2, max(20, -(-most // 1000)))
    rng = np.random.default_rng(seed)
    blocked = [np.array_split(x[rng.permutation(len(x))], blocks) for x in (real, generated)]
    values = [_within(_cubic(a, a)) + _within(_cubic(b, b)) - 2 * _cubic(a, b).mean() for a, b in zip(*blocked, strict=True)]
    return replace(mean(np.array(values), seed), n=n)


def _cubic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    base = a @ b.T / a.shape[1] + 1
    return base * base * base


def _within(kernel: np.ndarray) -> float:
    """The mean of a kernel over pairs of different samples."""
    return float((kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1)))


def inception_style_score(probabilities: np.ndarray) -> Score:
    """``exp(E KL(p(y|x) || p(y)))`` of class probabilities of generated samples (Salimans et al. 2016, but of any classifier).

    In [1, K]: 1 if all samples are classified alike (or all unsure), K if each is classified surely and all
    classes come equally often. It does not look at real samples and does not see diversity within a class; that of real samples
    is what to compare with. Resampled are samples, with p(y) computed again.

    Args:
        probabilities: ``(n, K)``.
    """
    p = as_probabilities(probabilities)
    return statistic(_gain, p, _entropies(p))


def _entropies(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.maximum(p, np.finfo(np.float64).tiny))).sum(-1)


def _gain(p: np.ndarray, entropies: np.ndarray) -> float:
    return float(np.exp(_entropies(p.mean(0)) - entropies.mean()))


def precision_recall(real: np.ndarray, generated: np.ndarray, k: int = 3) -> dict[str, Score]:
    """How many generated samples are among the real ones, and how many real ones among the generated.

    A set's manifold is the union of balls about its samples, each reaching to the sample's k-th nearest neighbour in the set.

    Args:
        real: ``(n, d)``.
        generated: ``(m, d)``.
        k: neighbours.

    Returns:
        "precision": share of generated samples on the real manifold; "recall": share of real samples on the generated manifold
        (Kynkaanniemi et al. 2019); "density": mean over generated samples of the real balls that it lies in, over k, which
        outliers among the real do not inflate; and "coverage": share of real balls with a generated sample in them (Naeem et
        al. 2020).
        The floor is 0. The ceiling of precision and recall is not 1: :func:`real_halves` measures it; that of density is
        about 1 and of coverage about 1 - 2^-k. Resampled are samples' verdicts; the manifolds stay.
    """
    real, generated = _pair(real, generated, 2)
    if not 1 <= k < min(len(real), len(generated)):
        raise UserError(f"k is {k} with {len(real)} real and {len(generated)} generated samples; expected 1 <= k < both")
    reach_real, reach_generated = _reach(real, k), _reach(generated, k)
    density, covered, recalled = [], np.zeros(len(real), bool), np.zeros(len(real), bool)
    for rows, block in squared_distances(generated, real):
        inside = block <= reach_real
        density.append(inside.sum(1))
        covered |= inside.any(0)
        recalled |= (block <= reach_generated[rows, None]).any(0)
    balls = np.concatenate(density)
    return {"precision": mean(balls > 0), "recall": mean(recalled), "density": mean(balls / k), "coverage": mean(covered)}


def _reach(x: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each sample to its k-th neighbour, ``(n,)``."""
    from sklearn.neighbors import NearestNeighbors

    centred = x - x.mean(0)  # far from the origin distances lose digits
    distances, _ = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(centred).kneighbors()  # without the sample itself
    # Where samples repeat the distance is 0, which rounding must not turn into a miss.
    return distances[:, -1] ** 2 + 1e-12 * (centred**2).sum(1).mean()
