"""The errors that users meet."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something that was asked for cannot be done; the message says what was given, what was expected and what to do.

    The command line prints it as one line and exits with code 2.
    """


class DivergedError(RuntimeError):
    """Training met a NaN or an infinity; the message names the first bad term, the step and the last good checkpoint.

    The command line prints it as one line and exits with code 1.
    """


class LostError(RuntimeError):
    """One of several training processes ended or does not answer.

    The command line prints it as one line and exits with code 1.
    """


def unknown(kind: str, given: str, known: Iterable[str]) -> UserError:
    """The error for a name that does not exist, with the nearest names that do."""
    known = [str(name) for name in known]
    near = difflib.get_close_matches(str(given), known, n=1, cutoff=0.5)
    if near:
        return UserError(f"unknown {kind} {given!r}; did you mean {near[0]!r}?")
    return UserError(f"unknown {kind} {given!r}; known: {', '.join(known) or 'none'}")
