"""What a recipe leaves behind: results as JSON, one Markdown page with verdicts, tables and figures, and the figures."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import labelspace
from labelspace.evaluation.diagnosis import TRUSTED
from labelspace.experiments.grid import NOT_RUN, as_plain, failure, without_path
from labelspace.experiments.recipe import Conclusion, Recipe, Result, Scale, Verdict, spread
from labelspace.reporting.figures import write as write_figure
from labelspace.reporting.tables import markdown
from labelspace.storage import files

HELD = {True: "held", False: "did not hold", None: "cannot be said"}


def write(
    name: str,
    recipe: Recipe,
    scale: Scale,
    address: str,
    results: list[Result],
    out: Path,
    judges: dict[str, list[float]] | None = None,
) -> tuple[Conclusion, Path]:
    """Concludes, draws, and writes ``OUT/NAME/results.json``, ``results.md`` and figures.

    Args:
        name: of the recipe.
        recipe: the recipe.
        scale: how large it was run.
        address: of the data.
        results: of all jobs.
        out: directory.
        judges: label -> how well each judge reads real samples (:func:`labelspace.experiments.grid.judges`).

    Returns:
        The conclusion, and the directory that was written.
    """
    good = [r for r in results if not r.failed]
    conclusion = recipe.conclude(good)
    home = out / name
    figures = recipe.draw(good, scale)
    for file, figure in figures.items():
        write_figure(figure, home / file)
    about = {
        "recipe": name,
        "claim": recipe.claim,
        "paper": recipe.paper,
        "recipe_version": recipe.version,
        "scale": scale,
        "command": command(name, recipe, scale, address),
        "version": labelspace.__version__,
        "commits": sorted({r.commit for r in results if r.commit}),
        "seeds": sorted({r.job.seed for r in results}),
        "training_minutes": round(sum(r.seconds for r in results) / 60, 1),
        "judge": judges or {},
    }
    verdicts = [{"claim": v.claim, "held": v.held, "why": v.why} for v in conclusion.verdicts]
    files.write_json(home / "results.json", {**about, "verdicts": verdicts, "runs": [as_plain(r) for r in results]})
    files.write(home / "results.md", page(about, conclusion, list(figures), [r for r in results if r.failed]))
    return conclusion, home


def command(name: str, recipe: Recipe, scale: Scale, address: str) -> str:
    """The command that made a result; a directory of this machine is DIR."""
    data = f" --data {shlex.quote(without_path(address))}" if address != recipe.default else ""
    return f"labelspace reproduce {name} --scale {scale}{data}"


def page(about: dict[str, Any], conclusion: Conclusion, figures: list[str], failed: list[Result]) -> str:
    """The Markdown page."""
    where = f"labelspace {about['version']}" + (f", commit {', '.join(about['commits'])}" if about["commits"] else "")
    lines = [
        f"# {about['recipe']}",
        "",
        f"**Claim** ({about['paper']}): {about['claim']}",
        "",
        f"```\n{about['command']}\n```",
        "",
        f"{where}; seeds {', '.join(map(str, about['seeds']))}; {about['training_minutes']:g} minutes of training in all.",
        *_judge_lines(about["judge"]),
        "",
        "## Verdicts",
        "",
        *(_line(verdict) for verdict in conclusion.verdicts),
        "",
    ]
    absent = [r for r in failed if r.failed == NOT_RUN]
    if absent:
        lines += [f"{len(absent)} run(s) have not been done and are left out.", ""]
    if broken := [r for r in failed if r.failed != NOT_RUN]:
        lines += [f"{len(broken)} run(s) failed and are left out: {failure(broken[0])}", ""]
    for table in conclusion.tables:
        lines += [f"## {table.title}", "", markdown(table.header, table.rows)]
    for file in figures:
        lines += [f"![{Path(file).stem}]({file})", ""]
    lines += ["All figures, with intervals: [results.json](results.json)."]
    return "\n".join(lines) + "\n"


def _judge_lines(found: dict[str, list[float]]) -> list[str]:
    if not found:
        return []
    read = ", ".join(f"{label} {spread(values, '{:.1%}')}" for label, values in found.items())
    poor = [label for label, values in found.items() if min(values) < TRUSTED]
    warning = f" What it says of {', '.join(poor)} is not to be trusted." if poor else ""
    return [
        "",
        f"Edits and samples are read by a judge that reads real test samples with a balanced accuracy of: {read}.{warning}",
    ]


def _line(verdict: Verdict) -> str:
    return f"- **{HELD[verdict.held]}**: {verdict.claim}. {verdict.why}"
