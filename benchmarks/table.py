"""What a label-structured model finds in a table with missing cells: where labels are read, and what moves when one is set.

    python benchmarks/table.py penguins.csv [--seeds 0,1,2] [--epochs 150] [--workers 1] [--out docs/evidence/table]

The file is in the palmerpenguins package (docs/table.md shows how to get it): 344 penguins of three species. Labels are the
species and the body mass. Held-out penguins are those of the validation and test splits. Fresh probes are trained on the
codes of training rows, encoded without their labels, and scored on those of held-out rows: two layers of 256 (species,
balanced accuracy), ridge regression (body mass, R^2).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import labelspace as ls
from labelspace.data.dataset import Dataset
from labelspace.evaluation.probing import posterior
from labelspace.experiments.script import main, mean
from labelspace.metrics import strong_probe
from labelspace.models.base import Model
from labelspace.reporting.figures import COLOURS
from labelspace.reporting.figures.base import label, styled

LABELS = ["species", "body_mass_g"]
MODEL = "lsvae"


def read(model: Model, data: Dataset, train: np.ndarray, held: np.ndarray, seed: int) -> dict[str, dict[str, float]]:
    """What probes read of each label in each block: balanced accuracy of classes, R^2 of numbers."""
    out: dict[str, dict[str, float]] = {}
    for i, target in enumerate(data.schema):
        mine, other = (rows[data.observed[rows, i]] for rows in (train, held))
        codes = [posterior(model, data, rows, hidden=True) for rows in (mine, other)]
        y = [data.values[rows, i] for rows in (mine, other)]
        for block in model.blocks:
            a, b = (code[block.name].mode.numpy() for code in codes)
            if target.discrete:
                score = strong_probe(a, y[0], held_codes=b, held_labels=y[1], seed=seed).value
            else:
                score = float(r2_score(y[1], make_pipeline(StandardScaler(), Ridge()).fit(a, y[0]).predict(b)))
            out.setdefault(target.name, {})[block.name] = score
    return out


def columns(data: Dataset, x: np.ndarray) -> dict[str, Any]:
    """What rows of the table look like, column by column: the mean, or the share of each class."""
    out: dict[str, Any] = {}
    for variable, cells in zip(data.variables, x.T, strict=True):
        known = cells[~np.isnan(cells)]
        if variable.kind == "categorical":
            shares = np.bincount(known.astype(int), minlength=len(variable.classes)) / len(known)
            out[variable.name] = dict(zip(variable.classes, shares.tolist(), strict=True))
        else:
            out[variable.name] = float(known.mean())
    return out


def measure(file: str, seed: int, epochs: int) -> dict[str, Any]:
    """Everything of one seed."""
    torch.set_num_threads(1)
    data = ls.open(f"table:{file}", LABELS, seed=seed)
    train, held = data.rows("train"), np.concatenate([data.rows("val"), data.rows("test")])
    torch.manual_seed(seed)
    model = ls.fit(ls.build(MODEL, data), data, epochs=epochs, seed=seed).model
    species = data.schema["species"]
    whole = data.observed[held].all(1)
    x, labels = data.samples(held[whole]), data.labels(held[whole])
    out: dict[str, Any] = {"seed": seed, "held_out": len(held), "read": read(model, data, train, held, seed)}
    with torch.no_grad():
        predicted = model.predict(data.samples(held)).mode().numpy()
    out["predicted"] = {
        "species": float((predicted[:, 0] == data.values[held, 0]).mean()),
        "body_mass_g": float(r2_score(data.values[held, 1][data.observed[held, 1]], predicted[:, 1][data.observed[held, 1]])),
    }
    out["real"] = {name: columns(data, data.x[train][data.values[train, 0] == i]) for i, name in enumerate(species.values)}
    with torch.no_grad():
        codes = model.encode(x, *labels).map(lambda q: q.mode)
        out["before"] = columns(data, model.decode(codes).mean.numpy())
    out["set"] = {
        name: columns(data, ls.interventions.set(model, x, {"species": name}, labels, keep_detail=False).x.numpy())
        for name in species.values
    }
    out["transferred"] = {}
    for i, name in enumerate(species.values):
        donors = np.resize(np.flatnonzero(labels[0][:, 0].numpy() == i), len(x))
        done = ls.interventions.transfer(
            model, x, x[donors], "species", labels, (labels[0][donors], labels[1][donors]), keep_detail=False
        )
        out["transferred"][name] = columns(data, done.x.numpy())
    generator = torch.Generator().manual_seed(seed)
    out["made"] = {
        name: columns(data, ls.interventions.generate(model, {"species": name}, 500, mean=True, generator=generator).x.numpy())
        for name in species.values
    }
    out["heavier"] = {
        str(mass): columns(data, ls.interventions.set(model, x, {"body_mass_g": mass}, labels, keep_detail=False).x.numpy())
        for mass in (3500, 5500)
    }
    return out


def _line(what: str, rows: list[dict[str, Any]]) -> str:
    cells = []
    for name, cell in rows[0].items():
        if isinstance(cell, dict):
            shares = {key: math.fsum(row[name][key] for row in rows) / len(rows) for key in cell}
            cells.append(" ".join(f"{key} {share:.0%}" for key, share in shares.items()))
        else:
            cells.append(f"{math.fsum(row[name] for row in rows) / len(rows):.1f}")
    return f"| {what} | {' | '.join(cells)} |"


def page(found: list[dict[str, Any]], command: str) -> str:
    """The tables as Markdown."""
    lines = [
        "# Penguins",
        "",
        f"Written by `{command}`: {len(found)} seeds. Held-out rows; how it is measured is said in the script.",
    ]
    lines += ["", "What is read where, the mean, and smallest and largest in brackets:", ""]
    blocks = list(found[0]["read"]["species"])
    lines += [f"| label | {' | '.join(blocks)} | predicted |", f"| --- |{' --- |' * (len(blocks) + 1)}"]
    for name, score, form in (("species", "balanced accuracy", ".1%"), ("body_mass_g", "R^2", ".2f")):
        cells = [mean([seed["read"][name][block] for seed in found], form) for block in blocks]
        predicted = mean([seed["predicted"][name] for seed in found], form)
        lines.append(f"| {name} ({score}) | {' | '.join(cells)} | {predicted} |")
    names = list(found[0]["before"])
    lines += ["", "Columns, in the file's own units; means over seeds:", "", f"| rows | {' | '.join(names)} |"]
    lines += [f"| --- |{' --- |' * len(names)}", _line("held out, as reconstructed", [seed["before"] for seed in found])]
    for part, what in (
        ("set", "held out, species set to {}"),
        ("transferred", "held out, given the species of {} donors"),
        ("made", "new, generated as {}"),
        ("real", "real {}, training rows"),
        ("heavier", "held out, body mass set to {} g"),
    ):
        for name in found[0][part]:
            lines.append(_line(what.format(name), [seed[part][name] for seed in found]))
    return "\n".join(lines) + "\n"


@styled
def picture(found: list[dict[str, Any]]) -> Figure:
    """Every continuous column of held-out rows after the species is set, beside the real species; means over seeds."""
    names = [name for name, cell in found[0]["before"].items() if not isinstance(cell, dict)]
    kinds = list(found[0]["set"])
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names)), names, strict=True):
        for i, (part, what) in enumerate((("set", "set"), ("made", "generated"), ("real", "real"))):
            heights = [math.fsum(seed[part][kind][name] for seed in found) / len(found) for kind in kinds]
            axis.plot(range(len(kinds)), heights, "os^"[i], color=COLOURS[i], label=what, markersize=6 if part != "real" else 4)
        axis.axhline(math.fsum(seed["before"][name] for seed in found) / len(found), color="0.4", linewidth=0.8)
        axis.set_xticks(range(len(kinds)), kinds)
        axis.margins(x=0.25)
        label(axis, ("", ""), name)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


if __name__ == "__main__":
    main(__file__, __doc__, measure, page, picture, epochs=150)
