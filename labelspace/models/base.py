"""What every model is: named latent blocks, a decoder, and players that minimise their own terms.

A model is a plain ``nn.Module``. A model file adds only what its paper adds; everything that all models do alike is here.
Shapes: ``x (n, *shape)``, ``values`` and ``observed`` ``(n, labels)`` as in :mod:`labelspace.labels`.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from labelspace import schedules
from labelspace.blocks import Blocks, Latents, modes, sample
from labelspace.data.batches import Batch
from labelspace.distributions import DataDistribution, DiagonalGaussian, Likelihood
from labelspace.errors import UserError
from labelspace.labels import LabelDistribution, Schema


@dataclass(frozen=True)
class Player:
    """Who owns which parameters, and how often and how fast they step.

    Attributes:
        parameters: the player's own parameters; no other player has them.
        steps: optimiser steps per batch.
        reader: whether the player only reads codes (an adversary, a label head). Readers are small and must keep up with a
            model that slows down: they train with Adam at a constant learning rate.
    """

    parameters: list[nn.Parameter]
    steps: int = 1
    reader: bool = False


@dataclass
class Losses:
    """The terms of one batch.

    Each player has an objective: a function that computes the player's raw terms (nats per sample: summed over dimensions,
    averaged over the batch) from one shared forward pass. It may be called several times; a player that takes three
    steps calls it three times. A term is a scalar, or a vector whose entries :meth:`Model.term_names` names.

    Attributes:
        objectives: player name -> function that returns the player's terms.
        weights: term name -> weight, a number or a vector; terms that are not listed weigh 1.
        terms: every term that was computed last, detached.
    """

    objectives: dict[str, Callable[[], dict[str, Tensor]]]
    weights: dict[str, float | Tensor] = field(default_factory=dict)
    terms: dict[str, Tensor] = field(default_factory=dict)

    def objective(self, player: str) -> Tensor:
        """The scalar that a player minimises: the weighted sum of its terms."""
        terms = self.objectives[player]()
        self.terms.update({name: term.detach() for name, term in terms.items()})
        weighted = [(term * self.weights.get(name, 1.0)).sum() for name, term in terms.items()]
        return functools.reduce(torch.add, weighted)


@dataclass(frozen=True)
class About:
    """What ``labelspace models`` prints."""

    purpose: str
    avoid: str
    labels: str
    missing: str
    blocks: str
    adversaries: str
    paper: str


class Model(nn.Module):
    """Base of all models.

    Args:
        shape: shape of one sample, ``(d,)`` or ``(channels, height, width)``.
        schema: the labels.
        frequencies: label frequencies of the training data (:func:`labelspace.labels.frequencies`); None is uniform.
        blocks: the model's latent blocks.
        likelihood: p(x | codes), as a module that reads the decoder's raw output.
        weights: term name -> weight (a number, or the text of a schedule, see :mod:`labelspace.schedules`).
    """

    about: ClassVar[About]
    reads_labels: ClassVar[bool] = True  # whether the encoder reads labels
    arguments: dict[str, Any]
    label_features: Tensor
    label_parameters: Tensor

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Records the arguments that an instance was made with: they are its configuration."""
        super().__init_subclass__(**kwargs)
        if "__init__" not in cls.__dict__:
            return
        make = cls.__init__

        @functools.wraps(make)
        def recorded(self, *args: Any, **given: Any) -> None:
            bound = inspect.signature(make).bind(self, *args, **given)
            bound.apply_defaults()
            arguments = {name: value for name, value in bound.arguments.items() if name != "self"}
            make(self, *args, **given)
            if type(self) is cls:
                self.arguments = arguments

        cls.__init__ = recorded  # type: ignore[method-assign]

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None,
        blocks: Blocks,
        likelihood: Likelihood,
        weights: dict[str, float | str],
    ) -> None:
        super().__init__()
        self.shape, self.schema, self.blocks = tuple(shape), schema, blocks
        self.likelihood = likelihood
        self.schedules = {name: schedules.parse(weight) for name, weight in weights.items()}
        if frequencies is None:
            frequencies = [[1 / len(label.values)] * len(label.values) if label.discrete else [] for label in schema]
        self.register_buffer("label_features", schema.prior_features(frequencies), persistent=False)
        self.register_buffer("label_parameters", schema.prior_parameters(frequencies), persistent=False)
        # Time, set by whoever trains the model: for schedules in epochs, and as a fraction of all training.
        self.epoch, self.progress = 0.0, 1.0

    @classmethod
    def defaults(cls, shape: tuple[int, ...], labels: int) -> dict[str, Any]:
        """Arguments that suit data of a shape with so many labels, where they differ from the constructor's own."""
        return {}

    @classmethod
    def recipe(cls, shape: tuple[int, ...], n: int) -> dict[str, Any]:
        """Training options (:class:`labelspace.training.Options`) that suit ``n`` samples of a shape.

        By default, as many epochs as make about 1,000 steps of 128 samples, at least 20.
        """
        return {"epochs": max(20, -(-1000 * 128 // max(1, n)))}

    # -- what a model file defines ------------------------------------------------------------------------------------

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        """q(codes | x, y), block by block. Models whose encoders read labels need them all (see :meth:`complete`)."""
        raise NotImplementedError

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        """p(codes | y), block by block; a missing label is replaced by its prior mean."""
        raise NotImplementedError

    def decode(self, codes: Latents[Tensor]) -> DataDistribution:
        """p(x | codes)."""
        raise NotImplementedError

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        """The terms of a batch for every player."""
        raise NotImplementedError

    def players(self) -> dict[str, Player]:
        """Player name -> player, in the order in which they step on a batch. "model" is the generative model's own."""
        return {"model": Player(list(self.parameters()))}

    def score(self, terms: dict[str, Tensor]) -> Tensor:
        """What is compared to find the best epoch, from validation terms; lower is better. The default: the negative ELBO."""
        return torch.stack([term.sum() for name, term in terms.items() if name.startswith(("reconstruction", "kl_"))]).sum()

    def term_names(self) -> dict[str, tuple[str, ...]]:
        """Names of the entries of every vector term, for logs."""
        return {}

    def adapt(self, losses: Losses) -> None:
        """Called after all players have stepped on a batch: multipliers that balance terms move here."""

    def calibrate(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Called with the training data when the weights are final: what edits need to know about the codes is kept here."""

    def label_distribution(self, x: Tensor) -> LabelDistribution:
        """The model's own q(y | x). Raises UserError where the model does not define one."""
        raise UserError(f"{type(self).__name__} does not predict labels; csvae does")

    def place(self, codes: Latents[Tensor], label: str, value: Tensor, previous: Tensor) -> Latents[Tensor]:
        """Codes with one label moved to new values: the point of the block's prior, unless a model knows better.

        Args:
            codes: the codes of ``n`` samples.
            label: which label.
            value: ``(n,)`` new values.
            previous: ``(n,)`` values that the codes have now.
        """
        block = self.blocks.of(label)
        return codes.replace({block.name: modes(self.prior(*self.only(label, value)))[block.name]})

    # -- what all models do alike -------------------------------------------------------------------------------------

    def weights(self) -> dict[str, float | Tensor]:
        """Term weights at the current time."""
        return {name: schedule(self.epoch) for name, schedule in self.schedules.items()}

    def only(self, label: str, value: Tensor) -> tuple[Tensor, Tensor]:
        """``values`` and ``observed`` that say one label's values and nothing about the others."""
        values = value.new_zeros(len(value), len(self.schema))
        values[:, self.schema.index(label)] = value
        observed = torch.zeros_like(values, dtype=torch.bool)
        observed[:, self.schema.index(label)] = True
        return values, observed

    def complete(self, x: Tensor, values: Tensor | None, observed: Tensor | None) -> Tensor:
        """``values`` with every missing entry filled by the model's own prediction for x."""
        if values is not None and (observed is None or bool(observed.all())):
            return values
        predicted = self.label_distribution(x).mode()
        return predicted if values is None or observed is None else torch.where(observed, values, predicted)

    def encode(self, x: Tensor, values: Tensor | None = None, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        """The posterior of samples whose labels may be missing in part or altogether."""
        if len(self.schema) == 0 or not self.reads_labels:
            values = x.new_zeros(len(x), len(self.schema))
            return self.posterior(x, values, torch.zeros_like(values, dtype=torch.bool))
        values = self.complete(x, values, observed)
        return self.posterior(x, values, torch.ones_like(values, dtype=torch.bool))

    @torch.no_grad()
    def predict(self, x: Tensor) -> LabelDistribution:
        """Distributions over the labels of samples. Raises UserError where the model does not define one."""
        return self.label_distribution(x)

    @torch.no_grad()
    def log_likelihood(
        self,
        x: Tensor,
        values: Tensor | None = None,
        observed: Tensor | None = None,
        *,
        draws: int = 100,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Importance-weighted estimate of log p(x | y) in nats, ``(n,)``; a lower bound that tightens with ``draws``."""
        posterior = self.encode(x, values, observed)
        values = self.complete(x, values, observed) if self.reads_labels else x.new_zeros(len(x), len(self.schema))
        prior = self.prior(values)
        weights = []
        for _ in range(draws):
            codes = sample(posterior, generator)
            ratio = [prior[name].log_prob(code) - posterior[name].log_prob(code) for name, code in codes.items()]
            weights.append(self.decode(codes).log_prob(x) + torch.stack(ratio).sum(0))
        return torch.logsumexp(torch.stack(weights), 0) - math.log(draws)

    @torch.no_grad()
    def generate(self, values: Tensor, observed: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """New samples under labels: the mean of p(x | codes) at a draw of the prior; ``(n, *shape)``.

        Labels that are not observed are drawn from their frequencies.
        """
        drawn = self.schema.distribution(self.label_parameters.expand(len(values), -1)).sample(generator)
        values = drawn if observed is None and values.numel() == 0 else values
        if observed is not None:
            values = torch.where(observed, values, drawn)
        return self.decode(sample(self.prior(values), generator)).mean


class Head(nn.Module):
    """A Gaussian posterior from features: a linear layer to means and to softplus scales.

    Scales stay above 1e-3 so that no KL is infinite; means and scales are float32 whatever the precision of the trunk.
    """

    def __init__(self, inputs: int, size: int, scale: float = 0.5) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 2 * size)
        self.offset = math.log(math.expm1(scale))

    def forward(self, features: Tensor) -> DiagonalGaussian:
        mean, raw = self.linear(features).float().chunk(2, dim=-1)
        return DiagonalGaussian(mean, nn.functional.softplus(raw + self.offset) + 1e-3)


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


def kl_terms(posterior: Latents[DiagonalGaussian], prior: Latents[DiagonalGaussian]) -> dict[str, Tensor]:
    """KL(posterior || prior) of every block, averaged over the batch: ``kl_<block>`` -> scalar."""
    return {f"kl_{name}": part.kl(prior[name]).mean() for name, part in posterior.items()}
