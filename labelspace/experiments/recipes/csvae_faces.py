"""``csvae-faces``: transfer accuracy and error to the true face, for VAE, CondVAE, CondVAE-info and CSVAE.

The columns of the paper's two tables. Its first: how often a classifier trained on real faces reads the new value off faces
whose label was changed. Its second: the squared error to a true face with the changed label, and to the face that was changed.
Drawn faces have their truth; on data without it (``--data folder:DIR``) those columns are empty. All models have the defaults
that ``labelspace train`` gives them: the CSVAE the published weights, which are tied to the paper's own reduction of the
losses, and beside it the LSVAE, for which the claims are asked. Besides: how many true styles each model can draw, and what
probes read from z.
"""

from __future__ import annotations

import statistics
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from labelspace import interventions
from labelspace.data.dataset import Dataset
from labelspace.distributions import Point
from labelspace.evaluation import edits, judge
from labelspace.experiments import measures
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import (
    Conclusion,
    Forms,
    Recipe,
    Result,
    Scale,
    Table,
    Verdict,
    by_form,
    by_seed,
    over_seeds,
    paired,
    pick,
    spread,
)
from labelspace.models.base import Model
from labelspace.reporting.figures import Sheet, sheets

RIVALS: Forms = {"VAE": ("vae", ()), "CondVAE": ("condvae", ()), "CondVAE-info": ("condvae-info", ())}
FORMS: Forms = {**RIVALS, "CSVAE": ("csvae", ()), "LSVAE": ("lsvae", ())}
FACES = ("Eyeglasses", "Beard", "Smiling")
"""The labels of drawn faces that are used; of other data all are."""
_SIZES = {
    "smoke": (400, 1, 1, 40),
    "cpu": (20_000, 3, 6, 600),
    "paper": (200_000, 3, None, 2000),
}  # samples, seeds, epochs, edited


def face_jobs(forms: Forms, scale: Scale, address: str, seeds: int = 0) -> list[Job]:
    """Runs on faces that several recipes share; ``seeds`` is the scale's own number by default."""
    n, own, epochs, _ = _SIZES[scale]
    drawn = address.partition(":")[0] == "faces"
    labels = FACES if drawn else None
    address = f"{address}:n={n}" if address == "faces" and n != 20_000 else address
    return [
        Job(model, address, labels, seed, settings=settings, epochs=epochs)
        for seed in range(seeds or own)
        for model, settings in forms.values()
    ]


class Faces(Recipe):
    """See the module."""

    claim = (
        "a CSVAE has the highest transfer accuracy and the lowest error to the true face among VAE, CondVAE, CondVAE-info and "
        "CSVAE, and shows several styles where the others show one"
    )
    paper = "Klys, Snell, Zemel 2018, tables 1 and 2"
    default = "faces"
    judged = True
    kinds = ("binary",)
    version = 2

    def jobs(self, scale: Scale, address: str) -> list[Job]:
        return face_jobs(FORMS, scale, address)

    def measure(self, job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        reader = judge.train(data, seed=job.seed)
        rows = data.rows("test")[: _SIZES[scale][3]]
        named = [label.name for label in data.schema if label.kind == "binary"]
        out: dict[str, Any] = {
            "judge": {n: s.to_dict() for n, s in judge.accuracy(reader, data).items()},
            "reconstruction": measures.reconstruction_error(model, data, rows),
            "edits": {name: measures.edited(model, data, reader, rows, name, job.seed) for name in named},
            "styles": {name: measures.styles(model, data, rows[:200], name, seed=job.seed) for name in named},
            "leak": measures.leak(model, data, seed=job.seed),
        }
        if data.truth is not None:
            out["donor"] = {name: measures.donor_rate(model, data, rows, name, job.seed) for name in named}
        return out

    def conclude(self, results: list[Result]) -> Conclusion:
        found = by_form(results, FORMS)
        labels = list(dict.fromkeys(y for r in results for y in r.measured["edits"]))
        return Conclusion(_verdicts(found, labels), [_accuracy(found, labels), _errors(found, labels), _beside(found, labels)])

    def draw(self, results: list[Result], scale: Scale) -> dict[str, Figure]:
        first = by_form(pick(results, seed=0), FORMS)
        if not all(first.values()):
            return {}
        data = first["LSVAE"][0].job.open_whole()
        if not data.is_image:
            return {}
        models = {name: mine[0].model() for name, mine in first.items()}
        return {"walks.png": _walks(models, data), "styles.png": _styles(models, data)}


def _mean(found: dict[str, Any], labels: list[str], read) -> float | None:
    values = [read(found["edits"][y]) for y in labels if y in found["edits"]]
    return statistics.mean(values) if values and None not in values else None


def _accuracy(found: dict[str, list[Result]], labels: list[str]) -> Table:
    rows = [
        [name, *(spread(over_seeds(mine, lambda f, y=y: f["edits"][y]["judge"]["value"]), "{:.1%}") for y in labels)]
        for name, mine in found.items()
    ]
    rows.append(
        [
            "the judge itself",
            *(spread(over_seeds(found["LSVAE"], lambda f, y=y: f["judge"][y]["value"]), "{:.1%}") for y in labels),
        ]
    )
    seeds = max(map(len, found.values()))
    return Table(f"Transfer accuracy (columns of table 1), mean and range of {seeds} seeds", ["model", *labels], rows)


def _errors(found: dict[str, list[Result]], labels: list[str]) -> Table:
    columns = {
        "target - changed": lambda e: e["to_truth"]["value"] if "to_truth" in e else None,
        "original - changed": lambda e: e["changed"]["value"],
        "target - original": lambda e: e["nothing"]["value"] if "nothing" in e else None,
        "target - changed / target - original": lambda e: e.get("error"),
    }
    rows = []
    for name, mine in found.items():
        row = [name]
        for read in columns.values():
            row.append(spread(over_seeds(mine, lambda f, read=read: _mean(f, labels, read)), "{:.4f}"))
        rows.append(row)
    return Table(
        "Squared error a pixel, mean of the labels (columns of table 2; the nearest of several true faces)",
        ["model", *columns],
        rows,
    )


def _beside(found: dict[str, list[Result]], labels: list[str]) -> Table:
    rows = []
    for name, mine in found.items():

        def column(read, form: str = "{:.1%}", mine=mine) -> str:
            return spread(over_seeds(mine, read), form)

        rows.append(
            [
                name,
                column(lambda f: min(s["value"] for e in f["edits"].values() for s in e["kept"].values())),
                column(styles_shown, "{:.2f}"),
                column(lambda f: statistics.mean(s["value"] for s in f["donor"].values()) if "donor" in f else None),
                column(lambda f: max(row["free"]["value"] for row in f["leak"].values())),
                column(lambda f: f["reconstruction"], "{:.4f}"),
            ]
        )
    header = [
        "model",
        "other labels kept, worst",
        "true styles hit by 8 draws (of 6, 6 and 3)",
        "donor's style transferred",
        "probe of z, worst",
        "MSE",
    ]
    return Table("Beside them", header, rows)


def _verdicts(found: dict[str, list[Result]], labels: list[str]) -> list[Verdict]:
    if not all(found.values()):
        return [Verdict("order of the models", None, "Runs are missing.")]
    accuracy = {n: by_seed(mine, lambda f: _mean(f, labels, lambda e: e["judge"]["value"])) for n, mine in found.items()}
    error = {n: by_seed(mine, lambda f: _mean(f, labels, lambda e: _value(e.get("to_truth")))) for n, mine in found.items()}
    out = []
    for claim, values, sign, form in (
        ("the LSVAE has the highest transfer accuracy, mean of the labels", accuracy, 1, "{:.1%}"),
        ("the LSVAE has the lowest squared error to the true face, mean of the labels", error, -1, "{:.4f}"),
    ):
        pairs = paired(values["LSVAE"], *(values[n] for n in RIVALS))
        if not pairs:
            out.append(Verdict(claim, None, "No seed has it for every model, or these data have no truth."))
            continue
        best = sum(sign * first > max(sign * v for v in rest) for first, *rest in pairs)
        line = ", ".join(f"{n} {spread(v.values(), form)}" for n, v in values.items())
        out.append(Verdict(claim, best == len(pairs), f"{line}; first in {best} of {len(pairs)} seeds."))
    return [*out, _several(found)]


def _value(score: dict[str, float] | None) -> float | None:
    return None if score is None else score["value"]


def styles_shown(found: dict[str, Any]) -> float | None:
    """How many true styles eight draws of a sample hit, mean of the labels; one is what a single way of having it gives."""
    return measures.average(s["share"]["value"] * s["styles"] if "share" in s else None for s in found["styles"].values())


def _several(found: dict[str, list[Result]]) -> Verdict:
    claim = "the LSVAE shows several styles (eight draws hit at least two true ones on average) where the others show one"
    shown = {n: by_seed(mine, styles_shown) for n, mine in found.items()}
    if not all(shown.values()):
        return Verdict(claim, None, "These data have no truth.")
    others = max(v for n in RIVALS for v in shown[n].values())
    line = ", ".join(f"{n} {spread(values.values())}" for n, values in shown.items())
    return Verdict(claim, min(shown["LSVAE"].values()) >= 2 and others < 1.5, f"Styles hit: {line}.")


def _walks(models: dict[str, Model], data: Dataset) -> Figure:
    """What each model shows of having a label: a plane of its block, or a line to the label where it has no such block."""
    label = data.schema.names[0]
    index = measures.first_of_each(data, data.rows("test"), label)[0]
    x, labels = data.samples([index]), data.labels([index])
    parts = []
    for name, model in models.items():
        block = [b for b in model.blocks if b.label == label and b.size >= 2]
        if block and not isinstance(model.prior(*labels)[block[0].name], Point):
            walk = interventions.traverse(model, x[0], label, labels, coordinates=(1, 0), steps=7)
            parts.append(Sheet(f"{name}: the plane of {block[0].name}", walk.x.flip(0), axes=("coordinate 0", "coordinate 1")))
        else:
            parts.append(Sheet(f"{name}: from without to with {label}", _line(model, x, labels, label)[None]))
    return sheets(parts)


def _line(model: Model, x: Tensor, labels, label: str, steps: int = 7) -> Tensor:
    """Decoded codes on the straight line from a sample without a label to the same sample with it, ``(steps, *shape)``."""
    start = model.encode(x, *labels).map(lambda q: q.mode)
    goal = interventions.set(model, x, {label: 1}, labels).codes
    ts = torch.linspace(0, 1, steps)[:, None]
    rows = torch.zeros(steps, dtype=torch.long)
    first, last = start.rows(rows), goal.rows(rows)
    codes = first.replace({b.name: torch.lerp(first[b.name], last[b.name], ts.to(first[b.name].dtype)) for b in model.blocks})
    with torch.no_grad():
        return model.decode(codes).mean


def _styles(models: dict[str, Model], data: Dataset) -> Figure:
    """Eight draws of having a label for the same face, and donors' styles on one face, model by model."""
    label, rows = data.schema.names[0], data.rows("test")
    i = data.schema.index(label)
    lacking = rows[data.values[rows, i] == 0][:1]
    donors = rows[data.values[rows, i] == 1][:8]
    x, labels = data.samples(lacking), data.labels(lacking)
    generator = torch.Generator().manual_seed(0)
    drawn, taken = [], [data.samples(donors)]
    for model in models.values():
        draws = [interventions.set(model, x, {label: 1}, labels, point="draw", generator=generator).x[0] for _ in range(8)]
        drawn.append(torch.stack(draws))
        taken.append(edits.take(model, data, lacking.repeat(len(donors)), donors, label))
    names = list(models)
    return sheets(
        [
            Sheet(f"One face given {label}, eight draws of each model", torch.stack(drawn), rows=names),
            Sheet(f"The same face given each donor's {label}", torch.stack(taken), rows=["donors", *names]),
        ]
    )
