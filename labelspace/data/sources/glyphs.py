"""``glyphs:FONT``: letters of a variable font, with its axes as continuous labels and true counterfactuals."""

from __future__ import annotations

from typing import Annotated

from labelspace.data.dataset import Dataset
from labelspace.data.sources import drawn
from labelspace.data.synthetic import glyphs
from labelspace.errors import UserError


def open(
    address: str,
    seed: int,
    path: str,
    progress=None,
    n: int = 20_000,
    size: int = 64,
    characters: str = "A-Z0-9",
    axes: Annotated[str, "weight+width+slant"] = "",
) -> Dataset:
    """Draws letters into the store on first use; see :mod:`labelspace.data.synthetic.glyphs`.

    Every letter and every value of an axis is as probable as every other.

    Args:
        path: the font's file.
        n: letters.
        size: side of the square images.
        characters: which; ``A-Z`` is a range.
        axes: axes of the font, such as ``weight:300:700+width``; by default those of weight, width and slant that it has.

    Raises:
        UserError: a file that is not a variable font, a character or axis that it does not have, or limits outside its own.
    """
    if n < 10 or not 8 <= size <= 256:
        raise UserError(f"glyphs needs n >= 10 and a size of 8 to 256, got n={n} and size={size}")
    grid = glyphs.glyphs(path, characters=glyphs.characters_of(characters), axes=glyphs.axes_of(path, axes), size=size)
    return drawn.draw(
        "glyphs", address, grid, n, (1, size, size), seed, progress, lambda why: f"{path}: {why}; narrow the axes"
    )
