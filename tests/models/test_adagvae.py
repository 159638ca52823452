"""Ada-GVAE: what is averaged in a case by hand, who is paired with whom, and what it is for on known factors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import labelspace as ls
from labelspace.data.batches import Batch
from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.metrics import mig
from labelspace.models.adagvae import AdaGVAE, averaged, partners, shared_coordinates
from labelspace.models.networks import Network

SMALL = Network(width=64, depth=2)


def gaussian(mean: list[float], scale: list[float]) -> DiagonalGaussian:
    return DiagonalGaussian(torch.tensor([mean]), torch.tensor([scale]))


# KL(N(m, 1) || N(0, 1)) is m^2 / 2: 0, 0.5, 2 and 4.5 nats, so that the threshold lies at 2.25.
Q, OTHER = gaussian([0.0, 1.0, 2.0, 3.0], [1.0] * 4), gaussian([0.0] * 4, [1.0] * 4)


def test_the_threshold_lies_halfway_between_the_least_and_the_largest_divergence() -> None:
    assert shared_coordinates(Q, OTHER).tolist() == [[True, True, True, False]]
    nearer = gaussian([0.0, 1.0, 2.2, 3.0], [1.0] * 4)  # 2.42 nats
    assert shared_coordinates(nearer, OTHER).tolist() == [[True, True, False, False]]


def test_shared_coordinates_have_the_mean_of_means_and_of_variances() -> None:
    q = gaussian([0.0, 1.0, 2.0, 9.0], [1.0, 3.0, 1.0, 2.0])
    other = gaussian([0.0, 3.0, 2.0, 0.0], [1.0, 1.0, 1.0, 0.5])
    found = averaged(q, other, torch.tensor([True]))
    torch.testing.assert_close(found.mean, torch.tensor([[0.0, 2.0, 2.0, 9.0]]))
    torch.testing.assert_close(found.scale, torch.tensor([[1.0, 5.0**0.5, 1.0, 2.0]]))
    alone = averaged(q, other, torch.tensor([False]))
    assert torch.equal(alone.mean, q.mean)
    assert torch.equal(alone.scale, q.scale)


def test_where_all_coordinates_differ_alike_none_is_shared() -> None:
    assert not bool(shared_coordinates(gaussian([1.0, 1.0], [1.0, 1.0]), gaussian([0.0, 0.0], [1.0, 1.0])).any())


def test_pairs_share_a_label_and_are_never_a_sample_with_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(3, (60, 3), generator=generator).float()
    observed = torch.rand(60, 3, generator=generator) < 0.7
    chosen, paired = partners(values, observed, generator)
    shared = (values == values[chosen]) & observed & observed[chosen]
    assert torch.equal(shared.any(1) | ~paired, torch.ones(60, dtype=torch.bool))
    assert bool((chosen != torch.arange(60)).all())
    assert paired.float().mean() > 0.8
    assert not bool(paired[~observed.any(1)].any())


def test_pairs_share_different_labels_in_different_draws() -> None:
    values = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3))).repeat(4, 1)
    observed, generator = torch.ones_like(values, dtype=torch.bool), torch.Generator().manual_seed(0)
    counts = torch.zeros(4)
    for _ in range(50):
        chosen, paired = partners(values, observed, generator)
        assert bool(paired.all())
        counts += torch.bincount((values == values[chosen]).sum(1), minlength=4)
    shares = counts / counts.sum()
    assert shares[0] == 0  # one at least
    assert (shares[1:] > 0.04).all()


def test_without_a_label_in_common_there_are_no_pairs_and_the_terms_are_those_of_a_vae() -> None:
    values = torch.arange(4.0)[:, None]
    schema = Schema([categorical("k", tuple("abcd"))])
    torch.manual_seed(0)
    model = AdaGVAE((3,), schema, latent=2, network=SMALL).eval()
    batch = Batch(torch.randn(4, 3), values, torch.ones(4, 1, dtype=torch.bool))
    with torch.no_grad():
        terms = model.losses(batch, torch.Generator().manual_seed(0)).objectives["model"]()
        q = model.encode(batch.x)["z"]
    assert float(terms["kl_z"]) == pytest.approx(float(q.kl(DiagonalGaussian.standard(4, 2)).mean()), rel=1e-5)


def test_numbers_and_data_without_labels_are_refused_in_one_line() -> None:
    with pytest.raises(ls.UserError, match=r"AdaGVAE takes binary and categorical labels; 'c' is continuous"):
        AdaGVAE((3,), Schema([binary("a"), continuous("c", 0, 1)]))
    with pytest.raises(ls.UserError, match="AdaGVAE needs at least one label"):
        AdaGVAE((3,), Schema())


def factors(n: int = 3000) -> Dataset:
    """Two factors of six values, of which a rotated and bent plane is seen in five numbers."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 6, (n, 2)).astype(np.float32)
    a, b = (values.T - 2.5) / 1.7
    u, v = (a + b) / np.sqrt(2), (a - b) / np.sqrt(2)
    x = np.stack([u, v, 0.3 * u * v, np.sin(u), np.sin(v)], 1) + 0.05 * rng.normal(size=(n, 5))
    names = tuple("abcdef")
    schema = Schema([categorical("first", names), categorical("second", names)])
    return Dataset("factors", x.astype(np.float32), values, np.ones((n, 2), bool), schema, random_splits(n, 0))


def measured(name: str, data: Dataset, seed: int) -> float:
    """The mutual information gap of the mean codes of a model that is trained for a moment."""
    torch.manual_seed(seed)
    model = ls.build(name, data, latent=2, scale=0.1, network=SMALL)
    model = ls.fit(model, data, epochs=15, batch_size=64, learning_rate=5e-3, seed=seed, progress=False).model
    with torch.no_grad():
        code = model.encode(data.samples(range(len(data))))["z"].mean.numpy()
    return mig(code, data.values).score.value


def test_pairs_turn_coordinates_onto_factors() -> None:
    """Without pairs the axes of z lie with the factors or across them, as chance has it; with pairs they lie with them."""
    data = factors()
    paired, plain = measured("ada-gvae", data, 1), measured("vae", data, 1)
    assert paired > 0.9
    assert plain < 0.7
