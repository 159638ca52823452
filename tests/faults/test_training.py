"""Faults while a model trains: what was written is kept, one line says what to do, and resuming ends with the same bits."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import labelspace as ls
from labelspace import cli
from labelspace.data import store
from labelspace.errors import InterruptedTraining, UserError
from labelspace.storage import files, locks, tensorfiles
from labelspace.training.loop import Loop
from labelspace.training.progress import Callback
from labelspace.training.run import Run
from labelspace.training.step import Stepper

TIMINGS = ("seconds", "samples_per_second")


def same(a: Path, b: Path) -> bool:
    """Whether two runs have the same model, bit for bit, and the same metrics but for the timings."""
    rows = [[{k: v for k, v in row.items() if k not in TIMINGS} for row in Run(home).metrics()] for home in (a, b)]
    return rows[0] == rows[1] and (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()


class Notes(Callback):
    """Keeps what it is told, and may do something after an epoch."""

    def __init__(self, after=None) -> None:
        self.notes: list[str] = []
        self.after = after

    def note(self, text: str) -> None:
        self.notes.append(text)

    def epoch(self, row: dict) -> None:
        if self.after:
            self.after(row)


@contextlib.contextmanager
def at_step(monkeypatch: pytest.MonkeyPatch, number: int, action):
    """Does something before a step of training, counted from 0."""
    step = Stepper.step

    def stepping(self, batch, generator, count, share=1.0):
        if count == number:
            action(self)
        return step(self, batch, generator, count, share)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "step", stepping)
        yield


def broken(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


# -- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["flip", pytest.param("truncate", marks=pytest.mark.faults), "absent"])
def test_the_checkpoint_before_a_damaged_one_is_used(damage: str, roll, trained, whole: Path, tmp_path: Path) -> None:
    class EnoughError(Exception):
        pass

    def stop(row: dict) -> None:
        if row["epoch"] == 3:
            raise EnoughError

    with pytest.raises(EnoughError):
        trained(roll, tmp_path / "run", callbacks=[Notes(stop)])
    run = Run(tmp_path / "run")
    if damage == "flip":
        broken(run.checkpoint_file)
    elif damage == "truncate":
        run.checkpoint_file.write_bytes(run.checkpoint_file.read_bytes()[:1000])
    else:
        run.checkpoint_file.unlink()
    assert len(run.metrics()) == 3
    callback = Notes()
    trained(roll, run.home, resume=True, callbacks=[callback])
    assert same(whole, run.home)
    assert len(callback.notes) == (damage != "absent")
    if damage != "absent":
        assert "going on from the checkpoint before it" in callback.notes[0]
    for file in (run.checkpoint_file, run.previous_file):
        tensorfiles.read(file)


def test_two_damaged_checkpoints_are_refused_and_say_what_to_do(run: Path, roll, trained, whole: Path) -> None:
    for file in (Run(run).checkpoint_file, Run(run).previous_file):
        broken(file)
    with pytest.raises(UserError, match="train this run from its beginning") as error:
        trained(roll, run, resume=True)
    assert "\n" not in str(error.value)
    shutil.rmtree(run / "checkpoint")
    trained(roll, run, resume=True)
    assert same(whole, run)


def test_a_note_without_a_watcher_goes_to_the_log(run: Path, roll, trained, caplog: pytest.LogCaptureFixture) -> None:
    broken(Run(run).checkpoint_file)
    with caplog.at_level(logging.WARNING, "labelspace"):
        trained(roll, run, resume=True)
    assert "going on from the checkpoint before it" in caplog.text


def test_a_damaged_best_model_is_written_again_or_said_at_once(
    roll, trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(roll, tmp_path / "one", epochs=1)  # its checkpoint is of the best epoch
    before = (tmp_path / "one" / "model.safetensors").read_bytes()
    broken(tmp_path / "one" / "model.safetensors")
    callback = Notes()
    trained(roll, tmp_path / "one", epochs=1, resume=True, callbacks=[callback])
    assert "written again" in callback.notes[0]
    assert (tmp_path / "one" / "model.safetensors").read_bytes() == before
    validate = Loop.validate
    monkeypatch.setattr(Loop, "validate", lambda self: (validate(self)[0], float(self.batches.epoch)))  # the first is best
    trained(roll, tmp_path / "two", epochs=2)
    broken(tmp_path / "two" / "model.safetensors")
    with pytest.raises(UserError, match=r"best model, of epoch 1.*from its beginning"):
        trained(roll, tmp_path / "two", epochs=2, resume=True)


def test_a_checkpoint_of_another_run_is_refused(run: Path, roll, trained) -> None:
    tensors, metadata = tensorfiles.read(Run(run).checkpoint_file)
    changes = [
        ({**tensors, "generator": torch.zeros(3, dtype=torch.uint8)}, metadata),
        ({k: t for k, t in tensors.items() if k != "generator"}, metadata),
        (tensors, {**metadata, "state": "{}"}),
        (tensors, {**metadata, "state": json.dumps({**json.loads(metadata["state"]), "batches": 7})}),
        (tensors, {**metadata, "state": json.dumps({**json.loads(metadata["state"]), "groups": {}})}),
    ]
    for found, texts in changes:
        tensorfiles.write(Run(run).checkpoint_file, found, texts)
        with pytest.raises(UserError, match="does not belong to this run") as error:
            trained(roll, run, resume=True)
        assert "\n" not in str(error.value)


def test_the_noise_of_another_kind_of_device_begins_anew(run: Path, roll, trained) -> None:
    tensors, metadata = tensorfiles.read(Run(run).checkpoint_file)
    state = {**json.loads(metadata["state"]), "device": "cuda"}
    elsewhere = {**tensors, "generator": torch.zeros(16, dtype=torch.uint8)}
    tensorfiles.write(Run(run).checkpoint_file, elsewhere, {**metadata, "state": json.dumps(state)})
    trained(roll, run, resume=True)
    assert len(Run(run).metrics()) == 3


def test_damaged_metrics_are_set_aside(run: Path, roll, trained) -> None:
    rows = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text(rows[0] + "\0" * 20 + "\n" + rows[2])
    callback = Notes()
    trained(roll, run, resume=True, callbacks=[callback])
    assert "of 3 epochs before this one, 1 could be read (what was there is now metrics-damaged.jsonl)" in callback.notes[0]
    assert len(Run(run).metrics()) == 1
    assert (run / "metrics-damaged.jsonl").exists()


def full(monkeypatch: pytest.MonkeyPatch, name: str, after: int) -> None:
    """Half of a file's content, then no space left, from the given write of it on."""
    write_bytes, count = Path.write_bytes, 0

    def failing(self: Path, content) -> int:
        nonlocal count
        count += self.name == name
        if self.name == name and count > after:
            write_bytes(self, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_bytes(self, content)

    monkeypatch.setattr(Path, "write_bytes", failing)


@pytest.mark.parametrize(
    ("name", "after", "kept"), [("last.safetensors", 2, 2), ("model.safetensors", 1, 1), ("model.safetensors", 3, 3)]
)
def test_a_full_disk_keeps_the_epoch_before(
    name: str, after: int, kept: int, roll, trained, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        full(patch, name, after)
        with pytest.raises(UserError, match=r"No space left on device; the file that was there is kept") as error:
            trained(roll, tmp_path / "run")
    assert "\n" not in str(error.value)
    found = Run(tmp_path / "run").read_checkpoint()
    assert found is not None
    assert found[1]["batches"]["epoch"] == kept  # no finished epoch is lost
    assert [p for p in (tmp_path / "run").rglob(".*") if p.name != ".lock"] == []
    trained(roll, tmp_path / "run", resume=True)
    assert same(whole, tmp_path / "run")


@contextlib.contextmanager
def mounted(path: Path, options: str):
    """A small disk of its own; skips the test where none can be mounted."""
    path.mkdir(exist_ok=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.faults
def test_a_disk_that_is_really_full(roll, trained, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=3m") as disk:
        with pytest.raises(UserError, match="No space left on device") as error:
            trained(roll, disk / "run")
        assert "\n" not in str(error.value)


@pytest.mark.faults
def test_a_disk_that_is_read_only(run: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with mounted(tmp_path / "disk", "size=30m") as disk:
        shutil.copytree(whole, disk / "run")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for command in (
            ["train", "swiss-roll:n=300", "--out", str(disk / "new")],
            ["train", "--resume", "--out", str(disk / "run")],
            ["export", str(run), "--to", "hub", "--out", str(disk / "out")],
            ["embed", str(run), "swiss-roll:n=300", "--out", str(disk / "codes.npz")],
        ):
            assert cli.main(command) == 2
            assert "Read-only file system" in capsys.readouterr().err.splitlines()[-1]
        ls.open_run(disk / "run")  # what reads needs no lock


# -- two at once ------------------------------------------------------------------------------------------------------


def test_a_second_process_is_refused(run: Path, roll, trained) -> None:
    shutil.rmtree(run / "checkpoint")
    said = []

    def during(row: dict) -> None:
        code = (
            "import fcntl, os, sys\n"
            f"handle = os.open({str(run / '.lock')!r}, os.O_RDWR)\n"
            "try: fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
            "except BlockingIOError: sys.exit(7)"
        )
        said.append(subprocess.run([sys.executable, "-c", code], check=False).returncode)
        with pytest.raises(UserError, match="another process is training"):
            trained(roll, run, resume=True)
        ls.open_run(run)

    trained(roll, run, resume=True, callbacks=[Notes(lambda row: during(row) if row["epoch"] == 1 else None)])
    assert said == [7]
    assert not (run / ".lock").exists()


@pytest.mark.faults
def test_readers_of_a_run_that_trains(run: Path, roll, trained) -> None:
    shutil.rmtree(run / "checkpoint")
    codes: list[int] = []

    def during(row: dict) -> None:
        if row["epoch"] == 2:
            out = str(run.parent / "report.html")
            codes.append(cli.main(["report", str(run), "--quick", "--out", out]))
            codes.append(cli.main(["evaluate", str(run), "--most", "50"]))

    trained(roll, run, resume=True, callbacks=[Notes(during)])
    assert codes == [0, 0]


def test_a_lock_that_nobody_holds_is_no_hindrance(run: Path, roll, trained) -> None:
    (run / ".lock").touch()
    os.utime(run / ".lock", (2**32, 2**32))
    trained(roll, run, resume=True)


def test_two_new_runs_at_once(roll, trained, tmp_path: Path) -> None:
    """The second is refused, and leaves the first one's settings alone."""

    def during(row: dict) -> None:
        with pytest.raises(UserError, match="already holds a run"):
            trained(roll, tmp_path / "run", batch_size=7)

    trained(roll, tmp_path / "run", epochs=1, callbacks=[Notes(during)])
    assert Run(tmp_path / "run").read_config()["training"]["batch_size"] == 64


def test_what_killed_writers_left_is_removed_and_what_is_written_is_not(tmp_path: Path) -> None:
    left = tmp_path / ".a-abcdefgh"
    left.mkdir()
    (left / "a").write_text("half")
    other = tmp_path / ".ab-abcdefgh"
    other.mkdir()
    with files.replacing(tmp_path / "a") as first:
        assert not left.exists()
        first.write_text("first")
        files.write(tmp_path / "a", "second")
        assert first.read_text() == "first"
    assert (tmp_path / "a").read_text() == "first"
    assert {path.name for path in tmp_path.iterdir()} == {"a", ".ab-abcdefgh"}


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"

    def fill(names: dict[str, str], **options) -> None:
        with files.filling(out, lambda path: [p.name for p in path.iterdir() if p.name != "mine"], **options) as home:
            for name, text in names.items():
                (home / name).write_text(text)

    fill({"a": "1", "b": "1"})
    moved = []
    monkeypatch.setattr(files.os, "replace", lambda *_: moved.append(1))
    fill({"a": "2", "c": "2"})
    assert {p.name: p.read_text() for p in out.iterdir()} == {"a": "2", "c": "2"}
    assert not moved  # not file by file: a kill between two would leave a mixture
    monkeypatch.undo()
    (out / "mine").write_text("kept")
    fill({"a": "3"})
    assert {p.name: p.read_text() for p in out.iterdir()} == {"a": "3", "mine": "kept"}


# -- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "step"), [(signal.SIGINT, 5), pytest.param(signal.SIGTERM, 1, marks=pytest.mark.faults), (signal.SIGTERM, 3)]
)
def test_a_signal_writes_a_checkpoint_of_this_step(
    number: int, step: int, roll, trained, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs have 4 steps: in the middle of the second, of the first, and in the last one of the first."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with at_step(monkeypatch, step, lambda _: os.kill(os.getpid(), number)):
        with pytest.raises(InterruptedTraining, match=f"epoch {step // 4 + 1} after step {step % 4 + 1} of 4") as error:
            trained(roll, tmp_path / "run")
    assert error.value.signal == number
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    trained(roll, tmp_path / "run", resume=True)
    assert same(whole, tmp_path / "run")


def test_a_signal_in_validation(roll, trained, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validate = Loop.validate

    def interrupted(self):
        if self.batches.epoch == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return validate(self)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "validate", interrupted)
        with pytest.raises(InterruptedTraining, match="epoch 2 after step 4 of 4"):
            trained(roll, tmp_path / "run")
    assert len(Run(tmp_path / "run").metrics()) == 1
    trained(roll, tmp_path / "run", resume=True)
    assert same(whole, tmp_path / "run")


def test_the_second_signal_does_not_wait(roll, trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(_) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with at_step(monkeypatch, 5, twice), pytest.raises(InterruptedTraining, match="last checkpoint"):
        trained(roll, tmp_path / "run")
    found = Run(tmp_path / "run").read_checkpoint()
    assert found is not None
    assert found[1]["batches"] == {"epoch": 1, "position": 0}


def test_training_in_a_thread_leaves_signals_alone(roll, trained, tmp_path: Path) -> None:
    thread = threading.Thread(target=lambda: trained(roll, tmp_path / "run", epochs=1))
    thread.start()
    thread.join()
    assert (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_command_is_one_line(
    number: int, code: int, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "run")
    with at_step(monkeypatch, 1, lambda _: os.kill(os.getpid(), number)):
        assert cli.main(["train", "swiss-roll:n=300", "--epochs", "2", "--out", out, "--no-report"]) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("labelspace train: interrupted in epoch ")
    assert "--resume goes on from there" in last


# -- memory, numbers, time --------------------------------------------------------------------------------------------


def test_absurd_sizes_on_the_command_line_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for setting in (
        *("latent=1000000000000", "network.width=30000000", "network.depth=1000000000", "latent=1e400"),
        *("learning_rate=1e400", "kl_w=.inf", "epochs=" + "9" * 5000),
    ):
        assert cli.main(["train", "swiss-roll:n=300", "--set", setting, "--out", str(tmp_path / "run")]) == 2
        assert capsys.readouterr().err.count("\n") == 1, setting
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes"
        ),
        pytest.param(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), marks=pytest.mark.faults),
        pytest.param(MemoryError(), marks=pytest.mark.faults),
        np._core._exceptions._ArrayMemoryError((1, 2), np.dtype("f4")),  # type: ignore[attr-defined]
    ],
    ids=["cpu", "cuda", "python", "numpy"],
)
def test_no_memory_names_the_batch_size(
    error: Exception, roll, trained, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_) -> None:
        raise error

    with at_step(monkeypatch, 6, fail), pytest.raises(UserError, match=r"batches of 64 in epoch 2 .*batch_size=32") as said:
        trained(roll, tmp_path / "run")
    assert "\n" not in str(said.value)
    trained(roll, tmp_path / "run", resume=True)
    assert same(whole, tmp_path / "run")


def test_another_error_of_pytorch_is_not_taken_for_want_of_memory(roll, trained, tmp_path, monkeypatch) -> None:
    def fail(_) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with at_step(monkeypatch, 6, fail), pytest.raises(RuntimeError, match="mat1"):
        trained(roll, tmp_path / "run")


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_never_written(
    value: float, validated: bool, roll, trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They become so in the last step of an epoch, which no loss has seen."""
    step = Stepper.step

    def poisoning(self, batch, generator, count, share=1.0):
        losses = step(self, batch, generator, count, share)
        if count == 2 * steps - 1:
            with torch.no_grad():
                next(p for p in self.model.parameters() if p.requires_grad).view(-1)[0] = value
        return losses

    data = roll if validated else without_validation(roll)
    steps = -(-len(data.rows("train")) // 64)
    monkeypatch.setattr(Stepper, "step", poisoning)
    callback = Notes()
    trained(data, tmp_path / "run", callbacks=[callback])  # it goes back and goes on
    assert len(callback.notes) == 1
    assert "in epoch 2" in callback.notes[0]
    assert "goes back" in callback.notes[0]
    assert Run(tmp_path / "run").metrics()[-1]["undone"] > 0
    found = Run(tmp_path / "run").read_checkpoint()
    assert found is not None
    learnt = [name for name, p in ls.build("lsvae", data).named_parameters() if p.requires_grad]
    best, _ = tensorfiles.read(tmp_path / "run" / "model.safetensors")
    assert all(bool(torch.isfinite(best[name]).all() & torch.isfinite(found[0][f"model.{name}"]).all()) for name in learnt)


def without_validation(data):
    from dataclasses import replace

    train, val = data.splits["train"], data.splits["val"]
    return replace(data, splits={"train": np.concatenate([train, val]), "test": data.splits["test"]})


def test_a_gradient_that_is_not_finite_is_undone_and_the_player_is_named(
    roll, trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poison(stepper: Stepper) -> None:
        parameter = next(p for p in stepper.model.parameters() if p.requires_grad)
        handle = parameter.register_hook(lambda gradient: (handle.remove(), gradient * float("nan"))[1])

    callback = Notes()
    with at_step(monkeypatch, 6, poison):
        trained(roll, tmp_path / "run", callbacks=[callback])
    assert "the gradient of player 'model' became NaN or infinite in epoch 2, step 3" in callback.notes[0]


def test_data_that_are_not_finite_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for value in (np.nan, np.inf, -np.inf):
        x = np.random.default_rng(0).random((60, 3), np.float32)
        x[7, 1] = value
        np.savez(tmp_path / "data.npz", x=x, a=np.arange(60) % 2)
        code = cli.main(["train", f"npz:{tmp_path / 'data.npz'}", "--out", str(tmp_path / f"{value}"), "--no-report"])
        assert code in (1, 2)
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("labelspace train: ")
        assert not (tmp_path / f"{value}" / "checkpoint").exists()


@pytest.mark.parametrize("leap", [-(10**9), pytest.param(10**9, marks=pytest.mark.faults)])
def test_a_clock_that_leaps_changes_nothing(
    leap: int, roll, trained, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, calls = time.time, 0

    def leaping() -> float:
        nonlocal calls
        calls += 1
        return now() + (leap if calls % 2 else 0)

    with monkeypatch.context() as patch:
        patch.setattr(time, "time", leaping)
        trained(roll, tmp_path / "run", epochs=3)
    assert same(whole, tmp_path / "run")
    assert all(0 <= row["seconds"] < 600 for row in Run(tmp_path / "run").metrics())


@pytest.mark.parametrize("touched", [-(10**8), 10**8])
def test_work_that_is_under_way_is_never_swept_whatever_the_clock_says(touched: int, tmp_path: Path) -> None:
    mine, other = tmp_path / f"a-{'0' * 20}", tmp_path / f"b-{'1' * 20}"
    work = tmp_path / f".{other.name}"
    work.mkdir()
    with locks.locked(tmp_path / f"{work.name}.lock"):
        os.utime(work, (time.time() + touched, time.time() + touched))
        store.sweep(mine, 3600.0)
        assert work.exists()
    store.sweep(mine, 3600.0)
    assert work.exists() == (touched > 0)  # what seems to be of tomorrow is kept until then
