"""Strong readers on codes whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labelspace.distributions import DiagonalGaussian
from labelspace.evaluation.readers import Codes, explained, read, read_scores, scores
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.metrics.scores import area_score

SCHEMA = Schema([binary("on"), categorical("kind", ("a", "b", "c")), continuous("size", 0.0, 1.0)])


def codes(seed: int, n: int = 1500, *, tells: float = 0.0, scale: float = 0.1, rare: float = 0.5) -> Codes:
    """Codes of two coordinates, the first of which tells "on" by an offset; the others tell nothing."""
    rng = np.random.default_rng(seed)
    on = rng.random(n) < rare
    values = np.stack([on, rng.integers(0, 3, n), rng.standard_normal(n)], 1)
    means = rng.standard_normal((n, 2))
    means[:, 0] += tells * on
    q = DiagonalGaussian(torch.tensor(means, dtype=torch.float32), torch.full((n, 2), scale))
    return Codes(q, values.astype(np.float32), np.ones(values.shape, bool))


def test_codes_that_tell_nothing_are_read_at_chance() -> None:
    found = read(codes(0), codes(1), SCHEMA, drawn=True, steps=200)
    assert found["on"].value == pytest.approx(0.5, abs=0.06)
    assert found["kind"].value == pytest.approx(1 / 3, abs=0.06)
    assert found["size"].value < 0.05


def test_an_offset_of_three_deviations_is_read_as_far_as_it_can_be() -> None:
    found = read(codes(0, tells=3), codes(1, tells=3), SCHEMA, drawn=False, steps=300)
    assert found["on"].value == pytest.approx(0.933, abs=0.03), "Phi(1.5)"


def test_draws_tell_less_than_means() -> None:
    train, held = (codes(seed, tells=3.0, scale=3.0) for seed in (0, 1))
    drawn, means = (read(train, held, SCHEMA, drawn=d, steps=300)["on"].value for d in (True, False))
    assert drawn == pytest.approx(0.68, abs=0.05), "Phi(1.5 / sqrt(10))"
    assert means > 0.9


def test_a_rare_class_is_seen() -> None:
    train, held = (codes(seed, 3000, tells=2, rare=0.05) for seed in (0, 1))
    found = read(train, held, SCHEMA, drawn=False, steps=400)
    assert found["on"].value > 0.75, "an unweighted reader says off for nearly all, which is 0.5"


def test_the_same_seed_reads_the_same_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again = (read(codes(0), codes(1), SCHEMA, drawn=True, steps=20, seed=4) for _ in range(2))
    assert first == again
    assert torch.equal(torch.get_rng_state(), before)


def test_scores_leave_out_what_has_one_value_and_what_is_not_known() -> None:
    values = np.array([[1, 0, 0.5], [1, 1, 1.5], [1, 2, 2.5], [0, 2, 9.0]], np.float32)
    observed = np.ones(values.shape, bool)
    observed[3] = False
    found = scores(SCHEMA, values, values, observed)
    assert "on" not in found
    assert found["kind"].value == 1
    assert found["size"].value == 1


def test_explained_is_the_share_of_the_variance_and_never_below_zero() -> None:
    truth = np.array([0.0, 1.0, 2.0, 3.0])
    assert explained(truth, truth) == 1
    assert explained(truth, np.full(4, truth.mean())) == 0
    assert explained(truth, -truth) == 0
    assert explained(np.ones(4), np.ones(4)) == 0


@pytest.mark.parametrize("rare", [0.5, 0.14, 0.05, 0.02])
def test_a_rare_label_is_read_as_far_as_it_can_be(rare: float) -> None:
    rng = np.random.default_rng(1)

    def made(n: int) -> Codes:
        on = rng.random(n) < rare
        means = rng.standard_normal((n, 8))
        means[:, 0] += on
        q = DiagonalGaussian(torch.tensor(means, dtype=torch.float32), torch.full((n, 8), 1e-3))
        return Codes(q, on[:, None].astype(np.float32), np.ones((n, 1), bool))

    train, held = made(16_000), made(8000)
    truth = held.values[:, 0].numpy().astype(int)
    best = area_score(truth, held.posterior.mean[:, :1].numpy(), np.array([1])).value
    found = read_scores(train, held, Schema([binary("on")]), drawn=True)["on"]
    assert found["auc"].value == pytest.approx(best, abs=0.02)
    assert found["nats"].value > found["nats_floor"].high
