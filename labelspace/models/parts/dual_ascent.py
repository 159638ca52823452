"""Weights of constraints that find themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_BETTER, _TRIED = 0.8, 8.0  # a weight that grew so many times must leave at most this share of the violation
_CHANGED = 1.5  # a violation that changed by this factor since growing was given up is tried again


class DualAscent(nn.Module):
    """One weight per constraint ``measured <= allowed``, moved by dual ascent in the logarithm.

    What is measured is a share: of the entropy of a label, say. A weight grows while its constraint is violated and shrinks
    while it is not. Measurements are averaged over about twenty batches. A constraint may be impossible to meet: where a weight
    that has become eight times as large has left more than four fifths of the violation, it goes back to where that began and
    stays there, until the violation changes.

    Args:
        constraints: how many.
        allowed: what may remain of the measured share.
        start, most: first and largest weight.
        rate: change of the log weight per update and per ``unit`` of violation, with at most two units felt.
        unit: the violation that counts as one.
    """

    value: Tensor
    average: Tensor
    updates: Tensor
    tried_from: Tensor
    tried_at: Tensor
    ceiling: Tensor

    def __init__(
        self, constraints: int, *, allowed: float, start: float, most: float, rate: float = 0.005, unit: float = 0.07
    ) -> None:
        super().__init__()
        self.allowed, self.start, self.most, self.rate, self.unit = allowed, start, most, rate, unit
        self.register_buffer("value", torch.full((constraints,), float(start)))
        self.register_buffer("average", torch.zeros(2, constraints))
        self.register_buffer("updates", torch.zeros(constraints))
        self.register_buffer("tried_from", torch.full((constraints,), float(start)))  # the weight that a trial began at
        self.register_buffer("tried_at", torch.full((constraints,), 1e9))  # and the violation
        self.register_buffer("ceiling", torch.full((constraints,), float(most)))

    @property
    def measured(self) -> Tensor:
        """The running share of every constraint, ``(constraints,)``."""
        return (self.average[0] / self.average[1].clamp_min(1e-6)).nan_to_num()

    @property
    def given_up(self) -> Tensor:
        """Constraints that could not be met, ``(constraints,)`` bool."""
        return self.ceiling < self.most

    @torch.no_grad()
    def update(self, found: Tensor, seen: Tensor, decay: float = 0.95) -> None:
        """Takes in one batch and moves the weights.

        Args:
            found: ``(2, constraints)``: what is measured, and what it is a share of.
            seen: ``(constraints,)`` bool; only these move.
        """
        self.updates += seen
        torch.where(seen, self.average.mul(decay).add_(found, alpha=1 - decay), self.average, out=self.average)
        violation = self.measured - self.allowed
        moved = self.value * torch.exp(self.rate * (violation / self.unit).clamp(-2, 2))
        moved = torch.where(seen, moved.clamp_min(0.1), self.value)
        # A trial ends when the weight has grown enough; it begins anew where the violation is over or has changed.
        over = (violation <= 0) | (violation > _CHANGED * self.tried_at) | (violation < self.tried_at / _CHANGED)
        ended = moved >= _TRIED * self.tried_from
        in_vain = ended & (violation > _BETTER * self.tried_at)
        self.ceiling.masked_fill_(over, self.most)
        torch.where(in_vain, self.tried_from, self.ceiling, out=self.ceiling)
        begins = over | (ended & ~in_vain)
        torch.minimum(moved, self.ceiling, out=self.value)
        torch.where(begins, self.value, self.tried_from, out=self.tried_from)
        torch.where(begins, violation.clamp_min(1e-3), self.tried_at, out=self.tried_at)

    def excess(self, found: Tensor) -> Tensor:
        """What is measured beyond twice what is allowed, at the first weight: a scalar that noise does not move.

        Args:
            found: ``(2, constraints)``, as :meth:`update` takes it.
        """
        return self.start * (found[0] - 2 * self.allowed * found[1]).clamp_min(0).sum()
