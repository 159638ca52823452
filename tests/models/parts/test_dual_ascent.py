"""Weights of constraints."""

from __future__ import annotations

import pytest
import torch

from labelspace.models.parts import DualAscent


def test_weights_rise_under_violation_fall_without_and_stay_in_bounds() -> None:
    weights = DualAscent(2, allowed=0.02, start=10.0, most=50.0, rate=0.1)
    for _ in range(200):
        weights.update(torch.tensor([0.3, 0.0]), torch.tensor([True, True]))
    assert float(weights.value[0]) == pytest.approx(50.0)
    assert float(weights.value[1]) < 10.0


def test_no_weight_is_larger_than_its_bound_of_now() -> None:
    weights = DualAscent(2, allowed=0.02, start=10.0, most=50.0, rate=0.1)
    told, seen = torch.tensor([0.3, 0.3]), torch.tensor([True, False])
    weights.update(told, seen, torch.tensor(3.0))
    assert weights.value.tolist() == [3.0, 10.0]
    weights.update(told, seen, torch.tensor(0.0))
    assert float(weights.value[0]) == pytest.approx(0.1)
    weights.update(told, seen, torch.tensor(1e9))
    assert float(weights.value[0]) > 0.1, "it grows again where the bound does"
    shares = torch.stack([told, torch.ones(2)])
    assert float(weights.excess(shares)) == pytest.approx(10 * 2 * (0.3 - 0.04))
    assert float(weights.excess(shares, torch.tensor(4.0))) == pytest.approx(4 * 2 * (0.3 - 0.04))
