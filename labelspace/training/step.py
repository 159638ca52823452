"""One training step: every player, in the model's order, on one batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from labelspace.data.batches import Batch
from labelspace.models.base import Losses, Model, Player
from labelspace.training import engine, optimizers
from labelspace.training.guard import Guard, Verdict
from labelspace.training.options import Options
from labelspace.training.schedule import Schedule

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Trouble:
    """A step that was not taken.

    Attributes:
        verdict: what became of it.
        terms: the batch's, as far as they were computed.
        what: what was far outside its range or not finite, where no term is.
        step: which one of all training.
        norm, usual: gradient norms; None where they are not finite.
    """

    verdict: Verdict
    terms: dict[str, Tensor]
    what: str
    step: int
    norm: float | None = None
    usual: float = 0.0


@dataclass(frozen=True)
class _Turn:
    """Players that step together: one, or neighbours that only read codes and so do not feel each other.

    One backward pass and one optimiser for all readers: they are so small that the calls cost more than the arithmetic.
    """

    players: dict[str, Player]

    @property
    def name(self) -> str:
        return "+".join(self.players)

    @property
    def auxiliary(self) -> bool:
        return all(player.auxiliary for player in self.players.values())

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [p for player in self.players.values() for p in player.parameters]

    def steps(self) -> Iterator[list[str]]:
        """Who takes part in the first step, the second, and so on."""
        for i in range(max(player.steps for player in self.players.values())):
            yield [name for name, player in self.players.items() if player.steps > i]


class Stepper:
    """Optimisers of a model's players, and the step that they take.

    Args:
        fabric: devices and precision.
        model: on its device.
        options: how to train.
        schedule: learning rates over time.
        troubled: told about a step that was not taken; it raises where training has failed.

    Attributes:
        guard: judges every step before it is taken.
        optimizers: turn -> its optimisers. A turn is a player, or neighbours that only read codes: "adversary+label_head".
    """

    def __init__(
        self,
        fabric: Fabric | engine.Alone,
        model: Model,
        options: Options,
        schedule: Schedule,
        troubled: Callable[[Trouble], object],
    ) -> None:
        self.fabric, self.model, self.options, self.schedule, self.troubled = fabric, model, options, schedule, troubled
        self.players = model.players()
        self.buffers = engine.BufferSync(fabric, model)
        self.turns = _turns(self.players)
        muon_dtype = engine.muon_dtype(options, fabric.device)
        self.optimizers = {
            turn.name: optimizers.auxiliary(turn.parameters, options.auxiliary_learning_rate)
            if turn.auxiliary
            else optimizers.build(
                turn.parameters, options.learning_rate, options.muon_learning_rate, options.optimizer, muon_dtype
            )
            for turn in self.turns
        }
        self._parameters = {turn.name: [p for p in turn.parameters if p.requires_grad] for turn in self.turns}
        self.guard = Guard(model, self.optimizers)

    def step(self, batch: Batch, generator: torch.Generator, step: int, share: float = 1.0) -> Losses | None:
        """All players' steps on one batch, in the model's order; None where one of them was not taken.

        ``share`` is this process's part of the batch's samples.
        """
        model = self.model
        self.buffers.remember()
        model.epoch = step / self.schedule.steps
        self._set_pace(self.schedule.pace(step))
        with self.fabric.autocast():
            losses = model.losses(batch, generator)
        for turn in self.turns:
            parameters = self._parameters[turn.name]
            for names in turn.steps():
                with self.fabric.autocast():
                    objective = sum((losses.objective(name) for name in names[1:]), losses.objective(names[0]))
                _differentiate(objective, parameters)
                # Where an objective is not finite on one process, no gradient may be on any: they must not part here.
                felt = share * (1 + 0 * objective.detach()) if self.fabric.world_size > 1 else share
                engine.average_gradients(self.fabric, parameters, felt)
                norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
                size = float(norm)
                # A gradient that is averaged over processes is not finite where any one's objective is not.
                finite = math.isfinite(size) and math.isfinite(float(objective.detach()) if self.fabric.world_size == 1 else 0)
                verdict = self.guard.judge(turn.name, finite, size)
                if verdict != "step":
                    if verdict == "skip":
                        self.buffers.average(losses, share)  # what the model saw of the batch stays, alike in all processes
                    what, usual = f"the gradient of player {names[0]!r}", self.guard.usual(turn.name)
                    self.in_trouble(Trouble(verdict, losses.terms, what, step, size if finite else None, usual))
                    return None
                if self.options.clip and size > self.options.clip:
                    nn.utils.clip_grads_with_norm_(parameters, self.options.clip, norm)
                for optimizer in self.optimizers[turn.name]:
                    optimizer.step()
        self.buffers.average(losses, share)
        model.adapt(losses)
        self.guard.took_a_step()
        return losses

    def in_trouble(self, trouble: Trouble) -> None:
        """Says so, which raises where training has failed, and backs off."""
        self.troubled(trouble)
        self.guard.back_off(undo=trouble.verdict == "undo")

    def _set_pace(self, pace: float) -> None:
        """Learning rates of this step; players that read codes keep theirs, except in trouble."""
        for turn in self.turns:
            for optimizer in self.optimizers[turn.name]:
                for group in optimizer.param_groups:
                    rate = group.setdefault("initial_lr", group["lr"])
                    group["lr"] = rate * (1.0 if turn.auxiliary else pace) * self.guard.record.pace

    def auxiliary_terms(self, losses: Losses) -> list[str]:
        """Terms that only other players than the model minimise: it does not feel them."""
        return [name for name, player in losses.owners.items() if player != "model"]


def _differentiate(objective: Tensor, parameters: list[nn.Parameter]) -> None:
    """Gives parameters their gradients; those that the objective does not depend on have None.

    Nobody else's are computed, and nothing is accumulated. Each gradient is laid out in memory as its parameter is, which fused
    optimisers expect, and is a tensor of its own, which can be scaled where it is.
    """
    taken: set[int] = set()
    for parameter, gradient in zip(parameters, torch.autograd.grad(objective, parameters, allow_unused=True), strict=True):
        if gradient is not None:
            if gradient.stride() != parameter.stride() or gradient.data_ptr() in taken:
                gradient = torch.empty_like(parameter).copy_(gradient)
            taken.add(gradient.data_ptr())
        parameter.grad = gradient


def _turns(players: dict[str, Player]) -> list[_Turn]:
    """Players in their order, neighbours that only read codes in one turn."""
    turns: list[_Turn] = []
    for name, player in players.items():
        if player.auxiliary and turns and turns[-1].auxiliary:
            turns[-1] = _Turn({**turns[-1].players, name: player})
        else:
            turns.append(_Turn({name: player}))
    return turns
