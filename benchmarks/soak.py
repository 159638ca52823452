"""Does a process that trains for hours grow? Memory, open files, threads, objects, time a step, and the run directory.

    python benchmarks/soak.py [--minutes 120] [--data sprites:n=2000,size=32] [--out docs/evidence/soak.json]

One process, two phases of half the time each. ``one long run``: a single ``fit`` of a CSVAE on images without an end, with
validation and metrics every epoch and a checkpoint every few seconds besides. ``many short runs``: fits of a CSVAE on vectors
one after the other, every second of them cut off in the middle and resumed, each in a directory of its own that is deleted.
Each phase is sampled 120 times. At the end the median of its last quarter is compared with that of its second quarter (the
first one is warming up); more than what ``ALLOWED`` says is growth, and the exit code is 1.

Written after every sample: OUT.json, and OUT.md, a table, beside it. Linux only.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import labelspace as ls
from labelspace.reporting.tables import markdown
from labelspace.storage import files
from labelspace.training.progress import Callback

SAMPLES = 120  # a phase
ENDLESS = 10**9  # epochs
ALLOWED: dict[str, tuple[str, float]] = {  # measure -> unit, and by what share the last quarter may exceed the second
    "memory": ("MB", 0.02),  # private pages: files that are mapped are not counted
    "files": ("open", 0.0),
    "threads": ("running", 0.0),
    "objects": ("thousands", 0.01),  # that Python's collector knows
    "cpu": ("ms a step", 0.15),  # processor time, validation and writing included
    "directory": ("kB", 0.01),  # without metrics.jsonl, which gets a line an epoch
    "metrics": ("bytes an epoch", 0.01),
}


class TimeIsUpError(Exception):
    """Ends a run that has no end of its own."""


@dataclass
class Phase:
    """Samples of one phase, taken when they are due.

    Args:
        name: of the phase.
        home: what is measured as the run directory.
        seconds: how long the phase takes.
        written: called after every sample.
    """

    name: str
    home: Path
    seconds: float
    written: Callable[[], None]

    def __post_init__(self) -> None:
        self.samples: list[dict[str, float]] = []
        self.steps = self.epochs = self.fits = 0
        self.began = self.due = time.monotonic()
        self.last = (time.process_time(), 0)

    def look(self) -> None:
        """Takes a sample if one is due. Raises TimeIsUpError at the end of the phase."""
        now = time.monotonic()
        if now >= self.due and self.steps > self.last[1]:
            self.due = now + self.seconds / SAMPLES
            self.samples.append({"seconds": round(now - self.began, 2), **self.sample()})
            self.written()
        if now - self.began > self.seconds:
            raise TimeIsUpError

    def sample(self) -> dict[str, float]:
        spent, steps = time.process_time(), self.steps
        per_step = (spent - self.last[0]) / (steps - self.last[1])
        gc.collect()
        self.last = (time.process_time(), steps)  # what measuring takes is not the steps'
        pages, shared = (int(n) for n in Path("/proc/self/statm").read_text().split()[1:3])
        sizes = {file: file.stat().st_size for file in self.home.rglob("*") if file.is_file()}
        metrics = sum(size for file, size in sizes.items() if file.name == "metrics.jsonl")
        return {
            "memory": (pages - shared) * os.sysconf("SC_PAGE_SIZE") / 1e6,
            "files": len(os.listdir("/proc/self/fd")),
            "threads": len(os.listdir("/proc/self/task")),
            "objects": len(gc.get_objects()) / 1e3,
            "cpu": per_step * 1e3,
            "directory": (sum(sizes.values()) - metrics) / 1e3,
            **({"metrics": metrics / self.epochs} if metrics else {}),
        }

    def judged(self) -> dict[str, dict[str, Any]]:
        """By measure: the medians of the second and the last quarter, and whether it grew."""
        out = {}
        quarter = self.seconds / 4
        for name, (_, share) in ALLOWED.items():
            found = [(s["seconds"], s[name]) for s in self.samples if name in s]
            second = [value for at, value in found if quarter <= at < 2 * quarter]
            last = [value for at, value in found if at >= 3 * quarter]
            if second and last:
                before, after = statistics.median(second), statistics.median(last)
                out[name] = {"second": before, "last": after, "grew": after > before * (1 + share)}
        return out


class Counting(Callback):
    """Counts the steps and epochs of fits for a phase; looks at the process during one, if asked to."""

    def __init__(self, phase: Phase, look: bool) -> None:
        self.phase, self.looks, self.before = phase, look, phase.steps

    def start(self, epochs: int, steps: int, epoch: int) -> None:
        self.epoch_steps, self.first = steps, epoch

    def epoch(self, row: dict) -> None:
        self.phase.epochs += 1
        self.phase.steps = self.before + (row["epoch"] - self.first) * self.epoch_steps
        if self.looks:
            self.phase.look()


def model_of(data: ls.Dataset) -> ls.Model:
    torch.manual_seed(0)
    return ls.build("lsvae", data)


def one_long_run(phase: Phase, data: ls.Dataset) -> None:
    phase.fits = 1
    fit = {"epochs": ENDLESS, "batch_size": 64, "checkpoint_minutes": 0.05}
    ls.fit(model_of(data), data, out=phase.home / "run", callbacks=[Counting(phase, True)], **fit)


class Stop(Counting):
    """Cuts a run off after its first epoch, before the checkpoint of that epoch is written."""

    def epoch(self, row: dict) -> None:
        super().epoch(row)
        raise TimeIsUpError


def many_short_runs(phase: Phase, data: ls.Dataset) -> None:
    fit: dict[str, Any] = {"epochs": 4, "batch_size": 32, "checkpoint_minutes": 0.001}
    while True:
        out = phase.home / "run"
        resume = phase.fits % 2 == 1
        if resume:
            with suppress(TimeIsUpError):
                ls.fit(model_of(data), data, out=out, callbacks=[Stop(phase, False)], **fit)
        ls.fit(model_of(data), data, out=out, callbacks=[Counting(phase, False)], resume=resume, **fit)
        phase.fits += 1
        shutil.rmtree(out)
        phase.look()


def table(phases: list[Phase]) -> str:
    rows = [
        [
            phase.name,
            f"{name} ({ALLOWED[name][0]})",
            f"{judged['second']:,.2f}",
            f"{judged['last']:,.2f}",
            f"{judged['last'] / judged['second'] - 1:+.1%}" if judged["second"] else "",
            f"{ALLOWED[name][1]:.0%}",
            "grew" if judged["grew"] else "no",
        ]
        for phase in phases
        for name, judged in phase.judged().items()
    ]
    header = ["phase", "measure", "second quarter", "last quarter", "change", "allowed", "growth"]
    done = [
        f"{p.name}: {p.samples[-1]['seconds'] / 60:.1f} minutes, {p.fits} fits, {p.epochs} epochs, {p.steps:,} steps.\n"
        for p in phases
        if p.samples
    ]
    return markdown(header, rows) + "\n" + "\n".join(done)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--data", default="sprites:n=2000,size=32", help="address of images (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs/evidence/soak.json"))
    given = parser.parse_args()
    images, vectors = ls.open(given.data), ls.open("swiss-roll:n=600")
    phases: list[Phase] = []
    about = {
        "command": f"python benchmarks/soak.py --minutes {given.minutes:g} --data {given.data}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("torch", "numpy")} | {"labelspace": ls.__version__},
        "threads": torch.get_num_threads(),
        "allowed": {name: {"unit": unit, "share": share} for name, (unit, share) in ALLOWED.items()},
    }

    def write() -> None:
        found = [
            {"name": p.name, "fits": p.fits, "epochs": p.epochs, "steps": p.steps, "judged": p.judged(), "samples": p.samples}
            for p in phases
        ]
        files.write_json(given.out, {**about, "phases": found})
        packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items())
        line = f"`{about['command']}`: {packages}, {about['threads']} processor threads."
        files.write(given.out.with_suffix(".md"), f"{line}\n\n{table(phases)}")

    with tempfile.TemporaryDirectory() as directory:
        for name, run, data in (("one long run", one_long_run, images), ("many short runs", many_short_runs, vectors)):
            home = Path(directory) / name.replace(" ", "-")
            home.mkdir()
            phases.append(Phase(name, home, given.minutes * 30, write))
            with suppress(TimeIsUpError):
                run(phases[-1], data)
    write()
    sys.stdout.write(table(phases))
    return int(any(judged["grew"] for phase in phases for judged in phase.judged().values()))


if __name__ == "__main__":
    sys.exit(main())
