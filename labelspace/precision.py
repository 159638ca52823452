"""Where the digits of float32 are too few: some devices have no more."""

from __future__ import annotations

import torch
from torch import Tensor

_WITHOUT_DOUBLE = ("mps",)  # kinds of devices that have no float64


def as_double_on_cpu(x: Tensor) -> Tensor:
    """A tensor of any device as float64 on the CPU, in this order: some devices have no float64."""
    return x.cpu().double()


def widest(device: torch.device) -> torch.dtype:
    """The type of most digits that a device computes in: float64 nearly everywhere."""
    return torch.float32 if device.type in _WITHOUT_DOUBLE else torch.float64
