"""Distributions over labels against torch.distributions, their moments and bounds."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as td

from labelspace.labels import Schema, binary, categorical, continuous, frequencies

MIXED = Schema([binary("on"), categorical("colour", ["red", "green", "blue"]), continuous("age", 40.0, 10.0)])


def reference(parameters: torch.Tensor) -> list[td.Distribution]:
    return [
        td.Bernoulli(logits=parameters[:, 0]),
        td.Categorical(logits=parameters[:, 1:4]),
        td.Normal(parameters[:, 4], parameters[:, 5].exp()),
    ]


def random_parameters(seed: int, n: int = 7) -> torch.Tensor:
    parameters = 2 * torch.randn(n, MIXED.parameters, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    parameters[:, 5].clamp_(-3.5)  # a number's scale has a floor
    return parameters


def test_log_prob_agrees_with_torch():
    parameters = random_parameters(0)
    values = torch.tensor([[0, 1, 35.0], [1, 0, 42], [1, 2, 90], [0, 0, 40], [1, 1, 1], [0, 2, 50], [1, 2, 41]]).double()
    expected = [
        reference(parameters)[0].log_prob(values[:, 0]),
        reference(parameters)[1].log_prob(values[:, 1]),
        reference(parameters)[2].log_prob((values[:, 2] - 40) / 10),
    ]
    torch.testing.assert_close(MIXED.distribution(parameters).log_prob(values), torch.stack(expected, 1))


def test_entropy_agrees_with_torch():
    parameters = random_parameters(1)
    expected = torch.stack([d.entropy() for d in reference(parameters)], 1)
    torch.testing.assert_close(MIXED.distribution(parameters).entropy(), expected)


def test_kl_agrees_with_torch_and_broadcasts():
    p, q = random_parameters(2), random_parameters(3)
    expected = [td.kl_divergence(a, b) for a, b in zip(reference(p), reference(q), strict=True)]
    torch.testing.assert_close(MIXED.distribution(p).kl_to(MIXED.distribution(q)), torch.stack(expected, 1))
    everywhere = zip(reference(p), reference(q[:1].expand(7, -1)), strict=True)
    expected = torch.stack([td.kl_divergence(a, b) for a, b in everywhere], 1)
    torch.testing.assert_close(MIXED.distribution(p).kl_to(MIXED.distribution(q[:1])), expected)
    torch.testing.assert_close(MIXED.distribution(p).kl_to(MIXED.distribution(p)), torch.zeros(7, 3).double())


def test_certain_distributions_stay_finite():
    parameters = torch.tensor([[1e4, 1e4, -1e4, 0.0, 0.0, 0.0], [-1e4, -1e4, 0.0, 1e4, 0.0, 0.0]])
    p, q = MIXED.distribution(parameters), MIXED.distribution(parameters.flip(0))
    for result in (p.log_prob(torch.tensor([[0, 1, 40.0], [1, 0, 40]])), p.entropy(), p.kl_to(q), p.sample()):
        assert result.isfinite().all()
    assert (p.entropy()[:, :2] == 0).all()


def test_mode_is_the_most_probable_value_in_the_labels_own_unit():
    parameters = torch.tensor([[3.0, 0, 5, 1, 1.5, -2], [-0.1, 2, 1, 0, -4, 3]])
    assert MIXED.distribution(parameters).mode().tolist() == [[1, 1, 55], [0, 0, 0]]


def test_samples_have_the_distributions_frequencies_and_moments():
    n = 40_000
    parameters = torch.tensor([[1.0, 0.5, -0.5, 1.0, 2.0, math.log(0.3)]]).expand(n, -1)
    drawn = MIXED.distribution(parameters).sample(torch.Generator().manual_seed(0))
    assert drawn.shape == (n, 3)
    tolerance = 4 * math.sqrt(0.25 / n)
    assert drawn[:, 0].mean().item() == pytest.approx(1 / (1 + math.exp(-1)), abs=tolerance)
    shares = torch.bincount(drawn[:, 1].long(), minlength=3) / n
    torch.testing.assert_close(shares, parameters[0, 1:4].softmax(0), atol=tolerance, rtol=0)
    assert drawn[:, 2].mean().item() == pytest.approx(40 + 10 * 2, abs=4 * 3 / math.sqrt(n))
    assert drawn[:, 2].std().item() == pytest.approx(10 * 0.3, rel=0.03)


def test_samples_are_reproducible():
    distribution = MIXED.distribution(random_parameters(4))
    draws = [distribution.sample(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_table_holds_probabilities_and_own_units():
    table = MIXED.distribution(torch.tensor([[0.0, 0, 0, 0, 1, math.log(2)]])).table()
    assert list(table) == ["on", "colour", "age"]
    assert table["on"]["1"] == pytest.approx(0.5)
    assert list(table["colour"]) == ["red", "green", "blue"]
    assert sum(table["colour"].values()) == pytest.approx(1)
    assert (table["age"]["mean"], table["age"]["sd"]) == (pytest.approx(50), pytest.approx(20))


def test_prior_parameters_give_the_frequencies_back():
    values, observed = MIXED.encode({"on": [1, 1, 0], "colour": ["red", "red", "blue"], "age": [1, 2, 3]})
    counted = frequencies(MIXED, values, observed)
    table = MIXED.distribution(MIXED.prior_parameters(counted)[None]).table()
    assert [p[0] for p in table["on"].values()] == pytest.approx(counted[0])
    assert [p[0] for p in table["colour"].values()] == pytest.approx(counted[1])
    assert (table["age"]["mean"], table["age"]["sd"]) == (40, 10)


def test_a_numbers_density_is_bounded_and_no_label_has_no_columns():
    schema = Schema([continuous("c")])
    sharp = schema.distribution(torch.tensor([[0.0, -30.0]]))
    assert float(sharp.log_prob(torch.zeros(1, 1))) == pytest.approx(4 - 0.5 * math.log(2 * math.pi))
    nothing = Schema().distribution(torch.zeros(3, 0))
    assert nothing.sample().shape == nothing.mode().shape == nothing.log_prob(torch.zeros(3, 0)).shape == (3, 0)
