"""benchmarks/kills.py: whatever is killed, the next call ends with the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def kills(program: Callable[[str], ModuleType]) -> ModuleType:
    return program("benchmarks/kills.py")


def test_moments_are_spread_over_the_whole_life(kills: ModuleType) -> None:
    found = kills.moments(0, 30)
    assert found == kills.moments(0, 30) != kills.moments(1, 30)
    assert [int(at * 30) for at in found] == list(range(30))
    assert sum(kills.numbers(50).values()) == 50
    assert max(kills.numbers(50), key=kills.numbers(50).get) == "train"


@pytest.mark.faults
def test_kills_at_random_moments(kills: ModuleType, tmp_path: Path) -> None:
    failed = []
    kills.run(50, 1, tmp_path, lambda *trial: failed.append(trial) if trial[-1] else None)
    assert failed == []
