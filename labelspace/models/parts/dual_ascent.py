"""Weights of constraints that find themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DualAscent(nn.Module):
    """One weight per constraint ``measured <= allowed``, in nats, moved by dual ascent in the logarithm.

    A weight grows while its constraint is violated and shrinks while it is not. Measurements are averaged over about twenty
    batches.

    Args:
        constraints: how many.
        allowed: what may remain of the measured excess, in nats.
        start, most: first and largest weight.
        rate: change of the log weight per update and per ``unit`` of violation, with at most two units felt.
        unit: nats of violation that count as one.
    """

    value: Tensor
    average: Tensor
    updates: Tensor

    def __init__(
        self, constraints: int, *, allowed: float, start: float, most: float, rate: float = 0.005, unit: float = 0.05
    ) -> None:
        super().__init__()
        self.allowed, self.most, self.rate, self.unit = allowed, most, rate, unit
        self.register_buffer("value", torch.full((constraints,), float(start)))
        self.register_buffer("average", torch.zeros(constraints))
        self.register_buffer("updates", torch.zeros(constraints))

    @torch.no_grad()
    def update(self, excess: Tensor, seen: Tensor, decay: float = 0.95) -> None:
        """Takes in one batch's measured excess and moves the weights, both ``(constraints,)``; only those seen move."""
        self.updates += seen
        self.average.copy_(torch.where(seen, self.average.mul(decay).add(excess, alpha=1 - decay), self.average))
        violation = self.average / (1 - decay ** self.updates.clamp_min(1)) - self.allowed
        moved = self.value * torch.exp(self.rate * (violation / self.unit).clamp(-2, 2))
        self.value.copy_(torch.where(seen, moved.clamp(0.1, self.most), self.value))
