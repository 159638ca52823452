"""Entries in [0, 1]."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from labelspace.likelihoods.base import DataDistribution, Likelihood, entry_dimensions


class BernoulliDistribution(DataDistribution):
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    @functools.cached_property
    def mean(self) -> Tensor:  # type: ignore[override]  # training does not ask for it
        return torch.sigmoid(self.logits)

    def log_prob(self, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(self.logits, x, reduction="none").sum(entry_dimensions(x))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(self.mean, generator=generator)


class Bernoulli(Likelihood):
    """Pixels (or other entries) in [0, 1]; grey values count as probabilities, as is usual for digits."""

    bounds = (0.0, 1.0)

    def forward(self, raw: Tensor) -> DataDistribution:
        return BernoulliDistribution(raw)
