"""Named latent blocks: the one idea that interventions, metrics and pictures are written against.

A model's latent code is an ordered set of blocks. A **free** block belongs to no label; any other block is tied to exactly
one. :class:`Latents` is the only place that knows the order of blocks: nothing else slices a concatenated code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from labelspace.distributions import DiagonalGaussian
from labelspace.errors import UserError, unknown


@dataclass(frozen=True)
class Block:
    """A vector of latent coordinates: its name, its size, and the label that it carries (None: free)."""

    name: str
    size: int
    label: str | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"latent block {self.name!r} needs at least one coordinate, got {self.size}")


class Blocks(tuple[Block, ...]):
    """The ordered blocks of a model."""

    def __new__(cls, blocks: Iterable[Block]) -> Blocks:
        self = super().__new__(cls, blocks)
        names = [block.name for block in self]
        if len(set(names)) != len(names):
            raise UserError(f"two latent blocks have the same name: {', '.join(names)}")
        return self

    @property
    def size(self) -> int:
        """Coordinates in all blocks."""
        return sum(block.size for block in self)

    @property
    def free(self) -> Blocks:
        """The blocks that belong to no label."""
        return Blocks(block for block in self if block.label is None)

    def named(self, name: str) -> Block:
        for block in self:
            if block.name == name:
                return block
        raise unknown("latent block", name, [block.name for block in self])

    def of(self, label: str) -> Block:
        """The block that carries a label. Raises UserError when the model has none for it."""
        for block in self:
            if block.label == label:
                return block
        raise UserError(
            f"this model has no latent block for label {label!r}; "
            f"it has blocks for: {', '.join(b.label for b in self if b.label) or 'no label'}"
        )

    def split(self, code: Tensor) -> Latents[Tensor]:
        """Cuts a concatenated code ``(n, size)`` into blocks; the inverse of :func:`concatenate`."""
        if code.shape[-1] != self.size:
            raise UserError(f"a code of {code.shape[-1]} coordinates does not fit blocks of {self.size} in all")
        parts = code.split([block.size for block in self], dim=-1)
        return Latents(self, {block.name: part for block, part in zip(self, parts, strict=True)})


Part = TypeVar("Part", Tensor, DiagonalGaussian)
Other = TypeVar("Other", Tensor, DiagonalGaussian)


class Latents(Mapping[str, Part], Generic[Part]):
    """One value per block, for a batch of samples: codes ``(n, size)`` or distributions over them.

    It is immutable: :meth:`replace` and :meth:`take` return new objects.
    """

    def __init__(self, blocks: Blocks, parts: Mapping[str, Part]) -> None:
        for name in parts:
            blocks.named(name)
        if absent := [block.name for block in blocks if block.name not in parts]:
            raise UserError(f"no value for latent block {absent[0]!r}")
        for block in blocks:
            part = parts[block.name]
            size = (part if isinstance(part, Tensor) else part.mean).shape[-1]
            if size != block.size:
                raise UserError(f"latent block {block.name!r} has {block.size} coordinates, got {size}")
        self.blocks = blocks
        self._parts = {block.name: parts[block.name] for block in blocks}

    def __getitem__(self, name: str) -> Part:
        self.blocks.named(name)
        return self._parts[name]

    def __iter__(self):
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def replace(self, parts: Mapping[str, Part]) -> Latents[Part]:
        """The same latents with some blocks exchanged."""
        return Latents(self.blocks, {**self._parts, **parts})

    def take(self, names: Iterable[str]) -> Latents[Part]:
        """Some blocks only, in the model's order."""
        wanted = set(names)
        for name in wanted:
            self.blocks.named(name)
        return Latents(
            Blocks(b for b in self.blocks if b.name in wanted), {n: p for n, p in self._parts.items() if n in wanted}
        )

    def map(self, function: Callable[[Part], Other]) -> Latents[Other]:
        """Applies a function to every block."""
        return Latents(self.blocks, {name: function(part) for name, part in self._parts.items()})

    def rows(self, rows) -> Latents[Part]:
        """Some samples only: anything that indexes the first dimension."""
        return self.map(lambda part: part[rows])  # type: ignore[return-value]


def concatenate(codes: Latents[Tensor]) -> Tensor:
    """All blocks side by side in the model's order, ``(n, size)``."""
    return torch.cat(list(codes.values()), dim=-1)


def joined(parts: Sequence[Latents[Tensor]]) -> Latents[Tensor]:
    """Codes of parts of the samples, one after the other: those of all."""
    return Latents(parts[0].blocks, {name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def sample(latents: Latents[DiagonalGaussian], generator: torch.Generator | None = None) -> Latents[Tensor]:
    """One draw of every block."""
    return latents.map(lambda part: part.sample(generator))


def modes(latents: Latents[DiagonalGaussian]) -> Latents[Tensor]:
    """The mode of every block."""
    return latents.map(lambda part: part.mode)
