"""Adversaries of blocks, and weights that grow while a constraint is violated."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from labelspace.blocks import Block
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.models.parts import BlockAdversaries, DualAscent, ParallelMLP, class_weights, cross_entropy, standardized


def test_parallel_networks_are_so_many_networks() -> None:
    torch.manual_seed(0)
    together = ParallelMLP(3, [4, 5, 2], [4, 4, 4])
    for weight, bias in zip(together.weights, together.biases, strict=True):
        nn.init.normal_(weight)
        nn.init.normal_(bias)
    x = torch.randn(3, 7, 4)
    for i in range(3):
        layers = [nn.Linear(4, 5), nn.Linear(5, 2)]
        alone = nn.Sequential(layers[0], nn.SiLU(), layers[1])
        with torch.no_grad():
            for layer, weight, bias in zip(layers, together.weights, together.biases, strict=True):
                layer.weight.copy_(weight[i].T)
                layer.bias.copy_(bias[i, 0])
        torch.testing.assert_close(together(x)[i], alone(x[i]))


def test_under_class_weights_all_classes_are_alike_frequent() -> None:
    schema = Schema([binary("rare"), categorical("kind", ("a", "b", "c")), continuous("size")])
    frequencies = [[0.95, 0.05], [0.6, 0.3, 0.1], []]
    marginal = schema.distribution(schema.prior_parameters(frequencies)[None])
    values = torch.tensor([[0.0, 0.0, 3.0], [1.0, 1.0, -2.0], [0.0, 2.0, 0.0]])
    weights = class_weights(marginal, values)
    assert weights[:, 0].tolist() == pytest.approx([1 / (2 * 0.95), 1 / (2 * 0.05), 1 / (2 * 0.95)], rel=1e-4)
    assert weights[:, 1].tolist() == pytest.approx([1 / (3 * 0.6), 1 / (3 * 0.3), 1 / (3 * 0.1)], rel=1e-4)
    assert weights[:, 2].tolist() == [1.0, 1.0, 1.0]


def test_standardised_codes_have_nothing_of_where_and_how_large_they_were() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(50, 3, generator=generator)
    torch.testing.assert_close(standardized(codes), (codes - codes.mean(0)) / codes.std(0, correction=0), rtol=1e-3, atol=1e-4)
    away = codes * torch.tensor([4.0, 0.5, 1.0]) + torch.tensor([100.0, -3.0, 0.0])
    torch.testing.assert_close(standardized(away), standardized(codes), rtol=1e-3, atol=1e-3)


def test_codes_gain_nothing_by_moving_or_growing_together() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(50, 3, generator=generator).requires_grad_()
    (standardized(codes) @ torch.randn(3, 2, generator=generator)).relu().square().sum().backward()
    assert codes.grad is not None
    assert float(codes.grad.abs().max()) > 0.01
    assert codes.grad.sum(0).abs().max() < 1e-4
    assert ((codes.grad * (codes - codes.mean(0))).sum(0)).abs().max() < 1e-2


def test_one_sample_or_a_flat_coordinate_standardises_to_zero() -> None:
    assert standardized(torch.full((1, 3), 7.0)).tolist() == [[0.0, 0.0, 0.0]]
    assert standardized(torch.full((4, 1), 7.0)).abs().max() == 0


SCHEMA = Schema([binary("a"), binary("b"), categorical("k", ("x", "y", "z"))])


def correlated(n: int, seed: int = 0) -> torch.Tensor:
    """b only where a is; k says nothing of either."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 2, n)
    return torch.from_numpy(np.stack([a, a * rng.integers(0, 2, n), rng.integers(0, 3, n)], 1).astype("f4"))


def trained(codes_of, steps: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross entropies of adversaries and baselines, ``(blocks, labels)`` each, on new samples; all samples weigh alike."""
    torch.manual_seed(0)
    blocks = [Block("w.a", 2, "a"), Block("w.b", 3, "b"), Block("w.k", 6, "k")]
    adversaries = BlockAdversaries(blocks, SCHEMA, hidden=(32,))
    optimizer = torch.optim.Adam(adversaries.parameters(), 1e-2)
    for step in range(steps + 1):
        y = correlated(512 if step < steps else 20_000, step)
        answers, given = adversaries(codes_of(y), SCHEMA.features(y))
        found = [cross_entropy(one, y, torch.ones_like(y, dtype=torch.bool)) for one in (answers, given)]
        optimizer.zero_grad()
        (found[0].sum() + found[1].sum()).backward()
        optimizer.step()
    return found[0].detach(), found[1].detach()


def test_a_block_that_follows_its_label_tells_no_more_than_the_label_does() -> None:
    def codes(y: torch.Tensor) -> torch.Tensor:
        own = SCHEMA.features(y)
        spread = torch.cat([own[:, :1].expand(-1, 2), own[:, 1:2].expand(-1, 3), own[:, 2:].repeat(1, 2)], 1)
        return spread + 0.1 * torch.randn_like(spread)

    read, baseline = trained(codes)
    given_a, given_b = 0.5 * math.log(2), 0.75 * (-(1 / 3) * math.log(1 / 3) - (2 / 3) * math.log(2 / 3))
    assert float(baseline[0, 1]) == pytest.approx(given_a, abs=0.02)  # H(b | a): nothing where a is off
    assert float(baseline[1, 0]) == pytest.approx(given_b, abs=0.02)
    assert float(baseline[2, 0]) == pytest.approx(math.log(2), abs=0.02)
    assert (baseline - read).abs().max() < 0.02


def test_what_a_block_tells_beyond_its_label_is_read() -> None:
    def codes(y: torch.Tensor) -> torch.Tensor:
        leak = torch.zeros(len(y), 11)
        leak[:, 0] = 2 * y[:, 1] + 0.1 * torch.randn(len(y))  # the block of a knows b
        return leak

    read, baseline = trained(codes)
    assert float(read[0, 1]) < 0.05
    assert float(baseline[0, 1]) > 0.3
    assert float((baseline - read)[1:, :].abs().max()) < 0.03


def test_before_they_have_learnt_anything_they_say_nothing() -> None:
    adversaries = BlockAdversaries([Block("w.a", 2, "a"), Block("w.b", 2, "b"), Block("w.k", 6, "k")], SCHEMA)
    y = correlated(64)
    answers, given = adversaries(torch.randn(64, 10), SCHEMA.features(y))
    torch.testing.assert_close(answers.parameters, torch.zeros(3, 64, 5))
    torch.testing.assert_close(given.parameters, torch.zeros(3, 64, 5))


# -- dual ascent ------------------------------------------------------------------------------------------------------


def ascend(ascent: DualAscent, share, steps: int) -> None:
    for _ in range(steps):
        said = torch.tensor([share(float(ascent.value[0]))])
        ascent.update(torch.stack([0.7 * said, torch.full((1,), 0.7)]), torch.ones(1, dtype=torch.bool))


def test_a_weight_grows_until_its_constraint_is_met() -> None:
    ascent = DualAscent(1, allowed=0.03, start=2.0, most=1500.0)
    ascend(ascent, lambda weight: 1 / (1 + weight), 3000)  # what the model leaves where it is pressed so hard
    assert not bool(ascent.given_up[0])
    assert 20 < float(ascent.value[0]) < 45
    assert float(ascent.measured[0]) == pytest.approx(0.03, abs=0.01)


def test_what_no_weight_can_meet_is_noticed_and_left() -> None:
    ascent = DualAscent(1, allowed=0.03, start=2.0, most=1500.0)
    ascend(ascent, lambda weight: 0.4, 3000)
    assert bool(ascent.given_up[0])
    assert float(ascent.value[0]) < 8
    ascend(ascent, lambda weight: 0.4, 1000)
    assert float(ascent.value[0]) < 8, "it stays there"


def test_what_was_given_up_is_tried_again_when_things_change() -> None:
    ascent = DualAscent(1, allowed=0.03, start=2.0, most=1500.0)
    ascend(ascent, lambda weight: 0.3, 2000)
    assert bool(ascent.given_up[0])
    ascend(ascent, lambda weight: 0.8 / (1 + 0.1 * weight), 6000)
    assert not bool(ascent.given_up[0])
    assert float(ascent.measured[0]) == pytest.approx(0.03, abs=0.01)


def test_labels_that_a_batch_does_not_have_move_nothing() -> None:
    ascent = DualAscent(2, allowed=0.03, start=2.0, most=1500.0)
    for _ in range(50):
        ascent.update(torch.full((2, 2), 0.5), torch.tensor([True, False]))
    assert float(ascent.value[0]) > 2.0
    assert float(ascent.value[1]) == 2.0
    assert float(ascent.measured[1]) == 0.0
