"""A share of ``make fuzz``: a traceback, a crash, or a byte written elsewhere is a failed test. ``.ci/run`` makes another."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("fuzz.py")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and memory of children are read as Linux has them")
def test_odd_calls_and_damaged_files(tmp_path: Path) -> None:
    pytest.importorskip("anndata")
    pytest.importorskip("datasets")
    limits = ["--calls", "60", "--files", "90", "--minutes", "0.25", "--keep", str(tmp_path / "kept")]
    done = subprocess.run([sys.executable, str(PROGRAM), *limits], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 faults" in done.stdout
    calls, files = re.search(r"([\d,]+) calls and ([\d,]+) damaged files", done.stdout).groups()  # type: ignore[union-attr]
    assert int(calls) > 5
    assert int(files) > 5


def test_odd_events_and_requests_of_a_page(whole: Path) -> None:
    pytest.importorskip("nicegui")
    pytest.importorskip("aiohttp")
    words = [str(PROGRAM.with_name("events.py")), "--events", "100", "--run", str(whole)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is wrong" in done.stdout
    assert re.search(r"[1-9]\d* events, [1-9]\d* requests, [1-9]\d* tabs", done.stdout)
