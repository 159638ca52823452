"""Parts that balance a model's competing terms without hand-tuned weights.

* :class:`Multipliers`: dual ascent on "an adversary's cross entropy stays at H(y)": a weight per label that grows while the
  adversary still reads the label and shrinks when it does not.
* :class:`Erasure`: removes from a code all that a linear classifier could read about the labels, in closed form, so that the
  adversary has only the rest to fight.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Multipliers(nn.Module):
    """One weight per constraint ``measured <= allowed``, in nats, moved by dual ascent in the logarithm.

    Args:
        shape: number of constraints.
        allowed: what may remain of the measured excess, in nats.
        start, most: first and largest weight.
        rate: change of the log weight per update and per ``unit`` of violation, with at most two units felt.
        unit: nats of violation that count as one.
    """

    value: Tensor
    average: Tensor
    updates: Tensor

    def __init__(
        self, shape: int, *, allowed: float, start: float, most: float, rate: float = 0.005, unit: float = 0.05
    ) -> None:
        super().__init__()
        self.allowed, self.most, self.rate, self.unit = allowed, most, rate, unit
        self.register_buffer("value", torch.full((shape,), float(start)))
        self.register_buffer("average", torch.zeros(shape))
        self.register_buffer("updates", torch.zeros(()))

    @torch.no_grad()
    def update(self, excess: Tensor, decay: float = 0.95) -> None:
        """Takes in one batch's measured excess ``(shape,)`` and moves the weights."""
        self.updates += 1
        self.average.mul_(decay).add_(excess, alpha=1 - decay)
        violation = self.average / (1 - decay**self.updates) - self.allowed
        self.value.mul_(torch.exp(self.rate * (violation / self.unit).clamp(-2, 2))).clamp_(0.1, self.most)


class Erasure(nn.Module):
    """Least-squares concept erasure (Belrose et al. 2023), with running statistics as batch norm has them.

    The projection removes from a code the smallest part (in the code's own covariance) after which no linear classifier
    reads the labels: code - (code - mean) P', P = C (C' S^-1 C)^-1 C' S^-1, with S the covariance of the code and C its
    cross-covariance with the label features.

    Args:
        size: coordinates of the code.
        features: columns of the label features.
        label_features: ``(features,)`` their mean.
        from_update: how many batches are only measured before anything is erased.
    """

    mean: Tensor
    covariance: Tensor
    cross: Tensor
    projection: Tensor
    center: Tensor
    updates: Tensor

    def __init__(self, size: int, features: int, from_update: int = 75) -> None:
        super().__init__()
        self.from_update = from_update
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("covariance", torch.eye(size))
        self.register_buffer("cross", torch.zeros(size, features))
        self.register_buffer("projection", torch.zeros(size, size))
        self.register_buffer("center", torch.zeros(size))
        self.register_buffer("updates", torch.zeros(()))

    def forward(self, code: Tensor) -> Tensor:
        with torch.autocast(code.device.type, enabled=False):
            return code - (code - self.center) @ self.projection.T

    @torch.no_grad()
    def update(self, code: Tensor, labels: Tensor, decay: float = 0.98, every: int = 4) -> None:
        """Takes in one batch: the code before erasure ``(n, size)`` and centred label features ``(n, features)``."""
        self.updates += 1
        step = int(self.updates)
        keep = decay if step > 50 else (step - 1) / step
        self.mean.lerp_(code.mean(0), 1 - keep)
        centred = code - self.mean
        with torch.autocast(code.device.type, enabled=False):
            self.covariance.lerp_(centred.T @ centred / len(code), 1 - keep)
            self.cross.lerp_(centred.T @ labels / len(code), 1 - keep)
            if step >= self.from_update and step % every == 0:
                self._project(ridge=2e-3)

    @torch.no_grad()
    def fix(self, codes: Tensor, labels: Tensor) -> None:
        """Puts exact statistics of all training codes in place of the running ones."""
        self.mean.copy_(codes.mean(0))
        centred = codes - self.mean
        self.covariance.copy_(centred.T @ centred / len(codes))
        self.cross.copy_(centred.T @ labels / len(codes))
        self._project(ridge=1e-7)

    def _project(self, ridge: float) -> None:
        eye = torch.eye(len(self.mean), device=self.mean.device)
        s = self.covariance + 1e-3 * self.covariance.diagonal().mean() * eye
        solved = torch.linalg.solve(s, self.cross)
        inner = self.cross.T @ solved
        inner += ridge * torch.eye(len(inner), device=inner.device)
        # New tensors: the old ones may be part of a graph that is still to be differentiated.
        self.projection = self.cross @ torch.linalg.solve(inner, solved.T)
        self.center = self.mean.clone()
