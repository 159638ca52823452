"""Figures as functions of arrays; each returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from torch import Tensor

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
