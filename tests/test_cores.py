"""How many cores a process may use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labelspace import cores


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/", {}, 16),
        ("0::/", {"cpu.max": "max 100000"}, 16),
        ("0::/", {"cpu.max": "200000 100000"}, 2),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "250000 100000"}, 3),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "400000 100000"}, 4),
        ("0::/host/name/that/is/not/seen", {"cpu.max": "300000 100000"}, 3),
        ("5:memory:/x\n4:cpu,cpuacct:/x", {"cpu/x/cpu.cfs_quota_us": "600000", "cpu/x/cpu.cfs_period_us": "100000"}, 6),
        ("4:cpu,cpuacct:/x", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, 16),
        ("0::/", {"cpu.max": "no numbers at all"}, 16),
        ("nonsense", {"cpu.max": "200000 100000"}, 16),
    ],
)
def test_limits_of_control_groups(membership: str, files: dict[str, str], expected: int, tmp_path: Path):
    write(tmp_path / "own", membership)
    (tmp_path / "groups").mkdir()
    for name, text in files.items():
        write(tmp_path / "groups" / name, text + "\n")
    assert cores.usable(tmp_path / "groups", tmp_path / "own") == expected


@pytest.mark.usefixtures("bound")
def test_without_control_groups(tmp_path: Path):
    assert cores.usable(tmp_path / "groups", tmp_path / "own") == 16


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
@pytest.mark.parametrize(("given", "expected"), [("", "1"), ("3", "3")])
def test_a_bound_program_starts_as_many_threads_as_it_has_cores(given: str, expected: str):
    core = min(os.sched_getaffinity(0))
    program = f"import os; os.sched_setaffinity(0, {{{core}}}); os.cpu_count = lambda: 8\n"
    program += "from labelspace import surroundings; surroundings.prepare(); print(os.environ['OMP_NUM_THREADS'])"
    environment = {**os.environ, "OMP_NUM_THREADS": given}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
