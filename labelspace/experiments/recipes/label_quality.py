"""``label-quality``: what scarce and wrong labels cost an LSVAE and a CCVAE.

Our own question: the labels of 1%, 10% or all samples, and 0%, 10% or 30% of them wrong. Measured on samples whose labels are
all there and right: prediction, and edits as a judge reads them.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from labelspace.data.dataset import Dataset
from labelspace.evaluation import judge
from labelspace.experiments import comparison, measures
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Conclusion, Recipe, Result, Scale, Table, Verdict, over_seeds, pick, spread
from labelspace.experiments.recipes.ccvae_supervision import mean_accuracy
from labelspace.experiments.recipes.csvae_faces import FACES
from labelspace.models.base import Model
from labelspace.reporting.figures import Grid, grids

MODELS = {"lsvae": "LSVAE", "ccvae": "CCVAE"}
RATES, WRONG = (1.0, 0.1, 0.01), (0.0, 0.1, 0.3)


class LabelQuality(Recipe):
    """See the module."""

    claim = "scarce and wrong labels cost predictions and edits; how much, for an LSVAE and a CCVAE"
    paper = "our own; the limit that Klys, Snell, Zemel 2018 name"
    default = "faces:n=6000,size=32"
    judged = True
    kinds = ("binary",)

    def jobs(self, scale: Scale, address: str) -> list[Job]:
        seeds, epochs = {"smoke": (1, 1), "cpu": (1, 12), "paper": (5, None)}[scale]
        address = "faces:n=400,size=16" if scale == "smoke" and address == self.default else address
        rates, wrong = ((1.0, 0.2), (0.0, 0.3)) if scale == "smoke" else (RATES, WRONG)
        labels = FACES if address.partition(":")[0] == "faces" else None
        return [
            Job(name, address, labels, seed, supervision=rate, label_noise=share, epochs=epochs)
            for seed in range(seeds)
            for rate in rates
            for share in wrong
            for name in MODELS
        ]

    def measure(self, job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        reader = judge.train(data, seed=job.seed)
        rows = data.rows("test")
        named = [label.name for label in data.schema if label.kind == "binary"]
        return {
            "accuracy": comparison.accuracy(model.predict, data),
            "edits": {name: measures.edited(model, data, reader, rows, name, job.seed) for name in named},
        }

    def conclude(self, results: list[Result]) -> Conclusion:
        tables = [
            _table(results, title, read)
            for title, read in (("Accuracy of predictions", _accuracy), ("Edits that the judge reads as asked", _transfer))
        ]
        return Conclusion(_verdicts(results), tables)

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
    return Table(f"{title}: mean of the labels, mean and range of {seeds} seeds", header, rows)


def _verdicts(results: list[Result]) -> list[Verdict]:
    rates, wrong = _grid(results)
    if not results:
        return [Verdict("what labels cost", None, "Runs are missing.")]
    out = []
    for name, shown in MODELS.items():
        for what, read in (("predictions", _accuracy), ("edits", _transfer)):

            def at(rate: float, share: float, name=name, read=read) -> float | None:
                values = over_seeds(_at(results, name, rate, share), read)
                return statistics.mean(values) if values else None

            best, rare, false = at(rates[0], wrong[0]), at(rates[-1], wrong[0]), at(rates[0], wrong[-1])
            if best is None or rare is None or false is None:
                out.append(Verdict(f"{shown}: what scarce and wrong labels cost its {what}", None, "Runs are missing."))
                continue
            out.append(
                Verdict(
                    f"{shown}: {what} lose less than five points with {rates[-1]:.0%} of the labels, or {wrong[-1]:.0%} "
                    f"of them wrong",
                    (best - rare < 0.05 and best - false < 0.05) if best >= 0.8 else None,
                    f"{best:.1%} with all labels right, {rare:.1%} with {rates[-1]:.0%} of them, {false:.1%} with "
                    f"{wrong[-1]:.0%} wrong.",
                )
            )
    return out
