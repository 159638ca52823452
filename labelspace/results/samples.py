"""Vectors of a trained model as columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from labelspace.likelihoods import Table
from labelspace.models.base import Model


def vectors(model: Model, x: Tensor, taken: Sequence[str]) -> dict[str, Any]:
    """Entries of vectors ``(n, d)`` as columns of a table that has other columns, too: ``x.0``, ``x.1``, ...

    Where the model knows names and classes of its variables, columns and cells have these.
    """
    known = model.variables
    out: dict[str, Any] = {}
    for i, column in enumerate(x.T.cpu().numpy()):
        name = known[i].name if known else f"x.{i}"
        if known and known[i].kind == "categorical":
            cells = [known[i].format(cell) for cell in column]
        else:
            cells = [known[i].number(cell) for cell in column] if known and known[i].origin else column
        out[f"x.{name}" if name in taken else name] = cells
    return out


def column_kinds(model: Model) -> np.ndarray | None:
    """What ``npz:`` calls the columns of a table, ``(d,)`` texts; None for other data."""
    likelihood = model.likelihood
    return np.array([str(column) for column in likelihood.columns]) if isinstance(likelihood, Table) else None
