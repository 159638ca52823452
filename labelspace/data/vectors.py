"""Numbers of any size as single precision holds them."""

from __future__ import annotations

import numpy as np

from labelspace.errors import UserError
from labelspace.labels import origin_of
from labelspace.variables import Described, Variable


def counted_from(name: str, x: np.ndarray, like: Described | None = None) -> tuple[np.ndarray, tuple[float, ...]]:
    """Vectors ``(n, d)`` as float32, and what each column is counted from so that it keeps its differences (its ``origin``).

    Args:
        name: of the data, for messages.
        x: numbers of any type; NaN is missing.
        like: a trained model that they are for, which has origins of its own.

    Raises:
        UserError: a number that single precision cannot hold, or a column whose differences double precision has lost already.
    """
    if x.dtype.kind not in "fiu" or x.dtype.itemsize < 4:
        return np.ascontiguousarray(x, np.float32), ()
    wide = np.asarray(x, np.float64)
    if like is not None and len(like.variables) == x.shape[1]:
        origins = tuple(variable.origin for variable in like.variables)
    else:
        origins = tuple(origin_of(column) for column in wide.T)
        for i, column in enumerate(wide.T):
            known = column[np.isfinite(column)]
            if origins[i] and known.std() < 1e4 * np.finfo(np.float64).eps * abs(known.mean()):
                raise UserError(
                    f"{name}: column {i + 1} varies by {known.std():.2g} around {known.mean():.9g}, less than double precision "
                    "keeps apart; subtract what is common"
                )
    away = wide - np.array(origins) if any(origins) else wide
    large = np.isfinite(away) & (np.abs(away) > np.finfo(np.float32).max)
    if large.any():
        row, column = np.argwhere(large)[0]
        raise UserError(
            f"{name}, row {row + 1}, column {column + 1}: {wide[row, column]:g} is larger than single precision holds"
        )
    return np.ascontiguousarray(away, np.float32), origins if any(origins) else ()


def named(names: list[str], d: int, origins: tuple[float, ...]) -> tuple[Variable, ...]:
    """Variables of ``d`` columns of numbers: x1, x2, ... where they have no names; none where nothing is to be said."""
    if not names and not origins:
        return ()
    called = names or [f"x{i + 1}" for i in range(d)]
    return tuple(Variable(one, origin=origin) for one, origin in zip(called, origins or (0.0,) * d, strict=True))
