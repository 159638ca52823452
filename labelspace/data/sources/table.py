"""``table:FILE``: a table whose columns have names, as CSV, TSV or Parquet.

:mod:`labelspace.data.delimited` parses text, :mod:`labelspace.data.columns` says what the columns are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from labelspace.data import checked, delimited, frames, paths
from labelspace.data.dataset import Dataset
from labelspace.data.tabular import Frame, dataset, parse_asked, parse_drop
from labelspace.errors import UserError
from labelspace.variables import Described

_PARQUET = (".parquet", ".pq")


def open(
    address: str,
    seed: int,
    path: str,
    labels: Sequence[str] | None = None,
    group: str = "",
    like: Described | None = None,
    progress=None,
    id: Annotated[str, "COLUMN"] = "",
    drop: Annotated[str, "A+B"] = "",
    kinds: Annotated[str, "A:count+B:categorical"] = "",
    missing: Annotated[str, "-1+A:none"] = "",
    decimal: Literal["", ",", "."] = "",
    classes: Annotated[str, "A:low|high"] = "",
) -> Dataset:
    """Reads a table. Its first line names the columns; an unnamed first column, as programs write row names, names the rows.

    Args:
        path: the file; ``.parquet`` and ``.pq`` are Parquet, everything else is text.
        labels, group, like, id, drop: see :func:`labelspace.data.tabular.dataset`.
        kinds: what columns are, where that is not to be found.
        missing: texts that stand for no value, in every column (``-1``) or in one (``A:none``).
        decimal: the decimal mark, where that is not to be found.
        classes: the classes of columns, in their order.

    Raises:
        UserError: not such a file, rows of different lengths, or columns or cells that cannot be used (file, line and column
            named).
    """
    file = paths.file(path)
    asked = parse_asked(kinds, missing, decimal, classes)
    frame = _parquet(file) if file.suffix.lower() in _PARQUET else _text(file)
    return dataset(frame, address, seed, labels=labels, group=group, like=like, id=id, drop=parse_drop(drop), asked=asked)


def _text(file: Path) -> Frame:
    text = delimited.read(file)
    return Frame(
        str(file),
        text.columns,
        text.n,
        lambda row: f"line {text.line(row)}",
        names=text.names,
        notes=text.notes,
        decimal="," if text.separator == ";" else "",
    )


def _parquet(file: Path) -> Frame:
    table = checked.parquet(file)
    delimited.check_names(file, table.column_names)
    if not table.num_rows:
        raise UserError(f"{file} has no rows")
    names, notes = None, ()
    if "__index_level_0__" in table.column_names:  # how pandas writes its index
        names, notes = (
            np.array([str(entry) for entry in table.column("__index_level_0__").to_pylist()]),
            ("the index is taken for the rows' names",),
        )
        table = table.drop_columns(["__index_level_0__"])
        if len(set(names)) < len(names):
            names, notes = None, ("the index is left out: it names several rows alike",)
    return Frame(str(file), frames.of_table(table), table.num_rows, lambda row: f"row {row + 1}", names=names, notes=notes)
