"""benchmarks/writing.py, small."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def bench(program: Callable[[str], ModuleType]) -> ModuleType:
    return program("benchmarks/writing.py")


def test_ink_slant_and_width_of_lines(bench: ModuleType) -> None:
    upright, slanted, flat = torch.zeros(3, 1, 8, 8)
    upright[:, 1:7, 3] = 1
    slanted[:, range(1, 7), range(1, 7)] = 0.5
    flat[:, 4, 1:7] = 1
    found = bench.writing(torch.stack([upright, slanted, flat]))
    assert found["ink"] == pytest.approx([6 / 64, 3 / 64, 6 / 64])
    assert found["slant"][:2] == pytest.approx([0, 1])
    deviation = np.arange(6).std()
    assert found["width"] == pytest.approx([0, deviation, deviation])


def test_the_page_has_a_row_for_each_model(bench: ModuleType) -> None:
    runs = [
        {"model": m, "seed": s, "ink": 0.5, "slant": 0.25, "width": s / 1000, "nats": 8.0} for m in "ab" for s in (100, 101)
    ]
    text = bench.page(runs, "python benchmarks/writing.py")
    assert "of\n2 seeds" in text or "of 2 seeds" in text
    assert "| a | 0.50 (0.50 - 0.50) | 0.25 (0.25 - 0.25) | 0.10 (0.10 - 0.10) | 8.0 (8.0 - 8.0) |" in text
    assert "| b |" in text
