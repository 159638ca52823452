"""Drawn rows of a table beside real ones: can they be told apart, and are they what was asked for?

Functions of rows ``(n, d)`` as the table likelihood has them: numbers, counts, class indices, NaN where a cell is missing.
Readers are scikit-learn's histogram gradient boosting, which takes all of these as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from labelspace.errors import UserError
from labelspace.metrics.scores import Score, area_score, mean

_MOST_CLASSES = 255  # that boosting splits as classes; of more the indices are taken for numbers


def two_sample_auc(
    real: np.ndarray, made: np.ndarray, *, categorical: Sequence[bool] | None = None, folds: int = 5, seed: int = 0
) -> Score:
    """How well a classifier tells drawn rows from real ones (Lopez-Paz and Oquab 2017, with boosted trees).

    The area under the ROC curve of cross-validated predictions: no row is judged by trees that saw it. 0.5 is rows that cannot
    be told apart, 1 is rows that are told at once; it may be below 0.5 by chance. It is strict: one column that is off is
    enough. :func:`gaussian_copula` gives rows to compare it with.

    Args:
        real: ``(n, d)``, rows that the drawing model was not trained on.
        made: ``(m, d)``.
        categorical: per column, whether it holds class indices; by default none.
        folds: of the cross-validation.
        seed: of the folds and the trees.

    Returns:
        The area with its normal interval (DeLong et al. 1988); n counts the smaller set.

    Raises:
        UserError: sets of different columns, or with fewer rows than folds.
    """
    from sklearn.model_selection import StratifiedKFold

    real, made = _rows("real", real, folds), _rows("drawn", made, folds)
    if real.shape[1] != made.shape[1]:
        raise UserError(f"real rows have {real.shape[1]} columns and drawn ones {made.shape[1]}; expected the same")
    x, drawn = np.concatenate([real, made]), np.repeat([False, True], [len(real), len(made)])
    said = np.empty(len(x))
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, drawn):
        said[test] = _reader(x, categorical, seed).fit(x[train], drawn[train]).predict_proba(x[test])[:, 1]
    score = area_score(drawn, said[:, None], np.array([True]))
    return Score(score.value, score.low, score.high, min(len(real), len(made)))


def gaussian_copula(train: np.ndarray, n: int, *, categorical: Sequence[bool] | None = None, seed: int = 0) -> np.ndarray:
    """Rows of a Gaussian copula fitted to a table (as in Patki et al. 2016): the simplest model that has every column right.

    Every column becomes normal scores by its ranks, a class the middle of its share; rows are drawn from a Gaussian with the
    scores' correlations (of pairs of cells that are both there), and numbers are read back as the column's own quantiles,
    classes between thresholds. Which cells are missing is taken from random rows (:func:`missing_like`).

    Args:
        train: ``(m, d)``.
        n: rows to draw.
        categorical: per column, whether it holds class indices; they are put in the order of how frequent they are.
        seed: of the draws.

    Returns:
        ``(n, d)``.
    """
    train = _rows("training", train, 2)
    rng, d = np.random.default_rng(seed), train.shape[1]
    ordered = train.copy()
    codes: dict[int, np.ndarray] = {}  # of a column of classes, the class of each place in the order
    for j in np.flatnonzero(np.zeros(d) if categorical is None else categorical):
        found, counts = np.unique(train[~np.isnan(train[:, j]), j], return_counts=True)
        codes[int(j)] = found[np.argsort(-counts, kind="stable")]
        place = {value: i for i, value in enumerate(codes[int(j)])}
        ordered[:, j] = [place.get(cell, np.nan) for cell in train[:, j]]
    known = ~np.isnan(ordered)
    from scipy.stats import rankdata  # takes a second to import

    ranks = rankdata(ordered, axis=0, nan_policy="omit")
    scores = np.where(known, ndtri((ranks - 0.5) / np.maximum(known.sum(0), 1)), 0.0)
    scores = (scores - scores.sum(0) / np.maximum(known.sum(0), 1)) * known
    squares = scores.T**2 @ known  # [i, j]: the sum of squares of i over rows where j is there, too
    correlation = scores.T @ scores / np.sqrt(np.maximum(squares * squares.T, 1e-300))
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0))
    drawn = ndtr(rng.standard_normal((n, d)) @ (root / np.sqrt((root**2).sum(1, keepdims=True))).T)
    out = np.empty((n, d))
    for j in range(d):
        cells = ordered[known[:, j], j]
        out[:, j] = np.quantile(cells, drawn[:, j], method="inverted_cdf") if len(cells) else np.nan
        if j in codes and len(cells):
            out[:, j] = codes[j][out[:, j].astype(int)]
    return missing_like(out, train, seed=seed)


def missing_like(made: np.ndarray, rows: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Drawn rows with the cells missing that are missing in random real rows, so that this does not tell them apart.

    Args:
        made: ``(n, d)``.
        rows: ``(m, d)``.
        seed: of the choice.
    """
    chosen = np.random.default_rng([seed, 1]).integers(0, len(rows), len(made))
    return np.where(np.isnan(rows[chosen]), np.nan, np.asarray(made, np.float64))


def read_as_asked(
    train: np.ndarray,
    labels: np.ndarray,
    made: np.ndarray,
    asked: np.ndarray,
    *,
    categorical: Sequence[bool] | None = None,
    seed: int = 0,
) -> Score:
    """How often a classifier that learned from real rows reads off drawn ones the class that was asked for.

    The ceiling is its accuracy on other real rows, given as ``made`` with their labels as ``asked``; the floor the rate of the
    most frequent class.

    Args:
        train: ``(n, d)``.
        labels: ``(n,)`` classes, NaN where missing.
        made: ``(m, d)``.
        asked: ``(m,)`` classes, NaN where missing.
        categorical: per column, whether it holds class indices.
        seed: of the trees.
    """
    train, made = _rows("training", train, 2), _rows("drawn", made, 1)
    told, wanted = ~np.isnan(labels), ~np.isnan(asked)
    if len(np.unique(labels[told])) < 2:
        raise UserError("a classifier needs rows of two classes to learn from")
    reader = _reader(train, categorical, seed).fit(train[told], labels[told])
    return mean(reader.predict(made[wanted]) == asked[wanted], seed)


def _rows(name: str, x: np.ndarray, least: int) -> np.ndarray:
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or len(x) < least or not x.shape[1]:
        raise UserError(f"{name} rows have shape {x.shape}; expected (n, columns) with at least {least} rows")
    return x


def _reader(x: np.ndarray, categorical: Sequence[bool] | None, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    few = np.array([not np.nanmax(column, initial=0.0) >= _MOST_CLASSES for column in x.T])
    classes = None if categorical is None else np.asarray(categorical, bool) & few
    how: dict[str, Any] = {"early_stopping": False, "categorical_features": classes}
    return HistGradientBoostingClassifier(max_iter=100, max_leaf_nodes=15, random_state=seed, **how)
