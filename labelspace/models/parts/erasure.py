"""Concept erasure: a code without what a linear classifier could read of the labels."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

_HARDLY = 0.01  # share of a label's variance: less is not erased, twice as much is erased whole


class Erasure(nn.Module):
    """Least-squares concept erasure (Belrose et al. 2023), with running statistics.

    The projection removes from a code the smallest part (in the covariance of its draws) after which no linear classifier
    reads the labels: code - (code - mean) P', P = C (C' S^-1 C)^-1 C' S^-1, with S the covariance of draws of the code and C
    its cross-covariance with the label features, each of unit variance. The eigenvalues of C' S^-1 C are what linear probes
    explain of the labels in draws. What they hardly explain, or no more than chance does with so few samples, is left alone:
    its direction is noise, and to take it away takes what else lies there. (A code that has just begun to tell anything is
    nearly all noise. In the covariance of its means it would lose every direction that it finds.)

    In training, statistics average over the last tenth of all batches: what the decoder is trained without is then nearly what
    will be missing.

    Args:
        size: coordinates of the code.
        features: columns of the label features.

    Attributes:
        samples: how many different ones the codes are of; batches repeat them.
    """

    mean: Tensor
    covariance: Tensor
    cross: Tensor
    variance: Tensor
    projection: Tensor
    center: Tensor
    updates: Tensor
    samples: Tensor

    def __init__(self, size: int, features: int) -> None:
        super().__init__()
        self.starts = True  # until then batches are only measured
        self._count: int | None = None  # what ``updates`` holds; to read that waits for a GPU
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("covariance", torch.eye(size))
        self.register_buffer("cross", torch.zeros(size, features))
        self.register_buffer("variance", torch.ones(features))
        self.register_buffer("projection", torch.zeros(size, size))
        self.register_buffer("center", torch.zeros(size))
        self.register_buffer("updates", torch.zeros(()))
        self.register_buffer("samples", torch.tensor(torch.inf), persistent=False)  # of use in training only

    def forward(self, code: Tensor) -> Tensor:
        with torch.autocast(code.device.type, enabled=False):
            return code - (code - self.center) @ self.projection.T

    @property
    def count(self) -> int:
        """Batches that were taken in."""
        if self._count is None:
            self._count = round(float(self.updates))
        return self._count

    def _load_from_state_dict(self, *args: Any, **rest: Any) -> None:
        super()._load_from_state_dict(*args, **rest)
        self._count = None

    @torch.no_grad()
    def update(
        self, code: Tensor, labels: Tensor, share: Tensor | float = 1.0, noise: Tensor | float = 0.0, every: int = 4
    ) -> None:
        """Takes in one batch.

        Args:
            code: ``(n, size)``, before erasure.
            labels: ``(n, features)``, centred; zero where a label is missing.
            share: ``(features,)`` how many of the samples have each label.
            noise: ``(size,)`` variance of draws around the code.
            every: batches from one projection to the next.
        """
        self._count = step = self.count + 1
        self.updates += 1
        self._take(code, labels, share, noise, 1 / min(step, max(50, step / 10)))
        if self.starts and step % every == 0:
            self._project()

    @torch.no_grad()
    def fix(self, code: Tensor, labels: Tensor, share: Tensor | float = 1.0, noise: Tensor | float = 0.0) -> None:
        """Puts the statistics of these codes in place of the running ones; arguments as in :meth:`update`."""
        self._take(code, labels, share, noise, 1.0)
        self._project()

    def _take(self, code: Tensor, labels: Tensor, share: Tensor | float, noise: Tensor | float, new: float) -> None:
        """Moves the statistics by a fraction ``new`` to those of some codes."""
        with torch.autocast(code.device.type, enabled=False):
            self.mean.lerp_(code.mean(0), new)
            centred = code - self.mean
            self.covariance.lerp_(centred.T @ centred / len(code) + torch.diag(torch.zeros_like(self.mean) + noise), new)
            # missing labels add nothing: these are statistics of the samples that have the label
            self.cross.lerp_(centred.T @ labels / len(code) / share, new)
            self.variance.lerp_(labels.square().mean(0) / share, new)

    def _project(self) -> None:
        with torch.autocast(self.mean.device.type, enabled=False):
            eye = torch.eye(len(self.mean), device=self.mean.device)
            s = self.covariance + 1e-3 * self.covariance.diagonal().mean() * eye
            cross = self.cross / self.variance.clamp_min(1e-6).sqrt()
            solved = torch.linalg.solve(s, cross)
            explained, directions = torch.linalg.eigh(cross.T @ solved)
            # What n samples of a code of d coordinates that knows nothing seem to explain is d / n, deviation sqrt(2 d) / n.
            by_chance = (len(self.mean) + 2 * math.sqrt(2 * len(self.mean))) / self.samples
            hardly = by_chance.clamp_min(_HARDLY)
            strength = (explained / hardly - 1).clamp(0, 1) / explained.clamp_min(_HARDLY)
            # New tensors: the old ones may be part of a graph that is still to be differentiated.
            self.projection = cross @ (directions * strength) @ directions.T @ solved.T
            self.center = self.mean.clone()
