"""Where codes of numbers lie, and edits that go there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import labelspace as ls
from labelspace.blocks import Block, Blocks, Latents, modes
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import Schema, binary, continuous
from labelspace.models.aggregate import AggregatePosterior

SCHEMA = Schema([continuous("age", 40.0, 10.0), binary("on")])
BLOCKS = Blocks([Block("z", 3), Block("w.age", 2, "age"), Block("w.on", 1, "on")])


def parts(n: int, seed: int = 0, known: float = 1.0):
    """Codes that lie on (1, -2) + (0.5, 3) * standardised age, with noise of 0.1 and posteriors of 0.2."""
    generator = torch.Generator().manual_seed(seed)
    age = torch.randn(n, generator=generator)
    values = torch.stack([40 + 10 * age, (age > 0).float()], 1)
    observed = torch.rand(n, 2, generator=generator) < known
    line = torch.tensor([1.0, -2.0]) + age[:, None] * torch.tensor([0.5, 3.0])
    line = line + 0.1 * torch.randn(n, 2, generator=generator)
    made = {"z": torch.zeros(n, 3), "w.age": line, "w.on": values[:, 1:]}
    codes = Latents(BLOCKS, {name: DiagonalGaussian(mean, torch.full_like(mean, 0.2)) for name, mean in made.items()})
    return codes, values, observed


@pytest.mark.parametrize("known", [1.0, 0.3])
def test_the_line_and_the_spread_around_it_are_found(known: float) -> None:
    spread = AggregatePosterior(BLOCKS, SCHEMA)
    spread.measure((parts(500, seed, known) for seed in range(10)), 5000)
    found = spread.under("w.age", torch.tensor([[40.0, 0.0], [60.0, 0.0]]))
    torch.testing.assert_close(found.mean, torch.tensor([[1.0, -2.0], [2.0, 4.0]]), atol=0.03, rtol=0)
    torch.testing.assert_close(found.scale, torch.full((2, 2), (0.1**2 + 0.2**2) ** 0.5), atol=0.01, rtol=0)
    torch.testing.assert_close(
        spread.under("w.on", torch.tensor([[40.0, 0.0], [40.0, 1.0]])).mean, torch.tensor([[0.0], [1.0]])
    )
    drawn = spread.draw("w.age", torch.tensor([[60.0, 0.0]]).expand(4000, 2), torch.zeros(4000, 2))
    torch.testing.assert_close(drawn.mean(0), torch.tensor([2.0, 4.0]), atol=0.05, rtol=0)


def test_a_number_of_which_one_value_was_seen_has_no_line() -> None:
    spread = AggregatePosterior(BLOCKS, SCHEMA)
    codes, values, observed = parts(50)
    values[:, 0] = 47.0
    spread.measure([(codes, values, observed)], 50)
    prior = torch.full((50, 2), 5.0)
    torch.testing.assert_close(spread.draw("w.age", values, prior), prior)
    assert not spread.get_buffer("mean_2").isnan().any()  # other blocks are measured all the same


@pytest.mark.parametrize("name", ["diva", "ccvae", "lsvae"])
def test_an_edit_of_a_number_goes_where_its_codes_lie(name: str, tmp_path) -> None:
    rng = np.random.default_rng(0)
    amount = rng.normal(3, 2, 400)
    np.savez(tmp_path / "a.npz", x=(amount[:, None] * [1.0, -0.5, 0.2] + rng.normal(0, 0.1, (400, 3))), amount=amount)
    data = ls.open(f"npz:{tmp_path / 'a.npz'}")
    torch.manual_seed(0)
    model = ls.build(name, data)
    ls.fit(model, data, epochs=2)
    x, labels = data.samples([0, 1]), data.labels([0, 1])
    done = ls.interventions.set(model, x, {"amount": 5.0}, labels)
    block = model.blocks.of("amount").name
    found = model.aggregate.under(block, torch.tensor([[5.0]]))
    torch.testing.assert_close(done.codes[block], found.mean.expand(2, -1))
    plain = ls.interventions.set(model, x, {"amount": 5.0}, labels, point="prior")
    torch.testing.assert_close(plain.codes[block], modes(model.prior(torch.tensor([[5.0]])))[block].expand(2, -1))
