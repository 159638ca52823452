"""A report in a browser: it shows everything it carries, asks the network for nothing, and has nothing to complain of."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labelspace.reporting import page, runs

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def report(trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page.write(runs.read(trained("ccvae", "image")))[0])
    return file


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'labelspace[dev]'")
    if BROWSER is None:
        pytest.skip("needs chromium on the path: apt-get install chromium")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 820, 390])
def test_a_browser_shows_the_whole_page(
    width: int, scheme: str, report: Path, browser: Any, violations: Callable[..., list[str]]
) -> None:
    view = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    view.set_default_timeout(90_000)  # a machine may be busy
    said: list[str] = []
    asked: list[str] = []
    view.on("console", lambda message: said.append(message.text))
    view.on("pageerror", lambda error: said.append(str(error)))
    view.on("request", lambda request: asked.append(request.url))
    view.goto(report.as_uri())
    view.wait_for_load_state("networkidle")
    shown = view.evaluate("[...document.images].map(i => [i.complete && i.naturalWidth > 0, i.alt])")
    overflow = view.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    background = view.evaluate("getComputedStyle(document.body).backgroundColor")
    found = violations(view)
    view.locator("figure label").first.click()
    enlarged = view.locator("figure img").first.bounding_box()
    view.keyboard.press("Space")
    again = view.locator("figure img").first.bounding_box()
    with view.expect_download() as kept:
        view.locator("a[download]").first.click()
    table = Path(kept.value.path()).read_text()
    view.close()
    assert said == []
    assert found == []
    assert (enlarged["width"], enlarged["height"]) == (width, 900), "a click fills the window"
    assert again["width"] < width, "the space bar puts it back"
    assert len(table.splitlines()) > 1
    assert "," in table.splitlines()[0]
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    assert len(shown) > 10
    assert [alt for whole, alt in shown if not whole] == []
    assert overflow <= 0, "nothing is wider than the page"
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
