"""Into codes and back: what all interventions share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelspace.blocks import Block, Latents, joined, modes
from labelspace.errors import UserError, unknown
from labelspace.interventions.given import Given, LabelsGiven, Samples, labels_of
from labelspace.interventions.record import Labels
from labelspace.models.base import Model
from labelspace.models.of_data import chunks
from labelspace.storage import bounds

_COPIES = 4  # of samples and codes that an intervention has in memory together


def as_batch(model: Model, x: Samples) -> tuple[Tensor, bool]:
    """A batch from one sample or a batch, and whether it was one sample."""
    x = x if isinstance(x, Tensor) else Given.of(model, x).x
    single = tuple(x.shape) == model.shape
    batch = x[None] if single else x
    if tuple(batch.shape[1:]) != model.shape:
        raise UserError(f"samples have shape {tuple(x.shape)}, the model takes {model.shape} or (n, ...) of it")
    if len(batch) == 0:
        raise UserError("there is no sample to work on")
    batch = batch.to(model.label_parameters.device)
    model.note_far(batch)
    return batch, single


def samples_in(model: Model, x: Tensor) -> int:
    """How many samples there are in one sample or a batch."""
    return 1 if tuple(x.shape) == model.shape else len(x)


def affordable(model: Model, n: int, what: str) -> None:
    """Raises UserError where so many samples with their codes are more than may be made at once (``LABELSPACE_MAX_BYTES``).

    Args:
        model: what makes them.
        n: samples.
        what: what they are called in the message.
    """
    numbers = _COPIES * (math.prod(model.shape) + sum(block.size for block in model.blocks))
    bounds.check(f"{n:,} {what}", 4 * n * numbers, how="made")


def chosen_block(model: Model, intervention: str, label: str | None, block: str | None) -> Block:
    """The block that is meant by a label or by a block's name."""
    if (label is None) == (block is None):
        raise UserError(f"{intervention} needs a label or the name of a block, one of them")
    return model.blocks.of(label) if label is not None else model.blocks.named(str(block))


def encode(model: Model, x: Tensor, labels: LabelsGiven | None) -> tuple[Latents[Tensor], Labels]:
    """Codes that edits start from, and the label values that belong to them with a mask of those known or predicted.

    Many samples are encoded in parts.
    """
    known = labels_of(model, labels, len(x))
    if known is not None and len(known[0]) != len(x):
        raise UserError(f"there are labels of {len(known[0])} samples, and {len(x)} samples; expected as many")
    parts = [
        _encode(model, x[rows], None if known is None else (known[0][rows], known[1][rows]))
        for rows in chunks(np.arange(len(x)))
    ]
    values, observed = (torch.cat([part[1][i] for part in parts]) for i in (0, 1))
    return joined([codes for codes, _ in parts]), (values, observed)


def _encode(model: Model, x: Tensor, known: Labels | None) -> tuple[Latents[Tensor], Labels]:
    return started(model, x, *((t.to(x.device) for t in known) if known is not None else (None, None)))


def started(
    model: Model, x: Tensor, values: Tensor | None = None, observed: Tensor | None = None
) -> tuple[Latents[Tensor], Labels]:
    """As :func:`encode`, of one part, with the labels as networks read them."""
    if model.encoder_needs_labels and len(model.schema):
        values = model.complete(x, values, observed)
        observed = torch.ones_like(values, dtype=torch.bool)
    else:
        values, observed = model.known(x, values, observed)
    return model.as_drawn(modes(model.encode(x, values, observed)), values, observed), (values, observed)


@torch.no_grad()
def encode_all(model: Model, batches) -> tuple[Latents[Tensor], Tensor]:
    """Codes that edits start from, of many batches, and the label values that they were encoded under."""
    parts, values = [], []
    for batch in batches:
        codes, (full, _) = encode(model, batch.x, (batch.values, batch.observed))
        parts.append(codes)
        values.append(full)
    return joined(parts), torch.cat(values)


def completed(model: Model, x: Tensor, labels: Labels) -> Labels:
    """Labels of the first ``len(x)`` samples with what is missing predicted, where p(codes | y) depends on it."""
    values, observed = labels[0][: len(x)], labels[1][: len(x)]
    if not model.labelled or bool(observed.all()):
        return values, observed
    return model.complete(x, values, observed), torch.ones_like(observed)


def decode(
    model: Model,
    codes: Latents[Tensor],
    encoded: Latents[Tensor],
    x: Tensor,
    keep_detail: bool,
    about: frozenset[str] | None = None,
) -> Tensor:
    """Samples of edited codes; with ``keep_detail`` what the model could not reconstruct is kept where the edit changes little
    (:meth:`labelspace.likelihoods.Likelihood.counterfactual`), and columns that the labels which the edit is about have nothing
    to do with stay as they are. Many samples are decoded in parts.
    """
    may = None if about is None else model.columns_of(about)

    def decoded(rows: np.ndarray) -> Tensor:
        edited, like = model.decode(codes.rows(rows)), x[rows]
        if not keep_detail:
            return edited.mean_like(like)
        made = model.likelihood.counterfactual(like, model.decode(encoded.rows(rows)), edited)
        return made if may is None else torch.where(may, made, like)

    return torch.cat([decoded(rows) for rows in chunks(np.arange(len(x)))])


def label_values(model: Model, labels: Labels, names: Iterable[str]) -> dict[str, list[Any]]:
    """Label name -> values as users write them, None where unknown."""
    decoded = model.schema.decode(labels[0].cpu().numpy(), labels[1].cpu().numpy())
    return {name: decoded[name] for name in names}


def check_choice(name: str, given: Any, known: Sequence[str]) -> None:
    """Raises UserError where an option is none of those that are known."""
    if given not in known:
        raise unknown(name, given, known)
