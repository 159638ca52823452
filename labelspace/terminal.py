"""What commands print: progress bars, tables, and machine-readable results."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from labelspace.data.store import Progress as Report


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # as with any other output


err = _Console(stderr=True)
_EVERY = 15.0  # seconds between two lines of progress where there is no terminal


class Lines:
    """Progress where there is no terminal: a line now and then, so that a log says what is being done and what is left.

    Args:
        console: where to.
        done: how much was done before.
    """

    def __init__(self, console: Console, done: float = 0.0) -> None:
        self.console, self.before = console, done
        self.began = self.last = time.monotonic()

    def update(self, what: str, done: float, total: float | None) -> None:
        """Says ``what`` and the time left, unless it did so a moment ago."""
        now = time.monotonic()
        if now - self.last < _EVERY:
            return
        self.last = now
        if total and done > self.before:
            what += f", about {duration((now - self.began) * (total - done) / (done - self.before))} left"
        self.console.print(what, highlight=False, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """A time for a person: "40 s", "3 min", "2 h 10 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _first() -> bool:
    """Whether this process is the only one that a user hears: the first of a training with several."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


@contextmanager
def bar(what: str) -> Iterator[Report]:
    """A progress bar on standard error, or lines where that is no terminal; yields a function to call with done and total.

    In other processes of a training than the first it prints nothing.
    """
    lines = Lines(err)

    def line(done: int, total: int | None) -> None:
        lines.update(f"{what}: {done:,}{f' of {total:,}' if total else ''}", done, total)

    if not err.is_terminal:
        yield line if _first() else lambda done, total: None
        return
    with Progress(
        SpinnerColumn(),
        TextColumn(what),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not _first(),
    ) as progress:
        task = progress.add_task(what, total=None, visible=False)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=True)


@contextmanager
def share(what: str) -> Iterator[Callable[[float, str], None]]:
    """As :func:`bar`; yields a function to call with the share that is done and what is being done."""
    lines = Lines(err)
    if not err.is_terminal:
        yield lambda done, now: lines.update(f"{what}: {done:.0%}{f', {now}' if now else ''}", done, 1.0)
        return
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    ) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda done, now: progress.update(task, completed=done, description=f"{what}: {now}" if now else what)


def say(text: str) -> None:
    """One line for a person, on standard error."""
    err.print(text, highlight=False, markup=False, soft_wrap=True)


def emit(result: Any) -> None:
    """A result for a program: JSON on standard output."""
    from labelspace.storage import files

    sys.stdout.write(files.to_json(result))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """A table for a person, on standard output."""
    built = Table(title=title, title_justify="left", header_style="bold")
    for i, column in enumerate(columns):
        built.add_column(column, overflow="fold", no_wrap=i == 0)
    for row in rows:
        built.add_row(*row)
    _Console(width=None if sys.stdout.isatty() else 160).print(built)
