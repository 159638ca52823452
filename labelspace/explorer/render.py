"""A worker thread per tab that never queues pictures: of those that wait, only the last asked for is made.

Edits that count (a step, an undo) are done in the order in which they were asked for and none is left out. Pictures on the way
(a handle that is being dragged) overtake each other: while one is made, any number may be asked for, and the last wins.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import torch

T = TypeVar("T")


class Renderer:
    """Work for one tab, done by a thread of its own under ``torch.inference_mode``."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._jobs: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._latest: tuple[Callable[[], Any], Future[Any]] | None = None
        self._closed = False
        self.overtaken = 0  # pictures that were never made
        self._thread = threading.Thread(target=self._work, name="labelspace-renderer", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Work that must be done. A picture on the way that still waits was asked for before it, and is dropped."""
        future: Future[T] = Future()
        with self._ready:
            self._refuse_if_closed()
            self._drop_latest()
            self._jobs.append((job, future))
            self._ready.notify()
        return future

    def latest(self, job: Callable[[], T]) -> Future[T]:
        """A picture on the way; its future is cancelled when another is asked for before its turn."""
        future: Future[T] = Future()
        with self._ready:
            self._refuse_if_closed()
            self._drop_latest()
            self._latest = (job, future)
            self._ready.notify()
        return future

    async def run(self, job: Callable[[], T]) -> T:
        """:meth:`submit`, awaited."""
        return await asyncio.wrap_future(self.submit(job))

    async def show(self, job: Callable[[], T]) -> T | None:
        """:meth:`latest`, awaited; None when it was overtaken."""
        try:
            return await asyncio.wrap_future(self.latest(job))
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            return None

    def close(self) -> None:
        """Ends the thread; what still waits is dropped."""
        with self._ready:
            self._closed = True
            self._drop_latest()
            while self._jobs:
                self._jobs.popleft()[1].cancel()
            self._ready.notify()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise RuntimeError("the renderer was closed")

    def _drop_latest(self) -> None:
        if self._latest is not None:
            self._latest[1].cancel()
            self._latest = None
            self.overtaken += 1

    def _next(self) -> tuple[Callable[[], Any], Future[Any]] | None:
        with self._ready:
            while not (self._jobs or self._latest or self._closed):
                self._ready.wait()
            if self._jobs:
                return self._jobs.popleft()
            found, self._latest = self._latest, None
            return found

    def _work(self) -> None:
        with torch.inference_mode():
            while (found := self._next()) is not None:
                job, future = found
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    future.set_result(job())
                except BaseException as error:
                    future.set_exception(error)
