"""What columns are read as.

:class:`Columns` decides, for all columns of a source together: what stands for no value among the numbers of one does so among
the words of another, and decimal commas are those of a file. Whatever it decides is in the
:class:`~labelspace.data.reading.Reading`, with the option that changes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from labelspace.data.cells import MOST_CLASSES, Cells, Column, as_class, look, number, some
from labelspace.data.reading import Asked, ColumnReading
from labelspace.errors import UserError, option, unknown
from labelspace.labels import Label, Schema, binary, categorical, continuous, origin_of
from labelspace.labels.marks import is_missing, is_perhaps
from labelspace.variables import Variable

LABEL_KINDS = ("binary", "categorical", "continuous")
VARIABLE_KINDS = ("continuous", "categorical", "count")
_LARGEST = float(np.finfo(np.float32).max)
_ROW_NAMES = re.compile(r"(unnamed:? ?\d*|index|rows?|row ?(names?|numbers?|ids?)|id|nr\.?|no\.?|#)?", re.IGNORECASE)
_FEW = 10  # different whole numbers that may well be codes of classes


class Columns:
    """Columns of one source, read together.

    Args:
        columns: by name.
        asked: what the user says.
        decimal: the decimal mark that the source has where its cells leave both open.
    """

    def __init__(self, columns: Mapping[str, Column], asked: Asked | None = None, decimal: str = "") -> None:
        self.columns, self.asked = columns, asked or Asked()
        for name in self.asked.columns:
            if name not in columns:
                raise unknown("column", name, columns)
        self.found = {name: self._look(column, self.asked.decimal) for name, column in columns.items()}
        self._agree_on_decimals(decimal)
        self._agree_on_marks()

    def __getitem__(self, name: str) -> Cells:
        return self.found[name]

    def _look(self, column: Column, decimal: str) -> Cells:
        missing = [*self.asked.missing.get("", ()), *self.asked.missing.get(column.name, ())]
        kind = self.asked.kinds.get(column.name)
        classes = kind == "categorical" or column.name in self.asked.classes
        return look(column, classes=classes, quantity=kind in ("continuous", "count"), missing=missing, decimal=decimal)

    def _agree_on_decimals(self, default: str) -> None:
        """Numbers that can be read both ways are read as the others of the file are written."""
        shown = [cells.decimals for cells in self.found.values()]
        commas = frozenset(",") in shown
        if self.asked.decimal or not (commas or default == ","):
            return
        for name, cells in self.found.items():
            if cells.texts is not None and (cells.either or (commas and cells.decimals == frozenset("."))):
                again = self._look(self.columns[name], ",")
                if again.kind == "numbers" and again.either:
                    self.found[name] = again

    def _agree_on_marks(self) -> None:
        """A text that stands for no value among numbers does so among words, and where there is only off and on beside it."""
        marks = {text for cells in self.found.values() if cells.kind == "numbers" for text in cells.missing if is_perhaps(text)}
        for name, cells in self.found.items():
            if cells.kind != "words" or cells.classes or cells.name in self.asked.classes:
                continue
            if self.asked.kinds.get(name) == "categorical":
                continue
            maybe = [word for word in cells.coded[1] if is_perhaps(word)]
            if not maybe or len(maybe) == len(cells.coded[1]):
                continue
            others = Column.of(name, [word for word in cells.coded[1] if word not in maybe])
            cells.forget(maybe if look(others).pair() else [word for word in maybe if word in marks])

    # -- labels --------------------------------------------------------------------------------------------------------

    def label(self, name: str, known: Label | None = None) -> tuple[Label, np.ndarray]:
        """A column as a label: what it is, and ``(n,)`` float64 values, NaN where they are missing.

        Raises:
            UserError: it cannot be one; without the source's name.
        """
        cells = self.found[name]
        if known is not None:
            return known, self._as_known(name, known)
        kind = self.asked.kinds.get(name, "")
        if kind and kind not in LABEL_KINDS:
            raise unknown(f"kind of label {name!r}:", kind, LABEL_KINDS)
        label = _label(cells, kind, self.asked.classes.get(name, ()))
        return label, _label_values(cells, label)

    def _as_known(self, name: str, label: Label) -> np.ndarray:
        """Values of a label that is known already: its words are classes, whatever they look like. Raises :class:`BadCell`."""
        cells = self.found[name]
        if label.discrete or cells.numbers is None:
            cells = look(self.columns[name], classes=label.discrete, quantity=not label.discrete, missing=self._missing(name))
        return _label_values(cells, label)

    def _missing(self, name: str) -> list[str]:
        return [*self.asked.missing.get("", ()), *self.asked.missing.get(name, ())]

    def keys(self, name: str) -> np.ndarray:
        """A column that says what belongs together, ``(n,)`` texts; '' is not known."""
        codes, words = self.found[name].coded
        return np.array([*("" if is_missing(word) else word for word in words), ""])[codes]

    # -- samples -------------------------------------------------------------------------------------------------------

    def variable(self, name: str) -> Variable | str:
        """What a column of samples is, or why it says nothing and is left out.

        Raises:
            UserError: it cannot be used; without the source's name.
        """
        cells, kind = self.found[name], self.asked.kinds.get(name, "")
        if kind and kind not in VARIABLE_KINDS:
            raise unknown(f"kind of column {name!r}:", kind, VARIABLE_KINDS)
        return _variable(cells, kind, self.asked.classes.get(name, ()))

    def values(self, name: str, variable: Variable) -> np.ndarray:
        """The column as ``(n,)`` float32 entries of a variable, NaN where they are missing. Raises :class:`BadCell`."""
        cells = self.found[name]
        if variable.kind == "categorical":
            return self._indices(name, variable)
        if cells.numbers is None:
            cells = look(self.columns[name], quantity=True, missing=self._missing(name), decimal=self.asked.decimal)
        if cells.numbers is None:
            codes, words = cells.coded
            for word in words:
                if number(word) is None and not is_missing(word):
                    raise BadCell(_row_of(cells, word), f"{word!r} is not a number that can be used")
            numbers = np.array([*(np.nan if is_missing(word) else float(word) for word in words), np.nan])[codes]
        else:
            numbers = cells.numbers
        away = numbers - variable.origin
        if len(bad := np.flatnonzero(np.abs(away) > _LARGEST)):
            raise BadCell(int(bad[0]), f"{numbers[bad[0]]:g} is not a number that can be used: single precision cannot hold it")
        if variable.kind == "count":
            with np.errstate(invalid="ignore"):
                bad = np.flatnonzero((numbers < 0) | (numbers % 1 != 0) & ~np.isnan(numbers))
            if len(bad):
                raise BadCell(int(bad[0]), f"{as_class(float(numbers[bad[0]]))!r} is not a count, a whole number >= 0")
        return away.astype(np.float32)

    def _indices(self, name: str, variable: Variable) -> np.ndarray:
        cells = self.found[name]
        index = {word: i for i, word in enumerate(variable.classes)}
        if cells.boolean and cells.numbers is not None:
            index = {str(value): index[word] for value, word in enumerate(("False", "True")) if word in index} or index
        codes, words = cells.coded
        if any(word not in index for word in words) or any(text in index for text in cells.missing):
            cells = look(self.columns[name], classes=True, missing=self._missing(name))
            codes, words = cells.coded
        places = np.full(len(words) + 1, np.nan, np.float32)
        for i, word in enumerate(words):
            value = number(word)
            if word in index:
                places[i] = index[word]
            elif value is not None and as_class(value) in index:
                places[i] = index[as_class(value)]
            elif not is_missing(word):
                raise BadCell(_row_of(cells, word), str(unknown("class", word, index)))
        return places[codes]

    # -- the record ----------------------------------------------------------------------------------------------------

    def read_as(self, name: str, use: str, kind: str, classes: Sequence[str] = (), doubts: Iterable[str] = ()) -> ColumnReading:
        """The entry of the reading for a column."""
        cells = self.found[name]
        gone = {text: count for text, count in cells.missing.items() if count}
        own = list(cells.doubts)
        for text, count in gone.items():
            if is_perhaps(text) and text not in self._missing(name):
                own.append(f"{text!r} ({count:,} cells) is missing; kinds={name}:categorical makes it a class")
        return ColumnReading(name, use, kind, tuple(classes), gone, (*own, *doubts))


class BadCell(Exception):  # noqa: N818  # it never leaves this package
    """A cell that does not fit: its row, and why."""

    def __init__(self, row: int, why: str) -> None:
        super().__init__(why)
        self.row = row


def _canonical(label: Label, word: str) -> str:
    """An entry as the label takes it: its class however that number was written."""
    if label.kind != "categorical" or word in label.classes:
        return word
    value = number(word)
    return word if value is None else as_class(value)


def _label(cells: Cells, kind: str, classes: Sequence[str]) -> Label:
    name = cells.name
    if cells.kind == "unusable":
        raise UserError(f"column {name!r} holds {cells.holds}, neither numbers nor classes; leave it out with drop={name}")
    if cells.kind == "nothing":
        raise UserError(f"label {name!r} has no entry at all")
    if classes:
        return categorical(name, classes)
    words = cells.coded[1] if cells.texts is not None or cells.few() else []
    if kind == "continuous":
        if cells.numbers is None:
            wrong = next((word for word in words if number(word) is None), words[0])
            raise BadCell(_row_of(cells, wrong), f"it is said to be continuous, but {wrong!r} is not a number")
        return _number(cells)
    if kind == "binary" or (not kind and not cells.strange):
        pair = cells.pair()
        if pair is not None:
            plainly = cells.boolean or {word.lower() for word in pair} == {"0", "1"}
            return binary(name) if plainly else binary(name, *pair)
        if kind:
            odd = next((word for word in words if not _reads_as_binary(word)), words[0])
            raise BadCell(
                _row_of(cells, odd),
                f"it is said to be binary, but holds {some(map(repr, words))}; expected 0 and 1, or no and yes",
            )
    if not kind and not cells.classes:
        if cells.kind == "dates":
            raise UserError(
                f"label {name!r} holds dates or times ({words[0]!r}); kinds={name}:categorical takes them for classes"
            )
        _refuse_strange(cells)
        if cells.numbers is not None and not (_whole(cells.numbers) and cells.few()):
            return _number(cells)
        if len(words) > MOST_CLASSES and cells.numbers is None:
            raise UserError(
                f"label {name!r} has {len(words)} different texts, and more than {MOST_CLASSES} are not taken for classes "
                f"unless kinds={name}:categorical says so; if they say what belongs together, use {option('group', name)}, or "
                f"leave the column out by naming the others with {option('labels')}"
            )
    words = cells.coded[1]
    called = list(cells.classes) or _sorted(words, as_numbers=cells.numbers is not None and kind != "categorical")
    if len(called) < 2:
        raise UserError(f"label {name!r} is always {called[0]!r}, so nothing can be learnt about it; leave it out")
    return categorical(name, called)


def _row_of(cells: Cells, word: str) -> int:
    """The first row that holds a word."""
    codes, words = cells.coded
    return int(np.flatnonzero(codes == words.index(word))[0])


def _reads_as_binary(word: str) -> bool:
    try:
        return not np.isnan(binary("probe").parse(word))
    except UserError:
        return False


def _sorted(words: Sequence[str], *, as_numbers: bool) -> list[str]:
    """Classes in order: numbers by size, under one name each where they are numbers; other texts by the alphabet."""
    numbers = [number(word) for word in words]
    if None in numbers:
        return sorted(words)
    if as_numbers:
        return [as_class(value) for value in sorted({value for value in numbers if value is not None})]
    return [word for _, word in sorted(zip(numbers, words, strict=True))]  # type: ignore[type-var]


def _whole(numbers: np.ndarray) -> bool:
    return bool((numbers[~np.isnan(numbers)] % 1 == 0).all())


def _number(cells: Cells) -> Label:
    assert cells.numbers is not None
    known = cells.numbers[~np.isnan(cells.numbers)]
    if not np.isfinite(known).all() or np.abs(known).max() > _LARGEST:
        raise UserError(f"label {cells.name!r} holds {known[np.argmax(np.abs(known))]:g}, larger than single precision holds")
    origin = origin_of(known)
    away = known - origin
    return continuous(cells.name, float(away.mean()), float(away.std()) or 1.0, origin)


def _label_values(cells: Cells, label: Label) -> np.ndarray:
    """A column as values of a label, ``(n,)`` float64, NaN where they are missing. Raises :class:`BadCell`."""
    if not label.discrete and cells.numbers is not None:
        return cells.numbers - label.origin
    codes, words = cells.coded
    values = np.full(len(words) + 1, np.nan)
    for i, word in enumerate(words):
        try:
            values[i] = label.parse(_canonical(label, word))
        except UserError as error:
            raise BadCell(_row_of(cells, word), str(error)) from None
    return values[codes]


def _refuse_strange(cells: Cells) -> None:
    """Raises UserError for a column of numbers with other texts among them that are no classes."""
    if not cells.strange:
        return
    words = [word for word in cells.coded[1] if word not in cells.strange]
    numbers = [value for word in words if (value := number(word)) is not None]
    if len(set(numbers)) <= MOST_CLASSES and all(value.is_integer() for value in numbers):
        cells.doubts.append(f"words ({some(map(repr, cells.strange))}) are classes beside the numbers; missing= takes them out")
        return
    shown = some(f"{word!r} ({count:,})" for word, count in cells.strange.items())
    first = next(iter(cells.strange))
    raise BadCell(
        _row_of(cells, first),
        f"{first!r} is not a number, but most of the column is; correct it, leave it empty, or say "
        f"missing={cells.name}:{first} (texts among the numbers: {shown})",
    )


def doubts_of_label(cells: Cells, label: Label) -> list[str]:
    """What may be meant otherwise by a label, with the option that says so."""
    name, found = cells.name, []
    if label.kind == "categorical":
        codes, words = cells.coded
        for i, word in enumerate(words):
            if is_perhaps(word):
                found.append(f"{word!r} ({int((codes == i).sum()):,} cells) is a class; missing={name}:{word} makes it missing")
        found += _alike(words)
    if cells.numbers is not None:
        known = np.unique(cells.numbers[~np.isnan(cells.numbers)])
        if label.kind == "continuous" and _whole(known):
            found.append(f"its {len(known):,} whole numbers are read as a number; kinds={name}:categorical makes them classes")
        found += _minus_one(cells, known)
    return found


def _alike(words: Sequence[str]) -> list[str]:
    seen: dict[str, str] = {}
    for word in words:
        other = seen.setdefault(word.casefold(), word)
        if other != word:
            return [f"{other!r} and {word!r} are different classes"]
    return []


def _minus_one(cells: Cells, known: np.ndarray) -> list[str]:
    if len(known) > 1 and known[0] == -1 and _whole(known) and cells.few():
        count = int((cells.numbers == -1).sum())
        return [f"-1 ({count:,} cells) is a value; missing={cells.name}:-1 makes it missing"]
    return []


def _variable(cells: Cells, kind: str, classes: Sequence[str]) -> Variable | str:
    name = cells.name
    if cells.kind == "unusable":
        raise UserError(f"column {name!r} holds {cells.holds}, neither numbers nor classes; leave it out with drop={name}")
    if cells.kind == "nothing":
        return "nothing"
    if cells.kind == "dates" and kind != "categorical":
        cells.doubts.append(
            f"dates and times are left out, as drop={name} would; kinds={name}:categorical takes them for classes"
        )
        return "dates"
    if classes:
        return Variable(name, "categorical", tuple(classes))
    if kind in ("continuous", "count"):
        return _quantity(cells, kind)
    if cells.numbers is not None and not kind:
        if cells.pair() is None or not _two(cells):
            if not _two(cells):
                return "constant"
            if _counts_rows(cells):
                return "row numbers"
            known = np.unique(cells.numbers[~np.isnan(cells.numbers)])
            if 2 < len(known) <= _FEW and _whole(known):
                cells.doubts.append(
                    f"{some(map(as_class, known.tolist()))} are read as a number; kinds={name}:categorical makes them classes"
                )
            cells.doubts += _minus_one(cells, known)
            return _quantity(cells, "continuous")
        return Variable(name, "categorical", ("False", "True") if cells.boolean else ("0", "1"))
    words = cells.coded[1]
    if len(words) < 2:
        return "constant"
    if not kind and not cells.classes:
        _refuse_strange(cells)
        if len(words) > MOST_CLASSES:
            if len(words) == cells.known:
                cells.doubts.append(
                    f"every row has another text, as names have; it is left out, as drop={name} would; id={name} takes it for "
                    "the rows' names"
                )
                return "names"
            raise UserError(
                f"column {name!r} holds {len(words)} different texts, and more than {MOST_CLASSES} are not taken for classes "
                f"unless kinds={name}:categorical says so; leave it out with drop={name}"
            )
        cells.doubts += [
            f"{word!r} is a class; missing={name}:{word} makes it missing" for word in words if is_perhaps(word)
        ] + _alike(words)
    called = list(cells.classes) or _sorted(words, as_numbers=False)
    return Variable(name, "categorical", tuple(called))


def _two(cells: Cells) -> bool:
    """Whether there are two different numbers."""
    assert cells.numbers is not None
    known = cells.numbers[~np.isnan(cells.numbers)]
    return len(known) > 1 and bool((known != known[0]).any())


def _quantity(cells: Cells, kind: str) -> Variable:
    """A column of numbers, counted from where single precision keeps them apart."""
    if cells.numbers is None:
        return Variable(cells.name, kind)
    known = cells.numbers[~np.isnan(cells.numbers)]
    centre, spread = (abs(float(known.mean())), float(known.std())) if len(known) else (0.0, 0.0)
    if 0 < spread < 1e4 * np.finfo(np.float64).eps * centre:
        raise UserError(
            f"column {cells.name!r} varies by {spread:.2g} around {centre:.9g}, less than double precision keeps apart; "
            f"subtract what is common, or leave it out with drop={cells.name}"
        )
    return Variable(cells.name, kind, origin=0.0 if kind == "count" else origin_of(known))


def _counts_rows(cells: Cells) -> bool:
    """Whether a column only counts the rows; one that is not called so is kept, with a doubt."""
    numbers = cells.numbers
    if numbers is None or len(numbers) < 20 or not bool((np.diff(numbers) == 1).all()):
        return False
    name = cells.name
    if _ROW_NAMES.fullmatch(name.strip()):
        cells.doubts.append(f"it only counts the rows and is left out, as drop={name} would; kinds={name}:continuous keeps it")
        return True
    cells.doubts.append(f"it only counts the rows; drop={name} leaves it out")
    return False


def copies(columns: Columns, name: str, labels: Iterable[str]) -> list[str]:
    """Doubts about a column that says the same as a label."""
    cells = columns[name]
    for label in labels:
        other = columns[label]
        if cells.kind == "words" or other.kind == "words" or (cells.few() and other.few()):
            if not (cells.few() and other.few()):
                continue
            (codes, words), (theirs, names) = cells.coded, other.coded
            known = (codes >= 0) & (theirs >= 0)
            pairs = len(np.unique(codes[known] * (len(names) + 1) + theirs[known]))
            if len(words) > 1 and pairs == len(words) == len(names):
                return [f"it says the same as label {label!r}; drop={name} leaves it out"]
        elif cells.numbers is not None and other.numbers is not None:
            known = ~np.isnan(cells.numbers) & ~np.isnan(other.numbers)
            a, b = cells.numbers[known], other.numbers[known]
            if len(a) > 2 and a.std() > 0 and b.std() > 0 and abs(np.corrcoef(a, b)[0, 1]) > 1 - 1e-9:
                return [f"it says the same as label {label!r}; drop={name} leaves it out"]
    return []


def read_labels(
    columns: Columns,
    names: Iterable[str],
    n: int,
    *,
    known: Schema | None = None,
    where: Callable[[int], str],
    problems: list[str] | None = None,
) -> tuple[Schema, np.ndarray, np.ndarray, list[ColumnReading]]:
    """Labels of columns: the schema, ``values`` float32 and ``observed``, both ``(n, labels)``, and how they were read.

    Args:
        columns: read together.
        names: of the columns that are labels.
        n: rows.
        known: labels of a trained model; those of them that are asked for are taken as they are.
        where: what a row is called, with the source.
        problems: receives what is wrong, for one message; raised at once where there is no list.

    Raises:
        UserError: a column that cannot be a label, or a cell that is no value of it.
    """
    wrong: list[str] = []
    labels, found, readings = [], [], []
    for name in names:
        try:
            label, values = columns.label(name, known[name] if known is not None and name in known.names else None)
        except BadCell as error:
            wrong.append(f"{where(error.row)}, column {name!r}: {error}")
            continue
        except UserError as error:
            wrong.append(str(error))
            continue
        labels.append(label)
        found.append(values)
        readings.append(columns.read_as(name, "label", label.kind, label.values, doubts_of_label(columns[name], label)))
    if problems is None and wrong:
        raise UserError(together(wrong))
    if problems is not None:
        problems += wrong
    values = np.stack(found, 1) if found else np.zeros((n, 0))
    observed = ~np.isnan(values)
    return Schema(labels), np.where(observed, values, 0).astype(np.float32), observed, readings


def together(problems: Sequence[str]) -> str:
    """What is wrong with a source, all of it in one message."""
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} problems: " + "; ".join(f"({i}) {problem}" for i, problem in enumerate(problems, 1))
