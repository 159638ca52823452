"""Runs as reports see them: what was asked for, how far it came, and what is there to be shown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from labelspace import saving
from labelspace.data import sources
from labelspace.data.dataset import Dataset
from labelspace.data.store import Progress
from labelspace.errors import UserError
from labelspace.evaluation import kept, probing, whole
from labelspace.evaluation.diagnosis import Finding, diagnose
from labelspace.models.base import Model
from labelspace.storage import files
from labelspace.training.fit import open_data
from labelspace.training.run import Run

MEASURED = 1000  # samples that a report's own measurements look at


@dataclass
class Subject:
    """A run that is reported.

    Attributes:
        name: what the report calls it.
        home: its directory.
        config: its resolved configuration.
        metrics: the lines of its metrics.
        environment: versions and machine; empty where they were not kept.
        model: its model, or None.
        data: its data, or None.
        evaluation: what is measured of it; empty where nothing could be.
        measured: how much that is: "nothing", or as :func:`labelspace.evaluation.whole.evaluate` says.
        absent: what is not there -> why, in a sentence.
        note: what else is to be said about how it ended.
    """

    name: str
    home: Path
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    environment: dict[str, Any] = field(default_factory=dict)
    model: Model | None = None
    data: Dataset | None = None
    evaluation: dict[str, Any] = field(default_factory=dict)
    measured: Literal["nothing"] | whole.Depth = "nothing"
    absent: dict[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def diverged(self) -> bool:
        """Whether a term of the last epoch is not finite."""
        return bool(self.metrics) and not all(math.isfinite(value) for value in _numbers(self.metrics[-1]))

    @property
    def state(self) -> str:
        """How training ended, in a sentence that is empty where it ended as it was meant to."""
        planned, done = self.config["training"].get("epochs", 0), len(self.metrics)
        if self.diverged:
            return f"Training diverged: a term became NaN or infinite in epoch {done}{f' of {planned}' if planned else ''}."
        if done >= planned or self._patient():
            return ""
        what = f"Training is not finished: {done} of {planned} epochs are done."
        return f"{what} It was interrupted, it diverged, or it is still going on."

    def _patient(self) -> bool:
        patience = self.config["training"].get("patience", 0)
        return bool(patience) and bool(self.metrics) and len(self.metrics) - self.best_epoch >= patience

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights were kept, 0 where none were."""
        return max((row["epoch"] for row in self.metrics if row.get("best")), default=0)

    @property
    def address(self) -> str:
        return sources.shown_address(self.config["data"]["address"])

    def findings(self) -> list[Finding]:
        """The alarms of what is measured and of the metrics; none where training diverged, from which they would follow."""
        return [] if self.diverged else diagnose(self.evaluation, self.metrics)

    def rows(self, most: int) -> np.ndarray:
        """At most so many test samples, the same ones for all runs of the same data."""
        return probing.chosen(self.data, "test", most) if self.data is not None else np.arange(0)


def read(
    home: Path,
    *,
    model: Model | None = None,
    data: Any = None,
    note: str = "",
    depth: whole.Depth = "quick",
    progress: Progress | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Subject:
    """Reads a run, and takes the numbers of its last evaluation or measures some of them now.

    Args:
        home: the run directory.
        model, data: its best model and its data, where they are at hand; else they are read.
        note: what else is to be said about how training ended.
        depth: how much is measured where the run has no evaluation; see :func:`labelspace.evaluation.whole.evaluate`.
        progress: told how far reading the data is.
        tell: told what is being done.

    Raises:
        UserError: the directory holds no run, or a damaged one.
    """
    run = Run(home)
    if not home.is_dir():
        raise UserError(f"no such directory: {home}")
    if not (home / "config.yaml").exists():
        raise UserError(f"{home} holds no run (no config.yaml); labelspace train makes one")
    environment = files.read_json(home / "environment.json") if (home / "environment.json").exists() else {}
    if not isinstance(environment, dict) or not isinstance(environment.get("packages", {}), dict):
        raise UserError(f"{home / 'environment.json'} is not what a run was made in, or damaged; remove it to report without")
    found = Subject(home.resolve().name, home, run.read_config(), run.metrics(), environment, note=shown_text(note))
    if not (home / "model.safetensors").exists():
        found.absent["model"] = "No model was kept: no epoch was finished with a score that counts."
    else:
        found.model = saving.load(home) if model is None else model
    try:
        found.data = data if isinstance(data, Dataset) else open_data(run, data, progress)
    except UserError as error:
        found.absent["data"] = f"The data cannot be opened any more: {shown_text(str(error))}."
    if found.model is not None and found.data is not None:
        if found.data.shape != found.model.shape or found.data.schema != found.model.schema:
            found.absent["data"] = "The data have changed since: their shape or their labels are not the model's any more."
            found.data = None
        else:
            _measure(found, depth, tell)
    return found


def _measure(found: Subject, depth: whole.Depth, tell: Callable[[str], None]) -> None:
    """Takes the run's evaluation if it is of this model; else measures some of it on few samples."""
    assert found.model is not None
    assert found.data is not None
    found.evaluation, why = kept.read(found.home)
    if found.evaluation:
        found.measured = "all"
        return
    if why:
        found.absent["evaluation"] = f"{why}, so its numbers are left out."
    try:
        found.evaluation = whole.evaluate(
            found.model, found.data, most=MEASURED, depth=depth, tell=lambda part: tell(f"measuring: {part}")
        )
        found.measured = depth
    except UserError as error:
        found.absent["measurements"] = f"Nothing is measured: {shown_text(str(error))}."


def distinct(subjects: Sequence[Subject]) -> None:
    """Gives runs of the same name longer ones, until all differ."""
    for depth in range(2, 20):
        names = [subject.name for subject in subjects]
        if len(set(names)) == len(names):
            return
        for subject in subjects:
            if names.count(subject.name) > 1:
                subject.name = "/".join(subject.home.resolve().parts[-depth:])


def shown_text(text: str) -> str:
    """A text without the directories of this machine."""
    return re.sub(r"(?<![\w./])/(?:[^\s/:;,'\"]+/)+", "", " ".join(text.split())).rstrip(".")


def _numbers(row: dict[str, Any]) -> list[float]:
    """The terms and the score of an epoch."""
    terms = [value for part in ("train", "val") for value in row.get(part, {}).values()]
    return terms if row.get("score") is None else [*terms, row["score"]]
