"""How long the explorer takes from the command to the first page, beside importing PyTorch, which it cannot do without.

    python tests/faults/first_page.py RUN --click "Eyeglasses 1" [--rounds 7] [--out docs/evidence/first-page.json]

By turns a program that only imports PyTorch, and an explorer of the run whose page is opened: the page is there when the server
has sent its elements (a browser's own time to draw them is not in it). Processor and wall time since the start of the program,
medians, and what the page takes beyond the import; more than ``ALLOWED`` seconds of the processor is exit code 1. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import tabs
from socketio.exceptions import ConnectionError as RefusedError

from labelspace.storage import files

ALLOWED = 2.0  # seconds beyond the import


def imported() -> tuple[float, float]:
    """Processor and wall seconds of a program that imports PyTorch."""
    began = time.monotonic()
    program = subprocess.Popen([sys.executable, "-c", "import torch"])
    _, status, used = os.wait4(program.pid, 0)
    if status:
        raise ChildProcessError("PyTorch cannot be imported")
    return used.ru_utime + used.ru_stime, time.monotonic() - began


def first_page(run: str, click: str) -> tuple[float, float]:
    """The same of an explorer until its first page is there."""

    async def visit(url: str) -> None:
        async with tabs.opened(url) as tab:
            await asyncio.wait_for(tab.found(click), tabs.PATIENCE)

    began = time.monotonic()
    with tabs.running(run) as (process, url):
        asyncio.run(visit(url))
        took = time.monotonic() - began
        ticks = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"), took


def main() -> int:
    """Prints the medians, and writes them; 1 when the page takes too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--click", required=True, help="name of a value's button: LABEL VALUE")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rounds, late = [], 0
    while len(rounds) < given.rounds:
        try:
            rounds.append({"import torch": imported(), "first page": first_page(given.run, given.click)})
        except (RefusedError, TimeoutError):  # the machine was too busy for the page to be in time: measured again
            late += 1
            if late > given.rounds:
                raise
            continue
        print(f"round {len(rounds)}: {rounds[-1]}", flush=True)
    result = {}
    for i, kind in enumerate(("processor", "wall")):
        middle = {name: statistics.median(one[name][i] for one in rounds) for name in rounds[0]}
        middle["beyond"] = statistics.median(one["first page"][i] - one["import torch"][i] for one in rounds)
        result[f"{kind}, s"] = {name: round(value, 2) for name, value in middle.items()}
    print(result)
    if given.out:
        files.write_json(given.out, {**result, "rounds": rounds, "late": late, "load": os.getloadavg()})
    return int(result["processor, s"]["beyond"] > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
