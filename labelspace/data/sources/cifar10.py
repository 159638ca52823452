"""``cifar10:DIR``: CIFAR-10 and CIFAR-100 (Krizhevsky 2009), the binary version."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from labelspace.data import paths
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.labels import Schema, categorical
from labelspace.storage import bounds

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


def open(address: str, seed: int, path: str, progress=None, val: float = 0.1) -> Dataset:
    """Reads 32 x 32 colour images; the test file is the test split.

    Args:
        path: directory with ``data_batch_1.bin`` to ``data_batch_5.bin``, ``test_batch.bin`` and ``batches.meta.txt``, and the
            label is ``class``; or of CIFAR-100, with ``train.bin``, ``test.bin``, ``coarse_label_names.txt`` and
            ``fine_label_names.txt``, and the labels are ``coarse`` and ``fine``.
        val: part of the training images that validates (a tenth is 5,000 of 50,000); with 0 all of them train.

    Raises:
        UserError: a file is absent, cut short, or has a label without a name (file and record named).
    """
    if not 0 <= val < 1:
        raise UserError(f"val is the part of the training images that validates, from 0 up to below 1; got {val}")
    home = paths.directory(path)
    hundred = (home / "train.bin").is_file()
    if hundred:
        train, test = ["train.bin"], "test.bin"
        labels = {"coarse": "coarse_label_names.txt", "fine": "fine_label_names.txt"}
    else:
        train, test = [f"data_batch_{i}.bin" for i in range(1, 6)], "test_batch.bin"
        labels = {"class": "batches.meta.txt"}
    classes = [_names(home / file) for file in labels.values()]
    records = [_records(home / file, classes) for file in (*train, test)]
    n = [len(part) for part in records]
    x = np.empty((sum(n), *_SHAPE), np.uint8)
    values = np.empty((sum(n), len(labels)), np.float32)
    for end, part in zip(np.cumsum(n), records, strict=True):
        x[end - len(part) : end] = part[:, len(labels) :].reshape(-1, *_SHAPE)
        values[end - len(part) : end] = part[:, : len(labels)]
    n_train = sum(n[:-1])
    order = np.random.default_rng(seed).permutation(n_train)
    n_val = max(1, round(val * n_train)) if val else 0
    return Dataset(
        address,
        x,
        values,
        np.ones(values.shape, bool),
        Schema([categorical(name, names) for name, names in zip(labels, classes, strict=True)]),
        {
            "train": np.sort(order[n_val:]),
            **({"val": np.sort(order[:n_val])} if n_val else {}),
            "test": np.arange(n_train, len(x)),
        },
        ids=np.array([f"{file}:{i}" for file, count in zip((*train, test), n, strict=True) for i in range(count)]),
    )


def _names(file: Path) -> list[str]:
    if not file.is_file():
        raise _absent(file)
    names = [line.strip() for line in bounds.text(file).splitlines() if line.strip()]
    if len(names) < 2 or len(set(names)) != len(names):
        raise UserError(f"{file}: expected the names of classes, each on a line of its own; got {len(names)}")
    return names


def _records(file: Path, classes: list[list[str]]) -> np.ndarray:
    """``(n, labels + pixels)`` bytes; labels have names."""
    if not file.is_file():
        raise _absent(file)
    raw = np.frombuffer(bounds.read(file, bounds.Kind(2)), np.uint8)
    length = len(classes) + _PIXELS
    if not len(raw) or len(raw) % length:
        raise UserError(f"{file} has {len(raw)} bytes, which are not records of {length}; is it cut short?")
    records = raw.reshape(-1, length)
    for column, names in enumerate(classes):
        bad = records[:, column] >= len(names)
        if bad.any():
            row = int(bad.argmax())
            raise UserError(f"{file}, record {row + 1}: label {records[row, column]}, but there are {len(names)} classes")
    return records


def _absent(file: Path) -> UserError:
    if (file.parent / "data_batch_1").exists() or (file.parent / "train").is_file():
        return UserError(
            f"{file.parent} is the Python version of the set, which is pickled and could run anything when it is read; bring "
            "the binary version"
        )
    return UserError(f"{file.parent} has no file {file.name}")
