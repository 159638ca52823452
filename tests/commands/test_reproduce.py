"""``labelspace reproduce`` as a user meets it: the list, a whole recipe with its processes, and errors in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from labelspace.cli import main
from labelspace.experiments import grid, worker
from labelspace.experiments.recipes import RECIPES, load
from labelspace.storage import files


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Where ``lrvae-moons`` was run at its smallest scale; both directories as arguments."""
    home = tmp_path_factory.mktemp("reproduced")
    where = ["--out", str(home / "out"), "--runs", str(home / "runs")]
    started: list[list[str]] = []

    def popen(command: list[str], **options: Any) -> Any:
        """The first worker is a process; the others, which would import everything again, work here."""
        started.append(command)
        if len(started) == 1:
            return subprocess.Popen(command, **options)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", command[2:])
            code = worker.main()
        return SimpleNamespace(poll=lambda: code, returncode=code)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "subprocess", SimpleNamespace(Popen=popen, STDOUT=subprocess.STDOUT))
        assert main(["reproduce", "lrvae-moons", "--scale", "smoke", *where]) == 0
    assert len(started) == 5
    return where


# -- the list ----------------------------------------------------------------------------------------------------------


def test_alone_it_lists_every_recipe_with_claim_and_state(capsys, strict) -> None:
    assert main(["reproduce", "--json"]) == 0
    rows = strict(capsys.readouterr().out)
    assert [row["recipe"] for row in rows] == list(RECIPES)
    for row in rows:
        recipe = load(row["recipe"])
        assert row["claim"] == recipe.claim
        assert row["paper"] == recipe.paper
        assert row["data"] == (recipe.needs or "built in")
        planned = len(recipe.jobs("cpu", recipe.default or recipe.needs))
        assert row["state"] == f"0 of {planned} runs"
    assert not list(Path().iterdir()), "a list writes nothing"


def test_the_list_is_a_table_for_a_person(capsys) -> None:
    assert main(["reproduce", "--scale", "smoke"]) == 0
    out = capsys.readouterr().out
    for name in RECIPES:
        assert name in out
    assert "0 of 3 runs" in " ".join(out.split())


def test_the_list_shows_what_is_done(places: list[str], capsys, strict) -> None:
    capsys.readouterr()
    assert main(["reproduce", "--scale", "smoke", "--json", *places]) == 0
    state = {row["recipe"]: row["state"] for row in strict(capsys.readouterr().out)}
    held = strict(Path(places[1], "lrvae-moons", "results.json").read_text())["verdicts"]
    assert state["lrvae-moons"] == f"5 of 5 runs; results: {sum(v['held'] is True for v in held)} of {len(held)} claims held"
    assert "results" not in state["csvae-faces"]


def test_the_list_does_not_show_results_of_another_scale(places: list[str], capsys, strict) -> None:
    capsys.readouterr()
    assert main(["reproduce", "--scale", "cpu", "--json", *places]) == 0
    state = {row["recipe"]: row["state"] for row in strict(capsys.readouterr().out)}
    assert "0 of 25 runs" in state["lrvae-moons"]
    assert "claims held" not in state["lrvae-moons"] or "smoke" in state["lrvae-moons"]


def test_data_for_those_that_need_them_do_not_hide_what_the_others_did(capsys, strict) -> None:
    roll = load("csvae-swiss-roll")
    for job in roll.jobs("smoke", roll.default):
        held = {"version": roll.version, "scale": "smoke", "found": {}}
        files.write_json(Path("runs") / job.key / "csvae-swiss-roll.json", held)
    assert main(["reproduce", "--scale", "smoke", "--data", "mnist:some/where", "--json", "--runs", "runs"]) == 0
    state = {row["recipe"]: row["state"] for row in strict(capsys.readouterr().out)}
    assert state["csvae-swiss-roll"] == "8 of 8 runs"


# -- a recipe ----------------------------------------------------------------------------------------------------------


def test_a_recipe_trains_measures_and_writes(places: list[str], strict) -> None:
    out, runs = Path(places[1], "lrvae-moons"), Path(places[3])
    assert sorted(file.name for file in out.iterdir()) == ["points.png", "results.json", "results.md"]
    with Image.open(out / "points.png") as image:
        image.load()
        assert image.format == "PNG"
    found = strict((out / "results.json").read_text())
    assert found["command"] == "labelspace reproduce lrvae-moons --scale smoke"
    assert found["claim"] == load("lrvae-moons").claim
    assert found["seeds"] == [100]
    assert {run["job"]["model"] for run in found["runs"]} == {"cvae-gan", "lr-livae", "lr-livae-gan"}
    assert all("found" in run and run["seconds"] >= 0 for run in found["runs"])
    assert sorted(path.name for path in runs.iterdir()) == sorted(run["run"] for run in found["runs"])
    page = (out / "results.md").read_text()
    for verdict in found["verdicts"]:
        assert verdict["claim"] in page
    assert str(out.parent.parent) not in page
    assert str(out.parent.parent) not in (out / "results.json").read_text()


def test_a_second_call_starts_no_process_and_finds_the_same(places: list[str], monkeypatch, capsys, strict) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a finished run was started again")

    before = strict(Path(places[1], "lrvae-moons", "results.json").read_text())
    stamps = {file: file.stat().st_mtime_ns for file in Path(places[3]).rglob("*") if file.is_file()}
    monkeypatch.setattr(grid, "_start", refuse)
    capsys.readouterr()
    assert main(["reproduce", "lrvae-moons", "--scale", "smoke", *places]) == 0
    captured = capsys.readouterr()
    assert "Points generated under each class" in captured.out
    words = sum(captured.out.count(word) for word in ("HELD: ", "DID NOT HOLD: ", "CANNOT BE SAID: "))
    assert words == len(before["verdicts"])
    assert "runs to do" not in captured.err
    assert {file: file.stat().st_mtime_ns for file in Path(places[3]).rglob("*") if file.is_file()} == stamps
    assert main(["reproduce", "lrvae-moons", "--scale", "smoke", *places, "--json"]) == 0
    again = strict(capsys.readouterr().out)
    assert again == before


def test_a_recipe_of_which_every_run_fails_says_the_first_reason(places: list[str], monkeypatch, fails) -> None:
    monkeypatch.setattr(grid, "_POLL", 0.02)

    class Gone:
        returncode = 2

        def poll(self) -> int:
            return 2

        def terminate(self) -> None: ...

        def wait(self) -> int:
            return 2

    def start(name: str, scale: str, address: str, i: int, home: Path, workers: int) -> Gone:
        home.mkdir(parents=True)
        (home / f"{name}.log").write_text("the disk is full\n")
        return Gone()

    monkeypatch.setattr(grid, "_start", start)
    where = ["--out", "out", "--runs", "runs"]
    fails(["reproduce", "lrvae-moons", "--scale", "smoke", *where], "lrvae-moons: every run failed", "the disk is full")
    assert not Path("out").exists()


def test_wrong_names_and_data_are_refused(fails) -> None:
    fails(["reproduce", "lrvae-moon"], "unknown recipe 'lrvae-moon'", "did you mean 'lrvae-moons'")
    fails(["reproduce", "something"], "unknown recipe", *RECIPES)
    fails(["reproduce", "pastrana-mnist"], "pastrana-mnist needs data that are not built in", "--data mnist:DIR")
    fails(["reproduce", "lrvae-digits", "--scale", "smoke"], "--data mnist:DIR")
    fails(["reproduce", "pastrana-mnist", "--data", "mnist:nowhere"], "no such directory", "nowhere")
    fails(["reproduce", "pastrana-mnist", "--data", "mnst:nowhere"], "did you mean 'mnist'")
    fails(["reproduce", "lrvae-moons", "--scale", "smal"], "--scale", "'smal'")
    fails(["reproduce", "lrvae-moons", "--workers", "two"], "--workers", "'two'")
    assert not list(Path().rglob("*.json"))


def test_a_negative_number_of_workers_is_refused(monkeypatch, fails) -> None:
    ticks = 0

    def sleep(seconds: float) -> None:
        nonlocal ticks
        ticks += 1
        assert ticks < 20, "it waits, and nothing was started"

    monkeypatch.setattr(grid.time, "sleep", sleep)
    fails(["reproduce", "lrvae-moons", "--scale", "smoke", "--workers", "-1"], "--workers")
