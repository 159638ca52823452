"""LSVAE, the label-subspace VAE (ours): a conditional subspace VAE (:mod:`~labelspace.models.csvae`) that finds its weights.

For: changing one attribute of a sample and keeping the rest, with many ways of having it; transferring one sample's way to
another. Not for: predicting labels (a head does it, nothing more), or labels that are only a few per cent observed.

    p(z) = N(0, I)      p(w_i | y_i): label i off, N(0, 0.1^2 I); label i on, N(3, I); a number, N(3 y_i, 0.3^2 I)
    p(x | z, w)         likelihood of decoder(z, w)
    q(z | x)            N(m(x), s(x)^2)
    q(w_i | x, y)       p(w_i | y_i) where label i is off: an empty block, it knows nothing of x. Else N(m_p + s_p t, (s_p r)^2)
                        with m_p, s_p of p(w_i | y_i), |t| < 2.2 and r at least 0.08
    q(y | z)            the adversary            q_i(y_j | w_i, y_i), j != i: one adversary per block, for the other labels
    h_i(y_j | y_i)      what a block's own label tells of another one anyway; of z nothing is told: h(y), all classes alike

Of a binary label, off is the value in which samples vary in fewer ways: no glasses, but bald. Each class of a categorical label
has coordinates of its own, and those of all other classes are empty.

The model minimises, with the adversaries frozen,

    -log p(x | z, w)  +  3 KL(q(w | x, y) || p(w | y))  +  KL(q(z | x) || p(z))
    +  sum_i a_i KL(h(y_i) || q(y_i | z))  +  sum_{i != j} b_ij KL(h_i(y_j | y_i) || q_i(y_j | w_i, y_i))
    +  0.5 * consistency_z  +  consistency_w

and the adversaries minimise their cross entropy on points between mean and draw of the codes, detached. That of z reads codes
standardised over the batch. In what adversaries and the terms against them average, all classes of a label weigh alike, rare
ones too.

* What is not a label's stays out of its block: where the label is off the block is empty, so that z must hold all that such
  samples need; where it is on, a nat in the block costs three in z, so that what z can hold is there.
* a_i and b_ij are moved by dual ascent: they grow while the adversary says more than 3% (4%) of what h leaves open of a label,
  and shrink while it does not; a_i reach 100 at most. Where growing does not help, they stop, and :meth:`remarks` says what
  could not be taken out. On draws of z the gradient of their terms is at most twice as large as that of -log p(x | z, w).
* Consistency: codes with some blocks w_i taken from other samples are decoded and encoded again; the result must have the w
  that it was given, and its z and the z that it was made from move towards each other.

Blocks: ``z``, free; ``w.<label>``, eight coordinates for a binary or continuous label, eight for each class of a categorical
one, fewer for short vectors. Spare ones stay at their prior; they are noise to the decoder, whose weights of blocks begin at
zero.
Missing labels are summed out under a label head q(y | x), as in the CSVAE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Literal, Unpack

import torch
from torch import Tensor, nn

from labelspace.blocks import Block, Blocks, Latents
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import UserError, unknown
from labelspace.labels import LabelDistribution, Schema
from labelspace.likelihoods import DataDistribution
from labelspace.models import networks
from labelspace.models.base import About, Common, Head, Losses, Model, Player
from labelspace.models.parts import (
    BlockAdversaries,
    Completions,
    DualAscent,
    Independence,
    SubspacePrior,
    Temperatures,
    TypicalPoints,
    balanced,
    between_mean_and_draw,
    class_weights,
    counterfactual_consistency,
    cross_entropy,
    frozen,
    richer_when_off,
    share_of_open,
    split,
    subspace_blocks,
)

_COMPLETIONS = 16  # the most ways of filling a sample's missing labels that are summed out
_NEAR = 2.2  # prior standard deviations that the mean of q(w | x, y) may be away from that of p(w | y)


class LSVAE(Model):
    """The label-subspace VAE; see the module for the objective.

    Args:
        shape: shape of one sample.
        schema: the labels, of any kind.
        frequencies: label frequencies p(y), which adversaries are to fall back to, and for generation.
        latent: coordinates of ``z``.
        subspace: coordinates of w for each binary or continuous label and for each class.
        prior: "fixed" p(w | y), or "learned": mean and scale from y.
        empty: the value of binary labels in which their block is empty; by default, for each the one in which samples vary in
            fewer ways (:func:`~labelspace.models.parts.richer_when_off`).
        adversary_steps: the adversaries' optimiser steps per batch.
        reconstruction, kl_w, kl_z: weights, numbers or schedules.
        leak: the weight that the leak of z starts from; above 100 it does not grow.
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
    block_of: Tensor
    apart: ClassVar[dict[str, tuple[str, ...]]] = {"label_head": ("label_trunk.", "label_head.")}
    former: ClassVar[dict[str, str]] = {
        **Model.former,
        "adversary.": "independence.adversary.",
        "leak_weight.": "independence.weight.",
    }
    measured: ClassVar[tuple[str, ...]] = (
        *Model.measured,
        "temperatures.",
        "independence.weight.",
        "block_leak_weight.",
    )

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 16,
        subspace: int = 8,
        prior: Literal["fixed", "learned"] = "fixed",
        empty: Literal["auto", "off", "on"] = "auto",
        adversary_steps: int = 2,
        reconstruction: float | str = 1.0,
        kl_w: float | str = 3.0,
        kl_z: float | str = 1.0,
        leak: float = 20.0,
        **common: Unpack[Common],
    ) -> None:
        for name, given, known in (("prior", prior, ("fixed", "learned")), ("empty", empty, ("auto", "off", "on"))):
            if given not in known:
                raise unknown(name, given, known)
        if adversary_steps < 1:
            raise UserError(f"adversary_steps must be at least 1, got {adversary_steps}")
        if not leak > 0:
            raise UserError(f"leak is the weight that dual ascent starts from; it must be positive, got {leak}")
        blocks = Blocks([Block("z", latent), *subspace_blocks(schema, subspace)])
        weights = {"reconstruction": reconstruction, "kl_w": kl_w, "kl_z": kl_z}
        super().__init__(shape, schema, frequencies, blocks, weights, **common)
        self.adversary_steps, self.empty = adversary_steps, empty
        labels, width = len(schema), subspace * schema.width

        self.trunk, features = networks.encoder(self.likelihood.input_shape, self.network)
        self.head = Head(features, latent)
        # Labels and their styles need less of a network than everything else.
        self.w_trunk, features = networks.encoder(self.likelihood.input_shape, self.network.narrowed(self.shape))
        self.w_head = networks.mlp(features + schema.width, [128], 2 * width)
        self.decoder = networks.decoder(latent + width, self.likelihood.output_shape, self.network)
        self.w_prior = SubspacePrior(schema, subspace, flip=empty == "on", learned=prior == "learned", found=True)
        # What predicts labels has features of its own: the others are told the labels, and need not show them.
        self.label_trunk, features = networks.encoder(self.likelihood.input_shape, self.network.narrowed(self.shape))
        self.label_head = networks.mlp(features, [128], schema.parameters)
        self.temperatures = Temperatures(labels)
        self.independence = Independence(latent, schema, start=leak)
        self.block_adversaries = BlockAdversaries(blocks[1:], schema)
        self.block_leak_weight = DualAscent(labels * (labels - 1), allowed=0.04, start=2.0, most=1500.0)
        self.register_buffer("block_of", _block_of(schema, subspace), persistent=False)
        self.typical = TypicalPoints(blocks, schema)

    @classmethod
    def defaults(cls, shape: tuple[int, ...], labels: int) -> dict[str, Any]:
        defaults = super().defaults(shape, labels)
        if len(shape) == 1:
            defaults["subspace"] = max(2, min(8, shape[0] - 1))
        return defaults

    def prepare(self, x: Tensor, values: Tensor, observed: Tensor) -> None:
        super().prepare(x, values, observed)
        if self.empty == "auto":
            numbers = self.likelihood.numbers(x)
            self.w_prior.turn(richer_when_off(numbers, values, observed, self.schema, self.label_features))
        # Spare coordinates are noise, which a decoder hardly unlearns from few samples: it learns what to take from blocks.
        networks.begin_without(self.decoder, slice(self.blocks[0].size, None))

    # -- p ------------------------------------------------------------------------------------------------------------

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        """p(z) and p(w_i | y_i); for a missing label, the prior at its prior mean."""
        p_w = self.w_prior(self.schema.features(values, observed, self.label_features))
        return self._latents(self.free_prior(values), p_w)

    def _decode(self, z: Tensor, w: Tensor) -> DataDistribution:
        """p(x | z, w), with the blocks of all labels side by side."""
        return self.likelihood(self.decoder(torch.cat([z, w], 1)).float())

    def _latents(self, z: DiagonalGaussian, w: DiagonalGaussian) -> Latents[DiagonalGaussian]:
        return Latents(self.blocks, {"z": z, **split(self.blocks[1:], w)})

    # -- q ------------------------------------------------------------------------------------------------------------

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        """q(z | x) and q(w | x, y)."""
        return self._latents(*self._encode(x, values))

    def _encode(self, x: Tensor, values: Tensor) -> tuple[DiagonalGaussian, DiagonalGaussian]:
        """q(z | x), and q(w | x, y) with all blocks side by side."""
        x, y = self.likelihood.inputs(x), self.schema.features(values)
        return self.head(self.trunk(x)), self._q_w(self.w_trunk(x), y, self.w_prior(y))

    def _q_w(self, features: Tensor, y: Tensor, p_w: DiagonalGaussian) -> DiagonalGaussian:
        """q(w | x, y), all blocks side by side, from features of x, of labels, and p(w | y)."""
        shift, spread = self.w_head(torch.cat([features, y.to(features.dtype)], 1)).float().chunk(2, dim=-1)
        used = self.w_prior.used(y)
        mean = p_w.mean + used * p_w.scale * _NEAR * torch.tanh(shift / _NEAR)
        return DiagonalGaussian(mean, p_w.scale * torch.where(used, 0.08 + nn.functional.softplus(spread - 1), 1.0))

    def label_distribution(self, x: Tensor) -> LabelDistribution:
        """q(y | x) of the label head, at temperatures that validation found."""
        return self.temperatures(self._head(self.likelihood.inputs(x)))

    def _head(self, x: Tensor) -> LabelDistribution:
        """q(y | x) of the label head as it is trained, from what encoders read."""
        return self.schema.distribution(self.label_head(self.label_trunk(x)).float())

    # -- training -----------------------------------------------------------------------------------------------------

    def players(self) -> dict[str, Player]:
        adversaries = [*self.independence.parameters(), *self.block_adversaries.parameters()]
        head = [*self.label_trunk.parameters(), *self.label_head.parameters()]
        return {
            "adversary": Player(adversaries, self.adversary_steps, auxiliary=True),
            "label_head": Player(head),
            "model": Player(
                self.parameters_except(self.independence, self.block_adversaries, self.label_trunk, self.label_head)
            ),
        }

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        values, ways = batch.values, None
        if not batch.complete:
            with torch.no_grad():
                answer = self.label_distribution(batch.x)
                ways = Completions.of(batch, answer, generator, _COMPLETIONS)
                values = torch.where(batch.observed, batch.values, answer.sample(generator))
        x = self.likelihood.inputs(batch.x)
        q_z, features, y = self.head(self.trunk(x)), self.w_trunk(x), self.schema.features(values)
        p_w = self.w_prior(y)
        q_w = self._q_w(features, y, p_w)
        z, w = q_z.sample(generator), q_w.sample(generator)
        weights = class_weights(self.label_marginal(1), values)
        chance = self.independence.chance(batch, weights)

        def label_head() -> dict[str, Tensor]:
            return {"label_head": cross_entropy(self._head(x), batch.values, batch.known)}

        def adversary() -> dict[str, Tensor]:
            def read(answer: LabelDistribution) -> Tensor:
                return cross_entropy(answer, batch.values, batch.known, weights)

            points = [between_mean_and_draw(part.detach(), generator) for part in (q_z, q_w)]
            answers, given = self.block_adversaries(points[1], y)
            pairs = self.block_adversaries.pairs
            return {
                **self.independence.read_losses(points[0], batch, weights, chance),
                "block_adversary": pairs(read(answers)),
                "block_adversary_chance": pairs(read(given)),
            }

        def model() -> dict[str, Tensor]:
            # the posterior of w, its prior and its codes, one row per way of filling missing labels
            q, p, drawn, rows, mean = q_w, p_w, w, slice(None), _mean
            if ways is not None:
                rows, mean, filled = ways.rows, ways.mean, self.schema.features(ways.values)
                p = self.w_prior(filled)
                q = self._q_w(features[rows], filled, p)
                drawn = q.sample(generator)
            kl_w = mean(q.kl_per_dimension(p))
            decoded, read = balanced(z, q_z.mean)
            terms = {
                "reconstruction": -mean(self._decode(decoded[rows], drawn).log_prob(batch.x[rows])),
                "kl_z": q_z.kl(self.free_prior(z)).mean(),
                "kl_w": kl_w.new_zeros(len(self.schema)).index_add(0, self.block_of, kl_w),
            }
            twice = weights.repeat(2, 1)
            with frozen(self.independence, self.block_adversaries):
                terms["leak"] = self.independence.leak(read, twice)
                answers, given = self.block_adversaries(torch.cat([w, q_w.mean]), y.repeat(2, 1))
                terms["block_leak"] = self.block_adversaries.pairs((twice * given.kl_to(answers)).mean(1))
            return terms | counterfactual_consistency(
                lambda z, w: self._drawn(z, w, batch.x), self._encode, q_z, z, w, values, self.block_of, generator
            )

        objectives = {"adversary": adversary, "label_head": label_head, "model": model}
        return Losses(objectives, self.weights(), seen=batch.observed.any(0))

    def _drawn(self, z: Tensor, w: Tensor, like: Tensor) -> Tensor:
        x = self._decode(z, w).mean_like(like[: len(z)])
        return x.clamp(0, 1) if len(self.shape) == 3 else x

    def _told_by_blocks(self, terms: dict[str, Tensor]) -> Tensor:
        """What blocks' adversaries say, and what is open, ``(2, pairs)`` in nats."""
        largest = self.block_adversaries.pairs(self.independence.entropies.expand(len(self.schema), -1))
        return share_of_open(terms["block_adversary"], terms["block_adversary_chance"], largest)

    def adapt(self, losses: Losses) -> None:
        """Dual ascent on the share of what is open of a label that an adversary says, for the labels that the batch had."""
        assert losses.seen is not None
        self.independence.update(losses.terms, losses.seen)
        pairs = self.block_adversaries.pairs(losses.seen.expand(len(losses.seen), -1))
        self.block_leak_weight.update(self._told_by_blocks(losses.terms), pairs)

    def weights(self) -> dict[str, float | Tensor]:
        found = {"leak": self.independence.weight.value, "block_leak": self.block_leak_weight.value}
        return {**super().weights(), **found, "consistency_z": 0.5, "consistency_w": 1.0}

    def term_names(self) -> dict[str, tuple[str, ...]]:
        names, pairs = self.schema.names, self.block_adversaries.pair_names
        of_labels = ("kl_w", "leak", "adversary", "adversary_chance", "label_head", "consistency_w")
        of_pairs = ("block_leak", "block_adversary", "block_adversary_chance")
        return {**dict.fromkeys(of_labels, names), **dict.fromkeys(of_pairs, pairs)}

    def score(self, terms: dict[str, Tensor]) -> Tensor:
        """The negative ELBO, and what adversaries say beyond twice what they may, which is no noise, at the weights' start."""
        score = super().score(terms) + self.independence.excess(terms)
        return score + self.block_leak_weight.excess(self._told_by_blocks(terms))

    def remarks(self) -> list[str]:
        """What could not be taken out of a code, in words."""
        names = self.schema.names
        told = [("z", name) for name in names]
        told += [(f"w.{block}", label) for block in names for label in names if block != label]
        of_z, of_blocks = self.independence.weight, self.block_leak_weight
        given_up = torch.cat([of_z.given_up, of_blocks.given_up]).tolist()
        shares = torch.cat([of_z.average, of_blocks.average], 1).T.tolist()
        return [
            f"{code} tells {label}: {max(0.0, said):.2f} of its {left:.2f} nats, and no more could be taken out"
            for (code, label), up, (said, left) in zip(told, given_up, shares, strict=True)
            if up
        ]

    # -- predictions --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def calibrate_labels(self, held: Callable[[], Iterable[Batch]]) -> None:
        """Finds the temperatures of the label head."""
        batches = list(held())
        answers = torch.cat([self._head(self.likelihood.inputs(batch.x)).parameters for batch in batches])
        values, observed = (torch.cat([getattr(batch, what) for batch in batches]) for what in ("values", "observed"))
        self.temperatures.fit(self.schema.distribution(answers), values, observed)


def _mean(term: Tensor) -> Tensor:
    return term.mean(0)


def _block_of(schema: Schema, subspace: int) -> Tensor:
    """The position of the label that each coordinate of all labels' blocks side by side belongs to."""
    return torch.tensor([i for i, label in enumerate(schema) for _ in range(subspace * label.features)])
