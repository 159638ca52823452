"""What edits do to images, as sheets. Every function returns title, figure, alternative text and caption."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from labelspace import interventions
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.evaluation import probing
from labelspace.models.base import Model
from labelspace.reporting.choices import Runs, donors_and_takers, first_data, known, names_of, one_of_each
from labelspace.reporting.figures import Sheet, sheets

Parts = tuple[str, Figure, str, str]

_LARGEST = 96  # pixels a side: larger images are reduced, so that a page stays small
_STEPS = 7  # of a walk
_SAMPLES = 8  # whose labels are set one after the other
_LOOKED_AT = 1000
_CELL = 0.72  # inches a side


def reconstructions(runs: Runs, rows: np.ndarray) -> list[Parts]:
    rows = rows[:10]
    x = first_data(runs).samples(rows)
    made = {name: probing.reconstructed(*run, rows) for name, run in runs.items()}
    differences = {name: again - x for name, again in made.items()}
    limit = max(float(torch.stack([*differences.values()]).mean(2).abs().max()), 1e-3)
    rows_of = [*made] if len(made) > 1 else ["reconstruction"]
    parts = [
        Sheet("", _small(torch.stack([x, *made.values()])), rows=["original", *rows_of], apart=(1, 0)),
        Sheet(
            f"Reconstruction minus original, brightness within ±{limit:.2f}",
            _small(torch.stack([*differences.values()])),
            rows=rows_of if len(made) > 1 else ["difference"],
            limit=limit,
        ),
    ]
    return [
        (
            "Reconstructions",
            sheets(parts, _CELL),
            f"{len(rows)} test samples, their reconstructions, and the differences.",
            "Test samples decoded from their mean codes, encoded with what is known of their labels. Differences: orange where "
            "the reconstruction is brighter, violet where it is darker. "
            f"From the left: {', '.join(names_of(first_data(runs), rows))}.",
        )
    ]


def every_label(model: Model, data: Dataset, values: Mapping[str, Mapping[str, Any]]) -> Parts:
    rows = probing.chosen(data, "test", _LOOKED_AT)
    rows = rows[data.observed[rows].all(1)][:_SAMPLES]
    if not len(rows):
        raise UserError("no test sample has every label")
    x, labels = data.samples(rows), data.labels(rows)
    lines, titles = [x], ["original"]
    for name, given in values.items():
        column = labels[0][:, data.schema.index(name)]
        wanted = [_another(data, name, given, float(value)) for value in column]
        edited = torch.empty_like(x)
        for value in set(wanted):
            these = torch.tensor([one == value for one in wanted])
            own = (labels[0][these], labels[1][these])
            edited[these] = interventions.set(model, x[these], {name: given[value]}, own).x
        lines.append(edited)
        titles.append(name)
    return (
        "Every label set to another value",
        sheets([Sheet("", _small(torch.stack(lines)), rows=titles, apart=(1, 0))], _CELL),
        f"{len(rows)} test samples, and the same with each of {', '.join(values)} set to another value.",
        f"Samples, from the left: {', '.join(names_of(data, rows))}. In each row one label has another value than the sample's "
        "own: a binary label the other one, a number one far from it, a class the next one.",
    )


def _another(data: Dataset, name: str, values: Mapping[str, Any], own: float) -> str:
    """A value of those shown that a sample does not have."""
    label, shown = data.schema[name], list(values)
    if not label.discrete:
        return max(shown, key=lambda value: abs(float(values[value]) - own))
    return shown[(int(own) + 1) % len(shown)]


def set_to_values(model: Model, data: Dataset, name: str, values: Mapping[str, Any]) -> Parts:
    rows = one_of_each(data, name, 4)
    x, labels = data.samples(rows), data.labels(rows)
    columns = [x, probing.reconstructed(model, data, rows)]
    columns += [interventions.set(model, x, {name: value}, labels).x for value in values.values()]
    names = ["original", "reconstruction", *(f"{name} {value}"[:24] for value in values)]
    sheet = Sheet("", _small(torch.stack(columns, 1)), rows=_own(data, rows, name), columns=names, apart=(0, 2))
    return (
        "Set to its values",
        sheets([sheet], _CELL),
        f"{len(rows)} test samples with {name} set to {', '.join(values)}.",
        f"Each row is a sample; {name} is set to each value and everything else is held.",
    )


def traversal(model: Model, data: Dataset, name: str, size: int, coordinate: int, span: Any, along: str) -> Parts:
    rows = one_of_each(data, name, 4)
    walk = interventions.traverse(
        model, data.samples(rows), name, data.labels(rows), coordinates=(coordinate,), steps=_STEPS, span=span
    )
    points = walk.record.options["axes"][0]
    columns = torch.cat([data.samples(rows)[:, None], walk.x], 1)
    names = ["original", *(f"{point:.2g}" for point in points)]
    sheet = Sheet("", _small(columns), rows=_own(data, rows, name), columns=names, apart=(0, 1))
    where = f"coordinate {coordinate + 1} of {size}" if size > 1 else "its coordinate"
    return (
        f"Traversal of {where}",
        sheets([sheet], _CELL),
        f"{len(rows)} test samples while {where} of the block of {name} goes from {points[0]:.2g} to {points[-1]:.2g}.",
        f"A walk along {where} in the block of {name}, {along}; everything else is held.",
    )


def transfer(model: Model, data: Dataset, name: str) -> Parts:
    takers, donors = donors_and_takers(data, name, takers=4, donors=6)
    lines = []
    for taker in takers:
        taken = np.repeat(taker, len(donors))
        done = interventions.transfer(
            model, data.samples(taken), data.samples(donors), name, data.labels(taken), data.labels(donors)
        )
        lines.append(torch.cat([data.samples([taker]), done.x]))
    blank = torch.full((1, *data.shape), torch.nan)
    grid = torch.stack([torch.cat([blank, data.samples(donors)]), *lines])
    sheet = Sheet(
        "", _small(grid), rows=["donors", *_own(data, takers, name)], columns=["", *_own(data, donors, name)], apart=(1, 1)
    )
    return (
        "Transfer",
        sheets([sheet], _CELL),
        f"{len(takers)} test samples with the block of {name} of {len(donors)} donors.",
        f"Each row's sample takes the block of {name} from each column's donor and keeps everything else.",
    )


def edited_by_all(runs: Runs, name: str, values: Mapping[str, Any]) -> Parts:
    data, value = first_data(runs), [*values][-1]
    rows = known(data, name, 10, unlike=value if data.schema[name].discrete else None)
    x = data.samples(rows)
    made = [interventions.set(model, x, {name: values[value]}, own.labels(rows)).x for model, own in runs.values()]
    sheet = Sheet("", _small(torch.stack([x, *made])), rows=["original", *runs], apart=(1, 0))
    return (
        f"{name} set to {value}",
        sheets([sheet], _CELL),
        f"{len(rows)} test samples with {name} set to {value}, a row for each of {', '.join(runs)}.",
        f"The same samples, {name} set to {value} by each model.",
    )


def generated(runs: Runs) -> Parts:
    parts = []
    for name, (model, _) in runs.items():
        title = name if len(runs) > 1 else ""
        done = interventions.generate(model, n=20, generator=torch.Generator().manual_seed(0))
        parts.append(Sheet(title, _small(done.x.view(2, 10, *model.shape))))
    return (
        "New samples",
        sheets(parts, _CELL),
        f"20 new samples of {', '.join(runs)}.",
        "Labels drawn from their frequencies in the training data, codes from where training codes lie.",
    )


def _own(data: Dataset, rows: np.ndarray, name: str) -> list[str]:
    """What samples' own value of a label is."""
    found = data.schema.decode(*data.labels(rows))[name]
    return [f"{name} {'?' if value is None else f'{value:.3g}' if isinstance(value, float) else value}" for value in found]


def _small(images: Tensor) -> Tensor:
    """``(rows, columns, channels, height, width)`` with no side longer than a report shows."""
    largest = max(images.shape[-2:])
    if largest <= _LARGEST:
        return images
    size = [max(1, round(side * _LARGEST / largest)) for side in images.shape[-2:]]
    flat = F.interpolate(images.flatten(0, 1), size, mode="area")
    return flat.view(*images.shape[:3], *size)
