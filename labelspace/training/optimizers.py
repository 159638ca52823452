"""Optimisers: Adam (or Adagrad) for vectors and scalars, Muon for weight matrices and convolution kernels where asked for."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from labelspace.optimizers import Adagrad, Adam, Optimizer

# Coefficients of the quintic Newton-Schulz iteration that brings all singular values near one in five steps
# (K. Jordan et al., "Muon", 2024).
_A, _B, _C = 3.4445, -4.7750, 2.0315
_SMALL, _LARGE = 2**12, 2**20  # entries: below it gains nothing, above it costs more than the rest of the step


class Muon(Optimizer):
    """Momentum whose update is orthogonalised: all directions of a weight matrix move at the same pace.

    Convolution kernels are treated as matrices (outputs x everything else), which ``torch.optim.Muon`` does not take.

    Args:
        parameters: tensors of two or more dimensions.
        lr: learning rate; an update has root mean square ``0.2 * lr`` whatever the matrix's shape, as Adam's have.
        momentum: of the gradient average, Nesterov form.
        dtype: what updates are orthogonalised in. bfloat16 is exact enough and halves the time, but only where the device
            multiplies it natively: elsewhere it is several times slower than float32.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__(list(parameters), lr=lr, momentum=momentum)
        self.dtype = dtype

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state.setdefault(parameter, {})
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                average = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                ahead = torch.lerp(parameter.grad, average, group["momentum"])
                matrix = ahead.reshape(len(ahead), -1)
                update = orthogonalise(matrix, self.dtype) * (0.2 * max(matrix.shape) ** 0.5)
                parameter.add_(update.view_as(parameter), alpha=-group["lr"])


def orthogonalise(matrix: Tensor, dtype: torch.dtype = torch.float32, steps: int = 5) -> Tensor:
    """The nearest (semi-)orthogonal matrix, roughly: singular values between 0.7 and 1.2. Computed in ``dtype``.

    One step is x <- p(x x') x with a polynomial p. All its factors commute, so in float32 those of a long matrix are multiplied
    on the short side, where they are small, and meet it once, at the end; bfloat16 has too few digits for that.
    """
    x = matrix.to(dtype)
    x = x / (x.norm() + 1e-7)
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T.contiguous()
    gram = x @ x.T
    product: Tensor | None = None  # of all factors so far, where they are kept apart
    apart = dtype == torch.float32 and x.shape[1] >= 2 * x.shape[0]
    for step in range(steps):
        factor = torch.addmm(gram, gram, gram, beta=_B, alpha=_C)
        factor.diagonal().add_(_A)
        if apart:
            product = factor if product is None else factor @ product
            gram = factor @ gram @ factor if step < steps - 1 else gram
        else:
            x = factor @ x
            gram = x @ x.T if step < steps - 1 else gram
    x = x if product is None else product @ x
    return (x if wide else x.T).to(matrix.dtype)


def auxiliary(parameters: list[nn.Parameter], rate: float) -> list[Optimizer]:
    """The optimiser of an auxiliary player: little momentum, because what it reads moves."""
    return [Adam(parameters, lr=rate, betas=(0.5, 0.99))]


def build(
    parameters: list[nn.Parameter],
    learning_rate: float,
    muon_learning_rate: float,
    kind: str = "adam",
    dtype: torch.dtype = torch.float32,
) -> list[Optimizer]:
    """The optimisers of one player's parameters; ``kind`` is "adam" or "adagrad", ``dtype`` that of Muon's products."""
    matrices = [p for p in parameters if p.ndim >= 2 and _SMALL <= p.numel() <= _LARGE and muon_learning_rate > 0]
    taken = {id(p) for p in matrices}
    others = [p for p in parameters if id(p) not in taken]
    optimizers: list[Optimizer] = []
    if others and kind == "adagrad":
        # Its steps do not depend on the scale of the loss: a sum over the batch and a mean train alike.
        optimizers.append(Adagrad(others, lr=learning_rate))
    elif others:
        optimizers.append(Adam(others, lr=learning_rate, betas=(0.9, 0.99)))
    if matrices:
        optimizers.append(Muon(matrices, lr=muon_learning_rate, dtype=dtype))
    return optimizers
