"""The page of a run, for every model and every kind of data, and for runs that are not whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from labelspace.data.sources import shown_address
from labelspace.evaluation import kept, whole
from labelspace.models import MODELS
from labelspace.reporting import figures, page, runs
from labelspace.storage import files

pytestmark = pytest.mark.usefixtures("hasty")

SECTIONS = [
    "verdict",
    "reconstructions",
    "edits",
    "samples",
    "diagnosis",
    "leakage",
    "side-effects",
    "labels",
    "maps",
    "curves",
]
# Models meet images and vectors in turn; tables are vectors with a likelihood of their own, for which one model is enough.
KINDS = [(name, ("image", "vector")[i % 2]) for i, name in enumerate(MODELS)] + [("vae", "table")]
DRAWN = [*KINDS[:2], KINDS[-1]]  # a page of each kind of data; figures of the other models have the same forms


@pytest.fixture
def copied(trained: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """A run that may be changed."""
    return lambda name, kind, *more, **options: Path(
        shutil.copytree(trained(name, kind, *more, **options), tmp_path / f"{name}-{kind}")
    )


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and put on the page, but not drawn, which takes most of its time."""
    monkeypatch.setattr(figures, "render", lambda figure, kind, **_: b'<svg width="300pt" height="200pt"></svg>')


@pytest.mark.parametrize(("name", "kind"), [given for given in KINDS if given not in DRAWN])
@pytest.mark.usefixtures("undrawn")
def test_every_model_has_a_page(name: str, kind: str, trained, parse, wicked: str) -> None:
    has_a_page(trained(name, kind), kind, parse, wicked)


@pytest.mark.parametrize(
    ("name", "kind"), [pytest.param(*given, marks=[] if given in DRAWN else pytest.mark.slow) for given in KINDS]
)
def test_the_figures_of_every_page_are_drawn(name: str, kind: str, trained, parse, wicked: str) -> None:
    has_a_page(trained(name, kind), kind, parse, wicked)


def has_a_page(home: Path, kind: str, parse, wicked: str) -> None:
    subject = runs.read(home)
    text, sections = page.write(subject)
    found = parse(text)
    assert [part for part in sections if part in SECTIONS] == SECTIONS
    assert {element["id"] for element in found.all("section") if element.get("id") in SECTIONS} == {*SECTIONS}
    assert found.titles[0] == f"Report of {home.name}"
    assert wicked in found.text
    assert "<script" not in text
    assert str(home.parent) not in text
    assert "labelspace evaluate" in found.text, "how to get what is not measured is said"
    assert subject.model is not None
    for label in subject.model.schema.names:
        assert label in found.titles
    blockless = [label for label in subject.model.schema.names if label not in {b.label for b in subject.model.blocks}]
    assert found.text.count("has no latent block for") == len(blockless)
    assert found.titles.count("Transfer") == len(subject.model.schema) - len(blockless)
    assert f"npz:{kind}.npz" in found.text
    pictures = 3 + 2 * len(subject.model.schema)
    assert len(found.all("img")) >= pictures
    assert "What probes read from the codes" not in found.titles, "it has a section of its own"
    assert "Blocks" in found.titles


def test_the_same_run_has_the_same_page(trained) -> None:
    home = trained("vae", "image")
    before = torch.get_rng_state()
    first = page.write(runs.read(home))[0]
    assert torch.equal(before, torch.get_rng_state()), "a page draws nothing from the caller's noise"
    assert page.write(runs.read(home))[0] == first


@pytest.mark.usefixtures("undrawn")
def test_numbers_of_an_evaluation_are_taken_if_they_are_of_this_model(copied, parse, wicked: str) -> None:
    home = copied("mvae", "vector", (wicked, "group"))
    subject = runs.read(home)
    assert subject.model is not None
    assert subject.data is not None
    assert subject.measured == "quick"
    found = whole.evaluate(subject.model, subject.data)
    files.write_json(home / "evaluation.json", kept.marked(home, found))
    told = runs.read(home)
    assert told.measured == "all"
    assert told.evaluation["samples"] == found["samples"]
    shown = parse(page.write(told)[0])
    assert "Edits" in shown.titles
    assert "Measured by labelspace evaluate on 24 samples" in shown.text
    assert any("Matrices of what setting" in (image["alt"] or "") for image in shown.all("img"))
    files.write_json(home / "evaluation.json", {**kept.marked(home, found), "model": "0"})
    other = runs.read(home)
    assert other.measured == "quick"
    assert "of other weights" in other.absent["evaluation"]
    files.write_json(home / "evaluation.json", {**kept.marked(home, found), "format": 1})
    former = runs.read(home)
    assert former.measured == "quick"
    assert "of another version" in former.absent["evaluation"]


@pytest.mark.usefixtures("undrawn")
def test_runs_that_are_not_whole_say_so(copied, parse) -> None:
    home = copied("mvae", "vector")
    lines = (home / "metrics.jsonl").read_text().splitlines()
    (home / "metrics.jsonl").write_text(lines[0] + "\n" + lines[1][:40])
    interrupted = parse(page.write(runs.read(home))[0])
    assert "Training is not finished: 1 of 2 epochs are done." in interrupted.text
    (home / "model.safetensors").unlink()
    bare = parse(page.write(runs.read(home, note="term 'kl_z' became NaN in /home/me/runs/x/checkpoint; try less"))[0])
    assert "No model was kept" in bare.text
    assert "Term 'kl_z' became NaN in checkpoint; try less" in bare.text
    assert [title for title in bare.titles if title in ("Curves", "Terms", "Diagnosis", "Settings")]
    assert "Reconstructions and edits" in bare.titles
    (home / "metrics.jsonl").unlink()
    empty = parse(page.write(runs.read(home))[0])
    assert "No epoch was finished" in empty.text


def test_a_diverged_run_has_a_page_and_curves_with_gaps(copied, parse) -> None:
    home = copied("vae", "vector")
    rows = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    rows[-1]["val"]["reconstruction"] = rows[-1]["score"] = float("nan")
    (home / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    subject = runs.read(home)
    assert "diverged" in subject.state
    shown = parse(page.write(subject)[0]).text
    assert "Training diverged: a term became NaN or infinite in epoch 2 of 2." in shown
    assert "What follows is of no use" in shown
    assert "What to try" not in shown, "what follows from it is no alarm of its own"


@pytest.mark.usefixtures("undrawn")
def test_data_that_are_gone_are_no_reason_to_fail(copied, parse, tmp_path: Path) -> None:
    home = copied("vae", "image")
    config = yaml.safe_load((home / "config.yaml").read_text())
    config["data"]["address"] = f"npz:{tmp_path / 'gone' / 'away.npz'}"
    (home / "config.yaml").write_text(yaml.safe_dump(config))
    subject = runs.read(home)
    text = page.write(subject)[0]
    assert "The data cannot be opened any more: no such file: away.npz." in parse(text).text
    assert str(tmp_path) not in text


@pytest.mark.usefixtures("undrawn")
def test_data_that_have_changed_are_not_shown(copied, parse, trained, tmp_path: Path) -> None:
    home = copied("vae", "vector")
    archive = np.load(trained("vae", "vector").parent / "vector.npz")
    np.savez(tmp_path / "wide.npz", **{**archive, "x": np.tile(archive["x"], 2)})
    config = yaml.safe_load((home / "config.yaml").read_text())
    config["data"]["address"] = f"npz:{tmp_path / 'wide.npz'}"
    (home / "config.yaml").write_text(yaml.safe_dump(config))
    assert "The data have changed since" in parse(page.write(runs.read(home))[0]).text


def test_data_without_labels_have_a_page(trained, parse) -> None:
    found = parse(page.write(runs.read(trained("vae", "vector", ())))[0])
    assert "The data have no labels to edit." in found.text
    assert "Labels" not in found.titles


def test_addresses_and_texts_lose_their_directories() -> None:
    assert shown_address("npz:/home/me/data/x.npz") == "npz:x.npz"
    assert shown_address("folder:/photos,size=64,channels=3") == "folder:photos,size=64,channels=3"
    assert shown_address("folder:photos/mine") == "folder:photos/mine"
    assert shown_address("faces:n=200,size=32") == "faces:n=200,size=32"
    assert shown_address("digits") == "digits"
    assert runs.shown_text("no such file: /a/b/c.npz; try 1/2 or a/b.") == "no such file: c.npz; try 1/2 or a/b"
