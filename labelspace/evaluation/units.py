"""Samples in coordinates whose squared differences can be added up."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from labelspace.data.dataset import Dataset
from labelspace.likelihoods import Table, build_likelihood

Units = Callable[[Tensor], Tensor]
"""``(..., *shape) -> (..., k)`` or, of pictures, ``(..., *shape)``."""


def units(data: Dataset) -> Units:
    """How samples of some data are compared: pictures as they are, columns of numbers in units of their deviation in the
    training split, counts by their logarithms, classes as indicators. Missing cells are as the mean."""
    if data.is_image:
        return lambda x: x
    likelihood = build_likelihood(data.likelihood or "gaussian", data.shape, "auto", True)
    likelihood.measure(data.samples(data.rows("train")))
    known = likelihood.output_shape[0] if isinstance(likelihood, Table) else None  # behind it are flags of missing cells

    def compared(x: Tensor) -> Tensor:
        return likelihood.inputs(x.reshape(-1, x.shape[-1])).detach()[:, :known].reshape(*x.shape[:-1], -1)

    return compared
