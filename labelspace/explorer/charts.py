"""Blocks as they are drawn: a plane, a line, or a line along a label's values; and back, from a point to an edit.

The drawing itself is the browser's work; here is what it needs as plain data, and what a point of the drawing means.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.labels import Label
from labelspace.maps import BlockMap, NeighbourMap, PriorSpot
from labelspace.models.base import Model
from labelspace.reporting.colours import OTHER, colour, of_values

_RAMP = ("#440154", "#3b528b", "#21918c", "#5ec962", "#c9b81f")  # of numbers, from small to large; readable without red/green
_BEYOND = 2.5  # standard deviations of a prior that a chart shows
_TAILS = (0.005, 0.995)  # quantiles of the data that a chart shows
DOTS = 5_000  # samples, above which a density is drawn: dots would hide each other
_CELLS = (96, 72)  # of a density, across and down
_MOST_COLUMNS = 200
_DIGITS = 5  # of a point, counted from the first one of the chart's width


@dataclass(frozen=True)
class Chart:
    """A block as it is drawn.

    Attributes:
        map: the plane or line through the block, or which codes are near each other in it.
        low, high: ends of each axis, ``k`` numbers.
        colours: names and colours of the classes that points have.
        classes: ``(n,)`` the class of each point, -1 where it is not known.
        colour_label: the label or column that colours are about, None without labels.
        anchors: ``(values, size)`` codes of the label's values in order, where the block holds the value itself; the chart
            is then a line along the values.
        scale: the values at the anchors: places 0, 1, ... of a discrete label, two numbers of a continuous one.
    """

    map: BlockMap | NeighbourMap
    low: tuple[float, ...]
    high: tuple[float, ...]
    colours: tuple[tuple[str, str], ...]
    classes: np.ndarray
    colour_label: str | None
    anchors: Tensor | None
    scale: tuple[float, ...]
    label: Label | None

    @property
    def dimensions(self) -> int:
        return len(self.low)

    @property
    def digits(self) -> int:
        """Decimals of a point, on both sides: what is shown is exactly what a copied line says."""
        width = max(1e-12, min(high - low for low, high in zip(self.low, self.high, strict=True)))
        return max(0, _DIGITS - math.floor(math.log10(width)))

    def locate(self, code: Tensor) -> tuple[float, ...]:
        """Where a code ``(1, size)`` of the block is on the chart."""
        if self.anchors is None:
            return tuple(round(v, self.digits) for v in self.map.project(code)[0].tolist())
        # The nearest point of the line through the anchors; beyond its ends the line goes on.
        best, place = math.inf, 0.0
        last = len(self.anchors) - 2
        for i in range(last + 1):
            start, way = self.anchors[i], self.anchors[i + 1] - self.anchors[i]
            t = float(((code[0] - start) @ way) / way.square().sum().clamp_min(1e-12))
            t = min(max(t, 0.0 if i > 0 else -math.inf), 1.0 if i < last else math.inf)
            distance = float((start + t * way - code[0]).square().sum())
            if distance < best - 1e-9:
                best, place = distance, self.scale[i] + t * (self.scale[i + 1] - self.scale[i])
        return (round(place, self.digits),)

    @property
    def method(self) -> str:
        """How the block was brought to two axes; empty where it has no more."""
        return self.map.method if self.anchors is None else ""

    def code(self, point: tuple[float, ...], code: Tensor) -> list[float]:
        """The block's code at a point of the chart, ``size`` numbers; what the chart does not show is as in ``code``.

        Raises:
            UserError: no way leads from the chart back to a code.
        """
        if isinstance(self.map, NeighbourMap):
            raise UserError(f"a point of a map by {self.method} stands for no code; drag on the map by PCA")
        if self.anchors is None:
            moved = self.map.lift(torch.tensor([point], dtype=code.dtype), code)[0]
            if len(moved) > len(point):  # all digits: what is held does not change at all
                return [float(f"{v:.9g}") for v in moved.tolist()]
        else:
            i = min(max(int(np.searchsorted(self.scale, point[0], side="right")) - 1, 0), len(self.anchors) - 2)
            t = (point[0] - self.scale[i]) / (self.scale[i + 1] - self.scale[i])
            moved = torch.lerp(self.anchors[i], self.anchors[i + 1], t)
        return [round(v, self.digits) for v in moved.tolist()]

    def value(self, point: tuple[float, ...]) -> Any:
        """The label's value that a point of a line along values stands for; None between values, and off such a line."""
        if self.anchors is None or self.label is None:
            return None
        if not self.label.discrete:
            return self.label.format(point[0])
        return self.label.format(round(point[0])) if abs(point[0] - round(point[0])) < 1e-6 else None

    def to_dict(self) -> dict[str, Any]:
        """What the browser draws, as plain data."""
        points = self.map.points if self.anchors is None else torch.zeros(0, 1)
        dense = len(points) > DOTS
        cloud: list[list[list[float]]] = [[] for _ in self.colours]
        unknown: list[list[float]] = []
        dots = points[:0] if dense else points
        for point, kind in zip(dots.tolist(), self.classes[: len(dots)].tolist(), strict=True):
            (cloud[kind] if kind >= 0 else unknown).append([round(v, self.digits) for v in point])
        ticks: list[dict[str, Any]] = []
        if self.anchors is not None and self.label is not None and self.label.discrete:
            ticks = [{"at": float(i), "name": name} for i, name in enumerate(self.label.values)]
        marks: list[dict[str, Any]] = []
        if self.anchors is not None and self.label is not None and not self.label.discrete:
            marks = [{"at": float(v), "name": f"{v:.3g}"} for v in np.linspace(self.low[0], self.high[0], 5)]
        spots = [] if self.anchors is not None else [self._spot(i, spot) for i, spot in enumerate(self.map.priors)]
        return {
            "block": self.map.block.name,
            "fixed": isinstance(self.map, NeighbourMap),  # nothing is dragged on it
            "digits": self.digits,
            "low": self.low,
            "high": self.high,
            "axes": [self.label.name] if self.anchors is not None and self.label else list(self.map.names),
            "cloud": [*cloud, unknown],
            "colours": [colour for _, colour in self.colours] + [OTHER],
            "density": self._density(points.numpy()) if dense else None,
            "spots": spots,
            "ticks": ticks,
            "marks": marks,
        }

    def _density(self, points: np.ndarray) -> str:
        """How many samples lie where, as the address of a picture over the whole chart: colours are mixed as classes are, and
        what is twice as opaque has four times as many."""
        cells = _CELLS[: self.dimensions]
        ends = list(zip(self.low, self.high, strict=True))
        shades = np.array([_rgb(shade) for _, shade in self.colours] + [_rgb(OTHER)], float)
        counts = np.stack(
            [np.histogramdd(points[self.classes == kind], cells, ends)[0] for kind in (*range(len(self.colours)), -1)]
        ).reshape(len(shades), cells[0], -1)
        total = counts.sum(0)
        pixels = np.zeros((total.shape[1], total.shape[0], 4), np.uint8)
        mixed = np.einsum("kxy,kc->yxc", counts, shades) / np.maximum(total.T, 1)[..., None]
        pixels[..., :3] = mixed.round()
        most = max(1.0, float(np.quantile(total[total > 0], 0.98))) if total.any() else 1.0
        pixels[..., 3] = (255 * np.sqrt(np.minimum(1, total.T / most))).round()
        buffer = io.BytesIO()
        Image.fromarray(pixels[::-1]).save(buffer, "PNG")
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

    def _spot(self, index: int, spot: PriorSpot) -> dict[str, Any]:
        lengths, directions = torch.linalg.eigh(spot.covariance)
        radii = lengths.clamp_min(0).sqrt().tolist()
        angle = math.degrees(math.atan2(float(directions[1, -1]), float(directions[0, -1]))) if len(radii) > 1 else 0.0
        own = spot.value is not None and self.map.block.label == self.colour_label and self.colour_label is not None
        return {
            "name": spot.name if own or spot.value is None else str(spot.name),
            "mean": spot.mean.tolist(),
            "radii": radii[::-1],  # the longer one first
            "angle": angle,
            "colour": self.colours[min(index, len(self.colours) - 1)][1] if own else "#6b7280",
        }


def chart(model: Model, data: Dataset, found: BlockMap | NeighbourMap, colour: str | None) -> Chart:
    """How a block is drawn.

    Args:
        model: the model.
        data: its data.
        found: the block's map.
        colour: the label or column that points are coloured by, None for none.
    """
    label = None if found.block.label is None else model.schema[found.block.label]
    anchors, scale = (None, ()) if label is None or not found.holds_value else _anchors(model, label)
    low, high = _ends(data, found, label, anchors)
    colours, classes = _classes(data, found.rows, colour)
    return Chart(found, low, high, colours, classes, colour, anchors, scale, label)


def _anchors(model: Model, label: Label) -> tuple[Tensor, tuple[float, ...]]:
    """Codes of a label's values in its block, and the values: a number's code is a straight line, so two are enough."""
    if label.discrete:
        scale = tuple(float(i) for i in range(len(label.values)))
    else:
        scale = (label.mean - label.scale, label.mean + label.scale)
    with torch.no_grad():
        prior = model.prior(*model.only(label.name, torch.tensor(scale)))
    return prior[model.blocks.of(label.name).name].mode, scale


def _ends(
    data: Dataset, found: BlockMap | NeighbourMap, label: Label | None, anchors: Tensor | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if anchors is not None and label is not None:
        if label.discrete:
            return (0.0,), (float(len(label.values) - 1),)
        rows, column = data.rows("train"), data.schema.index(label.name)
        seen = data.values[rows, column][data.observed[rows, column]]
        low, high = (float(v) for v in (seen.min(), seen.max())) if len(seen) else (label.mean - 2, label.mean + 2)
        return (low,), (high,)
    points = found.points.numpy()
    lows, highs = np.quantile(points, _TAILS, axis=0)
    for spot in found.priors:
        reach = _BEYOND * spot.covariance.diagonal().clamp_min(0).sqrt()
        lows = np.minimum(lows, (spot.mean - reach).numpy())
        highs = np.maximum(highs, (spot.mean + reach).numpy())
    margin = 0.06 * np.maximum(highs - lows, 1e-3)
    return tuple((lows - margin).tolist()), tuple((highs + margin).tolist())


def _rgb(shade: str) -> tuple[int, ...]:
    return tuple(int(shade[i : i + 2], 16) for i in (1, 3, 5))


def colourings(data: Dataset) -> tuple[str, ...]:
    """What points may be coloured by: labels, and columns of vectors that are not too many."""
    columns = () if data.is_image or len(data.entries) > _MOST_COLUMNS else data.entries
    return tuple(dict.fromkeys((*data.schema.names, *columns)))


def _classes(data: Dataset, rows: np.ndarray, name: str | None) -> tuple[tuple[tuple[str, str], ...], np.ndarray]:
    """Names and colours of a label's or column's values (a number: of its fifths), and which of them each row has."""
    if name is None:
        return (), np.full(len(rows), -1)
    if name in data.schema.names:
        label, column = data.schema[name], data.schema.index(name)
        seen, values = data.observed[rows, column], data.values[rows, column]
        named = tuple(zip(label.values, of_values(data.schema, name), strict=True)) if label.discrete else ()
    else:
        column = data.entries.index(name)
        values = data.samples(rows)[:, column].numpy()
        variable = data.variables[column] if data.variables else None
        seen, values = ~np.isnan(values), values + (variable.origin if variable else 0.0)
        named = tuple((value, colour(i)) for i, value in enumerate(variable.classes)) if variable else ()
    if named:
        kinds = np.nan_to_num(values).astype(int)
        colours = named
    else:
        edges = np.quantile(values[seen], np.linspace(0, 1, len(_RAMP) + 1)) if seen.any() else np.zeros(len(_RAMP) + 1)
        kinds = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(_RAMP) - 1)
        colours = tuple((f"{edges[i]:.3g} to {edges[i + 1]:.3g}", shade) for i, shade in enumerate(_RAMP))
    return colours, np.where(seen, kinds, -1).astype(np.int16)
