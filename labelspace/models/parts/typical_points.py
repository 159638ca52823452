"""Where in its block a label has a value: a point for edits, measured on training data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from labelspace.blocks import Block, Latents, concatenate, modes
from labelspace.data.batches import Batch
from labelspace.labels import Schema

if TYPE_CHECKING:
    from labelspace.models.base import Model

_FROM, _CANDIDATES = 4000, 24  # training samples, and points tried
_ROUNDS = ((12, 6), (64, 1))  # samples that points have been tried on after each round, and how many are left of them
_AS_GOOD = 0.02  # rates of edits that differ by less are alike
_ONE_WIDTH = math.exp(-0.5)  # a Gaussian kernel at a distance of its width


class TypicalPoints(nn.Module):
    """One point in the block of a discrete label for each of its values; nan until measured.

    Among dense codes of data that have the value, it is the one that changes samples of other values least, of those whose
    edits the model's own classifier reads as the value within 2% as often as with the best. All are tried on a few samples, and
    the best of them on more (successive halving; Jamieson and Talwalkar 2016).

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
        start = {block.name: sum(other.size for other in model.blocks[:i]) for i, block in enumerate(model.blocks)}
        searches = []
        for i, (label, block) in enumerate(zip(self.schema, self.blocks, strict=True)):
            columns = slice(start[block.name], start[block.name] + block.size)
            for value in range(len(label.values)):
                having = (observed[:, i] & (values[:, i] == value)).nonzero()[:_FROM, 0]
                others = (observed[:, i] & (values[:, i] != value)).nonzero()[: _ROUNDS[-1][0], 0]
                if len(having):
                    candidates = having[by_density(codes[having, columns], _CANDIDATES)]
                    nothing = codes.new_zeros(len(candidates), 0)
                    searches.append(_Search(i, value, columns, candidates, others, nothing, nothing))
        if searches:
            _search(model, codes, searches)
        for found in searches:
            size = self.blocks[found.label].size
            self.points[self._row(found.label) + found.value, :size] = codes[found.candidates[0], found.columns]


def _encoded(model: Model, batches: Callable[[], Iterable[Batch]]) -> tuple[Tensor, Tensor, Tensor]:
    """Codes ``(n, width)`` of some training samples that have any label, blocks side by side, with their known values."""
    parts, values, observed, n = [], [], [], 0
    for batch in batches():
        if n >= _FROM:
            break
        some = batch.observed.any(1)
        if not bool(some.any()):
            continue
        full = model.complete(batch.x[some], batch.values[some], batch.observed[some])
        parts.append(concatenate(modes(model.posterior(batch.x[some], full, batch.observed[some]))))
        values.append(batch.values[some])
        observed.append(batch.observed[some])
        n += int(some.sum())
    return torch.cat(parts), torch.cat(values), torch.cat(observed)


@dataclass
class _Search:
    """The search for the point of a label's value.

    Attributes:
        label, value: their positions.
        columns: of the label's block among all blocks side by side.
        candidates: rows of samples whose codes of the block are tried.
        others: rows of samples of other values, on which candidates are tried.
        read, change: ``(candidates, samples)`` of the samples so far: whether an edit was read as the value, and the mean
            squared difference of what was decoded.
    """

    label: int
    value: int
    columns: slice
    candidates: Tensor
    others: Tensor
    read: Tensor
    change: Tensor

    def edits(self, codes: Tensor, rows: Tensor) -> Tensor:
        """Codes of samples with every candidate in the place of their own, ``(candidates * rows, width)``."""
        edited = codes[rows].repeat(len(self.candidates), 1)
        edited[:, self.columns] = codes[self.candidates, self.columns].repeat_interleave(len(rows), 0)
        return edited

    def keep(self, most: int) -> None:
        """Leaves the candidates that change samples least, of those that are read as the value as often as any."""
        if self.read.shape[1] == 0:  # all samples have the value: the densest code is the first
            return
        rates = self.read.mean(1)
        best = torch.where(rates >= rates.max() - _AS_GOOD, self.change.mean(1), torch.inf).argsort(stable=True)[:most]
        self.candidates, self.read, self.change = self.candidates[best], self.read[best], self.change[best]


def _search(model: Model, codes: Tensor, searches: Sequence[_Search]) -> None:
    """Leaves one candidate of every search; ``codes (n, width)`` are those of samples, all blocks side by side.

    Small searches are decoded together: the calls cost a small network more than their arithmetic.
    """
    used = torch.cat([search.others for search in searches]).unique()  # many searches share samples
    place = torch.empty(len(codes), dtype=torch.long, device=codes.device)
    place[used] = torch.arange(len(used), device=codes.device)
    before = torch.cat([_decoded(model, part) for part in codes[used].split(_at_once(model))]) if len(used) else codes
    tried = 0
    for samples, kept in _ROUNDS:
        rows = [search.others[tried:samples] for search in searches]
        sizes = [len(search.candidates) * len(own) for search, own in zip(searches, rows, strict=True)]
        for some in _filling(sizes, _at_once(model)):
            edits = torch.cat([searches[i].edits(codes, rows[i]) for i in some])
            start = torch.cat([place[rows[i]].repeat(len(searches[i].candidates)) for i in some])
            label, value = (
                torch.tensor([getattr(searches[i], what) for i in some for _ in range(sizes[i])], device=codes.device)
                for what in ("label", "value")
            )
            found = []
            for part in torch.arange(len(edits), device=codes.device).split(_at_once(model)):
                after = _decoded(model, edits[part])
                read = model.label_distribution(after).mode().gather(1, label[part, None])[:, 0] == value[part]
                found.append(torch.stack([read.float(), ((after - before[start[part]]) ** 2).flatten(1).mean(1)]))
            for i, new in zip(some, torch.cat(found, 1).split([sizes[i] for i in some], 1), strict=True):
                read, change = new.unflatten(1, (len(searches[i].candidates), len(rows[i])))
                searches[i].read = torch.cat([searches[i].read, read], 1)
                searches[i].change = torch.cat([searches[i].change, change], 1)
        for search in searches:
            search.keep(kept)
        tried = samples


def _decoded(model: Model, codes: Tensor) -> Tensor:
    """The mean of p(x | codes) at codes ``(n, width)``."""
    return model.decode(model.blocks.split(codes)).mean


def _at_once(model: Model) -> int:
    """How many samples are decoded at once."""
    return max(1, min(4096, 2**22 // math.prod(model.shape)))


def _filling(sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Positions of sizes, one after the other, together while they are at most so many; empty ones are left out."""
    group: list[int] = []
    for i, size in enumerate(sizes):
        if group and sum(sizes[j] for j in group) + size > most:
            yield group
            group = []
        if size:
            group.append(i)
    if group:
        yield group


def by_density(codes: Tensor, most: int) -> Tensor:
    """Rows of codes ``(n, d)``, the densest first by a kernel density estimate, each a kernel's width from all before it.

    At most ``most`` are found; the cost is quadratic in ``n``.
    """
    width = 0.25 * codes.std(0, correction=0).mean() + 1e-6
    units = (codes - codes.mean(0)) / width
    half = 0.5 * units.square().sum(1)
    kernel = torch.addmm(half[:, None], units, units.T, beta=-1).sub_(half).exp_()
    density = kernel.sum(1)
    chosen = []
    left = torch.ones(len(codes), dtype=torch.bool, device=codes.device)
    while bool(left.any()) and len(chosen) < most:
        best = int(torch.where(left, density, -1.0).argmax())
        chosen.append(best)
        left &= kernel[best] < _ONE_WIDTH
    return torch.tensor(chosen, device=codes.device)
