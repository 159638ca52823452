"""``lsvae-prices``: the LSVAE's edits against its leak against its reconstructions, over the prices of a nat.

Our own question. Two weights of the objective are not found from the data: what a nat in z costs, ``kl_z``, and what one in a
label's block costs, ``kl_w``. Both are moved around their defaults, everything else is as ``labelspace train`` has it. Figures
are those of :mod:`labelspace.evaluation.scorecard`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure

from labelspace.data.dataset import Dataset
from labelspace.evaluation import scorecard
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Forms, Result, Scale, Table, by_form, by_seed, over_seeds, spread
from labelspace.experiments.recipes.csvae_faces import OnFaces
from labelspace.experiments.verdicts import Claim, Found, Group, Part, Quantity, dig
from labelspace.models.base import Model
from labelspace.reporting.figures import Lines, lines

MODEL = "lsvae"
PRICES: dict[str, tuple[float, ...]] = {"kl_z": (0.1, 0.3, 1.0, 3.0, 10.0), "kl_w": (1.0, 3.0, 9.0)}
"""Setting -> its values; the middle one is the model's default."""
SHOWN = ("error", "read as set", "others kept", "donor", "told by z", "block's own", "coverage", "reconstruction")
"""Figures that are shown."""
_BASE = "as it is"
_WORST = "worst"
_WITHIN = 0.1  # of the way from floor to ceiling
_TIMES = 1.5  # of a reconstruction's error, which lies near its ceiling whatever it is


def _default(key: str) -> float:
    return PRICES[key][len(PRICES[key]) // 2]


def _named(key: str, value: float) -> str:
    return _BASE if value == _default(key) else f"{key} = {value:g}"


FORMS: Forms = {_BASE: (MODEL, ())} | {
    _named(key, value): (MODEL, (f"{key}={value:g}",))
    for key, values in PRICES.items()
    for value in values
    if value != _default(key)
}
"""The model as it is, and with one price changed."""


class Prices(OnFaces):
    """See the module."""

    claim = "an LSVAE's figures hardly depend on the two prices that it does not find itself: of a nat in z, and in a block"
    paper = "ours"
    default = "faces:n=4000,size=16"  # seven runs a seed, of the model that trains longest
    scaled: ClassVar[Mapping[Scale, str]] = {**OnFaces.scaled, "paper": "faces:n=16000,size=64"}
    forms = FORMS

    def measure(self, job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        return {"figures": scorecard.measure(model, data, seed=job.seed, effort=0.05 if scale == "smoke" else 1.0)}

    def groups(self, results: list[Result]) -> dict[str, Group]:
        return {name: by_seed(mine) for name, mine in by_form(results, FORMS).items()}

    def claims(self, groups: Mapping[str, Group]) -> list[Claim]:
        return [
            Claim(
                f"about a third and the threefold of {key} leave every figure within a tenth of the way from floor to ceiling "
                f"(worst label), and the reconstruction's error within {_TIMES:g} times",
                tuple(
                    Part(quantity, _named(key, value), side, (_BASE,), -room)
                    for value in _near(key)
                    for quantity, room in _compared(groups)
                    for side in ("above", "below")
                ),
                shown=5,
            )
            for key in PRICES
        ]

    def tables(self, results: list[Result]) -> list[Table]:
        rows = []
        for name, mine in by_form(results, FORMS).items():
            if mine:
                figures = [_cell(mine, figure) for figure in SHOWN]
                rows.append([name, *figures, spread([r.seconds / 60 for r in mine], "{:.1f}")])
        named = ", ".join(_labels(results, "told by z"))
        seeds = len({r.job.seed for r in results})
        title = f"{named}; mean of {seeds} seed{'' if seeds == 1 else 's'}"
        return [Table(title, ["model", *SHOWN, "minutes"], rows)]

    def draw(self, results: list[Result], scale: Scale) -> dict[str, Figure]:
        """For each price its panels: a figure each, with a curve for each label."""
        by_name = by_form(results, FORMS)
        panels = []
        for key, values in PRICES.items():
            for figure in SHOWN:
                curves = {
                    label: np.array([_bar(by_name[_named(key, value)], figure, label) for value in values])
                    for label in _labels(results, figure)
                }
                limits = None if figure in ("error", "reconstruction") else (0.0, 1.02)
                panels.append(Lines(values, curves, (key, ""), figure, logarithmic=True, limits=limits, mark=_default(key)))
        return {"prices.png": lines(panels, width=2.4, height=2.0, columns=4, shared=True)}


def _near(key: str) -> tuple[float, float]:
    """The values next to the default."""
    middle = len(PRICES[key]) // 2
    return PRICES[key][middle - 1], PRICES[key][middle + 1]


def _compared(groups: Mapping[str, Group]) -> list[tuple[Quantity, float]]:
    """What of a figure is compared, and how much it may change; of figures that can be told on these data."""
    told = [
        figure
        for figure in SHOWN
        if figure != "reconstruction" and all(_share(f, figure) is not None for runs in groups.values() for f in runs.values())
    ]
    shares = [(Quantity(f"{figure}, share", lambda f, figure=figure: _share(f, figure)), _WITHIN) for figure in told]
    return [*shares, (Quantity("reconstruction's error, octaves", _octaves), math.log2(_TIMES))]


def _share(found: Found, figure: str) -> float | None:
    """Of the worst label."""
    known = scorecard.worst(dig(found, "figures", figure) or {})
    return None if known is None else known[1]["share"]


def _octaves(found: Found) -> float | None:
    value = dig(found, "figures", "reconstruction", "x", "value")
    return None if value is None else math.log2(value)


def _labels(results: Iterable[Result], figure: str) -> list[str]:
    """What a figure is shown of: every label; where it is of pairs, or of values of labels, the worst of them."""
    results = list(results)
    named = {label for r in results for label in r.measured["figures"]["told by z"]}
    entries = dict.fromkeys(name for r in results for name in r.measured["figures"].get(figure, {}))
    return [*entries] if {*entries} <= {*named, "x"} else [_WORST]


def _values(results: Iterable[Result], figure: str, label: str) -> list[float]:
    def read(found: dict[str, Any]) -> float | None:
        entries = found["figures"][figure]
        if label != _WORST:
            return entries[label]["value"]
        worst = scorecard.worst(entries)
        return None if worst is None else worst[1]["value"]

    return over_seeds(results, read)


def _cell(results: list[Result], figure: str) -> str:
    """The means over seeds of what a figure is shown of."""
    each = [_values(results, figure, label) for label in _labels(results, figure)]
    return " / ".join(f"{statistics.mean(values):.2g}" if values else "-" for values in each) or "-"


def _bar(results: Iterable[Result], figure: str, label: str) -> tuple[float, float, float]:
    """Mean, smallest and largest of the seeds."""
    values = _values(results, figure, label) or [math.nan]
    return statistics.mean(values), min(values), max(values)
