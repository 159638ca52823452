"""Likelihoods: how data are described given codes.

A likelihood is a module that turns a decoder's raw output into a distribution over data, so that what a decoder emits is
never squashed twice; and it says what an encoder should read (counts are read through a logarithm, tables with flags for
their missing cells). All densities are in nats, summed over the dimensions of a sample.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelspace.errors import UserError, unknown

_LOG_2PI = math.log(2 * math.pi)


class DataDistribution:
    """A distribution over samples: ``log_prob(x) -> (n,)``, ``mean`` and ``sample(generator)``, both shaped like x."""

    mean: Tensor

    def mean_like(self, x: Tensor) -> Tensor:
        """The mean for samples that have the known circumstances of ``x`` (its total count, say); mostly just the mean."""
        return self.mean

    def log_prob(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        raise NotImplementedError


class Likelihood(nn.Module):
    """Turns a decoder's raw output into a distribution over data, and data into what an encoder reads.

    Args:
        shape: shape of one sample.

    Attributes:
        bounds: the closed interval that data must lie in (None: unbounded).
        additive: whether a difference of two samples is a meaningful change of a third.
        input_shape: shape of what an encoder reads of one sample.
        output_shape: shape of the raw output of a decoder for one sample.
    """

    bounds: tuple[float, float] | None = None
    additive = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.input_shape = self.output_shape = self.shape

    def inputs(self, x: Tensor) -> Tensor:
        """What an encoder reads: ``(n, *shape) -> (n, *input_shape)``."""
        return x

    def forward(self, raw: Tensor) -> DataDistribution:
        """p(x | codes) from a decoder's raw output ``(n, *output_shape)``."""
        raise NotImplementedError

    def measure(self, x: Tensor) -> None:
        """Takes what it needs to know of the data (their scale, say) from training samples ``(n, *shape)``."""

    def check(self, x: Tensor) -> None:
        """Raises UserError when samples ``(n, *shape)`` do not fit this likelihood."""
        low, high = float(x.min()), float(x.max())
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

    def __init__(self, shape: tuple[int, ...], scale: float = 1.0, learned: bool = False) -> None:
        super().__init__(shape)
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


def build_likelihood(text: str, shape: tuple[int, ...], scale: float, learned: bool) -> Likelihood:
    """The likelihood that a text names.

    Args:
        text: "bernoulli", "gaussian" or "laplace".
        shape: shape of one sample.
        scale, learned: for those that have one scale for all entries: its first value, and whether it is learned.

    Raises:
        UserError: an unknown name, or a likelihood that samples of this shape cannot have.
    """
    if text not in LIKELIHOODS:
        raise unknown("likelihood", text, LIKELIHOODS)
    kind = LIKELIHOODS[text]
    return kind(shape, scale, learned) if issubclass(kind, _LocationScale) else kind(shape)
