"""Effects of a label on variables, against known truth and against a rank test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import labelspace as ls
from labelspace.evaluation.effects import Effects

GENES, REAL = 60, 12


def confounded(n: int, seed: int) -> ls.Dataset:
    """Counts: twelve genes answer to treatment, thirty others belong to types, of which some are treated more often."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, n)
    treated = (rng.random(n) < np.array([0.25, 0.5, 0.8])[kind]).astype(int)
    base = np.exp(np.random.default_rng(1).normal(2, 0.7, GENES))
    base[:REAL] = 8.0
    of_type = np.exp(np.random.default_rng(2).normal(0, 0.8, (3, GENES)) * (np.arange(GENES) >= 30))
    fold = np.ones(GENES)
    fold[: REAL // 2], fold[REAL // 2 : REAL] = 1.6, 0.4  # totals stay as they are
    rates = base * of_type[kind] * np.where(treated[:, None] == 1, fold, 1.0)
    depth = np.exp(rng.normal(0, 0.3, n))[:, None]
    x = rng.poisson(rates * depth * rng.gamma(5, 1 / 5, rates.shape)).astype("f4")
    labels = {"treated": treated, "kind": np.array(list("abc"))[kind]}
    data = ls.Dataset.from_arrays(x, labels, names=[f"g{i}" for i in range(GENES)], seed=seed)
    return replace(data, likelihood="negative-binomial")


def test_genes_that_answer_are_found_and_few_others_where_a_rank_test_finds_nearly_all() -> None:
    false, true = 0, 0
    for seed in (100, 101):
        data = confounded(1500, seed)
        torch.manual_seed(seed)
        model = ls.fit(ls.build("condvae", data), data, epochs=15, seed=seed, progress=False).model
        found = ls.effects(model, data, "treated", 0, 1)
        hits = {int(name[1:]) for name in found.found(0.05)}
        true += sum(hit < REAL for hit in hits)
        false += sum(hit >= REAL for hit in hits)
        assert found.effect[0] > 0 > found.effect[REAL // 2]
        assert found.log2_fold_change[:REAL] == pytest.approx([np.log2(1.6)] * 6 + [np.log2(0.4)] * 6, abs=0.35)
        rates, treated = data.x / data.x.sum(1, keepdims=True), data.values[:, 0]
        p = [stats.mannwhitneyu(rates[treated == 0, j], rates[treated == 1, j]).pvalue for j in range(GENES)]
        assert (stats.false_discovery_control(np.array(p))[REAL:] <= 0.05).sum() > 20
    assert true == 2 * REAL
    assert false / (true + false) <= 0.1


def test_intervals_hold_what_is_true() -> None:
    """An average effect in a table with known equations, of which every variable answers in its own way."""
    rng = np.random.default_rng(0)
    n = 3000
    other = rng.integers(0, 2, n)
    y = (rng.random(n) < np.where(other == 1, 0.7, 0.3)).astype(int)
    shift = np.array([0.0, 0.5, -1.0, 0.0])
    x = rng.normal(size=(n, 4)) + other[:, None] * np.array([2.0, 1.0, 0.0, -1.0]) + y[:, None] * shift
    data = ls.Dataset.from_arrays(x, {"y": y, "other": other})
    torch.manual_seed(0)
    model = ls.fit(ls.build("condvae", data), data, epochs=5, progress=False).model
    found = ls.effects(model, data, "y", 0, 1)
    assert np.abs(found.plain[0]) > 0.5  # confounded
    assert ((found.low - 0.05 <= shift) & (shift <= found.high + 0.05)).all()
    assert set(found.found()) == {"x2", "x3"}
    turned = ls.effects(model, data, "y", 1, 0)
    assert turned.effect == pytest.approx(-found.effect, abs=1e-6)


def test_it_is_a_frame_and_a_line() -> None:
    data = ls.open("patients:n=300")
    torch.manual_seed(0)
    model = ls.fit(ls.build("condvae", data), data, epochs=1, progress=False).model
    found = ls.effects(model, data, "site", "north", "west", split="train")
    assert isinstance(found, Effects)
    columns = found.columns()
    assert list(columns)[:3] == ["variable", "effect", "low"]
    assert set(columns["variable"]) == set(data.entries)
    assert (np.diff(columns["p"]) >= 0).all()
    assert repr(found).startswith("Effects of site north -> west on 10 variables, 240 samples")
    assert "<table>" in found._repr_html_()


@pytest.mark.parametrize(
    ("label", "a", "b", "said"),
    [
        ("age", 30, 40, "is a number"),
        ("treated", 1, 1, "two different values"),
        ("treated", 1, 2, "treated"),
        ("tretaed", 0, 1, "did you mean 'treated'"),
    ],
)
def test_mistakes_are_one_line(label: str, a: object, b: object, said: str) -> None:
    data = ls.open("patients:n=200")
    model = ls.build("condvae", data)
    with pytest.raises(ls.UserError, match=said):
        ls.effects(model, data, label, a, b)


def test_too_few_samples_of_a_value_are_refused() -> None:
    data = ls.open("patients:n=200")
    few = data[np.flatnonzero(data.values[:, data.schema.index("treated")] == 0)]
    with pytest.raises(ls.UserError, match="0 samples have treated=1"):
        ls.effects(ls.build("condvae", data), few, "treated", 0, 1)
    faces = ls.Dataset.from_arrays(np.zeros((20, 8, 8), "u1"), [0, 1] * 10)
    with pytest.raises(ls.UserError, match="of pictures"):
        ls.effects(ls.build("condvae", faces), faces, "label", 0, 1)
