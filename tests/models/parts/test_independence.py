"""Independence of a free code by dual ascent, alone and in the models that have it as an option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import labelspace as ls
from labelspace.data.batches import Batch
from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import UserError
from labelspace.evaluation.readers import Codes, read
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.models.networks import Network
from labelspace.models.parts import Independence, balanced
from labelspace.models.parts.independence import share_of_open

SCHEMA = Schema([binary("a"), categorical("k", ("x", "y", "z")), continuous("c", 1.0, 2.0)])
DUAL: dict[str, dict[str, Any]] = {
    "condvae-info": {"independence": "dual"},
    "lr-livae": {"independence": "dual"},
    "lr-livae-gan": {"independence": "dual"},
    "ccvae": {"consistency": 1.0, "subspace": 3},
}


def batch(n: int = 40, missing: bool = False) -> Batch:
    rng = np.random.default_rng(0)
    values = np.stack([rng.integers(0, 2, n), rng.integers(0, 3, n), rng.normal(1, 2, n)], 1).astype("f4")
    observed = torch.from_numpy(rng.random((n, 3)) < (0.6 if missing else 2))
    return Batch(torch.randn(n, 4), torch.from_numpy(values) * observed, observed)


@pytest.mark.parametrize(
    ("decoder", "reader", "left"), [(1.0, 0.5, 1.0), (1.0, 2.0, 1.0), (1.0, 8.0, 0.25), (0.0, 8.0, 0.0), (1.0, 0.0, 0.0)]
)
def test_a_reader_pulls_at_most_twice_as_hard_as_the_decoder(decoder: float, reader: float, left: float) -> None:
    torch.manual_seed(0)
    draw, mean = torch.randn(2, 7, 4)
    wanted, of_draw, of_mean = torch.randn(3, 7, 4)
    wanted, pull = wanted / wanted.norm(), (of_draw + of_mean).norm()
    draw, mean = draw.requires_grad_(), mean.requires_grad_()
    decoded, read = balanced(draw, mean)
    torch.testing.assert_close(decoded, draw)
    torch.testing.assert_close(read, torch.cat([draw, mean]))
    (decoder * (decoded * wanted).sum() + reader * (read * torch.cat([of_draw, of_mean]) / pull).sum()).backward()
    torch.testing.assert_close(mean.grad, left * reader * of_mean / pull)
    torch.testing.assert_close(draw.grad, decoder * wanted + left * reader * of_draw / pull)


@pytest.mark.parametrize("missing", [False, True])
def test_before_it_has_learnt_anything_the_model_has_nothing_to_lose(missing: bool) -> None:
    torch.manual_seed(0)
    part, given = Independence(4, SCHEMA), batch(missing=missing)
    for parameter in part.adversary.parameters():
        torch.nn.init.zeros_(parameter)
    q = DiagonalGaussian(given.x, torch.ones_like(given.x))
    marginal = SCHEMA.distribution(SCHEMA.prior_parameters([[0.5, 0.5], [0.4, 0.3, 0.3], []])[None])
    model, adversary = part.game(given, q, given.x, marginal, torch.Generator().manual_seed(0))
    torch.testing.assert_close(model()["leak"], torch.zeros(3))
    terms = adversary()
    torch.testing.assert_close(terms["adversary"], terms["adversary_chance"])
    assert part.told(terms)[0].abs().max() == 0


def test_gradients_reach_the_code_from_the_model_and_the_adversary_from_its_own_loss() -> None:
    torch.manual_seed(0)
    part, given = Independence(4, SCHEMA), batch()
    mean = given.x.clone().requires_grad_()
    q = DiagonalGaussian(mean, torch.ones_like(mean))
    marginal = SCHEMA.distribution(SCHEMA.prior_parameters([[0.5, 0.5], [0.4, 0.3, 0.3], []])[None])
    model, adversary = part.game(
        given, q, q.sample(torch.Generator().manual_seed(1)), marginal, torch.Generator().manual_seed(0)
    )
    model()["leak"].sum().backward()
    assert mean.grad is not None
    assert float(mean.grad.abs().sum()) > 0
    assert all(p.grad is None for p in part.adversary.parameters())
    mean.grad = None
    adversary()["adversary"].sum().backward()
    assert mean.grad is None
    assert all(p.grad is not None for p in part.adversary.parameters())


def test_what_is_open_is_never_less_than_a_twentieth_of_a_label_and_a_bit_of_a_number() -> None:
    largest = torch.tensor([np.log(2), np.log(3), 0.0], dtype=torch.float32)
    told = share_of_open(torch.tensor([0.2, 0.0, 0.9]), torch.tensor([0.5, 0.01, 1.0]), largest)
    torch.testing.assert_close(told[0], torch.tensor([0.3, 0.01, 0.1]))
    torch.testing.assert_close(told[1], torch.tensor([0.5, 0.05 * np.log(3), np.log(2)], dtype=torch.float32))


def test_excess_is_what_noise_does_not_reach() -> None:
    part = Independence(2, Schema([binary("a"), binary("b")]), start=10.0, allowed=0.1)
    terms = {"adversary": torch.tensor([0.6, 0.3]), "adversary_chance": torch.tensor([0.7, 0.7])}
    # 0.1 of 0.7 nats are less than twice a tenth; 0.4 of them are 0.26 more
    assert float(part.excess(terms)) == pytest.approx(10 * (0.4 - 0.2 * 0.7))


def told_data(n: int = 1600) -> Dataset:
    """Two columns show a label beside what else they hold, three have nothing to do with it."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    x = rng.normal(size=(n, 5))
    x[:, :2] += (2 * y - 1)[:, None]
    values = y[:, None].astype("f4")
    return Dataset("told", x.astype("f4"), values, np.ones_like(values, bool), Schema([binary("a")]), random_splits(n, 0))


def told_by_z(data: Dataset, **options: Any) -> float:
    """Balanced accuracy of a reader of draws of z."""
    torch.manual_seed(0)
    model = ls.build("condvae-info", data, latent=4, network=Network(width=32), **options)
    ls.fit(model, data, epochs=40, batch_size=48, seed=0)

    def codes(split: Any) -> Codes:
        rows = data.rows(split)
        values, observed = data.labels(rows)
        with torch.no_grad():
            return Codes(model.encode(data.samples(rows), values, observed)["z"], values, observed)

    return read(codes("train"), codes("test"), data.schema, drawn=True, steps=300, seed=0)["a"].value


def test_it_takes_out_what_a_reader_of_draws_would_find() -> None:
    data = told_data()
    plain, dual = told_by_z(data, info=0.0), told_by_z(data, independence="dual")
    assert plain > 0.75
    assert dual < 0.62


@pytest.mark.parametrize("name", sorted(DUAL))
def test_the_option_trains_and_is_saved(name: str, tmp_path: Path) -> None:
    data = ls.open("moons:n=240")
    torch.manual_seed(0)
    model = ls.build(name, data, latent=3, network=Network(width=8, depth=1), **DUAL[name])
    fitted = ls.fit(model, data, epochs=2, seed=0, out=tmp_path)
    assert np.isfinite(fitted.best_score)
    again = ls.load(tmp_path)
    x = data.samples(np.arange(5))
    for block in model.blocks:
        torch.testing.assert_close(again.encode(x)[block.name].mean, model.encode(x)[block.name].mean)
    if "independence" in DUAL[name]:
        part = again.get_submodule("independence")
        assert isinstance(part, Independence)
        assert float(part.weight.updates) > 0


@pytest.mark.parametrize("name", ["condvae-info", "lr-livae"])
def test_a_word_that_is_no_game_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="did you mean 'dual'"):
        ls.build(name, ls.open("moons:n=60"), independence="duel")
