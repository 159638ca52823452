"""The page in a browser, of runs that nobody trained: what fits, who can use it, and what it remembers."""

from __future__ import annotations

import csv
import io
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("nicegui")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
Page = playwright.Page
expect = playwright.expect
expect.set_options(timeout=60_000)  # a machine may be busy


@pytest.fixture(scope="module")
def shown_things(things: str, run_of: Callable[..., Path], server: Callable[..., Any]) -> Iterator[str]:
    """The address of a table with a number, words and a binary label as labels."""
    with server(run_of("lsvae", things, labels=("kind", "on", "size"))) as url:
        yield url


@pytest.fixture(scope="module")
def shown_pictures(pictures: str, run_of: Callable[..., Path], server: Callable[..., Any]) -> Iterator[str]:
    with server(run_of("lsvae", pictures)) as url:
        yield url


@pytest.fixture(scope="module")
def shown_wordy(
    run_of: Callable[..., Path], server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a table with classes of three words, in a label that begins alike and in a column."""
    rng, file = np.random.default_rng(0), tmp_path_factory.mktemp("wordy") / "wordy.csv"
    states = ["not treated yet", "treated for one month", "treated for one year"]
    regions = ["north east coast", "south west hills", "inner city district"]
    rows = ["treatment state,pressure,region of living,glucose"]
    rows += [f"{rng.choice(states)},{rng.normal(120, 9):.1f},{rng.choice(regions)},{rng.normal(5):.2f}" for _ in range(120)]
    file.write_text("\n".join(rows) + "\n")
    with server(run_of("lsvae", f"table:{file}", labels=("treatment state",), latent=4)) as url:
        yield url


def said(page: Page, text: str) -> None:
    """Waits until the line under the heading says something."""
    expect(page.locator(".live")).to_contain_text(text)


def rests(page: Page) -> None:
    """Waits until nothing on the page moves or fades; what is about to needs a moment to begin."""
    page.wait_for_timeout(150)
    page.wait_for_function("document.getAnimations().every((one) => one.playState !== 'running')")


# -- everyone ---------------------------------------------------------------------------------------------------------


CUT = """() => [...document.querySelectorAll('.panel *')].filter((e) => {
  const box = e.getBoundingClientRect();
  if (!box.width || !box.height || e.closest('.gallery, .q-tabs, .sheet, svg')) return false;
  const card = e.closest('.panel').getBoundingClientRect();
  return box.right > card.right + 1 || box.left < card.left - 1;
}).map((e) => e.outerHTML.slice(0, 160))"""


def fill(page: Page, view: str) -> None:
    """Has a view show something."""
    ask, shown = {
        "Generate": ("Draw", ".gallery.drawn .item"),
        "Grid": ("Draw the grid", ".sheet .tiles, .sheet table"),
        "Nearest": ("Find the nearest training samples", ".sheet .truth, .sheet table"),
        "Sheet": (None, ".contact figure, .contact td"),
    }.get(view, (None, None))
    if ask:
        page.get_by_role("button", name=ask, exact=True).click()
    if shown:
        expect(page.locator(shown).locator("visible=true").first).to_be_visible()


@pytest.mark.parametrize(
    ("run", "width", "height"),
    [
        ("shown_things", 1280, 800),
        ("shown_pictures", 390, 844),
        *(
            pytest.param(run, width, height, marks=pytest.mark.slow)
            for run, width, height in (
                ("shown_things", 820, 1180),
                ("shown_things", 390, 844),
                ("shown_pictures", 1280, 800),
                ("shown_pictures", 820, 1180),
            )
        ),
    ],
)
def test_every_view_fits_and_can_be_used_by_everyone(
    run: str,
    width: int,
    height: int,
    violations: Callable[..., list[str]],
    tab: Callable[..., Page],
    request: pytest.FixtureRequest,
) -> None:
    page = tab(request.getfixturevalue(run), width=width, height=height)
    expect(page.get_by_role("switch")).to_be_visible()  # keep detail
    if run == "shown_things":
        scale, card = (page.locator(css).first.bounding_box() for css in (".bars tbody .scale svg", ".bars"))
        assert scale["x"] + scale["width"] <= card["x"] + card["width"] + 1
    for name in ("Transfer", "Grid", "Interpolate", "Sheet", "Nearest", "Many", "Generate"):
        page.get_by_role("tab", name=name).click()
        expect(page.locator(".q-tab--active")).to_contain_text(name)
        fill(page, name)
        assert page.evaluate(CUT) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            expect(page.locator("body.body--dark")).to_have_count(int(theme == "dark"))
            rests(page)
            assert violations(page, "'.views'") == [], (name, theme)
    page.get_by_label("Search by label").fill("kind=nothing of the kind")  # the search says why, and so does a warning:
    page.get_by_role("tab", name="Transfer").click()
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        expect(page.locator("body.body--dark")).to_have_count(int(theme == "dark"))
        page.locator(".takes button").first.click()
        expect(page.locator(".q-notification").first).to_contain_text("choose a donor first")
        rests(page)
        assert violations(page) == []
    if run == "shown_pictures":
        page.get_by_role("button", name="Enlarge").click()
        page.get_by_role("slider", name="Zoom").fill("4")
        assert violations(page, "'dialog.large'") == []
        page.locator("dialog.large .go-on").click()
    page.get_by_label("Copy this edit").click()
    expect(page.get_by_role("menuitem").first).to_be_visible()
    rests(page)
    assert violations(page, "'.q-menu'") == []
    page.get_by_text("as Python lines").click()
    expect(page.locator(".copied pre")).to_be_visible()
    rests(page)
    assert violations(page, "'.q-dialog'") == []


@pytest.mark.parametrize("width", [1280, 820, 390])
def test_wordy_classes_are_read_in_full(shown_wordy: str, width: int, tab: Callable[..., Page]) -> None:
    page = tab(shown_wordy, width=width, height=844)
    page.get_by_role("combobox", name="treatment state").click()
    page.get_by_role("option", name="treated for one year", exact=True).click()
    said(page, "treatment state set to treated for one year")
    chosen = page.locator(".choice .q-field__native > span")
    expect(chosen).to_have_text("treated for one year")
    assert chosen.evaluate("e => [e.clientWidth > 0, e.scrollWidth <= e.clientWidth]") == [True, True]
    assert page.evaluate(CUT) == []
    page.get_by_role("tab", name="Nearest").click()
    page.get_by_role("button", name="Find the nearest").click()
    expect(page.locator(".sheet tr")).to_have_count(9)
    regions = page.locator(".sheet tr td:nth-child(3)").all_inner_texts()
    assert set(regions) <= {"north east coast", "south west hills", "inner city district"}, "and not their numbers"


def test_the_focus_of_buttons_is_seen(shown_things: str, tab: Callable[..., Page]) -> None:
    page = tab(shown_things)
    page.get_by_role("button", name="kind oak").focus()
    page.keyboard.press("Enter")
    said(page, "kind set to oak")
    page.locator(".detail").focus()
    for name in ("Copy this edit", "Save this edit", "Light or dark"):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            """() => { const e = document.activeElement, s = getComputedStyle(e);
               return [e.getAttribute('aria-label'), s.outlineStyle, parseFloat(s.outlineWidth)]; }"""
        )
        assert focused == [name, "solid", 3]


def test_undo_says_what_was_undone(shown_things: str, tab: Callable[..., Page]) -> None:
    page = tab(shown_things)
    page.get_by_role("button", name="kind ash").click()
    said(page, "kind set to ash")
    page.get_by_label("Undo").click()
    said(page, "undone: kind set to ash")
    page.get_by_label("Redo").click()
    said(page, "done again: kind set to ash")
    page.get_by_label("Reset all edits").click()
    said(page, "all edits taken back")


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_a_number_is_a_slider_over_the_data_and_a_field(shown_things: str, tab: Callable[..., Page]) -> None:
    page = tab(shown_things)
    slider, field = page.get_by_role("slider", name="size"), page.get_by_label("size as a number")
    assert page.locator(".track rect").count() == 24
    low, high = (float(slider.get_attribute(end) or "nan") for end in ("min", "max"))
    slider.focus()
    page.keyboard.press("End")
    said(page, f"size set to {high:.4g}")
    assert float(field.input_value()) == pytest.approx(high, rel=1e-4)
    field.fill(str(round(high + 5, 2)))
    field.press("Enter")
    expect(page.get_by_text("outside of the data")).to_be_visible()
    expect(page.get_by_text("lies outside of the training data").first).to_be_visible()
    page.get_by_label("Undo").click()
    expect(page.get_by_text("outside of the data (")).to_have_count(0)
    assert float(slider.input_value()) == pytest.approx(high, rel=1e-4)
    assert low < high


# -- trust ------------------------------------------------------------------------------------------------------------


def test_what_the_model_reads_stands_beside_every_label(shown_things: str, tab: Callable[..., Page]) -> None:
    page = tab(shown_things)
    reads = page.locator(".entry .reads")
    assert reads.count() == 3
    expect(reads.first).to_contain_text("reads")
    expect(page.locator(".standing")).to_contain_text("of the data")
    box = page.locator(".map").bounding_box()
    before = reads.all_inner_texts()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 20, box["y"] + 20, steps=8)
    page.wait_for_function(
        "(before) => [...document.querySelectorAll('.reads')].some((e, i) => e.innerText !== before[i])", arg=before
    )
    expect(page.get_by_label("Undo")).to_be_disabled()  # it followed before anything was let go of
    page.mouse.up()


def test_the_edit_is_enlarged_over_what_was_before(shown_pictures: str, tab: Callable[..., Page]) -> None:
    page = tab(shown_pictures)
    page.get_by_role("button", name="Enlarge").click()
    after = page.get_by_alt_text("After")
    expect(after).to_be_visible()
    assert after.bounding_box()["width"] > 400
    wipe = page.get_by_label("How much is as before, in percent")
    wipe.fill("80")
    expect(after).to_have_css("clip-path", "inset(0px 0px 0px 80%)")
    assert page.get_by_alt_text("Before").get_attribute("src") == page.locator(".picture.original img").get_attribute("src")
    page.get_by_label("reconstruction", exact=True).check()
    before = page.locator(".picture.reconstruction img").get_attribute("src")
    assert page.get_by_alt_text("Before").get_attribute("src") == before
    page.keyboard.press("Escape")
    expect(after).to_be_hidden()


# -- links ------------------------------------------------------------------------------------------------------------


def test_reload_back_and_a_link_keep_edits(shown_things: str, tab: Callable[..., Page]) -> None:
    page = tab(shown_things)
    page.get_by_role("button", name="kind elm").click()
    said(page, "kind set to elm")
    page.get_by_role("tab", name="Grid").click()
    page.wait_for_function("location.search.includes('view=Grid')")
    cells = page.locator(".bars .edited")
    edited = cells.all_inner_texts()
    page.locator(".samples .item").nth(2).click()
    said(page, "test:2 chosen")
    page.wait_for_function("location.search.includes('test:2')")
    page.go_back()
    expect(page.locator(".compare h2")).to_have_text("test:0")
    expect(page.get_by_role("button", name="kind elm")).to_have_attribute("aria-pressed", "true")
    assert cells.all_inner_texts() == edited
    page.reload()
    expect(page.get_by_role("button", name="kind elm")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".q-tab--active")).to_contain_text("Grid")
    other = tab(page.url)
    expect(other.locator(".compare h2")).to_have_text("test:0")
    assert other.locator(".bars .edited").all_inner_texts() == edited
    other.get_by_label("Undo").click()
    said(other, "undone: kind set to elm")
    damaged = tab(f"{shown_things}?steps=%5B%5B%22fly%22")
    expect(damaged.get_by_text("does not describe a state of this run")).to_be_visible()


def test_a_map_by_neighbours_is_looked_at_and_kept(
    shown_wordy: str, violations: Callable[..., list[str]], tab: Callable[..., Page]
) -> None:
    page = tab(shown_wordy)
    method = page.get_by_role("combobox", name="Map by")
    page.get_by_role("button", name="Map of z").click()
    expect(page.locator(".map-box h3")).to_have_text("z: 4 coordinates, free, by PCA")
    method.click()
    page.get_by_role("option", name="t-SNE").click()
    expect(page.locator(".map-box h3")).to_have_text("z: 4 coordinates, free, by t-SNE", timeout=60_000)
    picture = page.get_by_role("img", name="Position in z")
    tools = page.locator(".map-box .tools").bounding_box()
    assert picture.bounding_box()["y"] + picture.bounding_box()["height"] <= tools["y"]
    place = picture.get_attribute("data-point")
    box = picture.bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 90, steps=4)
    page.mouse.up()
    assert picture.get_attribute("data-point") == place, "nothing is dragged on it"
    expect(page.get_by_label("Undo")).to_be_disabled()
    page.get_by_role("button", name="Draw anew").click()
    said(page, "z drawn anew")
    expect(picture).not_to_have_attribute("data-point", place)
    rests(page)
    assert violations(page) == []
    page.reload()
    expect(page.locator(".map-box h3")).to_have_text("z: 4 coordinates, free, by t-SNE", timeout=60_000)
    method.click()
    page.get_by_role("option", name="PCA").click()
    expect(page.get_by_role("slider", name="Position in z")).to_be_visible()


# -- rows of one's own ------------------------------------------------------------------------------------------------


def test_rows_are_pasted_changed_and_edited_together(shown_things: str, tab: Callable[..., Page]) -> None:
    page = tab(shown_things)
    page.get_by_role("button", name="Paste rows").click()
    page.get_by_label("Rows", exact=True).fill("amount,colour,kind\n5.5,pale blue,elm\n6.5,deep red,oak\n,violet,")
    page.get_by_role("button", name="Show them").click()
    expect(page.get_by_text("violet").last).to_be_visible()  # refused, and why
    page.get_by_label("Rows", exact=True).fill("amount,colour,kind\n5.5,pale blue,elm\n6.5,deep red,oak")
    page.get_by_role("button", name="Show them").click()
    expect(page.locator(".compare h2")).to_have_text("pasted:0")
    assert page.locator(".samples .item").count() == 2
    page.get_by_role("button", name="amount 5.5, change").click()
    page.get_by_role("textbox", name="amount").fill("7.25")
    page.keyboard.press("Enter")
    said(page, "amount changed to 7.25")
    expect(page.get_by_role("button", name="amount 7.25, change")).to_be_visible()
    page.get_by_role("button", name="kind ash").click()
    said(page, "kind set to ash")
    page.reload()  # the row is in the address, too
    expect(page.get_by_role("button", name="amount 7.25, change")).to_be_visible()
    page.get_by_label("Your file of rows").set_input_files(
        {"name": "three.csv", "mimeType": "text/csv", "buffer": b"amount,colour\n1,deep red\n2,deep red\n3,pale blue\n"}
    )
    expect(page.locator(".compare h2")).to_have_text("three.csv:0")
    page.get_by_role("button", name="kind oak").click()
    said(page, "kind set to oak")
    page.get_by_role("tab", name="Many").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Edit them all").click()
    written = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert [row["id"] for row in written] == ["three.csv:0", "three.csv:1", "three.csv:2"]
    assert {row["kind"] for row in written} == {"oak"}


# -- tabs and strangers -----------------------------------------------------------------------------------------------


def test_a_plain_request_opens_no_tab_and_old_tabs_rest(
    pictures: str, run_of: Callable[..., Path], server: Callable[..., Any], tab: Callable[..., Page]
) -> None:
    with server(run_of("lsvae", pictures), "--tabs", "2") as url:
        first = tab(url)
        first.get_by_role("button", name="lit 1").click()
        said(first, "lit set to 1")
        for _ in range(3):
            with urllib.request.urlopen(url) as answer:
                assert b"latent_map" not in answer.read()
        tab(url)
        expect(first.locator(".map")).to_be_visible()
        tab(url)
        expect(first.get_by_text("This tab rests")).to_be_visible()
        first.get_by_role("button", name="Go on").click()
        expect(first.get_by_role("button", name="lit 1")).to_have_attribute("aria-pressed", "true")
        for path, status in (("nothing/here", 404), ("samples/x/0.png", 404), ("%5Cevil.example", 404), ("report", 404)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(url + path)
            assert refused.value.code == status
            refused.value.close()


GARBAGE = """(listeners) => {
  const bad = [null, [], {}, "x", -1, 1e308, [null], {value: {}}, {block: 1}, {block: "z", point: ["a"], final: 1, number: "n"},
    {block: "z", point: [1e308, -1e308], final: true, number: 1}, {value: "x", final: true, number: 0}, {name: 3, text: 4}];
  const client_id = window.clientId;
  for (const [id, listener_id] of listeners)
    for (const one of bad) window.socket.emit("event", { id, client_id, listener_id, args: [JSON.stringify(one)] });
  for (const one of [null, 1, "x", {}, { client_id: 7 }, { client_id, id: "x" }, { client_id, id: 3, args: ["{"] }])
    for (const name of ["event", "handshake", "javascript_response", "ack", "log", "nothing"]) window.socket.emit(name, one);
}"""


def listeners(frames: list[str]) -> list[tuple[int, str]]:
    """The elements of a page that listen, by what its server sent: their numbers, and those of their listeners."""
    sent = [json.loads(frame.partition("[")[1] + frame.partition("[")[2]) for frame in frames if frame.startswith("42[")]
    updates = [message[1] for message in sent if message[0] == "update"]
    elements = [(int(number), element) for update in updates for number, element in update.items() if isinstance(element, dict)]
    return [(number, event["listener_id"]) for number, element in elements for event in element.get("events", ())]


def test_events_that_nobody_meant_are_no_tracebacks(
    things: str, run_of: Callable[..., Path], server: Callable[..., Any], browser: Any
) -> None:
    with server(run_of("lsvae", things, labels=("kind", "on", "size"))) as url:  # which looks for tracebacks in the end
        page, frames = browser.new_page(), []
        page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame))))
        page.goto(url)
        page.wait_for_selector(".map")
        page.wait_for_timeout(500)
        found = listeners(frames)
        assert len(found) > 25
        page.evaluate(GARBAGE, found)
        page.wait_for_timeout(1500)
        page.goto(url)
        page.get_by_role("button", name="kind elm").click()
        said(page, "kind set to elm")
        page.close()
