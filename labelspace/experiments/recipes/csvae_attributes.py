"""``csvae-attributes``: faces asked for with sets of attributes, and the way from no glasses to glasses; LSVAE beside CondVAE.

The slides' test of generation: some labels are asked to be on, some to be off, all others are drawn; a judge trained on real
data reads what came out. Once real test samples are edited to it, once z is drawn where training codes lie, once from p(z). And
their interpolation: six steps on a straight line from the code of a sample to its edited code, read by the judge at every step.
The runs are those of ``csvae-faces``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from labelspace import interventions
from labelspace.blocks import Latents
from labelspace.data.dataset import Dataset
from labelspace.evaluation import judge
from labelspace.evaluation.judge import Judge
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Result, Scale, Table, by_seed, over_seeds, pick, plain, spread, to_draw
from labelspace.experiments.recipes.csvae_faces import OnFaces
from labelspace.experiments.verdicts import Claim, Found, Group, Part, Quantity, Seen, dig, least, mean_rate, rate
from labelspace.metrics import mean
from labelspace.models.base import Model
from labelspace.reporting.figures import Lines, Sheet, lines, sheets

MODELS = {"condvae": "CondVAE", "lsvae": "LSVAE"}
Way = Literal["posterior", "codes", "prior"]
SOURCES: dict[Way, str] = {"posterior": "z of test faces", "codes": "z drawn where codes lie", "prior": "z of p(z)"}
STEPS = 6


def requests(labels: list[str]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """What is asked for: labels that are to be on, and labels that are to be off."""
    first, second, third = (labels * 3)[:3]
    wanted = [
        ((first,), ()),
        ((first, third), ()),
        ((second,), (third,)),
        ((third,), (first, second)),
        ((first, second), (third,)),
    ]
    return wanted if len(labels) >= 3 else [((label,), ()) for label in labels]


def named(on: tuple[str, ...], off: tuple[str, ...]) -> str:
    """A request as a person writes it."""
    return " + ".join(on) + (f", no {', no '.join(off)}" if off else "")


class Attributes(OnFaces):
    """See the module."""

    claim = "faces can be asked for by sets of attributes with exclusions; the way from no glasses to glasses is smooth"
    paper = "slides of a reproduction of Klys, Snell, Zemel 2018"
    forms = plain(MODELS)
    kinds = ("binary",)
    version = 4

    def measure(self, job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        reader = judge.of(data, job.seed)
        rows = data.rows("test")[: 40 if scale == "smoke" else 1000]
        binary = [label.name for label in data.schema if label.kind == "binary"]
        out: dict[str, Any] = {"requests": {}, "curve": _curve(model, data, reader, rows[:200], binary[0])}
        for on, off in requests(binary):
            row = {}
            for source in SOURCES:
                x, values = asked(model, data, on, off, source, rows, seed=job.seed)
                read = reader.read(x)
                right = [read[:, data.schema.index(y)] == values[:, data.schema.index(y)] for y in (*on, *off)]
                row[source] = {y: mean(hit.numpy()).to_dict() for y, hit in zip((*on, *off), right, strict=True)}
                row[source]["all"] = mean(torch.stack(right).all(0).numpy()).to_dict()
            out["requests"][named(on, off)] = row
        return out

    def groups(self, results: list[Result]) -> dict[str, Group]:
        return {shown: by_seed(pick(results, model=model)) for model, shown in MODELS.items()}

    def claims(self, groups: Mapping[str, Group]) -> list[Claim]:
        back = Quantity("faces that lose it again on the way", lambda f: rate(dig(f, "curve", "backwards")), "{:.1%}")
        end = Quantity("faces that have it at the end", lambda f: rate(f["curve"]["rate"][-1]), "{:.1%}")
        whole = Quantity("whole sets read, mean", lambda f: mean_rate(row["posterior"]["all"] for row in _sets(f)), "{:.1%}")
        return [
            Claim(
                "the LSVAE shows every set of attributes with its exclusions (at least 90% of faces, z of test faces)",
                (Part(_worst("posterior"), "LSVAE", "above", 0.9),),
            ),
            Claim(
                "so do new faces of the LSVAE (at least 90%, z drawn where training codes lie)",
                (Part(_worst("codes"), "LSVAE", "above", 0.9),),
            ),
            Claim(
                "the CondVAE is the more accurate of the two (as the slides say of theirs)",
                (Part(whole, "CondVAE", "above", ("LSVAE",)),),
            ),
            Claim(
                "on the way to the edit the label comes and stays (LSVAE)",
                (Part(back, "LSVAE", "below", 0.05), Part(end, "LSVAE", "above", 0.9)),
            ),
        ]

    def tables(self, results: list[Result]) -> list[Table]:
        names = list(dict.fromkeys(name for r in results for name in r.measured["requests"]))
        header = ["asked for", *(f"{shown}, {source}" for shown in MODELS.values() for source in SOURCES.values())]
        rows = []
        for name in names:
            row = [name]
            for model in MODELS:
                mine = pick(results, model=model)
                for source in SOURCES:
                    values = over_seeds(mine, lambda f, n=name, s=source: f["requests"][n][s]["all"]["value"])
                    row.append(spread(values, "{:.1%}"))
            rows.append(row)
        return [Table("Everything that was asked for is read by the judge", header, rows)]

    def draw(self, results: list[Result], scale: Scale) -> dict[str, Figure]:
        first = {r.job.model: r for r in to_draw(results)}
        if set(first) != set(MODELS):
            return {}
        data = first["lsvae"].job.open_whole()
        binary = [label.name for label in data.schema if label.kind == "binary"]
        steps = list(np.linspace(0, 1, STEPS))
        figures = {
            "curve.png": lines(
                [
                    Lines(
                        steps,
                        {
                            MODELS[m]: np.array([[s["value"], s["low"], s["high"]] for s in r.measured["curve"][what]])
                            for m, r in first.items()
                        },
                        ("step from the face to its edit", f"judge reads {binary[0]}" if what == "rate" else "others kept"),
                        limits=(0, 1.02),
                    )
                    for what in ("rate", "kept")
                ]
            )
        }
        if data.is_image:
            figures |= {"requests.png": _samples(first, data, binary), "walk.png": _walk(first, data, binary[0])}
        return figures


def asked(
    model: Model, data: Dataset, on: tuple[str, ...], off: tuple[str, ...], source: Way, rows: np.ndarray, *, seed: int
) -> tuple[Tensor, Tensor]:
    """As many samples as ``rows`` under a request, and the label values that they were made under.

    Labels that are not named are drawn from their frequencies. With ``source="posterior"`` the samples in ``rows`` are given
    all of these labels, at the points where the model puts them; else all codes are drawn, free ones from "codes" or "prior".
    """
    generator = torch.Generator().manual_seed(seed)
    values = model.label_marginal(len(rows)).sample(generator)
    for wanted, names in ((1.0, on), (0.0, off)):
        for name in names:
            values[:, data.schema.index(name)] = wanted
    if source != "posterior":
        with torch.no_grad():
            return model.generate(values, source=source, generator=generator), values
    x = data.samples(rows)
    made, labels = torch.empty_like(x), data.labels(rows)
    for combination in values.unique(dim=0):
        mine = (values == combination).all(1)
        new = {label.name: label.format(float(v)) for label, v in zip(data.schema, combination, strict=True)}
        given = (labels[0][mine], labels[1][mine])
        made[mine] = interventions.set(model, x[mine], new, given).x
    return made, values


def between(model: Model, data: Dataset, rows: np.ndarray, label: str, steps: int = STEPS) -> Tensor:
    """Samples on the way from themselves to themselves with a label, ``(n, steps, *shape)``."""
    x, labels = data.samples(rows), data.labels(rows)
    with torch.no_grad():
        start = model.encode(x, *labels).map(lambda q: q.mode)
        goal = interventions.set(model, x, {label: 1}, labels).codes
        made = []
        for t in torch.linspace(0, 1, steps).tolist():
            mixed = {b.name: torch.lerp(start[b.name], goal[b.name].to(start[b.name].dtype), t) for b in model.blocks}
            made.append(model.decode(Latents(model.blocks, mixed)).mean)
    return torch.stack(made, 1)


def _curve(model: Model, data: Dataset, reader: Judge, rows: np.ndarray, label: str) -> dict[str, Any]:
    """Per step, how often the judge reads the label, and how often all its other verdicts are those of the first step."""
    i = data.schema.index(label)
    lacking = rows[data.values[rows, i] == 0]
    made = between(model, data, lacking, label)
    read = torch.stack([reader.read(made[:, s]) for s in range(STEPS)], 1)
    others = [j for j in range(len(data.schema)) if j != i]
    same = (read[:, :, others] == read[:, :1, others]).all(-1)
    backwards = (read[:, 1:, i] < read[:, :-1, i]).any(1)
    return {
        "rate": [mean(read[:, s, i].numpy()).to_dict() for s in range(STEPS)],
        "kept": [mean(same[:, s].numpy()).to_dict() for s in range(STEPS)],
        "backwards": mean(backwards.numpy()).to_dict(),
    }


def _sets(found: Found) -> list[Any]:
    return [*(dig(found, "requests") or {}).values()]


def _worst(source: Way) -> Quantity:
    """The set of attributes that is read least."""

    def read(found: Found) -> Seen | float | None:
        return least(rate(row[source]["all"]) for row in _sets(found))

    return Quantity(f"worst set read ({SOURCES[source]})", read, "{:.1%}")


def _samples(first: dict[str, Result], data: Dataset, binary: list[str]) -> Figure:
    rows = data.rows("test")[:10]
    parts = []
    for on, off in requests(binary):
        made = [asked(r.model(), data, on, off, "posterior", rows, seed=0)[0] for r in first.values()]
        parts.append(Sheet(named(on, off), torch.stack(made), rows=[MODELS[m] for m in first]))
    return sheets([Sheet("The faces that z is of", data.samples(rows)[None]), *parts])


def _walk(first: dict[str, Result], data: Dataset, label: str) -> Figure:
    rows = data.rows("test")
    lacking = rows[data.values[rows, data.schema.index(label)] == 0][:4]
    return sheets(
        [Sheet(f"{MODELS[m]}: from no {label} to {label}", between(r.model(), data, lacking, label)) for m, r in first.items()]
    )
