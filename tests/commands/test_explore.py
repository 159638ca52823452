"""``labelspace explore``: what it says when it cannot start. What it does when it can is tested in tests/explorer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest


def test_a_missing_extra_is_named(fails: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nicegui", None)
    fails(["explore", str(tmp_path)], "pip install 'labelspace[explorer]'")


def test_mistakes_are_one_line(fails: Callable[..., None], tmp_path: Path) -> None:
    pytest.importorskip("nicegui")
    fails(["explore", str(tmp_path / "nowhere")], "no such directory")
    fails(["explore", str(tmp_path)], "is not a run directory", "labelspace train")
    fails(["explore", str(tmp_path), "--host", "0.0.0.0"], "needs --token")
    fails(["explore", str(tmp_path), "--host", "0.0.0.0", "--token", "short"], "8 to 200")
