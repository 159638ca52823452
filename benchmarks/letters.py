"""Steering weight, width and slant of letters: the figures and pictures of docs/letters.md.

    python benchmarks/letters.py FONT [--models lsvae,condvae,...] [--seeds 0,1] [--runs DIR] [--out docs]

FONT is a variable font with the axes weight, width and slant. Every model is trained on the same letters. Three kinds of
letters are kept out of training and validation: all weights from 500 to 600; bold and narrow at once (weight 700 or more and
width 60 or less); and the bold of two letters, of which training sees weights up to 400 only. Every edit is compared with the
letter as the font draws it.

A trained model and what was measured on it are kept in --runs and not made again. Written to --out: evidence/letters.json,
evidence/letters.md and pictures/letters-*.png.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import labelspace as ls
from labelspace import interventions
from labelspace.data import store
from labelspace.data.dataset import Dataset, as_float
from labelspace.data.truth import FactorGrid
from labelspace.errors import OutsideData
from labelspace.metrics import r_squared
from labelspace.metrics.morphology import measure
from labelspace.models.base import Model
from labelspace.models.networks import Network
from labelspace.reporting import figures
from labelspace.reporting.tables import markdown
from labelspace.storage import files

READING = {"weight": "thickness", "width": "width", "slant": "slant"}
"""Axis -> the measure of :mod:`labelspace.metrics.morphology` that shows it."""
AREAS = {
    "gap": "weights that were never seen (500 to 600)",
    "corner": "bold and narrow at once, each seen alone",
    "bold": "the bold of letters of which only the light was seen",
}
_STEPS = 5  # values of an axis that letters are set to
_READ = 60  # letters whose strokes are measured
_FAINT = 0.15  # brightness below which a pixel is ground when strokes are measured


def held_out(data: Dataset, values: np.ndarray, few: str) -> dict[str, np.ndarray]:
    """Area -> which rows of label values ``(n, labels)`` lie in it, ``(n,)`` bool."""
    weight, width = (values[:, data.schema.index(name)] for name in ("weight", "width"))
    letter = np.array(data.schema["character"].classes)[values[:, data.schema.index("character")].astype(int)]
    return {
        "gap": (weight >= 500) & (weight <= 600),
        "corner": (weight >= 700) & (width <= 60),
        "bold": np.isin(letter, list(few)) & (weight > 400),
    }


def without(data: Dataset, few: str) -> Dataset:
    """The same data whose training and validation splits, and the sources of edits, lie in no held-out area."""
    kept = ~np.any(list(held_out(data, data.values, few).values()), axis=0)
    return replace(data, splits={name: rows[kept[rows]] for name, rows in data.splits.items()})


def drawn(data: Dataset, factors: np.ndarray) -> Tensor:
    """Letters as the font draws them, ``(n, 1, size, size)`` in [0, 1]."""
    assert isinstance(data.truth, FactorGrid)
    return as_float(torch.from_numpy(store.resolve(data.truth.name)(factors, **data.truth.arguments)))


def stops(data: Dataset, axis: str) -> list[float]:
    """The values of an axis that letters are set to, from its smallest to its largest."""
    assert isinstance(data.truth, FactorGrid)
    levels = data.truth.rule(axis).levels
    return np.rint(np.linspace(levels[0], levels[-1], _STEPS)).tolist()


def alone(areas: dict[str, np.ndarray], area: str) -> np.ndarray:
    """Which rows lie in one area and in no other."""
    return areas[area] & ~np.any([inside for name, inside in areas.items() if name != area], axis=0)


def squares(made: Tensor, true: Tensor) -> np.ndarray:
    return ((made - true) ** 2).flatten(1).mean(1).numpy()


class Measured:
    """Edits of the test letters and their truth, the same for every model."""

    def __init__(self, data: Dataset, few: str, most: int, seed: int = 0) -> None:
        assert data.truth is not None
        assert data.factors is not None
        self.data, self.few = data, few
        self.rows = data.rows("test")[:most]
        self.x, self.labels = data.samples(self.rows), data.labels(self.rows)
        factors = data.factors[self.rows]
        self.edits = []  # axis, value, truth, area -> rows whose truth lies in it
        for axis in READING:
            for value in stops(data, axis):
                changed = data.truth.changed(factors, axis, value)[:, 0]
                self.edits.append((axis, value, drawn(data, changed), held_out(data, data.truth.labels(changed)[0], few)))
        # Of every letter the next one's style, in a random order.
        order = np.random.default_rng(seed).permutation(len(self.rows))
        self.donors = np.empty_like(order)
        self.donors[order] = np.roll(order, 1)
        styled = factors.copy()
        styled[:, 1:] = factors[self.donors, 1:]
        seen = ~np.any(list(held_out(data, data.truth.labels(styled)[0], few).values()), axis=0)
        self.styled, self.styled_seen = drawn(data, styled), seen


def restyled(model: Model, kept: Measured) -> Tensor:
    """Letters with weight, width and slant of their donors."""
    done = None
    donors = (kept.labels[0][kept.donors], kept.labels[1][kept.donors])
    for axis in READING:
        labels = kept.labels if done is None else None
        done = interventions.transfer(model, kept.x, kept.x[kept.donors], axis, labels, donors, after=done)
    assert done is not None
    return done.x


@torch.no_grad()
def reconstructed(model: Model, x: Tensor, labels: interventions.Labels) -> Tensor:
    return model.decode(model.encode(x, *labels).map(lambda part: part.mode)).mean


def evaluate(model: Model, kept: Measured) -> dict[str, Any]:
    """Errors to the truth over those of doing nothing, and what is read off the strokes."""
    x, labels = kept.x, kept.labels
    sums: dict[str, list[np.ndarray]] = {}
    read: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {axis: [] for axis in READING}
    warnings.simplefilter("ignore", OutsideData)  # some letters are asked for that training did not have
    for axis, value, true, areas in kept.edits:
        made = interventions.set(model, x, {axis: value}, labels).x
        detailed = interventions.set(model, x, {axis: value}, labels, keep_detail=True).x.clamp(0, 1)
        told = labels[0].clone()
        told[:, kept.data.schema.index(axis)] = value
        errors = np.stack([squares(y, true) for y in (made, detailed, reconstructed(model, true, (told, labels[1])), x)], 1)
        seen = ~np.any(list(areas.values()), axis=0)
        sums.setdefault(axis, []).append(errors[seen])
        for area in areas:
            sums.setdefault(area, []).append(errors[alone(areas, area)])
        read[axis].append((_reading(made, axis), _reading(true, axis)))
    out: dict[str, Any] = {"reconstruction": float(squares(reconstructed(model, x, labels), x).mean()), "edits": {}}
    for name, parts in sums.items():
        errors = np.concatenate(parts)
        made, detailed, again, nothing = errors.mean(0).tolist() if len(errors) else [float("nan")] * 4
        out["edits"][name] = {
            "n": len(errors),
            "nothing": nothing,
            "error": made / nothing,
            "keep_detail": detailed / nothing,
            "told_the_truth": again / nothing,
        }
    out["readings"] = {axis: _followed(np.array(pairs), stops(kept.data, axis)) for axis, pairs in read.items()}
    seen = kept.styled_seen
    made, nothing = (squares(y, kept.styled)[seen].mean() for y in (restyled(model, kept), x))
    out["transfer"] = {"n": int(seen.sum()), "nothing": float(nothing), "error": float(made / nothing)}
    return out


def _reading(x: Tensor, axis: str) -> np.ndarray:
    """The measure that shows an axis, of the first letters; a decoder's faint grey around a letter is no stroke."""
    clear = torch.where(x[:_READ] < _FAINT, 0.0, x[:_READ].clamp(0, 1))
    return measure(clear.numpy(), workers=1)[READING[axis]]


def _followed(readings: np.ndarray, asked: list[float]) -> dict[str, float]:
    """How a reading ``(values, 2, letters)`` of edits and truths follows what was asked, and the edits' the truths'."""
    whole = readings[:, :, ~np.isnan(readings).any((0, 1))]
    about = whole - whole.mean(0)  # letters differ in thickness and width; what counts is the change
    wanted = np.repeat(np.array(asked)[:, None] - np.mean(asked), whole.shape[2], axis=1)
    out = {}
    for i, name in enumerate(("asked_by_edit", "asked_by_truth")):
        squared = (about[:, i] ** 2).sum() * (wanted**2).sum()
        out[name] = float((about[:, i] * wanted).sum() ** 2 / squared) if squared else 0.0
    return out | {"truth_by_edit": r_squared(whole[:, 1].ravel(), whole[:, 0].ravel()).value}


# -- what is written ---------------------------------------------------------------------------------------------------------


def summary(found: dict[str, dict[str, Any]], about: dict[str, Any]) -> str:
    """The evidence page."""
    models = list(dict.fromkeys(run["model"] for run in found.values()))

    def cell(model: str, read, form: str = "{:.2f}") -> str:
        values = [read(run) for run in found.values() if run["model"] == model]
        mean, low, high = (form.format(f(values)) for f in (np.mean, np.min, np.max))
        return f"{mean} ({low} - {high})" if len(values) > 1 else mean

    def row(model: str, *reads) -> list[str]:
        return [model, *(cell(model, read) for read in reads)]

    def error(name: str, which: str = "error"):
        return lambda run: run["edits"][name][which]

    def reading(axis: str, which: str):
        return lambda run: run["readings"][axis][which]

    first = [row(m, *map(error, READING), lambda r: r["transfer"]["error"]) for m in models]
    detail = [row(m, *(error(axis, "keep_detail") for axis in READING)) for m in models]
    new = [row(m, *map(error, AREAS)) for m in models]
    told = [row(m, *(error(name, "told_the_truth") for name in (*READING, *AREAS))) for m in models]
    read = [row(m, *(reading(axis, "truth_by_edit") for axis in READING)) for m in models]
    asked = [row(m, *(reading(axis, "asked_by_edit") for axis in READING)) for m in models]
    any_run = next(iter(found.values()))
    asked.append(["the font itself", *(f"{any_run['readings'][axis]['asked_by_truth']:.2f}" for axis in READING)])
    times = [[m, cell(m, lambda r: r["minutes"], "{:.1f}"), cell(m, lambda r: r["reconstruction"], "{:.4f}")] for m in models]
    seeds = len({run["seed"] for run in found.values()})
    counts = ", ".join(f"{name} {any_run['edits'][name]['n']:,}" for name in (*READING, *AREAS))
    few = " and ".join(about["few"])
    areas = "".join(f"- {name}: {what}{f' ({few})' if name == 'bold' else ''}\n" for name, what in AREAS.items())
    return f"""# Letters

{about["font"]} ({about["address"]}): {about["train"]:,} training letters, {about["epochs"]} epochs, networks of
{about["network"]} units. {about["letters"]} test letters that lie in no held-out area are edited. {seeds} seeds of the
models: the mean, and smallest and largest in brackets. One thread of a busy machine.

```
{about["command"]}
```

Edits that a column rests on: {counts}; transfers {any_run["transfer"]["n"]:,}.

## Error to the letter as the font draws it, over that of doing nothing

Each letter is set to {_STEPS} values of each axis, from its smallest to its largest; "style of another" gives it the weight,
width and slant of another letter.

{markdown(["model", *READING, "style of another"], first)}
With `keep_detail`:

{markdown(["model", *READING], detail)}
## Letters of kinds that were not in training

{areas}
{markdown(["model", *AREAS], new)}
For comparison, the same error where the model encodes and decodes the true letter itself:

{markdown(["model", *READING, *AREAS], told)}
## What is read off the strokes

Thickness for weight, width for width, slant for slant ({_READ} letters; pixels darker than {_FAINT} are
ground). R^2 of the reading of the edit for that of the true letter:

{markdown(["model", *READING], read)}
r^2 of the reading and the value that was asked for, within each letter:

{markdown(["model", *READING], asked)}
## Cost

{markdown(["model", "training minutes", "reconstruction MSE"], times)}
All figures: [letters.json](letters.json).
"""


def pictures(model: Model, kept: Measured, out: Path, few: str) -> None:
    """Walks, edits, letters of no training kind, and transfers, each beside the truth."""
    data, x = kept.data, kept.x
    classes = data.schema["character"].classes
    letter = np.array(classes)[kept.labels[0][:, data.schema.index("character")].numpy().astype(int)]
    weight = kept.labels[0][:, data.schema.index("weight")].numpy()
    first = [int(np.flatnonzero(letter == c)[0]) for c in dict.fromkeys(letter[~np.isin(letter, list(few))])][:2]
    parts = []
    for axis in READING:
        lines, names = [], []
        for i in first:
            one = (kept.labels[0][i : i + 1], kept.labels[1][i : i + 1])
            made = [interventions.set(model, x[i : i + 1], {axis: v}, one).x[0] for a, v, _, _ in kept.edits if a == axis]
            true = [t[i] for a, _, t, _ in kept.edits if a == axis]
            lines += [torch.stack([x[i], *made]), torch.stack([x[i], *true])]
            names += ["model", "font"]
        columns = ["original", *(f"{v:g}" for v in stops(data, axis))]
        parts.append(figures.Sheet(axis, torch.stack(lines), names, columns, apart=(0, 1)))
    figures.write(figures.sheets(parts), out / "letters-walk.png")
    parts = []
    for area, what in AREAS.items():
        found = {}
        for axis, value, truth, areas in kept.edits:
            for i in np.flatnonzero(alone(areas, area)) if axis == "weight" else ():
                if abs(weight[i] - value) > 100:  # a letter comes once, at the largest of such weights
                    one = (kept.labels[0][i : i + 1], kept.labels[1][i : i + 1])
                    found[i] = (x[i], interventions.set(model, x[i : i + 1], {axis: value}, one).x[0], truth[i])
        if found:
            lines = torch.stack([torch.stack(line) for line in zip(*list(found.values())[:8], strict=True)])
            parts.append(figures.Sheet(what, lines, ["original", "model", "font"]))
    if parts:
        figures.write(figures.sheets(parts), out / "letters-new.png")
    some = np.flatnonzero(kept.styled_seen & (letter != letter[kept.donors]))[:8]
    lines = torch.stack([y[some] for y in (x, x[kept.donors], restyled(model, kept), kept.styled)])
    sheet = figures.Sheet("", lines, ["letter", "style of", "model", "font"], apart=(2, 0))
    figures.write(figures.sheets([sheet]), out / "letters-style.png")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Steer weight, width and slant of letters; compare with the font.")
    parser.add_argument("font")
    parser.add_argument("--models", default="lsvae,condvae,condvae-info,m2,ccvae,diva")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--characters", default="HAMBURGEFONTSIV")
    parser.add_argument("--few", default="RS", help="letters of which only the light is seen")
    parser.add_argument("--n", type=int, default=6000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--width", type=int, default=256, help="hidden units of the networks' two layers")
    parser.add_argument("--letters", type=int, default=200, help="test letters that are edited")
    parser.add_argument("--runs", type=Path, default=Path("runs/letters"))
    parser.add_argument("--out", type=Path, default=Path("docs"))
    given = parser.parse_args(arguments)
    address = f"glyphs:{given.font},characters={given.characters},n={given.n},size={given.size}"
    data = without(ls.open(address), given.few)
    kept = Measured(data, given.few, given.letters)
    found: dict[str, dict[str, Any]] = {}
    for seed in map(int, given.seeds.split(",")):
        for name in given.models.split(","):
            run = f"{name}-{seed}"
            if not (given.runs / f"{run}.json").exists():
                torch.manual_seed(seed)
                model = ls.build(name, data, network=Network(kind="mlp", width=given.width))
                done = ls.fit(model, data, epochs=given.epochs, seed=seed)
                ls.save(model, given.runs / run)
                measured = {"model": name, "seed": seed, "minutes": done.seconds / 60, **evaluate(model.eval(), kept)}
                files.write_json(given.runs / f"{run}.json", measured)
            found[run] = files.read_json(given.runs / f"{run}.json")
            errors = ", ".join(f"{part} {e['error'] or float('nan'):.2f}" for part, e in found[run]["edits"].items())
            print(f"{run}: {errors}", flush=True)
    about = {
        "font": Path(given.font).name,
        "address": f"characters={given.characters},n={given.n},size={given.size}",
        "train": len(data.rows("train")),
        "epochs": given.epochs,
        "network": f"two layers of {given.width}",
        "letters": len(kept.rows),
        "few": list(given.few),
        "command": f"python benchmarks/letters.py FONT --models {given.models} --seeds {given.seeds} --epochs {given.epochs}",
    }
    files.write_json(given.out / "evidence" / "letters.json", {**about, "runs": found})
    files.write(given.out / "evidence" / "letters.md", summary(found, about))
    pictures(ls.load(given.runs / next(iter(found))), kept, given.out / "pictures", given.few)


if __name__ == "__main__":
    main(sys.argv[1:])
