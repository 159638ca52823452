"""The whole walk of a small run: from typing ``labelspace train table:FILE`` to the prompt, in processor seconds by stage.

    python benchmarks/small_run.py [--rows 300] [--epochs 100] [--out FILE.json]

Processor time of one process, so that a busy machine hardly counts. The goal: 1.5 times what steps and ``import torch`` take.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_COLUMNS = 17  # beside the labels
_STAGES = (
    "import torch",
    "other imports",
    "reading",
    "steps",
    "validation",
    "checkpoints",
    "kept states",
    "calibration",
    "page",
)


def table(file: Path, rows: int) -> None:
    """A table with a class, a binary label and a number, which some columns follow."""
    draw = np.random.default_rng(0)
    kind, sex = draw.integers(0, 3, rows), draw.integers(0, 2, rows)
    mass = 3500 + 400 * kind + 300 * sex + 200 * draw.normal(size=rows)
    columns = [draw.normal(size=rows) + 0.8 * kind * (i % 3) + 0.5 * sex * (i % 2) for i in range(_COLUMNS)]
    lines = [",".join(["species", "sex", "mass", *(f"m{i}" for i in range(_COLUMNS))])]
    for i in range(rows):
        lines.append(",".join(["abc"[kind[i]], "fm"[sex[i]], f"{mass[i]:.1f}", *(f"{column[i]:.4f}" for column in columns)]))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def walk(words: list[str]) -> None:
    """Runs a command in this process and prints what each stage took."""
    began = time.process_time()
    import torch  # noqa: F401

    spent: dict[str, float] = defaultdict(float)
    spent["import torch"] = time.process_time() - began
    began = time.process_time()
    from labelspace import cli, saving
    from labelspace.commands import train
    from labelspace.training import checkpoint, guard, loop, step

    spent["other imports"] = time.process_time() - began

    def timed(owner: Any, name: str, stage: str) -> None:
        whole: Callable[..., Any] = getattr(owner, name)

        def run(*given: Any, **named: Any) -> Any:
            start = time.process_time()
            try:
                return whole(*given, **named)
            finally:
                spent[stage] += time.process_time() - start

        setattr(owner, name, run)

    timed(train, "open_data", "reading")
    timed(step.Stepper, "step", "steps")
    timed(loop.Loop, "validate", "validation")
    timed(checkpoint, "write", "checkpoints")
    timed(saving, "save", "checkpoints")
    timed(guard.Guard, "keep", "kept states")
    timed(loop.Loop, "_finish", "calibration")
    timed(train, "_page", "page")
    code = cli.main(words)
    spent["all"] = time.process_time()
    print(json.dumps({"code": code, **spent}))


def main() -> None:
    if sys.argv[1:2] == ["--walk"]:
        walk(sys.argv[2:])
        return
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, default=300)
    asked.add_argument("--epochs", type=int, default=100, help="0 trains until the score has settled")
    asked.add_argument("--out", type=Path)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as home:
        file = Path(home) / "table.csv"
        table(file, given.rows)
        words = [
            "train",
            f"table:{file}",
            "--labels",
            "species,sex,mass",
            "--epochs",
            str(given.epochs),
            "--out",
            f"{home}/run",
        ]
        command = [sys.executable, __file__, "--walk", *words]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    for stage in _STAGES:
        print(f"{stage:14} {found[stage]:6.1f} s")
    ratio = found["all"] / (found["steps"] + found["import torch"])
    print(f"{'all':14} {found['all']:6.1f} s, {ratio:.2f} times steps and import torch")
    if given.out:
        given.out.write_text(
            json.dumps({"rows": given.rows, "epochs": given.epochs, **found}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
