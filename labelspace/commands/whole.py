"""``edit``, ``transfer``, ``move`` and ``generate`` for whole data sets: many samples in, a directory or a table out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelspace import interventions, terminal
from labelspace.commands.data import open_like
from labelspace.data.dataset import Dataset
from labelspace.data.sources import shown_address
from labelspace.data.splits import SPLITS
from labelspace.errors import UserError
from labelspace.interventions import Intervention, Labels
from labelspace.interventions.given import Samples
from labelspace.models import name_of, of_data
from labelspace.models.base import Model
from labelspace.results import writers
from labelspace.training.fit import open_data as open_run_data
from labelspace.training.run import Run

Change = Callable[[Tensor, Labels, np.ndarray], Intervention]
"""An edit of some samples under their labels; the last argument says which they are among all, counted from 0."""


def asked(given: argparse.Namespace) -> bool:
    """Whether a command was asked about many samples instead of one.

    Raises:
        UserError: about both, or neither.
    """
    split, colon, index = (given.sample or "").partition(":")
    if given.data and not given.split and colon and split in SPLITS and index.isdecimal():
        return False  # one sample of other data
    several = bool(given.data or given.split)
    if several and given.sample:
        raise UserError(
            f"IMAGE ({given.sample}) is one sample, --data and --split are many; give one or the other, or SPLIT:INDEX of "
            "--data"
        )
    if not several and not given.sample:
        raise UserError("which sample? Give IMAGE (a file, or SPLIT:INDEX such as test:0), or many with --data or --split")
    if several and not given.out:
        raise UserError(
            "--out is needed for many samples: a directory or .npz for pictures; .csv, .parquet or .npz for vectors"
        )
    return several


def each(
    given: argparse.Namespace,
    model: Model,
    change: Change,
    said: Callable[[np.ndarray], Mapping[str, Sequence[Any]]] = lambda places: {},
    options: Mapping[str, Any] | None = None,
) -> None:
    """Edits many samples and writes them.

    Args:
        given: says which samples, and where to.
        model: the run's model.
        change: the edit.
        said: what else is said of each, by their place among all: columns.
        options: what the record says of the edit beside its own options.
    """
    data, rows = _chosen(given, model)
    values, observed = of_data.known_labels(model, data)
    ids, splits = of_data.names(data), of_data.splits(data)
    changed: dict[str, None] = {}
    record: dict[str, Any] = {}

    def one(places: np.ndarray) -> writers.Part:
        part = rows[places]
        known = torch.from_numpy(values[part]), torch.from_numpy(observed[part])
        done = change(data.samples(part), known, places)
        changed.update(dict.fromkeys(done.record.changed))
        record.update(done.record.to_dict())
        columns: dict[str, Sequence[Any]] = {"split": splits[part].tolist()} if not given.split else {}
        own = model.schema.decode(*known)
        for name in model.schema.names:
            if name in done.record.target:
                columns[name], columns[f"{name}:before"] = done.record.target[name], done.record.source[name]
            elif name in data.schema.names:
                columns[name] = own[name]
        return writers.Part(ids[part].tolist(), {**columns, **said(places)}, done.x)

    def summary() -> dict[str, Any]:
        own = {key: entry for key, entry in record.items() if key not in ("source", "target")}
        blocks = [block.name for block in model.blocks]
        return {
            **own,
            "options": {**own["options"], **(options or {})},
            "changed": [name for name in blocks if name in changed],
            "held": [name for name in blocks if name not in changed],
            "labels": list(record["target"]),
            **_about(given, model, len(rows)),
            "data": shown_address(data.address),
        }

    _write(given, model, len(rows), one, summary)


def transfer(given: argparse.Namespace, model: Model, get: Callable[[str], tuple[Samples, Labels | None]]) -> None:
    """Gives many samples one donor's way of having a label, or each that of a donor which is drawn for it."""
    if given.donor:
        raise UserError("with --data or --split the donor of all samples is --donor, or --donors draws one for each")
    if bool(given.donor_option) == bool(given.donors):
        raise UserError("transfer to many samples needs --donor (one for all) or --donors (drawn, one for each)")
    called = "donor:id" if "donor" in model.schema.names else "donor"

    def given_by(x: Tensor, labels: Labels, donor: Samples, donor_labels: Labels | None) -> Intervention:
        return interventions.transfer(model, x, donor, given.label, labels, donor_labels, keep_detail=given.keep_detail)

    if given.donor_option:
        donor, donor_labels = get(given.donor_option)
        each(
            given,
            model,
            lambda x, labels, _: given_by(x, labels, donor, donor_labels),
            lambda places: {called: [given.donor_option] * len(places)},
            {"donor": given.donor_option},
        )
        return
    if given.donors in SPLITS:
        donors = _own(given)
        pool = donors.rows(given.donors)
    else:
        donors = open_like(model, given.run_directory, given.donors)
        pool = np.arange(len(donors))
    of_data.check_fit(model, donors)
    if len(pool) == 0:
        raise UserError(f"--donors {given.donors} has no sample")
    values, observed = of_data.known_labels(model, donors)
    ids = of_data.names(donors)

    def drawn(places: np.ndarray) -> np.ndarray:
        """Rows of the donors of some samples, each a function of the seed and the sample's place."""
        return pool[[np.random.default_rng([given.seed, 7, int(place)]).integers(len(pool)) for place in places]]

    def change(x: Tensor, labels: Labels, places: np.ndarray) -> Intervention:
        rows = drawn(places)
        return given_by(x, labels, donors.samples(rows), (torch.from_numpy(values[rows]), torch.from_numpy(observed[rows])))

    about = {"donors": given.donors if given.donors in SPLITS else shown_address(given.donors), "seed": given.seed}
    each(given, model, change, lambda places: {called: ids[drawn(places)].tolist()}, about)


def many(given: argparse.Namespace, model: Model) -> bool:
    """Whether new samples go to a file of many, instead of a sheet of pictures."""
    if not given.out:
        return False
    ending = Path(given.out).suffix.lower()
    return ending in (".npz", *writers.TABLES) or (len(model.shape) == 3 and (ending == "" or Path(given.out).is_dir()))


def generate(given: argparse.Namespace, model: Model, values: dict[str, Any]) -> None:
    """New samples under labels, with the labels that each was drawn under."""
    if given.n < 1:
        raise UserError(f"generate needs at least one sample, got {given.n}")
    generator = torch.Generator().manual_seed(given.seed)
    record: dict[str, Any] = {}
    digits = len(str(given.n - 1))

    def one(places: np.ndarray) -> writers.Part:
        done = interventions.generate(model, values, len(places), source=given.source, mean=given.mean, generator=generator)
        record.update(done.record.to_dict())
        return writers.Part([f"new-{place:0{digits}d}" for place in places], done.record.target, done.x)

    def summary() -> dict[str, Any]:
        own = {key: entry for key, entry in record.items() if key not in ("source", "target")}
        options = {**record["options"], "n": given.n, "seed": given.seed, "set": values}
        return {**own, "options": options, **_about(given, model, given.n)}

    _write(given, model, given.n, one, summary)


def _about(given: argparse.Namespace, model: Model, n: int) -> dict[str, Any]:
    return {"samples": n, "model": name_of(model), "run": Path(given.run_directory).resolve().name}


def _write(
    given: argparse.Namespace,
    model: Model,
    n: int,
    one: Callable[[np.ndarray], writers.Part],
    summary: Callable[[], dict[str, Any]],
) -> None:
    with (
        writers.writer(Path(given.out), model, n, summary, given.overwrite) as written,
        terminal.bar(given.command) as progress,
    ):
        for places in of_data.chunks(np.arange(n)):
            written.add(one(places))
            progress(int(places[-1]) + 1, n)
    record = summary()
    if given.json:
        terminal.emit({"out": given.out, **record})
        return
    held, changed = (", ".join(record[part]) or "nothing" for part in ("held", "changed"))
    terminal.say(f"{given.command} of {n:,} samples; changed {changed}; held {held}")
    terminal.say(f"written to {given.out}")


def _chosen(given: argparse.Namespace, model: Model) -> tuple[Dataset, np.ndarray]:
    """The data set that was asked for, and the rows of it."""
    data = open_like(model, given.run_directory, given.data) if given.data else _own(given)
    of_data.check_fit(model, data)
    rows = data.rows(given.split) if given.split else np.arange(len(data))
    if len(rows) == 0:
        raise UserError(f"{data.address} has no sample" + (f" in its {given.split} split" if given.split else ""))
    return data, rows


def _own(given: argparse.Namespace) -> Dataset:
    """The data that the run was trained on."""
    with terminal.bar("reading the run's data") as progress:
        return open_run_data(Run(given.run_directory), progress=progress)
