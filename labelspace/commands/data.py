"""``labelspace data``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from labelspace import cores, terminal
from labelspace.data import sources, store
from labelspace.data.dataset import Dataset
from labelspace.data.reading import TITLES, Reading
from labelspace.errors import UserError
from labelspace.models.base import Model
from labelspace.training.trained import Trained

_MOST_SHOWN = 40
_MEASURED = 2000  # samples that variances are of


def data(given: argparse.Namespace) -> None:
    """``data list``, ``data inspect ADDRESS`` and ``data build ADDRESS``."""
    if given.action == "list":
        rows = []
        for name in sources.OWN.names():
            try:
                source = sources.source(name)
            except UserError as error:  # of an installed package
                terminal.say(f"note: {error}")
            else:
                rows.append((name, source.form, source.about))
        if given.json:
            terminal.emit([dict(zip(("name", "address", "about"), row, strict=True)) for row in rows])
        else:
            terminal.table(["name", "address", "what it is"], rows)
        return
    if not given.address:
        raise UserError(f"data {given.action} needs an address; labelspace data list prints all")
    cores.check(given.workers, "--workers")
    if given.workers < 0:
        raise UserError(f"--workers must be 1 or more, or 0 for one a core; got {given.workers}")
    building = given.action == "build"
    with store.watched(given.workers) as stores:
        found = open_data(given.address, given.labels, given.seed, group=given.group, training=not building)
    if given.json:
        terminal.emit(found.describe() | ({"stores": [_facts(built) for built in stores]} if building else {}))
    elif not building:
        _print(found)
    else:
        terminal.say("; ".join((f"{found.address}: {len(found):,} samples ready", *found.notes)))
        if not stores:
            terminal.say("nothing had to be built: this source keeps its samples in memory")
        for fact in map(_facts, stores):
            made = (
                f"{fact['drawn']:,} images in {fact['seconds']:.1f} s, {fact['images_per_second']:,.0f} a second"
                if fact["drawn"]
                else "it was there already"
            )
            terminal.say(f"store: {made}; {fact['bytes'] / 1e6:,.1f} MB in {fact['place']}")


def _facts(built: store.Built) -> dict:
    """What is said of a store, as plain data."""
    return {
        "place": str(built.home),
        "bytes": sum(file.stat().st_size for file in built.home.iterdir()),
        "images": len(built.x),
        "drawn": built.drawn,
        "seconds": built.seconds,
        "images_per_second": built.drawn / built.seconds if built.drawn else None,
    }


def open_data(
    address: str,
    labels: str | None,
    seed: int,
    supervision: float = 1.0,
    label_noise: float = 0.0,
    *,
    group: str = "",
    training: bool = True,
) -> Dataset:
    """Opens a data set with a progress bar; ``labels`` is a text with commas."""
    names = [name.strip() for name in labels.split(",")] if labels else None
    with terminal.bar(f"reading {address}") as progress:
        return sources.open(
            address,
            names,
            seed=seed,
            supervision=supervision,
            label_noise=label_noise,
            group=group,
            training=training,
            progress=progress,
        )


def open_like(model: Model, home: str, address: str, labels: Sequence[str] | None = None) -> Dataset:
    """Opens data that a trained model is to read, split as for its training where they are the data that it was trained on.

    Args:
        model: the model.
        home: its run directory, or where it is saved.
        address: of the data.
        labels: labels that the data have to have; by default the model's, where they are there.
    """
    with terminal.bar(f"reading {address}") as progress:
        return Trained(model, Path(home)).data(address, labels, progress)


def _print(found: Dataset) -> None:
    about = found.describe()
    low, high = about["range"]
    splits = ", ".join(f"{name} {n:,}" for name, n in about["splits"].items())
    shape = " x ".join(str(side) for side in about["shape"])
    print(f"{about['address']}: {about['samples']:,} samples ({splits})")
    if found.likelihood.startswith("table"):
        print(f"each is a row of {shape} columns, {about['missing_cells']:,} cells missing")
    else:
        print(f"each is {'an image' if found.is_image else 'a vector'} of {shape}, entries in [{low:g}, {high:g}]")
    if about["truth"]:
        print("drawn from known factors: true counterfactuals can be drawn")
    for note in about["notes"]:
        print(f"note: {note}")
    rows = []
    for label in about["labels"]:
        if "counts" in label:
            known = sum(label["counts"].values()) or 1
            values = "  ".join(f"{name}: {n:,} ({100 * n / known:.0f}%)" for name, n in label["counts"].items())
        else:
            values = f"mean {label['mean']:.4g}, sd {label['sd']:.4g}"
        rows.append((label["name"], label["kind"], values, f"{label['missing']:,}"))
    terminal.table(["label", "kind", "values", "missing"], rows)
    if "variables" in about:
        named = about["variables"]
        if len(named) > _MOST_SHOWN:
            spread = np.nanvar(found.x[:_MEASURED], 0)
            named = [named[i] for i in np.argsort(-np.nan_to_num(spread), kind="stable")]
            print("\ncolumns by their variance, the largest first")
        _print_variables(named)
    if found.reading is not None and found.reading.columns:
        print_reading(found.reading)


def print_reading(reading: Reading) -> None:
    """What the columns were read as; of many those that say more than that."""
    rows = reading.rows()
    shown = (
        rows if len(rows) <= _MOST_SHOWN else [row for row in rows if row[3] or row[4] or row[1] == "left out"][:_MOST_SHOWN]
    )
    if not shown:
        return
    print()
    terminal.table(TITLES, shown)
    if len(rows) > len(shown):
        print(f"and {len(rows) - len(shown):,} more columns; --json shows all")


def _print_variables(variables: list[dict]) -> None:
    rows = []
    for variable in variables[:_MOST_SHOWN]:
        if "counts" in variable:
            values = "  ".join(f"{name}: {n:,}" for name, n in variable["counts"].items())
        else:
            values = "{:g} to {:g}".format(*variable["range"]) if "range" in variable else ""
        rows.append((variable["name"], variable["kind"], values, f"{variable['missing']:,}"))
    print()
    terminal.table(["column", "kind", "values", "missing"], rows)
    if len(variables) > _MOST_SHOWN:
        print(f"and {len(variables) - _MOST_SHOWN:,} more columns; --json shows all")
