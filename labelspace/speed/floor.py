"""The arithmetic floor: how fast a step could be if the machine did nothing but the multiplications it needs."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

_SIDE, _SECONDS = 2048, 0.5


def operations(step: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products and convolutions of a step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def copy_rate(seconds: float = _SECONDS) -> float:
    """Bytes a second that are read and written where 256 MB are copied, the best of several."""
    source = torch.ones(2**26)
    target = source.clone()  # memory that is there: the first write of a page is the system's work
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        target.copy_(source)
        best = min(best, time.perf_counter() - began)
    return 2 * source.numel() * source.element_size() / best


def multiply_rate(dtype: torch.dtype, seconds: float = _SECONDS, side: int = 0) -> float:
    """Floating-point operations a second of products of square matrices of a side, 2048 by default, the best of several."""
    side = side or _SIDE
    a, b = (torch.randn(side, side).to(dtype) for _ in range(2))
    out = a @ b  # the first product chooses and prepares its kernel
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        torch.mm(a, b, out=out)
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best
