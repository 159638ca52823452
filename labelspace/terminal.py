"""What commands print: progress bars, tables, and machine-readable results."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

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

from labelspace.data.store import Progress as Report
from labelspace.storage import files

err = Console(stderr=True)


@contextmanager
def bar(what: str) -> Iterator[Report]:
    """A progress bar on standard error; yields a function to call with done and total.

    Off a terminal, and in other processes of a training than the first, it prints nothing.
    """
    with Progress(
        SpinnerColumn(),
        TextColumn(what),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal or os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) != "0",
    ) as progress:
        task = progress.add_task(what, total=None, visible=False)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=True)


@contextmanager
def share(what: str) -> Iterator[Callable[[float, str], None]]:
    """A progress bar on standard error; yields a function to call with the share that is done and what is being done."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    ) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda done, now: progress.update(task, completed=done, description=f"{what}: {now}" if now else what)


def say(text: str) -> None:
    """One line for a person, on standard error."""
    err.print(text, highlight=False, markup=False, soft_wrap=True)


def emit(result: Any) -> None:
    """A result for a program: JSON on standard output."""
    sys.stdout.write(files.to_json(result))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """A table for a person, on standard output."""
    built = Table(title=title, title_justify="left", header_style="bold")
    for i, column in enumerate(columns):
        built.add_column(column, overflow="fold", no_wrap=i == 0)
    for row in rows:
        built.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 160).print(built)
