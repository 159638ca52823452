"""A published claim as a recipe: which runs it needs, what is measured on each, and whether it held."""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from matplotlib.figure import Figure

from labelspace import saving
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.experiments.jobs import Job
from labelspace.experiments.verdicts import Claim, Found, Group, Verdict, judge
from labelspace.models.base import Model
from labelspace.training.progress import Callback
from labelspace.training.run import Run

Scale = Literal["smoke", "cpu", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "cpu", "paper")


@dataclass(frozen=True)
class Result:
    """One run of a recipe, trained and measured.

    Attributes:
        job: what was trained.
        home: its run directory.
        measured: what :meth:`Recipe.measure` returned; empty where the run failed.
        seconds: of training.
        failed: why there is nothing, or empty.
        commit: of the source that measured it; empty where it was no checkout.
        skipped: optimiser steps of the training that were skipped or undone.
    """

    job: Job
    home: Path
    measured: dict[str, Any]
    seconds: float = 0.0
    failed: str = ""
    commit: str = ""
    skipped: int = 0

    @property
    def here(self) -> bool:
        """Whether the run itself is on this machine; of known results only the figures are."""
        return Run(self.home).exists

    def model(self) -> Model:
        """The trained model."""
        return saving.load(self.home)


@dataclass(frozen=True)
class Table:
    """A titled table of texts."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Conclusion:
    """What a recipe's runs show."""

    verdicts: list[Verdict]
    tables: list[Table] = field(default_factory=list)


class Recipe(ABC):
    """Base of all recipes; one file each in ``experiments/recipes``.

    Class attributes:
        claim: what the paper says, in a sentence.
        paper: whose claim it is.
        default: address of the data that it runs on; empty where the user must bring them.
        scaled: scale -> address in the place of that.
        needs: address form of the data that it needs, for messages.
        judged: whether measuring needs the judge of the data.
        kinds: kinds of labels of which the data must have one.
        version: raised when :meth:`measure` changes, so that old measurements are made again.
    """

    claim: ClassVar[str]
    paper: ClassVar[str]
    default: ClassVar[str] = ""
    scaled: ClassVar[Mapping[Scale, str]] = {}
    needs: ClassVar[str] = ""
    judged: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1

    @abstractmethod
    def jobs(self, scale: Scale, address: str) -> list[Job]:
        """The runs that the claim needs."""

    def at(self, scale: Scale, address: str) -> str:
        """The address of the data at a scale: what the user brings is taken as it is."""
        return self.scaled.get(scale, address) if address == self.default else address

    @abstractmethod
    def measure(self, job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        """What is measured on one run, as plain data; ``data`` has every label there and right."""

    @abstractmethod
    def groups(self, results: list[Result]) -> dict[str, Group]:
        """What was measured, by what claims compare: a model, or a model under some condition, then the seed."""

    @abstractmethod
    def claims(self, groups: Mapping[str, Group]) -> list[Claim]:
        """What is claimed, as data; of what depends on the data (labels) as far as groups show it."""

    @abstractmethod
    def tables(self, results: list[Result]) -> list[Table]:
        """Tables of all runs that did not fail."""

    def conclude(self, results: list[Result]) -> Conclusion:
        """Verdicts, by the rules of :mod:`labelspace.experiments.verdicts`, and tables from all runs that did not fail."""
        groups = self.groups(results)
        return Conclusion([judge(claim, groups) for claim in self.claims(groups)], self.tables(results))

    def check(self, data: Dataset) -> None:
        """Raises UserError where the data cannot show what the recipe is about."""
        if self.kinds and not any(label.kind in self.kinds for label in data.schema):
            raise UserError(
                f"this recipe needs a label that is {' or '.join(self.kinds)}; {data.address} has "
                + ", ".join(f"{label.name} ({label.kind})" for label in data.schema)
            )

    def draw(self, results: list[Result], scale: Scale) -> dict[str, Figure]:
        """Figures by file name. Of results that are known from elsewhere there is no model: :func:`to_draw` has those of which
        there is one."""
        return {}

    def callback(self, job: Job, model: Model, data: Dataset, home: Path) -> Callback:
        """Watches a training; for recipes that look at models while they are trained."""
        return Callback()


def pick(results: Iterable[Result], **wanted: Any) -> list[Result]:
    """Results whose jobs have these attributes."""
    return [r for r in results if all(getattr(r.job, name) == value for name, value in wanted.items())]


def to_draw(results: Iterable[Result]) -> list[Result]:
    """The runs of one seed to draw models of: of the seed of which most runs are on this machine, the first of such seeds."""
    here = [r for r in results if r.here]
    seeds = Counter(sorted(r.job.seed for r in here))
    return pick(here, seed=seeds.most_common(1)[0][0]) if seeds else []


Forms = Mapping[str, tuple[str, tuple[str, ...]]]
"""Names in tables -> the model and the settings that it is trained with."""


def plain(models: Mapping[str, str]) -> Forms:
    """Models (name -> name in tables) as ``labelspace train`` trains them."""
    return {shown: (name, ()) for name, shown in models.items()}


def by_form(results: Iterable[Result], forms: Forms) -> dict[str, list[Result]]:
    """The results of every form of model that a recipe compares."""
    results = list(results)
    return {name: pick(results, model=model, settings=settings) for name, (model, settings) in forms.items()}


def by_seed(results: Iterable[Result]) -> dict[int, Found]:
    """What was measured on runs, by their seeds."""
    return {r.job.seed: r.measured for r in results if not r.failed}


def setting(job: Job, key: str, default: str = "") -> str:
    """The value that a job sets a key to."""
    return next((text.partition("=")[2] for text in job.settings if text.partition("=")[0] == key), default)


def over_seeds(results: Iterable[Result], read: Callable[[dict[str, Any]], float | None]) -> list[float]:
    """A number of each run, in the runs' order; runs that do not have it are left out."""
    values = [_there(read, r.measured) for r in results if not r.failed]
    return [v for v in values if v is not None]


def _there(read: Callable[[dict[str, Any]], float | None], found: dict[str, Any]) -> float | None:
    try:
        return read(found)
    except KeyError:  # another version of the recipe did not measure it
        return None


def spread(values: Collection[float], form: str = "{:.2f}") -> str:
    """The mean, and smallest and largest in brackets where there are several; ``{:.1%}`` and the like are forms, too."""
    if not values:
        return "-"
    text = form.format(statistics.mean(values))
    return text if len(values) == 1 else f"{text} ({form.format(min(values))} - {form.format(max(values))})"
