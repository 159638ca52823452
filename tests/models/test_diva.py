"""DIVA without its domain latent: the terms of known and of missing labels by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.distributions as td
from torch import Tensor

from labelspace.blocks import Latents, concatenate
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.models.diva import DIVA
from labelspace.models.networks import Network

SCHEMA = Schema([binary("a"), categorical("k", ("x", "y", "z"))])
FREQUENCIES = [[0.8, 0.2], [0.5, 0.3, 0.2]]
VALUES = torch.tensor([[1.0, 2.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
OBSERVED = torch.tensor([[True, True], [False, True], [True, False], [False, False]])


def model(schema: Schema = SCHEMA, **changes) -> DIVA:
    torch.manual_seed(0)
    arguments: dict[str, Any] = {
        "latent": 2,
        "subspace": 1,
        "classification": 7.0,
        "kl_z": 1.0,
        "kl_y": 1.0,
        "likelihood": "gaussian",
    }
    frequencies = FREQUENCIES if schema is SCHEMA else None
    arguments |= {"scale": 0.7, "network": Network(width=8, depth=1), **changes}
    m = DIVA((3,), schema, frequencies, **arguments).eval()
    with torch.no_grad():
        for p in [*m.label_prior.parameters(), *m.classifiers.parameters()]:
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(2)))
    return m


def batch() -> Batch:
    return Batch(torch.randn(4, 3, generator=torch.Generator().manual_seed(1)), torch.where(OBSERVED, VALUES, 0.0), OBSERVED)


def terms_of(m: DIVA, b: Batch, seed: int = 0) -> dict[str, Tensor]:
    return m.losses(b, torch.Generator().manual_seed(seed)).objectives["model"]()


def normal(g: DiagonalGaussian) -> td.Normal:
    return td.Normal(g.mean, g.scale)


def answer(m: DIVA, i: int, codes: Tensor) -> Tensor:
    """log q(y_i | z_i) of every value, from the reader's weights; ``(..., values)``."""
    raw = m.classifiers.get_submodule(f"networks.{i}")(codes)
    return torch.cat([torch.zeros_like(raw), raw], -1).log_softmax(-1) if i == 0 else raw.log_softmax(-1)


def unlabelled(m: DIVA, i: int, q: DiagonalGaussian, codes: Tensor) -> Tensor:
    """log q(z_i | x) + sum_y q(y | z_i)(log q(y | z_i) - log p(z_i | y) - log p(y)) at codes."""
    table, log_answer = m.label_prior.table(i), answer(m, i, codes)
    total = normal(q).log_prob(codes).sum(-1)
    for y, p in enumerate(FREQUENCIES[i]):
        log_p_z = td.Normal(table.mean[y], table.scale[y]).log_prob(codes).sum(-1)
        total = total + log_answer[..., y].exp() * (log_answer[..., y] - log_p_z - math.log(p))
    return total


def test_known_labels_cost_a_divergence_their_frequency_and_the_classifiers_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiagonalGaussian, "sample", lambda self, generator=None: self.mean)
    m = model(subspace=2)
    b = Batch(batch().x, VALUES, torch.ones(4, 2, dtype=torch.bool))
    q = m.posterior(b.x, b.values, b.observed)
    found = terms_of(m, b)
    raw = m.decoder(concatenate(Latents(m.blocks, {name: part.mean for name, part in q.items()})))
    assert torch.allclose(found["reconstruction"], -td.Normal(raw, 0.7).log_prob(b.x).sum(1).mean(), atol=1e-4)
    assert torch.allclose(found["kl_z"], td.kl_divergence(normal(q["z"]), td.Normal(0.0, 1.0)).sum(1).mean(), atol=1e-5)
    for i, name in enumerate(("z.a", "z.k")):
        y, table = VALUES[:, i].long(), m.label_prior.table(i)
        divergence = td.kl_divergence(normal(q[name]), td.Normal(table.mean[y], table.scale[y])).sum(1)
        expected = (divergence - torch.tensor(FREQUENCIES[i]).log()[y]).mean()
        assert torch.allclose(found["kl_y"][i], expected, atol=1e-4)
        cross = -answer(m, i, q[name].mean).gather(1, y[:, None]).mean()
        assert torch.allclose(found["classification"][i], cross, atol=1e-5)


def test_weights_multiply_their_terms_and_nothing_else() -> None:
    m, b = model(classification=7.0, kl_z=0.5, kl_y=3.0), batch()
    losses = m.losses(b, torch.Generator().manual_seed(0))
    total, t = losses.objective("model").detach(), losses.terms
    expected = t["reconstruction"] + 0.5 * t["kl_z"] + 3 * t["kl_y"].sum() + 7 * t["classification"].sum()
    assert torch.allclose(total, expected, rtol=1e-5)


@pytest.mark.parametrize("row", range(4))
def test_expected_terms_of_a_sample_that_has_some_labels(row: int) -> None:
    """The expectation under q(z_i | x) by a fine grid where the label is missing; no classification term there."""
    m, b = model(), batch()
    n = 20_000
    many = Batch(*(part[row].expand(n, -1) for part in (b.x, b.values, b.observed)))
    with torch.no_grad():
        found = terms_of(m, many)
        q = m.posterior(b.x, b.values, b.observed)
        for i, name in enumerate(("z.a", "z.k")):
            mine = q[name][[row]]
            grid = mine.mean + mine.scale * torch.linspace(-8, 8, 4001)[:, None]
            density = normal(mine).log_prob(grid)[:, 0].exp()
            if bool(OBSERVED[row, i]):
                y, table = int(VALUES[row, i]), m.label_prior.table(i)
                p = td.Normal(table.mean[y], table.scale[y])
                expected = td.kl_divergence(normal(mine), p).sum() - math.log(FREQUENCIES[i][y])
                cross = -torch.trapezoid(density * answer(m, i, grid)[:, y], grid[:, 0])
            else:
                expected, cross = torch.trapezoid(density * unlabelled(m, i, mine, grid), grid[:, 0]), torch.zeros(())
            assert float(found["kl_y"][i]) == pytest.approx(float(expected), abs=0.03)
            assert float(found["classification"][i]) == pytest.approx(float(cross), abs=0.03)


def test_classification_is_a_mean_over_labelled_samples_and_the_bound_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiagonalGaussian, "sample", lambda self, generator=None: self.mean)
    m, b = model(), batch()
    stack_blocks = terms_of(m, b)
    alone = [terms_of(m, Batch(*(part[[row]] for part in (b.x, b.values, b.observed)))) for row in range(4)]
    assert torch.allclose(stack_blocks["kl_y"], torch.stack([t["kl_y"] for t in alone]).mean(0), atol=1e-4)
    for i, rows in enumerate(((0, 2), (0, 1))):
        expected = torch.stack([alone[row]["classification"][i] for row in rows]).mean()
        assert torch.allclose(stack_blocks["classification"][i], expected, atol=1e-5)


def test_missing_labels_teach_the_classifier_as_the_exact_bound_does() -> None:
    m, b = model(), batch()
    n = 20_000
    x = b.x[3]
    many = Batch(x.expand(n, -1), torch.zeros(n, 2), torch.zeros(n, 2, dtype=torch.bool))
    bias = m.classifiers.get_submodule("networks.0.0").get_parameter("bias")
    found = float(torch.autograd.grad(terms_of(m, many)["kl_y"][0], bias)[0])
    q = m.posterior(x[None], VALUES[:1], OBSERVED[:1])["z.a"]
    grid = (q.mean + q.scale * torch.linspace(-8, 8, 4001)[:, None]).detach()
    exact = torch.trapezoid(normal(q).log_prob(grid)[:, 0].exp().detach() * unlabelled(m, 0, q, grid), grid[:, 0])
    expected = float(torch.autograd.grad(exact, bias)[0])
    assert abs(expected) > 0.02
    assert found == pytest.approx(expected, abs=0.01)


def test_a_known_number_costs_its_divergence_from_a_gaussian_with_a_linear_mean() -> None:
    schema = Schema([continuous("c", 2.0, 3.0)])
    m = model(schema)
    b = Batch(batch().x, torch.tensor([[2.0], [5.0], [-1.0], [8.0]]), torch.ones(4, 1, dtype=torch.bool))
    q = m.posterior(b.x, b.values, b.observed)["z.c"]
    p = m.prior(b.values)["z.c"]
    assert torch.allclose(p.mean[1] - p.mean[0], p.mean[3] - p.mean[1], atol=1e-5)
    log_p = td.Normal(2.0, 3.0).log_prob(b.values[:, 0]) + math.log(3.0)  # density of the standardised value
    expected = (td.kl_divergence(normal(q), normal(p)).sum(1) - log_p).mean()
    assert torch.allclose(terms_of(m, b)["kl_y"][0], expected, atol=1e-4)


def test_encoders_do_not_see_labels() -> None:
    m, b = model(), batch()
    one, other = (m.posterior(b.x, values, b.observed) for values in (b.values, 1 - b.values.clamp(max=1)))
    assert all(torch.equal(one[name].mean, other[name].mean) for name in one)


def test_labels_are_predicted_from_the_mean_of_their_own_block() -> None:
    m, b = model(), batch()
    q, found = m.posterior(b.x, b.values, b.observed), m.predict(b.x)
    for i, name in enumerate(("z.a", "z.k")):
        assert torch.allclose(found.log_table(i), answer(m, i, q[name].mean), atol=1e-5)
