"""``glyphs:FONT``: letters of a variable font, with its axes as continuous labels and true counterfactuals."""

from __future__ import annotations

import numpy as np

from labelspace.data import store
from labelspace.data.dataset import Dataset, random_splits
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
    axes: str = "",
) -> Dataset:
    """Draws letters into the store on first use; see :mod:`labelspace.data.synthetic.glyphs`.

    Every letter and every value of an axis is as probable as every other.

    Args:
        address: kept with the data.
        seed: seed of the letters and of the splits.
        path: the font's file.
        progress: called with letters drawn and letters in all.
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
    factors = grid.sample(n, np.random.default_rng(seed))
    built = store.build("glyphs", factors, (1, size, size), grid.name, grid.arguments, progress=progress)
    if built.failures:
        raise UserError(f"{path}: {next(iter(built.failures.values()))}; narrow the axes")
    values, observed = grid.labels(factors)
    note = (f"drawn in {built.seconds:.0f} s, {n / built.seconds:.0f} letters a second",) if built.seconds else ()
    return Dataset(
        address, built.x, values, observed, grid.schema, random_splits(n, seed), truth=grid, factors=factors, notes=note
    )
