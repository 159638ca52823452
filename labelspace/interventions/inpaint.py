"""Holes in samples, filled."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from labelspace.errors import UserError
from labelspace.interventions.coding import as_batch, encode, label_values
from labelspace.interventions.given import LabelsGiven, takes_samples
from labelspace.interventions.record import Intervention, Record
from labelspace.models.base import Model


@takes_samples
@torch.no_grad()
def inpaint(
    model: Model, x: Tensor, hole: Tensor | np.ndarray, labels: LabelsGiven | None = None, *, rounds: int = 1
) -> Intervention:
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

    >>> hole = torch.tensor([False, True])  # the second entry is not known
    >>> inpaint(model, data[0], hole).x[0] == data[0].x[0]
    tensor(True)
    """
    batch, single = as_batch(model, x)
    if rounds < 1:
        raise UserError(f"inpaint needs at least one round, got {rounds}")
    try:
        mask = torch.as_tensor(hole).to(batch.device, torch.bool).expand(batch.shape)
    except RuntimeError:
        raise UserError(f"a hole of shape {tuple(hole.shape)} does not fit samples of shape {model.shape}") from None
    if not bool(mask.flatten(1).any(1).all()):
        raise UserError("the hole is empty: nothing is to be filled")
    filled = torch.where(mask, model.likelihood.blank(batch), batch)
    before = encode(model, filled, labels)[1]
    for _ in range(rounds):
        codes, _ = encode(model, filled, before)
        filled = torch.where(mask, model.decode(codes).fill(batch, ~mask), batch)
    known = label_values(model, before, model.schema.names)
    share = float(mask.float().mean())
    names = tuple(block.name for block in model.blocks)
    record = Record("inpaint", (), names, known, known, {"rounds": rounds, "hole": share})
    return Intervention(filled[0] if single else filled, record, codes)
