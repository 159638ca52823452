"""Points of the plane: scatter plots, and maps of latent blocks and of data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse

from labelspace.reporting.colours import INK, OTHER, SEQUENTIAL, colour, marker
from labelspace.reporting.figures.base import label, plain, styled


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


@styled
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
            shown = _some(len(part.x), most)
            colours = [colour(k) for k in part.classes[shown]]
            axis.scatter(part.x[shown], part.y[shown], s=3, c=colours, alpha=0.5, linewidths=0)
            if part.limits:
                axis.set(xlim=part.limits[0], ylim=part.limits[1])
            label(axis, part.axes, part.title)
        if rows:
            _name_row(axes[r, 0], rows[r])
    return figure


@dataclass(frozen=True)
class Spot:
    """A Gaussian on a map, or a point where it has no width.

    Attributes:
        name: of the spot, or empty.
        mean: ``(k,)``.
        covariance: ``(k, k)``.
        colour: of its outline.
    """

    name: str
    mean: np.ndarray
    covariance: np.ndarray
    colour: str = INK


@dataclass(frozen=True)
class Map:
    """A line or a plane: points coloured by class or by number, Gaussians as ellipses of one and two deviations, paths.

    Attributes:
        points: ``(n, k)``, k is 1 (densities are drawn) or 2.
        classes: ``(n,)`` integers, -1 for points of no class; None: all points are of no class.
        numbers: ``(n,)`` what colours the points instead of classes; NaN is a point of no number.
        names: of the classes.
        colours: of the classes.
        spots: Gaussians.
        paths: each ``(steps, k)``, drawn as a line with a head at its end.
        path_colours: of the paths.
        axes: names of the axes.
        title: above the panel.
    """

    points: np.ndarray
    classes: np.ndarray | None = None
    numbers: np.ndarray | None = None
    names: Sequence[str] = ()
    colours: Sequence[str] = ()
    spots: Sequence[Spot] = ()
    paths: Sequence[np.ndarray] = ()
    path_colours: Sequence[str] = field(default=())
    axes: tuple[str, ...] = ("", "")
    title: str = ""


@styled
def maps(
    panels: Sequence[Sequence[Map]],
    rows: Sequence[str] = (),
    *,
    side: float = 2.5,
    most: int = 800,
    columns: int = 4,
    alike: bool = False,
) -> Figure:
    """Rows of maps.

    Args:
        panels: the maps of each row.
        rows: names before the rows.
        side: of a map, in inches.
        most: of many points, so many are drawn.
        columns: a row of more maps goes on below.
        alike: whether all maps show the same part of the plane.
    """
    lines = [(r, row[start : start + columns]) for r, row in enumerate(panels) for start in range(0, len(row), columns)]
    across = max(len(line) for _, line in lines)
    figure = Figure(figsize=(across * side + 0.4 * bool(rows), len(lines) * (side + 0.35)), layout="constrained")
    axes = figure.subplots(len(lines), across, squeeze=False)
    ends = [_reach(part) for _, line in lines for part in line] if alike else []
    reach = [(min(end[k][0] for end in ends), max(end[k][1] for end in ends)) for k in (0, 1)] if alike else []
    for (r, line), places in zip(lines, axes, strict=True):
        for axis, part in zip(places, line, strict=False):
            (_plane if part.points.shape[1] == 2 else _line)(axis, part, most)
            if alike:
                axis.set(xlim=reach[0], ylim=reach[1])
            label(axis, (*part.axes, "")[:2], part.title)  # type: ignore[arg-type]
            axis.locator_params(nbins=5)
            _legend(figure, axis, part)
        for axis in places[len(line) :]:
            axis.set_axis_off()
        if rows:
            _name_row(places[0], rows[r])
    return figure


def _some(n: int, most: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(n)[:most]


def _name_row(axis: Axes, name: str) -> None:
    axis.annotate(
        plain(name), (-0.42, 0.5), xycoords="axes fraction", rotation=90, va="center", ha="center", fontsize=8, weight="bold"
    )


def _colours(part: Map) -> Sequence[str]:
    return part.colours or [colour(i) for i in range(len(part.names))]


def _groups(part: Map) -> list[tuple[int, np.ndarray]]:
    """Classes and which points they have; -1 first, so that it lies below the others."""
    classes = np.full(len(part.points), -1) if part.classes is None else part.classes
    return [(int(k), classes == k) for k in np.unique(classes)]


def _plane(axis: Axes, part: Map, most: int) -> None:
    shown = np.zeros(len(part.points), bool)
    shown[_some(len(part.points), most)] = True
    if part.numbers is not None:
        known = shown & np.isfinite(part.numbers)
        axis.scatter(*part.points[shown & ~known].T, s=5, c=OTHER, alpha=0.35, linewidths=0)
        axis.scatter(*part.points[known].T, s=6, c=part.numbers[known], cmap=SEQUENTIAL, alpha=0.75, linewidths=0)
    else:
        colours = _colours(part)
        for k, members in _groups(part):
            axis.scatter(
                *part.points[shown & members].T,
                s=5 if k < 0 else 7,
                c=OTHER if k < 0 else colours[k],
                marker="o" if k < 0 else marker(k),
                alpha=0.35 if k < 0 else 0.55,
                linewidths=0,
            )
    limits = [(low, high) for low, high in _reach(part)]
    for spot in part.spots:
        _ellipse(axis, spot)
    heads = part.path_colours or [INK] * len(part.paths)
    for path, head in zip(part.paths, heads, strict=True):
        axis.plot(*path.T, color=head, lw=1, alpha=0.9, solid_capstyle="round", zorder=3)
        if np.ptp(path, axis=0).max() > 0:
            axis.annotate(
                "", path[-1], path[-2], arrowprops={"arrowstyle": "-|>", "color": head, "lw": 1, "shrinkA": 0, "shrinkB": 0}
            )
    axis.set(xlim=limits[0], ylim=limits[1])


def _reach(part: Map) -> list[tuple[float, float]]:
    """Limits per axis that show nearly all points, two standard deviations of every spot, and all paths."""
    lows, highs = [], []
    if len(part.points):
        tails = np.nanquantile(part.points, [0.002, 0.998], axis=0)
        lows.append(tails[0])
        highs.append(tails[1])
    for spot in part.spots:
        spread = 2.1 * np.sqrt(np.diag(spot.covariance))
        lows.append(spot.mean - spread)
        highs.append(spot.mean + spread)
    for path in part.paths:
        lows.append(path.min(0))
        highs.append(path.max(0))
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    margin = np.maximum(0.06 * (high - low), 1e-3)
    return list(zip((low - margin).tolist(), (high + margin).tolist(), strict=True))


def _ellipse(axis: Axes, spot: Spot) -> None:
    values, vectors = np.linalg.eigh(spot.covariance)
    if values.max() < 1e-12:
        axis.plot(*spot.mean, marker="X", ms=8, mfc=spot.colour, mec=INK, mew=0.8, ls="")
        return
    angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
    widths = 2 * np.sqrt(np.maximum(values, 0))
    for times, style in ((1, "-"), (2, "--")):
        shape = Ellipse(
            (float(spot.mean[0]), float(spot.mean[1])), times * widths[1], times * widths[0], angle=angle, fill=False,
            edgecolor=spot.colour, lw=1.2, ls=style, zorder=3,
        )  # fmt: skip
        axis.add_patch(shape)
    if spot.name:
        axis.annotate(
            plain(spot.name), (float(spot.mean[0]), float(spot.mean[1])), fontsize=6, ha="center", va="center", zorder=4,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": spot.colour, "lw": 0.6, "alpha": 0.85}, color="black",
        )  # fmt: skip


def _line(axis: Axes, part: Map, most: int) -> None:
    """Densities of the points of every class as outlines, priors as curves; a number is the height of its point."""
    ((low, high),) = _reach(part)
    points = part.points[:, 0]
    grid = np.linspace(low, high, 200)
    if part.numbers is not None:
        known = np.isfinite(part.numbers)
        shown = np.flatnonzero(known)[_some(int(known.sum()), most)]
        axis.scatter(points[shown], part.numbers[shown], s=6, c=part.numbers[shown], cmap=SEQUENTIAL, alpha=0.75, linewidths=0)
        for spot in part.spots:
            axis.axvline(float(spot.mean[0]), color=spot.colour, lw=0.8, ls="--")
        axis.set_xlim(low, high)
        return
    colours, edges = _colours(part), np.linspace(low, high, 41)
    for k, members in _groups(part):
        if not members.any():
            continue
        inside = np.clip(points[members], low, high)
        axis.hist(inside, edges.tolist(), density=True, color=OTHER if k < 0 else colours[k], alpha=0.45, histtype="stepfilled")
    for spot in part.spots:
        scale = float(np.sqrt(spot.covariance[0, 0]))
        if scale < 1e-6:
            axis.axvline(float(spot.mean[0]), color=spot.colour, lw=1.2, ls="--")
        else:
            height = np.exp(-0.5 * ((grid - spot.mean[0]) / scale) ** 2) / (scale * np.sqrt(2 * np.pi))
            axis.plot(grid, height, color=spot.colour, lw=1.2, ls="--")
    axis.set_xlim(low, high)
    axis.set_yticks([])


def _legend(figure: Figure, axis: Axes, part: Map) -> None:
    if part.numbers is not None:
        finite = part.numbers[np.isfinite(part.numbers)]
        if finite.size:
            scale = ScalarMappable(Normalize(float(finite.min()), float(finite.max())), SEQUENTIAL)
            bar = figure.colorbar(scale, ax=axis, orientation="horizontal", shrink=0.8, aspect=30, pad=0.02)
            bar.ax.tick_params(labelsize=5)
            bar.outline.set_visible(False)  # type: ignore[operator]
        return
    names = [*part.names]
    if not names:
        return
    marks = [
        Line2D([], [], marker=marker(i), color=c, ls="", ms=4, label=plain(name))
        for i, (name, c) in enumerate(zip(names, _colours(part), strict=True))
    ]
    if part.classes is not None and (part.classes < 0).any():
        marks.append(Line2D([], [], marker="o", color=OTHER, alpha=0.5, ls="", ms=3, label="not known"))
    columns = min(5, max(1, int(2.3 / (0.25 + 0.055 * max(map(len, names))))))
    axis.legend(
        handles=marks, fontsize=6, frameon=False, ncols=columns, loc="upper center", bbox_to_anchor=(0.5, -0.2),
        handletextpad=0.1, columnspacing=0.8, borderpad=0,
    )  # fmt: skip
