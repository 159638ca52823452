"""Networks built from an input shape: multilayer perceptrons for vectors, convolutional networks for images.

Images of 1 to 4 channels and any size from 8 to 256 are taken, square or not. The image networks do most of their work as
matrix products on coarse grids: pixels are folded into channels (a patch embedding), each halving of the grid folds four
positions into one and mixes them by a 1x1 convolution, and decoders run the same steps backwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelspace.errors import UserError, unknown

ACTIVATIONS: dict[str, type[nn.Module]] = {"silu": nn.SiLU, "relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}

_DEEPEST = 1000  # hidden layers; more is a mistake, or a file that was made to fill the memory


@dataclass(frozen=True)
class Network:
    """How encoders and decoders are built.

    Attributes:
        kind: "auto" is "conv" for images and "mlp" for vectors; "mlp" flattens images.
        width: hidden units of each layer (mlp) or channels on the finest grid (conv); 0 chooses by kind.
        depth: hidden layers (mlp).
        activation: one of silu, relu, tanh, gelu.
    """

    kind: Literal["auto", "mlp", "conv"] = "auto"
    width: int = 0
    depth: int = 2
    activation: str = "silu"

    def __post_init__(self) -> None:
        if self.kind not in ("auto", "mlp", "conv"):
            raise unknown("kind of network", self.kind, ("auto", "mlp", "conv"))
        if self.activation not in ACTIVATIONS:
            raise unknown("activation", self.activation, ACTIVATIONS)
        if self.width < 0 or not 1 <= self.depth <= _DEEPEST:
            raise UserError(
                f"a network needs width >= 0 and depth from 1 to {_DEEPEST}, got width {self.width} and depth {self.depth}"
            )

    def narrowed(self, shape: tuple[int, ...]) -> Network:
        """The same network for data of a shape at half its width."""
        return replace(self, width=max(1, self.width_for(shape) // 2))

    def width_for(self, shape: tuple[int, ...]) -> int:
        """The width for data of a shape: as given, or 64 channels (conv) or 256 units (mlp)."""
        return self.width or (64 if self.resolve(shape) == "conv" else 256)

    def resolve(self, shape: tuple[int, ...]) -> Literal["mlp", "conv"]:
        """The kind of network for data of a shape. Raises UserError when they do not go together."""
        if len(shape) == 1:
            if self.kind == "conv":
                raise UserError("a conv network needs images (channels, height, width), got vectors")
            return "mlp"
        if len(shape) != 3:
            raise UserError(f"data must be vectors (d,) or images (channels, height, width), got shape {shape}")
        if self.kind == "mlp":
            return "mlp"
        if not (1 <= shape[0] <= 4 and all(8 <= side <= 256 for side in shape[1:])):
            raise UserError(f"images must have 1-4 channels and sides of 8 to 256, got shape {shape}")
        return "conv"


def revive(arguments: dict[str, Any]) -> dict[str, Any]:
    """A model's arguments from plain data: what is a :class:`Network` becomes one again."""
    return {k: Network(**v) if k == "network" and isinstance(v, dict) else v for k, v in arguments.items()}


def mlp(inputs: int, hidden: list[int], outputs: int, activation: str = "silu") -> nn.Sequential:
    """A multilayer perceptron ``(n, inputs) -> (n, outputs)`` with a linear last layer."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), ACTIVATIONS[activation]()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def encoder(
    shape: tuple[int, ...], network: Network, edges: Literal["replicate", "constant"] = "replicate"
) -> tuple[nn.Module, int]:
    """A trunk ``(n, *shape) -> (n, features)`` and its number of features; heads are put on top of it.

    Images whose sides are no multiple of the network's stride are padded: their border is repeated ("replicate"), or zeros
    are put around them ("constant").
    """
    activation = ACTIVATIONS[network.activation]
    if network.resolve(shape) == "mlp":
        width = network.width_for(shape)
        body = mlp(math.prod(shape), [width] * (network.depth - 1), width, network.activation)
        return nn.Sequential(nn.Flatten(), body, activation()), width
    plan = _Plan.of(shape, network.width_for(shape))
    layers: list[nn.Module] = [
        _Pad(plan.padding, edges),
        nn.PixelUnshuffle(plan.patch),
        nn.Conv2d(shape[0] * plan.patch**2, plan.channels[0], 3, padding=1),
        activation(),
    ]
    for fine, coarse in zip(plan.channels[:-1], plan.channels[1:], strict=True):
        layers += [nn.PixelUnshuffle(2), nn.Conv2d(4 * fine, coarse, 1), activation()]
    layers += [nn.Flatten()]
    trunk = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return trunk, plan.channels[-1] * plan.cells


def decoder(inputs: int, shape: tuple[int, ...], network: Network) -> nn.Module:
    """A network ``(n, inputs) -> (n, *shape)`` of raw (unsquashed) outputs."""
    activation = ACTIVATIONS[network.activation]
    if network.resolve(shape) == "mlp":
        width = network.width_for(shape)
        return nn.Sequential(mlp(inputs, [width] * network.depth, math.prod(shape), network.activation), nn.Unflatten(1, shape))
    plan = _Plan.of(shape, network.width_for(shape))
    layers: list[nn.Module] = [
        nn.Linear(inputs, plan.channels[-1] * plan.cells),
        activation(),
        nn.Unflatten(1, (plan.channels[-1], *plan.grid)),
    ]
    for coarse, fine in zip(plan.channels[:0:-1], plan.channels[-2::-1], strict=True):
        layers += [nn.Conv2d(coarse, 4 * fine, 1), nn.PixelShuffle(2), activation()]
    layers += [
        nn.Conv2d(plan.channels[0], shape[0] * plan.patch**2, 3, padding=1),
        nn.PixelShuffle(plan.patch),
        _Crop(plan.padding, shape[1:]),
    ]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


@dataclass(frozen=True)
class _Plan:
    """How an image becomes a coarse grid: patch side, number of halvings, channels per grid, cells of the last grid."""

    patch: int
    halvings: int
    channels: list[int]
    grid: tuple[int, int]
    padding: tuple[int, int, int, int]  # left, right, top, bottom, as F.pad takes them

    @property
    def cells(self) -> int:
        return self.grid[0] * self.grid[1]

    @classmethod
    def of(cls, shape: tuple[int, ...], width: int) -> _Plan:
        _, height, breadth = shape
        side = max(height, breadth)
        patch = min(max(2 ** int(math.log2(side / 16)), 2), 8)
        halvings = max(0, math.ceil(math.log2(math.ceil(side / patch) / 4)))
        stride = patch * 2**halvings
        grid = (math.ceil(height / stride), math.ceil(breadth / stride))
        extra = (grid[0] * stride - height, grid[1] * stride - breadth)
        padding = (extra[1] // 2, extra[1] - extra[1] // 2, extra[0] // 2, extra[0] - extra[0] // 2)
        return cls(patch, halvings, [width * min(2**i, 4) for i in range(halvings + 1)], grid, padding)


class _Pad(nn.Module):
    """Makes both sides whole multiples of the network's stride."""

    def __init__(self, padding: tuple[int, int, int, int], mode: str) -> None:
        super().__init__()
        self.padding, self.mode = padding, mode

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.padding, mode=self.mode) if any(self.padding) else x


class _Crop(nn.Module):
    """Takes back what :class:`_Pad` added."""

    def __init__(self, padding: tuple[int, int, int, int], size: tuple[int, ...]) -> None:
        super().__init__()
        self.left, self.top = padding[0], padding[2]
        self.height, self.breadth = size

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, self.top : self.top + self.height, self.left : self.left + self.breadth]
