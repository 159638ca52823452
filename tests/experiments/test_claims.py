"""What is written about results follows from them, and stays small."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from labelspace.experiments import evidence
from labelspace.experiments.recipes import load
from labelspace.reporting.figures.base import palette

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def claims(program: Callable[[str], ModuleType]) -> ModuleType:
    return program("docs/claims.py")


def test_pages_and_verdicts_are_those_of_the_results_and_rules_of_now(claims: ModuleType) -> None:
    for path, text in claims.written().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.relative_to(DOCS)}: run python docs/claims.py"


def test_results_that_are_written_again_are_the_same() -> None:
    for home in (DOCS / "evidence" / name for name in ("csvae-faces", "pastrana-mnist")):
        texts, verdicts = evidence.rewritten(home)
        assert verdicts
        assert texts["results.json"] == (home / "results.json").read_text(encoding="utf-8")


def test_results_whose_runs_are_elsewhere_are_drawn_as_far_as_figures_go() -> None:
    """``--known`` brings figures without models; whatever needs a model is left out."""
    drawn = {}
    for home in sorted(file.parent for file in (DOCS / "evidence").glob("*/results.json")):
        about, results = evidence.read(home / "results.json")
        recipe = load(home.name)
        if about["recipe_version"] == recipe.version:
            drawn[home.name] = list(recipe.draw([r for r in results if not r.failed], about["scale"]))
    assert drawn["csvae-faces"] == []
    assert drawn["everywhere"] == ["map.png"]


def test_evidence_is_small_and_its_pictures_have_a_palette() -> None:
    files = [file for file in (DOCS / "evidence").rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 6_000_000
    for file in files:
        if file.suffix == ".png" and file.stat().st_size > 150_000:
            with Image.open(file) as image:
                assert image.mode == "P", file.name


def test_a_palette_keeps_the_picture() -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (12, 3), dtype=np.uint8)
    pixels = colours[rng.integers(0, 12, (40, 50))]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    made = palette(buffer.getvalue(), 128)
    assert made == palette(buffer.getvalue(), 128)
    with Image.open(io.BytesIO(made)) as image:
        assert image.mode == "P"
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - pixels).max() <= 4
