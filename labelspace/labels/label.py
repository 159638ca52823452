"""What labels of all kinds have in common: the contract that each kind fulfils in a file of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from labelspace.errors import UserError
from labelspace.labels.marks import is_missing
from labelspace.precision import as_double_on_cpu

Kind = Literal["binary", "categorical", "continuous"]


@dataclass(frozen=True)
class Label:
    """One label: its name, how its values are written and encoded, and what a distribution over them is.

    A distribution is given by raw network outputs ``(..., parameters)``; :meth:`log_table` says what they stand for,
    and what follows from it is written here for every label of finitely many values. A continuous label has its own.

    Attributes:
        name: what users call it.
        kind: "binary", "categorical" or "continuous".
        discrete: whether the label takes one of finitely many values.
        values: the names of a discrete label's values; empty for a continuous label.
        classes: the values of a categorical label; empty for the others.
        mean, scale: what standardises a continuous label; 0 and 1 for the others.
        origin: what the values of a continuous label are counted from.
        features: numbers that encode one value.
        parameters: numbers that describe a distribution over the label.
    """

    name: str
    kind: ClassVar[Kind]
    discrete: ClassVar[bool] = True
    values: ClassVar[tuple[str, ...]] = ()
    classes: ClassVar[tuple[str, ...]] = ()
    mean: ClassVar[float] = 0.0
    scale: ClassVar[float] = 1.0
    origin: ClassVar[float] = 0.0
    features: ClassVar[int] = 1
    parameters: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not self.name or self.name != self.name.strip() or any(c in self.name for c in "=,:\n\r"):
            raise UserError(f"label name {self.name!r} is empty, has blanks around it, or holds one of '= , :' or a line break")

    # -- what users write --------------------------------------------------------------------------------------------

    def parse(self, given: Any) -> float:
        """One entry as a number, ``nan`` when it is missing (None, NaN, empty, "NA", ...).

        Raises:
            UserError: the entry is not a value of this label.
        """
        if given is None or (isinstance(given, float) and math.isnan(given)):
            return math.nan
        text = str(given).strip()
        if is_missing(text, self.values):
            return math.nan
        return self._parse(given, text)

    def format(self, value: float) -> Any:
        """The inverse of :meth:`parse`: 0/1, the class name, the number, or None for ``nan``."""
        return None if math.isnan(value) else self._format(value)

    def _parse(self, given: Any, text: str) -> float:
        raise NotImplementedError

    def _format(self, value: float) -> Any:
        raise NotImplementedError

    def to_row(self) -> dict[str, Any]:
        """The label as plain data, ready for JSON."""
        return {"name": self.name, "kind": self.kind, "classes": self.classes, "mean": self.mean, "scale": self.scale}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Label:
        """The inverse of :meth:`to_row` for labels of this kind."""
        return cls(str(row["name"]))

    # -- what networks read ------------------------------------------------------------------------------------------

    def standardised(self) -> Label:
        """The label whose values are this one's standardised ones."""
        return self

    def to_features(self, values: Tensor) -> Tensor:
        """Encodes values for a network, ``(...) -> (..., features)``."""
        raise NotImplementedError

    def candidates(self, device: torch.device | None = None) -> Tensor:
        """Values that the label is tried at."""
        return torch.arange(len(self.values), dtype=torch.float32, device=device)

    def frequencies(self, values: np.ndarray) -> list[float]:
        """The frequency of each value among ``values (n,)``, with add-half smoothing."""
        counts = np.bincount(values.astype(int), minlength=len(self.values)) + 0.5
        return [float(c) for c in counts / counts.sum()]

    def prior_features(self, frequencies: Sequence[float]) -> list[float]:
        """The mean of :meth:`to_features` under frequencies."""
        return list(frequencies[-self.features :])  # of a binary label that of its second value

    def prior_parameters(self, frequencies: Sequence[float]) -> list[float]:
        """Raw parameters of the distribution that has these frequencies."""
        raise NotImplementedError

    # -- distributions, given by raw parameters (..., parameters) -------------------------------------------------------

    def bounded(self, parameters: Tensor) -> Tensor:
        """The parameters within what they may be."""
        return parameters

    def tempered(self, parameters: Tensor, log_temperature: Tensor) -> Tensor:
        """Parameters of the distribution at a temperature, whose logarithm is ``(..., 1)``: above 1 it is less sure."""
        return parameters * torch.exp(-log_temperature)

    def log_table(self, parameters: Tensor) -> Tensor:
        """Log-probabilities of all values, ``(..., values)``."""
        raise NotImplementedError

    def log_prob(self, parameters: Tensor, values: Tensor) -> Tensor:
        """Log-probability (nats) of values, of any dimensions that fit those of the parameters."""
        table = self.log_table(parameters)
        shape = torch.broadcast_shapes(values.shape, table.shape[:-1])
        return table.expand(*shape, -1).gather(-1, values.long().expand(shape)[..., None])[..., 0]

    def entropy(self, parameters: Tensor) -> Tensor:
        """Nats, ``(...)``."""
        log_p = self.log_table(parameters)
        return -(log_p.exp() * log_p).sum(-1)

    def kl(self, parameters: Tensor, other: Tensor) -> Tensor:
        """KL from the distribution of ``parameters`` to that of ``other`` in nats, ``(...)``; shapes broadcast."""
        log_p, log_q = self.log_table(parameters), self.log_table(other)
        return (log_p.exp() * (log_p - log_q)).sum(-1)

    def mode(self, parameters: Tensor) -> Tensor:
        """The most probable value, ``(...)``."""
        return self.log_table(parameters).argmax(-1).to(parameters.dtype)

    def sample(self, parameters: Tensor, generator: torch.Generator | None) -> Tensor:
        """One draw, ``(n,)``, for ``parameters (n, parameters)``."""
        return torch.multinomial(self.log_table(parameters).exp(), 1, generator=generator)[:, 0].to(parameters.dtype)

    def relaxed(self, parameters: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
        """One draw as features ``(n, features)`` with a gradient, for ``parameters (n, parameters)``."""
        uniform = torch.rand((len(parameters), len(self.values)), generator=generator, device=parameters.device)
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-6, 1 - 1e-6)))
        return F.softmax((self.log_table(parameters) + gumbel) / temperature, -1)[:, -self.features :]

    def table(self, parameters: Tensor) -> dict[str, np.ndarray]:
        """Value name -> probability ``(n,)``."""
        p = as_double_on_cpu(self.log_table(parameters).exp().detach()).numpy()
        return {name: p[:, k] for k, name in enumerate(self.values)}

    def from_log_table(self, log_p: Tensor) -> Tensor:
        """The inverse of :meth:`log_table`, ``(n, values) -> (n, parameters)``; it need not be normalised."""
        return log_p

    def moment_matched(self, values: Tensor, log_p: Tensor) -> Tensor:
        """Raw parameters ``(n, parameters)`` of the distribution that weighted values have.

        Args:
            values: ``(m,)``.
            log_p: ``(n, m)`` normalised log-weights.
        """
        matches = torch.stack([values == k for k in range(len(self.values))])  # (values, m)
        return self.from_log_table(torch.stack([torch.where(match, log_p, -1e4).logsumexp(-1) for match in matches], -1))
