"""Real numbers that all live on one scale: Gaussian and Laplace."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelspace.distributions import LOG_2PI
from labelspace.errors import UserError
from labelspace.likelihoods.base import DataDistribution, Likelihood, entry_dimensions


class GaussianDistribution(DataDistribution):
    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self.mean, self.scale = mean, scale

    def log_prob(self, x: Tensor) -> Tensor:
        # The scale is one number: it is applied to sums, not to every pixel.
        squares = F.mse_loss(self.mean, x, reduction="none").sum(entry_dimensions(x))
        return -0.5 * squares / self.scale**2 - math.prod(x.shape[1:]) * (torch.log(self.scale) + 0.5 * LOG_2PI)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self.mean + self.scale * torch.empty_like(self.mean).normal_(generator=generator)


class LaplaceDistribution(DataDistribution):
    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self.mean, self.scale = mean, scale

    def log_prob(self, x: Tensor) -> Tensor:
        distances = F.l1_loss(self.mean, x, reduction="none").sum(entry_dimensions(x))
        return -distances / self.scale - math.prod(x.shape[1:]) * torch.log(2 * self.scale)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        uniform = torch.empty_like(self.mean).uniform_(-0.5, 0.5, generator=generator)
        tail = torch.log1p(-2 * uniform.abs().clamp_max(0.5 - 1e-7))
        return self.mean - self.scale * torch.sign(uniform) * tail


class LocationScale(Likelihood):
    """A location from the decoder and one scale for all entries, fixed or learned."""

    distribution: type[GaussianDistribution] | type[LaplaceDistribution]

    def __init__(self, shape: tuple[int, ...], scale: float = 1.0, learned: bool = False) -> None:
        super().__init__(shape)
        if not 0 < scale < math.inf:
            raise UserError(f"the likelihood's scale must be positive and finite, got {scale}")
        self.learned = learned
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learned)

    def forward(self, raw: Tensor) -> DataDistribution:
        return self.distribution(raw, self.log_scale.exp())


class Gaussian(LocationScale):
    """Unbounded data with one standard deviation for all entries, fixed or learned."""

    distribution = GaussianDistribution


class Laplace(LocationScale):
    """Unbounded data with heavier tails than a Gaussian: sharper pictures, less weight on outliers."""

    distribution = LaplaceDistribution
