"""Which value of a binary label can be had in more ways."""

from __future__ import annotations

import torch
from torch import Tensor

from labelspace.labels import Schema

_COMPONENTS, _SAMPLES_EACH = 32, 4  # principal components that samples are compared in, at most one for so many samples
_RIDGE = 0.05  # of a component's variance
_SHUFFLES = 20  # of the label's values: how large a difference is where there is none
_SURE = 2.0  # standard deviations of these: where it is less clear, off is taken for the poorer value


@torch.no_grad()
def richer_when_off(x: Tensor, values: Tensor, observed: Tensor, schema: Schema, prior: Tensor) -> Tensor:
    """Whether samples vary in more ways where a binary label is off, ``(labels,)`` bool; False for all other labels.

    As in contrastive principal component analysis (Abid et al. 2018), the covariances of samples with and without the label are
    compared, in the principal components of all: is it likelier that samples with the label vary as the others do and in
    something more, or the reverse (:func:`_likelier`)? What the other labels say of a sample is no way of having this one, and
    is taken out before. A label of something that is absent (bald, no beard) has its styles where it is off.

    Args:
        x: samples as numbers whose variances can be compared (:meth:`~labelspace.likelihoods.base.Likelihood.numbers`),
            ``(n, *shape)``; where few have a value, nothing can be said.
        values, observed: ``(n, labels)``.
        schema: the labels.
        prior: ``(schema.width,)`` features that stand for a missing label.
    """
    found = torch.zeros(len(schema), dtype=torch.bool)
    x = x.flatten(1).float()
    if not x.shape[1]:
        return found
    x = x - x.mean(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the decomposition starts from random directions
        _, _, directions = torch.pca_lowrank(x, q=min(_COMPONENTS, *x.shape), center=False)
        z = x @ directions
        z = z / z.std(0, correction=0).clamp_min(1e-6)
        features = schema.features(values, observed, prior)
        for i, label in enumerate(schema):
            if label.kind != "binary":
                continue
            own = schema.repeat_over_features(torch.arange(len(schema)) == i)
            others = torch.cat([torch.ones_like(features[:, :1]), features[:, ~own]], 1)
            sides = [(observed[:, i] & (values[:, i] == value)).nonzero()[:, 0] for value in (0, 1)]
            # As many of each: the fewer the samples, the more directions look poor in variance.
            most = min(map(len, sides))
            kept = min(z.shape[1], (most - others.shape[1]) // _SAMPLES_EACH)
            if kept > 0:
                rows = [side[torch.linspace(0, len(side) - 1, most).long()] for side in sides]
                rest = torch.cat([_unexplained(z[side, :kept], others[side]) for side in rows])
                shuffled = [_likelier(rest[torch.randperm(2 * most)]) for _ in range(_SHUFFLES)]
                noise = torch.stack(shuffled).std().clamp_min(1e-4)  # of rounding at least
                found[i] = bool(_likelier(rest) < -_SURE * noise)
    return found


def _unexplained(z: Tensor, features: Tensor) -> Tensor:
    """What a linear regression on features leaves of z."""
    return z - features @ (torch.linalg.pinv(features) @ z)


def _likelier(z: Tensor) -> Tensor:
    """How much likelier it is, in nats a sample, that the second half of samples has all variance of the first half and more
    than the reverse, were both Gaussian.

    Where variances along the common axes of both covariances are ``1`` and ``r``, the order that forbids ``r`` makes one
    of both, their mean (Anderson, Anderson and Olkin 1986), and costs ``log((1 + r) / 2) - log(r) / 2``.
    """
    first, second = (half.T @ half / len(half) + _RIDGE * torch.eye(half.shape[1]) for half in z.chunk(2))
    whiten = torch.linalg.inv(torch.linalg.cholesky(first))
    ratios = torch.linalg.eigvalsh(whiten @ second @ whiten.T).clamp_min(1e-6)
    return (ratios.log().sign() * (((1 + ratios) / 2).log() - ratios.log() / 2)).sum()
