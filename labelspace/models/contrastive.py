"""Contrastive VAE (Abid, Zou, arXiv 2019), in the form of contrastiveVI (Weinberger, Lin, Lee, Nature Methods 2023).

For: what only some samples have (treated cells beside controls, patients beside healthy people): their ways of having it, kept
apart from what varies in all. Not for: numbers as labels, or a z that must not tell the label: nothing keeps it out.

    p(z) = N(0, I)      p(s_i | y_i): where y_i is the background, the point 0; elsewhere N(0, I)
    p(x | z, s_1..s_L): likelihood of decoder(z, s_1..s_L)
    q(z | x), q(s_i | x, y_i): two encoders that do not see labels; the salient code of the background is the point 0, exactly

    minimise  -log p(x | z, s)  +  KL(q(z | x) || p(z))  +  sum_i KL(q(s_i | x) || p(s_i)), over samples that are not background
              + empty * (|mean(x)|^2 + |scale(x)|^2) of q(s_i | x), over samples of the background
              + independence * log D(z, s) / (1 - D(z, s)), over samples that have any salient code, D frozen

The case of the papers is one label of two values. With several, each has a background and a salient block of its own: a sample
that is background in all has z alone. The background of a binary label is off, that of a categorical one its first class;
``background`` names another value.

The term ``empty`` is contrastiveVI's optional one, the squared Wasserstein-2 distance of what the salient encoder says of the
background from the point 0. ``independence`` is the optional one of Abid and Zou, the total correlation of z and the salient
codes side by side, read by a discriminator D (:class:`~labelspace.models.parts.DensityRatio`).

Missing labels are summed out under a label head q(y | x), which is trained on the observed ones and touches nothing else, as in
the CSVAE: a sample counts once for every way of filling what is missing, weighted by q.

Blocks: ``z``, free; ``s.<label>``, ``salient`` coordinates each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from labelspace.blocks import Block, Blocks, Latents, concatenate, sample
from labelspace.data.batches import Batch
from labelspace.distributions import Degenerate, DiagonalGaussian
from labelspace.errors import unknown
from labelspace.labels import LabelDistribution, Schema
from labelspace.models import networks, schedules
from labelspace.models.base import About, Common, Head, Losses, Model, Player
from labelspace.models.parts import Completions, DensityRatio, TypicalPoints, cross_entropy, frozen, split

_COMPLETIONS = 16  # the most ways of filling a sample's missing labels that are summed out


class ContrastiveVAE(Model):
    """The contrastive VAE; see the module for the objective.

    Args:
        shape: shape of one sample.
        schema: the labels, binary or categorical.
        frequencies: label frequencies p(y), for missing labels and for generation.
        latent: coordinates of ``z``.
        salient: coordinates of each label's block.
        background: the value without a salient code, of the labels that have it; that of others is their first one.
        kl_z, kl_s: weights of the KL of z and of the salient blocks, numbers or schedules.
        empty: weight of the distance from 0 of what the salient encoder says of the background, a number or a schedule; 0
            leaves it out.
        independence: weight of the total correlation of z and the salient blocks, a number or a schedule; 0 leaves it out.
        **common: what x is like and how networks are built, as for every model (:class:`~labelspace.models.base.Common`).
    """

    about = About(
        purpose="what only some samples have beside a background, and their ways of having it",
        avoid="labels are numbers, z must be free of the labels, or both values of a label have styles",
        labels="binary, categorical",
        missing="yes (summed out under a label head)",
        blocks="z, s.<label> (empty where the label is the background)",
        adversaries="none (independence: one on z and s)",
        paper="Abid, Zou 2019; Weinberger, Lin, Lee 2023",
    )
    label_kinds = ("binary", "categorical")
    background: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 10,
        salient: int = 10,
        background: str = "",
        kl_z: float | str = 1.0,
        kl_s: float | str = 1.0,
        empty: float | str = 0.0,
        independence: float | str = 0.0,
        **common: Unpack[Common],
    ) -> None:
        values = [name for label in schema for name in label.values]
        if background and background not in values:
            raise unknown("background", background, values)
        blocks = Blocks([Block("z", latent), *(Block(f"s.{label.name}", salient, label.name) for label in schema)])
        super().__init__(shape, schema, frequencies, blocks, {"kl_z": kl_z, "kl_s": kl_s}, **common)
        options = {"empty": schedules.parse(empty), "total_correlation": schedules.parse(independence)}
        self.schedules |= {name: schedule for name, schedule in options.items() if schedule != schedules.parse(0)}
        places = [label.values.index(background) if background in label.values else 0 for label in schema]
        self.register_buffer("background", torch.tensor(places), persistent=False)
        width = salient * len(schema)

        self.trunk, features = networks.encoder(self.likelihood.input_shape, self.network)
        self.head = Head(features, latent)
        self.s_trunk, features = networks.encoder(self.likelihood.input_shape, self.network)
        self.s_head = Head(features, width)
        self.decoder = networks.decoder(latent + width, self.likelihood.output_shape, self.network)
        self.label_head = networks.mlp(features, [128], schema.parameters)
        self.density_ratio = DensityRatio([latent, width]) if "total_correlation" in self.schedules else None
        self.typical = TypicalPoints(blocks, schema)

    @classmethod
    def defaults(cls, shape: tuple[int, ...], labels: int) -> dict[str, Any]:
        found = super().defaults(shape, labels)
        return {**found, "salient": min(found["latent"], 10)}

    # -- p ------------------------------------------------------------------------------------------------------------

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        """p(z) and p(s_i | y_i); for a missing label, that of its most probable value."""
        values = self.fill_with_mode(values, observed)
        standard = DiagonalGaussian.standard(len(values), self.blocks.size - self.blocks[0].size, values)
        return self._latents(self.free_prior(values), standard, values)

    def _latents(self, z: DiagonalGaussian, s: DiagonalGaussian, values: Tensor) -> Latents[DiagonalGaussian]:
        """Blocks of z and of salient codes side by side, which are the point 0 where the label is the background."""
        empty = self._empty(values).repeat_interleave(self.blocks[1].size, 1)
        gated = Degenerate(*(torch.where(empty, 0.0, part) for part in (s.mean, s.scale)))
        return Latents(self.blocks, {"z": z, **split(self.blocks[1:], gated)})

    def _empty(self, values: Tensor) -> Tensor:
        """Which labels are the background, ``(n, labels)`` bool."""
        return values == self.background

    # -- q ------------------------------------------------------------------------------------------------------------

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        """q(z | x) and q(s_i | x, y_i)."""
        x = self.likelihood.inputs(x)
        return self._latents(self.head(self.trunk(x)), self.s_head(self.s_trunk(x)), values)

    def label_distribution(self, x: Tensor) -> LabelDistribution:
        """q(y | x) of the label head."""
        return self._answer(self.s_trunk(self.likelihood.inputs(x)))

    def _answer(self, features: Tensor) -> LabelDistribution:
        return self.schema.distribution(self.label_head(features).float())

    # -- training -----------------------------------------------------------------------------------------------------

    def players(self) -> dict[str, Player]:
        auxiliary = {"density_ratio": self.density_ratio, "label_head": self.label_head}
        modules = {name: module for name, module in auxiliary.items() if module is not None}
        players = {name: Player(list(module.parameters()), auxiliary=True) for name, module in modules.items()}
        return {**players, "model": Player(self.parameters_except(*modules.values()))}

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        x = self.likelihood.inputs(batch.x)
        features = self.s_trunk(x)
        q_z, q_s = self.head(self.trunk(x)), self.s_head(features)
        x, values, mean = batch.x, batch.values, _mean
        if not batch.complete:  # one row per way of filling missing labels
            with torch.no_grad():
                ways = Completions.of(batch, self._answer(features), generator, _COMPLETIONS)
            x, values, mean = x[ways.rows], ways.values, ways.mean
            q_z, q_s = q_z[ways.rows], q_s[ways.rows]
        posterior, prior, empty = self._latents(q_z, q_s, values), self.prior(values), self._empty(values)
        codes = sample(posterior, generator)
        whole = concatenate(codes)[~empty.all(1)]  # codes of samples that have any that is salient

        def label_head() -> dict[str, Tensor]:
            answer = self._answer(features.detach())
            return {"label_head": cross_entropy(answer, batch.values, batch.known)}

        def density_ratio() -> dict[str, Tensor]:
            assert self.density_ratio is not None
            read = whole.detach() if len(whole) else torch.zeros_like(concatenate(codes)[:1])
            return {"density_ratio": self.density_ratio.read_loss(read, generator)}

        def model() -> dict[str, Tensor]:
            terms = {
                "reconstruction": -mean(self.decode(codes).log_prob(x)),
                "kl_z": mean(posterior["z"].kl(prior["z"])),
                "kl_s": torch.stack([mean(posterior[b.name].kl(prior[b.name])) for b in self.blocks[1:]]),
            }
            if "empty" in self.schedules:
                distance = (q_s.mean.square() + q_s.scale.square()).unflatten(1, (*empty.shape[1:], -1)).sum(2)
                terms["empty"] = mean(torch.where(empty, distance, 0.0))
            if self.density_ratio is not None:
                with frozen(self.density_ratio):
                    terms["total_correlation"] = self.density_ratio(whole).sum() / max(1, len(whole))
            return terms

        readers = {} if self.density_ratio is None else {"density_ratio": density_ratio}
        return Losses({**readers, "label_head": label_head, "model": model}, self.weights())

    def term_names(self) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(("kl_s", "empty", "label_head"), self.schema.names)


def _mean(term: Tensor) -> Tensor:
    return term.mean(0)
