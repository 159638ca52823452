"""Files and directories that users name, as paths that are there."""

from __future__ import annotations

from pathlib import Path

from labelspace.errors import UserError


def directory(path: str | Path) -> Path:
    """A directory's path. Raises UserError where there is none."""
    if not Path(path).is_dir():
        raise UserError(f"no such directory: {path}")
    return Path(path)


def file(path: str | Path) -> Path:
    """A file's path. Raises UserError where there is none."""
    if not Path(path).is_file():
        raise UserError(f"no such file: {path}")
    return Path(path)
