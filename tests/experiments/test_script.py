"""The frame of measuring scripts: seeds, files and the mean over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from labelspace.experiments import script
from labelspace.storage import files


def measure(file: str, seed: int, epochs: int) -> dict[str, Any]:
    return {"file": file, "seed": seed, "epochs": epochs}


def test_every_seed_is_measured_and_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["some/data.csv", "--seeds", "3,1", "--out", str(out)]
    given = (lambda found, command: f"{len(found)} seeds by {command}\n", lambda found: Figure())
    script.main("benchmarks/thing.py", "What it does.\n", measure, *given, epochs=7, arguments=arguments)
    command = "python benchmarks/thing.py data.csv --seeds 3,1 --epochs 7"
    assert files.read_json(out.with_suffix(".json")) == {
        "command": command,
        "seeds": [{"file": "some/data.csv", "seed": seed, "epochs": 7} for seed in (3, 1)],
    }
    assert out.with_suffix(".md").read_text() == f"2 seeds by {command}\n"
    assert out.with_suffix(".png").exists()


def test_a_mean_has_its_extremes() -> None:
    assert script.mean([0.25, 0.5, 0.75], ".1%") == "50.0% (25.0% - 75.0%)"
