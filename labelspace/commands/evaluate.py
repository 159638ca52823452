"""``labelspace evaluate``: everything measured on a run, with the diagnosis."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from labelspace import saving, terminal
from labelspace.commands.data import open_like
from labelspace.errors import UserError
from labelspace.evaluation.diagnosis import diagnose
from labelspace.evaluation.whole import evaluate as measure
from labelspace.report.evaluation import figures, page, tables
from labelspace.report.figures import write as write_figure
from labelspace.storage import files
from labelspace.training.run import Run


def evaluate(given: argparse.Namespace) -> None:
    """Writes ``evaluation.json``, ``evaluation.md`` and figures into a run, and prints tables and diagnosis."""
    began = time.monotonic()
    home = Path(given.run_directory)
    run = Run(home)
    model = saving.load(home)
    saved = run.read_config()["data"]
    address = given.data or saved["address"]
    # With every label that is known: what was hidden or made wrong for training is there again to measure on.
    data = open_like(model, given.run_directory, address, list(model.schema.names))
    if data.schema != model.schema or data.shape != model.shape:
        raise UserError(
            f"{address} has {data.shape} and {data.schema}, the model was trained for {model.shape} and {model.schema}"
        )
    if given.most < 20:
        raise UserError(f"--most is the number of samples that are measured, at least 20; got {given.most}")
    found = measure(
        model, data, split=given.split, most=given.most, seed=given.seed, tell=lambda part: terminal.say(f"measuring: {part}")
    )
    found["model"] = saving.fingerprint(home)  # a report takes these numbers only if the model is still the same
    findings = diagnose(found, run.metrics())
    found["diagnosis"] = [finding.to_dict() for finding in findings]
    drawn = figures(model, data, found, data.rows(given.split)[: given.most])
    for name, figure in drawn.items():
        write_figure(figure, home / "figures" / name)
    files.write(home / "evaluation.md", page(found, findings, home.name, list(drawn)))
    found["seconds"]["all"] = round(time.monotonic() - began, 1)
    files.write_json(home / "evaluation.json", found)
    if given.json:
        terminal.emit(found)
        return
    for title, header, rows in tables(found):
        terminal.table(header, rows, title=title)
    for part, why in found["not measured"].items():
        print(f"not measured: {part}: {why}")
    for finding in findings:
        print(f"{finding.kind.upper()}, {finding.where}: {finding.what}. Remedy: {finding.remedy}.")
    if not findings:
        print("Diagnosis: no alarm.")
    terminal.say(f"written: {home / 'evaluation.json'}, evaluation.md, figures/   {found['seconds']['all']:.0f} s")
