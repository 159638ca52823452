"""Named columns as a data set: some are labels, one may say what belongs together, one names the rows, the others are samples.

A sample column is continuous, categorical or a count (:class:`labelspace.variables.Variable`); :mod:`labelspace.data.columns`
says which. ``x`` is in the units of the file: the table likelihood standardises by what it measures on the training split,
and is saved with the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from labelspace.data.cells import Column, some
from labelspace.data.columns import BadCell, Columns, copies, read_labels, together
from labelspace.data.dataset import Dataset
from labelspace.data.reading import Asked, ColumnReading, Reading
from labelspace.data.splits import Split, drawn_splits
from labelspace.errors import UserError, option, unknown
from labelspace.variables import Described, Variable, table_likelihood

_MOST_LISTED = 40


@dataclass(frozen=True)
class Frame:
    """Columns as a reader found them.

    Attributes:
        name: the file, for messages.
        columns: by name.
        n: rows.
        where: what a row is called in messages ("line 3").
        splits: where the source has them.
        names: what the rows are called, where that is not one of the columns.
        notes: what a user should know about how it was read.
        decimal: the decimal mark that is likely where cells leave both open.
    """

    name: str
    columns: Mapping[str, Column]
    n: int
    where: Callable[[int], str]
    splits: dict[Split, np.ndarray] | None = None
    names: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    decimal: str = ""

    def at(self, row: int) -> str:
        """What a row is called, with the file."""
        return f"{self.name}, {self.where(row)}"

    def place(self, row: int, column: str) -> str:
        """What a cell is called in messages."""
        return f"{self.at(row)}, column {column!r}"

    def check(self, column: str) -> None:
        """Raises UserError for a column that is not there."""
        if column not in self.columns:
            raise UserError(f"{self.name}: {unknown('column', column, self.columns)}")


def dataset(
    frame: Frame,
    address: str,
    seed: int,
    *,
    labels: Sequence[str] | None,
    group: str = "",
    like: Described | None = None,
    x: np.ndarray | None = None,
    id: str = "",
    drop: Sequence[str] = (),
    asked: Asked | None = None,
) -> Dataset:
    """Makes a data set of columns.

    Args:
        frame: the columns.
        address: kept with the data.
        seed: seed of the splits where the frame has none.
        labels: which columns are labels. They have to be named, except for a trained model, which knows its own.
        group: the column that says which rows belong together.
        like: a trained model that the data are for; its columns are found by their names.
        x: the samples, where they are not columns (images). Labels are then by default all columns that can be.
        id: the column that names the rows; by default one that is called "id" and does.
        drop: columns to leave out.
        asked: what the user says about the columns.

    Raises:
        UserError: labels that are not named (all columns are listed with their kinds), an unknown column, or columns or cells
            that cannot be used: all that is wrong in one message, with file, row and column.
    """
    asked, left_out = asked or Asked(), list(drop)
    for name in [*left_out, *asked.columns, *([id] if id else []), *([group] if group else [])]:
        frame.check(name)
    columns = Columns({name: column for name, column in frame.columns.items() if name not in left_out}, asked, frame.decimal)
    if labels is None and like is not None:
        labels = [name for name in like.schema.names if name in columns.columns and name != id]
    own_id = "" if id or frame.names is not None else _names_itself(columns, labels, group)
    id = id or own_id
    readings = {name: ColumnReading(name, "left out", "as asked for") for name in left_out}
    notes = list(frame.notes)
    candidates = [name for name in columns.columns if name not in {id, group}]
    if labels is None and x is not None:
        labels = [name for name in candidates if _can_be_label(columns, name)]
        for name in candidates:
            if name not in labels:
                readings[name] = columns.read_as(name, "left out", "no label", doubts=[f"{option('labels', name)} says why"])
    if labels is None:
        listed = _listed(columns, candidates)
        raise UserError(f"{frame.name}: say which columns are labels with {option('labels')}; the columns are {listed}")
    for name in labels:
        frame.check(name)
        if name in left_out or name == id:
            raise UserError(f"{frame.name}: column {name!r} is named as a label and as {'id' if name == id else 'drop'}")
    problems: list[str] = []
    known = None if like is None else like.schema
    schema, values, observed, read = read_labels(columns, labels, frame.n, known=known, where=frame.at, problems=problems)
    readings |= {entry.name: entry for entry in read}
    rest = [name for name in candidates if name not in labels]
    variables: Sequence[Variable] = ()
    if x is None and like is not None and like.variables:
        variables = like.variables
        absent = [variable.name for variable in variables if variable.name not in columns.columns]
        if absent:
            problems.append(f"it lacks {len(absent)} of the model's {len(variables)} columns: {some(absent)}")
        wanted = {variable.name for variable in variables}
        for name in rest:
            if name not in wanted:
                readings[name] = columns.read_as(name, "left out", "the model does not know it")
    elif x is None:
        variables = _found(columns, rest, readings, problems, frame)
    if x is None and not problems:
        x = _cells(columns, variables, readings, problems, frame)
    for name in (id, group):
        if name:
            readings[name] = columns.read_as(name, "id" if name == id else "group", "names")
    names = _ids(frame, columns, id, problems) if id else frame.names
    if problems:
        raise UserError(_message(frame, problems))
    if like is None:
        for name in (variable.name for variable in variables):
            entry = readings[name]
            readings[name] = ColumnReading(
                *(entry.name, entry.use, entry.kind, entry.classes, entry.missing),
                doubts=(*entry.doubts, *copies(columns, name, labels)),
            )
    if own_id:
        notes.append(f"column {own_id!r} names the rows")
    reading = Reading(tuple(readings[name] for name in frame.columns if name in readings), tuple(notes))
    assert x is not None
    return Dataset(
        address,
        x,
        values,
        observed,
        schema,
        frame.splits or drawn_splits(schema, values, observed, seed),
        notes=(*notes, *reading.summary()),
        likelihood=table_likelihood(variables) if variables else "",
        variables=tuple(variables),
        ids=names,
        keys={group: columns.keys(group)} if group else {},
        reading=reading,
    )


def _message(frame: Frame, problems: list[str]) -> str:
    told = together([problem.removeprefix(f"{frame.name}, ") for problem in problems])
    if len(problems) == 1:
        return problems[0] if problems[0].startswith(frame.name) else f"{frame.name}: {told}"
    return f"{frame.name}: {told}"


def _names_itself(columns: Columns, labels: Sequence[str] | None, group: str) -> str:
    """The column called "id" that gives every row a name of its own, if there is one; ""."""
    for name in columns.columns:
        if name.lower() == "id" and name not in (labels or ()) and name != group and name not in columns.asked.columns:
            cells = columns[name]
            if cells.known == cells.n and len(cells.coded[1]) == cells.n and cells.kind in ("words", "numbers"):
                return name
    return ""


def _can_be_label(columns: Columns, name: str) -> bool:
    try:
        columns.label(name)
    except (UserError, BadCell):
        return False
    return True


def parse_drop(drop: str) -> list[str]:
    """The columns that an address's ``drop=A+B`` names."""
    return [name for name in drop.split("+") if name]


def parse_asked(kinds: str = "", missing: str = "", decimal: str = "", classes: str = "") -> Asked:
    """What an address says of columns.

    Args:
        kinds: ``A:count+B:categorical``.
        missing: ``-1+A:none``: texts that are missing, in every column or in one.
        decimal: the decimal mark.
        classes: ``A:low|middle|high+B:no|yes``.

    Raises:
        UserError: anything else.
    """
    gone: dict[str, list[str]] = {}
    for part in missing.split("+") if missing else []:
        name, _, text = part.rpartition(":")
        gone.setdefault(name, []).append(text)
    said = dict(_pairs("kinds", kinds, "COLUMN:KIND"))
    named = {name: text.split("|") for name, text in _pairs("classes", classes, "COLUMN:CLASS|CLASS")}
    return Asked(said, gone, decimal, named)


def _pairs(option_: str, given: str, form: str) -> list[tuple[str, str]]:
    found = []
    for part in given.split("+") if given else []:
        name, colon, text = part.rpartition(":")
        if not colon:
            raise UserError(f"{option_}={given!r} is not of the form {form}+{form}")
        found.append((name, text))
    return found


def _listed(columns: Columns, names: list[str]) -> str:
    parts = []
    for name in names[:_MOST_LISTED]:
        try:
            found = columns.variable(name)
        except (UserError, BadCell) as error:
            why = str(error).partition(f"column {name!r} ")[2] or str(error)
            parts.append(f"{name} (cannot be used: {why})")
        else:
            kind = {"constant": "the same everywhere"}.get(found, found) if isinstance(found, str) else found.kind
            many = f", {len(found.classes)} classes" if isinstance(found, Variable) and found.classes else ""
            parts.append(f"{name} ({kind}{many})")
    more = len(names) - _MOST_LISTED
    return ", ".join(parts) + (f" and {more} more" if more > 0 else "")


def _ids(frame: Frame, columns: Columns, name: str, problems: list[str]) -> np.ndarray:
    codes, words = columns[name].coded
    blank = np.flatnonzero(codes < 0)
    if len(blank):
        problems.append(f"{frame.place(int(blank[0]), name)}: the row has no name")
    elif len(words) < frame.n:
        first: dict[int, int] = {}
        for row, code in enumerate(codes.tolist()):
            if code in first:
                problems.append(f"{frame.place(row, name)}: {words[code]!r} is already in {frame.where(first[code])}")
                break
            first[code] = row
    return np.array([*words, ""])[codes]


def _found(
    columns: Columns, names: list[str], readings: dict[str, ColumnReading], problems: list[str], frame: Frame
) -> list[Variable]:
    """Variables as the columns look; columns that say nothing are left out, which their readings say."""
    variables = []
    for name in names:
        try:
            variable = columns.variable(name)
        except BadCell as error:
            problems.append(f"{frame.place(error.row, name)}: {error}")
            continue
        except UserError as error:
            problems.append(str(error))
            continue
        if isinstance(variable, str):
            readings[name] = columns.read_as(name, "left out", variable)
        else:
            variables.append(variable)
    if not variables and not problems:
        problems.append("no column is left for samples; every one is a label, left out, or always the same")
    return variables


def _cells(
    columns: Columns,
    variables: Sequence[Variable],
    readings: dict[str, ColumnReading],
    problems: list[str],
    frame: Frame,
) -> np.ndarray:
    """The cells of variables, ``(n, d)`` float32."""
    x = np.empty((frame.n, len(variables)), np.float32)
    for i, variable in enumerate(variables):
        try:
            x[:, i] = columns.values(variable.name, variable)
        except BadCell as error:
            problems.append(f"{frame.place(error.row, variable.name)}: {error}")
            continue
        readings[variable.name] = columns.read_as(variable.name, "x", variable.kind, variable.classes)
    return x
