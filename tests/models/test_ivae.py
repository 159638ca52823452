"""iVAE: its terms, its prior, and sources that only the labels make identifiable."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import distributions as td

import labelspace as ls
from labelspace.data.batches import Batch
from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.metrics import mcc
from labelspace.models.ivae import IVAE
from labelspace.models.networks import Network

SCHEMA = Schema([binary("a"), categorical("k", ("x", "y", "z")), continuous("c", 1.0, 2.0)])
VALUES = torch.tensor([[1.0, 2.0, 0.5], [0.0, 1.0, 3.0], [1.0, 0.0, -1.0]])
ALL = torch.ones(3, 3, dtype=torch.bool)


def model(**changes) -> IVAE:
    torch.manual_seed(0)
    return IVAE((4,), SCHEMA, latent=2, network=Network(width=8, depth=1), scale=0.5, **changes).eval()


@pytest.mark.parametrize("modulated", ["both", "scale"])
@pytest.mark.parametrize("hidden", [0, 8])
def test_terms_are_the_reconstruction_and_the_divergence_of_two_gaussians(
    modulated: str, hidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiagonalGaussian, "sample", lambda self, generator=None: self.mean)
    m = model(modulated=modulated, hidden=hidden)
    batch = Batch(torch.randn(3, 4), VALUES, ALL)
    with torch.no_grad():
        terms = m.losses(batch, torch.Generator().manual_seed(0)).objectives["model"]()
        q, p = m.posterior(batch.x, VALUES, ALL)["z"], m.prior(VALUES)["z"]
        raw = m.decoder(q.mean)
    expected = td.kl_divergence(td.Normal(q.mean, q.scale), td.Normal(p.mean, p.scale)).sum(1).mean()
    torch.testing.assert_close(terms["kl_z"], expected)
    torch.testing.assert_close(terms["reconstruction"], -td.Normal(raw, 0.5).log_prob(batch.x).sum(1).mean())


def test_the_prior_depends_on_every_label_and_its_mean_only_where_it_may() -> None:
    for modulated in ("both", "scale"):
        m = model(modulated=modulated)
        before = m.prior(VALUES)["z"]
        for i, other in enumerate((0.0, 0.0, 9.0)):
            changed = VALUES.clone()
            changed[:, i] = other
            after = m.prior(changed)["z"]
            assert not torch.equal(before.scale, after.scale)
            assert torch.equal(before.mean, after.mean) is (modulated == "scale")
    assert torch.equal(before.mean, torch.zeros(3, 2))


def test_encoder_and_prior_read_labels_and_take_missing_ones_at_their_prior_mean() -> None:
    m, x = model(), torch.randn(3, 4)
    none = torch.zeros_like(ALL)
    one, other = (m.posterior(x, v, none)["z"].mean for v in (VALUES, torch.zeros_like(VALUES)))
    assert torch.equal(one, other)
    assert not torch.equal(one, m.posterior(x, VALUES, ALL)["z"].mean)


def test_an_edit_keeps_the_noise_and_exchanges_the_prior() -> None:
    m = model()
    codes = m.posterior(torch.randn(3, 4), VALUES, ALL).map(lambda q: q.mean)
    old, new = VALUES[:, 1], torch.tensor([0.0, 2.0, 1.0])
    moved = m.intervene(codes, "k", new, old)["z"]
    before, after = (m.prior(*m.only("k", v))["z"] for v in (old, new))
    torch.testing.assert_close((moved - after.mean) / after.scale, (codes["z"] - before.mean) / before.scale)


def test_a_word_that_is_none_of_what_may_depend_on_labels_is_refused() -> None:
    with pytest.raises(ls.UserError, match="modulated"):
        model(modulated="mean")


def segments(seed: int, n: int = 120) -> tuple[Dataset, np.ndarray]:
    """Four sources of twenty segments with means and scales of their own, seen through a rotation that mixes all of them alike
    and a bend of every coordinate. All segments together look like a round cloud."""
    rng = np.random.default_rng(seed)
    u = np.repeat(np.arange(20), n)
    scale = np.exp(rng.uniform(np.log(0.15), 0.0, (20, 4)))
    s = 0.8 * rng.normal(size=(20, 4))[u] + scale[u] * rng.normal(size=(len(u), 4))
    s = (s - s.mean(0)) / s.std(0)
    mixed = s @ np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    x = np.where(mixed > 0, mixed, 0.6 * mixed) + 0.1 * rng.normal(size=s.shape)
    schema = Schema([categorical("segment", tuple(map(str, range(20))))])
    values, observed = u[:, None].astype(np.float32), np.ones((len(u), 1), bool)
    return Dataset("segments", x.astype(np.float32), values, observed, schema, random_splits(len(u), seed)), s


def measured(name: str, seed: int) -> float:
    """The mean correlation coefficient of test codes and sources, of a model that is trained for a moment."""
    data, sources = segments(seed)
    torch.manual_seed(seed)
    m = ls.build(name, data, latent=4, scale=0.1, network=Network(width=64, depth=2))
    m = ls.fit(m, data, epochs=25, batch_size=64, learning_rate=1e-2, seed=seed, progress=False).model
    rows = data.rows("test")
    with torch.no_grad():
        code = m.encode(data.samples(rows), *data.labels(rows))["z"].mean.numpy()
    return mcc(code, sources[rows]).score.value


def test_labels_make_sources_identifiable_that_are_not_without_them() -> None:
    assert measured("ivae", 0) > 0.9
    assert measured("vae", 0) < 0.8
