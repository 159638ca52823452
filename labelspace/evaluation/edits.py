"""What a model's edits achieve on data with known truth: the table of ``labelspace demo``.

Written against interventions and metrics; any model that can set a label, on any data that can draw counterfactuals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelspace import interventions
from labelspace.data.dataset import Dataset
from labelspace.data.splits import Split
from labelspace.errors import UserError
from labelspace.evaluation import judge as judges
from labelspace.evaluation import probing
from labelspace.evaluation.judge import Judge
from labelspace.evaluation.manipulation import errors_to_styles, hit_rate, side_effects
from labelspace.evaluation.units import Truths, units
from labelspace.metrics import Score, mean
from labelspace.models.base import Model

MODES = {"plain": False, "keep_detail": True}


def flip(
    model: Model, data: Dataset, rows: np.ndarray, label: str, *, keep_detail: bool, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Every sample with a discrete label set to another value (of several others, one drawn); edited samples and new values."""
    x, labels = data.samples(rows), data.labels(rows)
    index, values = data.schema.index(label), len(data.schema[label].values)
    shift = torch.from_numpy(np.random.default_rng(seed).integers(1, values, len(rows)))
    wanted = (labels[0][:, index] + shift) % values
    edited = torch.empty_like(x)
    for value in range(values):
        chosen = wanted == value
        if chosen.any():
            given = (labels[0][chosen], labels[1][chosen])
            new = {label: data.schema[label].format(float(value))}
            edited[chosen] = interventions.set(model, x[chosen], new, given, keep_detail=keep_detail).x
    return edited, wanted


def measure_label(model: Model, data: Dataset, judge: Judge, rows: np.ndarray, label: str, progress=None) -> dict[str, Any]:
    """What flipping one binary label achieves: judge, side effects, and error to the truth, per mode and direction."""
    x = data.samples(rows)
    out: dict[str, Any] = {}
    flipped = {mode: flip(model, data, rows, label, keep_detail=keep_detail) for mode, keep_detail in MODES.items()}
    truths = Truths(data, rows, label, next(iter(flipped.values()))[1].numpy(), progress)  # new values are alike in all modes
    for mode, (edited, wanted) in flipped.items():
        effects = side_effects(judge, x, edited, label)
        out[mode] = {
            "judge": hit_rate(judge, edited, label, wanted).to_dict(),
            "kept": {name: score.to_dict() for name, score in effects.kept.items()},
            "log_odds": {name: score.to_dict() for name, score in effects.log_odds.items()},
            "error": errors(truths, edited),
        }
    return out


def errors(truths: Truths, edited: Tensor) -> dict[str, dict[str, Any]]:
    """Error of flipped samples to their nearest truth, beside that of doing nothing: "all", "adding" and "removing".

    Args:
        truths: of the samples with the label at their new values.
        edited: ``(n, *shape)``.
    """
    new, nothing, made = truths.wanted, truths.of_nothing(), truths.of_edits(edited)
    parts = {"all": np.ones(len(new), bool), "adding": new == 1, "removing": new == 0}
    return {name: _error(made[part], nothing[part]) for name, part in parts.items()}


def _error(errors: np.ndarray, nothing: np.ndarray) -> dict[str, Any]:
    return {
        "error": mean(errors).to_dict(),
        "doing_nothing": mean(nothing).to_dict(),
        "ratio": float(errors.mean() / nothing.mean()),
        "better_rate": float((errors < nothing).mean()),
    }


def donor_transfer(
    model: Model,
    data: Dataset,
    rows: np.ndarray,
    label: str,
    *,
    value: int = 1,
    seed: int = 0,
    keep_detail: bool = False,
) -> Score:
    """How often a transfer from a random donor is nearer to the donor's own style than to any other true style.

    Donors have a value of the label, takers another. A model without a block for the label cannot take a donor's; its samples
    are given the value.
    """
    takers, chosen = donors(data, rows, label, value=value, seed=seed)
    made = take(model, data, takers, chosen, label, value=value, keep_detail=keep_detail)
    return style_hits(data, takers, label, value, made, data.style(label, chosen))


def donors(data: Dataset, rows: np.ndarray, label: str, *, value: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Of some samples those without a value of a label, and for each of them a random one that has it.

    Raises:
        UserError: all of them have it, or none.
    """
    index = data.schema.index(label)
    has, seen = data.values[rows, index] == value, data.observed[rows, index]
    takers, having = rows[~has & seen], rows[has & seen]
    if not len(takers) or not len(having):
        raise UserError(f"{data.address}: no samples with and without {label} to transfer between")
    return takers, having[np.random.default_rng(seed).integers(0, len(having), len(takers))]


def style_hits(data: Dataset, takers: np.ndarray, label: str, value: int, made: Tensor, wanted: np.ndarray) -> Score:
    """How often samples that were made are nearest to the wanted style, of all true styles that a value has."""
    compared = units(data)
    truths, _ = data.counterfactuals(label, value, takers)
    return mean(errors_to_styles(compared(made), compared(truths)).argmin(axis=1) == wanted)


def take(
    model: Model,
    data: Dataset,
    takers: np.ndarray,
    donors: np.ndarray,
    label: str,
    *,
    value: int = 1,
    keep_detail: bool = False,
) -> Tensor:
    """Samples with donors' way of having a label's value; where the model has no block for it, samples that are given it."""
    x, labels = data.samples(takers), data.labels(takers)
    if any(block.label == label for block in model.blocks):
        theirs = data.labels(donors)
        return interventions.transfer(model, x, data.samples(donors), label, labels, theirs, keep_detail=keep_detail).x
    given = {label: data.schema[label].format(float(value))}
    return interventions.set(model, x, given, labels, keep_detail=keep_detail).x


def measure(
    model: Model,
    data: Dataset,
    judge: Judge,
    *,
    split: Split = "test",
    most: int = 600,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """The whole table for the binary labels of a data set with known truth, on up to ``most`` samples of a split."""
    rows = data.rows(split)[:most]
    x = data.samples(rows)
    with torch.no_grad():
        reconstruction = model.decode(model.encode(x, *data.labels(rows)).map(lambda part: part.mode)).mean
    out: dict[str, Any] = {
        "samples": len(rows),
        "judge_accuracy": {name: s.to_dict() for name, s in judges.accuracy(judge, data, split).items()},
        "reconstruction_error": mean(((reconstruction - x) ** 2).flatten(1).mean(1).numpy()).to_dict(),
        "labels": {},
    }
    for label in data.schema:
        if label.kind == "binary":
            tell(f"editing {label.name}")
            out["labels"][label.name] = measure_label(model, data, judge, rows, label.name)
    tell("reading the codes")
    out["leakage"] = probing.probes(model, data, data.rows(split), seed=seed)
    return out
