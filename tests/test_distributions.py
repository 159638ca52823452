"""Distributions over latents against torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as td

from labelspace.distributions import DiagonalGaussian, Point


def gaussian(seed: int, n: int = 4, d: int = 3) -> DiagonalGaussian:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return DiagonalGaussian(mean, torch.randn(n, d, generator=generator, dtype=torch.float64).exp())


def torch_gaussian(q: DiagonalGaussian) -> td.Distribution:
    return td.Independent(td.Normal(q.mean, q.scale), 1)


def test_kl_agrees_with_torch():
    q, p = gaussian(0), gaussian(1)
    torch.testing.assert_close(q.kl(p), td.kl_divergence(torch_gaussian(q), torch_gaussian(p)))
    torch.testing.assert_close(q.kl_per_dimension(p).sum(-1), q.kl(p))
    assert q.kl_per_dimension(p).shape == (4, 3)
    assert (q.kl_per_dimension(p) >= 0).all()
    torch.testing.assert_close(q.kl(q), torch.zeros(4).double())


def test_kl_agrees_with_monte_carlo():
    q, p = (gaussian(seed, n=1)[[0] * 100_000] for seed in (2, 3))
    z = q.sample(torch.Generator().manual_seed(0))
    ratio = q.log_prob(z) - p.log_prob(z)
    error = 5 * ratio.std().item() / math.sqrt(len(ratio))
    assert ratio.mean().item() == pytest.approx(q.kl(p)[0].item(), abs=error)


def test_kl_to_the_standard_normal_has_its_closed_form():
    q = gaussian(4)
    standard = DiagonalGaussian.standard(4, 3)
    assert standard.mean.shape == standard.scale.shape == (4, 3)
    torch.testing.assert_close(q.kl(standard), 0.5 * (q.mean**2 + q.scale**2 - 1 - 2 * q.scale.log()).sum(1))


def test_log_prob_of_a_diagonal_gaussian_agrees_with_torch():
    q, z = gaussian(5), gaussian(6).mean
    torch.testing.assert_close(q.log_prob(z), torch_gaussian(q).log_prob(z))


def test_samples_of_a_diagonal_gaussian_have_its_moments():
    q = DiagonalGaussian(torch.tensor([[1.0, -2.0]]).expand(50_000, 2), torch.tensor([[0.5, 3.0]]).expand(50_000, 2))
    z = q.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(z.mean(0), torch.tensor([1.0, -2.0]), atol=0.05, rtol=0)
    torch.testing.assert_close(z.std(0), torch.tensor([0.5, 3.0]), atol=0, rtol=0.02)


def test_samples_of_a_diagonal_gaussian_carry_gradients():
    mean, scale = torch.zeros(2, 3, requires_grad=True), torch.ones(2, 3, requires_grad=True)
    z = DiagonalGaussian(mean, scale).sample(torch.Generator().manual_seed(0))
    z.sum().backward()
    assert torch.equal(mean.grad, torch.ones(2, 3))  # type: ignore[arg-type]
    torch.testing.assert_close(scale.grad, z.detach())
    assert not DiagonalGaussian(mean, scale).detach().mean.requires_grad


def test_mode_and_rows():
    q = gaussian(7)
    assert torch.equal(q.mode, q.mean)
    assert torch.equal(q[1:3].scale, q.scale[1:3])


def test_a_point_is_drawn_as_it_is():
    value = torch.tensor([[1.0, -2.0], [0.5, 3.0]], requires_grad=True)
    point = Point.at(value)
    drawn = point.sample(torch.Generator().manual_seed(0))
    assert torch.equal(drawn, value)
    assert torch.equal(point.mode, value)
    drawn.sum().backward()
    assert torch.equal(value.grad, torch.ones(2, 2))  # type: ignore[arg-type]
    assert torch.equal(point.scale, torch.zeros(2, 2))


def test_a_point_has_all_its_mass_at_itself():
    point = Point.at(torch.tensor([[1.0, -2.0], [0.5, 3.0]]))
    assert point.log_prob(torch.tensor([[1.0, -2.0], [0.5, 3.5]])).tolist() == [0, -math.inf]
    assert point.kl(Point.at(point.mean.clone())).tolist() == [0, 0]
    assert point.kl(Point.at(point.mean + torch.tensor([[0.0, 0.0], [0.0, 1.0]]))).tolist() == [0, math.inf]
    assert point.kl(DiagonalGaussian.standard(2, 2)).tolist() == [math.inf, math.inf]


def test_parts_of_points_are_points():
    point = Point.at(torch.tensor([[1.0, -2.0], [0.5, 3.0]], requires_grad=True))
    assert isinstance(point[1:], Point)
    assert isinstance(point.detach(), Point)
    assert point[1:].mean.tolist() == [[0.5, 3.0]]
    assert not point.detach().mean.requires_grad
