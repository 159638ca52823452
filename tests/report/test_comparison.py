"""Several runs side by side."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import labelspace as ls
from labelspace.reporting import comparison, runs

pytestmark = pytest.mark.usefixtures("hasty")


def test_two_runs_with_differing_settings(trained, parse, wicked: str) -> None:
    homes = [trained("condvae", "image"), trained("mvae", "image", (wicked, "size"), learning_rate=5e-4, epochs=3)]
    # Equal archives in two places: a comparison goes by the address, and does not claim that they are the same samples.
    subjects = [runs.read(home) for home in homes]
    text, sections = comparison.write(subjects)
    found = parse(text)
    assert sections[:5] == ["differences", "runs", "settings", "curves", "same-samples"], "two addresses"
    assert "training.learning_rate" in found.text
    assert "0.0005" in found.text
    assert "The runs are of different samples" in found.text
    assert "settings are the same" in found.text
    assert wicked in found.text
    assert "<script" not in text


def test_runs_of_the_same_data_are_shown_on_the_same_samples(trained, parse, wicked: str, tmp_path: Path) -> None:
    first = trained("condvae", "image")
    second = _sibling(first, "vae", tmp_path)
    subjects = [runs.read(first), runs.read(second)]
    text, sections = comparison.write(subjects)
    found = parse(text)
    assert sections == [
        "differences", "runs", "settings", "curves", "reconstructions", "edits", "maps", "samples", "diagnosis", "measurements",
    ]  # fmt: skip
    assert "different samples" not in found.text
    assert "model.name" in found.text
    alts = [image["alt"] or "" for image in found.all("img")]
    assert any("a row for each of" in alt and "vae" in alt and first.name in alt for alt in alts)
    assert "group set to red" in found.titles
    assert any(title.startswith("size set to") for title in found.titles), "labels that only one run has are shown too"
    heads = [t for t in found.texts if t in (first.name, "vae")]
    assert len(heads) >= 2 * 5, "tables have a column for each run"


def _sibling(run: Path, name: str, home: Path) -> Path:
    """Another model on the same samples, with fewer labels."""
    data = ls.open_run(run)[1]
    data = data.select(data.schema.names[:2])
    ls.fit(ls.build(name, data, latent=2, likelihood="gaussian"), data, out=home / name, epochs=1, batch_size=64)
    return home / name


def test_runs_without_a_model_are_compared_as_far_as_they_go(trained, parse, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(trained("vae", "image"), tmp_path / "bare"))
    (bare / "model.safetensors").unlink()
    empty = Path(shutil.copytree(bare, tmp_path / "empty"))
    (empty / "metrics.jsonl").unlink()
    found = parse(comparison.write([runs.read(bare), runs.read(empty)])[0])
    assert "Nothing can be shown of bare, empty" in found.text
    assert "Nothing is measured of these runs." in found.text
    assert "All settings are the same." in found.text


@pytest.mark.parametrize(("paths", "names"), [(("a/x", "b/x"), ["a/x", "b/x"]), (("a/x", "a/y"), ["x", "y"])])
def test_runs_of_one_name_get_longer_ones(paths: tuple[str, ...], names: list[str], tmp_path: Path) -> None:
    subjects = [runs.Subject(Path(path).name, tmp_path / path, {}, []) for path in paths]
    runs.distinct(subjects)
    assert [subject.name for subject in subjects] == names
