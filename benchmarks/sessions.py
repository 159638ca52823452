"""Does the explorer's server grow with the tabs that were opened? Memory, files, threads and time of thousands of short visits.

    python benchmarks/sessions.py RUN --click "Eyeglasses 1" [--sessions 2000] [--out docs/evidence/sessions.json]

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
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import socketio
from socketio.exceptions import ConnectionError as RefusedError

from labelspace.storage import files

EVERY = 20  # visits a sample
TRIES = 5  # of a visit: the server gives up pages that take longer than 15 seconds to connect
PATIENCE = 120  # seconds that an answer may take on a busy machine
ALLOWED = {"memory": 0.03, "files": 0.05, "threads": 0.05}  # by what share the last quarter may exceed the second
SETTLING = 12.0  # seconds after which the server has let go of tabs that were left


@asynccontextmanager
async def opened(url: str, click: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A page of the explorer whose elements have come; yields what presses a button and waits for the picture.

    Args:
        url: of the server.
        click: name of the button.
    """
    async with aiohttp.ClientSession() as session, session.get(f"{url}/") as answer:
        text = await answer.text()
    found = re.search(r"client_id': '([0-9a-f-]{36})'", text)
    if found is None:
        raise ValueError("the page does not say how it is called")
    client = socketio.AsyncClient(reconnection=False)
    listener: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    shown = asyncio.Event()

    def update(elements: dict[str, Any]) -> None:
        for name, element in elements.items():
            props = element.get("props") if isinstance(element, dict) else None
            if props and props.get("aria-label") == click and not listener.done():
                listener.set_result({"id": int(name), "listener_id": element["events"][0]["listener_id"]})

    def run(message: dict[str, Any]) -> None:
        if "show" in message.get("code", ""):
            shown.set()

    client.on("update", update)
    client.on("run_javascript", run)
    query = {"client_id": found[1], "next_message_id": 0, "implicit_handshake": "true"}
    query |= {"tab_id": str(uuid.uuid4()), "document_id": str(uuid.uuid4())}
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    way = {"socketio_path": "/_nicegui_ws/socket.io", "transports": ["websocket"], "headers": {"Origin": url}}
    await client.connect(f"{url}/?{asked}", wait_timeout=PATIENCE, **way)
    try:
        button = await asyncio.wait_for(listener, PATIENCE)

        async def press() -> None:
            await client.emit("event", {**button, "client_id": found[1], "args": []})
            await asyncio.wait_for(shown.wait(), PATIENCE)

        yield press
    finally:
        await client.disconnect()


async def visit(url: str, click: str) -> float:
    """One visit; the seconds from the press of the button to the picture."""
    async with opened(url, click) as press:
        began = time.perf_counter()
        await press()
        return time.perf_counter() - began


@contextmanager
def started(run: str) -> Iterator[tuple[str, int]]:
    """An explorer of a run as a program of its own; yields its address and its process."""
    command = [sys.executable, "-m", "labelspace", "explore", run, "--no-browser", "--json", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        said = ""
        while not said.rstrip().endswith("}"):
            line = server.stdout.readline()
            if not line:
                raise ChildProcessError("the explorer did not start")
            said += line
        yield json.loads(said)["url"].rstrip("/"), server.pid
    finally:
        server.terminate()
        server.wait()


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
    with started(given.run) as (url, process):
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
