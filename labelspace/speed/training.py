"""Workloads of training: ``fit`` beside hand-written loops, another library, and the arithmetic floor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from labelspace.data.dataset import Dataset, as_float
from labelspace.labels import Schema, binary
from labelspace.models import MODELS, build, model_class
from labelspace.models.base import Model
from labelspace.models.networks import Network
from labelspace.models.vae import VAE
from labelspace.speed import calls, floor, loops, peers, timing
from labelspace.training.engine import multiplies_bfloat16, precision_for
from labelspace.training.fit import fit, resolve
from labelspace.training.options import Options

HAND = "hand-written loop"
FUSED = "hand-written, fused Adam"
COMPILED = "hand-written, compiled"
JAX = "the same in JAX, compiled"
DEFAULT = "fit, default recipe"
PUBLISHED = Network("strided", width=32, activation="relu")  # Joy et al. 2021, at 64x64


def noise(shape: tuple[int, ...], labels: int, n: int) -> Dataset:
    """Noise with binary labels: what is in samples does not matter for time. All are training samples."""
    random = np.random.default_rng(0)
    images = len(shape) == 3
    x = random.integers(0, 256, (n, *shape), np.uint8) if images else random.normal(size=(n, *shape)).astype("f4")
    values = random.integers(0, 2, (n, labels)).astype(np.float32)
    schema = Schema([binary(f"label{i}") for i in range(labels)])
    return Dataset("generated", x, values, np.ones(values.shape, bool), schema, {"train": np.arange(n)})


@dataclass(frozen=True)
class Training:
    """A model on data of a shape.

    Attributes:
        key: its letter.
        title: what it is.
        model: its name.
        shape: of a sample.
        labels: how many binary labels.
        batch_size, steps: of a round.
        arguments: of the model, beside its constructor's own defaults: those of its paper.
        compiles: whether the compiled networks are measured, too.

    What ``labelspace train`` does by default with the model on such data is measured, too: its own weights and networks, and
    for images Muon, for a model without a hand-written loop in both precisions.
    """

    key: str
    title: str
    model: str
    shape: tuple[int, ...]
    labels: int
    batch_size: int
    steps: int
    arguments: dict[str, Any] = field(default_factory=dict)
    compiles: bool = False

    def shortened(self, by: int) -> Training:
        """The same with fewer steps a round."""
        return replace(self, steps=max(2, self.steps // by))

    def dataset(self) -> Dataset:
        """What a round goes through."""
        return noise(self.shape, self.labels, self.batch_size * self.steps)

    def new(self, data: Dataset) -> Model:
        torch.manual_seed(0)
        return model_class(self.model)(shape=data.shape, schema=data.schema, **self.arguments)  # type: ignore[call-arg]

    def measure(self, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
        """Rates of all contestants, ratios to the hand-written loop where there is one, and the floor."""
        data = self.dataset()
        found = {
            "title": self.title,
            "unit": "samples/s",
            "batch_size": self.batch_size,
            "steps": self.steps,
            "bfloat16": precision_for(Options(), data.is_image) == "bf16-mixed",  # what "auto" means here
            "calls_per_step": calls.per_step(self.new(data), data, Options(epochs=1, batch_size=self.batch_size)),
        }

        def say(text: str) -> None:
            tell(f"({self.key}) {text}")

        if self.model not in loops.WRITTEN:
            return {**found, "contestants": timing.summary(timing.interleaved(self._in_both(), rounds, say), DEFAULT)}
        x, y = all_of(data), torch.from_numpy(data.values)
        contestants: dict[str, timing.Contestant] = {
            HAND: lambda: loops.gathered(loops.by_hand(self.new(data)), x, y, self.batch_size),
            FUSED: lambda: loops.gathered(loops.by_hand(self.new(data), fused=True), x, y, self.batch_size),
            "with DataLoader": lambda: loops.loaded(loops.by_hand(self.new(data)), x, y, self.batch_size),
        }
        if self.model == "vae" and peers.has_pythae():

            def theirs() -> float:
                model = self.new(data)
                assert isinstance(model, VAE)
                return peers.pythae(model, x, self.batch_size)

            contestants["pythae 0.1.2"] = theirs
        compiling: dict[str, list[float]] = {}
        if self.compiles:
            contestants[COMPILED] = lambda: self._compiled(data, x, y, compiling.setdefault(COMPILED, []))
        if peers.has_jax():
            from labelspace.speed import jitted

            if jitted.can(self.new(data)):

                def in_jax() -> float:
                    rate, took = jitted.rate(self.new(data), x, y, self.batch_size)
                    compiling.setdefault(JAX, []).append(took)
                    return rate

                contestants[JAX] = in_jax
        for precision in ("32-true", "auto"):
            contestants[f"fit, {precision}"] = lambda precision=precision: self._fit(data, precision=precision)
        if self.compiles:
            contestants["fit, auto, compiled"] = lambda: self._fit(data, precision="auto", compile=True)
        contestants[DEFAULT] = lambda: self._default(data)
        rates = timing.interleaved(contestants, rounds, say)
        step, some = loops.by_hand(self.new(data)), (x[: self.batch_size], y[: self.batch_size])
        per_sample = floor.operations(lambda: step(*some)) / self.batch_size
        moved = calls.counted(lambda: step(*some)).bytes / self.batch_size
        return {
            **found,
            "contestants": timing.summary(rates, HAND),
            "compiling_seconds": {name: took[0] for name, took in compiling.items()},  # the first time
            "pythae": {n: r.plain() for n, r in timing.against(rates, "pythae 0.1.2").items()}
            if "pythae 0.1.2" in rates
            else {},
            "operations_per_sample": per_sample,  # of the hand-written step
            "bytes_per_sample": moved,
        }

    def _recipe(self, data: Dataset) -> Options:
        return resolve(build(self.model, data), data, None, {"epochs": 1, "batch_size": self.batch_size})

    def _default(self, data: Dataset, **changes: Any) -> float:
        """The rate of the default recipe, with changes."""
        return rate(build(self.model, data), data, replace(self._recipe(data), **changes))

    def _in_both(self) -> dict[str, timing.Contestant]:
        """The default recipe with Muon in the precision that is chosen here, and for a few steps in the other one: a processor
        without bfloat16 multiplies in it ten times as slowly."""
        data, few = self.dataset(), self.shortened(4).dataset()
        out: dict[str, timing.Contestant] = {DEFAULT: lambda: self._default(data)}
        if self._recipe(data).muon_learning_rate:
            other = "float32" if multiplies_bfloat16(torch.device("cpu")) else "bfloat16"
            out[f"{DEFAULT}, Muon in {other}"] = lambda: self._default(few, muon_precision=other)
        return out

    def _compiled(self, data: Dataset, x: torch.Tensor, y: torch.Tensor, compiling: list[float]) -> float:
        """The rate of the hand-written step, forward, backward and fused Adam compiled."""
        step = torch.compile(loops.by_hand(self.new(data), fused=True))
        began = time.perf_counter()
        step(x[: self.batch_size], y[: self.batch_size])
        compiling.append(time.perf_counter() - began)
        return loops.gathered(step, x, y, self.batch_size)

    def _fit(self, data: Dataset, **changes: Any) -> float:
        options = Options(epochs=1, batch_size=self.batch_size, clip=0.0, warmup=0, decay=0.0)
        return rate(self.new(data), data, options, **changes)


def rate(model: Model, data: Dataset, options: Options, **changes: Any) -> float:
    """Samples a second of :func:`~labelspace.training.fit.fit`, which says nothing meanwhile."""
    return fit(model, data, options, progress=False, **changes).samples_per_second


def all_of(data: Dataset) -> torch.Tensor:
    """All samples in float32, as a person would hold them in memory."""
    return as_float(torch.from_numpy(data.x))


_UNIT: dict[str, Any] = {"scale": 1.0}  # as in the paper: the weights say how much the reconstruction counts

TRAINING = (
    Training("a", "CSVAE on points in three dimensions, MLP", "csvae", (3,), 1, 64, 300, {"latent": 2, **_UNIT}),
    Training(
        "b",
        "VAE on digits 28x28, the MLP 784-500-10",
        "vae",
        (1, 28, 28),
        1,
        100,
        200,
        {"latent": 10, "network": Network("mlp", 500, 1, "relu"), "likelihood": "bernoulli"},
        compiles=True,
    ),
    Training(
        "c",
        "CCVAE on faces 64x64, the published network",
        "ccvae",
        (3, 64, 64),
        18,
        128,
        16,
        {"network": PUBLISHED, "likelihood": "laplace", "scale": 1.0, "estimator": "paper"},  # as the hand-written loop
        compiles=True,
    ),
    Training(
        "cv",
        "VAE on faces 64x64, the same network",
        "vae",
        (3, 64, 64),
        1,
        128,
        16,
        {"latent": 45, "network": PUBLISHED, "likelihood": "bernoulli"},
    ),
    Training("d", "CSVAE on faces 64x64", "csvae", (3, 64, 64), 3, 128, 16, {"latent": 64, **_UNIT}, compiles=True),
    Training("l", "LSVAE on faces 64x64", "lsvae", (3, 64, 64), 3, 128, 16),
)


@dataclass(frozen=True)
class Recipes:
    """What ``labelspace train`` does by default, on several kinds of data or with several models.

    Attributes:
        key: its letter.
        title: what it is.
        cases: name -> model, shape of a sample, binary labels, samples. The first is what the others are compared with.
        batch_size: of all.
    """

    key: str
    title: str
    cases: dict[str, tuple[str, tuple[int, ...], int, int]]
    batch_size: int = 128

    def shortened(self, by: int) -> Recipes:
        """The same on fewer samples."""
        return replace(self, cases={name: (*case[:3], max(256, case[3] // by)) for name, case in self.cases.items()})

    def measure(self, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
        """Rates of all cases, ratios to the first, and the calls of a step."""
        contestants, dispatched = {}, {}
        for name, (model, shape, labels, n) in self.cases.items():
            data = noise(shape, labels, n)
            options = resolve(build(model, data), data, None, {"epochs": 1, "batch_size": self.batch_size})
            dispatched[name] = calls.per_step(build(model, data), data, options)

            def run(model: str = model, data: Dataset = data, options: Options = options) -> float:
                return rate(build(model, data), data, options)

            contestants[f"{name}, default recipe"] = run
        rates = timing.interleaved(contestants, rounds, lambda text: tell(f"({self.key}) {text}"))
        return {
            "title": self.title,
            "unit": "samples/s",
            "batch_size": self.batch_size,
            "calls": dispatched,
            "bfloat16": precision_for(Options()) == "bf16-mixed",
            "contestants": timing.summary(rates, next(iter(contestants))),
        }


RECIPES = (
    Recipes("m", "every model on pictures 32x32, 3 labels", {name: (name, (3, 32, 32), 3, 1024) for name in MODELS}),
    Recipes(
        "n",
        "LSVAE with 3, 10 and 40 labels",
        {
            f"{what}, {labels} labels": ("lsvae", shape, labels, n)
            for what, shape, n in (("20 columns", (20,), 4096), ("64x64", (3, 64, 64), 1024))
            for labels in (3, 10, 40)
        },
    ),
    Recipes("t", "LSVAE on tables of 20 columns", {f"{n:,} rows": ("lsvae", (20,), 3, n) for n in (50_000, 300)}),
    Recipes(
        "x",
        "LSVAE on pictures of several sizes",
        {f"{side}x{side}": ("lsvae", (3, side, side), 3, 512) for side in (32, 64, 128)},
    ),
)
