"""``csvae-swiss-roll``: the label of a swiss roll moves into W and out of Z.

The runs of the reproduction's slides: a VAE whose four coordinates are called Z and W two by two, a CSVAE without its
adversary, and a CSVAE, both with the published weights; beside them the LSVAE, which finds its own. Both ways of cutting the
roll. What is measured is the divergence between the codes of the two classes, by nearest neighbours, beside what the same
estimator finds between codes whose labels were shuffled; and what fresh probes read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from labelspace.blocks import sample
from labelspace.data import sources
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.evaluation.probing import posterior, reconstructed
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Recipe, Result, Scale, Table, by_seed, over_seeds, spread, to_draw
from labelspace.experiments.verdicts import SEEDS, Claim, Group, Part, Quantity, dig
from labelspace.metrics import kl_permuted, nearest_neighbour_kl, probe_scores
from labelspace.models.base import Model
from labelspace.reporting.figures import Scatter, scatters

KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "VAE": ("vae", ("latent=4",)),
    "CSVAE, no adversary": ("csvae", ("adversary=false",)),
    "CSVAE": ("csvae", ()),
    "LSVAE": ("lsvae", ()),
}
CUTS = ("height", "x")
SLIDES = {"VAE": (1.651, 0.018), "CSVAE, no adversary": (0.716, 1.315), "CSVAE": (0.018, 1.332)}
NOTHING, READ, TOLD = 0.1, 0.6, 0.95  # nats, and balanced accuracies of probes
_SIZES: dict[Scale, tuple[int, range, int]] = {
    "smoke": (600, SEEDS[:1], 1),
    "cpu": (20_000, SEEDS, 60),
    "paper": (20_000, SEEDS, 2300),
}  # points, seeds, epochs


def _above_floor(found: Any) -> float | None:
    return None if dig(found, "z") is None else found["z"]["kl"] - found["z"]["floor"]


def _told(place: str) -> Quantity:
    shown = {"z": "balanced accuracy off draws of Z", "w_hidden": "balanced accuracy off draws of W (label hidden)"}[place]
    return Quantity(shown, lambda f: dig(f, place, "told", "balanced_accuracy", "value"), "{:.1%}", (0.0, 1.0))


EXCESS = Quantity("KL in Z above the floor (nats)", _above_floor, "{:.3f}")


def kind(job: Job) -> str:
    """Which of the models a job is."""
    return next(name for name, made in KINDS.items() if made == (job.model, job.settings))


class SwissRoll(Recipe):
    """See the module."""

    claim = "a CSVAE puts the label in W and removes it from Z; a VAE does not, and without the adversary Z still leaks"
    paper = "Klys, Snell, Zemel 2018; slides of a reproduction"
    default = "swiss-roll"
    version = 5

    def jobs(self, scale: Scale, address: str) -> list[Job]:
        n, seeds, epochs = _SIZES[scale]
        if {"n", "cut"} & set(sources.parts(address)[2]):
            raise UserError(f"csvae-swiss-roll chooses n and cut itself; leave them out of {address!r}")
        return [
            Job(model, f"{address}{',' if ':' in address else ':'}n={n},cut={cut}", seed=seed, settings=settings, epochs=epochs)
            for cut in CUTS
            for model, settings in KINDS.values()
            for seed in seeds
        ]

    def measure(self, job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        z, w, side = codes(model, data)
        x, again = data.samples(data.rows("test")), reconstructed(model, data, data.rows("test"))
        out: dict[str, Any] = {"reconstruction": float(((again - x) ** 2).mean() / x.var())}
        for name, code in (("z", z), ("w", w), ("w_hidden", codes(model, data, hidden=True)[1])):
            on, off = code[side == 1], code[side == 0]
            floor = kl_permuted(on, off, draws=32, seed=job.seed)
            out[name] = {"kl": nearest_neighbour_kl(on, off).value, "floor": floor.mean, "floor_sd": floor.sd}
            found = max(probe_scores(code, side, seed=job.seed).values(), key=lambda scores: scores["auc"].value)
            out[name]["told"] = {what: score.to_dict() for what, score in found.items()}
        return out

    def groups(self, results: list[Result]) -> dict[str, Group]:
        return {f"{name}, {cut}": by_seed(mine) for cut in CUTS for name, mine in _of_cut(results, cut).items()}

    def claims(self, groups: Mapping[str, Group]) -> list[Claim]:
        out = []
        for cut in CUTS:
            vae, without, csvae, _ = (f"{name}, {cut}" for name in KINDS)
            order = (Part(EXCESS, csvae, "below", (without,)), Part(EXCESS, without, "below", (vae,)))
            out.append(
                Claim(
                    f"the order of the slides' table (cut by {cut}): Z tells most in the VAE, less without the adversary, "
                    "least with it",
                    order,
                )
            )
            out += [
                Claim(
                    f"{name}: Z has nothing of the label (less than {NOTHING} nats above the floor, read in less than "
                    f"{READ:.0%}) and W, label hidden, tells it (read in at least {TOLD:.0%}; cut by {cut})",
                    (
                        Part(EXCESS, f"{name}, {cut}", "below", NOTHING),
                        Part(_told("z"), f"{name}, {cut}", "below", READ),
                        Part(_told("w_hidden"), f"{name}, {cut}", "above", TOLD),
                    ),
                )
                for name in ("CSVAE", "LSVAE")
            ]
        return out

    def tables(self, results: list[Result]) -> list[Table]:
        return [_table(cut, _of_cut(results, cut)) for cut in CUTS]

    def draw(self, results: list[Result], scale: Scale) -> dict[str, Figure]:
        figures = {}
        for cut in CUTS:
            panels, rows = [], []
            for result in to_draw(results):
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


def codes(model: Model, data: Dataset, *, hidden: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Z, W and the label of the test points, a draw of the posterior each; a VAE's four coordinates are split in two.

    Draws, because they are what the decoder sees: mean codes lie on curves without width, and between two of those any offset,
    however far below the posterior's own width, is a large divergence. An encoder of W that is given the label has it there by
    construction; with labels hidden, W tells what the model found in x.
    """
    rows = data.rows("test")
    drawn = sample(posterior(model, data, rows, hidden=hidden), torch.Generator().manual_seed(0))
    z = drawn["z"].numpy()
    named = [block.name for block in model.blocks if block.label is not None]
    w = drawn[named[0]].numpy() if named else z[:, 2:]
    return z[:, :2], w, data.values[rows, 0].astype(int)


def _of_cut(results: list[Result], cut: str) -> dict[str, list[Result]]:
    mine = [r for r in results if f"cut={cut}" in r.job.address]
    return {name: [r for r in mine if kind(r.job) == name] for name in KINDS}


def _table(cut: str, by_kind: dict[str, list[Result]]) -> Table:
    header = [
        "model",
        *("KL in Z", "floor", "KL in W", "floor", "KL in W, label hidden"),
        *("AUC off Z", "AUC off W", "AUC off W, label hidden", "error / variance", "slides Z / W"),
    ]
    rows = []
    for name, mine in by_kind.items():

        def column(read, form: str, mine=mine) -> str:
            return spread(over_seeds(mine, read), form)

        row = [name]
        for b, what in (("z", "kl"), ("z", "floor"), ("w", "kl"), ("w", "floor"), ("w_hidden", "kl")):
            row.append(column(lambda f, b=b, what=what: f[b][what], "{:.3f}"))
        row += [column(lambda f, b=b: f[b]["told"]["auc"]["value"], "{:.3f}") for b in ("z", "w", "w_hidden")]
        row.append(column(lambda f: f["reconstruction"], "{:.4f}"))
        row.append("{:.3f} / {:.3f}".format(*SLIDES[name]) if name in SLIDES and cut == "x" else "-")
        rows.append(row)
    seeds = len(by_kind["CSVAE"])
    title = (
        f"Roll cut by {cut}: divergence between the classes in nats, {seeds} seeds (the slides' runs are of another size, "
        "network and length: the order is what compares; a VAE's Z and W are halves of one code)"
    )
    return Table(title, header, rows)
