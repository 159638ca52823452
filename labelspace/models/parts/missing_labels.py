"""Labels that are not known: every way of filling them in, and what a bound of log p(x | y) says of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from labelspace.data.batches import Batch
from labelspace.labels import LabelDistribution, Schema


def posterior_from_bounds(
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
        samples: how many samples there are.
    """

    rows: Tensor
    values: Tensor
    weight: Tensor
    drawn: Tensor
    samples: int

    def mean(self, term: Tensor) -> Tensor:
        """Of a term ``(m, ...)`` the mean over samples, each counted once for all its ways, ``(...)``."""
        return torch.tensordot(self.weight, term, 1) / self.samples

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
        return cls(rows, values, weight, missing & ~summed, len(batch))
