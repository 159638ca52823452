"""What a person sees while a model trains."""

from __future__ import annotations

import logging
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from labelspace.terminal import Lines


class Callback(Protocol):
    """What ``fit`` tells while it works; all methods are called on the first rank only.

    One that also has ``note(text)`` is told in words what is unusual; without it, that goes to Python's logging. One that has
    ``expect(epochs)`` is told after every epoch how many there will be, as it looks then.
    """

    def start(self, epochs: int, steps: int, epoch: int) -> None: ...

    def step(self, epoch: int, step: int, rate: float) -> None: ...

    def epoch(self, row: dict) -> None: ...

    def stop(self, reason: str) -> None: ...


class NullCallback:
    """Tells nothing."""

    def start(self, epochs: int, steps: int, epoch: int) -> None: ...

    def step(self, epoch: int, step: int, rate: float) -> None: ...

    def epoch(self, row: dict) -> None: ...

    def stop(self, reason: str) -> None: ...


def tell(callback: Callback, text: str) -> None:
    """Says what is unusual, in one line: to the callback, or, where that does not take notes, as a warning of the log."""
    note = getattr(callback, "note", None)
    if note is not None:
        note(text)
    else:
        logging.getLogger("labelspace").warning(text)


class Terminal:
    """A progress bar, or lines where there is no terminal, and one line with the named terms after each epoch.

    Args:
        console: where to; standard error by default, so that standard output stays for results.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._progress: Progress | None = None
        self._task = None
        self._lines = Lines(self.console)

    def start(self, epochs: int, steps: int, epoch: int) -> None:
        self._epochs, self._steps = epochs, steps
        self._lines = Lines(self.console, epoch * steps)
        if epoch:
            self.console.print(f"going on after epoch {epoch} of {epochs}")
        if self.console.is_terminal:
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

    def epoch(self, row: dict) -> None:
        self.console.print(describe(row, self._epochs), highlight=False, soft_wrap=True)

    def expect(self, epochs: int) -> None:
        self._epochs = epochs
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, total=epochs * self._steps)

    def note(self, text: str) -> None:
        self.console.print(f"note: {text}", highlight=False, markup=False, soft_wrap=True)

    def stop(self, reason: str) -> None:
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
