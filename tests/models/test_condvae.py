"""CondVAE and CondVAE-info: the bound by hand, prediction by Bayes' rule, and who hears of the label."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.distributions as td
from torch import Tensor

from labelspace.blocks import modes
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.models import parts
from labelspace.models.condvae import CondVAE, CondVAEInfo
from labelspace.models.networks import Network

SCHEMA = Schema([binary("a"), categorical("k", ("x", "y", "z"))])
FREQUENCIES = [[0.8, 0.2], [0.5, 0.3, 0.2]]
WAYS = [tuple(map(float, way)) for way in itertools.product(range(2), range(3))]


def model(kind: type[CondVAE] = CondVAE, schema: Schema = SCHEMA, **changes) -> CondVAE:
    torch.manual_seed(0)
    arguments = {"latent": 2, "beta": 1.0, "likelihood": "gaussian", "scale": 0.7, "network": Network(width=8, depth=1)}
    return kind((3,), schema, FREQUENCIES if schema is SCHEMA else None, **{**arguments, **changes}).eval()


def batch(missing: bool = False) -> Batch:
    values = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 2.0], [1.0, 0.0]])
    observed = torch.ones(4, 2, dtype=torch.bool)
    if missing:
        observed[1, 0] = observed[2, 1] = observed[3, 0] = observed[3, 1] = False
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    return Batch(x, torch.where(observed, values, 0.0), observed)


def terms_of(m: CondVAE, b: Batch, player: str = "model", seed: int = 0) -> dict[str, Tensor]:
    return m.losses(b, torch.Generator().manual_seed(seed)).objectives[player]()


def gaussian(x: Tensor, mean: Tensor, scale: float = 0.7) -> Tensor:
    return td.Normal(mean, scale).log_prob(x).sum(1)


def kl_to_standard(q: DiagonalGaussian) -> Tensor:
    return td.kl_divergence(td.Normal(q.mean, q.scale), td.Normal(0.0, 1.0)).sum(1)


def inputs_of(m: CondVAE, part: str, b: Batch) -> Tensor:
    """What a part of the model read while the terms of a batch were computed."""
    seen: list[Tensor] = []
    handle = m.get_submodule(part).register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    terms_of(m, b)
    handle.remove()
    (read,) = seen
    return read


def test_terms_are_the_elbo_at_a_draw_of_the_posterior_that_sees_the_labels() -> None:
    m, b = model(beta=3.0), batch()
    found = terms_of(m, b)
    q = m.posterior(b.x, b.values, b.observed)["z"]
    z = q.mean + q.scale * torch.empty_like(q.mean).normal_(generator=torch.Generator().manual_seed(0))
    k = torch.nn.functional.one_hot(b.values[:, 1].long(), 3)
    flags = torch.zeros(4, 1)
    raw = m.decoder(torch.cat([z, b.values[:, :1], flags, k, flags], 1))
    assert torch.allclose(found["reconstruction"], -gaussian(b.x, raw).mean(), atol=1e-4)
    assert torch.allclose(found["kl_z"], kl_to_standard(q).mean(), atol=1e-5)
    total = m.losses(b, torch.Generator().manual_seed(0)).objective("model")
    assert torch.allclose(total, found["reconstruction"] + 3 * found["kl_z"])
    other = m.posterior(b.x, b.values.flip(0), b.observed)["z"]
    assert not torch.allclose(q.mean, other.mean)


def test_missing_labels_enter_encoder_and_decoder_as_their_prior_mean_with_a_flag() -> None:
    m, b = model(), batch(missing=True)
    a = torch.tensor([0.0, 0.2, 0.0, 0.2])
    k = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    flag_a, flag_k = torch.tensor([0.0, 1, 0, 1]), torch.tensor([0.0, 0, 1, 1])
    decoded = inputs_of(m, "decoder", b)[:, 2:]
    expected = torch.cat([a[:, None], flag_a[:, None], k, flag_k[:, None]], 1)
    assert torch.allclose(decoded, expected, atol=1e-6)
    assert torch.allclose(inputs_of(m, "trunk", b)[:, -6:], expected, atol=1e-6)


def bounds(m: CondVAE, x: Tensor, ways: list[tuple[float, ...]]) -> Tensor:
    """The ELBO at the posterior mean under every way of filling in the labels, ``(n, ways)``."""
    columns = []
    for way in ways:
        values = torch.tensor([way]).expand(len(x), -1)
        posterior = m.posterior(x, values, torch.ones_like(values, dtype=torch.bool))
        columns.append(m.decode(modes(posterior)).log_prob(x) - kl_to_standard(posterior["z"]))
    return torch.stack(columns, 1)


@torch.no_grad()
@pytest.mark.parametrize("kind", [CondVAE, CondVAEInfo])
@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_prediction_is_bayes_rule_over_all_combinations(kind: type[CondVAE], beta: float) -> None:
    """The bound of the model is the ELBO itself, whatever weight training gave to its KL."""
    m, b = model(kind, beta=beta), batch()
    log_p = torch.tensor([[FREQUENCIES[0][int(a)] * FREQUENCIES[1][int(k)] for a, k in WAYS]]).log()
    posterior = (bounds(m, b.x, WAYS) + log_p).softmax(1)
    found = m.predict(b.x)
    for i in range(2):
        expected = torch.stack([posterior[:, [w[i] == v for w in WAYS]].sum(1) for v in range(2 + i)], 1)
        assert torch.allclose(found.log_table(i).exp(), expected, atol=1e-4)


@torch.no_grad()
def test_prediction_in_sweeps_is_bayes_rule_given_the_other_labels_best_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """First the prior's most probable values, then two rounds of comparing one label's values at a time."""
    m, b = model(), batch()
    original = parts.posterior_from_bounds
    monkeypatch.setattr(
        "labelspace.models.condvae.posterior_from_bounds", lambda *given, **named: original(*given, **named, most=1)
    )
    found = m.predict(b.x)
    joint = bounds(m, b.x, WAYS).reshape(4, 2, 3)
    log_p = [torch.tensor(p).log() for p in FREQUENCIES]
    for row in range(4):
        k = 0
        for _ in range(2):
            a_table = (joint[row, :, k] + log_p[0]).log_softmax(0)
            a = int(a_table.argmax())
            k_table = (joint[row, a, :] + log_p[1]).log_softmax(0)
            k = int(k_table.argmax())
        assert torch.allclose(found.log_table(0)[row], a_table, atol=1e-4)
        assert torch.allclose(found.log_table(1)[row], k_table, atol=1e-4)


@torch.no_grad()
def test_a_number_is_predicted_from_the_values_at_which_the_bound_is_large() -> None:
    schema = Schema([continuous("c", 2.0, 3.0)])
    m, b = model(schema=schema), batch()
    grid = schema.candidates("c")
    log_w = bounds(m, b.x, [(float(v),) for v in grid]) + td.Normal(2.0, 3.0).log_prob(grid)
    weights = log_w.softmax(1)
    mean = weights @ grid
    found = m.predict(b.x).table()["c"]
    assert found["mean"] == pytest.approx(mean.tolist(), abs=1e-3)
    assert found["sd"] == pytest.approx(((weights * (grid - mean[:, None]) ** 2).sum(1)).sqrt().tolist(), rel=1e-2)


# -- CondVAE-info ------------------------------------------------------------------------------------------------------


def gradients(term: Tensor, m: CondVAE) -> dict[str, Tensor | None]:
    names, owned = zip(*((name, p) for name, p in m.named_parameters() if p.requires_grad), strict=True)
    return dict(zip(names, torch.autograd.grad(term, owned, retain_graph=True, allow_unused=True), strict=True))


def test_the_info_encoder_does_not_see_labels() -> None:
    m, b = model(CondVAEInfo), batch()
    q = m.posterior(b.x, b.values, b.observed)["z"]
    for values, observed in ((b.values.flip(0), b.observed), (torch.zeros(4, 2), ~b.observed)):
        other = m.posterior(b.x, values, observed)["z"]
        assert torch.equal(q.mean, other.mean)
        assert torch.equal(q.scale, other.scale)


def test_the_leak_is_the_negative_of_the_adversarys_cross_entropy() -> None:
    m, b = model(CondVAEInfo, info=2.5), batch(missing=True)
    leak, cross = terms_of(m, b)["leak"], terms_of(m, b, "adversary")["adversary"]
    q = m.posterior(b.x, b.values, b.observed)["z"]
    z = q.mean + q.scale * torch.empty_like(q.mean).normal_(generator=torch.Generator().manual_seed(0))
    raw = m.get_submodule("adversary")(z)
    a = -td.Bernoulli(logits=raw[:, 0]).log_prob(b.values[:, 0])[b.observed[:, 0]].mean()
    k = -td.Categorical(logits=raw[:, 1:]).log_prob(b.values[:, 1])[b.observed[:, 1]].mean()
    assert torch.allclose(cross, torch.stack([a, k]), atol=1e-5)
    assert torch.allclose(leak, -cross, atol=1e-6)
    losses = m.losses(b, torch.Generator().manual_seed(0))
    elbo = terms_of(m, b)["reconstruction"] + terms_of(m, b)["kl_z"]
    assert torch.allclose(losses.objective("model"), elbo - 2.5 * (a + k), atol=1e-4)


def test_the_encoder_climbs_the_cross_entropy_that_the_adversary_descends() -> None:
    m, b = model(CondVAEInfo), batch()
    leak = gradients(terms_of(m, b)["leak"].sum(), m)
    q = m.posterior(b.x, b.values, b.observed)["z"]
    z = q.mean + q.scale * torch.empty_like(q.mean).normal_(generator=torch.Generator().manual_seed(0))
    raw = m.get_submodule("adversary")(z)
    cross = -td.Bernoulli(logits=raw[:, 0]).log_prob(b.values[:, 0]).mean()
    cross = cross - td.Categorical(logits=raw[:, 1:]).log_prob(b.values[:, 1]).mean()
    expected = gradients(cross, m)
    own = gradients(terms_of(m, b, "adversary")["adversary"].sum(), m)
    for name, slope in leak.items():
        if name.startswith("adversary"):
            assert slope is None
            mine, theirs = own[name], expected[name]
            assert mine is not None
            assert theirs is not None
            assert torch.allclose(mine, theirs, atol=1e-6)
        elif name.startswith(("trunk", "head")):
            theirs = expected[name]
            assert slope is not None
            assert theirs is not None
            assert torch.allclose(slope, -theirs, atol=1e-6)
            assert bool(slope.abs().sum() > 0)
            assert own[name] is None
        else:
            assert slope is None or bool((slope == 0).all())


def test_with_all_labels_missing_nobody_plays() -> None:
    m, b = model(CondVAEInfo), batch()
    unseen = Batch(b.x, torch.zeros(4, 2), torch.zeros(4, 2, dtype=torch.bool))
    assert torch.equal(terms_of(m, unseen)["leak"], torch.zeros(2))
    assert torch.equal(terms_of(m, unseen, "adversary")["adversary"], torch.zeros(2))


@pytest.mark.parametrize("row", [0, 1, 3])
@pytest.mark.parametrize("kind", [CondVAE, CondVAEInfo])
def test_log_likelihood_of_a_linear_model_is_that_of_its_mixture_of_gaussians(kind: type[CondVAE], row: int) -> None:
    """Missing labels are integrated out under their frequencies; none is left with its flag set."""
    m, full = model(kind), batch(missing=True)
    b = Batch(*(part[[row]] for part in (full.x, full.values, full.observed)))
    m.decoder = torch.nn.Linear(8, 3)
    with torch.no_grad():
        m.head.linear.weight.zero_()
        m.head.linear.bias.copy_(torch.tensor([0.0, 0.0, 1.0, 1.0]))  # proposals a little wider than p(z)
        weight = m.decoder.weight[:, :2]
        covariance = weight @ weight.T + 0.7**2 * torch.eye(3)
        parts = []
        for way in WAYS:
            if bool(torch.where(b.observed, b.values == torch.tensor([way]), True).all()):
                k = torch.nn.functional.one_hot(torch.tensor(int(way[1])), 3)
                mean = m.decoder(torch.cat([torch.tensor([0.0, 0.0, way[0], 0.0]), k, torch.zeros(1)]))
                p_y = [FREQUENCIES[i][int(v)] for i, v in enumerate(way) if not bool(b.observed[0, i])]
                log_p = td.MultivariateNormal(mean, covariance).log_prob(b.x[0])
                parts.append(log_p + torch.tensor(p_y).log().sum())
    many = [part.expand(200, -1) for part in (b.x, b.values, b.observed)]
    found = m.log_likelihood(*many, draws=30, generator=torch.Generator().manual_seed(0)).exp().mean().log()
    assert float(found) == pytest.approx(float(torch.stack(parts).logsumexp(0)), abs=0.06)
