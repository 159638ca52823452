"""What the cells of a column say: numbers, words, dates; and which of them stand for nothing.

Sources hand over columns as they have them, as Arrow arrays: texts of a file, typed columns of a frame. :func:`look` tells what
one holds, and keeps count of every cell that it takes for missing, by its text. What is kept apart in the file stays apart: a
column whose texts would fall together as numbers (007 and 7, 1.1 and 1.10, long identifiers) is one of words.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from labelspace.data.arrow import pa, pc
from labelspace.labels import BOOLEANS
from labelspace.labels.marks import COMMON, NEVER, STROKES, is_mark

MOST_CLASSES = 50
"""Different values up to which a column is taken for classes without being asked."""

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_BLANKS = " \u00a0\u202f'\u2019"
_NUMBER_OR_INFINITE = r"^\s*([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(?i:inf|nan|infinity))\s*$"
_TRIED = 256  # entries that tell whether a column may be one of numbers
_MINUS = "\u2212"  # as typographers write it
_GROUPED = {  # numbers with separators of thousands, by their decimal mark
    ",": rf"^[+-]?(\d+|\d{{1,3}}([.{_BLANKS}]\d{{3}})+)?(,\d*)?([eE][+-]?\d+)?$",
    ".": rf"^[+-]?(\d+|\d{{1,3}}([,{_BLANKS}]\d{{3}})+)?(\.\d*)?([eE][+-]?\d+)?$",
}
_UNIT = re.compile(
    r"[-+]?(?P<before>[$€£¥₹]|[A-Z]{3}\s)?\s*[-+]?[\d.,][\d.,'\u2019\s]*(?:[eE][-+]?\d+)?\s*(?P<after>[%‰$€£¥₹]|[A-Z]{3})?"
)
_DATE = re.compile(r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})([ T]\d.*)?|\d{1,2}:\d{2}(:\d{2}.*)?")


@dataclass(frozen=True)
class Column:
    """A column as its source has it.

    Attributes:
        name: what it is called.
        cells: an Arrow array; null is what the source itself says is missing.
        unusable: what it holds, where that is neither numbers nor texts; "".
    """

    name: str
    cells: Any
    unusable: str = ""

    @classmethod
    def of(cls, name: str, entries: Iterable[Any]) -> Column:
        """A column of Python objects: numbers, texts, booleans, None."""
        found = [_decoded(plain(entry)) for entry in entries]
        kinds = {type(entry) for entry in found if entry is not None}
        if odd := [kind for kind in kinds if issubclass(kind, list | tuple | dict | set | np.ndarray | bytes | complex)]:
            return cls(name, pa.nulls(len(found)), f"{odd[0].__name__} values")
        try:
            if len(kinds) <= 1 or kinds == {int, float}:
                return cls(name, pa.array(found))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            pass
        return cls(name, pa.array([None if entry is None else _written(entry) for entry in found], pa.string()))

    def of_classes(self, classes: Sequence[str]) -> Column:
        """A column of class numbers as one of the classes' names; negative numbers are missing; others are kept as they are."""
        cells = _whole(self.cells)
        if not pa.types.is_integer(cells.type) or pc.max(cells).as_py() is None or pc.max(cells).as_py() >= len(classes):
            return self
        known = pc.if_else(pc.greater_equal(cells, 0), cells, None)
        return Column(self.name, pa.DictionaryArray.from_arrays(known.cast(pa.int32()), pa.array(classes, pa.string())))

    def __len__(self) -> int:
        return len(self.cells)


def _decoded(entry: Any) -> Any:
    """Bytes as text where they are UTF-8."""
    if not isinstance(entry, bytes):
        return entry
    try:
        return entry.decode()
    except UnicodeDecodeError:
        return entry


def plain(entry: Any) -> Any:
    """An entry as a plain value, None where it is missing; a whole number that is a float stays one."""
    if isinstance(entry, np.generic) or (
        type(entry).__module__.startswith("torch") and getattr(entry, "numel", lambda: 0)() == 1
    ):
        entry = entry.item()
    if entry is None or type(entry).__name__ in ("NAType", "NaTType"):
        return None
    return None if isinstance(entry, float) and np.isnan(entry) else entry


def _written(entry: Any) -> str:
    return as_class(entry) if isinstance(entry, float) else str(entry)


def as_class(value: float) -> str:
    """The name of a class that is a number: "3" for 3.0."""
    return str(int(value)) if float(value).is_integer() else str(value)


@dataclass
class Cells:
    """What a column holds.

    Attributes:
        name: of the column.
        kind: "numbers"; "words"; "dates"; "nothing", where no cell has an entry; or what makes it unusable.
        texts: the cells as texts, null where they are missing; of typed numbers None.
        numbers: ``(n,)`` float64, NaN where they are missing; only of numbers.
        classes: those that the source itself names, in its order.
        boolean: whether the source says that it holds truth values.
        missing: text -> cells that are taken for missing because of it; "" is blank.
        doubts: what may be otherwise, each a sentence with the option that changes it.
        decimals: decimal marks that its numbers show beyond doubt.
        either: whether its numbers can be read with a decimal comma and with a decimal point.
        strange: of numbers, texts among them that are neither numbers nor known marks -> cells.
    """

    name: str
    kind: Literal["numbers", "words", "dates", "nothing", "unusable"]
    n: int
    texts: Any = None
    numbers: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    boolean: bool = False
    missing: dict[str, int] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    decimals: frozenset[str] = frozenset()
    either: bool = False
    strange: dict[str, int] = field(default_factory=dict)
    holds: str = ""

    def forget(self, texts: Collection[str]) -> None:
        """Takes cells with these texts for missing."""
        self.texts, found = _without(self.texts, texts)
        self.missing |= {text: self.missing.get(text, 0) + count for text, count in found.items()}
        self.__dict__.pop("coded", None)

    @functools.cached_property
    def coded(self) -> tuple[np.ndarray, list[str]]:
        """The different texts, and ``(n,)`` the place of each cell's among them, -1 where it is missing."""
        if self.texts is None:
            if self.numbers is None:
                return np.full(self.n, -1), []
            known = ~np.isnan(self.numbers)
            values, places = np.unique(self.numbers[known], return_inverse=True)
            codes = np.full(self.n, -1)
            codes[known] = places
            return codes, [as_class(value) for value in values.tolist()]
        encoded = pc.dictionary_encode(self.texts)
        return np.asarray(encoded.indices.fill_null(-1)), encoded.dictionary.to_pylist()

    @property
    def known(self) -> int:
        """Cells that are not missing."""
        return self.n - sum(self.missing.values())

    def few(self) -> bool:
        """Whether it has no more different values than classes may have."""
        if self.numbers is not None:
            for rows in (slice(0, 100 * MOST_CLASSES), slice(None)):
                part = self.numbers[rows]
                if len(np.unique(part[~np.isnan(part)])) > MOST_CLASSES:
                    return False
            return True
        return len(self.coded[1]) <= MOST_CLASSES

    def pair(self) -> tuple[str, str] | None:
        """The words for off and on where it holds exactly these, or one of them; as they are written."""
        if self.numbers is not None:
            values = np.unique(self.numbers[~np.isnan(self.numbers)][:2000])
            if len(values) <= 2 and set(values.tolist()) <= {0.0, 1.0}:
                rest = self.numbers[~np.isnan(self.numbers)]
                return ("0", "1") if len(rest) and bool(((rest == 0) | (rest == 1)).all()) else None
            return None
        words = self.coded[1]
        for off, on in BOOLEANS:
            if words and len(words) <= 2 and {word.lower() for word in words} <= {off, on}:
                seen = {word.lower(): word for word in words}
                if len(seen) == len(words) and (len(words) == 2 or len(off) > 1):
                    return seen.get(off, _like(off, words[0])), seen.get(on, _like(on, words[0]))
        return None


def _like(word: str, other: str) -> str:
    return word.upper() if other.isupper() else word.capitalize() if other[:1].isupper() else word


def look(
    column: Column, *, classes: bool = False, quantity: bool = False, missing: Collection[str] = (), decimal: str = ""
) -> Cells:
    """Tells what a column holds.

    Args:
        column: as its source has it.
        classes: whether the user says that it holds classes: texts are compared, and words for "no value" are words.
        quantity: whether the user says that it holds numbers: 007 is 7.
        missing: texts that the user says are missing.
        decimal: "," or "." where that is known.
    """
    cells, n = _whole(column.cells), len(column)
    kinds = pa.types
    if column.unusable:
        return Cells(column.name, "unusable", n, holds=column.unusable)
    if kinds.is_temporal(cells.type):
        return Cells(column.name, "dates", n, _trimmed(_text(cells)), missing=_blank(cells.null_count))
    if kinds.is_dictionary(cells.type):
        return _of_classes(column.name, cells, missing)
    if kinds.is_boolean(cells.type):
        numbers = np.asarray(pc.cast(cells, pa.float64()).to_numpy(zero_copy_only=False))
        found = Cells(column.name, "numbers", n, None, numbers, boolean=True, missing=_blank(cells.null_count))
    elif kinds.is_integer(cells.type) or kinds.is_floating(cells.type) or kinds.is_decimal(cells.type):
        found = _typed(column.name, cells, missing)
    elif kinds.is_null(cells.type):
        return Cells(column.name, "nothing", n, missing=_blank(n))
    else:
        found = _texts(column.name, _text(cells), classes, missing, decimal)
        if found.kind == "numbers" and not quantity and (why := _kept_apart(found)):
            found = replace(found, kind="words", numbers=None, doubts=[*found.doubts, why])
    return found if found.known else Cells(column.name, "nothing", n, missing=found.missing)


def _whole(cells: Any) -> Any:
    return cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells


def _text(cells: Any) -> Any:
    """Any array as texts."""
    return cells if pa.types.is_string(cells.type) else pc.cast(cells, pa.string(), safe=False)


def _trimmed(texts: Any) -> Any:
    return pc.utf8_trim_whitespace(texts)


def _blank(count: int) -> dict[str, int]:
    return {"": count} if count else {}


def _without(texts: Any, wanted: Collection[str]) -> tuple[Any, dict[str, int]]:
    """Texts with some of them null, and how many cells held each."""
    listed = pa.array(list(wanted), pa.string())
    hit = pc.is_in(texts, value_set=listed)
    found = {str(entry["values"]): int(entry["counts"]) for entry in pc.value_counts(texts.filter(hit)).to_pylist()}
    return (pc.if_else(hit, pa.scalar(None, pa.string()), texts) if found else texts), found


def _of_classes(name: str, cells: Any, missing: Collection[str]) -> Cells:
    """A column that its source says holds classes: the texts are what they are."""
    words = ["" if word is None else str(word).strip() for word in pc.cast(cells.dictionary, pa.string()).to_pylist()]
    texts = pa.DictionaryArray.from_arrays(cells.indices, pa.array(words, pa.string())).dictionary_decode()
    out = Cells(name, "words", len(cells), texts, missing=_blank(cells.null_count))
    out.forget(["", *missing])
    used = set(out.coded[1])
    out.classes = tuple(dict.fromkeys(word for word in words if word in used))
    if gone := [word for word in dict.fromkeys(words) if word and word not in used and word not in missing]:
        out.doubts.append(f"no row is of {some(map(repr, gone))}: no class is made of {'it' if len(gone) == 1 else 'them'}")
    return out if out.known else Cells(name, "nothing", len(cells), missing=out.missing)


def _typed(name: str, cells: Any, missing: Collection[str]) -> Cells:
    """A column of numbers."""
    numbers = np.array(pc.cast(cells, pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
    nothing = _blank(int(cells.null_count))
    if pa.types.is_integer(cells.type) and _merged(cells, numbers):
        return Cells(name, "words", len(cells), _text(cells), missing=nothing, doubts=[_LONG.format(name=name)])
    odd = np.isnan(numbers)
    nothing = _blank(int(odd.sum()))
    for value in (np.inf, -np.inf):
        if count := int((numbers == value).sum()):
            nothing[str(value)] = count
            numbers[numbers == value] = np.nan
    for text in missing:
        value = number(text)
        if value is not None and (count := int((numbers == value).sum())):
            nothing[text] = count
            numbers[numbers == value] = np.nan
    return Cells(name, "numbers", len(cells), None, numbers, missing=nothing)


_LONG = "its whole numbers are longer than a float keeps apart, so they are words; drop={name} leaves it out"


def _merged(cells: Any, numbers: np.ndarray) -> bool:
    """Whether whole numbers that differ are the same as floats."""
    if not bool((np.abs(np.nan_to_num(numbers)) >= 2.0**53).any()):
        return False
    return pc.count_distinct(cells).as_py() != len(np.unique(numbers[~np.isnan(numbers)]))


def _texts(name: str, texts: Any, classes: bool, missing: Collection[str], decimal: str) -> Cells:
    """A column of texts."""
    out = Cells(name, "words", len(texts), texts, missing=_blank(texts.null_count))
    plain_numbers = decimal != "," and not classes
    # Most columns of numbers are nothing else, and need no more looks than this one.
    if plain_numbers and not missing and _starts_as_numbers(texts, all_=True):
        with contextlib.suppress(pa.ArrowInvalid):
            return _numbers(out, texts, {})
    out.texts = _trimmed(texts)
    out.forget(["", *missing])
    if classes:
        out.forget(NEVER)
        return out
    if plain_numbers:
        for marks in ((), COMMON):
            kept, found = _without(out.texts, marks) if marks else (out.texts, {})
            if _starts_as_numbers(kept, all_=not marks):
                with contextlib.suppress(pa.ArrowInvalid):
                    return _numbers(replace(out, texts=kept), kept, found)
    counted = pc.value_counts(out.texts.drop_null())
    values = counted.field("values")
    numeric = pc.match_substring_regex(values, _NUMBER)
    other = values.filter(pc.invert(numeric)).to_pylist()
    marks = {text for text in other if is_mark(text)}
    words = [text for text in other if text not in marks]
    numbers = bool(pc.any(numeric).as_py())
    spelt = _spelt(values.filter(_not_in(values, marks)), decimal) if words or decimal == "," else None
    if spelt is None and not words:
        kept, gone = _without(out.texts, marks)
        return _numbers(replace(out, texts=kept), kept, gone)
    if spelt is not None:
        unit, mark, either = spelt
        kept, gone = _without(out.texts, marks)
        found = _numbers(replace(out, texts=kept), _plainly(kept, (), unit, mark), gone)
        found.either, found.decimals = either, frozenset() if either else frozenset(mark)
        shown = next((word for word in words), "")
        if shown:
            value = np.format_float_positional(_first_number(_plainly(pa.array([shown]), (), unit, mark)), trim="-")
            how = (
                f"decimal={'.' if mark == ',' else ','} reads it otherwise"
                if either or mark == ","
                else "kinds= says otherwise"
            )
            found.doubts.append(f"{shown!r} is read as {value}; {how}")
        return found
    if words and numbers:
        counts = dict(zip(values.to_pylist(), counted.field("counts").to_pylist(), strict=True))
        strange = {word: counts[word] for word in words}
        if 2 * sum(strange.values()) < out.known:
            out.strange = strange
    if not numbers and words and all(_DATE.fullmatch(word) for word in words):
        out.forget(marks)
        out.kind = "dates"
        return out
    lettered = any(any(letter.isalnum() for letter in word) for word in words) or numbers
    out.forget({text for text in marks if text in NEVER or (lettered and STROKES.fullmatch(text))})
    return out


def _starts_as_numbers(texts: Any, *, all_: bool) -> bool:
    """Whether the first entries, all or most, are numbers: it takes Arrow long to find in a whole column that many are none."""
    first = texts.slice(0, 20 * _TRIED).drop_null().slice(0, _TRIED)
    numbers = pc.sum(pc.match_substring_regex(first, _NUMBER_OR_INFINITE)).as_py()
    return bool(len(first)) and (numbers == len(first) if all_ else 2 * numbers >= len(first))


def _not_in(values: Any, texts: Collection[str]) -> Any:
    return pc.invert(pc.is_in(values, value_set=pa.array(list(texts), pa.string())))


def _numbers(out: Cells, texts: Any, marks: Mapping[str, int]) -> Cells:
    """Texts as numbers. Raises ArrowInvalid where one is no number.

    Args:
        out: the column, its texts as they are written.
        texts: as numbers are written.
        marks: texts that were taken for missing -> cells.
    """
    numbers = np.array(pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False), np.float64)
    missing, own = Counter(out.missing) + Counter(marks), out.texts
    odd = ~np.isfinite(numbers)
    if odd.any():
        odd &= np.asarray(texts.is_valid())
    if odd.any():
        missing += Counter(map(str, texts.filter(pa.array(odd)).to_pylist()))
        own = pc.if_else(pa.array(odd), pa.scalar(None, pa.string()), own)
        numbers[odd] = np.nan
    missing = dict(missing)
    made = Cells(out.name, "numbers", out.n, own, numbers, missing=missing, doubts=list(out.doubts))
    known = numbers[~np.isnan(numbers)]
    made.decimals = frozenset(".") if len(known) and bool((known[:10_000] % 1 != 0).any()) else frozenset()
    return made


def _kept_apart(cells: Cells) -> str:
    """Why the texts of numbers are words: what they keep apart would fall together; "" where nothing would."""
    texts, numbers, name = cells.texts, cells.numbers, cells.name
    if numbers is None or not cells.known:
        return ""
    zeros = texts.filter(pc.fill_null(pc.starts_with(texts, "0"), False))
    if len(zeros) and pc.any(pc.match_substring_regex(zeros, r"^0\d+$")).as_py():
        shown = _first(zeros, "^0[0-9]+$")
        return f"entries such as {shown!r} start with a zero, so they are words; kinds={name}:continuous reads numbers"
    if _merged(texts, numbers) and pc.all(pc.match_substring_regex(texts, r"^[+-]?\d+$")).as_py():
        return _LONG.format(name=name)
    if cells.few():
        words = pc.unique(texts.drop_null()).to_pylist()
        same: dict[str, str] = {}
        for word in words:
            short = word.rstrip("0") if "." in word and "e" not in word.lower() else word
            if not short.endswith(".") and short in same and same[short] != word:
                return (
                    f"{same[short]!r} and {word!r} would be the same number, so they are words; kinds={name}:continuous reads "
                    "numbers"
                )
            same.setdefault(short, word)
    return ""


def _first(texts: Any, pattern: str) -> str:
    return texts.filter(pc.match_substring_regex(texts, pattern))[0].as_py()


def _first_number(texts: Any) -> float:
    return float(pc.cast(texts, pa.float64())[0].as_py())


def _spelt(values: Any, decimal: str) -> tuple[str, str, bool] | None:
    """How different texts are written that are all numbers: the unit beside them, the decimal mark, and whether the other
    mark would do; None where they are no numbers.
    """
    if not len(values):
        return None
    values = pc.replace_substring(values, _MINUS, "-")
    first = _UNIT.fullmatch(str(values[0].as_py()))
    if first is None:
        return None
    unit = (first["before"] or first["after"] or "").strip()
    if unit and not pc.all(pc.match_substring(values, unit)).as_py():
        return None
    bare = _bare(values, unit)
    if not pc.all(pc.match_substring_regex(bare, r"^[+-]?[.,]?\d")).as_py():
        return None
    fits = {mark: bool(pc.all(pc.match_substring_regex(bare, pattern)).as_py()) for mark, pattern in _GROUPED.items()}
    marks = [mark for mark in (".", ",") if fits[mark] and decimal in ("", mark)]
    if not marks:
        return None
    signs = pc.any(pc.match_substring_regex(bare, "[.,]")).as_py()
    return unit, marks[0], bool(signs) and all(fits.values())


def _bare(texts: Any, unit: str) -> Any:
    """Texts without a unit, and with the sign of ASCII."""
    signed = pc.replace_substring(texts, _MINUS, "-")
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(signed, rf"\s*{re.escape(unit)}\s*", "")) if unit else signed


def _plainly(texts: Any, marks: Collection[str], unit: str, mark: str) -> Any:
    """Numbers as programs write them; marks stay as they are."""
    other = "." if mark == "," else ","
    bare = pc.replace_substring_regex(_bare(texts, unit), rf"[{other}{_BLANKS}]", "")
    spelt = pc.replace_substring(bare, mark, ".") if mark == "," else bare
    return pc.if_else(pc.is_in(texts, value_set=pa.array(list(marks), pa.string())), texts, spelt) if marks else spelt


def number(text: str) -> float | None:
    """A text as a finite number, None where it is not one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) and "_" not in text else None


def some(names: Iterable[Any], most: int = 5) -> str:
    """A few of some names, and how many more there are."""
    listed: Sequence[str] = [str(name) for name in names]
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def said_missing(missing: Mapping[str, int]) -> str:
    """What was taken for missing, by text, for a person."""
    shown = sorted(missing.items(), key=lambda item: -item[1])
    return ", ".join(f"{'blank' if not text else repr(text)} {count:,}" for text, count in shown)
