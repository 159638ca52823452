"""The explorer from Python: a server that a notebook shows, with data that no address names."""

from __future__ import annotations

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
