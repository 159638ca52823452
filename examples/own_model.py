"""pi-VAE (Zhou, Wei, NeurIPS 2020) without its flow, as a model of one's own.

For: codes that follow labels, known or guessed, as a prior over them says. Not for: edits of one attribute and nothing else:
there is no block for a label.

    p(z | u) = N(mean(u), scale(u)^2), factorised               p(x | z): likelihood of decoder(z)
    q(z | x, u): proportional to q(z | x) p(z | u), a product of Gaussians, whose precisions add up
    minimise  -log p(x | z) + beta * KL(q(z | x, u) || p(z | u)),   z ~ q(z | x, u)

u are the labels; one that is missing enters as its prior mean. ``beta = 1`` is the paper's ELBO.

Blocks: ``z``, free. Its prior depends on the labels, so an edit keeps the noise of a sample and exchanges the prior around it:
z = mean(u) + scale(u) * noise becomes mean(u') + scale(u') * noise.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from torch import Tensor, nn

import labelspace as ls
from labelspace.blocks import Block, Blocks, Latents, sample
from labelspace.data.batches import Batch
from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.distributions import DiagonalGaussian
from labelspace.evaluation.whole import evaluate
from labelspace.labels import Schema, categorical
from labelspace.models import networks
from labelspace.models.base import About, Common, Head, Losses, Model, kl_terms


@ls.register
class PiVAE(Model):
    """The pi-VAE; see the module for the objective.

    Args:
        shape, schema, frequencies: shape of one sample, the labels and their frequencies, from the data.
        latent: coordinates of ``z``.
        hidden: hidden units of the prior.
        beta: weight of the KL, a number or a schedule.
        **common: what x is like and how networks are built, as for every model (:class:`~labelspace.models.base.Common`).
    """

    about = About(
        purpose="codes that follow labels as a prior over them says",
        avoid="you want to change one attribute and nothing else: there is no block for a label",
        labels="binary, categorical, continuous",
        missing="yes (prior mean; predicted when encoding)",
        blocks="z",
        adversaries="none",
        paper="Zhou, Wei 2020 (without its flow)",
    )

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 8,
        hidden: int = 64,
        beta: float | str = 1.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(shape, schema, frequencies, Blocks([Block("z", latent)]), {"kl_z": beta}, **common)
        self.trunk, features = networks.encoder(self.likelihood.input_shape, self.network)
        self.head = Head(features, latent)
        self.label_prior = nn.Sequential(
            networks.mlp(schema.width, [hidden], hidden), nn.SiLU(), Head(hidden, latent, scale=1.0)
        )
        self.decoder = networks.decoder(latent, self.likelihood.output_shape, self.network)

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        return Latents(self.blocks, {"z": self.label_prior(self.schema.features(values, observed, self.label_features))})

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        q, p = self.head(self.trunk(self.likelihood.inputs(x))), self.prior(values, observed)["z"]
        precision = q.scale**-2 + p.scale**-2
        mean = (q.mean * q.scale**-2 + p.mean * p.scale**-2) / precision
        return Latents(self.blocks, {"z": DiagonalGaussian(mean, precision**-0.5)})

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        def model() -> dict[str, Tensor]:
            posterior = self.posterior(batch.x, batch.values, batch.observed)
            log_p = self.decode(sample(posterior, generator)).log_prob(batch.x)
            return {"reconstruction": -log_p.mean(), **kl_terms(posterior, self.prior(batch.values, batch.observed))}

        return Losses({"model": model}, self.weights())

    def intervene(self, codes: Latents[Tensor], label: str, value: Tensor, previous: Tensor) -> Latents[Tensor]:
        """The same noise around the prior of the new value; nothing is said of the other labels."""
        old, new = (self.prior(*self.only(label, values))["z"] for values in (previous, value))
        return codes.replace({"z": new.mean + new.scale * (codes["z"] - old.mean) / old.scale})


@ls.register_source
def rings(seed: int, n: int = 600, noise: float = 0.1) -> Dataset:
    """Points on two rings around the origin; label ring."""
    rng = np.random.default_rng(seed)
    ring, angle = np.arange(n) % 2, rng.uniform(0, 2 * np.pi, n)
    x = (1 + ring)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1) + noise * rng.standard_normal((n, 2))
    schema = Schema([categorical("ring", ["inner", "outer"])])
    return Dataset(
        "rings", x.astype(np.float32), ring[:, None].astype(np.float32), np.ones((n, 1), bool), schema, random_splits(n, seed)
    )


def main(out: Path, address: str, epochs: int) -> None:
    """Everything once: open, build, fit, save, load, set a label, generate, evaluate."""
    data = ls.open(address)
    torch.manual_seed(0)
    fitted = ls.fit(ls.build("pivae", data, latent=2), data, out=out / "run", epochs=epochs)
    model = ls.load(ls.save(fitted.model, out / "saved"))
    print(f"{type(model).__name__} on {address}: negative ELBO {fitted.best_score:.2f} nats a sample")
    label, rows = data.schema.labels[0], data.rows("test")
    for value in label.values:
        alike = data.samples(rows[data.values[rows, 0] == label.parse(value)])
        edited = ls.interventions.set(model, data.samples(rows), {label.name: value}, data.labels(rows))
        drawn = ls.interventions.generate(model, {label.name: value}, 200)
        means = ("data", alike), ("all set to it", edited.x), ("generated", drawn.x)
        print(f"{label.name}={value}, mean:", ", ".join(f"{what} {x.mean(0).numpy().round(1)}" for what, x in means))
    found = evaluate(model, data, depth="edits")
    print(f"labels told by x alone: {found['prediction'][label.name]['accuracy']['value']:.0%} right")
    print(f"edits that reach their value, by a judge: {found['manipulation']['labels'][label.name]['judge']['value']:.0%}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        main(Path(directory), sys.argv[1] if len(sys.argv) > 1 else "moons:n=3000", epochs=40)
