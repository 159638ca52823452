"""What setting a label changes, variable by variable: what the model says, and what the samples say, with intervals.

A model says what every sample would be under either value. That alone is no evidence: its answers differ a little for every
variable, and they agree with each other too well for a test over samples. Nor may its codes stand in for what samples differ in
besides the label: whatever a code still has of the label, or of a sample's own noise, would count as an effect, or hide one.
So evidence comes from the samples alone, adjusted for the other labels by augmented inverse probability weighting (Robins,
Rotnitzky, Zhao 1994):

    m_v(i) + 1[y_i = v] / p_v(i) * (x_i - m_v(i))        averaged over samples i, for v = a and b

with m_v(i) the mean of x under the value v given the other labels (a linear regression) and p_v(i) the probability of the value
given them (a logistic regression). It is right where either of the two is, as far as what the label goes together with is among
the other labels. The model's own change stands beside it: where they differ by more than the interval, the model errs.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import ndtr, ndtri

from labelspace import interventions
from labelspace.data import frames
from labelspace.data.dataset import Dataset
from labelspace.data.splits import Split
from labelspace.data.store import Progress
from labelspace.errors import UserError
from labelspace.likelihoods import NegativeBinomial
from labelspace.models.base import Model
from labelspace.models.of_data import check_fit, chunks, known_labels

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame

_FEWEST = 20  # samples of either value
_LEAST = 0.02  # probability of a value: weights beyond its inverse would be those of single samples
_SHOWN = 8


@dataclass(frozen=True, repr=False, eq=False)
class Effects:
    """Effects of a label on every variable, ``(d,)`` arrays each.

    Attributes:
        label, a, b: the effect is that of setting ``label`` from ``a`` to ``b``.
        variables: names.
        effect: change of the mean as the samples show it; of counts, of the rate in a sample of typical total.
        low, high: its 95% interval.
        p: of the test that there is none, two-sided.
        q: the same as a false-discovery rate over all variables (Benjamini and Hochberg 1995).
        model: the change by the model's answers alone.
        plain: the plain difference of means between samples of either value.
        log2_fold_change: of counts, log2 of the ratio of rates; NaN elsewhere and where a rate is not above 0.
        n: samples.
    """

    label: str
    a: str
    b: str
    variables: tuple[str, ...]
    effect: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    q: np.ndarray
    model: np.ndarray
    plain: np.ndarray
    log2_fold_change: np.ndarray
    n: int

    def columns(self) -> dict[str, Any]:
        """As columns of a table, the surest variables first."""
        names = ("effect", "low", "high", "p", "q", "model", "plain", "log2_fold_change")
        order = np.argsort(self.p, kind="stable")
        return {"variable": [self.variables[i] for i in order], **{name: getattr(self, name)[order] for name in names}}

    def to_frame(self) -> IntoDataFrame:
        """As a frame, the surest variables first. Raises UserError where no library for frames is installed."""
        return frames.make(self.columns())

    def found(self, rate: float = 0.05) -> list[str]:
        """Variables with a false-discovery rate of at most ``rate``, the surest first."""
        return [self.variables[i] for i in np.argsort(self.p, kind="stable") if self.q[i] <= rate]

    def __repr__(self) -> str:
        found = self.found()
        some = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
        what = f"Effects of {self.label} {self.a} -> {self.b} on {len(self.variables)} variables, {self.n:,} samples"
        return f"{what}: {len(found)} at a false-discovery rate of 5%{f' ({some})' if found else ''}"

    def _repr_html_(self) -> str:
        columns = self.columns()
        head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
        rows = list(zip(*columns.values(), strict=True))[:_SHOWN]
        cells = ["".join(f"<td>{html.escape(c if isinstance(c, str) else f'{c:.3g}')}</td>" for c in row) for row in rows]
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        return f"<div><p>{html.escape(repr(self))}</p><table><tr>{head}</tr>{body}</table></div>"


def effects(
    model: Model,
    data: Dataset,
    label: str,
    a: Any,
    b: Any,
    *,
    split: Split | None = None,
    progress: Progress | None = None,
) -> Effects:
    """What setting a label changes, variable by variable; see the module for how it is estimated.

    Args:
        model: a trained model of vectors.
        data: the samples, with the label; those where it is neither ``a`` nor ``b`` count, too: the effect is that on all.
        label: a binary or categorical label.
        a, b: its values, as users write them.
        split: of which samples; by default of all.
        progress: told samples done and samples in all.

    Raises:
        UserError: pictures, a number as label, the same value twice, or fewer than 20 samples of either.

    >>> import labelspace as ls
    >>> data = ls.open("cells:n=400")
    >>> fitted = ls.fit(ls.build("condvae", data), data, epochs=2, progress=False)
    >>> found = ls.effects(fitted.model, data, "stimulated", 0, 1)
    >>> len(found.q) == data.shape[0]
    True
    """
    if len(model.shape) != 1:
        raise UserError("effects are of variables, the columns of vectors; this model is of pictures")
    kind, index = model.schema[label], model.schema.index(label)
    if not kind.discrete:
        raise UserError(f"label {label!r} is a number; effects compare two values of a binary or categorical label")
    values = [kind.parse(value) for value in (a, b)]
    if values[0] == values[1] or any(math.isnan(value) for value in values):
        raise UserError(f"effects compare two different values of {label!r}, got {a!r} and {b!r}")
    check_fit(model, data)
    rows = np.arange(len(data)) if split is None else data.rows(split)
    known, observed = (part[rows] for part in known_labels(model, data))
    has = [observed[:, index] & (known[:, index] == value) for value in values]
    for value, members in zip((a, b), has, strict=True):
        if members.sum() < _FEWEST:
            raise UserError(
                f"{data.address}: {int(members.sum())} samples have {label}={value}; effects need {_FEWEST} of either value"
            )
    counts = isinstance(model.likelihood, NegativeBinomial)
    x, answers, features = _answers(model, data, rows, (known, observed), label, (a, b), progress)
    if counts:  # rates: what a sample of typical total would have
        total = np.maximum(x.sum(1, keepdims=True), 1.0)
        typical = float(np.median(total))
        x = x / total * typical
        answers = [answer / np.maximum(answer.sum(1, keepdims=True), 1e-12) * typical for answer in answers]
    probability = _probabilities(features, np.stack(has, 1))
    seen = np.isfinite(x)
    sums = []
    for v, members in enumerate(has):
        regressed = _regressed(features, x, members)
        weight = members / np.clip(probability[:, v], _LEAST, 1.0)
        sums.append(regressed + weight[:, None] * np.where(seen, x - regressed, 0.0))
    change = sums[1] - sums[0]
    effect, error = change.mean(0), change.std(0, ddof=1) / math.sqrt(len(change))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(error > 0, 2 * ndtr(-np.abs(effect) / error), np.where(effect == 0, 1.0, 0.0))
        fold = np.log2(sums[1].mean(0) / sums[0].mean(0)) if counts else np.full(len(effect), np.nan)
    from scipy.stats import false_discovery_control  # takes as long to import as much of PyTorch

    half = ndtri(0.975) * error
    means = [np.nanmean(np.where(seen, x, np.nan)[members], 0) for members in has]
    return Effects(
        label,
        str(kind.format(values[0])),
        str(kind.format(values[1])),
        data.entries,
        effect,
        effect - half,
        effect + half,
        p,
        np.asarray(false_discovery_control(p)),
        (answers[1] - answers[0]).mean(0),
        means[1] - means[0],
        np.where(np.isfinite(fold), fold, np.nan),
        len(rows),
    )


@torch.no_grad()
def _answers(
    model: Model,
    data: Dataset,
    rows: np.ndarray,
    labels: tuple[np.ndarray, np.ndarray],
    label: str,
    values: tuple[Any, Any],
    progress: Progress | None,
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Samples, what the model says of them under either value, ``(n, d)``, and features of its other labels, ``(n, k)``."""
    xs: list[np.ndarray] = []
    answers: list[list[np.ndarray]] = [[], []]
    features: list[np.ndarray] = []
    index = model.schema.index(label)
    for part in chunks(np.arange(len(rows))):
        x = data.samples(rows[part])
        known = torch.from_numpy(labels[0][part]), torch.from_numpy(labels[1][part])
        for i, value in enumerate(values):
            answers[i].append(
                interventions.set(model, x, {label: value}, known, keep_detail=False).x.numpy().astype(np.float64)
            )
        others = known[1].clone()
        others[:, index] = False
        features.append(model.schema.features(known[0], others, model.label_features).numpy())
        xs.append(x.numpy().astype(np.float64))
        if progress:
            progress(int(part[-1]) + 1, len(rows))
    return np.concatenate(xs), [np.concatenate(answer) for answer in answers], np.concatenate(features)


def _probabilities(features: np.ndarray, has: np.ndarray) -> np.ndarray:
    """Probability of either value given features of the other labels, ``(n, 2)``."""
    from sklearn.linear_model import LogisticRegression

    group = np.where(has[:, 0], 0, np.where(has[:, 1], 1, 2))
    out = np.zeros((len(group), 3))
    if features.std(0).max(initial=0.0) == 0:  # there are no others
        return np.broadcast_to(np.bincount(group, minlength=3) / len(group), out.shape)[:, :2]
    reader = LogisticRegression(max_iter=1000, C=100.0).fit(features, group)
    out[:, reader.classes_] = reader.predict_proba(features)
    return out[:, :2]


def _regressed(features: np.ndarray, x: np.ndarray, members: np.ndarray) -> np.ndarray:
    """The mean of x given features of the other labels, as some samples have it, ``(n, d)``; missing cells are left out."""
    design = np.concatenate([np.ones((len(features), 1)), features], 1)
    out = np.empty_like(x)
    seen = np.isfinite(x) & members[:, None]
    whole = bool((seen.sum(0) == members.sum()).all())
    if whole:
        return design @ np.linalg.lstsq(design[members], x[members], rcond=None)[0]
    for j in range(x.shape[1]):
        rows = seen[:, j]
        out[:, j] = design @ np.linalg.lstsq(design[rows], x[rows, j], rcond=None)[0] if rows.any() else 0.0
    return out
