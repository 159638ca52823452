"""What busy neighbours cost: training beside programs that take every core, by how threads wait for each other.

    python benchmarks/busy.py [--rounds 3] [--neighbours 8] [--threads 2] [--limit 100] [--out FILE.json]

Every round trains an ``lsvae`` on pictures of noise, in a process of its own, once each way of waiting, on a quiet machine and
beside neighbours that compute without end. A fair share of ``c`` cores beside ``n`` neighbours is ``c / (n / c + 1)`` of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WAYS: dict[str, dict[str, str]] = {
    "spin (OpenMP's own)": {"OMP_WAIT_POLICY": "", "GOMP_SPINCOUNT": ""},
    "sleep": {"OMP_WAIT_POLICY": "passive"},
    "spin 1,000": {"GOMP_SPINCOUNT": "1000"},
    "spin 10,000": {"GOMP_SPINCOUNT": "10000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
_STEPS, _BATCH = 12, 128


def train() -> None:
    """Prints samples a second of the second pass of two."""
    import torch

    import labelspace as ls
    from labelspace.speed.training import noise

    data = noise((3, 32, 32), 3, _BATCH * _STEPS)
    torch.manual_seed(0)
    model = ls.build("lsvae", data)
    for _ in range(2):
        began = time.perf_counter()
        ls.fit(model, data, epochs=1, progress=False)
        rate = len(data) / (time.perf_counter() - began)
    print(rate)


def rate(way: str, threads: int, limit: float) -> float:
    """Samples a second of a process of its own; 0 where it did not end within a limit, in seconds."""
    changed = {"OMP_NUM_THREADS": str(threads), **_WAYS[way]}
    environment = {name: value for name, value in {**os.environ, **changed}.items() if value}
    command = [sys.executable, __file__, "--train"]
    try:
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return 0.0
    return float(done.stdout.split()[-1])


@contextmanager
def neighbours(n: int) -> Iterator[None]:
    """Around ``n`` programs that compute without end."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--neighbours", type=int, default=8)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--limit", type=float, default=100.0, help="seconds of one training")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        train()
        return

    found: dict[str, dict[str, list[float]]] = {}
    for name, n in {"quiet": 0, f"{given.neighbours} neighbours": given.neighbours}.items():
        found[name] = {way: [] for way in _WAYS}
        with neighbours(n):
            for _ in range(given.rounds):
                for way, rates in found[name].items():
                    rates.append(rate(way, given.threads, given.limit))
                    print(f"{name}, {way}: {rates[-1]:.0f} samples/s", flush=True)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
