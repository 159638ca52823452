"""Locks that the system releases when the last process that holds them ends, however it ends."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from labelspace.errors import UserError, reason

DESCRIPTORS = os.name == "posix"  # whether a process hands descriptors to those that it starts: Windows knows handles only
_WAIT = 0.1  # seconds between two looks at another process's lock


def acquire(path: Path, create: bool = False) -> int | None:
    """Locks a file or directory until its descriptor is closed, or the last process that has it ends.

    Args:
        path: what is locked.
        create: make a file where there is none.

    Returns:
        The descriptor; None where another process has the lock, or has just deleted the file.

    Raises:
        OSError: it is not there or cannot be made, or the file system (on Windows: of a directory) has no locks.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT if create else os.O_RDONLY, 0o666)
    try:
        # A file that was deleted while we waited for it locks nothing.
        if lock_descriptor(handle, blocking=False) and os.fstat(handle).st_ino == path.stat().st_ino:
            return handle
    except FileNotFoundError:
        pass
    except OSError:
        os.close(handle)
        raise
    os.close(handle)
    return None


@contextmanager
def locked(path: Path, waiting: Callable[[], object] | None = None) -> Iterator[int]:
    """Holds a lock file, which is deleted in the end. Yields its descriptor: a process that inherits it holds the lock, too.

    Args:
        path: the file; it is made where there is none.
        waiting: called again and again while another process holds it; by default nobody waits.

    Raises:
        BlockingIOError: another process holds it, and nobody waits.
        OSError: it cannot be made, or the file system has no locks.
    """
    while (held := acquire(path, create=True)) is None:
        if waiting is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(path))
        waiting()
        time.sleep(_WAIT)
    try:
        yield held
    finally:
        with suppress(FileNotFoundError, PermissionError):  # Windows deletes no file that is open
            path.unlink()
        os.close(held)


def inherited(lock: int) -> dict[str, Any]:
    """Arguments of ``subprocess.Popen`` by which the process that is started holds a lock, too, where it can.

    Elsewhere only the process that starts it does; one that outlives it ends when it next writes to it.
    """
    return {"pass_fds": (lock,)} if DESCRIPTORS else {}


@contextmanager
def exclusive(path: Path, busy: str, tell: Callable[[str], object]) -> Iterator[None]:
    """Holds a lock file, or refuses to go on.

    Args:
        path: the file.
        busy: what is said where another process holds it.
        tell: told in a line where the file system has no locks; the block is run then.

    Raises:
        UserError: another process holds it, or it cannot be written.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path))
        except BlockingIOError:
            raise UserError(busy) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise UserError(f"{path} cannot be written: {reason(error)}") from None
            tell(f"the file system of {path.parent} has no locks; see to it that no second process trains there")
        yield
