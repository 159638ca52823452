"""Views of vectors with holes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.labels import Schema, binary
from labelspace.reporting.figures import maps
from labelspace.reporting.views_vectors import Plane


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_missing_cells_stand_at_the_mean(columns: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(5, 2, (80, columns)).astype(np.float32)
    x[rng.random(x.shape) < 0.2] = np.nan
    values = rng.integers(0, 2, (80, 1)).astype(np.float32)
    observed = np.ones_like(values, dtype=bool)
    data = Dataset(
        "made",
        x,
        values,
        observed,
        Schema([binary("a")]),
        random_splits(80, 0),
        likelihood="table:" + ",".join(["gaussian"] * columns),
    )
    plane = Plane(data)
    hole = torch.full((1, columns), torch.nan)
    middle = plane.place(torch.from_numpy(plane.mean[None]))
    assert np.allclose(plane.place(hole), middle, atol=1e-5)
    assert np.isfinite(plane.cloud).all()
    assert maps([[plane.map("rows", (torch.from_numpy(x[:5]), torch.from_numpy(x[5:10])))]]) is not None
