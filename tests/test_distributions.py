"""Distributions over latents against torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as td

from labelspace.distributions import Degenerate, DiagonalGaussian, Point


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


def test_what_has_no_width_in_some_entries_is_a_gaussian_in_the_others() -> None:
    scale = torch.tensor([[0.0, 0.5], [2.0, 0.0]])
    q, p = Degenerate(torch.tensor([[0.0, 1.0], [3.0, -1.0]]), scale), Degenerate(torch.zeros(2, 2), scale)
    found = q.kl_per_dimension(p)
    expected = td.kl_divergence(
        td.Normal(q.mean, 1.0 * (scale + (scale == 0))), td.Normal(p.mean, 1.0 * (scale + (scale == 0)))
    )
    assert found[0, 0] == 0  # the same point
    assert found[1, 1] == math.inf  # another
    torch.testing.assert_close(found[0, 1], expected[0, 1])
    torch.testing.assert_close(found[1, 0], expected[1, 0])
    wide = DiagonalGaussian(q.mean, torch.ones(2, 2))
    assert torch.equal(wide.kl_per_dimension(q).isinf(), scale == 0)
    assert torch.equal(q.kl_per_dimension(wide).isinf(), scale == 0)
    drawn = q.sample(torch.Generator().manual_seed(0))
    assert torch.equal(drawn == q.mean, scale == 0)
    torch.testing.assert_close(q.log_prob_per_dimension(drawn)[0, 1], td.Normal(1.0, 0.5).log_prob(drawn[0, 1]))
    assert q.log_prob_per_dimension(drawn)[scale == 0].tolist() == [0, 0]
    assert q.log_prob_per_dimension(drawn + 1)[scale == 0].tolist() == [-math.inf, -math.inf]
    assert isinstance(q[:1], Degenerate)


def test_entries_without_width_leave_a_gradient_that_is_finite() -> None:
    mean, scale = torch.ones(2, 2, requires_grad=True), torch.full((2, 2), 0.5, requires_grad=True)
    empty = torch.tensor([[True], [False]])
    q = Degenerate(torch.where(empty, 0.0, mean), torch.where(empty, 0.0, scale))
    p = Degenerate(torch.zeros(2, 2), torch.where(empty, 0.0, torch.ones(2, 2)))
    (q.kl(p).sum() + q.sample().sum()).backward()
    for part in (mean.grad, scale.grad):
        assert part is not None
        assert part[0].tolist() == [0, 0]
        assert bool(torch.isfinite(part[1]).all())
        assert bool((part[1] != 0).all())
