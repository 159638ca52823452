"""CSVAE, the conditional subspace VAE (Klys, Snell, Zemel, NeurIPS 2018).

For: the paper's model as it was published, for comparison. Not for: data on which nobody has tuned its weights: with fixed ones
it leaks and ignores labels; :mod:`labelspace.models.lsvae` finds them itself.

    p(z) = N(0, I)          p(w_i | y_i): where label i is off, N(0, 0.1^2 I); where it is on, N(3, I)
    p(x | z, w)             likelihood of decoder(z, w)
    q(z | x)                does not see labels          q(w | x, y)  does
    q(y | z)                the adversary: what a small network can read of the labels from z

The model minimises, with the paper's weights,

    -20 log p(x | z, w)  +  KL(q(w | x, y) || p(w | y))  +  0.2 KL(q(z | x) || p(z))  +  10 leak(q(y | z)), adversary frozen

and the adversary minimises -log q(y | z) with z detached. The leak is the adversary's negative entropy, which is least where
its answer is uniform; ``adversary_target="marginal"`` takes KL(p(y) || q(y | z)) instead, because z is independent of y where
the answer is p(y), uniform or not.

``reduction="sum"`` weighs -log p(x | z, w), summed over the D entries of a sample. ``reduction="mean"`` weighs the squared
error averaged over them, as the code of a reproduction does: 2/D of the former where the scale is 1, so that under the same
numbers all other terms are D/2 times stronger.

Blocks: ``z``, free; ``w.<label>``, two coordinates for a binary or continuous label, two for each class of a categorical one
(the paper's one-hot treatment of exclusive classes). Continuous labels: p(w_i | y_i) = N(3 y_i, 0.3^2 I) with y_i standardised.

Missing labels (the future work that the paper names) are summed out under a label head q(y | x), which is trained on the
observed ones and touches nothing else: a sample counts once for every way of filling what is missing, weighted by q. Where
there are more than 16 ways, and for continuous labels, one draw takes the place of the sum. With all labels observed the
objective is exactly the one above.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn

from labelspace.blocks import Block, Blocks, Latents, sample
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import UserError, unknown
from labelspace.labels import LabelDistribution, Schema
from labelspace.likelihoods import Gaussian
from labelspace.models import networks
from labelspace.models.base import About, Common, Head, Losses, Model, Player
from labelspace.models.parts import (
    Completions,
    SubspacePrior,
    TypicalPoints,
    cross_entropy,
    divergence,
    frozen,
    negative_entropy,
    split,
    subspace_blocks,
)

_COMPLETIONS = 16  # the most ways of filling a sample's missing labels that are summed out


class CSVAE(Model):
    """The conditional subspace VAE; see the module for the objective.

    Args:
        shape: shape of one sample.
        schema: the labels, of any kind.
        frequencies: label frequencies p(y), for the marginal target and for generation.
        latent: coordinates of ``z``.
        subspace: coordinates of w for each binary or continuous label and for each class.
        prior: "fixed" is the paper's p(w | y); "learned" learns mean and scale from y (an ablation).
        flip: turn the binary prior round: on is the compact point, off the wide one.
        adversary: False leaves adversary and leak out (an ablation).
        adversary_target: what the adversary's answer is pushed to, "uniform" (the paper's) or "marginal".
        adversary_steps: the adversary's optimiser steps per batch.
        reconstruction, kl_w, kl_z, leak: the paper's weights b1..b4, numbers or schedules.
        reduction: what ``reconstruction`` weighs: the "sum" over the entries of a sample, or the "mean" squared error.
        **common: what x is like and how networks are built, as for every model (:class:`~labelspace.models.base.Common`).
    """

    about = About(
        purpose="the paper's model, for comparison; styles of an attribute and their transfer",
        avoid="nobody has tuned its weights to your data (lsvae finds them); only a few per cent of labels are known",
        labels="binary, categorical, continuous",
        missing="yes (summed out under a label head)",
        blocks="z, w.<label>",
        adversaries="one on z",
        paper="Klys, Snell, Zemel 2018",
    )

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 16,
        subspace: int = 2,
        prior: Literal["fixed", "learned"] = "fixed",
        flip: bool = False,
        adversary: bool = True,
        adversary_target: Literal["uniform", "marginal"] = "uniform",
        adversary_steps: int = 1,
        reconstruction: float | str = 20.0,
        kl_w: float | str = 1.0,
        kl_z: float | str = 0.2,
        leak: float | str = 10.0,
        reduction: Literal["sum", "mean"] = "sum",
        **common: Unpack[Common],
    ) -> None:
        for name, given, known in (
            ("prior", prior, ("fixed", "learned")),
            ("adversary_target", adversary_target, ("uniform", "marginal")),
            ("reduction", reduction, ("sum", "mean")),
        ):
            if given not in known:
                raise unknown(name, given, known)
        if adversary_steps < 1:
            raise UserError(f"adversary_steps must be at least 1, got {adversary_steps}; adversary=false leaves it out")
        blocks = Blocks([Block("z", latent), *subspace_blocks(schema, subspace)])
        weights = {"reconstruction": reconstruction, "kl_w": kl_w, "kl_z": kl_z, "leak": leak}
        super().__init__(shape, schema, frequencies, blocks, weights, **common)
        self.share = 1.0  # of -log p(x | z, w) in what is weighed
        if reduction == "mean":
            described = self.likelihood
            if not isinstance(described, Gaussian) or described.learned:
                raise UserError(
                    "reduction=mean averages squared errors: it needs likelihood=gaussian and a fixed scale, such as scale=1, "
                    "without learn_scale=true"
                )
            # a mean squared error is 2 scale^2 / D of -log p, up to a constant
            self.share = 2 * float(described.log_scale.exp()) ** 2 / math.prod(shape)
        self.adversary_steps = adversary_steps
        self.leak = negative_entropy if adversary_target == "uniform" else divergence
        width = subspace * schema.width

        self.trunk, features = networks.encoder(self.likelihood.input_shape, self.network)
        self.head = Head(features, latent)
        # Labels and their styles need less of a network than everything else.
        self.w_trunk, features = networks.encoder(self.likelihood.input_shape, self.network.narrowed(self.shape))
        self.w_hidden = nn.Linear(features + schema.width, 128)
        self.w_head = Head(128, width)
        self.w_prior = SubspacePrior(schema, subspace, flip=flip, learned=prior == "learned")
        self.decoder = networks.decoder(latent + width, self.likelihood.output_shape, self.network)
        self.label_head = networks.mlp(features, [128], schema.parameters)
        self.adversary = networks.mlp(latent, [256, 256], schema.parameters) if adversary else None
        self.typical = TypicalPoints(blocks, schema)

    @classmethod
    def defaults(cls, shape: tuple[int, ...], labels: int) -> dict[str, Any]:
        return {**super().defaults(shape, labels), "scale": 1.0}  # the published weights belong to it

    # -- p ------------------------------------------------------------------------------------------------------------

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        """p(z) and p(w_i | y_i); for a missing label, the prior at its prior mean."""
        p_w = self.w_prior(self.schema.features(values, observed, self.label_features))
        return self._latents(self.free_prior(values), p_w)

    def _latents(self, z: DiagonalGaussian, w: DiagonalGaussian) -> Latents[DiagonalGaussian]:
        return Latents(self.blocks, {"z": z, **split(self.blocks[1:], w)})

    # -- q ------------------------------------------------------------------------------------------------------------

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        """q(z | x) and q(w | x, y)."""
        x = self.likelihood.inputs(x)
        return self._latents(self.head(self.trunk(x)), self._q_w(self.w_trunk(x), self.schema.features(values)))

    def _q_w(self, features: Tensor, y: Tensor) -> DiagonalGaussian:
        """q(w | x, y), all blocks side by side, from features of x and of labels."""
        hidden = self.w_hidden(torch.cat([features, y.to(features.dtype)], 1))
        return self.w_head(nn.functional.silu(hidden))

    def label_distribution(self, x: Tensor) -> LabelDistribution:
        """q(y | x) of the label head."""
        return self.schema.distribution(self.label_head(self.w_trunk(self.likelihood.inputs(x))).float())

    # -- training -----------------------------------------------------------------------------------------------------

    def players(self) -> dict[str, Player]:
        auxiliary = {"adversary": self.adversary, "label_head": self.label_head}
        modules = {name: module for name, module in auxiliary.items() if module is not None}
        players = {name: Player(list(module.parameters()), auxiliary=True) for name, module in modules.items()}
        if self.adversary is not None:
            players["adversary"] = replace(players["adversary"], steps=self.adversary_steps)
        return {**players, "model": Player(self.parameters_except(*modules.values()))}

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        values, ways = batch.values, None
        if not batch.complete:
            with torch.no_grad():
                answer = self.label_distribution(batch.x)
                ways = Completions.of(batch, answer, generator, _COMPLETIONS)
                values = torch.where(batch.observed, batch.values, answer.sample(generator))
        x = self.likelihood.inputs(batch.x)
        features, y = self.w_trunk(x), self.schema.features(values)
        posterior = self._latents(self.head(self.trunk(x)), self._q_w(features, y))
        prior, codes = self._latents(self.free_prior(values), self.w_prior(y)), sample(posterior, generator)

        def read(parameters: Tensor) -> Tensor:
            return cross_entropy(self.schema.distribution(parameters.float()), batch.values, batch.known)

        def label_head() -> dict[str, Tensor]:
            return {"label_head": read(self.label_head(features.detach()))}

        def adversary() -> dict[str, Tensor]:
            assert self.adversary is not None
            return {"adversary": read(self.adversary(codes["z"].detach()))}

        def model() -> dict[str, Tensor]:
            # the posterior of w, its prior and its codes, one row per way of filling missing labels
            q, p, drawn, x, mean = posterior, prior, codes, batch.x, torch.mean
            if ways is not None:
                rows, y = ways.rows, self.schema.features(ways.values)
                x, mean = batch.x[rows], ways.mean
                p = self._latents(self.free_prior(ways.values), self.w_prior(y))
                q = self._latents(posterior["z"][rows], self._q_w(features[rows], y))
                drawn = sample(q, generator).replace({"z": codes["z"][rows]})
            terms = {
                "reconstruction": -mean(self.decode(drawn).log_prob(x)),
                "kl_z": posterior["z"].kl(prior["z"]).mean(),
                "kl_w": torch.stack([mean(q[b.name].kl(p[b.name])) for b in self.blocks[1:]]),
            }
            if self.adversary is not None:
                with frozen(self.adversary):
                    answer = self.schema.distribution(self.adversary(codes["z"]).float())
                terms["leak"] = self.leak(answer, self.label_marginal(1))
            return terms

        readers = {} if self.adversary is None else {"adversary": adversary}
        return Losses({**readers, "label_head": label_head, "model": model}, self.weights())

    def weights(self) -> dict[str, float | Tensor]:
        weights = super().weights()
        return {**weights, "reconstruction": weights["reconstruction"] * self.share}

    def term_names(self) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(("kl_w", "leak", "adversary", "label_head"), self.schema.names)
