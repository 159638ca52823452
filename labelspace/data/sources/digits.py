"""``digits``: scikit-learn's 8x8 handwritten digits."""

from __future__ import annotations

import numpy as np

from labelspace.data.dataset import Dataset, random_splits
from labelspace.labels import Schema, categorical


def open(address: str, seed: int, progress=None) -> Dataset:
    """1,797 grey images of 8x8 with the categorical label ``digit``; sixteen grey levels become 0..255."""
    from sklearn.datasets import load_digits

    found = load_digits()
    x = np.round(found.images[:, None] * (255 / 16)).astype(np.uint8)
    values = found.target[:, None].astype(np.float32)
    schema = Schema([categorical("digit", [str(d) for d in range(10)])])
    return Dataset(address, x, values, np.ones(values.shape, bool), schema, random_splits(len(x), seed))
