"""``ccvae-supervision``: accuracy as labels get scarce, for CCVAE, M2, DIVA and MVAE.

Each model is trained on all samples, with the labels of 0.4%, 6%, 20% or 100% of them; accuracy is that on test samples, mean
of the labels, beside the rate of always naming the commoner value and a plain classifier that has the labelled samples alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from labelspace.data.dataset import Dataset
from labelspace.evaluation import classifier
from labelspace.experiments import comparison
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Recipe, Result, Scale, Table, by_seed, pick, spread
from labelspace.experiments.recipes.csvae_faces import OnFaces, used
from labelspace.experiments.verdicts import SEEDS, Claim, Found, Group, Part, Quantity, mean_rate
from labelspace.metrics.prediction import majority_rate
from labelspace.models.base import Model
from labelspace.reporting.figures import Lines, lines

MODELS = {"ccvae": "CCVAE", "m2": "M2", "diva": "DIVA", "mvae": "MVAE"}
RATES = (0.004, 0.06, 0.2, 1.0)
PLAIN, MAJORITY = "plain classifier", "commoner value"


class Supervision(Recipe):
    """See the module."""

    claim = "a CCVAE keeps predicting labels as they get scarce, where M2, DIVA and MVAE fall off"
    paper = "Joy, Schmon, Torr, Siddharth, Rainforth 2021"
    default = "faces:n=6000,size=16"
    scaled = OnFaces.scaled
    kinds = ("binary", "categorical")

    def jobs(self, scale: Scale, address: str) -> list[Job]:
        rates, seeds, epochs = {
            "smoke": ((0.2, 1.0), SEEDS[:1], 1),
            "cpu": (RATES, SEEDS, 12),
            "paper": (RATES, SEEDS, None),
        }[scale]
        address = self.at(scale, address)
        return [
            Job(name, address, used(address), seed, supervision=rate, epochs=epochs)
            for seed in seeds
            for rate in rates
            for name in MODELS
        ]

    def measure(self, job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        labelled = job.open()
        out: dict[str, Any] = {
            "accuracy": comparison.accuracy(model.predict, data),
            "labelled": int(labelled.observed[labelled.rows("train")].any(axis=1).sum()),
        }
        rows = data.rows("test")
        values, observed = (part.numpy() for part in data.labels(rows))
        out["majority"] = {
            label.name: majority_rate(values[observed[:, i], i].astype(int)).to_dict()
            for i, label in enumerate(data.schema)
            if label.discrete
        }
        if job.model == "ccvae":  # it is the same for every model; it is trained beside one
            plain = classifier.train(
                labelled, job.resolve(labelled).arguments["network"], seed=job.seed, steps=20 if scale == "smoke" else 2000
            )
            out["plain"] = comparison.accuracy(plain.predict, data)
        return out

    def groups(self, results: list[Result]) -> dict[str, Group]:
        rates = sorted({r.job.supervision for r in results})
        found: dict[str, Group] = {}
        for rate in rates:
            at = {name: by_seed(pick(results, model=name, supervision=rate)) for name in MODELS}
            found |= {f"{shown}, {rate:g}": at[name] for name, shown in MODELS.items()}
            found[f"{PLAIN}, {rate:g}"] = {seed: {"accuracy": f["plain"]} for seed, f in at["ccvae"].items() if "plain" in f}
        for shown in MODELS.values():
            few, many = (found[f"{shown}, {rates[i]:g}"] if rates else {} for i in (0, -1))
            found[f"{shown}, both"] = {seed: {"few": few[seed], "all": many[seed]} for seed in few if seed in many}
        return found

    def claims(self, groups: Mapping[str, Group]) -> list[Claim]:
        rates = sorted(
            {float(name.rpartition(", ")[2]) for name in groups if name.startswith("CCVAE, ") and name[-1].isdigit()}
        )
        rates = rates or [*RATES]
        rivals = [*MODELS.values()][1:]
        out = []
        for rate in rates[:-1]:
            for claim, others in (
                ("the CCVAE predicts better than M2, DIVA and MVAE", rivals),
                ("the CCVAE predicts better than a plain classifier that has the labelled samples alone", [PLAIN]),
            ):
                than = tuple(f"{other}, {rate:g}" for other in others)
                out.append(Claim(f"with {rate:.1%} of the labels {claim}", (Part(RIGHT, f"CCVAE, {rate:g}", "above", than),)))
        out.append(
            Claim(
                f"of what it knows with all labels the CCVAE keeps most with {rates[0]:.1%} of them (above the commoner value)",
                (Part(KEPT, "CCVAE, both", "above", tuple(f"{rival}, both" for rival in rivals)),),
                given=(Part(LEARNT, "CCVAE, both", "above", 0.2),),
            )
        )
        return out

    def tables(self, results: list[Result]) -> list[Table]:
        rates = sorted({r.job.supervision for r in results})
        rows = [
            [name, *(spread(values.values(), "{:.1%}") for values in by_rate)]
            for name, by_rate in _columns(results, rates).items()
        ]
        seeds = len({r.job.seed for r in results})
        table = Table(
            f"Accuracy, mean of the labels; mean and range of {seeds} seeds",
            ["model", *(_shown(results, rate) for rate in rates)],
            rows,
        )
        return [table]

    def draw(self, results: list[Result], scale: Scale) -> dict[str, Figure]:
        rates = sorted({r.job.supervision for r in results})
        curves = {
            name: np.array([[statistics.mean(v), min(v), max(v)] for v in (column.values() for column in by_rate)])
            for name, by_rate in _columns(results, rates).items()
            if all(by_rate)
        }
        panel = Lines([100 * rate for rate in rates], curves, ("% of samples labelled", "accuracy"), logarithmic=True)
        return {"accuracy.png": lines([panel], width=4.6, height=3.4)}


def _shown(results: list[Result], rate: float) -> str:
    counts = {r.measured["labelled"] for r in pick(results, supervision=rate)}
    return f"{rate:.1%} ({', '.join(f'{n:,}' for n in sorted(counts))} samples) labelled"


def mean_accuracy(found: Mapping[str, Mapping[str, float]]) -> float:
    """Mean over labels."""
    return statistics.mean(score["value"] for score in found.values())


def _columns(results: list[Result], rates: list[float]) -> dict[str, list[dict[int, float]]]:
    """Per model (and the two beside them), per rate, the accuracy by seed."""

    def at(rate: float, model: str, key: str) -> dict[int, float]:
        found = by_seed(pick(results, model=model, supervision=rate))
        return {seed: mean_accuracy(f[key]) for seed, f in found.items() if key in f}

    columns = {shown: [at(rate, name, "accuracy") for rate in rates] for name, shown in MODELS.items()}
    columns[PLAIN] = [at(rate, "ccvae", "plain") for rate in rates]
    columns[MAJORITY] = [at(rate, "ccvae", "majority") for rate in rates]
    return columns


def _learnt(found: Found) -> float:
    """Accuracy above always naming the commoner value: a model that does has nothing to lose."""
    return mean_accuracy(found["accuracy"]) - mean_accuracy(found["majority"])


RIGHT = Quantity("accuracy", lambda f: mean_rate(f["accuracy"].values()), "{:.1%}")
LEARNT = Quantity("accuracy above the commoner value with all labels", lambda f: _learnt(f["all"]), "{:.1%}")
KEPT = Quantity("share that is kept", lambda f: _learnt(f["few"]) / max(_learnt(f["all"]), 1e-9), "{:.0%}")
