"""Curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from labelspace.reporting.colours import INK, OTHER, colour
from labelspace.reporting.figures.base import label, plain, styled

_MANY = 16  # points: more of them are a line without marks


@dataclass(frozen=True)
class Lines:
    """Curves over one axis.

    Attributes:
        x: ``(n,)``, or the names of ``n`` places on the axis.
        curves: name -> ``(n,)`` values, or ``(n, 3)`` with the lower and upper end of an interval; NaN is a gap.
        axes: names of the two axes.
        title: above the panel.
        logarithmic: whether the horizontal axis is.
        limits: of the vertical axis.
        colours: name -> colour of a curve; the others take theirs by their place.
        dashed: names of curves that are dashed.
        mark: where on the horizontal axis a vertical line is drawn.
        note: small, inside the panel.
        whole: whether the horizontal axis counts (epochs).
    """

    x: Sequence[float] | np.ndarray
    curves: Mapping[str, np.ndarray]
    axes: tuple[str, str] = ("", "")
    title: str = ""
    logarithmic: bool = False
    limits: tuple[float, float] | None = None
    colours: Mapping[str, str] = field(default_factory=dict)
    dashed: frozenset[str] = frozenset()
    mark: float | None = None
    note: str = ""
    whole: bool = False


@styled
def lines(
    panels: Sequence[Lines], *, width: float = 3.4, height: float = 2.8, columns: int = 0, shared: bool = False
) -> Figure:
    """Panels of curves, with their intervals as bars.

    Args:
        panels: the panels.
        width, height: of a panel, in inches.
        columns: panels side by side; all of them by default.
        shared: one legend below all panels instead of one in each.
    """
    across = min(columns or len(panels), len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(across * width, down * height + 0.3 * shared), layout="constrained")
    axes = [*figure.subplots(down, across, squeeze=False).flat]
    known = {}
    for axis, part in zip(axes, panels, strict=False):
        for i, (name, values) in enumerate(part.curves.items()):
            values = np.asarray(values, float)
            middle = values if values.ndim == 1 else values[:, 0]
            bars = None if values.ndim == 1 else np.abs(values[:, 1:] - values[:, :1]).T
            known[name] = axis.errorbar(
                part.x,
                middle,
                bars,
                label=plain(name),
                color=part.colours.get(name, colour(i)),
                linestyle=(0, (4, 2)) if name in part.dashed else "-",
                marker="o" if np.isfinite(middle).sum() <= _MANY else "",
                ms=3 if len(middle) <= 6 else 2,
                lw=1.2,
                capsize=2,
            )
        if part.logarithmic:
            axis.set_xscale("log")
            axis.set_xticks(list(part.x), [f"{x:g}" for x in part.x])
            axis.minorticks_off()
        if part.whole:
            axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        if part.limits:
            axis.set_ylim(*part.limits)
        if part.mark is not None:
            axis.axvline(part.mark, color=OTHER, lw=0.8, ls=":", zorder=0)
        if part.note:
            axis.text(
                0.98,
                0.96,
                plain(part.note),
                transform=axis.transAxes,
                fontsize=5.5,
                ha="right",
                va="top",
                color=INK,
                alpha=0.75,
            )
        label(axis, part.axes, part.title)
        if not shared and len(part.curves) > 1:
            axis.legend(fontsize=6, frameon=False)
    for axis in axes[len(panels) :]:  # places of the last row that are left over
        axis.set_axis_off()
    if shared and known:
        figure.legend(
            known.values(),
            map(plain, known),
            fontsize=7,
            frameon=False,
            loc="outside lower center",
            ncols=max(1, int(width * across / (0.4 + 0.055 * max(map(len, known))))),
            handlelength=1.4,
            columnspacing=1.0,
        )
    return figure
