"""M2: both bounds against sums over all values, with a decoder whose expectations are known."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import torch.distributions as td
from torch import Tensor, nn

from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.models.m2 import M2
from labelspace.models.networks import Network

SCHEMA = Schema([binary("a"), categorical("k", ("x", "y", "z"))])
FREQUENCIES = [[0.8, 0.2], [0.5, 0.3, 0.2]]
SCALE = 0.7
VALUES = torch.tensor([[1.0, 2.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
OBSERVED = torch.tensor([[True, True], [False, True], [True, False], [False, False]])


def model(schema: Schema = SCHEMA, **changes) -> M2:
    """M2 with random networks, but a decoder that is linear in z and in the label features."""
    torch.manual_seed(0)
    arguments: dict[str, Any] = {"latent": 2, "classification": 0.1, "enumerate": 32, "likelihood": "gaussian", "scale": SCALE}
    frequencies = FREQUENCIES if schema is SCHEMA else None
    arguments |= {"network": Network(width=8, depth=1), **changes}
    m = M2((3,), schema, frequencies, **arguments).eval()
    m.decoder = nn.Linear(2 + schema.width, 3)
    with torch.no_grad():
        m.label_head.weight.mul_(3)
    return m


def weights_of_z(m: M2) -> Tensor:
    return m.decoder.get_parameter("weight")[:, :2]


def batch(rows: slice = slice(None)) -> Batch:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    return Batch(x[rows], torch.where(OBSERVED, VALUES, 0.0)[rows], OBSERVED[rows])


def terms_of(m: M2, b: Batch, seed: int = 0) -> dict[str, Tensor]:
    return m.losses(b, torch.Generator().manual_seed(seed)).objectives["model"]()


def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws of posteriors are their means from now on."""
    monkeypatch.setattr(DiagonalGaussian, "sample", lambda self, generator=None: self.mean)


def labelled_bound(m: M2, x: Tensor, way: tuple[float, ...], noise: bool) -> tuple[Tensor, Tensor, Tensor]:
    """-E[log p(x | z, y)], KL and -log p(y) of every sample with its labels at one way of filling them in."""
    values = torch.tensor([way]).expand(len(x), -1)
    q = m.posterior(x, values, torch.ones_like(values, dtype=torch.bool))["z"]
    mean = m.decoder(torch.cat([q.mean, m.schema.features(values)], 1))
    reconstruction = -td.Normal(mean, SCALE).log_prob(x).sum(1)
    if noise:
        reconstruction = reconstruction + (q.scale**2 @ weights_of_z(m).square().sum(0)) / (2 * SCALE**2)
    kl = td.kl_divergence(td.Normal(q.mean, q.scale), td.Normal(0.0, 1.0)).sum(1)
    p_y = torch.tensor([FREQUENCIES[i][int(v)] for i, v in enumerate(way)])
    return reconstruction, kl, -p_y.log().sum().expand(len(x))


def brute_force(m: M2, b: Batch, noise: bool) -> dict[str, Tensor]:
    """The terms of every sample, summed over all ways of filling in what it lacks, one by one."""
    answer = m.label_distribution(b.x)
    sums = {name: torch.zeros(len(b)) for name in ("reconstruction", "kl_z", "kl_y")}
    for way in itertools.product(range(2), range(3)):
        fits = torch.where(b.observed, b.values == torch.tensor([way]), True).all(1)
        log_q = torch.stack([answer.log_table(i)[:, v] for i, v in enumerate(way)], 1)
        log_q = torch.where(b.observed, 0.0, log_q).sum(1)
        weight = torch.where(fits, log_q.exp(), 0.0)
        reconstruction, kl, log_p = labelled_bound(m, b.x, tuple(map(float, way)), noise)
        for name, term in (("reconstruction", reconstruction), ("kl_z", kl), ("kl_y", log_p + log_q)):
            sums[name] = sums[name] + weight * term
    return sums


@pytest.mark.parametrize("row", range(4))
def test_bound_of_a_sample_is_the_sum_over_the_values_that_it_lacks(row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    silence(monkeypatch)
    m, b = model(), batch(slice(row, row + 1))
    found, expected = terms_of(m, b), brute_force(m, b, noise=False)
    for name, value in expected.items():
        assert torch.allclose(found[name].sum(), value[0], atol=1e-4), name


def test_bound_of_a_batch_is_the_mean_over_labelled_and_unlabelled_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    silence(monkeypatch)
    m, b = model(), batch()
    found, expected = terms_of(m, b), brute_force(m, b, noise=False)
    for name, value in expected.items():
        assert torch.allclose(found[name].sum(), value.mean(), atol=1e-4), name


def test_a_labelled_sample_has_the_labelled_bound() -> None:
    m, b = model(), batch(slice(0, 1))
    many = Batch(b.x.expand(20_000, -1), b.values.expand(20_000, -1), b.observed.expand(20_000, -1))
    with torch.no_grad():
        found = terms_of(m, many)
        reconstruction, kl, log_p = labelled_bound(m, b.x, (1.0, 2.0), noise=True)
    assert float(found["reconstruction"]) == pytest.approx(float(reconstruction), abs=0.03)
    assert float(found["kl_z"]) == pytest.approx(float(kl), abs=1e-4)
    assert float(found["kl_y"].sum()) == pytest.approx(float(log_p), abs=1e-4)


def test_expected_bound_of_an_unlabelled_sample_is_exact_under_noise() -> None:
    m, b = model(), batch(slice(3, 4))
    many = Batch(b.x.expand(5000, -1), b.values.expand(5000, -1), b.observed.expand(5000, -1))
    with torch.no_grad():
        found, expected = terms_of(m, many), brute_force(m, b, noise=True)
    for name, value in expected.items():
        assert float(found[name].sum()) == pytest.approx(float(value), abs=0.04), name


def test_a_known_label_costs_its_log_probability_and_a_missing_one_its_divergence() -> None:
    m, b = model(), batch(slice(1, 2))  # a missing, k known
    found = terms_of(m, b)["kl_y"].detach()
    q = m.label_distribution(b.x).log_table(0)[0].detach()
    expected = (q.exp() * (q - torch.tensor(FREQUENCIES[0]).log())).sum()
    assert torch.allclose(found, torch.stack([expected, -torch.tensor(0.3).log()]), atol=1e-5)


def test_classification_is_the_cross_entropy_of_labelled_samples() -> None:
    m, b = model(), batch()
    answer = m.label_distribution(b.x)
    a = -(answer.log_table(0)[0, 1] + answer.log_table(0)[2, 1]) / 2
    k = -(answer.log_table(1)[0, 2] + answer.log_table(1)[1, 1]) / 2
    losses = m.losses(b, torch.Generator().manual_seed(0))
    total = losses.objective("model")
    assert torch.allclose(losses.terms["classification"], torch.stack([a, k]), atol=1e-5)
    bound = losses.terms["reconstruction"] + losses.terms["kl_z"] + losses.terms["kl_y"].sum()
    assert torch.allclose(total, bound + 0.1 * (a + k), atol=1e-4)


def classifier_gradient(m: M2, b: Batch) -> Tensor:
    terms = terms_of(m, b)
    total = terms["reconstruction"] + terms["kl_z"] + terms["kl_y"].sum()
    return torch.autograd.grad(total, m.label_head.bias)[0]


def test_unlabelled_samples_teach_the_classifier_as_the_exact_bound_does(monkeypatch: pytest.MonkeyPatch) -> None:
    silence(monkeypatch)
    m, b = model(), batch(slice(3, 4))
    found = classifier_gradient(m, b)
    slopes = []
    for j in range(4):
        ends = []
        for step in (1e-2, -1e-2):
            with torch.no_grad():
                m.label_head.bias[j] += step
                ends.append(sum(v.sum() for v in brute_force(m, b, noise=False).values()))
                m.label_head.bias[j] -= step
        slopes.append((ends[0] - ends[1]) / 2e-2)
    assert torch.allclose(found, torch.tensor(slopes), atol=1e-2, rtol=1e-2)
    assert bool(found.abs().max() > 0.01)


def test_more_combinations_than_are_summed_still_teach_the_classifier() -> None:
    m, b = model(enumerate=1), batch()
    terms = terms_of(m, b)
    assert all(bool(torch.isfinite(v).all()) for v in terms.values())
    reconstruction = torch.autograd.grad(terms["reconstruction"], m.label_head.bias, retain_graph=True)[0]
    assert bool(torch.isfinite(reconstruction).all())
    assert bool(reconstruction.abs().max() > 0)
    label = torch.autograd.grad(terms["kl_y"].sum(), m.label_head.bias)[0]
    assert bool(label.abs().max() > 0)


def test_a_sample_with_few_combinations_is_summed_out_beside_one_with_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """With at most 3 ways allowed, only the sample without any label (6 ways) is drawn."""
    silence(monkeypatch)
    m, b = model(enumerate=3), batch(slice(0, 3))
    found, expected = terms_of(m, b), brute_force(m, b, noise=False)
    for name, value in expected.items():
        assert torch.allclose(found[name].sum(), value.mean(), atol=1e-4), name


def test_the_divergence_of_drawn_labels_is_the_exact_one() -> None:
    m, b = model(enumerate=1), batch(slice(3, 4))
    answer = m.label_distribution(b.x)
    exact = []
    for i in range(2):
        q = answer.log_table(i)[0]
        exact.append((q.exp() * (q - torch.tensor(FREQUENCIES[i]).log())).sum())
    many = Batch(b.x.expand(20_000, -1), b.values.expand(20_000, -1), b.observed.expand(20_000, -1))
    assert torch.allclose(terms_of(m, many)["kl_y"].detach(), torch.stack(exact).detach(), atol=0.05)


def test_a_missing_number_is_drawn_with_a_gradient_and_its_bound_is_unbiased() -> None:
    schema = Schema([continuous("c", 2.0, 3.0)])
    m, b = model(schema), batch(slice(3, 4))
    n = 20_000
    many = Batch(b.x.expand(n, -1), torch.zeros(n, 1), torch.zeros(n, 1, dtype=torch.bool))
    terms = terms_of(m, many)
    table = m.label_distribution(b.x).table()["c"]
    grid = torch.linspace(-30, 34, 2001)
    q = td.Normal(float(table["mean"][0]), float(table["sd"][0]))
    with torch.no_grad():
        x, y = b.x.expand(len(grid), -1), grid[:, None]
        z = m.posterior(x, y, torch.ones_like(y, dtype=torch.bool))["z"]
        mean = m.decoder(torch.cat([z.mean, (y - 2) / 3], 1))
        spread = (z.scale**2 @ weights_of_z(m).square().sum(0)) / (2 * SCALE**2)
        lost = -td.Normal(mean, SCALE).log_prob(x).sum(1) + spread
        expected = torch.trapezoid(q.log_prob(grid).exp() * lost, grid)
    assert float(terms["reconstruction"].detach()) == pytest.approx(float(expected), rel=0.02)
    divergence = td.kl_divergence(q, td.Normal(2.0, 3.0))
    assert float(terms["kl_y"].sum().detach()) == pytest.approx(float(divergence), abs=0.05)
    slope = torch.autograd.grad(terms["reconstruction"], m.label_head.bias)[0]
    assert bool((slope.abs() > 0).all())


def test_the_encoder_of_z_reads_the_labels() -> None:
    m, b = model(), batch()
    full = torch.ones_like(b.observed)
    assert not torch.allclose(
        m.posterior(b.x, VALUES, full)["z"].mean, m.posterior(b.x, VALUES.flip(0), full)["z"].mean, atol=1e-3
    )


def test_classes_are_summed_and_numbers_drawn_where_a_sample_lacks_both() -> None:
    """One way of filling in per value of the binary label, each with its own or a shared draw of the number."""
    schema = Schema([binary("a"), continuous("c", 2.0, 3.0)])
    torch.manual_seed(0)
    m = M2(
        (3,), schema, None, latent=2, enumerate=32, likelihood="gaussian", scale=SCALE, network=Network(width=8, depth=1)
    ).eval()
    m.decoder = nn.Linear(4, 3)
    n = 20_000
    x = torch.randn(1, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = terms_of(m, Batch(x.expand(n, -1), torch.zeros(n, 2), torch.zeros(n, 2, dtype=torch.bool)))
        answer = m.label_distribution(x)
        table, log_q = answer.table()["c"], answer.log_table(0)[0]
        q = td.Normal(float(table["mean"][0]), float(table["sd"][0]))
        grid = torch.linspace(-30, 34, 2001)
        expected = torch.zeros(())
        for a in (0, 1):
            y = torch.stack([torch.full_like(grid, float(a)), grid], 1)
            z = m.posterior(x.expand(len(grid), -1), y, torch.ones_like(y, dtype=torch.bool))["z"]
            mean = m.decoder(torch.cat([z.mean, schema.features(y)], 1))
            spread = (z.scale**2 @ weights_of_z(m).square().sum(0)) / (2 * SCALE**2)
            lost = -td.Normal(mean, SCALE).log_prob(x).sum(1) + spread
            expected = expected + log_q[a].exp() * torch.trapezoid(q.log_prob(grid).exp() * lost, grid)
        divergence = (log_q.exp() * (log_q - math.log(0.5))).sum() + td.kl_divergence(q, td.Normal(2.0, 3.0))
    assert float(found["reconstruction"]) == pytest.approx(float(expected), rel=0.02)
    assert float(found["kl_y"].sum()) == pytest.approx(float(divergence), abs=0.05)


@pytest.mark.parametrize("row", [0, 1, 3])
def test_log_likelihood_of_a_linear_model_is_that_of_its_mixture_of_gaussians(row: int) -> None:
    m, b = model(), batch(slice(row, row + 1))
    with torch.no_grad():
        m.head.linear.weight.zero_()
        m.head.linear.bias.copy_(torch.tensor([0.0, 0.0, 1.0, 1.0]))  # proposals a little wider than p(z)
        covariance = weights_of_z(m) @ weights_of_z(m).T + SCALE**2 * torch.eye(3)
        parts = []
        for way in itertools.product(range(2), range(3)):
            if bool(torch.where(b.observed, b.values == torch.tensor([way]), True).all()):
                y = SCHEMA.features(torch.tensor([way]).float())
                mean = m.decoder(torch.cat([torch.zeros(1, 2), y], 1))
                p_y = [math.log(FREQUENCIES[i][v]) for i, v in enumerate(way) if not bool(b.observed[0, i])]
                parts.append(td.MultivariateNormal(mean[0], covariance).log_prob(b.x[0]) + sum(p_y))
    many = [part.expand(200, -1) for part in (b.x, b.values, b.observed)]
    found = m.log_likelihood(*many, draws=30, generator=torch.Generator().manual_seed(0)).logsumexp(0) - math.log(200)
    assert float(found) == pytest.approx(float(torch.stack(parts).logsumexp(0)), abs=0.06)
