"""M2, the semi-supervised VAE (Kingma, Rezende, Mohamed, Welling, NeurIPS 2014).

For: predicting labels when few are known. Not for: styles of an attribute or their transfer; the label itself is the latent, so
an edit can only exchange its value.

    p(y): label frequencies     p(z) = N(0, I)     p(x | z, y): likelihood of decoder(z, y)
    q(y | x): the classifier    q(z | x, y) = N(mean(x, y), scale(x, y)^2)

    labelled     L(x, y) = E_q(z | x, y)[log p(x | z, y)] - KL(q(z | x, y) || p(z)) + log p(y)
    unlabelled   U(x)    = sum_y q(y | x) L(x, y) + H(q(y | x))
    minimise  -mean over all samples of L or U  +  classification * mean over the labelled ones of -log q(y | x)

Kingma's alpha = 0.1 N is ``classification = 0.1`` here, where everything is a mean over samples.

Adapted: a sample may have some labels and lack others. What is missing is summed out exactly while there are at most
``enumerate`` combinations of discrete values; otherwise, and for continuous labels, one relaxed draw of q(y | x) with a
gradient takes the place of the sum (a biased estimate for discrete labels: the decoder sees a soft value).

Blocks: ``z``, free; ``y.<label>``, the label's value (0/1, one-hot or standardised).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from labelspace.blocks import Block, Blocks, Latents, sample
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import UserError
from labelspace.labels import LabelDistribution, Schema
from labelspace.models import networks
from labelspace.models.base import About, Common, Head, Losses, Model
from labelspace.models.parts import Completions, cross_entropy, value_blocks, value_points

_TEMPERATURE = 0.67  # of relaxed draws


class M2(Model):
    """The semi-supervised VAE; see the module for the objective.

    Args:
        shape: shape of one sample.
        schema: the labels, of any kind.
        frequencies: label frequencies p(y).
        latent: coordinates of ``z``.
        classification: weight of the cross entropy on labelled samples (alpha / N), a number or a schedule.
        enumerate: the most combinations of missing values that are summed out exactly, per sample.
        **common: what x is like and how networks are built, as for every model (:class:`~labelspace.models.base.Common`).
    """

    about = About(
        purpose="predicting labels when few are known; generation under labels",
        avoid="you want styles of an attribute or their transfer: the label is one value",
        labels="binary, categorical, continuous",
        missing="yes (its own bound: summed out)",
        blocks="z, y.<label> (its value)",
        adversaries="none",
        paper="Kingma, Rezende, Mohamed, Welling 2014",
    )
    former: ClassVar[dict[str, str]] = {**Model.former, "labeller.": "label_head."}

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 50,
        classification: float | str = 0.1,
        enumerate: int = 32,
        **common: Unpack[Common],
    ) -> None:
        if enumerate < 1:
            raise UserError(f"enumerate must be at least 1, got {enumerate}")
        blocks = Blocks([Block("z", latent), *value_blocks(schema, flags=False)])
        super().__init__(shape, schema, frequencies, blocks, {"classification": classification}, **common)
        self.most = enumerate
        self.trunk, features = networks.encoder(self.likelihood.input_shape, self.network)
        self.mix = networks.mlp(features + schema.width, [256], 256)
        self.head = Head(256, latent)
        self.label_trunk, features = networks.encoder(self.likelihood.input_shape, self.network)
        self.label_head = torch.nn.Linear(features, schema.parameters)
        self.decoder = networks.decoder(blocks.size, self.likelihood.output_shape, self.network)

    @classmethod
    def defaults(cls, shape: tuple[int, ...], labels: int) -> dict[str, Any]:
        # The bound is worth hundreds of nats or more; a classifier that is to be heard beside it needs as much.
        return {**super().defaults(shape, labels), "classification": 50.0 if len(shape) == 3 else 5.0}

    # -- p ------------------------------------------------------------------------------------------------------------

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        standard = self.free_prior(values)
        y = self.schema.features(values, observed, self.label_features)
        return Latents(self.blocks, {"z": standard, **value_points(self.schema, y, None)})

    # -- q ------------------------------------------------------------------------------------------------------------

    def label_distribution(self, x: Tensor) -> LabelDistribution:
        """The classifier q(y | x)."""
        return self.schema.distribution(self.label_head(self.label_trunk(self.likelihood.inputs(x))).float())

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        """q(z | x, y), with y itself."""
        return self._posterior(self.trunk(self.likelihood.inputs(x)), self.schema.features(values))

    def _posterior(self, features: Tensor, y: Tensor) -> Latents[DiagonalGaussian]:
        mixed = self.mix(torch.cat([features, y.to(features.dtype)], -1))
        return Latents(self.blocks, {"z": self.head(torch.nn.functional.silu(mixed)), **value_points(self.schema, y, None)})

    # -- training -----------------------------------------------------------------------------------------------------

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        return Losses({"model": lambda: self._model(batch, generator)}, self.weights())

    def _model(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        n = len(batch)
        answer = self.label_distribution(batch.x)
        prior = self.label_marginal(n)

        # One row per sample and completion of its labels, weighted by q(completion | x). What was drawn instead of summed out
        # is relaxed, so that the classifier hears from the decoder.
        every = Completions.of(batch, answer, generator, self.most)
        rows, weight = every.rows, every.weight
        soft = answer.relaxed(_TEMPERATURE, generator)[rows]
        y = torch.where(self.schema.repeat_over_features(every.drawn), soft, self.schema.features(every.values))

        posterior = self._posterior(self.trunk(self.likelihood.inputs(batch.x))[rows], y)
        standard = self.free_prior(rows)
        log_p = self.decode(sample(posterior, generator)).log_prob(batch.x[rows])
        return {
            "reconstruction": -(weight * log_p).sum() / n,
            "kl_z": (weight * posterior["z"].kl(standard)).sum() / n,
            # E_q(y)[-log p(y)] - H(q(y)) for what is missing, -log p(y) for what is known
            "kl_y": torch.where(batch.observed, -prior.log_prob(batch.values), answer.kl_to(prior)).mean(0),
            "classification": cross_entropy(answer, batch.values, batch.known),
        }

    def term_names(self) -> dict[str, tuple[str, ...]]:
        return {"kl_y": self.schema.names, "classification": self.schema.names}
