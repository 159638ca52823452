"""Which value of a binary label can be had in more ways."""

from __future__ import annotations

import torch
from torch import Tensor

from labelspace.labels import Schema

_COMPONENTS, _SAMPLES_EACH = 32, 4  # principal components that samples are compared in, at most one for so many samples
_RIDGE = 0.05  # of a component's variance
_SURE = 2.0  # standard deviations: where it is less clear, off is taken for the poorer value


@torch.no_grad()
def richer_when_off(x: Tensor, values: Tensor, observed: Tensor, schema: Schema) -> Tensor:
    """Whether samples vary in more ways where a binary label is off, ``(labels,)`` bool; False for all other labels.

    As in contrastive principal component analysis (Abid et al. 2018), the covariances of samples with and without the label are
    compared, in the principal components of all: by their entropies as if they were Gaussian, half the logarithms of the
    determinants. A label of something that is absent (bald, no beard) has its styles where it is off.

    Args:
        x: samples as encoders read them, ``(n, *shape)``; where fewer than four have a value, nothing can be said.
        values, observed: ``(n, labels)``.
        schema: the labels.
    """
    x = x.flatten(1).float()
    x = x - x.mean(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the decomposition starts from random directions
        _, _, directions = torch.pca_lowrank(x, q=min(_COMPONENTS, *x.shape), center=False)
    z = x @ directions
    z = z / z.std(0, correction=0).clamp_min(1e-6)
    found = torch.zeros(len(schema), dtype=torch.bool)
    for i, label in enumerate(schema):
        if label.kind != "binary":
            continue
        parts = [z[observed[:, i] & (values[:, i] == value)] for value in (0, 1)]
        # As many of each: the fewer the samples, the more directions look poor in variance.
        most = min(map(len, parts))
        kept = min(z.shape[1], most // _SAMPLES_EACH)
        if kept:
            off, on = (_covariance(part[torch.linspace(0, len(part) - 1, most).long(), :kept]) for part in parts)
            noise = 2 * (kept / most) ** 0.5  # of the difference between two such logarithms, one standard deviation
            found[i] = bool(torch.logdet(on) < torch.logdet(off) - _SURE * noise)
    return found


def _covariance(z: Tensor) -> Tensor:
    z = z - z.mean(0)
    return z.T @ z / len(z) + _RIDGE * torch.eye(z.shape[1])
