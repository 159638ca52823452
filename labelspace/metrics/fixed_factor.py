"""Scores by fixing a factor: rows share it, and the codes have to tell which (Higgins et al. 2017; Kim and Mnih 2018).

What the scores are good for is said in :mod:`~labelspace.metrics.disentanglement`, which also offers them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from labelspace.metrics.scores import Score, wilson
from labelspace.metrics.scoring import CodedSample, Discrete, Metric, logistic_probe, measure

_AT_ONCE = 1000  # votes that are drawn together
_STILL = 1e-9  # settles ties of latents that do not move at all, and nothing else


def beta_vae(
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    discrete: Discrete = None,
    group: int = 64,
    votes: tuple[int, int] = (10_000, 5_000),
    bins: int = 20,
    seed: int = 0,
) -> Metric:
    """The beta-VAE score: accuracy of a logistic regression that tells which factor a group of pairs agrees in.

    A pair is two different rows with the same value (or bin) of the factor; a vote is the mean over ``group`` pairs of their
    absolute difference in every latent. The regression is fitted on votes from one part of the rows and scored on votes from
    the rest. The interval is Wilson's, of the scored votes.

    Args:
        codes, factors, discrete, bins, seed: as in :func:`~labelspace.metrics.disentanglement.suite`.
        group: pairs per vote.
        votes: for fitting and for scoring.
    """
    sample = CodedSample.of(codes, factors, discrete, bins, seed, least_factors=2)
    return measure(_beta_vae, sample, group=group, votes=votes)


def _beta_vae(sample: CodedSample, group: int, votes: tuple[int, int]) -> Score:
    rng = np.random.default_rng(sample.seed)
    features, truths = [], []
    for rows, count in zip((sample.fit, sample.held), votes, strict=True):
        feature, truth = np.empty((count, sample.codes.shape[1])), np.empty(count, np.int64)
        for k, mine, groups in _fixed_factors(sample, rows, count, rng):
            truth[mine] = k
            for part in np.array_split(mine, len(mine) // _AT_ONCE + 1):
                one, other = groups.pairs(rng, (len(part), group))
                feature[part] = np.abs(sample.codes[one] - sample.codes[other]).mean(1)
        features.append(feature)
        truths.append(truth)
    probe = logistic_probe(features[0], truths[0], 1000)
    return _rate(float((probe.predict(features[1]) == truths[1]).mean()), votes[1], sample)


def factor_vae(
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    discrete: Discrete = None,
    group: int = 64,
    votes: tuple[int, int] = (10_000, 5_000),
    prune: float = 0.05,
    bins: int = 20,
    seed: int = 0,
) -> Metric:
    """The FactorVAE score: accuracy with which the latent of least variance in a group tells the factor that its rows share.

    A vote is the latent of least variance within ``group`` rows that share a value (or bin) of a factor, relative to its
    variance over all rows; every latent stands for the factor that it votes for most often. Rows of a group are drawn with
    replacement. Where several latents do not move at all in a group, as that of a nearly constant factor mostly does not, the
    one whose commonest value is least common has the vote: that it does not move says most. Zero if no latent survives pruning.
    The interval is Wilson's, of the scored votes.

    Args:
        codes, factors, discrete, bins, seed: as in :func:`~labelspace.metrics.disentanglement.suite`.
        group: rows per vote.
        votes: for assigning latents and for scoring.
        prune: latents with a smaller standard deviation, in units of the codes, do not vote.
    """
    sample = CodedSample.of(codes, factors, discrete, bins, seed, least_factors=2)
    return measure(_factor_vae, sample, group=group, votes=votes, prune=prune)


def _factor_vae(sample: CodedSample, group: int, votes: tuple[int, int], prune: float) -> Score:
    rng = np.random.default_rng(sample.seed)
    variance = sample.codes.var(0, ddof=1)
    kept = np.flatnonzero((np.sqrt(variance) >= prune) & (variance > 0))
    if len(kept) == 0:
        return _rate(0.0, votes[1], sample)
    codes = sample.codes[:, kept] / np.sqrt(variance[kept])
    common = np.array([np.unique(column, return_counts=True)[1].max() for column in codes.T]) / sample.n
    tables = []
    for rows, count in zip((sample.fit, sample.held), votes, strict=True):
        table = np.zeros((len(kept), sample.levels.shape[1]))
        for k, mine, groups in _fixed_factors(sample, rows, count, rng):
            for start in range(0, len(mine), _AT_ONCE):
                part = min(_AT_ONCE, len(mine) - start)
                least = (codes[groups.sharing(rng, part, group)].var(1) + _STILL * common).argmin(1)
                table[:, k] += np.bincount(least, minlength=len(kept))
        tables.append(table)
    right = tables[1][np.arange(len(kept)), tables[0].argmax(1)].sum()
    return _rate(float(right / votes[1]), votes[1], sample)


def _fixed_factors(
    sample: CodedSample, rows: np.ndarray, votes: int, rng: np.random.Generator
) -> Iterator[tuple[int, np.ndarray, _Groups]]:
    """Every factor with the numbers of the votes in which it is the fixed one, and the rows grouped by it."""
    fixed = rng.integers(0, sample.levels.shape[1], votes)
    for k, levels in enumerate(sample.levels.T):
        yield k, np.flatnonzero(fixed == k), _Groups(levels, rows)


class _Groups:
    """Rows by the level of one factor; rows that are alone in theirs are left out."""

    def __init__(self, levels: np.ndarray, rows: np.ndarray) -> None:
        present, number, counts = np.unique(levels[rows], return_inverse=True, return_counts=True)
        many = counts[number] > 1
        rows, number = rows[many], number[many]
        self.rows = rows[np.argsort(number, kind="stable")]
        counts = np.bincount(number, minlength=len(present))
        starts = np.cumsum(counts) - counts
        self.count, self.start = (np.repeat(x, counts) for x in (counts, starts))  # of every row's group

    def pairs(self, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Random rows and for each another one of its group."""
        one = rng.integers(0, len(self.rows), shape)
        count, start = self.count[one], self.start[one]
        other = start + (one - start + 1 + (rng.random(shape) * (count - 1)).astype(np.int64)) % count
        return self.rows[one], self.rows[other]

    def sharing(self, rng: np.random.Generator, groups: int, size: int) -> np.ndarray:
        """Rows that share the level of a random row, ``(groups, size)``."""
        first = rng.integers(0, len(self.rows), (groups, 1))
        return self.rows[self.start[first] + (rng.random((groups, size)) * self.count[first]).astype(np.int64)]


def _rate(value: float, votes: int, sample: CodedSample) -> Score:
    """A share of votes that are right, with Wilson's interval where one is wanted."""
    return Score(value, *(wilson(value, votes) if sample.resamples else (value, value)), votes)
