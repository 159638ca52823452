"""Labels as blocks: the code is the label's own value."""

from __future__ import annotations

import torch
from torch import Tensor

from labelspace.blocks import Block
from labelspace.distributions import Point
from labelspace.labels import Schema


def value_blocks(schema: Schema, *, flags: bool) -> list[Block]:
    """One block ``y.<label>`` per label whose code is the label's own value, and with ``flags`` a 1 where it is missing."""
    return [Block(f"y.{label.name}", label.features + flags, label.name) for label in schema]


def value_points(schema: Schema, features: Tensor, observed: Tensor | None) -> dict[str, Point]:
    """Codes of :func:`value_blocks`.

    Args:
        schema: the labels.
        features: ``(n, schema.width)``; a missing label's are its prior mean.
        observed: ``(n, labels)`` bool for blocks with flags; None for blocks without.
    """
    parts = features.split(schema.feature_widths, -1)
    if observed is not None:
        flags = (~observed).to(features.dtype)
        parts = [torch.cat([part, flags[:, i : i + 1]], -1) for i, part in enumerate(parts)]
    return {f"y.{label.name}": Point.at(part) for label, part in zip(schema, parts, strict=True)}
