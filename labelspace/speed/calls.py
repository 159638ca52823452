"""How many calls a training step is: what a small model's step costs, where arithmetic costs next to nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from labelspace.data.batches import Batches
from labelspace.data.dataset import Dataset
from labelspace.models.base import Model
from labelspace.training import engine
from labelspace.training.options import Options
from labelspace.training.schedule import Schedule
from labelspace.training.step import Stepper


class _Counter(TorchDispatchMode):
    """Counts what PyTorch dispatches, views included."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here, and to say so would import torch's compiler."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def per_step(model: Model, data: Dataset, options: Options) -> int:
    """Calls of one step of all players: forward, backward, optimisers.

    Args:
        model: it is trained for two steps; the first one makes what optimisers remember.
        data: the training data.
        options: how to train.
    """
    batches = Batches(data, "train", options.batch_size, prefetch=0)
    fabric = engine.launch(options, data.is_image)

    def troubled(trouble: Any) -> None:
        raise ArithmeticError(f"a step was not taken: {trouble.what}")

    stepper = Stepper(fabric, model.train(), options, Schedule(options, len(batches)), troubled)
    generator = torch.Generator(fabric.device).manual_seed(0)
    last = 10**6  # a step by which every schedule has ended
    for _ in range(2):
        batch = next(iter(batches)).to(fabric.device)
        counter = _Counter()
        with counter:
            stepper.step(batch, generator, last)
    return counter.calls
