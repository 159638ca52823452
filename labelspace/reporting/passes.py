"""What a model makes of a few samples after every pass over the data: one picture that grows while it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labelspace import interventions
from labelspace.blocks import modes
from labelspace.data.dataset import Dataset
from labelspace.models.base import Model
from labelspace.reporting import figures
from labelspace.training.progress import Callback

_SAMPLES, _MOST = 2, 24  # of the picture: samples, and rows after which every second is left out


class Passes(Callback):
    """A picture with a row for every pass: samples as they are reconstructed, and with the way of having a label of a donor,
    another sample that has another value. Transfers need nothing that is measured only when training is over.

    Args:
        model: the model that is trained; its samples are images.
        data: the data, whose validation samples are shown, or training samples where there are none.
        path: of the picture, .png or as :func:`labelspace.reporting.figures.write` has it.
        labels: whose blocks are exchanged.
    """

    def __init__(self, model: Model, data: Dataset, path: Path, labels: tuple[str, ...]) -> None:
        self.model, self.path, self.names = model, path, labels
        rows = data.rows("val" if "val" in data.splits else "train")
        shown = rows[:_SAMPLES]
        self.x, self.labels = data.samples(shown), data.labels(shown)
        self.donors = []
        for name in labels:
            values = data.values[:, data.schema.index(name)]
            others = [next((row for row in rows if values[row] != values[one]), one) for one in shown]
            self.donors.append((data.samples(others), data.labels(others)))
        given = torch.stack([self.x, *(donors for donors, _ in self.donors)], 1)
        self.rows: list[tuple[str, Tensor]] = [("samples, donors", given.flatten(0, 1))]

    def epoch(self, row: dict[str, Any]) -> None:
        trained, place = self.model.training, self.model.label_parameters.device
        self.model.eval()
        with torch.no_grad():
            x, values, observed = (part.to(place) for part in (self.x, *self.labels))
            made = [self.model.decode(modes(self.model.encode(x, values, observed))).mean]
            for name, (donors, theirs) in zip(self.names, self.donors, strict=True):
                done = interventions.transfer(self.model, x, donors, name, self.labels, theirs, keep_detail=False)
                made.append(done.x)
        self.model.train(trained)
        self.rows.append((f"pass {row['epoch']}", torch.stack([one.cpu() for one in made], 1).flatten(0, 1)))
        if len(self.rows) > 1 + _MOST:
            self.rows[1:-1] = self.rows[1:-1:2]
        sheet = figures.Sheet(
            "After every pass: a sample reconstructed, and with its donors' blocks",
            torch.stack([images for _, images in self.rows]),
            rows=[name for name, _ in self.rows],
            columns=["sample", *self.names] * len(self.x),
            apart=(1, 0),
        )
        figures.write(figures.sheets([sheet]), self.path)
