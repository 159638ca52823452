"""Data that tests of several models train on."""

from __future__ import annotations

import numpy as np
import pytest

from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.labels import Schema


@pytest.fixture
def mixed() -> Dataset:
    """Five numbers that follow from two independent ones, without labels."""
    rng, n = np.random.default_rng(0), 1200
    a, b = rng.uniform(-1, 1, (2, n))
    x = np.stack([a + b, a - b, a * b, np.sin(2 * a), b**2], 1) + 0.05 * rng.normal(size=(n, 5))
    empty = np.zeros((n, 0), np.float32)
    return Dataset("mixed", x.astype(np.float32), empty, empty.astype(bool), Schema([]), random_splits(n, 0))
