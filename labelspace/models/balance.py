"""Parts that balance a model's competing terms without hand-tuned weights.

* :class:`Multipliers`: dual ascent on "an adversary's cross entropy stays at H(y)": a weight per label that grows while the
  adversary still reads the label and shrinks when it does not.
* :class:`Erasure`: removes from a code all that a linear classifier could read about the labels, in closed form, so that the
  adversary has only the rest to fight.
* :class:`SubspaceBalance`: both, and what else a CSVAE needs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labelspace import networks
from labelspace.blocks import Blocks
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import Schema

# Times are in thousands of batches, or in fractions of all training where that is shorter than a thousand batches.
_Z_OPENS = (0.14, 0.24)
_ERASURE_STARTS = 0.2
_CONSISTENCY_STARTS = 0.25


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
    """Least-squares concept erasure (Belrose et al. 2023), with running statistics as batch norm has them.

    The projection removes from a code the smallest part (in the code's own covariance) after which no linear classifier
    reads the labels: code - (code - mean) P', P = C (C' S^-1 C)^-1 C' S^-1, with S the covariance of the code and C its
    cross-covariance with the label features.

    Args:
        size: coordinates of the code.
        features: columns of the label features.
        label_features: ``(features,)`` their mean.
    """

    mean: Tensor
    covariance: Tensor
    cross: Tensor
    projection: Tensor
    center: Tensor
    updates: Tensor

    def __init__(self, size: int, features: int) -> None:
        super().__init__()
        self.starts = True  # until then batches are only measured
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
            if self.starts and step % every == 0:
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
        self.register_buffer("others", ~torch.eye(n, dtype=torch.bool), persistent=False)
        self.leak = Multipliers(n, allowed=0.02, start=leak, most=1500.0)
        self.block_leak = Multipliers(n * (n - 1), allowed=0.03, start=2.0, most=1500.0)

    def clock(self, progress: float) -> None:
        """Takes the time of a training batch, from the batches seen and the fraction of training that is over."""
        self.time = max(float(self.erasure.updates) / 1000, progress)
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

    def update(self, entropy: Tensor, terms: dict[str, Tensor], seen: Tensor) -> None:
        """Moves the weights of the labels that a batch had: ``seen (labels,)`` bool."""
        self.leak.update(entropy - terms["adversary"], seen)
        entropies, pairs_seen = (part.expand(len(part), -1)[self.others] for part in (entropy, seen))
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
