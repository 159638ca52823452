"""What probes read where, on a model whose blocks hold what they are told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from labelspace.blocks import Block, Blocks, Latents
from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.distributions import DiagonalGaussian
from labelspace.evaluation import probing
from labelspace.evaluation.diagnosis import diagnose
from labelspace.evaluation.probing import probes, said
from labelspace.labels import Schema, binary, continuous
from labelspace.models import build

N = 600


def data() -> Dataset:
    """Labels a and b agree in nine samples of ten; c is a number that follows b; d goes with nothing."""
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2, N)
    b = np.where(rng.random(N) < 0.9, a, 1 - a)
    c, d = b + 0.1 * rng.normal(size=N), rng.integers(0, 2, N)
    values = np.stack([a, b, c, d], 1).astype(np.float32)
    schema = Schema([binary("a"), binary("b"), continuous("c", 0.5, 0.5), binary("d")])
    x = rng.normal(size=(N, 4)).astype(np.float32)
    return Dataset("made", x, values, np.ones_like(values, dtype=bool), schema, random_splits(N, 0))


def test_what_labels_tell_of_each_other_stands_beside_what_their_blocks_tell() -> None:
    made = data()
    torch.manual_seed(0)
    model = build("condvae", made, latent=2).eval()  # the block of a label is its value
    found = probes(model, made, np.arange(N))
    assert abs(found["a"]["other.b"]["together"]["value"] - 0.9) < 0.04
    assert abs(said(found["a"]["other.b"], "means")["value"] - found["a"]["other.b"]["together"]["value"]) < 0.03
    assert found["b"]["other.c"]["together"]["value"] > 0.97
    assert found["c"]["other.b"]["together"]["value"] > 0.9
    assert abs(found["a"]["other.d"]["together"]["value"] - 0.5) < 0.08
    assert "together" not in found["a"]["free"]


def test_a_label_that_is_never_there_together_with_another_has_nothing_to_compare() -> None:
    made = data()
    made.observed[:, 3] = False
    made.observed[:50, 3] = True
    made.observed[:50, 0] = False
    torch.manual_seed(0)
    found = probes(build("condvae", made, latent=2).eval(), made, np.arange(N))
    assert found["a"]["other.d"]["together"] is None
    assert found["a"]["other.b"]["together"] is not None


def test_the_coordinates_in_which_samples_differ_most_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    made = data()
    model = build("lsvae", made, subspace=30)
    spread = torch.arange(30).roll(7) + 1.0
    codes = torch.randn(500, 30, generator=torch.Generator().manual_seed(0)) * spread
    monkeypatch.setattr(probing, "encoded", lambda *_, **__: {"w.a": codes})
    first = probing.widest(model, made, "w.a")
    assert sorted(first) == list(range(30))
    assert set(first[:4]) <= set(spread.argsort(descending=True)[:8].tolist())
    seen: list[np.ndarray] = []
    monkeypatch.setattr(probing, "encoded", lambda m, d, rows: seen.append(rows) or {"w.a": codes})
    probing.widest(model, made, "w.a", 1.0)
    assert bool((made.values[seen[0], 0] == 1).all())
    assert probing.widest(build("lsvae", made, subspace=2), made, "w.a") == [0, 1]


class Told(torch.nn.Module):
    """Stands for a model whose free block holds a label in its mean, by an offset, with a posterior of some width."""

    def __init__(self, width: float, blocks: Blocks) -> None:
        super().__init__()
        self.width, self.blocks = width, blocks

    def encode(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        return Latents(self.blocks, {"z": DiagonalGaussian(x, torch.full_like(x, self.width))})


@pytest.mark.parametrize(("width", "drawn"), [(0.1, True), (30.0, False)])
def test_the_alarm_sees_a_label_of_one_sample_in_fifty_and_says_who_can_read_it(width: float, drawn: bool) -> None:
    rng = np.random.default_rng(0)
    n = 6000
    on = (rng.random(n) < 0.02).astype(np.float32)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    x[:, 0] += 3 * on
    schema = Schema([binary("rare")])
    made = Dataset("made", x, on[:, None], np.ones((n, 1), bool), schema, random_splits(n, 0))
    model: Any = Told(width, Blocks([Block("z", 4)]))
    found = probes(model, made, made.rows("test"))
    assert said(found["rare"]["free"], "means")["value"] == pytest.approx(0.933, abs=0.05), "Phi(3/2)"
    (alarm,) = diagnose({"leakage": found})
    assert (alarm.kind, alarm.where) == ("leakage", "rare")
    assert ("draws of the free block, which the decoder gets" in alarm.what) == drawn
    assert ("embed --draw" in alarm.remedy) == (not drawn)
    x[:, 0] -= 3 * on
    assert diagnose({"leakage": probes(model, made, made.rows("test"))}) == []
