"""What a recipe leaves behind: results as JSON, one Markdown page with verdicts, tables and figures, and the figures.

Verdicts, tables and pages follow from the results alone: :func:`rewritten` makes them anew, by the rules and claims as they are
now, without training anything.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import labelspace
from labelspace.experiments.grid import NOT_RUN, JudgeReads, as_plain, failure, without_path
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Conclusion, Recipe, Result, Scale, spread
from labelspace.experiments.recipes import load
from labelspace.experiments.verdicts import Verdict
from labelspace.reporting.figures import write as write_figure
from labelspace.reporting.tables import markdown
from labelspace.storage import files

COLOURS = 64
"""Of figures: more can hardly be told from them, and twice as many take a quarter more bytes."""
HELD = {True: "held", False: "did not hold", None: "cannot be said"}


def write(
    name: str,
    recipe: Recipe,
    scale: Scale,
    address: str,
    results: list[Result],
    out: Path,
    judges: Mapping[str, JudgeReads] | None = None,
) -> tuple[Conclusion, Path]:
    """Concludes, draws, and writes ``OUT/NAME/results.json``, ``results.md`` and figures.

    Args:
        name: of the recipe.
        recipe: the recipe.
        scale: how large it was run.
        address: of the data.
        results: of all jobs.
        out: directory.
        judges: label -> how well each judge reads (:func:`labelspace.experiments.grid.judges`).

    Returns:
        The conclusion, and the directory that was written.
    """
    good = [r for r in results if not r.failed]
    home = out / name
    figures = recipe.draw(good, scale)
    for file, figure in figures.items():
        write_figure(figure, home / file, colours=COLOURS)
    about = {
        "recipe": name,
        "claim": recipe.claim,
        "paper": recipe.paper,
        "recipe_version": recipe.version,
        "scale": scale,
        "command": command(name, recipe, scale, address),
        "version": labelspace.__version__,
        "commits": sorted({r.commit for r in results if r.commit}),
        "seeds": sorted({r.job.seed for r in results if r.failed != NOT_RUN}),
        "training_minutes": round(sum(r.seconds for r in results) / 60, 1),
        "judge": {label: asdict(row) for label, row in (judges or {}).items()},
    }
    conclusion = recipe.conclude(good)
    for file, text in texts(about, conclusion, results, list(figures)).items():
        files.write(home / file, text)
    return conclusion, home


def texts(about: dict[str, Any], conclusion: Conclusion, results: list[Result], figures: list[str]) -> dict[str, str]:
    """``results.json``, one run a line, and ``results.md``."""
    verdicts = [{"claim": v.claim, "held": v.held, "why": v.why} for v in conclusion.verdicts]
    runs = ",\n".join(_dense(_short(as_plain(r))) for r in results)
    lines = [f'"{key}": {_dense(value)}' for key, value in {**about, "verdicts": verdicts}.items()]
    return {
        "results.json": "{\n" + ",\n".join(lines) + f',\n"runs": [\n{runs}\n]}}\n',
        "results.md": page(about, conclusion, figures, [r for r in results if r.failed]),
    }


def _dense(content: Any) -> str:
    """JSON on one line, without spaces: there are hundreds of runs."""
    return files.to_json(content, None, (",", ":")).rstrip()


def _short(content: Any) -> Any:
    """Plain data with numbers of six digits, which is more than any of them means."""
    if isinstance(content, dict):
        return {key: _short(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_short(value) for value in content]
    return float(f"{content:.6g}") if isinstance(content, float) else content


def read(file: Path) -> tuple[dict[str, Any], list[Result]]:
    """What stands in a results file: all about it but its verdicts, and the results, of which nothing else is here."""
    about = files.read_json(file)
    about.pop("verdicts")
    results = []
    for row in about.pop("runs"):
        given = row["job"]
        lists = {key: given[key] if given[key] is None else tuple(given[key]) for key in ("labels", "settings")}
        measured, failed = row.get("found", {}), row.get("failed", "")
        results.append(
            Result(Job(**{**given, **lists}), Path(row["run"]), measured, row["seconds"], failed, row["commit"], row["skipped"])
        )
    return about, results


def rewritten(home: Path) -> tuple[dict[str, str], list[Verdict]]:
    """The files of a directory of results as they are by the rules and claims of now, and the verdicts; pictures stay.

    Args:
        home: directory of ``results.json``.
    """
    about, results = read(home / "results.json")
    conclusion = load(about["recipe"]).conclude([r for r in results if not r.failed])
    figures = sorted(file.name for file in home.iterdir() if file.suffix in (".png", ".svg"))
    return texts(about, conclusion, results, figures), conclusion.verdicts


def summary(homes: Sequence[Path]) -> str:
    """Verdicts of several directories of results as Markdown, one list a recipe, with links relative to the directory above
    that of the results."""
    lines = []
    for home in homes:
        about, _ = read(home / "results.json")
        _, verdicts = rewritten(home)
        link = f"{home.parent.name}/{home.name}/results.md"
        seeds = ", ".join(map(str, about["seeds"]))
        lines += [f"### {about['recipe']}", "", f"[{about['command']}]({link}), seeds {seeds}.", ""]
        lines += [*(_line(verdict) for verdict in verdicts), ""]
    return "\n".join(lines)


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
        *(["", about["note"]] if "note" in about else []),
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


def _judge_lines(found: Mapping[str, Mapping[str, list[float]]]) -> list[str]:
    if not found:
        return []
    judges = {label: JudgeReads(**row) for label, row in found.items()}
    lines = [
        "",
        "Edits and samples are read by a judge. Its balanced accuracy on real test samples: " + _spreads(judges, "samples"),
    ]
    if any(row.truths for row in judges.values()):
        lines[-1] += f"; on true counterfactuals: {_spreads(judges, 'truths')}"
    lines[-1] += "."
    if poor := [label for label, row in judges.items() if not row.trusted]:
        lines[-1] += f" It is no judge of {', '.join(poor)}."
    return lines


def _spreads(judges: Mapping[str, JudgeReads], of: str) -> str:
    return ", ".join(f"{label} {spread(getattr(row, of), '{:.1%}')}" for label, row in judges.items())


def _line(verdict: Verdict) -> str:
    return f"- **{HELD[verdict.held]}**: {verdict.claim}. {verdict.why}"
