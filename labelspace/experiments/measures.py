"""What several recipes measure on a model, as plain data."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
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
from labelspace.evaluation.operators import Operator, best
from labelspace.evaluation.probing import chosen, probes, reconstructed
from labelspace.evaluation.units import Truths, units
from labelspace.metrics import diversity, mean, morphology
from labelspace.models.base import Model
from labelspace.storage import cache, tensorfiles

_TRIED = 200  # validation samples that operators are tried on


def reconstruction_error(model: Model, data: Dataset, rows: np.ndarray) -> float:
    """Mean squared error of samples decoded from their mean codes; missing cells are left out."""
    return float(((reconstructed(model, data, rows) - data.samples(rows)) ** 2).nanmean())


def edited(model: Model, data: Dataset, reader: Judge, rows: np.ndarray, label: str, seed: int) -> dict[str, Any]:
    """What setting a label to another value achieves: the judge's verdict, the other labels, and errors.

    Samples are edited by the operator that did best on validation samples (:mod:`labelspace.evaluation.operators`), of those
    that keep no detail, because papers do not.

    "operator": its name. "judge": rate at which the judge reads the new value. "kept": other label -> rate at which its verdict
    stayed. "changed": mean squared difference to the original. Where the truth is known: "to_truth", mean squared error to the
    nearest true picture, "nothing", that of doing nothing, and "error", the one over the other.
    """
    i, size = data.schema.index(label), len(data.schema[label].values)

    def asked(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        part = part[data.observed[part, i]]
        return part, (data.values[part, i] + np.random.default_rng(seed).integers(1, size, len(part))) % size

    trial, wished = asked(chosen(data, "val" if "val" in data.splits else "train", _TRIED, seed))
    operator = best(model, data, reader, trial, label, wished) if len(trial) else Operator()
    rows, wanted = asked(rows)
    x, made, new = data.samples(rows), operator.apply(model, data, rows, label, wanted), torch.from_numpy(wanted)
    out: dict[str, Any] = {
        "operator": operator.name,
        "judge": hit_rate(reader, made, label, new).to_dict(),
        "kept": {name: score.to_dict() for name, score in side_effects(reader, x, made, label).kept.items()},
        "changed": mean(((made - x) ** 2).flatten(1).nanmean(1).numpy()).to_dict(),
    }
    if data.truth is not None and data.schema[label].kind == "binary":
        errors = edits.errors(Truths(data, rows, label, wanted), made)["all"]
        out |= {"to_truth": errors["error"], "nothing": errors["doing_nothing"], "error": errors["ratio"]}
    return out


def operators(of: Iterable[dict[str, Any]]) -> str:
    """The operators that edits of several runs and labels were made by, and in how many cases, as a cell of a table."""
    names = Counter(edit["operator"] for edits in of for edit in edits.values() if "operator" in edit)
    return "; ".join(f"{name} ({count})" if len(names) > 1 else name for name, count in names.most_common()) or "-"


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
    """What strong readers say of every label off test samples, of draws and of means: see
    :func:`labelspace.evaluation.probing.probes`. Labels that are too rare to be read are left out."""
    found = probes(model, data, chosen(data, "test", most, seed), seed=seed)
    return {name: row for name, row in found.items() if "not probed" not in row}


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
