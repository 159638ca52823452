"""What several recipes measure on a model, as plain data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelspace import files, interventions
from labelspace.blocks import Latents, concatenate
from labelspace.data.dataset import Dataset
from labelspace.data.store import cache_directory
from labelspace.evaluation import diversity, edits, leakage, morphology
from labelspace.evaluation.judge import Judge
from labelspace.evaluation.manipulation import errors_to_styles, hit_rate, side_effects
from labelspace.evaluation.scores import mean
from labelspace.models.base import Model


def reconstruction_error(model: Model, data: Dataset, rows: np.ndarray) -> float:
    """Mean squared error of test samples decoded from their mean codes; missing cells are left out."""
    x = data.samples(rows)
    with torch.no_grad():
        again = model.decode(model.encode(x, *data.labels(rows)).map(lambda part: part.mode)).mean_like(x)
    return float(((again - x) ** 2).nanmean())


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
        found = diversity.style_coverage(np.stack([errors_to_styles(made[:, i], truths) for i in range(draws)], 1))
        out |= {"share": found.share.to_dict(), "ceiling": found.ceiling, "styles": len(names)}
    return out


def donor_rate(model: Model, data: Dataset, rows: np.ndarray, label: str, seed: int) -> dict[str, float]:
    """How often a transfer is nearest to the donor's own style, of all true styles."""
    return edits.donor_transfer(model, data, rows, label, seed=seed).to_dict()


def leak(model: Model, data: Dataset, *, seed: int = 0, most: int = 4000) -> dict[str, Any]:
    """What fresh probes read of every discrete label: from the free blocks, from its own block, and from other labels' blocks.

    Balanced accuracy, on the mean codes of test samples; "chance" is one over the number of classes.
    """
    rows = data.rows("test")[:most]
    values, observed = (part.numpy() for part in data.labels(rows))
    posterior = encoded(model, data, rows)
    out: dict[str, Any] = {}
    for i, label in enumerate(data.schema):
        if not label.discrete:
            continue
        seen = observed[:, i]
        target = values[seen, i].astype(int)
        row: dict[str, Any] = {"chance": 1 / len(label.values)}
        free = [block.name for block in model.blocks.free]
        places = {"free": concatenate(posterior.take(free))} if free else {}
        labelled = [b for b in model.blocks if b.label is not None]
        places |= {"own" if b.label == label.name else f"other {b.label}": posterior[b.name] for b in labelled}
        for name, code in places.items():
            found = leakage.probe(code.numpy()[seen], target, seed=seed)
            row[name] = {kind: score.to_dict() for kind, score in found.items()}
        out[label.name] = row
    return out


@torch.no_grad()
def encoded(model: Model, data: Dataset, rows: np.ndarray, chunk: int = 500) -> Latents[Tensor]:
    """Mean codes of samples under what is known of their labels."""
    parts = [
        model.encode(data.samples(part), *data.labels(part)).map(lambda q: q.mode)
        for part in np.array_split(rows, max(1, -(-len(rows) // chunk)))
    ]
    return Latents(model.blocks, {b.name: torch.cat([part[b.name] for part in parts]) for b in model.blocks})


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
    key = hashlib.sha256(images.tobytes() + str(images.shape).encode()).hexdigest()[:20]
    file = cache_directory() / f"morphology-{key}.safetensors"
    if file.exists():
        return files.read_tensors(file)[0]["shapes"].numpy()
    shapes = shapes_of(torch.from_numpy(images), ["thickness", "slant", "width"])
    files.write_tensors(file, {"shapes": torch.from_numpy(shapes)})
    return shapes


def shapes_of(images: Tensor, names: Sequence[str]) -> np.ndarray:
    """Measures of digits by name, ``(n, names)``; images are bytes, or floats of about [0, 1]."""
    if images.dtype != torch.uint8:
        images = images.clamp(0, 1)
    found = morphology.measure(images.numpy())
    return np.stack([found[name] for name in names], 1)
