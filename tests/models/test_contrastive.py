"""The contrastive VAE: blocks that are empty, exactly; its terms by hand; subtypes that only some samples have."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch import distributions as td

import labelspace as ls
from labelspace.blocks import Latents, concatenate, sample
from labelspace.data.batches import Batch
from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.distributions import Degenerate, DiagonalGaussian
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.metrics import probe_scores
from labelspace.models.contrastive import ContrastiveVAE
from labelspace.models.networks import Network

SCHEMA = Schema([binary("sick"), categorical("drug", ("none", "one", "two"))])
VALUES = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
EMPTY = torch.tensor([[True, True], [False, True], [True, False], [False, False]])
ALL = torch.ones(4, 2, dtype=torch.bool)


def model(schema: Schema = SCHEMA, **changes) -> ContrastiveVAE:
    torch.manual_seed(0)
    return ContrastiveVAE((3,), schema, None, 2, 2, scale=0.7, network=Network(width=8, depth=1), **changes).eval()


def batch(observed: Tensor = ALL) -> Batch:
    return Batch(torch.randn(4, 3, generator=torch.Generator().manual_seed(1)), torch.where(observed, VALUES, 0.0), observed)


def terms_of(m: ContrastiveVAE, b: Batch) -> dict[str, Tensor]:
    with torch.no_grad():
        return m.losses(b, torch.Generator().manual_seed(0)).objectives["model"]()


def test_the_salient_block_of_the_background_is_the_point_zero_exactly() -> None:
    m, b = model(), batch()
    with torch.no_grad():
        q, p = m.posterior(b.x, VALUES, ALL), m.prior(VALUES)
        codes = sample(q, torch.Generator().manual_seed(0))
    for i, name in enumerate(("s.sick", "s.drug")):
        for part in (q[name].mean, q[name].scale, p[name].mean, p[name].scale, codes[name]):
            assert bool((part[EMPTY[:, i]] == 0).all())
        assert isinstance(q[name], Degenerate)
        assert bool((q[name].scale[~EMPTY[:, i]] > 0).all())
        assert torch.equal(p[name].scale[~EMPTY[:, i]], torch.ones(2, 2))
        assert bool((codes[name][~EMPTY[:, i]] != 0).all())
        assert torch.equal(q[name].kl(p[name])[EMPTY[:, i]], torch.zeros(2))


def test_another_value_may_be_the_background() -> None:
    m = model(background="two")
    p = m.prior(VALUES)
    assert torch.equal(p["s.drug"].scale[:, 0], torch.tensor([1.0, 1.0, 0.0, 1.0]))
    assert torch.equal(p["s.sick"].scale[:, 0], torch.tensor([0.0, 1.0, 0.0, 1.0]))  # which has no such value
    with pytest.raises(ls.UserError, match=r"background.*'tow'.*'two'"):
        model(background="tow")
    with pytest.raises(ls.UserError, match="'c' is continuous"):
        model(Schema([continuous("c", 0, 1)]))


def test_terms_are_those_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiagonalGaussian, "sample", lambda self, generator=None: self.mean)
    m, b = model(empty=1.0, independence=2.0), batch()
    found = terms_of(m, b)
    with torch.no_grad():
        q = m.posterior(b.x, VALUES, ALL)
        s = m.s_head(m.s_trunk(b.x))
        raw = m.decoder(concatenate(q.map(lambda part: part.mean)))
        ratio = m.density_ratio(concatenate(q.map(lambda part: part.mean)))  # type: ignore[misc]
    standard = td.Normal(0.0, 1.0)
    torch.testing.assert_close(found["reconstruction"], -td.Normal(raw, 0.7).log_prob(b.x).sum(1).mean())
    torch.testing.assert_close(found["kl_z"], td.kl_divergence(td.Normal(q["z"].mean, q["z"].scale), standard).sum(1).mean())
    every = td.kl_divergence(td.Normal(s.mean, s.scale), standard).view(4, 2, 2).sum(2)
    torch.testing.assert_close(found["kl_s"], torch.where(EMPTY, 0.0, every).mean(0))  # the others count nothing
    distance = (s.mean**2 + s.scale**2).view(4, 2, 2).sum(2)  # squared Wasserstein-2 distance from the point 0
    torch.testing.assert_close(found["empty"], torch.where(EMPTY, distance, 0.0).mean(0))
    torch.testing.assert_close(found["total_correlation"], ratio[1:].mean())  # the first sample has nothing salient
    assert set(terms_of(model(), b)) == {"reconstruction", "kl_z", "kl_s"}


def test_missing_labels_are_summed_out_under_the_label_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiagonalGaussian, "sample", lambda self, generator=None: self.mean)
    m, observed = model(empty=1.0), torch.tensor([[True, True], [False, True], [True, False], [False, False]])
    b = batch(observed)
    found = terms_of(m, b)
    answer = m.label_distribution(b.x)
    tables = [answer.log_table(i).exp() for i in range(2)]
    expected: dict[str, Tensor] = {}
    for row in range(4):
        for sick in (0, 1) if not observed[row, 0] else (int(VALUES[row, 0]),):
            for drug in (0, 1, 2) if not observed[row, 1] else (int(VALUES[row, 1]),):
                weight = 1.0 if observed[row, 0] else tables[0][row, sick]
                weight = weight * (1.0 if observed[row, 1] else tables[1][row, drug])
                one = Batch(b.x[[row]], torch.tensor([[sick, drug]]).float(), torch.ones(1, 2, dtype=torch.bool))
                for name, term in terms_of(m, one).items():
                    expected[name] = expected.get(name, torch.zeros(())) + weight * term / 4
    for name, term in found.items():
        torch.testing.assert_close(term, expected[name].detach(), msg=name)


def test_a_batch_of_background_alone_has_a_discriminator_to_train_all_the_same() -> None:
    m = model(independence=1.0)
    b = Batch(batch().x, torch.zeros(4, 2), ALL)
    losses = m.losses(b, torch.Generator().manual_seed(0))
    for player in m.players():
        losses.objective(player).backward()
    assert float(losses.terms["total_correlation"]) == 0
    assert math.isfinite(float(losses.terms["density_ratio"]))


def test_new_codes_of_the_background_are_empty_once_codes_are_measured() -> None:
    m, b = model(), batch()
    m.calibrate(lambda: [Batch(b.x.repeat(9, 1), VALUES.repeat(9, 1), ALL.repeat(9, 1))])
    drawn = m.new_codes(VALUES, source="codes", generator=torch.Generator().manual_seed(0))
    for i, name in enumerate(("s.sick", "s.drug")):
        assert torch.equal((drawn[name] == 0).all(1), EMPTY[:, i])
    codes = Latents(m.blocks, {block.name: torch.ones(4, block.size) for block in m.blocks})
    back = m.intervene(codes, "drug", torch.zeros(4), VALUES[:, 1])
    assert torch.equal(back["s.drug"], torch.zeros(4, 2))
    away = m.intervene(codes, "sick", torch.ones(4), VALUES[:, 0])
    assert bool((away["s.sick"] != 0).all())


def cells(seed: int, n: int = 2000) -> tuple[Dataset, np.ndarray, np.ndarray]:
    """Samples of which half are treated. All are of one of two kinds, and those that are treated of one of two subtypes.

    Returns:
        The data, and kind and subtype of every sample (the latter of no effect where it is not treated).
    """
    rng = np.random.default_rng(seed)
    treated = np.arange(n) % 2
    kind, subtype = rng.integers(0, 2, (2, n))
    shared = np.concatenate([2 * rng.normal(size=(n, 2)), (4 * kind - 2)[:, None]], 1)
    salient = treated[:, None] * np.stack([np.where(subtype == 1, 1.4, -1.4), np.full(n, 1.0)], 1)
    x = 2 * np.tanh(0.4 * shared @ rng.normal(size=(3, 8))) + 0.5 * salient @ rng.normal(size=(2, 8))
    x += 0.1 * rng.normal(size=x.shape)
    values, observed = treated[:, None].astype(np.float32), np.ones((n, 1), bool)
    schema = Schema([binary("treated")])
    return Dataset("cells", x.astype(np.float32), values, observed, schema, random_splits(n, seed)), kind, subtype


def measured(seed: int, **arguments: float) -> dict[str, float]:
    """What a probe reads of subtype and kind of treated samples from each block, of a model that is trained for a moment."""
    data, kind, subtype = cells(seed)
    torch.manual_seed(seed)
    m = ls.build("contrastive", data, latent=3, salient=2, scale=0.1, network=Network(width=64, depth=2), **arguments)
    m = ls.fit(m, data, epochs=30, batch_size=64, learning_rate=5e-3, seed=seed, progress=False).model
    rows = np.flatnonzero(data.values[:, 0] == 1)
    with torch.no_grad():
        q = m.encode(data.samples(rows), *data.labels(rows))
    return {
        f"{what} from {block}": probe_scores(q[block].mean.numpy(), truth[rows])["mlp"]["balanced_accuracy"].value
        for block in ("s.treated", "z")
        for what, truth in (("subtype", subtype), ("kind", kind))
    }


def test_the_salient_block_tells_subtypes_of_the_treated_and_z_what_all_samples_have() -> None:
    found = measured(3, empty=1.0, independence=5.0)
    assert found["subtype from s.treated"] > 0.9
    assert found["kind from s.treated"] < 0.7
    assert found["kind from z"] > 0.9
    assert found["subtype from z"] < 0.7
