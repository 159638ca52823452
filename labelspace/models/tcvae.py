"""beta-TCVAE (Chen, Li, Grosse, Duvenaud, NeurIPS 2018).

For: coordinates of z that are independent of each other, without labels, and without a discriminator. Not for: setting or
transferring an attribute cleanly: labels are not used in training, and nothing else says which coordinate is which.

    p(z) = N(0, I)              p(x | z): likelihood of decoder(z)              q(z | x) = N(mean(x), scale(x)^2)
    q(z) = mean over the N training samples x_n of q(z | x_n)

The KL of the bound, averaged over the data, falls into three parts:

    E KL(q(z | x) || p(z))  =  I(z; n)  +  KL(q(z) || prod_j q(z_j))  +  sum_j KL(q(z_j) || p(z_j))
                               index-code       total correlation              of single coordinates

    minimise  -log p(x | z)  +  alpha * index-code  +  beta * total correlation  +  gamma * of single coordinates

q(z) is estimated from a minibatch of M + 1 samples, without a bias, by stratified sampling (the paper's appendix): at a draw of
q(z | x_i), sample i itself weighs 1 / N, one other (N - M) / (N M), and each of the remaining M - 1 others 1 / M.

Blocks: ``z``, free. ``beta = 1`` is the VAE with a noisier KL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from labelspace.blocks import sample
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import UserError
from labelspace.labels import Schema
from labelspace.models import schedules
from labelspace.models.base import About, Common, Losses
from labelspace.models.vae import VAE


class BetaTCVAE(VAE):
    """The beta-TCVAE; see the module for the objective.

    Args:
        shape: shape of one sample.
        schema: the labels; they are not used in training, only to measure the attribute vectors that edits move along.
        frequencies: label frequencies; kept for generation under drawn labels.
        latent: coordinates of ``z``.
        alpha: weight of the index-code mutual information, a number or a schedule.
        beta: weight of the total correlation, a number or a schedule.
        gamma: weight of the KL of single coordinates, a number or a schedule.
        population: training samples, which q(z) is an average over; ``labelspace.build`` and the command count them.
        **common: what x is like and how networks are built, as for every model (:class:`~labelspace.models.base.Common`).
    """

    about = About(
        purpose="coordinates that are independent of each other, without labels",
        avoid="you want to change one attribute and nothing else",
        labels="any (used for edits only)",
        missing="yes",
        blocks="z",
        adversaries="none",
        paper="Chen, Li, Grosse, Duvenaud 2018",
    )

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 32,
        alpha: float | str = 1.0,
        beta: float | str = 6.0,
        gamma: float | str = 1.0,
        population: int = 10_000,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(shape, schema, frequencies, latent, **common)
        if population < 1:
            raise UserError(f"population must be at least 1, got {population}")
        weights = {"kl_index_code": alpha, "kl_total_correlation": beta, "kl_coordinates": gamma}
        self.schedules = {name: schedules.parse(weight) for name, weight in weights.items()}
        self.population = population

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        posterior = self.posterior(batch.x, batch.values, batch.observed)
        codes = sample(posterior, generator)
        data = self.decode(codes)

        def model() -> dict[str, Tensor]:
            return {
                "reconstruction": -data.log_prob(batch.x).mean(),
                **decomposition(posterior["z"], codes["z"], self.population),
            }

        return Losses({"model": model}, self.weights())


def decomposition(q: DiagonalGaussian, z: Tensor, population: int) -> dict[str, Tensor]:
    """The three parts of the KL, estimated from a minibatch; they add up to the mean of log q(z | x) - log p(z).

    Args:
        q: posteriors of ``n`` samples.
        z: a draw of each, ``(n, d)``.
        population: samples in all.

    Returns:
        Scalars in nats: ``kl_index_code``, ``kl_total_correlation``, ``kl_coordinates``.
    """
    every = DiagonalGaussian(q.mean[None], q.scale[None]).log_prob_per_dimension(z[:, None])  # log q(z_i | x_j): (n, n, d)
    log_weights = stratified(len(z), population, z.device).log()
    log_q = (log_weights + every.sum(2)).logsumexp(1)
    log_apart = (log_weights[..., None] + every).logsumexp(1).sum(1)  # sum over coordinates of log q(z_j)
    log_p = DiagonalGaussian.standard(len(z), z.shape[1], z).log_prob(z)
    return {
        "kl_index_code": (q.log_prob(z) - log_q).mean(),
        "kl_total_correlation": (log_q - log_apart).mean(),
        "kl_coordinates": (log_apart - log_p).mean(),
    }


def stratified(n: int, population: int, device: torch.device | None = None) -> Tensor:
    """What each posterior of a minibatch counts in the estimate of q(z) at each draw, ``(n, n)``; rows sum to 1.

    Args:
        n: samples in the minibatch.
        population: samples in all; fewer than ``n`` are taken as ``n``.
        device: of the result.
    """
    others = n - 1
    if others == 0:  # all that is known of q(z) is this posterior
        return torch.ones(1, 1, device=device)
    own = 1 / max(population, n)
    weights = torch.full((n, n), 1 / others, device=device)
    weights.fill_diagonal_(own)
    place = torch.arange(n, device=device)
    weights[place, place.roll(-1)] = 1 / others - own  # (N - M) / (N M)
    return weights
