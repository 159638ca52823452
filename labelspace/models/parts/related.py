"""Which columns of a table a label has to do with, told by training data and not by a model."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from labelspace.labels import Schema
from labelspace.precision import as_double_on_cpu

_LEVEL = 0.05  # of all columns that a label has nothing to do with, the chance that one is taken to have
_PAIRED = 12  # features of other labels whose products are taken, too
_MOST = 10_000  # rows that it is told from
_FEWEST = 10  # rows beyond the number of features, at least


@torch.no_grad()
def related(responses: Tensor, of: Tensor, columns: int, schema: Schema, values: Tensor, observed: Tensor) -> Tensor:
    """Whether a label says anything of a column that the other labels do not.

    An F test per label and response: of least squares on all other labels (numbers up to their cube, and products of pairs
    where there are few) against the same with the label, and its products with them. A column is related where one of its
    responses is at a level of 5% over all of the table's (Bonferroni), or where there are too few rows to tell. It is about
    means: what a label does to the spread of a column alone is not seen.

    Args:
        responses: ``(n, k)`` numbers, NaN where missing.
        of: ``(k,)``, which column each is of.
        columns: how many columns there are.
        schema: the labels.
        values, observed: ``(n, labels)``.

    Returns:
        ``(labels, columns)`` bool.
    """
    some = np.unique(np.linspace(0, len(values) - 1, min(len(values), _MOST)).astype(int))
    responses, values, observed = responses[some], values[some], observed[some]
    y, column_of = as_double_on_cpu(responses).numpy(), of.cpu().numpy()
    parts = [_features(schema, i, values, observed) for i in range(len(schema))]
    found = np.zeros((len(schema), columns), bool)
    for i in range(len(schema)):
        others = np.concatenate([np.ones((len(y), 1)), *(part for j, part in enumerate(parts) if j != i)], 1)
        if others.shape[1] - 1 <= _PAIRED:
            pairs = [others[:, a] * others[:, b] for a, b in combinations(range(1, others.shape[1]), 2)]
            others = np.column_stack([others, *pairs]) if pairs else others
        own = (parts[i][:, :, None] * others[:, None, : 1 + _PAIRED]).reshape(len(y), -1)
        known = observed[:, i].cpu().numpy()
        designs: dict[bytes, _Design] = {}  # columns without missing cells share one
        for k, column in enumerate(column_of):
            rows = known & np.isfinite(y[:, k])
            key = rows.tobytes()
            if key not in designs:
                designs = {key: _Design(others[rows], own[rows])}
            found[i, column] |= designs[key].p(y[rows, k]) < _LEVEL / len(column_of)
    return torch.from_numpy(found)


def _features(schema: Schema, i: int, values: Tensor, observed: Tensor) -> np.ndarray:
    """A label as features, numbers up to their cube; the mean where it is missing."""
    label = schema.labels[i]
    seen = observed[:, i].cpu().numpy()
    found = as_double_on_cpu(label.to_features(values[:, i])).numpy()
    if not label.discrete:
        found = np.concatenate([found, found**2, found**3], 1)
    if seen.any():
        found[~seen] = found[seen].mean(0)
    spread = found.std(0)
    found = (found - found.mean(0)) / np.where(spread > 0, spread, 1)
    return (
        found if not label.discrete or found.shape[1] == 1 else found[:, 1:]
    )  # the first of several classes follows from them


class _Design:
    """Least squares on some features, and on them with more, for some rows."""

    def __init__(self, others: np.ndarray, own: np.ndarray) -> None:
        self.features = np.concatenate([others, own], 1)
        inner = self.features.T @ self.features
        self.small, self.whole = (_root(inner[:size, :size]) for size in (others.shape[1], len(inner)))

    def p(self, y: np.ndarray) -> float:
        """The F test's p of what the further features add; 0 where there are too few rows for one."""
        left, added = len(y) - self.whole.shape[1], self.whole.shape[1] - self.small.shape[1]
        if left < _FEWEST:
            return 0.0
        if added < 1:
            return 1.0
        y = y - y.mean()
        product = self.features.T @ y
        before, after = (float(y @ y - np.sum((root.T @ product[: len(root)]) ** 2)) for root in (self.small, self.whole))
        from scipy.special import fdtrc  # only training needs it

        return float(fdtrc(added, left, max(before - after, 0.0) / added / max(after / left, 1e-300)))


def _root(inner: np.ndarray) -> np.ndarray:
    """R with R R' the pseudo-inverse of a matrix of inner products, a column for each direction that is there."""
    sizes, vectors = np.linalg.eigh(inner)
    there = sizes > 1e-10 * max(sizes.max(initial=0.0), 1e-300)
    return vectors[:, there] / np.sqrt(sizes[there])
