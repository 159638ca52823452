"""The lines of docs/photographs.md, the commands too, one after the other as a reader would type them; at a small size."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

from labelspace.cli import main

pytestmark = pytest.mark.usefixtures("hasty_judge")

PAGE = Path(__file__).parent.parent / "docs" / "photographs.md"
SMALL = {'"faces"': '"faces:n=240"', "size=32": "size=16", "--epochs 40": "--epochs 1 --set network.width=4"}


def test_the_lines_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skia")
    pytest.importorskip("python_avatars")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    text = PAGE.read_text()
    for large, small in SMALL.items():
        assert large in text
        text = text.replace(large, small)
    blocks = re.findall(r"```(python|sh)\n(.*?)```", text, re.S)
    assert [kind for kind, _ in blocks] == ["python", "sh", "sh"]
    exec(compile(blocks[0][1], "page", "exec"), {"__name__": "page"})
    for line in (line for kind, block in blocks if kind == "sh" for line in block.splitlines()):
        program, *arguments = shlex.split(line)
        assert program == "labelspace"
        assert main(arguments) == 0, (line, capsys.readouterr().err)
    for made in ("edited.png", "file.png", "transferred.png", "walk.png", "runs/photos/report.html"):
        assert (tmp_path / made).stat().st_size > 0
