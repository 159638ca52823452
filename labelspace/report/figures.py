"""Figures as functions of arrays; each returns a matplotlib figure."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from labelspace import files
from labelspace.report.pictures import to_pixels


@dataclass(frozen=True)
class Sheet:
    """A titled grid of images.

    Attributes:
        title: above the grid.
        images: ``(rows, columns, channels, height, width)``.
        rows: a name per row, may be empty.
        columns: a name per column, may be empty.
        axes: names of the horizontal and the vertical direction, for a walk through a plane.
    """

    title: str
    images: Tensor
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    axes: tuple[str, str] | None = None


def sheets(parts: Sequence[Sheet], cell: float = 0.62) -> Figure:
    """Image sheets one above the other; every image has the same size, ``cell`` inches a side."""
    heights = [part.images.shape[0] * cell + 0.55 for part in parts]
    margin = 1.25
    width = margin + max(part.images.shape[1] for part in parts) * cell + 0.1
    total = sum(heights)
    figure = Figure(figsize=(width, total), dpi=150)
    top = total
    for part, height in zip(parts, heights, strict=True):
        _sheet(figure, part, cell, margin, top, width, total)
        top -= height
    return figure


def _sheet(figure: Figure, part: Sheet, cell: float, margin: float, top: float, width: float, total: float) -> None:
    rows, columns = part.images.shape[:2]
    figure.text(margin / width, (top - 0.22) / total, part.title, fontsize=9, weight="bold", va="center")
    pixels = to_pixels(part.images)
    start = top - 0.38
    for r in range(rows):
        for c in range(columns):
            box = ((margin + c * cell) / width, (start - (r + 1) * cell) / total, cell * 0.97 / width, cell * 0.97 / total)
            axis = figure.add_axes(box)
            image = pixels[r, c]
            axis.imshow(
                image if image.shape[-1] != 1 else image[..., 0], cmap="gray", vmin=0, vmax=255, interpolation="lanczos"
            )
            axis.set_axis_off()
    for r, name in enumerate(part.rows):
        figure.text((margin - 0.08) / width, (start - (r + 0.5) * cell) / total, name, fontsize=7, ha="right", va="center")
    for c, name in enumerate(part.columns):
        figure.text((margin + (c + 0.5) * cell) / width, (start + 0.05) / total, name, fontsize=6, ha="center", va="center")
    if part.axes:
        horizontal, vertical = part.axes
        figure.text(
            (margin + columns * cell / 2) / width,
            (start - rows * cell - 0.08) / total,
            f"{horizontal} →",
            fontsize=7,
            ha="center",
        )
        figure.text(
            (margin - 0.1) / width,
            (start - rows * cell / 2) / total,
            f"{vertical} →",
            fontsize=7,
            ha="right",
            va="center",
            rotation=90,
        )


COLOURS = ("#3b6fb6", "#d1495b", "#3a9a5b", "#8a5fb0", "#c98b2b", "#4aa5a5", "#7a7a7a", "#a0522d", "#d277b5", "#2b2b2b")
"""Colours of classes and lines, in order."""


@dataclass(frozen=True)
class Scatter:
    """Points of the plane coloured by class.

    Attributes:
        x, y: ``(n,)`` coordinates.
        classes: ``(n,)`` integers.
        axes: names of the two axes.
        title: above the panel.
        limits: of both axes, ``((left, right), (bottom, top))``; None shows all points.
    """

    x: np.ndarray
    y: np.ndarray
    classes: np.ndarray
    axes: tuple[str, str] = ("", "")
    title: str = ""
    limits: tuple[tuple[float, float], tuple[float, float]] | None = None


def scatters(panels: Sequence[Sequence[Scatter]], rows: Sequence[str] = (), *, side: float = 2.1, most: int = 1500) -> Figure:
    """Rows of scatter plots, a name before each row; of many points, ``most`` are drawn."""
    columns = max(len(row) for row in panels)
    figure = Figure(figsize=(columns * side + 1.3, len(panels) * side), layout="constrained")
    axes = figure.subplots(len(panels), columns, squeeze=False)
    for r, row in enumerate(panels):
        for c in range(columns):
            axis = axes[r, c]
            if c >= len(row):
                axis.set_axis_off()
                continue
            part = row[c]
            shown = np.random.default_rng(0).permutation(len(part.x))[:most]
            colours = np.array(COLOURS)[part.classes[shown] % len(COLOURS)]
            axis.scatter(part.x[shown], part.y[shown], s=3, c=colours, alpha=0.5, linewidths=0)
            if part.limits:
                axis.set(xlim=part.limits[0], ylim=part.limits[1])
            _label(axis, part.axes, part.title)
        if rows:
            axes[r, 0].annotate(
                rows[r],
                (-0.42, 0.5),
                xycoords="axes fraction",
                rotation=90,
                va="center",
                ha="center",
                fontsize=8,
                weight="bold",
            )
    return figure


@dataclass(frozen=True)
class Lines:
    """Curves over one axis.

    Attributes:
        x: ``(n,)``, or the names of ``n`` places on the axis.
        curves: name -> ``(n,)`` values, or ``(n, 3)`` with the lower and upper end of an interval.
        axes: names of the two axes.
        title: above the panel.
        logarithmic: whether the horizontal axis is.
        limits: of the vertical axis.
    """

    x: Sequence[float]
    curves: Mapping[str, np.ndarray]
    axes: tuple[str, str] = ("", "")
    title: str = ""
    logarithmic: bool = False
    limits: tuple[float, float] | None = None


def lines(panels: Sequence[Lines], *, width: float = 3.4, height: float = 2.8) -> Figure:
    """Panels of curves side by side, with their intervals as bars."""
    figure = Figure(figsize=(len(panels) * width, height), layout="constrained")
    for axis, part in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for i, (name, values) in enumerate(part.curves.items()):
            values = np.asarray(values, float)
            middle = values if values.ndim == 1 else values[:, 0]
            bars = None if values.ndim == 1 else np.abs(values[:, 1:] - values[:, :1]).T
            axis.errorbar(
                part.x, middle, bars, label=name, color=COLOURS[i % len(COLOURS)], marker="o", ms=3, lw=1.2, capsize=2
            )
        if part.logarithmic:
            axis.set_xscale("log")
            axis.set_xticks(list(part.x), [f"{x:g}" for x in part.x])
            axis.minorticks_off()
        if part.limits:
            axis.set_ylim(*part.limits)
        _label(axis, part.axes, part.title)
        if len(part.curves) > 1:
            axis.legend(fontsize=6, frameon=False)
    return figure


@dataclass(frozen=True)
class Grid:
    """A matrix of numbers as coloured cells.

    Attributes:
        values: ``(rows, columns)``.
        rows, columns: their names.
        title: above it.
        form: how a cell's number is written.
    """

    values: np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]
    title: str = ""
    form: str = "{:.2f}"


def grids(panels: Sequence[Grid], *, cell: float = 0.62) -> Figure:
    """Matrices side by side; colours run from zero to each matrix's largest number by size."""
    widths = [len(part.columns) * cell + 1.2 for part in panels]
    height = max(len(part.rows) for part in panels) * cell + 1.0
    figure = Figure(figsize=(sum(widths), height), layout="constrained")
    found = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)[0]
    for axis, part in zip(found, panels, strict=True):
        finite = np.abs(part.values[np.isfinite(part.values)])
        top = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
        axis.imshow(np.abs(part.values), cmap="Blues", vmin=0, vmax=top)
        for r in range(len(part.rows)):
            for c in range(len(part.columns)):
                value = part.values[r, c]
                dark = abs(value) > 0.6 * top
                axis.text(
                    c, r, part.form.format(value), ha="center", va="center", fontsize=6, color="white" if dark else "black"
                )
        axis.set_xticks(range(len(part.columns)), part.columns, fontsize=6, rotation=45, ha="right")
        axis.set_yticks(range(len(part.rows)), part.rows, fontsize=6)
        axis.set_title(part.title, fontsize=8)
    return figure


def _label(axis: Axes, names: tuple[str, str], title: str) -> None:
    axis.set_xlabel(names[0], fontsize=7)
    axis.set_ylabel(names[1], fontsize=7)
    axis.tick_params(labelsize=6)
    if title:
        axis.set_title(title, fontsize=8)


def write(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG file, atomically; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", facecolor="white", metadata={"Software": None})
    files.write(path, buffer.getvalue())
