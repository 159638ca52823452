"""Latent blocks as maps: at most two coordinates of a block, the codes of data in them, and where the block's priors lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from labelspace.blocks import Block, Latents
from labelspace.data.dataset import Dataset
from labelspace.distributions import Point
from labelspace.models.base import Model

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of a number: where its prior is shown


@dataclass(frozen=True)
class PriorSpot:
    """A block's prior as its map shows it.

    Attributes:
        name: the label's value, or "prior" in a free block.
        value: the label's encoded value; None in a free block.
        mean: ``(k,)``.
        covariance: ``(k, k)``; zero where the block holds the value itself.
    """

    name: str
    value: float | None
    mean: Tensor
    covariance: Tensor


@dataclass(frozen=True)
class BlockMap:
    """A plane (or line) through a block: its own coordinates if it has one or two, else the principal axes of the codes.

    Attributes:
        block: the block.
        origin: ``(size,)``.
        axes: ``(size, k)``, orthonormal columns; ``k`` is 1 or 2.
        names: of the axes.
        points: ``(n, k)`` mean codes of samples.
        rows: ``(n,)`` which samples.
        priors: of every value of the block's label (a number: at quantiles of the data), or of a free block.
        holds_value: whether the block is its label's value itself, so that there is nothing to choose in it but the value.
    """

    block: Block
    origin: Tensor
    axes: Tensor
    names: tuple[str, ...]
    points: Tensor
    rows: np.ndarray
    priors: tuple[PriorSpot, ...]
    holds_value: bool

    def project(self, code: Tensor) -> Tensor:
        """Where codes ``(m, size)`` of the block are on the map, ``(m, k)``."""
        return (code - self.origin) @ self.axes

    def lift(self, points: Tensor, code: Tensor) -> Tensor:
        """Codes ``(m, size)`` moved to ``points (m, k)`` of the map; what the map does not show is held."""
        return code + (points - self.project(code)) @ self.axes.T


@torch.no_grad()
def block_map(model: Model, data: Dataset, name: str, codes: Latents[Tensor], rows: np.ndarray) -> BlockMap:
    """The map of a block.

    Args:
        model: a trained model.
        data: its data; the quantiles of numbers are those of its training samples.
        name: the block.
        codes: mean codes of ``rows`` (:func:`labelspace.evaluation.probing.encoded`).
        rows: samples of the data.
    """
    block, code = model.blocks.named(name), codes[name]
    origin, axes, names = principal(name, code, 2)
    values, spots = _places(model, data, block)
    prior = model.prior(*values)[name]
    found = tuple(
        PriorSpot(spot, value, (mean - origin) @ axes, axes.T @ torch.diag(scale**2) @ axes)
        for (spot, value), mean, scale in zip(spots, prior.mean, prior.scale, strict=True)
    )
    return BlockMap(block, origin, axes, names, (code - origin) @ axes, rows, found, isinstance(prior, Point))


def principal(name: str, code: Tensor, most: int) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Axes through the codes ``(n, size)`` of a block: its own coordinates if these are two at most, else the principal axes.

    Args:
        name: of the block.
        code: codes of samples.
        most: how many axes, at most.

    Returns:
        The origin ``(size,)``; the axes ``(size, k)``, orthonormal columns; and their names.
    """
    size = code.shape[1]
    if size <= 2:
        names = tuple(f"{name} {i + 1}" if size > 1 else name for i in range(size))
        return torch.zeros(size), torch.eye(size), names
    origin = code.mean(0)
    _, lengths, directions = torch.linalg.svd(code - origin, full_matrices=False)
    axes = directions[:most].T
    axes = axes * torch.where(axes.sum(0) < 0, -1.0, 1.0)  # a principal axis has no sign: the same one every time
    shares = lengths**2 / (lengths**2).sum().clamp_min(1e-12)
    return origin, axes, tuple(f"{name} axis {i + 1} ({float(share):.0%} of variance)" for i, share in enumerate(shares[:most]))


def _places(model: Model, data: Dataset, block: Block) -> tuple[tuple[Tensor, Tensor], list[tuple[str, float | None]]]:
    """Label values (and which are observed) at which a block's prior is shown, with their names."""
    if block.label is None:
        nothing = torch.zeros(1, len(model.schema))
        return (nothing, nothing.bool()), [("prior", None)]
    label = model.schema[block.label]
    if label.discrete:
        encoded = [float(i) for i in range(len(label.values))]
        names = list(label.values)
    else:
        column = data.schema.index(block.label)
        rows = data.rows("train")
        seen = data.values[rows, column][data.observed[rows, column]]
        encoded = [float(v) for v in np.quantile(seen, _QUANTILES)] if len(seen) else [0.0]
        names = [str(label.format(v)) for v in encoded]
    return model.only(block.label, torch.tensor(encoded)), list(zip(names, encoded, strict=True))
