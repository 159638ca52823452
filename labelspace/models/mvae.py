"""MVAE, the multimodal VAE with a product of experts (Wu & Goodman, NeurIPS 2018), labels as modalities.

For: one code from whatever is known of a sample (x, some labels, or both); any pattern of missing labels.
Not for: edits of one attribute: there is no block for a label, so an edit moves the whole code along an attribute vector.

    p(z) = N(0, I)     p(x | z): likelihood of decoder(z)     p(y_i | z): a small network per label
    q(z | x, y) is proportional to  p(z) q(z | x) prod over known labels of q(z | y_i)

a product of Gaussians, whose precisions add up. An ELBO of what is seen, from what is seen, for each view of a sample:

    ELBO(view) = E_q(z | view)[ sum over the view of log p(part | z) ] - beta KL(q(z | view) || p(z)),
                 where log p(y_i | z) counts ``label_weight`` times

The loss is the negative sum of ELBO(all that is known) + ELBO(x) + sum_i ELBO(y_i) + ELBO(a random part of what is known);
of a sample without labels, all that is known is x.
Published weights: labels 10, x 1, KL annealed over 20 epochs.

Blocks: ``z``, free. ``prior(y)`` is the product of p(z) and the experts of the known labels; with nothing known it is p(z).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn

from labelspace.blocks import Block, Blocks, Latents
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import LabelDistribution, Schema
from labelspace.models import networks
from labelspace.models.base import About, Common, Head, Losses, Model
from labelspace.models.parts import AttributeVectors


def product_of_experts(experts: Sequence[DiagonalGaussian], present: Sequence[Tensor]) -> DiagonalGaussian:
    """The normalised product of N(0, I) and Gaussian experts: precisions add up, means are weighted by them.

    Args:
        experts: Gaussians over the same ``n`` codes of ``d`` coordinates.
        present: for each expert ``(n,)`` bool, whether it takes part.
    """
    precision, weighted = torch.ones_like(experts[0].mean), torch.zeros_like(experts[0].mean)
    for expert, here in zip(experts, present, strict=True):
        own = expert.scale**-2 * here[:, None]
        precision = precision + own
        weighted = weighted + own * expert.mean
    return DiagonalGaussian(weighted / precision, precision**-0.5)


class MVAE(Model):
    """The multimodal VAE; see the module for the objective.

    Args:
        shape: shape of one sample.
        schema: the labels, of any kind.
        frequencies: label frequencies; kept for generation under drawn labels.
        latent: coordinates of ``z``.
        beta: weight of every KL, a number or a schedule.
        label_weight: weight of every log p(y_i | z), a number or a schedule.
        **common: what x is like and how networks are built, as for every model (:class:`~labelspace.models.base.Common`).
    """

    about = About(
        purpose="one code from whatever is known of a sample; any pattern of missing labels",
        avoid="you want to change one attribute and nothing else: there is no block for a label",
        labels="binary, categorical, continuous",
        missing="yes (its own bound: left out of the product)",
        blocks="z",
        adversaries="none",
        paper="Wu & Goodman 2018",
    )
    encoder_needs_labels = False
    measured: ClassVar[tuple[str, ...]] = (*Model.measured, "attributes.")

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 100,
        beta: float | str = "linear:0->1@20",
        label_weight: float | str = 10.0,
        **common: Unpack[Common],
    ) -> None:
        weights = {"kl_z": beta, "kl_views": beta, "labels": label_weight}
        super().__init__(shape, schema, frequencies, Blocks([Block("z", latent)]), weights, **common)
        self.trunk, features = networks.encoder(self.likelihood.input_shape, self.network)
        self.head = Head(features, latent)
        self.label_encoders = nn.ModuleList(
            nn.Sequential(networks.mlp(label.features, [64], 64), nn.SiLU(), Head(64, latent)) for label in schema
        )
        self.decoder = networks.decoder(latent, self.likelihood.output_shape, self.network)
        self.label_decoders = nn.ModuleList(networks.mlp(latent, [64], label.parameters) for label in schema)
        self.attributes = AttributeVectors(schema, latent)

    @classmethod
    def defaults(cls, shape: tuple[int, ...], labels: int) -> dict[str, Any]:
        return {**super().defaults(shape, labels), "beta": 1.0}  # recipes have fewer epochs than the annealing

    # -- p ------------------------------------------------------------------------------------------------------------

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        """p(z) times the experts of the observed labels."""
        observed = torch.ones_like(values, dtype=torch.bool) if observed is None else observed
        return Latents(self.blocks, {"z": product_of_experts(self._label_experts(values), list(observed.T))})

    def _labels(self, z: Tensor) -> LabelDistribution:
        """p(y | z)."""
        return self.schema.distribution(torch.cat([decoder(z).float() for decoder in self.label_decoders], -1))

    # -- q ------------------------------------------------------------------------------------------------------------

    def _label_experts(self, values: Tensor) -> list[DiagonalGaussian]:
        parts = self.schema.features(values).split(self.schema.feature_widths, -1)
        return [encoder(part) for encoder, part in zip(self.label_encoders, parts, strict=True)]

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        """The product of p(z), the expert of x, and the experts of the observed labels."""
        seen_x = torch.ones(len(x), dtype=torch.bool, device=x.device)
        experts = [self.head(self.trunk(self.likelihood.inputs(x))), *self._label_experts(values)]
        return Latents(self.blocks, {"z": product_of_experts(experts, [seen_x, *observed.T])})

    def label_distribution(self, x: Tensor) -> LabelDistribution:
        """p(y | z) at the mean of q(z | x)."""
        return self._labels(self.posterior(x, *self.known(x, None, None))["z"].mean)

    def log_likelihood(self, x: Tensor, values=None, observed=None, *, draws: int = 100, generator=None) -> Tensor:
        """Importance-weighted estimate of log p(x) in nats, ``(n,)``; labels, where given, only sharpen the proposal."""
        posterior = self.posterior(x, *self.known(x, values, observed))
        prior = posterior.map(lambda part: DiagonalGaussian.standard(len(x), part.mean.shape[1], x))
        with torch.no_grad():
            weights = torch.stack([self._log_weight(x, posterior, prior, generator) for _ in range(draws)])
        return weights.logsumexp(0) - torch.tensor(float(draws)).log()

    # -- training -----------------------------------------------------------------------------------------------------

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        return Losses({"model": lambda: self._model(batch, generator)}, self.weights())

    def _model(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        n = len(batch)
        experts = [self.head(self.trunk(self.likelihood.inputs(batch.x))), *self._label_experts(batch.values)]
        known = torch.cat([torch.ones_like(batch.observed[:, :1]), batch.observed], 1)  # x first
        # A random part of what is known: each view's share is random too, as in drawing a subset of a random size.
        share = torch.rand(n, 1, generator=generator, device=known.device)
        part = known & (torch.rand(known.shape, generator=generator, device=known.device) < share)
        of_x = torch.zeros_like(known)
        of_x[:, 0] = True
        views = {"x": of_x, "all": known, "part": part}
        for i, label in enumerate(self.schema):
            alone = torch.zeros_like(known)
            alone[:, i + 1] = batch.observed[:, i]
            views[f"y.{label.name}"] = alone
        reconstructions, label_terms, kls = [], [], []
        for view in views.values():
            posterior = product_of_experts(experts, list(view.T))
            z = posterior.sample(generator)
            standard = DiagonalGaussian.standard(n, z.shape[1], z)
            kls.append(torch.where(view.any(1), posterior.kl(standard), 0.0).mean())
            label_terms.append(-(self._labels(z).log_prob(batch.values) * view[:, 1:]).sum(1).mean())
            if bool(view[:, 0].any()):
                log_p = self.decode(Latents(self.blocks, {"z": z})).log_prob(batch.x)
                reconstructions.append(-torch.where(view[:, 0], log_p, 0.0).mean())
        return {
            "reconstruction": reconstructions[0],
            "kl_z": kls[0],
            "reconstruction_views": torch.stack(reconstructions[1:]).sum(),
            "kl_views": torch.stack(kls[1:]).sum(),
            "labels": torch.stack(label_terms).sum(),
        }

    def score(self, terms: dict[str, Tensor]) -> Tensor:
        """The negative sum of all ELBOs, without annealing."""
        weight = self.schedules["labels"].end
        return sum(
            (terms[name] for name in ("reconstruction", "kl_z", "reconstruction_views", "kl_views")), weight * terms["labels"]
        )

    # -- edits --------------------------------------------------------------------------------------------------------

    def calibrate(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Measures the attribute vectors that edits move along; z, which depends on the labels, is drawn from p(z | y)."""
        self.attributes.measure(batches(), lambda batch: self.posterior(batch.x, batch.values, batch.observed)["z"].mean)

    def intervene(self, codes: Latents[Tensor], label: str, value: Tensor, previous: Tensor) -> Latents[Tensor]:
        """Moves z along the label's attribute vector."""
        return codes.replace({"z": self.attributes.move(codes["z"], label, value, previous)})
