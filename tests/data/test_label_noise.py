"""Labels that are wrong on purpose: which, how many, and that a run remembers it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import labelspace as ls
from labelspace.cli import main
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.training.fit import open_run


def mixed(home: Path, **options) -> Dataset:
    """4,000 samples with a binary, a categorical and a continuous label, of which a quarter is missing each."""
    rng = np.random.default_rng(0)
    n = 4000
    on = np.where(rng.random(n) < 0.25, np.nan, rng.integers(0, 2, n))
    kind = np.where(rng.random(n) < 0.25, "", np.array(["cat", "dog", "eel", "fox"])[rng.integers(0, 4, n)])
    level = np.where(rng.random(n) < 0.25, np.nan, rng.normal(size=n))
    np.savez(home / "data.npz", x=rng.normal(size=(n, 3)), on=on, kind=kind, level=level)
    return ls.open(f"npz:{home / 'data.npz'}", **options)


def trained_on(data: Dataset) -> np.ndarray:
    return np.concatenate([data.rows("train"), data.rows("val")])


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9])
def test_the_share_of_known_labels_is_wrong_and_never_the_same_value(tmp_path: Path, share: float) -> None:
    data = mixed(tmp_path)
    wrong = data.with_label_noise(share, 0)
    for split in ("train", "val"):
        rows = data.rows(split)
        for i in range(2):
            seen = rows[data.observed[rows, i]]
            rate = (wrong.values[seen, i] != data.values[seen, i]).mean()
            assert abs(rate - share) < 4 * np.sqrt(share * (1 - share) / len(seen)), "as if by a coin, and every hit a change"
    assert set(np.unique(wrong.values[:, 1])) == {0, 1, 2, 3}
    assert set(np.unique(wrong.values[:, 0])) == {0, 1}
    assert wrong.label_noise == share
    assert data.label_noise == 0


def test_a_wrong_class_is_any_of_the_others(tmp_path: Path) -> None:
    data = mixed(tmp_path)
    wrong = data.with_label_noise(0.5, 0)
    rows = trained_on(data)
    cats = rows[data.observed[rows, 1] & (data.values[rows, 1] == 0) & (wrong.values[rows, 1] != 0)]
    counts = np.bincount(wrong.values[cats, 1].astype(int), minlength=4)
    assert counts[0] == 0
    assert counts[1:].min() > 0.7 * counts[1:].mean()


def test_test_samples_samples_themselves_and_holes_stay(tmp_path: Path) -> None:
    data = mixed(tmp_path)
    before = data.values.copy()
    wrong = data.with_label_noise(0.5, 0)
    np.testing.assert_array_equal(wrong.values[data.rows("test")], before[data.rows("test")])
    np.testing.assert_array_equal(wrong.observed, data.observed)
    np.testing.assert_array_equal(wrong.values[~data.observed], 0)
    np.testing.assert_array_equal(wrong.x, data.x)
    np.testing.assert_array_equal(data.values, before)
    assert wrong.values.dtype == np.float32


def test_numbers_become_those_of_other_samples(tmp_path: Path) -> None:
    data = mixed(tmp_path)
    wrong = data.with_label_noise(0.5, 0)
    rows = trained_on(data)
    seen = rows[data.observed[rows, 2]]
    np.testing.assert_array_equal(np.sort(wrong.values[seen, 2]), np.sort(data.values[seen, 2]))
    rate = (wrong.values[seen, 2] != data.values[seen, 2]).mean()
    assert abs(rate - 0.5) < 4 * 0.5 / np.sqrt(len(seen))
    moved = seen[wrong.values[seen, 2] != data.values[seen, 2]]
    assert abs(np.corrcoef(wrong.values[moved, 2], data.values[moved, 2])[0, 1]) < 0.1


def test_every_number_that_is_to_be_wrong_is_that_of_another_sample(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "few.npz", x=rng.normal(size=(30, 2)), level=np.arange(30) + 0.5, on=np.arange(30) % 2)
    data = ls.open(f"npz:{tmp_path / 'few.npz'}")
    for seed in range(20):
        wrong = data.with_label_noise(1 - 1e-9, seed)
        rows = trained_on(data)
        assert (wrong.values[rows, 0] != data.values[rows, 0]).all()
        assert (wrong.values[rows, 1] != data.values[rows, 1]).all()


def test_seeds_choose_and_notes_tell(tmp_path: Path) -> None:
    data = mixed(tmp_path)
    one, same, other = (data.with_label_noise(0.3, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.values, same.values)
    assert (one.values != other.values).any()
    assert one.notes[-1] == "30% of the labels for training are wrong on purpose (seed 1)"
    assert data.with_label_noise(0, 1) is data


def test_a_small_share_is_not_noted_as_nothing(tmp_path: Path) -> None:
    assert not mixed(tmp_path).with_label_noise(0.004, 0).notes[-1].startswith("0% ")


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, np.nan])
def test_shares_outside_zero_to_one_are_refused(tmp_path: Path, share: float) -> None:
    data = mixed(tmp_path)
    with pytest.raises(UserError, match="from 0 up to below 1") as caught:
        data.with_label_noise(share, 0)
    assert str(share) in str(caught.value)
    with pytest.raises(UserError, match="from 0 up to below 1"):
        mixed(tmp_path, label_noise=share)


def test_wrong_labels_are_chosen_before_labels_are_hidden(tmp_path: Path) -> None:
    whole, few = (mixed(tmp_path, label_noise=0.3, supervision=part, seed=3) for part in (1.0, 0.2))
    np.testing.assert_array_equal(few.values, np.where(few.observed, whole.values, 0))
    assert few.observed[few.rows("train")].mean() < 0.2
    assert len(few.notes) == 2


def test_a_run_says_so_and_its_data_come_back_as_they_were(tmp_path: Path) -> None:
    data = ls.open("swiss-roll:n=300", seed=4, label_noise=0.25)
    assert (data.values != ls.open("swiss-roll:n=300", seed=4).values).any()
    torch.manual_seed(0)
    ls.fit(ls.build("condvae", data), data, epochs=1, out=tmp_path / "run")
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["data"]["label_noise"] == 0.25
    _, again = open_run(tmp_path / "run")
    np.testing.assert_array_equal(again.values, data.values)
    assert (again.label_noise, again.seed) == (0.25, 4)


def test_the_command_line_makes_keeps_and_repeats_wrong_labels(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "swiss-roll:n=300", "--model", "condvae", "--epochs", "1", "--no-report"]
    assert main([*arguments, "--label-noise", "0.2", "--out", "a"]) == 0
    assert "20% of the labels for training are wrong on purpose (seed 0)" in " ".join(capsys.readouterr().err.split())
    assert "label_noise: 0.2" in Path("a/config.yaml").read_text()
    assert main(["train", "--config", "a/config.yaml", "--out", "b"]) == 0
    assert Path("b/config.yaml").read_text() == Path("a/config.yaml").read_text()
    assert Path("b/model.safetensors").read_bytes() == Path("a/model.safetensors").read_bytes()
    assert main([*arguments, "--out", "right"]) == 0
    assert "label_noise" not in Path("right/config.yaml").read_text()
    assert Path("right/model.safetensors").read_bytes() != Path("a/model.safetensors").read_bytes()
    assert main(["train", "--resume", "--out", "a"]) == 0
    assert main(["train", "--resume", "--out", "a", "--label-noise", "0.2"]) == 0
    capsys.readouterr()
    for given, home, said in (
        (["--resume", "--label-noise", "0.3"], "a", "--label-noise 0.2, not 0.3"),
        (["--resume", "--label-noise", "0.3"], "right", "--label-noise 0.0, not 0.3"),
        (["swiss-roll:n=300", "--label-noise", "1"], "none", "from 0 up to below 1"),
    ):
        assert main(["train", *given, "--out", home]) == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert said in line
    assert not Path("none").exists()


def test_a_configuration_with_a_wrong_share_is_refused(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    config = {
        "data": {"address": "swiss-roll:n=300", "labels": ["side"], "seed": 0, "label_noise": "many"},
        "model": {"name": "vae"},
        "training": {},
    }
    Path("c.yaml").write_text(json.dumps(config))
    assert main(["train", "--config", "c.yaml"]) == 2
    assert "c.yaml" in capsys.readouterr().err.strip().splitlines()[-1]
