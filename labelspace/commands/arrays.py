"""``labelspace embed`` and ``predict``: whole data sets in, arrays and tables out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from labelspace import saving, terminal
from labelspace.commands.data import open_like
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.models import of_data
from labelspace.models.base import Model
from labelspace.results import writers
from labelspace.results.python import embed as write_codes
from labelspace.results.python import shapes


def embed(given: argparse.Namespace) -> None:
    """Writes the code of every sample, block by block, with its name, split and labels."""
    with terminal.bar("encoding") as progress:
        codes = write_codes(
            given.run_directory,
            given.data,
            out=given.out,
            ignore_labels=given.ignore_labels,
            draw=given.draw,
            seed=given.seed,
            progress=progress,
        )
    found = shapes(Path(given.out), codes)
    if given.json:
        terminal.emit({"out": given.out, "samples": len(codes.ids), "arrays": found})
    else:
        terminal.say(f"written to {given.out}: " + ", ".join(f"{n} {tuple(s)}" for n, s in found.items()))


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
