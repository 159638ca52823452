"""Every term that is shown has its meaning in one line, and nothing has one that is shown nowhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import labelspace as ls
from labelspace import config, glossary, terminal
from labelspace.cli import main
from labelspace.commands import demo
from labelspace.commands.explain import page
from labelspace.data.batches import Batch
from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.experiments import comparison
from labelspace.experiments.recipes import RECIPES, load
from labelspace.labels import Schema, binary, categorical
from labelspace.models import MODELS
from labelspace.models.networks import Network
from labelspace.training.options import Options
from labelspace.training.progress import describe

ROOT = Path(__file__).parent.parent
VARIANTS = [
    *((name, {}) for name in MODELS),
    ("ccvae", {"estimator": "paper"}),
    ("contrastive", {"empty": 1.0, "independence": 1.0}),
]


def without_meaning(names: Any) -> list[str]:
    return sorted(name for name in names if glossary.meaning(name) is None)


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
def test_every_term_and_weight_of_every_model_has_a_meaning(name: str, arguments: dict[str, Any]) -> None:
    rng, n = np.random.default_rng(0), 40
    schema = Schema([binary("a"), categorical("k", ("x", "y", "z")), binary("b")])
    values = np.stack([np.arange(n) % 2, np.arange(n) % 3, np.arange(n) // 2 % 2], 1).astype(np.float32)
    x = rng.normal(size=(n, 5)).astype(np.float32)
    data = Dataset("made", x, values, np.ones(values.shape, bool), schema, random_splits(n, 0))
    torch.manual_seed(0)
    network = Network(width=8, depth=1)
    model = ls.build(name, data, latent=3, network=network, likelihood="gaussian", **arguments).train()
    rows = np.arange(8)
    losses = model.losses(Batch(data.samples(rows), *data.labels(rows)), torch.Generator().manual_seed(0))
    for player in model.players():
        losses.objective(player)
    for term in (*losses.terms, *losses.weights, *model.term_names()):
        assert glossary.find(term)[0].group == glossary.TERMS, term
    for term, entries in model.term_names().items():
        assert glossary.find(f"{term}.{entries[0]}") == glossary.find(term)


@pytest.mark.parametrize("name", MODELS)
def test_every_setting_has_the_meaning_that_its_docstring_says(name: str) -> None:
    options = set(glossary.documented(Options))
    assert options == set(vars(Options()))
    for key in config.settings(name):
        assert glossary.setting(f"training.{key}" if key in options else f"model.{key}", name), key
    assert glossary.setting("model.beta", "mvae") != glossary.setting("model.beta", "vae")
    assert glossary.setting("model.no_such", name) is None


def test_every_column_of_every_command_has_a_meaning(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    shown: set[str] = set()
    monkeypatch.setattr(terminal, "table", lambda header, rows, title=None: shown.update(header))
    monkeypatch.chdir(tmp_path)
    for arguments in (["data", "list"], ["data", "inspect", "digits"], ["data", "inspect", "moons:n=90"], ["reproduce"]):
        assert main(arguments) == 0
    score = {"value": 0.5, "n": 2}
    demo.show({"labels": {}, "leakage": {}, "samples": 0, "judge_accuracy": {}, "donor_transfer": score})
    run = {"model": "vae", "seed": 0, "accuracy": {"a": score}, "edits": {"a": {"judge": score, "kept": {}}}}
    shown |= set(comparison.table({"runs": [run]})[0])
    for name in RECIPES:
        shown |= {column for table in load(name).conclude([]).tables for column in table.header}
    assert without_meaning(shown) == []
    assert len(shown) > 60


def test_every_word_of_a_log_line_and_of_metrics_has_a_meaning() -> None:
    row = {"epoch": 1, "train": {}, "val": {"kl_z": 1.0, "leak": 0.1}, "weights": {}, "readers": [], "score": 1.0, "best": True,
           "seconds": 1.0, "samples_per_second": 10.0}  # fmt: skip
    assert without_meaning([*row, *re.findall(r"[a-z_/]{2,}", describe(row, 2))]) == []


def test_nothing_is_explained_that_is_shown_nowhere() -> None:
    files = [*(ROOT / "labelspace").rglob("*.py"), *(ROOT / "labelspace").rglob("*.js"), *(ROOT / "docs").glob("*.md")]
    own = {ROOT / "labelspace" / "glossary.py", ROOT / "docs" / "glossary.md"}
    said = "\n".join(re.sub(r"[\s_-]+", " ", file.read_text().lower()) for file in files if file not in own)
    # A label's name stands for the star, and of network.width the part before the dot stands in another file.
    shown = lambda name: all(part.strip() in said for part in re.split(r"[*.]", re.sub(r"[\s_-]+", " ", name.lower())))  # noqa: E731
    unused = [entry.term for entry in glossary.entries() if not any(map(shown, (entry.term, *entry.also)))]
    assert unused == []


def test_terms_are_found_by_any_of_their_names() -> None:
    (first, *_) = glossary.find("balanced accuracy")
    assert "class is predicted right" in first.meaning
    for name in ("Balanced_Accuracy", "balanced-accuracy", "balanced", " BALANCED  ACCURACY "):
        assert glossary.find(name)[0] == first
    assert [entry.group for entry in glossary.find("leak")][:2] == [glossary.TERMS, glossary.ARGUMENTS]
    assert glossary.find("training.epochs")[0].group == glossary.OPTIONS
    assert glossary.find("predicts Beard")[0].term == "accuracy"
    assert glossary.meaning("no such thing") is None
    with pytest.raises(ls.UserError, match="unknown term 'balenced'; did you mean 'balanced'"):
        glossary.find("balenced")


def test_every_meaning_is_one_line_without_markup_and_names_are_of_one_term_of_a_group() -> None:
    for entry in glossary.entries():
        assert entry.meaning
        assert not re.search(r"\n|``|:func:|\(n,", entry.meaning + entry.symbol), entry.term
        assert len(entry.meaning) < 200, entry.term
        assert (ROOT / entry.page).exists()
    named = [
        (entry.group, name)
        for entry in glossary.entries()
        if entry.group != glossary.ARGUMENTS  # models may mean different things
        for name in {re.sub(r"[\s_-]+", " ", name.lower()) for name in (entry.term, *entry.also)}
    ]
    assert sorted(name for name in set(named) if named.count(name) > 1) == []


def test_the_page_of_the_docs_is_as_the_table_says() -> None:
    assert (ROOT / "docs" / "glossary.md").read_text() == page(), "make glossary writes it anew"
