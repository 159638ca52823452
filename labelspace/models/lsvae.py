"""LSVAE, the label-subspace VAE (ours): a conditional subspace VAE (:mod:`~labelspace.models.csvae`) that finds its weights.

For: changing one attribute of a sample and keeping the rest, with many ways of having it; transferring one sample's way to
another. Not for: predicting labels (a head does it, nothing more), or labels that are only a few per cent observed.

    p(z) = N(0, I)      p(w_i | y_i): label i off, N(0, 0.1^2 I); label i on, N(3, I); a number, N(3 y_i, 0.3^2 I)
    p(x | z, w)         likelihood of decoder(z, w, tanh(w / 0.1)): the second view shows the decoder both scales of w alike
    q(z | x)            N(E(m(x)), s(x)^2), E the erasure of what a linear classifier reads of the labels in m
    q(w | x, y)         N(m_p + s_p t, (s_p r)^2) with m_p, s_p of p(w | y), |t| < 2.2 and r at least 0.08, or 0.3 where off:
                        near enough to the prior that the values of a label stay apart
    q(y | z)            the adversary            q_i(y_j | w_i), j != i: one adversary per block, for the other labels

The model minimises, with the adversaries frozen,

    -log p(x | z, w)  +  KL(q(w | x, y) || p(w | y))  +  KL(q(z | x) || p(z))
    +  sum_i a_i KL(p(y_i) || q(y_i | z))  +  sum_{i != j} b_ij KL(p(y_j) || q_i(y_j | w_i))
    +  0.5 * consistency_z  +  consistency_w

and the adversaries minimise their cross entropy on points between mean and draw of the codes, detached.

* a_i and b_ij are moved by dual ascent: they grow while the adversary's cross entropy stays more than 0.02 (0.03) nats
  below H(y), and shrink while it does not.
* Consistency: codes with some blocks w_i taken from other samples are decoded and encoded again; the result must have the z
  that it was made from and the w that it was given.
* z is closed at first and opens slowly, so that labels settle in their own blocks before z can carry them; erasure and
  consistency start when it has opened.

Blocks: ``z``, free; ``w.<label>``, two coordinates for a binary or continuous label, two for each class of a categorical one.
Missing labels are summed out under a label head q(y | x), as in the CSVAE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Literal, Unpack

import torch
from torch import Tensor, nn

from labelspace.blocks import Block, Blocks, Latents, concatenate, modes, sample
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import UserError, unknown
from labelspace.labels import LabelDistribution, Schema
from labelspace.likelihoods import DataDistribution
from labelspace.models import networks
from labelspace.models.base import About, Common, Head, Losses, Model, Player, frozen
from labelspace.models.parts import (
    OFF_SCALE,
    BlockAdversaries,
    Completions,
    DualAscent,
    Erasure,
    SubspacePrior,
    TypicalPoints,
    between_mean_and_draw,
    counterfactual_consistency,
    cross_entropy,
    divergence,
    split,
    subspace_blocks,
)

_COMPLETIONS = 16  # the most ways of filling a sample's missing labels that are summed out
_NEAR = 2.2  # prior standard deviations that the mean of q(w | x, y) may be away from that of p(w | y)
# When phases start, in thousands of batches, or in fractions of all training where that is shorter than a thousand batches.
_Z_OPENS = (0.14, 0.24)
_ERASURE_STARTS = 0.2
_CONSISTENCY_STARTS = 0.25
_TRIED_EXACT, _WORSE = 2000, 1.25  # training samples on which the exact erasure is tried, and how much error it may add


class LSVAE(Model):
    """The label-subspace VAE; see the module for the objective.

    Args:
        shape: shape of one sample.
        schema: the labels, of any kind.
        frequencies: label frequencies p(y), which adversaries are to fall back to, and for generation.
        latent: coordinates of ``z``.
        subspace: coordinates of w for each binary or continuous label and for each class.
        prior: "fixed" p(w | y), or "learned": mean and scale from y.
        flip: turn the binary prior round: on is the compact point, off the wide one.
        adversary_steps: the adversaries' optimiser steps per batch.
        reconstruction, kl_w, kl_z: weights, numbers or schedules.
        leak: the weight that the leak of z starts from.
        **common: what x is like and how networks are built, as for every model (:class:`~labelspace.models.base.Common`).
    """

    about = About(
        purpose="change one attribute and keep the rest; several styles of having it; style transfer",
        avoid="you mainly predict labels, or only a few per cent of them are known",
        labels="binary, categorical, continuous",
        missing="yes (summed out under a label head)",
        blocks="z, w.<label>",
        adversaries="one on z, one per w block",
        paper="ours, after Klys, Snell, Zemel 2018",
    )
    former: ClassVar[dict[str, str]] = {
        **Model.former,
        "label_trunk.": "w_trunk.",
        "label_head.": "w_head.",
        "labeller.": "label_head.",
        "prior_network.": "w_prior.network.",
        "balance.erasure.": "erasure.",
        "balance.readers.": "block_adversaries.",
        "balance.leak.": "leak_weight.",
        "balance.block_leak.": "block_leak_weight.",
        "points": "typical.points",
    }
    measured: ClassVar[tuple[str, ...]] = (*Model.measured, "typical.", "erasure.", "leak_weight.", "block_leak_weight.")

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 16,
        subspace: int = 2,
        prior: Literal["fixed", "learned"] = "fixed",
        flip: bool = False,
        adversary_steps: int = 2,
        reconstruction: float | str = 1.0,
        kl_w: float | str = 1.0,
        kl_z: float | str = 1.0,
        leak: float = 20.0,
        **common: Unpack[Common],
    ) -> None:
        if prior not in ("fixed", "learned"):
            raise unknown("prior", prior, ("fixed", "learned"))
        if adversary_steps < 1:
            raise UserError(f"adversary_steps must be at least 1, got {adversary_steps}")
        if not leak > 0:
            raise UserError(f"leak is the weight that dual ascent starts from; it must be positive, got {leak}")
        blocks = Blocks([Block("z", latent), *subspace_blocks(schema, subspace)])
        weights = {"reconstruction": reconstruction, "kl_w": kl_w, "kl_z": kl_z}
        super().__init__(shape, schema, frequencies, blocks, weights, **common)
        self.adversary_steps = adversary_steps
        labels, width = len(schema), subspace * schema.width

        self.trunk, features = networks.encoder(self.likelihood.input_shape, self.network)
        self.head = Head(features, latent)
        # Labels and their styles need less of a network than everything else.
        self.w_trunk, features = networks.encoder(self.likelihood.input_shape, self.network.narrowed(self.shape))
        self.w_head = networks.mlp(features + schema.width, [128], 2 * width)
        self.decoder = networks.decoder(latent + 2 * width, self.likelihood.output_shape, self.network)
        self.w_prior = SubspacePrior(schema, subspace, flip=flip, learned=prior == "learned")
        self.label_head = networks.mlp(features, [128], schema.parameters)
        self.adversary = networks.mlp(latent, [256, 256], schema.parameters)
        self.erasure = Erasure(latent, schema.width)
        self.block_adversaries = BlockAdversaries(blocks[1:], schema)
        self.leak_weight = DualAscent(labels, allowed=0.02, start=leak, most=1500.0)
        self.block_leak_weight = DualAscent(labels * (labels - 1), allowed=0.03, start=2.0, most=1500.0)
        self.typical = TypicalPoints(blocks[1:], schema)
        self.time = 0.0  # see the phases above

    @classmethod
    def defaults(cls, shape: tuple[int, ...], labels: int) -> dict[str, Any]:
        defaults = super().defaults(shape, labels)
        if len(shape) == 1:
            defaults["latent"] += labels  # erasing a label takes a direction of z; small codes have none to spare
        return defaults

    # -- p ------------------------------------------------------------------------------------------------------------

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        """p(z) and p(w_i | y_i); for a missing label, the prior at its prior mean."""
        p_w = self.w_prior(self.schema.features(values, observed, self.label_features))
        return self._latents(self.free_prior(values), p_w)

    def decode(self, codes: Latents[Tensor]) -> DataDistribution:
        code = concatenate(codes)
        w = code[:, self.blocks[0].size :]
        return self.likelihood(self.decoder(torch.cat([code, torch.tanh(w / OFF_SCALE)], 1)).float())

    def _latents(self, z: DiagonalGaussian, w: DiagonalGaussian) -> Latents[DiagonalGaussian]:
        return Latents(self.blocks, {"z": z, **split(self.blocks[1:], w)})

    # -- q ------------------------------------------------------------------------------------------------------------

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        """q(z | x) and q(w | x, y)."""
        x, y = self.likelihood.inputs(x), self.schema.features(values)
        return self._latents(self._erased(self.head(self.trunk(x))), self._q_w(self.w_trunk(x), y, self.w_prior(y)))

    def _erased(self, z: DiagonalGaussian) -> DiagonalGaussian:
        return DiagonalGaussian(self.erasure(z.mean), z.scale)

    def _q_w(self, features: Tensor, y: Tensor, p_w: DiagonalGaussian) -> DiagonalGaussian:
        """q(w | x, y), all blocks side by side, from features of x, of labels, and p(w | y)."""
        shift, spread = self.w_head(torch.cat([features, y.to(features.dtype)], 1)).float().chunk(2, dim=-1)
        floor = 0.08 + 0.22 * (p_w.scale <= OFF_SCALE)
        scale = p_w.scale * (floor + nn.functional.softplus(spread - 1))
        return DiagonalGaussian(p_w.mean + p_w.scale * (_NEAR * torch.tanh(shift / _NEAR)), scale)

    def label_distribution(self, x: Tensor) -> LabelDistribution:
        """q(y | x) of the label head."""
        return self.schema.distribution(self.label_head(self.w_trunk(self.likelihood.inputs(x))).float())

    # -- training -----------------------------------------------------------------------------------------------------

    def players(self) -> dict[str, Player]:
        adversaries = [*self.adversary.parameters(), *self.block_adversaries.parameters()]
        return {
            "adversary": Player(adversaries, self.adversary_steps, auxiliary=True),
            "label_head": Player(list(self.label_head.parameters()), auxiliary=True),
            "model": Player(self.parameters_except(self.adversary, self.block_adversaries, self.label_head)),
        }

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        values, ways = batch.values, None
        if not batch.complete:
            with torch.no_grad():
                answer = self.label_distribution(batch.x)
                ways = Completions.of(batch, answer, generator, _COMPLETIONS)
                values = torch.where(batch.observed, batch.values, answer.sample(generator))
        x = self.likelihood.inputs(batch.x)
        z, features, y = self.head(self.trunk(x)), self.w_trunk(x), self.schema.features(values)
        p_w = self.w_prior(y)
        posterior = self._latents(self._erased(z), self._q_w(features, y, p_w))
        prior, codes = self._latents(self.free_prior(values), p_w), sample(posterior, generator)
        if self.training:
            self._see(batch, z.mean.detach())

        def read(answer: LabelDistribution) -> Tensor:
            return cross_entropy(answer, batch.values, batch.observed)

        def label_head() -> dict[str, Tensor]:
            return {"label_head": read(self.schema.distribution(self.label_head(features.detach()).float()))}

        def adversary() -> dict[str, Tensor]:
            points = posterior.map(lambda part: between_mean_and_draw(part.detach(), generator))
            of_blocks = [read(answer) for answer in self.block_adversaries.answers(points)]
            return {
                "adversary": read(self.schema.distribution(self.adversary(points["z"]).float())),
                "block_adversary": self.block_adversaries.pairs(of_blocks),
            }

        def model() -> dict[str, Tensor]:
            # the posterior of w, its prior and its codes, one row per way of filling missing labels
            q, p, drawn, x, mean = posterior, prior, codes, batch.x, torch.mean
            if ways is not None:
                rows, y = ways.rows, self.schema.features(ways.values)
                x, p_w, mean = batch.x[rows], self.w_prior(y), ways.mean
                p = self._latents(self.free_prior(ways.values), p_w)
                q = self._latents(posterior["z"][rows], self._q_w(features[rows], y, p_w))
                drawn = sample(q, generator).replace({"z": codes["z"][rows]})
            drawn = drawn.replace({"z": self._opening() * drawn["z"]})
            terms = {
                "reconstruction": -mean(self.decode(drawn).log_prob(x)),
                "kl_z": posterior["z"].kl(prior["z"]).mean(),
                "kl_w": torch.stack([mean(q[b.name].kl(p[b.name])) for b in self.blocks[1:]]),
            }
            marginal = self.label_marginal(1)
            both = Latents(self.blocks, {name: torch.cat([code, posterior[name].mode]) for name, code in codes.items()})
            with frozen(self.adversary, self.block_adversaries):
                terms["leak"] = divergence(self.schema.distribution(self.adversary(both["z"]).float()), marginal)
                of_blocks = [divergence(answer, marginal) for answer in self.block_adversaries.answers(both)]
                terms["block_leak"] = self.block_adversaries.pairs(of_blocks)
            if not self.training or self.time >= _CONSISTENCY_STARTS:
                terms |= counterfactual_consistency(
                    self._drawn, self._encoded_again, batch.x, posterior, codes, values, generator
                )
            return terms

        objectives = {"adversary": adversary, "label_head": label_head, "model": model}
        return Losses(objectives, self.weights(), seen=batch.observed.any(0))

    def _see(self, batch: Batch, z: Tensor) -> None:
        """Time, and what the erasure knows of z before it, move on by a training batch."""
        self.time = max(self.erasure.count / 1000, self.progress)
        self.erasure.starts = self.time >= _ERASURE_STARTS
        y = self.schema.features(batch.values, batch.observed, self.label_features) - self.label_features
        self.erasure.update(z, y, self.schema.repeat_over_features(batch.observed.float()).mean(0).clamp_min(1e-6))

    def _opening(self) -> float:
        """How far z is open: labels find their own blocks before z can carry them."""
        first, last = _Z_OPENS
        return min(1.0, max(0.0, (self.time - first) / (last - first))) if self.training else 1.0

    def _drawn(self, codes: Latents[Tensor], like: Tensor) -> Tensor:
        x = self.decode(codes).mean_like(like)
        return x.clamp(0, 1) if len(self.shape) == 3 else x

    def _encoded_again(self, x: Tensor, values: Tensor) -> Latents[DiagonalGaussian]:
        return self.posterior(x, values, torch.ones_like(values, dtype=torch.bool))

    def adapt(self, losses: Losses) -> None:
        """Dual ascent: the adversaries' cross entropies are to stay at H(y), for the labels that the batch had."""
        entropy, seen = self.label_marginal(1).entropy()[0], losses.seen
        assert seen is not None
        self.leak_weight.update(entropy - losses.terms["adversary"], seen)
        pairs, pairs_seen = (self.block_adversaries.pairs([part] * len(part)) for part in (entropy, seen))
        self.block_leak_weight.update(pairs - losses.terms["block_adversary"], pairs_seen)

    def weights(self) -> dict[str, float | Tensor]:
        found = {"leak": self.leak_weight.value, "block_leak": self.block_leak_weight.value}
        return {**super().weights(), **found, "consistency_z": 0.5, "consistency_w": 1.0}

    def term_names(self) -> dict[str, tuple[str, ...]]:
        names, pairs = self.schema.names, self.block_adversaries.pair_names
        per_label = dict.fromkeys(("kl_w", "leak", "adversary", "label_head", "consistency_w"), names)
        return {**per_label, "block_leak": pairs, "block_adversary": pairs}

    def score(self, terms: dict[str, Tensor]) -> Tensor:
        """The negative ELBO and the weighted leaks of z, at their largest weight, so that epochs compare."""
        return super().score(terms) + self.leak_weight.most * terms["leak"].sum()

    # -- edits --------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def calibrate(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Makes the erasure exact where that costs little, and finds the typical point of every label value."""
        self._make_exact(batches)
        super().calibrate(batches)
        self.typical.measure(self, batches)

    def _make_exact(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Erases by the statistics of all training codes, unless the error of reconstructions grows by a quarter.

        Running statistics leave to a linear probe what a few thousand codes do not show. But where a code is nearly flat, a
        small change of the projection moves codes far from those that the decoder was trained on.
        """
        z, labels, shares, some = [], [], [], []
        for batch in batches():
            z.append(self.head(self.trunk(self.likelihood.inputs(batch.x))).mean)
            labels.append(self.schema.features(batch.values, batch.observed, self.label_features) - self.label_features)
            shares.append(self.schema.repeat_over_features(batch.observed.float()))
            some += [batch] if sum(map(len, some)) < _TRIED_EXACT else []

        def error() -> Tensor:
            squares = []
            for batch in some:
                codes = modes(self.encode(batch.x, batch.values, batch.observed))
                squares.append(((self.decode(codes).mean_like(batch.x) - batch.x) ** 2).flatten())
            return torch.cat(squares).nanmean()

        before, running = error(), {name: tensor.clone() for name, tensor in self.erasure.state_dict().items()}
        self.erasure.fix(torch.cat(z), torch.cat(labels), torch.cat(shares).mean(0).clamp_min(1e-6))
        if not bool(error() <= _WORSE * before):
            self.erasure.load_state_dict(running)

    def intervene(self, codes: Latents[Tensor], label: str, value: Tensor, previous: Tensor) -> Latents[Tensor]:
        """The typical point of a discrete label's value, once measured; else what all models do."""
        return self.typical.put(codes, label, value) or super().intervene(codes, label, value, previous)
