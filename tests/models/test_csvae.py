"""CSVAE against a straightforward re-computation of its terms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.distributions as td

import labelspace as ls
from labelspace.blocks import Latents
from labelspace.data.batches import Batch, Batches
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import UserError
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.models.balance import Erasure, Multipliers
from labelspace.models.csvae import CSVAE
from labelspace.models.networks import Network

SCHEMA = Schema([binary("a"), categorical("k", ("x", "y", "z"))])
FREQUENCIES = [[0.8, 0.2], [0.5, 0.3, 0.2]]


def model(**changes) -> CSVAE:
    torch.manual_seed(0)
    arguments = {"latent": 3, "network": Network(width=8, depth=1)}
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


def test_the_marginal_target_is_least_at_the_label_frequencies() -> None:
    m = model(adversary_target="marginal")
    frequencies = torch.tensor([[math.log(0.2 / 0.8), math.log(0.5), math.log(0.3), math.log(0.2)]])
    assert torch.allclose(m._leak(frequencies), torch.zeros(2), atol=1e-6)
    assert bool((m._leak(torch.zeros(1, 4)) > 0.01).all())


def test_the_uniform_target_is_least_at_the_uniform_answer() -> None:
    assert torch.allclose(model()._leak(torch.zeros(1, 4)), -torch.tensor([math.log(2), math.log(3)]))


def test_without_the_adversary_there_is_neither_player_nor_leak() -> None:
    m = model(adversary=False)
    found, objectives = terms(m, batch())
    assert set(objectives) == {"labeller", "model"}
    assert not {"leak", "adversary"} & set(found)


def test_a_learned_prior_belongs_to_the_model_player_and_is_trained() -> None:
    m = model(prior="learned").train()
    assert m.prior_network is not None
    mine = {id(p) for p in m.players()["model"].parameters}
    assert all(id(p) in mine for p in m.prior_network.parameters())
    losses = m.losses(batch(), torch.Generator().manual_seed(0))
    losses.objective("model").backward()
    assert m.prior_network.weight.grad is not None
    assert float(m.prior_network.weight.grad.abs().sum()) > 0


def test_the_label_head_does_not_change_the_model_objective() -> None:
    m = model()
    before = terms(m, batch())[1]["model"]
    with torch.no_grad():
        for p in m.labeller.parameters():
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
        ({"balance": "dul"}, "dual"),
        ({"balance": "dual", "adversary": False}, "adversary"),
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


def test_multipliers_rise_under_violation_fall_without_and_stay_in_bounds() -> None:
    weights = Multipliers(2, allowed=0.02, start=10.0, most=50.0, rate=0.1)
    for _ in range(200):
        weights.update(torch.tensor([0.3, 0.0]), torch.tensor([True, True]))
    assert float(weights.value[0]) == pytest.approx(50.0)
    assert float(weights.value[1]) < 10.0


def test_a_label_that_no_sample_of_a_batch_has_moves_no_multiplier() -> None:
    data = ls.open("swiss-roll:n=200")
    x = data.samples(np.arange(32))
    schema = Schema([binary("a"), binary("b")])
    torch.manual_seed(0)
    m = CSVAE(
        (3,), schema, latent=2, balance="dual", adversary_target="marginal", leak=20.0, network=Network(width=8, depth=1)
    ).train()
    observed = torch.tensor([[True, False]]).expand(32, -1)
    batch = Batch(x, torch.randint(0, 2, (32, 2), generator=torch.Generator().manual_seed(0)).float() * observed, observed)
    assert m.balance is not None
    for step in range(20):
        losses = m.losses(batch, torch.Generator().manual_seed(step))
        for player in m.players():
            losses.objective(player)
        m.adapt(losses)
    assert float(m.balance.leak.value[1]) == 20.0
    assert float(m.balance.leak.value[0]) != 20.0
    assert sorted(float(v) == 2.0 for v in m.balance.block_leak.value) == [False, True]


def test_erasure_takes_away_what_a_linear_probe_reads_and_little_else() -> None:
    g = torch.Generator().manual_seed(0)
    y = (torch.rand(4000, 1, generator=g) < 0.3).float()
    code = torch.randn(4000, 6, generator=g)
    code[:, 2] += 2 * y[:, 0]
    code = code @ torch.randn(6, 6, generator=g)
    erasure = Erasure(6, 1)
    erasure.fix(code, y - y.mean(0))
    erased = erasure(code)

    def explained(c: torch.Tensor) -> float:
        """The share of the label's variance that a linear probe explains."""
        centred, target = c - c.mean(0), y - y.mean()
        fitted = centred @ torch.linalg.lstsq(centred, target).solution
        return float(fitted.square().mean() / target.square().mean())

    assert explained(code) > 0.4
    assert explained(erased) < 1e-6
    assert int(torch.linalg.matrix_rank(erasure.projection, atol=1e-4)) == 1


def test_running_statistics_of_erasure_approach_the_exact_ones() -> None:
    g = torch.Generator().manual_seed(0)
    running, exact = Erasure(4, 1), Erasure(4, 1)
    mix = torch.randn(4, 4, generator=g)
    codes, labels = [], []
    for _ in range(400):
        y = (torch.rand(256, 1, generator=g) < 0.5).float() - 0.5
        code = (torch.randn(256, 4, generator=g) + y * torch.tensor([0.0, 2.0, 0.0, 1.0])) @ mix
        running.update(code, y)
        codes.append(code)
        labels.append(y)
    exact.fix(torch.cat(codes), torch.cat(labels))
    assert torch.allclose(running.projection, exact.projection, atol=0.1)


def test_an_erasure_that_is_loaded_goes_on_counting_where_it_was() -> None:
    data = torch.Generator().manual_seed(0)
    codes, labels = torch.randn(8, 40, 4, generator=data), torch.randn(8, 40, 1, generator=data)
    whole, loaded = Erasure(4, 1), Erasure(4, 1)
    for i in range(3):
        whole.update(codes[i], labels[i])
    assert loaded.count == 0
    loaded.load_state_dict(whole.state_dict())
    assert loaded.count == 3
    for erasure in (whole, loaded):
        for i in range(3, 8):
            erasure.update(codes[i], labels[i])
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in whole.state_dict().items())


def test_erasure_leaves_a_code_alone_that_does_not_tell_the_label() -> None:
    g = torch.Generator().manual_seed(0)
    erasure = Erasure(4, 1)
    for _ in range(400):
        y = (torch.rand(256, 1, generator=g) < 0.5).float() - 0.5
        erasure.update(torch.randn(256, 4, generator=g), y)
    code = torch.randn(1000, 4, generator=g)
    assert torch.equal(erasure(code), code)


def test_erasure_of_labels_that_samples_lack_is_that_of_the_samples_that_have_them() -> None:
    g = torch.Generator().manual_seed(0)
    whole, part = Erasure(3, 2), Erasure(3, 2)
    y = (torch.rand(4000, 2, generator=g) < 0.5).float() - 0.5
    code = torch.randn(4000, 3, generator=g)
    code[:, :2] += y
    whole.fix(code, y)
    seen = torch.rand(4000, 2, generator=g) < 0.5
    part.fix(code, y * seen, seen.float().mean(0))
    torch.testing.assert_close(part.projection, whole.projection, atol=0.15, rtol=0)


@pytest.mark.parametrize(("harm", "kept"), [(0.0, True), (1.0, False)])
def test_exact_erasure_is_kept_where_reconstructions_stay_as_good(
    harm: float, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    data = ls.open("swiss-roll:n=600")
    m = ls.build("csvae", data)
    ls.fit(m, data, epochs=2)
    x = data.samples(data.rows("test"))
    before = m.encode(x)["z"].mean

    def fix(self: Erasure, code: torch.Tensor, labels: torch.Tensor, share: torch.Tensor) -> None:
        self.center.fill_(1e-4)  # harmless
        self.projection = torch.full_like(self.projection, 500 * harm)

    monkeypatch.setattr(Erasure, "fix", fix)
    assert isinstance(m, CSVAE)
    assert m.balance is not None
    erasure = m.balance.erasure
    batches = list(Batches(data, "train", 128, shuffle=False))
    m.calibrate(lambda: batches)
    assert bool((erasure.center == torch.tensor(1e-4)).all()) == kept
    assert torch.equal(m.encode(x)["z"].mean, before) or kept


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


@pytest.mark.slow
def test_balance_keeps_labels_out_of_z_and_in_w_on_the_swiss_roll() -> None:
    from labelspace.evaluation.edits import leakage

    data = ls.open("swiss-roll:n=4000")
    torch.manual_seed(0)
    m = ls.build("csvae", data)
    ls.fit(m, data, epochs=15)
    found = leakage(m, data, np.concatenate([data.rows("val"), data.rows("test")]))["side"]
    assert found["own"]["logistic"]["value"] > 0.97
    assert found["free"]["logistic"]["value"] < 0.6
