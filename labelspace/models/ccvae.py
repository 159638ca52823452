"""CCVAE, the characteristic capturing VAE (Joy, Schmon, Torr, Siddharth, Rainforth, ICLR 2021).

For: edits, transfers and predictions from one model when only some labels are known; smooth walks along a label.
Not for: keeping z free of the labels; the model does not ask for it, and its authors say that it should not.

    p(y): label frequencies       p(z) = N(0, I)       p(z_i | y_i): a learned Gaussian for each value
    p(x | z, z_1..z_L): likelihood of decoder(z, z_1..z_L); the decoder does not see y
    q(z, z_1..z_L | x): one encoder        q(y_i | z_i): the classifier, one weight and one bias for a binary label

By Bayes' rule q(z_i | x, y_i) = w_i q(z_i | x), w_i = q(y_i | z_i) / q(y_i | x), q(y_i | x) = E_q(z_i | x)[q(y_i | z_i)].
With w the product of the w_i of all known labels, the labelled bound (the paper's eq. 4) is

    E_q(z | x)[ w (log p(x | z) + log p(z | y) - log q(y | z) - log q(z | x)) ] + log q(y | x) + log p(y)

which is the same as

    E_q(z | x, y)[log p(x | z)] - sum_i KL(q(z_i | x, y_i) || p(z_i | y_i)) - KL(q(z | x) || p(z)) + log p(y)

because w integrates to one over every block but its own. A missing label (eq. 5) has, instead of its KL - log p(y_i),

    E_q(z_i | x)[log q(z_i | x) + sum_y q(y | z_i) (log q(y | z_i) - log p(z_i | y) - log p(y))]

``estimator="quadrature"`` (ours, the default) takes the second form. The terms of a block of one coordinate are sums over a
fine grid, and its code for the decoder is a draw of q(z_i | x, y_i) by inverting its distribution function on that grid, all
with their true gradients. (Gauss-Hermite nodes are too few once the classifier is steep against the width of q.) For larger
blocks the sums are over ``samples`` draws of q(z_i | x), and the code is one of them, chosen with probability proportional to
q(y_i | z_i); as with a detached w, the choice passes no gradient. No weight w multiplies the reconstruction, so no sample
outvotes the batch however many labels there are. The bound alone teaches the encoder little from few labels: its log q(y | x)
is cancelled by the bracket. The authors' first code stops the bracket's gradient, so that the encoder feels log q(y | x) in
full; here it is a term of its own, ``classification``, averaged over the samples that have the label, 1 in the constructor.

``estimator="paper"`` is the first form as its authors released it: one draw for the bracket, ``samples`` joint draws for
q(y | x), the classifier's input detached in the numerator of w and inside the bracket. It needs w to be of moderate size, and
grows noisy with the number of labels. Missing discrete labels are summed out exactly in both.

``consistency`` (ours; the paper has none) is the weight of the LSVAE's consistency: codes with some labels' blocks taken from
other samples are decoded and encoded again, and the result must have the blocks that it was given
(:func:`~labelspace.models.parts.counterfactual_consistency`). Use it with blocks of several coordinates.

Blocks: ``z``, free; ``z.<label>``, one coordinate for a binary or continuous label, one per class for a categorical one.
Continuous labels: p(z_i | y_i) = N(a + b y_i, s^2) and q(y_i | z_i) = N(c + d z_i, t^2), all learned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Unpack

import torch
from torch import Tensor

from labelspace.blocks import Block, Blocks, Latents, sample
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import UserError, unknown
from labelspace.labels import LabelDistribution, Schema
from labelspace.models import networks, schedules
from labelspace.models.base import About, Common, Head, Losses, Model
from labelspace.models.parts import (
    LabelClassifiers,
    LabelPrior,
    counterfactual_consistency,
    log_evidence_bound,
    split,
    stack_blocks,
    ungroup,
)
from labelspace.precision import widest

_REACH, _NODES = 6.0, 161  # the grid of the quadrature, in standard deviations of q(z_i | x), and its points


class CCVAE(Model):
    """The characteristic capturing VAE; see the module for the objective.

    Args:
        shape: shape of one sample.
        schema: the labels, of any kind.
        frequencies: label frequencies p(y).
        latent: coordinates of ``z``.
        subspace: coordinates of the block of a binary or continuous label (the paper's 1).
        categorical: coordinates of the block of a categorical label; 0 is one per class.
        estimator: "quadrature" or "paper"; see the module.
        classification: weight of -log q(y | x) beside the bound (quadrature only), a number or a schedule.
        samples: draws per label and sample (quadrature, for blocks of several coordinates) or for all labels together
            (paper, K); None is 32 for quadrature and the published 100 for paper.
        hidden: hidden units of the classifier of a categorical label; 0 makes it linear.
        linear: classify binary and continuous labels by one weight and one bias (the paper's); False gives them ``hidden`` too.
        consistency: weight of the consistency of counterfactuals, a number or a schedule; 0 (the paper's) leaves it out.
        **common: what x is like and how networks are built, as for every model (:class:`~labelspace.models.base.Common`).
    """

    about = About(
        purpose="edits, transfer and prediction when only some labels are known; walks along a label",
        avoid="z must be free of the labels: nothing keeps them out of it",
        labels="binary, categorical, continuous",
        missing="yes (its own bound: summed out)",
        blocks="z, z.<label>",
        adversaries="none",
        paper="Joy, Schmon, Torr, Siddharth, Rainforth 2021",
    )
    encoder_needs_labels = False
    former: ClassVar[dict[str, str]] = {**Model.former, "readers.": "classifiers."}
    nodes: Tensor
    block_of: Tensor
    log_weights: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 27,
        subspace: int = 1,
        categorical: int = 0,
        estimator: Literal["quadrature", "paper"] = "quadrature",
        classification: float | str = 1.0,
        samples: int | None = None,
        hidden: int = 64,
        linear: bool = True,
        consistency: float | str = 0.0,
        **common: Unpack[Common],
    ) -> None:
        if estimator not in ("quadrature", "paper"):
            raise unknown("estimator", estimator, ("quadrature", "paper"))
        samples = {"quadrature": 32, "paper": 100}[estimator] if samples is None else samples
        if hidden < 0:
            raise UserError(f"hidden must be 0 or larger, got {hidden}")
        if samples < 1:
            raise UserError(f"samples must be at least 1, got {samples}")
        sizes = [(categorical or label.features) if label.kind == "categorical" else subspace for label in schema]
        named = (Block(f"z.{label.name}", size, label.name) for label, size in zip(schema, sizes, strict=True))
        blocks = Blocks([Block("z", latent), *named])
        super().__init__(shape, schema, frequencies, blocks, {"classification": classification}, **common)
        if consistency:
            self.schedules |= {name: schedules.parse(consistency) for name in ("consistency_z", "consistency_w")}
        owners = [i for i, size in enumerate(sizes) for _ in range(size)]
        self.register_buffer("block_of", torch.tensor(owners), persistent=False)
        self.estimator, self.samples = estimator, samples
        self.trunk, features = networks.encoder(self.likelihood.input_shape, self.network)
        self.head = Head(features, latent)
        self.label_head = Head(features, sum(sizes), scale=1.0)
        self.label_prior = LabelPrior(schema, sizes)
        self.classifiers = LabelClassifiers(
            schema, sizes, [hidden if label.kind == "categorical" or not linear else 0 for label in schema]
        )
        if linear:
            self._start_classifiers_at_bayes()
        self.decoder = networks.decoder(blocks.size, self.likelihood.output_shape, self.network)
        nodes = torch.linspace(-_REACH, _REACH, _NODES)
        self.register_buffer("nodes", nodes, persistent=False)
        self.register_buffer("log_weights", (-0.5 * nodes**2).log_softmax(0), persistent=False)

    @classmethod
    def defaults(cls, shape: tuple[int, ...], labels: int) -> dict[str, Any]:
        # The bound is worth hundreds of nats or more; a classifier that is to be heard beside it needs as much.
        # And z must not be so sharp that the decoder has no use for the label's block.
        image = {"classification": 50.0, "scale": 0.3}
        return {**super().defaults(shape, labels), **(image if len(shape) == 3 else {"classification": 5.0})}

    @torch.no_grad()
    def _start_classifiers_at_bayes(self) -> None:
        """Starts linear classifiers of binary labels at p(y | z_i) of the first prior, so that no label starts turned round."""
        for i, label in enumerate(self.schema):
            if label.kind == "binary":
                table, linear = self.label_prior.table(i), self.classifiers.networks[i][0]  # type: ignore[index]
                precision = table.scale**-2
                linear.weight.copy_(table.mean[1:] * precision[1:] - table.mean[:1] * precision[:1])
                # the means lie at opposite points and the scales are equal, so only the frequencies are left
                linear.bias.copy_(self.schema.distribution(self.label_parameters).log_table(i).diff())

    # -- p ------------------------------------------------------------------------------------------------------------

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        """p(z) and p(z_i | y_i); for a missing label, that of its most probable value."""
        values = self.fill_with_mode(values, observed)
        standard = self.free_prior(values)
        return Latents(self.blocks, {"z": standard, **self.label_prior.of_blocks(self.blocks[1:], values)})

    # -- q ------------------------------------------------------------------------------------------------------------

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        """q(z, z_1..z_L | x); labels are not read."""
        features = self.trunk(self.likelihood.inputs(x))
        labelled = self.label_head(features)
        return Latents(self.blocks, {"z": self.head(features), **split(self.blocks[1:], labelled)})

    def label_distribution(self, x: Tensor) -> LabelDistribution:
        """q(y_i | z_i) at the mean of q(z_i | x)."""
        posterior = self.posterior(x, *self.known(x, None, None))
        return self.classifiers.answer(posterior.map(lambda part: part.mean))

    # -- training -----------------------------------------------------------------------------------------------------

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        posterior = self.posterior(batch.x, batch.values, batch.observed)
        bound = self._by_quadrature if self.estimator == "quadrature" else self._as_published

        def model() -> dict[str, Tensor]:
            terms = bound(batch, posterior, generator)
            return terms | self._consistency(batch, posterior, generator) if "consistency_z" in self.schedules else terms

        return Losses({"model": model}, self.weights())

    def _consistency(self, batch: Batch, posterior: Latents[DiagonalGaussian], generator: torch.Generator) -> dict[str, Tensor]:
        codes = sample(posterior, generator)

        def labelled(parts: Latents[Tensor]) -> Tensor:
            return torch.cat([parts[block.name] for block in self.blocks[1:]], 1)

        def decode(z: Tensor, w: Tensor) -> Tensor:
            x = self.decode(Latents(self.blocks, {"z": z, **self._by_block(w)})).mean_like(batch.x[: len(z)])
            return x.clamp(0, 1) if len(self.shape) == 3 else x

        def encode(x: Tensor, values: Tensor) -> tuple[DiagonalGaussian, DiagonalGaussian]:
            q = self.posterior(x, values, torch.ones_like(values, dtype=torch.bool))
            return q["z"], DiagonalGaussian(labelled(q.map(lambda part: part.mean)), labelled(q.map(lambda part: part.scale)))

        z, w = codes["z"], labelled(codes)
        return counterfactual_consistency(decode, encode, posterior["z"], z, w, batch.values, self.block_of, generator)

    def _by_block(self, w: Tensor) -> dict[str, Tensor]:
        """Codes of all labels side by side, by the names of their blocks."""
        blocks = self.blocks[1:]
        return {block.name: part for block, part in zip(blocks, w.split([b.size for b in blocks], 1), strict=True)}

    def _by_quadrature(
        self, batch: Batch, posterior: Latents[DiagonalGaussian], generator: torch.Generator
    ) -> dict[str, Tensor]:
        p_y, codes = self.schema.distribution(self.label_parameters), sample(posterior, generator)
        values, groups = self.schema.standardised(batch.values), self.classifiers.groups
        kl_y, classification = [], []
        for group in groups:  # labels that are alike: (n, labels) and what follows
            names = [self.blocks[1:][i].name for i in group]
            q, known, y = stack_blocks(posterior, names), batch.observed[:, group], values[:, group]
            draws, log_weights = self._points(q, generator)  # (n, labels, k, size), (k,)
            log_q = _log_density(q, draws)
            log_q_y = self.classifiers.read(group, draws).log_prob_of(0, y[..., None])  # log q(y_i | draw), (n, labels, k)
            log_p = _log_density(self.label_prior.given(group, y), draws)
            log_tilt = log_weights + log_q_y  # q(z_i | x, y_i) on the points, not normalised
            log_q_y_x = log_tilt.logsumexp(2, keepdim=True)
            tilt = (log_tilt - log_q_y_x).exp()
            marginal = p_y.stacked(group)
            kl = (tilt * (log_q + log_q_y - log_q_y_x - log_p)).sum(2) - marginal.expand(len(y)).log_prob_of(0, y)
            if not batch.complete:
                missing = log_q - log_evidence_bound(self.label_prior, self.classifiers, group, draws, marginal, generator)
                kl = torch.where(known, kl, (log_weights.exp() * missing).sum(2))
            kl_y.append(kl.mean(0))
            classification.append(-(log_q_y_x[..., 0] * known).sum(0) / known.sum(0).clamp_min(1))
            chosen = self._tilted(q, draws, tilt, generator)
            codes = codes.replace(
                {name: torch.where(known[:, j, None], chosen[:, j], codes[name]) for j, name in enumerate(names)}
            )
        return {
            "reconstruction": -self.decode(codes).log_prob(batch.x).mean(),
            "kl_z": posterior["z"].kl(self.free_prior(batch.x)).mean(),
            "kl_y": ungroup(kl_y, groups),
            "classification": ungroup(classification, groups),
        }

    def _points(self, q: DiagonalGaussian, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Points ``(n, labels, k, size)`` and log weights ``(k,)`` whose weighted sums are expectations under q."""
        if q.mean.shape[-1] == 1:
            return q.mean[:, :, None] + q.scale[:, :, None] * self.nodes[:, None], self.log_weights
        equal = torch.full_like(self.nodes[:1], -math.log(self.samples)).expand(self.samples)
        return self._drawn(q, generator), equal

    def _drawn(self, q: DiagonalGaussian, generator: torch.Generator) -> Tensor:
        """``samples`` draws of q, ``(n, labels, samples, size)``."""
        n, labels, size = q.mean.shape
        noise = torch.randn(n, labels, self.samples, size, generator=generator, device=q.mean.device)
        return q.mean[:, :, None] + q.scale[:, :, None] * noise

    def _tilted(self, q: DiagonalGaussian, points: Tensor, tilt: Tensor, generator: torch.Generator) -> Tensor:
        """A draw of q(z_i | x, y_i), ``(n, labels, size)``, from points of q(z_i | x) and their probabilities given y_i.

        On the line the distribution function is inverted, piecewise linear between grid points; its gradient is the draw's.
        In several dimensions one of the points is chosen, and the choice has no gradient.
        """
        n, labels, k, size = points.shape
        if size > 1:
            chosen = torch.multinomial(tilt.detach().reshape(n * labels, k), 1, generator=generator).view(n, labels, 1, 1)
            return points.gather(2, chosen.expand(n, labels, 1, size))[:, :, 0]
        # Far tails are cut off (a thousandth of the draws moves): there the gradient is a ratio of tiny numbers.
        exact = widest(points.device)
        level = torch.rand(n, labels, 1, generator=generator, device=points.device).to(exact) * 0.999 + 0.0005
        mass = tilt.to(exact)
        below = mass.cumsum(2) - mass  # at the left edge of each point's cell
        cell = torch.searchsorted(below.detach(), level, right=True) - 1
        step = float(self.nodes[1] - self.nodes[0])
        inside = (level - below.gather(2, cell)) / mass.gather(2, cell).clamp_min(1e-12)
        noise = self.nodes[cell] + step * (inside.float() - 0.5)
        return q.mean + q.scale * noise

    def log_weight(self, batch: Batch, posterior: Latents[DiagonalGaussian], codes: Latents[Tensor], generator) -> Tensor:
        """log w of the known labels at ``codes``, ``(n,)``, with q(y | x) from ``samples`` joint draws; and log q(y | x).

        Gradients: the numerator's reach the classifier alone, the denominator's everything (the published code).
        """
        values, found = self.schema.standardised(batch.values), codes["z"].new_zeros(len(batch.values), 1 + self.samples)
        for group in self.classifiers.groups:
            names = [self.blocks[1:][i].name for i in group]
            drawn = self._drawn(stack_blocks(posterior, names), generator)
            points = torch.cat([torch.stack([codes[name].detach() for name in names], 1)[:, :, None], drawn], 2)
            log_q_y = self.classifiers.read(group, points).log_prob_of(0, values[:, group, None])  # (n, labels, 1 + samples)
            found = found + (log_q_y * batch.observed[:, group, None]).sum(1)
        log_q_y_x = found[:, 1:].logsumexp(1) - math.log(self.samples)
        return torch.stack([found[:, 0] - log_q_y_x, log_q_y_x])

    def _as_published(
        self, batch: Batch, posterior: Latents[DiagonalGaussian], generator: torch.Generator
    ) -> dict[str, Tensor]:
        codes = sample(posterior, generator)
        log_w, log_q_y_x = self.log_weight(batch, posterior, codes, generator)
        w, values, kl_y = log_w.exp(), self.schema.standardised(batch.values), []
        marginals = self.schema.distribution(self.label_parameters)
        for group in self.classifiers.groups:
            names = [self.blocks[1:][i].name for i in group]
            code = torch.stack([codes[name] for name in names], 1)[:, :, None]  # (n, labels, 1, size)
            y, marginal = values[:, group], marginals.stacked(group)
            log_q = _log_density(stack_blocks(posterior, names), code)
            log_q_y = self.classifiers.read(group, code.detach()).log_prob_of(0, y[..., None])
            bracket = log_q + log_q_y - _log_density(self.label_prior.given(group, y), code)
            kl = w[:, None] * bracket[..., 0] - marginal.expand(len(y)).log_prob_of(0, y)
            if not batch.complete:
                missing = log_q - log_evidence_bound(self.label_prior, self.classifiers, group, code, marginal, generator)
                kl = torch.where(batch.observed[:, group], kl, w[:, None] * missing[..., 0])
            kl_y.append(kl.mean(0))
        kl_z = posterior["z"].log_prob(codes["z"]) - self.free_prior(batch.x).log_prob(codes["z"])
        return {
            "reconstruction": -(w * self.decode(codes).log_prob(batch.x)).mean(),
            "kl_z": (w * kl_z).mean(),
            "kl_y": ungroup(kl_y, self.classifiers.groups),
            "joint_classification": -log_q_y_x.mean(),
        }

    def score(self, terms: dict[str, Tensor]) -> Tensor:
        """The negative bound, and the classification at its weight."""
        return super().score(terms) + terms.get("joint_classification", torch.zeros(()))

    def term_names(self) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(("kl_y", "classification", "consistency_w"), self.schema.names)


def _log_density(gaussian: DiagonalGaussian, points: Tensor) -> Tensor:
    """Log-density of ``points (n, labels, k, size)`` under Gaussians ``(n, labels, size)``, ``(n, labels, k)``."""
    return DiagonalGaussian(gaussian.mean[:, :, None], gaussian.scale[:, :, None]).log_prob(points)
