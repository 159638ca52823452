"""``faces``: drawn faces with true counterfactuals."""

from __future__ import annotations

from labelspace.data.dataset import Dataset
from labelspace.data.sources import drawn
from labelspace.data.synthetic.faces import faces
from labelspace.errors import UserError


def open(
    address: str,
    seed: int,
    progress=None,
    n: int = 20_000,
    size: int = 64,
    correlated: bool = False,
    implied: bool = False,
    rare: bool = False,
) -> Dataset:
    """Draws the faces into the store on first use; see :mod:`labelspace.data.synthetic.faces`.

    Args:
        n: faces.
        size: side of the square images.
        correlated, implied, rare: see :func:`labelspace.data.synthetic.faces.sample_factors`.
    """
    if n < 10 or not 8 <= size <= 256:
        raise UserError(f"faces needs n >= 10 and a size of 8 to 256, got n={n} and size={size}")
    grid = faces(size=size, correlated=correlated, implied=implied, rare=rare)
    return drawn.draw("faces", address, grid, n, (3, size, size), seed, progress)
