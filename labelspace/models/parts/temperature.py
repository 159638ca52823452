"""How sure a label head may be of itself: a temperature per label, found on samples that it was not trained on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labelspace.labels import LabelDistribution

_TRIED = range(-20, 41)  # tenths of logarithms of temperatures


class Temperatures(nn.Module):
    """One temperature per label (Guo et al. 2017): logits are divided by it, the scale of a number is multiplied; 1 at first.

    Args:
        labels: how many.
    """

    log: Tensor

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.register_buffer("log", torch.zeros(labels))

    def forward(self, answer: LabelDistribution) -> LabelDistribution:
        return answer.tempered(self.log)

    @torch.no_grad()
    def fit(self, answer: LabelDistribution, values: Tensor, observed: Tensor) -> None:
        """Takes those under which held-out labels are most probable, near 1 where few are known (a standard normal prior on the
        logarithm).

        Args:
            answer: of ``n`` samples, at temperature 1.
            values, observed: ``(n, labels)``.
        """
        tried = torch.tensor(_TRIED, device=self.log.device) / 10
        nats = [
            -torch.where(observed, answer.tempered(t.expand_as(self.log)).log_prob(values), 0.0).sum(0) + 0.5 * t**2
            for t in tried
        ]
        self.log.copy_(tried[torch.stack(nats).argmin(0)])
