"""``folder:DIR``: one directory a class, or images beside a ``labels.csv`` with a column of file names."""

from __future__ import annotations

import difflib
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from labelspace.data import delimited, images, paths, stored
from labelspace.data.arrow import pa
from labelspace.data.cells import Column
from labelspace.data.columns import Columns, read_labels
from labelspace.data.dataset import Dataset
from labelspace.data.images import Background, Crop
from labelspace.data.reading import Asked, Reading
from labelspace.data.splits import drawn_splits
from labelspace.data.tabular import parse_asked
from labelspace.errors import UserError, unknown
from labelspace.labels import Schema, categorical
from labelspace.storage import files
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
    kinds: Annotated[str, "A:categorical"] = "",
    missing: Annotated[str, "-1+A:none"] = "",
    decimal: Literal["", ",", "."] = "",
    classes: Annotated[str, "A:low|high"] = "",
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
        kinds, missing, decimal, classes: of columns of ``labels.csv``, as of ``table``.

    Raises:
        UserError: no images, files that labels.csv names but are not there (the first are named, each with the nearest that
            is), a duplicate row, a label that cannot be one, or more than 1% of files that cannot be read (file and row named).
    """
    home = paths.directory(path)
    images.check(size, channels, crop, background)
    asked = parse_asked(kinds, missing, decimal, classes)
    table = home / "labels.csv"
    if table.exists():
        listed = _from_csv(home, table, labels, group, file)
        names, notes, keys = listed.names, listed.notes, listed.keys(group)
        read = listed.labels(table, labels, group, asked, np.arange(len(names)))  # before hours of decoding
    else:
        if file:
            raise UserError(f"option file names a column of labels.csv, and {home} has none")
        names, found, notes = _from_directories(home)
        listed, keys = None, {}
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
        where=None if listed is None else (lambda row: f"{table}, line {listed.lines[row]}"),
        progress=progress,
    )
    if len(have.kept) < len(names):  # kinds and means are those of the images that are there
        kept = have.kept
        read = _classes([found[row] for row in kept]) if listed is None else listed.labels(table, labels, group, asked, kept)
    schema, values, observed, reading = read
    return Dataset(
        address,
        have.x,
        values,
        observed,
        schema,
        drawn_splits(schema, values, observed, seed),
        notes=(*have.notes, *notes, *reading.summary()),
        ids=np.array(names)[have.kept],
        keys={name: column[have.kept] for name, column in keys.items()},
        framing=have.framing,
        reading=reading if listed is not None else None,
    )


@dataclass(frozen=True)
class _Listed:
    """What labels.csv says: file names, their lines, its other columns, and notes."""

    names: list[str]
    lines: list[int]
    columns: dict[str, Column]
    separator: str
    notes: list[str]

    def labels(
        self, table: Path, used: Sequence[str] | None, group: str, asked: Asked, rows: np.ndarray
    ) -> tuple[Schema, np.ndarray, np.ndarray, Reading]:
        """Labels of some rows. Raises UserError with all that is wrong."""
        kept = {name: Column(name, column.cells.take(rows)) for name, column in self.columns.items()}
        chosen = [name for name in kept if name != group] if used is None else list(used)
        try:
            columns = Columns(kept, asked, "," if self.separator == ";" else "")
            *read, readings = read_labels(
                columns, chosen, len(rows), where=lambda row: f"{table}, line {self.lines[int(rows[row])]}"
            )
        except UserError as error:
            raise UserError(str(error) if str(error).startswith(str(table)) else f"{table}: {error}") from None
        return *read, Reading(tuple(readings))  # type: ignore[return-value]

    def keys(self, group: str) -> dict[str, np.ndarray]:
        """What belongs together, by row."""
        if not group:
            return {}
        return {group: Columns({group: self.columns[group]}).keys(group)}


def _from_csv(home: Path, table: Path, labels: list[str] | None, group: str, file: str) -> _Listed:
    text = delimited.read(table)
    columns = dict(text.columns)
    if text.names is not None:  # a first column without a name
        columns = {"": Column("", pa.array(text.names.tolist())), **columns}
    if len(columns) < 2:
        raise UserError(f"{table} needs a header line, a file-name column, a label column and at least one row")
    if file and file not in columns:
        raise unknown(f"file in {table}:", file, columns)
    notes = [note for note in text.notes if "rows' names" not in note]
    pictures, others = images.within(home)
    there = _Files(home, [str(picture.relative_to(home)) for picture in pictures])
    named = file or _column_of_files(there, columns)
    first = next(iter(columns))
    if named != first and not file:
        notes.append(f"{table.name}: column {named!r} names the files; file= chooses another")
    rest = [name for name in columns if name != named]
    for name in labels or []:
        if name not in rest:
            raise unknown(f"label in {table}:", name, rest)
    if group and group not in rest:
        raise unknown(f"group in {table}:", group, rest)
    if labels is None and named != first and (not first or first.startswith("Unnamed:")) and first != (group or None):
        notes.append(f"{table.name}: its first column has no name, numbers the rows, and is no label")
        rest.remove(first)
    lines = [text.line(row) for row in range(text.n)]
    names = there.matched(table, named, lines, columns[named].cells.to_pylist(), notes)
    if unlisted := sorted(set(there.names) - set(map(_plain, names))):
        notes.append(
            f"{images.counted(len(unlisted), 'picture')} left out, because {table.name} does not list them: {unlisted[0]!r}"
            + (", ..." if len(unlisted) > 1 else "")
        )
    notes += images.left_out(other for other in others if other != table)
    return _Listed(names, lines, {name: columns[name] for name in rest}, text.separator, notes)


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
        """The file of that name in the directory; '' where there is none. A backslash that is not in its name was written on
        Windows."""
        for tried in dict.fromkeys((name, name.replace("\\", "/"))):
            if not tried or files.leads_out(tried):
                continue
            if _plain(tried) in self.names or os.path.isfile(os.path.join(self.home, tried)):
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


def _column_of_files(there: _Files, columns: Mapping[str, Column]) -> str:
    """The column whose entries are files: the first where half of them are; else that of which most are, and at least half.

    What repeats itself names no files: 0 and 1 are a label's values, although there are 0.png and 1.png.
    """
    n = len(next(iter(columns.values())))
    tried = {name: column.cells.take(np.arange(0, n, -(-n // _TRIED))).to_pylist() for name, column in columns.items()}

    def found(column: str, by: Callable[[str], object]) -> float:
        return sum(bool(by(entry)) for entry in tried[column]) / len(tried[column])

    first = next(iter(columns))
    if found(first, there.exact) >= 0.5:
        return first
    apart = [name for name, entries in tried.items() if name == first or len(set(entries)) > len(entries) / 2]
    shares = {name: (found(name, there.exact), found(name, there.near)) for name in apart}
    best = max(apart, key=lambda name: shares[name])
    return best if max(shares[best]) >= 0.5 else first


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
        tables = sorted(file.name for file in home.glob("*.[ct]sv"))
        raise UserError(
            f"{home} has no labels.csv and fewer than two class directories; expected a directory for each class, or a table "
            "labels.csv with a column of file names and one for each label"
            + (f" (is it {tables[0]!r}? rename it)" if tables else "")
        )
    beside, others = images.within(home, below=False)
    notes = list(images.left_out([*left, *others]))
    if beside:
        notes.insert(0, f"{images.counted(len(beside), 'picture')} left out, because not in the directory of a class")
    return files, names, notes


def _classes(names: list[str]) -> tuple[Schema, np.ndarray, np.ndarray, Reading]:
    """Names of directories are names, whatever they are."""
    schema = Schema([categorical("class", dict.fromkeys(names))])
    code = {name: i for i, name in enumerate(schema["class"].classes)}
    values = np.array([code[name] for name in names], np.float32)[:, None]
    return schema, values, np.ones(values.shape, bool), Reading()
