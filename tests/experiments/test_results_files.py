"""Results that others send, or that a crash cut off: what is not of their form ends in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labelspace.cli import main
from labelspace.commands import bench
from labelspace.errors import UserError
from labelspace.experiments.recipes import load

NAME = "csvae-swiss-roll"
NONE = [
    "",
    "7",
    "[]",
    "{}",
    "null",
    '{"scale": "smoke"}',
    '{"scale": "smoke", "verdicts": 3}',
    '{"scale": "smoke", "verdicts": [7]}',
]


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("labelspace ")
    return said[-1]


@pytest.mark.parametrize("content", NONE)
def test_results_in_the_list(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "results.json").write_text(content)
    code = main(["reproduce", "--scale", "smoke", "--out", str(tmp_path), "--runs", str(tmp_path / "runs")])
    assert code == (0 if content == "{}" else 2)
    assert code == 0 or "results.json is" in one_line(capsys)


RUN = {"run": "a", "seconds": 1.0, "commit": "", "skipped": 0, "found": {}}


@pytest.mark.parametrize(
    "runs", [7, [7], [{**RUN, "found": 3}], [{"found": {}, "run": "a"}], [{**RUN, "run": None}], {"a": 1}, None]
)
def test_results_that_are_known(runs: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = {"recipe": NAME, "scale": "smoke", "recipe_version": load(NAME).version, "runs": runs}
    (tmp_path / "r.json").write_text(json.dumps(about))
    words = ["reproduce", NAME, "--scale", "smoke", "--only", "nothing", "--known", str(tmp_path / "r.json")]
    assert main([*words, "--out", str(tmp_path / "o"), "--runs", str(tmp_path / "runs")]) == 2
    one_line(capsys)


@pytest.mark.parametrize("content", ["7", "[]", '{"machine": 1, "rounds": 2, "quick": true, "workloads": 3}'])
def test_measurements_of_speed_that_are_there(content: str, tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text(content)
    with pytest.raises(UserError, match=r"bench\.json is not what labelspace bench writes"):
        bench._keep(tmp_path / "bench.json", {"machine": 1, "rounds": 2, "quick": True, "workloads": {}, "multiply_rate": {}})
