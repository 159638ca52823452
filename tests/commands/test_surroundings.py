"""The program where a stranger runs it: without a home, on narrow terminals, with closed and full streams, as a plain user."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import labelspace as ls
from labelspace import errors
from labelspace.storage import files

PACKAGE = Path(ls.__file__).parent
SETPRIV = shutil.which("setpriv")
LINUX = sys.platform == "linux"
PROGRAM = ("-m", "labelspace")
THEN = ";"  # between the calls of SEVERAL
SEVERAL = f"""
import itertools, sys
from labelspace import surroundings
from labelspace.cli import main
surroundings.prepare()
calls = (list(part) for last, part in itertools.groupby(sys.argv[1:], {THEN!r}.__eq__) if not last)
sys.exit(max(map(main, calls)))
"""


@pytest.fixture(scope="session")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of moons, untrained but for an epoch."""
    data = ls.open("moons:n=200")
    home = tmp_path_factory.mktemp("plain") / "run"
    ls.fit(ls.build("csvae", data), data, out=home, epochs=1)
    return home


@pytest.fixture
def labelspace(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the program in an environment of its own, by a shell where redirections are asked for."""

    def run(*arguments: object, redirect: str = "", first: tuple[str, ...] = (), start=PROGRAM, **environment: str):
        own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1", **environment}
        command = [*first, sys.executable, "-W", "ignore", *start, *map(str, arguments)]
        if redirect:
            command = ["bash", "-c", f'"$@" {redirect}; exit ${{PIPESTATUS[0]}}', "bash", *command]
        return subprocess.run(
            command, env=own, cwd=tmp_path, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=200
        )

    return run


def lines(text: str) -> list[str]:
    assert "Traceback" not in text
    return text.strip().splitlines()


@pytest.mark.skipif(not LINUX, reason="asks for Linux's shell and devices")
@pytest.mark.parametrize(
    ("redirect", "code"),
    [
        ("| head -c 1 >/dev/null", 0),
        (">/dev/full", 2),
        (">&- 2>&- <&-", 0),
        *(pytest.param(closed, 0, marks=pytest.mark.slow) for closed in (">&-", "<&-")),
    ],
)
@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.slow)])
def test_streams_that_take_nothing_are_one_line_at_most(labelspace, redirect: str, code: int, unbuffered: str) -> None:
    done = labelspace("explain", redirect=redirect, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == code, done.stderr
    said = lines(done.stderr)
    assert said == ([] if code == 0 else ["labelspace explain: standard output: No space left on device"])


@pytest.mark.skipif(not LINUX, reason="asks for Linux's devices")
def test_help_that_cannot_be_written_is_one_line(labelspace) -> None:
    done = labelspace("--help", redirect=">/dev/full")
    assert (done.returncode, len(lines(done.stderr))) == (2, 1)
    assert labelspace("edit", "nowhere", redirect="2>/dev/full").returncode == 2


@pytest.mark.parametrize(
    "narrow",
    [
        pytest.param({"PYTHONIOENCODING": "ascii"}, id="ascii", marks=pytest.mark.slow),
        pytest.param({"PYTHONIOENCODING": "cp1252"}, id="cp1252", marks=pytest.mark.slow),
        pytest.param({"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, id="posix"),
    ],
)
def test_letters_that_a_terminal_lacks_are_escaped_and_files_are_utf8(labelspace, tmp_path: Path, narrow) -> None:
    rows = [f"{i}.5,{i * 7 % 13},grün→\n{i * 3},{i}.25,☂ zürich\n" for i in range(60)]
    (tmp_path / "t.csv").write_text("x0,x1,farbe\n" + "".join(rows), encoding="utf-8")
    done = labelspace(
        *("data", "inspect", "table:t.csv", "--labels", "farbe", THEN, "train", "table:t.csv", "--labels", "farbe"),
        *("--model", "csvae", "--epochs", "1", "--no-report", "--out", "r", THEN, "generate", "r", "-n", "2"),
        *("--set", "farbe=grün→", "--out", "g.csv"),
        start=("-c", SEVERAL),
        **narrow,
    )
    assert done.returncode == 0, done.stderr
    assert "\\u2192" in done.stdout
    assert "grün→" in (tmp_path / "g.csv").read_text(encoding="utf-8")


def test_names_that_are_no_text_can_be_written(tmp_path: Path) -> None:
    files.write(tmp_path / "page", f"in {os.fsdecode(bytes([255]))}")
    assert (tmp_path / "page").read_text(encoding="utf-8") == "in \\udcff"


def test_every_text_file_has_an_encoding() -> None:
    """Whatever the locale: files are UTF-8."""
    wanted = re.compile(r"\.(read_text|write_text)\((?!.*encoding)|\.open\(\"[rwa]\+?\"(?!.*encoding)|text=True(?!.*git)")
    for file in PACKAGE.rglob("*.py"):
        if file.name in ("source.py", "matlab.py"):  # output of git and of our own process
            continue
        found = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if wanted.search(line)]
        assert not found, file


@pytest.mark.parametrize("home", [None, "locked", *(pytest.param(home, marks=pytest.mark.slow) for home in ("/", "file"))])
def test_without_a_home_the_cache_is_temporary_and_said(labelspace, tmp_path: Path, home: str | None) -> None:
    pytest.importorskip("skia")
    pytest.importorskip("python_avatars")
    if os.geteuid() == 0 and SETPRIV is None:
        pytest.skip("setpriv is not there")
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    (tmp_path / "locked").mkdir(mode=0o555)
    (tmp_path / "file").touch()
    where = {} if home is None else {"HOME": home if home == "/" else str(tmp_path / home)}
    caps = "-all,+dac_read_search"
    nobody = ("--reuid", "12345", "--regid", "12345", "--clear-groups", "--inh-caps", caps, "--ambient-caps", caps)
    first = (str(SETPRIV), *nobody) if os.geteuid() == 0 else ()
    done = labelspace("data", "inspect", "faces:n=64,size=16", first=first, **where)
    assert done.returncode == 0, done.stderr
    said = [line for line in lines(done.stderr) if "LABELSPACE_CACHE" in line]
    assert len(said) == 1
    assert not list(Path("/tmp").glob("labelspace-cache-*/faces*"))


@pytest.mark.parametrize("what", [pytest.param("onnx", marks=pytest.mark.slow), "report"])
def test_nothing_is_written_outside(labelspace, plain_run: Path, tmp_path: Path, what: str) -> None:
    run = Path(shutil.copytree(plain_run, tmp_path / "out" / "run"))
    (tmp_path / "home").mkdir()
    if what == "onnx":
        pytest.importorskip("onnxruntime")
        arguments = ("export", run, "--to", "onnx", "--out", tmp_path / "out" / "onnx")
    else:
        arguments = ("report", run, "--quick")
    done = labelspace(*arguments, HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    left = {str(path.relative_to(tmp_path / "home")) for path in (tmp_path / "home").rglob("*") if path.is_file()}
    assert all(path.startswith(".cache/labelspace/") for path in left), left
    assert what == "report" or not left


@pytest.mark.skipif(not LINUX or os.geteuid() != 0 or SETPRIV is None, reason="asks for another user")
@pytest.mark.parametrize("command", ["edit", "report", "train", "inspect"])
def test_what_may_not_be_read_is_one_line_with_the_path(labelspace, plain_run: Path, tmp_path: Path, command: str) -> None:
    run = Path(shutil.copytree(plain_run, tmp_path / "run"))
    (run / "config.json").chmod(0)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o700)
    np.savez(locked / "v.npz", x=np.zeros((60, 2)), on=[0, 1] * 30)
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    arguments = {
        "edit": ("edit", run, "test:0", "--set", "moon=left"),
        "report": ("report", run, "--quick"),
        "train": ("train", "moons:n=200", "--epochs", "1", "--out", locked / "new"),
        "inspect": ("data", "inspect", f"npz:{locked / 'v.npz'}"),
    }[command]
    if os.system(f"setpriv --reuid 12345 --clear-groups --regid 12345 {sys.executable} -c '' 2>/dev/null"):
        pytest.skip("another user cannot run this Python")
    done = labelspace(*arguments, first=(str(SETPRIV), "--reuid", "12345", "--regid", "12345", "--clear-groups"), HOME="/")
    assert done.returncode == 2, done.stderr
    (said,) = lines(done.stderr)[-1:]
    assert "Permission denied" in said
    assert "damaged" not in said
    assert str(tmp_path) in said


@pytest.mark.skipif(not LINUX, reason="asks for Linux's limits")
def test_less_memory_than_libraries_take_is_one_line(labelspace) -> None:
    done = labelspace("explain", "kl_w", first=("bash", "-c", 'ulimit -v 300000; exec "$@"', "bash"))
    assert done.returncode == 2
    (said,) = lines(done.stderr)
    assert said.startswith("labelspace explain: not enough memory: 292 MB of address space may be had (ulimit -v)")


def test_errors_of_the_machine_are_one_line() -> None:
    assert errors.told(PermissionError(13, "Permission denied", "a/b")) == "a/b: Permission denied"
    assert "ulimit -n" in str(errors.told(OSError(24, "Too many open files", "x")))
    assert "out of range" in str(errors.told(OverflowError("Python int too large to convert to C long")))
    with pytest.raises(ValueError, match="limit") as many_digits:
        int("9" * 5000)
    assert "out of range" in str(errors.told(many_digits.value))
    for starved in (
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        SystemError("<function f> returned NULL without setting an exception"),
    ):
        assert "not enough memory" in str(errors.told(starved))
    assert errors.told(SystemError("a fault of ours")) is None
    with pytest.raises(ValueError, match="embedded null") as no_path:
        Path("a\0b").resolve()
    assert errors.told(no_path.value) == "a path cannot hold a null character"
    assert errors.told(KeyError("a fault of ours")) is None


@pytest.mark.parametrize("number", ["9000000000000000000", "99999999999999999999999", "-1"])
def test_numbers_out_of_range_are_one_line(number: str, plain_run: Path, tmp_path: Path, fails) -> None:
    out = ["--out", str(tmp_path / "o.csv")]
    fails(["generate", str(plain_run), "-n", number, *out], "")
    fails(["traverse", str(plain_run), "test:0", "--label", "moon", "--steps", number, *out], "")
    fails(["data", "inspect", f"moons:n={number}"], "")
    fails(["train", "moons:n=200", "--model", "csvae", "--set", f"latent={number}", "--out", str(tmp_path / "r")], "")
    if number != "9000000000000000000":  # which is a seed as good as any other
        fails(["generate", str(plain_run), "--seed", number, *out], "--seed")
        fails(["evaluate", str(plain_run), "--seed", number], "--seed")
