"""Directions along which labels change, for models without a block for a label."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from labelspace.data.batches import Batch
from labelspace.labels import Schema
from labelspace.precision import as_double_on_cpu


class AttributeVectors(nn.Module):
    """Directions in a free block along which labels change: for models without a block for a label.

    For a label with features f the vectors are the slope of the mean code on f, so that moving from f to f' adds
    (f' - f) @ slope; for a binary label that is the difference of the two class means (as Klys et al. 2018 edit with a VAE).

    Args:
        schema: the labels.
        size: coordinates of the block.
    """

    vectors: Tensor

    def __init__(self, schema: Schema, size: int) -> None:
        super().__init__()
        self.schema = schema
        self.register_buffer("vectors", torch.zeros(schema.width, size))

    @torch.no_grad()
    def measure(self, batches: Iterable[Batch], encode: Callable[[Batch], Tensor]) -> None:
        """Least squares of the mean code on the label features, one label at a time: class means for discrete labels."""
        width, size = self.vectors.shape
        owner = torch.arange(len(self.schema)).repeat_interleave(torch.tensor(self.schema.feature_widths, dtype=torch.long))
        sums = torch.zeros(4, width, size, dtype=torch.float64)  # per feature: sum fz, sum f, sum z, sum f^2
        counts = torch.zeros(width, 1, dtype=torch.float64)
        for batch in batches:
            z = as_double_on_cpu(encode(batch))
            seen = as_double_on_cpu(batch.observed)[:, owner]
            f = as_double_on_cpu(self.schema.features(batch.values)) * seen
            sums += torch.stack(
                [f.T @ z, f.sum(0)[:, None].expand(-1, size), seen.T @ z, (f**2).sum(0)[:, None].expand(-1, size)]
            )
            counts += seen.sum(0)[:, None]
        fz, f, z, ff = sums / counts.clamp_min(1)
        slope = (fz - f * z) / (ff - f**2).clamp_min(1e-8)
        # One-hot features: the class mean itself, so that differences of rows are differences of class means.
        for label, rows in zip(self.schema, torch.arange(width).split(self.schema.feature_widths), strict=True):
            if label.kind == "categorical":
                slope[rows] = fz[rows] / f[rows].clamp_min(1e-8)
        self.vectors.copy_(slope)

    def move(self, code: Tensor, label: str, value: Tensor, previous: Tensor) -> Tensor:
        """The code ``(n, size)`` moved from one value of a label to another, both ``(n,)``."""
        i = self.schema.index(label)
        alone = Schema([self.schema.labels[i]])
        start = sum(self.schema.feature_widths[:i])
        mine = self.vectors[start : start + alone.width]
        return code + (alone.features(value[:, None]) - alone.features(previous[:, None])) @ mine
