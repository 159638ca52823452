"""Samples in coordinates whose squared differences can be added up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from labelspace.data.dataset import Dataset
from labelspace.data.store import Progress
from labelspace.evaluation.manipulation import error_to_truth
from labelspace.likelihoods import Table, build_likelihood

Units = Callable[[Tensor], Tensor]
"""``(..., *shape) -> (..., k)`` or, of pictures, ``(..., *shape)``."""


_FOUND: WeakKeyDictionary[Dataset, Units] = WeakKeyDictionary()


def units(data: Dataset) -> Units:
    """How samples of some data are compared, found once for each data set: pictures as they are, columns of numbers in units of
    their deviation in the training split, counts by their logarithms, classes as indicators. Missing cells are as the mean."""
    if data not in _FOUND:
        _FOUND[data] = _found(data)
    return _FOUND[data]


def _found(data: Dataset) -> Units:
    if data.is_image:
        return lambda x: x
    likelihood = build_likelihood(data.likelihood or "gaussian", data.shape, "auto", True)
    likelihood.measure(data.samples(data.rows("train")))
    known = likelihood.output_shape[0] if isinstance(likelihood, Table) else None  # behind it are flags of missing cells

    def compared(x: Tensor) -> Tensor:
        return likelihood.inputs(x.reshape(-1, x.shape[-1])).detach()[:, :known].reshape(*x.shape[:-1], -1)

    return compared


def errors_to_truths(
    data: Dataset,
    rows: np.ndarray,
    label: str,
    wanted: np.ndarray,
    edited: Sequence[Tensor],
    means: Sequence[Tensor] = (),
    progress: Progress | None = None,
) -> np.ndarray:
    """Squared errors to the nearest true style of each sample with a label at another value: of doing nothing, of edits, and of
    what is expected of them, ``(1 + edited + means, n)``.

    A measured sample has noise of its own, and cells that are missing. What it truly would be has the same noise, and of the
    missing cells nothing can be said: what is compared is how edits change the others. Pictures are drawn without noise.

    Args:
        data: generated data, whose truth is known.
        rows: of the samples, ``(n,)``.
        label: that is changed.
        wanted: ``(n,)`` its new values.
        edited: what edits make of the samples, each ``(n, *shape)``.
        means: what is expected of them without noise, each ``(n, *shape)``.
        progress: told pictures drawn and pictures in all.
    """
    compared, x, expected = units(data), data.samples(rows), data.expected(rows)
    missing = x.isnan()
    own = compared(expected)
    noise = compared(torch.where(missing, expected, x)) - own
    made = [own, *(compared(torch.where(missing, expected, one)) - noise for one in edited)]
    made += [compared(torch.where(missing, expected, one)) for one in means]
    out = np.zeros((len(made), len(rows)))
    for value in np.unique(wanted):
        mine = np.flatnonzero(wanted == value)
        here = torch.from_numpy(mine)
        truths = data.counterfactuals(label, float(value), rows[mine], progress)[0]
        truths = compared(torch.where(missing[here][:, None], expected[here][:, None], truths))
        for k, one in enumerate(made):
            out[k, mine] = error_to_truth(one[here], truths)
    return out
