"""One builder of a store at a time, whatever becomes of the others; and what killed builders left is cleaned up."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from labelspace.storage import flock

_WAIT = 0.1  # seconds between two looks at another builder's lock


@contextmanager
def locked(home: Path, waiting: Callable[[], object]) -> Iterator[int]:
    """Holds the lock of a store, once nobody else does; calls ``waiting`` until then. Yields the lock's file descriptor."""
    path = home.parent / f".{home.name}.lock"
    while (held := flock.take(path, create=True)) is None:
        waiting()
        time.sleep(_WAIT)
    try:
        yield held
    finally:
        path.unlink(missing_ok=True)
        flock.release(held)


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
            if (held := flock.take(lock, create=True)) is not None:
                shutil.rmtree(path, ignore_errors=True)
                lock.unlink(missing_ok=True)
                flock.release(held)
        except FileNotFoundError:
            continue  # another process was faster
