"""The commands of docs/start.md and README.md, one after the other as a reader types them; on small data, in one pass."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelspace.cli import main

pytestmark = pytest.mark.usefixtures("hasty")

ROOT = Path(__file__).parent.parent
QUICKLY = ["--epochs", "1", "--set", "network.width=4", "--no-report"]
PAGES = ("docs/start.md", "README.md")


def pictures(home: Path) -> None:
    """A folder as the pages show it, with a label that nobody knows."""
    home.mkdir()
    rng = np.random.default_rng(0)
    with (home / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "Eyeglasses", "Smiling"])
        for i in range(240):
            Image.fromarray(rng.integers(0, 255, (20, 16, 3), dtype=np.uint8)).save(home / f"{i:04}.jpg")
            table.writerow([f"{i:04}.jpg", i % 2, "" if i == 2 else i // 2 % 2])


def patients(file: Path) -> None:
    rng = np.random.default_rng(0)
    with file.open("w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["treated", "site", "age", "pressure"])
        for i in range(90):
            table.writerow([i % 2, ("north", "south")[i // 2 % 2], f"{rng.normal(50, 9):.0f}", f"{rng.normal(120, 9):.1f}"])


def commands(page: str) -> list[list[str]]:
    """The labelspace commands of a page, but the explorer, which waits for a browser (tests/explorer)."""
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M)
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()]
    found = [shlex.split(line)[1:] for line in lines if line.startswith("labelspace ")]
    return [command for command in found if command[0] != "explore"]


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_the_page_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABELSPACE_STARTERS", str(ROOT / "starters" / "labelspace_starters"))
    pictures(tmp_path / "photos")
    patients(tmp_path / "patients.csv")
    found = commands(page)
    assert {"train", "edit"} <= {command[0] for command in found}
    for command in found:
        assert main(command + (QUICKLY if command[0] == "train" else [])) == 0, (command, capsys.readouterr().err)
        if "--out" in command:
            assert (tmp_path / command[command.index("--out") + 1]).exists(), command
