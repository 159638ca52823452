"""``npz:FILE``: a NumPy archive with samples ``x`` and one array per label."""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy

from labelspace import variables
from labelspace.data import paths, vectors
from labelspace.data.cells import Column
from labelspace.data.columns import Columns, read_labels
from labelspace.data.dataset import Dataset
from labelspace.data.images import Framing
from labelspace.data.reading import Reading
from labelspace.data.splits import SPLITS, Split, drawn_splits
from labelspace.errors import UserError, unknown
from labelspace.labels import Schema
from labelspace.likelihoods import Column as Described
from labelspace.likelihoods import Table
from labelspace.storage import bounds, files

_GROUP = "group."


def open(address: str, seed: int, path: str, like: variables.Described | None = None, progress=None) -> Dataset:
    """Reads ``x`` (vectors of any number type, or uint8 / [0, 1] images, channels first or last) and the labels.

    Every other array of the archive is a label, one entry a sample: numbers or texts, NaN or ``''`` missing; kinds are
    inferred. An array named ``split`` with entries train, val and test fixes the splits.

    An array named ``columns`` with one text per column of ``x`` makes the data a table: "continuous", "count" (whole
    numbers), "categorical:K" (indices of K classes), or "categorical" (as many classes as the largest index says). Cells of a
    table may be NaN, which is missing.

    An array named ``ids`` names the samples. Archives that the library writes also have ``schema``, the labels as JSON, so that
    labels are those of the model whatever their values are here, ``record``, what was done, ``variables``, the columns as JSON,
    ``likelihood``, as text, ``framing``, how its pictures were read, as JSON, and ``group.NAME``, what belongs together.

    Raises:
        UserError: not such an archive, no ``x``, a label of another length, or a table with a column or cell that does not
            fit.
    """
    file = paths.file(path)
    arrays = _arrays(file)
    if "x" not in arrays:
        raise UserError(f"{file} has no array x; it has: {', '.join(arrays) or 'nothing'}")
    x, origins = _samples(file, arrays.pop("x"), "variables" in arrays or "columns" in arrays, like)
    likelihood = _table(file, x, arrays.pop("columns")) if "columns" in arrays else ""
    split, ids = arrays.pop("split", None), arrays.pop("ids", None)
    known, named = _text(arrays, "schema"), _text(arrays, "variables")
    likelihood = _text(arrays, "likelihood") or likelihood
    _text(arrays, "record")
    framed = _text(arrays, "framing")
    keys = {name.removeprefix(_GROUP): arrays.pop(name) for name in list(arrays) if name.startswith(_GROUP)}
    if ids is not None and ids.shape != (len(x),):
        raise UserError(f"{file}: ids has shape {ids.shape}; expected one entry for each of {len(x)} rows")
    for name, column in {**arrays, **{_GROUP + name: column for name, column in keys.items()}}.items():
        if column.shape != (len(x),):
            raise UserError(f"{file}: label {name!r} has shape {column.shape}; expected one entry for each of {len(x)} rows")
    reading = None
    try:
        if known is None or not arrays:
            columns = Columns({name: Column.of(name, column.tolist()) for name, column in arrays.items()})
            schema, values, observed, found = read_labels(columns, arrays, len(x), where=lambda row: f"row {row + 1}")
            reading = Reading(tuple(found))
        else:
            schema = Schema.from_json(known)
            values, observed = schema.encode({name: column.tolist() for name, column in arrays.items()})
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    splits: dict[Split, np.ndarray] = drawn_splits(schema, values, observed, seed)
    if split is not None:
        if split.shape != (len(x),) or not set(np.unique(split)) <= set(SPLITS):
            raise UserError(f"{file}: split must hold train, val or test for each of {len(x)} rows")
        splits = {name: np.flatnonzero(split == name) for name in SPLITS}
    names = None if ids is None else ids.astype(str)
    keys = {name: column.astype(str) for name, column in keys.items()}
    described = _variables(file, x, named) if named is not None else vectors.named([], x.shape[1], origins)
    return Dataset(
        address,
        x,
        values,
        observed,
        schema,
        splits,
        likelihood=likelihood,
        ids=names,
        keys=keys,
        variables=described,
        notes=() if reading is None else tuple(reading.summary()),
        reading=reading,
        framing=_framing(file, framed),
    )


_LONGEST = 10_000  # bytes of a header, as NumPy has it
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def _arrays(file: Path) -> dict[str, np.ndarray]:
    """All arrays of an archive. Raises UserError where it is none, or they are together larger than may be read."""
    try:
        with bounds.opened(file) as handle:
            if handle.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
                raise ValueError("it is a single array")
            with zipfile.ZipFile(handle) as archive:
                members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
                bounds.check(file, sum(_size(archive, member) for member in members.values()))
                return {name: _array(archive, member) for name, member in members.items()}
    except (UserError, MemoryError):
        raise
    except Exception as error:  # what is raised for a damaged archive depends on where it is damaged
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{file} cannot be read as a NumPy archive of plain arrays: {why}") from None


def _size(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Bytes that an array takes, by what it says of itself."""
    with archive.open(member) as content:
        version = npy.read_magic(content)
        if version not in _HEADERS:
            raise ValueError(f"{member.filename} is in version {version} of the format")
        _check_header(archive, member, version[0])
        shape, _, kind = _HEADERS[version](content)
        says = content.tell() + math.prod(shape) * kind.itemsize
    if kind.hasobject or kind.kind == "V":
        raise ValueError(f"{member.filename} holds {'Python objects' if kind.hasobject else 'records'}")
    if member.file_size > says:
        raise ValueError(f"{member.filename} holds {member.file_size:,} bytes, and says that it has {says:,}")
    return math.prod(shape) * (kind.itemsize if len(shape) > 2 else max(kind.itemsize, 8))  # vectors are read as numbers


def _check_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo, version: int) -> None:
    """Raises ValueError where the text that says what an array is like is longer than any is: NumPy reads it whole."""
    with archive.open(member) as content:
        content.read(len(npy.MAGIC_PREFIX) + 2)
        if (length := int.from_bytes(content.read(2 * version), "little")) > _LONGEST:
            raise ValueError(f"{member.filename} has a header of {length:,} bytes")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as content:
        return npy.read_array(content, allow_pickle=False)


def write(path: Path, data: Dataset) -> Path:
    """Writes a data set as such an archive.

    Raises:
        UserError: another ending, or a label that is called as a part of the archive.
    """
    if path.suffix.lower() != ".npz":
        raise UserError(f"{str(path)!r} must end in .npz")
    split = np.full(len(data), "", "U5")
    for name, rows in data.splits.items():
        split[rows] = name
    arrays: dict[str, np.ndarray] = {"x": data.x, "schema": np.array(data.schema.to_json())}
    if (split != "").all() and len(data.splits) == len(SPLITS):
        arrays["split"] = split
    if data.ids is not None:
        arrays["ids"] = data.ids
    if data.variables:
        arrays["variables"] = np.array(variables.to_json(data.variables))
    if data.likelihood and not data.likelihood.startswith("table"):
        arrays["likelihood"] = np.array(data.likelihood)
    elif data.likelihood:
        arrays["columns"] = np.array(data.likelihood.removeprefix("table(").removesuffix(")").split(","))
    if data.framing != Framing():
        arrays["framing"] = np.array(json.dumps(data.framing.to_dict()))
    arrays |= {f"{_GROUP}{name}": column for name, column in data.keys.items()}
    for label, entries in data.schema.decode(data.values, data.observed).items():
        if label in arrays:
            raise UserError(f"a label called {label!r} has the name of a part of the archive; rename it")
        arrays[label] = _column(entries)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    files.write(path, buffer.getvalue())
    return path


def _column(entries: list) -> np.ndarray:
    if all(entry is None or isinstance(entry, int | float) for entry in entries):
        return np.array([np.nan if entry is None else entry for entry in entries], np.float64)
    return np.array(["" if entry is None else str(entry) for entry in entries])


def _variables(file: Path, x: np.ndarray, text: str) -> tuple[variables.Variable, ...]:
    try:
        found = variables.from_json(text)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    if x.ndim != 2 or len(found) != x.shape[1]:
        raise UserError(f"{file}: {len(found)} variables for samples of shape {x.shape[1:]}")
    return found


def _framing(file: Path, text: str | None) -> Framing:
    try:
        return Framing() if text is None else Framing.read(files.from_json(text))
    except ValueError as error:
        raise UserError(f"{file}: framing: {error}") from None


def _text(arrays: dict[str, np.ndarray], name: str) -> str | None:
    """Takes a text that is no label out of the archive's arrays."""
    return str(arrays.pop(name)) if name in arrays and arrays[name].ndim == 0 and arrays[name].dtype.kind == "U" else None


def _table(file: Path, x: np.ndarray, kinds: np.ndarray) -> str:
    """The text of the table likelihood that fits ``x``, whose columns have these kinds."""
    if x.ndim != 2 or kinds.shape != (x.shape[1],):
        raise UserError(
            f"{file}: columns has shape {kinds.shape} and x {x.shape}; a table needs x of shape (n, d) and one of "
            f"{', '.join(Described.KINDS)} for each of its d columns"
        )
    columns = []
    for i, entry in enumerate(kinds.tolist()):
        kind = (entry.decode(errors="replace") if isinstance(entry, bytes) else str(entry)).strip()
        classes = 0
        if ":" in kind:
            try:
                columns.append(Described.parse(kind))
            except UserError as error:
                raise UserError(f"{file}, column {i + 1} of x: {error}") from None
            continue
        if kind not in Described.KINDS:
            raise UserError(f"{file}, column {i + 1} of x: {unknown('kind of column', kind, Described.KINDS)}")
        if kind == "categorical":
            cells = x[:, i][np.isfinite(x[:, i])]
            classes = int(cells.max()) + 1 if len(cells) else 0
            if classes < 2:
                raise UserError(f"{file}: column {i + 1} of x is categorical but has no two classes; leave it out")
            if classes > len(x):
                raise UserError(
                    f"{file}: column {i + 1} of x is categorical with class indices up to {classes - 1} in {len(x)} rows; "
                    "number its classes 0, 1, 2, ..."
                )
        columns.append(Described(kind, classes))
    try:
        Table(x.shape[1:], columns).check(torch.from_numpy(x))
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    return f"table({','.join(map(str, columns))})"


def _samples(
    file: Path, x: np.ndarray, described: bool, like: variables.Described | None
) -> tuple[np.ndarray, tuple[float, ...]]:
    """Samples, and what the columns of vectors are counted from; described ones are counted so already."""
    if x.ndim == 2 and x.dtype.kind in "fiub":
        return (np.ascontiguousarray(x, np.float32), ()) if described else vectors.counted_from(str(file), x, like)
    if x.ndim == 3:  # grey images without a channel axis
        x = x[:, None]
    if x.ndim != 4 or x.dtype.kind not in "fu":
        raise UserError(f"{file}: x has type {x.dtype} and shape {x.shape}; expected (n, d) numbers or (n, c, h, w) images")
    if x.shape[1] > 4 and x.shape[3] <= 4:
        x = x.transpose(0, 3, 1, 2)
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x), ()
    if x.dtype.kind == "u":
        raise UserError(f"{file}: x has type {x.dtype}; images must be uint8, or floating point in [0, 1]")
    return np.ascontiguousarray(x, np.float32), ()
