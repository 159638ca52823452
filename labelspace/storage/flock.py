"""Locks that the system releases when the process that holds them ends, however it ends. Nothing heavy is imported here."""

from __future__ import annotations

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and what killed processes left is not removed
    fcntl = None


def take(path: Path, create: bool = False) -> int | None:
    """Locks a file or directory until its descriptor is closed, or the last process that has it ends, however it ends.

    Args:
        path: what is locked.
        create: make a file where there is none.

    Returns:
        The descriptor; None where another process has the lock, or has just deleted the file; -1 where the system has no locks.

    Raises:
        OSError: it is not there or cannot be made, or the file system has no locks.
    """
    if fcntl is None:
        return -1
    handle = os.open(path, os.O_RDWR | os.O_CREAT if create else os.O_RDONLY, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_ino == path.stat().st_ino:  # else this is a deleted file that locks nothing
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(handle)
        raise
    os.close(handle)
    return None


def release(held: int) -> None:
    """Gives up what :func:`take` took."""
    if held >= 0:
        os.close(held)
