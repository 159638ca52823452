"""``everywhere``: what models do on data that nobody tuned them to, worst case first.

Every model is trained as ``labelspace train`` trains it, without any option, on data of many kinds: pictures, letters, sheets,
a table and counts; with labels that go together, that imply each other, that are rare, of all kinds. What it achieves is
measured by :mod:`labelspace.evaluation.scorecard`: every figure between its floor and its ceiling. A cell of the map is a
figure on one kind of data: the worst label of the worst seed. It *holds* where that reaches nine tenths of the way.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from labelspace import interventions
from labelspace.data import sources
from labelspace.data.dataset import Dataset
from labelspace.evaluation import scorecard
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Recipe, Result, Scale, Table, pick, to_draw
from labelspace.experiments.verdicts import SEEDS, Claim, Group, Part, Quantity, dig, least
from labelspace.models.base import Model
from labelspace.reporting.figures import Grid, Sheet, grids, sheets

MODELS = ("lsvae", "csvae", "ccvae", "lr-livae", "condvae-info", "vae")
"""The default first: its runs are made first. The VAE is edited by attribute vectors, and is what reconstructions are held
against."""
HOLDS = 0.9
"""Of the way from floor to ceiling."""
_SEEDS: dict[Scale, range] = {"smoke": SEEDS[:1], "cpu": SEEDS, "paper": SEEDS}
_EFFORT: dict[Scale, float] = {"smoke": 0.05, "cpu": 1.0, "paper": 1.0}
_EDITED: dict[Scale, int] = {"smoke": 40, "cpu": scorecard.EDITED, "paper": 1000}
_FRESH = 1000  # seeds from here on are of samples that no model was trained on
_SHOWN = 6  # samples in a strip


@dataclass(frozen=True)
class Domain:
    """A kind of data.

    Attributes:
        address: of the data, without a size of the images.
        labels: those that are used; None is all.
        n: samples at ``--scale cpu``; 0 where the data have a number of their own. At ``paper`` four times as many.
        image: whether they are pictures, which have a size.
        measured: samples that are drawn to be measured on, where ``n`` leaves too few; 0: measured on their own test split.
    """

    address: str
    labels: tuple[str, ...] | None = None
    n: int = 0
    image: bool = False
    measured: int = 0

    def at(self, scale: Scale) -> str:
        """The address at a scale."""
        return self._address(self.n * 4 if scale == "paper" else min(self.n, 400) if scale == "smoke" else self.n, scale)

    def to_measure(self, scale: Scale) -> str:
        """The address of what models are measured on."""
        if scale == "smoke":
            return self._address(400, scale)
        return self._address(self.measured, scale) if self.measured else self.at(scale)

    def _address(self, n: int, scale: Scale) -> str:
        options = [f"n={n}"] if n else []
        if self.image:
            options.append(f"size={16 if scale == 'smoke' else 32}")
        joint = "," if ":" in self.address else ":"
        return self.address + (joint + ",".join(options) if options else "")


_THREE = ("Eyeglasses", "Beard", "Smiling")
DOMAINS: dict[str, Domain] = {
    "faces": Domain("faces", _THREE, 8000, True),
    "faces, correlated": Domain("faces:correlated=true", (*_THREE, "Wearing_Hat"), 8000, True),
    "faces, implied": Domain("faces:implied=true", _THREE, 8000, True),
    "faces, rare": Domain("faces:rare=true", _THREE, 8000, True, measured=20_000),
    "faces, all labels": Domain("faces", None, 8000, True),
    "faces, few": Domain("faces", _THREE, 1500, True, measured=8000),
    "sprites": Domain("sprites", ("shape", "scale", "x", "y"), 8000, True),
    "album": Domain("album", None, 2000, True),
    "Swiss roll, height": Domain("swiss-roll", None, 5000),
    "Swiss roll, x": Domain("swiss-roll:cut=x", None, 5000),
    "patients": Domain("patients", None, 5000),
    "patients, few": Domain("patients", None, 200, measured=5000),
    "cells": Domain("cells", None, 5000),
}
"""Built in. What ``--data`` names comes on top: glyphs of a font, MNIST, or any other data."""
_SMOKE = ("faces, implied", "patients, few", "cells")


class Everywhere(Recipe):
    """See the module."""

    claim = "an edit changes what it should and nothing else, on data that the model was not tuned to, without an option"
    paper = "ours"
    default = "digits"
    version = 2

    def jobs(self, scale: Scale, address: str) -> list[Job]:
        smoke = scale == "smoke"
        domains = {name: domain for name, domain in DOMAINS.items() if not smoke or name in _SMOKE}
        addresses = [(domain.at(scale), domain.labels) for domain in domains.values()]
        addresses += [] if smoke else [(given, None) for given in beside(address)]
        models = MODELS[:1] if smoke else MODELS
        return [
            Job(model, given, labels, seed, epochs=2 if smoke else None)
            for model in models
            for seed in _SEEDS[scale]
            for given, labels in addresses
        ]

    def measure(self, job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        domain, measured = DOMAINS.get(domain_of(job)), data
        if domain is not None and domain.to_measure(scale) != job.address:
            measured = sources.open(domain.to_measure(scale), job.labels, seed=_FRESH + job.seed)
        return {"figures": scorecard.measure(model, measured, data, seed=job.seed, most=_EDITED[scale], effort=_EFFORT[scale])}

    def groups(self, results: list[Result]) -> dict[str, Group]:
        """The figures of the first model's runs, by kind of data, reconstructions beside those of the plain VAE."""
        mine = pick(results, model=MODELS[0])
        found: dict[str, Group] = {}
        for result, figures in zip(mine, _figures(mine, results), strict=True):
            domain = domain_of(result.job)
            found[domain] = {**found.get(domain, {}), result.job.seed: figures}
        return found

    def claims(self, groups: Mapping[str, Group]) -> list[Claim]:
        parts = [
            Part(
                Quantity(f"{figure} (worst label's share)", lambda f, figure=figure: least(_shares(f, figure))),
                domain,
                "above",
                HOLDS,
            )
            for domain, runs in groups.items()
            for figure in scorecard.FIGURES
            if any(least(_shares(found, figure)) is not None for found in runs.values())
        ]
        says = f"{MODELS[0]} reaches {HOLDS:.0%} of the way from floor to ceiling in every figure on every kind of data"
        nothing = Part(Quantity("its share", lambda _: None), MODELS[0], "above", HOLDS)
        return [Claim(says, tuple(parts) or (nothing,), shown=5)]

    def tables(self, results: list[Result]) -> list[Table]:
        found = maps(results)
        return [_summary(found, results), *(_table(*item) for item in found.items()), _judges(results)]

    def draw(self, results: list[Result], scale: Scale) -> dict[str, Figure]:
        found = maps(results)
        figures = {"map.png": _map(found)} if found else {}
        for result in to_draw(pick(results, model=MODELS[0])):
            data = result.job.open_whole()
            if data.is_image:
                name = domain_of(result.job).replace(", ", "-").replace(" ", "-").replace(":", "-")
                figures[f"strip-{name}.png"] = _strip(result.model(), data, domain_of(result.job))
        return figures


def beside(address: str) -> list[str]:
    """The addresses that ``--data`` names, several of them set apart by ';'."""
    return [part.strip() for part in address.split(";") if part.strip()]


def domain_of(job: Job) -> str:
    """What a job's kind of data is called: its name here, or that of its source."""
    return _names().get((job.address, job.labels), job.address.partition(":")[0])


@functools.cache
def _names() -> dict[tuple[str, tuple[str, ...] | None], str]:
    return {(domain.at(scale), domain.labels): name for scale in _SEEDS for name, domain in DOMAINS.items()}


# -- the map ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """A figure on one kind of data: the worst label of the worst seed.

    Attributes:
        share: of the way from floor to ceiling.
        value, floor, ceiling: of that label and seed.
        where: that label.
        seed: that seed.
    """

    share: float
    value: float
    floor: float
    ceiling: float
    where: str
    seed: int

    def __str__(self) -> str:
        where = "" if self.where == "x" else f" {self.where}"
        return f"{self.share:.2f}: {self.value:.3g} ({self.floor:.3g} to {self.ceiling:.3g}){where}"


Map = dict[str, dict[str, Cell]]
"""Kind of data -> figure -> cell; what cannot be said is left out."""


def maps(results: list[Result]) -> dict[str, Map]:
    """Model -> its map."""
    found: dict[str, Map] = {}
    for result, figures in zip(results, _figures(results, results), strict=True):
        job = result.job
        row = found.setdefault(job.model, {}).setdefault(domain_of(job), {})
        for figure in scorecard.FIGURES:
            least = scorecard.worst(figures.get(figure, {}))
            if least is not None and (figure not in row or least[1]["share"] < row[figure].share):
                where, e = least
                row[figure] = Cell(e["share"], e["value"], e["floor"], e["ceiling"], where, job.seed)
    return found


def _figures(of: list[Result], results: list[Result]) -> list[dict[str, Any]]:
    """The figures of some runs, with the error of a plain VAE on the same data as the ceiling of their reconstructions."""
    errors = {
        (result.job.address, result.job.labels, result.job.seed): result.measured["figures"]["reconstruction"]["x"]["value"]
        for result in pick(results, model="vae")
    }
    found = []
    for result in of:
        figures = dict(result.measured["figures"])
        plain = errors.get((result.job.address, result.job.labels, result.job.seed))
        figures["reconstruction"] = {} if plain is None else against(figures["reconstruction"], plain)
        found.append(figures)
    return found


def _shares(figures: Mapping[str, Any], figure: str) -> list[float]:
    """The shares of a figure's labels that can be told."""
    return [entry["share"] for entry in (dig(figures, figure) or {}).values() if entry["share"] is not None]


def against(reconstruction: dict[str, Any], plain: float) -> dict[str, Any]:
    """The entry of a reconstruction error with that of a plain VAE as its ceiling: half its share where it errs twice as
    much."""
    entry = reconstruction["x"]
    share = float(np.clip(plain / max(entry["value"], 1e-12), 0, 1))
    return {"x": {**entry, "ceiling": plain, "share": share}}


def share_that_holds(found: Map, least: float = HOLDS) -> tuple[int, int]:
    """Cells of a map that hold, and all cells."""
    shares = [cell.share for row in found.values() for cell in row.values()]
    return sum(share >= least for share in shares), len(shares)


def _summary(found: dict[str, Map], results: list[Result]) -> Table:
    rows = []
    for model, cells in found.items():
        held, n = share_that_holds(cells)
        shares = [cell.share for row in cells.values() for cell in row.values()]
        mine = pick(results, model=model)
        rows.append(
            [
                model,
                f"{held / max(n, 1):.0%} ({held} of {n})",
                *(f"{share_that_holds(cells, least)[0] / max(n, 1):.0%}" for least in (0.8, 0.5)),
                f"{statistics.median(shares):.2f}" if shares else "-",
                str(len(mine)),
                f"{max(r.seconds for r in mine) / 60:.1f} minutes",
                str(sum(r.skipped for r in mine)),
            ]
        )
    header = [
        "model",
        "cells that hold",
        "share of 0.8",
        "share of 0.5",
        "median share",
        "trained",
        "longest",
        "steps not taken",
    ]
    return Table(f"Cells that hold: a share of at least {HOLDS:g}; beside them, of at least 0.8 and 0.5", header, rows)


def _table(model: str, found: Map) -> Table:
    figures = [figure for figure in scorecard.FIGURES if any(figure in row for row in found.values())]
    rows = [[domain, *(str(row[f]) if f in row else "-" for f in figures)] for domain, row in found.items()]
    return Table(
        f"{model}: share of the way, then the figure (floor to ceiling), worst label of the worst seed",
        ["data", *figures],
        rows,
    )


def _judges(results: list[Result]) -> Table:
    """What the judges read, of true counterfactuals where these are known."""
    rows = []
    for domain in dict.fromkeys(domain_of(r.job) for r in results):
        entries = [
            (where, entry)
            for r in results
            if domain_of(r.job) == domain
            for where, entry in r.measured["figures"].get("read as set", {}).items()
        ]
        if entries:
            where, entry = min(entries, key=lambda item: item[1]["ceiling"])
            rows.append([domain, f"{entry['ceiling']:.3f}", where])
    return Table(
        "What the judge reads off true counterfactuals (off real samples where there are none), worst",
        ["data", "judge reads", "label"],
        rows,
    )


def _map(found: dict[str, Map]) -> Figure:
    panels = []
    for model, cells in found.items():
        values = np.array([[row[f].share if f in row else np.nan for f in scorecard.FIGURES] for row in cells.values()])
        panels.append(Grid(values, list(cells), scorecard.FIGURES, model, top=1.0))
    return grids(panels, cell=0.42, columns=2)


@torch.no_grad()
def _strip(model: Model, data: Dataset, title: str) -> Figure:
    """Samples, their reconstructions, and each label set to another value."""
    rows = data.rows("test")[:_SHOWN]
    x, labels = data.samples(rows), data.labels(rows)
    codes = model.encode(x, *labels).map(lambda q: q.mode)
    lines, names = [x, model.decode(codes).mean_like(x)], ["samples", "reconstructions"]
    for i, label in enumerate(data.schema):
        values = range(len(label.values)) if label.discrete else (label.mean - label.scale, label.mean + label.scale)
        for value in list(values)[:4]:
            if not label.discrete or bool((labels[0][:, i] != value).any()):
                name = label.format(float(value))
                lines.append(interventions.set(model, x, {label.name: name}, labels).x)
                names.append(f"{label.name} = {name:.2g}" if isinstance(name, float) else f"{label.name} = {name}")
    return sheets([Sheet(title, torch.stack(lines).clamp(0, 1), names, apart=(2, 0))])
