"""Tabs of an explorer as its server sees them: a page, its socket, and what is on it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import socketio

PATIENCE = 120  # seconds that a busy machine may take to connect


class Tab:
    """A page that is open, as the server sees a browser's.

    Attributes:
        name: what the server calls it.
        client: its socket.
        elements: what the page is made of, by number.
        changed: set whenever elements came.
    """

    def __init__(self, name: str) -> None:
        self.name, self.client = name, socketio.AsyncClient(reconnection=False)
        self.elements: dict[int, dict[str, Any]] = {}
        self.changed = asyncio.Event()
        self.client.on("update", self._update)

    def _update(self, elements: dict[str, Any]) -> None:
        self.elements.update({int(number): one for number, one in elements.items() if isinstance(one, dict)})
        self.changed.set()

    async def found(self, label: str) -> dict[str, Any]:
        """Of what is called so, once it has come, what an event of it says: its number and what listens."""
        while True:
            for number, one in self.elements.items():
                if (one.get("props") or {}).get("aria-label") == label and one.get("events"):
                    return {"id": number, "listener_id": one["events"][0]["listener_id"]}
            self.changed.clear()
            await self.changed.wait()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Tab]:
    """Opens the page and its socket."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/") as answer:
        text = await answer.text()
    found = re.search(r"client_id': '([0-9a-f-]{36})'", text)
    if found is None:
        raise ValueError("the page does not say how it is called")
    tab = Tab(found[1])
    query = {"client_id": tab.name, "next_message_id": 0, "implicit_handshake": "true"}
    query |= {"tab_id": str(uuid.uuid4()), "document_id": str(uuid.uuid4())}
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    way = {"socketio_path": "/_nicegui_ws/socket.io", "transports": ["websocket"], "headers": {"Origin": url}}
    await tab.client.connect(f"{url}/?{asked}", wait_timeout=PATIENCE, **way)
    try:
        yield tab
    finally:
        await tab.client.disconnect()


def started(run: str, *options: str, **how: Any) -> tuple[subprocess.Popen[str], str]:
    """The server of a run, as a program of its own, and its address.

    Args:
        run: its directory.
        options: of the command.
        how: arguments of :class:`subprocess.Popen`.
    """
    command = [sys.executable, "-m", "labelspace", "explore", run, "--no-browser", "--json", "--port", "0", *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **how)
    assert server.stdout is not None
    said = ""
    while not said.rstrip().endswith("}"):
        line = server.stdout.readline()
        if not line:
            raise ChildProcessError("the explorer did not start")
        said += line
    return server, json.loads(said)["url"].rstrip("/")


@contextmanager
def running(run: str) -> Iterator[tuple[int, str]]:
    """A server of a run for as long as it is needed: its process and its address."""
    server, url = started(run, stderr=subprocess.DEVNULL)
    try:
        yield server.pid, url
    finally:
        server.terminate()
        server.wait()
