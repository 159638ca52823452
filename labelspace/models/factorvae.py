"""FactorVAE (Kim, Mnih, ICML 2018).

For: coordinates of z that are independent of each other, without labels, at little cost in reconstruction. Not for: setting or
transferring an attribute cleanly: labels are not used in training, and nothing else says which coordinate is which.

    p(z) = N(0, I)              p(x | z): likelihood of decoder(z)              q(z | x) = N(mean(x), scale(x)^2)
    D(z): a discriminator of draws of q(z) and of codes whose coordinates come from different draws, ~ prod_j q(z_j)

    minimise      -log p(x | z)  +  KL(q(z | x) || p(z))  +  gamma * log D(z) / (1 - D(z)),   D frozen
    D minimises   -log D(z) / 2  -  log (1 - D(z')) / 2,   z detached, z' shuffled

Where D is the best there is, the mean of log D / (1 - D) is the total correlation KL(q(z) || prod_j q(z_j)).

Blocks: ``z``, free.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from labelspace.blocks import sample
from labelspace.data.batches import Batch
from labelspace.labels import Schema
from labelspace.models import schedules
from labelspace.models.base import About, Common, Losses, Player, kl_terms
from labelspace.models.parts import DensityRatio, frozen
from labelspace.models.vae import VAE


class FactorVAE(VAE):
    """The FactorVAE; see the module for the objective.

    Args:
        shape: shape of one sample.
        schema: the labels; they are not used in training, only to measure the attribute vectors that edits move along.
        frequencies: label frequencies; kept for generation under drawn labels.
        latent: coordinates of ``z``.
        gamma: weight of the total correlation, a number or a schedule.
        **common: what x is like and how networks are built, as for every model (:class:`~labelspace.models.base.Common`).
    """

    about = About(
        purpose="coordinates that are independent of each other, without labels, by a discriminator",
        avoid="you want to change one attribute and nothing else",
        labels="any (used for edits only)",
        missing="yes",
        blocks="z",
        adversaries="one on z, of its coordinates' independence",
        paper="Kim, Mnih 2018",
    )

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 32,
        gamma: float | str = 10.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(shape, schema, frequencies, latent, **common)
        self.schedules["total_correlation"] = schedules.parse(gamma)
        self.density_ratio = DensityRatio([1] * latent)

    def players(self) -> dict[str, Player]:
        return {
            "density_ratio": Player(list(self.density_ratio.parameters()), auxiliary=True),
            "model": Player(self.parameters_except(self.density_ratio)),
        }

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        posterior = self.posterior(batch.x, batch.values, batch.observed)
        codes = sample(posterior, generator)

        def density_ratio() -> dict[str, Tensor]:
            return {"density_ratio": self.density_ratio.read_loss(codes["z"].detach(), generator)}

        def model() -> dict[str, Tensor]:
            with frozen(self.density_ratio):
                told = self.density_ratio(codes["z"]).mean()
            return {
                "reconstruction": -self.decode(codes).log_prob(batch.x).mean(),
                **kl_terms(posterior, self.prior(batch.values)),
                "total_correlation": told,
            }

        return Losses({"density_ratio": density_ratio, "model": model}, self.weights())
