"""Parts that balance a model's competing terms without hand-tuned weights.

* :class:`Multipliers`: dual ascent on "an adversary's cross entropy stays at H(y)": a weight per label that grows while the
  adversary still reads the label and shrinks when it does not.
* :class:`Erasure`: removes from a code all that a linear classifier could read about the labels, in closed form, so that the
  adversary has only the rest to fight.
* :class:`SubspaceBalance`: both, and what else a CSVAE needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from labelspace.blocks import Blocks
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import Schema
from labelspace.models import networks

# Times are in thousands of batches, or in fractions of all training where that is shorter than a thousand batches.
_Z_OPENS = (0.14, 0.24)
_ERASURE_STARTS = 0.2
_CONSISTENCY_STARTS = 0.25
_HARDLY = (0.01, 0.02)  # share of a label's variance: less is not erased, more is erased whole


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
        self.register_buffer("updates", torch.zeros(shape))

    @torch.no_grad()
    def update(self, excess: Tensor, seen: Tensor, decay: float = 0.95) -> None:
        """Takes in one batch's measured excess and moves the weights, both ``(shape,)``; only those that were seen move."""
        self.updates += seen
        self.average.copy_(torch.where(seen, self.average.mul(decay).add(excess, alpha=1 - decay), self.average))
        violation = self.average / (1 - decay ** self.updates.clamp_min(1)) - self.allowed
        moved = self.value * torch.exp(self.rate * (violation / self.unit).clamp(-2, 2))
        self.value.copy_(torch.where(seen, moved.clamp(0.1, self.most), self.value))


class Erasure(nn.Module):
    """Least-squares concept erasure (Belrose et al. 2023), with running statistics.

    The projection removes from a code the smallest part (in the code's own covariance) after which no linear classifier
    reads the labels: code - (code - mean) P', P = C (C' S^-1 C)^-1 C' S^-1, with S the covariance of the code and C its
    cross-covariance with the label features, each of unit variance. The eigenvalues of C' S^-1 C are what linear probes explain
    of the labels. What they hardly explain is left alone: its direction is noise that changes from batch to batch, and to take
    it away takes what else lies there.

    In training, statistics average over the last tenth of all batches: what the decoder is trained without is then nearly what
    will be missing.

    Args:
        size: coordinates of the code.
        features: columns of the label features.
    """

    mean: Tensor
    covariance: Tensor
    cross: Tensor
    variance: Tensor
    projection: Tensor
    center: Tensor
    updates: Tensor

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
    def update(self, code: Tensor, labels: Tensor, share: Tensor | float = 1.0, every: int = 4) -> None:
        """Takes in one batch.

        Args:
            code: ``(n, size)``, before erasure.
            labels: ``(n, features)``, centred; zero where a label is missing.
            share: ``(features,)`` how many of the samples have each label.
            every: batches from one projection to the next.
        """
        self._count = step = self.count + 1
        self.updates += 1
        self._take(code, labels, share, 1 / min(step, max(50, step / 10)))
        if self.starts and step % every == 0:
            self._project()

    @torch.no_grad()
    def fix(self, code: Tensor, labels: Tensor, share: Tensor | float = 1.0) -> None:
        """Puts the statistics of these codes in place of the running ones; arguments as in :meth:`update`."""
        self._take(code, labels, share, 1.0)
        self._project()

    def _take(self, code: Tensor, labels: Tensor, share: Tensor | float, new: float) -> None:
        """Moves the statistics by a fraction ``new`` to those of some codes."""
        with torch.autocast(code.device.type, enabled=False):
            self.mean.lerp_(code.mean(0), new)
            centred = code - self.mean
            self.covariance.lerp_(centred.T @ centred / len(code), new)
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
            low, high = _HARDLY
            strength = ((explained - low) / (high - low)).clamp(0, 1) / explained.clamp_min(low)
            # New tensors: the old ones may be part of a graph that is still to be differentiated.
            self.projection = cross @ (directions * strength) @ directions.T @ solved.T
            self.center = self.mean.clone()


class SubspaceBalance(nn.Module):
    """What keeps the terms of a CSVAE in balance; :mod:`labelspace.models.csvae` says how it is used.

    Args:
        blocks: z first, then one block per label.
        schema: the labels.
        leak: starting weight of the leak.
    """

    others: Tensor

    def __init__(self, blocks: Blocks, schema: Schema, leak: float) -> None:
        super().__init__()
        self.time = 0.0
        n = len(schema)
        self.erasure = Erasure(blocks[0].size, schema.width)
        # One small adversary per w block, for the *other* labels: what z may not carry must not move there.
        self.readers = nn.ModuleList(networks.mlp(block.size, [64, 64], schema.parameters) for block in blocks[1:])
        self.register_buffer("others", (~torch.eye(n, dtype=torch.bool)).flatten().nonzero()[:, 0], persistent=False)
        self.leak = Multipliers(n, allowed=0.02, start=leak, most=1500.0)
        self.block_leak = Multipliers(n * (n - 1), allowed=0.03, start=2.0, most=1500.0)

    def clock(self, progress: float) -> None:
        """Takes the time of a training batch, from the batches seen and the fraction of training that is over."""
        self.time = max(self.erasure.count / 1000, progress)
        self.erasure.starts = self.time >= _ERASURE_STARTS

    def opening(self) -> float:
        """z is closed at first and opens slowly, so that labels find their own blocks before z can carry them."""
        if not self.training:
            return 1.0
        first, last = _Z_OPENS
        return min(1.0, max(0.0, (self.time - first) / (last - first)))

    @property
    def is_consistent_now(self) -> bool:
        """Whether the consistency terms are on: once pictures are good enough to be encoded again."""
        return not self.training or self.time >= _CONSISTENCY_STARTS

    def near(self, part: DiagonalGaussian, generator: torch.Generator) -> Tensor:
        """Points between the mean and a draw: an adversary must read neither."""
        strength = torch.rand(len(part.mean), 1, generator=generator, device=part.mean.device)
        return DiagonalGaussian(part.mean, part.scale * strength).sample(generator)

    def crossed(self, rows: Sequence[Tensor]) -> Tensor:
        """Of rows ``(labels,)``, one a block, the entries about other labels than the block's, ``(labels * (labels - 1),)``."""
        # by place: a mask would have to be counted, which waits for a GPU
        return torch.cat(list(rows)).index_select(0, self.others)

    def update(self, entropy: Tensor, terms: dict[str, Tensor], seen: Tensor) -> None:
        """Moves the weights of the labels that a batch had: ``seen (labels,)`` bool."""
        self.leak.update(entropy - terms["adversary"], seen)
        entropies, pairs_seen = (self.crossed([part] * len(part)) for part in (entropy, seen))
        self.block_leak.update(entropies - terms["block_adversary"], pairs_seen)

    def weights(self) -> dict[str, float | Tensor]:
        return {"leak": self.leak.value, "block_leak": self.block_leak.value, "consistency_z": 0.5, "consistency_w": 1.0}


def by_density(codes: Tensor, most: int) -> Tensor:
    """Codes ``(n, d)`` from the densest on, by a kernel density estimate, each a kernel's width from those before at least.

    At most ``most`` are found; the cost is quadratic in ``n``.
    """
    width = 0.25 * codes.std(0, correction=0).mean() + 1e-6
    distance = torch.cdist(codes, codes)
    density = torch.exp(-(distance**2) / (2 * width**2)).sum(1)
    chosen = []
    left = torch.ones(len(codes), dtype=torch.bool, device=codes.device)
    while bool(left.any()) and len(chosen) < most:
        best = int(torch.where(left, density, -1.0).argmax())
        chosen.append(codes[best])
        left &= distance[best] > width
    return torch.stack(chosen)
