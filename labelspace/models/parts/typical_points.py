"""Where in its block a label has a value: a point for edits, measured on training data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from labelspace.blocks import Block, Latents, modes
from labelspace.data.batches import Batch
from labelspace.labels import Schema

if TYPE_CHECKING:
    from labelspace.models.base import Model

_FROM, _CANDIDATES, _TRIED_ON = 4000, 24, 96  # training samples, points tried, samples that they are tried on
_AS_GOOD = 0.02  # rates of edits that differ by less are alike


class TypicalPoints(nn.Module):
    """One point in the block of a discrete label for each of its values; nan until measured.

    Among dense codes of data that have the value, it is the one that changes samples of other values least, of those whose
    edits the model's own classifier reads as the value within 2% as often as with the best.

    Args:
        blocks: of the labels, in the order of the schema.
        schema: the labels.
    """

    points: Tensor

    def __init__(self, blocks: Sequence[Block], schema: Schema) -> None:
        super().__init__()
        self.blocks, self.schema = tuple(blocks), schema
        values = sum(len(label.values) for label in schema)
        self.register_buffer("points", torch.full((values, max(block.size for block in blocks)), torch.nan))

    def put(self, codes: Latents[Tensor], label: str, value: Tensor) -> Latents[Tensor] | None:
        """Codes with a label's block at the points of values ``(n,)``; None where a point is not known, and for numbers."""
        index = self.schema.index(label)
        if not self.schema[label].discrete:
            return None
        points = self.points[self._row(index) + value.long(), : self.blocks[index].size]
        return None if bool(points.isnan().any()) else codes.replace({self.blocks[index].name: points})

    def _row(self, index: int) -> int:
        return sum(len(label.values) for label in self.schema.labels[:index])

    @torch.no_grad()
    def measure(self, model: Model, batches: Callable[[], Iterable[Batch]]) -> None:
        """Finds the points on training data; values that no sample has keep nan."""
        codes, values, observed = _encoded(model, batches)
        for i, (label, block) in enumerate(zip(self.schema, self.blocks, strict=True)):
            for value in range(len(label.values)):
                having = observed[:, i] & (values[:, i] == value)
                others = codes.rows(observed[:, i] & (values[:, i] != value)).rows(slice(0, _TRIED_ON))
                if bool(having.any()):
                    point = _least_change(model, codes[block.name][having], others, block.name, i, value)
                    self.points[self._row(i) + value, : block.size] = point


def _encoded(model: Model, batches: Callable[[], Iterable[Batch]]) -> tuple[Latents[Tensor], Tensor, Tensor]:
    """Codes of some training samples that have any label, with their known values."""
    parts, values, observed, n = [], [], [], 0
    for batch in batches():
        if n >= _FROM:
            break
        some = batch.observed.any(1)
        if not bool(some.any()):
            continue
        full = model.complete(batch.x[some], batch.values[some], batch.observed[some])
        parts.append(modes(model.posterior(batch.x[some], full, batch.observed[some])))
        values.append(batch.values[some])
        observed.append(batch.observed[some])
        n += int(some.sum())
    joined = {b.name: torch.cat([part[b.name] for part in parts]) for b in model.blocks}
    return Latents(model.blocks, joined), torch.cat(values), torch.cat(observed)


def _least_change(model: Model, candidates: Tensor, others: Latents[Tensor], name: str, index: int, value: int) -> Tensor:
    """Of dense codes ``(n, size)`` the one whose edit of samples of other values is read as the value and changes them least.

    The change is the mean squared difference of what is decoded.
    """
    dense = by_density(candidates[:_FROM], _CANDIDATES)
    if len(others[name]) == 0:
        return dense[0]
    before = model.decode(others).mean
    read, change = [], []
    for candidate in dense:
        after = model.decode(others.replace({name: candidate.expand(len(before), -1)})).mean
        read.append((model.label_distribution(after).mode()[:, index] == value).float().mean())
        change.append(((after - before) ** 2).mean())
    rates = torch.stack(read)
    return dense[int(torch.where(rates >= rates.max() - _AS_GOOD, torch.stack(change), torch.inf).argmin())]


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
