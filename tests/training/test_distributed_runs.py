"""``labelspace train --devices 2``: one run directory and one voice, whatever becomes of the processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import labelspace as ls
from labelspace import saving
from labelspace.data import sources
from labelspace.storage import tensorfiles
from labelspace.training.options import Options
from labelspace.training.run import Run

_TRAIN = [sys.executable, "-m", "labelspace.cli", "train"]
_DATA = ["swiss-roll:n=400", "--epochs", "5", "--set", "batch_size=16", "--set", "checkpoint_minutes=0.003"]
_DATA += ["--set", "learning_rate=2e-4"]  # rates rise within a tenth of so short a training: noise must not lead far apart
_TWO = ["--devices", "2", "--accelerator", "cpu", "--no-report"]
_ALONE = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK")

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to see processes")


def environment() -> dict[str, str]:
    """That of a program that nobody launched as one of several."""
    return {key: value for key, value in os.environ.items() if key not in _ALONE}


def begin(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([*_TRAIN, *arguments], env=environment(), cwd=cwd, text=True, stdout=pipe, stderr=pipe)


def train(*arguments: str, cwd: Path) -> tuple[str, str]:
    done = subprocess.run(
        [*_TRAIN, *arguments], env=environment(), cwd=cwd, text=True, capture_output=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def others(process: subprocess.Popen[str]) -> list[int]:
    """Processes that a training has started."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(there, seconds: float = 600.0) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def interrupted(home: Path, *more: str) -> subprocess.Popen[str]:
    """A training of two processes that has written a checkpoint inside its second epoch or later."""
    process = begin(*_DATA, *more, *_TWO, "--out", home.name, cwd=home.parent)

    def first_epoch_is_kept() -> bool:
        found = Run(home).read_checkpoint() if len(Run(home).metrics()) >= 1 else None
        return found is not None and found[1]["batches"]["epoch"] >= 1

    until(lambda: process.poll() is not None or first_epoch_is_kept())
    assert process.poll() is None, process.communicate()
    return process


def weights(home: Path) -> dict[str, torch.Tensor]:
    return tensorfiles.read(home / "model.safetensors")[0]


def assert_same(a: Path, b: Path) -> None:
    left, right = weights(a), weights(b)
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name].nan_to_num(), right[name].nan_to_num()), name
    kept = ("epoch", "train", "val", "score")
    assert [[row[key] for key in kept] for row in Run(a).metrics()] == [[row[key] for key in kept] for row in Run(b).metrics()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def whole(place: Path) -> tuple[Path, str, str]:
    """A training of two processes that nothing happened to, and what it printed."""
    out, errors = train(*_DATA, *_TWO, "--out", "whole", cwd=place)
    return place / "whole", out, errors


@pytest.fixture(scope="module")
def killed(place: Path) -> Path:
    """A run directory whose second process was killed in training."""
    process = interrupted(place / "killed")
    second = others(process)
    assert len(second) == 1
    os.kill(second[0], signal.SIGKILL)
    began = time.monotonic()
    out, errors = process.communicate(timeout=600)
    assert time.monotonic() - began < 60
    assert process.returncode == 1
    assert not is_alive(second[0])
    assert out == ""
    assert "Traceback" not in errors
    last = errors.splitlines()[-1]
    assert "process 1 of 2 was killed by SIGKILL" in last
    assert "--resume goes on" in last
    return place / "killed"


def test_the_first_process_speaks_for_all(whole: tuple[Path, str, str]) -> None:
    home, out, errors = whole
    assert out == ""
    assert errors.count("address: swiss-roll:n=400") == 1
    assert [errors.count(f"epoch   {epoch}/5") for epoch in range(1, 6)] == [1] * 5
    assert errors.count("stopped after all 5 epochs") == 1
    assert [row["epoch"] for row in Run(home).metrics()] == [1, 2, 3, 4, 5]
    assert json.loads((home / "environment.json").read_text())["processes"] == 2
    assert not list(home.rglob(".*-*")), "temporary files were left"
    assert bool(torch.isfinite(saving.load(home).aggregate.get_buffer("mean_0")).all()), "what edits need is measured"


def test_two_processes_train_as_one_does(whole: tuple[Path, str, str], tmp_path: Path) -> None:
    home, _, _ = whole
    options = Options(**{**Run(home).read_config()["training"], "devices": "auto"})
    data = ls.open("swiss-roll:n=400")
    torch.manual_seed(0)
    ls.fit(ls.build("lsvae", data), data, options, out=tmp_path / "one")
    for two, one in zip(Run(home).metrics()[:2], Run(tmp_path / "one").metrics()[:2], strict=True):
        # the same rows with other noise, which has not led far apart yet
        for term in ("label_head", "reconstruction", "kl_w"):
            assert two["train"][term] == pytest.approx(one["train"][term], rel=0.03), term


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_two_resume_to_the_same_bits(
    killed: Path, whole: tuple[Path, str, str], place: Path
) -> None:
    found = Run(killed).read_checkpoint()
    assert found is not None
    assert found[1]["batches"]["epoch"] >= 1
    shutil.copytree(killed, place / "again")
    _, errors = train("--resume", "--out", "again", "--no-report", cwd=place)  # where it was: on two processes
    assert errors.count("going on after epoch") == 1
    assert_same(place / "again", whole[0])


@pytest.mark.slow
def test_one_process_goes_on_with_the_run_of_two(killed: Path, place: Path) -> None:
    shutil.copytree(killed, place / "alone")
    config = Run(killed).read_config()
    data = sources.open(config["data"]["address"], config["data"]["labels"])
    options = Options(**{**config["training"], "devices": 1})
    fitted = ls.fit(ls.build("lsvae", data), data, options, out=place / "alone", resume=True)
    rows = Run(place / "alone").metrics()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[0] == Run(killed).metrics()[0], "what two processes did stands"
    assert rows[-1]["val"]["reconstruction"] < rows[0]["val"]["reconstruction"]
    assert fitted.best_score == min(row["score"] for row in rows)


@pytest.mark.slow
def test_two_processes_go_on_with_the_run_of_one(place: Path, whole: tuple[Path, str, str]) -> None:
    process = begin(*_DATA, "--no-report", "--out", "single", cwd=place)
    until(lambda: len(Run(place / "single").metrics()) >= 1)
    process.kill()
    process.communicate()
    train("--resume", "--out", "single", *_TWO, cwd=place)
    rows = Run(place / "single").metrics()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[-1]["train"]["label_head"] == pytest.approx(Run(whole[0]).metrics()[-1]["train"]["label_head"], rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nobody_outlives_the_first_process(end: signal.Signals, tmp_path: Path) -> None:
    process = interrupted(tmp_path / "run", "--epochs", "200")  # it is not over before it hears
    second = others(process)
    process.send_signal(end)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == (-end if end == signal.SIGKILL else 128 + end)
    if end != signal.SIGKILL:
        assert "--resume goes on from there" in errors.splitlines()[-1]
    until(lambda: not any(is_alive(pid) for pid in second), seconds=60)
    assert "Traceback" not in errors
    assert Run(tmp_path / "run").read_checkpoint() is not None


@pytest.mark.slow
def test_a_process_that_never_arrives_ends_the_run(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys\n"
        "if os.environ.get('LOCAL_RANK', '0') != '0': sys.exit(3)\n"
        "import labelspace as ls\n"
        "data = ls.open('swiss-roll:n=200')\n"
        "ls.fit(ls.build('vae', data), data, epochs=1, devices=2, accelerator='cpu')\n"
    )
    done = subprocess.run([sys.executable, str(program)], env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("labelspace: training stopped: process 1 of 2 ended with exit code 3")


@pytest.mark.slow
def test_a_program_that_calls_fit_is_started_again(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import torch, labelspace as ls\n"
        "data = ls.open('swiss-roll:n=200')\n"
        "for name in ('vae', 'ccvae'):\n"
        "    fitted = ls.fit(ls.build(name, data), data, epochs=1, devices=2, accelerator='cpu', out=name)\n"
        "    print(name, fitted.best_epoch, fitted.best_score)\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = sorted(done.stdout.splitlines())
    assert len(lines) == 4
    assert lines[0] == lines[1], "both processes have the same result"
    assert lines[2] == lines[3]


@pytest.mark.slow
def test_torchrun_starts_the_processes(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "labelspace.cli"]
    train = ["train", "swiss-roll:n=300", "--epochs", "2", "--accelerator", "cpu", "--no-report", "--out", "run", "--json"]
    done = subprocess.run([*torchrun, *train], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["best_epoch"] in (1, 2)
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_all_processes_diverge_together_and_one_says_so(tmp_path: Path) -> None:
    arguments = ["swiss-roll:n=300", "--epochs", "40", "--set", "learning_rate=1e30", "--set", "warmup=0", "--out", "run"]
    process = begin(*arguments, *_TWO, cwd=tmp_path)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 1
    gone_back, failed = (line for line in errors.splitlines() if "became NaN or infinite" in line)
    assert gone_back.startswith("note: term")
    assert failed.startswith("labelspace train: term")
    assert "Traceback" not in errors
