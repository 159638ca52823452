"""Frames out: columns as a frame of the library that somebody uses."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
        backend = nw.get_native_namespace(nw.from_native(like, eager_only=True))
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
    import narwhals as nw

    found = nw.from_native(frame, eager_only=True)
    return {name: found[name].to_list() for name in found.columns}
