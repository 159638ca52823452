"""``folder:DIR``: one directory a class, or images beside a ``labels.csv`` whose first column is the file name."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np

from labelspace.data import columns, images, store
from labelspace.data.dataset import Dataset, random_splits
from labelspace.errors import UserError
from labelspace.labels import Schema, categorical

_MOST_CORRUPT = 0.01


def open(address: str, seed: int, path: str, progress=None, size: int = 0, channels: int = 0) -> Dataset:
    """Reads a directory of images into the store.

    Args:
        address: kept with the data.
        seed: seed of the splits.
        path: the directory. With a ``labels.csv`` in it, every row names a file and its labels; without one, every
            sub-directory is a class of the categorical label ``class``.
        progress: called with images read and images in all.
        size: side of the square that images are resized to; 0 keeps their size, which must then be one and the same.
        channels: 1, 3 or 4; 0 takes the images' own, which must then be one and the same.

    Raises:
        UserError: no images, images of different sizes or modes, a file that labels.csv names but is not there, a
            duplicate row, or more than 1% of files that cannot be read (file and row named).
    """
    home = Path(path)
    if not home.is_dir():
        raise UserError(f"no such directory: {home}")
    if size and not 8 <= size <= 256:
        raise UserError(f"size must be 8 to 256, got {size}")
    if channels not in (0, *images.MODES):
        raise UserError(f"channels must be 1, 3 or 4, got {channels}")
    files, labels = _from_csv(home) if (home / "labels.csv").exists() else _from_directories(home)
    looked = images.look(files)
    bad = {file: why for file, why in looked.items() if isinstance(why, str)}
    shape = _common_shape(home, {file: found for file, found in looked.items() if not isinstance(found, str)}, size, channels)
    stamps = ";".join(f"{file.stat().st_size},{file.stat().st_mtime_ns}" for file in files)
    built = store.build(
        home.resolve().name or "folder",
        np.array([str(file.resolve()) for file in files]),
        shape,
        "files",
        {"size": list(shape[1:]), "channels": shape[0]},
        fingerprint=stamps,
        progress=progress,
    )
    notes = []
    failed = {files[row]: why for row, why in built.failures.items()} | bad
    if failed:
        first = str(next(iter(failed)))
        why = next(iter(failed.values())).removeprefix(f"{first}: ")
        if len(failed) > _MOST_CORRUPT * len(files):
            raise UserError(
                f"{len(failed)} of {len(files)} images cannot be read (at most 1% may be skipped), first {first}: {why}"
            )
        notes.append(f"skipped {len(failed)} of {len(files)} images that cannot be read, first {first}: {why}")
    good = np.array([file not in failed for file in files])
    kept = {name: [entry for entry, ok in zip(column, good, strict=True) if ok] for name, column in labels.items()}
    if tuple(kept) == ("class",) and not (home / "labels.csv").exists():  # names of directories are names, whatever they are
        schema = Schema([categorical("class", dict.fromkeys(kept["class"]))])
        codes = [schema["class"].classes.index(name) for name in kept["class"]]
        values = np.array(codes, np.float32)[:, None]
        observed = np.ones(values.shape, bool)
    else:
        schema, values, observed = columns.read(kept, int(good.sum()))
    x = built.x if good.all() else built.x[good]
    return Dataset(address, x, values, observed, schema, random_splits(len(x), seed), notes=tuple(notes))


def _from_csv(home: Path) -> tuple[list[Path], dict[str, list[str]]]:
    table = home / "labels.csv"
    try:
        with table.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle)
            lines = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table} cannot be read: {error}") from None
    if len(lines) < 2 or len(lines[0][1]) < 2:
        raise UserError(f"{table} needs a header line, a file-name column, a label column and at least one row")
    header = [name.strip() for name in lines[0][1]]
    if len(set(header)) != len(header):
        raise UserError(f"{table}: two columns have the same name: {', '.join(header)}")
    files: list[Path] = []
    seen: dict[str, int] = {}
    for line, row in lines[1:]:
        if len(row) != len(header):
            raise UserError(f"{table}, line {line}: {len(row)} cells, expected {len(header)}")
        name = row[0].strip()
        if name in seen:
            raise UserError(f"{table}, line {line}: {name!r} is already in line {seen[name]}")
        seen[name] = line
        if not name or not (home / name).is_file():
            raise UserError(f"{table}, line {line}: no such file {name!r} in {home}")
        files.append(home / name)
    return files, {name: [row[i] for _, row in lines[1:]] for i, name in enumerate(header) if i}


def _from_directories(home: Path) -> tuple[list[Path], dict[str, list[str]]]:
    classes = sorted(entry for entry in home.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    files: list[Path] = []
    names: list[str] = []
    for directory in classes:
        found = sorted(file for file in directory.rglob("*") if file.suffix.lower() in images.ENDINGS and file.is_file())
        if not found:
            raise UserError(f"{directory} holds no images, so its class would be empty")
        files += found
        names += [directory.name] * len(found)
    if len(classes) < 2:
        raise UserError(f"{home} has no labels.csv and fewer than two class directories")
    return files, {"class": names}


def _common_shape(home: Path, looked: dict, size: int, channels: int) -> tuple[int, int, int]:
    if not looked:
        raise UserError(f"{home}: no file can be read as an image")
    sizes = Counter(found[0] for found in looked.values())
    bands = Counter(found[1] for found in looked.values())
    if not size and len(sizes) > 1:
        first, second = (next(f for f, found in looked.items() if found[0] == s) for s in list(sizes)[:2])
        raise UserError(
            f"images of different sizes: {first} is {looked[first][0]}, {second} is {looked[second][0]} "
            f"(height, width); resize them with folder:{home},size=64"
        )
    if not channels and len(bands) > 1:
        first, second = (next(f for f, found in looked.items() if found[1] == b) for b in list(bands)[:2])
        raise UserError(
            f"images of different modes: {first} has {looked[first][1]} channels, {second} has {looked[second][1]}; "
            f"convert them with folder:{home},channels=3"
        )
    height, width = (size, size) if size else next(iter(sizes))
    return channels or next(iter(bands)), height, width
