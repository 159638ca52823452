"""Metrics on constructed arrays with known answers, and the judge on data that it can read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import labelspace as ls
from labelspace.errors import UserError
from labelspace.evaluation import judge as judges
from labelspace.evaluation.manipulation import error_to_truth, errors_to_styles, hit_rate, side_effects
from labelspace.labels import Schema, binary
from labelspace.metrics import scores
from labelspace.metrics.leakage import probe


def test_a_mean_has_an_interval_that_covers_it() -> None:
    score = scores.mean(np.random.default_rng(0).normal(1.0, 1.0, 400))
    assert score.low < score.value < score.high
    assert score.high - score.low == pytest.approx(4 * 1 / 20, rel=0.15)
    assert score.n == 400


def test_a_probe_reads_what_is_there_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 1200)
    noise = rng.normal(size=(1200, 5))
    for found in probe(noise, y).values():
        assert abs(found.value - 0.5) < 0.08
    told = noise.copy()
    told[:, 1] += 4 * y
    for found in probe(told, y).values():
        assert found.value > 0.95
    ring = noise.copy()
    ring[:, 0] *= 1 + 9 * y  # nothing linear to read
    found = probe(ring, y)
    assert found["logistic"].value < 0.62
    assert found["mlp"].value > 0.8


def test_a_probe_is_balanced_over_classes() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(1000) < 0.05).astype(int)
    assert abs(probe(rng.normal(size=(1000, 3)), y)["logistic"].value - 0.5) < 0.05


def test_a_probe_needs_two_classes() -> None:
    with pytest.raises(UserError, match="two classes"):
        probe(np.zeros((50, 2)), np.zeros(50))


def test_error_is_to_the_nearest_style() -> None:
    truths = torch.zeros(2, 3, 1, 2, 2)
    truths[:, 1] = 1.0
    truths[:, 2] = 0.5
    edited = torch.stack([torch.full((1, 2, 2), 0.9), torch.full((1, 2, 2), 0.1)])
    assert errors_to_styles(edited, truths).argmin(1).tolist() == [1, 0]
    assert error_to_truth(edited, truths) == pytest.approx([0.01, 0.01], abs=1e-6)


class _Reader(judges.Judge):
    """A judge that reads label a off the first entry and label b off the second."""

    def __init__(self) -> None:
        super().__init__((2,), Schema([binary("a"), binary("b")]))
        self.network = torch.nn.Identity()  # type: ignore[assignment]


def test_hits_and_side_effects_of_known_edits() -> None:
    judge = _Reader()
    before = torch.tensor([[-1.0, 1.0], [-1.0, -1.0], [-1.0, 1.0], [-1.0, 1.0]])
    after = torch.tensor([[1.0, 1.0], [1.0, 1.0], [-1.0, 1.0], [2.0, 3.0]])
    assert hit_rate(judge, after, "a", torch.ones(4)).value == 0.75
    effects = side_effects(judge, before, after, "a")
    assert effects.kept["b"].value == 0.75
    assert effects.log_odds["b"].value == pytest.approx((0 + 2 + 0 + 2) / 4)
    assert set(effects.kept) == {"b"}


def test_the_judge_reads_digits_and_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ls.open("digits")
    judge = judges.train(data)
    assert judges.accuracy(judge, data)["digit"].value > 0.95
    monkeypatch.setattr(judges, "_train", lambda *_: pytest.fail("it was trained again"))
    again = judges.train(data)
    x = data.samples(range(5))
    assert torch.equal(judge.log_odds(x), again.log_odds(x))


def test_the_judge_reads_vectors() -> None:
    data = ls.open("swiss-roll:n=2000")
    assert judges.accuracy(judges.train(data), data)["side"].value > 0.95


def test_a_judge_reads_tables_with_missing_cells():
    from labelspace.data.dataset import Dataset
    from labelspace.data.splits import random_splits
    from labelspace.labels import Schema, binary

    rng = np.random.default_rng(0)
    n = 400
    y = (np.arange(n) % 2)[:, None].astype(np.float32)
    x = np.concatenate([y * 3 + rng.normal(size=(n, 1)), rng.integers(0, 3, (n, 1))], 1).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    data = Dataset(
        "made",
        x,
        y,
        np.ones_like(y, bool),
        Schema([binary("a")]),
        random_splits(n, 0),
        likelihood="table(continuous,categorical:3)",
    )
    judge = judges.train(data, epochs=20)
    assert judges.accuracy(judge, data)["a"].value > 0.7
