"""Counts whose total differs from sample to sample."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelspace.likelihoods.base import DataDistribution, Likelihood, refuse_cells, refuse_images


class NegativeBinomialDistribution(DataDistribution):
    def __init__(self, logits: Tensor, log_theta: Tensor, library: Tensor) -> None:
        self.log_proportions, self.log_theta, self.library = F.log_softmax(logits, -1), log_theta, library
        self.mean = library * self.log_proportions.exp()

    def mean_like(self, x: Tensor) -> Tensor:
        return _totals(x) * self.log_proportions.exp()

    def fill(self, x: Tensor, known: Tensor) -> Tensor:
        proportions = self.log_proportions.exp()
        total = (x * known).sum(1, keepdim=True) / (proportions * known).sum(1, keepdim=True).clamp_min(1e-6)
        return total * proportions

    def log_prob(self, x: Tensor) -> Tensor:
        return log_negative_binomial(x, self.log_proportions + _totals(x).log(), self.log_theta).sum(1)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return sample_negative_binomial(self.mean, self.log_theta, generator)


class NegativeBinomial(Likelihood):
    """Vectors of counts, as of genes in cells (Lopez et al. 2018, scVI, with the total that was observed).

        x_j | codes, l ~ NB(mean l p_j, inverse dispersion theta_j),  p = softmax(decoder),  l = sum_j x_j

    The decoder says how a sample's total is shared out, not how large it is: the total of ``x`` is given to
    ``log_prob`` and ``mean_like``. Where no sample is known, ``mean`` and ``sample`` take the training data's median
    total. The variance of an entry is ``mean + mean^2 / theta``; theta is learned, one number an entry.

    A sample without any count is read as one with a total of 1.
    """

    additive = False
    drawn = True
    typical_total: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        refuse_images("negative-binomial", self.shape)
        self.log_theta = nn.Parameter(torch.zeros(self.shape))
        self.register_buffer("typical_total", torch.tensor(1e4))

    def inputs(self, x: Tensor) -> Tensor:
        return torch.log1p(x)

    def forward(self, raw: Tensor) -> DataDistribution:
        return NegativeBinomialDistribution(raw, self.log_theta, self.typical_total)

    def counterfactual(self, x: Tensor, before: DataDistribution, after: DataDistribution) -> Tensor:
        """Shares as the codes change them, what is unexplained kept in logarithms of counts; totals stay."""
        changed = count_counterfactual(x, before.mean_like(x), after.mean_like(x))
        return changed * (_totals(x) / changed.sum(1, keepdim=True).clamp_min(1e-6))

    def measure(self, x: Tensor) -> None:
        self.typical_total.copy_(_totals(x).median())

    def check(self, x: Tensor) -> None:
        bad = ~((x >= 0) & (x == x.round()) & x.isfinite())
        refuse_cells(x, bad, "the negative-binomial likelihood takes whole numbers >= 0")


def count_counterfactual(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Counts ``x`` whose expectation changes, with what is unexplained kept in log(1 + count), as encoders read them."""
    return ((1 + x) * (1 + after) / (1 + before) - 1).clamp_min(0)


def _totals(x: Tensor) -> Tensor:
    """Total count of each sample, ``(n, 1)``, at least 1."""
    return x.sum(1, keepdim=True).clamp_min(1)


def log_negative_binomial(x: Tensor, log_mean: Tensor, log_theta: Tensor) -> Tensor:
    """Log-probability of counts entry by entry, ``(n, d)``; ``log_theta (d,)`` is the log of the inverse dispersion."""
    # The three lgammas nearly cancel for large counts, which takes more digits than float32 has (some devices lack more).
    wide = x.dtype if x.device.type == "mps" else torch.float64
    k, m, t = x.to(wide), log_mean.to(wide), _bounded(log_theta).to(wide)
    theta = t.exp()
    ways = torch.lgamma(k + theta) - torch.lgamma(theta) - torch.lgamma(k + 1)
    # softplus(m - t) = -log(theta / (theta + mean)), softplus(t - m) = -log(mean / (theta + mean))
    return (ways - theta * F.softplus(m - t) - k * F.softplus(t - m)).to(log_mean.dtype)


def sample_negative_binomial(mean: Tensor, log_theta: Tensor, generator: torch.Generator | None) -> Tensor:
    """Counts ``(n, d)``: Poisson draws whose rates are drawn from a gamma distribution."""
    theta = _bounded(log_theta).exp().expand_as(mean)
    # torch.distributions.Gamma takes no generator; this is what it calls.
    unit = torch._standard_gamma(theta, generator=generator)  # type: ignore[attr-defined]
    return torch.poisson(unit * (mean / theta), generator=generator)


def _bounded(log_theta: Tensor) -> Tensor:
    # Beyond these bounds the distribution hardly changes: a Poisson above, all counts zero or huge below.
    return log_theta.clamp(-10.0, 15.0)
