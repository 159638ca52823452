"""Everything measured on one model: all parts are there, or say why not, and the whole is JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import labelspace as ls
from labelspace import glossary
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.evaluation.diagnosis import diagnose
from labelspace.evaluation.whole import evaluate
from labelspace.models.base import Model
from labelspace.models.networks import Network
from labelspace.reporting.evaluation import figures, page, tables

pytestmark = pytest.mark.usefixtures("hasty_readers")

PARTS = ("judge", "prediction", "manipulation", "leakage", "blocks", "disentanglement", "likelihood", "generation")
Measured = tuple[Model, Dataset, dict[str, Any]]


def measure(address: str, name: str, epochs: int = 2, **options: Any) -> Measured:
    data = ls.open(address)
    torch.manual_seed(0)
    model = ls.build(name, data, **options)
    ls.fit(model, data, epochs=epochs)
    return model, data, evaluate(model, data)


@pytest.fixture(scope="module")
def roll() -> Measured:
    return measure("swiss-roll:n=600", "lsvae")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """A model of a binary label with holes, a number and a class of three, each on its own axis of x."""
    rng = np.random.default_rng(0)
    n = 2300
    on, level, kind = rng.integers(0, 2, n), rng.normal(size=n), rng.integers(0, 3, n)
    x = np.stack([on, level, kind, rng.normal(size=n)], 1) + 0.1 * rng.normal(size=(n, 4))
    file = tmp_path_factory.mktemp("three") / "three.npz"
    np.savez(file, x=x, on=np.where(rng.random(n) < 0.1, np.nan, on), level=level, kind=kind.astype(float))
    return measure(f"npz:{file}", "ccvae", likelihood="gaussian")


def everything_is_there(found: dict[str, Any]) -> None:
    assert set(PARTS) <= set(found) | set(found["not measured"])
    assert all(found["not measured"].values())
    assert not set(found) & set(found["not measured"])
    assert set(found["seconds"]) <= set(PARTS)
    json.dumps(found, allow_nan=False)


def scores(part: Any, path: str = "") -> list[tuple[str, dict[str, float]]]:
    """Every score inside a measurement, with its place."""
    if not isinstance(part, dict):
        return []
    if {"value", "low", "high", "n"} <= set(part):
        return [(path, part)]
    return [entry for name, inner in part.items() for entry in scores(inner, f"{path}/{name}")]


def test_all_parts_are_there_or_say_why_not(roll: Measured, three: Measured) -> None:
    for _, _, found in (roll, three):
        everything_is_there(found)
    assert set(roll[2]["not measured"]) == {"disentanglement"}
    assert "at least two labels" in roll[2]["not measured"]["disentanglement"]
    assert three[2]["not measured"] == {}


def names(part: Any) -> set[str]:
    """Every name inside a measurement, that of a part or of a number; a metric's parameters are its function's arguments."""
    if not isinstance(part, dict):
        return set()
    return {*part}.union(*(names(inner) for name, inner in part.items() if name != "parameters"))


def test_every_metric_and_every_column_has_a_meaning(roll: Measured, three: Measured) -> None:
    for model, data, found in (roll, three):
        given = {
            *data.schema.names,
            *(block.name for block in model.blocks),
            *(v for label in data.schema for v in label.values),
        }
        shown = names(found) - given
        for _, header, rows in tables(found):
            shown |= {*header, *(row[0] for row in rows if row[0] not in given)}
        assert sorted(name for name in shown if glossary.meaning(name) is None) == []


def test_it_says_what_was_measured(roll: Measured) -> None:
    found = roll[2]
    assert (found["data"], found["split"], found["samples"], found["seed"]) == ("swiss-roll:n=600", "test", 60, 0)


def test_every_label_is_measured_as_its_kind_asks(three: Measured) -> None:
    model, data, found = three
    assert set(found["judge"]) == {"on", "kind"}
    assert set(found["prediction"]) == {"on", "level", "kind"}
    assert "accuracy" in found["prediction"]["kind"]
    assert "r_squared" in found["prediction"]["level"]
    assert set(found["manipulation"]["labels"]) == {"on", "kind"}
    assert "spread_of_draws" in found["manipulation"]["labels"]["on"]
    assert set(found["leakage"]) == {"on", "level", "kind"}
    assert set(found["blocks"]) == {block.name for block in model.blocks}
    assert found["disentanglement"]["factors"] == ["on", "level", "kind"]
    rows = data.rows("test")
    known = int(data.observed[rows, 0].sum())
    assert known < len(rows)
    assert found["manipulation"]["labels"]["on"]["judge"]["n"] == known
    assert found["manipulation"]["labels"]["kind"]["judge"]["n"] == len(rows)


def test_chance_and_places_of_leakage(three: Measured) -> None:
    rows = three[2]["leakage"]
    assert rows["on"]["chance"] == 0.5
    assert rows["kind"]["chance"] == pytest.approx(1 / 3)
    assert "chance" not in rows["level"]
    for name, row in rows.items():
        assert "own" in row
        assert {f"other.{other}" for other in rows if other != name} <= set(row)


def test_intervals_hold_their_values(roll: Measured, three: Measured) -> None:
    for _, _, found in (roll, three):
        listed = scores(found)
        assert len(listed) > 15
        for place, score in listed:
            assert score["low"] <= score["value"] + 1e-9, place
            assert score["value"] <= score["high"] + 1e-9, place


def test_no_accuracy_is_above_one(roll: Measured, three: Measured) -> None:
    for _, _, found in (roll, three):
        for name, score in found["judge"].items():
            assert score["high"] <= 1 + 1e-9, name


def test_the_judge_reads_easy_labels_and_says_what_no_edit_would_give(three: Measured) -> None:
    found = three[2]
    assert found["judge"]["on"]["value"] > 0.98
    assert found["manipulation"]["labels"]["on"]["doing_nothing"]["value"] < 0.02


def test_the_same_seed_measures_the_same(roll: Measured) -> None:
    model, data, found = roll
    again = evaluate(model, data)
    assert {**again, "seconds": 0} == {**found, "seconds": 0}
    other = evaluate(model, data, seed=1)
    assert other["generation"]["frechet"] != found["generation"]["frechet"]


def test_measuring_leaves_the_random_state_alone_and_the_model_as_it_was(roll: Measured) -> None:
    model, data, _ = roll
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    evaluate(model, data, most=40)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(t.nan_to_num(), before[n].nan_to_num()) for n, t in model.state_dict().items())


def test_other_splits_and_fewer_samples(roll: Measured) -> None:
    model, data, _ = roll
    told: list[str] = []
    found = evaluate(model, data, split="val", most=30, tell=told.append)
    assert (found["split"], found["samples"]) == ("val", 30)
    assert found["prediction"]["side"]["accuracy"]["n"] == 30
    assert told == list(PARTS)
    everything_is_there(found)


def test_too_few_samples_are_refused(roll: Measured) -> None:
    model, data, _ = roll
    with pytest.raises(UserError, match=r"19 samples in the test split.*at least 20"):
        evaluate(model, data, most=19)
    assert evaluate(model, data, most=20)["samples"] == 20
    few = replace(data, splits={**data.splits, "test": data.rows("test")[:5]})
    with pytest.raises(UserError, match="5 samples in the test split"):
        evaluate(model, few)


def test_a_model_that_does_not_predict_says_so() -> None:
    _, _, found = measure("swiss-roll:n=600", "vae", likelihood="gaussian")
    everything_is_there(found)
    assert "does not predict labels" in found["not measured"]["prediction"]
    assert "own" not in found["leakage"]["side"]
    assert found["likelihood"]["log_likelihood"]["draws"] == 20
    assert "as_asked" not in found["generation"]["labels"]["side"]


def test_a_model_without_a_density_says_so() -> None:
    _, _, found = measure("swiss-roll:n=600", "lr-livae", likelihood="gaussian")
    everything_is_there(found)
    assert "log_likelihood" not in found["likelihood"]
    assert "deterministically" in found["not measured"]["log-likelihood"]


def test_images_of_digits() -> None:
    model, data, found = measure("digits", "condvae", network=Network(kind="mlp", width=16))
    everything_is_there(found)
    assert found["leakage"]["digit"]["chance"] == pytest.approx(0.1)
    assert found["manipulation"]["labels"]["digit"]["judge"]["n"] == 180
    drawn = figures(model, data, found, data.rows("test"))
    assert set(drawn) == {"side-effects.png", "edits.png"}
    assert len(drawn["edits.png"].axes[0].get_images()) == 20, "ten originals and ten edits"


def write(home: Path, **labels: Any) -> str:
    """600 samples in splits of 400, 100 and 100, the labels on their axes."""
    rng = np.random.default_rng(0)
    split = np.array(["train"] * 400 + ["val"] * 100 + ["test"] * 100)
    x = np.stack([*(np.nan_to_num(values) for values in labels.values()), rng.normal(size=600)], 1)
    np.savez(home / "data.npz", x=x + 0.1 * rng.normal(size=x.shape), split=split, **labels)
    return f"npz:{home / 'data.npz'}"


def test_numbers_only(tmp_path: Path) -> None:
    _, _, found = measure(write(tmp_path, level=np.random.default_rng(1).normal(size=600)), "condvae", likelihood="gaussian")
    everything_is_there(found)
    assert found["judge"] == {}
    assert "no discrete label" in found["not measured"]["manipulation"]


def test_no_labels_at_all(tmp_path: Path) -> None:
    _, _, found = measure(write(tmp_path), "vae", likelihood="gaussian")
    assert "no labels for a judge" in found["not measured"]["judge"]
    everything_is_there(found)


def test_a_label_that_no_sample_of_the_split_has(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    on = rng.integers(0, 2, 600).astype(float)
    on[500:] = np.nan
    _, _, found = measure(write(tmp_path, on=on, kind=rng.integers(0, 3, 600).astype(float)), "condvae", likelihood="gaussian")
    everything_is_there(found)
    assert "kind" in found["prediction"]


def test_a_class_that_the_split_does_not_have(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    kind = rng.integers(0, 3, 600).astype(float)
    kind[500:] = rng.integers(0, 2, 100)
    on = rng.integers(0, 2, 600).astype(float)
    on[500:] = 1
    model, data, found = measure(write(tmp_path, on=on, kind=kind), "condvae", likelihood="gaussian")
    everything_is_there(found)
    assert found["leakage"]["kind"]["chance"] == 0.5
    assert "on" not in found["leakage"]
    page(found, diagnose(found), "run", [])
    figures(model, data, found, data.rows("test"))


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_page_has_every_table_the_diagnosis_and_what_is_missing(roll: Measured, three: Measured) -> None:
    for model, data, found in (roll, three):
        findings = diagnose(found)
        listed = tables(found)
        for title, header, rows in listed:
            assert rows, title
            assert all(len(row) == len(header) for row in rows), title
            assert all(isinstance(cell, str) and "nan" not in cell for row in rows for cell in row), title
        text = page(found, findings, "my-run", ["edits.png"])
        assert text.startswith("# my-run\n")
        assert f"{found['samples']:,} samples of the test split" in text
        for title, _, _ in listed:
            assert f"## {title}" in text
        for finding in findings:
            assert finding.what in text
            assert finding.remedy in text
        assert ("## Not measured" in text) == bool(found["not measured"])
        assert "![edits.png](figures/edits.png)" in text
        assert set(figures(model, data, found, data.rows("test"))) == {"side-effects.png"}
    assert [title for title, _, _ in tables(three[2])][:4] == [
        "Edits",
        "What probes read from the codes",
        "Blocks",
        "Predictions",
    ]


def test_a_page_without_alarm_says_so(roll: Measured) -> None:
    assert "No alarm." in page(roll[2], [], "run", [])


def test_the_page_says_why_there_is_no_log_likelihood(roll: Measured) -> None:
    found = {**roll[2], "not measured": {"log-likelihood": "there is no density of x"}}
    assert "there is no density of x" in page(found, [], "run", [])
