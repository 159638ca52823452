"""``lrvae-classes``: the same as ``lrvae-digits`` on colour images with one label of several classes.

The paper's sets (FaceScrub, CIFAR-10) are not built in; drawn faces by the colour of their skin are. ``--data folder:DIR`` with
one directory a class runs it on others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from torch import Tensor

from labelspace.data import sources
from labelspace.data.dataset import Dataset
from labelspace.evaluation import judge
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Scale
from labelspace.experiments.recipes.csvae_faces import OnFaces
from labelspace.experiments.recipes.lrvae_digits import Digits
from labelspace.experiments.recipes.lrvae_moons import PUBLISHED
from labelspace.experiments.verdicts import SEEDS


class Classes(Digits):
    """See the module."""

    default = "faces:n=6000,size=24"
    scaled = OnFaces.scaled
    needs = ""
    labels = ("Skin_Color",)
    common = ()
    published = PUBLISHED
    sizes: ClassVar[dict[Scale, tuple[range, int | None, int]]] = {
        "smoke": (SEEDS[:1], 1, 10),
        "cpu": (SEEDS, 12, 200),
        "paper": (SEEDS, 100, 1000),
    }
    kept = "glasses, beard and smile of the other face, each at least 90%"
    enough = 0.9

    def jobs(self, scale: Scale, address: str) -> list[Job]:
        jobs = super().jobs(scale, self.at(scale, address))
        return jobs if address == self.default else [replace(job, labels=None) for job in jobs]

    def style(self, data: Dataset, rows: np.ndarray, donors: np.ndarray, made: Tensor) -> dict[str, float]:
        """How often a judge reads the labels of the face that z_u is of, off a made face; nothing on other data."""
        if data.truth is None or sources.parts(data.address)[0] != "faces":
            return {}
        named = ("Eyeglasses", "Beard", "Smiling")
        whole = sources.open(data.address, named, seed=data.seed)
        read = judge.of(whole, data.seed).read(made)
        theirs = whole.labels(rows)[0]
        return {name: float((read[:, i] == theirs[:, i]).float().mean()) for i, name in enumerate(named)}
