"""Latent blocks as maps: at most two coordinates of a block, codes of data in them, and where the block's priors lie; or, of
larger ones, which codes are near each other (t-SNE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from labelspace.blocks import Block, Latents
from labelspace.data.dataset import Dataset
from labelspace.distributions import Point
from labelspace.errors import UserError
from labelspace.models.base import Model

PCA, TSNE = "PCA", "t-SNE"  # how blocks of more than two coordinates are shown
_PERPLEXITY = 30.0  # of t-SNE: about how many codes count as near
_STEPS = 500  # of t-SNE: enough for some thousand codes
_NEAR = 8  # codes that say where another one is on a map by t-SNE
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

    @property
    def method(self) -> str:
        """How the plane was found; empty where it is the block's own coordinates."""
        return PCA if self.block.size > 2 else ""

    def project(self, code: Tensor) -> Tensor:
        """Where codes ``(m, size)`` of the block are on the map, ``(m, k)``."""
        return (code - self.origin) @ self.axes

    def lift(self, points: Tensor, code: Tensor) -> Tensor:
        """Codes ``(m, size)`` moved to ``points (m, k)`` of the map; what the map does not show is held."""
        return code + (points - self.project(code)) @ self.axes.T


@dataclass(frozen=True)
class NeighbourMap:
    """A block of more than two coordinates by t-SNE: codes that are near each other are near each other on the map, and how far
    apart others lie means little. It is a picture: no way leads from a point of it back to a code, and no prior can be drawn.

    Source: van der Maaten and Hinton, Visualizing data using t-SNE, JMLR 2008; begun from the principal axes (Kobak and
    Linderman, Nature Biotechnology 2021), so that it is the same every time and keeps some of what is far apart.

    Attributes:
        block: the block.
        codes: ``(n, size)`` mean codes of samples.
        points: ``(n, 2)``, where they are on the map.
        rows: ``(n,)`` which samples.
    """

    block: Block
    codes: Tensor
    points: Tensor
    rows: np.ndarray
    priors: ClassVar[tuple[PriorSpot, ...]] = ()
    holds_value: ClassVar[bool] = False
    method: ClassVar[str] = TSNE

    @property
    def names(self) -> tuple[str, ...]:
        """Of the axes."""
        return tuple(f"{self.block.name}, {TSNE} {i + 1}" for i in range(2))

    def project(self, code: Tensor) -> Tensor:
        """Where codes ``(m, size)`` are on the map, ``(m, 2)``: among the codes that they are nearest to, by the inverse of the
        squared distance, so that a code of the map itself is at its own place."""
        away, near = torch.cdist(code, self.codes).topk(min(_NEAR, len(self.codes)), largest=False)
        weights = 1 / away.double().square().clamp_min(1e-12)
        return ((weights / weights.sum(1, keepdim=True))[..., None] * self.points[near]).sum(1).to(code.dtype)


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


def neighbour_map(model: Model, name: str, codes: Latents[Tensor], rows: np.ndarray) -> NeighbourMap:
    """The map of a block by t-SNE, which takes some seconds for a thousand samples.

    Args:
        model: a trained model.
        name: the block, of more than two coordinates.
        codes: mean codes of ``rows``.
        rows: samples of the data.

    Raises:
        UserError: the codes do not differ, or are too few.
    """
    from sklearn import manifold  # which takes a second

    code = codes[name]
    centred = (code - code.mean(0)).double().numpy()
    spread = float(centred.std())
    if len(code) < 4 or not spread > 1e-9:
        raise UserError(f"{name}: {len(code)} codes with a spread of {spread:.1g} have no map by {TSNE}")
    points = manifold.TSNE(
        perplexity=min(_PERPLEXITY, (len(code) - 1) / 3), init="pca", learning_rate="auto", max_iter=_STEPS, random_state=0
    ).fit_transform(centred / spread)
    return NeighbourMap(model.blocks.named(name), code, torch.from_numpy(points).to(code.dtype), rows)


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
