"""Kills at random moments, and whether what is left can be used: training, building a store, exporting.

    python benchmarks/kills.py [--kills 50] [--seed 0] [--out docs/evidence/faults]

Of the kills (SIGKILL), 60 % hit ``labelspace train``, 16 % the building of a store, 24 % ``export --to hub``,
``export --to onnx`` and ``embed``, a third each. The moments are spread over the whole life of the command, from the start of
the interpreter to the last write, by a seeded draw: one in every equal part of the time that the uninterrupted command took.
Where the command had ended before its moment came, it is started anew, and its life is what it took this time.

What was killed is called again: training with ``--resume``, or anew where it had not begun. A killed training has succeeded
when ``model.safetensors`` has the bits of the uninterrupted run, ``metrics.jsonl`` too but for the timings, no temporary file
is left, and no epoch that had a checkpoint was trained again. A store, when the next build has the same bytes. An export, when
what the kill left at the destination is nothing, or the whole older one, and the next call has the same bytes as an
uninterrupted one.

Writes OUT.json, with the place at which each training was killed, and a section of OUT.md, after every kill; the exit code is 1
if one of them failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labelspace as ls
from labelspace.errors import UserError
from labelspace.reporting.tables import markdown, put_section
from labelspace.storage import files
from labelspace.training.run import Run

TRAIN = ["swiss-roll:n=600", "--epochs", "6", "--set", "checkpoint_minutes=0.0005", "--set", "batch_size=16", "--no-report"]
STORE = ["data", "build", "sprites:n=4000,size=32", "--workers", "2"]
SHARES = {"train": 0.6, "store": 0.16, "hub": 0.08, "onnx": 0.08, "embed": 0.08}
TIMINGS = ("seconds", "samples_per_second")


def command(arguments: list[str], cache: Path) -> subprocess.Popen[str]:
    """Starts ``labelspace`` on one thread, in a session of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "LABELSPACE_CACHE": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-m", "labelspace.cli", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(arguments: list[str], cache: Path) -> float:
    """Runs ``labelspace`` to its end and returns the seconds; raises if it fails."""
    began = time.monotonic()
    process = command(arguments, cache)
    _, said = process.communicate(timeout=1800)
    if process.returncode:
        raise UserError(f"labelspace {' '.join(arguments)}: {said.strip()}")
    return time.monotonic() - began


def killed(arguments: list[str], cache: Path, delay: float) -> bool:
    """Runs ``labelspace`` and kills it after so many seconds; False where it had ended before."""
    process = command(arguments, cache)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def content(home: Path) -> dict[str, str]:
    """Digests of all files in a directory, or of a file."""
    found = sorted(home.rglob("*")) if home.is_dir() else [home]
    return {str(f.relative_to(home)): hashlib.sha256(f.read_bytes()).hexdigest() for f in found if f.is_file()}


def hidden(home: Path) -> list[str]:
    return [str(path.relative_to(home)) for path in home.rglob(".*")]


class Trials:
    """The uninterrupted results, and one trial of each kind.

    Args:
        home: an empty directory.
    """

    def __init__(self, home: Path) -> None:
        self.home, self.cache = home, home / "cache"
        self.seconds: dict[str, float] = {}
        self.place = ""  # where the last training was killed
        self.whole: dict[str, dict[str, str]] = {}
        self.trained = home / "whole"
        self.seconds["train"] = finished(["train", *TRAIN, "--out", str(self.trained)], self.cache)
        for kind in ("hub", "onnx", "embed"):
            out = self.destination(kind, "whole")
            self.seconds[kind] = finished(self.export(kind, out), self.cache)
            self.whole[kind] = self.named(kind, out)
        self.seconds["store"] = finished(STORE, self.cache)
        self.whole["store"] = self.stores(self.cache)

    def killed(self, kind: str, arguments: list[str], cache: Path, share: float, clear: Callable[[], None]) -> None:
        """Kills a command after a share of its life. One that had ended by then says how long that is now, and is started anew.

        Args:
            kind: whose life.
            arguments, cache: of the command.
            share: of the seconds that it takes uninterrupted.
            clear: removes what a command that had ended has left.
        """
        began = time.monotonic()
        while not killed(arguments, cache, share * self.seconds[kind]):
            self.seconds[kind] = 0.97 * min(self.seconds[kind], time.monotonic() - began)
            clear()
            began = time.monotonic()

    def destination(self, kind: str, name: str) -> Path:
        return self.home / f"{kind}-{name}" / ("codes.npz" if kind == "embed" else kind)

    def export(self, kind: str, out: Path) -> list[str]:
        if kind == "embed":
            return ["embed", str(self.trained), "swiss-roll:n=20000", "--out", str(out)]
        return ["export", str(self.trained), "--to", kind, "--out", str(out)]

    def named(self, kind: str, out: Path) -> dict[str, str]:
        """Digests of an export; what is compared of a zip archive are the arrays, without the times of day."""
        if kind == "embed" and out.exists():
            import numpy as np

            with np.load(out, allow_pickle=False) as archive:
                return {name: hashlib.sha256(archive[name].tobytes()).hexdigest() for name in archive.files}
        return content(out) if out.exists() else {}

    def stores(self, cache: Path) -> dict[str, str]:
        return {name: digest for name, digest in content(cache).items() if "sprites" in name}

    def train(self, number: int, share: float) -> str:
        home = self.home / f"train-{number}"
        arguments = ["train", *TRAIN, "--out", str(home)]
        self.killed("train", arguments, self.cache, share, lambda: shutil.rmtree(home))
        run = Run(home)
        before = run.read_checkpoint()
        self.place = _place(before[1] if before else None, run.exists)
        done = before[1]["batches"]["epoch"] if before else 0
        rows = run.metrics()[:done]
        if run.exists:
            arguments = ["train", "--resume", "--out", str(home), "--no-report"]
        finished(arguments, self.cache)
        whole, again = (Run(place).metrics() for place in (self.trained, home))
        same = (self.trained / "model.safetensors").read_bytes() == (home / "model.safetensors").read_bytes()
        timeless = [[{k: v for k, v in row.items() if k not in TIMINGS} for row in each] for each in (whole, again)]
        if not same:
            return "another model"
        if timeless[0] != timeless[1]:
            return "other metrics"
        if again[: len(rows)] != rows or len(rows) < done:  # their timings would be others if they had been trained again
            return "a finished epoch was lost"
        return f"left behind: {hidden(home)}" if hidden(home) else ""

    def store(self, number: int, share: float) -> str:
        cache = self.home / f"cache-{number}"
        self.killed("store", STORE, cache, share, lambda: shutil.rmtree(cache))
        finished(STORE, cache)
        if self.stores(cache) != self.whole["store"]:
            return "other bytes"
        return f"left behind: {hidden(cache)}" if hidden(cache) else ""

    def exported(self, kind: str, number: int, share: float) -> str:
        """Every second destination holds an older export."""
        out = self.destination(kind, str(number))

        def clear() -> None:
            shutil.rmtree(out.parent, ignore_errors=True)
            if number % 2:
                finished(self.export(kind, out), self.cache)  # a copy would be refused: no command wrote it there

        clear()
        self.killed(kind, self.export(kind, out), self.cache, share, clear)
        if self.named(kind, out) not in ({}, self.whole[kind]) or (number % 2 and not out.exists()):
            return "not whole"
        finished(self.export(kind, out), self.cache)
        if self.named(kind, out) != self.whole[kind]:
            return "other bytes"
        return f"left behind: {hidden(out.parent)}" if hidden(out.parent) else ""


def _place(state: dict[str, Any] | None, begun: bool) -> str:
    """How far a training had come, by its checkpoint."""
    if state is None:
        return "before its first checkpoint" if begun else "before it wrote anything"
    if state["reason"]:
        return "after its last epoch"
    return f"after epoch {state['batches']['epoch']}, step {state['batches']['position']}"


def moments(seed: int, n: int) -> list[float]:
    """One moment in each of n equal parts of a life, as shares of it."""
    generator = random.Random(seed)
    return [(i + generator.random()) / n for i in range(n)]


def numbers(kills: int) -> dict[str, int]:
    """How many kills of each kind."""
    found = {kind: max(1, round(share * kills)) for kind, share in SHARES.items() if kind != "train"}
    return {**found, "train": max(1, kills - sum(found.values()))}


def run(kills: int, seed: int, home: Path, each: Callable[[str, float, str, str], None]) -> None:
    """All kills; ``each`` is told the kind, the moment as a share of the command's life, the place, and what failed."""
    trials = Trials(home)
    for place, (kind, n) in enumerate(numbers(kills).items()):
        for number, share in enumerate(moments(seed * 1000 + place, n)):
            if kind in ("hub", "onnx", "embed"):
                failed = trials.exported(kind, number, share)
            else:
                failed = getattr(trials, kind)(number, share)
            each(kind, share, trials.place, failed)
            trials.place = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/evidence/faults"))
    given = parser.parse_args()
    found: list[dict[str, str | float]] = []
    line = f"python benchmarks/kills.py --kills {given.kills} --seed {given.seed}"

    def each(kind: str, share: float, place: str, failed: str) -> None:
        found.append({"kind": kind, "moment": round(share, 3), "place": place, "failed": failed})
        counts, well = Counter(str(f["kind"]) for f in found), Counter(str(f["kind"]) for f in found if not f["failed"])
        files.write_json(given.out.with_suffix(".json"), {"command": line, "labelspace": ls.__version__, "kills": found})
        rows = [[kind, str(n), str(well[kind])] for kind, n in counts.items()]
        table = markdown(["killed", "kills", "same bits after the next call"], rows)
        put_section(given.out.with_suffix(".md"), "Kills", f"`{line}`\n\n{table}")
        sys.stderr.write(json.dumps(found[-1]) + "\n")

    with tempfile.TemporaryDirectory() as home:
        run(given.kills, given.seed, Path(home), each)
    return int(any(f["failed"] for f in found))


if __name__ == "__main__":
    sys.exit(main())
