"""Ways of setting a label, and which of them suits a model best: models are compared at their best, chosen alike for all.

Papers edit in different ways: by a search over points of the label's block, by moving further than the label's own value (the
intensity of a conditional VAE), by a style that is drawn. Every model is offered all that its blocks allow, and validation
samples choose, by one measure for all models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from labelspace import interventions
from labelspace.data.dataset import Dataset
from labelspace.distributions import Point
from labelspace.evaluation.judge import Judge
from labelspace.evaluation.units import Truths
from labelspace.models.base import Model

REACHES = (1.5, 2.0)
"""How far edits go, of the way to the label's point, besides once."""
STYLES = 4
"""Points of a block that are drawn, each of which is tried for all samples."""


@dataclass(frozen=True)
class Operator:
    """A way of setting a label.

    Attributes:
        reach: how far, of the way from a sample's own code to the label's typical point.
        style: which of the drawn points of the label's block, the same for all samples; None is the typical point.
        keep_detail: whether what the model cannot reconstruct is kept.
    """

    reach: float = 1.0
    style: int | None = None
    keep_detail: bool = False

    @property
    def name(self) -> str:
        """What it is called in tables."""
        point = "typical point" if self.style is None else f"drawn point {self.style + 1}"
        far = "" if self.reach == 1 else f", {self.reach:g} times as far"
        return point + far + (", detail kept" if self.keep_detail else "")

    def apply(self, model: Model, data: Dataset, rows: np.ndarray, label: str, wanted: np.ndarray) -> Tensor:
        """Samples with a label at wanted values ``(n,)``, ``(n, *shape)``."""
        x, (values, observed) = data.samples(rows), data.labels(rows)
        edited = torch.empty_like(x)
        for value in np.unique(wanted):
            mine = torch.from_numpy(wanted == value)
            edited[mine] = self._set(model, x[mine], (values[mine], observed[mine]), label, float(value))
        return edited

    def _set(self, model: Model, x: Tensor, labels: interventions.Labels, label: str, value: float) -> Tensor:
        if self.style is not None:
            name = model.blocks.of(label).name
            prior = model.prior(*model.only(label, torch.tensor([value])))[name]
            point = prior.sample(torch.Generator().manual_seed(self.style))[0]
            return interventions.move(model, x, {name: point}, labels, keep_detail=self.keep_detail).x
        new = {label: model.schema[label].format(value)}
        done = interventions.set(model, x, new, labels, keep_detail=self.keep_detail)
        if self.reach == 1 or done.encoded is None:
            return done.x
        far = {name: torch.lerp(done.encoded[name], done.codes[name], self.reach) for name in done.record.changed}
        return interventions.move(model, x, far, labels, keep_detail=self.keep_detail).x


def offered(model: Model, label: str, *, keep: Sequence[bool] = (False,)) -> list[Operator]:
    """What a model's blocks allow: the typical point at several reaches, and drawn points where the block has more than one.

    Args:
        model: a trained model.
        label: that is set.
        keep: whether detail may be kept.
    """
    points = [Operator(), *(Operator(reach=reach) for reach in REACHES)]
    own = [block for block in model.blocks if block.label == label]
    if own and model.schema[label].discrete:
        prior = model.prior(*model.only(label, torch.tensor([0.0])))[own[0].name]
        points += [] if isinstance(prior, Point) else [Operator(style=k) for k in range(STYLES)]
    return [Operator(point.reach, point.style, kept) for kept in keep for point in points]


def best(
    model: Model,
    data: Dataset,
    judge: Judge,
    rows: np.ndarray,
    label: str,
    wanted: np.ndarray,
    *,
    keep: Sequence[bool] = (False,),
) -> Operator:
    """The operator that does best on some samples, which are others than those that it is measured on (:class:`Worth`).

    Equal ones: the first that is offered.

    Args:
        model: a trained model.
        data: the data set.
        judge: of its labels.
        rows: validation samples.
        label: that is set.
        wanted: ``(n,)`` its new values.
        keep: whether detail may be kept.
    """

    worth = Worth(data, judge, rows, label, wanted)
    return max(offered(model, label, keep=keep), key=lambda operator: worth(operator.apply(model, data, rows, label, wanted)))


class Worth:
    """What edits of some samples are worth: the rate at which the new value is read, plus the least rate at which another
    label's verdict stays, and where the truth is known minus the error to it over that of doing nothing, of which no more
    than 2 counts.

    Args:
        data: the data set.
        judge: of its labels.
        rows: of the samples.
        label: that is set.
        wanted: ``(n,)`` its new values.
    """

    def __init__(self, data: Dataset, judge: Judge, rows: np.ndarray, label: str, wanted: np.ndarray) -> None:
        self._schema, self._judge, self._wanted = data.schema, judge, wanted
        self._label = data.schema.index(label)
        self._before = judge.read(data.samples(rows)).numpy()
        # Drawn once: to draw what hundreds of samples truly would be takes longer than to edit them in every way.
        self._truths = None if data.truth is None else Truths(data, rows, label, wanted)
        self._nothing = 0.0 if self._truths is None else max(float(self._truths.of_nothing().sum()), 1e-12)

    def __call__(self, edited: Tensor) -> float:
        """Of edited samples ``(n, *shape)``."""
        i, wanted, before, after = self._label, self._wanted, self._before, self._judge.read(edited).numpy()
        labels = list(self._schema)
        if labels[i].discrete:
            total = float((after[:, i] == wanted).mean())
        else:
            total = -min(2.0, float(((after[:, i] - wanted) ** 2).mean() / max(float(np.var(wanted)), 1e-12)))
        others = [j for j, other in enumerate(labels) if other.discrete and j != i]
        total += min((float((before[:, j] == after[:, j]).mean()) for j in others), default=1.0)
        if self._truths is None:
            return total
        return total - min(2.0, float(self._truths.of_edits(edited).sum()) / self._nothing)
