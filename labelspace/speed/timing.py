"""Rates of several contestants, measured in turn so that a machine's moods meet all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Contestant = Callable[[], float]
"""Runs one round and returns its rate, in units a second."""


@dataclass(frozen=True)
class Spread:
    """The least, the middle and the largest of some numbers."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, numbers: list[float]) -> Spread:
        return cls(min(numbers), statistics.median(numbers), max(numbers))

    def plain(self) -> dict[str, float]:
        return {"min": self.minimum, "median": self.median, "max": self.maximum}


def interleaved(
    contestants: Mapping[str, Contestant], rounds: int, tell: Callable[[str], None] = lambda text: None
) -> dict[str, list[float]]:
    """Rates of every contestant, one a round; a first round of all of them is not counted.

    The order is turned round every other round: whoever always came second would always meet the same moment.

    Args:
        contestants: name -> what runs one round.
        rounds: how many are counted.
        tell: called with each rate.
    """
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(-1, rounds):
        for name in list(contestants)[:: -1 if turn % 2 else 1]:
            rate = contestants[name]()
            if turn >= 0:
                rates[name].append(rate)
                tell(f"round {turn + 1}/{rounds}  {name}: {rate:,.0f}/s")
    return rates


def against(rates: Mapping[str, list[float]], base: str) -> dict[str, Spread]:
    """Every contestant's rate over the base's in the same round."""
    return {
        name: Spread.of([mine / its for mine, its in zip(found, rates[base], strict=True)])
        for name, found in rates.items()
        if name != base
    }


def summary(rates: Mapping[str, list[float]], base: str) -> dict[str, Any]:
    """Rates and ratios as plain data."""
    ratios = against(rates, base) if base in rates else {}
    return {
        name: {"rate": Spread.of(found).plain(), **({"ratio": ratios[name].plain()} if name in ratios else {})}
        for name, found in rates.items()
    }
