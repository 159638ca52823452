"""The tabs that are open: at most so many, and none that nobody uses. What they hold is freed; their addresses are enough to
go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

IDLE = 3600.0  # seconds without a change, after which a tab rests


class Tab(Protocol):
    """What is kept of a tab."""

    @property
    def used(self) -> float:
        """When it was used last (:func:`time.monotonic`)."""
        ...

    def rest(self, why: str) -> None: ...


class Tabs:
    """Tabs by their names.

    Args:
        most: so many are kept; when another one opens, the one that was not used for longest rests.
        idle: seconds after which a tab that is not used rests.
        now: the clock.
    """

    def __init__(self, most: int, idle: float = IDLE, now: Callable[[], float] = time.monotonic) -> None:
        self.most, self.idle, self.now = most, idle, now
        self._open: dict[str, Tab] = {}

    def __len__(self) -> int:
        return len(self._open)

    def get(self, name: str) -> Tab | None:
        """An open tab by its name."""
        return self._open.get(name)

    def enter(self, name: str, tab: Tab) -> None:
        """A tab was opened."""
        while len(self._open) >= self.most:
            self._rest(min(self._open, key=lambda other: self._open[other].used), f"{self.most} others are open")
        self._open[name] = tab

    def leave(self, name: str) -> None:
        """A tab was closed."""
        self._open.pop(name, None)

    def sweep(self) -> None:
        """Puts to rest what was not used for long."""
        for name in [name for name, tab in self._open.items() if self.now() - tab.used > self.idle]:
            self._rest(name, f"it was not used for {self.idle / 60:.0f} minutes")

    def _rest(self, name: str, why: str) -> None:
        self._open.pop(name).rest(why)
