"""How many calls a training step is, which is what a small model's step costs; and how many bytes they move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from labelspace.data.batches import Batches
from labelspace.data.dataset import Dataset
from labelspace.models.base import Model
from labelspace.training import engine
from labelspace.training.options import Options
from labelspace.training.schedule import Schedule
from labelspace.training.step import Stepper


class Counter(TorchDispatchMode):
    """Counts what PyTorch dispatches.

    Attributes:
        calls: of all, views included.
        bytes: of tensors that calls read and write; those of views are none. What stays in a cache is counted as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.bytes = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here, and to say so would import torch's compiler."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        self.calls += 1
        found = func(*args, **(kwargs or {}))
        read = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, Tensor)]
        made = [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
        if not func.is_view:
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in (*read, *made))
        return found


def counted(step: Callable[[], object]) -> Counter:
    """What a step dispatches."""
    with Counter() as counter:
        step()
    return counter


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
    found = Counter()
    for _ in range(2):
        batch = next(iter(batches)).to(fabric.device)
        found = counted(lambda batch=batch: stepper.step(batch, generator, last))
    return found.calls
