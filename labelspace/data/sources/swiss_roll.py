"""``swiss-roll``: points on a rolled-up sheet, cut in two."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from labelspace.data.dataset import Dataset, random_splits
from labelspace.errors import UserError
from labelspace.labels import Schema, binary

_COLUMN = {"x": 0, "height": 1}


def open(
    address: str, seed: int, progress=None, n: int = 10_000, cut: Literal["height", "x"] = "height", noise: float = 0.0
) -> Dataset:
    """Points in 3-D, standardised, with the binary label ``side``.

    Args:
        n: points.
        cut: "height" cuts the sheet across its width at 10 (half and half); "x" cuts at column 0 >= 10 (14% on).
        noise: standard deviation added to the points before they are standardised.
    """
    from sklearn.datasets import make_swiss_roll

    if n < 10 or not 0 <= noise < math.inf:
        raise UserError(f"swiss-roll needs n >= 10 and noise >= 0, got n={n} and noise={noise}")
    points, _ = make_swiss_roll(n, noise=noise, random_state=seed)
    values = (points[:, _COLUMN[cut] : _COLUMN[cut] + 1] >= 10).astype(np.float32)
    x = ((points - points.mean(0)) / points.std(0)).astype(np.float32)
    note = "each column standardised to mean 0 and standard deviation 1"
    return Dataset(
        address,
        x,
        values,
        np.ones(values.shape, bool),
        Schema([binary("side")]),
        random_splits(n, seed),
        notes=(note,),
    )
