"""Independent distributions over the labels of a schema."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from labelspace.labels.label import Label

if TYPE_CHECKING:
    from labelspace.labels.schema import Schema


class LabelDistribution:
    """Independent distributions over the labels of a schema: Bernoulli, categorical, or Gaussian of the standardised value.

    What is asked of all labels is computed for those that are alike (:attr:`Schema.groups`) at once.

    Args:
        schema: the labels.
        parameters: ``(..., schema.parameters)``, of any leading dimensions: per label a logit, class logits, or mean and
            log-scale.
    """

    def __init__(self, schema: Schema, parameters: Tensor) -> None:
        self.schema, self._raw = schema, parameters

    def _grouped(self) -> list[Tensor]:
        """Parameters of each group of labels, ``(..., labels of the group, parameters of one)``."""
        parts = self.schema.split_groups(self._raw, [label.parameters for label in self.schema])
        return [label.bounded(part) for label, part in zip(self.schema.representatives, parts, strict=True)]

    def _of_all(self, what: Callable[..., Tensor], *more: Sequence[Tensor]) -> Tensor:
        """``what(a group's label, its parameters, ...)`` of all groups, ``(..., labels of the group)`` each, label by label."""
        rows = zip(self.schema.representatives, self._grouped(), *more, strict=True)
        return self.schema.join_columns([what(*row) for row in rows], self._raw)

    @property
    def parameters(self) -> Tensor:
        """Raw parameters, ``(..., schema.parameters)``: what makes the distributions again."""
        return self.schema.join_groups(self._grouped(), self._raw)

    def rows(self, rows: Tensor | slice) -> LabelDistribution:
        """The distributions of some samples: anything that indexes the first dimension."""
        return LabelDistribution(self.schema, self._raw[rows])

    def expand(self, n: int) -> LabelDistribution:
        """The same distributions for each of ``n`` samples, a dimension before the others."""
        return LabelDistribution(self.schema, self._raw.expand(n, *self._raw.shape))

    def tempered(self, log_temperature: Tensor) -> LabelDistribution:
        """The distributions at temperatures whose logarithms are ``(labels,)``; see :meth:`Label.tempered`."""
        logs = self.schema.split_groups(log_temperature, [1] * len(self.schema))
        rows = zip(self.schema.representatives, self._grouped(), logs, strict=True)
        return LabelDistribution(
            self.schema, self.schema.join_groups([label.tempered(p, t) for label, p, t in rows], self._raw)
        )

    def marginal(self, i: int) -> LabelDistribution:
        """The distribution of one label alone, by its position."""
        return LabelDistribution(self.schema.select([self.schema.names[i]]), self._own(i)[1])

    def stacked(self, group: Sequence[int]) -> LabelDistribution:
        """The distributions of a group of labels (:meth:`Schema.grouped`) as those of one label.

        A dimension for the labels comes before that of the parameters. Values of continuous labels are standardised ones.
        """
        return LabelDistribution(self.schema.representative(group), torch.stack([self._own(i)[1] for i in group], -2))

    def _own(self, i: int) -> tuple[Label, Tensor]:
        """A label and its own parameters, by its position."""
        label, first = self.schema.labels[i], sum(other.parameters for other in self.schema.labels[:i])
        return label, label.bounded(self._raw[..., first : first + label.parameters])

    def log_table(self, i: int) -> Tensor:
        """Log-probabilities of all values of a discrete label, by its position, ``(..., values)``."""
        label, part = self._own(i)
        return label.log_table(part)

    def log_prob(self, values: Tensor) -> Tensor:
        """Log-probability (nats; density of the standardised value for continuous labels) of ``(..., labels)`` values."""
        own = self.schema.split_columns(self.schema.standardised(values))
        return self._of_all(lambda label, part, v: label.log_prob(part, v), own)

    def log_prob_of(self, i: int, values: Tensor) -> Tensor:
        """Log-probability of one label's values, by its position; any dimensions that fit those of the parameters."""
        label, part = self._own(i)
        return label.log_prob(part, values)

    def entropy(self) -> Tensor:
        """Entropy (nats) per label, ``(..., labels)``."""
        return self._of_all(lambda label, part: label.entropy(part))

    def kl_to(self, other: LabelDistribution) -> Tensor:
        """KL(self || other) in nats per label, ``(..., labels)``; shapes broadcast."""
        return self._of_all(lambda label, part, q: label.kl(part, q), other._grouped())

    def mode(self) -> Tensor:
        """The most probable values, ``(..., labels)``."""
        return self.schema.unstandardised(self._of_all(lambda label, part: label.mode(part)))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw of the values, ``(n, labels)``."""

        def draw(label: Label, part: Tensor) -> Tensor:
            return label.sample(part.flatten(0, -2), generator).view(part.shape[:-1])

        return self.schema.unstandardised(self._of_all(draw))

    def relaxed(self, temperature: float, generator: torch.Generator | None = None) -> Tensor:
        """One draw as label features ``(n, width)`` with a gradient: a softened draw for discrete labels (the concrete
        distribution of Maddison et al. 2017), a reparameterised one for continuous labels."""
        parts = [
            label.relaxed(part.flatten(0, -2), temperature, generator).view(*part.shape[:-1], -1)
            for label, part in zip(self.schema.representatives, self._grouped(), strict=True)
        ]
        return self.schema.join_groups(parts, self._raw)

    def table(self) -> dict[str, dict[str, np.ndarray]]:
        """Label name -> {value name: probability ``(n,)``}, or {"mean", "sd"} in the label's own unit if continuous."""
        found: dict[str, Any] = {}
        for i in range(len(self.schema)):
            label, part = self._own(i)
            found[label.name] = label.table(part)
        return found
