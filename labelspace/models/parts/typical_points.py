"""Where in its block a label has a value: a point for edits, for each sample one that suits it, measured on training data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from labelspace.blocks import Blocks, Latents, concatenate
from labelspace.data.batches import Batch
from labelspace.labels import Schema

if TYPE_CHECKING:
    from labelspace.models.base import Model

_FROM, _CANDIDATES, _TRIED_ON = 4000, 64, 16  # training samples, codes of each value, and samples that these are tried on
_AXES = 16  # of a value's codes, which tell what suits a sample
_SUITS = -math.log(2)  # nats: a code that a sample like this has half as often as any sample with the value
_SLIGHT = 0.25  # of the codes that suit a sample, the share that changes least: a moustache of the colour of the skin
_SURE = 0.9  # the probability that the model's classifier gives a value that an edit shows
_ACTIVE = 0.05  # of the variance of draws, what that of means is at least where a coordinate tells anything
_PENALTIES = torch.logspace(-3, 4, 15)  # of ridge regressions, in units of the regressors' variance


@dataclass(frozen=True)
class Choice:
    """Codes of a block of ``size`` coordinates, of which each sample is given the first that suits its free code and shows the
    value.

    Attributes:
        middle: ``(size,)`` where the codes are measured from.
        axes: ``(axes, size)`` orthonormal rows.
        points: ``(k, axes)`` the codes, along the axes.
        least: ``(k,)`` the log-density, up to a constant, that a code must have under a free code to suit it.
        start, slope: ``(axes,)`` and ``(free, axes)`` of the mean of the density under a free code.
        factor: ``(axes, axes)`` inverse Cholesky factor of its covariance.
        slight: of the codes that suit a sample, the share that changes least and comes after the others.
        sure: the probability that the model's classifier must give the value.
    """

    middle: Tensor
    axes: Tensor
    points: Tensor
    least: Tensor
    start: Tensor
    slope: Tensor
    factor: Tensor
    slight: float = _SLIGHT
    sure: float = _SURE

    def order(self, free: Tensor) -> Tensor:
        """Which code comes when for each of the free codes ``(n, free)``, ``(n, k)``: those that suit it, then of these the
        slight ones, then the others, first those that lack least."""
        expected = self.start + free @ self.slope
        beyond = _log_density(self.points - expected[:, None], self.factor) - self.least
        suits, k = beyond >= 0, len(self.points)
        slight = suits.cumsum(1) <= self.slight * suits.sum(1, keepdim=True)
        place = torch.arange(k, dtype=beyond.dtype, device=beyond.device)
        return torch.where(suits, torch.where(slight, 2 * k - place, place), 3 * k - beyond).argsort(dim=1, stable=True)

    def codes(self, chosen: Tensor) -> Tensor:
        """The codes at positions ``(n,)``, ``(n, size)``."""
        return self.middle + self.points[chosen] @ self.axes


class TypicalPoints(nn.Module):
    """For each value of a discrete label, codes of its block that data have, of which each sample is given one that suits it.

    What is offered are codes of random training samples with the value, as the decoder has learnt to read them
    (:meth:`as_drawn`). Those suit a sample whose density, given its free code,
    is at least half of what it is among all samples with the value (a beard of the colour of the hair, where blocks tell that);
    where the free code tells nothing of the block all do. Of these a sample is given the one that changes samples of other
    values least, but for the quarter that hardly does, and with which the model's own classifier is sure of the value.

    Densities are Gaussian, of draws of the posterior, in the principal axes of the value's codes: what the posterior is unsure
    of says nothing. What is expected under a free code is told by :func:`ridge` regression.

    Args:
        blocks: of the model.
        schema: the labels.

    Attributes:
        middles: ``(values, size)`` mean codes; nan until measured.
        stretch: ``(values, size)`` how much more draws spread about them than means do; 1 of coordinates that tell nothing.
        axes: ``(values, axes, size)`` orthonormal rows.
        counts: ``(values,)`` how many codes there are.
        points: ``(values, candidates, axes)`` the codes from the middle, in axes; 0 where there are fewer.
        starts, slopes: ``(values, axes)`` and ``(values, free, axes)``: what is expected under a free code.
        general, given: ``(values, axes, axes)`` inverse Cholesky factors of the codes' covariance, as such and under a free
            code.
    """

    middles: Tensor
    stretch: Tensor
    axes: Tensor
    counts: Tensor
    points: Tensor
    starts: Tensor
    slopes: Tensor
    general: Tensor
    given: Tensor

    def __init__(self, blocks: Blocks, schema: Schema) -> None:
        super().__init__()
        self.blocks, self.schema = blocks, schema
        values, free = sum(len(label.values) for label in schema), blocks.free.size
        size = max((blocks.of(label.name).size for label in schema), default=0)
        axes = min(size, _AXES)
        for name, shape in (
            ("middles", (size,)),
            ("stretch", (size,)),
            ("axes", (axes, size)),
            ("points", (_CANDIDATES, axes)),
            ("starts", (axes,)),
            ("slopes", (free, axes)),
            ("general", (axes, axes)),
            ("given", (axes, axes)),
        ):
            self.register_buffer(name, torch.full((values, *shape), torch.nan))
        self.register_buffer("counts", torch.zeros(values, dtype=torch.long))

    @torch.no_grad()
    def put(self, model: Model, codes: Latents[Tensor], label: str, value: Tensor) -> Latents[Tensor] | None:
        """Codes with a label's block at points of values ``(n,)``; None where none is known, and for numbers."""
        index = self.schema.index(label)
        if not self.schema[label].discrete:
            return None
        block, row = self.blocks.of(label), self._row(index) + value.long()
        if bool(self.middles[row].isnan().any()):
            return None
        found = torch.empty_like(codes[block.name])
        for one in value.unique():
            choice = self._choice(self._row(index) + int(one), block.size)
            for part in (value == one).nonzero()[:, 0].split(_at_once(model)):
                found[part] = self._shown(model, codes.map(lambda code, part=part: code[part]), index, one, choice)
        return codes.replace({block.name: found})

    def _shown(self, model: Model, codes: Latents[Tensor], label: int, value: Tensor, choice: Choice) -> Tensor:
        """The first of the codes in their order with which the classifier is sure of the value, else the one with which it is
        most; ``(n, size)``."""
        name = self.blocks.of(self.schema.names[label]).name
        order = choice.order(torch.cat([codes[block.name] for block in self.blocks.free], 1))
        chosen, surest = order[:, 0].clone(), torch.zeros(len(order), device=order.device)
        left = torch.arange(len(order), device=order.device)
        for tried in order.T if order.shape[1] > 1 else ():
            made = codes.map(lambda code, left=left: code[left]).replace({name: choice.codes(tried[left])})
            asked = value.new_zeros(len(left), len(self.schema))
            asked[:, label] = value
            sure = model.label_distribution(model.decode(made).mean).log_prob(asked)[:, label].exp()
            better = left[sure > surest[left]]
            chosen[better], surest[better] = tried[better], sure[sure > surest[left]]
            left = left[sure < choice.sure]
            if not len(left):
                break
        return choice.codes(chosen)

    def as_drawn(self, codes: Tensor, label: str, values: Tensor) -> Tensor:
        """Mean codes ``(n, size)`` of a label's block, of samples with values ``(n,)``, spread as far as the posterior's draws.

        A decoder has read draws. Where the posterior is unsure of a style, means lie closer together than draws do, and what is
        decoded from them shows less of the style than they tell. Coordinates that tell nothing stay, and so do codes of numbers
        and of values that were not measured.
        """
        index = self.schema.index(label)
        if not self.schema[label].discrete:
            return codes
        row, size = self._row(index) + values.long(), codes.shape[1]
        middle, stretch = self.middles[row, :size], self.stretch[row, :size]
        return torch.where(stretch.isnan(), codes, middle + (codes - middle) * stretch)

    def choices(self, label: str) -> list[Choice] | None:
        """What samples are given one of, for each value of a label in turn; None where none is known, and for numbers."""
        index, size = self.schema.index(label), self.blocks.of(label).size
        rows = range(self._row(index), self._row(index) + len(self.schema[label].values))
        if not rows or bool(self.middles[rows.start : rows.stop].isnan().any()):
            return None
        return [self._choice(row, size) for row in rows]

    def _choice(self, row: int, size: int) -> Choice:
        points = self.points[row, : int(self.counts[row])]
        axes, least = self.axes[row, :, :size], _log_density(points, self.general[row]) + _SUITS
        return Choice(self.middles[row, :size], axes, points, least, self.starts[row], self.slopes[row], self.given[row])

    def _row(self, index: int) -> int:
        return sum(len(label.values) for label in self.schema.labels[:index])

    @torch.no_grad()
    def measure(self, model: Model, batches: Callable[[], Iterable[Batch]]) -> None:
        """Finds the points on training data, which come in random order; values that no sample has keep nan."""
        codes, widths, values, observed = _encoded(model, batches)
        start = _columns(self.blocks)
        free = torch.cat([codes[:, start[block.name]] for block in self.blocks.free], 1)
        searches = []
        for i, label in enumerate(self.schema):
            columns = start[self.blocks.of(label.name).name]
            for value in range(len(label.values)):
                having = (observed[:, i] & (values[:, i] == value)).nonzero()[:, 0]
                others = (observed[:, i] & (values[:, i] != value)).nonzero()[:_TRIED_ON, 0]
                if len(having):
                    self._describe(self._row(i) + value, codes[having, columns], widths[having, columns], free[having])
                    same = bool((codes[having, columns] == codes[having[0], columns]).all())
                    some = codes[having[: 1 if same else _CANDIDATES], columns]
                    candidates = self.as_drawn(some, label.name, some.new_full(some.shape[:1], value))
                    unknown = torch.zeros(len(candidates), device=codes.device)
                    searches.append(_Search(self._row(i) + value, columns, candidates, others, unknown))
        _try(model, codes, searches)
        for found in searches:
            size = found.columns.stop - found.columns.start
            ordered = found.candidates[found.change.argsort(stable=True)]
            self.points[found.row], self.counts[found.row] = 0, len(ordered)
            self.points[found.row, : len(ordered)] = (ordered - self.middles[found.row, :size]) @ self.axes[
                found.row, :, :size
            ].T

    def _describe(self, row: int, codes: Tensor, widths: Tensor, free: Tensor) -> None:
        """Measures where the codes ``(n, d)`` of one value lie, with deviations ``widths`` of their posterior."""
        n, size = codes.shape
        middle = codes.mean(0)
        of_means, of_widths = codes.var(0, correction=0), widths.square().mean(0)
        told = of_means / (of_means + of_widths).clamp_min(1e-12)
        stretch = torch.where(told < _ACTIVE, 1.0, told.clamp_min(_ACTIVE).rsqrt())
        found = torch.linalg.svd(codes - middle, full_matrices=False).Vh[: self.axes.shape[1]]
        axes = codes.new_zeros(self.axes.shape[1], size)
        axes[: len(found)] = found
        along = (codes - middle) @ axes.T
        start, slope, errors = ridge(free, along)
        one = torch.eye(len(axes), dtype=codes.dtype, device=codes.device)
        # axes along which nothing varies, and posteriors without width, have some all the same
        drawn = (axes * widths.square().mean(0)) @ axes.T + (1e-6 * along.square().sum(1).mean() + 1e-12) * one
        for kept, full in ((self.middles, middle), (self.stretch, stretch), (self.axes, axes)):
            kept[row] = 0
            kept[row, ..., :size] = full
        self.starts[row], self.slopes[row] = start, slope
        for factor, deviations in ((self.general, along), (self.given, errors)):
            covariance = deviations.T @ deviations / n + drawn
            factor[row] = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), one, upper=False)


def _log_density(deviations: Tensor, factor: Tensor) -> Tensor:
    """Of N(0, S) at ``(..., axes)``, up to what all Gaussians share, with the inverse Cholesky factor of S."""
    return factor.diagonal().log().sum() - 0.5 * (deviations @ factor.T).square().sum(-1)


def ridge(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Ridge regression of ``y (n, k)`` on ``x (n, d)``, whose penalty leaves the least squared errors of samples left out.

    Left out one by one, in closed form: the error of a sample over one minus its leverage (Allen 1974). No slope at all is one
    of the penalties that are tried.

    Returns:
        Intercept ``(k,)`` and slopes ``(d, k)`` for x as it is, and the errors ``(n, k)`` of samples left out.
    """
    n = len(x)
    mean, scale = x.mean(0), x.std(0, correction=0).clamp_min(1e-6)
    level = y.mean(0)
    alone = (y - level) * (n / max(1, n - 1))
    slope, errors = y.new_zeros(x.shape[1], y.shape[1]), alone
    u, s, v = torch.linalg.svd((x - mean) / scale, full_matrices=False)
    told = u.T @ (y - level)
    for penalty in _PENALTIES.tolist():
        kept = s.square() / (s.square() + n * penalty)
        leverage = 1 / n + u.square() @ kept
        left_out = (y - level - u @ (kept[:, None] * told)) / (1 - leverage).clamp_min(1e-3)[:, None]
        if left_out.square().sum() < errors.square().sum():
            slope, errors = v.T @ ((kept / s.clamp_min(1e-12))[:, None] * told) / scale[:, None], left_out
    return level - mean @ slope, slope, errors


def _columns(blocks: Blocks) -> dict[str, slice]:
    """Where each block lies in codes side by side."""
    ends = torch.tensor([0, *(block.size for block in blocks)]).cumsum(0).tolist()
    return {block.name: slice(start, end) for block, start, end in zip(blocks, ends, ends[1:], strict=False)}


def _encoded(model: Model, batches: Callable[[], Iterable[Batch]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Codes ``(n, width)`` of some training samples that have any label, blocks side by side, with the deviations of their
    posterior and their known values."""
    parts, widths, values, observed, n = [], [], [], [], 0
    for batch in batches():
        if n >= _FROM:
            break
        some = batch.observed.any(1)
        if not bool(some.any()):
            continue
        full = model.complete(batch.x[some], batch.values[some], batch.observed[some])
        posterior = model.posterior(batch.x[some], full, batch.observed[some])
        parts.append(concatenate(posterior.map(lambda part: part.mode)))
        widths.append(concatenate(posterior.map(lambda part: part.scale)))
        values.append(batch.values[some])
        observed.append(batch.observed[some])
        n += int(some.sum())
    return torch.cat(parts), torch.cat(widths), torch.cat(values), torch.cat(observed)


@dataclass
class _Search:
    """The codes of a label's value that are offered, and the samples that they are tried on.

    Attributes:
        row: of the value among those of all labels.
        columns: of the label's block among all blocks side by side.
        candidates: ``(candidates, size)`` the codes.
        others: rows of samples of other values, on which they are tried.
        change: ``(candidates,)`` the mean squared difference that they make of what is decoded, in the encoders' units.
    """

    row: int
    columns: slice
    candidates: Tensor
    others: Tensor
    change: Tensor

    def edits(self, codes: Tensor) -> Tensor:
        """Codes of the other samples with every candidate in the place of their own, ``(candidates * others, width)``."""
        edited = codes[self.others].repeat(len(self.candidates), 1)
        edited[:, self.columns] = self.candidates.repeat_interleave(len(self.others), 0)
        return edited


def _try(model: Model, codes: Tensor, searches: Sequence[_Search]) -> None:
    """Fills in what candidates change; ``codes (n, width)`` are those of samples, all blocks side by side.

    Small searches are decoded together: the calls cost a small network more than their arithmetic.
    """
    tried = [search for search in searches if len(search.others)]  # where all samples have the value, any code is as good
    if not tried:
        return
    used = torch.cat([search.others for search in tried]).unique()  # many searches share samples
    place = torch.empty(len(codes), dtype=torch.long, device=codes.device)
    place[used] = torch.arange(len(used), device=codes.device)
    before = _decoded(model, codes[used])
    sizes = [len(search.candidates) * len(search.others) for search in tried]
    for some in _filling(sizes, _at_once(model)):
        start = torch.cat([place[tried[i].others].repeat(len(tried[i].candidates)) for i in some])
        after = _decoded(model, torch.cat([tried[i].edits(codes) for i in some]))
        change = ((after - before[start]) ** 2).flatten(1).mean(1)
        for i, own in zip(some, change.split([sizes[i] for i in some]), strict=True):
            tried[i].change = own.unflatten(0, (-1, len(tried[i].others))).mean(1)


def _decoded(model: Model, codes: Tensor) -> Tensor:
    """The mean of p(x | codes) at codes ``(n, width)``, as encoders read it."""
    parts = codes.split(_at_once(model))
    return torch.cat([model.likelihood.inputs(model.decode(model.blocks.split(part)).mean) for part in parts])


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
