"""Scores by information, in nats: counted after latents and continuous factors are cut into bins of equal width.

The mutual information gap is that of Chen et al. 2018, modularity that of Ridgeway and Mozer 2018. What the scores are good for
is said in :mod:`~labelspace.metrics.disentanglement`, which also offers them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse
from scipy.special import xlogy

from labelspace.metrics.scores import Score
from labelspace.metrics.scoring import (
    TINY,
    Binning,
    CodedSample,
    Discrete,
    Metric,
    by_rows,
    discretised,
    gap,
    measure,
    measure_codes,
    note_crowded,
)


def mig(
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    discrete: Discrete = None,
    bins: int = 20,
    binning: Binning = "width",
    seed: int = 0,
) -> Metric:
    """The mutual information gap: mean over factors of (largest - second largest information of a latent) / entropy.

    The ceiling is what the factors themselves get as codes: less than 1 where they go together, or have more values than there
    are bins (0.90 for dSprites with 20). Resampled: rows.

    Args:
        codes, factors, discrete, bins, binning, seed: as in :func:`~labelspace.metrics.disentanglement.suite`.
    """
    return measure(_mig, _sample(codes, factors, discrete, bins, binning, seed, least_latents=2))


def _sample(
    codes: np.ndarray, factors: np.ndarray, discrete: Discrete, bins: int, binning: Binning, seed: int, **least: int
) -> CodedSample:
    """Checked arrays, and a note where bins are as good as empty."""
    sample = CodedSample.of(codes, factors, discrete, bins, seed, binning=binning, **least)
    note_crowded(sample.codes, discretised(sample.codes, bins, binning), bins)
    return sample


def _mig(sample: CodedSample) -> Score:
    information = _information(sample)

    def normalised(weights: np.ndarray) -> np.ndarray:
        return (gap(information(weights)) / np.maximum(_entropies(sample.levels, weights), TINY)).mean(-1)

    return by_rows(normalised, sample.n, sample.resamples, sample.seed)


def modularity(
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    discrete: Discrete = None,
    bins: int = 20,
    binning: Binning = "width",
    seed: int = 0,
) -> Metric:
    """Modularity: mean over latents of how little a latent informs about factors other than its best (:func:`modularity_of`).

    Counting overstates information by about (bins - 1)(classes - 1) / 2n nats, so that a factor of very many classes takes it
    all: of pure noise, 300 classes in 2,000 samples beside 3 get 0.9998. There the floor is all that there is to see.
    Resampled: rows.

    Args:
        codes, factors, discrete, bins, binning, seed: as in :func:`~labelspace.metrics.disentanglement.suite`.
    """
    return measure(_modularity, _sample(codes, factors, discrete, bins, binning, seed, least_factors=2))


def _modularity(sample: CodedSample) -> Score:
    information = _information(sample)
    return by_rows(lambda weights: modularity_of(information(weights)), sample.n, sample.resamples, sample.seed)


def modularity_of(matrix: np.ndarray) -> np.ndarray:
    """Modularity of information ``(..., d, k)``: mean over latents of one minus the mean square of the other entries
    relative to that of the largest, or of zero for a latent that informs about nothing."""
    squares = np.square(matrix)
    best = squares.max(-1)
    rest = (squares.sum(-1) - best) / (matrix.shape[-1] - 1)
    # Information below 1e-10 nats is rounding.
    return np.where(best > 1e-20, 1 - rest / np.maximum(best, 1e-20), 0.0).mean(-1)


def mutual_information(
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    discrete: Discrete = None,
    bins: int = 20,
    binning: Binning = "width",
    seed: int = 0,
) -> np.ndarray:
    """Mutual information of every latent with every factor in nats, ``(d, k)``: what MIG and modularity summarise.

    Args:
        codes, factors, discrete, bins, binning: as in :func:`~labelspace.metrics.disentanglement.suite`.
        seed: of no influence here.
    """
    sample = _sample(codes, factors, discrete, bins, binning, seed)
    return _information(sample)(np.ones((1, sample.n)))[0]


def mutual_information_score(codes: np.ndarray, *, bins: int = 20, binning: Binning = "width", seed: int = 0) -> Metric:
    """Mean mutual information between two different latents, in nats.

    The floor of counting, about (bins - 1)^2 / (2 n), is in the value and in ``floor``. Resampled: rows.

    Args:
        codes: ``(n, d)``.
        bins: per latent.
        binning: of equal width, or of as many samples each.
        seed: of noise and resampling.
    """

    def score(codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
        binned = discretised(codes, bins, binning)
        first, second = np.triu_indices(codes.shape[1], 1)
        single = _entropies(binned, weights)
        joint = _entropies(binned[:, first] * bins + binned[:, second], weights)
        return (single[:, first] + single[:, second] - joint).mean(1)

    return measure_codes(score, codes, seed, bins=bins, binning=binning)


def _information(sample: CodedSample) -> Callable[[np.ndarray], np.ndarray]:
    """Mutual information of binned latents and factors as a function of weights ``(r, n)``: ``(r, d, k)``, in nats."""
    binned = discretised(sample.codes, sample.bins, sample.binning)
    joint = binned[:, :, None] * (sample.levels.max() + 1) + sample.levels[:, None, :]

    def information(weights: np.ndarray) -> np.ndarray:
        both = _entropies(joint.reshape(sample.n, -1), weights).reshape(len(weights), *joint.shape[1:])
        sums = _entropies(binned, weights)[:, :, None] + _entropies(sample.levels, weights)[:, None, :]
        return np.maximum(sums - both, 0.0)

    return information


def _entropies(groups: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Entropies in nats of integer columns ``(n, g)`` whose rows count as often as weights ``(r, n)`` say, ``(r, g)``."""
    rows = np.ascontiguousarray(weights.T)  # (n, r)
    n, out = len(rows), []
    for column in groups.T:
        # Sums over groups as a product with their one-hot matrix, (groups, n).
        members = sparse.csc_array((np.ones(n, rows.dtype), column, np.arange(n + 1)), shape=(column.max() + 1, n))
        share = members @ rows / rows.sum(0)
        out.append(-xlogy(share, share).sum(0))
    return np.stack(out, 1).astype(np.float64)
