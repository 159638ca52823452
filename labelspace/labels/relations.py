"""What labels say of each other: copies, and labels that follow from others."""

from __future__ import annotations

import numpy as np

from labelspace.labels.schema import Schema

_SAME = 1 - 1e-9  # squared correlation of numbers that are copies of each other


Pairs = list[tuple[str, str]]


def relations(schema: Schema, values: np.ndarray, observed: np.ndarray) -> tuple[Pairs, Pairs]:
    """Pairs of labels that are copies of each other, and pairs of which the second follows from the first.

    Copies: each value of one goes with one value of the other wherever both are known, whatever they are called; of numbers one
    is a linear function of the other.

    Args:
        schema: the labels.
        values, observed: ``(n, labels)``.
    """
    told = _told(schema, values, observed)
    both = set(told)
    same = [(a, b) for a, b in told if (b, a) in both and schema.index(a) < schema.index(b)]
    return same, [(a, b) for a, b in told if (b, a) not in both]


def _told(schema: Schema, values: np.ndarray, observed: np.ndarray) -> Pairs:
    """Pairs of labels of which the first tells the second, which has several values there.

    A class with a single sample says nothing of it, so that a label of many rare classes is not said to tell all others.
    """
    discrete = [i for i, label in enumerate(schema) if label.discrete]
    found = []
    if len(discrete) > 1:
        columns = []
        for i in discrete:
            classes = np.arange(len(schema.labels[i].values))
            columns.append(((values[:, i : i + 1] == classes) & observed[:, i : i + 1]).astype(np.float32))
        starts = np.cumsum([0, *(part.shape[1] for part in columns)])
        whole = np.concatenate(columns, 1)
        together = whole.T @ whole  # how often each two values come together
        for p, i in enumerate(discrete):
            for q, j in enumerate(discrete):
                cells = together[starts[p] : starts[p + 1], starts[q] : starts[q + 1]]
                if i != j and _tells(cells):
                    found.append((schema.names[i], schema.names[j]))
    numbers = [i for i, label in enumerate(schema) if not label.discrete]
    for i in numbers:
        for j in numbers:
            both = observed[:, i] & observed[:, j]
            if i != j and both.sum() > 2 and _linear(values[both, i], values[both, j]):
                found.append((schema.names[i], schema.names[j]))
    return found


def _tells(cells: np.ndarray) -> bool:
    """Whether every row of counts has one column, where several columns have any."""
    used = cells[cells.sum(1) > 1]
    return bool(len(used)) and bool(((used > 0).sum(1) == 1).all()) and int((used.sum(0) > 0).sum()) > 1


def _linear(a: np.ndarray, b: np.ndarray) -> bool:
    a, b = a.astype(np.float64), b.astype(np.float64)
    if a.std() == 0 or b.std() == 0:
        return False
    return float(np.corrcoef(a, b)[0, 1]) ** 2 > _SAME
