"""What is read is a file, and no larger than may be: what it becomes in memory is known, or bounded, before it is read.

``LABELSPACE_MAX_BYTES`` says how many bytes that may be (``8e9``, ``8G``); else it is half of the memory that this process can
have.
"""

from __future__ import annotations

import functools
import math
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from labelspace.errors import UserError, reason

VARIABLE = "LABELSPACE_MAX_BYTES"
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_PART = 2  # of the memory that there is
_AT_ONCE = 2**20  # bytes that are weighed
_UNKNOWN = 8 * 2**30  # bytes, where a system does not say how much it has


@dataclass(frozen=True)
class Kind:
    """A kind of content.

    Attributes:
        times: bytes of memory that a byte of it becomes, at most.
        usual: bytes of memory that are enough for whatever there is of it; for more the environment has to say so.
        weigh: bytes of memory that a part of a content becomes, where it can be told better than by its size.
    """

    times: int = 1
    usual: float = math.inf
    weigh: Callable[[bytes], int] | None = None


def _json(content: bytes) -> int:
    """About how many bytes Python's objects of a JSON text take, with the text."""
    weights = {b"{": 64, b"[": 72, b":": 60, b",": 34, b'"': 25}
    return 2 * len(content) + sum(weight * content.count(sign) for sign, weight in weights.items())


PLAIN = Kind()
JSON = Kind(1, 270 * 2**20, _json)
YAML = Kind(400, 270 * 2**20)
TABLE = Kind(4)


def most(usual: float = math.inf) -> int:
    """Bytes of memory that may be taken at once.

    Args:
        usual: no more, unless the environment says so.

    Raises:
        UserError: the environment says something else than a number of bytes.
    """
    given = os.environ.get(VARIABLE, "").strip()
    if not given:
        return int(min(_memory() // _PART, usual))
    match = re.fullmatch(r"(\d+(?:\.\d*)?(?:e\d{1,2})?)\s*([KMGT]?)(?:i?B)?", given, re.IGNORECASE)
    if not match:
        raise UserError(f"{VARIABLE}={given!r} is not a number of bytes, such as 8e9 or 8G")
    return int(float(match[1]) * _UNITS[match[2].upper()])


@functools.cache
def _memory() -> int:
    """Bytes of memory that this process can have: of the computer, or of what it was given of it."""
    found = []
    with suppress(AttributeError, ValueError, OSError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            found.append(int(Path("/sys/fs/cgroup", name).read_text(encoding="ascii")))
    with suppress(ImportError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            found.append(limit)
    return min((size for size in found if size > 0), default=_UNKNOWN)


def check(what: object, size: int, usual: float = math.inf, how: str = "read") -> None:
    """Raises UserError where something (named in the message) is larger than may be read, or made.

    Args:
        what: usually the path of a file.
        size: bytes that it takes in memory.
        usual: as of :func:`most`.
        how: what would be done with it.
    """
    if size > (allowed := most(usual)):
        raise UserError(
            f"{what} takes {_shown(size)} in memory, and no more than {_shown(allowed)} are {how} at once; "
            f"set {VARIABLE}={_enough(size)} in the environment to have it all the same"
        )


def _shown(size: int) -> str:
    for unit in ("TB", "GB", "MB"):
        if size >= (scale := _UNITS[unit[0]]):
            return f"{size / scale:,.3g} {unit}" if size < 1000 * scale else f"{size // scale:,} {unit}"
    return f"{size:,} bytes"


def _enough(size: int) -> str:
    """A round number of bytes that is enough."""
    for unit in "TGMK":
        if size >= 10 * _UNITS[unit]:
            return f"{-(-size // _UNITS[unit])}{unit}"
    return str(size)


def opened(path: Path) -> BufferedReader:
    """A file opened for reading: only one with content of its own, for a pipe or a device may have no end.

    Raises:
        UserError: there is none, it is no file, or it cannot be opened; the path is named.
    """
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise UserError(f"{path} cannot be read: {reason(error)}") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UserError(f"{path} cannot be read: it is no file but a directory, a pipe or a device")
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe that nobody writes to


def absent(path: Path) -> bool:
    """Whether there is nothing of this name. Raises OSError where that cannot be told: the directory may not be looked into."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    return False


def sized(path: Path, kind: Kind = PLAIN) -> None:
    """Raises UserError as :func:`opened`, and where a file of some kind becomes larger than may be read."""
    with opened(path) as file:
        _check_size(path, file, kind)


def _check_size(path: Path, file: BufferedReader, kind: Kind) -> None:
    check(path, kind.times * os.fstat(file.fileno()).st_size, kind.usual)


def read(path: Path, kind: Kind = PLAIN) -> bytes:
    """The content of a file. Raises UserError as :func:`sized`, and where reading fails."""
    with opened(path) as file:
        _check_size(path, file, kind)
        try:
            if kind.weigh is not None:  # part by part: the whole of it may be much
                check(path, sum(map(kind.weigh, iter(lambda: file.read(_AT_ONCE), b""))), kind.usual)
                file.seek(0)
            return file.read()
        except OSError as error:
            raise UserError(f"{path} cannot be read: {reason(error)}") from None


def text(path: Path, kind: Kind = PLAIN) -> str:
    """The content of a text file in UTF-8. Raises UserError as :func:`read`, and where it is no such text."""
    try:
        return read(path, kind).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged or no text: {error}") from None
