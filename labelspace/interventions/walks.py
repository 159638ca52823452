"""Walks: through a block, and from one sample to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from labelspace.blocks import Block, Latents
from labelspace.distributions import Point
from labelspace.errors import UserError
from labelspace.interventions.coding import (
    affordable,
    as_batch,
    check_choice,
    chosen_block,
    completed,
    encode,
    label_values,
    samples_in,
)
from labelspace.interventions.given import LabelsGiven, Samples, takes_samples
from labelspace.interventions.record import Intervention, Labels
from labelspace.interventions.start import Start
from labelspace.models.base import Model

_MOST = 1e37  # of a coordinate, which is a number of 32 bits
_TAIL = 0.02  # a traversal covers the data's quantiles from this to one minus this


@takes_samples
@torch.no_grad()
def traverse(
    model: Model,
    x: Tensor,
    label: str | None = None,
    labels: LabelsGiven | None = None,
    *,
    block: str | None = None,
    coordinates: Sequence[int] = (0,),
    steps: int = 7,
    span: Literal["prior", "data"] | tuple[float, float] = "prior",
    value: Any = None,
    data_codes: Latents[Tensor] | None = None,
    keep_detail: bool | None = None,
    after: Intervention | None = None,
) -> Intervention:
    """Walks along one or two coordinates of a block and keeps everything else.

    Args:
        model: a trained model.
        x: one sample or a batch.
        label: whose block is walked through; or give ``block`` by name (a free block, say).
        labels: the samples' own labels where known.
        block: name of a block, instead of a label.
        coordinates: one or two coordinates of the block; the others stay as encoded.
        steps: points along each.
        span: where a walk starts and ends: "prior" is two standard deviations around the mean of p(block | value), and for
            a block that is the label's own value all of its values;
            "data" is the central 96% of ``data_codes``; or two numbers.
        value: the label's value whose prior is walked through; a binary label is walked through where it is on.
        data_codes: codes of a data set, for ``span="data"`` (:func:`encode_all` makes them).
        keep_detail, after: as in :func:`set`.

    Returns:
        ``x`` of shape ``(steps, *shape)`` or ``(steps, steps, *shape)`` for one sample (first coordinate first), with the
        batch's dimension in front for a batch.

    >>> traverse(model, data[0], "moon", steps=5).x.shape
    torch.Size([5, 2])
    """
    walked = chosen_block(model, "traverse", label, block)
    coordinates = tuple(coordinates)
    if len(coordinates) not in (1, 2) or len({*coordinates}) != len(coordinates):
        raise UserError(f"traverse takes one or two different coordinates, got {coordinates}")
    if bad := [c for c in coordinates if not 0 <= c < walked.size]:
        raise UserError(f"block {walked.name!r} has coordinates 0 to {walked.size - 1}, got {bad[0]}")
    if steps < 2:
        raise UserError(f"a walk needs at least 2 steps, got {steps}")
    affordable(model, steps ** len(coordinates) * samples_in(model, x), "points of a walk")
    start = Start.of(model, x, labels, after)
    first = completed(model, start.x[:1], start.labels)
    spans = _spans(model, walked, coordinates, span, value, data_codes, first)
    axes = [torch.linspace(low, high, steps, device=start.x.device) for low, high in spans]
    points = torch.cartesian_prod(*axes).view(-1, len(coordinates))  # (steps^k, k)
    repeated = start.repeat(len(points))
    code = repeated.codes[walked.name].clone()
    code[:, list(coordinates)] = points.repeat(len(start.x), 1).to(code.dtype)
    return repeated.finish(
        "traverse",
        repeated.codes.replace({walked.name: code}),
        {"coordinates": list(coordinates), "axes": [axis.tolist() for axis in axes]},
        keep_detail,
        source=start.values([walked.label] if walked.label else []),
        target={},
        steps=[steps] * len(coordinates),
        walked=[walked.name],
    )


def _spans(
    model: Model,
    block: Block,
    coordinates: Sequence[int],
    span: str | tuple[float, float],
    value: Any,
    data_codes: Latents[Tensor] | None,
    labels: Labels,
) -> list[tuple[float, float]]:
    """Where a walk starts and ends, per coordinate."""
    if isinstance(span, tuple):
        low, high = float(span[0]), float(span[1])
        if not -_MOST < low < high < _MOST:
            raise UserError(f"a walk goes from a smaller to a larger number, neither beyond {_MOST:.1g}; got {span}")
        return [(low, high)] * len(coordinates)
    check_choice("span", span, ("prior", "data"))
    if span == "data":
        if data_codes is None:
            raise UserError('span="data" needs data_codes (interventions.encode_all makes them)')
        code = data_codes[block.name].float()
        tails = torch.tensor([_TAIL, 1 - _TAIL], device=code.device)
        return [tuple(torch.quantile(code[:, c], tails).tolist()) for c in coordinates]  # type: ignore[misc]
    values, observed = labels[0].clone(), labels[1]
    if block.label is not None:
        label = model.schema[block.label]
        if value is not None or label.kind == "binary":
            values[:, model.schema.index(label.name)] = label.parse(1 if value is None else value)
    prior = model.prior(values, observed)[block.name]
    if block.label is not None and isinstance(prior, Point):  # the label's own value: from its smallest to its largest
        candidates = model.schema.candidates(block.label, values.device)
        points = model.prior(*model.only(block.label, candidates))[block.name].mean
        return [(float(points[:, c].min()), float(points[:, c].max())) for c in coordinates]
    return [
        (float(prior.mean[0, c] - 2 * prior.scale[0, c]), float(prior.mean[0, c] + 2 * prior.scale[0, c])) for c in coordinates
    ]


@takes_samples
@torch.no_grad()
def interpolate(
    model: Model,
    x: Tensor,
    other: Samples,
    labels: LabelsGiven | None = None,
    other_labels: LabelsGiven | None = None,
    *,
    steps: int = 7,
    blocks: Sequence[str] | None = None,
    keep_detail: bool | None = None,
    after: Intervention | None = None,
) -> Intervention:
    """Walks on a straight line from the codes of one sample to those of another.

    Args:
        model: a trained model.
        x: one sample or a batch, where the walk starts.
        other: as many samples, where it ends.
        labels, other_labels: their own labels where known.
        steps: points of the walk, both ends included.
        blocks: names of the blocks that move; all by default.
        keep_detail: as in :func:`set`.
        after: as in :func:`set`; the walk starts there.

    Returns:
        ``x`` of shape ``(steps, *shape)``, with the batch's dimension in front for a batch.

    >>> interpolate(model, data[0], data[1], steps=4).x.shape
    torch.Size([4, 2])
    """
    if steps < 2:
        raise UserError(f"a walk needs at least 2 steps, got {steps}")
    affordable(model, steps * samples_in(model, x), "points of a walk")
    names = [b.name for b in model.blocks] if blocks is None else [model.blocks.named(b).name for b in blocks]
    end, _ = as_batch(model, other)
    start = Start.of(model, x, labels, after)
    if len(end) != len(start.x):
        raise UserError(f"{len(start.x)} samples to start from and {len(end)} to end at; expected as many")
    goal, goal_labels = encode(model, end, other_labels)
    repeated = start.repeat(steps)
    first, last = repeated.codes, replace(start, codes=goal).repeat(steps).codes
    t = torch.linspace(0, 1, steps, device=end.device).repeat(len(end))[:, None]
    return repeated.finish(
        "interpolate",
        first.replace({name: torch.lerp(first[name], last[name], t.to(first[name].dtype)) for name in names}),
        {"steps": steps},
        keep_detail,
        source=start.values(model.schema.names),
        target=label_values(model, goal_labels, model.schema.names),
        steps=[steps],
        walked=names,
    )
