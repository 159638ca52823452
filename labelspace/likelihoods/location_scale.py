"""Real numbers with a location from the decoder and a scale of their own: Gaussian and Laplace."""

from __future__ import annotations

import math
from typing import Literal

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
        if self.scale.ndim:  # one a column
            return -(0.5 * (((x - self.mean) / self.scale) ** 2 + LOG_2PI) + torch.log(self.scale)).sum(-1)
        # The scale is one number: it is applied to sums, not to every pixel.
        squares = F.mse_loss(self.mean, x, reduction="none").sum(entry_dimensions(x))
        return -0.5 * squares / self.scale**2 - math.prod(x.shape[1:]) * (torch.log(self.scale) + 0.5 * LOG_2PI)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self.mean + self.scale * torch.empty_like(self.mean).normal_(generator=generator)


class LaplaceDistribution(DataDistribution):
    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self.mean, self.scale = mean, scale

    def log_prob(self, x: Tensor) -> Tensor:
        if self.scale.ndim:
            return -((x - self.mean).abs() / self.scale + torch.log(2 * self.scale)).sum(-1)
        distances = F.l1_loss(self.mean, x, reduction="none").sum(entry_dimensions(x))
        return -distances / self.scale - math.prod(x.shape[1:]) * torch.log(2 * self.scale)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        uniform = torch.empty_like(self.mean).uniform_(-0.5, 0.5, generator=generator)
        tail = torch.log1p(-2 * uniform.abs().clamp_max(0.5 - 1e-7))
        return self.mean - self.scale * torch.sign(uniform) * tail


Scale = float | Literal["auto"]

_FLOOR, _MOST = 0.1, 1 / 3  # of the data's own deviation
_PACE = 10.0  # a scale that is found moves so many times as fast as a weight: it has far to go


class LocationScale(Likelihood):
    """A location from the decoder and a scale.

    The scale is a number for all entries, fixed or learned; or it is found, and nobody has to know the data's units. Then the
    decoder's output is in units of the training data's deviation around their mean (one for all pixels of images, one a column
    of vectors), and encoders read the data in these units. The scale starts at the deviation, so that first gradients are of
    the same size whatever the data, and is learned: its optimum is the root mean squared error (Rybkin, Daniilidis, Levine
    2021). A tenth of the deviation is its floor: what is left then is detail that must not outweigh everything else.

    Args:
        shape: shape of one sample.
        scale: the number, or "auto".
        learned: learn the number.
    """

    distribution: type[GaussianDistribution] | type[LaplaceDistribution]
    centre: Tensor
    unit: Tensor

    def __init__(self, shape: tuple[int, ...], scale: Scale = 1.0, learned: bool = False) -> None:
        super().__init__(shape)
        self.found = scale == "auto"
        if scale != "auto" and not 0 < scale < math.inf:
            raise UserError(f"the likelihood's scale must be positive and finite, or auto, got {scale}")
        self.learned = learned or self.found
        if scale == "auto":
            entries = self.shape if len(self.shape) == 1 else ()
            self.register_buffer("centre", torch.zeros(entries))
            self.register_buffer("unit", torch.ones(entries))
            self.log_scale = nn.Parameter(torch.full(entries, 2.0 / _PACE))
        else:
            self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learned)

    def inputs(self, x: Tensor) -> Tensor:
        return (x - self.centre) / self.unit if self.found else x

    def forward(self, raw: Tensor) -> DataDistribution:
        if not self.found:
            return self.distribution(raw, self.log_scale.exp())
        share = _FLOOR + (_MOST - _FLOOR) * torch.sigmoid(_PACE * self.log_scale)
        return self.distribution(self.centre + self.unit * raw, self.unit * share)

    @property
    def resolution(self) -> Tensor | float:
        return self.unit * _MOST if self.found else self.log_scale.exp()

    def outside(self, x: Tensor) -> dict[int, tuple[float, float]]:
        """Farther from the mean than ten times what nearly all of the training data are within, three deviations."""
        if not self.found or len(self.shape) != 1:
            return {}
        far = ((x - self.centre).abs() > 30 * self.unit).any(0)
        ends = self.centre - 3 * self.unit, self.centre + 3 * self.unit
        return {i: (float(ends[0][i]), float(ends[1][i])) for i in far.nonzero()[:, 0].tolist()}

    def measure(self, x: Tensor) -> None:
        if not self.found:
            return
        over = tuple(range(x.ndim)) if len(self.shape) > 1 else 0
        x = x.double()  # numbers far from zero leave few digits to their differences
        self.centre.copy_(x.mean(over))
        deviation = x.std(over, correction=0)
        # A constant column is its own mean; whatever differs from that, up to rounding, differs by a unit.
        known = deviation > 1e-6 * x.abs().amax(over)
        self.unit.copy_(torch.where(known, deviation, x.abs().amax(over).clamp_min(1e-6)))


class Gaussian(LocationScale):
    """Unbounded data with a standard deviation."""

    distribution = GaussianDistribution


class Laplace(LocationScale):
    """Unbounded data with heavier tails than a Gaussian: sharper pictures, less weight on outliers."""

    distribution = LaplaceDistribution
