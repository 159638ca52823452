"""Grids of images."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from labelspace.reporting.colours import SIGNED
from labelspace.reporting.figures.base import plain, styled
from labelspace.reporting.pictures import to_pixels

_GAP = 0.14  # inches between what is set apart and the rest
_CHARACTER = 0.056  # inches, of a row's name
_GREY = Normalize(0, 255)  # white is white in every image, however dark the others
_WRAPPED = 24  # characters of a row's name in a line


@dataclass(frozen=True)
class Sheet:
    """A titled grid of images.

    Attributes:
        title: above the grid.
        images: ``(rows, columns, channels, height, width)``; of one channel, three, or four; where an image is NaN nothing is
            drawn.
        rows: a name per row, may be empty.
        columns: a name per column, may be empty.
        axes: names of the horizontal and the vertical direction, for a walk through a plane.
        apart: how many rows and columns at the start are set apart from the others by a gap (donors, originals).
        limit: makes it a sheet of differences: how large a difference has the full colour. None shows images as they are.
    """

    title: str
    images: Tensor
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    axes: tuple[str, str] | None = None
    apart: tuple[int, int] = (0, 0)
    limit: float | None = None


@styled
def sheets(parts: Sequence[Sheet], cell: float = 0.62) -> Figure:
    """Image sheets one above the other; every image has the same size, ``cell`` inches a side, and columns are in line."""
    names = [line for part in parts for name in part.rows for line in _wrapped(name, _WRAPPED)]
    margin = 0.12 + max([_CHARACTER * len(name) for name in names], default=0.0)
    if any(part.axes for part in parts):
        margin = max(margin, 0.3)
    widths = [part.images.shape[1] * cell + bool(part.apart[1]) * _GAP for part in parts]
    titles = [len(part.title) * 0.072 for part in parts]
    width = margin + max(*widths, *titles) + 0.1 if parts else margin
    heights = [_header(part, cell) + part.images.shape[0] * cell + bool(part.apart[0]) * _GAP + _footer(part) for part in parts]
    total = sum(heights)
    figure = Figure(figsize=(width, total), dpi=150)
    top = total
    for part, height in zip(parts, heights, strict=True):
        _sheet(figure, part, cell, margin, top, (width, total))
        top -= height
    return figure


def _wrapped(name: str, width: int) -> list[str]:
    return textwrap.wrap(name, width, max_lines=2, placeholder="…") or [""]


def _column_names(part: Sheet, cell: float) -> list[str]:
    """Names of columns in lines that are as wide as an image."""
    return ["\n".join(_wrapped(name, max(6, round(cell / 0.05)))) for name in part.columns]


def _header(part: Sheet, cell: float) -> float:
    lines = max((name.count("\n") + 1 for name in _column_names(part, cell)), default=0)
    return 0.3 * bool(part.title) + 0.1 * lines + 0.06


def _footer(part: Sheet) -> float:
    return 0.26 if part.axes else 0.1


def _sheet(figure: Figure, part: Sheet, cell: float, margin: float, top: float, size: tuple[float, float]) -> None:
    rows, columns = part.images.shape[:2]
    width, total = size
    start = top - _header(part, cell)

    def left(c: int) -> float:
        return margin + c * cell + _GAP * (0 < part.apart[1] <= c)

    def above(r: int) -> float:
        return start - r * cell - _GAP * (0 < part.apart[0] <= r)

    if part.title:
        figure.text(margin / width, (top - 0.16) / total, plain(part.title), fontsize=9, weight="bold", va="center")
    # One pair of axes in inches for all images of a sheet: a pair for each would take most of the time of drawing.
    bottom, right = above(rows - 1) - cell, left(columns - 1) + cell
    box = (margin / width, bottom / total, (right - margin) / width, (start - bottom) / total)
    axis = figure.add_axes(box, xlim=(margin, right), ylim=(bottom, start))
    axis.set_axis_off()
    pixels = _pixels(part)
    empty = torch.isnan(part.images).flatten(2).all(-1)
    tall, wide = part.images.shape[-2:]
    across, down = cell * 0.97 * min(1.0, wide / tall), cell * 0.97 * min(1.0, tall / wide)
    for r in range(rows):
        for c in range(columns):
            if empty[r, c]:
                continue
            x, y = left(c) + (cell * 0.97 - across) / 2, above(r) - (cell * 0.97 - down) / 2
            image = AxesImage(axis, cmap="gray", norm=_GREY, interpolation="lanczos", extent=(x, x + across, y - down, y))
            image.set_data(pixels[r, c])
            axis.add_image(image)
    for r, name in enumerate(part.rows):
        text = plain("\n".join(_wrapped(name, _WRAPPED)))
        figure.text((margin - 0.06) / width, (above(r) - cell / 2) / total, text, fontsize=7, ha="right", va="center")
    for c, name in enumerate(_column_names(part, cell)):
        figure.text((left(c) + cell * 0.485) / width, (start + 0.04) / total, plain(name), fontsize=6, ha="center", va="bottom")
    if part.axes:
        horizontal, vertical = part.axes
        middle = (left(0) + left(columns - 1) + cell) / 2 / width
        figure.text(middle, (above(rows - 1) - cell - 0.13) / total, plain(f"{horizontal} →"), fontsize=7, ha="center")
        figure.text(
            (margin - 0.1) / width,
            (start + above(rows - 1) - cell) / 2 / total,
            plain(f"{vertical} →"),
            fontsize=7,
            ha="right",
            va="center",
            rotation=90,
        )


def _pixels(part: Sheet) -> np.ndarray:
    """``(rows, columns, height, width)`` or with colours behind, as uint8."""
    images = part.images.nan_to_num()
    if part.limit is not None:
        signed = images.mean(-3).cpu().numpy() / max(part.limit, 1e-9)
        return (colormaps[SIGNED](signed / 2 + 0.5)[..., :3] * 255 + 0.5).astype(np.uint8)
    if images.shape[2] not in (1, 3, 4):  # there are no such pictures: their brightness is shown
        images = images.mean(2, keepdim=True)
    pixels = to_pixels(images)
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels
