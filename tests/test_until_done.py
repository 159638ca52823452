"""benchmarks/until_done.py, small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from labelspace.storage import files


@pytest.fixture
def bench(program: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    found = program("benchmarks/until_done.py")
    monkeypatch.setattr(found, "SAMPLES", (80,))
    monkeypatch.setattr(found, "KINDS", {"moons": ("moons:n={n}", None)})
    return found


def test_a_run_is_measured_once(bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "found"
    monkeypatch.setattr("sys.argv", ["until_done.py", "--models", "vae", "--seeds", "3", "--out", str(out)])
    bench.main()
    (run,) = files.read_json(out.with_suffix(".json"))["runs"]
    assert run["samples"] == 80
    assert run["steps"] >= 650  # the least that training lasts
    assert run["steps"] == run["passes"] * -(-80 // 128)
    assert 0 < run["error"] < 0.9
    text = out.with_suffix(".md").read_text("utf-8")
    assert "| vae | moons | 80 |" in text
    monkeypatch.setattr(bench, "measure", None)  # it is not called again
    bench.main()
    assert out.with_suffix(".md").read_text("utf-8") == text
