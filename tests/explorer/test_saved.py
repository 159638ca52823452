"""Saved pages: opened from a file, without a network, they compute what PyTorch computes."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from labelspace import interventions
from labelspace.cli import main
from labelspace.errors import UserError
from labelspace.explorer import saved
from labelspace.explorer.saved import runtime
from labelspace.explorer.session import Session
from labelspace.explorer.workbench import Workbench
from labelspace.models.networks import Network

pytest.importorskip("nicegui")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
SMALL = {"network": Network(width=8, depth=1), "latent": 4}
NEAR = 1e-3


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page from its file with the network off; what it asks for, and what goes wrong, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, offline=True, reduced_motion="reduce")
    problems: list[str] = []

    def make(file: Path) -> Any:
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        page.on("request", lambda asked: None if asked.url.startswith(("data:", "blob:")) else problems.append(asked.url))
        page.goto(file.as_uri())
        page.wait_for_selector(".map", timeout=120_000)
        problems.remove(file.as_uri())
        return page

    yield make
    context.close()
    assert problems == []


def written(run: Path, tmp_path: Path) -> Path:
    pytest.importorskip(runtime.PACKAGE, reason="onnxruntime-web is not installed: pip install ./runtime")
    out = tmp_path / "page.html"
    assert main(["export", str(run), "--to", "page", "--out", str(out)]) == 0
    assert out.stat().st_size <= saved.MOST_BYTES
    return out


def everyone(page: Any, violations: Callable[..., list[str]]) -> None:
    """The page fits all widths, and axe finds nothing in either theme."""
    for width in (1280, 820, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        cut = "[...document.querySelectorAll('.exact')].filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.value)"
        assert page.evaluate(cut) == []
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            expect(page.locator("body.body--dark")).to_have_count(int(theme == "dark"))
            assert violations(page) == [], (width, theme)


def near(page: Any, bench: Workbench) -> None:
    """Codes of the page's first samples, and what they are decoded to, are those of PyTorch."""
    session = Session(bench)
    for i in range(3):
        sample = session.of_data(bench.row(page.evaluate(f"labelspace.page.samples.items[{i}].name")))
        ask = f"""(async () => {{
          const given = labelspace.page.samples.items[{i}].values;
          const codes = await labelspace.encode(labelspace.sample({i}), Float32Array.from(given, (v) => v ?? 0),
            Uint8Array.from(given, (v) => v !== null));
          return [...Object.values(codes), await labelspace.decode(codes)].map((part) => [...part]);
        }})()"""
        *codes, x = (np.array(part, np.float32) for part in page.evaluate(ask))
        wanted = interventions.move(bench.model, sample.x, {}, sample.labels, keep_detail=False)
        for block, code in zip(bench.model.blocks, codes, strict=True):
            np.testing.assert_allclose(code, wanted.codes[block.name][0].numpy(), atol=NEAR, rtol=NEAR)
        np.testing.assert_allclose(x, wanted.x.flatten().numpy(), atol=NEAR)


def test_pictures_are_edited_without_a_server(
    pictures: str, run_of: Callable[..., Path], opened: Callable[..., Any], violations: Callable[..., list[str]], tmp_path: Path
) -> None:
    run = run_of("lsvae", pictures, **SMALL)
    page, bench = opened(written(run, tmp_path)), Workbench.open(run)
    near(page, bench)
    sample = Session(bench).of_data(bench.row(page.locator(".compare h2").inner_text()))

    def shows(wanted: torch.Tensor, key: str = "edit") -> None:
        """The picture on the page is this one."""
        source = page.locator(f".picture.{key} img").get_attribute("src")
        content = base64.b64decode(source.partition(",")[2])
        found = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.float32).transpose(2, 0, 1) / 255
        np.testing.assert_allclose(found, wanted.clamp(0, 1).numpy(), atol=NEAR + 1 / 255)

    values = {"0": 1, "1": 0}
    now = page.locator(".value.on").first.inner_text()
    page.get_by_role("button", name=f"lit {values[now]}").click()
    expect(page.locator(".live")).to_contain_text(f"lit set to {values[now]}")
    page.wait_for_function("document.querySelector('.undo:not(:disabled)')")
    shows(interventions.set(bench.model, sample.x, {"lit": values[now]}, sample.labels).x)
    page.get_by_text("Keep detail").click()
    page.wait_for_timeout(500)
    shows(interventions.set(bench.model, sample.x, {"lit": values[now]}, sample.labels, keep_detail=True).x)
    page.get_by_role("button", name="Undo").click()
    page.wait_for_timeout(500)
    shows(sample.x)
    page.get_by_text("Keep detail").click()
    handle = page.get_by_role("slider", name="Position in w.lit")
    handle.focus()
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator(".live")).to_contain_text("w.lit moved")
    point = [float(v) for v in (handle.get_attribute("data-point") or "").split(",")]
    page.wait_for_timeout(500)
    shows(interventions.move(bench.model, sample.x, {"w.lit": point}, sample.labels).x)
    page.get_by_role("button", name="Reset").click()
    page.locator(".gallery .item").nth(1).click()
    expect(page.locator(".compare h2")).to_have_text(bench.name(int(bench.gallery[1])))
    for n in (1, 2, 3):  # each sample is given a point of the value that suits it
        page.locator(".gallery .item").nth(n).click()
        expect(page.locator(".compare h2")).to_have_text(bench.name(int(bench.gallery[n])))
        sample = Session(bench).of_data(bench.row(page.locator(".compare h2").inner_text()))
        now = page.locator(".value.on").first.inner_text()
        page.get_by_role("button", name=f"lit {values[now]}").click()
        expect(page.locator(".live")).to_contain_text(f"lit set to {values[now]}")
        page.wait_for_function("document.querySelector('.undo:not(:disabled)')")
        shows(interventions.set(bench.model, sample.x, {"lit": values[now]}, sample.labels).x)
    everyone(page, violations)


def test_rows_are_edited_without_a_server(
    things: str, run_of: Callable[..., Path], opened: Callable[..., Any], violations: Callable[..., list[str]], tmp_path: Path
) -> None:
    run = run_of("lsvae", things, labels=("kind", "on", "size"), **SMALL)
    page, bench = opened(written(run, tmp_path)), Workbench.open(run)
    near(page, bench)
    session = Session(bench)
    sample = session.of_data(bench.row(page.locator(".compare h2").inner_text()))
    page.get_by_role("button", name="kind elm").click()
    expect(page.locator(".live")).to_contain_text("kind set to elm")
    done = interventions.set(bench.model, sample.x, {"kind": "elm"}, sample.labels)  # keeps detail: it is a table
    cells = page.locator(".bars .edited")
    shown = [bench.data.variables[i].format(float(v)) or "missing" for i, v in enumerate(done.x)]
    for i, wanted in enumerate(shown):
        found = cells.nth(i).inner_text()
        assert found == wanted or float(found) == pytest.approx(float(wanted), abs=2e-3)
    slider = page.get_by_role("slider", name="size", exact=True)
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".live")).to_contain_text("size set to")
    page.locator(".bars .cell").first.click()
    page.locator(".bars .own input").fill("9.5")
    page.keyboard.press("Enter")
    expect(page.locator(".compare h2")).to_contain_text("(changed)")
    expect(page.locator(".live")).to_contain_text("amount changed to 9.5")
    everyone(page, violations)


def test_a_label_without_a_block_shifts_codes_by_a_table(vectors: str, run_of: Callable[..., Path]) -> None:
    bench = Workbench.open(run_of("vae", vectors, **SMALL))
    bench.model.attributes.vectors.normal_(generator=torch.Generator().manual_seed(0))  # type: ignore[union-attr,operator]
    codes = bench.codes.rows(slice(0, 1))
    for label, old, new in (("kind", 2.0, 1.0), ("on", 1.0, 0.0), ("amount", 3.0, 4.5)):
        low, high = (0.0, 0.0) if label != "amount" else (2.0, 6.0)
        move = saved._move(bench, bench.model.schema[label], low, high)
        assert move is not None
        assert (move["block"], move["shifts"]) == ("z", True)
        wanted = bench.model.intervene(codes, label, torch.tensor([new]), torch.tensor([old]))["z"] - codes["z"]
        table = np.array(move["codes"])
        if "at" in move:
            rows = [[np.interp(v, move["at"], column) for column in table.T] for v in (new, old)]
        else:
            rows = [table[int(v)] for v in (new, old)]
        np.testing.assert_allclose(np.subtract(rows[0], rows[1]), wanted[0].numpy(), atol=1e-4)


def test_letters_hold_all_bytes() -> None:
    """As the page's script reads them."""
    content = np.random.default_rng(0).integers(0, 256, 1001).astype(np.uint8).tobytes()
    text = saved.letters(content)
    assert len(text) == 2 * -(-8 * len(content) // 13)
    assert not set(text) & set('<&"\r\n ')
    places = [saved._ALPHABET.index(letter) for letter in text]
    bits = "".join(f"{91 * high + low:013b}" for high, low in zip(places[::2], places[1::2], strict=True))
    assert bytes(int(bits[i : i + 8], 2) for i in range(0, 8 * len(content), 8)) == content


def test_rounding_comes_before_what_is_left_out() -> None:
    made = saved.Networks({"encoder": b"ee", "classifier": b"cc"}, {"encoder": b"e"})
    given = saved._choices(made)
    assert [sum(map(len, graphs.values())) for graphs, _ in given] == [4, 3, 1]
    assert [len(lost) for _, lost in given] == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "page"], "ends in .html"),
        (["--out", "page.html", "--runtime", "."], "expected a directory of npm install onnxruntime-web"),
    ],
)
def test_what_cannot_be_written_is_one_line(
    arguments: list[str], said: str, pictures: str, run_of, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run_of("vae", pictures)), "--to", "page", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_large_pictures_and_wide_tables_have_no_page(run_of: Callable[..., Path], tmp_path: Path) -> None:
    file = tmp_path / "large.npz"
    np.savez(file, x=np.zeros((20, 3, 96, 96), np.uint8), on=np.arange(20) % 2)
    with pytest.raises(UserError, match="up to 64 x 64"):
        saved.write(Workbench.open(run_of("vae", f"npz:{file}", **SMALL)))
