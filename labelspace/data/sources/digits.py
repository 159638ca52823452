"""``digits``: scikit-learn's 8x8 handwritten digits."""

from __future__ import annotations

import numpy as np

from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.labels import Schema, categorical


def open(address: str, seed: int, progress=None) -> Dataset:
    """1,797 grey images of 8x8 with the categorical label ``digit``; sixteen grey levels become 0..255."""
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    x = np.round(np.asarray(pixels).reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    values = np.asarray(digits)[:, None].astype(np.float32)
    schema = Schema([categorical("digit", [str(d) for d in range(10)])])
    return Dataset(address, x, values, np.ones(values.shape, bool), schema, random_splits(len(x), seed))
