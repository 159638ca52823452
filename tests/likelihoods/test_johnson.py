"""Columns with long tails, in coordinates in which they are close to normal."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelspace.likelihoods import Table, build_likelihood
from labelspace.likelihoods.johnson import JohnsonSU, fit

LONG = {
    "lognormal": lambda rng, n: np.exp(rng.normal(3, 1, n)),
    "very long": lambda rng, n: np.exp(rng.normal(0, 2, n)),
    "to the left": lambda rng, n: -np.exp(rng.normal(0, 1, n)),
    "both ways": lambda rng, n: rng.standard_t(2, n),
    "far from zero": lambda rng, n: 1e6 + 1e3 * np.exp(rng.normal(0, 1, n)),
    "many zeros": lambda rng, n: np.where(rng.random(n) < 0.4, 0, np.exp(rng.normal(5, 1, n))),
    "one far away": lambda rng, n: np.append(rng.normal(0, 1, n - 1), 1e6),
}
SHORT = {
    "normal": lambda rng, n: rng.normal(5, 3, n),
    "uniform": lambda rng, n: rng.uniform(0, 1, n),
    "two peaks": lambda rng, n: np.where(rng.random(n) < 0.5, -3, 3) + rng.normal(0, 1, n),
    "off and on": lambda rng, n: rng.integers(0, 2, n).astype(float),
    "constant": lambda rng, n: np.full(n, 1e9),
}


def measured(column: np.ndarray) -> JohnsonSU:
    tails = JohnsonSU(1)
    tails.measure(torch.from_numpy(column.astype(np.float32))[:, None])
    return tails


def table_of(column: np.ndarray) -> Table:
    table = build_likelihood("table(continuous)", (1,), "auto", True)
    assert isinstance(table, Table)
    table.measure(torch.from_numpy(column.astype(np.float32))[:, None])
    return table


@pytest.mark.parametrize("kind", LONG)
@pytest.mark.parametrize("n", [200, 20_000])
def test_long_tails_become_nearly_normal(kind: str, n: int):
    x = torch.from_numpy(LONG[kind](np.random.default_rng(n), n)).float()[:, None]
    tails = measured(x[:, 0].numpy())
    assert tails.bent.all()
    v = tails.straight(x)
    far = [float((c - c.median()).abs().max() / (c.quantile(0.75) - c.quantile(0.25))) for c in (x[:, 0], v[:, 0])]
    assert far[1] < max(12, 0.1 * far[0]), "in spreads of the middle half"
    torch.testing.assert_close(tails.curved(v), x, rtol=1e-3, atol=1e-4 * float(x.abs().median()))


@pytest.mark.parametrize("kind", SHORT)
@pytest.mark.parametrize("n", [200, 20_000])
def test_other_columns_stay_as_they_are(kind: str, n: int):
    x = SHORT[kind](np.random.default_rng(n), n)
    assert fit(x) is None
    cells = torch.from_numpy(x).float()[:, None]
    assert torch.equal(measured(x).straight(cells), cells)


@pytest.mark.parametrize("x", [[], [3.0], [1.0, 2.0], [math.pi] * 3])
def test_next_to_nothing_is_left_as_it_is(x: list[float]):
    assert fit(np.array(x)) is None


def test_units_do_not_matter():
    x = LONG["lognormal"](np.random.default_rng(0), 1000)
    (location, width), (moved, wider) = fit(x) or (0, 0), fit(1000 * x - 5e6) or (0, 0)
    assert moved == pytest.approx(1000 * location - 5e6, rel=1e-3)
    assert wider == pytest.approx(1000 * width, rel=0.05)


def test_a_column_without_any_cell_is_left_as_it_is():
    tails = JohnsonSU(2)
    tails.measure(torch.tensor([[math.nan, 1.0], [math.nan, 2.0]]))
    assert not tails.bent.any()


@given(seed=st.integers(0, 999), kind=st.sampled_from(sorted(LONG)))
@settings(deadline=None, max_examples=20)
def test_slopes_are_derivatives(seed: int, kind: str):
    x = LONG[kind](np.random.default_rng(seed), 300)
    tails = measured(x).double()
    cells = torch.from_numpy(x)[:, None].requires_grad_()
    (slope,) = torch.autograd.grad(tails.straight(cells).sum(), cells)
    torch.testing.assert_close(tails.log_slope(cells.detach()), slope.log())


def test_the_density_has_an_integral_of_one_and_the_mean_is_its_mean():
    table = table_of(LONG["lognormal"](np.random.default_rng(0), 2000))
    with torch.no_grad():
        table.log_scale.fill_(math.log(0.5))
        described = table(torch.tensor([[0.7]]))
        x = torch.linspace(-200, 4000, 400_001)[:, None]
        density = table(torch.full_like(x, 0.7)).log_prob(x).double().exp()
    step = float(x[1] - x[0])
    assert float(density.sum()) * step == pytest.approx(1, abs=1e-3)
    assert float((density * x[:, 0]).sum()) * step == pytest.approx(float(described.mean), rel=5e-3)


def test_draws_beyond_the_range_stay_at_their_end():
    column = LONG["very long"](np.random.default_rng(0), 2000)
    table = table_of(column)
    put = table.possible(torch.tensor([[1.5 * column.max()], [1e30], [-1e30]], dtype=torch.float32))
    assert (put <= column.max() * (1 + 1e-6)).all()
    assert float(put[0]) > 0.3 * column.max()
    assert (put >= column.min() - 1e-6).all()


def test_edits_of_long_tails_are_factors():
    table = table_of(LONG["lognormal"](np.random.default_rng(0), 5000))
    rows = torch.tensor([[10.0], [100.0]])
    moved = table.counterfactual(rows, table(torch.tensor([[0.0]])), table(torch.tensor([[0.5]])))
    factors = (moved / rows)[:, 0].tolist()
    assert factors[0] == pytest.approx(factors[1], rel=0.1)
    assert factors[0] == pytest.approx(math.exp(0.5), rel=0.2), "half a deviation of the logarithm"
