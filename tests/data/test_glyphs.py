"""Letters of a variable font whose outlines are known exactly."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import labelspace
from labelspace.data.dataset import Dataset
from labelspace.data.synthetic.glyphs import Typeface, axes_of, characters_of, draw, glyphs, read
from labelspace.data.truth import FactorGrid
from labelspace.metrics.morphology import measure

SIZE = 64


@pytest.fixture(scope="module")
def font(fonts: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(fonts.variable_font(tmp_path_factory.mktemp("fonts") / "test.ttf"))


@pytest.fixture(scope="module")
def grid(font: str) -> FactorGrid:
    return glyphs(font, characters="ILT", axes=axes_of(font, ""), size=SIZE)


@pytest.fixture(scope="module")
def data(font: str) -> Dataset:
    return labelspace.open(f"glyphs:{font},characters=ILT,n=60,size=32")


def refused(address: str, *parts: str) -> None:
    with pytest.raises(labelspace.UserError) as caught:
        labelspace.open(address)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def picture(grid: FactorGrid, character: str, weight: int = 100, width: int = 50, slant: int = 0) -> np.ndarray:
    codes = ["ILT".index(character), weight - 100, width - 50, slant + 10]
    return draw(np.array([codes], np.uint16), **grid.arguments)[0, 0].astype(float) / 255


def unit(grid: FactorGrid, fonts: ModuleType) -> float:
    """Pixels of a unit of the em, from the height of an upright stem."""
    return picture(grid, "I").sum(0).max() / fonts.HEIGHT


# -- the pictures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [100, 300, 500, 900])
def test_a_stem_is_as_thick_as_the_font_says(grid: FactorGrid, fonts: ModuleType, weight: int):
    stem = fonts.STEM + (weight - 100) / 800 * (fonts.BOLD - fonts.STEM)
    drawn = picture(grid, "I", weight)
    pixels = unit(grid, fonts)
    assert drawn.sum(1).max() / pixels == pytest.approx(stem, abs=0.5 / pixels)
    if weight <= 500:  # the library's own reading; the skeleton of a short bold stem has forks at its ends
        assert measure(drawn[None])["thickness"][0] / pixels == pytest.approx(stem, rel=0.15)


@pytest.mark.parametrize("width", [50, 80, 150])
@pytest.mark.parametrize("character", ["L", "T"])
def test_a_bar_is_as_long_as_the_font_says(grid: FactorGrid, fonts: ModuleType, width: int, character: str):
    span = fonts.SPAN + (width - 50) / 100 * (fonts.WIDE - fonts.SPAN)
    pixels = unit(grid, fonts)
    assert picture(grid, character, width=width).sum(1).max() / pixels == pytest.approx(span, abs=0.6 / pixels)


@pytest.mark.parametrize("slant", [-10, -7, -3, 0])
def test_letters_lean_as_the_font_says(grid: FactorGrid, fonts: ModuleType, slant: int):
    lean = math.atan(-slant / 10 * math.tan(fonts.LEAN))
    assert measure(picture(grid, "I", slant=slant)[None])["slant"][0] == pytest.approx(lean, abs=0.02)


def test_all_letters_have_one_size_and_one_baseline(grid: FactorGrid):
    rows = [
        np.flatnonzero(picture(grid, c, w, d, s).max(1) > 0.5) for c in "ILT" for w, d, s in ((100, 50, 0), (900, 150, -10))
    ]
    assert len({(r[0], r[-1]) for r in rows}) == 1


@pytest.mark.parametrize("size", [32, 64])
def test_no_letter_is_cut_off_at_any_corner_of_the_axes(font: str, size: int):
    found = glyphs(font, characters="ILT", axes=axes_of(font, "weight+width+slant+optical_size"), size=size)
    corners = [(0, len(options) - 1) for options in found.factors.values()][1:]
    codes = np.array([[c, *ends] for c in range(3) for ends in np.stack(np.meshgrid(*corners), -1).reshape(-1, 4)], np.uint16)
    failures: list[tuple[int, str]] = []
    pictures = draw(codes, **found.arguments, failures=failures)[:, 0]
    assert failures == []
    edge = np.ones((size, size), bool)
    edge[1:-1, 1:-1] = False
    assert (pictures[:, edge] < 128).all()
    across = np.flatnonzero(pictures.max((0, 1)) > 127)
    down = np.flatnonzero(pictures.max((0, 2)) > 127)
    assert max(np.ptp(across), np.ptp(down)) > 0.8 * size  # nor are they smaller than they must be


def test_narrower_limits_give_larger_letters(font: str):
    heights = []
    for axes in ("width", "width:50:60"):
        found = glyphs(font, characters="LT", axes=axes_of(font, axes), size=SIZE)
        drawn = draw(np.zeros((1, 2), np.uint16), **found.arguments)[0, 0]
        heights.append((drawn.max(1) > 127).sum())
    assert heights[1] > heights[0]


def test_drawing_is_deterministic_and_rows_are_independent(grid: FactorGrid):
    codes = grid.sample(30, np.random.default_rng(0))
    once = draw(codes, **grid.arguments)
    np.testing.assert_array_equal(once, draw(codes, **grid.arguments))
    np.testing.assert_array_equal(draw(codes[7:8], **grid.arguments)[0], once[7])


# -- labels and truth ----------------------------------------------------------------------------------------------------------


def test_labels_are_the_axes_in_the_fonts_own_units(data: Dataset):
    assert data.schema.names == ("character", "weight", "width", "slant")
    assert data.factors is not None
    np.testing.assert_array_equal(data.values, data.factors + np.array([0, 100, 50, -10]))
    assert data.observed.all()
    assert data.schema["character"].classes == ("I", "L", "T")
    assert (data.schema["weight"].mean, data.schema["slant"].mean) == (500, -5)


def test_values_are_drawn_evenly(grid: FactorGrid):
    codes = grid.sample(20_000, np.random.default_rng(3))
    for column, options in enumerate(grid.factors.values()):
        counts = np.bincount(codes[:, column], minlength=len(options))
        assert len(counts) == len(options)
        assert counts.min() > 0
        assert abs(codes[:, column].mean() / (len(options) - 1) - 0.5) < 0.01
    assert np.abs(np.corrcoef(codes.T) - np.eye(4)).max() < 0.03


def test_data_follow_the_seed(data: Dataset):
    again = labelspace.open(data.address)
    np.testing.assert_array_equal(again.x, data.x)
    assert again.notes == ()  # nothing was drawn
    assert data.truth is not None
    for seed, equal in ((0, True), (1, False)):
        assert np.array_equal(data.truth.sample(60, np.random.default_rng(seed)), data.factors) == equal  # type: ignore[arg-type]


@settings(max_examples=30)
@given(st.integers(0, 59), st.sampled_from(["character", "weight", "width", "slant"]))
def test_the_counterfactual_of_an_own_value_is_the_sample_itself(data: Dataset, row: int, name: str):
    assert isinstance(data.truth, FactorGrid)
    assert data.factors is not None
    own = data.values[row, data.schema.index(name)]
    changed = data.truth.changed(data.factors[[row]], name, own)
    np.testing.assert_array_equal(draw(changed[0], **data.truth.arguments)[0], data.x[row])


def test_counterfactuals_change_one_axis_and_keep_the_rest(data: Dataset):
    assert isinstance(data.truth, FactorGrid)
    assert data.factors is not None
    rows = np.arange(10)
    x, styles = data.counterfactuals("weight", 650, rows)
    assert styles == ("650",)
    expected = data.factors[rows].copy()
    expected[:, 1] = 550
    assert torch.equal(x[:, 0] * 255, torch.from_numpy(draw(expected, **data.truth.arguments)).float())
    assert data.truth.changed(data.factors[:1], "width", 99.6)[0, 0, 2] == 50
    assert (data.style("weight", rows) == 0).all()
    for value in (99, 901):
        with pytest.raises(labelspace.UserError, match="weight goes from 100 to 900"):
            data.counterfactuals("weight", value, rows)


def test_one_letter_alone_has_no_label_character(font: str):
    found = glyphs(font, characters="T", axes=axes_of(font, "weight:200:300"), size=16)
    assert found.schema.names == ("weight",)
    values, _ = found.labels(found.sample(300, np.random.default_rng(0)))
    assert (values.min(), values.max()) == (200, 300)


# -- what users write ----------------------------------------------------------------------------------------------------------


def test_ranges_of_characters():
    assert characters_of("A-Z0-9") == "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    assert characters_of("HAMBURGEFONTS") == "HAMBURGEFONTS"
    assert characters_of("ABBA") == "AB"
    assert characters_of("-A") == "-A"
    assert characters_of("A-") == "A-"
    assert characters_of("Z-A") == "Z-A"
    for text, part in (("", "empty"), ("\u0100-\uffff", "more than 500"), ("A B", "' '"), ("A\n", "'\\n'")):
        with pytest.raises(labelspace.UserError) as caught:
            characters_of(text)
        assert part in str(caught.value)


@settings(max_examples=200)
@given(st.text(max_size=8))
def test_any_text_of_characters_is_taken_or_refused(text: str):
    with suppress(labelspace.UserError):
        found = characters_of(text)
        assert len(set(found)) == len(found) > 0


def test_axes_by_name_tag_and_limits(font: str):
    assert axes_of(font, "") == [("weight", 100, 900), ("width", 50, 150), ("slant", -10, 0)]
    assert axes_of(font, "wght:300:700+optical_size") == [("weight", 300, 700), ("optical_size", 8, 72)]
    assert read(font)[1]["optical_size"] == (8, 12, 72)


@settings(max_examples=150)
@given(text=st.text(alphabet="weight+:0123-w.", max_size=20))
def test_any_text_of_axes_is_taken_or_refused(font: str, text: str):
    with suppress(labelspace.UserError):
        assert Typeface(font, "I", axes_of(font, text), 16).axes


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ("n=3", ("n >= 10",)),
        ("size=4", ("8 to 256",)),
        ("characters=IX", ("no glyph for 'X'",)),
        ("axes=wieght", ("did you mean 'weight'",)),
        ("axes=weight:5:10", ("weight goes from 100 to 900",)),
        ("axes=weight:700:300", ("not a range",)),
        ("axes=weight:a:b", ("whole numbers",)),
        ("axes=weight:300", ("LOW:HIGH",)),
        ("axes=weight+wght", ("twice",)),
        ("axes=slant:-10:-10", ("not a range",)),
        ("steps=3", ("'steps'",)),
    ],
)
def test_wrong_options_are_refused(font: str, options: str, parts: tuple[str, ...]):
    address = f"glyphs:{font},{options}"
    refused(address if "characters" in options else f"{address},characters=IL", *parts)


def test_wrong_files_are_refused(tmp_path: Path, fonts: ModuleType):
    refused("glyphs", "needs a path", "npm install")
    refused(f"glyphs:{tmp_path}/none.ttf", "no such file")
    refused(f"glyphs:{tmp_path}", "no file but a directory")
    (tmp_path / "text.ttf").write_text("not a font")
    refused(f"glyphs:{tmp_path}/text.ttf", "cannot be read as a font", "text.ttf")
    (tmp_path / "empty.ttf").write_bytes(b"")
    refused(f"glyphs:{tmp_path}/empty.ttf", "cannot be read as a font")
    still = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    refused(f"glyphs:{still}", "without axes", "DejaVuSans.ttf")
    others = fonts.variable_font(tmp_path / "others.ttf", [("XTRA", 0, 50, 100, "Parametric Counter")])
    refused(f"glyphs:{others},characters=IL", "neither weight nor width nor slant", "parametric_counter")
    assert axes_of(str(others), "parametric_counter") == [("parametric_counter", 0, 100)]


@settings(max_examples=25)
@given(cut=st.floats(0.01, 0.99), noise=st.integers(0, 255))
def test_a_damaged_font_is_drawn_or_refused(font: str, tmp_path_factory: pytest.TempPathFactory, cut: float, noise: int):
    content = bytearray(Path(font).read_bytes())
    place = int(cut * len(content))
    content[place] ^= noise
    file = tmp_path_factory.mktemp("damaged") / "font.ttf"
    for damaged in (bytes(content), bytes(content[:place])):
        file.write_bytes(damaged)
        with suppress(labelspace.UserError):
            Typeface(str(file), "IL", axes_of(str(file), ""), 16)


def test_a_font_that_has_changed_is_refused(tmp_path: Path, fonts: ModuleType):
    file = str(fonts.variable_font(tmp_path / "font.ttf", [("wght", 100, 100, 900, "Weight")]))
    first = glyphs(file, characters="IL", axes=axes_of(file, ""), size=16)
    fonts.variable_font(Path(file), [("wght", 100, 100, 500, "Weight")])
    with pytest.raises(labelspace.UserError, match="has changed"):
        draw(np.zeros((1, 2), np.uint16), **first.arguments)
    second = glyphs(file, characters="IL", axes=axes_of(file, ""), size=16)
    assert second.arguments["digest"] != first.arguments["digest"]  # and with it the key of the store
    assert draw(np.zeros((1, 2), np.uint16), **second.arguments).any()
