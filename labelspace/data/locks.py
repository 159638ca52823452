"""One builder of a store at a time, whatever becomes of the others; and what killed builders left is cleaned up."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_WAIT = 0.1  # seconds between two looks at another builder's lock


def _take(path: Path) -> BinaryIO | None:
    """The lock file, locked; None where another process has it, or has just deleted it.

    Raises:
        OSError: it cannot be made, or the file system has no locks.
    """
    import fcntl  # not on Windows, where importing this module must still work

    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file.fileno()).st_ino == path.stat().st_ino:  # else this is a deleted file that locks nothing
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        file.close()
        raise
    file.close()
    return None


@contextmanager
def locked(home: Path, waiting: Callable[[], object]) -> Iterator[int]:
    """Holds the lock of a store, once nobody else does; calls ``waiting`` until then. Yields the lock's file descriptor."""
    path = home.parent / f".{home.name}.lock"
    while (file := _take(path)) is None:
        waiting()
        time.sleep(_WAIT)
    try:
        yield file.fileno()
    finally:
        path.unlink(missing_ok=True)
        file.close()


def sweep(home: Path, age: float) -> None:
    """Deletes the work of other stores that nobody is building and nobody has touched for ``age`` seconds."""
    for path in home.parent.iterdir():
        if not (match := re.fullmatch(r"\.(.+-[0-9a-f]{20})(-\w+|\.lock)?", path.name)) or match[1] == home.name:
            continue
        try:
            touched = max(file.stat().st_mtime for file in [path, *(path.iterdir() if path.is_dir() else [])])
            if time.time() - touched < age:
                continue
            lock = home.parent / f".{match[1]}.lock"
            if (file := _take(lock)) is not None:
                shutil.rmtree(path, ignore_errors=True)
                lock.unlink(missing_ok=True)
                file.close()
        except FileNotFoundError:
            continue  # another process was faster
