"""Distributions over the coordinates of a latent block: what encoders return and what priors are.

All densities are in nats, summed over the coordinates of a block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


@dataclass
class DiagonalGaussian:
    """A Gaussian with diagonal covariance over the last dimension.

    Args:
        mean: ``(n, d)``.
        scale: ``(n, d)`` standard deviations, positive.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def standard(cls, n: int, size: int, like: Tensor | None = None) -> DiagonalGaussian:
        """N(0, I) for ``n`` samples of ``size`` coordinates, on the device of ``like``."""
        device = None if like is None else like.device
        return Standard(torch.zeros(n, size, device=device), torch.ones(n, size, device=device))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One reparameterised draw, ``(n, d)``."""
        noise = torch.empty_like(self.mean).normal_(generator=generator)
        return self.mean + self.scale * noise

    @property
    def mode(self) -> Tensor:
        return self.mean

    def kl(self, other: DiagonalGaussian) -> Tensor:
        """KL(self || other) in nats, summed over coordinates, ``(n,)``."""
        return self.kl_per_dimension(other).sum(-1)

    def kl_per_dimension(self, other: DiagonalGaussian) -> Tensor:
        """KL(self || other) in nats of each coordinate, ``(n, d)``."""
        if isinstance(other, Degenerate):
            return Degenerate(self.mean, self.scale).kl_per_dimension(other)
        if isinstance(other, Standard):
            return 0.5 * (self.scale**2 + self.mean**2 - 1) - torch.log(self.scale)
        ratio = self.scale / other.scale
        return 0.5 * (ratio**2 + ((self.mean - other.mean) / other.scale) ** 2 - 1) - torch.log(ratio)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats, summed over coordinates, ``(n,)``."""
        return self.log_prob_per_dimension(value).sum(-1)

    def log_prob_per_dimension(self, value: Tensor) -> Tensor:
        """Log-density in nats of each coordinate, ``(n, d)``."""
        return -0.5 * (((value - self.mean) / self.scale) ** 2 + LOG_2PI) - torch.log(self.scale)

    def __getitem__(self, rows) -> DiagonalGaussian:
        return type(self)(self.mean[rows], self.scale[rows])

    def detach(self) -> DiagonalGaussian:
        return type(self)(self.mean.detach(), self.scale.detach())


class Standard(DiagonalGaussian):
    """N(0, I): :meth:`DiagonalGaussian.standard` makes it. What is known of it saves computing it."""


class Degenerate(DiagonalGaussian):
    """A Gaussian of which some entries have no width: codes that are known exactly for some samples, such as an empty block.

    Against another entry without width densities are those of counting: 0 nats at the same place. Against anything of positive
    width a point has no density; there the log-density and the KL are infinite.

    Args:
        mean: ``(n, d)``.
        scale: ``(n, d)`` standard deviations, 0 where the code is known.
    """

    def kl_per_dimension(self, other: DiagonalGaussian) -> Tensor:
        mine, theirs = self.scale > 0, other.scale > 0
        same = ~mine & ~theirs & torch.isclose(self.mean, other.mean)
        widths = _filled(self).kl_per_dimension(_filled(other))
        return torch.where(mine & theirs, widths, torch.where(same, 0.0, torch.inf))

    def log_prob_per_dimension(self, value: Tensor) -> Tensor:
        here = torch.where(torch.isclose(value, self.mean), 0.0, -torch.inf)
        return torch.where(self.scale > 0, _filled(self).log_prob_per_dimension(value), here)


def _filled(gaussian: DiagonalGaussian) -> DiagonalGaussian:
    """With width 1 where there is none, so that what is computed there and left out has a gradient."""
    return DiagonalGaussian(gaussian.mean, torch.where(gaussian.scale > 0, gaussian.scale, 1.0))


class Point(Degenerate):
    """A Gaussian without any width: a code that is known exactly for all samples (a label's own value, a deterministic
    encoder's output). Where a prior has a density, :meth:`labelspace.models.base.Model.log_likelihood` refuses it.
    """

    @classmethod
    def at(cls, value: Tensor) -> Point:
        """All mass at ``value (n, d)``."""
        return cls(value, torch.zeros_like(value))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self.mean
