"""Adversaries: small networks that read labels off codes, and what their answers cost the model that makes the codes.

An adversary is any network from a code to ``schema.parameters`` numbers. It minimises :func:`cross_entropy` with the code
detached; the model minimises :func:`negative_entropy` or :func:`divergence` of its answer, with the adversary frozen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from labelspace.blocks import Block, Latents
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import LabelDistribution, Schema
from labelspace.models import networks


def cross_entropy(answer: LabelDistribution, values: Tensor, observed: Tensor) -> Tensor:
    """Cross entropy of an answer in nats, averaged over the samples that have each label, ``(labels,)``."""
    return -torch.where(observed, answer.log_prob(values), 0.0).sum(0) / observed.sum(0).clamp_min(1)


def divergence(answer: LabelDistribution, marginal: LabelDistribution) -> Tensor:
    """KL(p(y) || answer) in nats, averaged over samples, ``(labels,)``: 0 where the code does not tell the label."""
    return marginal.kl_to(answer).mean(0)


def negative_entropy(answer: LabelDistribution, marginal: LabelDistribution) -> Tensor:
    """Negative entropy of an answer in nats, averaged over samples, ``(labels,)`` (Klys et al. 2018).

    It is least where the answer is uniform. No answer about a number is: of a continuous label it is :func:`divergence`.
    """
    discrete = torch.tensor([label.discrete for label in answer.schema], device=marginal.parameters.device)
    return torch.where(discrete, -answer.entropy().mean(0), divergence(answer, marginal))


def between_mean_and_draw(part: DiagonalGaussian, generator: torch.Generator) -> Tensor:
    """Points ``(n, size)`` between the mean and a draw: an adversary that was trained on them reads both."""
    strength = torch.rand(len(part.mean), 1, generator=generator, device=part.mean.device)
    return DiagonalGaussian(part.mean, part.scale * strength).sample(generator)


class BlockAdversaries(nn.ModuleList):
    """One small adversary per block of a label, for the *other* labels: what one block may not carry must not move to another.

    Args:
        blocks: of the labels, in the order of the schema.
        schema: the labels.
        hidden: hidden units of each adversary.
    """

    other: Tensor

    def __init__(self, blocks: Sequence[Block], schema: Schema, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__(networks.mlp(block.size, list(hidden), schema.parameters) for block in blocks)
        self.blocks, self.schema = tuple(blocks), schema
        self.register_buffer("other", (~torch.eye(len(schema), dtype=torch.bool)).flatten().nonzero()[:, 0], persistent=False)

    def answers(self, codes: Latents[Tensor]) -> Iterator[LabelDistribution]:
        """Every adversary's answer about all labels, block by block."""
        for network, block in zip(self, self.blocks, strict=True):
            yield self.schema.distribution(network(codes[block.name]).float())

    def pairs(self, rows: Sequence[Tensor]) -> Tensor:
        """Of rows ``(labels,)``, one a block, the entries about other labels than the block's, ``(labels * (labels - 1),)``."""
        # by position: a mask would have to be counted, which waits for a GPU
        return torch.cat(list(rows)).index_select(0, self.other)

    @property
    def pair_names(self) -> tuple[str, ...]:
        """``block's label.other label`` of the entries of :meth:`pairs`."""
        names = self.schema.names
        return tuple(f"{block}.{label}" for block in names for label in names if block != label)
