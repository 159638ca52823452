"""MVAE: products of experts in closed form and on grids, and the bounds of every view of a sample."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import torch.distributions as td
from torch import Tensor

from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import LabelDistribution, Schema, binary, categorical, continuous
from labelspace.models.mvae import MVAE, product_of_experts
from labelspace.models.networks import Network

SCHEMA = Schema([binary("a"), categorical("k", ("x", "y", "z"))])
FREQUENCIES = [[0.8, 0.2], [0.5, 0.3, 0.2]]


def model(**changes) -> MVAE:
    torch.manual_seed(0)
    arguments: dict[str, Any] = {"latent": 2, "beta": 1.0, "label_weight": 10.0, "likelihood": "gaussian", "scale": 0.7}
    arguments |= {"network": Network(width=8, depth=1), **changes}
    return MVAE((3,), SCHEMA, FREQUENCIES, **arguments).eval()


def sample_of(values: list[float], observed: list[bool], n: int = 1) -> Batch:
    x = torch.randn(1, 3, generator=torch.Generator().manual_seed(1))
    return Batch(x.expand(n, -1), torch.tensor([values]).expand(n, -1), torch.tensor([observed]).expand(n, -1))


def terms_of(m: MVAE, b: Batch, seed: int = 0) -> dict[str, Tensor]:
    return {k: v.detach() for k, v in m.losses(b, torch.Generator().manual_seed(seed)).objectives["model"]().items()}


def experts(n: int, d: int, count: int = 3) -> list[DiagonalGaussian]:
    g = torch.Generator().manual_seed(3)
    return [DiagonalGaussian(torch.randn(n, d, generator=g), 0.3 + torch.rand(n, d, generator=g)) for _ in range(count)]


# -- products ----------------------------------------------------------------------------------------------------------


def test_a_product_is_the_gaussian_of_summed_precisions_with_absent_experts_left_out() -> None:
    parts = experts(5, 4)
    g = torch.Generator().manual_seed(4)
    present = [torch.rand(5, generator=g) < 0.5 for _ in parts]
    found = product_of_experts(parts, present)
    for row in range(5):
        precision, pull = torch.eye(4), torch.zeros(4)
        for part, there in zip(parts, present, strict=True):
            if bool(there[row]):
                own = torch.diag(part.scale[row] ** -2)
                precision, pull = precision + own, pull + own @ part.mean[row]
        covariance = torch.linalg.inv(precision)
        assert torch.allclose(found.mean[row], covariance @ pull, atol=1e-5)
        assert torch.allclose(found.scale[row] ** 2, covariance.diagonal(), atol=1e-5)


def test_a_product_is_proportional_to_the_product_of_densities() -> None:
    parts = experts(1, 1, 2)
    found = product_of_experts(parts, [torch.ones(1, dtype=torch.bool)] * 2)
    z = torch.linspace(-8, 8, 4001)
    log = td.Normal(0.0, 1.0).log_prob(z) + sum(td.Normal(p.mean[0], p.scale[0]).log_prob(z) for p in parts)
    density = (log - log.max()).exp()
    density = density / torch.trapezoid(density, z)
    assert torch.allclose(density, td.Normal(found.mean[0], found.scale[0]).log_prob(z).exp(), atol=1e-4)


def test_a_product_without_experts_is_standard() -> None:
    found = product_of_experts(experts(3, 2), [torch.zeros(3, dtype=torch.bool)] * 3)
    assert torch.equal(found.mean, torch.zeros(3, 2))
    assert torch.allclose(found.scale, torch.ones(3, 2))


def test_what_an_absent_expert_says_does_not_matter() -> None:
    parts = experts(2, 2, 2)
    here, absent = torch.ones(2, dtype=torch.bool), torch.zeros(2, dtype=torch.bool)
    found, expected = product_of_experts(parts, [here, absent]), product_of_experts(parts[:1], [here])
    assert torch.allclose(found.mean, expected.mean)
    assert torch.allclose(found.scale, expected.scale)


def test_posterior_and_prior_are_products_of_the_experts_of_what_is_known() -> None:
    m, b = model(), sample_of([1.0, 2.0], [True, True])
    off = torch.zeros(1, 2, dtype=torch.bool)

    def precision(g: DiagonalGaussian) -> Tensor:
        return g.scale**-2

    def q(observed: list[bool]) -> DiagonalGaussian:
        return m.posterior(b.x, b.values, torch.tensor([observed]))["z"]

    def p(observed: list[bool]) -> DiagonalGaussian:
        return m.prior(b.values, torch.tensor([observed]))["z"]

    assert torch.allclose(m.prior(b.values, off)["z"].mean, torch.zeros(1, 2))
    assert torch.allclose(m.prior(b.values, off)["z"].scale, torch.ones(1, 2))
    alone = q([False, False])
    for observed in ([True, False], [False, True], [True, True]):
        given = p(observed)
        both = q(observed)
        total = precision(alone) + precision(given) - 1
        assert torch.allclose(precision(both), total, rtol=1e-4)
        mean = (precision(alone) * alone.mean + precision(given) * given.mean) / total
        assert torch.allclose(both.mean, mean, atol=1e-4)


# -- the terms ---------------------------------------------------------------------------------------------------------


def view(m: MVAE, b: Batch, x: bool, labels: tuple[bool, ...]) -> tuple[float, float, float]:
    """-log p(x | z), KL and -sum log p(y_i | z) of one view of one sample at the mean of its posterior."""
    observed = torch.tensor([labels])
    q = m.posterior(b.x, b.values, observed)["z"] if x else m.prior(b.values, observed)["z"]
    kl = td.kl_divergence(td.Normal(q.mean, q.scale), td.Normal(0.0, 1.0)).sum()
    reconstruction = -td.Normal(m.decoder(q.mean), 0.7).log_prob(b.x).sum() if x else torch.zeros(())
    raw = [m.get_submodule(f"label_decoders.{i}")(q.mean) for i in range(2)]
    a, k = td.Bernoulli(logits=raw[0][:, 0]).log_prob(b.values[:, 0]), td.Categorical(logits=raw[1]).log_prob(b.values[:, 1])
    label = -(a if labels[0] else 0 * a) - (k if labels[1] else 0 * k)
    return tuple(float(part.sum().detach()) for part in (reconstruction, kl, label))  # type: ignore[return-value]


@pytest.mark.parametrize("known", [(True, True), (True, False), (False, True), (False, False)])
def test_terms_are_the_bounds_of_all_x_each_label_and_a_random_part(
    known: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sample, draws at their means: what is left of chance is which part of the sample is drawn."""
    monkeypatch.setattr(DiagonalGaussian, "sample", lambda self, generator=None: self.mean)
    m, b = model(), sample_of([1.0, 2.0], list(known))
    fixed = [view(m, b, True, known), view(m, b, True, (False, False))]
    fixed += [view(m, b, False, (i == 0, i == 1)) for i in range(2) if known[i]]
    masks = itertools.product((False, True), *((False, True) if there else (False,) for there in known))
    candidates = {mask: view(m, b, mask[0], mask[1:]) for mask in masks}
    drawn = set()
    for seed in range(40):
        t = terms_of(m, b, seed)
        found = (t["reconstruction"] + t["reconstruction_views"], t["kl_z"] + t["kl_views"], t["labels"])
        fits = {
            mask
            for mask, part in candidates.items()
            if all(float(f) == pytest.approx(sum(v[j] for v in fixed) + part[j], abs=1e-3) for j, f in enumerate(found))
        }
        assert len(fits) == 1, (found, fixed, candidates)
        drawn |= fits
    assert drawn <= set(candidates)
    assert len(drawn) >= len(candidates) // 2


def test_a_sample_without_labels_has_the_bound_of_x_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiagonalGaussian, "sample", lambda self, generator=None: self.mean)
    m, b = model(), sample_of([0.0, 0.0], [False, False])
    reconstruction, kl, _ = view(m, b, True, (False, False))
    found = terms_of(m, b)
    assert float(found["reconstruction"]) == pytest.approx(reconstruction, abs=1e-4)
    assert float(found["kl_z"]) == pytest.approx(kl, abs=1e-5)
    assert float(found["labels"]) == 0
    assert float(found["reconstruction_views"]) / reconstruction == pytest.approx(float(found["kl_views"]) / kl, rel=1e-4)


def test_weights_of_labels_and_divergences() -> None:
    m, b = model(beta=0.25, label_weight=3.0), sample_of([1.0, 2.0], [True, True], 4)
    losses = m.losses(b, torch.Generator().manual_seed(0))
    total, t = losses.objective("model").detach(), losses.terms
    expected = t["reconstruction"] + t["reconstruction_views"] + 0.25 * (t["kl_z"] + t["kl_views"]) + 3 * t["labels"]
    assert torch.allclose(total, expected, rtol=1e-5)


def test_annealing_changes_the_weight_of_every_divergence_and_not_the_score() -> None:
    m = model(beta="linear:0->1@20")
    weights = m.weights()
    assert weights["kl_z"] == weights["kl_views"] == 0
    b = sample_of([1.0, 2.0], [True, False], 4)
    losses = m.losses(b, torch.Generator().manual_seed(0))
    losses.objective("model")
    first, t = m.score(losses.terms), losses.terms
    bounds = t["reconstruction"] + t["reconstruction_views"] + t["kl_z"] + t["kl_views"] + 10 * t["labels"]
    assert torch.allclose(first, bounds, rtol=1e-5)
    m.epoch = 10.0
    assert m.weights()["kl_z"] == pytest.approx(0.5)
    assert m.weights()["kl_views"] == pytest.approx(0.5)
    assert torch.equal(m.score(losses.terms), first)


def test_the_value_of_a_missing_label_changes_nothing() -> None:
    m = model()
    one, other = (sample_of([v, 0.0], [False, True]) for v in (0.0, 1.0))
    a, b = terms_of(m, one), terms_of(m, other)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_labels_are_predicted_from_the_mean_of_what_x_alone_says() -> None:
    m, b = model(), sample_of([1.0, 2.0], [True, True])
    q = m.posterior(b.x, b.values, torch.zeros(1, 2, dtype=torch.bool))["z"]
    found = m.predict(b.x)
    assert isinstance(found, LabelDistribution)
    assert torch.allclose(found.log_table(1), m.get_submodule("label_decoders.1")(q.mean).log_softmax(1), atol=1e-5)


def test_a_number_is_a_modality_too() -> None:
    schema = Schema([continuous("c", 2.0, 3.0)])
    torch.manual_seed(0)
    m = MVAE((3,), schema, latent=2, beta=1.0, likelihood="gaussian", network=Network(width=8, depth=1)).eval()
    b = sample_of([5.0], [True], 2)
    assert all(bool(torch.isfinite(v).all()) for v in terms_of(m, b).values())
    assert not torch.allclose(m.prior(b.values)["z"].mean, m.prior(b.values - 3)["z"].mean)


def test_evidence_of_x_does_not_depend_on_labels_but_for_noise() -> None:
    """Labels only sharpen the proposal; the estimate is of log p(x) with and without them."""
    m, b = model(), sample_of([1.0, 2.0], [True, True])
    with torch.no_grad():
        for head in (m.head, *(m.get_submodule(f"label_encoders.{i}.2") for i in range(2))):
            head.get_parameter("linear.bias")[2:] += 3  # experts that say little: a proposal about as wide as p(z)
    at = torch.linspace(-7, 7, 401)
    z = torch.cartesian_prod(at, at)
    with torch.no_grad():
        joint = td.Normal(m.decoder(z), 0.7).log_prob(b.x).sum(1) + td.Normal(0.0, 1.0).log_prob(z).sum(1)
    expected = float(joint.logsumexp(0) + 2 * (at[1] - at[0]).log())
    for given in ((b.values, b.observed), (None, None)):
        many = [None if part is None else part.expand(200, -1) for part in given]
        found = m.log_likelihood(b.x.expand(200, -1), *many, draws=30, generator=torch.Generator().manual_seed(0))
        assert float(found.logsumexp(0)) - math.log(200) == pytest.approx(expected, abs=0.05)
