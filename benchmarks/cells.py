"""What label-structured models find in cells: where the type can be read, and which genes change when it is set.

    python benchmarks/cells.py 10x_pbmc68k_reduced.h5ad [--seeds 0,1,2] [--epochs 60] [--workers 1] [--out docs/evidence/cells]

The file is in the scanpy 1.11.5 wheel (docs/cells.md shows how to get it): 700 cells, 765 genes, ten types of blood cell.
Seeds choose the splits and the initial weights. Held-out cells are those of the validation and test splits. Fresh probes
(two layers of 256) are trained on the codes of training cells and scored on those of held-out cells, by balanced accuracy
over the types that have at least 15 cells; the label is hidden from the encoder, so that nothing is read that was only
handed through.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

import labelspace as ls
from labelspace.data.dataset import Dataset
from labelspace.evaluation.probing import posterior
from labelspace.experiments.script import main, mean
from labelspace.metrics import strong_probe
from labelspace.models.base import Model
from labelspace.reporting.figures import COLOURS
from labelspace.reporting.figures.base import label, styled

LABEL = "bulk_labels"
LEAST = 15  # cells of a type that is probed
SHOWN = 10  # genes
MODELS = ("lsvae", "ccvae", "condvae")
MARKERS = {
    "CD19+ B": ("CD79A", "CD79B", "MS4A1", "CD74", "HLA-DRA", "HLA-DQA1"),
    "CD56+ NK": ("NKG7", "GNLY", "GZMB", "PRF1", "CST7", "FGFBP2"),
    "CD14+ Monocyte": ("LYZ", "CST3", "S100A8", "S100A9", "FCN1", "LST1"),
}


def trained(name: str, data: Dataset, seed: int, epochs: int) -> Model:
    torch.manual_seed(seed)
    return ls.fit(ls.build(name, data), data, epochs=epochs, seed=seed).model


def read(model: Model, data: Dataset, train: np.ndarray, held: np.ndarray, seed: int) -> dict[str, float]:
    """Balanced accuracy of the type, read from the label's own block and from the free one."""
    y = data.values[:, 0]
    mine, other = (posterior(model, data, rows, hidden=True) for rows in (train, held))
    places = {"own": [b.name for b in model.blocks if b.label is not None], "free": [b.name for b in model.blocks.free]}
    out = {}
    for place, names in places.items():
        a, b = (torch.cat([codes[name].mode for name in names], 1).numpy() for codes in (mine, other))
        out[place] = strong_probe(a, y[train], held_codes=b, held_labels=y[held], seed=seed).value
    return out


def changes(model: Model, data: Dataset, held: np.ndarray, kind: str, how: str) -> np.ndarray:
    """Mean change of every gene ``(genes,)`` by which held-out cells of other types, as reconstructed, become ``kind``."""
    code = data.schema[LABEL].classes.index(kind)
    others, donors = held[data.values[held, 0] != code], held[data.values[held, 0] == code]
    x, labels = data.samples(others), data.labels(others)
    if how == "set":
        done = ls.interventions.set(model, x, {LABEL: kind}, labels)
    else:
        given = np.resize(donors, len(others))
        done = ls.interventions.transfer(model, x, data.samples(given), LABEL, labels, data.labels(given))
    assert done.encoded is not None
    with torch.no_grad():
        return (done.x - model.decode(done.encoded).mean).mean(0).numpy()


def genes(data: Dataset, change: np.ndarray, train: np.ndarray, kind: str) -> dict[str, Any]:
    """The genes that change most, and how far that is what sets the type apart in the training cells."""
    names = np.array([variable.name for variable in data.variables])
    mine = data.values[train, 0] == data.schema[LABEL].classes.index(kind)
    real = data.x[train][mine].mean(0) - data.x[train][~mine].mean(0)
    order = np.argsort(-change)
    known = [name for name in MARKERS[kind] if name in names]
    ranks = {name: int(np.flatnonzero(names[order] == name)[0]) + 1 for name in known}
    return {
        "up": [[str(names[i]), float(change[i])] for i in order[:SHOWN]],
        "down": [[str(names[i]), float(change[i])] for i in order[::-1][:SHOWN]],
        "marker_ranks": ranks,
        "correlation": float(np.corrcoef(change, real)[0, 1]),
        "slope": float((change * real).sum() / (real**2).sum()),
    }


def measure(file: str, seed: int, epochs: int) -> dict[str, Any]:
    """Everything of one seed."""
    torch.set_num_threads(1)
    data = ls.open(f"h5ad:{file}", [LABEL], seed=seed)
    y, classes = data.values[:, 0].astype(int), data.schema[LABEL].classes
    probed = np.flatnonzero(np.isin(y, np.flatnonzero(np.bincount(y, minlength=len(classes)) >= LEAST)))
    held = np.concatenate([data.rows("val"), data.rows("test")])
    rows = [np.intersect1d(part, probed) for part in (data.rows("train"), held)]
    out: dict[str, Any] = {
        "seed": seed,
        "held_out": {name: int((y[held] == i).sum()) for i, name in enumerate(classes)},
        "cells": {name: int((y == i).sum()) for i, name in enumerate(classes)},
        "chance": 1 / len(np.unique(y[rows[1]])),
        "from_genes": strong_probe(
            data.x[rows[0]], y[rows[0]], held_codes=data.x[rows[1]], held_labels=y[rows[1]], seed=seed
        ).value,
        "models": {},
    }
    for name in MODELS:
        model = trained(name, data, seed, epochs)
        x = data.samples(held)
        with torch.no_grad():
            predicted = model.predict(x).mode()[:, 0].numpy()
            again = model.decode(model.encode(x, *data.labels(held)).map(lambda q: q.mode)).mean
        out["models"][name] = {
            **read(model, data, rows[0], rows[1], seed),
            "predicted": float((predicted == y[held]).mean()),
            "unexplained": float((again - x).square().mean() / x.var()),
            "genes": {
                kind: {how: genes(data, changes(model, data, held, kind, how), rows[0], kind) for how in ("set", "transfer")}
                for kind in MARKERS
            },
        }
    return out


def page(found: list[dict[str, Any]], command: str) -> str:
    """The tables as Markdown."""
    lines = [
        "# Types of blood cell: all figures",
        "",
        f"Written by `{command}`: {len(found)} seeds, the mean, and smallest and largest in brackets.",
        "Held-out cells; how it is measured is said in the script.",
        "",
        "| model | type read from its own block | from the free block | predicted | variance unexplained |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in MODELS:
        rows = [seed["models"][name] for seed in found]
        own, free, predicted = (mean([row[key] for row in rows], ".1%") for key in ("own", "free", "predicted"))
        lines.append(f"| {name} | {own} | {free} | {predicted} | {mean([row['unexplained'] for row in rows], '.2f')} |")
    chance, genes_ = (mean([seed[key] for seed in found], ".1%") for key in ("chance", "from_genes"))
    lines += ["", f"Chance is {chance}; the same probe reads {genes_} from all genes."]
    lines += ["", "| type | cells | held out, by seed |", "| --- | --- | --- |"]
    for kind, n in found[0]["cells"].items():
        lines.append(
            f"| {kind}{'' if n >= LEAST else ' (not probed)'} | {n} | {', '.join(str(s['held_out'][kind]) for s in found)} |"
        )
    lines += ["", "## Genes that change most when a type is set or transferred", ""]
    lines += ["The mean change in held-out cells of all other types, in the file's units, seed 0; markers in bold.", ""]
    lines += ["| type | how | model | most up | most down | correlation with the types' real difference | slope |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
    for kind, markers in MARKERS.items():
        for how in ("set", "transfer"):
            for name in MODELS:
                rows = [seed["models"][name]["genes"][kind][how] for seed in found]
                up, down = (
                    ", ".join(f"**{gene}**" if gene in markers else gene for gene, _ in rows[0][way][:6])
                    for way in ("up", "down")
                )
                numbers = [mean([row[key] for row in rows], ".2f") for key in ("correlation", "slope")]
                lines.append(f"| {kind} | {how} | {name} | {up} | {down} | {' | '.join(numbers)} |")
    lines += ["", "Ranks of known markers among the genes, of 1 for the one that goes up most (set; median over seeds):", ""]
    lines += [f"| type | {' | '.join(MODELS)} |", f"| --- |{' --- |' * len(MODELS)}"]
    for kind in MARKERS:
        cells = []
        for name in MODELS:
            ranks = [seed["models"][name]["genes"][kind]["set"]["marker_ranks"] for seed in found]
            cells.append(", ".join(f"{gene} {np.median([r[gene] for r in ranks]):g}" for gene in ranks[0]))
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


@styled
def picture(found: list[dict[str, Any]], model: str = "lsvae") -> Figure:
    """The genes that go up and down most when types are set, with seed 0."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for axis, kind in zip(figure.subplots(1, len(MARKERS)), MARKERS, strict=True):
        row = found[0]["models"][model]["genes"][kind]["set"]
        bars = [*row["up"], *row["down"][::-1]]
        shades = [COLOURS[1] if gene in MARKERS[kind] else COLOURS[0] for gene, _ in bars]
        axis.barh(range(len(bars)), [change for _, change in bars], color=shades)
        axis.set_yticks(range(len(bars)), [gene for gene, _ in bars])
        axis.invert_yaxis()
        axis.axvline(0, color="0.4", linewidth=0.8)
        label(axis, ("mean change, in the file's units", ""), f"set to {kind}")
    return figure


if __name__ == "__main__":
    main(__file__, __doc__, measure, page, picture, epochs=60)
