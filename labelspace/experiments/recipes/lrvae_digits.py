"""``lrvae-digits``: class codes, generation under a class, exchange of class and style, and inpainting, on digits.

Lr-LiVAE and Lr-LiVAE-GAN beside CVAE-GAN and CondVAE. The paper's own numbers are those of an unknown measure, so none is
compared with: diversity is the mean squared distance of two samples of a class in the features of a judge trained on real
data, over that of real samples. The authors' code has networks for MNIST but no result; here networks are fully
connected and pixels Bernoulli, which trains within minutes (the published weights are of a squared error, and keep it).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from labelspace import interventions
from labelspace.blocks import concatenate
from labelspace.data.dataset import Dataset
from labelspace.evaluation import judge
from labelspace.evaluation.probing import chosen, encoded
from labelspace.experiments import comparison, measures
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Forms, Recipe, Result, Scale, Table, by_form, by_seed, over_seeds, spread, to_draw
from labelspace.experiments.recipes.lrvae_moons import PLACES, PUBLISHED, leak_of, separated, told
from labelspace.experiments.verdicts import SEEDS, Claim, Found, Group, Part, Quantity, dig, rate
from labelspace.metrics import diversity, generation, mean
from labelspace.models.base import Model
from labelspace.reporting.figures import Scatter, Sheet, scatters, sheets

CLAIMED = ("Lr-LiVAE", "Lr-LiVAE-GAN")


class Digits(Recipe):
    """See the module. Another set of classes is a subclass with its own ``default``, ``labels``, settings and :meth:`style`."""

    claim = (
        "class codes separate and z_u carries no class; generation under a class is more diverse than CVAE-GAN's; "
        "exchanging z_s "
        "and z_u exchanges class and style"
    )
    paper = "Zheng, Sun 2019"
    needs = "mnist:DIR"
    judged = True
    kinds = ("binary", "categorical")
    version = 3
    labels: ClassVar[tuple[str, ...] | None] = ("digit",)
    sizes: ClassVar[dict[Scale, tuple[range, int | None, int]]] = {
        "smoke": (SEEDS[:1], 1, 20),
        "cpu": (SEEDS, 8, 200),
        "paper": (SEEDS, 100, 1000),
    }  # seeds, passes, samples a class
    common: ClassVar[tuple[str, ...]] = (
        "network.kind=mlp",
        "network.width=500",
        "likelihood=bernoulli",
        "learning_rate=1e-3",
        "muon_learning_rate=0",
    )  # settings of every model

    published: ClassVar[tuple[str, ...]] = (*PUBLISHED, "likelihood=gaussian")

    def forms(self) -> Forms:
        """What is compared."""
        forms: Forms = {
            "CondVAE": ("condvae", ()),
            "CVAE-GAN": ("cvae-gan", ()),
            "Lr-LiVAE": ("lr-livae", ()),
            "Lr-LiVAE-GAN": ("lr-livae-gan", ()),
            "Lr-LiVAE-GAN, published weights": ("lr-livae-gan", self.published),
        }
        return {name: (model, (*self.common, *settings)) for name, (model, settings) in forms.items()}

    def jobs(self, scale: Scale, address: str) -> list[Job]:
        seeds, epochs, _ = self.sizes[scale]
        return [
            Job(model, address, self.labels, seed, settings=settings, epochs=epochs)
            for seed in seeds
            for model, settings in self.forms().values()
        ]

    def measure(self, job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        reader = judge.of(data, job.seed)
        each = self.sizes[scale][2]
        rows = chosen(data, "test", 10 * each)
        label = data.schema.names[0]
        return {
            "accuracy": comparison.accuracy(model.predict, data)[label],
            "leak": measures.leak(model, data, seed=job.seed)[label],
            "generation": self._generation(model, data, reader, each),
            "exchange": self._exchange(model, data, reader, rows),
            "inpainting": _inpainting(model, data, rows[:300]),
            "reconstruction": measures.reconstruction_error(model, data, rows),
        }

    def _generation(self, model: Model, data: Dataset, reader: judge.Judge, each: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(0)
        label = data.schema.names[0]
        names = data.schema[label].values
        made = torch.cat(
            [interventions.generate(model, {label: name}, each, source="prior", generator=generator).x for name in names]
        )
        asked = np.repeat(np.arange(len(names)), each)
        rows = chosen(data, "test", max(1000, len(asked)))
        real, classes = data.samples(rows), data.values[rows, 0].astype(int)
        seen, shown = reader.features(made).numpy(), reader.features(real).numpy()
        inside = diversity.intra_class(seen, asked, shown, classes)
        pixels = diversity.intra_class(made.numpy(), asked, real.numpy(), classes)
        both = generation.precision_recall(shown[: len(seen)], seen)
        return {
            "read": mean(reader.read(made)[:, 0].numpy() == asked).to_dict(),
            "diversity": {names[v]: {"made": c.generated.to_dict(), "real": c.real.to_dict()} for v, c in inside.items()},
            "diversity_ratio": statistics.mean(c.ratio for c in inside.values()),
            "pixel_ratio": statistics.mean(c.ratio for c in pixels.values()),
            "frechet": generation.frechet(shown, seen).to_dict(),
            "frechet_floor": generation.real_halves(generation.frechet, shown).to_dict(),
            **{name: score.to_dict() for name, score in both.items()},
        }

    def _exchange(self, model: Model, data: Dataset, reader: judge.Judge, rows: np.ndarray) -> dict[str, Any]:
        donors = np.random.default_rng(0).permutation(rows)
        made = exchanged(model, data, donors, rows)
        theirs, own = (torch.from_numpy(data.values[part, 0]) for part in (donors, rows))
        differ = theirs != own
        read = reader.read(made)[:, 0]
        return {"class": mean((read == theirs)[differ].numpy()).to_dict(), "style": self.style(data, rows, donors, made)}

    def style(self, data: Dataset, rows: np.ndarray, donors: np.ndarray, made: Tensor) -> dict[str, float]:
        """How far a made digit has the thickness and slant of the digit that z_u is of: their squared correlations."""
        before, after = measures.digit_shapes(data, rows), measures.shapes_of(made, ["thickness", "slant"])
        whole = np.isfinite(before).all(1) & np.isfinite(after).all(1)
        return {
            name: float(np.corrcoef(before[whole, i], after[whole, i])[0, 1] ** 2) if after[whole, i].std() > 0 else 0.0
            for i, name in enumerate(("thickness", "slant"))
        }

    def groups(self, results: list[Result]) -> dict[str, Group]:
        return {name: by_seed(mine) for name, mine in by_form(results, self.forms()).items()}

    def claims(self, groups: Mapping[str, Group]) -> list[Claim]:
        read = Quantity("class read", lambda f: rate(dig(f, "generation", "read")), "{:.1%}")
        diverse = Quantity("diversity over real diversity", lambda f: dig(f, "generation", "diversity_ratio"))
        swapped = Quantity("donor's class read", lambda f: rate(dig(f, "exchange", "class")), "{:.1%}")
        kept = Quantity(f"style kept ({self.kept}), worst", _kept)
        more = (
            "generation under a class is more diverse with the Lr-LiVAE-GAN than with the CVAE-GAN, and of the class (90% read)"
        )
        return [
            *(separated(name, leak_of) for name in CLAIMED),
            Claim(more, (Part(diverse, "Lr-LiVAE-GAN", "above", ("CVAE-GAN",)), Part(read, "Lr-LiVAE-GAN", "above", 0.9))),
            *(
                Claim(
                    f"{name}: exchanging z_s and z_u exchanges class (90% read) and keeps style ({self.kept})",
                    (Part(swapped, name, "above", 0.9), Part(kept, name, "above", self.enough)),
                )
                for name in CLAIMED
            ),
        ]

    def tables(self, results: list[Result]) -> list[Table]:
        columns = {
            "generated: class read": (lambda f: f["generation"]["read"]["value"], "{:.1%}"),
            "diversity / real": (lambda f: f["generation"]["diversity_ratio"], "{:.2f}"),
            "in pixels": (lambda f: f["generation"]["pixel_ratio"], "{:.2f}"),
            "Frechet distance": (lambda f: f["generation"]["frechet"]["value"], "{:.2f}"),
            "recall": (lambda f: f["generation"]["recall"]["value"], "{:.1%}"),
            "exchange: class read": (lambda f: f["exchange"]["class"]["value"], "{:.1%}"),
            "exchange: style kept": (_kept, "{:.2f}"),
            **{shown: (lambda f, key=key: told(f["leak"], *key), "{:.1%}") for shown, key in PLACES.items()},
            "inpainting error": (lambda f: f["inpainting"]["ratio"], "{:.2f}"),
        }
        rows = [
            [name, *(spread(over_seeds(mine, read), form) for read, form in columns.values())]
            for name, mine in by_form(results, self.forms()).items()
        ]
        seeds = len({r.job.seed for r in results})
        title = (
            f"Classes and styles, mean and range of {seeds} seeds (inpainting: error in the hole over that of its mean colour)"
        )
        return [Table(title, ["model", *columns], rows)]

    kept: ClassVar[str] = "R^2 of thickness and slant at least 0.5"
    enough: ClassVar[float] = 0.5

    def draw(self, results: list[Result], scale: Scale) -> dict[str, Figure]:
        first = by_form(to_draw(results), self.forms())
        if not all(first.values()):
            return {}
        data = first["Lr-LiVAE"][0].job.open_whole()
        models = {name: mine[0].model() for name, mine in first.items()}
        return {
            "generated.png": self._generated_sheet(models, data),
            "exchange.png": _exchange_sheet(models["Lr-LiVAE-GAN"], data),
            "inpainting.png": _inpainting_sheet(models["Lr-LiVAE-GAN"], data),
            "codes.png": _codes(models["Lr-LiVAE-GAN"], data),
        }

    def _generated_sheet(self, models: dict[str, Model], data: Dataset) -> Figure:
        parts = []
        rows, label = data.rows("test"), data.schema.names[0]
        names = data.schema[label].values
        for value in (0, len(names) // 2, len(names) - 1):
            real = rows[data.values[rows, 0] == value][:10]
            generator = torch.Generator().manual_seed(0)
            made = [
                interventions.generate(m, {label: names[value]}, len(real), source="prior", generator=generator).x
                for m in models.values()
            ]
            images = torch.stack([data.samples(real), *made])
            parts.append(Sheet(f"{label} {names[value]}", images, rows=["real", *models]))
        return sheets(parts)


def _kept(found: Found) -> float | None:
    """How much of the style is kept, the least of what was measured of it."""
    style = found["exchange"]["style"]
    return min(style.values()) if style else None


@torch.no_grad()
def exchanged(model: Model, data: Dataset, classes: np.ndarray, styles: np.ndarray) -> Tensor:
    """Samples decoded from the class block of some samples and the free block of others."""
    first, second = encoded(model, data, classes), encoded(model, data, styles)
    return model.decode(second.replace({b.name: first[b.name] for b in model.blocks if b.label is not None})).mean


def holes(data: Dataset, n: int) -> Tensor:
    """One random square a sample, three tenths of a side wide, ``(n, *shape)`` bool."""
    _, height, width = data.shape
    side = max(1, round(0.3 * min(height, width)))
    rng = np.random.default_rng(0)
    mask = torch.zeros(n, *data.shape, dtype=torch.bool)
    for i in range(n):
        top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
        mask[i, :, top : top + side, left : left + side] = True
    return mask


def _inpainting(model: Model, data: Dataset, rows: np.ndarray) -> dict[str, float]:
    """Squared error in a random square hole, over the error of filling it with its own mean colour."""
    x, mask = data.samples(rows), holes(data, len(rows))
    filled = interventions.inpaint(model, x, mask).x
    count = mask[0].sum() / len(x[0])
    flat = (x * mask).flatten(2).sum(2) / count
    plain = torch.where(mask, flat[:, :, None, None], x)
    made, nothing = (((y - x) ** 2).flatten(1).sum(1) for y in (filled, plain))
    return {"error": float(made.mean() / mask[0].sum()), "ratio": float(made.sum() / nothing.sum())}


def _exchange_sheet(model: Model, data: Dataset) -> Figure:
    rows = data.rows("test")[:60]
    _, first = np.unique(data.values[rows, 0], return_index=True)
    classes, styles = rows[first][:6], rows[10:20]
    table = [torch.cat([torch.ones_like(data.samples(rows[:1])), data.samples(styles)])]
    for row in classes:
        table.append(torch.cat([data.samples([row]), exchanged(model, data, np.full(len(styles), row), styles)]))
    return sheets([Sheet("The left column gives the class block, the top row the free block", torch.stack(table))])


def _inpainting_sheet(model: Model, data: Dataset) -> Figure:
    rows = data.rows("test")[:12]
    x, mask = data.samples(rows), holes(data, len(rows))
    filled = interventions.inpaint(model, x, mask).x
    return sheets(
        [Sheet("Inpainting", torch.stack([x, torch.where(mask, 0.5, x), filled]), rows=["original", "hole", "filled"])]
    )


def _codes(model: Model, data: Dataset) -> Figure:
    """Both codes of test samples in two dimensions (t-SNE)."""
    from sklearn.manifold import TSNE

    rows = data.rows("test")[:1000]
    codes, classes = encoded(model, data, rows), data.values[rows, 0].astype(int)
    parts = {
        "class block": concatenate(codes.take([b.name for b in model.blocks if b.label is not None])),
        "free block": concatenate(codes.take([b.name for b in model.blocks.free])),
    }
    perplexity = min(30.0, max(2.0, len(rows) / 5))
    flat = {name: TSNE(2, perplexity=perplexity, random_state=0).fit_transform(code.numpy()) for name, code in parts.items()}
    return scatters([[Scatter(x[:, 0], x[:, 1], classes, title=f"{name} (t-SNE)") for name, x in flat.items()]], side=3.2)
