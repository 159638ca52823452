"""``faces``: drawn faces with true counterfactuals."""

from __future__ import annotations

import numpy as np

from labelspace.data import store
from labelspace.data.dataset import Dataset, random_splits
from labelspace.data.synthetic.faces import faces
from labelspace.errors import UserError


def open(address: str, seed: int, progress=None, n: int = 20_000, size: int = 64, correlated: bool = False) -> Dataset:
    """Draws the faces into the store on first use; see :mod:`labelspace.data.synthetic.faces`.

    Args:
        address: kept with the data.
        seed: seed of the faces and of the splits.
        progress: called with faces drawn and faces in all.
        n: faces.
        size: side of the square images.
        correlated: draw attributes with correlations as in photographs, instead of independently.
    """
    if n < 10 or not 8 <= size <= 256:
        raise UserError(f"faces needs n >= 10 and a size of 8 to 256, got n={n} and size={size}")
    grid = faces(size=size, correlated=correlated)
    factors = grid.sample(n, np.random.default_rng(seed))
    built = store.build("faces", factors, (3, size, size), grid.name, grid.arguments, progress=progress)
    values, observed = grid.labels(factors)
    note = (f"drawn in {built.seconds:.0f} s, {built.drawn / built.seconds:.0f} faces a second",) if built.seconds else ()
    return Dataset(
        address, built.x, values, observed, grid.schema, random_splits(n, seed), truth=grid, factors=factors, notes=note
    )
