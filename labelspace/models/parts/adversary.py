"""Adversaries: small networks that read labels off codes, and what their answers cost the model that makes the codes.

An adversary is any network from a code to ``schema.parameters`` numbers. It minimises :func:`cross_entropy` with the code
detached; the model minimises :func:`negative_entropy` or :func:`divergence` of its answer, with the adversary frozen.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelspace.blocks import Block
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import LabelDistribution, Schema

_RARE = 0.01  # frequencies below it weigh as it does: a single sample must not outweigh a batch
_FLAT = 1e-5  # of a variance: a coordinate that does not vary is not blown up


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Inside, what is computed with these modules leaves no gradient on their parameters, only on their inputs."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def cross_entropy(answer: LabelDistribution, values: Tensor, observed: Tensor | None, weights: Tensor | None = None) -> Tensor:
    """Cross entropy of an answer in nats, averaged over the samples that have each label, ``(..., labels)``.

    Args:
        answer: of ``(..., n)`` samples.
        values, observed: ``(n, labels)``; None where all are observed.
        weights: ``(n, labels)`` of samples, of mean 1 (:func:`class_weights`); by default all weigh alike.
    """
    nats = -answer.log_prob(values)
    nats = nats if weights is None else nats * weights
    if observed is None:
        return nats.mean(-2)
    return torch.where(observed, nats, 0.0).sum(-2) / observed.sum(0).clamp_min(1)


def class_weights(marginal: LabelDistribution, values: Tensor) -> Tensor:
    """Weights of samples under which all classes of a label are alike frequent, ``(n, labels)``; 1 for numbers.

    Args:
        marginal: p(y), for one sample.
        values: ``(n, labels)``.
    """
    sizes = [len(label.values) for label in marginal.schema]
    p = marginal.log_prob(values).exp().clamp_min(_RARE)
    weights = 1 / (values.new_tensor([max(1, size) for size in sizes]) * p)
    if all(sizes):
        return weights
    return torch.where(torch.tensor([size > 0 for size in sizes], device=values.device), weights, 1.0)


def divergence(answer: LabelDistribution, marginal: LabelDistribution) -> Tensor:
    """KL(p(y) || answer) in nats, averaged over samples, ``(labels,)``: 0 where the code does not tell the label."""
    return marginal.kl_to(answer).mean(-2)


def negative_entropy(answer: LabelDistribution, marginal: LabelDistribution) -> Tensor:
    """Negative entropy of an answer in nats, averaged over samples, ``(labels,)`` (Klys et al. 2018).

    It is least where the answer is uniform. No answer about a number is: of a continuous label it is :func:`divergence`.
    """
    discrete = torch.tensor([label.discrete for label in answer.schema], device=marginal.parameters.device)
    return torch.where(discrete, -answer.entropy().mean(0), divergence(answer, marginal))


def between_mean_and_draw(part: DiagonalGaussian, generator: torch.Generator) -> Tensor:
    """Points ``(n, size)`` between the mean and a draw: an adversary that was trained on them reads both."""
    strength = torch.rand(len(part.mean), 1, generator=generator, device=part.mean.device)
    return DiagonalGaussian(part.mean, part.scale * strength).sample(generator)


def standardized(codes: Tensor) -> Tensor:
    """Codes ``(n, size)`` at mean 0 and deviation 1 over the batch, for an adversary to read.

    Codes that move or grow as a whole gain nothing on an adversary that reads them so: it need not follow them, and their
    gradient has no such direction (Ioffe and Szegedy 2015, without scale and shift).
    """
    away = codes - codes.mean(0)
    return away * (away.square().mean(0) + _FLAT).rsqrt()


class ParallelMLP(nn.Module):
    """Several multilayer perceptrons of the same shape, side by side: ``(networks, n, inputs) -> (networks, n, outputs)``.

    Args:
        networks: how many.
        sizes: inputs, hidden units and outputs of each.
        fan_in: inputs of each network that are not always zero; their number sets the scale of its first weights.
    """

    def __init__(self, networks: int, sizes: Sequence[int], fan_in: Sequence[int]) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            fan = torch.tensor([float(n) for n in fan_in]) if i == 0 else torch.full((networks,), float(inputs))
            bound = fan.clamp_min(1).rsqrt()[:, None, None]
            self.weights.append(nn.Parameter((2 * torch.rand(networks, inputs, outputs) - 1) * bound))
            self.biases.append(nn.Parameter((2 * torch.rand(networks, 1, outputs) - 1) * bound))
        with torch.no_grad():  # before they have learnt anything they say nothing
            self.weights[-1].zero_()
            self.biases[-1].zero_()

    def forward(self, x: Tensor) -> Tensor:
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, F.silu(x) if i else x, weight)
        return x


class BlockAdversaries(nn.Module):
    """One small adversary per block of a label, for the *other* labels: what one block may not carry must not move to another.

    A block follows its own label, so it tells of another label at least what that one tells of it. Every adversary
    is therefore given the label of its block, and its answer is that of a baseline, which has nothing but this label, changed
    by what it reads in the block: the two are compared. Where labels are independent, the baseline is p(y).

    Args:
        blocks: of the labels, in the order of the schema.
        schema: the labels.
        hidden: hidden units of each adversary.
    """

    other: Tensor
    columns: Tensor
    features: Tensor

    def __init__(self, blocks: Sequence[Block], schema: Schema, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        self.schema, n = schema, len(blocks)
        sizes, widths = [block.size for block in blocks], schema.feature_widths
        self.networks = ParallelMLP(
            n, [max(sizes) + max(widths), *hidden, schema.parameters], [a + b for a, b in zip(sizes, widths, strict=True)]
        )
        self.baselines = ParallelMLP(n, [max(widths), 32, schema.parameters], widths)
        self.register_buffer("columns", _columns(sizes), persistent=False)
        self.register_buffer("features", _columns(widths), persistent=False)
        self.register_buffer("other", (~torch.eye(n, dtype=torch.bool)).flatten().nonzero()[:, 0], persistent=False)

    def forward(self, codes: Tensor, labels: Tensor) -> tuple[LabelDistribution, LabelDistribution]:
        """The answers of adversaries and baselines about all labels, ``(blocks, n)`` distributions each.

        Args:
            codes: ``(n, width)``, all blocks side by side.
            labels: ``(n, schema.width)`` features of all labels.
        """
        own = _gathered(labels, self.features)
        baseline = self.baselines(own).float()
        answer = self.networks(torch.cat([_gathered(codes, self.columns), own], -1)).float()
        return self.schema.distribution(baseline.detach() + answer), self.schema.distribution(baseline)

    def pairs(self, of_blocks: Tensor) -> Tensor:
        """Of ``(blocks, labels)`` the entries about other labels than the block's, ``(labels * (labels - 1),)``."""
        # by position: a mask would have to be counted, which waits for a GPU
        return of_blocks.flatten().index_select(0, self.other)

    @property
    def pair_names(self) -> tuple[str, ...]:
        """``block's label.other label`` of the entries of :meth:`pairs`."""
        names = self.schema.names
        return tuple(f"{block}.{label}" for block in names for label in names if block != label)


def _columns(sizes: Sequence[int]) -> Tensor:
    """Columns of each part, ``(parts, max(sizes))``, among all side by side; where there are none, one behind the last."""
    last, starts = sum(sizes), [sum(sizes[:i]) for i in range(len(sizes))]
    places = range(max(sizes))
    rows = [[start + k if k < size else last for k in places] for start, size in zip(starts, sizes, strict=True)]
    return torch.tensor(rows)


def _gathered(side_by_side: Tensor, columns: Tensor) -> Tensor:
    """``(n, width) -> (parts, n, size)`` by :func:`_columns`, with zeros where a part is smaller than the others."""
    parts, size = columns.shape
    padded = F.pad(side_by_side, (0, 1))
    return padded.index_select(1, columns.flatten()).view(len(padded), parts, size).transpose(0, 1)
