"""Likelihoods: how data are described given codes.

A likelihood is a module that turns a decoder's raw output into a distribution over data, so that what a decoder emits is
never squashed twice; and it says what an encoder should read (counts are read through a logarithm, tables with flags for
their missing cells). All densities are in nats, summed over the dimensions of a sample.

- :class:`Bernoulli`: entries in [0, 1], such as grey values of digits.
- :class:`Gaussian`, :class:`Laplace`: real numbers that all live on one scale. Not for columns of different units.
- :class:`NegativeBinomial`: counts whose total differs from sample to sample, such as reads of genes.
- :class:`Table`: columns of different kinds and units, cells of which may be missing. Not for images.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelspace.errors import UserError, unknown

_LOG_2PI = math.log(2 * math.pi)


def _entries(x: Tensor) -> tuple[int, ...]:
    """The dimensions of one sample's entries. Sums over them need no copy whatever the layout, as flattening would."""
    return tuple(range(1, x.ndim))


class DataDistribution:
    """A distribution over samples: ``log_prob(x) -> (n,)``, ``mean`` and ``sample(generator)``, both shaped like x."""

    mean: Tensor

    def mean_like(self, x: Tensor) -> Tensor:
        """The mean for samples that have the known circumstances of ``x`` (its total count, say); mostly just the mean."""
        return self.mean

    def log_prob(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        raise NotImplementedError

    def fill(self, x: Tensor, known: Tensor) -> Tensor:
        """The mean for samples of which only the entries where ``known`` is True count as circumstances."""
        return self.mean_like(x)


class Likelihood(nn.Module):
    """Turns a decoder's raw output into a distribution over data, and data into what an encoder reads.

    Args:
        shape: shape of one sample.

    Attributes:
        bounds: the closed interval that data must lie in (None: unbounded).
        additive: whether a difference of two samples is a meaningful change of a third.
        input_shape: shape of what an encoder reads of one sample.
        output_shape: shape of the raw output of a decoder for one sample.
    """

    bounds: tuple[float, float] | None = None
    additive = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.input_shape = self.output_shape = self.shape

    def inputs(self, x: Tensor) -> Tensor:
        """What an encoder reads: ``(n, *shape) -> (n, *input_shape)``."""
        return x

    def blank(self, x: Tensor) -> Tensor:
        """What stands in samples ``x`` where nothing is known: mid-grey in pictures, 0 in vectors."""
        return torch.full_like(x, 0.5 if len(self.shape) == 3 else 0.0)

    def forward(self, raw: Tensor) -> DataDistribution:
        """p(x | codes) from a decoder's raw output ``(n, *output_shape)``."""
        raise NotImplementedError

    def measure(self, x: Tensor) -> None:
        """Takes what it needs to know of the data (their scale, say) from training samples ``(n, *shape)``."""

    def check(self, x: Tensor) -> None:
        """Raises UserError when samples ``(n, *shape)`` do not fit this likelihood."""
        low, high = float(x.min()), float(x.max())
        if math.isnan(low):
            raise UserError(
                f"data have missing cells (NaN), which the {type(self).__name__.lower()} likelihood cannot describe; fill "
                "them in or choose --set likelihood=table(...)"
            )
        if self.bounds and not (self.bounds[0] <= low and high <= self.bounds[1]):
            raise UserError(
                f"data lie in [{low:g}, {high:g}], outside [{self.bounds[0]:g}, {self.bounds[1]:g}] of the "
                f"{type(self).__name__.lower()} likelihood; rescale them or choose --set likelihood=gaussian"
            )


class _BernoulliData(DataDistribution):
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    @functools.cached_property
    def mean(self) -> Tensor:  # type: ignore[override]  # training does not ask for it
        return torch.sigmoid(self.logits)

    def log_prob(self, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(self.logits, x, reduction="none").sum(_entries(x))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(self.mean, generator=generator)


class Bernoulli(Likelihood):
    """Pixels (or other entries) in [0, 1]; grey values count as probabilities, as is usual for digits."""

    bounds = (0.0, 1.0)

    def forward(self, raw: Tensor) -> DataDistribution:
        return _BernoulliData(raw)


class _GaussianData(DataDistribution):
    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self.mean, self.scale = mean, scale

    def log_prob(self, x: Tensor) -> Tensor:
        # The scale is one number: it is applied to sums, not to every pixel.
        squares = F.mse_loss(self.mean, x, reduction="none").sum(_entries(x))
        return -0.5 * squares / self.scale**2 - math.prod(x.shape[1:]) * (torch.log(self.scale) + 0.5 * _LOG_2PI)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self.mean + self.scale * torch.empty_like(self.mean).normal_(generator=generator)


class _LaplaceData(DataDistribution):
    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self.mean, self.scale = mean, scale

    def log_prob(self, x: Tensor) -> Tensor:
        distances = F.l1_loss(self.mean, x, reduction="none").sum(_entries(x))
        return -distances / self.scale - math.prod(x.shape[1:]) * torch.log(2 * self.scale)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        uniform = torch.empty_like(self.mean).uniform_(-0.5, 0.5, generator=generator)
        tail = torch.log1p(-2 * uniform.abs().clamp_max(0.5 - 1e-7))
        return self.mean - self.scale * torch.sign(uniform) * tail


class _LocationScale(Likelihood):
    """A location from the decoder and one scale for all entries, fixed or learned."""

    distribution: type[_GaussianData] | type[_LaplaceData]

    def __init__(self, shape: tuple[int, ...], scale: float = 1.0, learned: bool = False) -> None:
        super().__init__(shape)
        if not 0 < scale < math.inf:
            raise UserError(f"the likelihood's scale must be positive and finite, got {scale}")
        self.learned = learned
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learned)

    def forward(self, raw: Tensor) -> DataDistribution:
        return self.distribution(raw, self.log_scale.exp())


class Gaussian(_LocationScale):
    """Unbounded data with one standard deviation for all entries, fixed or learned."""

    distribution = _GaussianData


class Laplace(_LocationScale):
    """Unbounded data with heavier tails than a Gaussian: sharper pictures, less weight on outliers."""

    distribution = _LaplaceData


class _CountData(DataDistribution):
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
        return _log_negative_binomial(x, self.log_proportions + _totals(x).log(), self.log_theta).sum(1)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return _draw_negative_binomial(self.mean, self.log_theta, generator)


class NegativeBinomial(Likelihood):
    """Vectors of counts, as of genes in cells (Lopez et al. 2018, scVI, with the total that was observed).

        x_j | codes, l ~ NB(mean l p_j, inverse dispersion theta_j),  p = softmax(decoder),  l = sum_j x_j

    The decoder says how a sample's total is shared out, not how large it is: the total of ``x`` is given to
    ``log_prob`` and ``mean_like``. Where no sample is known, ``mean`` and ``sample`` take the training data's median
    total. The variance of an entry is ``mean + mean^2 / theta``; theta is learned, one number an entry.

    A sample without any count is read as one with a total of 1.
    """

    additive = False
    typical_total: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        _refuse_images("negative-binomial", self.shape)
        self.log_theta = nn.Parameter(torch.zeros(self.shape))
        self.register_buffer("typical_total", torch.tensor(1e4))

    def inputs(self, x: Tensor) -> Tensor:
        return torch.log1p(x)

    def forward(self, raw: Tensor) -> DataDistribution:
        return _CountData(raw, self.log_theta, self.typical_total)

    def measure(self, x: Tensor) -> None:
        self.typical_total.copy_(_totals(x).median())

    def check(self, x: Tensor) -> None:
        bad = ~((x >= 0) & (x == x.round()) & x.isfinite())
        _refuse_cells(x, bad, "the negative-binomial likelihood takes whole numbers >= 0")


def _totals(x: Tensor) -> Tensor:
    """Total count of each sample, ``(n, 1)``, at least 1."""
    return x.sum(1, keepdim=True).clamp_min(1)


def _log_negative_binomial(x: Tensor, log_mean: Tensor, log_theta: Tensor) -> Tensor:
    """Log-probability of counts entry by entry, ``(n, d)``; ``log_theta (d,)`` is the log of the inverse dispersion."""
    # The three lgammas nearly cancel for large counts, which takes more digits than float32 has (some devices lack more).
    wide = x.dtype if x.device.type == "mps" else torch.float64
    k, m, t = x.to(wide), log_mean.to(wide), _bounded(log_theta).to(wide)
    theta = t.exp()
    ways = torch.lgamma(k + theta) - torch.lgamma(theta) - torch.lgamma(k + 1)
    # softplus(m - t) = -log(theta / (theta + mean)), softplus(t - m) = -log(mean / (theta + mean))
    return (ways - theta * F.softplus(m - t) - k * F.softplus(t - m)).to(log_mean.dtype)


def _draw_negative_binomial(mean: Tensor, log_theta: Tensor, generator: torch.Generator | None) -> Tensor:
    """Counts ``(n, d)``: Poisson draws whose rates are drawn from a gamma distribution."""
    theta = _bounded(log_theta).exp().expand_as(mean)
    # torch.distributions.Gamma takes no generator; this is what it calls.
    unit = torch._standard_gamma(theta, generator=generator)  # type: ignore[attr-defined]
    return torch.poisson(unit * (mean / theta), generator=generator)


def _bounded(log_theta: Tensor) -> Tensor:
    # Beyond these bounds the distribution hardly changes: a Poisson above, all counts zero or huge below.
    return log_theta.clamp(-10.0, 15.0)


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

        continuous      N(mean + sd m, (sd s)^2)       m from the decoder, s learned; mean and sd of the training data
        categorical     Categorical(softmax(logits))   logits from the decoder; cells are class indices
        count           NB(typical exp(r), theta)      r from the decoder, theta learned; typical is the training data's mean

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
    centre: Tensor
    sd: Tensor
    typical_count: Tensor
    order: Tensor
    place: Tensor
    slots: Tensor

    def __init__(self, shape: tuple[int, ...], columns: Sequence[Column]) -> None:
        super().__init__(shape)
        _refuse_images("table", self.shape)
        if len(columns) != self.shape[0]:
            raise UserError(f"the table likelihood names {len(columns)} columns, but samples have {self.shape[0]}")
        self.columns = tuple(columns)
        groups = [[i for i, c in enumerate(columns) if c.kind == kind] for kind in ("continuous", "count", "categorical")]
        self.sizes = [len(group) for group in groups]
        sizes_of_classes = torch.tensor([c.classes for c in columns if c.classes], dtype=torch.long)
        self.logits = int(sizes_of_classes.sum())
        self.output_shape = (self.sizes[0] + self.sizes[1] + self.logits,)
        self.input_shape = (self.output_shape[0] + self.shape[0],)

        # Columns are handled kind by kind: x[:, order] puts them so, [:, place] puts them back.
        order = torch.tensor([i for group in groups for i in group])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("place", order.argsort(), persistent=False)
        # slots[j, k] is where class k of the j-th categorical column lies among all logits; absent classes share one
        # slot behind the last.
        ranks = torch.arange(max([1, *(c.classes for c in columns)])).expand(self.sizes[2], -1)
        first = sizes_of_classes.cumsum(0) - sizes_of_classes
        slots = torch.where(ranks < sizes_of_classes[:, None], ranks + first[:, None], self.logits)
        self.register_buffer("slots", slots, persistent=False)

        self.log_scale = nn.Parameter(torch.zeros(self.sizes[0]))
        self.log_theta = nn.Parameter(torch.zeros(self.sizes[1]))
        self.register_buffer("centre", torch.zeros(self.sizes[0]))
        self.register_buffer("sd", torch.ones(self.sizes[0]))
        self.register_buffer("typical_count", torch.ones(self.sizes[1]))

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Columns by kind: standardised continuous ones, counts, class indices (int64), all 0 where a cell is missing.

        The fourth is ``(n, columns)`` bool, in the order of the parts: which cells are not missing.
        """
        x = x[:, self.order]
        seen = ~x.isnan()
        continuous, counts, classes = x.split(self.sizes, 1)
        standard = (continuous - self.centre) / self.sd
        return standard.nan_to_num(0.0), counts.nan_to_num(0.0), classes.nan_to_num(0.0).long(), seen

    def inputs(self, x: Tensor) -> Tensor:
        standard, counts, classes, seen = self.parts(x)
        *_, known = seen.split(self.sizes, 1)
        one_hot = F.one_hot(classes, self.slots.shape[1]) * known[..., None]  # (n, categorical columns, classes)
        one_hot = one_hot[:, self.slots < self.logits].to(x.dtype)
        return torch.cat([standard, torch.log1p(counts), one_hot, x.isnan().to(x.dtype)], 1)

    def blank(self, x: Tensor) -> Tensor:
        """A missing cell is known to be missing."""
        return torch.full_like(x, torch.nan)

    def forward(self, raw: Tensor) -> DataDistribution:
        return _TableData(raw, self)

    def measure(self, x: Tensor) -> None:
        continuous, counts, _ = x[:, self.order].split(self.sizes, 1)
        self.centre.copy_(continuous.nanmean(0).nan_to_num(0.0))
        sd = (continuous - self.centre).square().nanmean(0).sqrt()
        # 1 for a column that is constant, up to rounding, or entirely missing.
        self.sd.copy_(torch.where(sd > 1e-6 * self.centre.abs(), sd, 1.0))
        self.typical_count.copy_(counts.nanmean(0).nan_to_num(1.0).clamp_min(0.01))

    def check(self, x: Tensor) -> None:
        _refuse_cells(x, x.isinf(), "a table takes finite numbers, or NaN for a missing cell")
        for i, column in enumerate(self.columns):
            cells = x[:, i]
            bad = ~cells.isnan() & ((cells < 0) | (cells != cells.round()))
            if column.kind == "count":
                _refuse_cells(x, bad, "a count column takes whole numbers >= 0", i)
            elif column.kind == "categorical":
                bad |= cells >= column.classes
                _refuse_cells(x, bad, f"a {column} column takes class indices 0 to {column.classes - 1}", i)


class _TableData(DataDistribution):
    def __init__(self, raw: Tensor, table: Table) -> None:
        self.table = table
        self.standard, log_ratio, logits = raw.split([*table.sizes[:2], table.logits], 1)
        # The least scale keeps densities finite where a decoder predicts a column exactly.
        self.scale = table.log_scale.exp() + 1e-3
        self.log_count = log_ratio + table.typical_count.log()
        padded = F.pad(logits, (0, 1), value=-torch.inf)
        self.log_p = F.log_softmax(padded[:, table.slots], -1)  # (n, categorical columns, classes)
        self.count = self.log_count.clamp_max(30.0).exp()
        self.mean = self._assemble(self.standard, self.count, self.log_p.argmax(-1))

    def log_prob(self, x: Tensor) -> Tensor:
        standard, counts, classes, seen = self.table.parts(x)
        z = (standard - self.standard) / self.scale
        cells = [
            -0.5 * (z**2 + _LOG_2PI) - torch.log(self.scale * self.table.sd),
            _log_negative_binomial(counts, self.log_count, self.table.log_theta),
            self.log_p.gather(2, classes[..., None])[..., 0],
        ]
        return torch.where(seen, torch.cat(cells, 1), 0).sum(1)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.empty_like(self.standard).normal_(generator=generator)
        counts = _draw_negative_binomial(self.count, self.table.log_theta, generator)
        # The first of several exponential waits, with rates p, is that of class k with probability p_k.
        waits = torch.empty_like(self.log_p).exponential_(generator=generator)
        classes = (self.log_p.exp() / waits).argmax(-1)
        return self._assemble(self.standard + self.scale * noise, counts, classes)

    def _assemble(self, standard: Tensor, counts: Tensor, classes: Tensor) -> Tensor:
        continuous = standard * self.table.sd + self.table.centre
        return torch.cat([continuous, counts, classes.to(counts.dtype)], 1)[:, self.table.place]


def _refuse_images(name: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 1:
        raise UserError(f"the {name} likelihood describes vectors, not samples of shape {shape}; choose another for images")


def _refuse_cells(x: Tensor, bad: Tensor, expected: str, column: int | None = None) -> None:
    """Raises UserError naming the first bad cell of ``x (n, d)``; ``bad`` is ``(n, d)``, or ``(n,)`` of one column."""
    if not bad.any():
        return
    first = int(bad.flatten().int().argmax())
    row, column = (first, column) if column is not None else divmod(first, x.shape[1])
    raise UserError(
        f"x holds {float(x[row, column]):g} in row {row + 1}, column {column + 1} ({int(bad.sum())} such cells), but "
        f"{expected}; correct the data or choose another likelihood with --set likelihood=..."
    )


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "gaussian": Gaussian,
    "laplace": Laplace,
    "negative-binomial": NegativeBinomial,
    "table": Table,
}


def build_likelihood(text: str, shape: tuple[int, ...], scale: float, learned: bool) -> Likelihood:
    """The likelihood that a text names.

    Args:
        text: "bernoulli", "gaussian", "laplace", "negative-binomial", or "table(...)" with one of "continuous", "count" and
            "categorical:K" (K classes) per column, as in "table(continuous,categorical:3,count)".
        shape: shape of one sample.
        scale, learned: for those that have one scale for all entries: its first value, and whether it is learned.

    Raises:
        UserError: an unknown name, or a likelihood that samples of this shape cannot have.
    """
    name = text.partition("(")[0].strip()
    if name == "table":
        listed = re.fullmatch(r"\s*table\s*\((.+)\)\s*", text)
        if not listed:
            raise UserError(f"likelihood {text!r} must list its columns, as in table(continuous,categorical:3,count)")
        return Table(shape, [Column.parse(column) for column in listed[1].split(",")])
    if text not in LIKELIHOODS:
        raise unknown("likelihood", text if name in LIKELIHOODS else name, LIKELIHOODS)
    kind = LIKELIHOODS[text]
    return kind(shape, scale, learned) if issubclass(kind, _LocationScale) else kind(shape)
