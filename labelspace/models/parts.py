"""Parts that several models are made of: labels as blocks, Gaussians given a label, classifiers of codes, attribute vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from labelspace.blocks import Block, Latents
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian, Point
from labelspace.errors import UserError
from labelspace.labels import LabelDistribution, Schema
from labelspace.likelihoods import Likelihood
from labelspace.models import networks

# -- labels as blocks -------------------------------------------------------------------------------------------------


def valued_blocks(schema: Schema, *, flags: bool) -> list[Block]:
    """One block ``y.<label>`` per label whose code is the label's own value, and with ``flags`` a 1 where it is missing."""
    return [Block(f"y.{label.name}", label.features + flags, label.name) for label in schema]


def valued_points(schema: Schema, features: Tensor, observed: Tensor | None) -> dict[str, Point]:
    """Codes of :func:`valued_blocks`.

    Args:
        schema: the labels.
        features: ``(n, schema.width)``; a missing label's are its prior mean.
        observed: ``(n, labels)`` bool for blocks with flags; None for blocks without.
    """
    parts = features.split(schema.feature_widths, -1)
    if observed is not None:
        flags = (~observed).to(features.dtype)
        parts = [torch.cat([part, flags[:, i : i + 1]], -1) for i, part in enumerate(parts)]
    return {f"y.{label.name}": Point.at(part) for label, part in zip(schema, parts, strict=True)}


def together(parts: Latents[DiagonalGaussian], names: Sequence[str]) -> DiagonalGaussian:
    """Blocks of one size as a Gaussian ``(n, blocks, size)``."""
    return DiagonalGaussian(*(torch.stack([getattr(parts[name], what) for name in names], 1) for what in ("mean", "scale")))


def in_order(found: Sequence[Tensor], groups: Sequence[Sequence[int]]) -> Tensor:
    """One entry per label, ``(labels,)``, from those of groups of labels, ``(labels of the group,)`` each."""
    places = [i for group in groups for i in group]
    entries = torch.cat(list(found))
    if places == sorted(places):
        return entries
    # entry by entry: a list of places would have to be copied to a GPU, which waits for it
    single = dict(zip(places, entries.unbind(), strict=True))
    return torch.stack([single[i] for i in range(len(single))])


def split(blocks: Sequence[Block], gaussian: DiagonalGaussian) -> dict[str, DiagonalGaussian]:
    """A Gaussian over several blocks side by side, block by block."""
    sizes = [block.size for block in blocks]
    parts = zip(gaussian.mean.split(sizes, -1), gaussian.scale.split(sizes, -1), strict=True)
    return {block.name: DiagonalGaussian(*part) for block, part in zip(blocks, parts, strict=True)}


def by_bounds(
    schema: Schema, prior: LabelDistribution, bound: Callable[[Tensor, Tensor | slice], Tensor], n: int, most: int = 64
) -> Tensor:
    """Bayes' rule with a bound in the place of log p(x | y): p(y | x) is proportional to p(y) exp(bound(x, y)).

    All combinations of values are compared where there are at most ``most``; otherwise each label's values in turn, the
    others held at their most probable ones, in two sweeps.

    Args:
        schema: the labels.
        prior: p(y) for ``n`` samples.
        bound: ``(m, labels)`` values, and which samples they are tried on (what indexes samples) -> ``(m,)`` nats.
        n: samples.
        most: the most combinations that are all compared.

    Returns:
        Raw parameters ``(n, schema.parameters)``; see :meth:`Schema.distribution`.
    """
    values, parameters = prior.mode(), []
    options = [schema.candidates(label.name, values.device) for label in schema]

    def scores(trials: Sequence[Tensor], label: int | slice) -> Tensor:
        """Bound and log p of some labels for values ``(n, labels)`` that are tried, ``(n, trials)``."""

        def score(y: Tensor, rows: Tensor | slice) -> Tensor:
            log_p = prior.rows(rows).log_prob(y)[:, label]
            return bound(y, rows) + (log_p.sum(1) if isinstance(label, slice) else log_p)

        if not torch.compiler.is_compiling():
            return torch.stack([score(y, slice(None)) for y in trials], 1)
        # A graph would have the networks in it as often as they are called: one call for all trials.
        rows = torch.arange(n, device=values.device).repeat(len(trials))
        return score(torch.cat(list(trials)), rows).view(len(trials), n).T

    if math.prod([len(option) for option in options]) <= most:
        combinations = torch.cartesian_prod(*options).view(-1, len(schema))
        return schema.moment_matched(combinations, scores([y.expand(n, -1) for y in combinations], slice(None)))
    for sweep in range(2):
        for i, (label, option) in enumerate(zip(schema, options, strict=True)):
            found = scores([torch.cat([values[:, :i], v.expand(n, 1), values[:, i + 1 :]], 1) for v in option], i)
            chosen = option[found.argmax(1)]
            values = torch.cat([values[:, :i], chosen[:, None], values[:, i + 1 :]], 1)
            if sweep == 1:
                parameters.append(Schema([label]).moment_matched(option[:, None], found))
    return torch.cat(parameters, 1)


@dataclass(frozen=True)
class Completions:
    """Every way of filling the missing labels of the samples of a batch, weighted, one row each.

    Attributes:
        rows: ``(m,)`` which sample a row is of, in order.
        values: ``(m, labels)``.
        weight: ``(m,)`` q(what was filled in | x); the rows of a sample sum to 1.
        drawn: ``(m, labels)`` bool, entries that were drawn from q(y | x) instead of summed out.
    """

    rows: Tensor
    values: Tensor
    weight: Tensor
    drawn: Tensor

    @classmethod
    def of(cls, batch: Batch, answer: LabelDistribution, generator: torch.Generator, most: int) -> Completions:
        """All completions under q(y | x) where a sample has at most ``most``, and one draw where it has more.

        Values of continuous labels are always drawn.
        """
        schema = answer.schema
        with torch.no_grad():
            drawn = answer.sample(generator)
        rows, values = schema.completions(batch.values, batch.observed, drawn, most)
        discrete = torch.tensor([label.discrete for label in schema], device=values.device)
        several = torch.bincount(rows, minlength=len(batch))[rows] > 1
        missing = ~batch.observed[rows]
        summed = missing & discrete & several[:, None]
        weight = torch.where(summed, answer.rows(rows).log_prob(values), 0.0).sum(1).exp()
        return cls(rows, values, weight, missing & ~summed)


# -- codes given labels, labels given codes ---------------------------------------------------------------------------


class LabelPrior(nn.Module):
    """p(code of a label's block | label): a free Gaussian for every value; for a number, a Gaussian with a linear mean.

    Args:
        schema: the labels.
        sizes: coordinates of each label's block.
        spread: first distance of the means from the origin: a binary label's are at -spread and +spread in every
            coordinate, a number's slope is spread, the means of classes lie in random directions.
        scale: first standard deviation.
    """

    def __init__(self, schema: Schema, sizes: Sequence[int], spread: float = 2.0, scale: float = 1.3133) -> None:
        super().__init__()
        self.schema = schema
        self.means, self.raw_scales = nn.ParameterList(), nn.ParameterList()
        for label, size in zip(schema, sizes, strict=True):
            if label.kind == "categorical":
                rows = label.features
                # Orthogonal while there is room, so that no two classes start close to each other.
                directions = torch.empty(rows, size)
                nn.init.orthogonal_(directions)
                mean = spread * math.sqrt(2) * F.normalize(directions, dim=-1)
            else:
                ends = [-1.0, 1.0] if label.discrete else [0.0, 1.0]  # off and on; or intercept and slope
                mean = spread * torch.tensor(ends)[:, None].expand(2, size).clone()
                rows = 2 if label.discrete else 1
            self.means.append(nn.Parameter(mean))
            self.raw_scales.append(nn.Parameter(torch.full((rows, size), math.log(math.expm1(scale)))))

    def table(self, i: int) -> DiagonalGaussian:
        """The Gaussians of all values of a discrete label, ``(values, size)``."""
        return DiagonalGaussian(self.means[i], F.softplus(self.raw_scales[i]) + 1e-3)

    def _tables(self, group: Sequence[int]) -> DiagonalGaussian:
        """Means (or intercept and slope) and scales of labels that are alike, ``(labels, rows, size)``."""
        means, raw = (torch.stack([table[i] for i in group]) for table in (list(self.means), list(self.raw_scales)))
        return DiagonalGaussian(means, F.softplus(raw) + 1e-3)

    def given(self, group: Sequence[int], values: Tensor) -> DiagonalGaussian:
        """p(code | value) of labels that are alike, ``(n, labels, size)``.

        Args:
            group: their positions, see :meth:`Schema.grouped`.
            values: ``(n, labels)``, standardised where continuous; a dimension may follow, of values tried, and then it
                comes before the size in the result.
        """
        tables, trials = self._tables(group), values.ndim - 2
        if self.schema.labels[group[0]].discrete:
            places = torch.arange(len(group), device=values.device).view(-1, *[1] * trials)
            return tables[places, values.long()]
        rows = [part[(slice(None),) + (None,) * trials] for part in (*tables.mean.unbind(1), tables.scale[:, 0])]
        mean = rows[0] + values[..., None] * rows[1]
        return DiagonalGaussian(mean, rows[2].expand_as(mean))

    def of_blocks(self, blocks: Sequence[Block], values: Tensor) -> dict[str, DiagonalGaussian]:
        """p(code | value) of all labels' blocks, in the labels' order, ``(n, size)`` each, for ``values (n, labels)``."""
        standard, out = self.schema.standardised(values), {}
        for group in self.schema.grouped([block.size for block in blocks]):
            found = self.given(group, standard[:, group])
            out |= {blocks[i].name: found[:, j] for j, i in enumerate(group)}
        return out

    def log_joint(self, group: Sequence[int], codes: Tensor, log_p_y: Tensor) -> Tensor:
        """log p(code, value) of every value of discrete labels that are alike, ``(n, labels, k, values)``.

        Args:
            group: their positions.
            codes: ``(n, labels, k, size)``.
            log_p_y: ``(labels, values)``.
        """
        tables = self._tables(group)
        every = DiagonalGaussian(tables.mean[:, None], tables.scale[:, None])  # (labels, 1, values, size)
        return every.log_prob(codes[..., None, :]) + log_p_y[:, None]


class LabelReaders(nn.Module):
    """q(label | code of its block), label by label.

    Args:
        schema: the labels.
        sizes: coordinates of each label's block.
        hidden: hidden units of each reader; 0 makes them linear.

    Attributes:
        groups: positions of the labels that are read together.
    """

    def __init__(self, schema: Schema, sizes: Sequence[int], hidden: Sequence[int]) -> None:
        super().__init__()
        self.schema = schema
        self.groups = schema.grouped(sizes, hidden)  # labels whose readers are of one build
        self.networks = nn.ModuleList(
            networks.mlp(size, [units] if units else [], label.parameters)
            for label, size, units in zip(schema, sizes, hidden, strict=True)
        )

    def read(self, group: Sequence[int], codes: Tensor) -> LabelDistribution:
        """q(label | code) of labels that are alike (:meth:`Schema.grouped`), for ``codes (n, labels, k, size)``."""
        readers, out = [list(self.networks[i]) for i in group], codes  # type: ignore[call-overload]
        for layers in zip(*readers, strict=True):
            if isinstance(layers[0], nn.Linear):
                weight, bias = (torch.stack([getattr(layer, name) for layer in layers]) for name in ("weight", "bias"))
                one = weight.shape[2] == 1  # a product of numbers needs no matrices
                product = out * weight[:, None, :, 0] if one else torch.einsum("ngki,goi->ngko", out, weight)
                out = product + bias[:, None]
            else:
                out = layers[0](out)
        return self.schema.representative(group).distribution(out.float())

    def answer(self, codes: Latents[Tensor]) -> LabelDistribution:
        """q(y | codes) of all labels, each from the block of its own."""
        own = [codes[codes.blocks.of(label.name).name] for label in self.schema]
        return self.schema.distribution(torch.cat([f(code).float() for f, code in zip(self.networks, own, strict=True)], -1))


def evidence(
    prior: LabelPrior,
    readers: LabelReaders,
    group: Sequence[int],
    codes: Tensor,
    p_y: LabelDistribution,
    generator: torch.Generator,
) -> Tensor:
    """E_q(y | code)[log p(code | y) + log p(y) - log q(y | code)]: a lower bound of log p(code), the label unknown.

    The sum over a discrete label's values is exact; for a number it is one reparameterised draw.

    Args:
        prior: p(code | y).
        readers: q(y | code).
        group: positions of labels that are alike.
        codes: ``(n, labels, k, size)``.
        p_y: p(y) of these labels (:meth:`LabelDistribution.stacked`), without a dimension for samples.
        generator: of the draw.

    Returns:
        Nats, ``(n, labels, k)``.
    """
    answer = readers.read(group, codes)
    if prior.schema.labels[group[0]].discrete:
        log_q = answer.log_table(0)
        return (log_q.exp() * (prior.log_joint(group, codes, p_y.log_table(0)) - log_q)).sum(-1)
    mean, log_scale = answer.parameters.unbind(-1)
    y = mean + log_scale.exp() * torch.empty_like(mean).normal_(generator=generator)
    p = p_y.schema.distribution(p_y.parameters[:, None])  # a dimension for k
    return prior.given(group, y).log_prob(codes) + p.log_prob_of(0, y) - answer.log_prob_of(0, y)


def cross_entropy(answer: LabelDistribution, values: Tensor, observed: Tensor) -> Tensor:
    """Cross entropy of an answer in nats, averaged over the samples that have each label, ``(labels,)``."""
    return -torch.where(observed, answer.log_prob(values), 0.0).sum(0) / observed.sum(0).clamp_min(1)


# -- attribute vectors ------------------------------------------------------------------------------------------------


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
            z = encode(batch).cpu().double()
            seen = batch.observed.cpu()[:, owner].double()
            f = self.schema.features(batch.values).cpu().double() * seen
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


# -- discriminators ---------------------------------------------------------------------------------------------------


def needs_numbers(model: str, likelihood: Likelihood) -> None:
    """Raises UserError where samples are not numbers that a discriminator could compare with generated ones."""
    if not likelihood.additive:
        raise UserError(
            f"{model} has a discriminator, which reads samples as numbers; counts and tables need a model without one "
            "(labelspace models)"
        )


class SpectralFeatures(nn.Module):
    """Features h(x) of samples, ``(n, 128)``, by a spectrally normalised network.

    Every matrix and every kernel, seen as a matrix, has spectral norm 1, so h changes at most as fast as x for vectors, and at
    most three times as fast for images (their first kernel is 3x3 and overlaps itself; all others are 1x1).

    Args:
        shape: shape of one sample.
        network: size of its trunk.
    """

    def __init__(self, shape: tuple[int, ...], network: networks.Network) -> None:
        super().__init__()
        # relu has Lipschitz constant 1; and zeros around an image add nothing, where a repeated border would count twice
        trunk, features = networks.encoder(shape, replace(network, activation="relu"), "constant")
        for module in trunk.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                spectral_norm(module)
        self.trunk = trunk
        self.hidden = nn.Sequential(spectral_norm(nn.Linear(features, 128)), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.hidden(self.trunk(x))


class Discriminator(nn.Module):
    """A projection discriminator (Miyato & Koyama 2018): D(x, y) = f(h(x)) + <W y, h(x)>, spectrally normalised throughout.

    Args:
        shape: shape of one sample.
        width: label features ``y``; 0 makes it unconditional.
        network: size of its trunk.
    """

    def __init__(self, shape: tuple[int, ...], width: int, network: networks.Network) -> None:
        super().__init__()
        self.features = SpectralFeatures(shape, network)
        self.out = spectral_norm(nn.Linear(128, 1))
        self.projection = spectral_norm(nn.Linear(width, 128, bias=False)) if width else None

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """How real samples look under label features ``y (n, width)``; ``(n,)``."""
        h = self.features(x)
        score = self.out(h)[:, 0]
        if self.projection is not None and y is not None:
            score = score + (self.projection(y.to(h.dtype)) * h).sum(1)
        return score.float()


def hinge(real: Tensor, *fakes: Tensor) -> Tensor:
    """The discriminator's hinge loss, averaged over the batch: mean relu(1 - real) plus, for each, mean relu(1 + fake)."""
    loss = F.relu(1 - real).mean()
    for fake in fakes:
        loss = loss + F.relu(1 + fake).mean()
    return loss
