"""``csvae-swiss-roll``: the label of a swiss roll moves into W and out of Z.

The runs of the reproduction's slides: a VAE whose four coordinates are called Z and W two by two, a CSVAE without its
adversary, and a CSVAE, both with the published weights; beside them ours, which balances itself. Both ways of cutting the
roll. What is measured is the divergence between the codes of the two classes, by nearest neighbours, beside what the same
estimator finds between codes whose labels were shuffled; and what fresh probes read.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from labelspace.blocks import sample
from labelspace.data.dataset import Dataset
from labelspace.evaluation import leakage
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import (
    Conclusion,
    Recipe,
    Result,
    Scale,
    Table,
    Verdict,
    by_seed,
    over_seeds,
    paired,
    pick,
    spread,
)
from labelspace.models.base import Model
from labelspace.report.figures import Scatter, scatters

PUBLISHED = (
    "balance=fixed",
    "adversary_target=uniform",
    "adversary_steps=1",
    "scale=1",
    "reconstruction=20",
    "kl_w=1",
    "kl_z=0.2",
    "leak=10",
)
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "VAE": ("vae", ("latent=4",)),
    "CSVAE, no adversary": ("csvae", ("adversary=false", *PUBLISHED)),
    "CSVAE": ("csvae", PUBLISHED),
    "CSVAE, balanced": ("csvae", ()),
}
CUTS = ("height", "x")
SLIDES = {"VAE": (1.651, 0.018), "CSVAE, no adversary": (0.716, 1.315), "CSVAE": (0.018, 1.332)}
_SIZES = {"smoke": (600, 1, 1), "cpu": (20_000, 5, None), "paper": (20_000, 5, 2300)}  # points, seeds, epochs


def kind(job: Job) -> str:
    """Which of the models a job is."""
    return next(name for name, made in KINDS.items() if made == (job.model, job.settings))


class SwissRoll(Recipe):
    """See the module."""

    claim = "a CSVAE puts the label in W and removes it from Z; a VAE does not, and without the adversary Z still leaks"
    paper = "Klys, Snell, Zemel 2018; slides of a reproduction"
    default = "swiss-roll"
    version = 2

    def jobs(self, scale: Scale, address: str) -> list[Job]:
        n, seeds, epochs = _SIZES[scale]
        return [
            Job(model, f"{address}{',' if ':' in address else ':'}n={n},cut={cut}", seed=seed, settings=settings, epochs=epochs)
            for cut in CUTS
            for model, settings in KINDS.values()
            for seed in range(seeds)
        ]

    def measure(self, job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        z, w, side = codes(model, data)
        x = data.samples(data.rows("test"))
        with torch.no_grad():
            again = model.decode(model.encode(x, *data.labels(data.rows("test"))).map(lambda part: part.mode)).mean
        out: dict[str, Any] = {"reconstruction": float(((again - x) ** 2).mean() / x.var())}
        for name, code in (("z", z), ("w", w)):
            on, off = code[side == 1], code[side == 0]
            floor = leakage.kl_permuted(on, off, seed=job.seed)
            out[name] = {"kl": leakage.nearest_neighbour_kl(on, off).value, "floor": floor.mean, "floor_sd": floor.sd}
            out[name]["probe"] = {k: s.to_dict() for k, s in leakage.probe(code, side, seed=job.seed).items()}
        return out

    def conclude(self, results: list[Result]) -> Conclusion:
        tables, verdicts = [], []
        for cut in CUTS:
            mine = [r for r in results if f"cut={cut}" in r.job.address]
            by_kind = {name: [r for r in mine if kind(r.job) == name] for name in KINDS}
            tables.append(_table(cut, by_kind))
            verdicts += _verdicts(cut, by_kind)
        return Conclusion(verdicts, tables)

    def draw(self, results: list[Result], scale: Scale) -> dict[str, Figure]:
        figures = {}
        for cut in CUTS:
            panels, rows = [], []
            for result in pick(results, seed=0):
                if f"cut={cut}" not in result.job.address:
                    continue
                z, w, side = codes(result.model(), result.job.open_whole())
                rows.append(kind(result.job))
                panels.append(
                    [
                        Scatter(z[:, 0], z[:, 1], side, ("z1", "z2")),
                        Scatter(w[:, 0], w[:, 1], side, ("w1", "w2")),
                        Scatter(z[:, 1], w[:, 0], side, ("z2", "w1")),
                    ]
                )
            if panels:
                figures[f"codes-{cut}.png"] = scatters(panels, rows)
        return figures


def codes(model: Model, data: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Z, W and the label of the test points, a draw of the posterior each; a VAE's four coordinates are split in two.

    Draws, because they are what the decoder sees: mean codes lie on curves without width, and between two of those any offset,
    however far below the posterior's own width, is a large divergence.
    """
    rows = data.rows("test")
    with torch.no_grad():
        posterior = model.encode(data.samples(rows), *data.labels(rows))
        drawn = sample(posterior, torch.Generator().manual_seed(0))
    z = drawn["z"].numpy()
    named = [block.name for block in model.blocks if block.label is not None]
    w = drawn[named[0]].numpy() if named else z[:, 2:]
    return z[:, :2], w, data.values[rows, 0].astype(int)


def _table(cut: str, by_kind: dict[str, list[Result]]) -> Table:
    header = [
        "model",
        "KL in Z",
        "KL in W",
        "floor Z",
        "floor W",
        "probe of Z",
        "probe of W",
        "error / variance",
        "slides Z / W",
    ]
    rows = []
    for name, mine in by_kind.items():
        row = [name]
        row += [spread(over_seeds(mine, lambda f, b=b: f[b]["kl"]), "{:.3f}") for b in ("z", "w")]
        row += [spread(over_seeds(mine, lambda f, b=b: f[b]["floor"]), "{:.3f}") for b in ("z", "w")]
        row += [spread(over_seeds(mine, lambda f, b=b: f[b]["probe"]["mlp"]["value"]), "{:.1%}") for b in ("z", "w")]
        row.append(spread(over_seeds(mine, lambda f: f["reconstruction"]), "{:.4f}"))
        row.append("{:.3f} / {:.3f}".format(*SLIDES[name]) if name in SLIDES and cut == "x" else "-")
        rows.append(row)
    return Table(f"Roll cut by {cut}: divergence between the classes in nats, {len(by_kind['CSVAE'])} seeds", header, rows)


def _verdicts(cut: str, by_kind: dict[str, list[Result]]) -> list[Verdict]:
    def kl(name: str, block: str) -> dict[int, float]:
        return by_seed(by_kind[name], lambda f: f[block]["kl"])

    def at_the_floor(name: str) -> list[bool]:
        return [r.found["z"]["kl"] <= r.found["z"]["floor"] + 2 * r.found["z"]["floor_sd"] for r in by_kind[name]]

    if not all(by_kind.values()):
        return [Verdict(f"order of the divergences, cut by {cut}", None, "Runs are missing.")]
    out = []
    for name in ("CSVAE", "CSVAE, balanced"):
        pairs = paired(kl(name, "z"), kl("CSVAE, no adversary", "z"), kl("VAE", "z"))
        if not pairs:
            out.append(Verdict(f"order of the divergences of the {name}, cut by {cut}", None, "No seed has all models."))
            continue
        inside, free = min(kl(name, "w").values()), at_the_floor(name)
        below = sum(z < other for z, other, _ in pairs)
        means = [statistics.mean(column) for column in zip(*pairs, strict=True)]
        out += [
            Verdict(
                f"Z of the {name} tells less of the label than without the adversary, and that less than a VAE's codes "
                f"(cut by {cut})",
                means[0] < means[1] < means[2] and below == len(pairs),
                f"KL in Z {means[0]:.3f} < {means[1]:.3f} < {means[2]:.3f} is asked; the first holds in {below} of "
                f"{len(pairs)} seeds.",
            ),
            Verdict(
                f"W of the {name} has the label and Z has nothing of it (cut by {cut})",
                inside > 1 and all(free),
                f"KL in W is at least {inside:.2f}; Z is within two standard deviations of the floor in "
                f"{sum(free)} of {len(free)} seeds.",
            ),
        ]
    return out
