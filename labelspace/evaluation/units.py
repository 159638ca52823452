"""Samples in coordinates whose squared differences can be added up."""

from __future__ import annotations

from collections.abc import Callable
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


class Truths:
    """What samples truly are with a label at another value, drawn once for any number of edits.

    A measured sample has noise of its own, and cells that are missing. What it truly would be has the same noise, and of the
    missing cells nothing can be said: what is compared is how edits change the others. Pictures are drawn without noise.
    Errors are squared, each to the nearest true style.

    Args:
        data: generated data, whose truth is known.
        rows: of the samples, ``(n,)``.
        label: that is changed.
        wanted: ``(n,)`` its new values.
        progress: told pictures drawn and pictures in all, of each new value.

    Attributes:
        wanted: ``(n,)`` the new values.
    """

    def __init__(
        self, data: Dataset, rows: np.ndarray, label: str, wanted: np.ndarray, progress: Progress | None = None
    ) -> None:
        self.wanted = wanted
        self._compared, x, self._expected = units(data), data.samples(rows), data.expected(rows)
        self._missing = x.isnan()
        self._own = self._filled(self._expected)
        self._noise = self._filled(x) - self._own
        # who is given a value, (k,), and the true styles, (k, styles, *shape) and compared (k, styles, d)
        self._styles: list[tuple[Tensor, Tensor, Tensor]] = []
        for value in np.unique(wanted):
            mine = np.flatnonzero(wanted == value)
            here = torch.from_numpy(mine)
            truths = data.counterfactuals(label, float(value), rows[mine], progress)[0]
            known = torch.where(self._missing[here][:, None], self._expected[here][:, None], truths)
            self._styles.append((here, truths, self._compared(known)))

    def one_each(self, rng: np.random.Generator) -> Tensor:
        """Of every sample one of its true styles at random, ``(n, *shape)``."""
        out = torch.empty_like(self._expected)
        for here, truths, _ in self._styles:
            out[here] = truths[np.arange(len(here)), rng.integers(0, truths.shape[1], len(here))]
        return out

    def of_nothing(self) -> np.ndarray:
        """Errors of samples that are left as they are, ``(n,)``."""
        return self._errors(self._own)

    def of_edits(self, edited: Tensor) -> np.ndarray:
        """Errors of what an edit makes of the samples, ``(n, *shape)``; ``(n,)``."""
        return self._errors(self._filled(edited) - self._noise)

    def of_means(self, expected: Tensor) -> np.ndarray:
        """Errors of what is expected of the samples without noise, ``(n, *shape)``; ``(n,)``."""
        return self._errors(self._filled(expected))

    def _filled(self, x: Tensor) -> Tensor:
        return self._compared(torch.where(self._missing, self._expected, x))

    def _errors(self, x: Tensor) -> np.ndarray:
        out = np.zeros(len(x))
        for here, _, truths in self._styles:
            out[here.numpy()] = error_to_truth(x[here], truths)
        return out
