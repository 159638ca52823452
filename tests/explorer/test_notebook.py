"""The explorer from Python: a server that a notebook shows, with data that no address names."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import labelspace as ls

pytest.importorskip("nicegui")


def test_it_answers_and_ends_when_it_is_closed(tmp_path: Path) -> None:
    data = ls.Dataset.from_arrays(np.random.default_rng(0).normal(size=(60, 3)), {"a": [0, 1] * 30})
    fitted = ls.fit(ls.build("condvae", data), data, epochs=1, out=tmp_path / "run")
    with ls.explore(fitted, data) as explorer:
        assert explorer.url in explorer._repr_html_()
        with urllib.request.urlopen(explorer.url, timeout=20) as answer:
            assert b"labelspace" in answer.read()
    assert "closed" in repr(explorer)


def test_what_cannot_be_shown_is_one_line(tmp_path: Path) -> None:
    data = ls.Dataset.from_arrays(np.eye(20), {"a": [0, 1] * 10})
    fitted = ls.fit(ls.build("condvae", data), data, epochs=1)
    with pytest.raises(ls.UserError, match="wrote no run directory"):
        ls.explore(fitted)
    with pytest.raises(ls.UserError, match="no such directory"):
        ls.explore(tmp_path / "nowhere")
    kept = ls.fit(ls.build("condvae", data), data, epochs=1, out=tmp_path / "run")
    with pytest.raises(ls.UserError, match="trained on data in memory"):
        ls.explore(kept)


def test_it_ends_with_a_program_that_is_killed(tmp_path: Path) -> None:
    data = ls.Dataset.from_arrays(np.random.default_rng(0).normal(size=(60, 3)), {"a": [0, 1] * 30})
    ls.fit(ls.build("condvae", data), data, epochs=1, out=tmp_path / "run")
    given = data.save(tmp_path / "data.npz")
    lines = f"e = ls.explore({str(tmp_path / 'run')!r}, 'npz:{given}'); print(e.url, flush=True); input()"
    code = f"import labelspace as ls; {lines}"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        urllib.request.urlopen(url, timeout=20).close()
        program.kill()
    began = time.monotonic()
    while time.monotonic() - began < 30:
        try:
            urllib.request.urlopen(url, timeout=20).close()
        except (urllib.error.URLError, OSError):
            return
        time.sleep(0.1)
    pytest.fail("the server outlived its program")
