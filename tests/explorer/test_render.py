"""The renderer: the last value wins, and nothing that counts is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import CancelledError

import pytest
import torch

from labelspace.explorer.render import Renderer


def test_of_many_pictures_only_the_first_and_the_last_are_made() -> None:
    renderer, go, started, made = Renderer(), threading.Event(), threading.Event(), []

    def slow() -> int:
        started.set()
        go.wait(5)
        return -1

    first = renderer.latest(slow)
    started.wait(5)
    asked = [renderer.latest(lambda i=i: made.append(i) or i) for i in range(100)]
    go.set()
    assert asked[-1].result(5) == 99
    assert first.result(5) == -1
    assert made == [99]
    assert all(future.cancelled() for future in asked[:-1])
    assert renderer.overtaken == 99
    renderer.close()


def test_what_counts_is_done_in_order_and_never_dropped() -> None:
    renderer, order = Renderer(), []
    futures = [renderer.submit(lambda i=i: order.append(i)) for i in range(50)]
    for future in futures:
        future.result(5)
    assert order == list(range(50))
    renderer.close()


def test_a_step_makes_the_pictures_that_wait_for_the_handle_stale() -> None:
    renderer, go, order = Renderer(), threading.Event(), []
    renderer.submit(lambda: go.wait(5))
    preview = renderer.latest(lambda: order.append("preview"))
    step = renderer.submit(lambda: order.append("step"))
    go.set()
    step.result(5)
    assert order == ["step"]
    with pytest.raises(CancelledError):
        preview.result(5)
    renderer.close()


def test_in_a_page_overtaken_pictures_are_none() -> None:
    async def drag() -> list[int | None]:
        renderer = Renderer()

        def picture(i: int) -> int:
            time.sleep(0.01)
            return i

        found = await asyncio.gather(*[renderer.show(lambda i=i: picture(i)) for i in range(30)])
        renderer.close()
        return found

    found = asyncio.run(drag())
    assert found[-1] == 29
    assert found.count(None) >= 25


def test_errors_come_back_and_the_thread_lives_on() -> None:
    renderer = Renderer()
    with pytest.raises(ZeroDivisionError):
        renderer.submit(lambda: 1 / 0).result(5)
    assert renderer.submit(torch.is_inference_mode_enabled).result(5) is True
    renderer.close()
    with pytest.raises(RuntimeError, match="closed"):
        renderer.submit(lambda: 1)
