"""CVAE-GAN (Bao, Chen, Wen, Li, Hua, ICCV 2017).

For: sharp samples under a class, and the baseline that Lr-LiVAE is compared with. Not for: styles of an attribute or their
transfer (the label is one value), or quick training.

    p(z) = N(0, I)     x = decoder(z, y)     q(z | x, y) = N(mean(x, y), scale(x, y)^2)
    D(x): real or made; C(y | x): a classifier of samples; f_D and f_C their last hidden layers

    encoder    -log p(x | z, y) + KL(q(z | x, y) || p(z)) + features * (|f_D(x) - f_D(x')|^2 + |f_C(x) - f_C(x')|^2) / 2
    decoder    the same without the KL, and mean feature matching on prior samples x'' = decoder(z, y), z ~ p(z):
               matching_d * |mean f_D(x) - mean f_D(x'')|^2 / 2  +  matching_c * sum over label values of
               |mean f_C(x) - mean f_C(x'')|^2 / 2, means over the samples that have the value
    D          cross entropy: x real, x' and x'' made, half each    C   cross entropy with y on real samples

x' is the reconstruction. The losses are asymmetric: D and C minimise cross entropies, the decoder matches their mean features.
Squared errors are Gaussian log-densities here. D and C are spectrally normalised (ours; it keeps D from running away).

A missing label enters encoder and decoder as its prior mean with a flag set, and is left out of C and of the class means.

Blocks: ``z``, free; ``y.<label>``, the label's value and a flag that is 1 where it is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelspace.blocks import Latents, sample
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import LabelDistribution, Schema
from labelspace.models import schedules
from labelspace.models.base import About, Common, Losses, Player
from labelspace.models.condvae import CondVAE
from labelspace.models.parts import Discriminator, SpectralFeatures, cross_entropy, frozen, needs_numbers


class CVAEGAN(CondVAE):
    """The CVAE-GAN; see the module for the objective.

    Args:
        shape: shape of one sample.
        schema: the labels, binary or categorical.
        frequencies: label frequencies p(y), for missing labels and for generation.
        latent: coordinates of ``z``.
        beta: weight of the KL, a number or a schedule.
        features: weight of the pairwise distance of features.
        matching_d, matching_c: weights of mean feature matching.
        **common: what x is like and how networks are built, as for every model (:class:`~labelspace.models.base.Common`).
    """

    about = About(
        purpose="sharp samples under a class; baseline of Lr-LiVAE",
        avoid="you want styles of an attribute or their transfer, or quick training",
        labels="binary, categorical",
        missing="yes (masked; predicted when encoding)",
        blocks="z, y.<label> (its value)",
        adversaries="one on samples, and a classifier of samples",
        paper="Bao, Chen, Wen, Li, Hua 2017",
    )
    label_kinds = ("binary", "categorical")

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 100,
        beta: float | str = 1.0,
        features: float | str = 1.0,
        matching_d: float | str = 1.0,
        matching_c: float | str = 1.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(shape, schema, frequencies, latent, beta, **common)
        for name, weight in {"features": features, "matching_d": matching_d, "matching_c": matching_c}.items():
            self.schedules[name] = schedules.parse(weight)
        needs_numbers("CVAE-GAN", self.likelihood)
        small = self.network.narrowed(self.shape)
        self.discriminator = Discriminator(self.shape, 0, small)
        self.classifier = SpectralFeatures(self.shape, small)
        self.answer = nn.Linear(128, schema.parameters)

    @classmethod
    def defaults(cls, shape: tuple[int, ...], labels: int) -> dict[str, Any]:
        return {**super().defaults(shape, labels), "features": 10.0, "matching_d": 50.0, "matching_c": 50.0}

    def label_distribution(self, x: Tensor) -> LabelDistribution:
        """C(y | x), the classifier of samples."""
        return self.schema.distribution(self.answer(self.classifier(x)).float())

    def players(self) -> dict[str, Player]:
        classifier = [*self.classifier.parameters(), *self.answer.parameters()]
        return {
            "discriminator": Player(list(self.discriminator.parameters()), auxiliary=True),
            "classifier": Player(classifier, auxiliary=True),
            "model": Player(self.parameters_except(self.discriminator, self.classifier, self.answer)),
        }

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        posterior = self.posterior(batch.x, batch.values, batch.observed)
        codes = sample(posterior, generator)
        drawn = codes.replace({"z": torch.empty_like(codes["z"]).normal_(generator=generator)})

        def discriminator() -> dict[str, Tensor]:
            with torch.no_grad():
                fakes = torch.cat([self.decode(codes).mean, self.decode(drawn).mean])
            real, made = self.discriminator(batch.x), self.discriminator(fakes)
            return {"discriminator": F.softplus(-real).mean() + F.softplus(made).mean()}

        def classifier() -> dict[str, Tensor]:
            return {"classifier": cross_entropy(self.label_distribution(batch.x), batch.values, batch.known)}

        def model() -> dict[str, Tensor]:
            return self._model(batch, posterior, codes, drawn)

        return Losses({"discriminator": discriminator, "classifier": classifier, "model": model}, self.weights())

    def _model(
        self, batch: Batch, posterior: Latents[DiagonalGaussian], codes: Latents[Tensor], drawn: Latents[Tensor]
    ) -> dict[str, Tensor]:
        data, sampled = self.decode(codes), self.decode(drawn).mean
        with torch.no_grad():
            real_d, real_c = self.discriminator.features(batch.x).float(), self.classifier(batch.x).float()
        with frozen(self.discriminator, self.classifier):
            again_d, again_c = (read(data.mean).float() for read in (self.discriminator.features, self.classifier))
            made_d, made_c = (read(sampled).float() for read in (self.discriminator.features, self.classifier))
        pairwise = ((real_d - again_d) ** 2).sum(1) + ((real_c - again_c) ** 2).sum(1)
        per_value = [
            ((mark @ (real_c - made_c) / mark.sum().clamp_min(1)) ** 2).sum() * 0.5
            for i, label in enumerate(self.schema)
            for mark in ((batch.values[:, i] == v).float() * batch.observed[:, i] for v in range(len(label.values)))
        ]
        standard = self.free_prior(batch.x)
        return {
            "reconstruction": -data.log_prob(batch.x).mean(),
            "kl_z": posterior["z"].kl(standard).mean(),
            "features": 0.5 * pairwise.mean(),
            "matching_d": 0.5 * ((real_d.mean(0) - made_d.mean(0)) ** 2).sum(),
            "matching_c": torch.stack(per_value).sum(),
        }

    def term_names(self) -> dict[str, tuple[str, ...]]:
        return {"classifier": self.schema.names}
