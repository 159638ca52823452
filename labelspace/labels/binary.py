"""Binary labels: a Bernoulli distribution with one logit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from labelspace.errors import UserError
from labelspace.labels.label import Label

_TRUE = {"1", "1.0", "true", "yes", "on", "y", "t"}
_FALSE = {"0", "0.0", "false", "no", "off", "n", "f"}


@dataclass(frozen=True)
class Binary(Label):
    """A label that is off (0) or on (1); its feature is its value."""

    kind = "binary"
    values = ("0", "1")

    def _parse(self, given: Any, text: str) -> float:
        if text.lower() in _TRUE:
            return 1.0
        if text.lower() in _FALSE:
            return 0.0
        raise UserError(f"label {self.name!r} is binary and cannot be {text!r}; expected 0 or 1")

    def _format(self, value: float) -> int:
        return int(value)

    def to_features(self, values: Tensor) -> Tensor:
        return values[..., None]

    def prior_parameters(self, frequencies: Sequence[float]) -> list[float]:
        return [math.log(frequencies[1]) - math.log(frequencies[0])]

    def log_table(self, logits: Tensor) -> Tensor:
        return torch.cat([F.logsigmoid(-logits), F.logsigmoid(logits)], -1)

    def log_prob(self, logits: Tensor, values: Tensor) -> Tensor:
        return F.logsigmoid((2 * values - 1) * logits[..., 0])

    def kl(self, logits: Tensor, other: Tensor) -> Tensor:
        own, other = logits[..., 0], other[..., 0]
        return torch.sigmoid(own) * (own - other) + F.softplus(other) - F.softplus(own)

    def from_log_table(self, log_p: Tensor) -> Tensor:
        return log_p[:, 1:] - log_p[:, :1]


def binary(name: str) -> Binary:
    """A label that is off (0) or on (1)."""
    return Binary(name)
