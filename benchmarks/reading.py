"""How long reading a large table takes, and how much memory, beside pandas and Arrow: ``python benchmarks/reading.py``.

Every contestant reads the same file in a process of its own, in turns. Time is processor time after imports; memory is what the
process holds at its peak beyond what it held before.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

ROWS = 200_000
CONTESTANTS = {
    "pandas": "import pandas as pd\ndef read(file): return pd.read_csv(file)",
    "pyarrow": "import pyarrow.csv as c\ndef read(file): return c.read_csv(file)",
    "labelspace": "import labelspace as ls, torch, pyarrow.csv, pyarrow.compute, labelspace.data.sources.table\n"
    "def read(file): return ls.open(f'table:{file}', ['label'])",
}
PROGRAM = """
import json, sys, time
{setup}
def held(what):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(what)) / 1024
open("/proc/self/clear_refs", "w").write("5")  # forgets the peak of the imports
if "labelspace" in sys.modules:  # what it loads when it first reads
    read(sys.argv[1].replace("t.csv", "few.csv"))
before, began = held("VmRSS"), time.process_time()
kept = read(sys.argv[1])
print(json.dumps([time.process_time() - began, held("VmHWM") - before]))
"""


def write(file: Path, rows: int, messy: bool) -> None:
    """22 columns: 14 of fractions, 4 of whole numbers, 3 of classes, a label; messy ones have marks and blanks among them."""
    rng = np.random.default_rng(0)
    columns = {f"x{i}": rng.normal(size=rows).round(4).astype(str) for i in range(14)}
    columns |= {f"n{i}": rng.integers(0, 1000, rows).astype(str) for i in range(4)}
    columns |= {f"c{i}": rng.choice(["a", "bb", "ccc", "dddd"], rows) for i in range(3)}
    if messy:
        for name in columns:
            columns[name] = np.where(rng.random(rows) < 0.05, rng.choice(["", "NA", "#N/A"], rows), columns[name])
    columns["label"] = rng.choice(["no", "yes"], rows)
    with file.open("w") as handle:
        handle.write(",".join(columns) + "\n")
        handle.writelines(",".join(row) + "\n" for row in zip(*columns.values(), strict=True))


def main() -> None:
    """Prints a table of medians, and of ratios to pandas."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        for messy in (False, True):
            file = Path(home) / "t.csv"
            write(file, given.rows, messy)
            write(file.with_name("few.csv"), 200, messy)
            found: dict[str, list[list[float]]] = {name: [] for name in CONTESTANTS}
            for _ in range(given.rounds):
                for name, setup in CONTESTANTS.items():
                    command = [sys.executable, "-c", PROGRAM.format(setup=setup), str(file)]
                    environment = {"OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1", "PATH": ""}
                    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
                    found[name].append(json.loads(done.stdout))
            middle = {name: [median(row[i] for row in rows) for i in (0, 1)] for name, rows in found.items()}
            print(f"{'messy' if messy else 'plain'}, {given.rows:,} rows, {file.stat().st_size / 1e6:.0f} MB")
            for name, (seconds, memory) in middle.items():
                ratios = [a / b for a, b in zip((seconds, memory), middle["pandas"], strict=True)]
                print(f"  {name:12} {seconds:6.2f} s ({ratios[0]:.2f})  {memory:6.0f} MB ({ratios[1]:.2f})")


if __name__ == "__main__":
    main()
