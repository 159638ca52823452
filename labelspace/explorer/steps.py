"""Samples and edits as plain facts: each knows how it is done, and the Python line and command that do the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from labelspace import interventions
from labelspace.interventions import Intervention, Labels
from labelspace.models.base import Model

# -- where samples come from ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Sample:
    """A sample that is looked at.

    Attributes:
        name: what it is called on the page.
        x: the sample.
        labels: its values and which are known, ``(1, labels)`` each; None where nothing is known.
        row: its row in the run's data, if it is one of them.
        drawn: how it was generated, if it was.
        large: an uploaded picture as it is, cut as ``x`` is, where it has more pixels than the model.
    """

    name: str
    x: Tensor
    labels: Labels | None = None
    row: int | None = None
    drawn: Drawn | None = None
    large: Tensor | None = None

    @property
    def uploaded(self) -> bool:
        """Whether it is a user's file, and its name that file's."""
        return self.row is None and self.drawn is None

    @property
    def address(self) -> str | None:
        """What commands call it; None for a generated one and a row of the user's, which have no name outside of the page."""
        if self.drawn is not None or (self.uploaded and self.x.ndim == 1):
            return None
        return f"./{self.name}" if self.uploaded else self.name  # a file may be called test:0 or --help

    def lines(self, x: str, labels: str) -> list[str]:
        """Python lines that put the sample and its labels into variables of these names."""
        if self.drawn is not None:
            one = f"{self.drawn.index}:{self.drawn.index + 1}"
            return [
                *self.drawn.lines(),
                f"{x}, {labels} = drawn.x[{self.drawn.index}], (drawn.labels[0][{one}], drawn.labels[1][{one}])",
            ]
        if self.row is None and self.x.ndim == 1:
            known = "None"
            if self.labels is not None:
                known = f"({_tensor(self.labels[0])}, {_tensor(self.labels[1])})"
            return [f"{x}, {labels} = {_tensor(self.x)}, {known}"]
        if self.row is None:
            return [f"{x}, {labels} = {literal(self.name)}, None"]
        split, _, index = self.name.partition(":")
        return [
            f'row = data.rows("{split}")[{index}:{int(index) + 1}]',
            f"{x}, {labels} = data.samples(row)[0], data.labels(row)",
        ]


@dataclass(frozen=True)
class Drawn:
    """How samples were generated, and which of them is meant.

    Attributes:
        values: the labels that were asked for.
        n: how many were drawn.
        seed: of the draws.
        redrawn: blocks that were drawn anew after that, with the seeds of it.
        index: which of the samples.
    """

    values: tuple[tuple[str, Any], ...]
    n: int
    seed: int
    redrawn: tuple[tuple[str, int], ...] = ()
    index: int = 0

    def run(self, model: Model) -> Intervention:
        """Draws all of the samples, ``(n, *shape)``."""
        drawn = interventions.generate(model, dict(self.values), self.n, generator=_generator(self.seed))
        for block, seed in self.redrawn:
            again = interventions.resample(model, drawn.x, block=block, n=1, generator=_generator(seed), after=drawn)
            drawn = Intervention(again.x[:, 0], again.record, again.codes, again.encoded, again.labels)
        return drawn

    def lines(self) -> list[str]:
        """Python lines that leave the samples in ``drawn``, an intervention."""
        generator = f"torch.Generator().manual_seed({self.seed})"
        out = [f"drawn = ls.interventions.generate(model, {literal(dict(self.values))}, {self.n}, generator={generator})"]
        for block, seed in self.redrawn:
            again = f"{literal(block)}, n=1, generator=torch.Generator().manual_seed({seed}), after=drawn"
            out.append(f"again = ls.interventions.resample(model, drawn.x, block={again})")
            out.append("drawn = replace(again, x=again.x[:, 0])")
        return out


# -- edits ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SetLabel:
    """A label is given a value."""

    label: str
    value: Any

    def run(self, model: Model, x: Tensor, how: dict[str, Any]) -> Intervention:
        return interventions.set(model, x, {self.label: self.value}, **how)

    def lines(self, how: str) -> list[str]:
        return [f"edit = ls.interventions.set(model, x, {literal({self.label: self.value})}, {how})"]

    @property
    def about(self) -> str:
        return f"{self.label} set to {short(self.value)}"


@dataclass(frozen=True)
class MoveBlock:
    """A block is put at a point, given in full."""

    block: str
    point: tuple[float, ...]

    def run(self, model: Model, x: Tensor, how: dict[str, Any]) -> Intervention:
        return interventions.move(model, x, {self.block: self.point}, **how)

    def lines(self, how: str) -> list[str]:
        return [f"edit = ls.interventions.move(model, x, {literal({self.block: list(self.point)})}, {how})"]

    @property
    def about(self) -> str:
        return f"{self.block} moved"


@dataclass(frozen=True)
class TakeFrom:
    """A label's block is taken from a donor."""

    label: str
    donor: Sample

    def run(self, model: Model, x: Tensor, how: dict[str, Any]) -> Intervention:
        return interventions.transfer(model, x, self.donor.x, self.label, donor_labels=self.donor.labels, **how)

    def lines(self, how: str) -> list[str]:
        given = f"donor, {literal(self.label)}, donor_labels=donor_labels, {how}"
        return [*self.donor.lines("donor", "donor_labels"), f"edit = ls.interventions.transfer(model, x, {given})"]

    @property
    def about(self) -> str:
        return f"{self.label} taken from {self.donor.name}"


@dataclass(frozen=True)
class Redraw:
    """A block is drawn from where training codes lie, given the sample's labels."""

    block: str
    seed: int

    def run(self, model: Model, x: Tensor, how: dict[str, Any]) -> Intervention:
        done = interventions.resample(model, x, block=self.block, n=1, generator=_generator(self.seed), **how)
        return Intervention(done.x[0], done.record, done.codes, done.encoded, done.labels)

    def lines(self, how: str) -> list[str]:
        given = f"block={literal(self.block)}, n=1, generator=torch.Generator().manual_seed({self.seed}), {how}"
        return [f"again = ls.interventions.resample(model, x, {given})", "edit = replace(again, x=again.x[0])"]

    @property
    def about(self) -> str:
        return f"{self.block} drawn anew (seed {self.seed})"


Step = SetLabel | MoveBlock | TakeFrom | Redraw


def blocks_of(model: Model, step: Step) -> tuple[str, ...]:
    """The block that a step is about; none for a label that the model keeps in no block of its own."""
    if isinstance(step, MoveBlock | Redraw):
        return (step.block,)
    return tuple(block.name for block in model.blocks if block.label == step.label)


def perform(model: Model, sample: Sample, step: Step | None, keep_detail: bool, after: Intervention | None) -> Intervention:
    """Does a step; without one the sample is only encoded and decoded."""
    how: dict[str, Any] = {"keep_detail": keep_detail, "after": after}
    if after is None:
        how["labels"] = sample.labels
    if step is None:
        return interventions.move(model, sample.x, {}, **how)
    return step.run(model, sample.x, how)


def literal(value: Any) -> str:
    """A value as Python source."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(entry)}" for key, entry in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _tensor(x: Tensor) -> str:
    """A tensor as Python source, to the bit."""
    numbers = repr(x.tolist()).replace("nan", 'float("nan")')
    return f"torch.tensor({numbers})"


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def short(value: Any, digits: int = 4) -> str:
    """A label's value as it is shown; of a number some digits."""
    if not isinstance(value, float):
        return "unknown" if value is None else str(value)
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e9 else text
