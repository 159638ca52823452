"""Disentanglement of codes: does every factor that made the data have a latent of its own?

All scores are functions of codes ``(n, d)`` and of the factors ``(n, k)`` behind the same samples; nothing here knows a model.
A factor is discrete (any values, each many times) or continuous. Deterministic codes (posterior means) are the usual choice.
A score comes as a :class:`Metric`: value and interval, beside its floor (the same score of pure noise, measured) and its
ceiling (the same score of the factors themselves as codes, measured unless a function says otherwise). **Read the value
against both**: for some scores the floor is 0.66, for others the ceiling is 0.25.

- :func:`beta_vae`, 1/k to 1: does a linear reader tell which factor was held fixed? Blind to rotation (entangled codes get
  0.9), and saturates early.
- :func:`factor_vae`, 1/k to 1: does the steadiest latent tell it? Several latents for one factor cost nothing, and dead latents
  win unless they are pruned.
- :func:`mig`, 0 to 1: lead in information of a factor's best latent over its second. A factor in two latents (sine and cosine)
  gets 0; few bins cap it.
- :func:`dci`, 0 to 1: is a latent important for one factor only (D), a factor read off one latent only (C), and how well (I)?
  The importances of correlated latents are not unique.
- :func:`sap`, 0 to 1: lead in linear readability of a factor's best latent over its second. A line cannot read more than three
  ordered classes off one latent: ideal codes of dSprites get 0.25.
- :func:`modularity`, 0 to 1: does a latent inform about one factor only? Dead latents count like live ones; noise gets 0.66.
- :func:`explicitness`, 0.5 to 1 (0 to 1 for continuous factors): does a linear reader of all latents know the factor? Blind to
  rotation: not about disentanglement at all.
- :func:`irs`, 0 to 1: does a latent stay put while other factors vary? Noise gets 0.4, and what it gets depends on n.
- :func:`gaussian_total_correlation`, :func:`gaussian_wasserstein`, :func:`mutual_information_score`, from 0, **lower is
  better**: are latents independent of each other? Independent latents need not be aligned with factors. Their floor is what
  independent latents get, and they have no ceiling.
- :func:`udr`, 0 to 1: do several trained models agree on their latents? An entangled optimum that every seed finds agrees too.

Sources: Higgins et al. 2017; Kim and Mnih 2018; Chen et al. 2018; Eastwood and Williams 2018; Kumar et al. 2018; Ridgeway and
Mozer 2018; Suter et al. 2019; Duan et al. 2020; estimators and parameters as in the study of Locatello et al. 2019, except that
groups of samples that share a factor are drawn from the rows given rather than from a simulator. Scores that train readers do
so on a random two thirds of the rows and score the other third. Information is in nats, by counting, after latents and
continuous factors are cut into ``bins`` bins of equal width between their extremes.

Intervals hold 95% of bootstrap values, shifted so that their median is the value: counts of resampled rows overstate
information (and gaps, and maxima) once more than the rows themselves do. What is resampled is said per score; readers are
never trained again, so what training on other rows would have changed is not in the interval.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F

from labelspace.errors import UserError, unknown
from labelspace.evaluation.boosting import boost
from labelspace.evaluation.scores import Score

_RESAMPLES = 400
_TINY = 1e-12


@dataclass(frozen=True)
class Metric:
    """A score between what noise gets and what can be had.

    Attributes:
        score: value, interval and sample size (rows that the value rests on; votes for the two scores that vote).
        floor: the score of standard normal codes of the same shape, measured once with the same seed.
        ceiling: the best that codes can score on these factors; None where there is no such thing.
        parameters: everything else that the value depends on.
    """

    score: Score
    floor: float | None
    ceiling: float | None
    parameters: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {**self.score.to_dict(), "floor": self.floor, "ceiling": self.ceiling, "parameters": dict(self.parameters)}


def suite(
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    discrete: Sequence[bool],
    bins: int = 20,
    prune: float = 0.05,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """All scores of one representation as plain data, by name.

    Args:
        codes: ``(n, d)``, at least two latents.
        factors: ``(n, k)``, at least two factors.
        discrete: per factor, whether its values are classes.
        bins: per latent and continuous factor.
        prune: standard deviation below which :func:`factor_vae` leaves a latent out.
        seed: of splits, votes, noise and resampling.

    Raises:
        UserError: for arrays that cannot be scored: shapes, NaN, constant factors, too few samples.
    """
    given: dict[str, Any] = {"discrete": discrete, "bins": bins, "seed": seed}
    d, c, i = dci(codes, factors, **given)
    metrics = {
        "beta_vae": beta_vae(codes, factors, **given),
        "factor_vae": factor_vae(codes, factors, prune=prune, **given),
        "mig": mig(codes, factors, **given),
        "dci_disentanglement": d,
        "dci_completeness": c,
        "dci_informativeness": i,
        "sap": sap(codes, factors, **given),
        "modularity": modularity(codes, factors, **given),
        "explicitness": explicitness(codes, factors, **given),
        "irs": irs(codes, factors, **given),
        "gaussian_total_correlation": gaussian_total_correlation(codes, seed=seed),
        "gaussian_wasserstein": gaussian_wasserstein(codes, seed=seed),
        "mutual_information_score": mutual_information_score(codes, bins=bins, seed=seed),
    }
    return {name: metric.to_dict() for name, metric in metrics.items()}


def beta_vae(
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    discrete: Sequence[bool],
    group: int = 64,
    votes: tuple[int, int] = (10_000, 5_000),
    bins: int = 20,
    seed: int = 0,
) -> Metric:
    """The beta-VAE score: accuracy of a logistic regression that tells which factor a group of pairs agrees in.

    A pair is two different rows with the same value (or bin) of the factor; a vote is the mean over ``group`` pairs of their
    absolute difference in every latent. The regression is fitted on votes from one part of the rows and scored on votes from
    the rest. Resampled: the scored votes.

    Args:
        codes, factors, discrete, bins, seed: as in :func:`suite`.
        group: pairs per vote.
        votes: for fitting and for scoring.
    """
    sample = _Sample.of(codes, factors, discrete, bins, seed, latents=1, least_factors=2)
    return _measure(_beta_vae, sample, group=group, votes=votes)[0]


def factor_vae(
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    discrete: Sequence[bool],
    group: int = 64,
    votes: tuple[int, int] = (10_000, 5_000),
    prune: float = 0.05,
    bins: int = 20,
    seed: int = 0,
) -> Metric:
    """The FactorVAE score: accuracy with which the steadiest latent of a group tells the factor that its rows share.

    A vote is the latent of least variance within ``group`` rows that share a value (or bin) of a factor, relative to its
    variance over all rows; every latent stands for the factor that it votes for most often. Rows of a group are drawn with
    replacement. Zero if no latent survives pruning. Resampled: the scored votes.

    Args:
        codes, factors, discrete, bins, seed: as in :func:`suite`.
        group: rows per vote.
        votes: for assigning latents and for scoring.
        prune: latents with a smaller standard deviation, in units of the codes, do not vote.
    """
    sample = _Sample.of(codes, factors, discrete, bins, seed, latents=1, least_factors=2)
    return _measure(_factor_vae, sample, group=group, votes=votes, prune=prune)[0]


def mig(codes: np.ndarray, factors: np.ndarray, *, discrete: Sequence[bool], bins: int = 20, seed: int = 0) -> Metric:
    """The mutual information gap: mean over factors of (largest - second largest information of a latent) / entropy.

    The ceiling is exact for the binning: the mean share of a factor's entropy that is left when the factor itself, as evenly
    spaced values, is cut into the bins. It is 0.90 for dSprites with 20 bins and 1 with at least as many bins as values.
    Resampled: rows.

    Args:
        codes, factors, discrete, bins, seed: as in :func:`suite`.
    """
    sample = _Sample.of(codes, factors, discrete, bins, seed, latents=2)
    binned = np.stack([_cut(column, bins) for column in sample.levels.T], 1)
    weights = np.ones((1, sample.n))
    ceiling = float((_entropies(binned, weights) / _entropies(sample.levels, weights)).mean())
    return _measure(_mig, sample, ceiling=ceiling)[0]


def dci(
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    discrete: Sequence[bool],
    stages: int = 100,
    depth: int = 3,
    rate: float = 0.1,
    bins: int = 20,
    seed: int = 0,
) -> tuple[Metric, Metric, Metric]:
    """Disentanglement, completeness and informativeness, from gradient boosted trees that read factors off codes.

    The importances of latents for factors (:mod:`~labelspace.evaluation.boosting`) give D, one minus the entropy of a latent's
    importances over factors, and C, one minus that of a factor's over latents, both weighted by importance. I is the mean
    accuracy on held-out rows, with R^2 (not below zero) in place of accuracy for a continuous factor.

    Resampled: for I, held-out rows; for D and C, training rows with the trees as they are, that is, what each row contributes
    to the importances.

    Args:
        codes, factors, discrete, seed: as in :func:`suite`.
        stages: trees per class.
        depth: of a tree.
        rate: learning rate.
        bins: of no influence here.
    """
    sample = _Sample.of(codes, factors, discrete, bins, seed, latents=2, least_factors=2)
    return tuple(_measure(_dci, sample, stages=stages, depth=depth, rate=rate))  # type: ignore[return-value]


def sap(
    codes: np.ndarray, factors: np.ndarray, *, discrete: Sequence[bool], cost: float = 0.01, bins: int = 20, seed: int = 0
) -> Metric:
    """Separated attribute predictability: mean over factors of the lead of the best latent over the second.

    A latent's readability is the held-out accuracy of a linear support vector machine on that latent alone (squared hinge, one
    against the rest, balanced weights) for a discrete factor, and the squared correlation on the training rows for a continuous
    one. Resampled: those rows.

    Args:
        codes, factors, discrete, seed: as in :func:`suite`.
        cost: C of the machine; codes are not standardised, so their scale matters.
        bins: of no influence here.
    """
    sample = _Sample.of(codes, factors, discrete, bins, seed, latents=2)
    return _measure(_sap, sample, cost=cost)[0]


def modularity(codes: np.ndarray, factors: np.ndarray, *, discrete: Sequence[bool], bins: int = 20, seed: int = 0) -> Metric:
    """Modularity: mean over latents of how little a latent informs about factors other than its best (:func:`modularity_of`).

    Resampled: rows.

    Args:
        codes, factors, discrete, bins, seed: as in :func:`suite`.
    """
    sample = _Sample.of(codes, factors, discrete, bins, seed, latents=1, least_factors=2)
    return _measure(_modularity, sample)[0]


def explicitness(codes: np.ndarray, factors: np.ndarray, *, discrete: Sequence[bool], bins: int = 20, seed: int = 0) -> Metric:
    """Explicitness: mean over factors of how well a linear reader of all latents does on held-out rows.

    Discrete: area under the ROC curve of a logistic regression on standardised codes, mean over one class against the rest,
    not rescaled, so that chance is 0.5. Continuous: R^2 of least squares, not below zero, so that chance is 0. The two are on
    different scales; with factors of both kinds read the floor. Resampled: held-out rows, the area to first order (each row's
    influence on it).

    Args:
        codes, factors, discrete, seed: as in :func:`suite`.
        bins: of no influence here.
    """
    sample = _Sample.of(codes, factors, discrete, bins, seed, latents=1)
    return _measure(_explicitness, sample)[0]


def irs(
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    discrete: Sequence[bool],
    quantile: float = 0.99,
    bins: int = 20,
    seed: int = 0,
) -> Metric:
    """The interventional robustness score: how little a latent moves, at most, while its best factor is held fixed.

    All factors are binned, discrete ones too. A latent's deviation is a quantile of its distance from its mean given the
    factor, averaged over the factor's bins, relative to its largest distance from its overall mean; latents weigh by the
    latter, and constant ones are left out. Zero if none is left. Resampled: rows, 100 times.

    Args:
        codes, factors, discrete, bins, seed: as in :func:`suite`.
        quantile: of the distance; the paper takes the largest (1).
    """
    sample = _Sample.of(codes, factors, discrete, bins, seed, latents=1)
    return _measure(_irs, sample, quantile=quantile)[0]


def gaussian_total_correlation(codes: np.ndarray, *, seed: int = 0) -> Metric:
    """Total correlation in nats of the Gaussian with the codes' covariance; constant latents are left out.

    At most about 14 nats per redundant latent, since correlations are taken as less than perfect by 1e-12. Resampled: rows.

    Args:
        codes: ``(n, d)``.
        seed: of noise and resampling.
    """
    return _measure_codes(lambda covariance, _: _total_correlation(covariance), codes, seed)


def gaussian_wasserstein(codes: np.ndarray, *, normalised: bool = False, seed: int = 0) -> Metric:
    """Squared Wasserstein-2 distance between the Gaussian with the codes' covariance and the one with its diagonal.

    In squared units of the codes, or, normalised, relative to the codes' total variance. Resampled: rows.

    Args:
        codes: ``(n, d)``.
        normalised: whether to divide by the total variance.
        seed: of noise and resampling.
    """
    return _measure_codes(_wasserstein, codes, seed, normalised=normalised)


def mutual_information_score(codes: np.ndarray, *, bins: int = 20, seed: int = 0) -> Metric:
    """Mean mutual information between two different latents, in nats.

    The floor of counting, about (bins - 1)^2 / (2 n), is in the value and in ``floor``. Resampled: rows.

    Args:
        codes: ``(n, d)``.
        bins: per latent.
        seed: of noise and resampling.
    """
    codes = _checked_codes(codes, 2)

    def compute(codes: np.ndarray, resamples: int) -> Score:
        binned = np.stack([_cut(column, bins) for column in codes.T], 1)
        first, second = np.triu_indices(codes.shape[1], 1)

        def score(weights: np.ndarray) -> np.ndarray:
            single = _entropies(binned, weights)
            joint = _entropies(binned[:, first] * bins + binned[:, second], weights)
            return (single[:, first] + single[:, second] - joint).mean(1)

        return _by_rows(score, len(codes), resamples, seed, high=np.inf)

    floor = compute(_noise(codes.shape, seed), 0).value
    return Metric(compute(codes, _RESAMPLES), floor, None, {"rows": len(codes), "bins": bins, "seed": seed})


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
    or of their rank correlation. A pair of models scores the mean lead of the best match; a model scores the median of its
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
    """
    if similarity not in ("lasso", "spearman"):
        raise unknown("similarity", similarity, ("lasso", "spearman"))
    codes = [_checked_codes(r, 1) for r in representations]
    if len(codes) < 2:
        raise UserError(f"UDR compares models: it needs at least two representations, got {len(codes)}")
    if len({len(c) for c in codes}) > 1:
        raise UserError(f"representations must be of the same samples, got {[len(c) for c in codes]} rows")
    informative = [c.std(0) > _TINY for c in codes]
    if divergences is not None:
        shapes = [np.shape(k) for k in divergences]
        if shapes != [c.shape[1:] for c in codes]:
            raise UserError(f"divergences must be one (d,) per model, as {[c.shape[1:] for c in codes]}, got {shapes}")
        informative = [i & (np.asarray(k) > threshold) for i, k in zip(informative, divergences, strict=True)]
    n = len(codes[0])
    rows = _weights(n, _RESAMPLES // 4, seed)

    def scores(codes: list[np.ndarray], informative: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
        kept = [c[:, i] for c, i in zip(codes, informative, strict=True)]
        ends = np.cumsum([0, *(c.shape[1] for c in kept)])
        joint = np.concatenate(kept, 1)
        if similarity == "spearman":
            joint = _ranks(joint)
        correlation = _correlations(joint, weights)  # (r, all, all)
        blocks = [slice(a, b) for a, b in pairwise(ends)]
        out = np.zeros((len(weights), len(codes), len(codes)))
        for a, own in enumerate(blocks):
            alike = np.abs(correlation[:, own])
            if similarity == "lasso":
                alike = np.abs(_lasso(correlation[:, own, own], correlation[:, own], penalty))
            for b, other in enumerate(blocks):
                out[:, a, b] = _one_to_one(alike[..., other])
        others = ~np.eye(len(codes), dtype=bool)
        return np.median(out[:, others].reshape(len(weights), len(codes), -1), 2)

    values, resampled = scores(codes, informative, np.ones((1, n)))[0], scores(codes, informative, rows)
    noise = [_noise(c.shape, seed + 1 + m) for m, c in enumerate(codes)]
    floors = scores(noise, [np.ones(c.shape[1], bool) for c in codes], np.ones((1, n)))[0]
    ceiling = 1 - penalty if similarity == "lasso" else 1.0
    parameters = {"rows": n, "models": len(codes), "similarity": similarity, "threshold": threshold, "seed": seed}
    if similarity == "lasso":
        parameters["penalty"] = penalty
    return [
        Metric(_interval(float(v), r, n), float(floor), ceiling, {**parameters, "informative": int(i.sum())})
        for v, r, floor, i in zip(values, resampled.T, floors, informative, strict=True)
    ]


def mutual_information(
    codes: np.ndarray, factors: np.ndarray, *, discrete: Sequence[bool], bins: int = 20, seed: int = 0
) -> np.ndarray:
    """Mutual information of every latent with every factor in nats, ``(d, k)``: what MIG and modularity summarise.

    Args:
        codes, factors, discrete, bins, seed: as in :func:`suite`; the seed is of no influence here.
    """
    sample = _Sample.of(codes, factors, discrete, bins, seed, latents=1)
    return _information(sample)(np.ones((1, sample.n)))[0]


def disentanglement_of(importances: np.ndarray) -> np.ndarray:
    """D of nonnegative importances ``(..., d, k)``: per latent one minus entropy over factors (log base k), weighted."""
    per_latent, weight = _concentration(importances), importances.sum(-1)
    return (per_latent * weight).sum(-1) / np.maximum(weight.sum(-1), _TINY)


def completeness_of(importances: np.ndarray) -> np.ndarray:
    """C of nonnegative importances ``(..., d, k)``: per factor one minus entropy over latents (log base d), weighted."""
    return disentanglement_of(np.swapaxes(importances, -1, -2))


def modularity_of(matrix: np.ndarray) -> np.ndarray:
    """Modularity of information ``(..., d, k)``: mean over latents of one minus the mean square of the other entries
    relative to that of the largest, or of zero for a latent that informs about nothing."""
    squares = np.square(matrix)
    best = squares.max(-1)
    rest = (squares.sum(-1) - best) / (matrix.shape[-1] - 1)
    # Information below 1e-10 nats is rounding.
    return np.where(best > 1e-20, 1 - rest / np.maximum(best, 1e-20), 0.0).mean(-1)


# The scores. Each takes a sample and its own parameters.


@dataclass(frozen=True)
class _Sample:
    """Checked codes and factors of one scoring.

    Attributes:
        codes: ``(n, d)``.
        values: ``(n, k)``: as given for continuous factors, the number of the value for discrete ones.
        levels: ``(n, k)`` integers: the number of the value, or the bin.
        discrete: per factor.
        fit, held: rows that readers are trained on and scored on.
        resamples: how often to resample for intervals; 0 where only the value is wanted.
    """

    codes: np.ndarray
    values: np.ndarray
    levels: np.ndarray
    discrete: tuple[bool, ...]
    bins: int
    seed: int
    fit: np.ndarray
    held: np.ndarray
    resamples: int = _RESAMPLES

    @classmethod
    def of(
        cls,
        codes: np.ndarray,
        factors: np.ndarray,
        discrete: Sequence[bool],
        bins: int,
        seed: int,
        *,
        latents: int,
        least_factors: int = 1,
    ) -> _Sample:
        codes, factors = _checked_codes(codes, latents), np.asarray(factors)
        n = len(codes)
        if factors.ndim != 2 or len(factors) != n:
            raise UserError(f"factors must be (n, k) with n = {n} as in codes, got shape {factors.shape}")
        if len(discrete) != factors.shape[1]:
            raise UserError(f"discrete must say yes or no for each of {factors.shape[1]} factors, got {len(discrete)} entries")
        if factors.shape[1] < least_factors:
            raise UserError(f"this score compares factors: it needs at least {least_factors}, got {factors.shape[1]}")
        if bins < 2:
            raise UserError(f"bins must be at least 2, got {bins}")
        if not np.isfinite(factors.astype(np.float64)).all():
            raise UserError("factors contain NaN or infinity; leave out the rows where a factor is not known")
        order = np.random.default_rng(seed).permutation(n)
        fit, held = np.sort(order[n // 3 :]), np.sort(order[: n // 3])
        values, levels = np.zeros(factors.shape), np.zeros(factors.shape, np.int64)
        for k, column in enumerate(factors.T):
            known, number = np.unique(column, return_inverse=True)
            if len(known) < 2:
                raise UserError(f"factor {k} is constant ({known[0]}); leave it out")
            if discrete[k] and len(known) > n / 5:
                raise UserError(
                    f"factor {k} has {len(known)} values in {n} samples, too many for classes; say that it is not discrete"
                )
            values[:, k] = number if discrete[k] else column
            levels[:, k] = number if discrete[k] else _cut(column.astype(np.float64), bins)
            if any(len(np.unique(levels[rows, k])) < 2 for rows in (fit, held)):
                raise UserError(f"factor {k} has nearly always the same value: too few samples of the others to score readers")
        return cls(codes, values, levels, tuple(bool(x) for x in discrete), bins, seed, fit, held)

    @property
    def n(self) -> int:
        return len(self.codes)

    def noise(self) -> _Sample:
        return replace(self, codes=_noise(self.codes.shape, self.seed), resamples=0)

    def ideal(self) -> _Sample:
        """The factors themselves as codes, standardised; a single one beside a latent of noise, to have a second."""
        codes = (self.values - self.values.mean(0)) / self.values.std(0)
        if codes.shape[1] == 1:
            codes = np.concatenate([codes, _noise(codes.shape, self.seed)], 1)
        return replace(self, codes=codes, resamples=0)


def _measure(
    compute: Callable[..., tuple[Score, ...]], sample: _Sample, ceiling: float | None = None, **parameters: Any
) -> list[Metric]:
    scores = compute(sample, **parameters)
    floors = [score.value for score in compute(sample.noise(), **parameters)]
    ceilings = [score.value for score in compute(sample.ideal(), **parameters)] if ceiling is None else [ceiling]
    parameters = {key: list(p) if isinstance(p, tuple) else p for key, p in parameters.items()}
    parameters = {**parameters, "rows": sample.n, "bins": sample.bins, "seed": sample.seed}
    return [Metric(s, f, c, parameters) for s, f, c in zip(scores, floors, ceilings, strict=True)]


def _measure_codes(
    compute: Callable[[np.ndarray, bool], float], codes: np.ndarray, seed: int, normalised: bool | None = None
) -> Metric:
    """A score of the covariance of codes."""
    codes = _checked_codes(codes, 2)

    def score(codes: np.ndarray, resamples: int) -> Score:
        # The largest latent decides what counts as constant.
        varying = codes.std(0) > 1e-7 * max(float(codes.std(0).max()), _TINY)
        centred = codes[:, varying] - codes[:, varying].mean(0)

        def covariance(weights: np.ndarray) -> np.ndarray:
            values = []
            for row in weights:
                mean = row @ centred / len(centred)
                second = (centred * row[:, None]).T @ centred
                values.append(compute(second / len(centred) - np.outer(mean, mean), bool(normalised)))
            return np.array(values)

        return _by_rows(covariance, len(codes), resamples, seed, high=np.inf)

    parameters: dict[str, Any] = {"rows": len(codes), "seed": seed}
    if normalised is not None:
        parameters["normalised"] = normalised
    return Metric(score(codes, _RESAMPLES), score(_noise(codes.shape, seed), 0).value, None, parameters)


def _beta_vae(sample: _Sample, group: int, votes: tuple[int, int]) -> tuple[Score]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(sample.seed)
    features, truth = [], []
    for rows, count in zip((sample.fit, sample.held), votes, strict=True):
        fixed = rng.integers(0, sample.levels.shape[1], count)
        feature = np.empty((count, sample.codes.shape[1]))
        for k in range(sample.levels.shape[1]):
            groups, mine = _Groups(sample.levels[:, k], rows), np.flatnonzero(fixed == k)
            for part in np.array_split(mine, len(mine) // 1000 + 1):
                one, other = groups.pairs(rng, (len(part), group))
                feature[part] = np.abs(sample.codes[one] - sample.codes[other]).mean(1)
        features.append(feature)
        truth.append(fixed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as far as it gets is the score
        reader = LogisticRegression(max_iter=1000).fit(features[0], truth[0])
    return (_rate(float((reader.predict(features[1]) == truth[1]).mean()), votes[1], sample),)


def _factor_vae(sample: _Sample, group: int, votes: tuple[int, int], prune: float) -> tuple[Score]:
    rng = np.random.default_rng(sample.seed)
    variance = sample.codes.var(0, ddof=1)
    kept = np.flatnonzero((np.sqrt(variance) >= prune) & (variance > 0))
    if len(kept) == 0:
        return (_rate(0.0, votes[1], sample),)
    codes = sample.codes[:, kept] / np.sqrt(variance[kept])
    tables = []
    for rows, count in zip((sample.fit, sample.held), votes, strict=True):
        fixed = rng.integers(0, sample.levels.shape[1], count)
        table = np.zeros((len(kept), sample.levels.shape[1]))
        for k in range(table.shape[1]):
            groups, left = _Groups(sample.levels[:, k], rows), int((fixed == k).sum())
            while left:
                part = min(left, 1000)
                steadiest = codes[groups.sharing(rng, part, group)].var(1).argmin(1)
                table[:, k] += np.bincount(steadiest, minlength=len(kept))
                left -= part
        tables.append(table)
    right = tables[1][np.arange(len(kept)), tables[0].argmax(1)].sum()
    return (_rate(float(right / votes[1]), votes[1], sample),)


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


def _mig(sample: _Sample) -> tuple[Score]:
    information = _information(sample)

    def score(weights: np.ndarray) -> np.ndarray:
        return (_lead(information(weights)) / np.maximum(_entropies(sample.levels, weights), _TINY)).mean(-1)

    return (_by_rows(score, sample.n, sample.resamples, sample.seed),)


def _modularity(sample: _Sample) -> tuple[Score]:
    information = _information(sample)
    return (_by_rows(lambda weights: modularity_of(information(weights)), sample.n, sample.resamples, sample.seed),)


def _dci(sample: _Sample, stages: int, depth: int, rate: float) -> tuple[Score, Score, Score]:
    fit, held = sample.fit, sample.held
    values = np.where(sample.discrete, sample.values, _standardised(sample.values, fit))
    found = boost(
        sample.codes[fit],
        values[fit],
        sample.codes[held],
        discrete=list(sample.discrete),
        stages=stages,
        depth=depth,
        rate=rate,
        shares=sample.resamples > 0,
        seed=sample.seed,
    )
    resampled = np.zeros((0, *found.importances.shape))
    if found.shares is not None:
        weights = _weights(len(fit), sample.resamples, sample.seed)
        sums = (weights @ found.shares.reshape(len(fit), -1)).reshape(-1, *found.importances.shape).clip(0)
        resampled = sums / np.maximum(sums.sum(1, keepdims=True), _TINY)
    scores = [
        _interval(float(summary(found.importances)), summary(resampled), len(fit))
        for summary in (disentanglement_of, completeness_of)
    ]

    def read(weights: np.ndarray) -> np.ndarray:
        rates = [
            weights @ (p == y) / len(y) if discrete else _r_squared(y, p, weights)
            for y, p, discrete in zip(values[held].T, found.predictions.T, sample.discrete, strict=True)
        ]
        return np.mean(rates, 0)

    return scores[0], scores[1], _by_rows(read, len(held), sample.resamples, sample.seed)


def _sap(sample: _Sample, cost: float) -> tuple[Score]:
    fit, held, d = sample.fit, sample.held, sample.codes.shape[1]
    weights = [
        np.concatenate([np.ones((1, len(rows))), _weights(len(rows), sample.resamples, sample.seed)]) for rows in (fit, held)
    ]
    leads = []
    for k, discrete in enumerate(sample.discrete):
        if discrete:
            right = [
                _separate(sample.codes[fit, i], sample.levels[fit, k], sample.codes[held, i], cost) == sample.levels[held, k]
                for i in range(d)
            ]
            readable = weights[1] @ np.stack(right, 1) / len(held)
        else:
            x, y = _standardised(sample.codes, fit)[fit], _standardised(sample.values, fit)[fit, k]
            mean, second, across = (weights[0] @ m / len(fit) for m in (x, x * x, x * y[:, None]))
            mean_y, second_y = (weights[0] @ m[:, None] / len(fit) for m in (y, y * y))
            spread = (second - mean**2) * (second_y - mean_y**2)
            readable = np.where(spread > _TINY, (across - mean * mean_y) ** 2 / np.maximum(spread, _TINY), 0.0)
        leads.append(_lead(readable[..., None])[:, 0])
    values = np.mean(leads, 0)
    return (_interval(float(values[0]), values[1:], len(held)),)


def _explicitness(sample: _Sample) -> tuple[Score]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    fit, held = sample.fit, sample.held
    codes = _standardised(sample.codes, fit)
    weights = _weights(len(held), sample.resamples, sample.seed)
    values, resampled = [], []
    for k, discrete in enumerate(sample.discrete):
        if discrete:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # the ranking settles long before the weights do
                reader = LogisticRegression(max_iter=100).fit(codes[fit], sample.levels[fit, k])
            value, influence = _area(sample.levels[held, k], reader.predict_proba(codes[held]), reader.classes_)
            values.append(value)
            resampled.append(value + weights @ influence / len(held))
        else:
            design = np.concatenate([codes, np.ones((sample.n, 1))], 1)
            solution = np.linalg.lstsq(design[fit], sample.values[fit, k], rcond=None)[0]
            y, read = sample.values[held, k], design[held] @ solution
            values.append(float(_r_squared(y, read, np.ones((1, len(held))))[0]))
            resampled.append(_r_squared(y, read, weights))
    return (_interval(float(np.mean(values)), np.mean(resampled, 0), len(held)),)


def _irs(sample: _Sample, quantile: float) -> tuple[Score]:
    bins = np.stack([_cut(column.astype(np.float64), sample.bins) for column in sample.levels.T], 1)

    def score(rows: np.ndarray) -> float:
        codes = sample.codes[rows]
        largest = np.abs(codes - codes.mean(0)).max(0)
        kept = largest > _TINY
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
    return (_interval(score(np.arange(sample.n)), np.array([score(rows) for rows in draws]), sample.n),)


# Parts.


def _checked_codes(codes: np.ndarray, latents: int) -> np.ndarray:
    codes = np.asarray(codes, np.float64)
    if codes.ndim != 2:
        raise UserError(f"codes must be (n, d), one row per sample, got shape {codes.shape}")
    if codes.shape[1] < latents:
        raise UserError(f"this score compares latents: it needs at least {latents}, got {codes.shape[1]}")
    if len(codes) < 50:
        raise UserError(f"too few samples: scores of codes need at least 50, better 10,000, got {len(codes)}")
    if not np.isfinite(codes).all():
        raise UserError("codes contain NaN or infinity; has the model diverged?")
    return codes


def _noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng([seed, 1]).normal(size=shape)


def _standardised(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """By mean and deviation over some rows; constant columns become zero."""
    scale = x[rows].std(0)
    return (x - x[rows].mean(0)) / np.where(scale > _TINY, scale, np.inf)


def _cut(x: np.ndarray, bins: int) -> np.ndarray:
    """Numbers of bins of equal width between the extremes."""
    edges = np.linspace(x.min(), x.max(), bins + 1)
    return np.searchsorted(edges[1:-1], x, side="right") if edges[0] < edges[-1] else np.zeros(len(x), np.int64)


def _weights(n: int, resamples: int, seed: int) -> np.ndarray:
    """How often every row is in each bootstrap sample, ``(resamples, n)``."""
    draws = np.random.default_rng([seed, 2]).integers(0, n, (resamples, n)) + np.arange(resamples)[:, None] * n
    return np.bincount(draws.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.float32)


def _interval(value: float, resampled: np.ndarray, n: int, high: float = 1.0) -> Score:
    """Value with the quantiles of resampled values moved onto it, within 0 and ``high``."""
    if len(resampled) == 0:
        return Score(value, value, value, n)
    low, middle, top = np.quantile(resampled, [0.025, 0.5, 0.975])
    return Score(value, max(0.0, value + float(low - middle)), min(high, value + float(top - middle)), n)


def _by_rows(score: Callable[[np.ndarray], np.ndarray], n: int, resamples: int, seed: int, high: float = 1.0) -> Score:
    """A score of rows from a function of their weights ``(resamples, n)``."""
    value = float(score(np.ones((1, n)))[0])
    return _interval(value, score(_weights(n, resamples, seed)) if resamples else np.zeros(0), n, high)


def _rate(value: float, votes: int, sample: _Sample) -> Score:
    rng = np.random.default_rng(sample.seed)
    return _interval(value, rng.binomial(votes, value, sample.resamples * 10) / votes, votes)


def _entropies(groups: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Entropies in nats of integer columns ``(n, g)`` whose rows count as often as weights ``(r, n)`` say, ``(r, g)``."""
    rows = torch.from_numpy(np.ascontiguousarray(weights.T))  # (n, r)
    out = []
    for column in torch.from_numpy(np.ascontiguousarray(groups.T)):
        starts = F.pad(torch.bincount(column).cumsum(0), (1, 0))
        counts = F.embedding_bag(column.argsort(), rows, starts, mode="sum", include_last_offset=True)  # (groups, r)
        share = counts / counts.sum(0)
        out.append(-torch.xlogy(share, share).sum(0))
    return torch.stack(out, 1).double().numpy()


def _information(sample: _Sample) -> Callable[[np.ndarray], np.ndarray]:
    """Mutual information of binned latents and factors as a function of weights ``(r, n)``: ``(r, d, k)``, in nats."""
    binned = np.stack([_cut(column, sample.bins) for column in sample.codes.T], 1)
    joint = binned[:, :, None] * (sample.levels.max() + 1) + sample.levels[:, None, :]

    def information(weights: np.ndarray) -> np.ndarray:
        both = _entropies(joint.reshape(sample.n, -1), weights).reshape(len(weights), *joint.shape[1:])
        sums = _entropies(binned, weights)[:, :, None] + _entropies(sample.levels, weights)[:, None, :]
        return np.maximum(sums - both, 0.0)

    return information


def _lead(matrix: np.ndarray) -> np.ndarray:
    """Largest less second largest over latents of ``(..., d, k)``."""
    top = np.sort(matrix, axis=-2)
    return top[..., -1, :] - top[..., -2, :]


def _concentration(matrix: np.ndarray) -> np.ndarray:
    """One minus the entropy of rows, in units of the largest possible; zero for a row of zeros."""
    matrix = np.asarray(matrix, np.float64)
    total = matrix.sum(-1, keepdims=True)
    share = np.where(total > 0, matrix / np.where(total > 0, total, 1.0), 1 / matrix.shape[-1])
    return 1 + (share * np.log(np.maximum(share, 1e-300))).sum(-1) / np.log(matrix.shape[-1])


def _quantile(x: np.ndarray, q: float) -> np.ndarray:
    """Quantile of every column by linear interpolation; numpy's takes several times as long on small arrays."""
    position = q * (len(x) - 1)
    below = int(position)
    ordered = np.partition(x, (below, min(below + 1, len(x) - 1)), axis=0)
    return ordered[below] + (position - below) * (ordered[min(below + 1, len(x) - 1)] - ordered[below])


def _r_squared(y: np.ndarray, read: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """R^2, not below zero, with rows weighted by ``(r, n)``."""
    centred = y - y.mean()
    error, mean, square = (weights @ v / len(y) for v in ((y - read) ** 2, centred, centred**2))
    return np.maximum(0.0, 1 - error / np.maximum(square - mean**2, 1e-300))


def _area(levels: np.ndarray, probabilities: np.ndarray, classes: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean area under the ROC curve of one class against the rest, and every row's influence on it ``(n,)``.

    The influence of a positive is how far the share of negatives below it is from the area, and the other way round (DeLong et
    al. 1988).
    """
    areas, influence = [], np.zeros(len(levels))
    for p, c in zip(probabilities.T, classes, strict=True):
        positive = levels == c
        if positive.all() or not positive.any():
            continue
        yes, no = p[positive], p[~positive]
        above = _share_below(no, yes)
        beaten = 1 - _share_below(yes, no)
        areas.append(above.mean())
        influence[positive] += (above - areas[-1]) / positive.mean()
        influence[~positive] += (beaten - areas[-1]) / (~positive).mean()
    return float(np.mean(areas)), influence / len(areas)


def _share_below(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Share of x below each value, ties counting half."""
    x = np.sort(x)
    return (np.searchsorted(x, at, "left") + np.searchsorted(x, at, "right")) / (2 * len(x))


def _separate(x: np.ndarray, levels: np.ndarray, held: np.ndarray, cost: float) -> np.ndarray:
    """What linear support vector machines read off one latent: levels of the held-out rows.

    One machine per class against the rest: w and b minimise (w^2 + b^2) / 2 plus the weighted squared hinge losses. The rows
    with a loss are those on one side of a threshold, so that sums over sorted rows, made once, give the objective of all
    machines and its first two derivatives in no time; Newton's method then needs a few steps.
    """
    classes, number = np.unique(levels, return_inverse=True)
    count = len(classes)
    balanced = len(x) / (count * np.bincount(number))
    order = np.argsort(x, kind="stable")
    x, number = x[order], number[order]
    of = np.arange(count)
    negative = np.ones(count)
    if count == 2:  # one machine, for the second class; its negatives are weighted too
        of, negative = of[1:], balanced[:1]
    powers = np.stack([np.ones_like(x), x, x * x], 1)
    below = np.zeros((len(x) + 1, len(of), 3))  # sums of powers over the rows of a class before a place
    np.cumsum((number[:, None] == of)[..., None] * powers[:, None], axis=0, out=below[1:])
    all_below = np.concatenate([np.zeros((1, 3)), np.cumsum(powers, 0)])
    up, down = cost * balanced[of], cost * negative

    def sums(w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighted sums of powers over rows with a loss, ``(classes, 3)``: of both sides, and of positives less negatives."""
        sides = []
        for sign in (1, -1):  # positives with w x + b < 1, negatives with w x + b > -1
            threshold = (sign - b) / np.where(w == 0, 1.0, w)
            place = np.where(w == 0, len(x), np.searchsorted(x, threshold))  # all rows, or none, where there is no slope
            head = below[place, np.arange(len(of))]
            total = below[-1]
            if sign < 0:
                head, total = all_below[place] - head, all_below[-1] - total
            rising = np.where(w != 0, w * sign > 0, (sign - b) * sign > 0)
            sides.append(np.where(rising[:, None], head, total - head))
        positive, rest = up[:, None] * sides[0], down[:, None] * sides[1]
        return positive + rest, positive - rest

    def objective(w: np.ndarray, b: np.ndarray) -> np.ndarray:
        both, signed = sums(w, b)
        loss = both[:, 0] - 2 * (w * signed[:, 1] + b * signed[:, 0])
        return (w * w + b * b) / 2 + loss + w * w * both[:, 2] + 2 * w * b * both[:, 1] + b * b * both[:, 0]

    w, b = np.zeros(len(of)), np.zeros(len(of))
    for _ in range(50):
        both, signed = sums(w, b)
        slope_w = w - 2 * (signed[:, 1] - w * both[:, 2] - b * both[:, 1])
        slope_b = b - 2 * (signed[:, 0] - w * both[:, 1] - b * both[:, 0])
        ww, wb, bb = 1 + 2 * both[:, 2], 2 * both[:, 1], 1 + 2 * both[:, 0]
        determinant = ww * bb - wb * wb
        step_w, step_b = (bb * slope_w - wb * slope_b) / determinant, (ww * slope_b - wb * slope_w) / determinant
        length, now = np.ones(len(of)), objective(w, b)
        for _ in range(20):
            worse = objective(w - length * step_w, b - length * step_b) > now
            if not worse.any():
                break
            length[worse] /= 2
        w, b = w - length * step_w, b - length * step_b
        if max(np.abs(slope_w).max(), np.abs(slope_b).max()) < 1e-9 * len(x):
            break
    margin = held[:, None] * w + b
    return classes[(margin[:, 0] > 0).astype(int) if count == 2 else margin.argmax(1)]


def _total_correlation(covariance: np.ndarray) -> float:
    if len(covariance) == 0:
        return 0.0
    scale = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    spectrum = np.linalg.eigvalsh(covariance / np.outer(scale, scale))
    return max(0.0, float(-0.5 * np.log(np.maximum(spectrum, 1e-12)).sum()))


def _wasserstein(covariance: np.ndarray, normalised: bool) -> float:
    if len(covariance) == 0:
        return 0.0
    scale = np.sqrt(np.maximum(np.diag(covariance), 0))
    # The product of diagonal and covariance has the eigenvalues of this symmetric matrix.
    spectrum = np.linalg.eigvalsh(covariance * np.outer(scale, scale))
    distance = max(0.0, 2 * float(np.trace(covariance) - np.sqrt(np.maximum(spectrum, 0)).sum()))
    return distance / float(np.trace(covariance)) if normalised else distance


def _correlations(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlations of columns with rows weighted by ``(r, n)``, ``(r, d, d)``; zero where a column is constant."""
    x = _standardised(x, np.arange(len(x)))
    out = []
    for row in weights:
        mean = row @ x / len(x)
        covariance = (x * row[:, None]).T @ x / len(x) - np.outer(mean, mean)
        scale = np.sqrt(np.diag(covariance))
        scale = np.where(scale > 1e-6, scale, np.inf)
        out.append(covariance / np.outer(scale, scale))
    return np.stack(out)


def _ranks(x: np.ndarray) -> np.ndarray:
    """Ranks of every column, equal values sharing their mean rank."""
    return np.stack([_share_below(column, column) for column in x.T], 1)


def _lasso(own: np.ndarray, across: np.ndarray, penalty: float) -> np.ndarray:
    """Lasso coefficients of standardised variables by coordinate descent.

    Args:
        own: ``(r, d, d)``, correlations of the predictors.
        across: ``(r, d, t)``, of predictors with targets.
        penalty: relative to half the mean squared error.

    Returns:
        ``(r, d, t)``.
    """
    found = np.zeros_like(across)
    for _ in range(1000):
        before = found.copy()
        for j in range(own.shape[1]):
            pull = across[:, j] - np.einsum("ri,rit->rt", own[:, j], found) + own[:, j, j, None] * found[:, j]
            found[:, j] = np.sign(pull) * np.maximum(np.abs(pull) - penalty, 0)
        if np.abs(found - before).max(initial=0.0) < 1e-6:
            break
    return found


def _one_to_one(alike: np.ndarray) -> np.ndarray:
    """How nearly similarities ``(r, a, b)`` are one to one: mean over either side of best squared over sum."""
    if 0 in alike.shape[1:]:
        return np.zeros(len(alike))
    halves = []
    for axis in (1, 2):
        total = alike.sum(axis)
        halves.append(np.where(total > 0, alike.max(axis) ** 2 / np.where(total > 0, total, 1.0), 0.0).mean(1))
    return (halves[0] + halves[1]) / 2
