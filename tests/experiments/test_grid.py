"""Many runs as processes: which are started, what is kept, what a failure does, and that none is left behind."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.experiments import grid, jobs, worker
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Recipe, Result, Scale, Table
from labelspace.experiments.recipes import load
from labelspace.experiments.verdicts import Claim, Group
from labelspace.models.base import Model
from labelspace.storage import files

# A process in the place of labelspace.experiments.worker, which would take seconds to import PyTorch.
STAND_IN = """
import json, sys, time
task, plan = json.load(open(sys.argv[1])), json.loads(sys.argv[2])
do = plan.get(str(task["job"]), "work")
if do == "fail":
    sys.exit("warming up\\nthe disk is full\\n")
if do == "vanish":
    sys.exit(3)
if do == "sleep":
    time.sleep(600)
found = {"version": 1, "scale": task["scale"], "found": {"seed": task["job"]}}
json.dump(found, open(task["found"], "w"))
"""


class Tiny(Recipe):
    """Three jobs that nobody trains."""

    claim, paper, default = "small things are small", "nobody", "swiss-roll:n=60"
    version: ClassVar[int] = 1

    def jobs(self, scale: Scale, address: str) -> list[Job]:
        return [Job("vae", address, seed=seed, epochs=1) for seed in range(3)]

    def measure(self, job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        raise NotImplementedError

    def groups(self, results: list[Result]) -> dict[str, Group]:
        return {}

    def claims(self, groups: Mapping[str, Group]) -> list[Claim]:
        return []

    def tables(self, results: list[Result]) -> list[Table]:
        return []


class Newer(Tiny):
    version: ClassVar[int] = 2


class Started:
    """Stands in for subprocess: starts the stand-in for every worker and remembers it."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen] = []
        self.jobs: list[int] = []
        self.most = 0
        self.plan: dict[str, str] = {}

    def popen(self, command: list[str], **options: Any) -> subprocess.Popen:
        assert command[1:3] == ["-m", "labelspace.experiments.worker"]
        task = json.loads(Path(command[3]).read_text())
        process = subprocess.Popen([sys.executable, "-S", "-c", STAND_IN, command[3], json.dumps(self.plan)], **options)
        self.processes.append(process)
        self.jobs.append(task["job"])
        self.most = max(self.most, sum(p.poll() is None for p in self.processes))
        return process


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    started = Started()
    monkeypatch.setattr(grid, "subprocess", SimpleNamespace(Popen=started.popen, STDOUT=subprocess.STDOUT))
    monkeypatch.setattr(grid, "_POLL", 0.03)
    return started


def run(work: Path, recipe: Recipe | None = None, scale: Scale = "smoke", **options: Any) -> list[Result]:
    return grid.run("tiny", recipe or Tiny(), scale, "swiss-roll:n=60", work, **options)


def test_every_job_has_a_result_in_its_order(started: Started, tmp_path: Path) -> None:
    told: list[str] = []
    results = run(tmp_path, tell=told.append)
    assert [r.measured for r in results] == [{"seed": 0}, {"seed": 1}, {"seed": 2}]
    assert [r.job.seed for r in results] == [0, 1, 2]
    assert [r.home for r in results] == [tmp_path / r.job.key for r in results]
    assert not any(r.failed for r in results)
    assert told[0] == "tiny: 3 of 3 runs to do"
    assert sum("is done" in line for line in told) == 3
    assert sorted(started.jobs) == [0, 1, 2]


def test_finished_runs_are_never_made_again(started: Started, tmp_path: Path) -> None:
    first = run(tmp_path)
    told: list[str] = []
    assert run(tmp_path, tell=told.append) == first
    assert len(started.processes) == 3
    assert told == []
    assert grid.present("tiny", Tiny(), "smoke", "swiss-roll:n=60", tmp_path) == (3, 3)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        '{"version": 1, "scale": "smo',
        "not JSON",
        '{"version": 0, "scale": "smoke", "found": {"seed": 7}}',
        '{"version": 1, "scale": "cpu", "found": {"seed": 7}}',
        "{}",
        "[]",
    ],
)
def test_a_lost_damaged_or_older_measurement_is_made_again(content: str | None, started: Started, tmp_path: Path) -> None:
    home = run(tmp_path)[1].home
    if content is None:
        (home / "tiny.json").unlink()
    else:
        (home / "tiny.json").write_text(content)
    assert grid.present("tiny", Tiny(), "smoke", "swiss-roll:n=60", tmp_path) == (2, 3)
    assert run(tmp_path)[1].measured == {"seed": 1}
    assert started.jobs[3:] == [1]


def test_a_newer_recipe_measures_everything_again(started: Started, tmp_path: Path) -> None:
    run(tmp_path)
    assert grid.present("tiny", Newer(), "smoke", "swiss-roll:n=60", tmp_path) == (0, 3)
    told: list[str] = []
    run(tmp_path, Newer(), tell=told.append)
    assert len(started.processes) == 6
    assert told[0] == "tiny: 3 of 3 runs to do"


def test_another_recipe_measures_the_same_runs_for_itself(started: Started, tmp_path: Path) -> None:
    run(tmp_path)
    assert grid.present("other", Tiny(), "smoke", "swiss-roll:n=60", tmp_path) == (0, 3)
    homes = {path.name for path in tmp_path.iterdir()}
    grid.run("other", Tiny(), "smoke", "swiss-roll:n=60", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == homes
    assert all((home / "tiny.json").exists() and (home / "other.json").exists() for home in tmp_path.iterdir())


def test_a_failing_run_is_told_and_the_others_go_on(started: Started, tmp_path: Path) -> None:
    started.plan = {"0": "fail", "1": "vanish"}
    told: list[str] = []
    results = run(tmp_path, tell=told.append, workers=1)
    assert [r.failed for r in results] == ["the disk is full", "it ended without a word", ""]
    assert [r.measured for r in results] == [{}, {}, {"seed": 2}]
    assert f"tiny: {results[0].home.name} failed: the disk is full" in told
    started.plan = {}
    again = run(tmp_path)
    assert started.jobs[3:] == [0, 1]
    assert not any(r.failed for r in again)


def test_a_run_that_fails_again_keeps_no_old_measurement(started: Started, tmp_path: Path) -> None:
    run(tmp_path)
    started.plan = {"1": "fail"}
    results = run(tmp_path, Newer())
    assert results[1].failed == "the disk is full"
    assert results[1].measured == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_no_more_processes_than_workers(workers: int, started: Started, tmp_path: Path) -> None:
    run(tmp_path, workers=workers)
    assert started.most <= workers
    assert len(started.processes) == 3


def test_there_is_always_room_for_one_and_never_for_more_than_four() -> None:
    assert 1 <= grid.side_by_side() <= 4


def test_progress_rises_to_one(started: Started, tmp_path: Path) -> None:
    shares: list[float] = []
    started.plan = {"1": "fail"}
    run(tmp_path, workers=1, report=lambda done, what: shares.append(done))
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert shares[0] < 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_running(error: type[BaseException], started: Started, tmp_path: Path) -> None:
    started.plan = {"0": "sleep", "1": "sleep", "2": "sleep"}

    def interrupt(done: float, what: str) -> None:
        assert "vae swiss-roll:n=60 seed 0" in what
        if len(started.processes) == 2:
            raise error

    began = time.monotonic()
    with pytest.raises(error):
        run(tmp_path, workers=2, report=interrupt)
    assert len(started.processes) == 2
    assert all(process.poll() is not None for process in started.processes)
    assert time.monotonic() - began < 60, "they were waited for"
    started.plan = {}
    assert [r.measured["seed"] for r in run(tmp_path)] == [0, 1, 2]


def test_data_without_the_labels_that_a_recipe_is_about_stop_before_any_process(started: Started, tmp_path: Path) -> None:
    class Numbers(Tiny):
        kinds = ("continuous",)

    with pytest.raises(UserError, match=r"needs a label that is continuous.*side \(binary\)"):
        run(tmp_path, Numbers())
    assert started.processes == []


def test_data_that_cannot_be_opened_stop_before_any_process(started: Started, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such directory"):
        grid.run("tiny", Tiny(), "smoke", f"mnist:{tmp_path}/nowhere", tmp_path / "runs")
    assert started.processes == []


def test_a_job_in_a_few_words() -> None:
    job = Job("csvae", "faces", seed=2, supervision=0.1, label_noise=0.3, settings=("latent=3", "clip=0"))
    assert grid.describe(job) == "csvae faces latent=3 0.1 labelled 0.3 wrong seed 2"
    assert grid.describe(Job("vae", "faces")) == "vae faces seed 0"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("faces", "faces"),
        ("faces:n=400,size=16", "faces:n=400,size=16"),
        ("mnist:/some/dir", "mnist:DIR"),
        ("digits;mnist:/some/dir;glyphs:/a/font.ttf,n=90", "digits;mnist:DIR;glyphs:DIR,n=90"),
        ("mnist:/some/dir,val=0", "mnist:DIR,val=0"),
        ("npz:../here/data.npz", "npz:DIR"),
        ("folder:~/pets,size=64,channels=3", "folder:DIR,size=64,channels=3"),
        ("mnist:/some/dir, with/commas,val=0", "mnist:DIR,val=0"),
        ("mnist:some,dir/of/mine", "mnist:DIR"),
    ],
)
def test_addresses_lose_the_directories_of_this_machine(address: str, shown: str) -> None:
    assert grid.without_path(address) == shown


# -- the worker itself -------------------------------------------------------------------------------------------------


def task(home: Path, i: int = 0, **changes: Any) -> Path:
    content = {
        "recipe": "lrvae-moons",
        "scale": "smoke",
        "address": "moons:n=12000",
        "job": i,
        "home": str(home),
        "found": str(home / "lrvae-moons.json"),
    }
    files.write_json(home / "task.json", content | changes)
    return home / "task.json"


def test_a_worker_trains_watches_measures_and_does_not_train_again(tmp_path: Path, monkeypatch, capsys) -> None:
    recipe = load("lrvae-moons")
    job = recipe.jobs("smoke", recipe.default)[1]
    home = tmp_path / job.key
    monkeypatch.setattr(sys, "argv", ["worker", str(task(home, 1))])
    assert worker.main() == 0
    written = (home / "lrvae-moons.json").read_text()
    held = json.loads(written)
    assert (held["version"], held["scale"]) == (recipe.version, "smoke")
    assert set(held["found"]["classes"]) == {"middle", "right", "left"}
    assert held["found"]["leak"]["chance"] == pytest.approx(1 / 3)
    assert job.trained_in(home)
    assert [p.name for p in sorted((home / "samples").iterdir())] == ["0000.npz", "0001.npz", "0002.npz"]
    with np.load(home / "samples" / "0002.npz") as made:
        assert made["x"].shape == (1500, 2)
        assert np.bincount(made["moon"]).tolist() == [500, 500, 500]
    stamp = (home / "metrics.jsonl").stat().st_mtime_ns
    assert worker.main() == 0
    assert (home / "metrics.jsonl").stat().st_mtime_ns == stamp
    assert (home / "lrvae-moons.json").read_text() == written, "measured twice is measured the same"
    assert capsys.readouterr().err == ""


def test_a_second_worker_is_refused_while_the_first_one_measures(tmp_path: Path, monkeypatch, capfd) -> None:
    recipe = load("lrvae-moons")
    codes: list[int] = []

    def measure(job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        """In the midst of it, long after the training: another process is given the same task."""
        command = [sys.executable, "-m", "labelspace.experiments.worker", sys.argv[1]]
        codes.append(subprocess.run(command, check=False).returncode)
        return {}

    monkeypatch.setattr(type(recipe), "measure", lambda self, *given: measure(*given))
    monkeypatch.setattr(sys, "argv", ["worker", str(task(tmp_path / "run", 1, address="moons:n=60"))])
    assert worker.main() == 0
    assert codes == [2]
    (line,) = capfd.readouterr().err.splitlines()
    assert "is being worked on by another process; wait for it, or choose another --runs" in line
    assert not list((tmp_path / "run").glob(".*"))


def test_a_worker_says_in_one_line_what_was_wrong(tmp_path: Path, monkeypatch, capsys) -> None:
    home = tmp_path / "run"
    jobs.train(Job("vae", "swiss-roll:n=100", settings=("likelihood=gaussian",), epochs=1), home)
    monkeypatch.setattr(sys, "argv", ["worker", str(task(home))])
    assert worker.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds a run with other settings" in line
    assert not (home / "lrvae-moons.json").exists()
    monkeypatch.setattr(sys, "argv", ["worker", str(task(home, recipe="lrvae-moon"))])
    assert worker.main() == 2
    assert "did you mean 'lrvae-moons'" in capsys.readouterr().err
