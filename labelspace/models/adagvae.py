"""Ada-GVAE (Locatello, Poole, Raetsch, Schoelkopf, Bachem, Tschannen, ICML 2020).

For: coordinates that each follow one factor, where all that is known are pairs of samples which have some factors in common,
and not which. Not for: setting or transferring an attribute cleanly: no coordinate is told which label it is to follow.

    p(z) = N(0, I)              p(x | z): likelihood of decoder(z)              q(z | x) = N(mean(x), scale(x)^2)

For a pair (x, x') the coordinates that seem to be shared are found, and their posteriors are made one:

    d_j = KL(q(z_j | x) || q(z_j | x'))         threshold: halfway between the least and the largest d_j
    q~(z_j | x) = N((mean + mean') / 2, (scale^2 + scale'^2) / 2)  where d_j is below the threshold,  q(z_j | x)  elsewhere
    minimise  -log p(x | z) + beta * KL(q~(z | x) || p(z)),   z ~ q~(z | x)

Pairs are formed in every batch, from labels (:func:`partners`): for each sample some of the labels are drawn, and its partner
is one of the samples that have the same values of most of them. The model is not told which labels those were. A sample that
shares no known label with any other of the batch stays as it is.

Blocks: ``z``, free.
"""

from __future__ import annotations

import torch
from torch import Tensor

from labelspace.blocks import sample
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.models.base import About, Losses, kl_terms
from labelspace.models.vae import VAE


class AdaGVAE(VAE):
    """The Ada-GVAE; see the module for the objective.

    Args:
        *args, **rest: the arguments of :class:`~labelspace.models.vae.VAE`. Labels say which samples are paired.
    """

    about = About(
        purpose="one coordinate for each factor, from pairs of samples that share some of them",
        avoid="you know which label should be where, or want to change one attribute and nothing else",
        labels="binary, categorical (used for pairs and edits)",
        missing="yes (such samples are paired by what is known)",
        blocks="z",
        adversaries="none",
        paper="Locatello et al. 2020",
    )
    label_kinds = ("binary", "categorical")
    paired = True

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        posterior = self.posterior(batch.x, batch.values, batch.observed)
        q = posterior["z"]
        partner, paired = partners(batch.values, batch.observed, generator)
        posterior = posterior.replace({"z": averaged(q, q[partner], paired)})
        data = self.decode(sample(posterior, generator))

        def model() -> dict[str, Tensor]:
            return {"reconstruction": -data.log_prob(batch.x).mean(), **kl_terms(posterior, self.prior(batch.values))}

        return Losses({"model": model}, self.weights())


def partners(values: Tensor, observed: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each sample of a batch another one that has labels in common with it.

    Args:
        values, observed: ``(n, labels)``, values of discrete labels.
        generator: of which labels a pair is to share, and of the choice among samples that share as many.

    Returns:
        ``(n,)`` positions, and ``(n,)`` bool whether the two have the value of any label in common at all.
    """
    n, labels = values.shape
    same = (values[:, None] == values) & observed[:, None] & observed  # (n, n, labels)
    same &= ~torch.eye(n, dtype=torch.bool, device=values.device)[..., None]
    # Each label is asked for or not, at random, and one of them always.
    asked = torch.rand(n, labels, generator=generator, device=values.device) < 0.5
    always = torch.randint(labels, (n, 1), generator=generator, device=values.device)
    asked = asked.scatter(1, always, True)
    shared = (same & asked[:, None]).sum(2)
    chosen = (shared + torch.rand(n, n, generator=generator, device=values.device)).argmax(1)
    found = shared.gather(1, chosen[:, None])[:, 0] > 0
    return chosen, found


def averaged(q: DiagonalGaussian, other: DiagonalGaussian, paired: Tensor) -> DiagonalGaussian:
    """Posteriors with the coordinates that seem to be shared with a partner averaged over both.

    Args:
        q, other: posteriors ``(n, d)`` of samples and of their partners.
        paired: ``(n,)`` bool, which samples have a partner.
    """
    shared = shared_coordinates(q, other) & paired[:, None]
    variance = (q.scale.square() + other.scale.square()) / 2
    return DiagonalGaussian(
        torch.where(shared, (q.mean + other.mean) / 2, q.mean), torch.where(shared, variance.sqrt(), q.scale)
    )


@torch.no_grad()
def shared_coordinates(q: DiagonalGaussian, other: DiagonalGaussian) -> Tensor:
    """Coordinates whose KL lies below the middle between the least and the largest of the pair, ``(n, d)`` bool."""
    kl = q.kl_per_dimension(other)
    return kl < (kl.amin(1, keepdim=True) + kl.amax(1, keepdim=True)) / 2
