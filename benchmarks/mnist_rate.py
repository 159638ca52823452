"""Training rate of ``labelspace.fit`` beside a plain PyTorch loop with the same networks, interleaved.

    python benchmarks/mnist_rate.py DIR [rounds]

DIR holds the IDX files of MNIST. Each round trains the same CSVAE for one pass over the 55,000 training digits, once by
``fit`` and once by a loop of a dozen lines that gathers batches from a tensor in memory and steps the same optimisers in the
same precision. Printed: images a second of each, and the ratio's minimum, median and maximum over rounds.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch

import labelspace as ls
from labelspace.data.batches import Batch
from labelspace.data.dataset import Dataset, as_float
from labelspace.models.base import Model
from labelspace.training import optimizers
from labelspace.training.engine import precision_for
from labelspace.training.fit import resolve
from labelspace.training.options import Options


def new(data: Dataset) -> Model:
    torch.manual_seed(0)
    return ls.build("csvae", data)


def plain(model: Model, data: Dataset, options: Options) -> float:
    """Images a second of a hand-written loop over one pass."""
    x, values = torch.from_numpy(data.x)[data.rows("train")], torch.from_numpy(data.values)[data.rows("train")]
    observed = torch.ones_like(values, dtype=torch.bool)
    players = model.train().players()
    built = {
        name: optimizers.reader(p.parameters, options.reader_rate)
        if p.reader
        else optimizers.build(p.parameters, options.learning_rate, options.matrix_rate)
        for name, p in players.items()
    }
    generator = torch.Generator().manual_seed(0)
    began = time.perf_counter()
    for rows in torch.randperm(len(x)).split(options.batch_size):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision_for(options) == "bf16-mixed"):
            losses = model.losses(Batch(as_float(x[rows]), values[rows], observed[rows]), generator)
        for name, player in players.items():
            for _ in range(player.steps):
                for optimizer in built[name]:
                    optimizer.zero_grad()
                with torch.autocast("cpu", torch.bfloat16, enabled=precision_for(options) == "bf16-mixed"):
                    objective = losses.objective(name)
                objective.backward()
                torch.nn.utils.clip_grad_norm_(player.parameters, options.clip)
                for optimizer in built[name]:
                    optimizer.step()
        model.adapt(losses)
    return len(x) / (time.perf_counter() - began)


def main() -> None:
    data = ls.open(f"mnist:{sys.argv[1]}")
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    options = resolve(new(data), data, None, {"epochs": 1})
    ratios = []
    for _ in range(rounds):
        by_hand = plain(new(data), data, options)
        by_fit = ls.fit(new(data), data, options).samples_per_second
        ratios.append(by_fit / by_hand)
        print(f"plain loop {by_hand:,.0f} images/s, fit {by_fit:,.0f} images/s, ratio {ratios[-1]:.3f}", flush=True)
    print(f"ratio: min {min(ratios):.3f}, median {statistics.median(ratios):.3f}, max {max(ratios):.3f}")


if __name__ == "__main__":
    main()
