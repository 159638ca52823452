"""Calls of the command, each in a forked child of a process that has imported everything: thousands are affordable.

A child has limits on time, memory and what it may write, gives up the rights of root, and starts in a directory of its own.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 30.0
MEMORY = 4 << 30  # bytes of address space beyond what the parent has
WRITTEN = 512 << 20  # bytes of a file
NOBODY = 65534


@dataclass(frozen=True)
class Outcome:
    """What came of a call.

    Attributes:
        code: exit code; negative is the signal that ended it.
        out, err: what it wrote; a traceback where there was one.
        crashed: the exception, or what else ended it in a way that no call may end; "" where it ended well.
        seconds: time.
        grown: bytes of memory that it held at most, beyond what the parent holds.
    """

    code: int
    out: str
    err: str
    crashed: str
    seconds: float
    grown: int


def call(
    function: Callable[[], int | None], home: Path, *, plain: bool = True, seconds: float = SECONDS, memory: int = MEMORY
) -> Outcome:
    """Runs a function in a child.

    Args:
        function: returns an exit code.
        home: an existing directory that the child starts in.
        plain: whether a child of root becomes nobody.
        seconds: after which it is killed.
        memory: bytes of address space that it may take.
    """
    out, err, facts = (home / f".{name}" for name in ("out", "err", "facts"))
    for file in (out, err, facts):
        file.write_bytes(b"")
        file.chmod(0o666)
    sys.stdout.flush()
    sys.stderr.flush()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(function, home, out, err, facts, plain, memory)
    status = _waited(child, began + seconds)
    took = time.monotonic() - began
    if status is None:
        code, crashed = -signal.SIGKILL, f"took more than {seconds:g} s"
    else:
        code = os.waitstatus_to_exitcode(status)
        crashed = f"ended by signal {-code} ({signal.Signals(-code).name})" if code < 0 else ""
    said = facts.read_text(errors="replace").partition("\n")
    error = err.read_text(errors="replace")
    return Outcome(code, out.read_text(errors="replace"), error, crashed or said[2].strip(), took, int(said[0] or 0))


def _waited(child: int, until: float) -> int | None:
    """The child's status; None where it had to be killed."""
    pause = 0.001
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > until:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def _child(function: Callable[[], int | None], home: Path, out: Path, err: Path, facts: Path, plain: bool, memory: int) -> None:
    code, crashed = 70, ""
    try:
        os.setpgid(0, 0)
        os.chdir(home)
        for path, number in ((out, 1), (err, 2)):
            opened = os.open(path, os.O_WRONLY | os.O_TRUNC)
            os.dup2(opened, number)
            os.close(opened)
        report = os.open(facts, os.O_WRONLY)
        before = _status("VmRSS")
        resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + memory,) * 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        if plain and os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(n, "w", closefd=False), "utf-8", "backslashreplace") for n in (1, 2))
        try:
            code = function() or 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException as error:
            crashed = " ".join(f"{type(error).__name__}: {error}".split())[:300] + _place(error)
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(report, f"{max(0, _status('VmHWM') - before)}\n{crashed}".encode(errors="replace"))
    finally:
        os._exit(code)


def _status(name: str) -> int:
    """Bytes that the system says of this process."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def _place(error: BaseException) -> str:
    """The last line of our code that an exception passed."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if "/labelspace/" in frame.filename]
    return f" @ {own[-1].filename.rpartition('/labelspace/')[2]}:{own[-1].name}" if own else ""


def command(arguments: Sequence[str]) -> Callable[[], int]:
    """The command with these arguments, as a function."""

    def run() -> int:
        from labelspace import cli

        return cli.main(list(arguments))

    return run


def warm() -> None:
    """Imports what commands import, so that children find it there."""
    import importlib

    for name in (
        "anndata", "anndata.io", "datasets", "h5py", "matplotlib.pyplot", "pandas", "pyarrow.compute", "pyarrow.csv", "pyarrow.parquet",
        "scipy.io", "scipy.sparse", "torch", "jsonargparse", "sklearn",
    ):  # fmt: skip
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    from labelspace import cli, config, data, models  # noqa: F401
    from labelspace.models import names

    for name in names():
        config.settings(name)
    for module in ("arrays", "bench", "compare", "data", "demo", "edit", "evaluate", "explain", "export", "models", "report", "reproduce", "train"):
        importlib.import_module(f"labelspace.commands.{module}")
