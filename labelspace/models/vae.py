"""VAE and beta-VAE (Kingma & Welling 2014; Higgins et al. 2017).

For: a baseline without labels; density estimation; free exploration of a data set.
Not for: setting or transferring an attribute cleanly. Labels are not used in training, so an edit can only move the code
along the difference of class means, and whatever correlates with the label moves too.

    p(z) = N(0, I)              p(x | z): likelihood of decoder(z)              q(z | x) = N(mean(x), scale(x)^2)
    minimise  -log p(x | z) + beta * KL(q(z | x) || p(z)),   z ~ q(z | x)

Blocks: ``z``, free. ``beta = 1`` is the VAE; a larger beta trades reconstruction for independent coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from labelspace import networks
from labelspace.blocks import Block, Blocks, Latents, concatenate, sample
from labelspace.data.batches import Batch
from labelspace.distributions import DataDistribution, DiagonalGaussian, build_likelihood
from labelspace.labels import Schema
from labelspace.models.base import About, Head, Losses, Model, kl_terms


class VAE(Model):
    """The (beta-)VAE; see the module for the objective.

    Args:
        shape: shape of one sample.
        schema: the labels; they are not used in training, only to measure the attribute vectors that edits move along.
        frequencies: label frequencies; kept for generation under drawn labels.
        latent: coordinates of ``z``.
        beta: weight of the KL, a number or a schedule.
        likelihood: bernoulli, gaussian or laplace.
        scale: standard deviation (gaussian) or scale (laplace) of p(x | z).
        learn_scale: learn that scale.
        network: how encoder and decoder are built.
    """

    about = About(
        purpose="baseline without labels; free exploration",
        avoid="you want to change one attribute and nothing else",
        labels="any (used for edits only)",
        missing="yes",
        blocks="z",
        adversaries="none",
        paper="Kingma & Welling 2014; Higgins et al. 2017 (beta)",
    )
    reads_labels = False
    attribute_vectors: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 32,
        beta: float | str = 1.0,
        likelihood: str = "bernoulli",
        scale: float = 0.1,
        learn_scale: bool = False,
        network: networks.Network = networks.Network(),
    ) -> None:
        blocks = Blocks([Block("z", latent)])
        super().__init__(shape, schema, frequencies, blocks, build_likelihood(likelihood, scale, learn_scale), {"kl_z": beta})
        self.trunk, features = networks.encoder(self.shape, network)
        self.head = Head(features, latent)
        self.decoder = networks.decoder(latent, self.shape, network)
        # Mean code of every value of every discrete label (continuous labels: slope of the code on the standardised
        # value), measured by calibrate; edits move along their differences.
        self.register_buffer("attribute_vectors", torch.zeros(schema.width, latent))

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        return Latents(self.blocks, {"z": self.head(self.trunk(x))})

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        standard = DiagonalGaussian.standard(len(values), self.blocks.size, values)
        return Latents(self.blocks, {"z": standard})

    def decode(self, codes: Latents[Tensor]) -> DataDistribution:
        return self.likelihood(self.decoder(concatenate(codes)).float())

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        posterior = self.posterior(batch.x, batch.values, batch.observed)
        data = self.decode(sample(posterior, generator))

        def model() -> dict[str, Tensor]:
            return {
                "reconstruction": -data.log_prob(batch.x).mean(),
                **kl_terms(posterior, self.prior(batch.values)),
            }

        return Losses({"model": model}, self.weights())

    @torch.no_grad()
    def calibrate(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Least squares of the mean code on the label features, one label at a time: class means for discrete labels.

        For a label with features f the vectors are the slope of z on f, so that moving from f to f' adds (f' - f) @ slope;
        for a binary label that is the difference of the two class means.
        """
        width, latent = self.attribute_vectors.shape
        owner = torch.repeat_interleave(torch.arange(len(self.schema)), torch.tensor(self.schema.feature_widths))
        sums = torch.zeros(4, width, latent, dtype=torch.float64)  # per feature: sum fz, sum f, sum z, sum f^2
        counts = torch.zeros(width, 1, dtype=torch.float64)
        for batch in batches():
            z = self.posterior(batch.x, batch.values, batch.observed)["z"].mean.double().cpu()
            seen = batch.observed[:, owner].double().cpu()
            f = self.schema.features(batch.values).double().cpu() * seen
            sums += torch.stack(
                [f.T @ z, f.sum(0)[:, None].expand(-1, latent), seen.T @ z, (f**2).sum(0)[:, None].expand(-1, latent)]
            )
            counts += seen.sum(0)[:, None]
        fz, f, z, ff = sums / counts.clamp_min(1)
        slope = (fz - f * z) / (ff - f**2).clamp_min(1e-8)
        # One-hot features: the class mean itself, so that differences of rows are differences of class means.
        for label, rows in zip(self.schema, torch.arange(width).split(self.schema.feature_widths), strict=True):
            if label.kind == "categorical":
                slope[rows] = fz[rows] / f[rows].clamp_min(1e-8)
        self.attribute_vectors.copy_(slope)

    def place(self, codes: Latents[Tensor], label: str, value: Tensor, previous: Tensor) -> Latents[Tensor]:
        """Moves z along the label's attribute vector: z - m(previous) + m(value) with class means m (as Klys et al. 2018
        edit with a VAE)."""
        before, after = (self.schema.features(self.only(label, v)[0]) for v in (previous, value))
        mine = self.schema.spread(self.only(label, value)[1])
        return codes.replace({"z": codes["z"] + ((after - before) * mine) @ self.attribute_vectors})
