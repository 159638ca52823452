"""``labelspace embed`` and ``predict``: whole data sets in, arrays and tables out."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path

import numpy as np
import torch

from labelspace import files, saving, terminal
from labelspace.blocks import modes
from labelspace.commands.data import open_data
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.models.base import Model

_CHUNK = 512


def embed(given: argparse.Namespace) -> None:
    """Writes an archive with the mean code of every sample: one array per block, plus labels and splits."""
    if not given.out.endswith(".npz"):
        raise UserError(f"--out {given.out!r} must end in .npz")
    model, data = _open(given)
    parts: dict[str, list[np.ndarray]] = {block.name: [] for block in model.blocks}
    with terminal.bar("encoding") as progress, torch.no_grad():
        for start in range(0, len(data), _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, len(data)))
            for name, code in modes(model.encode(data.samples(rows), *_labels(model, data, rows))).items():
                parts[name].append(code.numpy())
            progress(int(rows[-1]) + 1, len(data))
    arrays: dict[str, np.ndarray] = {name: np.concatenate(part) for name, part in parts.items()}
    for name, column in data.schema.decode(data.values, data.observed).items():
        arrays[f"label.{name}"] = np.array(["" if entry is None else str(entry) for entry in column])
    split = np.empty(len(data), "U5")
    for name in data.splits:
        split[data.rows(name)] = name
    buffer = io.BytesIO()
    np.savez(buffer, split=split, **arrays)  # type: ignore[arg-type]
    files.write(Path(given.out), buffer.getvalue())
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    if given.json:
        terminal.emit({"out": given.out, "arrays": shapes})
    else:
        terminal.say(f"written to {given.out}: " + ", ".join(f"{n} {tuple(s)}" for n, s in shapes.items()))


def predict(given: argparse.Namespace) -> None:
    """Writes a table: per sample its row and split, and per label the predicted value and the probability of each value."""
    model, data = _open(given)
    split = np.empty(len(data), "U5")
    for name in data.splits:
        split[data.rows(name)] = name
    rows_out: list[list[object]] = []
    header: list[str] = []
    with terminal.bar("predicting") as progress:
        for start in range(0, len(data), _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, len(data)))
            distribution = model.predict(data.samples(rows))
            table = distribution.table()
            decoded = model.schema.decode(distribution.mode().cpu().numpy())
            header = ["row", "split"]
            columns: list[list] = [rows.tolist(), split[rows].tolist()]
            for label in model.schema:
                header.append(label.name)
                columns.append(decoded[label.name])
                shown = {"1": table[label.name]["1"]} if label.kind == "binary" else table[label.name]
                for value, numbers in shown.items():
                    header.append(f"{label.name}:{value}")
                    columns.append([f"{p:.6g}" for p in numbers])
            rows_out += [list(row) for row in zip(*columns, strict=True)]
            progress(int(rows[-1]) + 1, len(data))
    if given.json:
        terminal.emit([dict(zip(header, row, strict=True)) for row in rows_out])
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows_out)
    if given.out:
        files.write(Path(given.out), text.getvalue())
        terminal.say(f"written to {given.out}: {len(rows_out):,} rows")
    else:
        sys.stdout.write(text.getvalue())


def _open(given: argparse.Namespace) -> tuple[Model, Dataset]:
    model = saving.load(given.run_directory)
    data = open_data(given.data, None, 0, training=False, like=model)
    if data.shape != model.shape:
        raise UserError(f"{given.data} has samples of shape {data.shape}, the model takes {model.shape}")
    if data.x.dtype != np.uint8:
        model.likelihood.check(data.samples(np.arange(len(data))))
    return model, data


def _labels(model: Model, data: Dataset, rows: np.ndarray):
    """Labels of some samples under the model's schema; those that the data do not have are missing."""
    values = torch.zeros(len(rows), len(model.schema))
    observed = torch.zeros(len(rows), len(model.schema), dtype=torch.bool)
    given_values, given_observed = data.labels(rows)
    for i, label in enumerate(model.schema):
        if label.name in data.schema.names and data.schema[label.name] == label:
            column = data.schema.index(label.name)
            values[:, i], observed[:, i] = given_values[:, column], given_observed[:, column]
    return values, observed
