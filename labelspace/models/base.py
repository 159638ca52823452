"""What every model is: named latent blocks, a decoder, and players that minimise their own terms.

A model is a plain ``nn.Module``. A model file adds only what its paper adds; everything that all models do alike is here.
Shapes: ``x (n, *shape)``, ``values`` and ``observed`` ``(n, labels)`` as in :mod:`labelspace.labels`.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypedDict, overload

import numpy as np
import torch
from torch import Tensor, nn

from labelspace.blocks import Blocks, Latents, concatenate, modes, sample
from labelspace.data.batches import Batch
from labelspace.data.dataset import Dataset
from labelspace.data.images import Framing
from labelspace.data.store import Progress
from labelspace.distributions import DiagonalGaussian, Point
from labelspace.errors import UserError, note, option, unknown
from labelspace.labels import Kind, LabelDistribution, Schema
from labelspace.likelihoods import DataDistribution, build_likelihood
from labelspace.models import schedules
from labelspace.models.aggregate import AggregatePosterior
from labelspace.models.networks import Network
from labelspace.models.of_data import Codes, Predictions, encoded, predicted
from labelspace.models.parts import Choice, TypicalPoints, posterior_from_bounds, related
from labelspace.variables import Variable

FROM_DATA = ("shape", "schema", "frequencies")
"""Arguments of every model's constructor that come from the data."""

_CODES = 20_000  # so many samples, in random order, tell where codes lie

Source = Literal["codes", "prior"]
"""What codes of new samples are drawn from."""


class Common(TypedDict, total=False):
    """What every model's constructor takes, by name, and hands on to :class:`Model`, which says what it is."""

    likelihood: str
    scale: float | Literal["auto"]
    learn_scale: bool
    network: Network


@dataclass(frozen=True)
class Player:
    """Who owns which parameters, and how often and how fast they step.

    Attributes:
        parameters: the player's own parameters; no other player has them.
        steps: optimiser steps per batch.
        auxiliary: whether the player only reads codes (an adversary, a label head). Such networks are small and must keep up
            with a model that slows down: they train with Adam at a constant learning rate.
    """

    parameters: list[nn.Parameter]
    steps: int = 1
    auxiliary: bool = False


@dataclass
class Losses:
    """The terms of one batch.

    Each player has an objective: a function that computes the player's raw terms (nats per sample: summed over dimensions,
    averaged over the batch), where it can from one shared forward pass. It may be called several times; a player that takes
    three steps calls it three times. A term is a scalar, or a vector whose entries :meth:`Model.term_names` names.

    Attributes:
        objectives: player name -> function that returns the player's terms.
        weights: term name -> weight, a number or a vector; terms that are not listed weigh 1.
        terms: every term that was computed last, detached.
        owners: term name -> the player that minimises it, of those that were computed.
        seen: ``(labels,)`` bool, labels that any sample of the batch has, for models whose multipliers depend on it.
    """

    objectives: dict[str, Callable[[], dict[str, Tensor]]]
    weights: dict[str, float | Tensor] = field(default_factory=dict)
    terms: dict[str, Tensor] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    seen: Tensor | None = None

    def objective(self, player: str) -> Tensor:
        """The scalar that a player minimises: the weighted sum of its terms."""
        if player not in self.objectives:
            raise unknown("objective of player", player, self.objectives)
        terms = self.objectives[player]()
        self.terms.update({name: term.detach() for name, term in terms.items()})
        self.owners.update(dict.fromkeys(terms, player))
        return functools.reduce(torch.add, [_weighted(term, self.weights.get(name, 1.0)) for name, term in terms.items()])


def _weighted(term: Tensor, weight: float | Tensor) -> Tensor:
    if isinstance(weight, Tensor) and weight.shape == term.shape and term.ndim:  # small models spend their time on calls
        return term.dot(weight)
    term = term.sum() if term.ndim and not isinstance(weight, Tensor) else term
    if not (isinstance(weight, float) and weight == 1.0):
        term = term * weight
    return term.sum() if term.ndim else term


@dataclass(frozen=True)
class About:
    """What ``labelspace models`` prints."""

    purpose: str = "not said"
    avoid: str = "not said"
    labels: str = "not said"
    missing: str = "not said"
    blocks: str = "not said"
    adversaries: str = "not said"
    paper: str = "not said"


class Model(nn.Module):
    """Base of all models.

    Args:
        shape: shape of one sample, ``(d,)`` or ``(channels, height, width)``.
        schema: the labels.
        frequencies: label frequencies of the training data (:func:`labelspace.labels.frequencies`); None is uniform.
        blocks: the model's latent blocks.
        weights: term name -> weight (a number, or the text of a schedule, see :mod:`labelspace.models.schedules`).
        likelihood: see :mod:`labelspace.likelihoods`.
        scale: standard deviation (gaussian) or scale (laplace) of p(x | codes); "auto" finds it, per column for vectors.
        learn_scale: learn a scale that is given.
        network: how encoders, decoders and whatever else reads x are built.

    Attributes:
        likelihood: p(x | codes), as a module that reads the decoder's raw output.
    """

    about: ClassVar[About] = About()
    label_kinds: ClassVar[tuple[Kind, ...]] = ("binary", "categorical", "continuous")  # label kinds that it is defined for
    labelled: ClassVar[bool] = True  # whether it is a model of labels at all: they take part in training and in p(codes | y)
    paired: ClassVar[bool] = False  # whether training pairs samples by labels, of which nothing else needs to know
    encoder_needs_labels: ClassVar[bool] = True  # whether encoding needs every label, so that missing ones must be predicted
    measured: ClassVar[tuple[str, ...]] = (
        "aggregate.",
        "typical.",
        "likelihood.centre",
        "likelihood.unit",
        "likelihood.sd",
        "likelihood.tails.",
        "likelihood.low",
        "likelihood.high",
        "likelihood.whole",
        "label_range",
        "label_columns",
    )  # tensors that training measures: a warm start leaves them as they are
    # Parts that learn for themselves, and whose weights are those of the epoch that is best for them: validation term -> how
    # the names of their tensors begin.
    apart: ClassVar[dict[str, tuple[str, ...]]] = {}
    former: ClassVar[dict[str, str]] = {
        "spread.": "aggregate."
    }  # beginnings of the names of tensors in files of earlier formats -> those of today
    arguments: dict[str, Any]
    decoder: nn.Module
    label_features: Tensor
    label_parameters: Tensor
    label_range: Tensor
    label_columns: Tensor
    aggregate: AggregatePosterior

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Records the arguments that an instance was made with: they are its configuration."""
        super().__init_subclass__(**kwargs)
        if "__init__" not in cls.__dict__:
            return
        make = cls.__init__
        signature = _whole_signature(cls)
        if absent := [name for name in FROM_DATA if name not in signature.parameters]:
            raise UserError(f"the constructor of {cls.__name__} must take {', '.join(FROM_DATA)}; {absent[0]} is absent")

        @functools.wraps(make)
        def recorded(self, *args: Any, **given: Any) -> None:
            bound = signature.bind(self, *args, **given)
            bound.apply_defaults()
            arguments = {name: value for name, value in bound.arguments.items() if name != "self"}
            type(self).accept(arguments["schema"])
            for weight in cls.weight_arguments():
                if arguments[weight] is not None:
                    _check_weight(weight, arguments[weight])
            make(self, *args, **given)
            self.arguments = arguments  # the outermost constructor's come last

        recorded.__signature__ = signature  # type: ignore[attr-defined]
        annotated = {name: parameter.annotation for name, parameter in signature.parameters.items() if name != "self"}
        recorded.__annotations__ = {name: kind for name, kind in annotated.items() if kind is not inspect.Parameter.empty}
        cls.__init__ = recorded  # type: ignore[method-assign]

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None,
        blocks: Blocks,
        weights: dict[str, float | str],
        *,
        likelihood: str = "gaussian",
        scale: float | Literal["auto"] = "auto",
        learn_scale: bool = False,
        network: Network = Network(),
    ) -> None:
        super().__init__()
        self.shape, self.schema, self.blocks, self.network = tuple(shape), schema, blocks, network
        self.likelihood = build_likelihood(likelihood, self.shape, scale, learn_scale)
        self.schedules = {name: schedules.parse(weight) for name, weight in weights.items()}
        if frequencies is None:
            frequencies = [[1 / len(label.values)] * len(label.values) if label.discrete else [] for label in schema]
        self.register_buffer("label_features", schema.prior_features(frequencies), persistent=False)
        self.register_buffer("label_parameters", schema.prior_parameters(frequencies), persistent=False)
        # Of every label, the least and the largest value in the training data, (2, labels).
        unknown_range = torch.tensor([[-math.inf], [math.inf]]).repeat(1, len(schema))
        self.register_buffer("label_range", unknown_range)
        # Which columns of vectors a label has to do with, (labels, d); all where that is not known.
        columns = self.shape[0] if len(self.shape) == 1 else 1
        self.register_buffer("label_columns", torch.ones(len(schema), columns, dtype=torch.bool))
        self.aggregate = AggregatePosterior(blocks, schema)  # where training codes lie, once measured
        self.typical: TypicalPoints | None = None  # of models whose blocks hold styles: codes that edits give samples
        self.variables: tuple[Variable, ...] = ()  # what the entries of a vector are; saved beside the labels
        self.framing = Framing()  # how pictures were read; saved, so that later ones are read alike
        self.started_from = ""  # the directory of a model whose tensors this one took before training
        self.epoch = 0.0  # time, for schedules; set by whoever trains the model

    @classmethod
    def accept(cls, schema: Schema) -> None:
        """Raises UserError when the model is not defined for such labels."""
        name = cls.__name__
        if cls.trained_on_labels() and len(schema) == 0:
            raise UserError(f"{name} needs at least one label; without labels use vae")
        for label in schema:
            if label.kind not in cls.label_kinds:
                raise UserError(
                    f"{name} takes {' and '.join(cls.label_kinds)} labels; {label.name!r} is {label.kind}: leave it out with "
                    f"{option('labels')}, or use a model that takes it (labelspace models)"
                )

    @classmethod
    def trained_on_labels(cls) -> bool:
        """Whether training reads labels: those of a model of labels, or to pair samples."""
        return cls.labelled or cls.paired

    @classmethod
    def own_arguments(cls) -> list[str]:
        """Names of the constructor's arguments that do not come from the data.

        Raises:
            UserError: one has no annotation, so that its value cannot be read from a text.
        """
        own = [p for name, p in inspect.signature(cls.__init__).parameters.items() if name not in ("self", *FROM_DATA)]
        if bare := [parameter.name for parameter in own if parameter.annotation is inspect.Parameter.empty]:
            raise UserError(f"argument {bare[0]!r} of {cls.__name__} needs an annotation (int, float, str, bool, Network)")
        return [parameter.name for parameter in own]

    @classmethod
    def weight_arguments(cls) -> list[str]:
        """Names of the constructor's arguments that are weights: numbers or texts of schedules."""
        parameters = inspect.signature(cls.__init__).parameters.values()
        return [parameter.name for parameter in parameters if "float | str" in str(parameter.annotation)]

    @classmethod
    def defaults(cls, shape: tuple[int, ...], labels: int) -> dict[str, Any]:
        """Arguments that suit data of a shape with so many labels, where they differ from the constructor's own; those that
        the constructor does not have are left out."""
        latent = 64 if len(shape) == 3 else max(2, min(16, shape[0] - 1))
        return {"latent": latent, "likelihood": "gaussian"}

    @classmethod
    def recipe(cls, shape: tuple[int, ...], n: int) -> dict[str, Any]:
        """Training options (:class:`labelspace.training.Options`) that suit ``n`` samples of a shape.

        Training ends when the validation score has settled, whatever the number of samples. Convolutional networks learn
        several times faster with Muon on their matrices.
        """
        if len(shape) == 1:
            return {"epochs": 0}
        return {
            "epochs": 0,
            "learning_rate": 3e-3,
            "auxiliary_learning_rate": 3e-3,
            "muon_learning_rate": 1e-2,
            "decay": 0.75,
        }

    def prepare(self, x: Tensor, values: Tensor, observed: Tensor) -> None:
        """Takes what it needs to know of the data before training, from training samples and their labels."""
        self.likelihood.measure(x)
        for end, away in ((0, math.inf), (1, -math.inf)):
            known = torch.where(observed, values, away)
            found = known.amin(0) if away > 0 else known.amax(0)
            self.label_range[end] = torch.where(found.isinf(), -away, found)
        responses = self.likelihood.responses(x)
        if responses is not None:
            self.label_columns.copy_(related(*responses, self.label_columns.shape[1], self.schema, values, observed))

    # -- what a model file defines ------------------------------------------------------------------------------------

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        """q(codes | x, y), block by block. With ``encoder_needs_labels`` all labels must be observed (see :meth:`complete`).

        An encoder reads ``self.likelihood.inputs(x)``, of shape ``self.likelihood.input_shape``.
        """
        raise NotImplementedError

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        """p(codes | y), block by block; a missing label is replaced by its prior mean."""
        raise NotImplementedError

    def decode(self, codes: Latents[Tensor]) -> DataDistribution:
        """p(x | codes): the likelihood of what ``decoder`` makes of all blocks side by side."""
        return self.likelihood(self.decoder(concatenate(codes)).float())

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        """The terms of a batch for every player. All draws take ``generator``: a resumed run repeats no others."""
        raise NotImplementedError

    def players(self) -> dict[str, Player]:
        """Player name -> player, in the order in which they step on a batch. "model" is the generative model's own."""
        return {"model": Player(list(self.parameters()))}

    def remarks(self) -> list[str]:
        """What could not be had of a model, a line each that begins with the code that it is about."""
        return []

    def score(self, terms: dict[str, Tensor]) -> Tensor:
        """What is compared to find the best epoch, from validation terms; lower is better.

        The default: the negative ELBO (terms called ``reconstruction...`` and ``kl_...``; where there are none, all terms),
        and the classification of models that are trained for it, at its weight.
        """
        bound = [term.sum() for name, term in terms.items() if name.startswith(("reconstruction", "kl_"))]
        score = torch.stack(bound or [term.sum() for term in terms.values()]).sum()
        if bound and "classification" in terms:
            score = score + self.schedules["classification"].end * terms["classification"].sum()
        return score

    def term_names(self) -> dict[str, tuple[str, ...]]:
        """Names of the entries of every vector term, for logs."""
        return {}

    def adapt(self, losses: Losses) -> None:
        """Called after all players have stepped on a batch: multipliers that balance terms move here."""

    @torch.no_grad()
    def calibrate(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Called with the training data when the weights are final: what edits and samples need to know about the codes.

        Here that is where they lie, but for free blocks whose prior depends on labels. A model that needs more calls this, too.
        """
        parts = ((self.encode(batch.x, batch.values, batch.observed), batch.values, batch.observed) for batch in batches())
        self.aggregate.measure(parts, _CODES, self._depending(batches))
        if self.typical is not None:
            self.typical.measure(self, batches)

    @torch.no_grad()
    def calibrate_labels(self, held: Callable[[], Iterable[Batch]]) -> None:
        """Called with the validation data when the weights are final: how sure predictions of labels may be. Here nothing."""

    def _depending(self, batches: Callable[[], Iterable[Batch]]) -> list[str]:
        """Free blocks whose prior is another one under the labels of data than under no label."""
        values = next(iter(batches())).values
        told, untold = self.prior(values), self.prior(values, torch.zeros_like(values, dtype=torch.bool))
        return [
            block.name
            for block in self.blocks.free
            if not all(
                torch.equal(getattr(told[block.name], what), getattr(untold[block.name], what)) for what in ("mean", "scale")
            )
        ]

    @torch.no_grad()
    def new_codes(
        self,
        values: Tensor,
        observed: Tensor | None = None,
        *,
        source: Source = "codes",
        generator: torch.Generator | None = None,
    ) -> Latents[Tensor]:
        """Codes of new samples under labels.

        Args:
            values, observed: ``(n, labels)``.
            source: "prior" draws every block from p(block | labels); "codes" from the Gaussian of training codes, where the
                decoder has been trained: z from their mean and covariance, a label's block from those of the value. Posteriors
                that tell much do not fill their prior, and what is decoded off them is of no kind. Blocks that were not
                measured, and those that hold a label's value itself, are drawn from the prior.
            generator: of the draws.
        """
        prior = self.prior(values, observed)
        codes = sample(prior, generator)
        if source == "prior":
            return codes
        values = self.fill_with_mode(values, observed)
        blocks = [b.name for b in self.blocks if not isinstance(prior[b.name], Point)]
        drawn = {name: self.aggregate.draw(name, values, codes[name], generator) for name in blocks}
        # what the prior knows exactly of some samples stays
        return codes.replace({name: torch.where(prior[name].scale > 0, code, codes[name]) for name, code in drawn.items()})

    def label_distribution(self, x: Tensor) -> LabelDistribution:
        """The model's own q(y | x). Here Bayes' rule with the ELBO at the posterior's mode in the place of log p(x | y).

        Raises:
            UserError: it is not a model of labels.
        """
        if not self.labelled:
            raise UserError(f"{type(self).__name__} does not predict labels; use a model that does (labelspace models)")

        def bound(values: Tensor, rows: Tensor | slice) -> Tensor:
            posterior = self.posterior(x[rows], values, torch.ones_like(values, dtype=torch.bool))
            kl = [part.kl(prior) for part, prior in zip(posterior.values(), self.prior(values).values(), strict=True)]
            return self.decode(modes(posterior)).log_prob(x[rows]) - torch.stack(kl).sum(0)

        return self.schema.distribution(posterior_from_bounds(self.schema, self.label_marginal(len(x)), bound, len(x)))

    def intervene(self, codes: Latents[Tensor], label: str, value: Tensor, previous: Tensor) -> Latents[Tensor]:
        """Codes with one label moved to new values: to typical points, where the model has them, else to the mean of training
        codes of the value, which some priors miss by far; where nothing was measured, to the point of the block's prior.

        Args:
            codes: the codes of ``n`` samples.
            label: which label.
            value: ``(n,)`` new values.
            previous: ``(n,)`` values that the codes have now.
        """
        if self.typical is not None and (found := self.typical.put(self, codes, label, value)) is not None:
            return found
        block = self.blocks.of(label)
        values, observed = self.only(label, value)
        prior = self.prior(values, observed)[block.name]
        if isinstance(prior, Point):  # the block is the label's own value
            return codes.replace({block.name: prior.mode})
        measured = self.aggregate.under(block.name, values).mean
        return codes.replace({block.name: torch.where(measured.isnan(), prior.mode, measured)})

    def as_drawn(self, codes: Latents[Tensor], values: Tensor, observed: Tensor) -> Latents[Tensor]:
        """Mean codes as the decoder has learnt to read them, from which edits start: where the model has typical points, blocks
        of known labels spread as far as draws do (:meth:`~labelspace.models.parts.TypicalPoints.as_drawn`)."""
        if self.typical is None:
            return codes
        spread = {}
        for i, label in enumerate(self.schema):
            block = self.blocks.of(label.name).name
            found = self.typical.as_drawn(codes[block], label.name, values[:, i])
            spread[block] = torch.where(observed[:, i, None], found, codes[block])
        return codes.replace(spread)

    def choices(self, label: str) -> list[Choice] | None:
        """For each value of a label, the codes of its block that :meth:`intervene` gives samples one of, where it does."""
        return None if self.typical is None else self.typical.choices(label)

    # -- what all models do alike -------------------------------------------------------------------------------------

    def label_marginal(self, n: int) -> LabelDistribution:
        """p(y), the label frequencies, for ``n`` samples."""
        return self.schema.distribution(self.label_parameters.expand(n, -1))

    def fill_with_mode(self, values: Tensor, observed: Tensor | None) -> Tensor:
        """``values`` with every missing entry filled by the label's most frequent value (a number's mean)."""
        return values if observed is None else torch.where(observed, values, self.label_marginal(len(values)).mode())

    def free_prior(self, like: Tensor) -> DiagonalGaussian:
        """N(0, I) over the first block, for as many samples as ``like`` has."""
        return DiagonalGaussian.standard(len(like), self.blocks[0].size, like)

    def parameters_except(self, *modules: nn.Module) -> list[nn.Parameter]:
        """The model's parameters that are not in these modules."""
        theirs = {id(p) for module in modules for p in module.parameters()}
        return [p for p in self.parameters() if id(p) not in theirs]

    def weights(self) -> dict[str, float | Tensor]:
        """Term weights at the current time."""
        return {name: schedule(self.epoch) for name, schedule in self.schedules.items()}

    def columns_of(self, labels: Iterable[str]) -> Tensor:
        """Which columns of vectors any of some labels has to do with, ``(d,)`` bool, by what training data say; all where that
        is not known. Of pictures one entry for all."""
        wanted = [self.schema.index(name) for name in labels]
        return self.label_columns[wanted].any(0)

    def asked(self, label: str, given: Any) -> float:
        """A label's new value as a user writes it, as a number; a note where it lies outside of the training data.

        Raises:
            UserError: the label cannot take it, or it is none.
        """
        value = self.schema[label].parse(given)
        if math.isnan(value):
            raise UserError(f"label {label!r} was set to nothing; expected a value")
        low, high = self.label_range[:, self.schema.index(label)].tolist()
        beyond = np.spacing(np.float32(max(abs(low), abs(high)))) if math.isfinite(low) else 0.0  # values are float32
        if not low - beyond <= value <= high + beyond:
            said = self.schema[label].format
            note(
                f"{label}={said(value)} lies outside of the training data's {_shown(said(low))} to {_shown(said(high))}: what "
                "the model makes of it is extrapolated"
            )
        return value

    def note_far(self, x: Tensor) -> None:
        """A note for each column of samples ``(n, *shape)`` with values that lie far outside of the training data."""
        for column, (low, high) in self.likelihood.outside(x).items():
            name = self.variables[column].name if self.variables else f"x{column + 1}"
            note(
                f"column {name!r} has values far outside of the training data's {_shown(low)} to {_shown(high)}: what the "
                "model makes of such rows is extrapolated"
            )

    def only(self, label: str, value: Tensor) -> tuple[Tensor, Tensor]:
        """``values`` and ``observed`` that say one label's values and nothing about the others."""
        values = value.new_zeros(len(value), len(self.schema))
        values[:, self.schema.index(label)] = value
        observed = torch.zeros_like(values, dtype=torch.bool)
        observed[:, self.schema.index(label)] = True
        return values, observed

    def complete(self, x: Tensor, values: Tensor | None, observed: Tensor | None) -> Tensor:
        """``values`` with every missing entry filled by the model's own prediction for x."""
        if values is not None and (observed is None or (not torch.compiler.is_compiling() and bool(observed.all()))):
            return values  # a graph has one path, which must do for any mask
        predicted = self.label_distribution(x).mode()
        return predicted if values is None or observed is None else torch.where(observed, values, predicted)

    def known(self, x: Tensor, values: Tensor | None, observed: Tensor | None) -> tuple[Tensor, Tensor]:
        """``values`` and ``observed`` of samples whose labels were given in part or not at all."""
        if values is None:
            values = torch.zeros(len(x), len(self.schema), device=x.device)
            return values, torch.zeros_like(values, dtype=torch.bool)
        return values, torch.ones_like(values, dtype=torch.bool) if observed is None else observed

    @overload
    def encode(
        self, x: Dataset, *, ignore_labels: bool = False, draw: torch.Generator | None = None, progress: Progress | None = None
    ) -> Codes: ...
    @overload
    def encode(self, x: Tensor, values: Tensor | None = None, observed: Tensor | None = None) -> Latents[DiagonalGaussian]: ...

    def encode(
        self,
        x: Tensor | Dataset,
        values: Tensor | None = None,
        observed: Tensor | None = None,
        *,
        ignore_labels: bool = False,
        draw: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> Latents[DiagonalGaussian] | Codes:
        """The posterior of samples whose labels may be missing in part or altogether; or the codes of a whole data set.

        Args:
            x: ``(n, *shape)``, or a data set, which goes through in batches.
            values, observed: ``(n, labels)``; by default no label is known.
            ignore_labels, draw, progress: of a data set, see :func:`labelspace.models.of_data.codes`.

        Returns:
            A distribution per block; of a data set its :class:`~labelspace.models.of_data.Codes`.
        """
        if isinstance(x, Dataset):
            return encoded(self, x, ignore_labels=ignore_labels, draw=draw, progress=progress)
        if self.encoder_needs_labels and len(self.schema):
            values = self.complete(x, values, observed)
            observed = torch.ones_like(values, dtype=torch.bool)
        return self.posterior(x, *self.known(x, values, observed))

    @overload
    def predict(self, x: Dataset, *, progress: Progress | None = None) -> Predictions: ...
    @overload
    def predict(self, x: Tensor) -> LabelDistribution: ...

    @torch.no_grad()
    def predict(self, x: Tensor | Dataset, *, progress: Progress | None = None) -> LabelDistribution | Predictions:
        """Distributions over the labels of samples; of a data set its :class:`~labelspace.models.of_data.Predictions`.

        Args:
            x: ``(n, *shape)``, or a data set, which goes through in batches.
            progress: told samples done and samples in all, of a data set.

        Raises:
            UserError: the model does not define one.
        """
        return predicted(self, x, progress) if isinstance(x, Dataset) else self.label_distribution(x)

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
        """Importance-weighted estimate of log p(x | observed labels) in nats, ``(n,)``: a bound that tightens with ``draws``.

        Missing labels are integrated out: drawn from the model's own q(y | x), and weighted by p(y) / q(y | x).

        Raises:
            UserError: a block's code is a deterministic function of x; then the model has no density of x.
        """
        values, observed = self.known(x, values, observed)
        missing = ~observed if self.labelled else torch.zeros_like(observed)
        answer = self.label_distribution(x) if bool(missing.any()) else None
        prior_labels = self.label_marginal(len(x))
        weights = []
        for _ in range(draws):
            log_weight: Tensor | float = 0.0
            if answer is not None:
                drawn = answer.sample(generator)
                values = torch.where(observed, values, drawn)
                log_weight = ((prior_labels.log_prob(values) - answer.log_prob(values)) * missing).sum(1)
            full = torch.ones_like(observed)
            weights.append(log_weight + self._log_weight(x, self.posterior(x, values, full), self.prior(values), generator))
        return torch.logsumexp(torch.stack(weights), 0) - math.log(draws)

    def _log_weight(
        self,
        x: Tensor,
        posterior: Latents[DiagonalGaussian],
        prior: Latents[DiagonalGaussian],
        generator: torch.Generator | None,
    ) -> Tensor:
        """log p(x, codes) / q(codes | x) of one draw of the codes, ``(n,)``."""
        codes = sample(posterior, generator)
        total = self.decode(codes).log_prob(x)
        for name, code in codes.items():
            if isinstance(posterior[name], Point) and not isinstance(prior[name], Point):
                raise UserError(
                    f"{type(self).__name__} encodes block {name!r} deterministically, so it has no log-likelihood; "
                    "compare reconstruction errors instead"
                )
            total = total + prior[name].log_prob(code) - posterior[name].log_prob(code)
        return total

    @torch.no_grad()
    def generate(
        self,
        values: Tensor,
        observed: Tensor | None = None,
        *,
        source: Source = "codes",
        mean: bool | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """New samples under labels: of p(x | codes) at :meth:`new_codes` the mean or a draw; ``(n, *shape)``.

        Labels that are not observed are drawn from their frequencies. ``mean``: see
        :meth:`labelspace.likelihoods.Likelihood.new`.
        """
        drawn = self.label_marginal(len(values)).sample(generator)
        values = drawn if observed is None and values.numel() == 0 else values
        if observed is not None:
            values = torch.where(observed, values, drawn)
        described = self.decode(self.new_codes(values, source=source, generator=generator))
        return self.likelihood.new(described, mean, generator)


def _shown(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _whole_signature(cls: type) -> inspect.Signature:
    """The signature of a constructor. One that hands arguments on has its base class's too: all of them with ``*args``, those
    that are given by name with ``**rest`` alone."""
    own = inspect.signature(cls.__dict__["__init__"]).parameters.values()
    kind = inspect.Parameter
    added = [parameter for parameter in own if parameter.kind not in (kind.VAR_POSITIONAL, kind.VAR_KEYWORD)]
    if len(added) == len(own):
        return inspect.Signature(added)
    inherited = list(inspect.signature(cls.__mro__[1].__init__).parameters.values())
    if not any(parameter.kind == kind.VAR_POSITIONAL for parameter in own):
        return inspect.Signature([*added, *(parameter for parameter in inherited if parameter.kind == kind.KEYWORD_ONLY)])
    whole = [*inherited, *added[1:]]  # without a second self
    return inspect.Signature(sorted(whole, key=lambda parameter: parameter.kind == kind.KEYWORD_ONLY))


def _check_weight(name: str, weight: float | str) -> None:
    try:
        schedules.parse(weight)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


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


def kl_terms(posterior: Latents[DiagonalGaussian], prior: Latents[DiagonalGaussian]) -> dict[str, Tensor]:
    """KL(posterior || prior) of every block, averaged over the batch: ``kl_<block>`` -> scalar."""
    return {f"kl_{name}": part.kl(prior[name]).mean() for name, part in posterior.items()}
