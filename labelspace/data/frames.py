"""Frames in and out: columns of the library that somebody uses (pandas, polars, pyarrow, whatever narwhals reads)."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from labelspace.data.arrow import pa
from labelspace.data.cells import Column
from labelspace.errors import UserError

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame

_LIBRARIES = ("pandas", "polars", "pyarrow")


def make(columns: Mapping[str, Any], like: Any = None, index: Any = None) -> IntoDataFrame:
    """Columns as a frame.

    Args:
        columns: name -> entries.
        like: a frame whose library is used; by default pandas, polars or pyarrow, whichever is there first.
        index: the index of a pandas frame, as long as the columns.

    Raises:
        UserError: no library for frames is installed.
    """
    import narwhals as nw

    backend: Any = None
    if like is not None:
        backend = nw.get_native_namespace(nw.from_native(like))
    for name in _LIBRARIES if backend is None else ():
        try:
            backend = importlib.import_module(name)
            break
        except ImportError:
            continue
    if backend is None:
        raise UserError("no library for frames is installed: pip install pandas (or polars, or pyarrow)")
    native = nw.from_dict({name: list(entries) for name, entries in columns.items()}, backend=backend).to_native()
    if index is not None and backend.__name__ == "pandas":
        native.index = index
    return native


def as_columns(frame: Any) -> dict[str, list[Any]]:
    """The columns of a frame: name -> entries."""
    found = _eager("frame", frame)
    return {name: found[name].to_list() for name in found.columns}


def is_frame(given: Any) -> bool:
    """Whether something is a frame of any library that narwhals knows."""
    if isinstance(given, Mapping | np.ndarray | list | tuple | str):
        return False
    import narwhals as nw

    try:
        nw.from_native(given)
    except TypeError:
        return False
    except Exception as error:
        if type(error).__module__.startswith("narwhals"):
            return True  # a frame with something wrong in it, which is said where it is read
        raise
    return True


def names(frame: Any) -> list[str]:
    """The names of a frame's columns."""
    import narwhals as nw

    return [str(column) for column in nw.from_native(frame).collect_schema().names()]


def columns(name: str, frame: Any) -> dict[str, Column]:
    """Columns of a frame as readers have them.

    Args:
        name: what the frame is called in messages.
        frame: the frame.

    Raises:
        UserError: it is none, or has a column without a text for a name, or two of one name.
    """
    found = _eager(name, frame)
    odd = [column for column in found.columns if not isinstance(column, str)]
    if odd:
        raise UserError(f"{name}: column {odd[0]!r} has a name that is no text; rename it (frame.columns = ...)")
    return {column: _column(column, found[column]) for column in found.columns}


def _eager(name: str, frame: Any) -> Any:
    import narwhals as nw
    from narwhals.exceptions import DuplicateError

    try:
        found = nw.from_native(frame)
        return found.collect() if isinstance(found, nw.LazyFrame) else nw.from_native(frame, eager_only=True)
    except DuplicateError:
        twice = Counter(map(str, frame.columns)).most_common(1)[0][0]
        raise UserError(f"{name}: two columns are called {twice!r}; rename or drop one") from None
    except TypeError:
        raise UserError(f"{name}: expected a frame (pandas, polars, pyarrow, ...), got {type(frame).__name__}") from None


def series(name: str, given: Any) -> Column | None:
    """A series of any library as a column; None where it is none."""
    import narwhals as nw

    try:
        return _column(name, nw.from_native(given, series_only=True))
    except TypeError:
        return None


def _column(name: str, series: Any) -> Column:
    """A column of a frame; one of mixed objects is read entry by entry."""
    try:
        return of_arrow(name, series.to_arrow())
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError, ValueError, OverflowError):
        return Column.of(name, series.to_list())


def of_arrow(name: str, cells: Any) -> Column:
    """An Arrow array as a column."""
    kind = cells.type
    if pa.types.is_nested(kind):
        return Column(name, pa.nulls(len(cells)), f"{str(kind).partition('<')[0]} values")
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        try:
            return Column(name, cells.cast(pa.string()))
        except pa.ArrowInvalid:
            return Column(name, pa.nulls(len(cells)), "bytes that are not UTF-8 text")
    return Column(name, cells)


def of_table(table: Any) -> dict[str, Column]:
    """Columns of an Arrow table.

    A column of lists of numbers that are all as long becomes one column for each place, "name.0", "name.1", ...
    """
    found: dict[str, Column] = {}
    for name in table.column_names:
        column = table.column(name)
        vectors = _vectors(column)
        places = {} if vectors is None else {f"{name}.{i}": entries for i, entries in enumerate(vectors.T)}
        if places and not places.keys() & set(table.column_names):
            found |= {place: Column(place, pa.array(entries)) for place, entries in places.items()}
        else:
            found[name] = of_arrow(name, column)
    return found


def _vectors(column: Any) -> np.ndarray | None:
    """A column of lists as ``(n, d)`` where all are lists of d numbers, otherwise None."""
    kinds = pa.types
    of_lists = kinds.is_list(column.type) or kinds.is_large_list(column.type) or kinds.is_fixed_size_list(column.type)
    if not of_lists or column.null_count or not len(column):
        return None
    if not (kinds.is_floating(column.type.value_type) or kinds.is_integer(column.type.value_type)):
        return None
    rows = column.to_pylist()
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        return None
    return np.array(rows, np.float64)


def index(frame: Any) -> list[Any] | None:
    """The names of a pandas frame's rows where it has any: other than 0, 1, 2, ..., and none twice."""
    found = getattr(frame, "index", None)
    if found is None or type(found).__name__ == "RangeIndex" or not getattr(found, "is_unique", False):
        return None
    entries = list(found)
    return None if entries == list(range(len(entries))) else entries
