"""Text files of rows and columns: CSV, TSV and their relatives, parsed by Arrow.

Encoding (UTF-8, UTF-16, Windows-1252), separator (comma, semicolon, tab or bar), a byte order mark, line ends of every system,
quotes, a first line ``sep=;``, separators at the end of lines and names of rows without a heading are found; what was
found that is not plain is in the notes.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labelspace.data.arrow import arrow_csv, pa, pc
from labelspace.data.cells import Column, some
from labelspace.errors import UserError
from labelspace.storage import bounds

SEPARATORS = (",", ";", "\t", "|")
_PROBED = 50  # lines that the separator is found from


@dataclass(frozen=True)
class Text:
    """Rows of a text file.

    Attributes:
        columns: by name, cells as texts.
        names: what the rows are called, where a column without a heading says so.
        n: rows.
        separator: what separates cells.
        line: the line in the file of a row.
        notes: what was found that is not plain.
    """

    columns: dict[str, Column]
    names: np.ndarray | None
    n: int
    separator: str
    line: Callable[[int], int]
    notes: tuple[str, ...]


def read(file: Path) -> Text:
    """Reads a text file whose first line names the columns.

    Raises:
        UserError: it cannot be read, has no such line or no rows, rows of different lengths (all are counted), or columns
            without a name or of one name.
    """
    raw, notes = _decoded(file)
    start, header, separator = _header(file, raw)
    lines = _Lines(raw, separator)
    if _suspicious(raw, separator) and (why := _broken(raw, separator)):
        raise UserError(f"{file}, {why}")
    if not raw[start:].strip():
        raise UserError(f"{file} needs a line that names the columns and at least one row")
    try:
        table, ends_open = _parsed(file, raw[start:], len(header), separator, lines)
    except pa.ArrowInvalid as error:
        raise UserError(f"{file}: {_broken(raw, separator) or ' '.join(str(error).split())}") from None
    if not table.num_rows:
        raise UserError(f"{file} needs a line that names the columns and at least one row")
    header = [" ".join(name.split()) for name in header]
    columns = [column.combine_chunks() for column in table.columns]
    named = len(columns) == len(header) + 1
    if named and _blank(columns[-1]):
        columns, named = columns[:-1], False
        notes.append("every row ends with a separator")
    elif named:
        header = ["", *header]
    while len(header) > 1 and not header[-1] and _blank(columns[-1]):
        header, columns = header[:-1], columns[:-1]
        if not ends_open:
            notes.append("every row ends with a separator")
    full = _full_rows(columns)
    if not full.all():
        notes.append(f"{int((~full).sum())} rows without any entry are left out")
        columns = [column.filter(pa.array(full)) for column in columns]
    rows = np.flatnonzero(full)
    if not len(rows):
        raise UserError(f"{file} needs a line that names the columns and at least one row")
    names = None
    if header[0] == "" and header.count("") == 1 and len(header) > 1:
        entries = _trimmed(columns[0])
        if pc.count_distinct(entries).as_py() == len(rows):
            names = np.array([str(entry) for entry in entries.to_pylist()])
            header, columns = header[1:], columns[1:]
            notes.append("the first column has no name and is taken for the rows' names")
    check_names(file, header)
    found = {name: Column(name, column) for name, column in zip(header, columns, strict=True)}
    return Text(found, names, len(rows), separator, lambda row: lines.of(int(rows[row])), tuple(notes))


def check_names(file: Path | str, header: list[str]) -> None:
    """Raises UserError where columns have no name, or two the same."""
    wrong = [f"column {i + 1} of {len(header)} has no name" for i, name in enumerate(header) if not name]
    twice = dict.fromkeys(name for i, name in enumerate(header) if name and name in header[:i])
    wrong += [f"two columns have the same name: {name!r}" for name in twice]
    if wrong:
        raise UserError(f"{file}, line 1: {some(wrong)}")


def _decoded(file: Path) -> tuple[bytes, list[str]]:
    """The text as UTF-8 without a byte order mark, and notes about its encoding."""
    raw = bounds.read(file, bounds.TABLE)
    for mark, name in ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if raw.startswith(mark):
            return _as(file, raw, name)
    head = raw[:4000]
    if head and head.count(0) > len(head) // 4:  # UTF-16 without its mark: every other byte of plain letters is 0
        return _as(file, raw, "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be")
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if 0 in head:
        raise UserError(f"{file} is no text: it has bytes of 0")
    try:
        codecs.utf_8_decode(raw, "strict", True) if not raw.isascii() else None
    except UnicodeDecodeError:
        try:
            return raw.decode("cp1252").encode(), ["the text is not UTF-8; it is read as Windows-1252"]
        except UnicodeDecodeError:
            return raw.decode("latin-1").encode(), ["the text is not UTF-8; it is read as Latin-1"]
    return raw, []


def _as(file: Path, raw: bytes, encoding: str) -> tuple[bytes, list[str]]:
    try:
        return raw.decode(encoding).removeprefix("\ufeff").encode(), [f"the text is {encoding.upper()}"]
    except UnicodeDecodeError:
        raise UserError(f"{file} starts as {encoding.upper()} text and goes on as something else") from None


def _header(file: Path, raw: bytes) -> tuple[int, list[str], str]:
    """Where the rows start in the text, the names of the columns and the separator."""
    probe = _lines(raw, _PROBED)
    said = re.fullmatch(rf"sep=([{''.join(SEPARATORS)}])", probe[0].strip("\r\n ")) if probe else None
    skipped = len(probe.pop(0).encode()) if said else 0
    separator = said[1] if said else _separator("".join(probe))
    offset = skipped

    def counted() -> Iterator[str]:
        nonlocal offset
        for line in _endless(raw, skipped):
            offset += len(line.encode())
            yield line

    try:
        for row in csv.reader(counted(), delimiter=separator, strict=True):
            if any(cell.strip() for cell in row):
                return offset, row, separator
    except csv.Error as error:
        raise UserError(f"{file}, line 1: {error}") from None
    raise UserError(f"{file} needs a line that names the columns and at least one row")


def _endless(raw: bytes, start: int = 0) -> Iterator[str]:
    """The lines of a text with their ends, one after the other."""
    return iter(io.TextIOWrapper(io.BytesIO(raw[start:]), encoding="utf-8", newline=""))


def _lines(raw: bytes, most: int) -> list[str]:
    return [line for line, _ in zip(_endless(raw), range(most), strict=False)]


def _separator(start: str) -> str:
    """Of separators that divide all lines alike, the one that makes most columns; one column is no division."""

    def fit(separator: str) -> tuple[bool, int]:
        try:
            rows = [row for row in csv.reader(io.StringIO(start, newline=""), delimiter=separator) if row]
        except csv.Error:
            return False, 0
        whole = rows[:-1] if len(rows) > 2 else rows  # the last may be cut off
        return len({len(row) for row in whole[1:]}) <= 1, len(rows[0]) if rows else 0

    return max(SEPARATORS, key=lambda one: (fit(one)[0] and fit(one)[1] > 1, fit(one)[1]))


class _Lines:
    """Which line of the file each row starts or ends in; found out only where somebody asks."""

    def __init__(self, raw: bytes, separator: str) -> None:
        self.raw, self.separator, self.found = raw, separator, None

    def of(self, row: int) -> int:
        if self.found is None:
            reader = csv.reader(_endless(self.raw), delimiter=self.separator)
            self.found = [reader.line_num for cells in reader if cells]
            if re.match(r"sep=", next(iter(_endless(self.raw)), "")):
                self.found = self.found[1:]
        return self.found[row + 1]


def _parsed(file: Path, body: bytes, width: int, separator: str, lines: _Lines) -> tuple[Any, bool]:
    """The rows as texts, and whether each has a cell more than the header has."""
    more = _widths(body, separator) == {width + 1}
    width += more
    wrong: list[Any] = []

    def refuse(row: Any) -> str:
        wrong.append(row)
        return "skip"

    table = arrow_csv.read_csv(
        pa.BufferReader(body),
        read_options=arrow_csv.ReadOptions(column_names=[str(i) for i in range(width)], use_threads=False),
        parse_options=arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=b'"' in body, invalid_row_handler=refuse),
        convert_options=arrow_csv.ConvertOptions(
            column_types={str(i): pa.string() for i in range(width)}, strings_can_be_null=False, check_utf8=False
        ),
    )
    if wrong:
        places = [f"line {lines.of(row.number - 1)} has {row.actual_columns}" for row in wrong if row.number is not None]
        raise UserError(
            f"{file}, {places[0].partition(' has ')[0]}: {wrong[0].actual_columns} cells, expected {width - more}"
            + (f"; {len(wrong):,} rows have another number of cells: {some(places)}" if len(wrong) > 1 else "")
        )
    return table, bool(more)


def _widths(body: bytes, separator: str) -> set[int]:
    """How many cells the first rows have."""
    try:
        rows = (row for row in csv.reader(_endless(body), delimiter=separator) if row)
        return {len(row) for row, _ in zip(rows, range(_PROBED), strict=False)}
    except csv.Error:
        return set()


def _suspicious(raw: bytes, separator: str) -> bool:
    """Whether quotes may not be in pairs, or stand within a cell."""
    if b'"' not in raw:
        return False
    ends = re.escape(separator.encode()) + rb'\r\n"'
    return raw.count(b'"') % 2 == 1 or re.search(rb'[^%b]"[^%b]' % (ends, ends), raw) is not None


def _broken(raw: bytes, separator: str) -> str:
    """What a strict reader finds wrong, with the line."""
    reader = csv.reader(_endless(raw), delimiter=separator, strict=True)
    try:
        for _ in reader:
            pass
    except csv.Error as error:
        return f"line {reader.line_num}: {error}"
    return ""


def _trimmed(column: Any) -> Any:
    return pc.utf8_trim_whitespace(column)


def _blank(column: Any) -> bool:
    return bool(pc.all(pc.equal(_trimmed(column), "")).as_py())


def _full_rows(columns: list[Any]) -> np.ndarray:
    """Which rows have any entry."""
    rows = np.arange(len(columns[0]))
    for column in columns:  # those that have none so far
        rows = rows[np.asarray(pc.equal(_trimmed(column.take(pa.array(rows))), ""))]
        if not len(rows):
            break
    full = np.ones(len(columns[0]), bool)
    full[rows] = False
    return full
