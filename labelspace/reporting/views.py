"""What a report shows of models and data, as figures with words; what differs between kinds of data is asked of one module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from labelspace.data.dataset import Dataset
from labelspace.distributions import Point
from labelspace.errors import UserError
from labelspace.evaluation import probing
from labelspace.labels import Label
from labelspace.maps import PriorSpot, block_map
from labelspace.models.base import Model
from labelspace.reporting import colours, views_images, views_vectors
from labelspace.reporting.choices import Runs, by_label, first_data
from labelspace.reporting.figures import Map, Spot, maps

CODED = 500  # samples on a map of a latent block
MOST_LABELS, MOST_BLOCKS = 8, 12  # that are shown one by one


@dataclass(frozen=True)
class View:
    """Figures with what they show.

    Attributes:
        title: their heading.
        figures: each with what is to be seen on it, for those who cannot see it. Several are as many panels of one size, and
            stand side by side as far as there is room.
        caption: how they are read.
    """

    title: str
    figures: Sequence[tuple[Figure, str]]
    caption: str

    @classmethod
    def one(cls, title: str, figure: Figure, alt: str, caption: str) -> View:
        """A view of one figure."""
        return cls(title, [(figure, alt)], caption)


Shown = View | str
"""A view, or the reason why there is none."""


def attempt(title: str, make: Callable[[], Shown]) -> Shown:
    """A view, or why the model or the data cannot give it."""
    try:
        return make()
    except UserError as error:
        return f"{title}: {error}."


def kind(data: Dataset) -> ModuleType:
    """Who draws samples of such data."""
    return views_images if data.is_image else views_vectors


def reconstructions(runs: Runs, rows: np.ndarray) -> list[View]:
    """Samples, and what the models make of their codes."""
    return [View.one(*parts) for parts in kind(first_data(runs)).reconstructions(runs, rows)]


def every_label(model: Model, data: Dataset) -> Shown:
    """The same samples with each label set to another value."""
    names, more = first(data.schema.names)
    view = attempt("Every label", lambda: View.one(*kind(data).every_label(model, data, {n: values(data, n) for n in names})))
    return replace(view, title="", caption=f"{view.caption} {more}".strip()) if isinstance(view, View) else view


def of_label(model: Model, data: Dataset, name: str) -> list[Shown]:
    """What edits of a label do: set to its values, walks through its block, transfers from donors."""
    draw, label = kind(data), data.schema[name]
    out = [attempt("Set to its values", lambda: View.one(*draw.set_to_values(model, data, name, values(data, name))))]
    block = next((block for block in model.blocks if block.label == name), None)
    if block is None:
        out.append(
            f"This model has no latent block for {name}: there is nothing to walk through, and no donor's way of having it to "
            "transfer."
        )
        return out
    told = isinstance(model.prior(torch.zeros(1, len(data.schema)))[block.name], Point)
    if told and label.features > 1:
        out.append(f"The block of {name} holds its value and nothing else, so a walk through it is the figure above.")
    for coordinate in range(int(label.features == 1)) if told else probing.widest(model, data, block.name)[:2]:
        span, along = ("prior", "over its values") if told else _walk(model, data, name, block.name, coordinate)
        walk = partial(draw.traversal, model, data, name, block.size, coordinate, span, along)
        out.append(attempt("Traversal", lambda walk=walk: View.one(*walk())))
    out.append(attempt("Transfer", lambda: View.one(*draw.transfer(model, data, name))))
    return out


@torch.no_grad()
def _walk(model: Model, data: Dataset, name: str, block: str, coordinate: int) -> tuple[Any, str]:
    """Where a walk along a coordinate of a label's block starts and ends, and how that is said."""
    label = data.schema[name]
    if label.kind == "binary":
        return "prior", "over its prior's width where the label is on"
    points = torch.tensor([label.parse(value) for value in values(data, name).values()])
    prior = model.prior(*model.only(name, points))[block]
    mean, reach = prior.mean[:, coordinate], 2 * prior.scale[:, coordinate]
    return (float((mean - reach).min()), float((mean + reach).max())), "over the width of the priors of all its values"


def edits_of_all(runs: Runs, name: str) -> Shown:
    """The same samples with one label set, by each model."""
    data = first_data(runs)
    return attempt(f"{name} set", lambda: View.one(*kind(data).edited_by_all(runs, name, values(data, name))))


def generated(runs: Runs) -> View:
    """New samples."""
    return View.one(*kind(first_data(runs)).generated(runs))


def values(data: Dataset, name: str) -> dict[str, Any]:
    """Values of a label that are shown: name -> value. All of a discrete label up to ten; five quantiles of a number."""
    label = data.schema[name]
    if label.discrete:
        return {value: value for value in label.values[:10]}
    column, rows = data.schema.index(name), data.rows("train")
    seen = data.values[rows, column][data.observed[rows, column]]
    points = np.quantile(seen, (0.05, 0.25, 0.5, 0.75, 0.95)) if len(seen) else [label.mean]
    return {f"{value:.3g}": float(value) for value in points}


# -- maps of latent blocks --------------------------------------------------------------------------------------------


def latent_maps(model: Model, data: Dataset, rows: np.ndarray) -> list[View]:
    """Every label's block with its own label and priors; the free blocks once for every label."""
    rows = rows[:CODED]
    codes = probing.encoded(model, data, rows)
    out = []
    own = [block for block in model.blocks if block.label is not None]
    if own:
        panels = [_map(model, data, block.name, codes, rows, block.label) for block in own[:MOST_BLOCKS]]
        more = f" The first {MOST_BLOCKS} of {len(own)} blocks." if len(own) > MOST_BLOCKS else ""
        out.append(
            View(
                "Blocks of the labels",
                _alone(panels),
                f"Mean codes of {len(rows)} samples, encoded with what is known of their labels, by their value of the block's "
                f"own label. Ellipses: the prior of each value, at one standard deviation and (dashed) two.{more}",
            )
        )
    names = list(data.schema.names)[:MOST_LABELS]
    for block in model.blocks.free:
        panels = [_map(model, data, block.name, codes, rows, name) for name in names or [None]]
        out.append(
            View(
                f"Free block {block.name}",
                _alone(panels),
                "The same codes in each map, coloured by one label after the other: where colours are apart the block tells "
                "that label. Ellipses: the prior.",
            )
        )
    return out


def latent_maps_of_all(runs: Runs, rows: np.ndarray) -> View:
    """The blocks of the labels of several models, label by label."""
    rows = rows[:CODED]
    panels: dict[str | None, list[Map]] = {}
    for name, (model, data) in runs.items():
        codes = probing.encoded(model, data, rows)
        own = [(block.name, block.label) for block in model.blocks if block.label is not None][:MOST_LABELS]
        for block, label in own or [(model.blocks[0].name, next(iter(data.schema.names), None))]:
            panel = _map(model, data, block, codes, rows, label)
            panels.setdefault(label, []).append(replace(panel, title=f"{name}: {panel.title}"))
    return View(
        "Latent maps",
        _alone([panel for of_label in panels.values() for panel in of_label]),
        f"Mean codes of the same {len(rows)} samples by the block's own label; of a model without blocks for labels its free "
        "block. Ellipses: the priors.",
    )


def _alone(panels: Sequence[Map]) -> list[tuple[Figure, str]]:
    """A figure for each map."""
    return [(maps([[panel]], side=2.9), f"Map of {panel.title}: codes of samples and the prior.") for panel in panels]


def _map(model: Model, data: Dataset, block: str, codes: Any, rows: np.ndarray, label: str | None) -> Map:
    found = block_map(model, data, block, codes, rows)
    shown = f"{block}" if label is None or model.blocks.named(block).label == label else f"{block}, by {label}"
    return Map(
        found.points.numpy(),
        **by_label(data, rows, label),
        spots=[
            _spot(spot, None if found.block.label is None else data.schema[found.block.label], data) for spot in found.priors
        ],
        axes=found.names,
        title=shown,
    )


def _spot(spot: PriorSpot, label: Label | None, data: Dataset) -> Spot:
    shown = colours.INK
    if label is not None and label.discrete:
        shown = colours.of_values(data.schema, label.name)[int(spot.value or 0)]
    name = spot.name if label is not None else ""
    if label is not None and not label.discrete:
        name = f"{float(spot.name):.3g}"
    return Spot(name, spot.mean.numpy(), spot.covariance.numpy(), shown)


def first(names: Sequence[str]) -> tuple[Sequence[str], str]:
    """The labels that are shown one by one, and a sentence if those are not all."""
    if len(names) <= MOST_LABELS:
        return names, ""
    return names[:MOST_LABELS], f"The first {MOST_LABELS} of {len(names)} labels are shown."
