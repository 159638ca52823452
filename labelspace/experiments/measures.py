"""What several recipes measure on a model, as plain data."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelspace import interventions
from labelspace.data.dataset import Dataset
from labelspace.evaluation import edits
from labelspace.evaluation.judge import Judge
from labelspace.evaluation.manipulation import errors_to_styles, hit_rate, side_effects
from labelspace.evaluation.probing import best_probe, chosen, probes, reconstructed
from labelspace.evaluation.units import units
from labelspace.metrics import diversity, mean, morphology
from labelspace.models.base import Model
from labelspace.storage import cache, tensorfiles


def reconstruction_error(model: Model, data: Dataset, rows: np.ndarray) -> float:
    """Mean squared error of samples decoded from their mean codes; missing cells are left out."""
    return float(((reconstructed(model, data, rows) - data.samples(rows)) ** 2).nanmean())


def edited(model: Model, data: Dataset, reader: Judge, rows: np.ndarray, label: str, seed: int) -> dict[str, Any]:
    """What setting a label to another value achieves: the judge's verdict, the other labels, and errors.

    "judge": rate at which the judge reads the new value. "kept": other label -> rate at which its verdict stayed. "changed":
    mean squared difference to the original. Where the truth is known: "to_truth", mean squared error to the nearest true
    picture, and "error", that over the error of doing nothing.
    """
    rows = rows[data.observed[rows, data.schema.index(label)]]
    x = data.samples(rows)
    made, wanted = edits.flip(model, data, rows, label, keep_detail=False, seed=seed)
    out: dict[str, Any] = {
        "judge": hit_rate(reader, made, label, wanted).to_dict(),
        "kept": {name: score.to_dict() for name, score in side_effects(reader, x, made, label).kept.items()},
        "changed": mean(((made - x) ** 2).flatten(1).nanmean(1).numpy()).to_dict(),
    }
    if data.truth is not None and data.schema[label].kind == "binary":
        errors = edits.errors(data, rows, label, x, made, wanted)["all"]
        out |= {"to_truth": errors["error"], "nothing": errors["doing_nothing"], "error": errors["ratio"]}
    return out


def styles(model: Model, data: Dataset, rows: np.ndarray, label: str, *, draws: int = 8, seed: int = 0) -> dict[str, Any]:
    """How many ways of having a binary label a model has: samples without it are given it ``draws`` times, at drawn points.

    "spread": mean squared difference between two draws of the same sample. "share": the part of all true styles that are
    nearest to any of a sample's draws, and its "ceiling" for so many draws; one of "styles" is what a single style gives.
    """
    lacking = rows[(data.values[rows, data.schema.index(label)] == 0) & data.observed[rows, data.schema.index(label)]]
    x, labels = data.samples(lacking), data.labels(lacking)
    generator = torch.Generator().manual_seed(seed)
    made = torch.stack(
        [interventions.set(model, x, {label: 1}, labels, point="draw", generator=generator).x for _ in range(draws)], 1
    )
    centre = made.mean(1, keepdim=True)
    out = {"spread": mean((2 * ((made - centre) ** 2).sum(1) / (draws - 1)).flatten(1).mean(1).numpy()).to_dict()}
    if data.truth is not None:
        truths, names = data.counterfactuals(label, 1, lacking)
        compared = units(data)
        true = compared(truths)
        found = diversity.style_coverage(np.stack([errors_to_styles(compared(made[:, i]), true) for i in range(draws)], 1))
        out |= {"share": found.share.to_dict(), "ceiling": found.ceiling, "styles": len(names)}
    return out


def donor_rate(model: Model, data: Dataset, rows: np.ndarray, label: str, seed: int) -> dict[str, float]:
    """How often a transfer is nearest to the donor's own style, of all true styles."""
    return edits.donor_transfer(model, data, rows, label, seed=seed).to_dict()


def leak(model: Model, data: Dataset, *, seed: int = 0, most: int = 4000) -> dict[str, Any]:
    """What fresh probes read of every label off test samples: see :func:`labelspace.evaluation.probing.probes`.

    Per label and place the score of the probe that reads most, and "chance".
    """
    found = probes(model, data, chosen(data, "test", most, seed), seed=seed)
    return {
        name: {place: best_probe(read) if isinstance(read, dict) else read for place, read in row.items() if place != "entropy"}
        for name, row in found.items()
        if "not probed" not in row
    }


def average(values: Iterable[float | None]) -> float | None:
    """The mean of what was measured; None where nothing was."""
    kept = [v for v in values if v is not None and math.isfinite(v)]
    return sum(kept) / len(kept) if kept else None


def first_of_each(data: Dataset, rows: np.ndarray, label: str) -> list[int]:
    """For each value of a discrete label, the first of some samples that has it."""
    i = data.schema.index(label)
    found = []
    for value in range(len(data.schema[label].values)):
        mine = rows[(data.values[rows, i] == value) & data.observed[rows, i]]
        found += [int(mine[0])] if len(mine) else []
    return found


def digit_shapes(data: Dataset, rows: np.ndarray) -> np.ndarray:
    """Thickness, slant and width of digits, ``(n, 3)``; measured once and kept in the cache. NaN where nothing is drawn."""
    images = np.ascontiguousarray(data.x[rows])
    key = hashlib.sha256(images.tobytes() + str((morphology.FORMAT, images.shape)).encode()).hexdigest()[:20]
    file = cache.place(f"morphology-{key}.safetensors")
    if file.exists():
        return tensorfiles.read(file)[0]["shapes"].numpy()
    shapes = shapes_of(torch.from_numpy(images), ["thickness", "slant", "width"])
    tensorfiles.write(file, {"shapes": torch.from_numpy(shapes)})
    return shapes


def shapes_of(images: Tensor, names: Sequence[str]) -> np.ndarray:
    """Measures of digits by name, ``(n, names)``; images are bytes, or floats of about [0, 1]."""
    if images.dtype != torch.uint8:
        images = images.clamp(0, 1)
    found = morphology.measure(images.numpy())
    return np.stack([found[name] for name in names], 1)
