"""``ccvae-interventions``: walks, conditional generation, characteristic swaps and side effects of the CCVAE.

Beside it M2 and DIVA, on the same faces. Ranges of walks are those of the conditional priors, one to two standard deviations
beyond their means (the released code took another label's range for all labels but one). Every reading is that of a judge
trained on real data.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from labelspace import interventions
from labelspace.data.dataset import Dataset
from labelspace.evaluation import edits, judge
from labelspace.evaluation.judge import Judge
from labelspace.evaluation.manipulation import Edited, changed_region, side_effect_matrix
from labelspace.evaluation.probing import encoded
from labelspace.experiments import measures
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Result, Scale, Table, by_seed, over_seeds, pick, plain, spread, to_draw
from labelspace.experiments.recipes.csvae_faces import STYLES, OnFaces, styles_shown
from labelspace.experiments.verdicts import Claim, Found, Group, Part, Quantity, dig, rate
from labelspace.metrics import diversity, mean
from labelspace.models.base import Model
from labelspace.reporting.figures import Grid, Sheet, grids, sheets

MODELS = {"ccvae": "CCVAE", "diva": "DIVA", "m2": "M2"}
BEYOND = 1.5  # standard deviations that a walk goes beyond the two values' means


class Interventions(OnFaces):
    """See the module."""

    claim = (
        "a CCVAE walks smoothly along a label, generates diversely under it, transfers a donor's characteristics, and hardly "
        "touches other labels"
    )
    paper = "Joy, Schmon, Torr, Siddharth, Rainforth 2021"
    forms = plain(MODELS)
    kinds = ("binary",)
    version = 3

    def measure(self, job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        reader = judge.of(data, job.seed)
        rows = data.rows("test")[: 40 if scale == "smoke" else 500]
        binary = [label.name for label in data.schema if label.kind == "binary"]
        out: dict[str, Any] = {
            "side_effects": _side_effects(model, data, reader, rows, binary),
            "walk": {name: _walked(model, data, reader, rows[:100], name) for name in binary},
            "styles": {name: measures.styles(model, data, rows[:200], name) for name in binary},
            "swap": _swapped(model, data, reader, rows),
        }
        if data.truth is not None:
            out["donor"] = {name: measures.donor_rate(model, data, rows, name, job.seed) for name in binary}
            out["local"] = {name: _local(model, data, rows[:100], name) for name in binary}
        return out

    def groups(self, results: list[Result]) -> dict[str, Group]:
        return {shown: by_seed(pick(results, model=name)) for name, shown in MODELS.items()}

    def claims(self, groups: Mapping[str, Group]) -> list[Claim]:
        first = groups["CCVAE"]
        labels = list(dict.fromkeys(y for found in first.values() for y in found["walk"]))
        walks = [part for y in labels for part in _smooth(y)]
        donors = [
            Part(
                Quantity(f"{y} as the donor has it", lambda f, y=y: rate(dig(f, "donor", y)), "{:.0%}"),
                "CCVAE",
                "above",
                2 * chance,
            )
            for y in labels
            for chance in [_chance_of_style(first, y)]
            if chance is not None
        ]
        nothing = (Part(STYLES, "CCVAE", "above", 2.0),)  # stands for what was not measured
        claims = [
            Claim(
                "walks are smooth: at least nine steps in ten raise the judge's log-odds, and every walk goes from off to on",
                tuple(walks) or nothing,
            ),
            Claim(
                "generation under a label is diverse: eight draws hit at least two true styles on average (one way only gives "
                "one)",
                nothing,
            ),
            Claim(
                "an intervention hardly touches other labels: their log-odds move less than a tenth of the label's own",
                (Part(Quantity("others' log-odds over the own, worst", _ratio), "CCVAE", "below", 0.1),),
            ),
        ]
        if donors or not first:
            says = (
                "characteristics are transferred: the result is nearest to the donor's own style, twice as often as by chance"
            )
            claims.append(Claim(says, tuple(donors) or nothing))
        return claims

    def tables(self, results: list[Result]) -> list[Table]:
        rows = []
        for name, shown in MODELS.items():
            mine = pick(results, model=name)

            def column(read, mine=mine) -> str:
                return spread(over_seeds(mine, read), "{:.1%}")

            rows.append(
                [
                    shown,
                    spread(over_seeds(mine, lambda f: _ratio(f)), "{:.2f}"),
                    column(lambda f: statistics.mean(w["rising"]["value"] for w in f["walk"].values())),
                    spread(over_seeds(mine, styles_shown), "{:.2f}"),
                    column(lambda f: statistics.mean(s["value"] for s in f["donor"].values()) if "donor" in f else None),
                    column(lambda f: measures.average(s["share"]["value"] for s in f.get("local", {}).values())),
                    column(lambda f: statistics.mean(s["value"] for s in f["swap"].values())),
                ]
            )
        header = [
            "model",
            "others' log-odds / own, worst",
            "walks: steps that rise",
            "styles hit by 8 draws (of 6, 6 and 3)",
            "donor's style",
            "variance where truth differs",
            "swap: donor's labels read",
        ]
        return [Table("Interventions, read by the judge", header, rows)]

    def draw(self, results: list[Result], scale: Scale) -> dict[str, Figure]:
        first = {MODELS[r.job.model]: r for r in to_draw(results)}
        if len(first) != len(MODELS):
            return {}
        data = first["CCVAE"].job.open_whole()
        names = [label.name for label in data.schema if label.kind == "binary"]
        figures = {"side-effects.png": grids([_matrix(shown, r, names) for shown, r in first.items()])}
        if data.is_image:
            model = first["CCVAE"].model()
            figures |= {"walks.png": _walk_sheets(model, data, names), "swaps.png": _swap_sheet(model, data)}
            if data.truth is not None:
                figures["variance.png"] = _variance_sheet(model, data, names)
        return figures


def _side_effects(model: Model, data: Dataset, reader: Judge, rows: np.ndarray, names: list[str]) -> dict[str, Any]:
    x = data.samples(rows)
    with torch.no_grad():
        again = model.decode(model.encode(x, *data.labels(rows)).map(lambda q: q.mode)).mean
    before = reader.log_odds(again)  # what reconstructing does is not the edit's doing
    made = {}
    for name in names:
        edited, wanted = edits.flip(model, data, rows, name, keep_detail=False)
        made[name] = Edited(before, reader.log_odds(edited), 2 * wanted.float() - 1)
    found = side_effect_matrix(data.schema, made)
    return {a: {b: {k: s.to_dict() for k, s in cell.items()} for b, cell in row.items()} for a, row in found.items()}


def _ratio(found: Found) -> float:
    """The largest mean change of another label's log-odds over that of the label itself."""
    table = found["side_effects"]
    return max(table[a][b]["absolute"]["value"] / table[a][a]["absolute"]["value"] for a in table for b in table[a] if a != b)


def span(model: Model, label: str) -> tuple[float, float]:
    """Where a walk along a block of one coordinate starts and ends: beyond the prior means of the label's two values."""
    block = model.blocks.of(label)
    prior = model.prior(*model.only(label, torch.tensor([0.0, 1.0])))[block.name]
    means, scales = prior.mean[:, 0], prior.scale[:, 0]
    low, high = sorted((0, 1), key=lambda v: float(means[v]))
    return float(means[low] - BEYOND * scales[low]), float(means[high] + BEYOND * scales[high])


def walk(model: Model, data: Dataset, rows: np.ndarray, label: str, steps: int = 9) -> Tensor:
    """Samples along a label's block, from its off end to its on end, ``(n, steps, *shape)``."""
    low, high = span(model, label)
    prior = model.prior(*model.only(label, torch.tensor([0.0, 1.0])))[model.blocks.of(label).name].mean[:, 0]
    x = data.samples(rows)
    if low == high:  # a block without width whose first coordinate does not depend on the label
        high = low + 1.0
    walked = interventions.traverse(model, x, label, data.labels(rows), coordinates=(0,), steps=steps, span=(low, high)).x
    return walked if float(prior[1]) >= float(prior[0]) else walked.flip(1)


def _walked(model: Model, data: Dataset, reader: Judge, rows: np.ndarray, label: str) -> dict[str, Any]:
    """How steadily the judge's log-odds of the label rise along a walk, and from where to where."""
    made = walk(model, data, rows, label)
    column = _column(reader, label)
    odds = torch.stack([reader.log_odds(made[:, s])[:, column] for s in range(made.shape[1])], 1)
    return {
        "rising": mean((odds[:, 1:] > odds[:, :-1]).float().mean(1).numpy()).to_dict(),
        "rate": [mean((odds[:, s] > 0).numpy()).to_dict() for s in range(odds.shape[1])],
        "log_odds": odds.mean(0).tolist(),
    }


def _column(reader: Judge, label: str) -> int:
    return sum(other.parameters for other in reader.schema.labels[: reader.schema.index(label)])


def _swapped(model: Model, data: Dataset, reader: Judge, rows: np.ndarray) -> dict[str, Any]:
    """Samples that take every label's block from another: how often the judge reads the donor's label where theirs differ."""
    donors = np.random.default_rng(0).permutation(rows)
    read = reader.read(swap(model, data, rows, donors))
    (own, known), (theirs, given) = data.labels(rows), data.labels(donors)
    out = {}
    for i, label in enumerate(data.schema):
        differ = (own[:, i] != theirs[:, i]) & known[:, i] & given[:, i]
        if label.discrete and bool(differ.any()):
            out[label.name] = mean((read[:, i] == theirs[:, i])[differ].numpy()).to_dict()
    return out


@torch.no_grad()
def swap(model: Model, data: Dataset, rows: np.ndarray, donors: np.ndarray) -> Tensor:
    """Samples decoded from their own free blocks and all label blocks of donors."""
    own, theirs = encoded(model, data, rows), encoded(model, data, donors)
    return model.decode(own.replace({b.name: theirs[b.name] for b in model.blocks if b.label is not None})).mean


def _maps(model: Model, data: Dataset, rows: np.ndarray, label: str, draws: int = 16) -> np.ndarray:
    """Per-pixel variance over draws of a label's block given that the label is on, ``(n, height, width)``."""
    x, labels = data.samples(rows), data.labels(rows)
    generator = torch.Generator().manual_seed(0)
    made = [interventions.set(model, x, {label: 1}, labels, point="draw", generator=generator).x for _ in range(draws)]
    return diversity.variance_map(torch.stack(made, 1).numpy())


def _local(model: Model, data: Dataset, rows: np.ndarray, label: str) -> dict[str, Any]:
    """The part of that variance that lies where true faces with the label differ from the same face without it."""
    truths, _ = data.counterfactuals(label, 1, rows)
    found = diversity.share_inside(_maps(model, data, rows, label), changed_region(data.samples(rows), truths).numpy())
    return {name: score.to_dict() for name, score in found.items()}


def _smooth(label: str) -> list[Part]:
    """What a smooth walk along a label is."""

    def read(which: int) -> Quantity:
        end = "start" if which == 0 else "end"
        return Quantity(f"{label} read at the {end}", lambda f: rate(f["walk"][label]["rate"][which]), "{:.0%}")

    rising = Quantity(f"steps that raise {label}", lambda f: f["walk"][label]["rising"]["value"], "{:.0%}")
    return [
        Part(rising, "CCVAE", "above", 0.9),
        Part(read(0), "CCVAE", "below", 0.1),
        Part(read(-1), "CCVAE", "above", 0.9),
    ]


def _chance_of_style(group: Group, label: str) -> float | None:
    """How often a transfer is nearest to the donor's style by chance; None where the styles are not known."""
    known = [n for found in group.values() if dig(found, "donor", label) and (n := dig(found, "styles", label, "styles"))]
    return 1 / known[0] if known else None


def _matrix(shown: str, result: Result, names: list[str]) -> Grid:
    table = result.measured["side_effects"]
    cells = np.array([[table[a][b]["signed"]["value"] for b in names] for a in names])
    return Grid(cells, names, names, f"{shown}: change of log-odds\n(row: label changed)", "{:+.1f}")


def _walk_sheets(model: Model, data: Dataset, names: list[str]) -> Figure:
    rows = data.rows("test")[:3]
    return sheets([Sheet(f"Walks along z.{name}, from off to on", walk(model, data, rows, name)) for name in names])


def _swap_sheet(model: Model, data: Dataset) -> Figure:
    rows = data.rows("test")[:7]
    table = [torch.cat([torch.ones_like(data.samples(rows[:1])), data.samples(rows)])]
    for row in rows:
        table.append(torch.cat([data.samples([row]), swap(model, data, rows, np.full(len(rows), row))]))
    return sheets([Sheet("Each row's characteristics (label blocks) on each column's face", torch.stack(table))])


def _variance_sheet(model: Model, data: Dataset, names: list[str]) -> Figure:
    rows = data.rows("test")[:60]
    maps = [_maps(model, data, rows, name).mean(0) for name in names]
    images = torch.from_numpy(np.stack([(m / max(m.max(), 1e-9))[None] for m in maps]))
    return sheets(
        [Sheet("Variance over draws of each label's block (brightest: largest)", images[None], columns=names)], cell=1.2
    )
