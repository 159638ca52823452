"""Data that nothing can be learnt from, and what of data is hard to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labelspace.errors import UserError, option
from labelspace.labels.relations import relations

if TYPE_CHECKING:
    from labelspace.data.dataset import Dataset

_FEW = 5  # samples of a class
_LISTED = 8
_MEASURED = 10  # samples of a split from which on it matters whether a class is among them


def refuse(data: Dataset, training: bool) -> None:
    """Raises a UserError for data that nothing can be learnt from (see :meth:`~labelspace.data.dataset.Dataset.check`).

    Args:
        data: the data set.
        training: False asks only that the entries can be used.
    """
    table = data.likelihood.startswith("table")
    if 0 in data.shape:
        raise UserError(f"{data.address}: samples have shape {data.shape}; expected at least one entry in each")
    if data.x.dtype != np.uint8:
        cells = data.x.reshape(len(data.x), -1)
        wrong = np.isinf(cells) if table else ~np.isfinite(cells)
        bad = wrong.any(axis=1)
        if bad.any():
            row = int(bad.argmax())
            column = int(wrong[row].argmax())
            raise UserError(
                f"{data.address}: x holds {'infinity' if table else 'NaN or infinity'}, first in row {row + 1}, "
                f"column {_called(data, column)} ({int(bad.sum())} rows in all)"
            )
    if not training:
        return
    hint = "" if data.supervision == 1 else f" (only {data.supervision:g} of the labels are used: raise it, or change the seed)"
    for name, rows in data.splits.items():
        if len(rows) == 0:
            raise UserError(f"{data.address}: the {name} split is empty ({len(data)} samples in all)")
    train = data.rows("train")
    if table and (absent := np.isnan(data.x[train]).all(axis=0)).any():
        raise UserError(
            f"{data.address}: column {_called(data, int(absent.argmax()))} has no cell in the training split; leave it out"
        )
    for i, label in enumerate(data.schema):
        seen = data.values[train, i][data.observed[train, i]]
        if len(seen) == 0:
            raise UserError(f"{data.address}: label {label.name!r} has no value in the training split; leave it out{hint}")
        if len(np.unique(seen)) < 2:
            raise UserError(
                f"{data.address}: label {label.name!r} is always {label.format(float(seen[0]))!r} in the training "
                f"split, so nothing can be learnt about it; leave it out with {option('labels')}{hint}"
            )
        never = set(range(len(label.values))) - set(seen.astype(int)) if label.discrete else set()
        if never:
            raise UserError(
                f"{data.address}: class {label.format(min(never))!r} of label {label.name!r} never occurs in the "
                f"training split; leave the label out with {option('labels')}, merge the class with another, or bring "
                f"labelled samples of it{hint}"
            )


def hard(data: Dataset) -> list[str]:
    """What is hard to learn from, a line each."""
    train = data.rows("train")
    values, observed = data.values[train], data.observed[train]
    notes, keep = [], option("labels")
    same, follow = relations(data.schema, values, observed)
    notes += [
        f"labels {a!r} and {b!r} say the same in the training split: no edit of one leaves the other; keep one ({keep})"
        for a, b in same
    ]
    notes += [
        f"label {b!r} follows from {a!r} in the training split: what {a!r} does alone cannot be learnt; keep one ({keep})"
        for a, b in follow
    ]
    for i, label in enumerate(data.schema):
        if label.discrete:
            counts = np.bincount(values[observed[:, i], i].astype(int), minlength=len(label.values))
            few = [f"{label.format(float(value))!r} ({counts[value]})" for value in np.flatnonzero(counts < _FEW)]
            for split in ("val", "test"):
                rows = data.splits.get(split, np.zeros(0, int))
                there = np.unique(data.values[rows[data.observed[rows, i]], i]).astype(int)
                gone = [repr(label.format(float(v))) for v in np.flatnonzero(counts) if v not in there]
                if gone and len(rows) >= max(_MEASURED, len(label.values)):
                    notes.append(f"label {label.name!r}: no sample in the {split} split is of {_some(gone)}")
            if few:
                notes.append(
                    f"label {label.name!r} has too few training samples to learn what these look like: {_some(few)}; merge "
                    f"them with others, or leave the label out ({option('labels')})"
                )
    constant = () if data.is_image or len(train) < 2 else _constant(data.x, train)
    if len(constant):
        named = [_called(data, int(column)) for column in constant]
        notes.append(f"constant in the training split, so nothing can be learnt of them: columns {_some(named)}")
    return notes


def _called(data: Dataset, column: int) -> str:
    """What a column of ``x`` is called in messages."""
    return repr(data.variables[column].name) if data.variables else f"{column + 1} of x"


def _constant(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Columns of ``x (n, d)`` that have one value in some rows, missing cells apart. Few rows are looked at, mostly."""
    columns = np.arange(x.shape[1])
    low = high = np.full(len(columns), np.nan, np.float32)
    for start in range(0, len(rows), 1000):
        part = x[rows[start : start + 1000]][:, columns]
        low, high = np.fmin(low, np.fmin.reduce(part)), np.fmax(high, np.fmax.reduce(part))
        same = (low == high) | np.isnan(low)
        columns, low, high = columns[same], low[same], high[same]
        if not len(columns):
            break
    return columns[low == high]


def _some(names: list[str]) -> str:
    """The first of a list, and how many more there are."""
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
