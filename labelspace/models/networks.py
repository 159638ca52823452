"""Networks built from an input shape: multilayer perceptrons for vectors, convolutional networks for images.

Images of 1 to 4 channels and any size from 8 to 256 are taken, square or not. The image networks do most of their work as
matrix products on coarse grids: pixels are folded into channels (a patch embedding), each halving of the grid folds four
positions into one and mixes them by a linear layer, and decoders run the same steps backwards. Inside, grids have their
channels last, ``(n, height, width, channels)``, so that a fold moves whole runs of memory and a layer is one product.
``kind="strided"`` is what most papers have instead, convolutions of 4x4 with stride 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelspace.errors import UserError, unknown

ACTIVATIONS: dict[str, type[nn.Module]] = {"silu": nn.SiLU, "relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}

_DEEPEST = 1000  # hidden layers; more is a mistake, or a file that was made to fill the memory


Kind = Literal["auto", "mlp", "conv", "strided"]
_WIDTHS = {"conv": 64, "strided": 32, "mlp": 256}


@dataclass(frozen=True)
class Network:
    """How encoders and decoders are built.

    Attributes:
        kind: "auto" is "conv" for images and "mlp" for vectors; "mlp" flattens images; "strided" is for images, and with
            ``width=32, activation="relu"`` at 64x64 it is the network of Joy et al. 2021.
        width: hidden units of each layer (mlp) or channels on the finest grid (conv, strided); 0 chooses by kind.
        depth: hidden layers (mlp).
        activation: one of silu, relu, tanh, gelu.
    """

    kind: Kind = "auto"
    width: int = 0
    depth: int = 2
    activation: str = "silu"

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise unknown("activation", self.activation, ACTIVATIONS)
        if self.kind not in get_args(Kind):
            raise unknown("kind of network", self.kind, get_args(Kind))
        if self.width < 0 or not 1 <= self.depth <= _DEEPEST:
            raise UserError(
                f"a network needs width >= 0 and depth from 1 to {_DEEPEST}, got width {self.width} and depth {self.depth}"
            )

    def narrowed(self, shape: tuple[int, ...]) -> Network:
        """The same network for data of a shape at half its width."""
        return replace(self, width=max(1, self.width_for(shape) // 2))

    def width_for(self, shape: tuple[int, ...]) -> int:
        """The width for data of a shape: as given, or 64 channels (conv), 32 channels (strided), 256 units (mlp)."""
        return self.width or _WIDTHS[self.resolve(shape)]

    def resolve(self, shape: tuple[int, ...]) -> Literal["mlp", "conv", "strided"]:
        """The kind of network for data of a shape. Raises UserError when they do not go together."""
        if len(shape) == 1:
            if self.kind in ("conv", "strided"):
                raise UserError(f"a {self.kind} network needs images (channels, height, width), got vectors")
            return "mlp"
        if len(shape) != 3:
            raise UserError(f"data must be vectors (d,) or images (channels, height, width), got shape {shape}")
        if self.kind == "mlp":
            return "mlp"
        if not (1 <= shape[0] <= 4 and all(8 <= side <= 256 for side in shape[1:])):
            raise UserError(f"images must have 1-4 channels and sides of 8 to 256, got shape {shape}")
        return "strided" if self.kind == "strided" else "conv"


def revive(arguments: dict[str, Any]) -> dict[str, Any]:
    """A model's arguments from plain data: what is a :class:`Network`, as all that is not plain, becomes one again."""
    return {k: Network(**v) if isinstance(v, dict) else v for k, v in arguments.items()}


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
    plan = _Plan.of(shape, network)
    if plan.strided:
        return _strided_encoder(shape[0], plan, activation, edges), 2 * plan.channels[-1]
    layers: list[nn.Module] = [
        _Pad(plan.padding, edges),
        _ToGrid(),
        _Fold(plan.patch),
        _Neighbours(shape[0] * plan.patch**2, plan.channels[0]),
        activation(),
    ]
    for fine, coarse in zip(plan.channels[:-1], plan.channels[1:], strict=True):
        layers += [_Fold(2), nn.Linear(4 * fine, coarse), activation()]
    layers += [nn.Flatten()]
    return _channels_last(layers), plan.channels[-1] * plan.cells


def decoder(inputs: int, shape: tuple[int, ...], network: Network) -> nn.Module:
    """A network ``(n, inputs) -> (n, *shape)`` of raw (unsquashed) outputs."""
    activation = ACTIVATIONS[network.activation]
    if network.resolve(shape) == "mlp":
        width = network.width_for(shape)
        return nn.Sequential(mlp(inputs, [width] * network.depth, math.prod(shape), network.activation), nn.Unflatten(1, shape))
    plan = _Plan.of(shape, network)
    if plan.strided:
        return _strided_decoder(inputs, shape, plan, activation)
    layers: list[nn.Module] = [
        nn.Linear(inputs, plan.channels[-1] * plan.cells),
        activation(),
        nn.Unflatten(1, (*plan.grid, plan.channels[-1])),
    ]
    for coarse, fine in zip(plan.channels[:0:-1], plan.channels[-2::-1], strict=True):
        layers += [nn.Linear(coarse, 4 * fine), _Unfold(2), activation()]
    layers += [
        _Neighbours(plan.channels[0], shape[0] * plan.patch**2),
        _Unfold(plan.patch),
        _ToImages(),
        _Crop(plan.padding, shape[1:]),
    ]
    return _channels_last(layers)


@torch.no_grad()
def begin_without(network: nn.Module, inputs: slice) -> None:
    """Sets the weights of some inputs of a network, of its first layer, to zero: it begins as if they were not there."""
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Linear))
    first.weight[:, inputs] = 0


def _strided_encoder(colours: int, plan: _Plan, activation: type[nn.Module], edges: str) -> nn.Module:
    layers: list[nn.Module] = [_Pad(plan.padding, edges)]
    for fine, coarse in zip([colours, *plan.channels[:-1]], plan.channels, strict=True):
        layers += [nn.Conv2d(fine, coarse, 4, stride=2, padding=1), activation()]
    layers += [nn.Conv2d(plan.channels[-1], 2 * plan.channels[-1], plan.grid), activation(), nn.Flatten()]
    return _channels_last(layers)


def _strided_decoder(inputs: int, shape: tuple[int, ...], plan: _Plan, activation: type[nn.Module]) -> nn.Module:
    features = 2 * plan.channels[-1]
    layers: list[nn.Module] = [nn.Linear(inputs, features), activation(), nn.Unflatten(1, (features, 1, 1))]
    layers += [nn.ConvTranspose2d(features, plan.channels[-1], plan.grid)]
    for coarse, fine in zip(plan.channels[::-1], [*plan.channels[-2::-1], shape[0]], strict=True):
        layers += [activation(), nn.ConvTranspose2d(coarse, fine, 4, stride=2, padding=1)]
    return _channels_last([*layers, _Crop(plan.padding, shape[1:])])


def _channels_last(layers: list[nn.Module]) -> nn.Module:
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


@dataclass(frozen=True)
class _Plan:
    """How an image becomes a coarse grid: patch side, number of halvings, channels per grid, cells of the last grid."""

    strided: bool
    patch: int
    halvings: int
    channels: list[int]
    grid: tuple[int, int]
    padding: tuple[int, int, int, int]  # left, right, top, bottom, as F.pad takes them

    @property
    def cells(self) -> int:
        return self.grid[0] * self.grid[1]

    @classmethod
    def of(cls, shape: tuple[int, ...], network: Network) -> _Plan:
        width, strided = network.width_for(shape), network.resolve(shape) == "strided"
        _, height, breadth = shape
        side = max(height, breadth)
        patch = 1 if strided else min(max(2 ** int(math.log2(side / 16)), 2), 8)
        halvings = max(0, math.ceil(math.log2(math.ceil(side / patch) / 4)))
        stride = patch * 2**halvings
        grid = (math.ceil(height / stride), math.ceil(breadth / stride))
        extra = (grid[0] * stride - height, grid[1] * stride - breadth)
        padding = (extra[1] // 2, extra[1] - extra[1] // 2, extra[0] // 2, extra[0] - extra[0] // 2)
        if strided:
            channels = [width * min(2 ** max(i - 1, 0), 8) for i in range(halvings)]
        else:
            channels = [width * min(2**i, 4) for i in range(halvings + 1)]
        return cls(strided, patch, halvings, channels, grid, padding)


class _ToGrid(nn.Module):
    """``(n, channels, height, width)`` to ``(n, height, width, channels)``."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


class _ToImages(nn.Module):
    """``(n, height, width, channels)`` to ``(n, channels, height, width)``."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)


class _Fold(nn.Module):
    """Folds squares of a grid into channels: ``(n, h, w, c)`` to ``(n, h / side, w / side, side * side * c)``."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        s = self.side
        return x.reshape(n, h // s, s, w // s, s, c).transpose(2, 3).reshape(n, h // s, w // s, s * s * c)


class _Unfold(_Fold):
    """The inverse: ``(n, h, w, c)`` to ``(n, h * side, w * side, c / side / side)``."""

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        s = self.side
        return x.reshape(n, h, w, s, s, c // s**2).transpose(2, 3).reshape(n, h * s, w * s, c // s**2)


class _Neighbours(nn.Conv2d):
    """A 3x3 convolution of a grid ``(n, h, w, channels)``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


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
        self.any, self.left, self.top = any(padding), padding[0], padding[2]
        self.height, self.breadth = size

    def forward(self, x: Tensor) -> Tensor:
        if not self.any:  # the gradient of a slice, even of all of it, is a copy in another layout
            return x
        return x[:, :, self.top : self.top + self.height, self.left : self.left + self.breadth]
