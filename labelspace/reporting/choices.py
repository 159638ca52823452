"""Which samples are shown: always the same ones, and of a label's values all; and in which colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.evaluation import probing
from labelspace.labels import Schema
from labelspace.models.base import Model
from labelspace.reporting import colours
from labelspace.reporting.runs import shown_text

_LOOKED_AT = 5000

Runs = Mapping[str, tuple[Model, Dataset]]
"""Name of a run -> its model, and its data: of several runs the same samples, each with the labels that its model knows."""


def first_data(runs: Runs) -> Dataset:
    """The data of the first run, for what is the same in all of them."""
    return next(iter(runs.values()))[1]


def names_of(data: Dataset, rows: np.ndarray) -> list[str]:
    """What samples are called: by their source, or by their place in it."""
    return [str(row) if data.ids is None else shown_text(str(data.ids[row])) for row in rows]


def known(data: Dataset, name: str, most: int, *, unlike: str | None = None) -> np.ndarray:
    """Test samples whose value of a label is known; of a discrete label those that have another value, if one is given.

    Raises:
        UserError: there are none.
    """
    column, rows = data.schema.index(name), probing.chosen(data, "test", _LOOKED_AT)
    rows = rows[data.observed[rows, column]]
    if unlike is not None:
        rows = rows[data.values[rows, column] != data.schema[name].parse(unlike)]
    if not len(rows):
        raise UserError(f"no test sample has a known {name}" + ("" if unlike is None else f" other than {unlike}"))
    return rows[:most]


def one_of_each(data: Dataset, name: str, most: int) -> np.ndarray:
    """Test samples with different values of a label, as far as there are; of a number from its smallest to its largest."""
    rows = known(data, name, _LOOKED_AT)
    found = data.values[rows, data.schema.index(name)]
    if not data.schema[name].discrete:
        order = np.argsort(found, kind="stable")
        return rows[order[np.unique(np.linspace(0, len(rows) - 1, most).round().astype(int))]]
    # The first of every value, then the second of every value, and so on.
    rank = np.zeros(len(rows), int)
    for value in np.unique(found):
        rank[found == value] = np.arange((found == value).sum())
    chosen = np.lexsort((found, rank))[:most]
    return rows[chosen[np.lexsort((rank[chosen], found[chosen]))]]


def donors_and_takers(data: Dataset, name: str, *, takers: int, donors: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples that take a label's block, and others that lend theirs; donors have different values, most of them are not off.

    Raises:
        UserError: fewer than two samples have a known value.
    """
    lenders = one_of_each(data, name, donors)
    column = data.schema.index(name)
    if data.schema[name].kind == "binary":  # ways of having a label are what there is to transfer; one donor is without it
        rows = known(data, name, _LOOKED_AT)
        on, off = rows[data.values[rows, column] == 1], rows[data.values[rows, column] == 0]
        lenders = np.concatenate([off[-1:], on[-(donors - 1) :]])
    candidates = one_of_each(data, name, takers + donors)
    others = candidates[~np.isin(candidates, lenders)]
    if not len(others):
        raise UserError(f"there are not enough test samples with a known {name}")
    spread = np.unique(np.linspace(0, len(others) - 1, takers).round().astype(int))
    return others[spread], lenders


def by_label(data: Dataset, rows: np.ndarray, label: str | None) -> dict[str, Any]:
    """How a :class:`labelspace.reporting.figures.Map` colours samples by a label; without one it does not."""
    if label is None:
        return {}
    column = data.schema.index(label)
    return coloured(data.schema, label, data.values[rows, column], data.observed[rows, column])


def coloured(schema: Schema, label: str, values: np.ndarray, observed: np.ndarray) -> dict[str, Any]:
    """How a map colours points by ``(n,)`` values of a label, those that are observed."""
    about = schema[label]
    if not about.discrete:
        return {"numbers": np.where(observed, values, np.nan)}
    return {
        "classes": np.where(observed, values, -1).astype(int),
        "names": [f"{label} {value}" if about.kind == "binary" else value for value in about.values],
        "colours": colours.of_values(schema, label),
    }
