"""FactorVAE: its terms by hand, whose gradients they are, and what the penalty does."""

from __future__ import annotations

import math

import pytest
import torch

import labelspace as ls
from labelspace.data.batches import Batch
from labelspace.data.dataset import Dataset
from labelspace.distributions import DiagonalGaussian
from labelspace.metrics import gaussian_total_correlation
from labelspace.models.factorvae import FactorVAE
from labelspace.models.networks import Network

SMALL = Network(width=32, depth=2)


def made(data: Dataset, **changes) -> tuple[FactorVAE, Batch]:
    torch.manual_seed(0)
    model = FactorVAE(data.shape, data.schema, None, 3, scale=0.5, network=SMALL, **changes)
    return model, Batch(data.samples(range(9)), *data.labels(range(9)))


def test_terms_are_the_bound_and_the_discriminators_log_odds(mixed: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiagonalGaussian, "sample", lambda self, generator=None: self.mean)
    model, batch = made(mixed, gamma=10.0)
    losses = model.losses(batch, torch.Generator().manual_seed(0))
    total = float(losses.objective("model").detach())
    with torch.no_grad():
        q = model.encode(batch.x)["z"]
        log_odds = model.density_ratio.network(q.mean)[:, 0].mean()
        kl = torch.distributions.kl_divergence(
            torch.distributions.Normal(q.mean, q.scale), torch.distributions.Normal(0.0, 1.0)
        )
    terms = losses.terms
    torch.testing.assert_close(terms["total_correlation"], log_odds)
    torch.testing.assert_close(terms["kl_z"], kl.sum(1).mean())
    assert total == pytest.approx(float(terms["reconstruction"] + terms["kl_z"] + 10 * log_odds), rel=1e-5)
    bound = terms["reconstruction"] + terms["kl_z"]
    assert float(model.score(terms)) == pytest.approx(float(bound), rel=1e-6)  # epochs are compared by the bound


def test_the_discriminators_loss_is_a_cross_entropy_of_codes_and_shuffled_ones(mixed: Dataset) -> None:
    model, batch = made(mixed)
    with torch.no_grad():
        for parameter in model.density_ratio.parameters():
            parameter.zero_()
    losses = model.losses(batch, torch.Generator().manual_seed(0))
    losses.objective("density_ratio").backward()
    assert float(losses.terms["density_ratio"]) == pytest.approx(math.log(2))
    assert model.head.linear.weight.grad is None  # codes are detached


def measured(data: Dataset, gamma: float, seed: int) -> float:
    """The total correlation of the Gaussian of codes as drawn, in nats, of a model that is trained for a moment."""
    torch.manual_seed(seed)
    model = ls.build("factor-vae", data, latent=3, gamma=gamma, scale=0.1, network=SMALL)
    model = ls.fit(model, data, epochs=25, batch_size=64, learning_rate=5e-3, seed=seed, progress=False).model
    with torch.no_grad():
        drawn = model.encode(data.samples(range(len(data))))["z"].sample(torch.Generator().manual_seed(0))
    return gaussian_total_correlation(drawn.numpy()).score.value


def test_the_penalty_lowers_the_total_correlation(mixed: Dataset) -> None:
    assert measured(mixed, 20.0, 0) < 0.5 * measured(mixed, 0.0, 0)
