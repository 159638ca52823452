"""A trained model, by whatever name it is known: a run directory, what ``fit`` returned, or the model itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from labelspace import saving
from labelspace.data import memory, paths, sources
from labelspace.data.dataset import Dataset
from labelspace.data.store import Progress
from labelspace.errors import UserError, option
from labelspace.models.base import Model
from labelspace.training.run import Run

if TYPE_CHECKING:
    from labelspace.training.loop import Fitted

AnyRun: TypeAlias = "str | Path | Fitted | Model"
"""A run directory, what :func:`labelspace.fit` returned, or a model."""


@dataclass(frozen=True)
class Trained:
    """A trained model and what is known of its run.

    Attributes:
        model: the model.
        home: its run directory, where it has one.
    """

    model: Model
    home: Path | None = None

    @classmethod
    def of(cls, run: AnyRun) -> Trained:
        """Reads it where it is on a disk. Raises UserError where there is no such run."""
        if isinstance(run, Model):
            return cls(run)
        if isinstance(run, str | Path):
            return cls(saving.load(run), paths.own(run))
        return cls(run.model, run.home)

    @property
    def name(self) -> str:
        return self.home.resolve().name if self.home is not None else type(self.model).__name__.lower()

    def saved(self) -> dict[str, Any]:
        """What the run says of its data; nothing where there is no run."""
        if self.home is None or not (self.home / "config.yaml").exists():
            return {}
        found: dict[str, Any] = Run(self.home).read_config()["data"]
        return found

    def data(self, given: Any = None, labels: Sequence[str] | None = None, progress: Progress | None = None) -> Dataset:
        """Data for the model to read, with every label that is known, split as for training where they are its own.

        Args:
            given: an address or what :func:`labelspace.open` takes; by default the run's own data.
            labels: labels that the data have to have; by default the model's, where they are there.
            progress: as in :func:`labelspace.open`.

        Raises:
            UserError: there are none, or they cannot be opened.
        """
        saved = self.saved()
        own = str(saved.get("address", ""))
        if given is None and not own:
            raise UserError(f"which data? give them with {option('data')}: there is no run that says them")
        if given is None and memory.is_memory(own):
            raise memory.missing_data(own, saved.get("about", ""))
        return sources.open(
            own if given is None else given,
            labels,
            seed=saved.get("seed", 0),
            group=saved.get("group", "") if given is None or (isinstance(given, str) and given == own) else "",
            training=False,
            like=self.model,
            progress=progress,
        )
