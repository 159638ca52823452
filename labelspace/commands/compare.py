"""``labelspace compare``."""

from __future__ import annotations

import argparse
import time

from labelspace import terminal
from labelspace.commands.demo import LABELS
from labelspace.errors import UserError
from labelspace.experiments import comparison
from labelspace.models import names
from labelspace.training.progress import Terminal


def compare(given: argparse.Namespace) -> None:
    """Trains models on the same data and prints one table."""
    began = time.monotonic()
    labels = tuple(name.strip() for name in given.labels.split(",")) if given.labels else None
    if labels is None and given.data.partition(":")[0] == "faces":
        labels = LABELS
    named = tuple(names()) if given.models == "all" else tuple(name.strip() for name in given.models.split(","))
    settings = dict(_setting(text) for text in given.set)
    found = comparison.compare(
        given.data,
        labels,
        models=named,
        seeds=given.seeds,
        supervision=given.supervision,
        epochs=given.epochs,
        settings=settings,
        edits=not given.no_edits,
        out=given.out,
        tell=terminal.say,
        callback=Terminal,
    ).found
    if given.json:
        terminal.emit(found)
        return
    header, rows = comparison.table(found)
    terminal.table(header, rows, title=f"{given.data}, supervision {given.supervision:g}, {given.seeds} seed(s)")
    for name, reason in found["skipped"].items():
        print(f"{name} is left out: {reason}")
    terminal.say(f"results: {given.out}/results.json and table.md   {time.monotonic() - began:.0f} s in all")


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set {text!r} is not of the form KEY=VALUE")
    return name, value
