"""Installs wheels and sdists into environments of their own and uses them once: ``python .ci/smoke.py dist/*``.

Libraries are those of the environment that runs this, so that nothing is downloaded; ``--lowest FILE`` installs the versions
that FILE names, and the sources that lie here, instead. The working directory is an empty one, so that what is used is what was
installed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOST = 2_000_000
USE = """
import sys
from pathlib import Path
import labelspace as ls
from labelspace.cli import main

assert Path(ls.__file__).is_relative_to(sys.prefix), f"{ls.__file__} is not the installed one"
for command in (
    ["train", "swiss-roll:n=400", "--out", "run", "--epochs", "2"],
    ["edit", "run", "test:0", "--set", "side=1", "--out", "edited.csv"],
    ["generate", "run", "--set", "side=0", "-n", "3", "--out", "new.csv"],
    ["embed", "run", "swiss-roll:n=400", "--out", "codes.npz"],
    ["evaluate", "run", "--most", "40"],
    ["explain", "kl_z"],
):
    assert main(command) == 0, command
model = ls.load("run")
data = ls.open("moons:n=200")
ls.fit(ls.build("ccvae", data), data, epochs=1)
assert Path("run/report.html").stat().st_size > 0
print("labelspace", ls.__version__, "works")
"""


def environment(home: Path, *, libraries: bool) -> Path:
    """A new environment's python; with ``libraries`` it finds those of the running one behind its own."""
    venv.create(home, with_pip=True)
    python = home / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if libraries:
        ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        place = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
        (place / "behind.pth").write_text(
            sysconfig.get_path("purelib") + "\n"
        )  # its own .pth files, editable installs, are not read
    return python


def install(python: Path, *what: str | Path) -> None:
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="wheels and sdists")
    parser.add_argument("--lowest", type=Path, help="file of the versions to install")
    parser.add_argument("--torch", default="", help="its version, or 'here' for that of the running environment")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        for i, file in enumerate(given.files):
            size = file.stat().st_size
            assert size < MOST, f"{file} has {size:,} bytes; at most {MOST:,} are wanted"
            python = environment(work / f"venv{i}", libraries=True)
            install(python, "--no-deps", "--no-build-isolation", file.resolve())
            use(python, work / f"work{i}")
            print(f"{file}: {size:,} bytes")
        if given.lowest:
            lines = [line for line in given.lowest.read_text().splitlines() if line and not line.startswith("#")]
            pins = [line for line in lines if not (line.startswith("torch==") and given.torch == "here")]
            python = environment(work / "lowest", libraries=given.torch == "here")
            # Behind them lie other versions of what they need in turn, where libraries are those of the running environment.
            install(python, *(["--no-deps"] if given.torch == "here" else []), *pins)
            install(python, "--no-deps", *(["--no-build-isolation"] if given.torch == "here" else []), ROOT)
            use(python, work / "work")
            print("the lowest versions work:", ", ".join(pins))


def use(python: Path, place: Path) -> None:
    place.mkdir()
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # it comes before what is installed
    done = subprocess.run([python, "-c", USE], cwd=place, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stdout}\n{done.stderr}\nwhat was installed does not work: {place}")
    print(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
