"""Blocks put at points: those of a label's new value, or points that are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from labelspace.blocks import Block, Latents, modes, sample
from labelspace.errors import UserError
from labelspace.interventions.coding import check_choice
from labelspace.interventions.given import LabelsGiven, takes_samples
from labelspace.interventions.record import Intervention
from labelspace.interventions.start import Start
from labelspace.models.base import Model


@takes_samples
@torch.no_grad()
def set(
    model: Model,
    x: Tensor,
    values: Mapping[str, Any],
    labels: LabelsGiven | None = None,
    *,
    point: Literal["typical", "prior", "draw"] = "typical",
    others: Literal["keep", "zero"] = "keep",
    keep_detail: bool | None = None,
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
        keep_detail: keep what the model could not reconstruct, x - decode(encoded), where the edit changes little
            (:meth:`labelspace.likelihoods.Likelihood.counterfactual`). Then a sample that is known to have the value that is
            set stays as it is, but for a draw, and so do columns of a table that the label has nothing to do with
            (:meth:`labelspace.models.base.Model.columns_of`). None is what suits the data: the rows of a table keep it, other
            samples do not (:attr:`labelspace.likelihoods.Likelihood.keeps_detail`).
        generator: for ``point="draw"``.
        after: an earlier edit of the same samples that this one goes on from; ``labels`` are then those of that edit.

    Returns:
        ``x`` shaped like the input.

    Raises:
        UserError: an unknown label, or a value that it cannot take. A number outside of the training data is a warning
            (:class:`labelspace.errors.OutsideData`).

    >>> done = set(model, data[0], {"moon": "left"})
    >>> done.x.shape, done.record.target
    (torch.Size([2]), {'moon': ['left']})
    """
    check_choice("point", point, ("typical", "prior", "draw"))
    check_choice("others", others, ("keep", "zero"))
    parsed = {name: model.asked(name, value) for name, value in values.items()}
    start = Start.of(model, x, labels, after)
    blockless = [name for name in parsed if not any(b.label == name for b in model.blocks)]
    if blockless:  # these edits move from the label's own value
        start = start.completed()
    before, observed = start.labels
    codes = start.codes
    if others == "zero":
        means = torch.tensor([label.mean for label in model.schema], device=before.device)  # 0 but for numbers
        off = modes(model.prior(means.expand_as(before)))
        codes = codes.replace({b.name: off[b.name] for b in model.blocks if b.label is not None and b.label not in parsed})
    after_values, after_observed = before.clone(), observed.clone()
    stays = start.keeps(keep_detail) and point != "draw"
    for name, value in parsed.items():
        index = model.schema.index(name)
        if name in blockless and not bool(observed[:, index].all()):
            raise UserError(
                f"this model has no block for {name!r} and moves from its own value, which is not known: give labels, or "
                "name a sample of the run's data (test:0)"
            )
        new = torch.full((len(before),), value, device=before.device)
        moved = _set_label(model, codes, name, new, before[:, index], point, generator)
        has = (start.told[:, index] & (before[:, index] == new) & stays)[:, None]
        codes = moved.replace({block: torch.where(has, codes[block], code) for block, code in moved.items()})
        after_values[:, index], after_observed[:, index] = value, True
    return start.finish(
        "set",
        codes,
        {"point": point, "others": others},
        keep_detail,
        source=start.values(parsed),
        target={name: [model.schema[name].format(value)] * len(before) for name, value in parsed.items()},
        labels=(after_values, after_observed),
        about=model.schema.names if others == "zero" else parsed,
    )


def _set_label(model: Model, codes, label: str, new: Tensor, old: Tensor, point: str, generator) -> Latents[Tensor]:
    """Codes with the block of one label at the point of its new value."""
    if point == "typical" or not any(b.label == label for b in model.blocks):
        return model.intervene(codes, label, new, old)
    prior = model.prior(*model.only(label, new))
    chosen = sample(prior, generator) if point == "draw" else modes(prior)
    name = model.blocks.of(label).name
    return codes.replace({name: chosen[name]})


@takes_samples
@torch.no_grad()
def move(
    model: Model,
    x: Tensor,
    points: Mapping[str, Sequence[float] | Tensor],
    labels: LabelsGiven | None = None,
    *,
    keep_detail: bool | None = None,
    after: Intervention | None = None,
) -> Intervention:
    """Puts latent blocks at points that are given, and keeps everything else.

    Without points it is the reconstruction; with ``keep_detail`` the samples themselves.

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

    >>> move(model, data[:3], {}).x.shape  # their reconstructions
    torch.Size([3, 2])
    """
    start = Start.of(model, x, labels, after)
    fitted = {name: _point(model.blocks.named(name), point, start.x) for name, point in points.items()}
    options = {"points": {name: point.tolist() for name, point in fitted.items()}}
    about = None if fitted else ()
    return start.finish("move", start.codes.replace(fitted), options, keep_detail, source={}, target={}, about=about)


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
