"""How much groups of coordinates of a code tell of each other, by a discriminator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelspace.models import networks


class DensityRatio(nn.Module):
    """log q(code) - sum over groups of log q(group), read by a discriminator (Kim and Mnih 2018).

    The discriminator tells codes from shuffled ones, in which every group comes from another sample, so that groups are
    independent. Where it does so as well as can be, its log-odds are the log-density ratio, whose mean over codes is their
    total correlation.

    Args:
        sizes: coordinates of each group: 1 each for the total correlation of coordinates, a block's for that of blocks.
        hidden: hidden units of the discriminator.
    """

    owner: Tensor

    def __init__(self, sizes: Sequence[int], hidden: Sequence[int] = (256, 256, 256)) -> None:
        super().__init__()
        self.network = networks.mlp(sum(sizes), list(hidden), 1)
        self.groups = len(sizes)
        owner = torch.arange(len(sizes)).repeat_interleave(torch.tensor(list(sizes)))
        self.register_buffer("owner", owner, persistent=False)

    def forward(self, code: Tensor) -> Tensor:
        """The log-density ratio at codes ``(n, sum of sizes)`` in nats, ``(n,)``."""
        return self.network(code).float()[:, 0]

    def shuffled(self, code: Tensor, generator: torch.Generator) -> Tensor:
        """Codes whose groups are drawn, each for itself, from those of the batch without replacement; ``(n, sum of sizes)``."""
        keys = torch.rand(len(code), self.groups, generator=generator, device=code.device)
        return code.gather(0, keys.argsort(0)[:, self.owner])

    def read_loss(self, code: Tensor, generator: torch.Generator) -> Tensor:
        """The discriminator's cross entropy in nats, codes and shuffled codes half each; log 2 where they cannot be told apart.

        Args:
            code: ``(n, sum of sizes)``, detached, at least one.
            generator: of the shuffling.
        """
        whole, apart = self(code), self(self.shuffled(code, generator))
        return 0.5 * (F.softplus(-whole).mean() + F.softplus(apart).mean())
