"""What is told about a training: to callbacks, trackers, terminals and logs."""

from __future__ import annotations

import importlib
import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import labelspace as ls
from labelspace.training.progress import Callbacks, Terminal, quiet
from labelspace.training.trackers import logger

OPTIONS: dict[str, Any] = {"batch_size": 64, "seed": 0}


def trained(out: Path | None = None, **options: Any) -> Any:
    data = ls.open("moons:n=200")
    torch.manual_seed(0)
    model = ls.build("vae", data)
    return ls.fit(model, data, out=out, **{**OPTIONS, **options})


class Heard(ls.Callback):
    def __init__(self) -> None:
        self.said: list[str] = []

    def configured(self, config: dict[str, Any]) -> None:
        self.said.append(f"configured {config['data']['address']}")

    def start(self, epochs: int, steps: int, epoch: int) -> None:
        self.said.append(f"start {epochs} {epoch}")

    def earlier(self, rows: Any) -> None:
        self.said.append(f"earlier {len(rows)}")

    def epoch(self, row: dict[str, Any]) -> str | None:
        self.said.append(f"epoch {row['epoch']}")
        return None

    def end(self, reason: str) -> None:
        self.said.append("end" if reason else "failed")


def test_a_callback_is_told_in_order_and_of_a_resumed_run_what_was_before(tmp_path: Path) -> None:
    heard, again = Heard(), Heard()

    class Cut(ls.Callback):
        def epoch(self, row: dict[str, Any]) -> str | None:
            if row["epoch"] == 2:
                raise KeyboardInterrupt
            return None

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run", epochs=4, callbacks=[heard, Cut()])
    assert heard.said == ["configured moons:n=200", "start 4 0", "epoch 1", "epoch 2", "failed"]
    fitted = trained(tmp_path / "run", epochs=4, callbacks=[again], resume=True)
    assert again.said[1].startswith("start 4")
    assert again.said[2].startswith("earlier")
    assert again.said[-2:] == ["epoch 4", "end"]
    assert [row["epoch"] for row in fitted.rows] == [1, 2, 3, 4]


def test_a_text_that_a_callback_returns_ends_training() -> None:
    class Enough(ls.Callback):
        def epoch(self, row: dict[str, Any]) -> str | None:
            return "because it is enough" if row["epoch"] == 2 else None

    fitted = trained(epochs=9, callbacks=[Enough()])
    assert len(fitted.rows) == 2
    assert fitted.reason == "stopped because it is enough"


def test_early_stopping_waits_for_a_better_score() -> None:
    stopping = ls.EarlyStopping(2, least=0.1)
    stopping.start(9, 1, 0)
    answers = [stopping.epoch({"epoch": i + 1, "score": score}) for i, score in enumerate((5.0, 4.0, 3.95, 3.94))]
    assert answers[:3] == [None, None, None]
    assert answers[3] is not None
    assert "after epoch 4: no better validation score in 2 epochs" in answers[3]
    stopping.start(9, 1, 3)
    stopping.earlier([{"epoch": i + 1, "score": score} for i, score in enumerate((5.0, 4.0, 3.95))])
    assert stopping.epoch({"epoch": 4, "score": 3.94}) is not None
    fitted = trained(epochs=60, callbacks=[ls.EarlyStopping(1, least=1e9)])
    assert len(fitted.rows) == 2
    with pytest.raises(ls.UserError, match="at least 1"):
        ls.EarlyStopping(0)


def test_history_is_a_frame_and_the_result_a_line(tmp_path: Path) -> None:
    fitted = trained(tmp_path / "run", epochs=3)
    history = fitted.history
    assert history["epoch"].tolist() == [1, 2, 3]
    assert {"train/reconstruction", "val/kl_z", "score"} <= set(history.columns)
    assert np.isfinite(history["val/reconstruction"]).all()
    assert repr(fitted).startswith("Fitted(VAE: 3 epochs, ")
    assert str(tmp_path / "run") in repr(fitted)
    assert "<table>" in fitted._repr_html_()


def test_notes_are_said_once_by_whoever_says_them_and_else_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Says(ls.Callback):
        heard: list[str] = []

        def note(self, text: str) -> None:
            self.heard.append(text)

    with caplog.at_level(logging.WARNING):
        Callbacks([ls.Callback(), Says()]).note("odd")
        assert Says.heard == ["odd"]
        assert not caplog.records
        Callbacks([ls.Callback(), Heard()]).note("odd")
    assert [record.message for record in caplog.records] == ["odd"]


def test_progress_is_shown_by_default_and_not_where_it_is_not_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(epochs=1)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("LABELSPACE_QUIET", "0")
    assert not quiet()
    trained(epochs=1)
    assert "epoch   1/1" in capsys.readouterr().err
    trained(epochs=1, progress=False)
    assert capsys.readouterr().err == ""


def test_the_terminal_says_every_epoch_and_why_it_ends() -> None:
    written = io.StringIO()
    trained(epochs=2, callbacks=[Terminal(Console(file=written, width=200))])
    lines = written.getvalue().splitlines()
    assert lines[0].startswith("epoch   1/2  reconstruction")
    assert lines[-1].startswith("stopped after all 2 epochs")


def test_tensorboard_gets_terms_by_epoch(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained(tmp_path / "run", epochs=2, callbacks=[ls.TensorBoard(tmp_path / "run")])
    events = EventAccumulator(str(tmp_path / "run/events"))
    events.Reload()
    assert [event.step for event in events.Scalars("val/reconstruction")] == [1, 2]


def test_weights_and_biases_gets_them_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    tracker = ls.WandB("tests", dir=str(tmp_path))
    fitted = trained(epochs=2, callbacks=[tracker])
    wandb.teardown()  # as a program does when it ends
    (written,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert fitted.reason.partition(";")[0].encode() in written.read_bytes()


def test_mlflow_gets_them_in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    trained(epochs=2, callbacks=[ls.MLflow("tests", uri=(tmp_path / "ml").as_uri())])
    found = {file.name: file.read_text() for file in (tmp_path / "ml").glob("*/*/metrics/**/*") if file.is_file()}
    assert len(found["reconstruction"].splitlines()) == 2
    parameters = {file.name: file.read_text() for file in (tmp_path / "ml").glob("*/*/params/*")}
    assert parameters["data.address"] == "moons:n=200"
    assert parameters["training.epochs"] == "2"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # between its own libraries
def test_mlflow_gets_them_in_a_data_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("alembic")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'ml.db'}")
    trained(epochs=2, callbacks=[ls.MLflow("tests", name="r")])
    client = importlib.import_module("mlflow.tracking").MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.metrics["train/reconstruction"] > 0


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: ls.MLflow(uri="nowhere://"), "MLflow cannot be told: .*MLFLOW_TRACKING_URI"),
        (lambda: ls.WandB(mode="of course"), "Weights & Biases cannot be told: .*wandb login"),
    ],
    ids=["mlflow", "wandb"],
)
def test_a_tracker_that_cannot_begin_is_one_line(make: Callable[[], ls.Callback], what: str, tmp_path: Path) -> None:
    try:
        tracker = make()
    except ls.UserError:
        pytest.skip("it is not installed")
    with pytest.raises(ls.UserError, match=what) as raised:
        trained(tmp_path / "run", epochs=1, callbacks=[tracker])
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_tracker_that_is_lost_does_not_end_training(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    asked = []

    class Client:
        def __init__(self, *given: object) -> None: ...

        def get_experiment_by_name(self, name: str) -> SimpleNamespace:
            return SimpleNamespace(experiment_id="1")

        def create_run(self, *given: object, **named: object) -> SimpleNamespace:
            return SimpleNamespace(info=SimpleNamespace(run_id="7"))

        def log_param(self, *given: object) -> None: ...

        def log_metric(self, *given: object, step: int) -> None:
            asked.append(step)
            raise ConnectionError("the server\n is gone")

    monkeypatch.setattr("mlflow.tracking.MlflowClient", Client)
    with pytest.warns(UserWarning, match="MLflow is told nothing any more: the server is gone") as warned:
        fitted = trained(epochs=3, callbacks=[ls.MLflow()])
    assert fitted.reason
    assert asked == [1]
    assert len(warned) == 1


def test_an_unknown_logger_is_named() -> None:
    with pytest.raises(ls.UserError, match="did you mean 'wandb'"):
        logger("wandbb", "run")


def test_a_run_from_memory_says_so_and_takes_its_data(tmp_path: Path) -> None:
    data = ls.Dataset.from_arrays(np.random.default_rng(0).normal(size=(120, 4)), {"a": [0, 1] * 60}, seed=3)
    model = ls.build("condvae", data)
    ls.fit(model, data, epochs=1, out=tmp_path / "run")
    config = (tmp_path / "run/config.yaml").read_text()
    assert "memory:arrays" in config
    assert data.fingerprint() in config
    with pytest.raises(ls.UserError, match=r"memory:arrays: 120 vectors of 4.*data="):
        ls.open_run(tmp_path / "run")
    _, same = ls.open_run(tmp_path / "run", data)
    assert not any("not the data" in note for note in same.notes)
    np.testing.assert_array_equal(same.rows("test"), data.rows("test"))
    _, saved = ls.open_run(tmp_path / "run", f"npz:{data.save(tmp_path / 'd.npz')}")
    np.testing.assert_array_equal(saved.rows("test"), data.rows("test"))
    _, other = ls.open_run(tmp_path / "run", data[:100])
    assert any("not the data that run was trained on" in note for note in other.notes)
    with pytest.raises(ls.UserError, match="do not say their labels"):
        ls.open_run(tmp_path / "run", data.x)
    found = ls.evaluate(tmp_path / "run", data, most=50, split="train", depth="quick")
    assert found["samples"] == 50
    assert json.loads((tmp_path / "run/evaluation.json").read_text())["samples"] == 50
    assert "prediction" in repr(found.tables().keys()).lower()
    page = ls.report(tmp_path / "run", data=data, quick=True)
    assert page.path == tmp_path / "run/report.html"
    assert "<iframe" in page._repr_html_()
