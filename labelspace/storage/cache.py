"""The user's cache: what can be made again, kept between runs.

It lies in ``$LABELSPACE_CACHE``, else in ``labelspace`` in the user's cache directory. Where none can be made (a user without a
home, a home that is read-only), it is a temporary one, deleted when the process ends.
"""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path

from labelspace.errors import aside


def directory() -> Path:
    """Where new things are kept."""
    kept = lasting()
    if kept is None:
        _tell()
    return kept or temporary()


def place(name: str) -> Path:
    """Where something of the cache is, or is to be put."""
    usual = None if os.environ.get("LABELSPACE_CACHE") else _usual()
    if usual is not None and os.path.exists(usual / name):  # also in a cache that can only be read
        return usual / name
    return directory() / name


def lasting() -> Path | None:
    """The directory that outlives the process; None where there can be none. One that the user names is not looked at."""
    if given := os.environ.get("LABELSPACE_CACHE"):
        return Path(os.path.expanduser(given))
    usual = _usual()
    return usual if usual is not None and _can_be_written(usual) else None


def temporary() -> Path:
    """This process's own directory; it is deleted with the process."""
    return Path(_made().name)


@functools.cache
def _made() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="labelspace-cache-")


@functools.cache
def _tell() -> None:
    usual = _usual()
    why = "there is no home directory" if usual is None else f"{usual} cannot be written"
    aside(f"{why}: the cache is a temporary one; name a directory in LABELSPACE_CACHE to keep it")


def _usual() -> Path | None:
    """The user's own place for it; None for a user who has no home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "labelspace"
    except (RuntimeError, KeyError, OSError):
        return None


def _can_be_written(path: Path) -> bool:
    """Whether a directory can be written, or can be made."""
    while not os.path.lexists(path) and path.parent != path:
        path = path.parent
    return os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK)
