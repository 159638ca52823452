"""A card's figures on models whose answers are known: one that does nothing, and one that knows the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import labelspace as ls
from labelspace.blocks import Block, Blocks, Latents
from labelspace.data.dataset import Dataset
from labelspace.data.splits import Split
from labelspace.data.truth import Cause, Equations
from labelspace.distributions import DiagonalGaussian, Point
from labelspace.evaluation import judge, operators, scorecard
from labelspace.evaluation.scorecard import Entry
from labelspace.evaluation.units import units
from labelspace.labels import LabelDistribution, Schema, binary
from labelspace.likelihoods import build_likelihood
from labelspace.models.base import Model


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Five numbers: three that say in which of two ways "on" is on (or that it is off), one other factor, and noise."""
    rng = np.random.default_rng(0)
    n = 1200
    level = np.where(rng.random(n) < 0.5, 0.0, rng.choice([1.0, 2.0], n))
    factors = np.stack([level, rng.standard_normal(n), rng.standard_normal(n)], 1)

    def compute(factors: np.ndarray) -> np.ndarray:
        level, other, noise = factors.T
        return np.stack([level == 0, level == 1, level == 2, other, noise], 1).astype(float)

    cause = Cause(binary("on"), 0, ((0.0,), (1.0, 2.0)), lambda level: level > 0)
    truth = Equations({"level": (), "other": (), "noise": ()}, (cause,), compute)
    values, observed = truth.labels(factors)
    order = rng.permutation(n)
    splits: dict[Split, np.ndarray] = {"train": order[:600], "val": order[600:700], "test": order[700:]}
    return Dataset("five", truth.expected(factors, ()), values, observed, truth.schema, splits, truth=truth, factors=factors)


class Known(Model):
    """Codes are x itself: "w.on" has the three numbers that the label is about, z the other two.

    Args:
        swaps: whether setting the label does anything.
        leaks: whether z has a copy of the label.
    """

    def __init__(self, shape, schema, frequencies=None, swaps: bool = True, leaks: bool = False) -> None:
        blocks = Blocks([Block("z", 3), Block("w.on", 3, "on")])
        super().__init__(shape, schema, frequencies, blocks, {}, likelihood="gaussian", scale=1.0)
        self.swaps, self.leaks = swaps, leaks

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        copy = values if self.leaks else torch.zeros_like(values)
        z = torch.cat([x[:, 3:], copy], 1)
        scale = torch.full_like(z, 1e-3)
        return Latents(self.blocks, {"z": DiagonalGaussian(z, scale), "w.on": DiagonalGaussian(x[:, :3], scale)})

    def decode(self, codes: Latents[Tensor]):
        return build_likelihood("gaussian", self.shape, 1.0, False)(torch.cat([codes["w.on"], codes["z"][:, :2]], 1))

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        w = torch.zeros(len(values), 3)
        w[:, 0], w[:, 1] = 1 - values[:, 0], values[:, 0]
        return Latents(self.blocks, {"z": DiagonalGaussian.standard(len(values), 3), "w.on": DiagonalGaussian(w, w * 0 + 1e-3)})

    def intervene(self, codes: Latents[Tensor], label: str, value: Tensor, previous: Tensor) -> Latents[Tensor]:
        return codes.replace({"w.on": self.prior(value[:, None])["w.on"].mean}) if self.swaps else codes

    def label_distribution(self, x: Tensor) -> LabelDistribution:
        return self.schema.distribution(20 * (0.5 - x[:, :1]))


def card(data: Dataset, kind: type[Known] = Known, **arguments: bool) -> dict:
    model = kind(data.shape, data.schema, data.frequencies(), **arguments).eval()
    return scorecard.measure(model, data, most=200, effort=0.125)


@pytest.fixture(scope="module")
def perfect(data: Dataset) -> dict:
    return card(data)


def test_a_model_that_knows_the_truth_has_all_there_is(perfect: dict) -> None:
    for figure in ("read as set", "error", "donor", "told by z", "block's own", "new samples", "prediction"):
        where, entry = scorecard.worst(perfect[figure]) or ("", {})
        assert entry["share"] > 0.9, (figure, where, entry)
    assert perfect["error"]["on"]["value"] == pytest.approx(0, abs=1e-9)
    assert perfect["donor"]["on"]["value"] == 1
    assert perfect["reconstruction"]["x"]["value"] == pytest.approx(0, abs=1e-9)


def test_a_model_whose_edits_do_nothing_is_at_the_floor(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    assert card(data, swaps=False)["read as set"]["on=1"]["beside"]["operator"].startswith("drawn point"), "which do something"
    monkeypatch.setattr(operators, "STYLES", 0)
    found = card(data, swaps=False)
    for entry in found["read as set"].values():
        assert entry["value"] == entry["floor"]
        assert entry["share"] == 0
    assert found["error"]["on"]["value"] == pytest.approx(1)
    assert found["error"]["on"]["share"] == 0


def test_a_copy_of_the_label_in_z_is_told(data: Dataset) -> None:
    entry = card(data, leaks=True)["told by z"]["on"]
    assert entry["value"] > 0.99
    assert entry["share"] < 0.02
    assert entry["beside"]["means"] > 0.99


def test_what_a_block_carries_beside_its_label_is_named(data: Dataset) -> None:
    class Full(Known):
        def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
            codes = super().posterior(x, values, observed)
            w = torch.cat([x[:, :2], x[:, 3:4]], 1)  # the other factor in the place of the third number
            return Latents(self.blocks, {"z": codes["z"], "w.on": DiagonalGaussian(w, codes["w.on"].scale)})

    entry = card(data, Full)["block's own"]["on"]
    assert entry["beside"]["factor"] == "other"
    assert entry["value"] > 0.8


def test_a_label_without_edits_is_left_out_and_the_rest_is_there(data: Dataset) -> None:
    class Blind(Known):
        labelled = False

        def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
            return Latents(self.blocks, {**super().prior(values, observed), "w.on": Point.at(values.expand(-1, 3))})

    found = card(data, Blind)
    assert not found["prediction"]
    assert not found["block's own"], "the block is the label's value"
    assert found["told by z"]


def test_measured_on_others_the_classifier_learns_from_the_few(data: Dataset) -> None:
    few = replace(data, splits={**data.splits, "train": data.splits["train"][:40]})
    found = scorecard.measure(Known(data.shape, data.schema, data.frequencies()).eval(), data, few, most=100, effort=0.02)
    assert found["prediction"]["on"]["n"] == len(data.rows("test"))


def test_without_truth_real_samples_stand_for_it(data: Dataset) -> None:
    plain = replace(data, truth=None, factors=None)
    found = card(plain)
    assert not found["error"]
    assert not found["donor"]
    assert min(entry["share"] for entry in found["read as set"].values()) > 0.9


def test_few_samples_are_set_to_a_value_several_times(data: Dataset) -> None:
    few = replace(data, splits={**data.splits, "test": data.splits["test"][:24]})
    found = scorecard.measure(Known(data.shape, data.schema, data.frequencies()).eval(), few, data, most=200, effort=0.125)
    assert {name: entry["n"] >= 30 for name, entry in found["read as set"].items()} == {"on=0": True, "on=1": True}


@given(st.floats(-2, 2), st.floats(-1, 1), st.floats(-1, 1), st.booleans())
def test_a_share_lies_between_nothing_and_all_and_rises_with_the_figure(
    value: float, floor: float, ceiling: float, falling: bool
) -> None:
    share = Entry(value, floor, ceiling, 10, falling=falling).share
    height = floor - ceiling if falling else ceiling - floor
    if height < 0.05:
        assert share is None
        return
    assert share is not None
    assert 0 <= share <= 1
    better = Entry(value + (-0.1 if falling else 0.1), floor, ceiling, 10, falling=falling).share
    assert better is not None
    assert better >= share


def test_what_is_not_a_number_has_no_share() -> None:
    assert Entry(float("nan"), 0.0, 1.0, 3).share is None
    assert Entry(0.5, 0.0, float("nan"), 3).share is None


def test_columns_of_any_scale_weigh_alike() -> None:
    data = ls.open("patients:n=500,missing=0")
    compared = units(data)(data.samples(data.rows("train")))
    np.testing.assert_allclose(compared[:, :8].std(0), 1, atol=0.01)
    assert compared.shape[1] == 8 + 1 + 3, "numbers, a count, and three classes as indicators"
    batched = units(data)(data.samples(data.rows("train")[:6]).view(2, 3, -1))
    assert torch.equal(batched.view(6, -1), compared[:6])


def test_a_balanced_judge_does_not_take_a_label_for_another_that_goes_with_it() -> None:
    """Two labels agree in 97 of 100 samples; each is a column of its own, the first ten times as noisy as the second."""
    rng = np.random.default_rng(0)
    n = 4000
    a = rng.integers(0, 2, n)
    b = np.where(rng.random(n) < 0.97, a, 1 - a)
    x = np.stack([a + 0.6 * rng.standard_normal(n), b + 0.1 * rng.standard_normal(n)], 1).astype(np.float32)
    values = np.stack([a, b], 1).astype(np.float32)
    splits: dict[Split, np.ndarray] = {"train": np.arange(3000), "val": np.arange(3000, 3400), "test": np.arange(3400, n)}
    schema = Schema([binary("a"), binary("b")])
    data = Dataset("two", x, values, np.ones(values.shape, bool), schema, splits)
    apart = torch.tensor([[1.0, 0.0], [0.0, 1.0]] * 200)
    apart = apart + torch.tensor([0.6, 0.1]) * torch.randn(apart.shape, generator=torch.Generator().manual_seed(0))
    wanted = torch.tensor([1.0, 0.0] * 200)
    rates = [
        float((judge.train(data, seed=0, balanced=balanced).read(apart)[:, 0] == wanted).float().mean())
        for balanced in (False, True)
    ]
    assert rates[1] > rates[0] + 0.2
    assert rates[1] > 0.6
