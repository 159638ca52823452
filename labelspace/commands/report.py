"""``labelspace report``: one page of a run, or of several side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from labelspace import terminal
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.models.base import Model
from labelspace.report import comparison, page, runs
from labelspace.storage import files


def report(given: argparse.Namespace) -> None:
    """Writes the page and says where."""
    homes = [Path(home) for home in given.run_directories]
    if len({home.resolve() for home in homes}) < len(homes):
        raise UserError("the same run is given twice; a comparison needs different runs")
    subjects = []
    for home in homes:
        with terminal.bar(f"reading {home}") as progress:
            subjects.append(runs.read(home, quick=given.quick, data=given.data, progress=progress, tell=terminal.say))
    runs.distinct(subjects)
    out = Path(given.out) if given.out else homes[0] / "report.html" if len(homes) == 1 else Path("report.html")
    if len(subjects) == 1:
        text, sections = page.write(subjects[0], terminal.say)
    else:
        text, sections = comparison.write(subjects, terminal.say)
    files.write(out, text)
    about: dict[str, Any] = {
        "out": str(out),
        "bytes": len(text.encode()),
        "sections": sections,
        "runs": [page.describe(subject) for subject in subjects],
    }
    if given.json:
        terminal.emit(about)
        return
    for subject in subjects:
        for text in (subject.state, *subject.absent.values()):
            if text:
                terminal.say(f"{subject.name}: {text}")
    terminal.say(f"written: {out}   {about['bytes'] / 1e6:.1f} MB")


def after_training(home: str, model: Model | None, data: Dataset, note: str = "") -> Path:
    """Writes the page of a run that has just been trained; returns where."""
    subject = runs.read(Path(home), model=model, data=data, note=note)
    out = Path(home) / "report.html"
    files.write(out, page.write(subject)[0])
    return out
