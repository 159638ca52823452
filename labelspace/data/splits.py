"""Splits of samples into training, validation and test."""

from __future__ import annotations

from typing import Literal

import numpy as np

from labelspace.labels import Schema

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


def random_splits(n: int, seed: int, fractions: tuple[float, float] = (0.1, 0.1)) -> dict[Split, np.ndarray]:
    """Train, validation and test indices of ``n`` samples, shuffled by a seed.

    Args:
        n: samples.
        seed: seed of the shuffle.
        fractions: parts of all samples for validation and test; each gets at least one sample.
    """
    order = np.random.default_rng(seed).permutation(n)
    n_val, n_test = (max(1, round(n * f)) for f in fractions)
    return {
        "train": np.sort(order[n_val + n_test :]),
        "val": np.sort(order[:n_val]),
        "test": np.sort(order[n_val : n_val + n_test]),
    }


def drawn_splits(schema: Schema, values: np.ndarray, observed: np.ndarray, seed: int) -> dict[Split, np.ndarray]:
    """Random splits in each of which every class has a sample, where it has three and the split has room.

    Where a split has none of such a class, it gets one of the split that has most of them, in exchange for a sample whose
    classes it has more of; of a class with fewer samples the training split has one. Else they are those of
    :func:`random_splits`.

    Args:
        schema: the labels.
        values, observed: ``(n, labels)``.
        seed: as there.
    """
    n = len(values)
    splits = random_splits(n, seed)
    home = np.empty(n, np.int64)
    for place, split in enumerate(SPLITS):
        home[splits[split]] = place
    rng, moved = np.random.default_rng([seed, 7]), False
    members = [
        np.flatnonzero(observed[:, i] & (values[:, i] == value))
        for i, label in enumerate(schema)
        if label.discrete
        for value in range(len(label.values))
    ]
    members = [rows for rows in members if len(rows)]
    for rows in sorted(members, key=len):
        for place in range(len(SPLITS) if len(rows) >= len(SPLITS) else 1):  # SPLITS[0] is training
            counts = np.bincount(home[rows], minlength=len(SPLITS))
            if counts[place]:
                continue
            source = int(counts.argmax())
            taken = int(rng.choice(rows[home[rows] == source]))
            spare = _spare(members, home, place, taken)
            if len(spare):
                home[taken], home[int(rng.choice(spare))], moved = place, source, True
    return {split: np.flatnonzero(home == place) for place, split in enumerate(SPLITS)} if moved else splits


def _spare(members: list[np.ndarray], home: np.ndarray, place: int, taken: int) -> np.ndarray:
    """Samples of a split that it can give away: none of their classes would be without one."""
    spare = home == place
    for rows in members:
        here = rows[home[rows] == place]
        if len(here) == 1 and taken not in rows:
            spare[here] = False
    return np.flatnonzero(spare)
