"""The page in a browser. A server is started as a user starts it; pictures are judged by their pixels on the screen."""

from __future__ import annotations

import asyncio
import base64
import functools
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from labelspace import interventions
from labelspace.evaluation import judge
from labelspace.explorer.session import Session
from labelspace.explorer.steps import MoveBlock
from labelspace.explorer.uploads import MOST_BYTES
from labelspace.explorer.workbench import Workbench

pytest.importorskip("nicegui")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
Page = playwright.Page
playwright.expect.set_options(timeout=15_000)  # a machine may be busy


# -- proxies ----------------------------------------------------------------------------------------------------------


@contextmanager
def proxy(target: str, keeps: bool = True, websockets: bool = True, talks: bool = True) -> Iterator[str]:
    """A reverse proxy that shows a server below /lab; yields its address.

    Args:
        target: host and port of the server.
        keeps: whether it asks for /lab/x, or for x alone.
        websockets: whether it passes them on.
        talks: whether it passes on what pages say to their server.
    """
    loop = asyncio.new_event_loop()
    writers: list[asyncio.StreamWriter] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while part := await reader.read(65536):
                writer.write(part)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, OSError):
            writer.close()
            return
        method, path, rest = head.split(" ", 2)
        upgrade = "upgrade: websocket" in head.lower()
        if not path.startswith("/lab/") or (upgrade and not websockets) or ("/_nicegui_ws/" in path and not talks):
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            writer.close()
            return
        lines = rest.split("\r\n")
        if not upgrade:  # one request a connection
            lines = [line for line in lines[:-2] if not line.lower().startswith("connection:")] + ["Connection: close", "", ""]
        asked = f"{method} {path if keeps else path.removeprefix('/lab')} " + "\r\n".join(lines)
        host, port = target.split(":")
        theirs, to_them = await asyncio.open_connection(host, int(port))
        writers.append(to_them)
        to_them.write(asked.encode("latin-1"))
        await asyncio.gather(pipe(reader, to_them), pipe(theirs, writer))

    thread = threading.Thread(target=loop.run_forever)  # the browser's own loop runs in this one
    thread.start()
    began = asyncio.run_coroutine_threadsafe(asyncio.start_server(answer, "127.0.0.1", 0), loop).result()
    try:
        yield f"http://127.0.0.1:{began.sockets[0].getsockname()[1]}/lab/"
    finally:

        async def end() -> None:
            began.close()
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            for writer in writers:  # also those whose task was cancelled before it could close them
                writer.close()
            await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)
            loop.stop()

        asyncio.run_coroutine_threadsafe(end(), loop)
        thread.join()
        loop.close()


# -- servers and pages ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faces(faces_run: Path, server: Callable[..., Any]) -> Iterator[str]:
    with server(faces_run) as url:
        yield url


@pytest.fixture(scope="module")
def bench(faces_run: Path) -> Workbench:
    return Workbench.open(faces_run)


def pixels(page: Page, key: str = "edit") -> np.ndarray:
    """A picture as it is on the screen, ``(channels, height, width)`` in [0, 1]."""
    shown = Image.open(io.BytesIO(page.locator(f".picture.{key} img").screenshot(animations="disabled")))
    return np.asarray(shown.convert("RGB").resize((24, 24), Image.Resampling.BOX), np.float32).transpose(2, 0, 1) / 255


@functools.cache
def reader_of(bench: Workbench) -> judge.Judge:
    """The judge of the faces, trained shortly: glasses are easy to see."""
    return judge.train(bench.data, epochs=25)


def until(check: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether something is so within some seconds: a picture may be a moment behind the words that announce it."""
    end = time.monotonic() + seconds
    while not (found := check()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def glasses(bench: Workbench, page: Page, key: str = "edit") -> int:
    """Whether the judge sees glasses in a picture on the screen."""
    seen = reader_of(bench).read(torch.from_numpy(pixels(page, key))[None])
    return int(seen[0, bench.data.schema.index("Eyeglasses")])


def donor_for(bench: Workbench, name: str) -> int:
    """The validation sample whose glasses change a face most: the small model brings over dark ones best."""
    face = next(int(row) for row in bench.search("test, Eyeglasses=0") if bench.name(int(row)) == name)
    donors = bench.search("val, Eyeglasses=1")[:8]
    faces = np.full(len(donors), face)
    x, labels = bench.data.samples(faces), bench.data.labels(faces)
    lent, theirs = bench.data.samples(donors), bench.data.labels(donors)
    made = interventions.transfer(bench.model, x, lent, "Eyeglasses", labels, theirs).x
    return int(donors[int((made - x).abs().mean((1, 2, 3)).argmax())])


def plain_face(bench: Workbench, page: Page) -> str:
    """Chooses a test sample without glasses, whose absence the judge sees; returns its name."""
    reader = reader_of(bench)
    for row in bench.search("test, Eyeglasses=0"):
        if int(reader.read(bench.data.samples([int(row)]))[0, 0]) == 0:
            break
    page.get_by_label("Search by label").fill("test, Eyeglasses=0")
    page.locator(f".gallery [data-id='{int(row)}']").click()
    name = bench.name(int(row))
    playwright.expect(page.locator(".compare h2")).to_have_text(name)
    return name


def on_map(page: Page, bench: Workbench, point: tuple[float, ...]) -> tuple[float, float]:
    """Where a point of the glasses' map is on the screen."""
    chart = bench.chart("w.Eyeglasses")
    scale = min((360 - 40) / (chart.high[0] - chart.low[0]), (252 - 40) / (chart.high[1] - chart.low[1]))
    centre = [(low + high) / 2 for low, high in zip(chart.low, chart.high, strict=True)]
    x, y = 184 + (point[0] - centre[0]) * scale, 120 - (point[1] - centre[1]) * scale
    box = page.locator(".map").bounding_box()
    assert box is not None
    return box["x"] + x * box["width"] / 360, box["y"] + y * box["height"] / 252


def said(page: Page, text: str) -> None:
    """Waits until the line under the heading says something."""
    playwright.expect(page.locator(".live")).to_contain_text(text)


# -- choosing and editing ---------------------------------------------------------------------------------------------


def test_the_gallery_is_searched_and_a_sample_chosen(faces: str, bench: Workbench, tab: Callable[..., Page]) -> None:
    page = tab(faces)
    assert page.locator(".samples .item").count() == 48
    plain_face(bench, page)
    assert glasses(bench, page, "original") == 0
    options = page.locator(".samples .item")
    playwright.expect(options.first).to_have_attribute("aria-label", "test:0: Eyeglasses 0")
    assert all("Eyeglasses 0" in (option.get_attribute("aria-label") or "") for option in options.all()[:10])
    page.get_by_label("Search by label").fill("Moustache=1")
    playwright.expect(page.get_by_role("alert").filter(has_text="Moustache")).to_be_visible()


def test_the_picture_follows_while_the_handle_is_dragged(faces: str, bench: Workbench, tab: Callable[..., Page]) -> None:
    page = tab(faces)
    plain_face(bench, page)
    goal = tuple(bench.block_map("w.Eyeglasses").priors[1].mean.tolist())
    home = tuple(float(v) for v in (page.locator(".map").get_attribute("data-point") or "").split(","))
    page.mouse.move(*on_map(page, bench, home))
    page.mouse.down()
    before = pixels(page)
    for i in range(1, 31):
        page.mouse.move(*on_map(page, bench, tuple(a + (b - a) * i / 30 for a, b in zip(home, goal, strict=True))))
        page.wait_for_timeout(10)
    assert until(lambda: np.abs(pixels(page) - before).max() > 0.1)  # it followed, and nothing was let go of yet
    assert until(lambda: glasses(bench, page) == 1)
    playwright.expect(page.get_by_label("Undo")).to_be_disabled()
    page.mouse.up()
    said(page, "w.Eyeglasses moved")
    assert until(lambda: glasses(bench, page) == 1)
    assert glasses(bench, page, "original") == glasses(bench, page, "reconstruction") == 0
    # and it is the picture that the library makes of that point
    point = tuple(float(v) for v in (page.locator(".map").get_attribute("data-point") or "").split(","))
    assert point == pytest.approx(goal, abs=0.05)
    session = Session(bench)
    session.choose(session.of_data(bench.row(page.locator(".compare h2").inner_text())))
    made = session.apply(MoveBlock("w.Eyeglasses", point)).x.numpy().clip(0, 1)
    assert np.abs(pixels(page) - made).mean() < 0.5 * np.abs(before - made).mean()


def test_keys_move_the_handle_and_undo(faces: str, bench: Workbench, tab: Callable[..., Page]) -> None:
    page = tab(faces)
    plain_face(bench, page)
    handle = page.get_by_role("slider", name="Position in w.Eyeglasses")
    start = handle.get_attribute("data-point")
    handle.focus()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    said(page, "w.Eyeglasses moved")
    moved = [float(v) for v in (handle.get_attribute("data-point") or "").split(",")]
    assert moved[0] > float((start or "").split(",")[0]) + 0.5
    page.wait_for_timeout(1000)  # until the keys count as chosen; on a slow machine they may be several steps
    undo = page.get_by_label("Undo")

    def undone() -> bool:
        if undo.is_enabled():
            page.keyboard.press("Control+z")
        return undo.is_disabled() and handle.get_attribute("data-point") == start

    assert until(undone)
    page.keyboard.press("Control+Shift+z")
    playwright.expect(handle).not_to_have_attribute("data-point", start)
    handle.focus()
    page.keyboard.press("Home")
    playwright.expect(handle).to_have_attribute("data-point", start)


def test_values_are_set_undone_and_reset(faces: str, bench: Workbench, tab: Callable[..., Page]) -> None:
    page = tab(faces)
    plain_face(bench, page)
    on = page.get_by_role("button", name="Eyeglasses 1")
    on.click()
    said(page, "Eyeglasses set to 1")
    playwright.expect(on).to_have_attribute("aria-pressed", "true")
    assert until(lambda: glasses(bench, page) == 1)
    page.get_by_label("Undo").click()
    playwright.expect(on).to_have_attribute("aria-pressed", "false")
    assert until(lambda: glasses(bench, page) == 0)
    page.get_by_label("Redo").click()
    playwright.expect(on).to_have_attribute("aria-pressed", "true")
    page.get_by_label("Reset all edits").click()
    playwright.expect(on).to_have_attribute("aria-pressed", "false")
    assert until(lambda: glasses(bench, page) == 0)


def test_transfer_and_what_is_copied(faces: str, bench: Workbench, tab: Callable[..., Page]) -> None:
    page = tab(faces)
    name = plain_face(bench, page)
    page.get_by_role("button", name="Take Eyeglasses").click()
    playwright.expect(page.get_by_text("choose a donor first")).to_be_visible()
    page.get_by_role("button", name="Choose a donor").first.click()
    page.get_by_label("Search by label").fill("val, Eyeglasses=1")
    row = donor_for(bench, name)
    page.locator(f".gallery [data-id='{row}']").click()
    playwright.expect(page.locator(".donor .hint").first).to_contain_text(bench.name(row))
    page.get_by_role("button", name="Take Eyeglasses").click()
    said(page, f"Eyeglasses taken from {bench.name(row)}")
    assert until(lambda: glasses(bench, page) == 1)
    page.get_by_label("Copy this edit").click()
    page.get_by_text("as a command").click()
    playwright.expect(page.locator(".copied pre")).to_contain_text(f"{name} {bench.name(row)} --label Eyeglasses")
    page.get_by_role("button", name="Close").last.click()
    with page.expect_download() as download:
        page.get_by_label("Save this edit").click()
        page.get_by_text("picture with its record").click()
    saved = Image.open(io.BytesIO(download.value.path().read_bytes()))
    assert saved.size == (24, 24)
    assert json.loads(saved.info["labelspace"])["changed"] == ["w.Eyeglasses"]


def test_generate_and_go_on_with_one(faces: str, bench: Workbench, tab: Callable[..., Page]) -> None:
    page = tab(faces)
    page.get_by_role("tab", name="Generate").click()
    page.get_by_role("combobox", name="Eyeglasses").click()
    page.get_by_role("option", name="1", exact=True).click()
    page.get_by_role("button", name="Draw", exact=True).click()
    said(page, "8 samples drawn")
    drawn = page.locator(".gallery.drawn .item")
    assert drawn.count() == 8
    first = drawn.nth(2).locator("img").get_attribute("src")
    page.get_by_role("button", name="Draw this block anew").click()
    playwright.expect(drawn.nth(2).locator("img")).not_to_have_attribute("src", first)
    drawn.nth(2).click()
    page.get_by_role("button", name="Edit the chosen one").click()
    playwright.expect(page.locator(".compare h2")).to_have_text("drawn 3")
    content = base64.b64decode((drawn.nth(2).locator("img").get_attribute("src") or "").partition(",")[2])
    thumbnail = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1) / 255
    assert until(lambda: np.abs(pixels(page, "original") - thumbnail).mean() < 0.06)
    page.get_by_role("button", name="Eyeglasses 0").click()
    said(page, "Eyeglasses set to 0")
    playwright.expect(page.get_by_label("Undo")).to_be_enabled()


def test_grid_walk_and_truth(faces: str, bench: Workbench, tab: Callable[..., Page]) -> None:
    page = tab(faces)
    name = plain_face(bench, page)
    page.get_by_role("tab", name="Grid").click()
    page.get_by_role("button", name="Draw the grid").click()
    playwright.expect(page.locator(".sheet .tiles")).to_be_visible()
    page.get_by_text("Donor", exact=True).click()
    page.locator(".samples .item").nth(3).click()
    page.get_by_role("tab", name="Interpolate").click()
    page.get_by_role("button", name="Walk to the donor").click()
    playwright.expect(page.get_by_alt_text("Walk from the edit to the donor")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the animation").click()
    assert Image.open(io.BytesIO(download.value.path().read_bytes())).n_frames == 22  # type: ignore[attr-defined]
    page.get_by_role("button", name="Eyeglasses 1").click()
    said(page, "Eyeglasses set to 1")
    page.get_by_role("tab", name="Truth").click()
    page.get_by_role("button", name="Draw the truth").click()
    playwright.expect(page.locator(".truth").first).to_be_visible(timeout=20_000)
    assert page.locator(".truth").count() == len(bench.data.truth.styles("Eyeglasses", 1))  # type: ignore[union-attr]
    assert page.locator(".compare h2").inner_text() == name


def test_the_sheet_follows_the_handle(faces: str, bench: Workbench, tab: Callable[..., Page]) -> None:
    page = tab(faces)
    page.get_by_label("Search by label").fill("test, Eyeglasses=0")
    page.get_by_role("tab", name="Sheet").click()
    after = page.locator(".contacts .after")
    playwright.expect(after).to_have_count(8)
    goal = tuple(bench.block_map("w.Eyeglasses").priors[1].mean.tolist())
    before = [one.get_attribute("src") for one in after.all()]
    page.mouse.move(*on_map(page, bench, (0.0, 0.0)))
    page.mouse.down()
    page.mouse.move(*on_map(page, bench, goal), steps=5)
    assert until(lambda: all(a != one.get_attribute("src") for a, one in zip(before, after.all(), strict=True)))
    playwright.expect(page.get_by_label("Undo")).to_be_disabled()  # nothing was let go of yet
    page.mouse.up()
    said(page, "w.Eyeglasses moved")
    rows = [int(row) for row in bench.search("test, Eyeglasses=0")[:8]]
    point = tuple(float(v) for v in (page.locator(".map").get_attribute("data-point") or "").split(","))
    wanted = interventions.move(bench.model, bench.data.samples(rows), {"w.Eyeglasses": point}, bench.data.labels(rows)).x

    def shown() -> np.ndarray:
        contents = [base64.b64decode((one.get_attribute("src") or "").partition(",")[2]) for one in after.all()]
        return np.stack([np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1) for content in contents])

    assert until(lambda: np.abs(shown() / 255 - wanted.clamp(0, 1).numpy()).max() < 0.01)
    page.get_by_role("tab", name="Nearest").click()
    page.get_by_role("button", name="Find the nearest").click()
    playwright.expect(page.locator(".sheet .truth")).to_have_count(8)
    playwright.expect(page.get_by_text("New:").or_(page.get_by_text("Remembered:"))).to_be_visible()


def test_a_large_upload_is_shown_at_its_own_size(faces: str, bench: Workbench, tab: Callable[..., Page]) -> None:
    page = tab(faces)
    buffer = io.BytesIO()
    face = (bench.data.samples([int(bench.gallery[0])])[0].numpy().transpose(1, 2, 0) * 255).astype(np.uint8)
    Image.fromarray(face).resize((240, 240), Image.Resampling.BICUBIC).save(buffer, "PNG")
    page.locator("input[type=file]").set_input_files({"name": "own.png", "mimeType": "image/png", "buffer": buffer.getvalue()})
    playwright.expect(page.locator(".compare h2")).to_have_text("own.png")
    page.get_by_role("button", name="Eyeglasses 1").click()
    said(page, "Eyeglasses set to 1")
    page.get_by_role("button", name="Enlarge").click()
    large = page.locator("dialog.large .after")
    assert until(lambda: large.evaluate("image => image.naturalWidth") == 240)
    page.get_by_label("at its own size").uncheck()
    assert until(lambda: large.evaluate("image => image.naturalWidth") == 24)
    page.get_by_role("slider", name="Zoom").fill("4")
    assert page.locator(".window").evaluate("e => e.scrollWidth / e.clientWidth") > 3.5
    page.locator("dialog.large .go-on").click()
    page.get_by_label("Save this edit").click()
    with page.expect_download() as download:
        page.get_by_text("picture at its own size").click()
    assert Image.open(io.BytesIO(download.value.path().read_bytes())).size == (240, 240)


# -- uploads ----------------------------------------------------------------------------------------------------------


def test_uploads(faces: str, bench: Workbench, tab: Callable[..., Page]) -> None:
    page = tab(faces)

    def upload(name: str, content: bytes) -> None:
        page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": content})

    def png(x: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(x).save(buffer, "PNG")
        return buffer.getvalue()

    row = next(int(r) for r in bench.search("test, Eyeglasses=0"))
    face = (bench.data.samples([row])[0].numpy().transpose(1, 2, 0) * 255).astype(np.uint8)
    heading = page.locator(".compare h2")
    start = heading.inner_text()
    for name, content, answer in (
        ("face.png", b"<html>not a picture at all</html>", "not a picture"),  # disguised
        ("face.png", png(face)[:200], "damaged"),
        ("face.png", b"\0" * (MOST_BYTES + 1000), "up to 10 MB"),
    ):
        upload(name, content)
        playwright.expect(page.get_by_text(answer).first).to_be_visible()
        assert heading.inner_text() == start
    checks = (np.arange(24)[:, None] // 2 + np.arange(24)) % 2 * 255
    upload("strange.png", png(np.repeat(checks[..., None], 3, 2).astype(np.uint8)))
    playwright.expect(heading).to_have_text("strange.png")
    page.wait_for_function("!location.search.includes('sample=')")  # not the sample before it
    playwright.expect(page.get_by_text("far from the data")).to_be_visible()
    upload("../my face.png", png(face.repeat(10, 0).repeat(10, 1)))
    playwright.expect(heading).to_have_text("my face.png")
    assert until(lambda: np.abs(pixels(page, "original") - face.transpose(2, 0, 1) / 255).mean() < 0.06)
    page.get_by_role("button", name="Eyeglasses 1").click()
    said(page, "Eyeglasses set to 1")
    assert until(lambda: glasses(bench, page) == 1)


# -- tabs, servers and speed ------------------------------------------------------------------------------------------


def test_two_tabs_keep_their_own_state(faces: str, bench: Workbench, tab: Callable[..., Page]) -> None:
    one, other = tab(faces), tab(faces)
    plain_face(bench, one)
    before = other.locator(".compare h2").inner_text()
    one.get_by_role("button", name="Eyeglasses 1").click()
    said(one, "Eyeglasses set to 1")
    assert other.locator(".compare h2").inner_text() == before
    playwright.expect(other.get_by_label("Undo")).to_be_disabled()
    other.get_by_role("button", name="Eyeglasses 0").click()
    said(other, "Eyeglasses set to 0")
    assert until(lambda: glasses(bench, one) == 1)


@pytest.mark.slow
def test_a_page_outlives_its_server(
    faces_run: Path, server: Callable[..., Any], bench: Workbench, tab: Callable[..., Page]
) -> None:
    with ExitStack() as stack:
        for left in (2, 1, 0):
            with server(faces_run) as url:
                page = tab(url)
                name = plain_face(bench, page)
            try:
                stack.enter_context(server(faces_run, port=int(url.rstrip("/").rpartition(":")[2])))
                break
            except ChildProcessError:  # another program may have taken the port meanwhile
                page.close()
                if not left:
                    raise
        playwright.expect(page.locator(".compare h2")).to_have_text(name, timeout=30_000)
        on = page.get_by_role("button", name="Eyeglasses 1")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:  # until the page was loaded again
            try:
                on.click(timeout=1000)
                playwright.expect(page.locator(".live")).to_contain_text("set to 1", timeout=2000)
                break
            except (AssertionError, playwright.Error):
                continue
        said(page, "Eyeglasses set to 1")
        assert until(lambda: glasses(bench, page) == 1)


def test_a_token_opens_the_page(faces_run: Path, server: Callable[..., Any], tab: Callable[..., Page], browser) -> None:
    with server(faces_run, "--token", "a-long-secret") as url:
        stranger = browser.new_context().new_page()
        assert stranger.goto(url.partition("?")[0]).status == 401
        stranger.context.close()
        page = tab(url)
        assert "token" not in page.url
        assert page.locator(".samples .item img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 24


def best(measure: Callable[[], list[float]], limit: float, least: int) -> list[float]:
    """The quickest of up to three measurements: other programs on the machine slow some of them down."""
    found: list[list[float]] = []
    while len(found) < 3:
        found.append(took := measure())
        if len(took) >= least and np.percentile(took, 95) < limit:
            break
    return min((took for took in found if len(took) >= least), key=lambda took: np.percentile(took, 95), default=[])


@pytest.fixture(scope="module")
def large_run(run_of: Callable[..., Path]) -> Path:
    """Faces of 64 pixels; weights do not matter for how long a picture takes."""
    pytest.importorskip("skia")
    return run_of("lsvae", "faces:n=64,size=64")


def test_the_decoder_is_quick_at_64_pixels(large_run: Path) -> None:
    """95% of pictures take less than 20 ms of the processor."""
    small = Workbench.open(large_run)
    session = Session(small)
    block = next(b.name for b in small.model.blocks if b.label)

    def decode() -> list[float]:
        took = []
        for i in range(60):
            start = time.process_time()
            session.preview(MoveBlock(block, (0.01 * i, 0.0)))
            took.append(1000 * (time.process_time() - start))
        return took

    took = best(decode, 20, 60)
    print(f"decoder {np.median(took):.1f} ms, 95% {np.percentile(took, 95):.1f}")
    assert np.percentile(took, 95) < 20


@pytest.mark.slow  # of the machine and all that runs on it
def test_dragging_is_quick_at_64_pixels(large_run: Path, server: Callable[..., Any], tab: Callable[..., Page]) -> None:
    """Drag event to picture on the screen: 95% under 100 ms."""
    with server(large_run) as url:
        page = tab(url)
        box = page.locator(".map").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

        def drag() -> list[float]:
            page.evaluate("performance.clearMeasures('labelspace:drag')")
            page.mouse.move(x, y)
            page.mouse.down()
            for i in range(120):
                page.mouse.move(x + 90 * np.sin(i / 9), y + 70 * np.cos(i / 9))
                page.wait_for_timeout(12)
            page.mouse.up()
            page.wait_for_timeout(500)
            return page.evaluate("performance.getEntriesByName('labelspace:drag').map((entry) => entry.duration)")

        found = best(drag, 100, 60)  # a browser that is short of time makes one event of several
    assert found
    print(f"drag to picture {np.median(found):.1f} ms, 95% {np.percentile(found, 95):.1f}, {len(found)} events")
    assert np.percentile(found, 95) < 100


# -- all kinds of data, and everyone ----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["condvae", "vae"])
def test_vectors_are_a_table(
    model: str, vectors: str, run_of: Callable[..., Path], server: Callable[..., Any], tab: Callable[..., Page]
) -> None:
    with server(run_of(model, vectors)) as url:
        page = tab(url)
        assert page.locator(".bars tbody tr").count() == 5
        handle = page.locator(".map")
        before = [cell.inner_text() for cell in page.locator(".bars .edited").all()]
        now, low, high = (float(handle.get_attribute(f"aria-value{what}") or 0) for what in ("now", "min", "max"))
        way = "ArrowRight" if now < (low + high) / 2 else "ArrowLeft"
        handle.focus()
        for _ in range(3):
            page.keyboard.press(f"Shift+{way}")
        playwright.expect(page.get_by_label("Undo")).to_be_enabled()
        assert until(lambda: [cell.inner_text() for cell in page.locator(".bars .edited").all()] != before)
        page.get_by_role("tab", name="Generate").click()
        page.get_by_role("button", name="Draw", exact=True).click()
        said(page, "8 samples drawn")
        page.get_by_role("tab", name="Grid").click()
        page.get_by_role("button", name="Draw the grid").click()
        playwright.expect(page.locator(".sheet td").first).to_be_visible()


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (820, 1180)])
def test_everything_fits_and_has_a_name(faces: str, tab: Callable[..., Page], width: int, height: int) -> None:
    page = tab(faces, width=width, height=height)
    assert until(lambda: page.evaluate("document.documentElement.scrollWidth") <= width)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input:not([type=file]), [role=slider], [role=listbox], img')]
          .filter((e) => e.offsetParent !== null)
          .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length || e.closest('label')
            || e.getAttribute('alt') !== null || e.closest('[aria-label]')))
          .map((e) => e.outerHTML.slice(0, 200))"""
    )
    assert nameless == []
    for key in ("original", "edit"):
        box = page.locator(f".picture.{key} img").bounding_box()
        assert box is not None
        assert box["width"] > 150
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


@pytest.mark.slow  # graphs take a minute
def test_the_explorer_saves_a_page(faces: str, tab: Callable[..., Page], tmp_path: Path) -> None:
    for needed in ("onnxruntime", "onnxscript", "labelspace_page"):
        pytest.importorskip(needed)
    page = tab(faces)
    page.get_by_label("Save this edit").click()
    with page.expect_download(timeout=900_000) as download:
        page.get_by_text("page that needs no server").click()
    download.value.save_as(tmp_path / "page.html")
    saved = tab((tmp_path / "page.html").as_uri(), alone=True)
    playwright.expect(saved.locator(".compare h2")).to_have_text(page.locator(".compare h2").inner_text())


# -- behind a proxy ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def below_lab(faces_run: Path, server: Callable[..., Any]) -> Iterator[str]:
    """Host and port of an explorer that is shown below /lab."""
    with server(faces_run, "--root-path", "/lab") as url:
        assert url.endswith("/lab/")
        yield url.split("/")[2]


@pytest.mark.parametrize(("keeps", "websockets"), [(True, True), (False, True), (True, False)])
def test_a_proxy_shows_it_below_a_path(below_lab: str, tab: Callable[..., Page], keeps: bool, websockets: bool) -> None:
    with proxy(below_lab, keeps=keeps, websockets=websockets) as url:
        page = tab(url)
        page.wait_for_function("[...document.querySelectorAll('.gallery img')].some((image) => image.naturalWidth > 0)")
        second = page.locator(".gallery [data-id]").nth(1)
        name = second.get_attribute("aria-label") or second.inner_text()
        before = page.locator(".compare h2").inner_text()
        second.click()
        playwright.expect(page.locator(".compare h2")).not_to_have_text(before)
        assert name
        assert page.locator("#unreachable").is_hidden()
        page.close()


def test_a_page_that_cannot_talk_to_its_server_says_so(below_lab: str, browser, tmp_path: Path) -> None:
    with proxy(below_lab, talks=False) as url:
        page = browser.new_page()
        page.goto(url)
        playwright.expect(page.locator("#unreachable")).to_be_visible()
        said = page.locator("#unreachable").inner_text()
        assert "/lab/_nicegui_ws/" in said
        assert "--root-path" in said
        page.screenshot(path=tmp_path / "unreachable.png")
        page.close()
