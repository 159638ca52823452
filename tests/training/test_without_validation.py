"""Data that hold nothing back for validation: every sample trains, and the last weights are kept."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

import labelspace as ls
from labelspace.cli import main
from labelspace.errors import UserError
from labelspace.models.networks import Network
from labelspace.training import launcher, loop
from labelspace.training.run import Run


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 training and 40 test digits of 8 x 8; class by class another row is bright."""
    directory = tmp_path_factory.mktemp("idx")
    rng = np.random.default_rng(0)
    for part, n in (("train", 80), ("t10k", 40)):
        digits = (np.arange(n) % 4).astype(np.uint8)
        images = rng.integers(0, 60, (n, 8, 8), dtype=np.uint8)
        images[np.arange(n), 2 * digits] += 150
        (directory / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (directory / f"{part}-labels-idx1-ubyte").write_bytes(idx(digits))
    return directory


def new(data, seed: int = 0):
    torch.manual_seed(seed)
    return ls.build("condvae", data, network=Network(kind="mlp", width=8))


OPTIONS = {"epochs": 3, "batch_size": 16, "precision": "32-true"}


def strict(text: str):
    """JSON as other programs read it: without NaN and Infinity."""

    def refuse(name: str):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_all_digits_train(home: Path) -> None:
    data = ls.open(f"mnist:{home},val=0")
    assert data.rows("train").tolist() == list(range(80))
    assert data.rows("test").tolist() == list(range(80, 120))
    assert set(data.splits) == {"train", "test"}
    assert data.describe()["splits"] == {"train": 80, "test": 40}
    with pytest.raises(UserError, match="val"):
        data.rows("val")


def test_a_share_is_held_back_as_asked(home: Path) -> None:
    for val, n in ((0.25, 20), (0.5, 40), (0.001, 1)):
        data = ls.open(f"mnist:{home},val={val}")
        assert len(data.rows("val")) == n
        assert sorted([*data.rows("train"), *data.rows("val")]) == list(range(80))
    assert len(ls.open(f"mnist:{home}").rows("val")) == 7


@pytest.mark.parametrize("val", ["-0.1", "1", "1.5", "nan", "some", "0.999"])
def test_shares_that_cannot_be_are_refused(home: Path, val: str) -> None:
    with pytest.raises(UserError, match="train split is empty" if val == "0.999" else "val"):
        ls.open(f"mnist:{home},val={val}")


def test_the_last_weights_are_kept_and_the_reason_says_so(home: Path, tmp_path: Path) -> None:
    data = ls.open(f"mnist:{home},val=0")
    weights = []

    class Callback(ls.Callback):
        def epoch(self, row: dict) -> None:
            weights.append({name: p.detach().clone() for name, p in model.named_parameters()})

    model = new(data)
    fitted = ls.fit(model, data, out=tmp_path / "run", callbacks=[Callback()], **OPTIONS)
    assert "no validation split" in fitted.reason
    assert "last weights are kept" in fitted.reason
    assert fitted.best_epoch == 3
    kept = dict(ls.load(tmp_path / "run").named_parameters())
    for name, parameter in weights[-1].items():
        torch.testing.assert_close(kept[name], parameter, rtol=0, atol=0)
    assert any(not torch.equal(weights[1][name], parameter) for name, parameter in weights[-1].items())


def test_without_a_directory_too_the_last_weights_are_kept(home: Path, tmp_path: Path) -> None:
    data = ls.open(f"mnist:{home},val=0")
    ls.fit(new(data), data, out=tmp_path / "run", **OPTIONS)
    fitted = ls.fit(new(data), data, **OPTIONS)
    written = ls.load(tmp_path / "run").state_dict()
    for name, tensor in fitted.model.state_dict().items():
        assert torch.equal(tensor.nan_to_num(), written[name].nan_to_num()), name


def test_metrics_have_no_validation_and_are_json(home: Path, tmp_path: Path) -> None:
    data = ls.open(f"mnist:{home},val=0")
    ls.fit(new(data), data, out=tmp_path / "run", **OPTIONS)
    rows = [strict(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    for row in rows:
        assert row["val"] == {}
        assert row["score"] is None
        assert row["train"]["reconstruction"] > 0


def test_an_interrupted_run_resumes_bit_for_bit(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ls.open(f"mnist:{home},val=0")
    options = {**OPTIONS, "checkpoint_minutes": 0.0}
    ls.fit(new(data), data, out=tmp_path / "whole", **options)

    class StopHereError(Exception):
        pass

    write, count = Run.write_checkpoint, 0

    def stopping(run, tensors, state):
        nonlocal count
        write(run, tensors, state)
        count += 1
        if count == 8:
            raise StopHereError

    monkeypatch.setattr(Run, "write_checkpoint", stopping)
    monkeypatch.setattr(loop, "_WRITING", math.inf)  # however short epochs are
    with pytest.raises(StopHereError):
        ls.fit(new(data), data, out=tmp_path / "run", **options)
    monkeypatch.undo()
    found = Run(tmp_path / "run").read_checkpoint()
    assert found is not None
    assert found[1]["batches"] == {"epoch": 1, "position": 3}
    fitted = ls.fit(new(data, seed=9), data, out=tmp_path / "run", resume=True, **options)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert "last weights are kept" in fitted.reason
    assert [row["epoch"] for row in Run(tmp_path / "run").metrics()] == [1, 2, 3]


def test_patience_has_nothing_to_wait_for(home: Path) -> None:
    data = ls.open(f"mnist:{home},val=0")
    with pytest.raises(UserError, match=r"patience.*no validation split"):
        ls.fit(new(data), data, patience=2, **OPTIONS)


def test_a_refused_run_leaves_no_directory(home: Path, tmp_path: Path) -> None:
    data = ls.open(f"mnist:{home},val=0")
    with pytest.raises(UserError, match="patience"):
        ls.fit(new(data), data, patience=2, out=tmp_path / "run", **OPTIONS)
    assert not (tmp_path / "run").exists(), "a refused run leaves no directory that asks for --resume"


def test_a_few_labels_and_wrong_ones_without_validation(home: Path) -> None:
    data = ls.open(f"mnist:{home},val=0", supervision=0.5, label_noise=0.2)
    assert data.observed[data.rows("train")].sum() == 40
    assert data.observed[data.rows("test")].all()
    assert "40 of 80 training samples" in data.notes[1]


TRAIN = ["--model", "condvae", "--epochs", "1", "--set", "network.kind=mlp", "--set", "network.width=8", "--no-report"]


def test_the_command_line_trains_shows_and_reads_such_a_run(home: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", f"mnist:{home},val=0", *TRAIN, "--out", "run"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "the data have no validation split, so the last weights are kept" in said
    assert "score" not in said
    assert main(["embed", "run", f"mnist:{home},val=0", "--out", "codes.npz"]) == 0
    with np.load("codes.npz") as codes:
        assert set(codes["split"]) == {"train", "test"}
    assert main(["train", f"mnist:{home},val=0", *TRAIN, "--out", "other", "--set", "patience=3"]) == 2
    assert "patience" in capsys.readouterr().err.strip().splitlines()[-1]
    # with several processes, too, it is said once: before the others are started
    several = ["--set", "patience=3", "--devices", "2", "--accelerator", "cpu"]
    monkeypatch.setattr(launcher, "start", lambda *_: pytest.fail("processes were started"))
    assert main(["train", f"mnist:{home},val=0", *TRAIN, "--out", "third", *several]) == 2
    assert "patience" in capsys.readouterr().err.strip().splitlines()[-1]


def test_the_result_of_training_is_json(home: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", f"mnist:{home},val=0", *TRAIN, "--out", "run", "--json"]) == 0
    assert strict(capsys.readouterr().out)["best_epoch"] == 1


def test_a_walk_over_the_span_of_data_needs_no_validation_split(home: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["train", f"mnist:{home},val=0", "--model", "lsvae", *TRAIN[2:], "--out", "run"]
    assert main(arguments) == 0
    assert main(["traverse", "run", "--label", "digit", "--span", "data", "--out", "w.png"]) == 0, capsys.readouterr().err
