"""Interventions: changes to a sample's latent blocks, each returning the result and a record of what was done.

All are written against latent blocks, so they work alike on every model. ``x`` is one sample (``shape``) or a batch
(``(n, *shape)``); the result has the form that was given. Codes are posterior means unless a draw is asked for. Several edits
of the same samples follow each other with ``after``: the next one starts from the codes of the one before.

=================  ================================================================================================
:func:`set`        give labels new values
:func:`transfer`   give a sample a donor's way of having a label
:func:`move`       put blocks at points that are given
:func:`traverse`   walk along one or two coordinates of a label's block
:func:`interpolate`  walk from one sample to another, in some blocks or all
:func:`resample`   draw one block anew, many times
:func:`generate`   new samples under labels
:func:`inpaint`    fill a hole in a sample
=================  ================================================================================================
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from labelspace.blocks import Block, Blocks, Latents, modes, sample
from labelspace.distributions import Point
from labelspace.errors import UserError, unknown
from labelspace.models.base import Model, Source

Labels = tuple[Tensor, Tensor]
"""``values`` and ``observed`` of the samples, both ``(n, labels)``."""

_TAIL = 0.02  # a traversal covers the data's quantiles from this to one minus this


@dataclass(frozen=True)
class Record:
    """What an intervention did.

    Attributes:
        kind: the intervention's name.
        changed: names of the latent blocks that were changed.
        held: names of the blocks that were kept as encoded.
        source: label name -> values before, one per sample (None where a value was not known and not needed).
        target: label name -> values after, one per sample.
        options: everything else that determines the result.
    """

    kind: str
    changed: tuple[str, ...]
    held: tuple[str, ...]
    source: dict[str, list[Any]] = field(default_factory=dict)
    target: dict[str, list[Any]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The record as plain data, ready for JSON."""
        return {
            "kind": self.kind,
            "changed": list(self.changed),
            "held": list(self.held),
            "source": self.source,
            "target": self.target,
            "options": self.options,
        }


@dataclass(frozen=True)
class Intervention:
    """The result of an intervention.

    Attributes:
        x: new samples, shaped as each function says.
        record: what was done.
        codes: the codes that were decoded.
        encoded: the samples' own codes, before any edit.
        labels: the label values that belong to ``codes``, and which of them are known.
    """

    x: Tensor
    record: Record
    codes: Latents[Tensor]
    encoded: Latents[Tensor] | None = None
    labels: Labels | None = None


@torch.no_grad()
def set(
    model: Model,
    x: Tensor,
    values: Mapping[str, Any],
    labels: Labels | None = None,
    *,
    point: Literal["typical", "prior", "draw"] = "typical",
    others: Literal["keep", "zero"] = "keep",
    keep_detail: bool = False,
    generator: torch.Generator | None = None,
    after: Intervention | None = None,
) -> Intervention:
    """Gives labels new values and keeps everything else.

    Args:
        model: a trained model.
        x: one sample or a batch.
        values: label name -> new value, as a user writes it (0/1, a class name, a number).
        labels: the samples' own labels where known; missing ones are predicted by the model where its encoder needs them.
        point: where in the label's block the new value is: "typical" (the model's own choice, measured on training
            data; without one, the prior's mean), "prior" (the prior's mean) or "draw" (a draw of it).
        others: "keep" leaves other labels' blocks as encoded; "zero" puts them at their off point (as Klys et al. 2018): the
            first class of a categorical label, the mean of a number.
        keep_detail: add to the result what the model could not reconstruct: x + decode(edited) - decode(encoded).
        generator: for ``point="draw"``.
        after: an earlier edit of the same samples that this one goes on from; ``labels`` are then those of that edit.

    Returns:
        ``x`` shaped like the input.

    Raises:
        UserError: an unknown label, or a value that it cannot take.
    """
    _one_of("point", point, ("typical", "prior", "draw"))
    _one_of("others", others, ("keep", "zero"))
    batch, single = _batch(model, x)
    parsed = {name: model.schema[name].parse(value) for name, value in values.items()}
    if missing := [name for name, value in parsed.items() if math.isnan(value)]:
        raise UserError(f"label {missing[0]!r} was set to nothing; expected a value")
    encoded, codes, before = _start(model, batch, labels, after)
    blockless = [name for name in parsed if not any(b.label == name for b in model.blocks)]
    if blockless:  # these edits move from the label's own value
        before = _completed(model, batch, before)
    if others == "zero":
        means = torch.tensor([label.mean for label in model.schema], device=batch.device)  # 0 but for numbers
        off = modes(model.prior(means.expand_as(before[0])))
        codes = codes.replace({b.name: off[b.name] for b in model.blocks if b.label is not None and b.label not in parsed})
    for name, value in parsed.items():
        index = model.schema.index(name)
        if name in blockless and not bool(before[1][:, index].all()):
            raise UserError(
                f"this model has no block for {name!r} and moves from its own value, which is not known: give labels, or "
                "name a sample of the run's data (test:0)"
            )
        new = torch.full((len(batch),), value, device=batch.device)
        codes = _put(model, codes, name, new, before[0][:, index], point, generator)
    out = _decode(model, codes, encoded, batch, keep_detail)
    now = (before[0].clone(), before[1].clone())
    for name, value in parsed.items():
        now[0][:, model.schema.index(name)], now[1][:, model.schema.index(name)] = value, True
    record = _record(
        "set",
        encoded,
        codes,
        _values(model, before, parsed),
        {name: [model.schema[name].format(value)] * len(batch) for name, value in parsed.items()},
        {"point": point, "others": others, "keep_detail": keep_detail},
        after,
    )
    return Intervention(out[0] if single else out, record, codes, encoded, now)


@torch.no_grad()
def transfer(
    model: Model,
    x: Tensor,
    donor: Tensor,
    label: str,
    labels: Labels | None = None,
    donor_labels: Labels | None = None,
    *,
    keep_detail: bool = False,
    after: Intervention | None = None,
) -> Intervention:
    """Gives samples a donor's way of having a label: the label's block is taken from the donor, the rest is kept.

    Args:
        model: a trained model with a block for the label.
        x: one sample or a batch.
        donor: one sample for all, or a batch of the same length.
        label: which label.
        labels: the samples' own labels where known.
        donor_labels: the donors' own labels where known.
        keep_detail, after: as in :func:`set`.

    Returns:
        ``x`` shaped like the input.
    """
    batch, single = _batch(model, x)
    given, _ = _batch(model, donor)
    if len(given) not in (1, len(batch)):
        raise UserError(f"{len(given)} donors for {len(batch)} samples; expected one, or one for each")
    block = model.blocks.of(label)
    encoded, start, before = _start(model, batch, labels, after)
    lent, lent_values = _encode(model, given, donor_labels)
    codes = start.replace({block.name: lent[block.name].expand(len(batch), -1)})
    out = _decode(model, codes, encoded, batch, keep_detail)
    now = (before[0].clone(), before[1].clone())
    for part, theirs in zip(now, lent_values, strict=True):
        part[:, model.schema.index(label)] = theirs[:, model.schema.index(label)]
    record = _record(
        "transfer",
        encoded,
        codes,
        _values(model, before, [label]),
        _values(model, now, [label]),
        {"label": label, "keep_detail": keep_detail},
        after,
    )
    return Intervention(out[0] if single else out, record, codes, encoded, now)


@torch.no_grad()
def move(
    model: Model,
    x: Tensor,
    points: Mapping[str, Sequence[float] | Tensor],
    labels: Labels | None = None,
    *,
    keep_detail: bool = False,
    after: Intervention | None = None,
) -> Intervention:
    """Puts latent blocks at points that are given, and keeps everything else. Without points it is the reconstruction.

    Args:
        model: a trained model.
        x: one sample or a batch.
        points: block name -> coordinates ``(size,)`` for all samples, or ``(n, size)``.
        labels: the samples' own labels where known.
        keep_detail, after: as in :func:`set`.

    Returns:
        ``x`` shaped like the input.

    Raises:
        UserError: an unknown block, or a point that is not one of it.
    """
    batch, single = _batch(model, x)
    encoded, start, now = _start(model, batch, labels, after)
    placed = {name: _point(model.blocks.named(name), point, batch) for name, point in points.items()}
    codes = start.replace(placed)
    out = _decode(model, codes, encoded, batch, keep_detail)
    options = {"points": {name: point.tolist() for name, point in placed.items()}, "keep_detail": keep_detail}
    record = _record("move", encoded, codes, {}, {}, options, after)
    return Intervention(out[0] if single else out, record, codes, encoded, now)


@torch.no_grad()
def traverse(
    model: Model,
    x: Tensor,
    label: str | None = None,
    labels: Labels | None = None,
    *,
    block: str | None = None,
    coordinates: Sequence[int] = (0,),
    steps: int = 7,
    span: Literal["prior", "data"] | tuple[float, float] = "prior",
    value: Any = None,
    data_codes: Latents[Tensor] | None = None,
    keep_detail: bool = False,
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
    """
    batch, single = _batch(model, x)
    place = _place(model, "traverse", label, block)
    coordinates = tuple(coordinates)
    if len(coordinates) not in (1, 2) or len({*coordinates}) != len(coordinates):
        raise UserError(f"traverse takes one or two different coordinates, got {coordinates}")
    if bad := [c for c in coordinates if not 0 <= c < place.size]:
        raise UserError(f"block {place.name!r} has coordinates 0 to {place.size - 1}, got {bad[0]}")
    if steps < 2:
        raise UserError(f"a walk needs at least 2 steps, got {steps}")
    encoded, start, before = _start(model, batch, labels, after)
    ends = _ends(model, place.name, place.label, coordinates, span, value, data_codes, _completed(model, batch[:1], before))
    axes = [torch.linspace(low, high, steps, device=batch.device) for low, high in ends]
    points = torch.cartesian_prod(*axes).view(-1, len(coordinates))  # (steps^k, k)
    rows = torch.arange(len(batch), device=batch.device).repeat_interleave(len(points))
    walked = start[place.name][rows]
    walked[:, list(coordinates)] = points.repeat(len(batch), 1).to(walked.dtype)
    codes = start.rows(rows).replace({place.name: walked})
    out = _decode(model, codes, encoded.rows(rows), batch[rows], keep_detail)
    out = out.view(len(batch), *[steps] * len(coordinates), *model.shape)
    record = _walk_record(
        "traverse",
        model,
        [place.name],
        _values(model, before, [place.label] if place.label else []),
        {},
        {"coordinates": list(coordinates), "axes": [axis.tolist() for axis in axes], "keep_detail": keep_detail},
        after,
    )
    return Intervention(out[0] if single else out, record, codes, encoded.rows(rows), (before[0][rows], before[1][rows]))


@torch.no_grad()
def interpolate(
    model: Model,
    x: Tensor,
    other: Tensor,
    labels: Labels | None = None,
    other_labels: Labels | None = None,
    *,
    steps: int = 7,
    blocks: Sequence[str] | None = None,
    keep_detail: bool = False,
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
    """
    batch, single = _batch(model, x)
    end, _ = _batch(model, other)
    if len(end) != len(batch):
        raise UserError(f"{len(batch)} samples to start from and {len(end)} to end at; expected as many")
    if steps < 2:
        raise UserError(f"a walk needs at least 2 steps, got {steps}")
    names = [b.name for b in model.blocks] if blocks is None else [model.blocks.named(b).name for b in blocks]
    encoded, start, before = _start(model, batch, labels, after)
    goal, goal_labels = _encode(model, end, other_labels)
    rows = torch.arange(len(batch), device=batch.device).repeat_interleave(steps)
    t = torch.linspace(0, 1, steps, device=batch.device).repeat(len(batch))[:, None]
    first, last = start.rows(rows), goal.rows(rows)
    codes = first.replace({name: torch.lerp(first[name], last[name], t.to(first[name].dtype)) for name in names})
    out = _decode(model, codes, encoded.rows(rows), batch[rows], keep_detail).view(len(batch), steps, *model.shape)
    record = _walk_record(
        "interpolate",
        model,
        names,
        _values(model, before, model.schema.names),
        _values(model, goal_labels, model.schema.names),
        {"steps": steps, "keep_detail": keep_detail},
        after,
    )
    return Intervention(out[0] if single else out, record, codes, encoded.rows(rows), (before[0][rows], before[1][rows]))


@torch.no_grad()
def resample(
    model: Model,
    x: Tensor,
    label: str | None = None,
    labels: Labels | None = None,
    *,
    block: str | None = None,
    n: int = 8,
    source: Source = "codes",
    keep_detail: bool = False,
    generator: torch.Generator | None = None,
    after: Intervention | None = None,
) -> Intervention:
    """Draws one block anew, given the sample's own label, ``n`` times, and keeps everything else.

    Args:
        model: a trained model.
        x: one sample or a batch.
        label: whose block is drawn; or give ``block`` by name.
        labels: the samples' own labels where known.
        block: name of a block, instead of a label.
        n: draws per sample.
        source: what the block is drawn from; see :meth:`labelspace.models.base.Model.new_codes`.
        keep_detail, after: as in :func:`set`; samples that :func:`generate` drew can be gone on from, too.
        generator: of the draws.

    Returns:
        ``x`` of shape ``(n, *shape)``, with the batch's dimension in front for a batch.
    """
    batch, single = _batch(model, x)
    if n < 1:
        raise UserError(f"resample needs at least one draw, got {n}")
    place = _place(model, "resample", label, block)
    encoded, start, before = _start(model, batch, labels, after)
    rows = torch.arange(len(batch), device=batch.device).repeat_interleave(n)
    repeated = encoded.rows(rows)
    given = _completed(model, batch, before)
    drawn = model.new_codes(given[0][rows], given[1][rows], source=source, generator=generator)[place.name]
    codes = start.rows(rows).replace({place.name: drawn})
    out = _decode(model, codes, repeated, batch[rows], keep_detail).view(len(batch), n, *model.shape)
    values = _values(model, before, [place.label] if place.label else [])
    record = _record("resample", repeated, codes, values, values, {"n": n, "source": source, "keep_detail": keep_detail}, after)
    return Intervention(out[0] if single else out, record, codes, repeated, (before[0][rows], before[1][rows]))


@torch.no_grad()
def generate(
    model: Model,
    values: Mapping[str, Any] | None = None,
    n: int = 16,
    *,
    keep: Tensor | None = None,
    source: Source = "codes",
    generator: torch.Generator | None = None,
) -> Intervention:
    """New samples under labels.

    Args:
        model: a trained model.
        values: label name -> value; labels that are not named are drawn from their frequencies in the training data.
        n: how many.
        keep: one sample whose free blocks are kept instead of drawn.
        source: what codes are drawn from, where training codes lie or their priors; see
            :meth:`labelspace.models.base.Model.new_codes`.
        generator: of the draws.

    Returns:
        ``x`` of shape ``(n, *shape)``: the mean of p(x | codes).
    """
    if n < 1:
        raise UserError(f"generate needs at least one sample, got {n}")
    if values and not model.labelled:
        raise UserError(f"{type(model).__name__} does not generate under labels; leave them out, or use a model that has them")
    schema, device = model.schema, model.label_parameters.device
    asked = schema.distribution(model.label_parameters.expand(n, -1)).sample(generator) if len(schema) else torch.zeros(n, 0)
    asked = asked.to(device)
    for name, value in (values or {}).items():
        number = schema[name].parse(value)
        if math.isnan(number):
            raise UserError(f"label {name!r} was set to nothing; expected a value")
        asked[:, schema.index(name)] = number
    if source not in ("codes", "prior"):
        raise unknown("source of codes", source, ("codes", "prior"))
    codes = model.new_codes(asked, source=source, generator=generator)
    held: tuple[str, ...] = ()
    if keep is not None:
        batch, _ = _batch(model, keep)
        encoded, _ = _encode(model, batch[:1], None)
        held = tuple(b.name for b in model.blocks.free)
        codes = codes.replace({name: encoded[name].expand(n, -1) for name in held})
    # Samples of a model without labels have none: what was drawn for them says nothing.
    labels = (asked, torch.full_like(asked, model.labelled, dtype=torch.bool))
    record = Record(
        "generate",
        tuple(b.name for b in model.blocks if b.name not in held),
        held,
        {},
        _values(model, labels, schema.names if model.labelled else []),
        {"n": n, "source": source, "asked": builtins.sorted(values or {})},
    )
    return Intervention(model.decode(codes).mean, record, codes, codes, labels)


@torch.no_grad()
def inpaint(model: Model, x: Tensor, hole: Tensor, labels: Labels | None = None, *, rounds: int = 1) -> Intervention:
    """Fills a hole: what is in it is blanked, the sample is encoded and decoded, and the result is pasted into the hole.

    Args:
        model: a trained model.
        x: one sample or a batch.
        hole: bool, True where nothing is known: ``shape`` for all samples, or ``(n, *shape)``; pictures also take
            ``(height, width)``.
        labels: the samples' own labels where known.
        rounds: times that the filled sample is encoded again, so that later rounds see a whole sample; 1 is a single pass.

    Returns:
        ``x`` shaped like the input; outside the hole it is the input.
    """
    batch, single = _batch(model, x)
    if rounds < 1:
        raise UserError(f"inpaint needs at least one round, got {rounds}")
    try:
        mask = hole.to(batch.device, torch.bool).expand(batch.shape)
    except RuntimeError:
        raise UserError(f"a hole of shape {tuple(hole.shape)} does not fit samples of shape {model.shape}") from None
    if not bool(mask.flatten(1).any(1).all()):
        raise UserError("the hole is empty: nothing is to be filled")
    filled = torch.where(mask, model.likelihood.blank(batch), batch)
    before = _encode(model, filled, labels)[1]
    for _ in range(rounds):
        codes, _ = _encode(model, filled, before)
        filled = torch.where(mask, model.decode(codes).fill(batch, ~mask), batch)
    known = _values(model, before, model.schema.names)
    share = float(mask.float().mean())
    names = tuple(block.name for block in model.blocks)
    record = Record("inpaint", (), names, known, known, {"rounds": rounds, "hole": share})
    return Intervention(filled[0] if single else filled, record, codes)


@torch.no_grad()
def encode_all(model: Model, batches) -> tuple[Latents[Tensor], Tensor]:
    """Mean codes of many batches, and the label values that they were encoded under."""
    parts, values = [], []
    for batch in batches:
        codes, (full, _) = _encode(model, batch.x, (batch.values, batch.observed))
        parts.append(codes)
        values.append(full)
    joined = {b.name: torch.cat([part[b.name] for part in parts]) for b in model.blocks}
    return Latents(model.blocks, joined), torch.cat(values)


# -- what they share --------------------------------------------------------------------------------------------------


def _batch(model: Model, x: Tensor) -> tuple[Tensor, bool]:
    """A batch from one sample or a batch, and whether it was one sample."""
    single = tuple(x.shape) == model.shape
    batch = x[None] if single else x
    if tuple(batch.shape[1:]) != model.shape:
        raise UserError(f"samples have shape {tuple(x.shape)}, the model takes {model.shape} or (n, ...) of it")
    if len(batch) == 0:
        raise UserError("there is no sample to work on")
    return batch.to(model.label_parameters.device), single


def _place(model: Model, intervention: str, label: str | None, block: str | None) -> Block:
    """The block that is meant by a label or by a block's name."""
    if (label is None) == (block is None):
        raise UserError(f"{intervention} needs a label or the name of a block, one of them")
    return model.blocks.of(label) if label is not None else model.blocks.named(str(block))


def _encode(model: Model, x: Tensor, labels: Labels | None) -> tuple[Latents[Tensor], Labels]:
    """Mean codes, and the label values that belong to them with a mask of those that are known or were predicted."""
    values, observed = (t.to(x.device) for t in labels) if labels is not None else (None, None)
    if model.completes_labels and len(model.schema):
        values = model.complete(x, values, observed)
        observed = torch.ones_like(values, dtype=torch.bool)
    else:
        values, observed = model.known(x, values, observed)
    return modes(model.encode(x, values, observed)), (values, observed)


def _start(
    model: Model, x: Tensor, labels: Labels | None, after: Intervention | None
) -> tuple[Latents[Tensor], Latents[Tensor], Labels]:
    """The samples' own codes, the codes that an edit starts from, and the label values that belong to these."""
    if after is None:
        encoded, known = _encode(model, x, labels)
        return encoded, encoded, known
    if after.encoded is None or after.labels is None:
        raise UserError(f"nothing can come after {after.record.kind}: it does not say which codes it started from")
    if len(after.labels[0]) != len(x):
        raise UserError(f"the edit before this one has {len(after.labels[0])} samples, this one {len(x)}; expected as many")
    return after.encoded, after.codes, after.labels


def _point(block: Block, given: Sequence[float] | Tensor, x: Tensor) -> Tensor:
    """A point of a block for every sample of ``x``."""
    try:
        point = torch.as_tensor(given, dtype=torch.float32, device=x.device)
        if point.shape[-1:] != (block.size,):
            raise ValueError
        point = point.expand(len(x), block.size)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(
            f"a point of latent block {block.name!r} is {block.size} numbers, for all samples or for each; got {given}"
        ) from None
    if not bool(torch.isfinite(point).all()):
        raise UserError(f"latent block {block.name!r} cannot be put at NaN or infinity")
    return point


def _completed(model: Model, x: Tensor, labels: Labels) -> Labels:
    """Labels of the first ``len(x)`` samples with what is missing predicted, where p(codes | y) depends on it."""
    values, observed = labels[0][: len(x)], labels[1][: len(x)]
    if not model.labelled or bool(observed.all()):
        return values, observed
    return model.complete(x, values, observed), torch.ones_like(observed)


def _put(model: Model, codes, label: str, new: Tensor, old: Tensor, point: str, generator) -> Latents[Tensor]:
    if point == "typical" or not any(b.label == label for b in model.blocks):
        return model.place(codes, label, new, old)
    prior = model.prior(*model.only(label, new))
    chosen = sample(prior, generator) if point == "draw" else modes(prior)
    name = model.blocks.of(label).name
    return codes.replace({name: chosen[name]})


def _decode(model: Model, codes: Latents[Tensor], encoded: Latents[Tensor], x: Tensor, keep_detail: bool) -> Tensor:
    edited = model.decode(codes).mean_like(x)
    if not keep_detail:
        return edited
    if not model.likelihood.additive:
        raise UserError("keep_detail adds differences of samples, which counts and tables do not have; leave it out")
    out = x + edited - model.decode(encoded).mean_like(x)
    low, high = model.likelihood.bounds or ((0.0, 1.0) if len(model.shape) == 3 else (-math.inf, math.inf))
    return out.clamp(low, high)


def _ends(model, name, label, coordinates, span, value, data_codes, before) -> list[tuple[float, float]]:
    """Where a walk starts and ends, per coordinate."""
    if isinstance(span, tuple):
        low, high = float(span[0]), float(span[1])
        if not low < high:
            raise UserError(f"a walk goes from a smaller to a larger number, got {span}")
        return [(low, high)] * len(coordinates)
    _one_of("span", span, ("prior", "data"))
    if span == "data":
        if data_codes is None:
            raise UserError('span="data" needs data_codes (interventions.encode_all makes them)')
        code = data_codes[name].float()
        tails = torch.tensor([_TAIL, 1 - _TAIL], device=code.device)
        return [tuple(torch.quantile(code[:, c], tails).tolist()) for c in coordinates]  # type: ignore[misc]
    values = before[0][:1].clone()
    if label is not None:
        index, kind = model.schema.index(label), model.schema[label]
        if value is not None:
            values[:, index] = kind.parse(value)
        elif kind.kind == "binary":
            values[:, index] = 1.0
    prior = model.prior(values, before[1][:1])[name]
    if label is not None and isinstance(prior, Point):  # the label's own value: from its smallest to its largest
        options = model.schema.candidates(label, values.device)
        points = model.prior(*model.only(label, options))[name].mean
        return [(float(points[:, c].min()), float(points[:, c].max())) for c in coordinates]
    return [
        (float(prior.mean[0, c] - 2 * prior.scale[0, c]), float(prior.mean[0, c] + 2 * prior.scale[0, c])) for c in coordinates
    ]


def _values(model: Model, labels: Labels, names) -> dict[str, list[Any]]:
    decoded = model.schema.decode(labels[0].cpu().numpy(), labels[1].cpu().numpy())
    return {name: decoded[name] for name in names}


def _record(
    kind: str,
    encoded: Latents[Tensor],
    codes: Latents[Tensor],
    source: dict[str, list[Any]],
    target: dict[str, list[Any]],
    options: dict[str, Any],
    after: Intervention | None = None,
) -> Record:
    """A record whose changed blocks are those whose codes really differ from the samples' own."""
    blocks: Blocks = codes.blocks
    changed = tuple(b.name for b in blocks if not torch.equal(encoded[b.name], codes[b.name]))
    return _following(Record(kind, changed, _rest(blocks, changed), source, target, options), after)


def _walk_record(
    kind: str,
    model: Model,
    names: Sequence[str],
    source: dict[str, list[Any]],
    target: dict[str, list[Any]],
    options: dict[str, Any],
    after: Intervention | None,
) -> Record:
    """The record of a walk: the blocks that it goes through, and those that edits before it changed, are changed."""
    earlier = after.record.changed if after else ()
    changed = tuple(b.name for b in model.blocks if b.name in names or b.name in earlier)
    return _following(Record(kind, changed, _rest(model.blocks, changed), source, target, options), after)


def _rest(blocks: Blocks, changed: Sequence[str]) -> tuple[str, ...]:
    return tuple(b.name for b in blocks if b.name not in changed)


def _following(record: Record, after: Intervention | None) -> Record:
    """The record of an edit and of all edits before it: values from the very first, and what was done as a list."""
    if after is None:
        return record
    before = after.record
    own = {name: value for name, value in before.options.items() if name != "after"}
    steps = list(before.options.get("after", []))
    if own.get("points") != {}:  # a move to nowhere is a reconstruction, not an edit
        steps.append({"kind": before.kind, "target": before.target, "options": own})
    return replace(
        record,
        source={**record.source, **before.source},
        target={**before.target, **record.target},
        options={**record.options, "after": steps},
    )


def _one_of(name: str, given: Any, known: Sequence[str]) -> None:
    if given not in known:
        raise unknown(name, given, known)
