"""Networks that see a batch piece by piece, so that it fits into memory whatever its size.

A step's memory is what networks keep of a batch for the backward pass. In pieces they keep nothing: of each piece everything is
computed once more when its gradient comes. All else, what compares the samples of a batch with each other included, still sees
the batch as a whole, so the objective is the same and gradients are the same sums, up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class _InPieces(torch.autograd.Function):
    """A network's output, from pieces of its input; parameters are arguments so that they have gradients."""

    @staticmethod
    def forward(ctx: Any, network: _Pieces, x: Tensor, *parameters: Tensor) -> Tensor:  # type: ignore[override]
        ctx.network, kind = network, x.device.type
        ctx.cast = kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        ctx.save_for_backward(x, *parameters)
        return torch.cat([network.forward(part) for part in x.split(network.size)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, *parameters = ctx.saved_tensors
        wants_x, *wanted = ctx.needs_input_grad[1:]
        learnt = [parameter for parameter, want in zip(parameters, wanted, strict=True) if want]
        of_x: list[Tensor] = []
        sums: list[Tensor | None] = [None] * len(learnt)
        kind, enabled, dtype = ctx.cast
        for part, its in zip(x.split(ctx.network.size), gradient.split(ctx.network.size), strict=True):
            part = part.detach().requires_grad_(wants_x)
            with torch.enable_grad(), torch.autocast(kind, dtype, enabled=enabled):
                out = ctx.network.forward(part)
            found = list(torch.autograd.grad(out, [*([part] if wants_x else []), *learnt], its, allow_unused=True))
            of_x += [found.pop(0)] if wants_x else []
            sums = [new if old is None or new is None else old + new for old, new in zip(sums, found, strict=True)]
        back = iter(sums)
        return None, torch.cat(of_x) if wants_x else None, *(next(back) if want else None for want in wanted)


class _Pieces:
    """What takes the place of a network's ``forward``.

    Args:
        network: the network; its samples must not know of each other.
        size: samples of a piece.
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        self.forward, self.size = network.forward, size
        self.parameters = list(network.parameters())

    def __call__(self, x: Tensor) -> Tensor:
        if len(x) <= self.size:
            return self.forward(x)
        if not torch.is_grad_enabled():
            return torch.cat([self.forward(part) for part in x.split(self.size)])
        return _InPieces.apply(self, x, *self.parameters)  # type: ignore[return-value]


@contextmanager
def in_pieces(model: nn.Module, size: int) -> Iterator[None]:
    """Inside, the model's networks see at most so many samples at once; 0 is all."""
    networks = [child for child in model.children() if isinstance(child, nn.Sequential)] if size else []
    own = [vars(network).get("forward") for network in networks]
    for network in networks:
        network.forward = _Pieces(network, size)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for network, forward in zip(networks, own, strict=True):
            del network.forward
            if forward is not None:
                network.forward = forward
