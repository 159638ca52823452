"""Continuous labels: a Gaussian over the standardised value, with a mean and a log-scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelspace.errors import UserError
from labelspace.labels.label import Label
from labelspace.precision import as_double_on_cpu

_LARGEST, _EPSILON = float(np.finfo(np.float32).max), float(np.finfo(np.float32).eps)
_LEAST_LOG_SCALE = -4.0  # of a distribution, in the label's own standard deviations


@dataclass(frozen=True)
class Continuous(Label):
    """A label that is a number; its feature is ``(value - mean) / scale``.

    Attributes:
        mean, scale: what standardises it.
        origin: what values are counted from: numbers far from zero would lose their differences in single precision. People
            see it added; everything else here is without it.
    """

    mean: float = 0.0
    scale: float = 1.0
    origin: float = 0.0
    kind = "continuous"
    discrete = False
    parameters = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.mean) and 0 < self.scale < math.inf):
            raise UserError(
                f"continuous label {self.name!r} needs a finite mean and a positive scale, "
                f"got mean {self.mean} and scale {self.scale}"
            )

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Continuous:
        return cls(str(row["name"]), float(row["mean"]), float(row["scale"]), float(row.get("origin", 0.0)))

    def to_row(self) -> dict[str, Any]:
        return super().to_row() | ({"origin": self.origin} if self.origin else {})

    def _parse(self, given: Any, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise UserError(f"label {self.name!r} is continuous and cannot be {text!r}; expected a number") from None
        if not abs(number - self.origin) <= _LARGEST:
            raise UserError(f"label {self.name!r} is continuous and cannot be {text!r}; expected a finite number")
        return number - self.origin

    def _format(self, value: float) -> float:
        return float(str(np.float32(value))) + self.origin  # the shortest number that is the same in single precision

    def standardised(self) -> Continuous:
        return Continuous(self.name)

    def to_features(self, values: Tensor) -> Tensor:
        return ((values - self.mean) / self.scale)[..., None]

    def candidates(self, device: torch.device | None = None) -> Tensor:
        """13 points within three scales of the mean."""
        return self.mean + self.scale * torch.linspace(-3, 3, 13, device=device)

    def frequencies(self, values: np.ndarray) -> list[float]:
        return []

    def prior_features(self, frequencies: Sequence[float]) -> list[float]:
        return [0.0]

    def prior_parameters(self, frequencies: Sequence[float]) -> list[float]:
        return [0.0, 0.0]

    def bounded(self, parameters: Tensor) -> Tensor:
        """A density would have no bound where a few samples can be learnt by heart."""
        return torch.cat([parameters[..., :1], parameters[..., 1:].clamp_min(_LEAST_LOG_SCALE)], -1)

    def tempered(self, parameters: Tensor, log_temperature: Tensor) -> Tensor:
        return torch.cat([parameters[..., :1], parameters[..., 1:] + log_temperature], -1)

    def log_prob(self, parameters: Tensor, values: Tensor) -> Tensor:
        """Log-density (nats) of the standardised value."""
        mean, log_scale = parameters.unbind(-1)
        z = ((values - self.mean) / self.scale - mean) * torch.exp(-log_scale)
        return -0.5 * z**2 - log_scale - 0.5 * math.log(2 * math.pi)

    def entropy(self, parameters: Tensor) -> Tensor:
        return parameters[..., 1] + 0.5 * math.log(2 * math.pi * math.e)

    def kl(self, parameters: Tensor, other: Tensor) -> Tensor:
        (m, s), (m2, s2) = parameters.unbind(-1), other.unbind(-1)
        return s2 - s + (torch.exp(2 * s) + (m - m2) ** 2) / (2 * torch.exp(2 * s2)) - 0.5

    def mode(self, parameters: Tensor) -> Tensor:
        return parameters[..., 0] * self.scale + self.mean

    def sample(self, parameters: Tensor, generator: torch.Generator | None) -> Tensor:
        return self._draw(parameters, generator) * self.scale + self.mean

    def relaxed(self, parameters: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
        return self._draw(parameters, generator)[:, None]

    def _draw(self, parameters: Tensor, generator: torch.Generator | None) -> Tensor:
        """A reparameterised draw of the standardised value, ``(n,)``."""
        noise = torch.randn(len(parameters), generator=generator, device=parameters.device, dtype=parameters.dtype)
        return parameters[:, 0] + noise * parameters[:, 1].exp()

    def table(self, parameters: Tensor) -> dict[str, np.ndarray]:
        """The mean and the sd, ``(n,)``, in the label's own unit."""
        mean, log_scale = as_double_on_cpu(parameters.detach()).numpy().T
        return {"mean": mean * self.scale + self.mean + self.origin, "sd": np.exp(log_scale) * self.scale}

    def moment_matched(self, values: Tensor, log_p: Tensor) -> Tensor:
        standard = (values - self.mean) / self.scale
        mean = log_p.exp() @ standard
        variance = (log_p.exp() @ standard**2 - mean**2).clamp_min(1e-4)
        return torch.stack([mean, 0.5 * variance.log()], -1)


def continuous(name: str, mean: float = 0.0, scale: float = 1.0, origin: float = 0.0) -> Continuous:
    """A label that is a number; ``mean`` and ``scale`` (a standard deviation) standardise it inside a model."""
    return Continuous(name, float(mean), float(scale), float(origin))


def origin_of(numbers: np.ndarray) -> float:
    """What numbers ``(n,)`` are counted from so that single precision keeps their differences; 0 where it does anyway.

    NaN is missing. It does where it tells apart numbers a ten-thousandth of their standard deviation from each other.
    """
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return 0.0
    centre, spread = float(np.mean(known)), float(np.std(known))
    if not spread or abs(centre) * _EPSILON <= 1e-4 * spread:
        return 0.0
    unit = 1.0 if 1e-3 <= spread < 1 else 10.0 ** np.floor(np.log10(spread))  # whole numbers stay whole
    return float(np.round(centre / unit) * unit)
