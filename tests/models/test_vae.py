"""VAE and beta-VAE."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import labelspace as ls
from labelspace import interventions
from labelspace.data.batches import Batch
from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.errors import UserError
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.models.base import Head
from labelspace.models.networks import Network
from labelspace.models.vae import VAE

SCHEMA = Schema([binary("a"), categorical("k", ("x", "y", "z")), continuous("c", 1.0, 2.0)])


def data(n: int = 300) -> Dataset:
    rng = np.random.default_rng(0)
    values = np.stack([rng.integers(0, 2, n), rng.integers(0, 3, n), rng.normal(1, 2, n)], 1).astype(np.float32)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    x[:, 0] += 3 * values[:, 0]
    return Dataset("made", x, values, np.ones(values.shape, bool), SCHEMA, random_splits(n, 0))


def test_the_objective_is_the_weighted_bound() -> None:
    d = data()
    model = VAE(d.shape, SCHEMA, latent=2, beta=4.0, likelihood="gaussian", network=Network(width=8)).eval()
    batch = Batch(d.samples(range(8)), *d.labels(range(8)))
    losses = model.losses(batch, torch.Generator().manual_seed(0))
    total = losses.objective("model")
    assert float(total.detach()) == pytest.approx(float(losses.terms["reconstruction"] + 4 * losses.terms["kl_z"]), rel=1e-6)


def test_a_schedule_changes_the_weight_with_time() -> None:
    d = data()
    model = VAE(d.shape, SCHEMA, latent=2, beta="linear:0->2@10", likelihood="gaussian", network=Network(width=8))
    assert model.weights()["kl_z"] == 0
    model.epoch = 5.0
    assert model.weights()["kl_z"] == pytest.approx(1.0)


def test_log_likelihood_of_a_linear_gaussian_model_is_exact() -> None:
    """With p(x|z) = N(Wz, s^2) the evidence is N(0, WW' + s^2 I); importance sampling must find it."""
    torch.manual_seed(0)
    model = VAE((3,), Schema([]), latent=1, likelihood="gaussian", scale=0.5, network=Network(width=4)).eval()
    w = torch.tensor([[1.0], [-0.5], [0.3]])
    linear = torch.nn.Linear(1, 3)
    with torch.no_grad():
        linear.weight.copy_(w)
        linear.bias.zero_()
    model.decoder = linear
    model.head = Head(4, 1, scale=1.0)
    with torch.no_grad():
        model.head.linear.weight.zero_()
        model.head.linear.bias.zero_()
    x = torch.randn(4, 3)
    exact = torch.distributions.MultivariateNormal(torch.zeros(3), w @ w.T + 0.25 * torch.eye(3)).log_prob(x)
    found = model.log_likelihood(x, draws=4_000, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(found, exact, atol=0.05)


def test_attribute_vectors_are_differences_of_class_means() -> None:
    d = data()
    torch.manual_seed(0)
    model = ls.build("vae", d, latent=3, likelihood="gaussian", network=Network(width=16))
    ls.fit(model, d, epochs=2, batch_size=32)
    rows = d.rows("train")
    with torch.no_grad():
        z = model.encode(d.samples(rows))["z"].mean
    values = d.labels(rows)[0]
    for label, old, new in (("a", 0, 1), ("k", "x", "z")):
        column, (low, high) = SCHEMA.index(label), (SCHEMA[label].parse(v) for v in (old, new))
        expected = z[values[:, column] == high].mean(0) - z[values[:, column] == low].mean(0)
        mine = torch.tensor([[0.0, 0.0, 1.0]])
        mine[0, column] = low
        done = interventions.set(model, d.samples([0]), {label: new}, (mine, torch.ones(1, 3, dtype=torch.bool)))
        moved = done.codes["z"] - model.encode(d.samples([0]))["z"].mean
        assert torch.allclose(moved[0], expected, atol=1e-3)


def test_labels_are_not_predicted() -> None:
    d = data()
    model = ls.build("vae", d, likelihood="gaussian", network=Network(width=8))
    with pytest.raises(UserError, match="does not predict labels"):
        model.predict(d.samples([0]))


def test_an_edit_with_unknown_own_label_says_what_is_needed() -> None:
    d = data()
    model = ls.build("vae", d, likelihood="gaussian", network=Network(width=8)).eval()
    with pytest.raises(UserError, match="own value"):
        interventions.set(model, d.samples([0]), {"a": 1})
