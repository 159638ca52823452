"""Devices, precision, and what several processes have to agree on."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from labelspace.training.options import Options


def precision_for(options: Options) -> str:
    """The precision that "auto" means on this machine."""
    if options.precision != "auto":
        return options.precision
    on_gpu = options.accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()
    if on_gpu:
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    native = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return "bf16-mixed" if any(check() for check in native if check) else "32-true"


def launch(options: Options, images: bool) -> Fabric:
    """Devices and precision for training on images or vectors, with all processes under way."""
    # Vectors go through small networks, where casting costs more than bfloat16 saves.
    precision = precision_for(options) if images or options.precision != "auto" else "32-true"
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # we say ourselves what is to be said
    fabric = Fabric(accelerator=options.accelerator, devices=options.devices, precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    return fabric


# Parameters of mallopt, and what they are set to: how much is kept, from what size on memory is mapped, and what is fetched.
_TRIM, _TOP, _MAP = -1, -2, -3
_HELD = {_MAP: 32 << 20, _TRIM: 2**31 - 1, _TOP: 64 << 20}
_RETURNED = {_TRIM: 64 << 20, _TOP: 0}


@contextmanager
def held_memory(device: torch.device) -> Iterator[None]:
    """Inside, memory that is freed on the CPU stays with the process.

    A step frees what the next one needs. The C library of Linux gives it back to the system meanwhile, and the system hands
    it out again page by page. At the end it is given back. Elsewhere, and under another allocator, this does nothing.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" and device.type == "cpu" else None
    if not hasattr(libc, "mallopt"):
        yield
        return
    assert libc is not None
    for what, value in _HELD.items():
        libc.mallopt(what, value)
    try:
        yield
    finally:
        for what, value in _RETURNED.items():
            libc.mallopt(what, value)
        libc.malloc_trim(0)


@contextmanager
def compiled(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Inside, the model's networks run compiled, where that is wanted; what a model does beside them stays as it is."""
    networks = [child for child in model.children() if isinstance(child, nn.Sequential)] if wanted else []
    for network in networks:
        network.compile()
    try:
        yield
    finally:
        for network in networks:
            network._compiled_call_impl = None  # there is no public way back


def average_gradients(fabric: Fabric, parameters: list[nn.Parameter]) -> None:
    """Averages gradients over processes, in one message a player."""
    if fabric.world_size == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat: Tensor = fabric.all_reduce(torch.cat([g.flatten() for g in gradients]))  # type: ignore[assignment]
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def average_terms(fabric: Fabric, sums: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """Terms per sample, from sums over this process's samples and their number."""
    if fabric.world_size > 1:
        total = float(fabric.all_reduce(torch.tensor(float(count)), reduce_op="sum"))  # type: ignore[arg-type]
        return {name: fabric.all_reduce(s, reduce_op="sum") / total for name, s in sums.items()}  # type: ignore[operator]
    return {name: s / count for name, s in sums.items()}


def seed(seed: int, stream: int, rank: int) -> int:
    """Different numbers for different streams and ranks of one seed."""
    return (seed * 1_000_003 + stream * 7919 + rank) % (2**63)
