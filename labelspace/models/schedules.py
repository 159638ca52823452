"""Weights that change during training.

A schedule is a number as a function of training time, and time is counted in **epochs** (as a fraction inside one), so
that it does not depend on batch size or data set size. In configuration it is written as text:

==========================  ==================================================================
``0.2``                     constant
``linear:0->1@10``          straight line from 0 to 1 over the first 10 epochs, then 1
``cosine:0->1@10``          half a cosine wave from 0 to 1 over the first 10 epochs, then 1
``cyclic:0->1@10``          every 10 epochs: linear over the first half, then 1 for the second
==========================  ==================================================================
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from labelspace.errors import UserError

_FORM = re.compile(r"(linear|cosine|cyclic):(.+)->(.+)@(.+)")


@dataclass(frozen=True)
class Schedule:
    """A weight as a function of time in epochs; see the module for the kinds. ``str`` gives what :func:`parse` reads."""

    kind: Literal["constant", "linear", "cosine", "cyclic"]
    start: float
    end: float
    epochs: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.end)):
            raise UserError(f"a weight must be finite, got {self.start} -> {self.end}")
        if min(self.start, self.end) < 0:
            raise UserError(f"a weight cannot be negative, got {min(self.start, self.end):g}")
        if not 0 < self.epochs < math.inf:
            raise UserError(f"a schedule needs a positive number of epochs, got {self.epochs}")

    def __call__(self, epoch: float) -> float:
        if self.kind == "constant":
            return self.end
        fraction = epoch / self.epochs
        if self.kind == "cyclic":
            fraction = 2 * (fraction % 1.0)
        fraction = min(max(fraction, 0.0), 1.0)
        if self.kind == "cosine":
            fraction = 0.5 - 0.5 * math.cos(math.pi * fraction)
        return self.start + (self.end - self.start) * fraction

    def __str__(self) -> str:
        if self.kind == "constant":
            return repr(self.end)
        return f"{self.kind}:{self.start!r}->{self.end!r}@{self.epochs!r}"


def parse(given: float | str | Schedule) -> Schedule:
    """A schedule from a number or its text form.

    Raises:
        UserError: neither a number nor one of the forms, or a negative weight.
    """
    if isinstance(given, Schedule):
        return given
    match = _FORM.fullmatch(str(given).strip())
    try:
        numbers = [float(part) for part in match.groups()[1:]] if match else [float(given)] * 2
    except (ValueError, TypeError):
        raise UserError(f"{given!r} is not a weight; write a number or linear|cosine|cyclic:START->END@EPOCHS") from None
    return Schedule(match[1] if match else "constant", *numbers)  # type: ignore[arg-type]
