"""An evaluation as a Markdown page and figures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from labelspace import interventions
from labelspace.data.dataset import Dataset
from labelspace.evaluation import edits
from labelspace.evaluation.diagnosis import Finding
from labelspace.evaluation.probing import Of, said
from labelspace.metrics import variance_map
from labelspace.models.base import Model
from labelspace.reporting.figures import Grid, Sheet, grids, sheets
from labelspace.reporting.tables import markdown

_SHOWN = (
    "beta_vae",
    "factor_vae",
    "mig",
    "dci_disentanglement",
    "dci_completeness",
    "dci_informativeness",
    "sap",
    "modularity",
)


def interval(score: dict[str, Any], form: str = "{:.1%}") -> str:
    """A score as a text: value and its interval."""
    if score["value"] is None or not math.isfinite(score["value"]):
        return "-"
    value, low, high = (form.format(score[key]) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def tables(found: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of every table of an evaluation that has rows."""
    out = []
    if "manipulation" in found:
        rows = []
        side = found["manipulation"]["side_effects"]
        for name, row in found["manipulation"]["labels"].items():
            others = {
                other: 1 - cell["flipped"]["value"] for other, cell in side[name].items() if other != name and "flipped" in cell
            }
            worst = min(others, key=lambda other: others[other]) if others else ""
            error = row.get("error", {}).get("all")
            rows.append(
                [
                    name,
                    interval(found["judge"][name]) if name in found["judge"] else "-",
                    interval(found["judge"][name]["truths"]) if "truths" in found["judge"].get(name, {}) else "-",
                    interval(row["judge"]),
                    f"{row['doing_nothing']['value']:.1%}",
                    f"{others[worst]:.1%} ({worst})" if others else "-",
                    f"{error['ratio']:.2f}" if error else "-",
                    interval(row["styles_hit"], "{:.2f}") if "styles_hit" in row else "-",
                ]
            )
        header = [
            "label set to another value",
            "judge's own accuracy",
            "judge on true counterfactuals",
            "judge reads the new value",
            "without an edit",
            "others kept, worst",
            "error to truth / doing nothing",
            "share of true styles hit",
        ]
        out.append(("Edits", header, rows))
    if "leakage" in found:
        out.append(("What probes read from the codes", *_leakage(found["leakage"])))
    if "blocks" in found:
        rows = [
            [name, "-" if row["kl"] is None else interval(row["kl"], "{:.2f}"), f"{row['active']} of {row['size']}"]
            for name, row in found["blocks"].items()
        ]
        out.append(("Blocks", ["block", "KL from the prior, nats", "active coordinates"], rows))
    if "prediction" in found:
        rows = [
            [
                name,
                *(interval(row[key]) if key in row else "-" for key in ("accuracy", "balanced_accuracy", "majority_rate")),
                interval(row["calibration_error"], "{:.3f}") if "calibration_error" in row else "-",
                interval(row["r_squared"], "{:.2f}") if "r_squared" in row else "-",
            ]
            for name, row in found["prediction"].items()
        ]
        header = ["label", "accuracy", "balanced", "commonest value", "calibration error", "R^2"]
        out.append(("Predictions", header, rows))
    if "disentanglement" in found:
        rows = [
            [name, interval(row, "{:.3f}"), *("-" if row[end] is None else f"{row[end]:.3f}" for end in ("floor", "ceiling"))]
            for name, row in found["disentanglement"].items()
            if isinstance(row, dict)
        ]
        out.append(
            ("Disentanglement of all coordinates, labels as factors", ["score", "value", "floor (noise)", "ceiling"], rows)
        )
    rows = []
    if "likelihood" in found:
        row = found["likelihood"]["reconstruction_error"]
        rows.append(
            ["reconstruction error (squared, an entry)", interval(row, "{:.5f}"), f"{row['variance']:.5f} (variance)", "0"]
        )
        if "log_likelihood" in found["likelihood"]:
            row = found["likelihood"]["log_likelihood"]
            rows.append([f"log p(x | y), nats, {row['draws']} draws", interval(row, "{:.1f}"), "-", "-"])
    if "generation" in found:
        for name in ("frechet", "kernel"):
            row = found["generation"][name]
            halves = f"{row['real_halves']:.4f} (halves)"
            rows.append([f"{name} distance of new samples, judge's features", interval(row, "{:.4f}"), "-", halves])
        for name in ("precision", "recall"):
            row = found["generation"][name]
            rows.append([f"{name} of new samples", interval(row), "0.0%", f"{row['real_halves']:.1%} (halves)"])
        if "rows" in found["generation"]:
            row = found["generation"]["rows"]
            copula = f"0.50 (Gaussian copula {row['copula']['value']:.2f})"
            rows.append(["rows drawn vs real rows, AUC", interval(row["auc"], "{:.2f}"), "1.00", copula])
            for name, read in row["labels"].items():
                rows.append([f"rows drawn read as the {name} asked for", interval(read["asked"]), "-", interval(read["real"])])
        for name, row in found["generation"]["labels"].items():
            if "as_asked" in row:
                rows.append([f"new samples read as the {name} asked for", interval(row["as_asked"]), "-", "-"])
            rows.append(
                [
                    f"Inception-style score, {name}",
                    interval(row["inception_style"], "{:.2f}"),
                    "1.00",
                    f"{row['real']['value']:.2f} (real)",
                ]
            )
    if rows:
        out.append(("Likelihood and generation", ["what", "value", "of no use", "of real data"], rows))
    return [table for table in out if table[2]]


def _leakage(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    named = {"free": "free blocks", "own_hidden": "own block, label hidden"}
    places = [place for place in named if any(place in row for row in found.values())]
    rows = []
    for name, row in found.items():
        discrete = "chance" in row
        line = [name, f"{row['chance']:.1%}" if discrete else "0"]
        for place in places:
            line += [_said(row.get(place), of, discrete) for of in ("draws", "means")]
        others = {key: value for key, value in row.items() if key.startswith("other.")}
        if others:
            worst = max(others, key=lambda key: said(others[key], "draws")["value"])
            line.append(f"{_said(others[worst], 'draws', discrete)} ({worst.removeprefix('other.')})")
        else:
            line.append("-")
        kl = row.get("free", {}).get("kl")
        line.append(f"{kl['value']:.3f} (floor {kl['floor']:.3f})" if kl else "-")
        rows.append(line)
    columns = [f"{of} of {named[place]}" for place in places for of in ("draws", "means")]
    return ["label", "chance", *columns, "draws of other labels' blocks, worst", "KL in free blocks, nats"], rows


def _said(read: dict[str, Any] | None, of: Of, discrete: bool) -> str:
    """What was read, and of classes the area under the ROC curve and nats above what shuffled labels get."""
    if read is None:
        return "-"
    value = said(read, of)["value"]
    if not discrete:
        return f"R^2 {value:.2f}"
    area, nats, floor = (read[of][what]["value"] for what in ("auc", "nats", "nats_floor"))
    return f"{value:.1%}, AUC {area:.2f}, {nats:+.3f} nats (floor {floor:+.3f})"


def page(found: dict[str, Any], findings: list[Finding], title: str, figures: list[str]) -> str:
    """The Markdown page of an evaluation."""
    lines = [f"# {title}", "", f"{found['samples']:,} samples of the {found['split']} split of `{found['data']}`.", ""]
    lines += ["## Diagnosis", ""]
    lines += [f"- **{f.kind}, {f.where}**: {f.what}. Remedy: {f.remedy}." for f in findings] or ["No alarm."]
    lines.append("")
    for name, header, rows in tables(found):
        lines += [f"## {name}", "", markdown(header, rows)]
    if found["not measured"]:
        lines += ["## Not measured", "", *(f"- {part}: {why}" for part, why in found["not measured"].items()), ""]
    for file in figures:
        lines += [f"![{file}](figures/{file})", ""]
    return "\n".join(lines)


def side_effects(found: dict[str, Any]) -> Figure | None:
    """What every edit does to every label, as matrices; None where edits were not measured."""
    side = found.get("manipulation", {}).get("side_effects")
    if not side:
        return None
    names = list(side)
    cells = {
        "mean size of the change of log-odds": np.array([[side[a][b]["absolute"]["value"] for b in names] for a in names]),
        "rate of flipped verdicts": np.array([[side[a][b]["flipped"]["value"] for b in names] for a in names]),
    }
    return grids([Grid(values, names, names, f"{what}\n(row: label changed)") for what, values in cells.items()])


def figures(model: Model, data: Dataset, found: dict[str, Any], rows: np.ndarray) -> dict[str, Figure]:
    """Side effects as a matrix; for images, edits and the places that draws of a block change."""
    matrix = side_effects(found)
    out: dict[str, Figure] = {} if matrix is None else {"side-effects.png": matrix}
    if not data.is_image or "manipulation" not in found:
        return out
    shown = rows[:10]
    x = data.samples(shown)
    lines, titles = [x], ["original"]
    for name in found["manipulation"]["labels"]:
        if bool(data.observed[shown, data.schema.index(name)].all()):
            lines.append(edits.flip(model, data, shown, name, keep_detail=False)[0])
            titles.append(f"{name} set")
    parts = [Sheet("Every label set to another value", torch.stack(lines), rows=titles)]
    maps = {}
    for label in data.schema:
        if label.kind == "binary" and bool(data.observed[shown, data.schema.index(label.name)].all()):
            generator = torch.Generator().manual_seed(0)
            draws = [
                interventions.set(model, x, {label.name: 1}, data.labels(shown), point="draw", generator=generator).x
                for _ in range(16)
            ]
            spread = torch.from_numpy(variance_map(torch.stack(draws, 1).numpy()).mean(0))
            maps[label.name] = (spread / spread.max().clamp_min(1e-9))[None]
    if maps:
        parts.append(Sheet("Where draws of a label's block differ", torch.stack([*maps.values()])[None], columns=[*maps]))
    out["edits.png"] = sheets(parts)
    return out
