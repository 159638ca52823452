"""Discriminators of samples, spectrally normalised."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from labelspace.errors import UserError
from labelspace.likelihoods import Likelihood
from labelspace.models import networks


def needs_numbers(model: str, likelihood: Likelihood) -> None:
    """Raises UserError where samples are not numbers that a discriminator could compare with generated ones."""
    if not likelihood.additive:
        raise UserError(
            f"{model} has a discriminator, which reads samples as numbers; counts and tables need a model without one "
            "(labelspace models)"
        )


class SpectralFeatures(nn.Module):
    """Features h(x) of samples, ``(n, 128)``, by a spectrally normalised network.

    Every matrix and every kernel, seen as a matrix, has spectral norm 1, so h changes at most as fast as x for vectors, and at
    most three times as fast for images (their first kernel is 3x3 and overlaps itself; all others are 1x1).

    Args:
        shape: shape of one sample.
        network: size of its trunk.
    """

    def __init__(self, shape: tuple[int, ...], network: networks.Network) -> None:
        super().__init__()
        # relu has Lipschitz constant 1; and zeros around an image add nothing, where a repeated border would count twice
        trunk, features = networks.encoder(shape, replace(network, activation="relu"), "constant")
        for module in trunk.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                spectral_norm(module)
        self.trunk = trunk
        self.hidden = nn.Sequential(spectral_norm(nn.Linear(features, 128)), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.hidden(self.trunk(x))


class Discriminator(nn.Module):
    """A projection discriminator (Miyato & Koyama 2018): D(x, y) = f(h(x)) + <W y, h(x)>, spectrally normalised throughout.

    Args:
        shape: shape of one sample.
        width: label features ``y``; 0 makes it unconditional.
        network: size of its trunk.
    """

    def __init__(self, shape: tuple[int, ...], width: int, network: networks.Network) -> None:
        super().__init__()
        self.features = SpectralFeatures(shape, network)
        self.out = spectral_norm(nn.Linear(128, 1))
        self.projection = spectral_norm(nn.Linear(width, 128, bias=False)) if width else None

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """How real samples look under label features ``y (n, width)``; ``(n,)``."""
        h = self.features(x)
        score = self.out(h)[:, 0]
        if self.projection is not None and y is not None:
            score = score + (self.projection(y.to(h.dtype)) * h).sum(1)
        return score.float()


def hinge(real: Tensor, *fakes: Tensor) -> Tensor:
    """The discriminator's hinge loss, averaged over the batch: mean relu(1 - real) plus, for each, mean relu(1 + fake)."""
    loss = F.relu(1 - real).mean()
    for fake in fakes:
        loss = loss + F.relu(1 + fake).mean()
    return loss
