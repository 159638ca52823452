"""How the columns of a source were read, in words and as data: their kinds and classes, what counted as missing, what may be
meant otherwise. :mod:`labelspace.data.columns` decides it.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from labelspace.data.cells import said_missing, some
from labelspace.errors import UserError, unknown

_DOUBTS = 6  # in a summary
_LEFT_OUT = {
    ("constant", "nothing"): "columns without two different entries are left out",
    ("no label",): "columns that cannot be labels are left out",
    ("the model does not know it",): "columns that the model does not know are left out",
}


@dataclass(frozen=True)
class Asked:
    """What a user says about columns.

    Attributes:
        kinds: column -> kind: of labels binary, categorical or continuous, of samples continuous, categorical or count.
        missing: column -> texts that are missing in it; those of "" are in every column.
        decimal: the decimal mark, "," or "."; "" is to be found.
        classes: column -> its classes, in their order.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    decimal: str = ""
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.decimal not in ("", ",", "."):
            raise UserError(f"decimal must be ',' or '.', got {self.decimal!r}")

    @property
    def columns(self) -> list[str]:
        """The columns that it names."""
        return [name for name in (*self.kinds, *self.missing, *self.classes) if name]


def asked_for(
    kinds: Mapping[str, str] | None = None,
    missing: Sequence[str] | Mapping[str, Sequence[str]] = (),
    decimal: str = "",
    classes: Mapping[str, Sequence[str]] | None = None,
) -> Asked:
    """What a caller in Python says; ``missing`` are texts for all columns, or by column ("" for all)."""
    given = missing if isinstance(missing, Mapping) else {"": [missing] if isinstance(missing, str) else missing}
    gone = {name: [str(text) for text in ([texts] if isinstance(texts, str) else texts)] for name, texts in given.items()}
    return Asked(kinds or {}, gone, decimal, classes or {})


@dataclass(frozen=True)
class ColumnReading:
    """How a column was read.

    Attributes:
        name: the column.
        use: "label", "x", "id", "group", or "left out".
        kind: what it holds: binary, categorical, continuous or count, or what it is left out for.
        classes: of what has classes.
        missing: text -> cells that are missing because they hold it; "" is blank.
        doubts: what may be meant otherwise, each with the option that says so.
    """

    name: str
    use: str
    kind: str
    classes: tuple[str, ...] = ()
    missing: Mapping[str, int] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Reading:
    """How all columns of a source were read. It prints itself as a table; ``reading["age"]`` is one of them.

    Attributes:
        columns: one entry a column.
        notes: what concerns the file: its encoding, rows without an entry, ...
    """

    columns: tuple[ColumnReading, ...] = ()
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> ColumnReading:
        for column in self.columns:
            if column.name == name:
                return column
        raise unknown("column", name, [column.name for column in self.columns])

    @property
    def doubts(self) -> list[str]:
        """All that may be meant otherwise, by column."""
        return [f"column {column.name!r}: {doubt}" for column in self.columns for doubt in column.doubts]

    def summary(self) -> list[str]:
        """What was done that a user may not want, shortly."""
        found = []
        for whys, said in _LEFT_OUT.items():
            if names := [column.name for column in self.columns if column.use == "left out" and column.kind in whys]:
                found.append(f"{said}: {some(names)}")
        used = [column for column in self.columns if column.use != "left out"]
        marks = {column.name: {text: n for text, n in column.missing.items() if text} for column in used}
        if marked := [f"{name} ({said_missing(gone)})" for name, gone in marks.items() if gone]:
            found.append(f"cells that are missing because of what they hold: {some(marked)}")
        found += self.doubts[:_DOUBTS]
        if (more := len(self.doubts) - _DOUBTS) > 0:
            found.append(f"and {more} more doubts about columns, which the reading lists")
        return found

    def rows(self) -> list[list[str]]:
        """The table: column, use, kind, missing, doubtful."""
        return [
            [
                column.name,
                column.use,
                column.kind + (f": {some(column.classes)}" if column.classes else ""),
                said_missing(column.missing),
                "; ".join(column.doubts),
            ]
            for column in self.columns
        ]

    def to_dict(self) -> dict[str, Any]:
        """As plain data, ready for JSON."""
        return {"columns": [asdict(column) for column in self.columns], "notes": list(self.notes)}

    def lines(self, most: int) -> list[str]:
        """A line a column, for at most so many; doubts apart."""
        shown = [
            f"column {name}: {use}, {kind}" + (f"; missing: {gone}" if gone else "") for name, use, kind, gone, _ in self.rows()
        ]
        return shown[:most] + ([f"and {len(shown) - most:,} more columns"] if len(shown) > most else [])

    def __repr__(self) -> str:
        lines = [
            *self.notes,
            *(
                f"{name}: {use}, {kind}" + (f"; missing: {gone}" if gone else "") + (f"; {doubt}" if doubt else "")
                for name, use, kind, gone, doubt in self.rows()
            ),
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{title}</th>" for title in TITLES)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows())
        return f"<table><tr>{head}</tr>{body}</table>"


TITLES = ("column", "use", "read as", "missing", "doubtful")
