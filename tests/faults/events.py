"""``make fuzz``, of a page: odd events, uploads and requests to an explorer that runs.

None may end the server, make it write a traceback, or keep it from answering the next visitor. Events go to everything on
the page that listens, with what a browser would send and with anything else; requests are malformed, uploads are damaged files.
All is drawn from a seed::

    python tests/faults/events.py --events 1000 --seed 0 [--page docs/evidence/faults.md]

Where there is no ``--run``, two small ones are trained, of pictures and of vectors, and each gets half of the events.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import tabs
from damage import damaged
from PIL import Image

TAB = 25  # events of a tab
PATIENCE = 60.0  # seconds that an answer may take
SETTLING = 1.0  # seconds in which the server says what it made of the last events
MOST_LINES = 20  # of what the server said, that are shown
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 7.5, 2**31, 2**63, -(2**70), 10**400, 1e308, float("nan"), float("inf"), "", " ", "0", "1",
    "-1", "x", "nan", "1e400", "٣", "\x00", "\ud83d", "x" * 3000, "../..", "<script>", "test:0", "own:0", "own:99", "?row=1",
    "row=9e18&block=z", "set=side:1", "data", "donor", [], {}, [[]], [None], [1, 2, 3], ["x"], [1e300, 1e300],
    [float("nan")] * 2, {"value": 1}, {"value": None, "label": "x"}, {"__proto__": {}}, [[[[[[[[]]]]]]]],
)  # fmt: skip
NAMES = {  # entries of events: what they are in a browser, or odd
    "block": ("z", "w.class", "w.side", "zz"),
    "point": ([0.0, 0.0], [1.5, -2.0], [0.0], [1e29, 0.0]),
    "final": (True, False),
    "number": (0, 1, 10**9, -1),
    "value": (0, 1, 0.5, None, 1e30),
    "name": ("0", "x1", "a"),
    "text": ("0.5", "-1", "nan", "1e400", "a"),
}
HOSTS = (
    b"", b"127.0.0.1", b"localhost:99999", b"[::1", b"a b", b"\xff\xfe", b"127.0.0.1:x", b"evil.example", b"[]", b"x" * 5000,
)  # fmt: skip
PATHS = (
    "/", "/report", "/favicon.ico", "//evil.example/", "/..%2f..%2fetc/passwd", "/?row=9e18&block=%00", "/\\x", "/x" * 3000,
)  # fmt: skip
OURS = re.compile(
    r"labelspace explore: (?!TimeoutError)\w+Error: .*\(labelspace/.*"
)  # that we did not expect; a browser may be silent
MESSAGES = ("event",) * 19 + ("ack", "log", "javascript_response", "handshake", "x")  # most are of what listens
FILES = (b"a.png", b"%00", b"../../x.png", b"%ff%fe", b"x" * 900, b"a.csv", b"")
HEADERS = ("Origin", "Cookie", "Sec-Fetch-Site", "X-Forwarded-Host", "X-Forwarded-Prefix")
VALUES = (b"null", b"http://[", b"cross-site", b"a=b; =; ;", b"\xff", b"/../..", b"x" * 2000)


# -- what is sent -----------------------------------------------------------------------------------------------------


def odd_args(r: random.Random) -> Any:
    """Arguments of an event, as JSON texts, which they are sent as, or something else in their place."""
    way = r.random()
    if way < 0.45:
        keys = r.choice((("block", "point", "final", "number"), ("value", "final", "number"), ("name", "text")))
        made: Any = {key: r.choice(NAMES[key]) if r.random() < 0.85 else r.choice(ODD) for key in keys}
    elif way < 0.6:
        made = r.choice(("", "?row=1", "row=2&block=z", "0", 0, 1, 2))
    else:
        made = r.choice(ODD)
    if r.random() < 0.05:  # no texts
        return r.choice((None, "x", 3, [made], [b"\x00"], ["{"], [made, made]))
    return [json.dumps(made)] * r.choice((1, 1, 1, 1, 0, 2))


def odd_event(tab: tabs.Tab, r: random.Random) -> dict[str, Any]:
    """An event of something that the page has, now and then of something that it has not."""
    listening = [(number, one) for number, one in tab.elements.items() if one.get("events")]
    number, one = r.choice(listening)
    event: dict[str, Any] = {
        "client_id": tab.name,
        "id": number,
        "listener_id": r.choice(one["events"])["listener_id"],
        "args": odd_args(r),
    }
    if r.random() < 0.05:
        event[r.choice(("id", "listener_id", "args", "client_id"))] = r.choice(ODD[:-1])
    if r.random() < 0.02:
        del event[r.choice(list(event))]
    return event


def upload(r: random.Random) -> bytes:
    """A file, whole or damaged: a picture, or rows."""
    out = io.BytesIO()
    kind = r.choice(("PNG", "JPEG", "GIF", "TIFF", "WEBP", "rows", "EPS"))
    if kind == "rows":
        out.write(b"x0,x1\n" + b"".join(b"%d,%d\n" % (i, -i) for i in range(5)))
    elif kind == "EPS":
        out.write(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n")
    else:
        side = r.choice((1, 8, 40))
        Image.fromarray(np.random.default_rng(r.randrange(9)).integers(0, 255, (side, side, 3), np.uint8)).save(out, kind)
    return out.getvalue() if r.random() < 0.3 else damaged(out.getvalue(), r)


def odd_request(page: str, host: bytes, r: random.Random) -> bytes:
    """A request as bytes.

    Args:
        page: what the page is made of, which says where its pictures are and its uploads go.
        host: of the server.
        r: draws it.
    """
    uploads = re.findall(r"/uploads/[0-9a-f]{8}/[0-9a-f-]+/\w+", page)
    samples = [
        f"{place}/{r.choice(('0', '-1', '9' * 30, 'x', '..'))}.png" for place in re.findall(r"/samples/[0-9a-f]{8}", page)
    ]
    method, path = r.choice(("GET", "GET", "POST", "HEAD", "OPTIONS", "PUT", "X" * 50)), r.choice((*PATHS, *samples[:4]))
    body, headers = b"", []
    if uploads and r.random() < 0.5:
        place = r.choice(uploads)
        method, body, path = (
            "POST",
            upload(r),
            place if r.random() < 0.8 else place.rpartition("/")[0] + r.choice(("/x", "/..", "")),
        )
        headers.append(b"X-File-Name: " + r.choice(FILES))
    length = str(len(body)).encode() if r.random() < 0.8 else r.choice((b"-1", b"9" * 30, b"9" * 5000, b"x", b"1e3", b"0"))
    headers += [b"Host: " + (r.choice(HOSTS) if r.random() < 0.3 else host), b"Content-Length: " + length, b"Connection: close"]
    headers += [name.encode() + b": " + r.choice(VALUES) for name in HEADERS if r.random() < 0.1]
    whole = b"\r\n".join([f"{method} {path} HTTP/1.1".encode(), *headers, b"", body])
    return whole if r.random() < 0.85 else damaged(whole, r)


# -- sending it -------------------------------------------------------------------------------------------------------


async def request(url: str, content: bytes) -> bytes:
    """Sends bytes; what came back, up to where the server ended it or had nothing more to say."""
    there = urlsplit(url)
    reader, writer = await asyncio.open_connection(there.hostname, there.port)
    try:
        writer.write(content)
        await writer.drain()
        return await asyncio.wait_for(reader.read(2**16), 2.0)
    except (OSError, TimeoutError):  # it waits for more, or has closed
        return b""
    finally:
        writer.close()


async def ready(tab: tabs.Tab) -> None:
    """Waits until a page has what listens."""
    while sum(bool(one.get("events")) for one in tab.elements.values()) < 10:
        tab.changed.clear()
        await tab.changed.wait()


async def trouble(url: str, events: int, r: random.Random, ended: Callable[[], bool]) -> Counter[str]:
    """Sends so many events and requests, in tabs; how many of each.

    Raises:
        TimeoutError, ConnectionError: the server does not answer a visitor.
    """
    sent: Counter[str] = Counter()
    while sent.total() < events and not ended():
        async with tabs.opened(url) as tab:
            await asyncio.wait_for(ready(tab), PATIENCE)
            page = json.dumps(tab.elements, default=str)
            for _ in range(min(TAB, events - sent.total())):
                if r.random() < 0.25:
                    await request(url, odd_request(page, urlsplit(url).netloc.encode(), r))
                    sent["requests"] += 1
                elif tab.client.connected:
                    event = odd_event(tab, r)
                    await tab.client.emit(r.choice(MESSAGES), event)
                    sent["events"] += 1
                else:  # it said good-bye to this tab
                    break
            sent["tabs"] += 1
            await asyncio.sleep(0.1)
    async with tabs.opened(url) as tab:  # and it still answers
        await asyncio.wait_for(ready(tab), PATIENCE)
    await asyncio.sleep(SETTLING)
    return sent


def explored(run: str, events: int, seed: int, log: Path) -> tuple[Counter[str], list[str]]:
    """An explorer of a run that gets odd events; what was sent, and what is wrong."""
    with log.open("wb") as said:
        server, url = tabs.started(run, stderr=said)
        try:
            sent = asyncio.run(trouble(url, events, random.Random(f"{seed}:{run}"), lambda: server.poll() is not None))
            wrong = [] if server.poll() is None else [f"the server ended with {server.returncode}"]
        except Exception as error:
            sent, wrong = Counter[str](), [f"no answer: {type(error).__name__} {error}"]
        finally:
            server.terminate()
            server.wait()
    told = log.read_text(errors="replace")
    if "Traceback (most recent call last)" in told:
        wrong.append("a traceback on standard error")
    wrong += sorted(set(OURS.findall(told)))
    return sent, wrong


def trained(home: Path) -> list[str]:
    """A run of pictures and one of vectors, hardly trained."""
    made = []
    for address in ("sprites:n=60,size=16", "swiss-roll:n=200"):
        made.append(str(home / address.partition(":")[0]))
        words = ["train", address, "--model", "csvae", "--steps", "2", "--no-report", "--out", made[-1]]
        subprocess.run([sys.executable, "-m", "labelspace", *words], check=True, stderr=subprocess.DEVNULL)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    asked = argparse.ArgumentParser(description="odd events, uploads and requests to an explorer")
    asked.add_argument("--events", type=int, default=1000)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--run", action="append", help="of a run that is there (default: two small ones)")
    asked.add_argument("--page", type=Path, metavar="FILE", help="put what came of it into a section of this page")
    given = asked.parse_args(arguments)
    faults, rows = 0, []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ |= {"OMP_NUM_THREADS": "1", "LABELSPACE_CACHE": str(Path(scratch) / "cache")}
        runs = given.run or trained(Path(scratch))
        for i, run in enumerate(runs):
            log = Path(scratch) / f"{i}.log"
            sent, wrong = explored(run, given.events // len(runs), given.seed, log)
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            print(f"{Path(run).name}, seed {given.seed}: {', '.join(f'{n:,} {what}' for what, n in sorted(sent.items()))}")
            print(f"the server said {len(lines):,} lines, and {'; '.join(wrong) or 'nothing is wrong'}", flush=True)
            counted = Counter(re.sub(r"\d+", "0", line)[:200] for line in lines)
            for line, n in counted.most_common(MOST_LINES):
                print(f"  {n:,} x {line}")
            faults += len(wrong)
            rows.append([Path(run).name, *(f"{sent[what]:,}" for what in ("events", "requests", "tabs")), f"{len(wrong)}"])
    if given.page:
        from labelspace.reporting.tables import markdown, put_section

        table = markdown(["page of a run of", "events", "requests", "tabs", "faults"], rows)
        about = f"`python tests/faults/events.py --events {given.events} --seed {given.seed}`\n\n"
        put_section(given.page, "Odd events of a page", about + table)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
