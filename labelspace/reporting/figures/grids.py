"""Matrices of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from labelspace.reporting.colours import OTHER, SIGNED, SIZES
from labelspace.reporting.figures.base import plain, styled


@dataclass(frozen=True)
class Grid:
    """A matrix of numbers as coloured cells.

    Attributes:
        values: ``(rows, columns)``; NaN is a grey cell.
        rows, columns: their names.
        title: above it.
        form: how a cell's number is written; empty: not at all.
        signed: whether colours tell the sign too; else they tell the size.
        top: the size that has the full colour; by default the largest in the matrix.
    """

    values: np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]
    title: str = ""
    form: str = "{:.2f}"
    signed: bool = False
    top: float | None = None


@styled
def grids(panels: Sequence[Grid], *, cell: float = 0.62, columns: int = 0) -> Figure:
    """Matrices; colours run from zero to each matrix's largest number by size.

    Args:
        panels: the matrices.
        cell: inches a side.
        columns: panels side by side; all of them by default.
    """
    across = min(columns or len(panels), len(panels))
    down = -(-len(panels) // across)
    names = max([len(name) for part in panels for name in part.rows], default=0)
    titles = [max(len(line) for line in part.title.split("\n")) * 0.066 for part in panels]
    widths = [
        max(max(len(part.columns) for part in panels[c::across]) * cell + 0.3 + 0.06 * names, *titles[c::across], 0.0)
        for c in range(across)
    ]
    heights = [max(len(part.rows) for part in panels[r * across : (r + 1) * across]) * cell + 0.9 for r in range(down)]
    figure = Figure(figsize=(sum(widths), sum(heights)), layout="constrained")
    found = [*figure.subplots(down, across, squeeze=False, width_ratios=widths, height_ratios=heights).flat]
    for axis, part in zip(found, panels, strict=False):
        top = part.top or _largest(part.values)
        shown = np.ma.masked_invalid(part.values if part.signed else np.abs(part.values))
        axis.set_facecolor(OTHER)
        axis.pcolormesh(
            shown, cmap=SIGNED if part.signed else SIZES, vmin=-top if part.signed else 0, vmax=top, edgecolors="none"
        )
        axis.set(aspect="equal")
        axis.invert_yaxis()
        for r, line in enumerate(part.values if part.form else ()):
            for c, value in enumerate(line):
                dark = np.isfinite(value) and abs(value) > 0.6 * top
                text = part.form.format(value) if np.isfinite(value) else "-"
                axis.text(c + 0.5, r + 0.5, text, ha="center", va="center", fontsize=6, color="white" if dark else "black")
        axis.set_xticks(np.arange(len(part.columns)) + 0.5, map(plain, part.columns), fontsize=6, rotation=45, ha="right")
        axis.tick_params(length=0)
        axis.set_yticks(np.arange(len(part.rows)) + 0.5, map(plain, part.rows), fontsize=6)
        axis.spines[:].set_visible(False)
        axis.set_title(plain(part.title), fontsize=8)
    for axis in found[len(panels) :]:
        axis.set_axis_off()
    return figure


def _largest(values: np.ndarray) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max()) if finite.size and finite.max() > 0 else 1.0
