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
