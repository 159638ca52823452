"""Manipulation: does an edit do what was asked, nothing else, and how far is it from the truth?

Functions of plain arrays and of a judge; nothing here knows how the edits were made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from labelspace.errors import UserError
from labelspace.evaluation.judge import Judge
from labelspace.labels import Schema
from labelspace.metrics import Score, column_means, mean
from labelspace.precision import as_double_on_cpu


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


class Edited(NamedTuple):
    """A judge's raw outputs before and after an edit of one label.

    Attributes:
        before: ``(n, parameters)`` of the originals, as :meth:`labelspace.evaluation.judge.Judge.log_odds` gives them.
        after: ``(n, parameters)`` of the edited samples.
        direction: ``(n,)``, 1 where the label was raised and -1 where it was lowered. Signed changes are multiplied by it, so
            that edits in both directions do not cancel. None: as they are.
    """

    before: Tensor
    after: Tensor
    direction: Tensor | None = None


def side_effect_matrix(schema: Schema, edits: Mapping[str, Edited]) -> dict[str, dict[str, dict[str, Score]]]:
    """What changing each label did to the reading of every label, its own included.

    The change of a label's reading is that of its log-odds: of value 1 for a binary label; of the class that was read on the
    original for a categorical one (below 0: the edit speaks against it; ``direction`` does not apply). For a continuous label
    it is the change of the predicted mean in standard deviations of the label. Only the row's own column should be large: the
    floor of every other entry is 0, which ``edits`` with reconstructions as ``after`` measures. Resampled are samples.

    Args:
        schema: what the judge reads.
        edits: label that was changed -> raw outputs of the judge.

    Returns:
        Changed label -> read label -> "signed" and "absolute" (mean change, and mean of its absolute value) and, for discrete
        labels, "flipped" (rate at which the judge's verdict is not that on the original).

    Raises:
        UserError: an unknown label, or outputs that do not fit the schema or each other.
    """
    for name, edit in edits.items():
        schema.index(name)
        given = [tuple(part.shape) for part in edit if part is not None]
        n = len(edit.before)
        if n == 0 or given[:2] != [(n, schema.parameters)] * 2 or given[2:] not in ([], [(n,)]):
            expected = f"(n, {schema.parameters}) before and after, and a direction (n,) or none"
            raise UserError(f"outputs for the edit of {name!r} have shapes {given}; expected {expected}")
    return {name: _side_effect_row(schema, edit) for name, edit in edits.items()}


def _side_effect_row(schema: Schema, edit: Edited) -> dict[str, dict[str, Score]]:
    verdicts = [schema.distribution(raw).mode() for raw in (edit.before, edit.after)]
    flips = as_double_on_cpu(verdicts[0] != verdicts[1])
    direction = 1.0 if edit.direction is None else edit.direction.cpu()
    columns: dict[tuple[str, str], Tensor] = {}
    for i, (label, start) in enumerate(zip(schema, _first_parameter(schema).values(), strict=True)):
        before, after = (as_double_on_cpu(raw[:, start : start + label.parameters]) for raw in (edit.before, edit.after))
        if label.kind == "categorical":
            read = verdicts[0][:, i : i + 1].long().cpu()
            change = _class_log_odds(after, read) - _class_log_odds(before, read)
            columns[label.name, "signed"] = change
        else:
            change = after[:, 0] - before[:, 0]
            columns[label.name, "signed"] = change * direction
        columns[label.name, "absolute"] = change.abs()
        if label.discrete:
            columns[label.name, "flipped"] = flips[:, i]
    row: dict[str, dict[str, Score]] = {label.name: {} for label in schema}
    for (name, what), score in zip(columns, column_means(torch.stack(list(columns.values()), 1).numpy()), strict=True):
        row[name][what] = score
    return row


def _class_log_odds(logits: Tensor, read: Tensor) -> Tensor:
    """log p / (1 - p) of one class of each sample, ``(n,)``."""
    others = logits.scatter(1, read, -torch.inf).logsumexp(1)
    return logits.gather(1, read)[:, 0] - others


def changed_region(original: Tensor, truths: Tensor, threshold: float = 0.02, dilation: int = 1) -> Tensor:
    """Where the truth of an edit differs from the original in any of its styles, ``(n, h, w)`` or ``(n, d)`` bool.

    Args:
        original: ``(n, c, h, w)`` or ``(n, d)``.
        truths: ``(n, styles, *shape)``.
        threshold: a difference is larger than this, in any channel, in the unit of the data.
        dilation: pixels by which the region of an image grows on all sides; vectors have no neighbours and do not grow.
    """
    if truths.ndim != original.ndim + 1 or truths.shape[:1] + truths.shape[2:] != original.shape:
        raise UserError(
            f"originals have shape {tuple(original.shape)} and truths {tuple(truths.shape)}; expected (n, styles, *shape)"
        )
    pairs = zip(original.split(64), truths.split(64), strict=True)
    differs = torch.cat([((x[:, None] - t).abs() > threshold).any(1) for x, t in pairs])
    if original.ndim != 4:
        return differs
    differs = differs.any(1, keepdim=True).float()
    return F.max_pool2d(differs, 2 * dilation + 1, stride=1, padding=dilation)[:, 0] > 0


def identity_cost(original: Tensor, edited: Tensor, region: Tensor) -> Score:
    """Mean squared error between original and edited sample where the truth of the edit leaves the original alone.

    0 is ideal; what a model reaches is bounded by its reconstruction: give that as ``edited`` for the floor. Resampled are
    samples; one without anything outside its region does not count, so that the Score's n may be smaller than theirs.

    Args:
        original: ``(n, c, h, w)`` or ``(n, d)``.
        edited: the same shape.
        region: ``(n, h, w)`` or ``(n, d)`` bool, of :func:`changed_region`.

    Raises:
        UserError: shapes that do not fit, or regions that leave nothing outside.
    """
    expected = original[:, 0].shape if original.ndim == 4 else original.shape
    if original.shape != edited.shape or region.shape != expected:
        shapes = [tuple(part.shape) for part in (original, edited, region)]
        raise UserError(f"original, edited and region have shapes {shapes}; expected two alike and a region without channels")
    error = as_double_on_cpu(original - edited) ** 2
    error = error.mean(1) if original.ndim == 4 else error
    outside = ~region.flatten(1).cpu()
    pixels = outside.sum(1)
    if not pixels.any():
        raise UserError("the regions cover every sample whole; expected something outside: raise threshold or lower dilation")
    cost = torch.where(outside, error.flatten(1), 0).sum(1) / pixels.clamp_min(1)
    return mean(cost[pixels > 0].numpy())


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
