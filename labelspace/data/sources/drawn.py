"""What all sources of drawn images do once they have a grid of factors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from labelspace.data import store
from labelspace.data.dataset import Dataset
from labelspace.data.splits import drawn_splits
from labelspace.data.truth import FactorGrid
from labelspace.errors import UserError


def draw(
    kind: str,
    address: str,
    grid: FactorGrid,
    n: int,
    shape: tuple[int, int, int],
    seed: int,
    progress: store.Progress | None,
    refusal: Callable[[str], str] = str,
) -> Dataset:
    """Samples of a grid, drawn into the store on first use.

    Args:
        kind: what is drawn, in the plural: first part of the store's name.
        address: kept with the data.
        grid: the factors.
        n: how many.
        shape: channels, height and width.
        seed: seed of the factors and of the splits.
        progress: called with samples drawn and samples in all.
        refusal: why one cannot be drawn -> what the user is told.

    Raises:
        UserError: one cannot be drawn.
    """
    factors = grid.sample(n, np.random.default_rng(seed))
    built = store.build(kind, factors, shape, grid.name, grid.arguments, progress=progress)
    for failure in built.failures.values():
        raise UserError(refusal(failure))
    values, observed = grid.labels(factors)
    note = (f"drawn in {built.seconds:.0f} s, {built.drawn / built.seconds:,.0f} {kind} a second",) if built.seconds else ()
    splits = drawn_splits(grid.schema, values, observed, seed)
    return Dataset(address, built.x, values, observed, grid.schema, splits, truth=grid, factors=factors, notes=note)
