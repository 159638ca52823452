"""VAE and beta-VAE (Kingma & Welling 2014; Higgins et al. 2017).

For: a baseline without labels; density estimation; free exploration of a data set.
Not for: setting or transferring an attribute cleanly. Labels are not used in training, so an edit can only move the code
along the difference of class means, and whatever correlates with the label moves too.

    p(z) = N(0, I)              p(x | z): likelihood of decoder(z)              q(z | x) = N(mean(x), scale(x)^2)
    minimise  -log p(x | z) + beta * KL(q(z | x) || p(z)),   z ~ q(z | x)

Blocks: ``z``, free. ``beta = 1`` is the VAE; a larger beta trades reconstruction for independent coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Unpack

import torch
from torch import Tensor

from labelspace.blocks import Block, Blocks, Latents, sample
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import Schema
from labelspace.models import networks
from labelspace.models.base import About, Common, Head, Losses, Model, kl_terms
from labelspace.models.parts import AttributeVectors


class VAE(Model):
    """The (beta-)VAE; see the module for the objective.

    Args:
        shape: shape of one sample.
        schema: the labels; they are not used in training, only to measure the attribute vectors that edits move along.
        frequencies: label frequencies; kept for generation under drawn labels.
        latent: coordinates of ``z``.
        beta: weight of the KL, a number or a schedule.
        **common: what x is like and how networks are built, as for every model (:class:`~labelspace.models.base.Common`).
    """

    about = About(
        purpose="baseline without labels; free exploration",
        avoid="you want to change one attribute and nothing else",
        labels="any (used for edits only)",
        missing="yes",
        blocks="z",
        adversaries="none",
        paper="Kingma & Welling 2014; Higgins et al. 2017 (beta)",
    )
    labelled = encoder_needs_labels = False
    measured: ClassVar[tuple[str, ...]] = (*Model.measured, "attributes.")

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 32,
        beta: float | str = 1.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(shape, schema, frequencies, Blocks([Block("z", latent)]), {"kl_z": beta}, **common)
        self.trunk, features = networks.encoder(self.likelihood.input_shape, self.network)
        self.head = Head(features, latent)
        self.decoder = networks.decoder(latent, self.likelihood.output_shape, self.network)
        self.attributes = AttributeVectors(schema, latent)

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        return Latents(self.blocks, {"z": self.head(self.trunk(self.likelihood.inputs(x)))})

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        standard = self.free_prior(values)
        return Latents(self.blocks, {"z": standard})

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        posterior = self.posterior(batch.x, batch.values, batch.observed)
        data = self.decode(sample(posterior, generator))

        def model() -> dict[str, Tensor]:
            return {
                "reconstruction": -data.log_prob(batch.x).mean(),
                **kl_terms(posterior, self.prior(batch.values)),
            }

        return Losses({"model": model}, self.weights())

    def calibrate(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Measures the attribute vectors that edits move along."""
        super().calibrate(batches)
        self.attributes.measure(batches(), lambda batch: self.posterior(batch.x, batch.values, batch.observed)["z"].mean)

    def intervene(self, codes: Latents[Tensor], label: str, value: Tensor, previous: Tensor) -> Latents[Tensor]:
        """Moves z along the label's attribute vector."""
        return codes.replace({"z": self.attributes.move(codes["z"], label, value, previous)})
