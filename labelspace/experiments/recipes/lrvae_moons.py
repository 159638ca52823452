"""``lrvae-moons``: three half circles; what is generated under each class while the model trains, and what its codes carry.

Lr-LiVAE and Lr-LiVAE-GAN have the weights that ``labelspace train`` gives them, and draw classes from where their codes lie.
Beside them are the Lr-LiVAE-GAN with the published weights, and that of ours which draws from the Gaussians that tell classes
apart, as published: what is drawn from those is far from any class.
"""

from __future__ import annotations

import copy
import io
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure

from labelspace import interventions
from labelspace.data.batches import Batches
from labelspace.data.dataset import Dataset
from labelspace.experiments import measures
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Forms, Recipe, Result, Scale, Table, by_form, by_seed, over_seeds, spread, to_draw
from labelspace.experiments.verdicts import SEEDS, Claim, Found, Group, Part, Quantity, Seen, dig, rate
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
    scaled: ClassVar[Mapping[Scale, str]] = {"smoke": "moons:n=600", "paper": "moons:n=1800000"}
    version = 3

    def jobs(self, scale: Scale, address: str) -> list[Job]:
        seeds, epochs = {"smoke": (SEEDS[:1], 2), "cpu": (SEEDS, 50), "paper": (SEEDS, 50)}[scale]
        address = self.at(scale, address)
        return [
            Job(model, address, seed=seed, settings=settings, epochs=epochs)
            for seed in seeds
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

    def groups(self, results: list[Result]) -> dict[str, Group]:
        return {name: by_seed(mine) for name, mine in by_form(results, FORMS).items()}

    def claims(self, groups: Mapping[str, Group]) -> list[Claim]:
        covered = Quantity("coverage", lambda f: _mean(f, "coverage"), "{:.1%}")
        out = []
        for name in ("Lr-LiVAE-GAN", "Lr-LiVAE"):
            says = f"the {name} covers more of each class than the CVAE-GAN (coverage)"
            out += [Claim(says, (Part(covered, name, "above", ("CVAE-GAN",)),)), separated(name, leak_of)]
        return out

    def tables(self, results: list[Result]) -> list[Table]:
        rows = []
        for name, mine in by_form(results, FORMS).items():
            row = [name]
            for read, form in (
                (lambda f: _mean(f, "diversity"), "{:.2f}"),
                (lambda f: _mean(f, "precision"), "{:.1%}"),
                (lambda f: _mean(f, "recall"), "{:.1%}"),
                (lambda f: _mean(f, "coverage"), "{:.1%}"),
                (lambda f: _mean(f, "kernel"), "{:.4f}"),
                *((lambda f, key=key: told(f["leak"], *key), "{:.1%}") for key in PLACES.values()),
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
            *PLACES,
        ]
        return [Table("Points generated under each class, mean of the three", header, rows)]

    def draw(self, results: list[Result], scale: Scale) -> dict[str, Figure]:
        panels, names = [], []
        for name, mine in by_form(to_draw(results), FORMS).items():
            if not mine:
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


def _mean(found: Found, what: str) -> float:
    values = [c[what] if isinstance(c[what], float) else c[what]["value"] for c in found["classes"].values()]
    return statistics.mean(values)


def leak_of(found: Found) -> Any:
    """What readers said of the class."""
    return found.get("leak")


PLACES = {
    "draws of z_u or z tell": ("free", "draws"),
    "means of z_u or z tell": ("free", "means"),
    "draws of the class block tell": ("own_hidden", "draws"),
}
"""Columns of what readers say of the class -> where."""


def told(leak: Any, place: str, of: str) -> float | None:
    """Balanced accuracy with which the class is read somewhere."""
    return dig(leak, place, of, "balanced_accuracy", "value")


def separated(name: str, leak: Callable[[Found], Any]) -> Claim:
    """That z_s tells the class and z_u does not: of draws, which is what the decoder gets."""

    def above_chance(found: Found) -> float | None:
        value = told(leak(found), "free", "draws")
        return None if value is None else value - leak(found)["chance"]

    def own(found: Found) -> Seen | None:
        return rate(dig(leak(found), "own_hidden", "draws", "balanced_accuracy"))

    return Claim(
        f"{name}: draws of z_s tell the class (at least 95%), draws of z_u do not (at most 10 points above chance)",
        (
            Part(Quantity("balanced accuracy off draws of z_s (label hidden)", own, "{:.1%}"), name, "above", 0.95),
            Part(Quantity("balanced accuracy off draws of z_u above chance", above_chance, "{:.1%}"), name, "below", 0.1),
        ),
    )
