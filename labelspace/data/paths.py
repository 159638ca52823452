"""Files and directories that users name, as paths that are there."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path

from labelspace.errors import UserError


def own(path: str | PathLike[str]) -> Path:
    """A path with ``~`` and ``~name`` for home directories; where there is no such home, as it is written."""
    return Path(os.path.expanduser(path))


def directory(path: str | PathLike[str]) -> Path:
    """A directory's path. Raises UserError where there is none."""
    if not (found := own(path)).is_dir():
        raise UserError(f"no such directory: {path}")
    return found


def file(path: str | PathLike[str]) -> Path:
    """A file's path. Raises UserError where there is none."""
    if not (found := own(path)).is_file():
        raise UserError(f"no such file: {path}")
    return found
