"""Draws: new samples, and one block of a sample anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from labelspace.errors import UserError
from labelspace.interventions.coding import affordable, as_batch, check_choice, chosen_block, encode, label_values, samples_in
from labelspace.interventions.given import LabelsGiven, Samples, takes_samples
from labelspace.interventions.record import Intervention, Record
from labelspace.interventions.start import Start
from labelspace.models.base import Model, Source


@torch.no_grad()
def generate(
    model: Model,
    values: Mapping[str, Any] | None = None,
    n: int = 16,
    *,
    keep: Samples | None = None,
    source: Source = "codes",
    mean: bool | None = None,
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
        mean: True for the mean of p(x | codes), False for a draw of it, as real samples are: whole numbers stay whole, a class
            is one of the classes, and no number lies beyond those of the training data. None is what suits the data: rows of a
            table and counts are drawn, everything else is a mean (:attr:`labelspace.likelihoods.Likelihood.drawn`).
        generator: of the draws.

    Returns:
        ``x`` of shape ``(n, *shape)``.

    >>> generate(model, {"moon": "left"}, 6).x.shape
    torch.Size([6, 2])
    """
    if n < 1:
        raise UserError(f"generate needs at least one sample, got {n}")
    affordable(model, n, "new samples")
    if values and not model.labelled:
        raise UserError(f"{type(model).__name__} does not generate under labels; leave them out, or use a model that has them")
    schema, device = model.schema, model.label_parameters.device
    asked = schema.distribution(model.label_parameters.expand(n, -1)).sample(generator) if len(schema) else torch.zeros(n, 0)
    asked = asked.to(device)
    for name, value in (values or {}).items():
        asked[:, schema.index(name)] = model.asked(name, value)
    check_choice("source of codes", source, ("codes", "prior"))
    codes = model.new_codes(asked, source=source, generator=generator)
    held: tuple[str, ...] = ()
    if keep is not None:
        batch, _ = as_batch(model, keep)
        encoded, _ = encode(model, batch[:1], None)
        held = tuple(b.name for b in model.blocks.free)
        codes = codes.replace({name: encoded[name].expand(n, -1) for name in held})
    # Samples of a model without labels have none: what was drawn for them says nothing.
    labels = (asked, torch.full_like(asked, model.labelled, dtype=torch.bool))
    record = Record(
        "generate",
        tuple(b.name for b in model.blocks if b.name not in held),
        held,
        {},
        label_values(model, labels, schema.names if model.labelled else []),
        {"n": n, "source": source, "mean": model.likelihood.takes_mean(mean), "asked": sorted(values or {})},
    )
    made = model.likelihood.new(model.decode(codes), mean, generator)
    return Intervention(made, record, codes, codes, labels, model=model)


@takes_samples
@torch.no_grad()
def resample(
    model: Model,
    x: Tensor,
    label: str | None = None,
    labels: LabelsGiven | None = None,
    *,
    block: str | None = None,
    n: int = 8,
    source: Source = "codes",
    keep_detail: bool | None = None,
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

    >>> resample(model, data[0], "moon", n=3).x.shape
    torch.Size([3, 2])
    """
    if n < 1:
        raise UserError(f"resample needs at least one draw, got {n}")
    affordable(model, n * samples_in(model, x), "new draws")
    drawn = chosen_block(model, "resample", label, block)
    start = Start.of(model, x, labels, after)
    repeated = start.repeat(n)
    code = model.new_codes(*start.completed().repeat(n).labels, source=source, generator=generator)[drawn.name]
    values = start.values([drawn.label] if drawn.label else [])
    codes = repeated.codes.replace({drawn.name: code})
    options = {"n": n, "source": source}
    return repeated.finish("resample", codes, options, keep_detail, source=values, target=values, steps=[n])
