"""A data set as a trained model sees it: what its samples are called, which labels are known, their codes and predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelspace.blocks import Latents, modes
from labelspace.data.dataset import Dataset
from labelspace.data.store import Progress
from labelspace.errors import UserError
from labelspace.likelihoods import Table
from labelspace.models.base import Model

CHUNK = 512  # samples that go through a model at once


def check_fit(model: Model, data: Dataset) -> None:
    """Raises UserError when a model cannot read a data set: samples of another shape, or outside its likelihood's range."""
    if data.shape != model.shape:
        raise UserError(f"{data.address} has samples of shape {data.shape}, the model takes {model.shape}")
    if data.x.dtype != np.uint8:
        for rows in chunks(np.arange(len(data))):
            model.likelihood.check(data.samples(rows))


def chunks(rows: np.ndarray, size: int = CHUNK) -> Iterator[np.ndarray]:
    """Rows in parts of a size."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def names(data: Dataset) -> np.ndarray:
    """What the samples are called, ``(n,)`` texts: as the data name them, or by their row, counted from 0."""
    return np.arange(len(data)).astype(str) if data.ids is None else np.asarray(data.ids, str)


def splits(data: Dataset) -> np.ndarray:
    """Per sample the split that it is in, ``(n,)`` texts; '' for none."""
    out = np.full(len(data), "", "U5")
    for name, rows in data.splits.items():
        out[rows] = name
    return out


def known_labels(model: Model, data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """``values`` and ``observed``, both ``(n, labels)``, of the model's labels where the data have them.

    The data's own schema may differ: new data need not have all classes, and have other means.

    Raises:
        UserError: an entry that is not a value of the model's label (sample and label named).
    """
    values = np.zeros((len(data), len(model.schema)), np.float32)
    observed = np.zeros(values.shape, bool)
    for i, label in enumerate(model.schema):
        if label.name not in data.schema.names:
            continue
        column, theirs = data.schema.index(label.name), data.schema[label.name]
        observed[:, i] = data.observed[:, column]
        if theirs == label or (theirs.kind == label.kind == "continuous"):
            values[:, i] = data.values[:, column]
            continue
        for value in np.unique(data.values[observed[:, i], column]):
            here = observed[:, i] & (data.values[:, column] == value)
            try:
                values[here, i] = label.parse(theirs.format(float(value)))
            except UserError as error:
                raise UserError(f"{data.address}, sample {str(names(data)[here.argmax()])!r}: {error}") from None
    return values, observed


@torch.no_grad()
def codes(model: Model, data: Dataset, *, ignore_labels: bool = False, progress: Progress | None = None) -> Latents[Tensor]:
    """Mean codes of all samples, block by block, ``(n, size)``.

    Args:
        model: a trained model.
        data: the samples.
        ignore_labels: encode as if no label were known, so that codes depend on x alone.
        progress: told samples done and samples in all.
    """
    values, observed = known_labels(model, data) if not ignore_labels else (None, None)
    parts = []
    for rows in chunks(np.arange(len(data))):
        given = (None, None) if values is None or observed is None else _tensors(values[rows], observed[rows])
        parts.append(modes(model.encode(data.samples(rows), *given)))
        if progress:
            progress(int(rows[-1]) + 1, len(data))
    return Latents(model.blocks, {b.name: torch.cat([part[b.name] for part in parts]) for b in model.blocks})


def _tensors(values: np.ndarray, observed: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(values), torch.from_numpy(observed)


def predictions(model: Model, data: Dataset, progress: Progress | None = None) -> dict[str, list[Any]]:
    """Columns of a table of what the model predicts from x alone.

    Per label its predicted value under the label's name and ``LABEL:VALUE``, the probability of every value; for a number
    ``LABEL:mean`` and ``LABEL:sd``, in its own unit.
    """
    columns: dict[str, list[Any]] = {}
    for rows in chunks(np.arange(len(data))):
        answer = model.predict(data.samples(rows))
        table, likely = answer.table(), model.schema.decode(answer.mode().cpu())
        for label in model.schema:
            columns.setdefault(label.name, []).extend(likely[label.name])
            for value, numbers in table[label.name].items():
                columns.setdefault(f"{label.name}:{value}", []).extend(numbers.tolist())
        if progress:
            progress(int(rows[-1]) + 1, len(data))
    return columns


def vectors(model: Model, x: Tensor, taken: Sequence[str]) -> dict[str, Any]:
    """Entries of vectors ``(n, d)`` as columns of a table that has other columns, too: ``x.0``, ``x.1``, ...

    Where the model knows names and classes of its variables, columns and cells have these.
    """
    known = model.variables
    out: dict[str, Any] = {}
    for i, column in enumerate(x.T.cpu().numpy()):
        name = known[i].name if known else f"x.{i}"
        cells = [known[i].format(cell) for cell in column] if known and known[i].kind == "categorical" else column
        out[f"x.{name}" if name in taken else name] = cells
    return out


def column_kinds(model: Model) -> np.ndarray | None:
    """What ``npz:`` calls the columns of a table, ``(d,)`` texts; None for other data."""
    likelihood = model.likelihood
    return np.array([str(column) for column in likelihood.columns]) if isinstance(likelihood, Table) else None
