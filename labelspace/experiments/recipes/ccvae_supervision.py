"""``ccvae-supervision``: accuracy as labels get scarce, for CCVAE, M2, DIVA and MVAE.

Each model is trained on all samples, with the labels of 0.4%, 6%, 20% or 100% of them; accuracy is that on test samples, mean
of the labels, beside the rate of always naming the commoner value and a plain classifier that has the labelled samples alone.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from labelspace.data.dataset import Dataset
from labelspace.evaluation import classifier
from labelspace.experiments import comparison
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Conclusion, Recipe, Result, Scale, Table, Verdict, by_seed, paired, pick, spread
from labelspace.experiments.recipes.csvae_faces import FACES
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
    default = "faces:n=6000,size=32"
    kinds = ("binary", "categorical")

    def jobs(self, scale: Scale, address: str) -> list[Job]:
        rates, seeds, epochs = {
            "smoke": ((0.2, 1.0), 1, 1),
            "cpu": (RATES, 1, 12),
            "paper": (RATES, 3, None),
        }[scale]
        address = "faces:n=400,size=16" if scale == "smoke" and address == self.default else address
        labels = FACES if address.partition(":")[0] == "faces" else None
        return [
            Job(name, address, labels, seed, supervision=rate, epochs=epochs)
            for seed in range(seeds)
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

    def conclude(self, results: list[Result]) -> Conclusion:
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
        return Conclusion(_verdicts(results, rates), [table])

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


def mean_accuracy(found: dict[str, dict[str, float]]) -> float:
    """Mean over labels."""
    return statistics.mean(score["value"] for score in found.values())


def _columns(results: list[Result], rates: list[float]) -> dict[str, list[dict[int, float]]]:
    """Per model (and the two beside them), per rate, the accuracy by seed."""

    def at(rate: float, model: str, key: str) -> dict[int, float]:
        return by_seed(pick(results, model=model, supervision=rate), lambda f: mean_accuracy(f[key]) if key in f else None)

    columns = {shown: [at(rate, name, "accuracy") for rate in rates] for name, shown in MODELS.items()}
    columns[PLAIN] = [at(rate, "ccvae", "plain") for rate in rates]
    columns[MAJORITY] = [at(rate, "ccvae", "majority") for rate in rates]
    return columns


def _verdicts(results: list[Result], rates: list[float]) -> list[Verdict]:
    columns = _columns(results, rates)
    if not rates or not all(all(by_rate) for by_rate in columns.values()):
        return [Verdict("accuracy per rate", None, "Runs are missing.")]
    means = {name: [statistics.mean(v.values()) for v in by_rate] for name, by_rate in columns.items()}
    out = []
    for i, rate in enumerate(rates[:-1]):
        for claim, rivals in (
            ("the CCVAE predicts better than M2, DIVA and MVAE", list(MODELS.values())[1:]),
            ("the CCVAE predicts better than a plain classifier that has the labelled samples alone", [PLAIN]),
        ):
            best = max(rivals, key=lambda name, i=i: means[name][i])
            pairs = paired(columns["CCVAE"][i], columns[best][i])
            ahead = sum(a > b for a, b in pairs)
            out.append(
                Verdict(
                    f"with {rate:.1%} of the labels {claim}",
                    ahead == len(pairs) if pairs else None,
                    f"CCVAE {means['CCVAE'][i]:.1%}, {best} {means[best][i]:.1%} (commoner value {means[MAJORITY][i]:.1%}); "
                    f"ahead in {ahead} of {len(pairs)} seeds.",
                )
            )
    # What is kept is counted above the commoner value: a model that always names it has nothing to lose.
    kept = {
        name: (means[name][0] - means[MAJORITY][0]) / max(means[name][-1] - means[MAJORITY][-1], 1e-9)
        for name in MODELS.values()
    }
    learnt = means["CCVAE"][-1] >= means[MAJORITY][-1] + 0.2
    out.append(
        Verdict(
            f"of what it knows with all labels the CCVAE keeps most with {rates[0]:.1%} of them (above the commoner value)",
            max(kept, key=lambda name: kept[name]) == "CCVAE" if learnt else None,
            ", ".join(f"{name} keeps {v:.0%}" for name, v in kept.items()) + ".",
        )
    )
    return out
