"""``cells``: counts of genes in cells from known equations, with true counterfactuals."""

from __future__ import annotations

import numpy as np

from labelspace.data.dataset import Dataset
from labelspace.data.sources.computed import compute
from labelspace.data.synthetic import equations
from labelspace.errors import UserError
from labelspace.variables import Variable


def open(address: str, seed: int, progress=None, n: int = 5_000) -> Dataset:
    """Counts of 60 genes in cells of four types, some of them stimulated, of very different depths.

    Args:
        n: cells.
    """
    if n < 100:
        raise UserError(f"cells needs n >= 100, got {n}")
    rng = np.random.default_rng(seed)
    genes = tuple(Variable(f"gene{i + 1}", "count") for i in range(equations.GENES))
    return compute(address, equations.counts(), equations.cells(n, rng), seed, rng, "negative-binomial", genes)
