"""A donor's way of having a label."""

from __future__ import annotations

import torch
from torch import Tensor

from labelspace.errors import UserError
from labelspace.interventions.coding import as_batch, encode, label_values
from labelspace.interventions.given import LabelsGiven, Samples, takes_samples
from labelspace.interventions.record import Intervention
from labelspace.interventions.start import Start
from labelspace.models.base import Model


@takes_samples
@torch.no_grad()
def transfer(
    model: Model,
    x: Tensor,
    donor: Samples,
    label: str,
    labels: LabelsGiven | None = None,
    donor_labels: LabelsGiven | None = None,
    *,
    keep_detail: bool | None = None,
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

    >>> transfer(model, data[0], data[1], "moon").x.shape
    torch.Size([2])
    """
    block = model.blocks.of(label)
    given, _ = as_batch(model, donor)
    start = Start.of(model, x, labels, after)
    n, index = len(start.x), model.schema.index(label)
    if len(given) not in (1, n):
        raise UserError(f"{len(given)} donors for {n} samples; expected one, or one for each")
    lent, lent_labels = encode(model, given, donor_labels)
    values, observed = (part.clone() for part in start.labels)
    values[:, index], observed[:, index] = (part[:, index] for part in lent_labels)
    return start.finish(
        "transfer",
        start.codes.replace({block.name: lent[block.name].expand(n, -1)}),
        {"label": label},
        keep_detail,
        source=start.values([label]),
        target=label_values(model, (values, observed), [label]),
        labels=(values, observed),
        about=[label],
    )
