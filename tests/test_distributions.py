"""Distributions over latents and data against torch.distributions."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch import distributions as td

from labelspace.distributions import Bernoulli, DiagonalGaussian, Gaussian, Laplace, Likelihood, build_likelihood
from labelspace.errors import UserError

SHAPE = (5, 2, 3, 4)


def gaussian(seed: int, n: int = 4, d: int = 3) -> DiagonalGaussian:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return DiagonalGaussian(mean, torch.randn(n, d, generator=generator, dtype=torch.float64).exp())


def torch_gaussian(q: DiagonalGaussian) -> td.Distribution:
    return td.Independent(td.Normal(q.mean, q.scale), 1)


def data(seed: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return low + (high - low) * torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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


REFERENCES: list[tuple[Likelihood, Callable[[Tensor], td.Distribution]]] = [
    (Bernoulli(), lambda raw: td.Bernoulli(logits=raw, validate_args=False)),
    (Gaussian(0.7), lambda raw: td.Normal(raw, 0.7)),
    (Laplace(0.7), lambda raw: td.Laplace(raw, 0.7)),
]
IDS = ["bernoulli", "gaussian", "laplace"]


@pytest.mark.parametrize(("likelihood", "reference"), REFERENCES, ids=IDS)
def test_log_prob_of_data_agrees_with_torch_and_is_summed_over_a_sample(likelihood: Likelihood, reference):
    raw, x = data(0, -3, 3), data(1)
    found = likelihood(raw).log_prob(x)
    assert found.shape == (5,)
    torch.testing.assert_close(found, reference(raw).log_prob(x).flatten(1).sum(1), check_dtype=False)


@pytest.mark.parametrize(("likelihood", "reference"), REFERENCES, ids=IDS)
def test_log_prob_of_vectors_is_one_number_a_sample(likelihood: Likelihood, reference):
    raw, x = data(0).reshape(5, -1), data(1).reshape(5, -1)
    torch.testing.assert_close(likelihood(raw).log_prob(x), reference(raw).log_prob(x).sum(1), check_dtype=False)


@pytest.mark.parametrize(("likelihood", "reference"), REFERENCES, ids=IDS)
def test_samples_of_data_have_the_moments(likelihood: Likelihood, reference):
    raw = torch.tensor([[-1.0, 0.0, 2.0]]).expand(100_000, 3)
    drawn = likelihood(raw).sample(torch.Generator().manual_seed(0))
    expected = reference(raw[:1])
    torch.testing.assert_close(drawn.mean(0), expected.mean[0], atol=0.015, rtol=0)
    torch.testing.assert_close(drawn.std(0), expected.stddev[0], atol=0.015, rtol=0)
    torch.testing.assert_close(likelihood(raw[:1]).mean, expected.mean)
    if not isinstance(likelihood, Bernoulli):
        quartile = 0.5 * (drawn.quantile(0.75, 0) - drawn.quantile(0.25, 0))
        torch.testing.assert_close(quartile, expected.icdf(torch.tensor(0.75))[0] - raw[0], atol=0.015, rtol=0)


@pytest.mark.parametrize(("likelihood", "reference"), REFERENCES, ids=IDS)
def test_samples_of_data_depend_on_the_generator_alone(likelihood: Likelihood, reference):
    distribution = likelihood(data(2))
    draws = [distribution.sample(torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    assert draws[0].shape == SHAPE
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert draws[0].isfinite().all()


def test_bernoulli_stays_finite_at_certain_logits():
    found = Bernoulli()(torch.tensor([[1e4, -1e4]])).log_prob(torch.tensor([[1.0, 0.0], [0.0, 1.0]])[:1])
    assert found.item() == pytest.approx(0)
    assert Bernoulli()(torch.tensor([[1e4]])).log_prob(torch.tensor([[0.0]])).item() == pytest.approx(-1e4)


def test_bernoulli_takes_data_in_the_unit_interval_only():
    Bernoulli().check(0.0, 1.0)
    Bernoulli().check(0.25, 0.5)
    for low, high in [(-0.1, 1.0), (0.0, 1.5), (-3.0, 3.0), (math.nan, 1.0), (0.0, math.nan)]:
        with pytest.raises(UserError, match=r"bernoulli.*likelihood=gaussian"):
            Bernoulli().check(low, high)


@pytest.mark.parametrize("kind", [Gaussian, Laplace])
def test_unbounded_likelihoods_take_any_data(kind: type[Likelihood]):
    kind().check(-1e9, 1e9)


@pytest.mark.parametrize("name", ["gaussian", "laplace"])
def test_a_learned_scale_is_trained_and_a_fixed_one_is_not(name: str):
    for learned in (True, False):
        likelihood = build_likelihood(name, 0.5, learned)
        trained = [p for p in likelihood.parameters() if p.requires_grad]
        assert len(trained) == int(learned)
        raw, x = torch.zeros(2, 3, requires_grad=True), torch.full((2, 3), 2.0)
        before = likelihood(raw).log_prob(x).sum()
        (-before).backward()
        if learned:
            torch.optim.SGD(trained, 0.01).step()
            assert likelihood(raw).log_prob(x).sum() > before
        else:
            assert all(p.grad is None for p in likelihood.parameters())


@pytest.mark.parametrize("name", ["gaussian", "laplace"])
def test_the_scale_is_saved_with_the_module(name: str):
    other = build_likelihood(name, 1.0, True)
    other.load_state_dict(build_likelihood(name, 0.25, True).state_dict())
    x = torch.ones(1, 2)
    torch.testing.assert_close(other(x * 0).log_prob(x), build_likelihood(name, 0.25, False)(x * 0).log_prob(x))


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan])
@pytest.mark.parametrize("kind", [Gaussian, Laplace])
def test_a_scale_must_be_positive(kind: type[Gaussian] | type[Laplace], scale: float):
    with pytest.raises(UserError, match="positive"):
        kind(scale)


def test_likelihoods_by_name():
    assert isinstance(build_likelihood("bernoulli", 1.0, True), Bernoulli)
    with pytest.raises(UserError, match="did you mean 'gaussian'"):
        build_likelihood("gausian", 1.0, False)
