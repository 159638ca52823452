"""Memory of training: what a process holds while it trains on a store, which must not grow with the data. Linux only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 64
BATCH = 512


def draw(rows: np.ndarray, failures: list[tuple[int, str]]) -> np.ndarray:
    """Rows of (skin, height, width, glasses, smile, background), each in [0, 1], as ovals with features, uint8."""
    down, across = (np.mgrid[:SIDE, :SIDE] / (SIDE - 1) * 2 - 1).astype(np.float32)
    skin, height, width, glasses, smile, back = (column[:, None, None] for column in rows.astype(np.float32).T)
    face = (down / (0.6 + 0.3 * height)) ** 2 + (across / (0.4 + 0.3 * width)) ** 2 < 1
    eyes = (down + 0.2) ** 2 + (np.abs(across) - 0.25) ** 2
    mouth = (np.abs(down - 0.4 - (smile - 0.5) * (0.1 - across**2)) < 0.04) & (np.abs(across) < 0.25)
    dark = (eyes < 0.006) | mouth | ((glasses > 0.5) & (np.abs(eyes - 0.03) < 0.012))
    out = np.empty((len(rows), 3, SIDE, SIDE), np.uint8)
    for i, share in enumerate((1.0, 0.8, 0.6)):
        out[:, i] = np.where(dark, 20, np.where(face, 255 * share * (0.3 + 0.7 * skin), 255 * back))
    return out


class Memory(threading.Thread):
    """Reads what this process holds, in MB, ten times a second; keeps the largest values."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = self.now()
        self.over = threading.Event()
        self.start()

    @staticmethod
    def now() -> dict[str, float]:
        lines = (line.split() for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
        return {line[0][:-1]: int(line[1]) / 1000 for line in lines if line and line[0] in ("RssAnon:", "RssFile:")}

    def run(self) -> None:
        while not self.over.wait(0.1):
            self.most = {name: max(value, self.most[name]) for name, value in self.now().items()}

    def stop(self) -> dict[str, float]:
        self.over.set()
        self.join()
        return self.most


def measure(n: int) -> dict[str, Any]:
    """Draws n faces into a store, trains a small VAE on them for one pass, and says what it took, in MB.

    Held by the process from before the model is built: RssAnon, memory of its own, and RssFile, pages of files that are mapped,
    which the system drops and reads again as it needs memory.
    """
    import torch

    from labelspace.data import store
    from labelspace.data.dataset import Dataset
    from labelspace.data.splits import random_splits
    from labelspace.labels import Schema, binary
    from labelspace.models import build
    from labelspace.models.networks import Network
    from labelspace.training.fit import fit

    torch.manual_seed(0)
    rows = np.random.default_rng(0).random((n, 6), dtype=np.float32)
    built = store.build("large", rows, (3, SIDE, SIDE), "labelspace.speed.memory:draw", {})
    values = (rows[:, 3:5] > 0.5).astype(np.float32)
    schema = Schema([binary("glasses"), binary("smile")])
    data = Dataset("generated", built.x, values, np.ones(values.shape, bool), schema, random_splits(n, 0, (500 / n, 500 / n)))
    before, memory, began = Memory.now(), Memory(), time.monotonic()
    data.check()
    data.describe()
    model = build("vae", data, network=Network("mlp", 16, 1))
    fit(model, data, epochs=1, batch_size=BATCH, progress=False)
    return {
        "images": n,
        "store_mb": built.x.nbytes / 1e6,
        "drawn_per_second": built.drawn / built.seconds,
        "steps": -(-len(data.rows("train")) // BATCH),
        "seconds": time.monotonic() - began,
        "before_training_mb": before,
        "most_while_training_mb": memory.stop(),
    }


def of_stores(sizes: tuple[int, ...], tell: Callable[[str], None]) -> dict[str, Any]:
    """:func:`measure` of several sizes, each in a process of its own with a cache of its own."""
    found = []
    for n in sizes:
        with tempfile.TemporaryDirectory() as cache:
            command = [sys.executable, "-m", "labelspace.speed.memory", str(n)]
            done = subprocess.run(
                command, env={**os.environ, "LABELSPACE_CACHE": cache}, stdout=subprocess.PIPE, encoding="utf-8", check=True
            )
        found.append(json.loads(done.stdout.splitlines()[-1]))
        own = found[-1]["most_while_training_mb"]["RssAnon"]
        tell(f"(h) {n:,} images, store of {found[-1]['store_mb']:,.0f} MB: {own:,.0f} MB of its own while training")
    return {"title": "memory of training on a store", "unit": "MB", "held": found}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
