"""Consistency of counterfactuals: what a model draws with other labels must be encoded as what it was drawn from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labelspace.distributions import DiagonalGaussian


def counterfactual_consistency(
    decode: Callable[[Tensor, Tensor], Tensor],
    encode: Callable[[Tensor, Tensor], tuple[DiagonalGaussian, DiagonalGaussian]],
    q_z: DiagonalGaussian,
    z: Tensor,
    w: Tensor,
    values: Tensor,
    block_of: Tensor,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """What the encoders make of the model's own counterfactuals.

    Half of the batch is decoded with some labels' blocks (each with probability one half) taken from other samples. Encoded
    again, the result must have the free code that it was made from, whatever its labels are now, and the blocks that it was
    given. The two free codes move towards each other: what one of them has of the labels, the other cannot have.

    Args:
        decode: ``z`` and ``w`` of the first half of the samples -> their means.
        encode: samples and their label values -> posteriors of ``z`` and ``w``.
        q_z: posterior of the free code, ``(n, free)``.
        z, w: draws of the codes, ``(n, free)`` and ``(n, width)``, all labels' blocks side by side.
        values: ``(n, labels)``, complete.
        block_of: ``(width,)`` the position of the label that each coordinate of ``w`` belongs to.
        generator: of donors and of who is given what.

    Returns:
        Terms in nats per sample: ``consistency_z``, and ``consistency_w (labels,)``. Through ``decode`` their gradient
        reaches the decoder: it must draw pictures that show the block that it was given.
    """
    half, labels = max(1, len(values) // 2), values.shape[1]
    donors = torch.randint(len(values), (half, labels), generator=generator, device=values.device)
    swap = torch.rand(half, labels, generator=generator, device=values.device) < 0.5
    given_values = torch.where(swap, values.gather(0, donors), values[:half])
    w = w.detach()
    given_w = torch.where(swap[:, block_of], w.gather(0, donors[:, block_of]), w[:half])
    again_z, again_w = encode(decode(z[:half].detach(), given_w), given_values)
    # In units of the posterior, but with a gradient as if it were relative to the spread of these codes: a code that shrinks
    # as a whole is no more consistent than before, and must not be drawn to nothing.
    spread = torch.cat([again_z.mean, q_z.mean[:half]]).std(0, correction=0).clamp_min(1e-6)
    distance = (again_z.mean - q_z.mean[:half]) / spread * (spread / q_z.scale[:half]).detach()
    nats = -again_w.log_prob_per_dimension(given_w).mean(0)
    return {
        # logarithmic, so that a picture that went wrong does not outvote the rest
        "consistency_z": torch.log1p(0.5 * distance**2).sum(1).mean(),
        "consistency_w": nats.new_zeros(labels).index_add(0, block_of, nats),
    }
