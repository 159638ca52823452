"""``mnist:DIR``: IDX files, the format of MNIST and its family (Fashion-MNIST, KMNIST, EMNIST, ...)."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import numpy as np

from labelspace.data import paths
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError, reason
from labelspace.labels import Schema, categorical
from labelspace.storage import bounds

_PIECE = 2**20  # bytes that are unpacked at once
_KINDS = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def open(address: str, seed: int, path: str, progress=None, val: Annotated[float, "0.0833"] = 1 / 12) -> Dataset:
    """Reads the training and test files of a directory.

    Args:
        seed: seed of the validation split; the test split is the test file.
        path: directory with ``train-images*``, ``train-labels*``, ``t10k-images*`` (or ``test-images*``) and labels.
        val: part of the training digits that validates (a twelfth is 5,000 of 60,000); with 0 all of them train, and training
            keeps its last weights.

    Raises:
        UserError: a file is absent, damaged, or does not match its labels.
    """
    if not 0 <= val < 1:
        raise UserError(f"val is the part of the training digits that validates, from 0 up to below 1; got {val}")
    home = paths.directory(path)
    x_train, y_train = _pair(home, ("train",))
    x_test, y_test = _pair(home, ("t10k", "test"))
    if x_train.shape[1:] != x_test.shape[1:]:
        raise UserError(f"{home}: training images are {x_train.shape[1:]}, test images {x_test.shape[1:]}")
    y = np.concatenate([y_train, y_test])
    classes = np.unique(y)  # some sets of the family count from 1
    if len(classes) < 2:
        raise UserError(f"{home}: every label is {classes[0]}, so nothing can be learnt")
    order = np.random.default_rng(seed).permutation(len(x_train))
    n_val = max(1, int(val * len(order) + 0.5)) if val else 0
    x = np.concatenate([x_train, x_test])[:, None]
    values = np.searchsorted(classes, y)[:, None].astype(np.float32)
    return Dataset(
        address,
        x,
        values,
        np.ones(values.shape, bool),
        Schema([categorical("digit", [str(c) for c in classes])]),
        {
            "train": np.sort(order[n_val:]),
            **({"val": np.sort(order[:n_val])} if n_val else {}),
            "test": np.arange(len(x_train), len(x)),
        },
    )


def _pair(home: Path, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    images, labels = (_find(home, names, kind) for kind in ("images", "labels"))
    x, y = read_idx(images), read_idx(labels)
    if x.ndim != 3 or x.dtype != np.uint8:
        raise UserError(f"{images} holds {x.dtype} of shape {x.shape}; expected bytes (images, rows, columns)")
    if len(x) == 0:
        raise UserError(f"{images} holds no images")
    if y.shape != x.shape[:1]:
        raise UserError(f"{labels} holds {len(y)} labels for the {len(x)} images of {images.name}")
    return x, y


def _find(home: Path, names: tuple[str, ...], kind: str) -> Path:
    for name in names:
        found = sorted(p for p in home.iterdir() if p.name.startswith(f"{name}-{kind}") and p.is_file())
        if found:
            return found[0]
    raise UserError(f"{home} has no file {names[0]}-{kind}-*-ubyte (gzipped or not)")


def read_idx(path: Path) -> np.ndarray:
    """Reads one IDX file, gzipped if its name ends in .gz. Raises UserError when it is not one, too large, or cut short."""
    with bounds.opened(path) as raw:
        try:
            return _unpacked(path, cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path} cannot be read: {reason(error)}") from None


def _unpacked(path: Path, file: BinaryIO) -> np.ndarray:
    """The array of an IDX file; no more of it is unpacked than its first bytes say that it has."""
    head = file.read(4)
    sides = file.read(4 * head[3]) if len(head) == 4 else b""
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _KINDS or len(sides) < 4 * head[3]:
        raise UserError(f"{path} is not an IDX file")
    shape, kind = struct.unpack(f">{head[3]}I", sides), np.dtype(_KINDS[head[2]])
    size = math.prod(shape) * kind.itemsize
    bounds.check(path, 2 * size)
    body = bytearray()
    while len(body) <= size and (piece := file.read(min(_PIECE, size + 1 - len(body)))):
        body += piece
    if len(body) != size:
        raise UserError(f"{path} says {shape}, {size} bytes, but holds {'more' if len(body) > size else len(body)}")
    return np.frombuffer(body, kind).reshape(shape)
