"""Lr-LiVAE and Lr-LiVAE-GAN: class logits in log space, and which term reaches which parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.distributions as td
from torch import Tensor

from labelspace.blocks import modes, sample
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import UserError
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.models.lrlivae import LrLiVAE, LrLiVAEGAN
from labelspace.models.networks import Network
from labelspace.models.parts import hinge

SCHEMA = Schema([binary("a"), categorical("k", ("x", "y", "z"))])
FREQUENCIES = [[0.8, 0.2], [0.5, 0.3, 0.2]]


def model(kind: type[LrLiVAE] = LrLiVAE, schema: Schema = SCHEMA, **changes) -> LrLiVAE:
    torch.manual_seed(0)
    arguments = {
        "latent": 2,
        "subspace": 3,
        "reconstruction": 1.0,
        "kl_u": 1.0,
        "gm": 1.0,
        "gaussian": 0.1,
        "pull": 1.0,
        "leak": 1.0,
        "target": "uniform",
        "likelihood": "gaussian",
        "scale": 0.7,
        "network": Network(width=8, depth=1),
    }
    return kind((3,), schema, FREQUENCIES if schema is SCHEMA else None, **{**arguments, **changes}).eval()


def batch(missing: bool = False) -> Batch:
    values = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 2.0], [1.0, 0.0]])
    observed = torch.ones(4, 2, dtype=torch.bool)
    if missing:
        observed[1, 0] = observed[2, 1] = observed[3, 0] = observed[3, 1] = False
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    return Batch(x, torch.where(observed, values, 0.0), observed)


def terms_of(m: LrLiVAE, b: Batch, player: str = "model") -> dict[str, Tensor]:
    return m.losses(b, torch.Generator().manual_seed(0)).objectives[player]()


def log_densities(m: LrLiVAE, i: int, z_s: Tensor) -> Tensor:
    """log N(z_s; mean_k, 1 / precision_k) of every class, from the parameters; ``(n, values)``."""
    means, precisions = m.means[i], torch.nn.functional.softplus(m.raw_precisions[i])
    return torch.stack([td.Normal(mu, p**-0.5).log_prob(z_s).sum(1) for mu, p in zip(means, precisions, strict=True)], 1)


def reached(term: Tensor, m: LrLiVAE) -> set[str]:
    """The parts of the model whose parameters a term has a non-zero gradient on."""
    names, owned = zip(*((name, p) for name, p in m.named_parameters() if p.requires_grad), strict=True)
    slopes = torch.autograd.grad(term.sum(), owned, retain_graph=True, allow_unused=True)
    return {n.split(".")[0] for n, g in zip(names, slopes, strict=True) if g is not None and bool((g != 0).any())}


ENCODER_S, ENCODER_U, GAUSSIANS, DECODER = (
    {"label_trunk", "label_head"},
    {"trunk", "head"},
    {"means", "raw_precisions"},
    {"decoder"},
)


# -- the classes as Gaussians ------------------------------------------------------------------------------------------


def test_class_probabilities_are_the_posterior_of_the_gaussians_with_equal_classes() -> None:
    m, b = model(), batch()
    q, found = m.posterior(b.x, b.values, b.observed), m.predict(b.x)
    for i, name in enumerate(("z_s.a", "z_s.k")):
        assert torch.allclose(found.log_table(i), log_densities(m, i, q[name].mean).log_softmax(1), atol=1e-4)


def test_a_precision_starts_as_published_and_divides_the_variance() -> None:
    m = model()
    prior = m.prior(torch.tensor([[1.0, 2.0]]))["z_s.k"]
    assert torch.allclose(prior.scale, torch.ones(1, 3), atol=1e-3)  # the published 0.9992
    assert torch.allclose(prior.mean[0], m.means[1][2])
    with torch.no_grad():
        m.raw_precisions[1].fill_(math.log(math.expm1(4.0)))
    assert torch.allclose(m.prior(torch.tensor([[1.0, 2.0]]))["z_s.k"].scale, torch.full((1, 3), 0.5), atol=1e-5)


def wide(precision: float) -> LrLiVAE:
    """A model of 512 coordinates, as for faces, whose precisions all have one value."""
    m = model(subspace=512)
    with torch.no_grad():
        for raw in m.raw_precisions:
            raw.fill_(math.log(math.expm1(precision)))
    return m


TRAINED = math.log1p(math.exp(0.54))  # softplus(0.54) = 0.9992


@pytest.mark.parametrize("precision", [TRAINED, 1.25])
def test_in_512_coordinates_draws_of_a_class_have_finite_logits_that_teach_everything(precision: float) -> None:
    m = wide(precision)
    values = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    drawn = sample(m.prior(values), torch.Generator().manual_seed(0)).map(lambda c: c.detach().requires_grad_())
    answer = m.classify(drawn)
    cross = torch.zeros(())
    for i in range(2):
        table = answer.log_table(i)
        assert bool(torch.isfinite(table).all())
        cross = cross - table.gather(1, values[:, [i]].long()).mean()
    watched = [drawn["z_s.a"], drawn["z_s.k"], *m.means, *m.raw_precisions]
    for slope in torch.autograd.grad(cross, watched):
        assert bool(torch.isfinite(slope).all())
        assert float(slope.abs().max()) > 1e-6


@pytest.mark.parametrize("precision", [TRAINED, 1.25])
def test_in_512_coordinates_the_published_densities_vanish(precision: float) -> None:
    """p_k = exp(-m_k) sqrt(prod precision), -log(p_y / (sum_k p_k + 1e-8) + 1e-4), all in float32."""
    m = wide(precision)
    values = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    z = sample(m.prior(values), torch.Generator().manual_seed(0))["z_s.k"].detach().requires_grad_()
    p = torch.nn.functional.softplus(m.raw_precisions[1])
    distance = ((z[:, None] - m.means[1]) ** 2 * p).sum(2) / 2
    density = torch.exp(-distance) * p.prod(1).sqrt()
    share = density.gather(1, values[:, 1:].long())[:, 0] / (density.sum(1) + 1e-8)
    loss = -(share + 1e-4).log()
    if precision > 1:
        assert bool(loss.isnan().all())
    else:
        assert torch.equal(density, torch.zeros(3, 3))
        assert loss.detach().numpy() == pytest.approx(np.full(3, 9.2103), abs=1e-3)
        (slope,) = torch.autograd.grad(loss.sum(), z)
        assert torch.equal(slope, torch.zeros_like(slope))


# -- the terms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [False, True])
def test_terms_by_hand(missing: bool) -> None:
    m, b = model(), batch(missing)
    found = terms_of(m, b)
    q = m.posterior(b.x, b.values, b.observed)
    q_u = q["z_u"]
    z_u = q_u.mean + q_u.scale * torch.empty_like(q_u.mean).normal_(generator=torch.Generator().manual_seed(0))
    raw = m.decoder(torch.cat([z_u, q["z_s.a"].mean, q["z_s.k"].mean], 1))
    assert torch.allclose(found["reconstruction"], -td.Normal(raw, 0.7).log_prob(b.x).sum(1).mean(), atol=1e-4)
    assert torch.allclose(
        found["kl_u"], td.kl_divergence(td.Normal(q_u.mean, q_u.scale), td.Normal(0.0, 1.0)).sum(1).mean(), atol=1e-5
    )
    adversary = terms_of(m, b, "adversary")["adversary"]
    assert m.adversary is not None
    read = m.adversary(z_u)
    tables = [torch.stack([torch.zeros(4), read[:, 0]], 1).log_softmax(1), read[:, 1:].log_softmax(1)]
    for i, name in enumerate(("z_s.a", "z_s.k")):
        seen, y = b.observed[:, i], b.values[:, [i]].long()
        density = log_densities(m, i, q[name].mean)
        cross = -density.log_softmax(1).gather(1, y)[seen].mean()
        nearness = -density.gather(1, y)[seen].mean()
        assert torch.allclose(found["gm"][i], cross, atol=1e-4)
        assert torch.allclose(found["gaussian"][i], nearness, atol=1e-4)
        assert torch.allclose(found["pull"][i], nearness, atol=1e-4)
        assert torch.allclose(adversary[i], -tables[i].gather(1, y)[seen].mean(), atol=1e-5)
        assert torch.allclose(found["leak"][i], (-tables[i].mean(1) - math.log(2 + i)).mean(), atol=1e-5)


def test_the_objective_is_the_weighted_sum() -> None:
    m = model(reconstruction=2.0, kl_u=0.5, gm=3.0, gaussian=0.25, pull=0.75, leak=1.5)
    losses = m.losses(batch(), torch.Generator().manual_seed(0))
    total, t = losses.objective("model").detach(), losses.terms
    expected = 2 * t["reconstruction"] + 0.5 * t["kl_u"] + 3 * t["gm"].sum() + 0.25 * t["gaussian"].sum()
    expected = expected + 0.75 * t["pull"].sum() + 1.5 * t["leak"].sum()
    assert torch.allclose(total, expected, rtol=1e-5)


def test_published_weights_are_the_means_of_the_published_losses() -> None:
    """10 mean squared error in [-1, 1] is 40 in [0, 1]: over d entries 80 / d of a unit Gaussian's -log p; KL is a mean."""
    weights = model(reconstruction=None, kl_u=None, latent=4, scale=1.0).weights()
    assert weights["reconstruction"] == pytest.approx(80 / 3)
    assert weights["kl_u"] == pytest.approx(1 / 4)


def test_the_uniform_target_is_least_at_the_uniform_answer() -> None:
    m, b = model(), batch()
    assert m.adversary is not None
    last = m.adversary.get_submodule("2")
    with torch.no_grad():
        last.get_parameter("weight").zero_()
        last.get_parameter("bias").zero_()
    assert torch.allclose(terms_of(m, b)["leak"], torch.zeros(2), atol=1e-6)
    with torch.no_grad():
        last.get_parameter("bias").copy_(torch.tensor([math.log(0.2 / 0.8), *np.log([0.5, 0.3, 0.2])]))
    assert bool((terms_of(m, b)["leak"] > 0.01).all())


def test_the_marginal_target_is_least_at_the_label_frequencies() -> None:
    m, b = model(target="marginal"), batch()
    assert m.adversary is not None
    last = m.adversary.get_submodule("2")
    with torch.no_grad():
        last.get_parameter("weight").zero_()
        last.get_parameter("bias").copy_(torch.tensor([math.log(0.2 / 0.8), *np.log([0.5, 0.3, 0.2])]))
    assert torch.allclose(terms_of(m, b)["leak"], torch.zeros(2), atol=1e-5)
    with torch.no_grad():
        last.get_parameter("bias").zero_()
    assert bool((terms_of(m, b)["leak"] > 0.01).all())


# -- which term reaches what -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [LrLiVAE, LrLiVAEGAN])
def test_each_term_reaches_the_parameters_that_the_paper_gives_it(kind: type[LrLiVAE]) -> None:
    m = model(kind).train()
    terms = terms_of(m, batch())
    assert reached(terms["reconstruction"], m) == ENCODER_S | ENCODER_U | DECODER
    assert reached(terms["kl_u"], m) == ENCODER_U
    assert reached(terms["gm"], m) == ENCODER_S | GAUSSIANS
    assert reached(terms["gaussian"], m) == ENCODER_S | GAUSSIANS
    assert reached(terms["pull"], m) == ENCODER_S
    assert reached(terms["leak"], m) == ENCODER_U
    assert reached(terms_of(m, batch(), "adversary")["adversary"], m) == {"adversary"}
    if kind is LrLiVAEGAN:
        assert reached(terms["gan"], m) == DECODER
        assert reached(terms_of(m, batch(), "discriminator")["discriminator"], m) == {"discriminator"}


def test_missing_labels_leave_the_gaussians_alone() -> None:
    m, b = model(), batch()
    terms = terms_of(m, Batch(b.x, torch.zeros(4, 2), torch.zeros(4, 2, dtype=torch.bool)))
    for name in ("gm", "gaussian", "pull"):
        assert torch.equal(terms[name].detach(), torch.zeros(2))
    assert bool((terms["leak"] > 0).all())


# -- the discriminator -------------------------------------------------------------------------------------------------


def verdicts(m: LrLiVAE, player: str, b: Batch) -> tuple[dict[str, Tensor], list[tuple[Tensor, ...]]]:
    """A player's terms, and what D was asked meanwhile: samples, label features, verdicts."""
    asked: list[tuple[Tensor, ...]] = []
    d = m.get_submodule("discriminator")
    handle = d.register_forward_hook(lambda _, given, out: asked.append((given[0].detach(), given[1].detach(), out.detach())))
    terms = {k: v.detach() for k, v in terms_of(m, b, player).items()}
    handle.remove()
    return terms, asked


def test_the_decoder_raises_the_verdicts_on_reconstructions_and_on_prior_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiagonalGaussian, "sample", lambda self, generator=None: self.mean)
    m, b = model(LrLiVAEGAN), batch()
    terms, asked = verdicts(m, "model", b)
    verdict = torch.cat([out for _, _, out in asked])
    assert verdict.shape == (8,)
    assert float(terms["gan"]) == pytest.approx(-2 * float(verdict.mean()), abs=1e-5)
    x, y = (torch.cat([part[j] for part in asked]) for j in range(2))
    made = m.decode(modes(m.posterior(b.x, b.values, b.observed))).mean
    assert torch.allclose(x[:4], made, atol=1e-5)
    assert torch.equal(y[:4], SCHEMA.features(b.values))
    codes = torch.stack(
        [torch.cat([torch.zeros(2), m.means[0][int(row[0])], m.means[1][int(row[1:].argmax())]]) for row in y[4:]]
    )
    assert torch.allclose(x[4:], m.decoder(codes), atol=1e-5)  # each from the Gaussians of the labels that D is told


def test_the_discriminator_minimises_the_hinge_loss_of_data_against_both_fakes() -> None:
    m, b = model(LrLiVAEGAN), batch()
    terms, asked = verdicts(m, "discriminator", b)
    x, out = torch.cat([part[0] for part in asked]), torch.cat([part[2] for part in asked])
    assert len(x) == 12
    real = torch.tensor([bool((b.x == row).all(1).any()) for row in x])
    assert int(real.sum()) == 4
    fakes = out[~real]
    expected = hinge(out[real], fakes[:4], fakes[4:])
    assert float(terms["discriminator"]) == pytest.approx(float(expected), abs=1e-5)


def test_where_a_label_is_missing_the_discriminator_is_told_the_nearest_class() -> None:
    m, b = model(LrLiVAEGAN), batch(missing=True)
    _, asked = verdicts(m, "discriminator", b)
    x, y = (torch.cat([part[j] for part in asked]) for j in range(2))
    completed = torch.where(b.observed, b.values, m.predict(b.x).mode())
    for row in range(4):
        told = y[(x == b.x[row]).all(1)]
        assert torch.equal(told, SCHEMA.features(completed[[row]]).expand(len(told), -1))
        assert len(told) == 1


# -- what the model does not do ----------------------------------------------------------------------------------------


def test_there_is_no_likelihood_of_a_deterministic_code_and_the_error_says_why() -> None:
    with pytest.raises(UserError, match="deterministic"):
        model().log_likelihood(batch().x, draws=2)


@pytest.mark.parametrize("kind", [LrLiVAE, LrLiVAEGAN])
def test_numbers_as_labels_are_refused_by_name(kind: type[LrLiVAE]) -> None:
    with pytest.raises(UserError, match="age"):
        model(kind, Schema([binary("a"), continuous("age", 40.0, 10.0)]))


def test_the_class_code_is_deterministic_and_no_encoder_sees_labels() -> None:
    m, b = model(), batch()
    one, other = (m.posterior(b.x, values, b.observed) for values in (b.values, b.values.flip(0)))
    assert torch.equal(one["z_s.k"].sample(torch.Generator().manual_seed(0)), one["z_s.k"].mean)
    assert all(torch.equal(one[name].mean, other[name].mean) for name in one)
    assert bool((one["z_u"].scale > 0).all())


@pytest.mark.parametrize("kind", [LrLiVAE, LrLiVAEGAN])
def test_fitted_classes_are_drawn_where_the_codes_of_each_value_lie(kind: type[LrLiVAE]) -> None:
    m = model(kind, drawn="fitted")
    values = torch.tensor([[a, k] for a in (0.0, 1.0) for k in (0.0, 1.0, 2.0)]).repeat(50, 1)
    x = torch.randn(300, 3, generator=torch.Generator().manual_seed(1)) + values[:, :1] - 2 * values[:, 1:]
    b = Batch(x, values, torch.ones(300, 2, dtype=torch.bool))
    before = m.classify(modes(m.encode(x))).parameters
    parts = [Batch(x[i : i + 70], values[i : i + 70], b.observed[i : i + 70]) for i in range(0, 300, 70)]
    m.calibrate(lambda: parts)
    codes = modes(m.encode(x))
    for i, label in enumerate(SCHEMA):
        drawn = m.prior(*m.only(label.name, torch.arange(len(label.values)).float()))[f"z_s.{label.name}"]
        for value in range(len(label.values)):
            mine = codes[f"z_s.{label.name}"][values[:, i] == value]
            torch.testing.assert_close(drawn.mean[value], mine.mean(0))
            torch.testing.assert_close(drawn.scale[value], mine.std(0, correction=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(m.classify(modes(m.encode(x))).parameters, before)  # classes are told as before


def test_fitted_classes_fall_back_on_the_learned_ones_where_a_value_was_not_seen() -> None:
    m, b = model(drawn="fitted"), batch()
    learned = m.prior(b.values)
    unseen = torch.zeros_like(b.observed)
    unseen[:, 0] = True
    m.calibrate(lambda: [Batch(b.x, b.values, unseen)])
    drawn = m.prior(b.values)
    torch.testing.assert_close(drawn["z_s.k"].mean, learned["z_s.k"].mean)
    torch.testing.assert_close(drawn["z_s.k"].scale, learned["z_s.k"].scale)
    assert not torch.allclose(drawn["z_s.a"].mean, learned["z_s.a"].mean)


def test_the_published_model_draws_from_its_learned_classes() -> None:
    m, b = model(), batch()
    before = m.prior(b.values)
    m.calibrate(lambda: [b])
    torch.testing.assert_close(m.prior(b.values)["z_s.k"].mean, before["z_s.k"].mean)


def test_training_again_after_calibration_takes_the_learned_classes() -> None:
    m, b = model(LrLiVAEGAN, drawn="fitted"), batch()
    before = terms_of(m, b)["gan"]
    m.calibrate(lambda: [Batch(b.x * 3, b.values, b.observed)])
    torch.testing.assert_close(terms_of(m, b)["gan"], before)


def test_an_unknown_way_of_drawing_is_named() -> None:
    with pytest.raises(UserError, match="drawn"):
        model(drawn="guessed")


def test_an_unknown_target_is_named() -> None:
    with pytest.raises(UserError, match="uniform"):
        model(target="unifrom")
