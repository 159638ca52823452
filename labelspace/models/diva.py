"""DIVA without its domain latent (Ilse, Tomczak, Louizos, Welling 2019).

For: a latent block per label whose classes are apart, from many or few labels; prediction from that block.
Not for: keeping z free of the labels: nothing forbids z to carry them as well.

    p(z) = N(0, I)     p(z_i | y_i): a learned Gaussian for each value (mean linear in the value for numbers)
    p(x | z, z_1..z_L): likelihood of decoder(z, z_1..z_L)
    q(z | x), q(z_i | x): two encoders, one for z and one for all z_i          q(y_i | z_i): the classifier of a block

    y_i known    KL(q(z_i | x) || p(z_i | y_i)) - log p(y_i) - classification * E_q log q(y_i | z_i)
    y_i missing  E_q(z_i | x)[log q(z_i | x) + sum_y q(y | z_i) (log q(y | z_i) - log p(z_i | y) - log p(y))]

plus -log p(x | z, z_1..z_L) + KL(q(z | x) || p(z)). The published weight of the classifier is 3500.

Adapted, as the CCVAE paper's comparison is reported to do: no domain latent, one block per label, factorised over labels. For
continuous labels, which DIVA does not have, q(y_i | z_i) is a Gaussian, and the sum over y is one reparameterised draw.

Blocks: ``z``, free; ``z.<label>``, ``subspace`` coordinates each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from labelspace.blocks import Block, Blocks, Latents, sample
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import LabelDistribution, Schema
from labelspace.models import networks
from labelspace.models.base import About, Common, Head, Losses, Model
from labelspace.models.parts import (
    LabelClassifiers,
    LabelPrior,
    cross_entropy,
    log_evidence_bound,
    split,
    stack_blocks,
    ungroup,
)


class DIVA(Model):
    """DIVA without a domain latent; see the module for the objective.

    Args:
        shape: shape of one sample.
        schema: the labels, of any kind.
        frequencies: label frequencies p(y).
        latent: coordinates of ``z``.
        subspace: coordinates of each label's block.
        classification: weight of -log q(y_i | z_i) where the label is known (alpha_y), a number or a schedule.
        kl_z, kl_y: weights of the KL of z and of the label blocks (beta_x, beta_y), numbers or schedules.
        **common: what x is like and how networks are built, as for every model (:class:`~labelspace.models.base.Common`).
    """

    about = About(
        purpose="a block per label whose classes are apart; prediction with few labels",
        avoid="z must be free of the labels: nothing keeps them out of it",
        labels="binary, categorical, continuous",
        missing="yes (its own bound: summed out)",
        blocks="z, z.<label>",
        adversaries="none",
        paper="Ilse, Tomczak, Louizos, Welling 2019 (no domain latent)",
    )
    encoder_needs_labels = False
    former: ClassVar[dict[str, str]] = {**Model.former, "readers.": "classifiers."}

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 64,
        subspace: int = 64,
        classification: float | str = 3500.0,
        kl_z: float | str = 1.0,
        kl_y: float | str = 1.0,
        **common: Unpack[Common],
    ) -> None:
        blocks = Blocks([Block("z", latent), *(Block(f"z.{label.name}", subspace, label.name) for label in schema)])
        weights = {"classification": classification, "kl_z": kl_z, "kl_y": kl_y}
        super().__init__(shape, schema, frequencies, blocks, weights, **common)
        sizes = [subspace] * len(schema)
        self.trunk, features = networks.encoder(self.likelihood.input_shape, self.network)
        self.head = Head(features, latent)
        self.label_trunk, features = networks.encoder(self.likelihood.input_shape, self.network)
        self.label_head = Head(features, sum(sizes))
        self.label_prior = LabelPrior(schema, sizes, spread=1.0, scale=1.0)
        self.classifiers = LabelClassifiers(schema, sizes, [0] * len(schema))
        self.decoder = networks.decoder(blocks.size, self.likelihood.output_shape, self.network)

    @classmethod
    def defaults(cls, shape: tuple[int, ...], labels: int) -> dict[str, Any]:
        return {**super().defaults(shape, labels), "subspace": 8 if len(shape) == 3 else 2}

    # -- p ------------------------------------------------------------------------------------------------------------

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        """p(z) and p(z_i | y_i); for a missing label, that of its most probable value."""
        values = self.fill_with_mode(values, observed)
        standard = self.free_prior(values)
        return Latents(self.blocks, {"z": standard, **self.label_prior.of_blocks(self.blocks[1:], values)})

    # -- q ------------------------------------------------------------------------------------------------------------

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        """q(z | x) and q(z_i | x); labels are not read."""
        x = self.likelihood.inputs(x)
        labelled = self.label_head(self.label_trunk(x))
        return Latents(self.blocks, {"z": self.head(self.trunk(x)), **split(self.blocks[1:], labelled)})

    def label_distribution(self, x: Tensor) -> LabelDistribution:
        """q(y_i | z_i) at the mean of q(z_i | x)."""
        posterior = self.posterior(x, *self.known(x, None, None))
        return self.classifiers.answer(posterior.map(lambda part: part.mean))

    # -- training -----------------------------------------------------------------------------------------------------

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        posterior = self.posterior(batch.x, batch.values, batch.observed)
        codes = sample(posterior, generator)

        def model() -> dict[str, Tensor]:
            kl_y, p_y, values = [], self.schema.distribution(self.label_parameters), self.schema.standardised(batch.values)
            for group in self.classifiers.groups:
                names = [self.blocks[1:][i].name for i in group]
                q, code = stack_blocks(posterior, names), torch.stack([codes[name] for name in names], 1)
                y, marginal = values[:, group], p_y.stacked(group)
                bound = q.kl(self.label_prior.given(group, y)) - marginal.expand(len(y)).log_prob_of(0, y)
                if not batch.complete:
                    unknown = log_evidence_bound(
                        self.label_prior, self.classifiers, group, code[:, :, None], marginal, generator
                    )
                    bound = torch.where(batch.observed[:, group], bound, q.log_prob(code) - unknown[..., 0])
                kl_y.append(bound.mean(0))
            return {
                "reconstruction": -self.decode(codes).log_prob(batch.x).mean(),
                "kl_z": posterior["z"].kl(self.free_prior(batch.x)).mean(),
                "kl_y": ungroup(kl_y, self.classifiers.groups),
                "classification": cross_entropy(self.classifiers.answer(codes), batch.values, batch.known),
            }

        return Losses({"model": model}, self.weights())

    def term_names(self) -> dict[str, tuple[str, ...]]:
        return {"kl_y": self.schema.names, "classification": self.schema.names}
