"""iVAE, the identifiable VAE (Khemakhem, Kingma, Monti, Hyvarinen, AISTATS 2020).

For: codes whose coordinates are identifiable up to simple maps, given labels under which they are independent and vary enough
(nonlinear independent component analysis). Not for: edits of one attribute and nothing else: there is no block for a label.

    p(z | u) = N(mean(u), scale(u)^2), factorised over coordinates          p(x | z): likelihood of decoder(z)
    q(z | x, u) = N(mean(x, u), scale(x, u)^2)
    minimise  -log p(x | z) + beta * KL(q(z | x, u) || p(z | u)),   z ~ q(z | x, u)

u are the labels. A Gaussian is the member of the paper's exponential families with the sufficient statistics z and z^2: where u
takes at least 2 * latent + 1 values whose natural parameters span all directions, and the decoder is injective, models that fit
the same data have codes that are equal up to a permutation and a simple map of each coordinate. ``modulated="scale"`` holds the
means of the prior at 0, so that only variances depend on u.

A missing label enters as its prior mean. ``beta = 1`` is the paper's ELBO.

Blocks: ``z``, free. Its prior depends on the labels, so an edit keeps the noise of a sample and exchanges the prior around it:
z = mean(u) + scale(u) * noise becomes mean(u') + scale(u') * noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn

from labelspace.blocks import Block, Blocks, Latents, sample
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import unknown
from labelspace.labels import Schema
from labelspace.models import networks
from labelspace.models.base import About, Common, Head, Losses, Model, kl_terms


class IVAE(Model):
    """The identifiable VAE; see the module for the objective.

    Args:
        shape: shape of one sample.
        schema: the labels u, of any kind.
        frequencies: label frequencies p(u), for missing labels, prediction and generation.
        latent: coordinates of ``z``.
        hidden: hidden units of the network from u to the prior; 0 makes mean and log-scale linear in u.
        modulated: what of the prior depends on u: "both" mean and scale, or the "scale" alone.
        beta: weight of the KL, a number or a schedule.
        **common: what x is like and how networks are built, as for every model (:class:`~labelspace.models.base.Common`).
    """

    about = About(
        purpose="coordinates that are identifiable given labels (nonlinear ICA)",
        avoid="you want to change one attribute and nothing else: there is no block for a label",
        labels="binary, categorical, continuous",
        missing="yes (prior mean; predicted when encoding)",
        blocks="z",
        adversaries="none",
        paper="Khemakhem, Kingma, Monti, Hyvarinen 2020",
    )

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 8,
        hidden: int = 64,
        modulated: Literal["both", "scale"] = "both",
        beta: float | str = 1.0,
        **common: Unpack[Common],
    ) -> None:
        if modulated not in ("both", "scale"):
            raise unknown("modulated", modulated, ("both", "scale"))
        super().__init__(shape, schema, frequencies, Blocks([Block("z", latent)]), {"kl_z": beta}, **common)
        self.modulated = modulated
        self.trunk, features = networks.encoder(self.likelihood.input_shape, self.network)
        self.mix = networks.mlp(features + schema.width, [256], 256)
        self.head = Head(256, latent)
        read = [networks.mlp(schema.width, [], hidden), nn.Tanh()] if hidden else []
        self.label_prior = nn.Sequential(*read, Head(hidden or schema.width, latent, scale=1.0))
        self.decoder = networks.decoder(latent, self.likelihood.output_shape, self.network)

    @classmethod
    def defaults(cls, shape: tuple[int, ...], labels: int) -> dict[str, Any]:
        found = super().defaults(shape, labels)
        return {**found, "latent": min(found["latent"], 16)}

    # -- p ------------------------------------------------------------------------------------------------------------

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        """p(z | u)."""
        found = self.label_prior(self._u(values, observed))
        mean = torch.zeros_like(found.mean) if self.modulated == "scale" else found.mean
        return Latents(self.blocks, {"z": DiagonalGaussian(mean, found.scale)})

    def _u(self, values: Tensor, observed: Tensor | None) -> Tensor:
        return self.schema.features(values, observed, self.label_features)

    # -- q ------------------------------------------------------------------------------------------------------------

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        """q(z | x, u)."""
        features = self.trunk(self.likelihood.inputs(x))
        both = torch.cat([features, self._u(values, observed).to(features.dtype)], -1)
        return Latents(self.blocks, {"z": self.head(nn.functional.silu(self.mix(both)))})

    # -- training -----------------------------------------------------------------------------------------------------

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        def model() -> dict[str, Tensor]:
            posterior = self.posterior(batch.x, batch.values, batch.observed)
            log_p = self.decode(sample(posterior, generator)).log_prob(batch.x)
            return {"reconstruction": -log_p.mean(), **kl_terms(posterior, self.prior(batch.values, batch.observed))}

        return Losses({"model": model}, self.weights())

    # -- edits --------------------------------------------------------------------------------------------------------

    def intervene(self, codes: Latents[Tensor], label: str, value: Tensor, previous: Tensor) -> Latents[Tensor]:
        """The same noise around the prior of the new value; nothing is said of the other labels."""
        old, new = (self.prior(*self.only(label, values))["z"] for values in (previous, value))
        return codes.replace({"z": new.mean + new.scale * (codes["z"] - old.mean) / old.scale})
