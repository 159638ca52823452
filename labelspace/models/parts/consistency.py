"""Consistency of counterfactuals: what a model draws with other labels must be encoded as what it was drawn from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labelspace.blocks import Latents
from labelspace.distributions import DiagonalGaussian


def counterfactual_consistency(
    decode: Callable[[Latents[Tensor], Tensor], Tensor],
    encode: Callable[[Tensor, Tensor], Latents[DiagonalGaussian]],
    x: Tensor,
    posterior: Latents[DiagonalGaussian],
    codes: Latents[Tensor],
    values: Tensor,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """What the encoders make of the model's own counterfactuals.

    Half of the batch is decoded with some labels' blocks (each with probability one half) taken from other samples. Encoded
    again, the result must have the free code that it was made from, whatever its labels are now, and the blocks that it was
    given. The first block is the free one, then there is one for every label.

    Args:
        decode: codes of samples and those samples -> their means.
        encode: samples and their label values -> posterior.
        x: ``(n, *shape)``.
        posterior, codes: of ``x``.
        values: ``(n, labels)``, complete.
        generator: of donors and of who is given what.

    Returns:
        Terms in nats per sample: ``consistency_z``, and ``consistency_w (labels,)``. Through ``decode`` their gradient
        reaches the decoder: it must draw pictures that show the block that it was given.
    """
    free, *labelled = codes.blocks
    n = max(1, len(values) // 2)
    swapped_values, swapped = values[:n].clone(), {}
    half = codes.rows(slice(0, n))
    for i, block in enumerate(labelled):
        donors = torch.randperm(len(values), generator=generator, device=values.device)[:n]
        swap = torch.rand(n, 1, generator=generator, device=values.device) < 0.5
        swapped[block.name] = torch.where(swap, codes[block.name][donors], half[block.name]).detach()
        swapped_values[:, i] = torch.where(swap[:, 0], values[donors, i], values[:n, i])
    given = half.map(Tensor.detach).replace(swapped)
    again = encode(decode(given, x[:n]), swapped_values)
    distance = (again[free.name].mean - given[free.name]) / posterior[free.name].scale[:n].detach()
    return {
        # logarithmic, so that a picture that went wrong does not outvote the rest
        "consistency_z": torch.log1p(0.5 * distance**2).sum(1).mean(),
        "consistency_w": torch.stack([-again[b.name].log_prob(given[b.name]).mean() for b in labelled]),
    }
