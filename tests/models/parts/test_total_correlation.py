"""A density ratio whose value is known: the total correlation of a Gaussian."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from labelspace.models.parts import DensityRatio, frozen


def gaussian(correlation: float, n: int, generator: torch.Generator) -> Tensor:
    """Two groups: the first coordinate, and two of which the first is correlated with it."""
    z = torch.randn(n, 3, generator=generator)
    return torch.stack([z[:, 0], correlation * z[:, 0] + math.sqrt(1 - correlation**2) * z[:, 1], z[:, 2]], 1)


def trained(correlation: float, steps: int = 400) -> tuple[DensityRatio, torch.Generator]:
    torch.manual_seed(0)
    ratio, generator = DensityRatio([1, 2], (64, 64)), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(ratio.parameters(), 3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        ratio.read_loss(gaussian(correlation, 512, generator), generator).backward()
        optimizer.step()
    return ratio, generator


def test_a_trained_discriminator_finds_the_total_correlation_of_a_gaussian() -> None:
    correlation = 0.8
    ratio, generator = trained(correlation)
    exact = -0.5 * math.log(1 - correlation**2)  # 0.51 nats
    with torch.no_grad():
        found = float(ratio(gaussian(correlation, 20_000, generator)).mean())
    assert found == pytest.approx(exact, abs=0.08)


def test_of_independent_groups_it_is_nothing_and_the_discriminator_is_at_chance() -> None:
    ratio, generator = trained(0.0, 100)
    with torch.no_grad():
        code = gaussian(0.0, 20_000, generator)
        assert abs(float(ratio(code).mean())) < 0.03
        assert float(ratio.read_loss(code, generator)) == pytest.approx(math.log(2), abs=0.01)


def test_shuffling_keeps_every_group_whole_and_its_values_and_parts_the_groups() -> None:
    ratio, generator = DensityRatio([1, 2]), torch.Generator().manual_seed(0)
    code = torch.arange(300.0).view(100, 3)
    mixed = ratio.shuffled(code, generator)
    assert torch.equal(mixed[:, 2] - mixed[:, 1], torch.ones(100))  # the second group is whole
    assert not torch.equal(mixed[:, 1] - mixed[:, 0], torch.ones(100))
    for column in range(3):
        assert torch.equal(mixed[:, column].sort().values, code[:, column])
    assert torch.equal(mixed, ratio.shuffled(code, torch.Generator().manual_seed(0)))


def test_inside_frozen_codes_have_a_gradient_and_the_discriminator_none() -> None:
    ratio, code = DensityRatio([1, 2], (8,)), torch.randn(5, 3, requires_grad=True)
    with frozen(ratio):
        ratio(code).mean().backward()
    assert code.grad is not None
    assert float(code.grad.abs().sum()) > 0
    assert all(p.grad is None for p in ratio.parameters())
