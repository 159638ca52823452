"""Manipulation: does an edit do what was asked, nothing else, and how far is it from the truth?

Functions of plain arrays and of a judge; nothing here knows how the edits were made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from labelspace.evaluation.judge import Judge
from labelspace.evaluation.scores import Score, mean
from labelspace.labels import Schema


def hit_rate(judge: Judge, edited: Tensor, label: str, wanted: Tensor) -> Score:
    """How often the judge reads the wanted value of a label off edited samples."""
    read = judge.read(edited)[:, judge.schema.index(label)]
    return mean((read == wanted).numpy())


@dataclass(frozen=True)
class SideEffects:
    """What an edit of one label did to the judge's reading of the others.

    Attributes:
        kept: other label -> rate at which the judge's verdict stayed as on the original.
        log_odds: other binary label -> mean absolute change of the judge's log-odds.
    """

    kept: dict[str, Score]
    log_odds: dict[str, Score]


def side_effects(judge: Judge, original: Tensor, edited: Tensor, label: str) -> SideEffects:
    """Compares the judge's reading of all labels but one before and after an edit."""
    schema = judge.schema
    before, after = judge.read(original), judge.read(edited)
    raw_before, raw_after = judge.log_odds(original), judge.log_odds(edited)
    column = _first_parameter(schema)
    others = [other for other in schema if other.name != label and other.discrete]
    kept = {o.name: mean((before[:, schema.index(o.name)] == after[:, schema.index(o.name)]).numpy()) for o in others}
    moved = {o.name: mean((raw_after - raw_before)[:, column[o.name]].abs().numpy()) for o in others if o.kind == "binary"}
    return SideEffects(kept, moved)


def error_to_truth(edited: Tensor, truths: Tensor) -> np.ndarray:
    """Mean squared error of each edited sample to the nearest of its true styles, ``(n,)``.

    Args:
        edited: ``(n, *shape)``.
        truths: ``(n, styles, *shape)``.
    """
    return errors_to_styles(edited, truths).min(axis=1)


def errors_to_styles(edited: Tensor, truths: Tensor) -> np.ndarray:
    """Mean squared error of each edited sample to each of its true styles, ``(n, styles)``."""
    out = [((e[:, None] - t) ** 2).flatten(2).mean(2) for e, t in zip(edited.split(64), truths.split(64), strict=True)]
    return torch.cat(out).numpy()


def _first_parameter(schema: Schema) -> dict[str, int]:
    starts = np.cumsum([0, *(label.parameters for label in schema)])
    return {label.name: int(start) for label, start in zip(schema, starts, strict=False)}
