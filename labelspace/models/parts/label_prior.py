"""p(code of a label's block | label), q(label | code), and what the two say of a code whose label is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelspace.blocks import Block, Latents
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import LabelDistribution, Schema
from labelspace.models import networks


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


class LabelClassifiers(nn.Module):
    """q(label | code of its block), label by label.

    Args:
        schema: the labels.
        sizes: coordinates of each label's block.
        hidden: hidden units of each classifier; 0 makes them linear.

    Attributes:
        groups: positions of the labels that are read together.
    """

    def __init__(self, schema: Schema, sizes: Sequence[int], hidden: Sequence[int]) -> None:
        super().__init__()
        self.schema = schema
        self.groups = schema.grouped(sizes, hidden)  # labels whose classifiers are of one build
        self.networks = nn.ModuleList(
            networks.mlp(size, [units] if units else [], label.parameters)
            for label, size, units in zip(schema, sizes, hidden, strict=True)
        )

    def read(self, group: Sequence[int], codes: Tensor) -> LabelDistribution:
        """q(label | code) of labels that are alike (:meth:`Schema.grouped`), for ``codes (n, labels, k, size)``."""
        classifiers, out = [list(self.networks[i]) for i in group], codes  # type: ignore[call-overload]
        for layers in zip(*classifiers, strict=True):
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


def log_evidence_bound(
    prior: LabelPrior,
    classifiers: LabelClassifiers,
    group: Sequence[int],
    codes: Tensor,
    p_y: LabelDistribution,
    generator: torch.Generator,
) -> Tensor:
    """E_q(y | code)[log p(code | y) + log p(y) - log q(y | code)]: a lower bound of log p(code), the label unknown.

    The sum over a discrete label's values is exact; for a number it is one reparameterised draw.

    Args:
        prior: p(code | y).
        classifiers: q(y | code).
        group: positions of labels that are alike.
        codes: ``(n, labels, k, size)``.
        p_y: p(y) of these labels (:meth:`LabelDistribution.stacked`), without a dimension for samples.
        generator: of the draw.

    Returns:
        Nats, ``(n, labels, k)``.
    """
    answer = classifiers.read(group, codes)
    if prior.schema.labels[group[0]].discrete:
        log_q = answer.log_table(0)
        return (log_q.exp() * (prior.log_joint(group, codes, p_y.log_table(0)) - log_q)).sum(-1)
    mean, log_scale = answer.parameters.unbind(-1)
    y = mean + log_scale.exp() * torch.empty_like(mean).normal_(generator=generator)
    p = p_y.schema.distribution(p_y.parameters[:, None])  # a dimension for k
    return prior.given(group, y).log_prob(codes) + p.log_prob_of(0, y) - answer.log_prob_of(0, y)
