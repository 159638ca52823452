"""Blocks side by side, one by one, and those that are alike at once: calls cost more than their arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from labelspace.blocks import Block, Latents
from labelspace.distributions import DiagonalGaussian


def stack_blocks(parts: Latents[DiagonalGaussian], names: Sequence[str]) -> DiagonalGaussian:
    """Blocks of one size as a Gaussian ``(n, blocks, size)``."""
    return DiagonalGaussian(*(torch.stack([getattr(parts[name], what) for name in names], 1) for what in ("mean", "scale")))


def ungroup(found: Sequence[Tensor], groups: Sequence[Sequence[int]]) -> Tensor:
    """One entry per label, ``(labels,)``, from those of groups of labels, ``(labels of the group,)`` each."""
    places = [i for group in groups for i in group]
    entries = torch.cat(list(found))
    if places == sorted(places):
        return entries
    # entry by entry: a list of places would have to be copied to a GPU, which waits for it
    single = dict(zip(places, entries.unbind(), strict=True))
    return torch.stack([single[i] for i in range(len(single))])


def split(blocks: Sequence[Block], gaussian: DiagonalGaussian) -> dict[str, DiagonalGaussian]:
    """A Gaussian over several blocks side by side, block by block."""
    sizes = [block.size for block in blocks]
    parts = zip(gaussian.mean.split(sizes, -1), gaussian.scale.split(sizes, -1), strict=True)
    return {block.name: type(gaussian)(*part) for block, part in zip(blocks, parts, strict=True)}
