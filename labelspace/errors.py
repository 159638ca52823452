"""The errors that users meet, and what ends a training that was asked to stop."""

from __future__ import annotations

import difflib
import errno
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

_COMMAND = ContextVar("labelspace_command", default=False)
_SAID: ContextVar[set[str] | None] = ContextVar("labelspace_said", default=None)
_HEARD: ContextVar[list[str] | None] = ContextVar("labelspace_heard", default=None)
# What Python, numpy and PyTorch say, in errors of several kinds, of sizes that no memory has, of integers beyond 64 bits, and
# of numbers of thousands of digits.
_OUT_OF_RANGE = (
    "array is too big",
    "Maximum allowed",
    "Exceeds the limit",
    "cannot be converted to type",
    "Overflow when unpacking",
    "Storage size calculation overflowed",
    "expected non-negative integer",
)


class UserError(ValueError):
    """Something that was asked for cannot be done; the message says what was given, what was expected and what to do.

    The command line prints it as one line and exits with code 2.
    """


class OutsideData(UserWarning):
    """Something was given or asked for that training data had nothing of: what a model makes of it is extrapolated."""


class Unverified(UserWarning):
    """A file has nothing by which damage to it could be noticed."""


class DivergedError(RuntimeError):
    """Training met a NaN or an infinity; the message names the first bad term, the step and the last good checkpoint.

    The command line prints it as one line and exits with code 1.
    """


class LostError(RuntimeError):
    """One of several training processes ended or does not answer.

    The command line prints it as one line and exits with code 1.
    """


class InterruptedTraining(KeyboardInterrupt):
    """Training was asked to end by Ctrl-C or by a scheduler's SIGTERM; the message says how to go on.

    The command line prints it as one line and exits with code 128 + the signal's number.

    Args:
        message: what happened and how to go on.
        signal: the signal's number.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's, numpy's, or PyTorch's on any device."""
    if isinstance(error, MemoryError):
        return True
    said = str(error).lower()
    if isinstance(error, ImportError):  # a library that could not be loaded
        return "failed to map segment" in said or os.strerror(errno.ENOMEM).lower() in said
    if isinstance(error, SystemError):  # of C code that could not even say what it lacked
        return "without exception set" in said or "without setting an exception" in said
    return isinstance(error, RuntimeError) and any(
        text in said for text in ("out of memory", "not enough memory", "allocate memory", "bad_alloc")
    )


def told(error: BaseException) -> str | None:
    """An error that is not the program's own fault, as one line; None for all others.

    These are :class:`UserError` and the like, whatever the operating system refuses (with the path), memory that ran out, and
    a number that is too large for what it was given for.
    """
    said = " ".join(str(error).split())
    if isinstance(error, UserError | DivergedError | LostError):
        return said
    if lacks_memory(error):
        return f"not enough memory: {said or 'no more could be had'}"
    if isinstance(error, OSError):
        return refused(error)
    if isinstance(error, ImportError) and (why := os.strerror(errno.EMFILE)) in said:  # a library that could not be opened
        return f"{why} (ulimit -n says how many may be)"
    if isinstance(error, ValueError) and said.startswith("embedded null"):
        return "a path cannot hold a null character"
    if isinstance(error, OverflowError) or any(text in said for text in _OUT_OF_RANGE):
        return f"a number is out of range: {said[:200]}"
    return None


def refused(error: OSError) -> str:
    """What the operating system refused and why, with the path where there is one."""
    why = reason(error)
    return f"{os.fsdecode(error.filename)}: {why}" if isinstance(error.filename, str | bytes | os.PathLike) else why


def reason(error: Exception) -> str:
    """Why something was refused, without the path."""
    why = " ".join(str(getattr(error, "strerror", "") or error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        why += " (ulimit -n says how many may be)"
    return why


def unknown(kind: str, given: str, known: Iterable[str]) -> UserError:
    """The error for a name that does not exist, with the nearest names that do."""
    known = [str(name) for name in known]
    near = difflib.get_close_matches(str(given), known, n=1, cutoff=0.5)
    if near:
        return UserError(f"unknown {kind} {given!r}; did you mean {near[0]!r}?")
    return UserError(f"unknown {kind} {given!r}; known: {', '.join(known) or 'none'}")


@contextmanager
def for_command() -> Iterator[None]:
    """Inside, messages speak to a user of the command line: :func:`option` names flags."""
    token, said = _COMMAND.set(True), _SAID.set(set())
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # of fields of a picture that nobody reads
            yield
    finally:
        _COMMAND.reset(token)
        _SAID.reset(said)


@contextmanager
def hearing() -> Iterator[list[str]]:
    """Inside, what :func:`note` says is only put into the list that this gives: pages show it themselves."""
    heard: list[str] = []
    token = _HEARD.set(heard)
    try:
        yield heard
    finally:
        _HEARD.reset(token)


def note(text: str, kind: type[UserWarning] = OutsideData) -> None:
    """Something that a user should know, in one line: a warning, on the command line a line on standard error, once for all
    parts of the samples."""
    said, heard = _SAID.get(), _HEARD.get()
    if heard is not None:
        heard += [text] if text not in heard else []
    elif said is None:
        warnings.warn(text, kind, stacklevel=2)
    elif text not in said:
        said.add(text)
        aside(f"note: {text}")


def aside(text: str) -> None:
    """A line on standard error, where that can be written."""
    with suppress(OSError, ValueError, AttributeError):  # full, closed, or absent
        sys.stderr.write(text + "\n")


def option(name: str, value: str = "") -> str:
    """What an option is called by whom a message is for: ``--labels`` on the command line, ``labels=`` in Python.

    Args:
        name: of the option, as an argument in Python.
        value: what it is to be, as text.
    """
    if _COMMAND.get():
        return f"--{name.replace('_', '-')}{f' {value}' if value else ''}"
    return f"{name}={value!r}" if value else f"{name}="


def setting(name: str, value: str = "") -> str:
    """As :func:`option`, of a model's argument or a training option: ``--set likelihood=gaussian``, or without ``--set``."""
    if _COMMAND.get():
        return f"--set {name}={value or '...'}"
    return option(name, value)
