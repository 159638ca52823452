"""Does the explorer's server grow with the tabs that were opened? Memory, files, threads and time of thousands of short visits.

    python tests/faults/sessions.py RUN --click "Eyeglasses 1" [--sessions 2000] [--out docs/evidence/sessions.json]

The server runs as a program of its own, as a user starts it. A visit opens the page and its socket, presses the button of a
label's value, waits for the picture of the edit, and leaves. A browser would spend its time on drawing; the server does not see
the difference. Sampled every 20 visits; the median of the last quarter is compared with that of the second (the first is
warming up); more than what ``ALLOWED`` says is growth, and the exit code is 1. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import tabs
from socketio.exceptions import ConnectionError as RefusedError

from labelspace.storage import files

EVERY = 20  # visits a sample
TRIES = 5  # of a visit: the server gives up pages that take longer than a minute to connect
ALLOWED = {"memory": 0.03, "files": 0.05, "threads": 0.05}  # by what share the last quarter may exceed the second
SETTLING = 12.0  # seconds after which the server has let go of tabs that were left


async def visit(url: str, click: str) -> float:
    """One visit; the seconds from the press of the button to the picture."""
    async with tabs.opened(url) as tab:
        shown = asyncio.Event()
        tab.client.on("run_javascript", lambda message: shown.set() if "show" in message.get("code", "") else None)
        button = await asyncio.wait_for(tab.found(click), tabs.PATIENCE)
        began = time.perf_counter()
        await tab.client.emit("event", {**button, "client_id": tab.name, "args": []})
        await asyncio.wait_for(shown.wait(), tabs.PATIENCE)
        return time.perf_counter() - began


def sample(process: int) -> dict[str, float]:
    """What the server holds: private pages (MB), open files, threads."""
    home = Path(f"/proc/{process}")
    held = re.findall(r"Private_\w+: +(\d+)", (home / "smaps_rollup").read_text())
    return {
        "memory": sum(map(int, held)) / 1e3,
        "files": len(list((home / "fd").iterdir())),
        "threads": len(list((home / "task").iterdir())),
    }


def judged(samples: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """By measure the medians of the second and the last quarter, and whether it grew."""
    quarter, out = max(1, len(samples) // 4), {}
    for name, share in ALLOWED.items():
        before, after = (
            statistics.median(s[name] for s in part) for part in (samples[quarter : 2 * quarter], samples[-quarter:])
        )
        out[name] = {"second": before, "last": after, "grew": after > before * (1 + share)}
    return out


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--click", required=True, help="name of a value's button: LABEL VALUE")
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    samples, took, late, began = [], [], 0, time.monotonic()
    result: dict[str, Any] = {}
    with tabs.running(given.run) as (process, url):
        for number in range(1, given.sessions + 1):
            for left in reversed(range(TRIES)):
                try:
                    took.append(await visit(url, given.click))
                    break
                except (RefusedError, TimeoutError):  # the machine was too busy to be in time
                    late += 1
                    if not left:
                        raise
            if number % EVERY == 0:
                samples.append({"sessions": number, **sample(process)})
            if number % (10 * EVERY) == 0 or number == given.sessions:
                result = {
                    "sessions": number,
                    "late": late,
                    "minutes": round((time.monotonic() - began) / 60, 1),
                    "click to picture, ms": {
                        "median": round(1000 * statistics.median(took), 1),
                        "95%": round(1000 * sorted(took)[int(0.95 * len(took))], 1),
                    },
                    "judged": judged(samples) if len(samples) >= 8 else {},
                    "samples": samples,
                }
                print(json.dumps({key: value for key, value in result.items() if key != "samples"}), flush=True)
                if given.out:
                    files.write_json(given.out, result)
        await asyncio.sleep(SETTLING)
        result["at rest"] = sample(process)
        if given.out:
            files.write_json(given.out, result)
    return int(any(one["grew"] for one in result["judged"].values()))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
