"""``tfd:FILE``: the Toronto Face Database (Susskind et al. 2010) as a MATLAB file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from labelspace.data import matlab, paths
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.labels import Schema, categorical

EXPRESSIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")  # 1 to 7 in the file
_ARRAYS = ("images", "labs_ex", "labs_id", "folds")


def open(address: str, seed: int, path: str, progress=None, fold: int = 1) -> Dataset:
    """Reads grey faces with one of seven expressions, and the official splits of a fold.

    Args:
        seed: not used; the splits are those of the file.
        path: a MATLAB file of version 5 to 7 with ``images`` (n, height, width) uint8, ``labs_ex`` (1 to 7, -1 not labelled),
            ``labs_id`` (-1 not known), which becomes the key ``identity``, and ``folds`` (n, 5), where 1 is training, 2
            validation, 3 test, and 0 an image for learning without labels, which trains too.
        fold: which of the columns of ``folds``, from 1.

    Raises:
        UserError: not such a file, or an entry that cannot be (array and row named).
    """
    file = paths.own(path)
    arrays = matlab.read(file, _ARRAYS)
    x = arrays["images"]
    if x.ndim != 3 or x.dtype != np.uint8 or not all(8 <= side <= 256 for side in x.shape[1:]) or not len(x):
        raise UserError(f"{file}: images is {x.dtype} {x.shape}; expected uint8 (n, height, width) with sides of 8 to 256")
    expression = _column(file, arrays["labs_ex"], "labs_ex", len(x))
    if (bad := ~np.isin(expression, [-1, *range(1, len(EXPRESSIONS) + 1)])).any():
        raise _wrong(file, "labs_ex", bad, expression, "1 to 7, or -1 where it is not known")
    identity = _column(file, arrays["labs_id"], "labs_id", len(x))
    if (bad := identity < -1).any():
        raise _wrong(file, "labs_id", bad, identity, "a number from 0, or -1 where it is not known")
    folds = arrays["folds"]
    if folds.ndim != 2 or len(folds) != len(x) or not folds.shape[1]:
        raise UserError(f"{file}: folds is {folds.shape}; expected a row for each of {len(x)} images")
    if not 1 <= fold <= folds.shape[1]:
        raise UserError(f"fold must be 1 to {folds.shape[1]}, got {fold}")
    part = _column(file, folds[:, fold - 1], "folds", len(x))
    if (bad := ~np.isin(part, [0, 1, 2, 3])).any():
        raise _wrong(file, "folds", bad, part, "0, 1 (train), 2 (validation) or 3 (test)", fold)
    observed = (expression > 0)[:, None]
    return Dataset(
        address,
        np.ascontiguousarray(x)[:, None],
        np.where(observed, expression[:, None] - 1, 0).astype(np.float32),
        observed,
        Schema([categorical("expression", EXPRESSIONS)]),
        {"train": np.flatnonzero(part <= 1), "val": np.flatnonzero(part == 2), "test": np.flatnonzero(part == 3)},
        ids=np.arange(1, len(x) + 1).astype(str),
        keys={"identity": np.where(identity < 0, "", identity.astype(str))},
    )


def _column(file: Path, array: np.ndarray, name: str, n: int) -> np.ndarray:
    """An array with one whole number per image, however MATLAB has stored it."""
    if array.size != n:
        raise UserError(f"{file}: {name} has {array.size} entries; expected one for each of {n} images")
    flat = array.reshape(n)
    wrong = ~np.isfinite(flat) | (np.abs(flat) > 2**31) | (flat != np.round(flat))
    if wrong.any():
        raise _wrong(file, name, wrong, flat, "a whole number")
    return flat.astype(np.int64)


def _wrong(file: Path, name: str, bad: np.ndarray, column: np.ndarray, expected: str, place: int = 1) -> UserError:
    row = int(bad.argmax())
    return UserError(f"{file}: {name}, row {row + 1}, column {place}: {column[row]:g} is not {expected}")
