"""How well a model predicts every label of its data: the scores of :mod:`labelspace.metrics` under a schema."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from labelspace.errors import UserError
from labelspace.labels import LabelDistribution
from labelspace.metrics import Score, prediction
from labelspace.precision import as_double_on_cpu


def labels(distribution: LabelDistribution, values: Tensor, observed: Tensor, seed: int = 0) -> dict[str, dict[str, Score]]:
    """Scores of every label that a distribution predicts, by label: those of discrete or of continuous ones.

    See :func:`labelspace.metrics.prediction.discrete` and :func:`labelspace.metrics.prediction.continuous`.

    Args:
        distribution: of ``n`` samples.
        values: ``(n, labels)`` truth.
        observed: ``(n, labels)`` bool; missing entries do not count, and a label with fewer than two known is left out.
        seed: of the floors.
    """
    table, out = distribution.table(), {}
    if values.shape != observed.shape or values.shape[1:] != (len(table),):
        given = f"values of shape {tuple(values.shape)}, observed of {tuple(observed.shape)}"
        raise UserError(f"{given}; expected (n, {len(table)}), a column for each label of the distribution")
    for i, (name, columns) in enumerate(table.items()):
        known = observed[:, i].cpu().numpy().astype(bool)
        truth = as_double_on_cpu(values[:, i]).numpy()[known]
        if len(truth) < 2:
            continue
        if distribution.schema[name].discrete:
            out[name] = prediction.discrete(np.stack(list(columns.values()), 1)[known], truth, seed)
        else:
            out[name] = prediction.continuous(truth, columns["mean"][known], columns["sd"][known])
    return out
