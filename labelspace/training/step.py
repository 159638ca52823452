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
from labelspace.training.options import Options

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_LOOKS = 20  # steps on a GPU between two looks at whether all is finite: a look waits for the device


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
        steps: batches in an epoch.
        diverged: called with terms, player and step where an objective or a gradient is not finite; it raises.

    Attributes:
        optimizers: turn -> its optimisers. A turn is a player, or neighbours that only read codes: "adversary+label_head".
    """

    def __init__(
        self,
        fabric: Fabric,
        model: Model,
        options: Options,
        steps: int,
        diverged: Callable[[dict[str, Tensor], str, int], None],
    ) -> None:
        self.fabric, self.model, self.options, self.steps, self.diverged = fabric, model, options, steps, diverged
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
        self._parameters = {turn.name: turn.parameters for turn in self.turns}
        self._waits = fabric.device.type != "cpu"  # a number that is read waits for the device
        self._unseen: list[tuple[dict[str, Tensor], str, int, Tensor]] = []

    def step(self, batch: Batch, generator: torch.Generator, step: int, share: float = 1.0) -> Losses:
        """All players' steps on one batch, in the model's order; ``share`` is this process's part of its samples."""
        model = self.model
        self.buffers.remember()
        model.epoch, model.progress = step / self.steps, step / (self.options.epochs * self.steps)
        self._set_pace(self.options.pace(step, self.options.epochs * self.steps))
        with self.fabric.autocast():
            losses = model.losses(batch, generator)
        for turn in self.turns:
            parameters = self._parameters[turn.name]
            for names in turn.steps():
                for parameter in parameters:
                    parameter.grad = None
                with self.fabric.autocast():
                    objective = sum((losses.objective(name) for name in names[1:]), losses.objective(names[0]))
                self.fabric.backward(objective)
                # Where an objective is not finite on one process, no gradient may be on any: they must not part here.
                felt = share * (1 + 0 * objective.detach()) if self.fabric.world_size > 1 else share
                engine.average_gradients(self.fabric, parameters, felt)
                self._bound(parameters, objective, losses, names[0], step)
                for optimizer in self.optimizers[turn.name]:
                    optimizer.step()
        self.buffers.average(losses, share)
        model.adapt(losses)
        if len(self._unseen) >= _LOOKS * len(self.turns):
            self.look()
        return losses

    def _set_pace(self, pace: float) -> None:
        """Learning rates of this step; players that read codes keep theirs."""
        for turn in self.turns:
            for optimizer in self.optimizers[turn.name] if not turn.auxiliary else ():
                for group in optimizer.param_groups:
                    group["lr"] = group.setdefault("initial_lr", group["lr"]) * pace

    def _bound(self, parameters: list[nn.Parameter], objective: Tensor, losses: Losses, player: str, step: int) -> None:
        """Clips the gradient, and looks whether it and the objective are finite: at once where that costs nothing."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        both = objective.detach() + norm
        most = self.options.clip
        if self._waits:
            self._unseen.append((losses.terms, player, step, both))
            if most:
                nn.utils.clip_grads_with_norm_(parameters, most, norm)
            return
        if not math.isfinite(float(both)):
            self.diverged(losses.terms, player, step)
        if most and float(norm) > most:
            nn.utils.clip_grads_with_norm_(parameters, most, norm)

    def look(self) -> None:
        """Whether all steps since the last look were finite; called before anything is written. Raises through ``diverged``."""
        unseen, self._unseen = self._unseen, []
        if not unseen:
            return
        finite = torch.stack([both for *_, both in unseen]).isfinite().tolist()
        for (terms, player, step, _), fine in zip(unseen, finite, strict=True):
            if not fine:
                self.diverged(terms, player, step)

    def auxiliary_terms(self, losses: Losses) -> list[str]:
        """Terms that only players which read codes minimise: the model does not feel them."""
        return [name for name, player in losses.owners.items() if self.players[player].auxiliary]


def _turns(players: dict[str, Player]) -> list[_Turn]:
    """Players in their order, neighbours that only read codes in one turn."""
    turns: list[_Turn] = []
    for name, player in players.items():
        if player.auxiliary and turns and turns[-1].auxiliary:
            turns[-1] = _Turn({**turns[-1].players, name: player})
        else:
            turns.append(_Turn({name: player}))
    return turns
