"""One training run as data: which model on which samples, how; made once and found again by what it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import labelspace
from labelspace import config, saving
from labelspace.config import Config
from labelspace.data import sources
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.experiments import source
from labelspace.models import build
from labelspace.models.base import Model
from labelspace.storage import files
from labelspace.training.fit import configuration, fit
from labelspace.training.progress import Callback
from labelspace.training.run import Run

_TRAINED = "trained.txt"


@dataclass(frozen=True)
class Job:
    """What is trained on what.

    Attributes:
        model: name of the model.
        address: data address.
        labels: labels to use; None is all.
        seed: of the data's splits, of the choice of hidden and wrong labels, and of training.
        supervision: fraction of samples whose labels are used.
        label_noise: fraction of those labels that are wrong.
        settings: ``KEY=VALUE`` texts, as ``labelspace train --set`` takes them.
        epochs: passes; None is the model's recipe.
    """

    model: str
    address: str
    labels: tuple[str, ...] | None = None
    seed: int = 0
    supervision: float = 1.0
    label_noise: float = 0.0
    settings: tuple[str, ...] = ()
    epochs: int | None = None

    @property
    def key(self) -> str:
        """A name for the run's directory: equal jobs have equal names."""
        what = json.dumps(asdict(self), sort_keys=True)
        return f"{self.model}-{hashlib.sha256(what.encode()).hexdigest()[:12]}"

    def open(self) -> Dataset:
        """The data that the model is trained on."""
        return sources.open(
            self.address, self.labels, seed=self.seed, supervision=self.supervision, label_noise=self.label_noise
        )

    def open_whole(self) -> Dataset:
        """The same samples and splits with every label there and right, to measure on."""
        return sources.open(self.address, self.labels, seed=self.seed)

    def resolve(self, data: Dataset) -> Config:
        """The model's arguments and the training options."""
        return config.resolve(
            self.model,
            data.shape,
            len(data.schema),
            len(data.rows("train")),
            likelihood=data.likelihood,
            assignments=self.settings,
            training={"epochs": self.epochs, "seed": self.seed},
        )

    def trained_in(self, home: Path) -> bool:
        """Whether a directory holds this job's run, trained to its end and calibrated."""
        return (home / _TRAINED).exists()


def train(job: Job, home: Path, *, callback: Callable[[Model, Dataset], Callback] = lambda model, data: Callback()) -> Model:
    """Trains a job's model in a run directory, goes on with it where it was interrupted, or takes it from there.

    Args:
        job: what is trained.
        home: the run directory.
        callback: given the model and its data, makes what is told about the training.

    Raises:
        UserError: the model is not defined for these labels or data, or the directory holds a run with other settings.
    """
    data = job.open()
    resolved = job.resolve(data)
    torch.manual_seed(job.seed)
    model = build(job.model, data, **resolved.arguments)
    run = Run(home)
    if run.exists and run.read_config() != json.loads(json.dumps(configuration(model, data, resolved.options))):
        raise UserError(
            f"{home} holds a run with other settings (or defaults that have changed since); remove it, or choose "
            "another --out or --runs"
        )
    if job.trained_in(home):
        return saving.load(home)
    fitted = fit(model, data, resolved.options, out=home, resume=run.exists, callbacks=[callback(model, data)], progress=False)
    # The last of all: before it something may be missing.
    files.write(home / _TRAINED, f"{fitted.reason}\nlabelspace {labelspace.__version__} {source.commit()}\n")
    return model


def seconds(home: Path) -> float:
    """Time that the training of a run took, by its metrics."""
    return sum(row["seconds"] for row in Run(home).metrics())


def skipped(home: Path) -> int:
    """Steps of a run's training that were skipped or undone, by its metrics."""
    return sum(row.get("skipped", 0) + row.get("undone", 0) for row in Run(home).metrics())
