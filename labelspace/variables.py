"""Variables: what the entries of a vector are called and what they mean.

A sample of a table is a vector of floats. A variable says which column of the table an entry is, what it is (a number, a
count, or the index of a class) and what its classes are called; of cells by genes it says the gene. Variables are saved
with a model, so that new files are read alike, whatever the order of their columns, and what is decoded is written in the
user's own words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from labelspace.errors import UserError
from labelspace.labels import Schema
from labelspace.likelihoods import Column


@dataclass(frozen=True)
class Variable:
    """One entry of a vector.

    Attributes:
        name: the column's name, the gene's name.
        kind: "continuous", "categorical" or "count", as :class:`labelspace.likelihoods.Column` has them.
        classes: names of the classes of a categorical variable, in the order of their indices.
        origin: what its numbers are counted from: far from zero they would lose their differences in single precision. People
            see it added; samples are without it.
    """

    name: str
    kind: str = "continuous"
    classes: tuple[str, ...] = ()
    origin: float = 0.0

    def __post_init__(self) -> None:
        Column.parse(f"{self.kind}:{len(self.classes)}" if self.classes or self.kind == "categorical" else self.kind)

    @property
    def column(self) -> Column:
        """How the table likelihood describes it."""
        return Column(self.kind, len(self.classes))

    def format(self, value: float) -> str:
        """An entry as text: the class, the number with as many digits as tell it from others and no fraction where it is whole,
        '' where it is missing."""
        if math.isnan(value):
            return ""
        if self.kind == "categorical":
            return self.classes[int(value)]
        return str(np.float32(value) if not self.origin else self.number(value)).removesuffix(".0")

    def number(self, value: float) -> float:
        """An entry in the unit of the data."""
        return float(value) if not self.origin else float(str(np.float32(value))) + self.origin


class Described(Protocol):
    """What new data are read like: labels and variables of a trained model. Models are, and so is :class:`Description`."""

    @property
    def schema(self) -> Schema: ...
    @property
    def variables(self) -> tuple[Variable, ...]: ...


@dataclass(frozen=True)
class Description:
    """Labels and variables, as a run directory holds them."""

    schema: Schema
    variables: tuple[Variable, ...]


def table_likelihood(variables: Sequence[Variable]) -> str:
    """The table likelihood that describes the variables, as text (:func:`labelspace.likelihoods.build_likelihood`)."""
    return f"table({','.join(str(variable.column) for variable in variables)})"


def describe(variables: Sequence[Variable], x: np.ndarray) -> list[dict]:
    """What is in the columns of ``x (n, d)``, as plain data: name, kind, missing cells, and counts of classes or the range."""
    rows = []
    for variable, cells in zip(variables, x.T, strict=True):
        known = cells[~np.isnan(cells)]
        row: dict = {"name": variable.name, "kind": variable.kind, "missing": len(cells) - len(known)}
        if variable.kind == "categorical":
            counts = np.bincount(known.astype(int), minlength=len(variable.classes))
            row["counts"] = {name: int(c) for name, c in zip(variable.classes, counts, strict=True)}
        elif len(known):
            row["range"] = [variable.number(known.min()), variable.number(known.max())]
        rows.append(row)
    return rows


def to_json(variables: Iterable[Variable]) -> str:
    """Variables as JSON text."""
    rows = [asdict(variable) for variable in variables]
    return json.dumps({"variables": [{k: v for k, v in row.items() if k != "origin" or v} for row in rows]}, indent=1)


def from_json(text: str) -> tuple[Variable, ...]:
    """Reads :func:`to_json`. Raises UserError for anything else."""
    try:
        rows = json.loads(text)["variables"]
        return tuple(
            Variable(str(r["name"]), str(r["kind"]), tuple(str(c) for c in r["classes"]), float(r.get("origin", 0.0)))
            for r in rows
        )
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"not a list of variables: {type(error).__name__} {error}") from None
