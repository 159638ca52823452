"""A training run as data: found again by what it is, gone on with where it stopped, and never mistaken for another."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import labelspace as ls
from labelspace.errors import UserError
from labelspace.experiments import jobs
from labelspace.experiments.jobs import Job
from labelspace.models.base import Model
from labelspace.training.progress import Callback
from labelspace.training.run import Run

JOB = Job("vae", "swiss-roll:n=300", settings=("likelihood=gaussian", "batch_size=32"), epochs=2)
OTHER = {
    "model": "csvae",
    "address": "swiss-roll:n=301",
    "labels": ("side",),
    "seed": 1,
    "supervision": 0.5,
    "label_noise": 0.1,
    "settings": ("likelihood=gaussian",),
    "epochs": 3,
}


class Counting(Callback):
    """Counts what it is told."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.epochs: list[int] = []

    def start(self, epochs: int, steps: int, epoch: int) -> None:
        self.starts.append(epoch)

    def epoch(self, row: dict) -> None:
        self.epochs.append(row["epoch"])


def same(a: Model, b: Model) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k].nan_to_num(), right[k].nan_to_num()) for k in left)


def test_equal_jobs_have_equal_names_and_each_field_makes_another() -> None:
    assert JOB.key == replace(JOB).key
    assert set(OTHER) == {field.name for field in fields(Job)}
    keys = {replace(JOB, **{name: value}).key for name, value in OTHER.items()}
    assert len(keys | {JOB.key}) == len(OTHER) + 1
    assert JOB.key.startswith("vae-")
    assert "/" not in replace(JOB, address="mnist:/some/place").key


def test_data_for_training_hide_what_data_for_measuring_show() -> None:
    job = replace(JOB, seed=3, supervision=0.5, label_noise=0.2)
    data, whole = job.open(), job.open_whole()
    assert data.observed.mean() < 1
    assert whole.observed.all()
    np.testing.assert_array_equal(data.x, whole.x)
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(data.rows(split), whole.rows(split))
    train = data.rows("train")[data.observed[data.rows("train"), 0]]
    assert (data.values[train] != whole.values[train]).mean() == pytest.approx(0.2, abs=0.12)
    assert (data.seed, whole.seed) == (3, 3)


def test_settings_epochs_and_seed_reach_the_training(tmp_path: Path) -> None:
    job = replace(JOB, seed=5)
    resolved = job.resolve(job.open())
    assert resolved.options.epochs == 2
    assert resolved.options.seed == 5
    assert resolved.options.batch_size == 32
    assert resolved.arguments["likelihood"] == "gaussian"
    recipe = replace(job, epochs=None)
    assert recipe.resolve(recipe.open()).options.epochs == ls.models.model_class("vae").recipe((3,), 240).get("epochs", 20)


def test_a_trained_job_is_known_and_taken_without_training(tmp_path: Path) -> None:
    home = tmp_path / JOB.key
    assert not JOB.trained_in(home)
    first, again = Counting(), Counting()
    model = jobs.train(JOB, home, callback=lambda model, data: first)
    assert first.epochs == [1, 2]
    assert JOB.trained_in(home)
    before = {file: file.stat().st_mtime_ns for file in home.rglob("*")}
    found = jobs.train(JOB, home, callback=lambda model, data: again)
    assert again.starts == []
    assert {file: file.stat().st_mtime_ns for file in home.rglob("*")} == before
    assert same(model, found)
    assert jobs.seconds(home) == pytest.approx(sum(row["seconds"] for row in Run(home).metrics()))
    assert jobs.seconds(home) > 0
    assert jobs.seconds(tmp_path / "nothing") == 0


def test_training_does_not_depend_on_what_was_drawn_before(tmp_path: Path) -> None:
    a = jobs.train(JOB, tmp_path / "a")
    torch.manual_seed(99)
    torch.randn(10)
    assert same(a, jobs.train(JOB, tmp_path / "b"))
    assert not same(a, jobs.train(replace(JOB, seed=1), tmp_path / "c"))


def test_an_interrupted_job_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = jobs.train(JOB, tmp_path / "whole")

    class StopHereError(Exception):
        pass

    class Stopping(Counting):
        def step(self, epoch: int, step: int, rate: float) -> None:
            self.epoch({"epoch": epoch})

        def epoch(self, row: dict) -> None:
            if len(Run(tmp_path / "run").metrics()) == 2:
                raise StopHereError

    with pytest.raises(StopHereError):
        jobs.train(JOB, tmp_path / "run", callback=lambda model, data: Stopping())
    assert not JOB.trained_in(tmp_path / "run")
    again = Counting()
    model = jobs.train(JOB, tmp_path / "run", callback=lambda model, data: again)
    assert again.starts == [1]
    assert again.epochs == [2]
    assert same(model, whole)
    assert JOB.trained_in(tmp_path / "run")


def test_a_job_cut_between_its_last_epoch_and_its_calibration_is_calibrated(tmp_path: Path, monkeypatch) -> None:
    job = replace(JOB, model="csvae")
    whole = jobs.train(job, tmp_path / "whole")

    class StopHereError(Exception):
        pass

    def stop(self, batches):
        raise StopHereError

    with monkeypatch.context() as patch:
        patch.setattr(type(whole), "calibrate", stop)
        with pytest.raises(StopHereError):
            jobs.train(job, tmp_path / "run")
    assert same(jobs.train(job, tmp_path / "run"), whole)


def test_a_directory_with_another_run_is_not_touched(tmp_path: Path) -> None:
    jobs.train(JOB, tmp_path / "run")
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    for name in ("seed", "settings", "epochs", "supervision", "label_noise", "address"):
        with pytest.raises(UserError, match="holds a run with other settings"):
            jobs.train(replace(JOB, **{name: OTHER[name]}), tmp_path / "run")
    assert {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()} == before


def test_a_model_that_does_not_take_the_labels_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "dose.npz", x=rng.normal(size=(100, 3)), dose=rng.normal(size=100))
    job = Job("lr-livae", f"npz:{tmp_path / 'dose.npz'}", epochs=1)
    with pytest.raises(UserError, match="takes binary and categorical labels"):
        jobs.train(job, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("setting", "said"), [("latnt=3", "did you mean 'latent'"), ("latent", "KEY=VALUE")])
def test_a_wrong_setting_is_refused(setting: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        jobs.train(replace(JOB, settings=(setting,)), tmp_path / "run")
