"""Named columns as a data set: some are labels, one may say what belongs together, one names the rows, the others are samples.

A sample column is continuous, categorical or a count (:class:`labelspace.variables.Variable`). Numbers are continuous;
texts, and numbers that are only 0 and 1, are categorical; counts, and classes that are written as numbers, are what the
user says. ``x`` is in the units of the file: the table likelihood standardises by what it measures on the training split,
and is saved with the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from labelspace.data import columns
from labelspace.data.columns import MOST_CLASSES, as_class, is_binary, number, text
from labelspace.data.dataset import Dataset, Split, random_splits
from labelspace.errors import UserError, option, unknown
from labelspace.variables import Described, Variable, table_likelihood

_LARGEST = float(np.finfo(np.float32).max)
_MOST_LISTED = 40
_DATE = re.compile(r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})([ T]\d.*)?|\d{1,2}:\d{2}(:\d{2}.*)?")
_COMMA = re.compile(r"[+-]?\d+(,\d+)+")


@dataclass(frozen=True)
class Frame:
    """Columns as a reader found them.

    Attributes:
        name: the file, for messages.
        columns: name -> ``n`` entries: texts, numbers, booleans; None, NaN, '' and "NA" are missing.
        n: rows.
        where: what a row is called in messages ("line 3").
        splits: where the source has them.
        names: what the rows are called, where that is not one of the columns.
        unusable: columns of neither numbers nor texts -> what they hold; they can only be left out.
        notes: what a user should know about how it was read.
    """

    name: str
    columns: Mapping[str, Sequence[Any]]
    n: int
    where: Callable[[int], str]
    splits: dict[Split, np.ndarray] | None = None
    names: np.ndarray | None = None
    unusable: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def place(self, row: int, column: str) -> str:
        """What a cell is called in messages."""
        return f"{self.name}, {self.where(row)}, column {column!r}"

    def check(self, column: str) -> None:
        """Raises UserError for a column that is not there."""
        if column not in self.columns:
            raise UserError(f"{self.name}: {unknown('column', column, self.columns)}")

    def cells(self, column: str) -> list[str | None]:
        """Entries as texts, None where they are missing. Raises UserError for a column that is not there, or unusable."""
        self.check(column)
        if column in self.unusable:
            raise UserError(
                f"{self.name}: column {column!r} holds {self.unusable[column]}, neither numbers nor classes; leave it out "
                f"with drop={column}"
            )
        return [text(entry) for entry in self.columns[column]]


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
    kinds: Mapping[str, str] | None = None,
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
        id: the column that names the rows.
        drop: columns to leave out.
        kinds: kinds that are not what is inferred: column -> continuous, categorical or count; of labels binary, categorical or
            continuous.

    Raises:
        UserError: labels that are not named (all columns are listed with their kinds), an unknown column, or a column or cell
            that cannot be used (file, row and column named).
    """
    said, left_out = dict(kinds or {}), list(drop)
    for name in [*left_out, *said, *([id] if id else []), *([group] if group else [])]:
        frame.check(name)
    if labels is None and like is not None:
        labels = [name for name in like.schema.names if name in frame.columns and name not in {*left_out, id}]
    notes = list(frame.notes)
    candidates = [name for name in frame.columns if name not in {*left_out, id, group}]
    if labels is None and x is not None:
        labels = [name for name in candidates if _can_be_label(frame, name, said)]
        if others := [name for name in candidates if name not in labels]:
            notes.append(f"columns that cannot be labels are left out: {_some(others)}")
    if labels is None:
        listed = _listed(frame, candidates, said)
        raise UserError(f"{frame.name}: say which columns are labels with {option('labels')}; the columns are {listed}")
    for name in labels:
        if name in left_out or name == id:
            raise UserError(f"{frame.name}: column {name!r} is named as a label and as {'id' if name == id else 'drop'}")
    labelled = {name: frame.cells(name) for name in labels}
    for name, cells in labelled.items():
        _refuse_commas(frame, name, cells)
    known = None if like is None else like.schema
    try:
        schema, values, observed = columns.read(
            labelled, frame.n, kinds=said, known=known, where=lambda row: f"{frame.name}, {frame.where(row)}"
        )
    except UserError as error:
        raise UserError(str(error) if str(error).startswith(frame.name) else f"{frame.name}: {error}") from None
    rest = [name for name in candidates if name not in labels]
    variables: Sequence[Variable] = ()
    if x is None and like is not None and like.variables:
        variables, x = _expected(frame, like.variables)
        wanted = {variable.name for variable in variables}
        if more := [name for name in rest if name not in wanted]:
            notes.append(f"columns that the model does not know are left out: {_some(more)}")
    elif x is None:
        variables, x = _found(frame, rest, said, notes)
    return Dataset(
        address,
        x,
        values,
        observed,
        schema,
        frame.splits or random_splits(frame.n, seed),
        notes=tuple(notes),
        likelihood=table_likelihood(variables) if variables else "",
        variables=tuple(variables),
        ids=_ids(frame, id) if id else frame.names,
        keys={group: np.array([cell or "" for cell in frame.cells(group)])} if group else {},
    )


def _can_be_label(frame: Frame, name: str, said: Mapping[str, str]) -> bool:
    try:
        columns.infer(name, frame.cells(name), said.get(name, ""))
    except UserError:
        return False
    return True


def parse_drop(drop: str) -> list[str]:
    """The columns that an address's ``drop=A+B`` names."""
    return [name for name in drop.split("+") if name]


def parse_kinds(kinds: str) -> dict[str, str]:
    """What an address's ``kinds=A:count+B:categorical`` says. Raises UserError for anything else."""
    said = {}
    for part in kinds.split("+") if kinds else []:
        name, colon, kind = part.rpartition(":")
        if not colon:
            raise UserError(f"kinds={kinds!r} is not of the form COLUMN:KIND+COLUMN:KIND")
        said[name] = kind
    return said


def _listed(frame: Frame, names: list[str], said: Mapping[str, str]) -> str:
    parts = []
    for name in names[:_MOST_LISTED]:
        try:
            found = _variable(frame, name, frame.cells(name), said.get(name, ""))
        except UserError as error:
            why = str(error).partition(f"column {name!r} ")[2] or str(error)
            parts.append(f"{name} (cannot be used: {why})")
        else:
            kind = "the same everywhere" if found is None else found.kind
            parts.append(f"{name} ({kind}{f', {len(found.classes)} classes' if found and found.classes else ''})")
    more = len(names) - _MOST_LISTED
    return ", ".join(parts) + (f" and {more} more" if more > 0 else "")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _ids(frame: Frame, column: str) -> np.ndarray:
    seen: dict[str, int] = {}
    for row, cell in enumerate(frame.cells(column)):
        if cell is None:
            raise UserError(f"{frame.place(row, column)}: the row has no name")
        if cell in seen:
            raise UserError(f"{frame.place(row, column)}: {cell!r} is already in {frame.where(seen[cell])}")
        seen[cell] = row
    return np.array(list(seen))


def _found(frame: Frame, names: list[str], said: Mapping[str, str], notes: list[str]) -> tuple[list[Variable], np.ndarray]:
    """Variables as the columns look, and their cells ``(n, d)``; columns that say nothing are left out with a note."""
    variables, cells, constant = [], [], []
    for name in names:
        column = frame.cells(name)
        variable = _variable(frame, name, column, said.get(name, ""))
        if variable is None:
            constant.append(name)
            continue
        variables.append(variable)
        cells.append(_encoded(frame, variable, column))
        if variable.kind == "continuous":
            _check_precision(frame, name, column)
    if constant:
        notes.append(f"columns without two different entries are left out: {_some(constant)}")
    if not variables:
        raise UserError(f"{frame.name}: no column is left for samples; every one is a label, left out, or always the same")
    return variables, np.stack(cells, 1)


def _expected(frame: Frame, variables: Sequence[Variable]) -> tuple[Sequence[Variable], np.ndarray]:
    """The cells of a trained model's variables, ``(n, d)``."""
    absent = [variable.name for variable in variables if variable.name not in frame.columns]
    if absent:
        raise UserError(f"{frame.name} lacks {len(absent)} of the model's {len(variables)} columns: {_some(absent)}")
    return variables, np.stack([_encoded(frame, variable, frame.cells(variable.name)) for variable in variables], 1)


def _variable(frame: Frame, name: str, cells: list[str | None], kind: str) -> Variable | None:
    """What a column of samples looks like; None where there are no two different entries in it.

    Raises:
        UserError: dates, free text, numbers with a decimal comma, or another kind than the user says.
    """
    if kind and kind not in ("continuous", "categorical", "count"):
        raise UserError(f"{frame.name}: {unknown(f'kind of column {name!r}:', kind, ('continuous', 'categorical', 'count'))}")
    seen = sorted({cell for cell in cells if cell is not None})
    numbers = [number(cell) for cell in seen]
    numeric = None not in numbers
    classes = [as_class(value) for value in sorted(set(numbers))] if numeric else seen  # type: ignore[type-var, arg-type]
    if len(classes) < 2:
        return None
    if kind in ("continuous", "count"):
        return Variable(name, kind)
    if not kind and numeric and not all(is_binary(cell) for cell in seen):
        return Variable(name)
    if not numeric:
        _refuse_commas(frame, name, cells)
        if all(_DATE.fullmatch(cell) for cell in seen):
            raise UserError(f"{frame.name}: column {name!r} holds dates or times ({seen[0]!r}); leave it out with drop={name}")
    if len(classes) > MOST_CLASSES:
        wrong = [cell for cell, value in zip(seen, numbers, strict=True) if value is None]
        if 2 * len(wrong) < len(seen) and not kind:
            row = cells.index(wrong[0])
            raise UserError(
                f"{frame.place(row, name)}: {wrong[0]!r} is not a number, but most of the column is; correct it, or leave "
                "the cell empty if it is missing"
            )
        raise UserError(
            f"{frame.name}: column {name!r} holds {len(classes)} different {'numbers' if numeric else 'texts'}, too many for "
            f"classes (at most {MOST_CLASSES}); leave it out with drop={name}"
        )
    return Variable(name, "categorical", tuple(classes))


def _refuse_commas(frame: Frame, name: str, cells: list[str | None]) -> None:
    for row, cell in enumerate(cells):
        if cell is not None and _COMMA.fullmatch(cell):
            raise UserError(
                f"{frame.place(row, name)}: {cell!r} has a comma; numbers are written with a decimal point, and without "
                "separators of thousands"
            )


def _encoded(frame: Frame, variable: Variable, cells: list[str | None]) -> np.ndarray:
    """A column as floats ``(n,)``, NaN where it is missing. Raises UserError naming the first cell that does not fit."""
    if variable.kind == "categorical":
        index = {name: i for i, name in enumerate(variable.classes)}
        return np.array([_class(frame, variable, index, row, cell) for row, cell in enumerate(cells)], np.float32)
    column = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if cell is None:
            continue
        value = number(cell)
        if value is None or abs(value) > _LARGEST:
            _refuse_commas(frame, variable.name, cells[row : row + 1])
            raise UserError(f"{frame.place(row, variable.name)}: {cell!r} is not a number that can be used")
        if variable.kind == "count" and (value < 0 or not value.is_integer()):
            raise UserError(f"{frame.place(row, variable.name)}: {cell!r} is not a count, a whole number >= 0")
        column[row] = value
    return column.astype(np.float32)


def _check_precision(frame: Frame, name: str, cells: list[str | None]) -> None:
    """Raises UserError where the numbers of a column would all be the same in float32, or nearly so."""
    numbers = [float(cell) for cell in cells if cell is not None]
    centre, spread = np.mean(numbers), np.std(numbers)
    if 0 < spread < 1e-6 * abs(centre):
        raise UserError(
            f"{frame.name}: column {name!r} varies by {spread:.2g} around {centre:.9g}, less than single precision can hold; "
            f"subtract what is common, or leave it out with drop={name}"
        )


def _class(frame: Frame, variable: Variable, index: Mapping[str, int], row: int, cell: str | None) -> float:
    if cell is None:
        return np.nan
    if cell in index:
        return index[cell]
    value = number(cell)
    if value is not None and as_class(value) in index:
        return index[as_class(value)]
    raise UserError(f"{frame.place(row, variable.name)}: {unknown('class', cell, index)}")
