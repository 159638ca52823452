"""One training step: every player, in the model's order, on one batch."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import nn

from labelspace.data.batches import Batch
from labelspace.models.base import Losses, Model
from labelspace.training import engine, optimizers
from labelspace.training.options import Options


class Stepper:
    """Optimisers of a model's players, and the step that they take.

    Args:
        fabric: devices and precision.
        model: on its device.
        options: how to train.
        steps: batches in an epoch.
        diverged: called with losses, player and step where an objective or a gradient is not finite; it raises.
    """

    def __init__(
        self, fabric: Fabric, model: Model, options: Options, steps: int, diverged: Callable[[Losses, str, int], None]
    ) -> None:
        self.fabric, self.model, self.options, self.steps, self.diverged = fabric, model, options, steps, diverged
        self.players = model.players()
        self.kept = engine.Kept(fabric, model)
        self.optimizers = {
            name: optimizers.reader(player.parameters, options.reader_rate)
            if player.reader
            else optimizers.build(player.parameters, options.learning_rate, options.matrix_rate, options.optimizer)
            for name, player in self.players.items()
        }

    def step(self, batch: Batch, generator: torch.Generator, step: int, share: float = 1.0) -> Losses:
        """All players' steps on one batch, in the model's order; ``share`` is this process's part of its samples."""
        model = self.model
        self.kept.remember()
        model.epoch, model.progress = step / self.steps, step / (self.options.epochs * self.steps)
        changing = self.options.pace(step, self.options.epochs * self.steps)
        with self.fabric.autocast():
            losses = model.losses(batch, generator)
        for name, player in self.players.items():
            pace = 1.0 if player.reader else changing
            for _ in range(player.steps):
                for optimizer in self.optimizers[name]:
                    for group in optimizer.param_groups:
                        group["lr"] = group.setdefault("initial_lr", group["lr"]) * pace
                    optimizer.zero_grad(set_to_none=True)
                with self.fabric.autocast():
                    objective = losses.objective(name)
                self.fabric.backward(objective)
                engine.average_gradients(self.fabric, player.parameters, share)
                norm = nn.utils.clip_grad_norm_(player.parameters, self.options.clip or math.inf)
                if not math.isfinite(float(objective.detach() + norm)):
                    self.diverged(losses, name, step)
                for optimizer in self.optimizers[name]:
                    optimizer.step()
        self.kept.average(losses, share)
        model.adapt(losses)
        return losses

    def readers(self, losses: Losses) -> list[str]:
        """Terms that only players which read codes minimise: the model does not feel them."""
        return [name for name, player in losses.owners.items() if self.players[player].reader]
