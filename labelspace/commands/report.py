"""``labelspace report``: one page of a run, or of several side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from labelspace import terminal
from labelspace.commands import outputs
from labelspace.data.dataset import Dataset
from labelspace.models.base import Model
from labelspace.reporting import page, runs
from labelspace.reporting.measured import report as write
from labelspace.storage import files


def report(given: argparse.Namespace) -> None:
    """Writes the page and says where."""
    first, *others = given.run_directories
    if others and not given.out:
        given.out = "report.html"
        outputs.check(given)
    with terminal.bar("reading") as progress:
        done = write(first, *others, data=given.data, out=given.out, quick=given.quick, progress=progress, tell=terminal.say)
    if given.json:
        terminal.emit(done.about)
        return
    for subject in done.subjects:
        for text in (subject.state, *subject.absent.values()):
            if text:
                terminal.say(f"{subject.name}: {text}")
    terminal.say(f"written: {done.path}   {done.about['bytes'] / 1e6:.1f} MB")


def after_training(home: str, model: Model | None, data: Dataset, note: str = "") -> Path:
    """Writes the brief page of a run that has just been trained; returns where."""
    subject = runs.read(Path(home), model=model, data=data, note=note, depth="brief")
    out = Path(home) / "report.html"
    files.write(out, page.write(subject, brief=True)[0])
    return out
