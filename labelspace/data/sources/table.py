"""``table:FILE``: a table whose columns have names, as CSV, TSV or Parquet.

Of CSV the separator is found (comma, semicolon, tab or bar), a byte order mark and Windows line ends are taken as they
come, and cells may be quoted. Parquet needs the extra ``tables``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np

from labelspace.data import paths
from labelspace.data.dataset import Dataset
from labelspace.data.tabular import Frame, dataset, parse_drop, parse_kinds
from labelspace.errors import UserError
from labelspace.variables import Described

_SEPARATORS = (",", ";", "\t", "|")
_PROBED = 50  # lines that the separator is found from
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
) -> Dataset:
    """Reads a table. Its first line names the columns; an unnamed first column, as programs write row names, names the rows.

    Args:
        path: the file; ``.parquet`` and ``.pq`` are Parquet, everything else is text.
        labels, group, like, id, drop, kinds: see :func:`labelspace.data.tabular.dataset`.

    Raises:
        UserError: not such a file, rows of different lengths, or columns or cells that cannot be used (file, line and column
            named).
    """
    file = paths.file(path)
    frame = _parquet(file) if file.suffix.lower() in _PARQUET else _csv(file)
    return dataset(
        frame, address, seed, labels=labels, group=group, like=like, id=id, drop=parse_drop(drop), kinds=parse_kinds(kinds)
    )


def _csv(file: Path) -> Frame:
    lines, empty = _records(file, _text(file))
    if len(lines) < 2:
        raise UserError(f"{file} needs a line that names the columns and at least one row")
    header = [" ".join(name.split()) for name in lines[0][1]]
    for line, row in lines[1:]:
        if len(row) != len(header):
            raise UserError(f"{file}, line {line}: {len(row)} cells, expected {len(header)}")
    columns = dict(zip(header, zip(*(row for _, row in lines[1:]), strict=True), strict=False))
    numbers = [line for line, _ in lines[1:]]
    names = None
    if header[0] == "" and len(set(columns[""])) == len(numbers) and header.count("") == 1:
        names = np.array([entry.strip() for entry in columns.pop("")])
    _check_names(file, header if names is None else header[1:])
    notes = [] if names is None else ["the first column has no name and is taken for the rows' names"]
    if empty:
        notes.append(f"{empty} rows without any entry are left out")
    return Frame(str(file), columns, len(numbers), lambda row: f"line {numbers[row]}", names=names, notes=tuple(notes))


def _check_names(file: Path, header: Sequence[str]) -> None:
    for i, name in enumerate(header):
        if not name:
            raise UserError(f"{file}, line 1: column {i + 1} of {len(header)} has no name")
        if name in header[:i]:
            raise UserError(f"{file}, line 1: two columns have the same name: {name!r}")


def _text(file: Path) -> str:
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{file} is UTF-16 text; save it as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UserError(f"{file}, line {line}: the text is not UTF-8; save it as UTF-8") from None


def _records(file: Path, whole: str) -> tuple[list[tuple[int, list[str]]], int]:
    """Line numbers and cells of the rows that have any entry, the header first; and how many rows have none."""
    start = "".join(io.StringIO(whole, newline="").readlines()[:_PROBED]) if len(whole) > 1 else whole

    def fit(separator: str) -> tuple[bool, int]:
        try:
            rows = [row for row in csv.reader(io.StringIO(start, newline=""), delimiter=separator) if row]
        except csv.Error:
            return False, 0
        whole_rows = rows[:-1] if len(rows) > 2 else rows  # the last may be cut off
        return len({len(row) for row in whole_rows}) == 1, len(rows[0]) if rows else 0

    # Of separators that divide all lines alike, the one that makes most columns; one column is no division.
    separator = max(_SEPARATORS, key=lambda one: (fit(one)[0] and fit(one)[1] > 1, fit(one)[1]))
    reader = csv.reader(io.StringIO(whole, newline=""), delimiter=separator, strict=True)
    lines, empty = [], 0
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                lines.append((reader.line_num, row))
            else:
                empty += len(row) > 1  # an empty line is not a row
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: {error}") from None
    return lines, empty


def _parquet(file: Path) -> Frame:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise UserError("Parquet files need pyarrow: pip install 'labelspace[tables]'") from None
    try:
        with file.open("rb") as handle:
            table = parquet.read_table(handle)
    except (OSError, ValueError, arrow.ArrowException) as error:
        raise UserError(f"{file} cannot be read as Parquet: {' '.join(str(error).split())}") from None
    _check_names(file, table.column_names)
    columns, unusable = arrow_columns(table)
    if not table.num_rows:
        raise UserError(f"{file} has no rows")
    names, notes = None, ()
    if (index := columns.pop("__index_level_0__", None)) is not None:  # how pandas writes its index
        names, notes = np.array([str(entry) for entry in index]), ("the index is taken for the rows' names",)
        if len(set(names)) < len(names):
            names, notes = None, ("the index is left out: it names several rows alike",)
    return Frame(str(file), columns, table.num_rows, lambda row: f"row {row + 1}", names=names, unusable=unusable, notes=notes)


def arrow_columns(table) -> tuple[dict[str, Sequence], dict[str, str]]:
    """Entries of an Arrow table's columns, and what those hold that are neither numbers nor texts (dates are texts).

    A column of lists of numbers that are all as long becomes one column for each place, "name.0", "name.1", ...
    """
    import pyarrow as arrow

    columns: dict[str, Sequence] = {}
    unusable = {}
    for name in table.column_names:
        column = table.column(name)
        vectors = _vectors(column)
        places = {} if vectors is None else {f"{name}.{i}": entries for i, entries in enumerate(vectors.T)}
        if places and not places.keys() & set(table.column_names):
            columns |= places
        elif (
            arrow.types.is_nested(column.type) or arrow.types.is_binary(column.type) or arrow.types.is_large_binary(column.type)
        ):
            columns[name], unusable[name] = (), f"{str(column.type).partition('<')[0]} values"
        else:
            columns[name] = column.to_pylist()
    return columns, unusable


def _vectors(column) -> np.ndarray | None:
    """A column of lists as ``(n, d)`` where all are lists of d numbers, otherwise None."""
    import pyarrow as arrow

    kinds = arrow.types
    of_lists = kinds.is_list(column.type) or kinds.is_large_list(column.type) or kinds.is_fixed_size_list(column.type)
    if not of_lists or column.null_count or not len(column):
        return None
    if not (kinds.is_floating(column.type.value_type) or kinds.is_integer(column.type.value_type)):
        return None
    rows = column.to_pylist()
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        return None
    return np.array(rows, np.float64)
