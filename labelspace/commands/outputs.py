"""What ``--out`` names: a file that is there is not destroyed, unless a command wrote it and nobody has changed it since.

What commands write is remembered in the cache: the file's path, size and time of change. Directories are looked at by those
who fill them (:func:`labelspace.storage.files.filling`).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from labelspace.errors import UserError
from labelspace.storage import cache, files

_REMEMBERED = "written"
_FILES = {"report", "embed", "predict", "traverse", "inpaint"}  # commands that write one file
_MOST = 5_000  # files that are remembered


def check(given: argparse.Namespace) -> None:
    """Refuses an ``--out`` that would destroy something.

    Raises:
        UserError: it is a device or a pipe; or, without ``--overwrite``, an input of the same command, a link, or a file that
            the commands did not write or that was changed since.
    """
    out = getattr(given, "out", None)
    if out and given.command in _FILES and os.path.isdir(out):
        raise UserError(f"--out {out} is a directory; expected the name of a file")
    if not out or not os.path.lexists(out) or os.path.isdir(out):
        return
    found = os.stat(out) if os.path.exists(out) else None
    if found is not None and not stat.S_ISREG(found.st_mode):
        raise UserError(f"--out {out} is a device or a pipe; expected the name of a file")
    if getattr(given, "overwrite", False) or _takes_codes(given, out):
        return
    where = "name another file" + (", or add --overwrite" if hasattr(given, "overwrite") else "")
    if os.path.islink(out):
        raise UserError(f"--out {out} is a link to {os.path.realpath(out)}; {where}")
    if any(_same(out, read) for read in _inputs(given)):
        raise UserError(f"--out {out} is read by the same command; {where}")
    if found is not None and _remembered(out) != _state(out):
        raise UserError(f"--out {out} is there already, and is not as labelspace wrote it; {where}")


def remember(given: argparse.Namespace) -> None:
    """Notes that a command has written its ``--out``."""
    out = getattr(given, "out", None)
    if not out or not os.path.isfile(out):
        return
    with suppress(UserError, OSError):  # then the next command asks for --overwrite
        file = _file(out)
        files.write_json(file, _state(out))
        if len(others := list(file.parent.iterdir())) > _MOST:
            for old in sorted(others, key=lambda one: one.stat().st_mtime)[: _MOST // 2]:
                old.unlink(missing_ok=True)


def _takes_codes(given: argparse.Namespace, out: str) -> bool:
    """Whether codes are added to the file of cells that they are of, which keeps all else that is in it."""
    return given.command == "embed" and out.lower().endswith(".h5ad") and _same(out, given.data.partition(":")[2].split(",")[0])


def _inputs(given: argparse.Namespace) -> Iterator[str]:
    """Files that a command may read: whatever its arguments name, plainly or as an address."""
    for name, value in vars(given).items():
        for text in value if isinstance(value, list) else [value]:
            if name not in ("out", "words") and isinstance(text, str):
                yield text
                yield text.partition(":")[2].split(",")[0]


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, os.path.expanduser(other))
    except (OSError, ValueError):
        return False


def _state(out: str) -> list[str | int]:
    """What tells whether a file is as it was."""
    found = os.stat(out)
    return [os.path.realpath(out), found.st_size, found.st_mtime_ns]


def _remembered(out: str) -> list[str | int] | None:
    with suppress(UserError, OSError):
        return files.read_json(_file(out))
    return None


def _file(out: str) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(out))).hexdigest()[:20]
    return cache.place(_REMEMBERED) / f"{name}.json"
