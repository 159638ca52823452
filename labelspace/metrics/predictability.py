"""Scores by predictors, trained on a random two thirds of the rows and, unless said otherwise, scored on the other third.

D, C and I are those of Eastwood and Williams 2018, SAP that of Kumar et al. 2018, explicitness that of Ridgeway and Mozer 2018.
What the scores are good for is said in :mod:`~labelspace.metrics.disentanglement`, which also offers them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from labelspace.metrics.boosting import boost
from labelspace.metrics.scores import Score, area_under_curve
from labelspace.metrics.scoring import (
    TINY,
    CodedSample,
    Discrete,
    Metric,
    bootstrap_counts,
    by_rows,
    gap,
    interval,
    logistic_probe,
    measure,
    measure_all,
    standardised,
)


def dci(
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    discrete: Discrete = None,
    stages: int = 100,
    depth: int = 3,
    rate: float = 0.1,
    bins: int = 20,
    seed: int = 0,
) -> tuple[Metric, Metric, Metric]:
    """Disentanglement, completeness and informativeness, from gradient boosted trees that predict factors from codes.

    The importances of latents for factors (:mod:`~labelspace.metrics.boosting`) give D, one minus the entropy of a latent's
    importances over factors, and C, one minus that of a factor's over latents, both weighted by importance. I is the mean
    accuracy on held-out rows, with R^2 (not below zero) in place of accuracy for a continuous factor.

    Resampled: for I, held-out rows; for D and C, training rows with the trees as they are, that is, what each row contributes
    to the importances.

    Args:
        codes, factors, discrete, seed: as in :func:`~labelspace.metrics.disentanglement.suite`.
        stages: trees per class.
        depth: of a tree.
        rate: learning rate.
        bins: of no influence here.
    """
    sample = CodedSample.of(codes, factors, discrete, bins, seed, least_latents=2, least_factors=2)
    d, c, i = measure_all(_dci, sample, stages=stages, depth=depth, rate=rate)
    return d, c, i


def _dci(sample: CodedSample, stages: int, depth: int, rate: float) -> tuple[Score, Score, Score]:
    fit, held = sample.fit, sample.held
    values = np.where(sample.discrete, sample.values, standardised(sample.values, fit))
    trees = boost(
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
    resampled = np.zeros((0, *trees.importances.shape))
    if trees.shares is not None:
        weights = bootstrap_counts(len(fit), sample.resamples, sample.seed)
        sums = (weights @ trees.shares.reshape(len(fit), -1)).reshape(-1, *trees.importances.shape).clip(0)
        resampled = sums / np.maximum(sums.sum(1, keepdims=True), TINY)
    scores = [
        interval(float(summary(trees.importances)), summary(resampled), len(fit))
        for summary in (disentanglement_of, completeness_of)
    ]

    def informativeness(weights: np.ndarray) -> np.ndarray:
        rates = [
            weights @ (p == y) / len(y) if discrete else _r_squared(y, p, weights)
            for y, p, discrete in zip(values[held].T, trees.predictions.T, sample.discrete, strict=True)
        ]
        return np.mean(rates, 0)

    return scores[0], scores[1], by_rows(informativeness, len(held), sample.resamples, sample.seed)


def disentanglement_of(importances: np.ndarray) -> np.ndarray:
    """D of nonnegative importances ``(..., d, k)``: per latent one minus entropy over factors (log base k), weighted."""
    per_latent, weight = _concentration(importances), importances.sum(-1)
    return (per_latent * weight).sum(-1) / np.maximum(weight.sum(-1), TINY)


def completeness_of(importances: np.ndarray) -> np.ndarray:
    """C of nonnegative importances ``(..., d, k)``: per factor one minus entropy over latents (log base d), weighted."""
    return disentanglement_of(np.swapaxes(importances, -1, -2))


def _concentration(matrix: np.ndarray) -> np.ndarray:
    """One minus the entropy of rows, in units of the largest possible; zero for a row of zeros."""
    matrix = np.asarray(matrix, np.float64)
    total = matrix.sum(-1, keepdims=True)
    share = np.where(total > 0, matrix / np.where(total > 0, total, 1.0), 1 / matrix.shape[-1])
    return 1 + (share * np.log(np.maximum(share, 1e-300))).sum(-1) / np.log(matrix.shape[-1])


def sap(
    codes: np.ndarray, factors: np.ndarray, *, discrete: Discrete = None, cost: float = 0.01, bins: int = 20, seed: int = 0
) -> Metric:
    """Separated attribute predictability: mean over factors of the gap between the best latent and the second.

    A latent's predictability of a discrete factor is the held-out accuracy of a linear support vector machine on that latent
    alone (squared hinge, one against the rest, balanced weights, the intercept penalised like the slope), of a continuous one
    the squared correlation on the training rows. Codes are standardised first, so that their scale does not matter. The ceiling
    is 1; what the factors themselves get as codes, which may be much less, because a line tells no more than three ordered
    classes apart on one latent, is "of_factors" in the parameters. Resampled: those rows.

    Args:
        codes, factors, discrete, seed: as in :func:`~labelspace.metrics.disentanglement.suite`.
        cost: C of the machine.
        bins: of no influence here.
    """
    sample = CodedSample.of(codes, factors, discrete, bins, seed, least_latents=2)
    found = measure(_sap, sample, cost=cost)
    return replace(found, ceiling=1.0, parameters={**found.parameters, "of_factors": found.ceiling})


def _sap(sample: CodedSample, cost: float) -> Score:
    fit, held = sample.fit, sample.held
    weights = [
        np.concatenate([np.ones((1, len(rows))), bootstrap_counts(len(rows), sample.resamples, sample.seed)])
        for rows in (fit, held)
    ]
    codes, gaps = standardised(sample.codes, fit), []
    for k, discrete in enumerate(sample.discrete):
        if discrete:
            predicted = _separable(codes[fit], sample.levels[fit, k], codes[held], cost)
            predictable = weights[1] @ (predicted == sample.levels[held, k, None]) / len(held)
        else:
            x, y = codes[fit], standardised(sample.values, fit)[fit, k]
            mean, second, across = (weights[0] @ m / len(fit) for m in (x, x * x, x * y[:, None]))
            mean_y, second_y = (weights[0] @ m[:, None] / len(fit) for m in (y, y * y))
            spread = (second - mean**2) * (second_y - mean_y**2)
            predictable = np.where(spread > TINY, (across - mean * mean_y) ** 2 / np.maximum(spread, TINY), 0.0)
        gaps.append(gap(predictable[..., None])[:, 0])
    values = np.mean(gaps, 0)
    return interval(float(values[0]), values[1:], len(held))


def _separable(codes: np.ndarray, levels: np.ndarray, held: np.ndarray, cost: float) -> np.ndarray:
    """What linear support vector machines predict from each latent alone: levels of the held-out rows, ``(m, d)``."""
    from sklearn.svm import LinearSVC

    machine = LinearSVC(C=cost, class_weight="balanced", dual="auto")
    return np.stack([machine.fit(x[:, None], levels).predict(y[:, None]) for x, y in zip(codes.T, held.T, strict=True)], 1)


def explicitness(codes: np.ndarray, factors: np.ndarray, *, discrete: Discrete = None, bins: int = 20, seed: int = 0) -> Metric:
    """Explicitness: mean over factors of how well a linear probe of all latents does on held-out rows.

    Discrete: area under the ROC curve of a logistic regression on standardised codes, mean over one class against the rest,
    not rescaled, so that chance is 0.5. Continuous: R^2 of least squares, not below zero, so that chance is 0. The two are on
    different scales; with factors of both kinds read the floor. Resampled: held-out rows, the area to first order (each row's
    influence on it).

    Args:
        codes, factors, discrete, seed: as in :func:`~labelspace.metrics.disentanglement.suite`.
        bins: of no influence here.
    """
    return measure(_explicitness, CodedSample.of(codes, factors, discrete, bins, seed))


def _explicitness(sample: CodedSample) -> Score:
    fit, held = sample.fit, sample.held
    codes = standardised(sample.codes, fit)
    weights = bootstrap_counts(len(held), sample.resamples, sample.seed)
    values, resampled = [], []
    for k, discrete in enumerate(sample.discrete):
        if discrete:
            # The ranking settles long before the weights do.
            probe = logistic_probe(codes[fit], sample.levels[fit, k], 100)
            value, influence = area_under_curve(sample.levels[held, k], probe.predict_proba(codes[held]), probe.classes_)
            values.append(value)
            resampled.append(value + weights @ influence / len(held))
        else:
            design = np.concatenate([codes, np.ones((sample.n, 1))], 1)
            solution = np.linalg.lstsq(design[fit], sample.values[fit, k], rcond=None)[0]
            y, predicted = sample.values[held, k], design[held] @ solution
            values.append(float(_r_squared(y, predicted, np.ones((1, len(held))))[0]))
            resampled.append(_r_squared(y, predicted, weights))
    return interval(float(np.mean(values)), np.mean(resampled, 0), len(held))


def _r_squared(y: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """R^2, not below zero, with rows weighted by ``(r, n)``."""
    centred = y - y.mean()
    error, mean, square = (weights @ v / len(y) for v in ((y - predicted) ** 2, centred, centred**2))
    return np.maximum(0.0, 1 - error / np.maximum(square - mean**2, 1e-300))
