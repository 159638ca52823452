"""``labelspace evaluate``: everything measured on a run, with the diagnosis."""

from __future__ import annotations

import argparse

from labelspace import terminal
from labelspace.reporting.measured import evaluate as measure


def evaluate(given: argparse.Namespace) -> None:
    """Writes ``evaluation.json``, ``evaluation.md`` and figures into a run, and prints tables and diagnosis."""
    done = measure(
        given.run_directory,
        given.data,
        split=given.split,
        most=given.most,
        seed=given.seed,
        tell=lambda part: terminal.say(f"measuring: {part}"),
    )
    if given.json:
        terminal.emit(done.found)
        return
    for title, (header, rows) in done.tables().items():
        terminal.table(header, rows, title=title)
    for part, why in done.found["not measured"].items():
        print(f"not measured: {part}: {why}")
    for finding in done.findings:
        print(f"{finding.kind.upper()}, {finding.where}: {finding.what}. Remedy: {finding.remedy}.")
    if not done.findings:
        print("Diagnosis: no alarm.")
    where = f"{given.run_directory}/evaluation.json"
    terminal.say(f"written: {where}, evaluation.md, figures/   {done.found['seconds']['all']:.0f} s")
