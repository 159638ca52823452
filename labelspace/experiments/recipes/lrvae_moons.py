"""``lrvae-moons``: three half circles; what is generated under each class while the model trains, and what its codes carry.

Lr-LiVAE and Lr-LiVAE-GAN have the weights that ``labelspace train`` gives them, and draw classes from where their codes lie.
Beside them are the Lr-LiVAE-GAN with the published weights, and that of ours which draws from the Gaussians that tell classes
apart, as published: what is drawn from those is far from any class.
"""

from __future__ import annotations

import copy
import io
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from labelspace import interventions
from labelspace.data.batches import Batches
from labelspace.data.dataset import Dataset
from labelspace.experiments import measures
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import (
    Conclusion,
    Forms,
    Recipe,
    Result,
    Scale,
    Table,
    Verdict,
    by_form,
    by_seed,
    over_seeds,
    paired,
    pick,
    spread,
)
from labelspace.metrics import diversity, generation
from labelspace.models.base import Model
from labelspace.reporting.figures import Scatter, scatters
from labelspace.storage import files
from labelspace.training.progress import Callback

PUBLISHED = (
    "scale=1",
    "reconstruction=null",
    "kl_u=null",
    "gm=1",
    "gaussian=0.1",
    "pull=1",
    "leak=1",
    "target=uniform",
    "drawn=learned",
    "gan=1",
)
"""The published weights of the Lr-LiVAE-GAN; null is the constructor's, which follows from the sizes of data and codes."""
FORMS: Forms = {
    "CVAE-GAN": ("cvae-gan", ()),
    "Lr-LiVAE": ("lr-livae", ()),
    "Lr-LiVAE-GAN": ("lr-livae-gan", ()),
    "Lr-LiVAE-GAN, learned classes": ("lr-livae-gan", ("drawn=learned",)),
    "Lr-LiVAE-GAN, published weights": ("lr-livae-gan", PUBLISHED),
}
_DRAWN = 500  # points a class
_FRAME = ((-3.9, 3.9), (-1.4, 1.4))  # what figures show


class Snapshots(Callback):
    """Writes what a model generates under every class before training and after every fifth of it."""

    def __init__(self, model: Model, data: Dataset, home: Path) -> None:
        self.model, self.data, self.home = model, data, home

    def start(self, epochs: int, steps: int, epoch: int) -> None:
        self.wanted = {round(epochs * part / 5) for part in range(6)}
        if epoch == 0:
            self._write(0)

    def epoch(self, row: dict) -> None:
        if row["epoch"] in self.wanted:
            self._write(row["epoch"])

    def _write(self, epoch: int) -> None:
        shown = copy.deepcopy(self.model).eval()
        shown.calibrate(lambda: Batches(self.data, "train", 256, shuffle=False))  # as at the end of training
        points, moons = generated(shown, self.data)
        buffer = io.BytesIO()
        np.savez(buffer, x=points, moon=moons)
        files.write(self.home / "samples" / f"{epoch:04d}.npz", buffer.getvalue())


class Moons(Recipe):
    """See the module."""

    claim = (
        "an Lr-LiVAE-GAN covers each class's half circle where a CVAE-GAN's points are thin; z_s holds the class, z_u does not"
    )
    paper = "Zheng, Sun 2019, toy data"
    default = "moons:n=12000"
    version = 2

    def jobs(self, scale: Scale, address: str) -> list[Job]:
        seeds, epochs = {"smoke": (1, 2), "cpu": (3, 50), "paper": (3, 50)}[scale]
        if address == self.default:
            address = {"smoke": "moons:n=600", "cpu": address, "paper": "moons:n=1800000"}[scale]
        return [
            Job(model, address, seed=seed, settings=settings, epochs=epochs)
            for seed in range(seeds)
            for model, settings in FORMS.values()
        ]

    def callback(self, job: Job, model: Model, data: Dataset, home: Path) -> Callback:
        return Snapshots(model, data, home)

    def measure(self, job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        rows = data.rows("test")
        real, classes = data.samples(rows).numpy(), data.values[rows, 0].astype(int)
        out: dict[str, Any] = {"leak": measures.leak(model, data, seed=job.seed)["moon"], "classes": {}}
        points, moons = generated(model, data)
        found = diversity.intra_class(points, moons, real, classes)
        for value, name in enumerate(data.schema["moon"].values):
            mine, theirs = points[moons == value], real[classes == value]
            both = generation.precision_recall(theirs, mine)
            out["classes"][name] = {k: s.to_dict() for k, s in both.items()} | {
                "diversity": found[value].ratio,
                "kernel": generation.kernel_distance(theirs, mine).to_dict(),
            }
        return out

    def conclude(self, results: list[Result]) -> Conclusion:
        rows = []
        for name, mine in by_form(results, FORMS).items():
            row = [name]
            for read, form in (
                (lambda f: _mean(f, "diversity"), "{:.2f}"),
                (lambda f: _mean(f, "precision"), "{:.1%}"),
                (lambda f: _mean(f, "recall"), "{:.1%}"),
                (lambda f: _mean(f, "coverage"), "{:.1%}"),
                (lambda f: _mean(f, "kernel"), "{:.4f}"),
                (lambda f: f["leak"]["free"]["value"], "{:.1%}"),
                (lambda f: f["leak"]["own_hidden"]["value"], "{:.1%}"),
            ):
                row.append(spread(over_seeds(mine, read), form))
            rows.append(row)
        header = [
            "model",
            "spread / real spread",
            "precision",
            "recall",
            "coverage",
            "kernel distance",
            "probe of z_u or z",
            "probe of the class block",
        ]
        return Conclusion(_verdicts(results), [Table("Points generated under each class, mean of the three", header, rows)])

    def draw(self, results: list[Result], scale: Scale) -> dict[str, Figure]:
        panels, names = [], []
        for name, mine in by_form(pick(results, seed=0), FORMS).items():
            if not mine or not mine[0].here:
                continue
            result, row = mine[0], []
            for file in sorted((result.home / "samples").glob("*.npz")):
                with np.load(file) as held:
                    x, moon = held["x"], held["moon"]
                row.append(Scatter(x[:, 0], x[:, 1], moon, title=f"after {int(file.stem)} passes", limits=_FRAME))
            data = result.job.open_whole()
            rows = data.rows("test")
            real = data.samples(rows).numpy()
            row.append(Scatter(real[:, 0], real[:, 1], data.values[rows, 0].astype(int), title="real", limits=_FRAME))
            panels.append(row)
            names.append(name.replace(", ", ",\n"))
        return {"points.png": scatters(panels, names, side=1.8)} if panels else {}


@torch.no_grad()
def generated(model: Model, data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Points generated under every class, and their classes; the same draws every time."""
    generator = torch.Generator().manual_seed(0)
    names = data.schema["moon"].values
    drawn = [interventions.generate(model, {"moon": name}, _DRAWN, source="prior", generator=generator) for name in names]
    points = [each.x.numpy() for each in drawn]
    return np.concatenate(points), np.repeat(np.arange(len(names)), _DRAWN)


def _mean(found: dict[str, Any], what: str) -> float:
    values = [c[what] if isinstance(c[what], float) else c[what]["value"] for c in found["classes"].values()]
    return statistics.mean(values)


def _verdicts(results: list[Result]) -> list[Verdict]:
    found = by_form(results, FORMS)
    if not all(found.values()):
        return [Verdict("three half circles", None, "Runs are missing.")]
    out = []
    covered = {n: by_seed(mine, lambda f: _mean(f, "coverage")) for n, mine in found.items()}
    for name in ("Lr-LiVAE-GAN", "Lr-LiVAE"):
        pairs = paired(covered[name], covered["CVAE-GAN"])
        ahead = sum(a > b for a, b in pairs)
        out.append(
            Verdict(
                f"the {name} covers more of each class than the CVAE-GAN (coverage)",
                ahead == len(pairs) if pairs else None,
                f"{spread(covered[name].values(), '{:.1%}')} against {spread(covered['CVAE-GAN'].values(), '{:.1%}')}; "
                f"ahead in {ahead} of {len(pairs)} seeds.",
            )
        )
        free = over_seeds(found[name], lambda f: f["leak"]["free"]["value"])
        own = over_seeds(found[name], lambda f: f["leak"]["own_hidden"]["value"])
        out.append(
            Verdict(
                f"{name}: z_s tells the class (at least 95%), z_u does not (at most 10 points above chance)",
                min(own) >= 0.95 and max(free) <= 1 / 3 + 0.1,
                f"Probe of z_s {spread(own, '{:.1%}')}, of z_u {spread(free, '{:.1%}')}; chance 33.3%.",
            )
        )
    return out
