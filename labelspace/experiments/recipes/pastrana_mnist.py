"""``pastrana-mnist``: latent size, KL weight and conditioning on MNIST, and which latent carries line weight, tilt and width.

First the published settings (one hidden layer of 500 tanh units each side, Adagrad at 0.01, minibatches of 100, 51 passes over
all 60,000 digits, grey levels as Bernoulli targets, seed 1; the posterior's scale is a softplus here, not an exponential): the
VAE with 2 to 20 latents, the beta-VAE and the conditional beta-VAE with 10 latents. Then a conditional model of ours. The paper
judged disentanglement by eye; here thickness, slant and width of every digit are measured, and a latent carries a property as
far as it tells it within classes.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from labelspace.blocks import Latents, sample
from labelspace.data.dataset import Dataset
from labelspace.evaluation.probing import chunks, encoded
from labelspace.experiments import measures
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Recipe, Result, Scale, Table, by_seed, pick, setting, spread, to_draw
from labelspace.experiments.verdicts import SEEDS, Claim, Found, Group, Part, Quantity, dig, yes
from labelspace.metrics import active_units, alignment, suite
from labelspace.models.base import Model
from labelspace.reporting.figures import Lines, Sheet, lines, sheets

LETTER = (
    "likelihood=bernoulli",
    "network.kind=mlp",
    "network.width=500",
    "network.depth=1",
    "network.activation=tanh",
    "optimizer=adagrad",
    "learning_rate=0.01",
    "muon_learning_rate=0",
    "batch_size=100",
    "warmup=0",
    "decay=0",
    "clip=0",
    "precision=32-true",
)
# The weight falls from where no latent pays to where several do, so that latents come into use one after the other, each for
# the direction that explains most of what is left. At a constant weight two of them often share thickness, or slant and
# width; where it falls over six passes of the nine, thickness is shared on some seeds.
OURS = (
    "condvae",
    (
        "latent=10",
        "beta=cosine:40->5@4",
        "likelihood=bernoulli",
        "network.kind=mlp",
        "network.width=500",
        "muon_learning_rate=0",
        "learning_rate=1e-3",
    ),
)
SIZES, WEIGHTS = (2, 3, 5, 10, 20), (1, 2, 3, 4, 5, 10, 20)
PROPERTIES = {"thickness": "line weight", "slant": "tilt", "width": "width"}
CARRIED, ELSEWHERE = 0.6, 0.3  # R^2 of the latent that carries a property, and of all others


class Mnist(Recipe):
    """See the module."""

    claim = (
        "few latent dimensions suffice; a larger KL weight and conditioning on the class improve disentanglement; three "
        "latents "
        "carry line weight, tilt and width"
    )
    paper = "Pastrana 2022"
    needs = "mnist:DIR"
    version = 3

    def jobs(self, scale: Scale, address: str) -> list[Job]:
        smoke = scale == "smoke"
        passes, seeds = (1, SEEDS[:1]) if smoke else (51, SEEDS)
        first = [("vae", d, 1) for d in (2, 10, 20)] + [("vae", 10, 10), ("condvae", 10, 1), ("condvae", 10, 10)]
        every = [("vae", d, 1) for d in SIZES] + [(model, 10, b) for model in ("vae", "condvae") for b in WEIGHTS]
        # Claims are about a few settings, which take five seeds; curves go through all of them, with one.
        grid = [(*setting, seed) for setting in first for seed in seeds]
        grid += [] if smoke else [(*setting, seeds[0]) for setting in dict.fromkeys(every) if setting not in first]
        letter = [
            Job(model, f"{address},val=0", seed=seed, settings=(f"latent={d}", f"beta={b}", *LETTER), epochs=passes)
            for model, d, b, seed in grid
        ]
        model, settings = OURS
        return letter + [Job(model, address, seed=s, settings=settings, epochs=1 if smoke else 9) for s in seeds]

    def measure(self, job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        rows = data.rows("test")
        out: dict[str, Any] = bounds(model, data, rows, job.seed)
        shapes = measures.digit_shapes(data, rows)
        whole = np.isfinite(shapes).all(1)
        codes = encoded(model, data, rows)["z"].numpy()[whole]
        shapes, digits = shapes[whole], data.values[rows[whole], 0].astype(int)
        found = alignment.within_class(
            codes, shapes, digits, names=[*PROPERTIES], threshold=CARRIED, others_below=ELSEWHERE, seed=job.seed
        )
        out["alignment"] = found.to_dict()
        out |= used(model, data, rows)
        # Within classes, both sides: a conditional model's z is to hold nothing of the digit.
        inside = [alignment.within(part, digits) for part in (codes, shapes)]
        out["metrics"] = suite(*inside, discrete=False, seed=job.seed)
        base = rows[: 40 if scale != "smoke" else 4]
        values = np.linspace(-3, 3, 7)
        walked = alignment.measure_traversal(
            lambda c: _decoded(model, data, np.repeat(base, len(values)), c),
            encoded(model, data, base)["z"].numpy(),
            values,
            lambda x: measures.shapes_of(x, [*PROPERTIES]),
        )
        out["traversal"] = alignment.traversal(values, walked, spread=found.spread, names=[*PROPERTIES]).to_dict()
        return out

    def groups(self, results: list[Result]) -> dict[str, Group]:
        letter, ours = _split(results)
        found: dict[str, Group] = {"our model": by_seed(ours)}
        for r in letter:
            name = _named(r.job.model, setting(r.job, "latent"), setting(r.job, "beta"))
            found[name] = {**found.get(name, {}), r.job.seed: r.measured}
        two, ten, twenty = (found.get(_named("vae", d, "1"), {}) for d in ("2", "10", "20"))
        found["the VAE"] = {
            seed: {"elbo": {2: two[seed]["elbo"], 10: ten[seed]["elbo"], 20: twenty[seed]["elbo"]}}
            for seed in two
            if seed in ten and seed in twenty
        }
        return found

    def claims(self, groups: Mapping[str, Group]) -> list[Claim]:
        late = Quantity(
            "ELBO gained from 10 to 20 latents less a tenth of that from 2 to 10 (nats)",
            lambda f: f["elbo"][20] - f["elbo"][10] - 0.1 * (f["elbo"][10] - f["elbo"][2]),
            "{:+.2f}",
        )
        gap = Quantity("R^2 of the best latent less the second", _gap)
        scores = [gap, *(Quantity(shown, _metric(key), "{:.3f}") for key, shown in METRICS.items())]
        out = [
            Claim(
                "few latents suffice: going from 10 to 20 gains less than a tenth of what going from 2 to 10 does",
                (Part(late, "the VAE", "below", 0.0),),
            )
        ]
        for shown, model in (("without the class", "vae"), ("with the class", "condvae")):
            low, high = (_named(model, "10", weight) for weight in ("1", "10"))
            says = f"a larger KL weight improves disentanglement {shown} (best latent less second, MIG and DCI, beta 1 to 10)"
            out.append(Claim(says, tuple(Part(score, high, "above", (low,)) for score in scores)))
        out.append(
            Claim(
                "conditioning on the class improves disentanglement (best latent less second, beta 1 and 10)",
                tuple(Part(gap, _named("condvae", "10", b), "above", (_named("vae", "10", b),)) for b in ("1", "10")),
            )
        )
        three = Quantity("seeds with three such latents", lambda f: yes(_carry(f)), "{:.0%}")
        for shown, name in (
            ("of the published conditional model (beta 10)", _named("condvae", "10", "10")),
            ("of our conditional model", "our model"),
        ):
            says = (
                f"three latents {shown} carry line weight, tilt and width, each R^2 >= {CARRIED}, no other above {ELSEWHERE}, "
                "on most seeds"
            )
            out.append(Claim(says, (Part(three, name, "above", 0.5),)))
        return out

    def tables(self, results: list[Result]) -> list[Table]:
        letter, ours = _split(results)
        return [
            _bounds_table("Latent size, published settings (VAE)", "latents", _by_size(letter), "latent"),
            *(
                _bounds_table(f"KL weight, published settings, 10 latents ({shown})", "beta", _by_weight(letter, model), "beta")
                for model, shown in (("vae", "beta-VAE"), ("condvae", "conditional beta-VAE"))
            ),
            _carriers(
                "Published conditional model, beta 10",
                [r for r in _by_weight(letter, "condvae") if setting(r.job, "beta") == "10"],
            ),
            _carriers("Our conditional model", ours),
        ]

    def draw(self, results: list[Result], scale: Scale) -> dict[str, Figure]:
        letter, ours = _split(pick(results, seed=SEEDS[0]))
        figures: dict[str, Figure] = {}
        sizes = _by_size(letter)
        weights = {shown: _by_weight(letter, m) for m, shown in (("vae", "without the class"), ("condvae", "with the class"))}
        pairs = _same_weight(*weights.values())
        if sizes and pairs:
            figures["curves.png"] = _curves(sizes, {name: [pair[i] for pair in pairs] for i, name in enumerate(weights)})
        letter, ours = _split(to_draw(results))
        flat = [r for r in _by_size(letter) if setting(r.job, "latent") == "2"]
        if flat:
            figures["manifold.png"] = _manifold(flat[0])
        published = [r for r in _by_weight(letter, "condvae") if setting(r.job, "beta") == "10"]
        if published:
            figures["traversals-published.png"] = _traversals(published[0], "Published settings, conditional, beta 10")
        if ours:
            figures["traversals-ours.png"] = _traversals(ours[0], "Our conditional model")
        return figures


@torch.no_grad()
def bounds(model: Model, data: Dataset, rows: np.ndarray, seed: int) -> dict[str, float]:
    """Reconstruction and KL in nats a digit, at one draw of z as the paper's code does it, and the ELBO."""
    generator = torch.Generator().manual_seed(seed)
    reconstruction = kl = 0.0
    for part in np.array_split(rows, -(-len(rows) // 1000)):
        x = data.samples(part)
        posterior = model.posterior(x, *data.labels(part))
        reconstruction -= float(model.decode(sample(posterior, generator)).log_prob(x).sum())
        kl += float(posterior["z"].kl(model.free_prior(x)).sum())
    return {"reconstruction": reconstruction / len(rows), "kl": kl / len(rows), "elbo": -(reconstruction + kl) / len(rows)}


@torch.no_grad()
def used(model: Model, data: Dataset, rows: np.ndarray) -> dict[str, Any]:
    """KL of every latent from its prior in nats a digit, and how many latents have a mean that varies."""
    posteriors = [model.posterior(data.samples(part), *data.labels(part))["z"] for part in chunks(rows)]
    priors = [model.free_prior(data.samples(part)) for part in chunks(rows)]
    kl = torch.cat([q.kl_per_dimension(p) for q, p in zip(posteriors, priors, strict=True)])
    means = torch.cat([q.mean for q in posteriors])
    return {"kl_of_latents": kl.mean(0).tolist(), "active": int(active_units(means.numpy()).sum())}


@torch.no_grad()
def _decoded(model: Model, data: Dataset, rows: np.ndarray, z: np.ndarray) -> Tensor:
    """Digits decoded from codes z, each with the class of its sample."""
    codes = model.encode(data.samples(rows), *data.labels(rows)).map(lambda q: q.mode)
    return model.decode(codes.replace({"z": torch.from_numpy(z).float()})).mean


def _split(results: list[Result]) -> tuple[list[Result], list[Result]]:
    """Runs of the published settings, and ours."""
    letter = [r for r in results if setting(r.job, "optimizer") == "adagrad"]
    return letter, [r for r in results if r not in letter]


def _by_size(letter: list[Result]) -> list[Result]:
    mine = [r for r in pick(letter, model="vae") if setting(r.job, "beta") == "1"]
    return sorted(mine, key=lambda r: int(setting(r.job, "latent")))


def _by_weight(letter: list[Result], model: str) -> list[Result]:
    mine = [r for r in pick(letter, model=model) if setting(r.job, "latent") == "10"]
    return sorted(mine, key=lambda r: int(setting(r.job, "beta")))


def _same_weight(first: list[Result], second: list[Result]) -> list[tuple[Result, Result]]:
    """Runs of two models at the same KL weight, for the weights that both have."""
    others = {setting(r.job, "beta"): r for r in second}
    return [(r, others[setting(r.job, "beta")]) for r in first if setting(r.job, "beta") in others]


def _named(model: str, latents: str, weight: str) -> str:
    """What runs of the published settings are called in claims."""
    return f"the {'conditional ' if model == 'condvae' else ''}VAE with {latents} latents, beta {weight}"


def _gap(found: Found) -> float:
    """How much more the best latent tells of a property than the second best: R^2, mean of the three properties."""
    return statistics.mean(c["gap"]["value"] for c in found["alignment"]["carriers"].values())


def _best(found: Found) -> float:
    return statistics.mean(c["r2"]["value"] for c in found["alignment"]["carriers"].values())


METRICS = {"mig": "MIG", "dci_disentanglement": "DCI disentanglement"}


def _metric(key: str) -> Callable[[Found], float | None]:
    return lambda found: dig(found, "metrics", key, "value")


def _bounds_table(title: str, first: str, results: Sequence[Result], key: str) -> Table:
    columns: dict[str, tuple[Callable[[Found], float | None], str]] = {
        "ELBO": (lambda f: f["elbo"], "{:.2f}"),
        "reconstruction": (lambda f: f["reconstruction"], "{:.2f}"),
        "KL": (lambda f: f["kl"], "{:.2f}"),
        "active latents": (lambda f: dig(f, "active"), "{:.0f}"),
        "best R^2": (_best, "{:.2f}"),
        "best less second": (_gap, "{:.2f}"),
        **{shown: (_metric(name), "{:.3f}") for name, shown in METRICS.items()},
    }
    rows = []
    for value in dict.fromkeys(setting(r.job, key) for r in results):
        mine = [r.measured for r in results if setting(r.job, key) == value]
        values = {name: [v for f in mine if (v := read(f)) is not None] for name, (read, _) in columns.items()}
        rows.append([value, *(spread(values[name], form) for name, (_, form) in columns.items())])
    return Table(
        f"{title}: nats a test digit; R^2 of thickness, slant and width within classes, mean of the three; a latent is active "
        "where its mean varies by more than 0.01",
        [first, *columns],
        rows,
    )


def _carriers(title: str, results: Sequence[Result]) -> Table:
    header = [
        "seed",
        "property",
        "latent",
        "R^2",
        "next latent",
        "slope a unit",
        "range of a walk / sd",
        "walk: share of all latents",
        "KL of that latent, nats",
    ]
    rows = []
    for r in results:
        for name, shown in PROPERTIES.items():
            c = r.measured["alignment"]["carriers"][name]
            effect = r.measured["traversal"]["effects"][name]
            interval = f"{c['r2']['value']:.2f} [{c['r2']['low']:.2f}, {c['r2']['high']:.2f}]"
            rows.append(
                [
                    str(r.job.seed),
                    f"{name} ({shown})",
                    f"z{c['best']}",
                    interval,
                    f"{c['r2']['value'] - c['gap']['value']:.2f}",
                    f"{c['slope']['value']:+.3f}",
                    f"{effect['range']['value']:.1f}",
                    f"z{effect['latent']} {effect['share']:.0%}",
                    f"{r.measured['kl_of_latents'][c['best']]:.2f}" if "kl_of_latents" in r.measured else "-",
                ]
            )
    return Table(f"{title}: which latent carries what, within classes", header, rows)


def _carry(found: Found) -> bool:
    """Whether three different latents carry the three properties, each alone."""
    carriers = found["alignment"]["carriers"].values()
    return all(c["alone"] for c in carriers) and len({c["best"] for c in carriers}) == len(PROPERTIES)


def _curves(sizes: list[Result], weights: dict[str, list[Result]]) -> Figure:
    def column(results: list[Result], read) -> np.ndarray:
        return np.array([read(r) for r in results])

    betas = [int(setting(r.job, "beta")) for r in next(iter(weights.values()))]
    return lines(
        [
            Lines(
                [int(setting(r.job, "latent")) for r in sizes],
                {"": column(sizes, lambda r: r.measured["elbo"])},
                ("latents", "ELBO of test digits, nats"),
                logarithmic=True,
            ),
            Lines(
                betas,
                {name: column(mine, lambda r: r.measured["reconstruction"]) for name, mine in weights.items()},
                ("beta", "reconstruction, nats"),
                logarithmic=True,
            ),
            Lines(
                betas,
                {name: column(mine, lambda r: _gap(r.measured)) for name, mine in weights.items()},
                ("beta", "R^2 of best latent less second"),
                logarithmic=True,
                limits=(0, 1),
            ),
            Lines(
                betas,
                {name: column(mine, lambda r: _metric("mig")(r.measured)) for name, mine in weights.items()},
                ("beta", "MIG"),
                logarithmic=True,
            ),
        ]
    )


@torch.no_grad()
def _manifold(result: Result) -> Figure:
    """The plane of a VAE with two latents: z1 to the right, z2 downwards, as the paper draws it."""
    model, steps = result.model(), torch.linspace(-1.5, 1.5, 20)
    plane = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).view(-1, 2)
    x = model.decode(Latents(model.blocks, {"z": plane})).mean
    return sheets([Sheet("Two latents, from -1.5 to 1.5", x.view(20, 20, *model.shape), axes=("z1", "z2"))], cell=0.25)


@torch.no_grad()
def _traversals(result: Result, title: str) -> Figure:
    """One digit, every latent from -3 to 3 around its mean code; latents that carry a property say so."""
    model, data = result.model(), result.job.open_whole()
    row = data.rows("test")[data.values[data.rows("test"), 0] == 8][:1]
    codes = model.encode(data.samples(row), *data.labels(row)).map(lambda q: q.mode)
    values = torch.linspace(-3, 3, 11)
    z = codes["z"]
    walks = z.repeat(z.shape[1] * len(values), 1)
    for j in range(z.shape[1]):
        walks[j * len(values) : (j + 1) * len(values), j] = values
    every = torch.zeros(len(walks), dtype=torch.long)
    x = model.decode(codes.rows(every).replace({"z": walks})).mean.view(z.shape[1], len(values), *model.shape)
    told = {c["best"]: name for name, c in result.measured["alignment"]["carriers"].items()}
    names = [f"z{j}" + (f" {told[j]}" if j in told else "") for j in range(z.shape[1])]
    return sheets([Sheet(f"{title}: each latent from -3 to 3", x, rows=names)], cell=0.45)
