"""What a checkpoint holds, how it is written, and how a run takes it up again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from labelspace import saving
from labelspace.data.batches import Batches
from labelspace.errors import UserError
from labelspace.models import legacy
from labelspace.models.base import Model
from labelspace.storage import tensorfiles
from labelspace.training import engine
from labelspace.training.guard import Guard, Optimizers
from labelspace.training.options import Options
from labelspace.training.run import Run, flatten_optimizer, optimizer_state
from labelspace.training.schedule import Schedule

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


@dataclass
class State:
    """All that changes while a model trains.

    Attributes:
        model: its weights and buffers.
        optimizers: turn -> its optimisers, with what they remember of gradients.
        guard: what it knows of gradients, and the state that it would go back to.
        schedule: learning rates over time, and the end of training.
        batches: where in the epoch training is.
        generator: noise of the first process; that of the others follows from the step (:func:`engine.renew`).
        sums: terms of this epoch so far, each times the samples it is the mean of.
        count: samples in ``sums``.
        best_score, best_epoch: the best validation score, and the epoch that it is of; 0 while there is none.
        best_falling: whether learning rates fell to their end then.
        rows: lines of the metrics.
        auxiliary: terms that only players which read codes minimise.
        apart: of parts of the model that are chosen for themselves (:attr:`Model.apart`): validation term -> its least value,
            and the tensors that it is of.
    """

    model: Model
    optimizers: Optimizers
    guard: Guard
    schedule: Schedule
    batches: Batches
    generator: torch.Generator
    sums: dict[str, Tensor] = field(default_factory=dict)
    count: int = 0
    best_score: float = math.inf
    best_epoch: int = 0
    best_falling: bool = False
    rows: int = 0
    auxiliary: list[str] = field(default_factory=list)
    apart: dict[str, tuple[float, dict[str, Tensor]]] = field(default_factory=dict)


def write(run: Run, state: State, reason: str, place: dict[str, int] | None = None) -> None:
    """Writes all that resuming needs.

    Args:
        run: the run directory.
        state: of the first process.
        reason: why training stopped, empty where it goes on.
        place: the state of the batches, as it is by default.

    Raises:
        UserError: it could not be written; the one that was there is kept.
    """
    tensors = {f"model.{name}": t for name, t in state.model.state_dict().items()}
    tensors |= {f"sum.{name}": t for name, t in state.sums.items()}
    tensors |= {f"apart.{term}.{name}": t for term, (_, part) in state.apart.items() for name, t in part.items()}
    tensors["generator"] = state.generator.get_state()
    groups: dict[str, Any] = {}
    for name, optimizer in _named(state.optimizers):
        found, groups[name] = flatten_optimizer(f"optimizer.{name}", optimizer.state_dict())
        tensors |= found
    if (kept := state.guard.kept()) is not None:
        tensors |= {f"kept.model.{name}": t for name, t in kept[0].items()}
        for name, optimizer in _named(kept[1]):
            found, groups[f"kept.{name}"] = flatten_optimizer(f"kept.optimizer.{name}", optimizer)
            tensors |= found
    plain = {
        "batches": place or state.batches.state_dict(),
        "groups": groups,
        "guard": state.guard.record.plain(),
        "schedule": state.schedule.plain(),
        "count": state.count,
        "best_score": state.best_score if math.isfinite(state.best_score) else None,
        "best_epoch": state.best_epoch,
        "best_falling": state.best_falling,
        "apart": {term: value for term, (value, _) in state.apart.items()},
        "rows": state.rows,
        "readers": state.auxiliary,
        "device": state.generator.device.type,
        "reason": reason,
    }
    run.write_checkpoint(tensors, plain)


def restore(fabric: Fabric | engine.Alone, run: Run, state: State, options: Options, tell: Callable[[str], object]) -> str:
    """Takes up the last checkpoint of a run on all processes, if there is one, and drops the metrics behind it.

    Args:
        fabric: the processes; the first reads for all.
        run: the run directory.
        state: as it is before the first step; it becomes that of the checkpoint.
        options: the run's.
        tell: told in a line what is unusual.

    Returns:
        Why that run stopped, if it had.

    Raises:
        UserError: the checkpoint is damaged, or of another run, or the best model is lost.
    """
    found = engine.on_first(fabric, lambda: run.read_checkpoint(tell))
    if found is None:
        if fabric.is_global_zero and run.metrics_file.exists():
            run.keep_metrics(0, tell)
        return ""
    tensors, plain = found
    try:
        _load(state, tensors, plain, options, run)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        said = str(error) if isinstance(error, UserError) else f"{type(error).__name__} {error}"
        kind = UserError if fabric.is_global_zero else engine.ReportedError  # all processes read the same, one says so
        raise kind(f"{run.checkpoint_file} does not belong to this run: {said}") from None
    engine.on_first(fabric, lambda: _check_best(run, state, tell))
    if fabric.is_global_zero:
        run.keep_metrics(state.rows, tell)
    return plain["reason"]


def _load(state: State, tensors: dict[str, Tensor], plain: dict[str, Any], options: Options, run: Run) -> None:
    model, batches, device = state.model, state.batches, state.generator.device
    weights = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    tensorfiles.load_strictly(model, legacy.completed(model, weights), run.checkpoint_file)
    state.sums = {name.removeprefix("sum."): t.to(device) for name, t in tensors.items() if name.startswith("sum.")}
    for name, optimizer in _named(state.optimizers):
        optimizer.load_state_dict(optimizer_state(f"optimizer.{name}", tensors, plain["groups"][name]))
    _restore_guard(state, tensors, plain)
    batches.load_state_dict(plain["batches"])
    steps = len(batches)
    done = batches.epoch * steps + batches.position
    if plain.get("device", device.type) == device.type:
        state.generator.set_state(tensors["generator"].cpu())
    else:  # another kind of device has another kind of generator
        state.generator.manual_seed(engine.seed(options.seed, engine.STREAM["train"], done))
    state.count, state.rows = int(plain["count"]), int(plain["rows"])
    state.best_epoch = int(plain["best_epoch"])
    state.best_falling = bool(plain.get("best_falling", plain.get("best_stage", 0) == 2))  # older versions had stages
    state.best_score = math.inf if plain["best_score"] is None else float(plain["best_score"])
    state.auxiliary = list(plain.get("readers", []))  # absent in checkpoints of older versions
    for term, value in plain.get("apart", {}).items():  # and this, too
        prefix = f"apart.{term}."
        part = {name.removeprefix(prefix): t.to(device) for name, t in tensors.items() if name.startswith(prefix)}
        state.apart[term] = float(value), part
    # Where the last step was: validation, too, needs it, and may be the first thing to be done.
    if "schedule" in plain:  # absent in checkpoints of older versions
        state.schedule.restore(plain["schedule"])
    model.epoch = (done - 1) / steps


def _restore_guard(state: State, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    kept = None
    if weights := {name.removeprefix("kept.model."): t for name, t in tensors.items() if name.startswith("kept.model.")}:
        states: dict[str, list[dict[str, Any]]] = {turn: [] for turn in state.optimizers}
        for turn, built in state.optimizers.items():
            for i in range(len(built)):
                groups = plain["groups"][f"kept.{turn}.{i}"]
                states[turn].append(optimizer_state(f"kept.optimizer.{turn}.{i}", tensors, groups))
        kept = weights, states
    state.guard.restore(plain.get("guard"), kept)  # absent in checkpoints of older versions


def _check_best(run: Run, state: State, tell: Callable[[str], object]) -> None:
    """Sees now, not after hours, that the best model can be read; writes it again where the checkpoint has it."""
    if not state.best_epoch:
        return
    file = run.home / "model.safetensors"
    try:
        tensorfiles.refuse_infinite(state.model, tensorfiles.read(file)[0], file)
    except UserError as error:
        if (state.batches.epoch, state.batches.position) != (state.best_epoch, 0):
            raise UserError(
                f"{error}; it is the best model, of epoch {state.best_epoch}, which the checkpoint does not hold; remove "
                f"{run.checkpoint_file.parent} and resume to train this run from its beginning"
            ) from None
        saving.save(state.model, run.home)
        tell(f"{error}; written again from the checkpoint")


def _named(optimizers: Mapping[str, list[T]]) -> list[tuple[str, T]]:
    return [(f"{turn}.{i}", optimizer) for turn, built in optimizers.items() for i, optimizer in enumerate(built)]
