"""A free code that must not tell labels: an adversary that reads them, and weights that find themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import unknown
from labelspace.labels import LabelDistribution, Schema
from labelspace.models import networks
from labelspace.models.parts.adversary import (
    between_mean_and_draw,
    class_weights,
    cross_entropy,
    frozen,
    standardized,
)
from labelspace.models.parts.dual_ascent import DualAscent

Balance = Literal["paper", "dual"]
"""Who finds the weight of a leak: the one who chooses a number, as in the papers, or dual ascent."""

Terms = Callable[[], dict[str, Tensor]]

_LEAST = 0.05  # of a label's largest entropy: where less of it is open, that counts as open
_OUTVOTED = 2.0  # how much stronger a reader's gradient on a code may be than the decoder's
_MOST = 100.0  # the largest weight: under larger ones codes run from the adversary, and tell more


class _Balanced(torch.autograd.Function):
    """See :func:`balanced`."""

    @staticmethod
    def forward(ctx: Any, draw: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        return draw.view_as(draw), torch.cat([draw, mean])

    @staticmethod
    def backward(ctx: Any, decoded: Tensor, read: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        of_draw, of_mean = read.chunk(2)
        pull = (of_draw + of_mean).norm()
        part = (_OUTVOTED * decoded.norm() / pull.clamp_min(torch.finfo(pull.dtype).tiny)).clamp_max(1.0)
        return decoded + part * of_draw, part * of_mean


def balanced(draw: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """A code to decode, and the same beside its mean, ``(2 n, size)``, for a reader from whom it is to be kept.

    Going back, the reader's gradient is scaled down to at most twice the norm that the decoder's has on the batch. Where the
    two balance each other, it is not larger than that; a larger one would have the code run from the reader and tell nobody
    anything, and of a code that the decoder does not read it leaves nothing.

    Args:
        draw, mean: of a posterior, ``(n, size)``.
    """
    return _Balanced.apply(draw, mean)  # type: ignore[no-any-return]


def is_dual(independence: Balance) -> bool:
    """Whether dual ascent is asked for. Raises UserError for a word that is none of a :data:`Balance`."""
    if independence not in ("paper", "dual"):
        raise unknown("independence", independence, ("paper", "dual"))
    return independence == "dual"


def share_of_open(said: Tensor, chance: Tensor, largest: Tensor) -> Tensor:
    """What an adversary says, and what is open, in nats, ``(2, ...)``: what dual ascent's shares are of.

    Args:
        said: its cross entropies.
        chance: those of one who does not read the code.
        largest: the largest entropy of each label, 0 of numbers: of these a bit counts as open.
    """
    open_ = torch.where(largest > 0, torch.maximum(chance, _LEAST * largest), math.log(2))
    return torch.stack([chance - said, open_])


class Independence(nn.Module):
    """Keeps labels out of a code, all classes of a label weighing alike.

    The adversary minimises its cross entropy on codes, detached (:meth:`read_losses`); the model minimises
    KL(h || q(y | code)), h the answer of one who knows nothing, with the adversary frozen (:meth:`leak`). Codes are
    standardised over the batch before they are read. One weight per label grows by dual ascent while the adversary says more
    than ``allowed`` of what is open of the label.

    Args:
        size: coordinates of the code.
        schema: the labels.
        start: first weight; above 100 it does not grow.
        allowed: share of what is open of a label that may be said.
        hidden: hidden units of the adversary.

    Attributes:
        entropies: the largest entropy of every label in nats, ``(labels,)``; 0 of numbers.
    """

    entropies: Tensor

    def __init__(
        self, size: int, schema: Schema, *, start: float = 20.0, allowed: float = 0.03, hidden: Sequence[int] = (256, 256)
    ) -> None:
        super().__init__()
        self.schema = schema
        self.adversary = networks.mlp(size, list(hidden), schema.parameters)
        self.weight = DualAscent(len(schema), allowed=allowed, start=start, most=max(start, _MOST))
        entropies = [math.log(max(1, len(label.values))) for label in schema]
        self.register_buffer("entropies", torch.tensor(entropies), persistent=False)

    def read(self, code: Tensor) -> LabelDistribution:
        """What the adversary reads in codes ``(n, size)``, as they lie to each other."""
        return self.schema.distribution(self.adversary(standardized(code)).float())

    def nothing(self, n: int) -> LabelDistribution:
        """The answer of one who knows nothing and for whom all classes weigh alike, for ``n`` samples."""
        return self.schema.distribution(self.entropies.new_zeros(n, self.schema.parameters))

    def read_losses(self, code: Tensor, batch: Batch, weights: Tensor, chance: Tensor) -> dict[str, Tensor]:
        """The adversary's terms: ``adversary``, and ``adversary_chance``, which has no gradient, ``(labels,)`` in nats.

        Args:
            code: ``(n, size)``, detached.
            batch: the samples.
            weights: of samples under which classes are alike (:func:`~labelspace.models.parts.class_weights`).
            chance: of the batch, see :meth:`chance`.
        """
        return {"adversary": cross_entropy(self.read(code), batch.values, batch.known, weights), "adversary_chance": chance}

    def chance(self, batch: Batch, weights: Tensor) -> Tensor:
        """The cross entropy of one who knows nothing, ``(labels,)`` in nats, the same however often the adversary steps."""
        return cross_entropy(self.nothing(len(batch)), batch.values, batch.known, weights)

    def leak(self, code: Tensor, weights: Tensor) -> Tensor:
        """The model's term against what codes tell, ``(labels,)`` in nats; the adversary is to be frozen."""
        return (weights * self.nothing(1).kl_to(self.read(code))).mean(0)

    def game(
        self, batch: Batch, q: DiagonalGaussian, draw: Tensor, marginal: LabelDistribution, generator: torch.Generator
    ) -> tuple[Terms, Terms]:
        """Both sides' terms, for a model that has nothing else against the leak: the model's and the adversary's.

        Args:
            batch: the samples.
            q, draw: posterior of the code, and a draw of it, ``(n, size)``.
            marginal: p(y), for one sample.
            generator: of the points between mean and draw that the adversary reads.
        """
        weights = torch.where(batch.observed, class_weights(marginal, batch.values), 1.0)
        chance = self.chance(batch, weights)

        def adversary() -> dict[str, Tensor]:
            return self.read_losses(between_mean_and_draw(q.detach(), generator), batch, weights, chance)

        def model() -> dict[str, Tensor]:
            with frozen(self):
                return {"leak": self.leak(torch.cat([draw, q.mean]), weights.repeat(2, 1))}

        return model, adversary

    def told(self, terms: dict[str, Tensor]) -> Tensor:
        """What the adversary says, and what is open, ``(2, labels)`` in nats."""
        return share_of_open(terms["adversary"], terms["adversary_chance"], self.entropies)

    def update(self, terms: dict[str, Tensor], seen: Tensor) -> None:
        """Dual ascent, for labels that any sample of the batch had."""
        self.weight.update(self.told(terms), seen)

    def excess(self, terms: dict[str, Tensor]) -> Tensor:
        """What is said beyond twice what may be, which is no noise, at the first weight; a scalar."""
        return self.weight.excess(self.told(terms))
