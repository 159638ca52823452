"""What a program of ours finds around it, made usable before all else: standard streams, and where libraries write."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from labelspace import cores
from labelspace.errors import UserError

STREAMS = ("standard input", "standard output", "standard error")
_NAMES = ("stdin", "stdout", "stderr")
_BESIDE = 256 << 20  # bytes that Python and other libraries take beside PyTorch's, until a command begins


class _Output(io.TextIOWrapper):
    """A standard stream whose errors say which it is; what a terminal cannot show is shown by its number."""

    def __init__(self, number: int, stream: io.TextIOWrapper) -> None:
        how: dict[str, Any] = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
        self._where = STREAMS[number]
        super().__init__(stream.detach(), stream.encoding, "backslashreplace", **how)

    def write(self, text: str, /) -> int:
        with self._named():
            return super().write(text)

    def flush(self) -> None:
        with self._named():
            super().flush()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._where) from None


def prepare() -> None:
    """To be called once, first, by programs; a library leaves the process of others as it is."""
    for number, name in enumerate(_NAMES):
        _open(number, name)
        stream = getattr(sys, name)
        if number and isinstance(stream, io.TextIOWrapper):
            encoded = _Output(number, stream)
            setattr(sys, name, encoded)
            setattr(sys, f"__{name}__", encoded)
    _place_matplotlib()
    cores.settle_threads()


def check_room() -> None:
    """Refuses to load PyTorch where less memory may be had than its libraries take: these end a process in ways of their own.

    Raises:
        UserError: as the message says.
    """
    with suppress(ImportError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        found = importlib.util.find_spec("torch")
        if limit == resource.RLIM_INFINITY or found is None or found.origin is None:
            return
        needed = _BESIDE + sum(file.stat().st_size for file in (Path(found.origin).parent / "lib").glob("*.so*"))
        if limit < needed:
            raise UserError(
                f"not enough memory: {limit >> 20} MB of address space may be had (ulimit -v), and PyTorch and what is "
                f"beside it take {needed >> 20} MB"
            )


def _open(number: int, name: str) -> None:
    """A standard stream that the caller closed leads nowhere: else the next file that is opened would take its place."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
    if getattr(sys, name) is None:
        setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))


def _place_matplotlib() -> None:
    """matplotlib keeps its list of fonts in our cache, unless the user has a directory for it."""
    from labelspace.storage import cache

    try:
        theirs = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "matplotlib"
        if "MPLCONFIGDIR" in os.environ or os.access(theirs, os.W_OK):
            return
    except (RuntimeError, KeyError, OSError):
        pass  # a user without a home
    os.environ["MPLCONFIGDIR"] = str((cache.lasting() or cache.temporary()) / "matplotlib")


def display() -> bool:
    """Whether a browser with windows may open. Elsewhere one of text could, in the terminal, and all else would wait for it."""
    return sys.platform in ("win32", "darwin") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def letters(argument: str) -> str:
    """A word of the command line as text: under an old locale Python takes its letters apart into bytes."""
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def leave() -> None:
    """What standard streams do not take is dropped: else the interpreter, which flushes them in the end, complains of it."""
    for number in (1, 2):
        stream = getattr(sys, _NAMES[number])
        try:
            if isinstance(stream, _Output) and not stream.closed:
                stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
