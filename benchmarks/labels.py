"""What labels cost: the time of a training step of the default model with 3, 10 and 40 binary labels.

    python benchmarks/labels.py [--model lsvae] [--rounds 5] [--steps 12] [--out FILE.json]

Pictures of 64 x 64 and vectors of 50, of noise. Rounds are interleaved; ratios are to 3 labels in the same round.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path

import torch

import labelspace as ls
from labelspace.data.dataset import Dataset
from labelspace.speed import timing
from labelspace.speed.training import noise

_LABELS = (3, 10, 40)
_SHAPES = {"64 x 64": (3, 64, 64), "vectors of 50": (50,)}
_BATCH = 128


def rate(name: str, data: Dataset) -> float:
    """Samples a second of the second of two passes: in the first memory is taken."""
    torch.manual_seed(0)
    model = ls.build(name, data)
    seconds = 0.0
    for _ in range(2):
        began = time.perf_counter()
        ls.fit(model, data, epochs=1, progress=False)
        seconds = time.perf_counter() - began
    return len(data) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="lsvae")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = {}
    for title, shape in _SHAPES.items():
        ways = {f"{n} labels": partial(rate, given.model, noise(shape, n, _BATCH * given.steps)) for n in _LABELS}
        rates = timing.interleaved(ways, given.rounds, lambda text: print(text, flush=True))
        base = f"{_LABELS[0]} labels"
        found[title] = timing.summary(rates, base)
        costs = {name: 1 / spread.median for name, spread in timing.against(rates, base).items()}
        print(title, *(f"{name}: {cost:.2f} times the step of {base}" for name, cost in costs.items()), sep="; ", flush=True)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
