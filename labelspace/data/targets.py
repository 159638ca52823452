"""Labels as people have them in memory, as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from labelspace.data import frames
from labelspace.data.cells import Column
from labelspace.errors import UserError

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame

Array: TypeAlias = "np.ndarray | torch.Tensor | Sequence[Any]"

LabelColumns: TypeAlias = "Mapping[str, Array] | Mapping[str, Column] | Array | IntoDataFrame | None"
"""Labels of ``n`` samples: columns by name (a mapping, any frame), one column, or an array ``(n, labels)``. None, NaN and
blanks are missing."""


def label_columns(name: str, labels: LabelColumns, n: int) -> dict[str, Column]:
    """Labels as columns. One that has no name is "label"; of several, "label0", "label1", ...

    Args:
        name: of the data, for messages.
        labels: as people have them.
        n: samples.

    Raises:
        UserError: a column of another length, two of one name, or an array that is neither ``(n,)`` nor ``(n, labels)``.
    """
    if labels is None:
        return {}
    if frames.is_frame(labels):
        found = frames.columns(f"{name}: labels", labels)
    elif isinstance(labels, Mapping):
        found = {str(column): _column(str(column), entries) for column, entries in labels.items()}
    else:
        found = {column: _column(column, entries) for column, entries in _unnamed(name, labels).items()}
    for label, column in found.items():
        if len(column) != n:
            raise UserError(f"{name}: label {label!r} has {len(column):,} entries for {n:,} samples; expected one for each")
    return found


def _column(name: str, entries: Any) -> Column:
    if isinstance(entries, Column):
        return entries
    entries = as_array(entries)
    categories = getattr(getattr(entries, "dtype", None), "categories", None)
    if categories is not None or hasattr(entries, "to_arrow"):
        series = frames.series(name, entries)
        if series is not None:
            return series
    return Column.of(name, entries.tolist() if isinstance(entries, np.ndarray) else list(entries))


def _unnamed(name: str, labels: Any) -> dict[str, Any]:
    """Columns of what has no columns by name: an array, a series, a list of entries or of mappings."""
    if isinstance(labels, Sequence) and labels and all(isinstance(row, Mapping) for row in labels):
        keys = dict.fromkeys(str(key) for row in labels for key in row)
        return {key: [row.get(key) for row in labels] for key in keys}
    own = getattr(labels, "name", None)
    called = str(own) if own is not None else "label"
    if getattr(getattr(labels, "dtype", None), "categories", None) is not None:
        return {called: labels}
    try:
        entries = np.asarray(as_array(labels), object)
    except ValueError:
        raise UserError(
            f"{name}: labels are rows of different lengths; expected one entry, or one row, for each sample"
        ) from None
    if entries.ndim == 1:
        return {called: entries}
    if entries.ndim == 2:
        return {f"label{i}" if entries.shape[1] > 1 else "label": column for i, column in enumerate(entries.T)}
    raise UserError(f"{name}: labels have shape {entries.shape}; expected (n,) or (n, labels)")


def as_array(x: Any) -> Any:
    """Tensors and series as arrays; a series of classes and everything else as it is."""
    if isinstance(x, torch.Tensor):
        return x.detach().cpu().numpy()
    if getattr(getattr(x, "dtype", None), "categories", None) is not None:
        return x
    return x.to_numpy() if hasattr(x, "to_numpy") else x
