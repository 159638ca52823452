"""Consistency of counterfactuals, and which value of a label has the styles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import labelspace as ls
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.models import build
from labelspace.models.lsvae import LSVAE
from labelspace.models.parts import counterfactual_consistency, richer_when_off


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- consistency --------------------------------------------------------------------------------------------------------


def test_consistency_is_least_where_counterfactuals_are_read_as_they_were_made() -> None:
    n, values = 64, torch.randint(0, 2, (64, 2), generator=generator()).float()
    z, w = torch.randn(n, 3, generator=generator(1)), torch.randn(n, 4, generator=generator(2))

    def terms(of_z: float, of_w: float) -> dict[str, Tensor]:
        def encode(x: Tensor, _: Tensor) -> tuple[DiagonalGaussian, DiagonalGaussian]:
            return DiagonalGaussian(x[:, :3] + of_z, torch.ones_like(x[:, :3])), DiagonalGaussian(
                x[:, 3:] + of_w, torch.full_like(x[:, 3:], 0.5)
            )

        q_z = DiagonalGaussian(z, torch.ones_like(z))
        return counterfactual_consistency(
            lambda z, w: torch.cat([z, w], 1), encode, q_z, z, w, values, torch.tensor([0, 0, 1, 1]), generator(3)
        )

    right, wrong_z, wrong_w = terms(0, 0), terms(1, 0), terms(0, 1)
    assert float(right["consistency_z"]) == 0.0
    assert float(wrong_z["consistency_z"]) == pytest.approx(3 * np.log(1.5), rel=1e-5)
    assert torch.equal(right["consistency_w"], wrong_z["consistency_w"])
    torch.testing.assert_close(wrong_w["consistency_w"] - right["consistency_w"], torch.full((2,), 2 * 0.5 / 0.5**2))


def free_codes(mean: torch.Tensor, again: torch.Tensor) -> torch.Tensor:
    """The term about free codes that are ``mean`` and, encoded again, ``again``."""
    n = len(mean)
    terms = counterfactual_consistency(
        lambda z, w: z,
        lambda x, _: (
            DiagonalGaussian(again[: len(x)], torch.ones(len(x), 1)),
            DiagonalGaussian(x[:, :1], torch.ones(len(x), 1)),
        ),
        DiagonalGaussian(mean, torch.ones(n, 1)),
        torch.zeros(n, 1),
        torch.zeros(n, 1),
        torch.zeros(n, 1),
        torch.tensor([0]),
        generator(),
    )
    return terms["consistency_z"]


def test_both_free_codes_move_towards_each_other() -> None:
    mean = torch.tensor([[0.0], [1.0], [-1.0], [2.0], [0.0], [0.0], [0.0], [0.0]], requires_grad=True)
    again = torch.tensor([[1.0], [1.0], [-1.0], [2.0]], requires_grad=True)
    of_mean, of_again = torch.autograd.grad(free_codes(mean, again), [mean, again])
    assert float(of_mean[0]) < 0 < float(of_again[0])
    assert float(free_codes(mean, mean[:4]).detach()) == 0


@given(st.integers(0, 99))
def test_codes_are_not_drawn_to_nothing(seed: int) -> None:
    random = generator(seed)
    mean, again = torch.randn(8, 1, generator=random), torch.randn(4, 1, generator=random)
    size = torch.ones((), requires_grad=True)
    (of_size,) = torch.autograd.grad(free_codes(size * mean, size * again), [size])
    assert abs(float(of_size)) < 1e-4


# -- which value has the styles -----------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.integers(0, 99), st.floats(2.5, 10), st.booleans(), st.sampled_from([0.1, 0.5, 0.8]), st.floats(1e-3, 1e3))
def test_the_value_with_more_ways_is_found(seed: int, spread: float, off: bool, share: float, unit: float) -> None:
    random = generator(seed)
    y = (torch.rand(600, generator=random) < share).float()
    x = torch.randn(600, 5, generator=random)
    x[:, 0] *= torch.where(y == (0 if off else 1), spread, 1.0)
    x[:, 1] += 3 * y  # a shift is no style
    found = richer_when_off(unit * x, y[:, None], torch.ones(600, 1, dtype=torch.bool), Schema([binary("a")]), torch.zeros(1))
    assert found.tolist() == [off]


@pytest.mark.parametrize("off", [False, True])
def test_what_another_label_says_is_no_way_of_having_this_one(off: bool) -> None:
    random = generator()
    y, k = torch.rand(1000, generator=random).round(), torch.randint(3, (1000,), generator=random)
    x = torch.randn(1000, 5, generator=random)
    x[:, 0] *= torch.where(y == (0 if off else 1), 1.5, 1.0)
    x[:, 1] += 5 * k * (y == (1 if off else 0))  # the classes of k are seen where y has few ways
    schema = Schema([binary("a"), categorical("k", ("0", "1", "2"))])
    values, observed = torch.stack([y, k.float()], 1), torch.ones(1000, 2, dtype=torch.bool)
    assert richer_when_off(x, values, observed, schema, torch.zeros(4)).tolist() == [off, False]
    alone = Schema([binary("a")])
    assert richer_when_off(x, values[:, :1], observed[:, :1], alone, torch.zeros(1)).tolist() == [not off]


def test_nothing_to_compare_says_nothing() -> None:
    values, observed = torch.tensor([[0.0], [1.0]]).repeat(50, 1), torch.ones(100, 1, dtype=torch.bool)
    for x in (torch.zeros(100, 0), torch.zeros(100, 3)):
        assert richer_when_off(x, values, observed, Schema([binary("a")]), torch.zeros(1)).tolist() == [False]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_doses_are_ways_of_being_treated(seed: int) -> None:
    # Patients who are not treated have the rarer wards and missing cells of other columns: classes, not ways.
    data = ls.open("patients:n=2000", seed=seed)
    model = build("lsvae", data)
    rows = data.rows("train")
    model.prepare(data.samples(rows), *data.labels(rows))
    assert isinstance(model, LSVAE)
    assert not model.w_prior.turned.any()


def test_labels_that_are_not_binary_or_hardly_there_are_left_as_they_are() -> None:
    schema = Schema([categorical("k", ("a", "b", "c")), continuous("c"), binary("rare"), binary("missing")])
    values = torch.zeros(50, 4)
    values[:2, 2] = 1
    observed = torch.ones(50, 4, dtype=torch.bool)
    observed[:, 3] = False
    x = torch.randn(50, 3, 4, 4, generator=generator())
    assert richer_when_off(x, values, observed, schema, torch.zeros(schema.width)).tolist() == [False] * 4
    before = torch.random.get_rng_state()
    richer_when_off(x, values, observed, schema, torch.zeros(schema.width))
    assert torch.equal(before, torch.random.get_rng_state())
