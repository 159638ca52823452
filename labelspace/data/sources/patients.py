"""``patients``: a table from known equations, with true counterfactuals."""

from __future__ import annotations

import numpy as np

from labelspace.data.dataset import Dataset
from labelspace.data.sources.computed import compute
from labelspace.data.synthetic import equations
from labelspace.errors import UserError
from labelspace.variables import table_likelihood


def open(address: str, seed: int, progress=None, n: int = 5_000, missing: float = 0.1) -> Dataset:
    """Ten columns (numbers of very different scales, a count and classes) and the labels treated, site and age.

    Args:
        n: rows.
        missing: share of the cells that are missing.
    """
    if n < 30 or not 0 <= missing < 1:
        raise UserError(f"patients needs n >= 30 and a share of missing cells in [0, 1), got n={n} and missing={missing}")
    rng = np.random.default_rng(seed)
    truth = equations.table(missing)
    likelihood = table_likelihood(equations.VARIABLES)
    return compute(address, truth, equations.patients(n, rng), seed, rng, likelihood, equations.VARIABLES)
