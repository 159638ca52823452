"""``sprites``: the factor grid of dSprites, drawn, with true counterfactuals."""

from __future__ import annotations

import math

from labelspace.data.dataset import Dataset
from labelspace.data.sources import drawn
from labelspace.data.synthetic.sprites import sprites
from labelspace.errors import UserError


def open(
    address: str, seed: int, progress=None, n: int = 30_000, size: int = 64, smooth: bool = False, color: bool = False
) -> Dataset:
    """Draws sprites into the store on first use; see :mod:`labelspace.data.synthetic.sprites`.

    Args:
        n: sprites, drawn from the grid without repetition; 0 is the whole grid, in the order of dSprites.
        size: side of the square images.
        smooth: grey levels along edges instead of 0 and 255 alone.
        color: seven colours as another factor, instead of white.
    """
    grid = sprites(size=size, smooth=smooth, color=color)
    most = math.prod(len(options) for options in grid.factors.values())
    if not (n == 0 or 10 <= n <= most) or not 8 <= size <= 256:
        raise UserError(f"sprites needs n of 10 to {most:,} (0 for all of them) and a size of 8 to 256, got n={n}, size={size}")
    return drawn.draw("sprites", address, grid, n or most, (3 if color else 1, size, size), seed, progress)
