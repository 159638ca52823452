"""``labelspace data build``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from labelspace.cli import main


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LABELSPACE_CACHE", str(tmp_path / "cache"))
    for i in range(20):
        file = tmp_path / "photos" / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 10), (i, i, i)).save(file)
    return f"folder:{tmp_path / 'photos'}"


def test_a_build_says_its_rate_size_and_place(photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["data", "build", photos, "--workers", "1"]) == 0
    text = capsys.readouterr().err
    assert "20 samples ready" in text
    assert "20 images in" in text
    assert "a second" in text
    assert f"MB in {tmp_path / 'cache' / 'photos-'}" in text
    assert main(["data", "build", photos]) == 0
    assert "it was there already" in capsys.readouterr().err
    assert main(["data", "build", photos, "--json"]) == 0
    (built,) = json.loads(capsys.readouterr().out)["stores"]
    assert built["images"] == 20
    assert built["drawn"] == 0
    assert built["images_per_second"] is None
    assert built["bytes"] >= 20 * 3 * 10 * 12
    assert Path(built["place"]).is_dir()


def test_what_cannot_be_built_is_one_line(photos: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    assert main(["data", "build", photos, "--workers", "-1"]) == 2
    assert "--workers" in capsys.readouterr().err
    assert main(["data", "build", "digits"]) == 0
    assert "in memory" in capsys.readouterr().err
    (tmp_path / "file").touch()
    monkeypatch.setenv("LABELSPACE_CACHE", str(tmp_path / "file"))
    assert main(["data", "build", photos]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "could not be written" in message
