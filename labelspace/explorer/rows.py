"""Rows of the user's own: pasted, or in a file; read as the model's data are, by the names of columns."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path, PurePath

import numpy as np
import torch
from torch import Tensor

from labelspace.data.delimited import SEPARATORS, check_names
from labelspace.errors import UserError, note
from labelspace.interventions import Labels
from labelspace.models.base import Model
from labelspace.models.of_data import known_labels
from labelspace.training.trained import Trained

MOST_ROWS = 20_000
KINDS = {".csv": "table", ".tsv": "table", ".txt": "table", ".parquet": "table", ".npz": "npz", ".h5ad": "h5ad"}
"""What the ending of a file's name says of how it is read."""


def read(model: Model, home: Path, name: str, content: bytes) -> tuple[Tensor, Labels]:
    """Rows of a file.

    Args:
        model: the model that they are for.
        home: its run directory.
        name: the file's.
        content: the file.

    Returns:
        The samples ``(n, d)`` and what is known of their labels.

    Raises:
        UserError: they cannot be read, or the model takes no such rows.
    """
    ending = PurePath(name).suffix.lower()
    if ending not in KINDS:
        raise UserError(f"{name!r} is not a file of rows by its name; expected {', '.join(KINDS)}")
    with tempfile.TemporaryDirectory(prefix="labelspace-") as folder:
        file = Path(folder) / f"rows{'.csv' if ending == '.txt' else ending}"
        file.write_bytes(content)
        try:
            data = Trained(model, home).data(f"{KINDS[ending]}:{file}")
            if data.shape != tuple(model.shape):
                raise UserError(f"{name} has samples of shape {list(data.shape)}, the model takes {list(model.shape)}")
            rows = np.arange(min(len(data), MOST_ROWS))
            if len(data) > MOST_ROWS:
                note(f"{name} has {len(data):,} rows; the first {MOST_ROWS:,} are shown")
            x = data.samples(rows)
            model.likelihood.check(x)
            values, observed = known_labels(model, data)
            return x.clone(), (torch.from_numpy(values[rows]), torch.from_numpy(observed[rows]))
        except UserError as error:
            raise UserError(str(error).replace(str(file), name)) from None


def paste(model: Model, home: Path, text: str, features: tuple[str, ...]) -> tuple[Tensor, Labels]:
    """Rows that were pasted: with a line of names in front, or the model's columns in order, its labels behind them or not.

    Raises:
        UserError: as :func:`read`.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise UserError("nothing was pasted; expected rows of cells with commas or tabs between them")
    separator = max(SEPARATORS, key=lines[0].count)
    first = [cell.strip() for cell in next(csv.reader([lines[0]], delimiter=separator))]
    known = [*features, *model.schema.names]
    if not set(first) & set(known):
        names = next((names for names in (known, list(features)) if len(names) == len(first)), None)
        if names is None:
            raise UserError(
                f"the first row has {len(first)} cells; expected a line with names of columns, or {len(features)} cells in the "
                f"order {', '.join(features[:6])}{', ...' if len(features) > 6 else ''}"
                + (f" (and {', '.join(model.schema.names)} behind them, or not)" if model.schema.names else "")
            )
        head = io.StringIO()
        csv.writer(head, delimiter=separator, lineterminator="").writerow(names)
        lines.insert(0, head.getvalue())
        first = names
    check_names("pasted rows", first)
    if missing := [name for name in features if name not in first]:
        note(
            f"not among the pasted columns, so they are missing: {', '.join(missing[:6])}{', ...' if len(missing) > 6 else ''}"
        )
        lines = [lines[0] + separator + separator.join(missing), *(line + separator * len(missing) for line in lines[1:])]
    if not model.variables:
        return _numbers(model, lines, separator, features)
    return read(model, home, "pasted.csv", "\n".join(lines).encode())


def _numbers(model: Model, lines: list[str], separator: str, features: tuple[str, ...]) -> tuple[Tensor, Labels]:
    """Rows for a model that knows no columns, by their places."""
    header, *rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator)]
    values = np.zeros((len(rows), len(model.schema)), np.float32)
    observed, x = np.zeros(values.shape, bool), np.full((len(rows), len(features)), np.nan, np.float32)
    for i, row in enumerate(rows):
        if len(row) != len(header):
            raise UserError(f"pasted row {i + 1} has {len(row)} cells, the first has {len(header)}")
        for name, cell in zip(header, row, strict=True):
            if name in features:
                try:
                    x[i, features.index(name)] = float(cell) if cell else np.nan
                except ValueError:
                    raise UserError(f"pasted row {i + 1}, {name}: {cell!r} is not a number") from None
            elif cell:
                j = model.schema.index(name)
                values[i, j], observed[i, j] = model.schema[name].parse(cell), True
    return torch.from_numpy(x), (torch.from_numpy(values), torch.from_numpy(observed))
