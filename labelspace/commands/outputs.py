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
from contextlib import contextmanager, suppress
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
    if found is not None and _state(out) not in _remembered(out):
        raise UserError(f"--out {out} is there already, and is not as labelspace wrote it; {where}")


@contextmanager
def remembering(given: argparse.Namespace) -> Iterator[None]:
    """Inside, a command writes its ``--out``, which is noted, also where it is killed when that has just taken its place."""

    def placing(path: Path, temporary: Path) -> None:
        out = str(getattr(given, "out", None) or "")
        if out and os.path.realpath(path) == os.path.realpath(out):
            kept = [state for state in _remembered(out) if os.path.exists(out) and state == _state(out)]
            _note(out, [*kept, [os.path.realpath(out), *_state(str(temporary))[1:]]])

    token = files.PLACING.set(placing)
    try:
        yield
    finally:
        files.PLACING.reset(token)
    out = str(getattr(given, "out", None) or "")
    if out and os.path.isfile(out):
        _note(out, [_state(out)])


def _note(out: str, states: list[list[str | int]]) -> None:
    """Keeps in which states a file is the commands' own."""
    with suppress(UserError, OSError), _unheard():  # if it cannot be kept, the next command asks for --overwrite
        file = _file(out)
        files.write_json(file, states)
        if len(others := list(file.parent.iterdir())) > _MOST:
            for old in sorted(others, key=lambda one: one.stat().st_mtime)[: _MOST // 2]:
                old.unlink(missing_ok=True)


def _takes_codes(given: argparse.Namespace, out: str) -> bool:
    """Whether codes are added to the file of cells that they are of, which keeps all else that is in it."""
    if given.command != "embed" or os.path.islink(out) or not out.lower().endswith(".h5ad"):
        return False
    return _same(out, given.data.partition(":")[2].split(",")[0])


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


def _remembered(out: str) -> list[list[str | int]]:
    """The states in which a file is the commands' own."""
    with suppress(UserError, OSError):
        if isinstance(found := files.read_json(_file(out)), list):
            return found if found and isinstance(found[0], list) else [found]
    return []


@contextmanager
def _unheard() -> Iterator[None]:
    """What is written inside is not an output."""
    token = files.PLACING.set(None)
    try:
        yield
    finally:
        files.PLACING.reset(token)


def _file(out: str) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(out))).hexdigest()[:20]
    return cache.place(_REMEMBERED) / f"{name}.json"
