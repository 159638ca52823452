"""``moons``: points on three half circles side by side, the toy data of Lr-LiVAE."""

from __future__ import annotations

import math

import numpy as np

from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.errors import UserError
from labelspace.labels import Schema, categorical

CENTRES = (0.0, 2.2, -2.2)
"""Where the three half circles have their centres on the first axis, class by class."""


def open(address: str, seed: int, progress=None, n: int = 30_000, noise: float = 0.15) -> Dataset:
    """Points in the plane with the categorical label ``moon`` (Zheng & Sun 2019, toy data).

    Class by class an upper half circle of radius one around (0, -0.5), (2.2, -0.5) or (-2.2, -0.5), and Gaussian noise.
    The points are not standardised.

    Args:
        n: points, divided evenly over the classes.
        noise: standard deviation of the noise.
    """
    if n < 30 or not 0 <= noise < math.inf:
        raise UserError(f"moons needs n >= 30 and noise >= 0, got n={n} and noise={noise}")
    rng = np.random.default_rng(seed)
    moon = np.arange(n) % len(CENTRES)
    angle = rng.uniform(0, math.pi, n)
    points = np.stack([np.cos(angle) + np.array(CENTRES)[moon], np.sin(angle) - 0.5], 1)
    points += noise * rng.standard_normal(points.shape)
    return Dataset(
        address,
        points.astype(np.float32),
        moon[:, None].astype(np.float32),
        np.ones((n, 1), bool),
        Schema([categorical("moon", ["middle", "right", "left"])]),
        random_splits(n, seed),
    )
