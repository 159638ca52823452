"""Files and directories that users name, as paths that are there."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path

from labelspace.errors import UserError
from labelspace.storage import starters


def own(path: str | PathLike[str]) -> Path:
    """A path with ``~`` and ``~name`` for home directories; where there is no such home, as it is written.

    ``demo:NAME`` is the directory of a starter (:mod:`labelspace.storage.starters`). Raises UserError where there is none.
    """
    text = os.fspath(path)
    return starters.fetch(text) if text.startswith(starters.SCHEME) else Path(os.path.expanduser(text))


def directory(path: str | PathLike[str]) -> Path:
    """A directory's path. Raises UserError where there is none."""
    if not (found := own(path)).is_dir():
        raise UserError(f"no such directory: {path}")
    return found


def file(path: str | PathLike[str]) -> Path:
    """A file's path. Raises UserError where there is none."""
    if not (found := own(path)).is_file():
        is_there = found.exists()
        raise UserError(f"{path} is no file but a directory, a pipe or a device" if is_there else f"no such file: {path}")
    return found
