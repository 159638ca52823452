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
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from labelspace import interventions
from labelspace.data.dataset import Dataset
from labelspace.distributions import Point
from labelspace.evaluation import edits, judge, probing
from labelspace.experiments import measures
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Forms, Recipe, Result, Scale, Table, by_form, by_seed, over_seeds, spread, to_draw
from labelspace.experiments.verdicts import SEEDS, Claim, Found, Group, Part, Quantity, dig, mean_rate, most
from labelspace.models.base import Model
from labelspace.reporting.figures import Sheet, sheets

RIVALS: Forms = {"VAE": ("vae", ()), "CondVAE": ("condvae", ()), "CondVAE-info": ("condvae-info", ())}
FORMS: Forms = {**RIVALS, "CSVAE": ("csvae", ()), "LSVAE": ("lsvae", ())}
FACES = ("Eyeglasses", "Beard", "Smiling")
_EDITED: Mapping[Scale, int] = {"smoke": 40, "cpu": 600, "paper": 2000}
"""How many test samples are edited."""


def used(address: str) -> tuple[str, ...] | None:
    """The labels of drawn faces that are used; of other data all are."""
    return FACES if address.partition(":")[0] == "faces" else None


class OnFaces(Recipe):
    """Base of recipes that train some forms of models on faces, each until it is done: they share their runs.

    At 24x24 judges read true counterfactuals of all three labels in at least 97%; at 16x16 smiles in 91%.
    """

    default = "faces:n=4000,size=24"
    scaled: ClassVar[Mapping[Scale, str]] = {"smoke": "faces:n=400,size=16", "paper": "faces:n=200000"}
    judged = True
    forms: ClassVar[Forms]

    def jobs(self, scale: Scale, address: str) -> list[Job]:
        seeds, epochs = (SEEDS[:1], 1) if scale == "smoke" else (SEEDS, None)
        address = self.at(scale, address)
        return [
            Job(model, address, used(address), seed, settings=settings, epochs=epochs)
            for seed in seeds
            for model, settings in self.forms.values()
        ]


class Faces(OnFaces):
    """See the module."""

    claim = (
        "a CSVAE has the highest transfer accuracy and the lowest error to the true face among VAE, CondVAE, CondVAE-info and "
        "CSVAE, and shows several styles where the others show one"
    )
    paper = "Klys, Snell, Zemel 2018, tables 1 and 2"
    forms = FORMS
    kinds = ("binary",)
    version = 3

    def measure(self, job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        reader = judge.of(data, job.seed)
        rows = data.rows("test")[: _EDITED[scale]]
        named = [label.name for label in data.schema if label.kind == "binary"]
        out: dict[str, Any] = {
            "judge": {n: s.to_dict() for n, s in judge.accuracy(reader, data).items()},
            "judge on truths": {n: s.to_dict() for n, s in judge.on_truths(reader, data, seed=job.seed).items()},
            "reconstruction": measures.reconstruction_error(model, data, rows),
            "edits": {name: measures.edited(model, data, reader, rows, name, job.seed) for name in named},
            "styles": {name: measures.styles(model, data, rows[:200], name, seed=job.seed) for name in named},
            "leak": measures.leak(model, data, seed=job.seed),
        }
        if data.truth is not None:
            out["donor"] = {name: measures.donor_rate(model, data, rows, name, job.seed) for name in named}
        return out

    def groups(self, results: list[Result]) -> dict[str, Group]:
        return {name: by_seed(mine) for name, mine in by_form(results, FORMS).items()}

    def claims(self, groups: Mapping[str, Group]) -> list[Claim]:
        rivals = tuple(RIVALS)
        out = []
        for name in ("CSVAE", "LSVAE"):
            out += [
                Claim(
                    f"the {name} has the highest transfer accuracy, mean of the labels", (Part(READ, name, "above", rivals),)
                ),
                Claim(
                    f"the {name} has the lowest squared error to the true face, each label's over that of doing nothing: mean "
                    "of the labels, and the worst",
                    (Part(ERROR, name, "below", rivals), Part(WORST_ERROR, name, "below", rivals)),
                ),
                Claim(
                    f"the {name} shows several styles (eight draws hit at least two true ones on average) where the others "
                    "show one",
                    (Part(STYLES, name, "above", 2.0), *(Part(STYLES, rival, "below", 1.5) for rival in rivals)),
                ),
            ]
        return out

    def tables(self, results: list[Result]) -> list[Table]:
        found = by_form(results, FORMS)
        labels = list(dict.fromkeys(y for r in results for y in r.measured["edits"]))
        return [_accuracy(found, labels), _errors(found, labels), _beside(found)]

    def draw(self, results: list[Result], scale: Scale) -> dict[str, Figure]:
        first = by_form(to_draw(results), FORMS)
        if not all(first.values()):
            return {}
        data = first["LSVAE"][0].job.open_whole()
        if not data.is_image:
            return {}
        models = {name: mine[0].model() for name, mine in first.items()}
        return {"walks.png": _walks(models, data), "styles.png": _styles(models, data)}


def _read_as_set(found: Found) -> Any:
    return mean_rate(edit["judge"] for edit in found["edits"].values())


def _errors_of(found: Found) -> list[float | None]:
    return [edit.get("error") for edit in found["edits"].values()]


def styles_shown(found: Found) -> float | None:
    """How many true styles eight draws of a sample hit, mean of the labels; one is what a single way of having it gives."""
    return measures.average(s["share"]["value"] * s["styles"] if "share" in s else None for s in found["styles"].values())


READ = Quantity("read as set", _read_as_set, "{:.1%}")
ERROR = Quantity("error over doing nothing, mean of the labels", lambda f: measures.average(_errors_of(f)))
WORST_ERROR = Quantity("error over doing nothing, worst label", lambda f: most(_errors_of(f)))
STYLES = Quantity("styles hit", styles_shown)


def _mean(found: dict[str, Any], labels: list[str], read) -> float | None:
    values = [read(found["edits"][y]) for y in labels if y in found["edits"]]
    return statistics.mean(values) if values and None not in values else None


def _accuracy(found: dict[str, list[Result]], labels: list[str]) -> Table:
    rows = [
        [name, *(spread(over_seeds(mine, lambda f, y=y: f["edits"][y]["judge"]["value"]), "{:.1%}") for y in labels)]
        for name, mine in found.items()
    ]
    for key, name in (("judge", "the judge itself"), ("judge on truths", "the judge, true counterfactuals")):
        rows.append(
            [name, *(spread(over_seeds(found["LSVAE"], lambda f, y=y, key=key: f[key][y]["value"]), "{:.1%}") for y in labels)]
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
    worst = "the last of the worst label"
    rows = []
    for name, mine in found.items():
        row = [name]
        for read in columns.values():
            row.append(spread(over_seeds(mine, lambda f, read=read: _mean(f, labels, read)), "{:.4f}"))
        rows.append([*row, spread(over_seeds(mine, WORST_ERROR.number))])
    return Table(
        "Squared error a pixel, mean of the labels (columns of table 2; the nearest of several true faces)",
        ["model", *columns, worst],
        rows,
    )


def _beside(found: dict[str, list[Result]]) -> Table:
    columns = {
        "other labels kept, worst": (
            lambda f: min(s["value"] for e in f["edits"].values() for s in e["kept"].values()),
            "{:.1%}",
        ),
        "true styles hit by 8 draws (of 6, 6 and 3)": (styles_shown, "{:.2f}"),
        "donor's style transferred": (lambda f: statistics.mean(s["value"] for s in f["donor"].values()), "{:.1%}"),
        "draws of z tell, worst (AUC)": (lambda f: _leaks(f, "draws"), "{:.2f}"),
        "means of z tell, worst (AUC)": (lambda f: _leaks(f, "means"), "{:.2f}"),
        "MSE": (lambda f: f["reconstruction"], "{:.4f}"),
        "edited by": (None, ""),
    }
    rows = []
    for name, mine in found.items():
        row = [spread(over_seeds(mine, read), form) for read, form in columns.values() if read is not None]
        rows.append([name, *row, measures.operators(r.measured["edits"] for r in mine)])
    return Table("Beside them", ["model", *columns], rows)


def _leaks(found: Found, of: str) -> float | None:
    areas = [dig(row, "free", of, "auc", "value") for row in found["leak"].values()]
    return None if None in areas or not areas else max(areas)


def _walks(models: dict[str, Model], data: Dataset) -> Figure:
    """What each model shows of having a label: the plane of its block in which samples differ most, or a line to the
    label where it has no such block."""
    label = data.schema.names[0]
    index = measures.first_of_each(data, data.rows("test"), label)[0]
    x, labels = data.samples([index]), data.labels([index])
    parts = []
    for name, model in models.items():
        block = [b for b in model.blocks if b.label == label and b.size >= 2]
        if block and not isinstance(model.prior(*labels)[block[0].name], Point):
            across, up = probing.widest(model, data, block[0].name, 1.0)[:2]
            walk = interventions.traverse(model, x[0], label, labels, coordinates=(up, across), steps=7)
            axes = (f"coordinate {across}", f"coordinate {up}")
            parts.append(Sheet(f"{name}: a plane of {block[0].name}", walk.x.flip(0), axes=axes))
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
