"""p(w | y): every label with a subspace of its own (Klys et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labelspace.blocks import Block
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import Schema

OFF_SCALE, ON_MEAN, ON_SCALE, CONTINUOUS_SCALE = 0.1, 3.0, 1.0, 0.3  # of p(w | y), per coordinate


def subspace_blocks(schema: Schema, subspace: int) -> list[Block]:
    """Blocks ``w.<label>``: ``subspace`` coordinates for a binary or continuous label, as many for each class of another."""
    return [Block(f"w.{label.name}", subspace * label.features, label.name) for label in schema]


class SubspacePrior(nn.Module):
    """p(w | y), all labels' blocks side by side.

    Where a label, or a class, is off: N(0, 0.1^2 I); where it is on: N(3, I). A continuous label: N(3 y, 0.3^2 I) with y
    standardised.

    Args:
        schema: the labels.
        subspace: coordinates as in :func:`subspace_blocks`.
        flip: turn binary labels round: on is the compact point, off the wide one.
        learned: learn mean and scale from y instead (an ablation of the paper).
        found: whether :meth:`turn` may find later which labels are turned round; a saved model then says which.
    """

    turned: Tensor
    discrete: Tensor
    column: Tensor

    def __init__(
        self, schema: Schema, subspace: int, *, flip: bool = False, learned: bool = False, found: bool = False
    ) -> None:
        super().__init__()
        self.subspace, self.schema = subspace, schema
        turned = [flip and label.kind == "binary" for label in schema for _ in range(label.features)]
        discrete = [label.discrete for label in schema for _ in range(label.features)]
        self.register_buffer("turned", torch.tensor(turned, dtype=torch.bool), persistent=found)
        self.register_buffer("discrete", torch.tensor(discrete, dtype=torch.bool), persistent=False)
        columns = torch.arange(schema.width).repeat_interleave(subspace)
        self.register_buffer("column", columns, persistent=False)  # of features, that each coordinate belongs to
        self.numbers = not all(discrete)
        self.network = nn.Linear(schema.width, 2 * subspace * schema.width) if learned else None

    def forward(self, features: Tensor) -> DiagonalGaussian:
        """p(w | y), ``(n, width)``, from label features (:meth:`Schema.features`)."""
        if self.network is not None:
            mean, raw = self.network(features).float().chunk(2, dim=-1)
            return DiagonalGaussian(mean, nn.functional.softplus(raw) + 1e-3)
        on = self._on(features)
        scale = OFF_SCALE + (ON_SCALE - OFF_SCALE) * on
        if self.numbers:
            scale = torch.where(self.discrete.index_select(0, self.column), scale, CONTINUOUS_SCALE)
        return DiagonalGaussian(ON_MEAN * on, scale)

    def used(self, features: Tensor) -> Tensor:
        """Whether each coordinate has a label or class that is on, ``(n, width)`` bool; those of numbers always have."""
        used = self._on(features) > 0.5
        return used | ~self.discrete.index_select(0, self.column) if self.numbers else used

    def turn(self, labels: Tensor) -> None:
        """Turns binary labels round where ``labels (labels,)`` bool says so."""
        self.turned.copy_(self.schema.repeat_over_features(labels))

    def _on(self, features: Tensor) -> Tensor:
        """Of each coordinate how far its label or class is on, ``(n, width)``."""
        return torch.where(self.turned, 1 - features, features).index_select(-1, self.column)
