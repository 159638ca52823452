"""What a report says first, from numbers that are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labelspace.evaluation.diagnosis import diagnose
from labelspace.reporting import comparison, words
from labelspace.reporting.runs import Subject


def subject(found: dict[str, Any], metrics: list[dict[str, Any]] | None = None, name: str = "run") -> Subject:
    config = {"model": {"name": "lsvae"}, "data": {"address": "faces"}, "training": {"epochs": 2}}
    return Subject(name, Path("runs") / name, config, metrics or [], evaluation=found)


def score(value: float, **more: Any) -> dict[str, Any]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01, **more}


def measured(
    rates: dict[str, float], judge: dict[str, float], flipped: dict[tuple[str, str], float], free: dict[str, float]
) -> Any:
    def reader(value: float) -> dict[str, Any]:
        scores = {"balanced_accuracy": value, "auc": value, "nats": 0.1, "nats_floor": 0.0}
        return {of: {what: score(size) for what, size in scores.items()} for of in ("draws", "means")}

    return {
        "samples": 100,
        "split": "test",
        "data": "faces",
        "judge": {name: score(value) for name, value in judge.items()},
        "manipulation": {
            "labels": {name: {"judge": score(rate), "doing_nothing": score(0.0)} for name, rate in rates.items()},
            "side_effects": {
                a: {b: {"flipped": score(flipped.get((a, b), 0.0)), "absolute": score(0.0)} for b in rates} for a in rates
            },
        },
        "leakage": {name: {"chance": 0.5, "free": reader(value)} for name, value in free.items()},
        "likelihood": {"reconstruction_error": score(0.1, variance=2.0)},
    }


FOUND = measured(
    {"Glasses": 0.99, "Beard": 0.97, "Smiling": 0.92, "Hat": 0.4, "Bald": 0.99},
    {"Glasses": 0.99, "Beard": 0.99, "Smiling": 0.98, "Hat": 0.97, "Bald": 0.7},
    {("Glasses", "Hat"): 0.12, ("Beard", "Bald"): 0.3},
    {"Glasses": 0.52, "Beard": 0.9},
)


def test_a_verdict_says_what_can_be_set_what_moves_and_what_leaks():
    assert words.verdict(subject(FOUND)) == [
        "Glasses and Beard can be set.",
        "Setting works for Smiling in 92% and Hat only in 40% of samples.",
        "Of Bald it cannot be said: the judge itself is not sure of real samples.",
        "Hat moves with Glasses in 12%.",
        "The free code still tells Beard (90%, chance 50%).",
        "Reconstructions have 95% of what varies in the data.",
    ]


def test_a_verdict_of_what_is_not_measured_says_so():
    assert words.verdict(subject({})) == ["Nothing is measured of this run."]
    assert "not measured yet" in words.verdict(subject({"prediction": {"a": {}}}))[0]


def test_of_a_diverged_run_nothing_else_is_said():
    rows = [{"epoch": 1, "best": True, "val": {"kl_z": 1.0}}, {"epoch": 2, "val": {"kl_z": float("nan")}}]
    diverged = subject(FOUND, rows)
    assert diagnose(FOUND)
    assert diverged.findings() == []
    (said,) = words.verdict(diverged)
    assert "diverged" in diverged.state
    assert "epoch 1 were kept" in said


def test_a_remedy_is_said_once():
    ignored = measured({"A": 0.1, "B": 0.2, "C": 0.3}, {}, {}, {})
    shown = "".join(map(str, words.diagnosis(subject(ignored))))
    assert shown.count("What to try") == 1
    assert all(f"Label ignored, {name}." in shown for name in "ABC")


@pytest.mark.parametrize(("names", "said"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")])
def test_lists_in_sentences(names: list[str], said: str):
    assert words.listed(names) == said


def test_a_comparison_begins_with_what_differs_beyond_intervals():
    other = measured({"Glasses": 0.8, "Beard": 0.971, "Smiling": 0.92, "Hat": 0.4, "Bald": 0.99}, {}, {}, {"Beard": 0.9})
    one, two = subject(FOUND, name="one"), subject(other, name="two")
    first, shown = comparison._differences(comparison._measured([one, two]), ["one", "two"])
    assert "some of their intervals do not overlap" in str(first)
    assert "Glasses: " in str(shown)
    assert "99.0% [98.0%, 100.0%]" in str(shown)
    assert "Smiling: " not in str(shown), "it is the same in both"
    (same,) = comparison._differences(comparison._measured([one, subject(FOUND, name="three")]), ["one", "three"])
    assert "Nothing: the intervals of all" in str(same)
