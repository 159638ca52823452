"""beta-TCVAE: the parts of the KL where they are known, and what their weights do."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import labelspace as ls
from labelspace import config
from labelspace.data.batches import Batch
from labelspace.data.dataset import Dataset
from labelspace.distributions import DiagonalGaussian
from labelspace.metrics import Score, gaussian_total_correlation
from labelspace.models.networks import Network
from labelspace.models.tcvae import BetaTCVAE, decomposition, stratified

SMALL = Network(width=32, depth=2)


def posteriors(n: int, d: int, seed: int = 0) -> tuple[DiagonalGaussian, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mean, scale = (torch.randn(n, d, generator=generator, dtype=torch.float64) for _ in range(2))
    q = DiagonalGaussian(mean, (0.3 * scale).exp())
    return q, q.sample(generator)


@given(st.integers(1, 9), st.integers(1, 40))
def test_weights_are_those_of_stratified_sampling(n: int, population: int) -> None:
    weights, m, size = stratified(n, population), n - 1, max(n, population)
    torch.testing.assert_close(weights.sum(1), torch.ones(n))
    if m:
        for i, row in enumerate(weights):
            assert float(row[i]) == pytest.approx(1 / size)
            others = sorted(float(row[j]) for j in range(n) if j != i)
            assert others == pytest.approx([(size - m) / (size * m), *[1 / m] * (m - 1)])


def test_the_estimate_of_the_aggregate_posterior_has_no_bias() -> None:
    """Over all minibatches of three of six samples, in every order, its mean at a draw of one of them is q(z)."""
    population, n = 6, 3
    q, _ = posteriors(population, 2)
    z = q.mean[0] + 0.3
    density = q.log_prob(z).exp()
    others = torch.tensor([[0, i, j] for i in range(1, population) for j in range(1, population) if i != j])
    weights = stratified(n, population).double()[0]
    assert float((density[others] * weights).sum(1).mean()) == pytest.approx(float(density.mean()), rel=1e-6)


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("population", [1, 7, 1000])
def test_the_parts_add_up_to_the_divergence_at_the_draw(n: int, population: int) -> None:
    q, z = posteriors(n, 3)
    parts = decomposition(q, z, population)
    standard = torch.distributions.Normal(0.0, 1.0)
    expected = (q.log_prob(z) - standard.log_prob(z).sum(1)).mean()
    assert float(sum(parts.values())) == pytest.approx(float(expected), rel=1e-6)


def test_one_coordinate_has_no_total_correlation() -> None:
    q, z = posteriors(50, 1)
    assert float(decomposition(q, z, 50)["kl_total_correlation"]) == pytest.approx(0.0, abs=1e-6)


def test_parts_of_a_gaussian_have_their_closed_forms() -> None:
    """Means with correlation r and deviation a, posteriors of width b: q(z) is a Gaussian, and everything of it is known."""
    r, a, b, n = 0.9, 1.0, 0.7, 3000
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(n, 2, generator=generator)
    mean = a * torch.stack([noise[:, 0], r * noise[:, 0] + math.sqrt(1 - r**2) * noise[:, 1]], 1)
    q = DiagonalGaussian(mean, torch.full((n, 2), b))
    found = decomposition(q, q.sample(generator), 10_000_000)
    covariance = torch.tensor([[a**2 + b**2, r * a**2], [r * a**2, a**2 + b**2]])
    log_det, variance = float(torch.logdet(covariance)), a**2 + b**2
    assert float(found["kl_index_code"]) == pytest.approx(0.5 * (log_det - 4 * math.log(b)), abs=0.08)
    assert float(found["kl_total_correlation"]) == pytest.approx(0.5 * (2 * math.log(variance) - log_det), abs=0.05)
    assert float(found["kl_coordinates"]) == pytest.approx(variance - 1 - math.log(variance), abs=0.05)


def test_a_sample_seen_for_itself_tells_no_more_than_which_one_it_is() -> None:
    far = DiagonalGaussian(100 * torch.arange(8.0)[:, None].expand(-1, 2), torch.ones(8, 2))
    found = decomposition(far, far.mean, 500)
    assert float(found["kl_index_code"]) == pytest.approx(math.log(500), abs=1e-4)


def test_weights_multiply_their_parts_and_the_score_is_the_negative_bound(mixed: Dataset) -> None:
    data = mixed
    model = BetaTCVAE(data.shape, data.schema, None, 3, 0.5, 7.0, 2.0, network=SMALL)
    losses = model.losses(Batch(data.samples(range(9)), *data.labels(range(9))), torch.Generator().manual_seed(0))
    total, t = float(losses.objective("model").detach()), {k: float(v) for k, v in losses.terms.items()}
    assert total == pytest.approx(
        t["reconstruction"] + 0.5 * t["kl_index_code"] + 7 * t["kl_total_correlation"] + 2 * t["kl_coordinates"], rel=1e-5
    )
    assert float(model.score(losses.terms)) == pytest.approx(sum(t.values()), rel=1e-5)


def test_the_data_say_how_many_samples_there_are(mixed: Dataset, tmp_path: Path) -> None:
    data = mixed
    model = ls.build("beta-tcvae", data, latent=2, network=SMALL)
    assert isinstance(model, BetaTCVAE)
    assert model.population == len(data.rows("train"))
    loaded = ls.load(ls.save(model, tmp_path / "m"))
    assert isinstance(loaded, BetaTCVAE)
    assert loaded.population == model.population
    assert config.resolve("beta-tcvae", data.shape, 0, 123).arguments["population"] == 123
    with pytest.raises(ls.UserError, match="population must be at least 1"):
        ls.build("beta-tcvae", data, population=0)


def measured(data: Dataset, beta: float, seed: int) -> Score:
    """The total correlation of the Gaussian of codes as drawn, in nats, of a model that is trained for a moment."""
    torch.manual_seed(seed)
    model = ls.build("beta-tcvae", data, latent=3, beta=beta, scale=0.1, network=SMALL)
    model = ls.fit(model, data, epochs=25, batch_size=64, learning_rate=5e-3, seed=seed, progress=False).model
    with torch.no_grad():
        drawn = model.encode(data.samples(range(len(data))))["z"].sample(torch.Generator().manual_seed(0))
    return gaussian_total_correlation(drawn.numpy()).score


def test_a_weight_on_the_total_correlation_lowers_it(mixed: Dataset) -> None:
    """At 1 the objective is that of the VAE."""
    assert measured(mixed, 20.0, 0).high < 0.5 * measured(mixed, 1.0, 0).low
