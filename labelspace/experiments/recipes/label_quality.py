"""``label-quality``: what scarce and wrong labels cost an LSVAE and a CCVAE.

Our own question: the labels of 1%, 10% or all samples, and 0%, 10% or 30% of them wrong. Measured on samples whose labels are
all there and right: prediction, and edits as a judge reads them.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from labelspace.data.dataset import Dataset
from labelspace.evaluation import judge
from labelspace.experiments import comparison, measures
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Recipe, Result, Scale, Table, by_seed, over_seeds, pick, spread
from labelspace.experiments.recipes.ccvae_supervision import mean_accuracy
from labelspace.experiments.recipes.csvae_faces import OnFaces, used
from labelspace.experiments.verdicts import SEEDS, Claim, Group, Part, Quantity, mean_rate
from labelspace.models.base import Model
from labelspace.reporting.figures import Grid, grids

MODELS = {"lsvae": "LSVAE", "ccvae": "CCVAE"}
RATES, WRONG = (1.0, 0.1, 0.01), (0.0, 0.1, 0.3)


class LabelQuality(Recipe):
    """See the module."""

    claim = "scarce and wrong labels cost predictions and edits; how much, for an LSVAE and a CCVAE"
    paper = "our own; the limit that Klys, Snell, Zemel 2018 name"
    default = "faces:n=4000,size=24"
    scaled = OnFaces.scaled
    judged = True
    kinds = ("binary",)
    version = 2

    def jobs(self, scale: Scale, address: str) -> list[Job]:
        seeds, epochs = (SEEDS[:1], 1) if scale == "smoke" else (SEEDS, None)
        address = self.at(scale, address)
        rates, wrong = ((1.0, 0.2), (0.0, 0.3)) if scale == "smoke" else (RATES, WRONG)
        claimed = {(rates[0], wrong[0]), (rates[-1], wrong[0]), (rates[0], wrong[-1])}
        # What is claimed takes five seeds, the rest of the grid one.
        return [
            Job(name, address, used(address), seed, supervision=rate, label_noise=share, epochs=epochs)
            for seed in seeds
            for rate in rates
            for share in wrong
            if seed == seeds[0] or (rate, share) in claimed
            for name in MODELS
        ]

    def measure(self, job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        reader = judge.of(data, job.seed)
        rows = data.rows("test")
        named = [label.name for label in data.schema if label.kind == "binary"]
        return {
            "accuracy": comparison.accuracy(model.predict, data),
            "edits": {name: measures.edited(model, data, reader, rows, name, job.seed) for name in named},
        }

    def groups(self, results: list[Result]) -> dict[str, Group]:
        rates, wrong = _grid(results)
        return {
            _named(shown, r, w): by_seed(_at(results, name, r, w))
            for name, shown in MODELS.items()
            for r in rates
            for w in wrong
        }

    def claims(self, groups: Mapping[str, Group]) -> list[Claim]:
        """Each loss on its own scale: five points, where there was something to lose."""
        rates = sorted({_condition(name)[0] for name in groups}, reverse=True) or [*RATES]
        wrong = sorted({_condition(name)[1] for name in groups}) or [*WRONG]
        out = []
        for shown in MODELS.values():
            whole = _named(shown, rates[0], wrong[0])
            worse = (_named(shown, rates[-1], wrong[0]), _named(shown, rates[0], wrong[-1]))
            for what, quantity in (("predictions", PREDICTED), ("edits", EDITED)):
                out.append(
                    Claim(
                        f"{shown}: {what} lose less than five points with {rates[-1]:.0%} of the labels, or {wrong[-1]:.0%} "
                        "of them wrong",
                        tuple(Part(quantity, name, "above", (whole,), by=-0.05) for name in worse),
                        given=(Part(quantity, whole, "above", 0.8),),
                    )
                )
        return out

    def tables(self, results: list[Result]) -> list[Table]:
        return [
            _table(results, title, read)
            for title, read in (("Accuracy of predictions", _accuracy), ("Edits that the judge reads as asked", _transfer))
        ]

    def draw(self, results: list[Result], scale: Scale) -> dict[str, Figure]:
        rates, wrong = _grid(results)
        panels = []
        for name, shown in MODELS.items():
            for what, read in (("accuracy", _accuracy), ("edits", _transfer)):
                cells = [[over_seeds(_at(results, name, r, w), read) for w in wrong] for r in rates]
                values = np.array([[statistics.mean(cell) if cell else np.nan for cell in row] for row in cells])
                panels.append(
                    Grid(
                        values,
                        [f"{r:.0%} labelled" for r in rates],
                        [f"{w:.0%} wrong" for w in wrong],
                        f"{shown}: {what}",
                        "{:.0%}",
                    )
                )
        return {"grid.png": grids(panels, cell=0.75)}


def _accuracy(found: dict[str, Any]) -> float:
    return mean_accuracy(found["accuracy"])


def _transfer(found: dict[str, Any]) -> float:
    return statistics.mean(edit["judge"]["value"] for edit in found["edits"].values())


def _grid(results: list[Result]) -> tuple[list[float], list[float]]:
    return sorted({r.job.supervision for r in results}, reverse=True), sorted({r.job.label_noise for r in results})


def _at(results: list[Result], model: str, rate: float, wrong: float) -> list[Result]:
    return pick(results, model=model, supervision=rate, label_noise=wrong)


def _table(results: list[Result], title: str, read) -> Table:
    rates, wrong = _grid(results)
    rows = [
        [shown, f"{rate:.0%}", *(spread(over_seeds(_at(results, name, rate, w), read), "{:.1%}") for w in wrong)]
        for name, shown in MODELS.items()
        for rate in rates
    ]
    header = ["model", "labelled", *(f"{w:.0%} of labels wrong" for w in wrong)]
    seeds = len({r.job.seed for r in results})
    return Table(f"{title}: mean of the labels, mean and range of {seeds} seeds (one where no range is)", header, rows)


def _named(shown: str, rate: float, wrong: float) -> str:
    return f"{shown}, {rate:g} labelled, {wrong:g} wrong"


def _condition(name: str) -> tuple[float, float]:
    """Share of labels and share of wrong ones, of a group's name."""
    _, labelled, wrong = name.split(", ")
    return float(labelled.split()[0]), float(wrong.split()[0])


PREDICTED = Quantity("accuracy", lambda f: mean_rate(f["accuracy"].values()), "{:.1%}")
EDITED = Quantity("read as asked", lambda f: mean_rate(edit["judge"] for edit in f["edits"].values()), "{:.1%}")
