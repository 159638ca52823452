"""The comparison of models: its table, its plain classifier, and plans that cannot be."""

from __future__ import annotations

import pytest

import labelspace as ls
from labelspace.errors import UserError
from labelspace.evaluation import classifier
from labelspace.experiments import comparison
from labelspace.models.networks import Network
from labelspace.reporting.tables import markdown


def score(value: float) -> dict[str, float]:
    return {"value": value, "n": 10}


def run(model: str, seed: int, accuracy: float, hit: float) -> dict:
    return {
        "model": model,
        "seed": seed,
        "seconds": 90.0,
        "reconstruction_error": 0.01,
        "accuracy": {"a": score(accuracy)},
        "edits": {
            "a": {"judge": score(hit), "kept": {"b": score(0.9)}, "error": 0.5},
            "b": {"judge": score(1.0), "kept": {"a": score(0.8)}, "error": 0.7},
        },
    }


def test_the_table_has_a_row_a_model_with_means_and_ranges_over_seeds() -> None:
    found = {"runs": [run("m2", 0, 0.9, 0.5), run("m2", 1, 0.8, 0.7), {"model": "classifier", "seed": 0, "accuracy": {}}]}
    header, rows = comparison.table(found)
    row = dict(zip(header, rows[0], strict=True))
    assert row["predicts a"] == "85.0% (80.0% - 90.0%)"
    assert row["transfer a"] == "60.0% (50.0% - 70.0%)"
    assert row["transfer b"] == "100.0% (100.0% - 100.0%)"
    assert row["others kept, worst"] == "80.0% (80.0% - 80.0%)"
    assert row["error / doing nothing"] == "0.60 (0.60 - 0.60)"
    assert row["training minutes"] == "1.5 (1.5 - 1.5)"
    assert rows[1] == ["classifier", *["-"] * (len(header) - 1)]
    assert markdown(header, rows).count("\n") == 4


def test_a_plain_classifier_learns_from_few_labels_and_leaves_the_random_state_alone() -> None:
    import torch

    data = ls.open("digits", supervision=0.1)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    plain = classifier.train(data, Network(kind="mlp", width=64), steps=300)
    assert torch.equal(torch.get_rng_state(), before)
    assert 0.7 < comparison.accuracy(plain.predict, ls.open("digits"))["digit"]["value"] < 1


def test_plans_that_cannot_be_are_refused() -> None:
    with pytest.raises(UserError, match="unknown model 'cvea'"):
        comparison.Plan("digits", models=("cvea",))
    with pytest.raises(UserError, match="seeds must be at least 1"):
        comparison.Plan("digits", seeds=0)
    with pytest.raises(UserError, match=r"'clasification'.*classification"):
        comparison.Plan("digits", models=("m2",), assignments=("clasification=3",))
    comparison.Plan("digits", models=("classifier",), assignments=("network.width=8",))
