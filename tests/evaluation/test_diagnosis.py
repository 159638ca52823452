"""Alarms about trained models: each rings where it should, and none on a good model."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from labelspace.evaluation.diagnosis import Finding, diagnose


def score(value: float) -> dict[str, float]:
    return {"value": value, "low": value, "high": value, "n": 100}


def read(accuracy: float) -> dict[str, Any]:
    reader = {"balanced_accuracy": score(accuracy), "auc": score(accuracy), "nats": score(0.1), "nats_floor": score(0.0)}
    return {"draws": copy.deepcopy(reader), "means": copy.deepcopy(reader)}


def number(r2: float) -> dict[str, Any]:
    return {"draws": {"r2": score(r2)}, "means": {"r2": score(r2)}}


def good() -> dict[str, Any]:
    """The evaluation of a model with nothing to complain about: labels a (binary) and dose (continuous)."""
    return {
        "judge": {"a": score(0.99)},
        "manipulation": {"labels": {"a": {"judge": score(0.97), "doing_nothing": score(0.01)}}},
        "leakage": {
            "a": {"chance": 0.5, "entropy": 0.69, "free": read(0.55), "own": read(1.0), "other.dose": read(0.52)},
            "dose": {
                "free": number(0.01),
                "own": number(0.99),
                "other.a": number(0.0),
            },
        },
        "blocks": {
            "z": {"kl": score(9.0), "active": 8, "size": 8, "collapsed": False},
            "w.a": {"kl": None, "active": 2, "size": 2, "collapsed": False},
        },
        "likelihood": {"reconstruction_error": {**score(0.1), "variance": 1.0}},
        "generation": {},
    }


TERMS = {"reconstruction": 50.0, "kl_z": 9.0, "kl_w": 2.0, "kl_w.a": 2.0, "leak": 0.3, "adversary": 0.6, "labels": 0.2}
WEIGHTS = {"reconstruction": 1.0, "kl_z": 1.0, "kl_w": 1.0, "leak": 20.0}


def row(**changes: Any) -> dict[str, Any]:
    content = {"epoch": 1, "train": dict(TERMS), "val": dict(TERMS), "weights": dict(WEIGHTS), "score": 1.0, "best": True}
    content["readers"] = ["adversary", "labels", "discriminator"]
    return content | changes


def kinds(found: dict[str, Any], *metrics: dict[str, Any]) -> list[tuple[str, str]]:
    findings = diagnose(found, list(metrics))
    for finding in findings:
        assert finding.what
        assert finding.remedy
        assert finding.to_dict() == {k: getattr(finding, k) for k in ("kind", "where", "what", "remedy")}
    return [(f.kind, f.where) for f in findings]


def test_a_good_model_rings_nothing() -> None:
    assert kinds(good(), row()) == []
    assert kinds(good()) == []


def test_what_was_not_measured_rings_nothing() -> None:
    for part in list(good()):
        assert kinds({k: v for k, v in good().items() if k != part}, row()) == []
    assert kinds({}) == []


def test_a_label_that_edits_do_not_change() -> None:
    found = good()
    found["manipulation"]["labels"]["a"]["judge"] = score(0.3)
    (finding,) = diagnose(found)
    assert (finding.kind, finding.where) == ("label ignored", "a")
    assert "30.0%" in finding.what
    assert "1.0% without any edit" in finding.what
    assert "does not listen" in finding.what
    assert "free block tells" not in finding.what


def test_an_ignored_label_that_the_free_block_tells_says_why() -> None:
    found = good()
    found["manipulation"]["labels"]["a"]["judge"] = score(0.3)
    found["leakage"]["a"]["free"] = read(0.95)
    assert kinds(found) == [("label ignored", "a"), ("leakage", "a")]
    assert "the free block tells the label too" in diagnose(found)[0].what


def test_edits_are_asked_no_more_than_the_judge_itself_can_read() -> None:
    found = good()
    found["manipulation"]["labels"]["a"]["judge"] = score(0.7)
    assert kinds(found) == [("label ignored", "a")]
    found["judge"]["a"] = score(0.8)
    assert kinds(found) == [("weak judge", "a")]


def test_a_judge_that_cannot_be_trusted() -> None:
    found = good()
    found["judge"]["a"] = score(0.9)
    assert kinds(found) == [("weak judge", "a")]
    found["judge"]["a"] = score(0.96)
    assert kinds(found) == []


@pytest.mark.parametrize(("place", "shown"), [("free", "the free block"), ("other.dose", "the block of dose")])
def test_a_block_that_tells_what_it_should_not(place: str, shown: str) -> None:
    found = good()
    found["leakage"]["a"][place]["draws"]["balanced_accuracy"] = score(0.9)
    (finding,) = diagnose(found)
    assert (finding.kind, finding.where) == ("leakage", "a")
    assert f"draws of {shown}" in finding.what
    assert "80% of the way from chance to certainty" in finding.what


def test_what_only_means_tell_is_another_alarm_with_another_remedy() -> None:
    found = good()
    found["manipulation"]["labels"]["a"]["judge"] = score(0.3)
    found["leakage"]["a"]["free"]["means"]["balanced_accuracy"] = score(0.9)
    ignored, leak = diagnose(found)
    assert "the decoder does not listen" in ignored.what, "the decoder gets draws, and these do not tell"
    assert leak.kind == "leakage"
    assert "80% of the way (from draws 10%)" in leak.what
    assert "embed --draw" in leak.remedy


def test_labels_that_go_together_may_be_read_off_each_others_blocks_as_far() -> None:
    found = good()
    found["leakage"]["a"]["other.dose"] = read(0.9) | {"together": score(0.88)}
    found["leakage"]["dose"]["other.a"] = number(0.6) | {"together": score(0.55)}
    assert kinds(found) == []
    found["leakage"]["a"]["other.dose"]["together"] = score(0.5)
    found["leakage"]["dose"]["other.a"]["together"] = None
    assert kinds(found) == [("leakage", "a"), ("leakage", "dose")]


@pytest.mark.parametrize(("chance", "accuracy", "rings"), [(0.5, 0.6, False), (0.1, 0.6, True), (0.1, 0.3, False)])
def test_leakage_is_counted_from_chance(chance: float, accuracy: float, rings: bool) -> None:
    found = good()
    found["leakage"]["a"] |= {"chance": chance, "free": read(accuracy), "other.dose": read(chance)}
    assert bool(kinds(found)) == rings


@pytest.mark.parametrize("place", ["free", "other.a"])
def test_a_number_that_can_be_read(place: str) -> None:
    found = good()
    found["leakage"]["dose"][place] = number(0.6)
    assert kinds(found) == [("leakage", "dose")]


def test_its_own_block_may_tell_everything() -> None:
    found = good()
    found["leakage"]["a"]["own"] = read(1.0)
    assert kinds(found) == []


def test_a_collapsed_block() -> None:
    found = good()
    found["blocks"]["z"] = {"kl": score(0.002), "active": 0, "size": 8, "collapsed": True}
    (finding,) = diagnose(found)
    assert (finding.kind, finding.where) == ("collapse", "z")
    assert "0 of 8 coordinates" in finding.what
    assert "0.002 nats" in finding.what
    found["blocks"]["z"]["kl"] = None
    assert "nats" not in diagnose(found)[0].what


def test_a_reconstruction_that_is_hardly_one() -> None:
    found = good()
    found["likelihood"]["reconstruction_error"] = {**score(0.8), "variance": 1.0}
    (finding,) = diagnose(found)
    assert finding.kind == "poor reconstruction"
    assert "80%" in finding.what
    found["likelihood"]["reconstruction_error"] = {**score(0.0), "variance": 0.0}
    assert kinds(found) == [], "data that never vary cannot be reconstructed badly"


def test_a_weight_that_is_not_felt() -> None:
    weak = row(weights={**WEIGHTS, "leak": 1e-4})
    (finding,) = diagnose(good(), [weak])
    assert (finding.kind, finding.where) == ("ill-scaled weight", "leak")
    assert "0.3 nats at weight 0.0001" in finding.what


def test_a_weight_of_zero_is_meant_and_a_term_of_nothing_needs_none() -> None:
    assert kinds(good(), row(weights={**WEIGHTS, "leak": 0.0})) == []
    assert kinds(good(), row(val={**TERMS, "leak": 0.01}, weights={**WEIGHTS, "leak": 1e-4})) == []


def test_a_kl_that_drowns_the_reconstruction() -> None:
    (finding,) = diagnose(good(), [row(weights={**WEIGHTS, "kl_z": 200.0})])
    assert (finding.kind, finding.where) == ("ill-scaled weight", "kl_z")
    assert "97% of the objective" in finding.what
    assert "lower kl_z" in finding.remedy


def test_losses_of_other_players_and_entries_of_terms_have_no_say() -> None:
    assert kinds(good(), row(val={**TERMS, "adversary": 1e-9, "labels": 1e9, "discriminator": 1e9, "kl_w.a": 1e9})) == []


def test_the_last_row_counts_and_its_validation_where_there_is_one() -> None:
    drowned = {**TERMS, "kl_z": 5000.0}
    assert kinds(good(), row(val=drowned), row()) == []
    assert kinds(good(), row(), row(val=drowned)) == [("ill-scaled weight", "kl_z")]
    assert kinds(good(), row(train=drowned)) == []
    assert kinds(good(), row(val={}, train=drowned, score=None)) == [("ill-scaled weight", "kl_z")]


def test_an_objective_of_nothing_has_no_shares() -> None:
    assert kinds(good(), row(val={"reconstruction": 0.0})) == []
    assert math.isfinite(len(diagnose(good(), [row(val={"reconstruction": 0.0, "kl_z": 0.0})])))


def test_findings_are_plain() -> None:
    finding = Finding("collapse", "z", "it carries nothing", "lower its weight")
    assert finding.to_dict() == {
        "kind": "collapse",
        "where": "z",
        "what": "it carries nothing",
        "remedy": "lower its weight",
    }
