"""Files of many samples, written part by part so that memory does not grow with their number, and atomically.

=============  ====================================================================================================
a directory    a PNG for each picture, named as the sample, ``records.csv`` with a row each, and ``record.json``
``.npz``       ``x``, ``ids``, one array per label, ``schema`` and ``record`` as JSON: ``npz:FILE`` reads it as a data set
``.csv``       a row for each vector
``.parquet``   the same, with types (extra ``tables``)
=============  ====================================================================================================
"""

from __future__ import annotations

import csv
import json
import re
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
from numpy.lib import format as npy
from torch import Tensor

from labelspace.errors import UserError, option
from labelspace.labels import Schema
from labelspace.models.base import Model
from labelspace.reporting import pictures
from labelspace.results import samples
from labelspace.storage import files

RECORDS, RECORD = "records.csv", "record.json"
_LONGEST = 120  # bytes of a file's name


@dataclass(frozen=True)
class Part:
    """Some samples to be written.

    Attributes:
        ids: what they are called.
        columns: what is said of them: name -> an entry each; None is missing.
        x: ``(n, *shape)`` as models make them.
    """

    ids: Sequence[str]
    columns: Mapping[str, Sequence[Any]]
    x: Tensor


class Writer(Protocol):
    """Takes parts of samples, in order."""

    def add(self, part: Part) -> None: ...


def writer(
    path: Path, model: Model, n: int, record: Callable[[], dict[str, Any]], overwrite: bool = False
) -> AbstractContextManager[Writer]:
    """What writes ``n`` samples of a model to a path, by its ending. The file is there when the block ends without an error.

    Args:
        path: a file that ends in .npz, .csv or .parquet, or a directory.
        model: whose samples they are.
        n: how many.
        record: says in the end what was done, as plain data.
        overwrite: write into a directory that holds other files.

    Raises:
        UserError: an ending that is none of these or does not go with such samples, or a path that cannot be written.
    """
    is_image = len(model.shape) == 3
    ending = path.suffix.lower()
    if ending == ".npz":
        return _archive(path, model, n, record)
    if is_image and (ending == "" or path.is_dir()):
        if model.shape[0] == 2:
            raise UserError("images of two channels have no picture format; write them as .npz")
        return _folder(path, model.schema, record, overwrite)
    if not is_image and ending in TABLES:
        return _vectors(path, model)
    kinds = "a directory or .npz" if is_image else ".csv, .parquet or .npz"
    raise UserError(f"{option('out', str(path))} cannot hold many {'pictures' if is_image else 'vectors'}; expected {kinds}")


# -- tables -----------------------------------------------------------------------------------------------------------


class Rows(Protocol):
    """Takes columns of a table, some rows at a time; all parts have the same columns."""

    def add(self, columns: Mapping[str, Sequence[Any]]) -> None: ...


class Csv:
    """Rows as CSV text, into a file or an open stream."""

    def __init__(self, target: Path | TextIO, schema: Schema = Schema()) -> None:
        self.file = target.open("w", newline="", encoding="utf-8") if isinstance(target, Path) else target
        self.writer = csv.writer(self.file, lineterminator="\n")
        self.header: list[str] = []

    def add(self, columns: Mapping[str, Sequence[Any]]) -> None:
        if not self.header:
            self.header = list(columns)
            self.writer.writerow(self.header)
        plain = [column.tolist() if isinstance(column, np.ndarray) else column for column in columns.values()]
        shown = [[_shown(entry) for entry in column] for column in plain]
        self.writer.writerows(zip(*shown, strict=True))

    def close(self) -> None:
        self.file.close()


def _shown(entry: Any) -> Any:
    """A cell of a CSV file; numbers with as many digits as float32 has."""
    if isinstance(entry, float):
        return "" if entry != entry else f"{entry:.9g}"
    return "" if entry is None else entry


class _Parquet:
    def __init__(self, path: Path, schema: Schema) -> None:
        import pyarrow
        import pyarrow.parquet

        self.arrow, self.parquet, self.path, self.schema = pyarrow, pyarrow.parquet, path, schema
        self.writer: Any = None

    def add(self, columns: Mapping[str, Sequence[Any]]) -> None:
        table = self.arrow.table({name: self._array(name, column) for name, column in columns.items()})
        if self.writer is None:
            self.writer = self.parquet.ParquetWriter(self.path, table.schema)
        self.writer.write_table(table)

    def _array(self, name: str, column: Sequence[Any]) -> Any:
        """A column with the type of its label: the first rows may have no entry that tells it."""
        label, _, about = name.partition(":")
        if label not in self.schema.names or about not in ("", "before"):
            return self.arrow.array(column)
        own = self.schema[label]
        numbers = self.arrow.int64() if isinstance(own.format(0.0), int) else self.arrow.float64()
        return self.arrow.array(column, self.arrow.string() if isinstance(own.format(0.0), str) else numbers)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


TABLES = {".csv": Csv, ".parquet": _Parquet}
RESERVED = ("id", "split")  # columns that tables have for themselves


def refuse(schema: Schema, names: Collection[str]) -> None:
    """Raises UserError when a label has a name that a file needs for itself."""
    if bad := [name for name in schema.names if name in names]:
        raise UserError(f"label {bad[0]!r} cannot be written beside what is called {bad[0]!r} in such files; rename the label")


@contextmanager
def table(path: Path, schema: Schema) -> Iterator[Rows]:
    """What writes rows to a .csv or .parquet file, which is there when the block ends without an error.

    Args:
        path: the file.
        schema: labels that have columns in it, under their names.

    Raises:
        UserError: another ending, or a file that cannot be written.
    """
    if path.suffix.lower() not in TABLES:
        raise UserError(f"{path}: tables are written as {' or '.join(TABLES)}")
    refuse(schema, RESERVED)
    with files.replacing(path) as temporary:
        rows = TABLES[path.suffix.lower()](temporary, schema)
        try:
            yield rows
        finally:
            rows.close()


@contextmanager
def _vectors(path: Path, model: Model) -> Iterator[Writer]:
    with table(path, model.schema) as rows:

        class Vectors:
            def add(self, part: Part) -> None:
                said = {"id": part.ids, **part.columns}
                rows.add({**said, **samples.vectors(model, part.x, list(said))})

        yield Vectors()


# -- an archive -------------------------------------------------------------------------------------------------------


class _Archive:
    def __init__(self, file: Any, n: int, model: Model) -> None:
        self.file, self.is_image = file, len(model.shape) == 3
        kind = np.dtype(np.uint8 if self.is_image else np.float32)
        header = {"descr": npy.dtype_to_descr(kind), "fortran_order": False, "shape": (n, *model.shape)}
        npy.write_array_header_1_0(file, header)
        self.ids: list[str] = []
        self.columns: dict[str, list[str]] = {}

    def add(self, part: Part) -> None:
        x = np.moveaxis(pictures.to_pixels(part.x), -1, -3) if self.is_image else part.x.cpu().numpy().astype(np.float32)
        self.file.write(np.ascontiguousarray(x).tobytes())
        self.ids += map(str, part.ids)
        for name, column in part.columns.items():
            self.columns.setdefault(name, []).extend("" if entry is None else str(entry) for entry in column)


@contextmanager
def _archive(path: Path, model: Model, n: int, record: Callable[[], dict[str, Any]]) -> Iterator[Writer]:
    refuse(model.schema, ("x", "ids", "schema", "record", "columns", "split"))
    with files.replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with archive.open("x.npy", "w", force_zip64=True) as file:
            written = _Archive(file, n, model)
            yield written
        columns = {name: column for name, column in written.columns.items() if name in (*model.schema.names, "split")}
        said = {name: column for name, column in written.columns.items() if name not in columns}
        arrays = {name: np.array(column, str) for name, column in {"ids": written.ids, **columns}.items()}
        labels = model.schema.select([name for name in model.schema.names if name in columns])
        arrays["schema"] = np.array(labels.to_json())
        arrays["record"] = np.array(json.dumps(record() | said))
        if (kinds := samples.column_kinds(model)) is not None:
            arrays["columns"] = kinds
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                npy.write_array(file, array, allow_pickle=False)


# -- a directory of pictures ------------------------------------------------------------------------------------------


class _Folder:
    def __init__(self, home: Path, rows: Rows) -> None:
        self.home, self.rows = home, rows
        self.taken: set[str] = set()

    def add(self, part: Part) -> None:
        names = [self._name(name) for name in part.ids]
        for name, pixels in zip(names, pictures.to_pixels(part.x), strict=True):
            (self.home / name).write_bytes(pictures.encoded(pixels, "PNG"))
        self.rows.add({"id": part.ids, "file": names, **part.columns})

    def _name(self, given: str) -> str:
        """The sample's name as that of a file in this directory, different from all others."""
        stem = re.sub(r"\.[A-Za-z]{3,4}$", "", str(given))
        stem = re.sub(r"[^\w.+-]+", "_", stem).strip("._").encode()[:_LONGEST].decode(errors="ignore") or "sample"
        name, k = stem, 2
        while name.casefold() in self.taken:
            name, k = f"{stem}-{k}", k + 1
        self.taken.add(name.casefold())
        return f"{name}.png"


@contextmanager
def _folder(path: Path, schema: Schema, record: Callable[[], dict[str, Any]], overwrite: bool) -> Iterator[Writer]:
    refuse(schema, ("file",))
    with files.filling(path, _ours, overwrite) as home:
        with table(home / RECORDS, schema) as rows:
            yield _Folder(home, rows)
        files.write_json(home / RECORD, record())


def _ours(path: Path) -> list[str]:
    """Files of a directory that :func:`_folder` wrote."""
    if not ((path / RECORD).is_file() and (path / RECORDS).is_file()):
        return []
    with (path / RECORDS).open(newline="", encoding="utf-8") as file:
        named = [row.get("file") or "" for row in csv.DictReader(file)]
    return [*(name for name in named if name and Path(name).name == name), RECORDS, RECORD]
