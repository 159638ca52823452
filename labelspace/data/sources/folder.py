"""``folder:DIR``: one directory a class, or images beside a ``labels.csv`` with a column of file names."""

from __future__ import annotations

import difflib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np

from labelspace.data import columns, images, lists, paths, stored
from labelspace.data.dataset import Dataset, random_splits
from labelspace.data.images import Background, Crop
from labelspace.errors import UserError, unknown
from labelspace.labels import Schema, categorical
from labelspace.variables import Described

_SHOWN = 5  # rows of a message
_TRIED = 500  # rows by which the column of file names is found
_COMPARED = 20_000  # names that the nearest is looked for in


def open(
    address: str,
    seed: int,
    path: str,
    progress=None,
    labels: list[str] | None = None,
    group: str = "",
    like: Described | None = None,
    size: Annotated[int, "64"] = 0,
    channels: Annotated[int, "3"] = 0,
    crop: Crop = "centre",
    background: Background = "white",
    file: Annotated[str, "COLUMN"] = "",
) -> Dataset:
    """Reads a directory of images into the store.

    Args:
        path: the directory. With a ``labels.csv`` in it, every row names a file and its labels; without one, every
            sub-directory is a class of the categorical label ``class``.
        labels: columns of ``labels.csv`` that are labels; by default all but ``file`` and ``group``. Others are not looked at.
        group: a column of ``labels.csv`` that says which images belong together; it becomes a key.
        like: a trained model that the images are for: they are read as its own were, where no option says otherwise.
        size: side of the square that images are fitted to; 0 keeps their size where it is one and the same and models take it,
            and else is 64.
        channels: 1, 3 or 4; 0 is 1 where all are grey, else 3 (4 with ``background=keep`` where some are transparent).
        crop: how they are fitted: a key of :data:`labelspace.data.images.CROPS`.
        background: what transparent images are put on where they do not have 4 channels: "white" or "black"; "keep" keeps
            their transparency as a fourth channel.
        file: the column of ``labels.csv`` that names files; by default the first, or the one whose entries do.

    Raises:
        UserError: no images, files that labels.csv names but are not there (the first are named, each with the nearest that
            is), a duplicate row, a label that cannot be one, or more than 1% of files that cannot be read (file and row named).
    """
    home = paths.directory(path)
    images.check(size, channels, crop, background)
    table = home / "labels.csv"
    if table.exists():
        names, lines, cells, notes = _from_csv(home, table, labels, group, file)
        keys = {group: np.array([columns.text(cell) or "" for cell in cells[group]])} if group in cells else {}
        used = {name: column for name, column in cells.items() if name != group or (labels is not None and name in labels)}
        read = _labels(table, used, np.arange(len(names)))  # before hours of decoding
    else:
        if file:
            raise UserError(f"option file names a column of labels.csv, and {home} has none")
        names, found, notes = _from_directories(home)
        lines, keys, used = [], {}, {}
        read = _classes(found)
    have = stored.load(
        home.resolve().name or "folder",
        home,
        names,
        size=size,
        channels=channels,
        crop=crop,
        background=background,
        like=like,
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
        notes=(*have.notes, *notes),
        ids=np.array(names)[have.kept],
        keys={name: column[have.kept] for name, column in keys.items()},
        framing=have.framing,
    )


def _from_csv(
    home: Path, table: Path, labels: list[str] | None, group: str, file: str
) -> tuple[list[str], list[int], dict[str, list[str]], list[str]]:
    """File names, their lines, the columns that are labels or the group, and notes."""
    separator = lists.separator_of(table)
    rows = list(lists.read(table, separator))
    if len(rows) < 2 or len(rows[0][1]) < 2:
        raise UserError(f"{table} needs a header line, a file-name column, a label column and at least one row")
    header = rows.pop(0)[1]
    if len(set(header)) != len(header):
        raise UserError(f"{table}: two columns have the same name: {', '.join(map(repr, header))}")
    for line, row in rows:
        if len(row) != len(header):
            raise UserError(f"{table}, line {line}: {len(row)} cells, expected {len(header)}")
    if file and file not in header:
        raise unknown(f"file in {table}:", file, header)
    notes: list[str] = []
    pictures, others = images.within(home)
    there = _Files(home, [str(picture.relative_to(home)) for picture in pictures])
    place = header.index(file) if file else _column_of_files(there, [row for _, row in rows])
    named = header[place]
    if place and not file:
        notes.append(f"{table.name}: column {named!r} names the files; file= chooses another")
    rest = [name for name in header if name != named]
    for name in labels or []:
        if name not in rest:
            raise unknown(f"label in {table}:", name, rest)
    if group and group not in rest:
        raise unknown(f"group in {table}:", group, rest)
    if labels is None and place and (not header[0] or header[0].startswith("Unnamed:")) and header[0] != (group or None):
        notes.append(f"{table.name}: its first column has no name, numbers the rows, and is no label")
        rest.remove(header[0])
    lines = [line for line, _ in rows]
    names = there.matched(table, named, lines, [row[place] for _, row in rows], notes)
    cells = {
        name: [row[i] for _, row in rows]
        for i, name in enumerate(header)
        if name in rest and (labels is None or name in labels or name == group)
    }
    if separator == ";":  # where cells end with a semicolon, a comma is a decimal point
        cells = {name: _points(column) for name, column in cells.items()}
    if unlisted := sorted(set(there.names) - set(map(_plain, names))):
        notes.append(
            f"{images.counted(len(unlisted), 'picture')} left out, because {table.name} does not list them: {unlisted[0]!r}"
            + (", ..." if len(unlisted) > 1 else "")
        )
    notes += images.left_out(other for other in others if other != table)
    return names, lines, cells, notes


def _plain(name: str) -> str:
    """A name as the listing of a directory has it: ``./a.png`` is a.png, and would be in two splits."""
    return os.path.normpath(name)


class _Files:
    """The pictures of a directory, found by names as people write them.

    Args:
        home: the directory.
        names: of its pictures, relative to it.
    """

    def __init__(self, home: Path, names: Sequence[str]) -> None:
        self.home, self.names = home, set(names)
        self._by_last: dict[str, list[str]] = defaultdict(list)  # by the last part of the name, with and without its ending
        for name in names:
            path = Path(name)
            for last in {path.name.casefold(), path.stem.casefold()}:
                self._by_last[last].append(name)

    def exact(self, name: str) -> str:
        """The file of that name; '' where there is none. A backslash that is not in the file's name was written on Windows."""
        for tried in dict.fromkeys((name, name.replace("\\", "/"))):
            if tried and (_plain(tried) in self.names or os.path.isfile(os.path.join(self.home, tried))):
                return tried
        return ""

    def near(self, name: str) -> list[str]:
        """The pictures that a name may mean that is none's exactly: its ending may be absent, letters in another case, and one
        of both may have further directories before it. Those with which it shares most of the path, more than one in a tie."""
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        if not parts:
            return []
        wanted = [part.casefold() for part in parts]
        found: dict[tuple[int, bool], list[str]] = defaultdict(list)
        for candidate in self._by_last.get(wanted[-1], ()):
            own = Path(candidate).parts
            last = own[-1] if own[-1].casefold() == wanted[-1] else Path(candidate).stem
            theirs = [*(part.casefold() for part in own[:-1]), last.casefold()]
            shared = min(len(theirs), len(wanted))
            if theirs[-shared:] == wanted[-shared:]:
                found[shared, [*own[:-1], last][-shared:] == parts[-shared:]].append(candidate)
        return found[max(found)] if found else []

    def matched(self, table: Path, column: str, lines: Sequence[int], given: Sequence[str], notes: list[str]) -> list[str]:
        """The file of each row. Raises UserError that lists the rows without one, or the first of two rows of one file."""
        names = [self.exact(name) for name in given]
        taken = {_plain(name) for name in names if name}
        wrong: list[str] = []
        close: list[tuple[str, str]] = []
        for row, name in enumerate(given):
            if names[row]:
                continue
            candidates = [file for file in self.near(name) if file not in taken]  # a file is the one that it is named
            if len(candidates) == 1:
                names[row] = candidates[0]
                close.append((name, candidates[0]))
                continue
            if len(wrong) < _SHOWN:
                about = f" (may be {' or '.join(map(repr, candidates[:2]))})" if candidates else self._suggested(name, taken)
                wrong.append(f"line {lines[row]} {name!r}{about}")
            else:
                wrong.append("")
        if wrong:
            shown = ", ".join(wrong[:_SHOWN]) + (", ..." if len(wrong) > _SHOWN else "")
            raise UserError(
                f"{table}: no such file in {self.home}, or no single one, for {len(wrong):,} of {len(lines):,} rows (column "
                f"{column!r}; file= names another): {shown}"
            )
        seen: dict[str, int] = {}
        for line, name, own in zip(lines, names, given, strict=True):
            if (before := seen.setdefault(_plain(name), line)) != line:
                raise UserError(f"{table}, line {line}: {own!r} is already in line {before}")
        if close:
            notes.append(
                f"{images.counted(len(close), 'name')} in {table.name} no file's own, and taken for the only one that fits, as "
                f"{close[0][0]!r} for {close[0][1]!r}"
            )
        return names

    def _suggested(self, name: str, taken: set[str]) -> str:
        """The nearest file that no row names, as part of a message."""
        free = sorted(self.names - taken)[:_COMPARED]
        near = difflib.get_close_matches(name.replace("\\", "/"), free, n=1, cutoff=0.5)
        return f" (did you mean {near[0]!r}?)" if near else ""


def _column_of_files(there: _Files, rows: list[list[str]]) -> int:
    """The column whose entries are files: the first where half of them are; else that of which most are, and at least half."""
    tried = rows[:: -(-len(rows) // _TRIED)]

    def found(column: int, by: Callable[[str], object]) -> int:
        return sum(bool(by(row[column])) for row in tried)

    if 2 * found(0, there.exact) >= len(tried):
        return 0
    counts = [(found(i, there.exact), found(i, there.near)) for i in range(len(rows[0]))]
    best = max(range(len(counts)), key=lambda i: (*counts[i], -i))
    return best if 2 * max(counts[best]) >= len(tried) else 0


def _points(column: list[str]) -> list[str]:
    known = [cell for cell in column if columns.text(cell) is not None]
    numbers = all(re.fullmatch(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?", cell) for cell in known)
    return [cell.replace(",", ".") for cell in column] if numbers else column


def _labels(table: Path, cells: dict[str, list[str]], rows: np.ndarray) -> tuple[Schema, np.ndarray, np.ndarray]:
    try:
        return columns.read({name: [column[row] for row in rows] for name, column in cells.items()}, len(rows))
    except UserError as error:
        raise UserError(f"{table}: {error}") from None


def _from_directories(home: Path) -> tuple[list[str], list[str], list[str]]:
    """File names, the directory of each, and notes."""
    classes = sorted(entry for entry in home.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    files: list[str] = []
    names: list[str] = []
    left: list[Path] = []
    for directory in classes:
        found, others = images.within(directory)
        left += others
        if not found:
            raise UserError(f"{directory} holds no images, so its class would be empty")
        files += [str(file.relative_to(home)) for file in found]
        names += [directory.name] * len(found)
    if len(classes) < 2:
        raise UserError(f"{home} has no labels.csv and fewer than two class directories")
    beside, others = images.within(home, below=False)
    notes = list(images.left_out([*left, *others]))
    if beside:
        notes.insert(0, f"{images.counted(len(beside), 'picture')} left out, because not in the directory of a class")
    return files, names, notes


def _classes(names: list[str]) -> tuple[Schema, np.ndarray, np.ndarray]:
    """Names of directories are names, whatever they are."""
    schema = Schema([categorical("class", dict.fromkeys(names))])
    code = {name: i for i, name in enumerate(schema["class"].classes)}
    values = np.array([code[name] for name in names], np.float32)[:, None]
    return schema, values, np.ones(values.shape, bool)
