"""What edits do to vectors and tables: on a plane through the data, and entry by entry.

Every function returns title, figure, alternative text and caption. Entries are in standard deviations of the data; missing
cells are grey, and on the plane they stand at the mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from labelspace import interventions
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.evaluation import probing
from labelspace.models.base import Model
from labelspace.reporting import colours
from labelspace.reporting.choices import Runs, by_label, coloured, donors_and_takers, first_data, known, one_of_each
from labelspace.reporting.figures import Grid, Map, grids, maps

Parts = tuple[str, Figure, str, str]

_ENTRIES = 24  # entries of a sample that are shown one by one
_CLOUD = 500  # samples behind what is shown
_STEPS = 9  # of a walk
_PATHS = 24  # samples whose change is drawn
_AVERAGED = 200  # samples over which changes are averaged


class Plane:
    """A plane through the data: its own two entries, or the two principal axes of its standardised entries."""

    def __init__(self, data: Dataset) -> None:
        x = data.samples(probing.chosen(data, "train", 2000)).numpy().astype(np.float64)
        self.mean = np.nan_to_num(np.nanmean(x, 0))
        spread = np.nanstd(x, 0)
        self.sd = np.where(np.isfinite(spread) & (spread > 0), spread, 1.0)
        self.own = x.shape[1] <= 2
        self.axes, self.names = np.eye(x.shape[1])[:, :2], data.entries[:2]
        if not self.own:
            _, lengths, directions = np.linalg.svd(self.standard(x), full_matrices=False)
            self.axes = directions[:2].T * np.where(directions[:2].sum(1) < 0, -1, 1)
            shares = lengths**2 / max((lengths**2).sum(), 1e-12)
            self.names = tuple(f"data axis {i + 1} ({shares[i]:.0%} of variance)" for i in range(2))
        self.flat = self.axes.shape[1] == 2
        self.cloud = self.place(data.samples(probing.chosen(data, "test", _CLOUD)))

    def standard(self, x: np.ndarray) -> np.ndarray:
        """Entries in standard deviations from the mean, missing cells at the mean."""
        return np.nan_to_num((x - self.mean) / self.sd)

    def place(self, x: Tensor) -> np.ndarray:
        """Where samples are on the plane, ``(n, 2)`` (a line of single numbers: ``(n, 1)``)."""
        standard = self.standard(x.numpy().astype(np.float64))
        return standard * self.sd + self.mean if self.own else standard @ self.axes

    def changes(self, before: Tensor, after: Tensor) -> np.ndarray:
        """How entries change, in standard deviations."""
        return (after.numpy().astype(np.float64) - before.numpy()) / self.sd

    def map(self, title: str, steps: Sequence[Tensor] = (), path_colours: Sequence[str] = ()) -> Map:
        """The cloud, and the paths of samples; ``steps`` are the samples ``(n, d)`` at each step."""
        paths = list(np.stack([self.place(step) for step in steps], 1)) if steps else []
        return Map(self.cloud, paths=paths, path_colours=path_colours, axes=self.names, title=title)


def reconstructions(runs: Runs, rows: np.ndarray) -> list[Parts]:
    data = first_data(runs)
    plane, rows = Plane(data), rows[:60]
    x = data.samples(rows)
    made = {name: probing.reconstructed(*run, rows) for name, run in runs.items()}
    names = [*made] if len(made) > 1 else ["sample → reconstruction"]
    panels = [plane.map(name, (x, again)) for name, again in zip(names, made.values(), strict=True)]
    out = [
        (
            "On a plane",
            maps([panels], side=3.2 if len(panels) == 1 else 2.6, alike=plane.flat),
            f"{len(rows)} test samples and where their reconstructions are.",
            f"Arrows go from {len(rows)} test samples to their reconstructions from mean codes; behind them the test data.",
        )
    ]
    few, entries = 8, _entries(data)
    tables = {"original": x, **(made if len(made) > 1 else {"reconstruction": next(iter(made.values()))})}
    panels = [
        _grid(
            data,
            plane.changes(torch.from_numpy(plane.mean)[None], table[:few]),
            [f"sample {i + 1}" for i in range(few)],
            title,
            3.0,
        )
        for title, table in tables.items()
    ]
    out.append(
        (
            "Entry by entry",
            grids(panels, cell=0.2, columns=3 if entries <= 8 else 1 if entries > 16 else 2),
            f"{entries} entries of {few} test samples and of their reconstructions.",
            f"{_of_entries(data)} in standard deviations of the data, full colour at ±3.",
        )
    )
    return out


def every_label(model: Model, data: Dataset, values: Mapping[str, Mapping[str, Any]]) -> Parts:
    plane, titles, lines = Plane(data), [], []
    for name, given in values.items():
        for value in [*given] if data.schema[name].discrete else [*given][:: max(1, len(given) - 1)]:
            try:
                rows = known(data, name, _AVERAGED, unlike=value if data.schema[name].discrete else None)
            except UserError:
                continue  # all samples have it already
            x = data.samples(rows)
            edited = interventions.set(model, x, {name: given[value]}, data.labels(rows)).x
            lines.append(torch.from_numpy(plane.changes(x, edited)).nanmean(0).numpy())  # grey where all of them miss a column
            titles.append(f"{name} = {value}")
    if not lines:
        raise UserError("no test sample has a label")
    return (
        "Every label set",
        grids([_grid(data, np.stack(lines), titles, "", 1.0)], cell=0.3),
        f"Mean change of entries when {', '.join(values)} are set.",
        f"Each row: one label is set on up to {_AVERAGED} test samples that have another value. {_of_entries(data)}, and how "
        "far they move on average, in standard deviations of the data; full colour at ±1.",
    )


def set_to_values(model: Model, data: Dataset, name: str, values: Mapping[str, Any]) -> Parts:
    plane, shown, changes = Plane(data), _colours(data, name, values), []
    panels = []
    for value, given in values.items():
        rows = known(data, name, _PATHS, unlike=value if data.schema[name].discrete else None)
        x, labels = data.samples(rows), data.labels(rows)
        again, edited = (
            probing.reconstructed(model, data, rows),
            interventions.set(model, x, {name: given}, labels, keep_detail=False).x,
        )
        changes.append(np.nanmean(plane.changes(again, edited), 0))
        panels.append(plane.map(f"{name} set to {value}", (again, edited), [shown[value]] * len(rows)))
    most = f"{data.shape[0]} entries"
    return (
        "Set to its values",
        maps([panels], alike=plane.flat),
        f"Where test samples go when {name} is set to {', '.join(values)}.",
        f"Arrows go from reconstructions to the same samples with {name} set; behind them the test data. Mean change over all "
        f"{most}: " + "; ".join(f"{value} {np.abs(c).mean():.2f} sd" for value, c in zip(values, changes, strict=True)) + ".",
    )


def traversal(model: Model, data: Dataset, name: str, size: int, coordinate: int, span: Any, along: str) -> Parts:
    plane, rows = Plane(data), one_of_each(data, name, 10)
    walk = interventions.traverse(
        model,
        data.samples(rows),
        name,
        data.labels(rows),
        coordinates=(coordinate,),
        steps=_STEPS,
        span=span,
        keep_detail=False,
    )
    points = walk.record.options["axes"][0]
    paths = plane.map("walks", walk.x.unbind(1), [colours.of_label(data.schema, name)] * len(rows))
    where = f"coordinate {coordinate + 1} of {size}" if size > 1 else "its coordinate"
    return (
        f"Traversal of {where}",
        maps([[paths]], side=3.2),
        f"Where {len(rows)} samples go while {where} of the block of {name} goes from {points[0]:.2g} to {points[-1]:.2g}.",
        f"Each line is a sample while {where} in the block of {name} goes from {points[0]:.2g} to its arrow's head at "
        f"{points[-1]:.2g}, {along}; everything else is held.",
    )


def transfer(model: Model, data: Dataset, name: str) -> Parts:
    plane = Plane(data)
    takers, donors = donors_and_takers(data, name, takers=12, donors=4)
    panels = []
    for donor in donors:
        given = np.repeat(donor, len(takers))
        done = interventions.transfer(
            model, data.samples(takers), data.samples(given), name, data.labels(takers), data.labels(given), keep_detail=False
        )
        value = data.schema.decode(*data.labels([donor]))[name][0]
        shown = f"{value:.3g}" if isinstance(value, float) else str(value)
        colour = _colours(data, name, {str(value): value}).get(str(value), colours.INK)
        steps = (probing.reconstructed(model, data, takers), done.x)
        panels.append(plane.map(f"donor: {name} {shown}", steps, [colour] * len(takers)))
    return (
        "Transfer",
        maps([panels], alike=plane.flat),
        f"Where {len(takers)} test samples go when they take the block of {name} of {len(donors)} donors.",
        f"Arrows go from the reconstructions of {len(takers)} samples to the same with each donor's block of {name}.",
    )


def edited_by_all(runs: Runs, name: str, values: Mapping[str, Any]) -> Parts:
    data, value = first_data(runs), [*values][-1]
    plane = Plane(data)
    rows = known(data, name, _PATHS, unlike=value if data.schema[name].discrete else None)
    x, shown = data.samples(rows), [_colours(data, name, values)[value]] * len(rows)
    panels = []
    for run, (model, own) in runs.items():
        edited = interventions.set(model, x, {name: values[value]}, own.labels(rows), keep_detail=False).x
        panels.append(plane.map(run, (probing.reconstructed(model, own, rows), edited), shown))
    return (
        f"{name} set to {value}",
        maps([panels], alike=plane.flat),
        f"Where the same {len(rows)} test samples go when {name} is set to {value} by {', '.join(runs)}.",
        f"Arrows go from each model's reconstructions to the same samples with {name} set to {value}.",
    )


def generated(runs: Runs) -> Parts:
    data = first_data(runs)
    plane, rows = Plane(data), probing.chosen(data, "test", _CLOUD)
    label = next(iter(data.schema.names), None)
    panels = [replace(plane.map("test samples"), **by_label(data, rows, label))]
    for name, (model, _) in runs.items():
        made = interventions.generate(model, n=_CLOUD, generator=torch.Generator().manual_seed(0))
        asked = {}
        if label is not None and model.labelled and label in model.schema.names:
            values, observed = data.schema.select([label]).encode({label: made.record.target[label]})
            asked = coloured(data.schema, label, values[:, 0], observed[:, 0])
        shown = name if len(runs) > 1 else "new samples"
        panels.append(Map(plane.place(made.x), **asked, axes=plane.names, title=shown))
    return (
        "New samples",
        maps([panels], alike=plane.flat),
        f"Test samples, and as many new samples of {', '.join(runs)}.",
        "Labels drawn from their frequencies in the training data, codes from where training codes lie."
        + (f" Colours: {label}, as it was asked for." if label is not None else ""),
    )


def _entries(data: Dataset) -> int:
    return min(_ENTRIES, data.shape[0])


def _of_entries(data: Dataset) -> str:
    return f"The first {_ENTRIES} of {data.shape[0]} entries" if data.shape[0] > _ENTRIES else "All entries"


def _grid(data: Dataset, values: np.ndarray, rows: Sequence[str], title: str, top: float) -> Grid:
    return Grid(values[:, :_ENTRIES], rows[: len(values)], list(data.entries[:_ENTRIES]), title, form="", signed=True, top=top)


def _colours(data: Dataset, name: str, values: Mapping[str, Any]) -> dict[str, str]:
    """A discrete label's values in their own colours, a number's in the label's."""
    if not data.schema[name].discrete:
        return dict.fromkeys(values, colours.of_label(data.schema, name))
    return dict(zip(data.schema[name].values, colours.of_values(data.schema, name), strict=True))
