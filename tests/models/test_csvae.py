"""CSVAE against a straightforward re-computation of its terms."""

from __future__ import annotations

import math

import pytest
import torch
import torch.distributions as td

from labelspace.blocks import Latents
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import UserError
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.models.csvae import CSVAE
from labelspace.models.networks import Network

SCHEMA = Schema([binary("a"), categorical("k", ("x", "y", "z"))])
FREQUENCIES = [[0.8, 0.2], [0.5, 0.3, 0.2]]


def model(**changes) -> CSVAE:
    torch.manual_seed(0)
    arguments = {"latent": 3, "scale": 1.0, "network": Network(width=8, depth=1)}
    return CSVAE((4,), SCHEMA, FREQUENCIES, **{**arguments, **changes}).eval()


def batch(n: int = 5) -> Batch:
    g = torch.Generator().manual_seed(1)
    values = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 2.0], [1.0, 0.0], [1.0, 2.0]])[:n]
    return Batch(torch.randn(n, 4, generator=g), values, torch.ones(n, 2, dtype=torch.bool))


@torch.no_grad()
def terms(m: CSVAE, b: Batch, seed: int = 0) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    losses = m.losses(b, torch.Generator().manual_seed(seed))
    objectives = {name: float(losses.objective(name).detach()) for name in m.players()}
    return losses.terms, objectives


def leak(m: CSVAE, parameters: torch.Tensor) -> torch.Tensor:
    """What an answer of the adversary costs the model."""
    return m.leak(m.schema.distribution(parameters), m.label_marginal(1))


def test_blocks_are_z_and_two_coordinates_per_binary_label_and_per_class() -> None:
    sizes = {block.name: (block.size, block.label) for block in model().blocks}
    assert sizes == {"z": (3, None), "w.a": (2, "a"), "w.k": (6, "k")}


@pytest.mark.parametrize("flip", [False, True])
def test_prior_of_each_value(flip: bool) -> None:
    prior = model(flip=flip).prior(torch.tensor([[0.0, 1.0], [1.0, 2.0]]))
    on, off = (3.0, 1.0), (0.0, 0.1)
    first, second = (on, off) if flip else (off, on)
    for row, (mean, scale) in enumerate((first, second)):
        assert torch.allclose(prior["w.a"].mean[row], torch.full((2,), mean))
        assert torch.allclose(prior["w.a"].scale[row], torch.full((2,), scale))
    assert torch.allclose(prior["w.k"].mean[0], torch.tensor([0, 0, 3.0, 3.0, 0, 0]))
    assert torch.allclose(prior["w.k"].scale[1], torch.tensor([0.1, 0.1, 0.1, 0.1, 1.0, 1.0]))
    assert torch.equal(prior["z"].mean, torch.zeros(2, 3))


def test_prior_of_a_continuous_label_follows_its_standardised_value() -> None:
    m = CSVAE((4,), Schema([continuous("c", 10.0, 2.0)]), network=Network(width=8))
    prior = m.prior(torch.tensor([[14.0]]))["w.c"]
    assert torch.allclose(prior.mean, torch.full((1, 2), 6.0))
    assert torch.allclose(prior.scale, torch.full((1, 2), 0.3))


def test_the_papers_prior_distances() -> None:
    tight, wide = (DiagonalGaussian(torch.full((1, 2), m), torch.full((1, 2), s)) for m, s in ((0.0, 0.1), (3.0, 1.0)))
    assert float(tight.kl(wide)) == pytest.approx(12.6, abs=0.05)
    assert float(wide.kl(tight)) == pytest.approx(994, abs=1)


def test_terms_equal_a_plain_recomputation() -> None:
    m, b = model(), batch()
    found, objectives = terms(m, b)
    posterior = m.posterior(b.x, b.values, b.observed)
    generator = torch.Generator().manual_seed(0)
    codes = {name: q.mean + q.scale * torch.empty_like(q.mean).normal_(generator=generator) for name, q in posterior.items()}
    decoded = m.decode(Latents(m.blocks, codes)).mean
    reconstruction = -td.Normal(decoded, 1.0).log_prob(b.x).sum(1).mean()
    prior = m.prior(b.values)

    def kl(name: str) -> torch.Tensor:
        q, p = posterior[name], prior[name]
        return td.kl_divergence(td.Normal(q.mean, q.scale), td.Normal(p.mean, p.scale)).sum(1).mean()

    assert m.adversary is not None
    answer = m.adversary(codes["z"])
    a = td.Bernoulli(logits=answer[:, 0])
    k = td.Categorical(logits=answer[:, 1:])
    leak = torch.stack([-a.entropy().mean(), -k.entropy().mean()])
    cross = torch.stack([-a.log_prob(b.values[:, 0]).mean(), -k.log_prob(b.values[:, 1]).mean()])
    assert torch.allclose(found["reconstruction"], reconstruction, atol=1e-4)
    assert torch.allclose(found["kl_z"], kl("z"), atol=1e-5)
    assert torch.allclose(found["kl_w"], torch.stack([kl("w.a"), kl("w.k")]), atol=1e-4)
    assert torch.allclose(found["leak"], leak, atol=1e-5)
    assert torch.allclose(found["adversary"], cross, atol=1e-5)
    expected = (20 * reconstruction + kl("w.a") + kl("w.k") + 0.2 * kl("z") + 10 * leak.sum()).detach()
    assert objectives["model"] == pytest.approx(float(expected), rel=1e-5)
    assert objectives["adversary"] == pytest.approx(float(cross.sum().detach()), rel=1e-5)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_reduction_mean_weighs_the_mean_squared_error(scale: float) -> None:
    """And so the leak D/2 times as much, beside the reconstruction, as the sum does, where the scale is 1."""
    b = batch()
    (found, mean), (_, whole) = (terms(model(reduction=how, scale=scale), b) for how in ("mean", "sum"))
    m = model(reduction="mean", scale=scale)
    generator = torch.Generator().manual_seed(0)
    codes = m.posterior(b.x, b.values, b.observed).map(lambda q: q.sample(generator))
    error = float((m.decode(codes).mean - b.x).detach().square().mean())
    constant = 4 * (math.log(scale) + 0.5 * math.log(2 * math.pi))
    assert 20 * m.share * (float(found["reconstruction"]) - constant) == pytest.approx(20 * error, rel=1e-5)
    assert whole["model"] - mean["model"] == pytest.approx(20 * (1 - m.share) * float(found["reconstruction"]), rel=1e-5)
    assert m.share == pytest.approx(scale**2 * 2 / 4)


def test_the_marginal_target_is_least_at_the_label_frequencies() -> None:
    m = model(adversary_target="marginal")
    frequencies = torch.tensor([[math.log(0.2 / 0.8), math.log(0.5), math.log(0.3), math.log(0.2)]])
    assert torch.allclose(leak(m, frequencies), torch.zeros(2), atol=1e-6)
    assert bool((leak(m, torch.zeros(1, 4)) > 0.01).all())


def test_the_uniform_target_is_least_at_the_uniform_answer() -> None:
    assert torch.allclose(leak(model(), torch.zeros(1, 4)), -torch.tensor([math.log(2), math.log(3)]))


def test_without_the_adversary_there_is_neither_player_nor_leak() -> None:
    m = model(adversary=False)
    found, objectives = terms(m, batch())
    assert set(objectives) == {"label_head", "model"}
    assert not {"leak", "adversary"} & set(found)


def test_a_learned_prior_belongs_to_the_model_player_and_is_trained() -> None:
    m = model(prior="learned").train()
    assert m.w_prior.network is not None
    mine = {id(p) for p in m.players()["model"].parameters}
    assert all(id(p) in mine for p in m.w_prior.network.parameters())
    losses = m.losses(batch(), torch.Generator().manual_seed(0))
    losses.objective("model").backward()
    assert m.w_prior.network.weight.grad is not None
    assert float(m.w_prior.network.weight.grad.abs().sum()) > 0


def test_the_label_head_does_not_change_the_model_objective() -> None:
    m = model()
    before = terms(m, batch())[1]["model"]
    with torch.no_grad():
        for p in m.label_head.parameters():
            p.add_(1.0)
    assert terms(m, batch())[1]["model"] == before


def test_z_encoder_does_not_see_labels() -> None:
    m, b = model(), batch()
    a = m.posterior(b.x, b.values, b.observed)["z"]
    other = m.posterior(b.x, 1 - b.values.clamp(max=1), b.observed)["z"]
    assert torch.equal(a.mean, other.mean)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prior": "fixd"}, "fixed"),
        ({"reduction": "men"}, "mean"),
        ({"reduction": "mean", "likelihood": "laplace"}, "gaussian"),
        ({"reduction": "mean", "learn_scale": True}, "learn_scale=true"),
        ({"adversary_steps": 0}, "adversary=false"),
        ({"kl_z": -1.0}, "negative"),
        ({"scale": 0.0}, "positive"),
    ],
)
def test_wrong_arguments_are_named(changes: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        model(**changes)


def test_a_model_without_labels_is_refused() -> None:
    with pytest.raises(UserError, match="vae"):
        CSVAE((4,), Schema([]))


def test_missing_labels_are_summed_out_under_the_label_head() -> None:
    torch.manual_seed(0)
    schema = Schema([binary("a"), categorical("k", ("x", "y", "z"))])
    m = CSVAE((4,), schema, latent=3, network=Network(width=8, depth=1)).train()
    x = torch.randn(5, 4)
    values = torch.tensor([[1.0, 0], [0, 2], [0, 0], [0, 0], [1, 1]])
    observed = torch.tensor([[True, True], [False, True], [True, False], [False, False], [True, True]])
    terms = m.losses(Batch(x, values, observed), torch.Generator().manual_seed(0)).objectives["model"]()
    probability = [m.label_distribution(x).log_table(i).exp() for i in (0, 1)]
    expected = torch.zeros(2)
    for row in range(5):
        for a in (0, 1):
            for k in (0, 1, 2):
                if (observed[row, 0] and values[row, 0] != a) or (observed[row, 1] and values[row, 1] != k):
                    continue
                weight = torch.ones(())
                if not observed[row, 0]:
                    weight = weight * probability[0][row, a]
                if not observed[row, 1]:
                    weight = weight * probability[1][row, k]
                y = torch.tensor([[float(a), float(k)]])
                q, p = m.posterior(x[row : row + 1], y, torch.ones(1, 2, dtype=torch.bool)), m.prior(y)
                expected += weight * torch.cat([q[b].kl(p[b]) for b in ("w.a", "w.k")])
    assert torch.allclose(terms["kl_w"], expected / 5, rtol=1e-4)
