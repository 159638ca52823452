"""Memory of training on stores of different sizes: what a process holds must not grow with the data.

    python benchmarks/large_store.py [OUT [n,n,...]]

For each n (20,000 and 200,000), a process of its own draws n simple faces of 64 x 64 into a store in a temporary directory
(TMPDIR moves it; 12 KB a face), and trains a small VAE on them: one pass over all of the largest n, two over the others. Ten
times a second, from before the model is built, it reads from /proc/self/status what it holds: RssAnon, memory of its own, and
RssFile, pages of files that are mapped, which the system drops and reads again as it needs memory. Writes OUT.json and OUT.txt
(default: docs/evidence/large-store). Linux only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

SIDE = 64
BATCH = 512
SIZES = (20_000, 200_000)


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
        lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
        return {line[0][:-1]: int(line[1]) / 1000 for line in lines if line and line[0] in ("RssAnon:", "RssFile:")}

    def run(self) -> None:
        while not self.over.wait(0.1):
            self.most = {name: max(value, self.most[name]) for name, value in self.now().items()}

    def stop(self) -> dict[str, float]:
        self.over.set()
        self.join()
        return self.most


def measure(n: int, largest: int) -> dict:
    """Draws n faces, trains on them, and says what it took. In a process of its own."""
    import torch

    import labelspace as ls
    from labelspace.data import store
    from labelspace.data.dataset import Dataset, random_splits
    from labelspace.labels import Schema, binary
    from labelspace.networks import Network

    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = np.random.default_rng(0).random((n, 6), dtype=np.float32)
    built = store.build("large", rows, (3, SIDE, SIDE), "large_store:draw", {})
    values = (rows[:, 3:5] > 0.5).astype(np.float32)
    schema = Schema([binary("glasses"), binary("smile")])
    data = Dataset("generated", built.x, values, np.ones(values.shape, bool), schema, random_splits(n, 0, (500 / n, 500 / n)))
    before, memory, began = Memory.now(), Memory(), time.monotonic()
    data.check()
    data.describe()
    model = ls.build("vae", data, network=Network("mlp", 16, 1))
    passes = min(largest // n, 2)
    ls.fit(model, data, epochs=passes, batch_size=BATCH)
    return {
        "n": n,
        "store_mb": built.x.nbytes / 1e6,
        "drawn_per_second": built.drawn / built.seconds,
        "passes": passes,
        "steps": passes * -(-len(data.rows("train")) // BATCH),
        "seconds": time.monotonic() - began,
        "before_training_mb": before,
        "most_while_training_mb": memory.stop(),
    }


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(int(sys.argv[2]), int(sys.argv[3]))))
        return
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/evidence/large-store")
    sizes = [int(n) for n in sys.argv[2].split(",")] if len(sys.argv) > 2 else list(SIZES)
    found = []
    for n in sizes:
        with tempfile.TemporaryDirectory() as cache:
            path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
            done = subprocess.run(
                [sys.executable, __file__, "--measure", str(n), str(max(sizes))],
                env={**os.environ, "LABELSPACE_CACHE": cache, "PYTHONPATH": path},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
        found.append(json.loads(done.stdout.splitlines()[-1]))
    from labelspace import files

    files.write_json(out.with_suffix(".json"), found)
    lines = ["images   store MB  steps  own memory MB: before, most while training  mapped pages MB: most"]
    for each in found:
        before, most = each["before_training_mb"]["RssAnon"], each["most_while_training_mb"]
        lines.append(
            f"{each['n']:7,}  {each['store_mb']:8,.0f}  {each['steps']:5,}  {before:22,.0f}, {most['RssAnon']:19,.0f}"
            f"  {most['RssFile']:21,.0f}"
        )
    text = "\n".join(lines) + "\n"
    files.write(out.with_suffix(".txt"), text)
    print(text, end="")


if __name__ == "__main__":
    main()
