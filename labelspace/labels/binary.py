"""Binary labels: a Bernoulli distribution with one logit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from labelspace.errors import UserError
from labelspace.labels.label import Label

BOOLEANS = (("0", "1"), ("false", "true"), ("no", "yes"), ("off", "on"), ("n", "y"), ("f", "t"))
"""How off and on are written, in pairs."""
_OFF, _ON = ({pair[i] for pair in BOOLEANS} for i in (0, 1))


@dataclass(frozen=True)
class Binary(Label):
    """A label that is off (0) or on (1); its feature is its value.

    Attributes:
        off, on: how the data write it.
    """

    off: str = "0"
    on: str = "1"
    kind = "binary"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.off or not self.on or self.off == self.on:
            raise UserError(f"binary label {self.name!r} needs two different words, got {self.off!r} and {self.on!r}")

    @property
    def values(self) -> tuple[str, str]:
        return self.off, self.on

    def to_row(self) -> dict[str, Any]:
        words = {} if self.values == ("0", "1") else {"values": [self.off, self.on]}
        return super().to_row() | words

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Binary:
        off, on = row.get("values", ("0", "1"))
        return cls(str(row["name"]), str(off), str(on))

    def _parse(self, given: Any, text: str) -> float:
        if text in (self.off, self.on):
            return float(text == self.on)
        word = str(int(float(text))) if text in ("0.0", "1.0") else text.lower()
        if word in _ON:
            return 1.0
        if word in _OFF:
            return 0.0
        raise UserError(f"label {self.name!r} is binary and cannot be {text!r}; expected {self.off} or {self.on}")

    def _format(self, value: float) -> int | str:
        return int(value) if self.values == ("0", "1") else self.values[int(value)]

    def to_features(self, values: Tensor) -> Tensor:
        return values[..., None]

    def prior_parameters(self, frequencies: Sequence[float]) -> list[float]:
        return [math.log(frequencies[1]) - math.log(frequencies[0])]

    def log_table(self, logits: Tensor) -> Tensor:
        return torch.cat([F.logsigmoid(-logits), F.logsigmoid(logits)], -1)

    def log_prob(self, logits: Tensor, values: Tensor) -> Tensor:
        return F.logsigmoid((2 * values - 1) * logits.squeeze(-1))

    def kl(self, logits: Tensor, other: Tensor) -> Tensor:
        own, other = logits.squeeze(-1), other.squeeze(-1)
        return torch.sigmoid(own) * (own - other) + F.softplus(other) - F.softplus(own)

    def from_log_table(self, log_p: Tensor) -> Tensor:
        return log_p[:, 1:] - log_p[:, :1]


def binary(name: str, off: str = "0", on: str = "1") -> Binary:
    """A label that is off (0) or on (1), and how the data write that."""
    return Binary(name, off, on)
