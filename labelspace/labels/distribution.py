"""Independent distributions over the labels of a schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from labelspace.labels.label import Label

if TYPE_CHECKING:
    from labelspace.labels.schema import Schema


class LabelDistribution:
    """Independent distributions over the labels of a schema: Bernoulli, categorical, or Gaussian of the standardised value.

    Args:
        schema: the labels.
        parameters: ``(n, schema.parameters)``: per label a logit, class logits, or mean and log-scale.
    """

    def __init__(self, schema: Schema, parameters: Tensor) -> None:
        self.schema = schema
        self._empty = parameters[..., :0]
        parts = parameters.split([label.parameters for label in schema.labels], dim=-1)
        self._parts = [label.bounded(part) for label, part in zip(schema.labels, parts, strict=True)]

    def _each(self) -> Iterator[tuple[Label, Tensor]]:
        return zip(self.schema.labels, self._parts, strict=True)

    def _stacked(self, columns: list[Tensor]) -> Tensor:
        return torch.stack(columns, -1) if columns else self._empty

    @property
    def parameters(self) -> Tensor:
        """Raw parameters, ``(n, schema.parameters)``: what makes the distributions again."""
        return torch.cat(self._parts, -1)

    def rows(self, rows: Tensor | slice) -> LabelDistribution:
        """The distributions of some samples: anything that indexes the first dimension."""
        return LabelDistribution(self.schema, torch.cat([part[rows] for part in self._parts], -1))

    def expand(self, n: int) -> LabelDistribution:
        """The same distributions for each of ``n`` samples, a dimension before the others."""
        return LabelDistribution(self.schema, self.parameters.expand(n, *self.parameters.shape))

    def marginal(self, i: int) -> LabelDistribution:
        """The distribution of one label alone, by its position."""
        return LabelDistribution(self.schema.select([self.schema.names[i]]), self._parts[i])

    def stacked(self, group: Sequence[int]) -> LabelDistribution:
        """The distributions of a group of labels (:meth:`Schema.grouped`) as those of one label.

        A dimension for the labels comes before that of the parameters. Values of continuous labels are standardised ones.
        """
        return LabelDistribution(self.schema.representative(group), torch.stack([self._parts[i] for i in group], -2))

    def log_table(self, i: int) -> Tensor:
        """Log-probabilities of all values of a discrete label, by its position, ``(..., values)``."""
        return self.schema.labels[i].log_table(self._parts[i])

    def log_prob(self, values: Tensor) -> Tensor:
        """Log-probability (nats; density of the standardised value for continuous labels) of ``(n, labels)`` values."""
        return self._stacked([label.log_prob(part, values[:, i]) for i, (label, part) in enumerate(self._each())])

    def log_prob_of(self, i: int, values: Tensor) -> Tensor:
        """Log-probability of one label's values, by its position; any dimensions that fit those of the parameters."""
        return self.schema.labels[i].log_prob(self._parts[i], values)

    def entropy(self) -> Tensor:
        """Entropy (nats) per label, ``(n, labels)``."""
        return self._stacked([label.entropy(part) for label, part in self._each()])

    def kl_to(self, other: LabelDistribution) -> Tensor:
        """KL(self || other) in nats per label, ``(n, labels)``; shapes broadcast."""
        return self._stacked([label.kl(part, q) for (label, part), q in zip(self._each(), other._parts, strict=True)])

    def mode(self) -> Tensor:
        """The most probable values, ``(n, labels)``."""
        return self._stacked([label.mode(part) for label, part in self._each()])

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw of the values, ``(n, labels)``."""
        return self._stacked([label.sample(part, generator) for label, part in self._each()])

    def relaxed(self, temperature: float, generator: torch.Generator | None = None) -> Tensor:
        """One draw as label features ``(n, width)`` with a gradient: a softened draw for discrete labels (the concrete
        distribution of Maddison et al. 2017), a reparameterised one for continuous labels."""
        return torch.cat([label.relaxed(part, temperature, generator) for label, part in self._each()], -1)

    def table(self) -> dict[str, dict[str, np.ndarray]]:
        """Label name -> {value name: probability ``(n,)``}, or {"mean", "sd"} in the label's own unit if continuous."""
        return {label.name: label.table(part) for label, part in self._each()}
