"""Columns of different kinds and units, cells of which may be missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelspace.distributions import LOG_2PI
from labelspace.errors import UserError, unknown
from labelspace.likelihoods.base import DataDistribution, Likelihood, refuse_cells, refuse_images
from labelspace.likelihoods.johnson import JohnsonSU
from labelspace.likelihoods.negative_binomial import count_counterfactual, log_negative_binomial, sample_negative_binomial


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        kind: "continuous", "categorical" or "count".
        classes: classes of a categorical column, 0 for the others.
    """

    kind: str
    classes: int = 0

    KINDS: ClassVar = ("continuous", "categorical", "count")

    @classmethod
    def parse(cls, text: str) -> Column:
        """Reads "continuous", "count" or "categorical:K".

        Raises:
            UserError: another kind, a K that is not a whole number of at least 2, or a K where there is none.
        """
        kind, colon, classes = (part.strip() for part in text.partition(":"))
        if kind not in cls.KINDS:
            raise unknown("kind of column", kind, cls.KINDS)
        if kind != "categorical":
            if colon:
                raise UserError(f"column {text.strip()!r} of a table: only categorical columns have a number of classes")
            return cls(kind)
        if not classes.isdecimal() or int(classes) < 2:
            raise UserError(f"column {text.strip()!r} of a table needs its number of classes, 2 or more: categorical:K")
        return cls(kind, int(classes))

    def __str__(self) -> str:
        return f"{self.kind}:{self.classes}" if self.classes else self.kind


class Table(Likelihood):
    """Rows of a table, ``(n, columns)``, NaN where a cell is missing; every column has a distribution of its own.

        continuous      v(x) ~ N(mean + sd m, (sd s)^2)   m from the decoder, s learned; mean and sd of v in the training data
        categorical     Categorical(softmax(logits))      logits from the decoder; cells are class indices
        count           NB(typical exp(r), theta)         r from the decoder, theta learned; typical is the training data's mean

    v(x) is x, but for columns with long tails, of which training data say so: an inverse hyperbolic sine
    (:class:`~labelspace.likelihoods.johnson.JohnsonSU`), which is close to a logarithm far from its middle.

    Missing cells count for nothing: they add 0 to ``log_prob`` (so they are taken to be missing at random). Densities are
    in the units of the data. ``mean`` has the expectation of numbers and the most probable class of categorical columns.

    Decoders emit ``[m of continuous columns, r of counts, logits of categorical columns]``; encoders read ``[standardised
    continuous columns, log1p of counts, one-hot categorical columns, one flag per column that is 1 where its cell is
    missing]`` with zeros for missing cells. Within each part columns have the order of the table.

    Args:
        shape: ``(columns,)``.
        columns: what each column is.

    Raises:
        UserError: images, or a number of columns that differs from that of the samples.
    """

    additive = False
    keeps_detail = True
    drawn = True
    centre: Tensor
    sd: Tensor
    low: Tensor
    high: Tensor
    whole: Tensor
    typical_count: Tensor
    order: Tensor
    inverse_order: Tensor
    class_columns: Tensor

    def __init__(self, shape: tuple[int, ...], columns: Sequence[Column]) -> None:
        super().__init__(shape)
        refuse_images("table", self.shape)
        if len(columns) != self.shape[0]:
            raise UserError(f"the table likelihood names {len(columns)} columns, but samples have {self.shape[0]}")
        self.columns = tuple(columns)
        groups = [[i for i, c in enumerate(columns) if c.kind == kind] for kind in ("continuous", "count", "categorical")]
        self.sizes = [len(group) for group in groups]
        sizes_of_classes = torch.tensor([c.classes for c in columns if c.classes], dtype=torch.long)
        self.logits = int(sizes_of_classes.sum())
        self.output_shape = (self.sizes[0] + self.sizes[1] + self.logits,)
        self.input_shape = (self.output_shape[0] + self.shape[0],)

        # Columns are handled kind by kind: x[:, order] puts them so, [:, inverse_order] puts them back.
        order = torch.tensor([i for group in groups for i in group])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("inverse_order", order.argsort(), persistent=False)
        # class_columns[j, k] is where class k of the j-th categorical column lies among all logits; absent classes share
        # one column behind the last.
        ranks = torch.arange(max([1, *(c.classes for c in columns)])).expand(self.sizes[2], -1)
        first = sizes_of_classes.cumsum(0) - sizes_of_classes
        class_columns = torch.where(ranks < sizes_of_classes[:, None], ranks + first[:, None], self.logits)
        self.register_buffer("class_columns", class_columns, persistent=False)

        self.log_scale = nn.Parameter(torch.zeros(self.sizes[0]))
        self.log_theta = nn.Parameter(torch.zeros(self.sizes[1]))
        self.tails = JohnsonSU(self.sizes[0])
        self.register_buffer("centre", torch.zeros(self.sizes[0]))
        self.register_buffer("sd", torch.ones(self.sizes[0]))
        self.register_buffer("typical_count", torch.ones(self.sizes[1]))
        # Of all columns, in the order of the table: the range of the training data, and whether all of them are whole numbers.
        self.register_buffer("low", torch.full(self.shape, -torch.inf))
        self.register_buffer("high", torch.full(self.shape, torch.inf))
        self.register_buffer("whole", torch.tensor([c.kind != "continuous" for c in columns]))

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Columns by kind: standardised continuous ones, counts, class indices (int64), all 0 where a cell is missing.

        The fourth is ``(n, columns)`` bool, in the order of the parts: which cells are not missing.
        """
        x = x[:, self.order]
        seen = ~x.isnan()
        continuous, counts, classes = x.split(self.sizes, 1)
        standard = (self.tails.straight(continuous) - self.centre) / self.sd
        return standard.nan_to_num(0.0), counts.nan_to_num(0.0), classes.nan_to_num(0.0).long(), seen

    def inputs(self, x: Tensor) -> Tensor:
        standard, counts, classes, seen = self.parts(x)
        *_, known = seen.split(self.sizes, 1)
        one_hot = F.one_hot(classes, self.class_columns.shape[1]) * known[..., None]  # (n, categorical columns, classes)
        one_hot = one_hot[:, self.class_columns < self.logits].to(x.dtype)
        return torch.cat([standard, torch.log1p(counts), one_hot, x.isnan().to(x.dtype)], 1)

    def numbers(self, x: Tensor) -> Tensor:
        """Standardised continuous columns and log1p of counts."""
        return self.inputs(x)[:, : sum(self.sizes[:2])]

    def blank(self, x: Tensor) -> Tensor:
        """A missing cell is known to be missing."""
        return torch.full_like(x, torch.nan)

    @property
    def scale(self) -> Tensor:
        """Standard deviation of v(x) given codes, of the continuous columns, in units of that of all training data."""
        # The least scale keeps densities finite where a decoder predicts a column exactly.
        return self.log_scale.exp() + 1e-3

    def forward(self, raw: Tensor) -> DataDistribution:
        return TableDistribution(raw, self)

    def counterfactual(self, x: Tensor, before: DataDistribution, after: DataDistribution) -> Tensor:
        """Column by column what the edit changes, added to the cell: v(x) + v(after) - v(before) of numbers, the same in
        logarithms of counts; a class changes where the most probable one does. What does not change stays to the bit, what is
        missing stays missing, and what changes stays whole where training data are and within their range.
        """
        start, end = before.mean, after.mean
        own, of_start, of_end = (row[:, self.order].split(self.sizes, 1) for row in (x, start, end))
        v, v_start, v_end = (self.tails.straight(row[0]) for row in (own, of_start, of_end))
        counts = count_counterfactual(own[1], of_start[1], of_end[1])
        classes = torch.where(of_start[2] == of_end[2], own[2], of_end[2])
        moved = torch.cat([self.tails.curved(v + (v_end - v_start)), counts, classes], 1)[:, self.inverse_order]
        moved = torch.where(self.whole, x + (moved - x).round(), moved)
        moved = moved.clamp(torch.minimum(self.low, x), torch.maximum(self.high, x))
        return torch.where((end == start) | x.isnan(), x, moved)

    def possible(self, x: Tensor) -> Tensor:
        """Draws beyond the range are put back into it as far from its end, so that none is more frequent than others."""
        anchor = torch.where(self.low.isfinite(), self.low, 0)
        v, low, high = (self._straight(cells) for cells in (x, self.low[None], self.high[None]))
        v = torch.where(v < low, 2 * low - v, v)
        x = self._curved(torch.where(v > high, 2 * high - v, v))
        return torch.where(self.whole, anchor + (x - anchor).round(), x).clamp(self.low, self.high)

    def _straight(self, x: Tensor) -> Tensor:
        """v of the continuous columns, the others as they are."""
        return self._by_order(x, self.tails.straight)

    def _curved(self, v: Tensor) -> Tensor:
        return self._by_order(v, self.tails.curved)

    def _by_order(self, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        numbers, others = x[:, self.order].split([self.sizes[0], len(self.columns) - self.sizes[0]], 1)
        return torch.cat([change(numbers), others], 1)[:, self.inverse_order]

    def wholes(self) -> Tensor:
        return self.whole

    def responses(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers and counts by their rank, as quantiles of a normal distribution; every class as an indicator."""
        found, of = [], []
        for i, column in enumerate(self.columns):
            cells = x[:, i].double()
            seen = ~cells.isnan()
            if column.kind == "categorical":
                known = [torch.where(seen, (cells == k).double(), torch.nan) for k in range(column.classes)]
            else:
                _, place, times = cells[seen].unique(return_inverse=True, return_counts=True)
                score = torch.full_like(cells, torch.nan)
                score[seen] = torch.special.ndtri((times.cumsum(0) - 0.5 * times.double()) / max(1, len(place)))[place]
                known = [score]
            found += known
            of += [i] * len(known)
        return torch.stack(found, 1), torch.tensor(of)

    def outside(self, x: Tensor) -> dict[int, tuple[float, float]]:
        """Farther from the range than the range is wide, where tails are long in v."""
        v, low, high = (self._straight(cells) for cells in (x, self.low[None], self.high[None]))
        far = ((v < 2 * low - high) | (v > 2 * high - low)).any(0)
        return {i: (float(self.low[i]), float(self.high[i])) for i in far.nonzero()[:, 0].tolist()}

    def measure(self, x: Tensor) -> None:
        continuous, counts, _ = x[:, self.order].split(self.sizes, 1)
        self.tails.measure(continuous)
        continuous = self.tails.straight(continuous)
        self.centre.copy_(continuous.nanmean(0).nan_to_num(0.0))
        sd = (continuous - self.centre).square().nanmean(0).sqrt()
        # 1 for a column that is constant, up to rounding, or entirely missing.
        self.sd.copy_(torch.where(sd > 1e-6 * self.centre.abs(), sd, 1.0))
        self.typical_count.copy_(counts.nanmean(0).nan_to_num(1.0).clamp_min(0.01))
        missing = x.isnan()
        low, high = x.masked_fill(missing, torch.inf).amin(0), x.masked_fill(missing, -torch.inf).amax(0)
        seen = low <= high
        self.low.copy_(torch.where(seen, low, -torch.inf))
        self.high.copy_(torch.where(seen, high, torch.inf))
        steps = (x - self.low).nan_to_num(0.0)
        numbers = torch.tensor([column.kind == "continuous" for column in self.columns], device=x.device)
        self.whole.copy_((steps == steps.round()).all(0) & seen | ~numbers)

    def check(self, x: Tensor) -> None:
        refuse_cells(x, x.isinf(), "a table takes finite numbers, or NaN for a missing cell")
        for i, column in enumerate(self.columns):
            cells = x[:, i]
            bad = ~cells.isnan() & ((cells < 0) | (cells != cells.round()))
            if column.kind == "count":
                refuse_cells(x, bad, "a count column takes whole numbers >= 0", i)
            elif column.kind == "categorical":
                bad |= cells >= column.classes
                refuse_cells(x, bad, f"a {column} column takes class indices 0 to {column.classes - 1}", i)


class TableDistribution(DataDistribution):
    def __init__(self, raw: Tensor, table: Table) -> None:
        self.table = table
        self.standard, log_ratio, logits = raw.split([*table.sizes[:2], table.logits], 1)
        self.scale = table.scale
        self.log_count = log_ratio + table.typical_count.log()
        padded = F.pad(logits, (0, 1), value=-torch.inf)
        self.log_p = F.log_softmax(padded[:, table.class_columns], -1)  # (n, categorical columns, classes)
        self.count = self.log_count.clamp_max(30.0).exp()
        v, sd = self._v(self.standard), self.scale.detach() * table.sd  # only log_prob is to find the scale
        self.mean = self._assemble(table.tails.expectation(v, sd), self.count, self.log_p.argmax(-1))

    def log_prob(self, x: Tensor) -> Tensor:
        standard, counts, classes, seen = self.table.parts(x)
        z = (standard - self.standard) / self.scale
        slope = self.table.tails.log_slope(x[:, self.table.order[: self.table.sizes[0]]].nan_to_num(0.0))
        cells = [
            -0.5 * (z**2 + LOG_2PI) - torch.log(self.scale * self.table.sd) + slope,
            log_negative_binomial(counts, self.log_count, self.table.log_theta),
            self.log_p.gather(2, classes[..., None])[..., 0],
        ]
        return torch.where(seen, torch.cat(cells, 1), 0).sum(1)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.empty_like(self.standard).normal_(generator=generator)
        counts = sample_negative_binomial(self.count, self.table.log_theta, generator)
        # The first of several exponential waits, with rates p, is that of class k with probability p_k.
        waits = torch.empty_like(self.log_p).exponential_(generator=generator)
        classes = (self.log_p.exp() / waits).argmax(-1)
        numbers = self.table.tails.curved(self._v(self.standard + self.scale * noise))
        return self._assemble(numbers, counts, classes)

    def _v(self, standard: Tensor) -> Tensor:
        return standard * self.table.sd + self.table.centre

    def _assemble(self, numbers: Tensor, counts: Tensor, classes: Tensor) -> Tensor:
        return torch.cat([numbers, counts, classes.to(counts.dtype)], 1)[:, self.table.inverse_order]
