"""``folder:DIR``: one directory a class, or images beside a ``labels.csv`` whose first column is the file name."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import numpy as np

from labelspace.data import columns, images, lists, paths, stored
from labelspace.data.dataset import Dataset
from labelspace.data.images import Crop
from labelspace.data.splits import random_splits
from labelspace.errors import UserError, unknown
from labelspace.labels import Schema, categorical


def open(
    address: str,
    seed: int,
    path: str,
    progress=None,
    labels: list[str] | None = None,
    group: str = "",
    size: Annotated[int, "64"] = 0,
    channels: Annotated[int, "3"] = 0,
    crop: Crop = "centre",
) -> Dataset:
    """Reads a directory of images into the store.

    Args:
        path: the directory. With a ``labels.csv`` in it, every row names a file and its labels; without one, every
            sub-directory is a class of the categorical label ``class``.
        labels: columns of ``labels.csv`` that are labels; by default all but ``group``. Others are not looked at.
        group: a column of ``labels.csv`` that says which images belong together; it becomes a key.
        size: side of the square that images are fitted to; 0 keeps their size, which must then be one and the same.
        channels: 1, 3 or 4; 0 takes the images' own, which must then be one and the same.
        crop: how they are fitted: a key of :data:`labelspace.data.images.CROPS`.

    Raises:
        UserError: no images, images of different sizes or modes, a file that labels.csv names but is not there, a
            duplicate row, a label that cannot be one, or more than 1% of files that cannot be read (file and row named).
    """
    home = paths.directory(path)
    images.check(size, channels, crop)
    table = home / "labels.csv"
    if table.exists():
        names, lines, cells = _from_csv(home, table, labels, group)
        keys = {group: np.array([columns.text(cell) or "" for cell in cells[group]])} if group in cells else {}
        used = {name: column for name, column in cells.items() if name != group or (labels is not None and name in labels)}
        read = _labels(table, used, np.arange(len(names)))  # before hours of decoding
    else:
        names, found = _from_directories(home)
        lines, keys, used = [], {}, {}
        read = _classes(found)
    have = stored.load(
        home.resolve().name or "folder",
        home,
        names,
        size=size,
        channels=channels,
        crop=crop,
        where=(lambda row: f"{table}, line {lines[row]}") if lines else None,
        progress=progress,
    )
    if len(have.kept) < len(names):  # kinds and means are those of the images that are there
        read = _labels(table, used, have.kept) if lines else _classes([found[row] for row in have.kept])
    return Dataset(
        address,
        have.x,
        read[1],
        read[2],
        read[0],
        random_splits(len(have.x), seed),
        notes=have.notes,
        ids=np.array(names)[have.kept],
        keys={name: column[have.kept] for name, column in keys.items()},
        crop=crop,
    )


def _from_csv(
    home: Path, table: Path, labels: list[str] | None, group: str
) -> tuple[list[str], list[int], dict[str, list[str]]]:
    """File names, their lines, and the columns that are labels or the group."""
    separator = lists.separator_of(table)
    rows = list(lists.read(table, separator))
    if len(rows) < 2 or len(rows[0][1]) < 2:
        raise UserError(f"{table} needs a header line, a file-name column, a label column and at least one row")
    header = rows.pop(0)[1]
    if len(set(header)) != len(header):
        raise UserError(f"{table}: two columns have the same name: {', '.join(map(repr, header))}")
    for name in labels or []:
        if name not in header[1:]:
            raise unknown(f"label in {table}:", name, header[1:])
    if group and group not in header[1:]:
        raise unknown(f"group in {table}:", group, header[1:])
    names: list[str] = []
    seen: dict[str, int] = {}
    for line, row in rows:
        if len(row) != len(header):
            raise UserError(f"{table}, line {line}: {len(row)} cells, expected {len(header)}")
        name = row[0]
        if "\\" in name and not (home / name).exists():  # written on Windows
            name = name.replace("\\", "/")
        file = os.path.normpath(name)  # ./a.png is a.png, and would be in two splits
        if file in seen:
            raise UserError(f"{table}, line {line}: {name!r} is already in line {seen[file]}")
        seen[file] = line
        names.append(name)
    cells = {
        name: [row[i] for _, row in rows]
        for i, name in enumerate(header)
        if i and (labels is None or name in labels or name == group)
    }
    if separator == ";":  # where cells end with a semicolon, a comma is a decimal point
        cells = {name: _points(column) for name, column in cells.items()}
    return names, [line for line, _ in rows], cells


def _points(column: list[str]) -> list[str]:
    known = [cell for cell in column if columns.text(cell) is not None]
    numbers = all(re.fullmatch(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?", cell) for cell in known)
    return [cell.replace(",", ".") for cell in column] if numbers else column


def _labels(table: Path, cells: dict[str, list[str]], rows: np.ndarray) -> tuple[Schema, np.ndarray, np.ndarray]:
    try:
        return columns.read({name: [column[row] for row in rows] for name, column in cells.items()}, len(rows))
    except UserError as error:
        raise UserError(f"{table}: {error}") from None


def _from_directories(home: Path) -> tuple[list[str], list[str]]:
    """File names, and the directory of each."""
    classes = sorted(entry for entry in home.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    files: list[str] = []
    names: list[str] = []
    for directory in classes:
        found = images.within(directory)
        if not found:
            raise UserError(f"{directory} holds no images, so its class would be empty")
        files += [str(file.relative_to(home)) for file in found]
        names += [directory.name] * len(found)
    if len(classes) < 2:
        raise UserError(f"{home} has no labels.csv and fewer than two class directories")
    return files, names


def _classes(names: list[str]) -> tuple[Schema, np.ndarray, np.ndarray]:
    """Names of directories are names, whatever they are."""
    schema = Schema([categorical("class", dict.fromkeys(names))])
    code = {name: i for i, name in enumerate(schema["class"].classes)}
    values = np.array([code[name] for name in names], np.float32)[:, None]
    return schema, values, np.ones(values.shape, bool)
