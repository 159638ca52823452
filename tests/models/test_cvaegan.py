"""CVAE-GAN: feature matching by hand, and who feels which term."""

from __future__ import annotations

import pytest
import torch
import torch.distributions as td
from torch import Tensor
from torch.nn.functional import softplus

from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import UserError
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.models.cvaegan import CVAEGAN
from labelspace.models.networks import Network

SCHEMA = Schema([binary("a"), categorical("k", ("x", "y", "z"))])
FREQUENCIES = [[0.8, 0.2], [0.5, 0.3, 0.2]]
ENCODER, DECODER = {"trunk", "head"}, {"decoder"}


def model(schema: Schema = SCHEMA, **changes) -> CVAEGAN:
    torch.manual_seed(0)
    arguments = {
        "latent": 2,
        "beta": 1.0,
        "features": 1.0,
        "matching_d": 1.0,
        "matching_c": 1.0,
        "likelihood": "gaussian",
        "scale": 0.7,
        "network": Network(width=32, depth=1),
    }
    return CVAEGAN((3,), schema, FREQUENCIES if schema is SCHEMA else None, **{**arguments, **changes}).eval()


def batch(missing: bool = False) -> Batch:
    g = torch.Generator().manual_seed(1)
    values = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 2.0], [1.0, 0.0], [1.0, 2.0], [0.0, 0.0]])
    observed = torch.ones(6, 2, dtype=torch.bool)
    if missing:
        observed[1, 1] = observed[2, 0] = observed[4, 1] = observed[5, 0] = observed[5, 1] = False
    return Batch(torch.randn(6, 3, generator=g), torch.where(observed, values, 0.0), observed)


def terms_of(m: CVAEGAN, b: Batch, player: str = "model") -> dict[str, Tensor]:
    return m.losses(b, torch.Generator().manual_seed(0)).objectives[player]()


def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws of posteriors are their means from now on."""
    monkeypatch.setattr(DiagonalGaussian, "sample", lambda self, generator=None: self.mean)


def made(m: CVAEGAN, b: Batch, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """The reconstruction, without noise, and the prior sample at drawn codes, from the decoder's own inputs."""
    prior = torch.tensor([0.2, 0.5, 0.3, 0.2])
    features = torch.cat([b.values[:, :1], torch.nn.functional.one_hot(b.values[:, 1].long(), 3)], 1)
    seen = torch.stack([b.observed[:, 0], *[b.observed[:, 1]] * 3], 1)
    filled, flags = torch.where(seen, features, prior), (~b.observed).float()
    y = torch.cat([filled[:, :1], flags[:, :1], filled[:, 1:], flags[:, 1:]], 1)
    z = m.posterior(b.x, b.values, b.observed)["z"].mean
    return m.decoder(torch.cat([z, y], 1)), m.decoder(torch.cat([drawn, y], 1))


def watched_terms(m: CVAEGAN, b: Batch, player: str = "model") -> tuple[dict[str, Tensor], Tensor]:
    """A player's terms and the codes that were drawn from p(z) for them."""
    seen: list[Tensor] = []
    handle = m.decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    terms = terms_of(m, b, player)
    handle.remove()
    drawn = torch.cat(seen)[len(b) :]
    assert drawn.shape[0] == len(b)
    return terms, drawn[:, :2]


def squared(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().sum(-1)


@pytest.mark.parametrize("missing", [False, True])
def test_feature_matching_by_hand(missing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    silence(monkeypatch)
    m, b = model(), batch(missing)
    found, drawn = watched_terms(m, b)
    again, fresh = made(m, b, drawn)
    f_d, f_c = m.discriminator.features, m.classifier
    assert torch.allclose(found["reconstruction"], -td.Normal(again, 0.7).log_prob(b.x).sum(1).mean(), atol=1e-4)
    pairs = (squared(f_d(b.x), f_d(again)) + squared(f_c(b.x), f_c(again))) / 2
    assert torch.allclose(found["features"], pairs.mean(), atol=1e-5)
    whole = squared(f_d(b.x).mean(0), f_d(fresh).mean(0)) / 2
    assert torch.allclose(found["matching_d"], whole, atol=1e-6)
    classes = torch.zeros(())
    for i in range(2):
        for value in range(2 + i):
            rows = b.observed[:, i] & (b.values[:, i] == value)
            if bool(rows.any()):
                classes = classes + squared(f_c(b.x)[rows].mean(0), f_c(fresh)[rows].mean(0)) / 2
    assert torch.allclose(found["matching_c"], classes, atol=1e-5)


def test_nothing_is_left_to_match_when_what_is_made_is_real(monkeypatch: pytest.MonkeyPatch) -> None:
    m, b = model(), batch()
    monkeypatch.setattr(m, "decode", lambda codes: m.likelihood(b.x))
    found = terms_of(m, b)
    for name in ("features", "matching_d", "matching_c"):
        assert float(found[name].detach()) == pytest.approx(0, abs=1e-9)


def test_a_permutation_of_real_samples_matches_in_the_mean_but_not_by_pairs_or_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    m, b = model(), batch()
    monkeypatch.setattr(m, "decode", lambda codes: m.likelihood(b.x.roll(1, 0)))
    found = terms_of(m, b)
    assert float(found["matching_d"]) == pytest.approx(0, abs=1e-9)
    assert float(found["features"]) > 1e-3
    assert float(found["matching_c"]) > 1e-3


def test_samples_without_the_label_have_no_part_in_class_means(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 5 has no label: what it looks like changes the mean of all, not the means of classes."""
    m, b = model(), batch(missing=True)
    other = Batch(torch.cat([b.x[:5], b.x[5:] + 3]), b.values, b.observed)
    monkeypatch.setattr(m, "decode", lambda codes: m.likelihood(torch.zeros(6, 3)))
    one, two = terms_of(m, b), terms_of(m, other)
    assert torch.allclose(one["matching_c"], two["matching_c"], atol=1e-6)
    assert float((one["matching_d"] - two["matching_d"]).detach().abs()) > 1e-6


def test_without_labels_there_is_nothing_to_match_by_class() -> None:
    m, b = model(), batch()
    unseen = Batch(b.x, torch.zeros(6, 2), torch.zeros(6, 2, dtype=torch.bool))
    assert float(terms_of(m, unseen)["matching_c"].detach()) == 0
    assert torch.equal(terms_of(m, unseen, "classifier")["classifier"].detach(), torch.zeros(2))


def test_the_discriminator_tells_data_from_both_kinds_of_made_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    silence(monkeypatch)
    m, b = model(), batch()
    terms, drawn = watched_terms(m, b, "discriminator")
    again, fresh = made(m, b, drawn)
    d, found = m.discriminator, terms["discriminator"]
    fakes = [softplus(d(x)).mean() for x in (again, fresh)]
    assert torch.allclose(found, softplus(-d(b.x)).mean() + sum(fakes) / 2, atol=1e-5)


@pytest.mark.parametrize("missing", [False, True])
def test_the_classifier_learns_from_real_samples_that_have_the_label(missing: bool) -> None:
    m, b = model(), batch(missing)
    found = terms_of(m, b, "classifier")["classifier"]
    raw = m.answer(m.classifier(b.x))
    tables = [torch.stack([torch.zeros(6), raw[:, 0]], 1).log_softmax(1), raw[:, 1:].log_softmax(1)]
    expected = [-tables[i].gather(1, b.values[:, [i]].long())[b.observed[:, i]].mean() for i in range(2)]
    assert torch.allclose(found, torch.stack(expected), atol=1e-5)
    prediction = m.predict(b.x)
    assert all(torch.allclose(prediction.log_table(i), tables[i], atol=1e-5) for i in range(2))


def reached(term: Tensor, m: CVAEGAN) -> set[str]:
    """The parts of the model whose parameters a term has a non-zero gradient on."""
    names, owned = zip(*((name, p) for name, p in m.named_parameters() if p.requires_grad), strict=True)
    slopes = torch.autograd.grad(term.sum(), owned, retain_graph=True, allow_unused=True)
    return {n.split(".")[0] for n, g in zip(names, slopes, strict=True) if g is not None and bool((g != 0).any())}


def test_each_term_reaches_its_own_networks() -> None:
    m = model().train()
    terms = terms_of(m, batch())
    assert reached(terms["reconstruction"], m) == ENCODER | DECODER
    assert reached(terms["kl_z"], m) == ENCODER
    assert reached(terms["features"], m) == ENCODER | DECODER
    assert reached(terms["matching_d"], m) == DECODER
    assert reached(terms["matching_c"], m) == DECODER
    assert reached(terms_of(m, batch(), "discriminator")["discriminator"], m) == {"discriminator"}
    assert reached(terms_of(m, batch(), "classifier")["classifier"], m) == {"classifier", "answer"}


def test_the_objective_is_the_weighted_sum() -> None:
    m = model(beta=3.0, features=0.5, matching_d=7.0, matching_c=0.25)
    losses = m.losses(batch(), torch.Generator().manual_seed(0))
    total, t = losses.objective("model").detach(), losses.terms
    expected = t["reconstruction"] + 3 * t["kl_z"] + 0.5 * t["features"] + 7 * t["matching_d"] + 0.25 * t["matching_c"]
    assert torch.allclose(total, expected, rtol=1e-5)


def test_codes_of_prior_samples_are_standard_normal() -> None:
    m, b = model(), batch()
    n = 1000
    many = Batch(*(part[:1].expand(n, -1) for part in (b.x, b.values, b.observed)))
    _, drawn = watched_terms(m, many)
    assert torch.allclose(drawn.mean(0), torch.zeros(2), atol=0.15)
    assert torch.allclose(drawn.std(0), torch.ones(2), atol=0.1)


def test_numbers_as_labels_are_refused_by_name() -> None:
    with pytest.raises(UserError, match="age"):
        model(Schema([binary("a"), continuous("age", 40.0, 10.0)]))
