"""What keeps training alive: steps far outside the running range are skipped or undone, and learning rates back off.

The scale of gradients is a model's own business, so what is far is measured: a gradient norm is compared with the running mean
and deviation of its logarithm. A norm that is far above them is skipped once or twice, for a single batch may be odd. Three in
a row are undone: weights and optimisers go back to where all was well, with half the learning rate. What comes again
after that is the objective's new level (a term that has just set in, say) and is taken as it is. An objective or a gradient
that is not finite is undone at once; where that does not help several times in a row, training has failed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from torch import Tensor

from labelspace.models.base import Model
from labelspace.optimizers import Optimizer

_KNOWN, _MEMORY = 20, 100  # steps until the range is known, and that it looks back over
_FAR, _DEVIATIONS = math.log(20.0), 6.0  # above the running mean of log norms, in nats and in standard deviations
_STREAK = 3  # far steps in a row that are undone
_KEPT_EVERY = 50  # good steps from one state that is kept to the next
_RECOVERY = 100  # good steps in which a learning rate doubles again
_ATTEMPTS = 5  # failures without a newer state to go back to that end training

Verdict = Literal["step", "skip", "undo", "fail"]
Optimizers = Mapping[str, list[Optimizer]]


@dataclass
class Range:
    """Running mean and variance of the logarithm of a turn's gradient norm."""

    mean: float = 0.0
    variance: float = 0.0
    seen: int = 0

    def far(self, norm: float) -> bool:
        """Whether a norm is far above the range, once that is known."""
        above = math.log(max(norm, 1e-30)) - self.mean
        return self.seen >= _KNOWN and above > max(_FAR, _DEVIATIONS * math.sqrt(self.variance))

    def take(self, norm: float) -> None:
        self.seen += 1
        new, off = 1 / min(self.seen, _MEMORY), math.log(max(norm, 1e-30)) - self.mean
        self.mean += new * off
        self.variance = (1 - new) * (self.variance + new * off**2)


@dataclass
class Record:
    """What the guard knows, as plain data: it is part of a checkpoint.

    Attributes:
        ranges: turn -> the range of its gradient norms.
        pace: factor on learning rates; below 1 after trouble.
        streak: far steps in a row.
        failures: failures since the kept state was taken.
        level: an undone jump came again: the next far steps are the new level.
        since: good steps since the kept state was taken.
        skipped, undone: steps in all of the run.
        pieces: samples that networks see at once since memory ran out; 0 where it did not.
    """

    ranges: dict[str, Range] = field(default_factory=dict)
    pace: float = 1.0
    streak: int = 0
    failures: int = 0
    level: bool = False
    since: int = 0
    skipped: int = 0
    undone: int = 0
    pieces: int = 0

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Record:
        return cls(**{**plain, "ranges": {turn: Range(**known) for turn, known in plain["ranges"].items()}})


class Guard:
    """Judges every step before it is taken, and keeps the last state in which all was well.

    Args:
        model: on its device.
        optimizers: turn -> its optimisers.
    """

    def __init__(self, model: Model, optimizers: Optimizers) -> None:
        self.model, self.optimizers = model, optimizers
        self.record = Record()
        self.keep()

    def judge(self, turn: str, finite: bool, norm: float) -> Verdict:
        """What becomes of a step. All processes must give the same norm, so that they judge alike.

        Args:
            turn: whose step it is.
            finite: whether objective and gradient are.
            norm: of the gradient, before it is clipped.
        """
        record = self.record
        known = record.ranges.setdefault(turn, Range())
        if not finite:
            return self.failure()
        if known.far(norm) and not record.level:
            record.streak += 1
            return "skip" if record.streak < _STREAK else "undo"
        if known.far(norm):
            record.ranges[turn] = known = Range()  # learnt anew
        known.take(norm)
        return "step"

    def failure(self) -> Verdict:
        """What becomes of a state that is not finite."""
        self.record.failures += 1
        return "fail" if self.record.failures >= _ATTEMPTS else "undo"

    @property
    def took_any(self) -> bool:
        """Whether any step was ever taken."""
        return any(known.seen for known in self.record.ranges.values())

    def usual(self, turn: str) -> float:
        """The usual gradient norm of a turn."""
        return math.exp(self.record.ranges.get(turn, Range()).mean)

    def took_a_step(self) -> None:
        """Called after a batch of which nothing was skipped: rates recover, and from time to time the state is kept."""
        record = self.record
        record.streak = 0
        record.since += 1
        record.pace = min(1.0, record.pace * 2 ** (1 / _RECOVERY))
        if record.since >= _KEPT_EVERY:
            self.keep()

    def back_off(self, undo: bool) -> None:
        """Halves learning rates after a batch of which something was skipped; with ``undo`` goes back to the kept state."""
        record = self.record
        record.pace = max(record.pace / 2, 2.0**-10)
        if not undo:
            record.skipped += 1
            return
        record.undone += record.since + 1
        record.level |= record.streak >= _STREAK
        record.streak = 0
        self.go_back()

    def go_back(self) -> None:
        """To the kept state."""
        self.record.since = 0
        self.model.load_state_dict(self._weights)
        for name, built in self.optimizers.items():
            for optimizer, state in zip(built, self._states[name], strict=True):
                optimizer.load_state_dict(state)

    def keep(self) -> None:
        """Keeps this state, which an undone step goes back to; not in the middle of trouble."""
        if self.record.streak or (self.record.failures and self.record.since < _KNOWN):
            return
        self._weights = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        self._states = {
            name: [_copied(optimizer.state_dict()) for optimizer in built] for name, built in self.optimizers.items()
        }
        self.record.since = self.record.failures = 0
        self.record.level = False

    def counts(self) -> dict[str, float]:
        """What an epoch's row says once there was trouble: steps skipped and undone so far, and the factor on rates."""
        record = self.record
        if not record.skipped + record.undone:
            return {}
        return {"skipped": record.skipped, "undone": record.undone, "pace": record.pace}

    # -- in checkpoints -----------------------------------------------------------------------------------------------

    def kept(self) -> tuple[dict[str, Tensor], dict[str, list[dict[str, Any]]]] | None:
        """The kept weights and states of optimisers; None where they are those of now."""
        return (self._weights, self._states) if self.record.since or self.record.streak else None

    def restore(
        self, plain: dict[str, Any] | None, kept: tuple[dict[str, Tensor], dict[str, list[dict[str, Any]]]] | None
    ) -> None:
        """Takes up what a checkpoint has of it, after model and optimisers have been."""
        self.keep()
        self.record = Record() if plain is None else Record.of(plain)
        if kept is not None:
            self._weights, self._states = kept


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    """An optimiser's state that no step changes."""
    known = {i: {name: tensor.clone() for name, tensor in tensors.items()} for i, tensors in state["state"].items()}
    return {"state": known, "param_groups": state["param_groups"]}
