"""What all sources of vectors do once they have equations."""

from __future__ import annotations

import numpy as np

from labelspace.data.dataset import Dataset
from labelspace.data.splits import drawn_splits
from labelspace.data.truth import Equations
from labelspace.variables import Variable


def compute(
    address: str,
    truth: Equations,
    factors: np.ndarray,
    seed: int,
    rng: np.random.Generator,
    likelihood: str,
    variables: tuple[Variable, ...] = (),
) -> Dataset:
    """Samples of equations.

    Args:
        address: kept with the data.
        truth: the equations.
        factors: ``(n, factors)``, of the samples.
        seed: of the splits.
        rng: of the noise.
        likelihood, variables: see :class:`Dataset`.
    """
    x = truth.measured(truth.expected(factors, ()), rng)
    values, observed = truth.labels(factors)
    return Dataset(
        address,
        x,
        values,
        observed,
        truth.schema,
        drawn_splits(truth.schema, values, observed, seed),
        truth=truth,
        factors=factors,
        likelihood=likelihood,
        variables=variables,
    )
