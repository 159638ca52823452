"""``swiss-roll``: points on a rolled-up sheet, cut in two."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.data.truth import Cause, Equations
from labelspace.errors import UserError
from labelspace.labels import binary

_COLUMN = {"x": 0, "height": 1}
_CUT = 10.0  # where the sheet is cut
_TURNS, _WIDTH = (1.5 * math.pi, 4.5 * math.pi), 21.0  # angles that the sheet goes through, and how wide it is
_LEVELS = 60  # places on the sheet that stand for all of them where the truth of an edit is asked for


def open(
    address: str, seed: int, progress=None, n: int = 10_000, cut: Literal["height", "x"] = "height", noise: float = 0.0
) -> Dataset:
    """Points in 3-D, standardised, with the binary label ``side``.

    A point is known by its angle and its height on the sheet. On the other side of the cut it has the same angle (the same
    height) and any height (any angle) of that side.

    Args:
        n: points.
        cut: "height" cuts the sheet across its width at 10 (half and half); "x" cuts at column 0 >= 10 (14% on).
        noise: standard deviation added to the points before they are standardised.
    """
    from sklearn.datasets import make_swiss_roll

    if n < 10 or not 0 <= noise < math.inf:
        raise UserError(f"swiss-roll needs n >= 10 and noise >= 0, got n={n} and noise={noise}")
    points, angle = make_swiss_roll(n, noise=noise, random_state=seed)
    factors = np.stack([angle, rolled(n, seed)], 1)
    centre, unit = points.mean(0), points.std(0)
    values = (points[:, _COLUMN[cut] : _COLUMN[cut] + 1] >= _CUT).astype(np.float32)
    truth = _truth(cut, centre, unit, noise)
    note = "each column standardised to mean 0 and standard deviation 1"
    return Dataset(
        address,
        ((points - centre) / unit).astype(np.float32),
        values,
        np.ones(values.shape, bool),
        truth.schema,
        random_splits(n, seed),
        truth=truth,
        factors=factors,
        notes=(note,),
    )


def rolled(n: int, seed: int) -> np.ndarray:
    """Heights of the points that :func:`sklearn.datasets.make_swiss_roll` draws, ``(n,)``, before it adds noise."""
    from sklearn.datasets import make_swiss_roll

    return make_swiss_roll(n, noise=0.0, random_state=seed)[0][:, 1]


def _truth(cut: str, centre: np.ndarray, unit: np.ndarray, noise: float) -> Equations:
    def points(factors: np.ndarray) -> np.ndarray:
        angle, height = factors.T
        return (np.stack([angle * np.cos(angle), height, angle * np.sin(angle)], 1) - centre) / unit

    def side(level: np.ndarray) -> np.ndarray:
        return (level if cut == "height" else level * np.cos(level)) >= _CUT

    ends = (0.0, _WIDTH) if cut == "height" else _TURNS
    levels = np.linspace(*ends, 2 * _LEVELS + 1)[1::2]
    on = side(levels)
    cause = Cause(binary("side"), 1 if cut == "height" else 0, (tuple(levels[~on]), tuple(levels[on])), side)
    return Equations(
        {"angle": (), "height": ()},
        (cause,),
        points,
        (lambda x, rng: x + rng.standard_normal(x.shape) * noise / unit) if noise else None,
    )
