"""Distributions over latents and over data.

Latent distributions (:class:`DiagonalGaussian`) are what encoders return and priors are; likelihoods are modules that turn a
decoder's raw output into a distribution over data, so that what a decoder emits is never squashed twice.
All densities are in nats, summed over the dimensions of a sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelspace.errors import UserError, unknown

_LOG_2PI = math.log(2 * math.pi)


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
        return cls(torch.zeros(n, size, device=device), torch.ones(n, size, device=device))

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
        ratio = self.scale / other.scale
        return 0.5 * (ratio**2 + ((self.mean - other.mean) / other.scale) ** 2 - 1) - torch.log(ratio)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats, summed over coordinates, ``(n,)``."""
        return (-0.5 * (((value - self.mean) / self.scale) ** 2 + _LOG_2PI) - torch.log(self.scale)).sum(-1)

    def __getitem__(self, rows) -> DiagonalGaussian:
        return DiagonalGaussian(self.mean[rows], self.scale[rows])

    def detach(self) -> DiagonalGaussian:
        return DiagonalGaussian(self.mean.detach(), self.scale.detach())


class DataDistribution:
    """A distribution over samples: ``log_prob(x) -> (n,)``, ``mean`` and ``sample(generator)``, both shaped like x."""

    mean: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        raise NotImplementedError


class Likelihood(nn.Module):
    """Turns a decoder's raw output into a distribution over data.

    ``bounds`` is the closed interval that data must lie in (None: unbounded).
    """

    bounds: tuple[float, float] | None = None

    def forward(self, raw: Tensor) -> DataDistribution:
        raise NotImplementedError

    def check(self, low: float, high: float) -> None:
        """Raises UserError when data between ``low`` and ``high`` do not fit this likelihood."""
        if self.bounds and not (self.bounds[0] <= low and high <= self.bounds[1]):
            raise UserError(
                f"data lie in [{low:g}, {high:g}], outside [{self.bounds[0]:g}, {self.bounds[1]:g}] of the "
                f"{type(self).__name__.lower()} likelihood; rescale them or choose --set likelihood=gaussian"
            )


class _BernoulliData(DataDistribution):
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self.mean = torch.sigmoid(logits)

    def log_prob(self, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(self.logits, x, reduction="none").flatten(1).sum(1)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(self.mean, generator=generator)


class Bernoulli(Likelihood):
    """Pixels (or other entries) in [0, 1]; grey values count as probabilities, as is usual for digits."""

    bounds = (0.0, 1.0)

    def forward(self, raw: Tensor) -> DataDistribution:
        return _BernoulliData(raw)


class _GaussianData(DataDistribution):
    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self.mean, self.scale = mean, scale

    def log_prob(self, x: Tensor) -> Tensor:
        z = (x - self.mean) / self.scale
        return (-0.5 * (z**2 + _LOG_2PI) - torch.log(self.scale)).flatten(1).sum(1)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self.mean + self.scale * torch.empty_like(self.mean).normal_(generator=generator)


class _LaplaceData(DataDistribution):
    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self.mean, self.scale = mean, scale

    def log_prob(self, x: Tensor) -> Tensor:
        return (-(x - self.mean).abs() / self.scale - torch.log(2 * self.scale)).flatten(1).sum(1)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        uniform = torch.empty_like(self.mean).uniform_(-0.5, 0.5, generator=generator)
        tail = torch.log1p(-2 * uniform.abs().clamp_max(0.5 - 1e-7))
        return self.mean - self.scale * torch.sign(uniform) * tail


class _LocationScale(Likelihood):
    """A location from the decoder and one scale for all entries, fixed or learned."""

    distribution: type[_GaussianData] | type[_LaplaceData]

    def __init__(self, scale: float = 1.0, learned: bool = False) -> None:
        super().__init__()
        if not 0 < scale < math.inf:
            raise UserError(f"the likelihood's scale must be positive and finite, got {scale}")
        self.learned = learned
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learned)

    def forward(self, raw: Tensor) -> DataDistribution:
        return self.distribution(raw, self.log_scale.exp())


class Gaussian(_LocationScale):
    """Unbounded data with one standard deviation for all entries, fixed or learned."""

    distribution = _GaussianData


class Laplace(_LocationScale):
    """Unbounded data with heavier tails than a Gaussian: sharper pictures, less weight on outliers."""

    distribution = _LaplaceData


LIKELIHOODS: dict[str, type[Likelihood]] = {"bernoulli": Bernoulli, "gaussian": Gaussian, "laplace": Laplace}


def build_likelihood(name: str, scale: float, learned: bool) -> Likelihood:
    """The likelihood of a name; ``scale`` and ``learned`` are for those that have a scale."""
    if name not in LIKELIHOODS:
        raise unknown("likelihood", name, LIKELIHOODS)
    kind = LIKELIHOODS[name]
    return kind(scale, learned) if issubclass(kind, _LocationScale) else kind()
