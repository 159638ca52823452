"""What one of two processes does for ``test_distributed.py``; run as a program: ``shares.py DIRECTORY``.

Both processes train every model for a few steps, each on its share; what they computed is left in the directory.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import labelspace as ls
from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import Schema, binary, categorical
from labelspace.models import MODELS
from labelspace.models.base import Losses, Model
from labelspace.models.networks import Network
from labelspace.storage import files, tensorfiles
from labelspace.training import engine
from labelspace.training.loop import Loop
from labelspace.training.options import Options
from labelspace.training.progress import Callback

SCHEMA = Schema([binary("a"), categorical("k", ("x", "y", "z")), binary("b")])
OPTIONS = Options(epochs=1, batch_size=7, warmup=0, decay=0, accelerator="cpu", timeout=10.0)
ALONE = 39  # of 40 training samples: the last batch has one, and a process of two has none
STILL = ("vae", "condvae", "lr-livae")  # their noise is all in DiagonalGaussian.sample


def data(missing: float) -> Dataset:
    rng = np.random.default_rng(0)
    values = np.stack([rng.permutation(np.arange(50) % len(label.values)) for label in SCHEMA], 1).astype(np.float32)
    observed = rng.random(values.shape) >= missing
    x = rng.normal(size=(50, 5)).astype(np.float32)
    return Dataset("made", x, np.where(observed, values, 0).astype(np.float32), observed, SCHEMA, random_splits(50, 0))


def model(name: str, source: Dataset, seed: int = 0) -> Model:
    torch.manual_seed(seed)
    return ls.build(name, source, latent=3, network=Network(width=8, depth=1), likelihood="gaussian")


def noiseless(gaussian: DiagonalGaussian, generator: torch.Generator | None = None) -> Tensor:
    return gaussian.mean


class Recorder:
    """Notes gradients, terms and buffers after they were averaged."""

    def __init__(self) -> None:
        self.gradients: list[Tensor] = []
        self.terms: list[dict[str, Tensor]] = []
        self.buffers: list[dict[str, Tensor]] = []
        self.average, self.keep = engine.average_gradients, engine.BufferSync.average

    def average_gradients(self, fabric: Any, parameters: list[nn.Parameter], share: Tensor) -> None:
        self.average(fabric, parameters, share)
        self.gradients.append(torch.cat([torch.zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in parameters]))

    def kept(self, kept: engine.BufferSync, losses: Losses, share: float) -> None:
        self.keep(kept, losses, share)
        self.terms.append(dict(losses.terms))
        self.buffers.append({name: buffer.clone() for name, buffer in kept.model.named_buffers()})


def train(fabric: Any, name: str, missing: float, batch_size: int) -> dict[str, Tensor]:
    """One epoch on this process's shares; its state, and what was exchanged in the first step."""
    source = data(missing)
    # Another seed on each process: that they start alike is fit's work.
    own = model(name, source, seed=fabric.global_rank)
    options = Options(**{**vars(OPTIONS), "batch_size": batch_size})
    loop = Loop(fabric, own, source, options, None, Callback())
    recorder = Recorder()
    engine.average_gradients = recorder.average_gradients
    engine.BufferSync.average = lambda self, losses, share: recorder.kept(self, losses, share)
    loop._train_epoch()
    engine.average_gradients, engine.BufferSync.average = recorder.average, recorder.keep
    calls = len(recorder.gradients) // len(recorder.terms)
    found = {f"state.{key}": value for key, value in loop.model.state_dict().items()}
    found |= {f"gradient.{i}": gradient for i, gradient in enumerate(recorder.gradients[:calls])}
    found |= {f"term.{key}": value for key, value in recorder.terms[0].items()}
    found |= {f"buffer.{key}": value for key, value in recorder.buffers[0].items()}
    found |= {f"sum.{key}": value for key, value in loop.state.sums.items()}
    terms, score = loop.validate()
    return found | {f"val.{key}": value for key, value in terms.items()} | {"score": torch.tensor(score)}


def main() -> None:
    home = Path(sys.argv[1])
    fabric = engine.launch(Options(**{**vars(OPTIONS), "devices": 2}), images=False)
    rank = fabric.global_rank
    for name in MODELS:
        for missing in (0.0, 0.4):
            tensorfiles.write(home / f"{name}-{missing}-7-{rank}", train(fabric, name, missing, 7))
        tensorfiles.write(home / f"{name}-0.0-{ALONE}-{rank}", train(fabric, name, 0.0, ALONE))
    drawing, DiagonalGaussian.sample = DiagonalGaussian.sample, noiseless  # type: ignore[method-assign]
    for name in STILL:
        tensorfiles.write(home / f"{name}-still-{rank}", train(fabric, name, 0.0, 7))
    DiagonalGaussian.sample = drawing

    # Gradients that only one process has, and that none has.
    parameters = [nn.Parameter(torch.zeros(2)) for _ in range(3)]
    parameters[rank].grad = torch.full((2,), 1.0 + rank)
    engine.average_gradients(fabric, parameters, (0.25, 0.75)[rank])
    gradients = [None if p.grad is None else p.grad.tolist() for p in parameters]

    def refuse() -> None:
        raise ls.UserError("not this one")

    try:
        engine.on_first(fabric, refuse)
        refused = ""
    except ls.UserError as error:
        refused = f"{type(error).__name__}: {error}"
    told = engine.on_first(fabric, lambda: "from the first")
    names = engine.from_all(fabric, [("x", "y")[rank], "z"])
    files.write_json(home / f"{rank}.json", {"gradients": gradients, "refused": refused, "told": told, "names": names})


if __name__ == "__main__":
    main()
