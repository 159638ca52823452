"""What a browser sends of the parts of a page."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("nicegui")

from labelspace.explorer import parts


@pytest.mark.parametrize(
    ("sent", "read"),
    [(3, 3), (2.9, 2), (-5, 0), (1e300, 9), (math.inf, 9), (math.nan, 0), (None, 0), ("7", 0), ([1], 0), ({}, 0)],
)
def test_the_number_in_a_field_may_be_anything(sent: Any, read: int) -> None:
    field: Any = SimpleNamespace(value=sent)
    assert parts.whole(field, 0, 9) == read
