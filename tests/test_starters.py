"""Small models to begin with: ``demo:NAME`` wherever a run is named."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

import labelspace as ls
from labelspace import saving
from labelspace.cli import main
from labelspace.storage import starters, tensorfiles


@pytest.fixture(scope="module")
def make(program) -> ModuleType:
    return program("starters/make.py")


@pytest.fixture(scope="module")
def package(make: ModuleType, hasty: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one starter, of a tiny model."""
    home = tmp_path_factory.mktemp("starters")
    make.make("roll", make.Recipe("swiss-roll:n=600", epochs=1, model="ccvae", width=32), home)
    return home


@pytest.fixture(autouse=True)
def _at_hand(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELSPACE_STARTERS", str(package))
    monkeypatch.setenv("LABELSPACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_a_starter_is_small_and_says_what_it_is(package: Path) -> None:
    home = package / "roll"
    assert sum(file.stat().st_size for file in home.iterdir()) < 3_000_000
    card = (home / "README.md").read_text()
    assert "swiss-roll:n=600" in card
    assert "ccvae" in card
    tensors, _ = tensorfiles.read(home / "model.safetensors")
    kinds = {tensor.dtype for tensor in tensors.values()}
    assert torch.float16 in kinds
    assert torch.float32 in kinds


def test_what_halving_the_weights_costs_is_small(make: ModuleType, package: Path) -> None:
    model = ls.load("demo:roll")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    data = ls.open("swiss-roll:n=600")
    fitted = ls.load(package / "roll")
    codes = [m.encode(data)["z"] for m in (model, fitted)]
    assert (codes[0] == codes[1]).all()


def test_commands_take_it_in_the_place_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["edit", "demo:roll", "test:0", "--set", "side=1", "--out", "edited.csv"]) == 0
    assert main(["generate", "demo:roll", "--set", "side=0", "-n", "3", "--out", "new.csv"]) == 0
    assert main(["predict", "demo:roll", "swiss-roll:n=60", "--out", "labels.csv"]) == 0
    assert main(["evaluate", "demo:roll", "--most", "40", "--json"]) == 0
    assert Path("edited.csv").exists()
    capsys.readouterr()
    assert main(["edit", "demo:roll", "test:0", "--set", "sid=1", "--out", "edited.csv"]) == 2
    assert "did you mean 'side'" in capsys.readouterr().err


def test_python_takes_it_and_reports_are_written_into_the_cache(package: Path, tmp_path: Path) -> None:
    model, data = ls.open_run("demo:roll")
    assert [len(data.rows(split)) for split in ("train", "val", "test")] == [300, 50, 60]
    before = sorted(file.name for file in (package / "roll").iterdir())
    done = ls.report("demo:roll", quick=True)
    assert Path(done.path).is_relative_to(tmp_path / "cache")
    assert sorted(file.name for file in (package / "roll").iterdir()) == before
    edited = ls.interventions.set(model, data.samples([0]), {"side": 1}, data.labels([0]))
    assert edited.x.shape == (1, 3)


def test_it_is_put_into_the_cache_once_and_again_when_it_is_another(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = starters.fetch("demo:roll")
    (first / "evaluation.json").write_text("{}")
    assert starters.fetch("demo:roll") == first
    assert (first / "evaluation.json").read_text() == "{}"
    other = package.parent / "others"
    monkeypatch.setenv("LABELSPACE_STARTERS", str(other))
    (other / "roll").mkdir(parents=True)
    for file in (package / "roll").iterdir():
        (other / "roll" / file.name).write_bytes(file.read_bytes())
    tensors, _ = tensorfiles.read(other / "roll" / "model.safetensors")
    tensorfiles.write(other / "roll" / "model.safetensors", {name: tensor + 1 for name, tensor in tensors.items()})
    assert starters.fetch("demo:roll") != first


def test_an_unknown_one_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["edit", "demo:rol", "test:0", "--set", "side=1"]) == 2
    assert "did you mean 'roll'" in capsys.readouterr().err
    monkeypatch.setattr(starters, "_places", list)
    assert main(["evaluate", "demo:roll"]) == 2
    assert "pip install labelspace-starters" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["faces", "letters", "digits", "patients"])
def test_those_of_the_repository_are_small_measured_and_of_this_version(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(__file__).parents[1] / "starters" / starters.PACKAGE
    monkeypatch.setenv("LABELSPACE_STARTERS", str(home))
    model, data = ls.open_run(f"demo:{name}")
    assert data.schema == model.schema
    label = model.schema.labels[0]
    edited = ls.interventions.set(model, data.samples([0]), {label.name: label.format(1)}, data.labels([0]))
    assert edited.x.shape == (1, *data.shape)
    assert json.loads((home / name / "config.json").read_text())["format"] == saving.FORMAT, "to be made again"
    assert "## Measured" in (home / name / "README.md").read_text()
    assert sum(file.stat().st_size for file in (home / name).iterdir()) < 3_000_000
