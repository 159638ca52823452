"""benchmarks/soak.py: growth is noticed, and what only goes up and down is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def soak(program: Callable[[str], ModuleType]) -> ModuleType:
    return program("benchmarks/soak.py")


def test_growth_is_noticed(soak: ModuleType, tmp_path: Path) -> None:
    phase = soak.Phase("one", tmp_path, 100.0, lambda: None)
    leak = {"memory": 0.1, "files": 0.02}  # more a second
    phase.samples = [
        {"seconds": float(i), **{name: 100 + (i % 2) + leak.get(name, 0) * i for name in soak.ALLOWED}} for i in range(100)
    ]
    found = phase.judged()
    assert {name for name, judged in found.items() if judged["grew"]} == set(leak)
    assert found["memory"]["last"] > found["memory"]["second"]
    assert soak.table([phase]).count("grew") == 2


SAMPLED = """
import json
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import soak

home = Path(sys.argv[2])
phase = soak.Phase("one", home, 100.0, lambda: None)
phase.steps, phase.epochs = 10, 2
before = phase.sample()
with (home / "a").open("wb") as file:
    held = bytearray(b"x" * 30_000_000)
    file.write(b"y" * 5000)
    file.flush()
    (home / "metrics.jsonl").write_text("z" * 700)
    phase.steps = 20
    print(json.dumps([before, phase.sample()]))
"""


def test_a_sample_is_of_its_process(soak: ModuleType, tmp_path: Path, alone: Callable[..., str]) -> None:
    before, after = json.loads(alone(SAMPLED, Path(soak.__file__ or "").parent, tmp_path))
    assert after["memory"] - before["memory"] > 25
    assert after["files"] - before["files"] == 1
    assert after["directory"] - before["directory"] == 5
    assert after["metrics"] == 350
