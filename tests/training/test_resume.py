"""Interrupted and resumed is the same, bit for bit, as never interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import labelspace as ls
from labelspace.cli import main
from labelspace.errors import UserError
from labelspace.models.base import Model
from labelspace.speed.training import noise
from labelspace.storage import tensorfiles
from labelspace.training.run import Run

_ARGUMENTS = ["swiss-roll:n=300", "--epochs", "6", "--set", "checkpoint_minutes=0.0005", "--set", "batch_size=16"]


def train(home: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "labelspace.cli", "train", "--no-report", "--out", str(home), *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def weights(home: Path) -> dict[str, torch.Tensor]:
    return tensorfiles.read(home / "model.safetensors")[0]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("whole") / "run"
    assert main(["train", "--no-report", "--out", str(home), *_ARGUMENTS]) == 0
    return home


def same(a: Path, b: Path) -> bool:
    left, right = weights(a), weights(b)
    assert left.keys() == right.keys()
    return all(torch.equal(left[k].nan_to_num(), right[k].nan_to_num()) for k in left)


def kill_and_resume(home: Path, delays: list[float]) -> None:
    """Kills the run at each delay after it has begun to write, resumes it, and lets the last one finish."""
    process = train(home, *_ARGUMENTS)
    for delay in delays:
        deadline = time.monotonic() + 600
        while not (home / "config.yaml").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        process = train(home, "--resume")
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors


def test_killed_runs_end_with_the_same_bits(uninterrupted: Path, tmp_path: Path) -> None:
    kill_and_resume(tmp_path / "run", [1.0])
    assert same(uninterrupted, tmp_path / "run")
    whole, pieces = Run(uninterrupted).metrics(), Run(tmp_path / "run").metrics()
    assert [(r["epoch"], r["train"], r["score"]) for r in whole] == [(r["epoch"], r["train"], r["score"]) for r in pieces]


class _Cut(ls.Callback):
    """Stops training after its second epoch, as a keyboard does."""

    def epoch(self, row: dict) -> None:
        if row["epoch"] == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("muon", [0.0, 1e-2])
def test_convolutions_go_on_with_the_same_bits(muon: float, tmp_path: Path) -> None:
    """Their kernels lie in memory otherwise than files hold them."""
    data = noise((3, 16, 16), 2, 64)
    options = ls.Options(epochs=3, batch_size=32, muon_learning_rate=muon)

    def new() -> Model:
        torch.manual_seed(0)
        return ls.build("vae", data)

    whole = ls.fit(new(), data, options, progress=False).model.state_dict()
    with pytest.raises(KeyboardInterrupt):
        ls.fit(new(), data, options, out=tmp_path / "run", callbacks=[_Cut()], progress=False)
    again = ls.fit(new(), data, options, out=tmp_path / "run", resume=True, progress=False).model.state_dict()
    for name, tensor in whole.items():
        assert torch.equal(tensor.nan_to_num(), again[name].nan_to_num()), name


@pytest.mark.slow
def test_killed_at_many_moments(uninterrupted: Path, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for i in range(10):
        home = tmp_path / f"run{i}"
        kill_and_resume(home, (torch.rand(3, generator=generator) * 3).tolist())
        assert same(uninterrupted, home)


@pytest.mark.parametrize("name", ["vae", "lsvae"])
def test_a_run_stopped_inside_an_epoch_goes_on_there(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ls.open("swiss-roll:n=300")
    arguments = {"likelihood": "gaussian"}
    options = {"epochs": 3, "batch_size": 16, "checkpoint_minutes": 0.0}

    def model():
        torch.manual_seed(0)
        return ls.build(name, data, **arguments)

    ls.fit(model(), data, out=tmp_path / "whole", **options)

    class StopHereError(Exception):
        pass

    write = Run.write_checkpoint
    count = 0

    def stopping(run, tensors, state):
        nonlocal count
        write(run, tensors, state)
        count += 1
        if count == 23:
            raise StopHereError

    monkeypatch.setattr(Run, "write_checkpoint", stopping)
    with pytest.raises(StopHereError):
        ls.fit(model(), data, out=tmp_path / "run", **options)
    monkeypatch.undo()
    found = Run(tmp_path / "run").read_checkpoint()
    assert found is not None
    assert found[1]["batches"]["position"] > 0
    torch.manual_seed(99)  # the fresh model's weights must not matter
    ls.fit(ls.build(name, data, **arguments), data, out=tmp_path / "run", resume=True, **options)
    assert same(tmp_path / "whole", tmp_path / "run")


def test_a_finished_run_resumes_to_itself(tmp_path: Path) -> None:
    data = ls.open("swiss-roll:n=300")
    torch.manual_seed(0)
    first = ls.fit(ls.build("lsvae", data), data, epochs=1, out=tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    again = ls.fit(ls.build("lsvae", data), data, epochs=1, out=tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    assert again.reason == first.reason


@pytest.mark.parametrize("damage", ["truncate", "foreign", "newer"])
def test_a_damaged_checkpoint_is_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    data = ls.open("swiss-roll:n=300")
    ls.fit(ls.build("lsvae", data), data, epochs=1, out=tmp_path / "run")
    file = Run(tmp_path / "run").checkpoint_file
    if damage == "truncate":
        file.write_bytes(file.read_bytes()[:1000])
    elif damage == "foreign":
        tensorfiles.write(file, {"x": torch.zeros(2)})
    else:
        tensors, metadata = tensorfiles.read(file)
        tensorfiles.write(file, tensors, {**metadata, "format": "99"})
    with pytest.raises(
        UserError, match={"truncate": "truncated", "foreign": "not a checkpoint", "newer": "newer"}[damage]
    ) as error:
        ls.fit(ls.build("lsvae", data), data, epochs=1, out=tmp_path / "run", resume=True)
    assert "\n" not in str(error.value)
