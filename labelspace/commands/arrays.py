"""``labelspace embed`` and ``predict``: whole data sets in, arrays and tables out."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np

from labelspace import __version__, saving, terminal
from labelspace.commands.data import open_like
from labelspace.data import sources
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.models import name_of, of_data
from labelspace.models.base import Model
from labelspace.results import annotated, writers
from labelspace.storage import files


def embed(given: argparse.Namespace) -> None:
    """Writes the mean code of every sample, block by block, with its name, split and labels."""
    out = Path(given.out)
    endings = {".npz": _archive, ".parquet": _table, ".csv": _table, ".h5ad": _annotated}
    if out.suffix.lower() not in endings:
        raise UserError(f"--out {given.out!r} must end in .npz, .parquet, .csv or .h5ad")
    if out.suffix.lower() == ".h5ad" and sources.parts(given.data)[0] != "h5ad":
        raise UserError(f"--out {given.out!r} takes codes of the cells of an AnnData file; name the data as h5ad:FILE")
    model, data = open_for(given.run_directory, given.data)
    with terminal.bar("encoding") as progress:
        codes = of_data.codes(model, data, ignore_labels=given.ignore_labels, progress=progress)
    arrays = {name: code.numpy() for name, code in codes.items()}
    shapes = endings[out.suffix.lower()](given, model, data, arrays)
    if given.json:
        terminal.emit({"out": given.out, "samples": len(data), "arrays": shapes})
    else:
        terminal.say(f"written to {given.out}: " + ", ".join(f"{n} {tuple(s)}" for n, s in shapes.items()))


def _archive(given: argparse.Namespace, model: Model, data: Dataset, codes: dict[str, np.ndarray]) -> dict[str, list[int]]:
    arrays: dict[str, np.ndarray] = {**codes, "ids": of_data.names(data), "split": of_data.splits(data)}
    for name, column in data.schema.decode(data.values, data.observed).items():
        arrays[f"label.{name}"] = np.array(["" if entry is None else str(entry) for entry in column])
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    files.write(Path(given.out), buffer.getvalue())
    return {name: list(array.shape) for name, array in arrays.items()}


def _table(given: argparse.Namespace, model: Model, data: Dataset, codes: dict[str, np.ndarray]) -> dict[str, list[int]]:
    columns: dict[str, Any] = {"id": of_data.names(data), "split": of_data.splits(data)}
    columns |= data.schema.decode(data.values, data.observed)
    for name, code in codes.items():
        columns |= {f"{name}.{i}": column for i, column in enumerate(code.T)}
    with writers.table(Path(given.out), data.schema) as rows:
        rows.add(columns)
    return {name: list(code.shape) for name, code in codes.items()}


def _annotated(given: argparse.Namespace, model: Model, data: Dataset, codes: dict[str, np.ndarray]) -> dict[str, list[int]]:
    _, path, _ = sources.parts(given.data)
    record = {
        "model": name_of(model),
        "run": Path(given.run_directory).resolve().name,
        "labelspace": __version__,
        "blocks": [block.name for block in model.blocks],
        "sizes": [block.size for block in model.blocks],
        "labels": [block.label or "" for block in model.blocks],
        "labels_given": not given.ignore_labels,
    }
    keys = annotated.write(Path(path), Path(given.out), of_data.names(data), codes, record)
    sizes = [model.blocks.size, *(block.size for block in model.blocks)]
    return {f"obsm[{key!r}]": [len(data), size] for key, size in zip(keys, sizes, strict=True)}


def predict(given: argparse.Namespace) -> None:
    """Writes a table: per sample its name and split, and per label the predicted value and the probability of each value."""
    if given.out and Path(given.out).suffix.lower() not in writers.TABLES:
        raise UserError(f"--out {given.out!r} must end in {' or '.join(writers.TABLES)}")
    model, data = open_for(given.run_directory, given.data)
    writers.refuse(model.schema, writers.RESERVED)
    with terminal.bar("predicting") as progress:
        predicted = of_data.predictions(model, data, progress)
    columns: dict[str, Any] = {"id": of_data.names(data).tolist(), "split": of_data.splits(data).tolist(), **predicted}
    if given.out:
        with writers.table(Path(given.out), model.schema) as rows:
            rows.add(columns)
    if given.json:
        terminal.emit([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])
    elif given.out:
        terminal.say(f"written to {given.out}: {len(data):,} rows")
    else:
        writers.Csv(sys.stdout).add(columns)


def open_for(run_directory: str, address: str) -> tuple[Model, Dataset]:
    """The model of a run, and other data for it to read.

    Raises:
        UserError: data that the model cannot read.
    """
    model = saving.load(run_directory)
    data = open_like(model, run_directory, address)
    of_data.check_fit(model, data)
    return model, data
