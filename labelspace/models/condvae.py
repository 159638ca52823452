"""CondVAE, conditional beta-VAE (Sohn et al. 2015, as in Klys et al. 2018) and CondVAE-info (Creswell et al. 2017).

For: generation under labels; a baseline that is told the label. Not for: styles of an attribute, or their transfer: all that
the decoder hears of a label is its value.

    p(z) = N(0, I)          p(x | z, y): likelihood of decoder(z, y)
    CondVAE        q(z | x, y) = N(mean(x, y), scale(x, y)^2)
                   minimise  -log p(x | z, y) + beta * KL(q(z | x, y) || p(z))
    CondVAE-info   q(z | x), the encoder does not see y; an adversary r(y | z) plays against it:
                   minimise  -log p(x | z, y) + beta * KL(q(z | x) || p(z)) + info * log r(y | z),   r frozen
                   r minimises  -log r(y | z),   z detached

``beta = 1`` is the CondVAE, a larger beta the conditional beta-VAE. Nothing in the CondVAE keeps z from carrying the label as
well; then the decoder may ignore y and edits change nothing. CondVAE-info is the answer to that, with the plain game of the
paper: its adversary's term has no lower bound. ``independence="dual"`` (ours) has the game of the LSVAE instead: the encoder
minimises a KL(h || r(y | z)), h the answer of one who knows nothing, a by dual ascent, and r reads standardised codes between
mean and draw, all classes alike (:class:`~labelspace.models.parts.Independence`).

Blocks: ``z``, free; ``y.<label>``, the label's value (0/1, one-hot or standardised) and a flag that is 1 where it is missing.

A multilayer perceptron takes the labels beside x, as an input; a convolutional encoder takes them beside its features.

Missing labels enter encoder and decoder as their prior mean with the flag set. Labels of a sample are predicted by Bayes' rule:
the values under which the ELBO of x plus log p(y) is largest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from labelspace.blocks import Block, Blocks, Latents, modes, sample
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import LabelDistribution, Schema
from labelspace.models import networks, schedules
from labelspace.models.base import About, Common, Head, Losses, Model, Player
from labelspace.models.parts import (
    Balance,
    Independence,
    Terms,
    cross_entropy,
    frozen,
    is_dual,
    posterior_from_bounds,
    value_blocks,
    value_points,
)


class CondVAE(Model):
    """The conditional (beta-)VAE; see the module for the objective.

    Args:
        shape: shape of one sample.
        schema: the labels, of any kind.
        frequencies: label frequencies p(y), for missing labels, prediction and generation.
        latent: coordinates of ``z``.
        beta: weight of the KL, a number or a schedule.
        **common: what x is like and how networks are built, as for every model (:class:`~labelspace.models.base.Common`).
    """

    about = About(
        purpose="generation under labels; baseline that is told the label (beta > 1: conditional beta-VAE)",
        avoid="you want styles of an attribute, or edits that are sure to work: z may carry the label too",
        labels="binary, categorical, continuous",
        missing="yes (masked; predicted when encoding)",
        blocks="z, y.<label> (its value)",
        adversaries="none",
        paper="Sohn et al. 2015; Klys et al. 2018",
    )
    encoder_sees_labels = True

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 32,
        beta: float | str = 1.0,
        **common: Unpack[Common],
    ) -> None:
        blocks = Blocks([Block("z", latent), *value_blocks(schema, flags=True)])
        super().__init__(shape, schema, frequencies, blocks, {"kl_z": beta}, **common)
        seen = blocks.size - latent if self.encoder_sees_labels else 0
        beside_x = seen and self.network.resolve(self.shape) == "mlp"
        inputs = (math.prod(self.likelihood.input_shape) + seen,) if beside_x else self.likelihood.input_shape
        self.trunk, features = networks.encoder(inputs, self.network)
        self.mix = networks.mlp(features + seen, [256], 256) if seen and not beside_x else None
        self.head = Head(features if self.mix is None else 256, latent)
        self.decoder = networks.decoder(blocks.size, self.likelihood.output_shape, self.network)

    # -- p ------------------------------------------------------------------------------------------------------------

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        standard = self.free_prior(values)
        return Latents(self.blocks, {"z": standard, **self._points(values, observed)})

    def _points(self, values: Tensor, observed: Tensor | None):
        observed = torch.ones_like(values, dtype=torch.bool) if observed is None else observed
        return value_points(self.schema, self.schema.features(values, observed, self.label_features), observed)

    # -- q ------------------------------------------------------------------------------------------------------------

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        return self._posterior(self._features(x), values, observed)

    def _features(self, x: Tensor) -> Tensor:
        """What of the encoder does not depend on labels, ``(n, features)``: x itself where labels enter beside it."""
        x = self.likelihood.inputs(x)
        return x.flatten(1) if self.encoder_sees_labels and self.mix is None else self.trunk(x)

    def _posterior(self, features: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        points = self._points(values, observed)
        if self.encoder_sees_labels:
            y = torch.cat([point.mean for point in points.values()], -1).to(features.dtype)
            both = torch.cat([features, y], -1)
            features = self.trunk(both) if self.mix is None else torch.nn.functional.silu(self.mix(both))
        return Latents(self.blocks, {"z": self.head(features), **points})

    def label_distribution(self, x: Tensor) -> LabelDistribution:
        """p(y | x) by Bayes' rule from the ELBO at the posterior mean, label values compared with each other."""
        features = self._features(x)
        all_seen = torch.ones(len(x), len(self.schema), dtype=torch.bool, device=x.device)

        def bound(y: Tensor, rows: Tensor | slice) -> Tensor:
            posterior = self._posterior(features[rows], y, all_seen[rows])
            kl = posterior["z"].kl(self.free_prior(y))
            return self.decode(modes(posterior)).log_prob(x[rows]) - kl

        return self.schema.distribution(posterior_from_bounds(self.schema, self.label_marginal(len(x)), bound, len(x)))

    # -- training -----------------------------------------------------------------------------------------------------

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        posterior = self.posterior(batch.x, batch.values, batch.observed)
        codes = sample(posterior, generator)
        return Losses({"model": lambda: self._elbo(batch, posterior, codes)}, self.weights())

    def _elbo(self, batch: Batch, posterior: Latents[DiagonalGaussian], codes: Latents[Tensor]) -> dict[str, Tensor]:
        prior = self.free_prior(batch.values)
        return {
            "reconstruction": -self.decode(codes).log_prob(batch.x).mean(),
            "kl_z": posterior["z"].kl(prior).mean(),
        }


class CondVAEInfo(CondVAE):
    """CondVAE-info; see the module for the objective.

    Args:
        *args, **rest: the arguments of :class:`CondVAE`.
        info: weight of the adversary's term in the encoder's objective, a number or a schedule ("paper" only).
        independence: "paper", or "dual": a weight that finds itself; see the module.
    """

    about = About(
        purpose="a CondVAE whose z is kept from carrying the label by an adversary",
        avoid="you want styles of an attribute; the plain game is not balanced, so watch the leak",
        labels="binary, categorical, continuous",
        missing="yes (masked; predicted when encoding)",
        blocks="z, y.<label> (its value)",
        adversaries="one on z",
        paper="Creswell et al. 2017; Klys et al. 2018",
    )
    encoder_sees_labels = False

    def __init__(self, *args: Any, info: float | str = 1.0, independence: Balance = "paper", **rest: Any) -> None:
        super().__init__(*args, **rest)
        size, dual = self.blocks[0].size, is_dual(independence)
        if not dual:
            self.schedules["leak"] = schedules.parse(info)
        self.adversary = None if dual else networks.mlp(size, [256, 256], self.schema.parameters)
        self.independence = Independence(size, self.schema) if dual else None

    @classmethod
    def defaults(cls, shape: tuple[int, ...], labels: int) -> dict[str, Any]:
        # In nats beside a sharp reconstruction; at 1 the encoder would not notice the adversary.
        return {**super().defaults(shape, labels), "info": 200.0 if len(shape) == 3 else 5.0}

    def players(self) -> dict[str, Player]:
        reader = self.adversary or self.independence
        assert reader is not None
        adversary = Player(list(reader.parameters()), steps=1 if self.adversary else 2, auxiliary=True)
        return {"adversary": adversary, "model": Player(self.parameters_except(reader))}

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        posterior = self.posterior(batch.x, batch.values, batch.observed)
        codes = sample(posterior, generator)
        if self.independence is not None:
            terms, read = self.independence.game(batch, posterior["z"], codes["z"], self.label_marginal(1), generator)
        else:
            terms, read = self._game(batch, codes["z"])
        objectives = {"adversary": read, "model": lambda: self._elbo(batch, posterior, codes) | terms()}
        return Losses(objectives, self.weights(), seen=batch.observed.any(0))

    def _game(self, batch: Batch, z: Tensor) -> tuple[Terms, Terms]:
        """The plain game: the model's term, and the adversary's."""
        assert self.adversary is not None
        adversary = self.adversary

        def read(z: Tensor) -> Tensor:
            return cross_entropy(self.schema.distribution(adversary(z).float()), batch.values, batch.known)

        def model() -> dict[str, Tensor]:
            with frozen(adversary):
                return {"leak": -read(z)}

        return model, lambda: {"adversary": read(z.detach())}

    def adapt(self, losses: Losses) -> None:
        """Dual ascent, where it is asked for."""
        if self.independence is not None:
            assert losses.seen is not None
            self.independence.update(losses.terms, losses.seen)

    def weights(self) -> dict[str, float | Tensor]:
        return {**super().weights(), **({} if self.independence is None else {"leak": self.independence.weight.value})}

    def term_names(self) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(("adversary", "adversary_chance", "leak"), self.schema.names)

    def score(self, terms: dict[str, Tensor]) -> Tensor:
        """The negative ELBO, and with dual ascent what is said beyond what may be."""
        return super().score(terms) + (0 if self.independence is None else self.independence.excess(terms))
