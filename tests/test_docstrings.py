"""Examples in docstrings of the public surface run as they stand."""

from __future__ import annotations

import doctest
import importlib

import pytest

WITH_EXAMPLES = ("data.dataset", "data.sources", "evaluation.effects", "training.progress")


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_of_docstrings_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"labelspace.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
