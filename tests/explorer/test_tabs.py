"""Tabs that are kept and tabs that rest, without a page."""

from __future__ import annotations

from dataclasses import dataclass, field

from labelspace.explorer.tabs import Tabs


@dataclass
class _Tab:
    used: float
    why: list[str] = field(default_factory=list)

    def rest(self, why: str) -> None:
        self.why.append(why)


def test_the_tab_that_was_not_used_for_longest_rests_when_there_are_too_many() -> None:
    tabs, old, older, new = Tabs(2), _Tab(5), _Tab(3), _Tab(7)
    tabs.enter("old", old)
    tabs.enter("older", older)
    tabs.enter("new", new)
    assert (len(old.why), len(older.why), len(new.why)) == (0, 1, 0)
    assert "2 others" in older.why[0]
    assert tabs.get("older") is None
    assert tabs.get("old") is old
    assert len(tabs) == 2


def test_tabs_that_nobody_uses_rest_and_closed_ones_are_forgotten() -> None:
    clock = 0.0
    tabs = Tabs(9, idle=60, now=lambda: clock)
    quiet, busy, gone = _Tab(0), _Tab(0), _Tab(0)
    for name, tab in {"quiet": quiet, "busy": busy, "gone": gone}.items():
        tabs.enter(name, tab)
    tabs.leave("gone")
    clock, busy.used = 61.0, 30.0
    tabs.sweep()
    assert quiet.why == ["it was not used for 1 minutes"]
    assert not busy.why
    assert not gone.why
    tabs.leave("gone")  # once more is no mistake
