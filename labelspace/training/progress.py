"""What a person sees while a model trains."""

from __future__ import annotations

import importlib.util
import logging
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from labelspace import terminal
from labelspace.errors import UserError
from labelspace.terminal import Lines


class Callback:
    """What is told while a model trains: extend it and override what is of interest. Methods are called on the first rank only.

    >>> class Losses(Callback):
    ...     def epoch(self, row):
    ...         print(row["epoch"], row["train"]["reconstruction"])
    """

    def configured(self, config: dict[str, Any]) -> None:
        """Before anything else: data, model and training options, as ``config.yaml`` has them."""

    def start(self, epochs: int, steps: int, epoch: int) -> None:
        """Training begins, or goes on after some epochs.

        Args:
            epochs: how many there will be, as it looks now.
            steps: of each.
            epoch: epochs that are done.
        """

    def earlier(self, rows: Sequence[dict[str, Any]]) -> None:
        """Of a resumed run, the rows of the epochs that are done; after :meth:`start`."""

    def step(self, epoch: int, step: int, rate: float) -> None:
        """A few times a second: the epoch (from 0), its steps that are done, and samples a second."""

    def epoch(self, row: dict[str, Any]) -> str | None:
        """An epoch is over. A text that is returned ends training, and is the reason.

        Args:
            row: as in ``metrics.jsonl``: "epoch" (from 1), "train", "val", "weights" (name -> number), "score", "best", ...
        """

    def expect(self, epochs: int) -> None:
        """After every epoch: how many there will be, as it looks then."""

    def note(self, text: str) -> None:
        """What is unusual, in words; by default it goes to Python's logging."""
        logging.getLogger("labelspace").warning(text)

    def end(self, reason: str) -> None:
        """Training is over; the reason is empty where it failed or was interrupted."""


class Callbacks(Callback):
    """Several, each told in turn. What is unusual is said once: by the first that says it in its own way, else it is logged."""

    def __init__(self, each: Iterable[Callback]) -> None:
        self.each = tuple(each)

    @property
    def wants_configuration(self) -> bool:
        """Whether any of them does something with it: only then it has to be one that can be written."""
        return any(type(one).configured is not Callback.configured for one in self.each)

    def configured(self, config: dict[str, Any]) -> None:
        for one in self.each:
            one.configured(config)

    def start(self, epochs: int, steps: int, epoch: int) -> None:
        for one in self.each:
            one.start(epochs, steps, epoch)

    def earlier(self, rows: Sequence[dict[str, Any]]) -> None:
        for one in self.each:
            one.earlier(rows)

    def step(self, epoch: int, step: int, rate: float) -> None:
        for one in self.each:
            one.step(epoch, step, rate)

    def epoch(self, row: dict[str, Any]) -> str | None:
        return next((reason for reason in [one.epoch(row) for one in self.each] if reason), None)

    def expect(self, epochs: int) -> None:
        for one in self.each:
            one.expect(epochs)

    def note(self, text: str) -> None:
        own = [one for one in self.each if type(one).note is not Callback.note]
        for one in own:
            one.note(text)
        if not own:
            super().note(text)

    def end(self, reason: str) -> None:
        for one in self.each:
            one.end(reason)


class EarlyStopping(Callback):
    """Ends training when the validation score has not become better for some epochs.

    Args:
        patience: epochs to wait.
        least: how much better it must be to count.
    """

    def __init__(self, patience: int, least: float = 0.0) -> None:
        if patience < 1:
            raise UserError(f"patience is a number of epochs, at least 1; got {patience}")
        self.patience, self.least = patience, least
        self._best, self._since = math.inf, 0

    def start(self, epochs: int, steps: int, epoch: int) -> None:
        self._best, self._since = math.inf, 0

    def earlier(self, rows: Sequence[dict[str, Any]]) -> None:
        for row in rows:
            self.epoch(row)

    def epoch(self, row: dict[str, Any]) -> str | None:
        score = row["score"]
        if score is None:
            raise UserError("early stopping waits for a better validation score, but the data have no validation split")
        if score < self._best - self.least:
            self._best, self._since = score, 0
        else:
            self._since += 1
        if self._since < self.patience:
            return None
        return f"early after epoch {row['epoch']}: no better validation score in {self.patience} epochs"


def quiet() -> bool:
    """Whether the environment asks for no progress of trainings: ``LABELSPACE_QUIET=1``."""
    return os.environ.get("LABELSPACE_QUIET", "") not in ("", "0")


class Terminal(Callback):
    """A progress bar, or lines where there is no terminal, and one line with the named terms after each epoch.

    Args:
        console: where to; standard error by default, so that standard output stays for results.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or terminal.err
        self._progress: Progress | None = None
        self._task = None
        self._lines = Lines(self.console)

    def start(self, epochs: int, steps: int, epoch: int) -> None:
        self._epochs, self._steps = epochs, steps
        self._lines = Lines(self.console, epoch * steps)
        if epoch:
            self.console.print(f"going on after epoch {epoch} of {epochs}")
        if self.console.is_terminal or (self.console.is_jupyter and importlib.util.find_spec("ipywidgets")):
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._task = self._progress.add_task("", total=epochs * steps, completed=epoch * steps, rate="")
            self._progress.start()

    def step(self, epoch: int, step: int, rate: float) -> None:
        if self._progress is None or self._task is None:
            what = f"epoch {epoch + 1}/{self._epochs}, step {step}/{self._steps}, {rate:,.0f} samples/s"
            self._lines.update(what, epoch * self._steps + step, self._epochs * self._steps)
        else:
            self._progress.update(
                self._task,
                description=f"epoch {epoch + 1}/{self._epochs}",
                completed=epoch * self._steps + step,
                rate=f"{rate:,.0f} samples/s",
            )

    def epoch(self, row: dict[str, Any]) -> None:
        self.console.print(describe(row, self._epochs), highlight=False, soft_wrap=True)

    def expect(self, epochs: int) -> None:
        self._epochs = epochs
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, total=epochs * self._steps)

    def note(self, text: str) -> None:
        self.console.print(f"note: {text}", highlight=False, markup=False, soft_wrap=True)

    def end(self, reason: str) -> None:
        if self._progress is not None:
            self._progress.stop()
        if reason:
            self.console.print(reason, highlight=False, soft_wrap=True)


def describe(row: dict, epochs: int) -> str:
    """One line for one epoch: validation terms by name (training terms without validation), the score, and the pace."""
    terms = "  ".join(f"{name} {_short(value)}" for name, value in (row["val"] or row["train"]).items() if "." not in name)
    score = "" if row["score"] is None else f"score {row['score']:.5g}{' *' if row['best'] else ''}  "
    return f"epoch {row['epoch']:>3}/{epochs}  {terms}  {score}{row['samples_per_second']:,.0f}/s"


def _short(value: float) -> str:
    return f"{value:.4g}"
