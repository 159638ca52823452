"""benchmarks/letters.py, small."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import labelspace as ls


@pytest.fixture(scope="module")
def letters(program: Callable[[str], ModuleType]) -> ModuleType:
    return program("benchmarks/letters.py")


@pytest.fixture(scope="module")
def address(fonts: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> str:
    font = fonts.variable_font(tmp_path_factory.mktemp("letters") / "font.ttf")
    return f"glyphs:{font},characters=ILT,n=160,size=16"


def test_nothing_of_a_held_out_area_is_trained_on(letters: ModuleType, address: str):
    data = letters.without(ls.open(address), "T")
    assert data.factors is not None
    rows = np.concatenate([data.rows("train"), data.rows("val")])
    letter, weight, width, _ = data.values[rows].T
    assert not ((weight >= 500) & (weight <= 600)).any()
    assert not ((weight >= 700) & (width <= 60)).any()
    assert not ((letter == 2) & (weight > 400)).any()
    assert ((letter == 2) & (weight <= 400)).any()
    assert (weight > 700).any()


def test_true_edits_have_no_error_and_readings_follow(letters: ModuleType, address: str, monkeypatch: pytest.MonkeyPatch):
    kept = letters.Measured(letters.without(ls.open(address), "T"), "T", 12)
    truths = {(axis, value): true for axis, value, true, _ in kept.edits}

    class Done:
        def __init__(self, x: torch.Tensor) -> None:
            self.x = x

    monkeypatch.setattr(
        letters.interventions, "set", lambda model, x, values, labels, **_: Done(truths[next(iter(values.items()))])
    )
    monkeypatch.setattr(letters.interventions, "transfer", lambda *_, **__: Done(kept.styled))
    monkeypatch.setattr(letters, "reconstructed", lambda model, x, labels: x)
    found = letters.evaluate(None, kept)
    for name in ("weight", "width", "slant"):
        row = found["edits"][name]
        assert row["n"] > 0
        assert row["nothing"] > 0
        assert row["error"] == row["keep_detail"] == row["told_the_truth"] == 0
        assert found["readings"][name]["truth_by_edit"] == pytest.approx(1)
        assert found["readings"][name]["asked_by_edit"] == found["readings"][name]["asked_by_truth"]
    assert found["transfer"]["error"] == 0
    assert found["readings"]["slant"]["asked_by_truth"] > 0.8
    monkeypatch.setattr(letters.interventions, "set", lambda model, x, values, labels, **_: Done(x))
    assert letters.evaluate(None, kept)["edits"]["weight"]["error"] == 1  # doing nothing


def test_the_script_writes_evidence_and_pictures(letters: ModuleType, address: str, tmp_path: Path, capsys):
    font = address.split(":")[1].split(",")[0]
    small = {"characters": "ILT", "few": "T", "n": 160, "size": 16, "epochs": 1, "width": 8, "letters": 8, "seeds": 0}
    given = [font, "--models", "condvae", *(text for key, value in small.items() for text in (f"--{key}", str(value)))]
    places = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "docs")]
    letters.main([*given, *places])
    found = json.loads((tmp_path / "docs" / "evidence" / "letters.json").read_text())
    assert found["runs"]["condvae-0"]["edits"]["weight"]["error"] > 0
    text = (tmp_path / "docs" / "evidence" / "letters.md").read_text()
    assert text.count("| condvae |") == 7
    assert str(tmp_path) not in text
    names = {file.name for file in (tmp_path / "docs" / "pictures").iterdir()}
    assert {"letters-walk.png", "letters-style.png", "letters-new.png"} == names
    before = (tmp_path / "runs" / "condvae-0.json").stat().st_mtime_ns
    letters.main([*given, *places])
    assert (tmp_path / "runs" / "condvae-0.json").stat().st_mtime_ns == before
    assert "condvae-0: weight" in capsys.readouterr().out
