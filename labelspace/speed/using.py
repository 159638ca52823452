"""Workloads of use: encoding and decoding, one edit, and building a store."""

from __future__ import annotations

import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from labelspace import cores, interventions
from labelspace.blocks import modes
from labelspace.data import sources, store
from labelspace.data.batches import Batches
from labelspace.data.dataset import Dataset
from labelspace.models import build
from labelspace.models.base import Model
from labelspace.models.of_data import CHUNK, chunks
from labelspace.speed import timing
from labelspace.speed.training import noise
from labelspace.training.fit import fit

_MODELS = ("lsvae", "vae")


def _faces(n: int) -> Dataset:
    """Noise in the shape of faces with three labels."""
    return noise((3, 64, 64), 3, n)


def throughput(rounds: int, n: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Encoding and decoding of ``n`` faces 64x64 beside training by the model's own recipe, in samples a second."""
    out = {}
    for name in _MODELS:
        data, few = _faces(n), _faces(min(n, 2048))
        model = build(name, data).eval()

        def train(name: str = name, few: Dataset = few) -> float:
            return fit(build(name, few), few, epochs=1, progress=False).samples_per_second

        @torch.no_grad()
        def encode(model: Model = model, data: Dataset = data) -> float:
            began = time.perf_counter()
            for rows in chunks(np.arange(len(data))):
                modes(model.encode(data.samples(rows), *data.labels(rows)))
            return len(data) / (time.perf_counter() - began)

        @torch.no_grad()
        def decode(model: Model = model, n: int = n) -> float:
            codes = modes(model.prior(torch.zeros(CHUNK, len(model.schema))))
            began = time.perf_counter()
            for start in range(0, n, CHUNK):
                model.decode(codes.rows(slice(0, min(CHUNK, n - start)))).mean  # noqa: B018
            return n / (time.perf_counter() - began)

        rates = timing.interleaved({"train": train, "encode": encode, "decode": decode}, rounds, lambda t: tell(f"(e) {t}"))
        out[name] = timing.summary(rates, "train")
    return {"title": f"encode and decode {n:,} faces 64x64", "unit": "samples/s", "models": out}


def latency(rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Milliseconds of one edit of one face (encode, set a label, decode), the middle and the 95th percentile of many."""
    out = {}
    for name in _MODELS:
        data = _faces(128)
        model = build(name, data).eval()
        model.calibrate(lambda data=data: _batches(data))
        x, labels = data.samples([0]), data.labels([0])
        took = []
        for _ in range(20 * rounds + 5):
            began = time.perf_counter()
            interventions.set(model, x, {"label0": 1}, labels)
            took.append((time.perf_counter() - began) * 1e3)
        took = sorted(took[5:])
        out[name] = {"median": statistics.median(took), "p95": took[int(0.95 * len(took))], "n": len(took)}
        tell(f"(f) one edit with {name}: {out[name]['median']:.1f} ms")
    return {"title": "one edit of one face 64x64", "unit": "ms", "models": out}


def _batches(data: Dataset):
    """A data set's training split as batches, in order."""
    return iter(Batches(data, "train", 256, shuffle=False, prefetch=0))


@contextmanager
def _cache(home: str) -> Iterator[None]:
    """Inside, stores are kept in another directory."""
    before = os.environ.get("LABELSPACE_CACHE")
    os.environ["LABELSPACE_CACHE"] = home
    try:
        yield
    finally:
        if before is None:
            del os.environ["LABELSPACE_CACHE"]
        else:
            os.environ["LABELSPACE_CACHE"] = before


def stores(n: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Images a second of building stores with one process a core: drawn sprites, drawn faces, and files to decode."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "pictures"
        noise = np.random.default_rng(0).integers(0, 256, (16, 178 // 8, 218 // 8, 3), np.uint8)
        for i in range(n):  # as large as aligned CelebA, smooth as photographs are
            (folder / str(i % 2)).mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise[i % 16]).resize((178, 218), Image.Resampling.BICUBIC).save(folder / str(i % 2) / f"{i}.jpg")
        addresses = {"sprites 64x64": f"sprites:n={n}", "JPEG files 178x218 to 64x64": f"folder:{folder},size=64"}
        if importlib.util.find_spec("python_avatars"):
            addresses["faces 64x64"] = f"faces:n={n}"
        with _cache(home):
            for what, address in addresses.items():
                with store.watched() as built:
                    sources.open(address)
                drawn, seconds = sum(b.drawn for b in built), sum(b.seconds for b in built)
                found[what] = {"images": drawn, "seconds": seconds, "rate": drawn / seconds}
                tell(f"(g) {what}: {drawn / seconds:,.0f} images/s")
    return {"title": "building a store", "unit": "images/s", "processes": cores.usable(), "stores": found}
