"""How fast training goes and when it is over: after so many passes, or when its validation score has settled."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from labelspace.training.options import Options

_FEWEST, _SHORTEST = 8, 650  # validations and steps that a verdict needs
_LITTLE = 0.02  # of all that the score has gained; less in a quarter of training is not worth as much time again
_MEDIAN = 0.6745  # of how far a normal variable is from its mean, in standard deviations
_CLOSING = 0.5  # steps in which learning rates fall, in parts of those before; a third of all


@dataclass
class Schedule:
    """Learning rates over time, and the end of training.

    With a number of ``epochs`` learning rates rise, stay, and fall along half a cosine wave in the last part of training
    (``decay``). Without one they fall with the root of time, from the first validation or twice the warm-up on, until the
    validation score does not gain any more, then along half a cosine wave, and training is over: the same for few samples and
    for many.
    ``steps`` and ``minutes`` are budgets: rates fall early enough.

    Args:
        options: how to train.
        steps: batches of an epoch.

    Attributes:
        scores: what has to settle, of every validation: its step, and values (lower is better), the score first.
        closing: the step from which rates fall, and over how many steps; None before.
        settled: whether they fall because nothing was gained any more.
        seconds: that training has taken, in all calls.
    """

    options: Options
    steps: int
    scores: list[tuple[int, tuple[float, ...]]] = field(default_factory=list)
    closing: tuple[int, int] | None = None
    settled: bool = False
    seconds: float = 0.0

    @property
    def horizon(self) -> int | None:
        """Steps of all training, where they are fixed."""
        return self.options.epochs * self.steps or None

    def pace(self, step: int) -> float:
        """Factor on the learning rates at a step."""
        rise = min(1.0, (step + 1) / max(1, self.options.warmup))
        planned = rise * self._slowing(step) if self.horizon is None else self.options.pace(step, self.horizon)
        if self.closing is None or step <= self.closing[0]:
            return planned
        wave = 0.5 + 0.5 * math.cos(math.pi * min(1.0, (step - self.closing[0]) / self.closing[1]))
        return planned * (self.options.floor + (1 - self.options.floor) * wave)

    def _slowing(self, step: int) -> float:
        """What rates have fallen to without a horizon: rates that stay leave an LSVAE's adversaries behind."""
        if not self.scores:
            return 1.0
        steady = max(self.scores[0][0], 2 * self.options.warmup)
        return min(1.0, math.sqrt(steady / max(step, 1)))

    def expected(self, step: int) -> int:
        """Steps of all training as it looks now; without an end in sight, the fewest."""
        if self.closing is not None:
            return sum(self.closing)
        if self.horizon is not None:
            return self.horizon
        first = self.scores[0][0] if self.scores else 0
        least = max(step, first + _SHORTEST, first + _FEWEST * self.steps)
        return min(round(least * (1 + _CLOSING)), self.options.steps or least * 2)

    def over(self, step: int) -> bool:
        """Whether training ends with the epoch that a step has completed."""
        if self.closing is not None:
            return step >= sum(self.closing)
        return self.horizon is not None and step >= self.horizon

    def epoch_ended(self, step: int, values: Sequence[float] | None, seconds: float) -> None:
        """Takes in an epoch, and decides whether learning rates are to fall from here.

        Args:
            step: steps of all training so far.
            values: what has to settle, the score of validation first, and its reconstruction term, say (of training where there
                is none); None where they were not finite.
            seconds: that the epoch took.
        """
        self.seconds += seconds
        if values is not None:
            self.scores.append((step, tuple(values)))
        if self.closing is not None:
            return
        if self.horizon is None and self._gains_no_more():
            self.settled = True
            self._close(step, round(step * _CLOSING))
        elif (most := self.options.steps) and (step + self.steps) * (1 + _CLOSING) > most and (self.horizon or most + 1) > most:
            self._close(step, most - step)
        elif self.options.minutes and (self.seconds + seconds) * (1 + _CLOSING) > 60 * self.options.minutes:
            self._close(step, round(step * _CLOSING))

    def _gains_no_more(self) -> bool:
        """Whether all that has to settle has, or the first of it, the score itself, becomes worse."""
        if not self.scores:
            return False
        columns = [[(step, values[i]) for step, values in self.scores] for i in range(len(self.scores[0][1]))]
        return all(map(settled, columns)) or worsened(columns[0])

    def _close(self, step: int, over: int) -> None:
        self.closing = (step, max(1, over))

    def plain(self) -> dict[str, Any]:
        """What changes, as plain data for a checkpoint."""
        return {
            "scores": self.scores,
            "closing": self.closing,
            "settled": self.settled,
            "seconds": self.seconds,
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Takes up :meth:`plain`."""
        self.scores = [(int(step), tuple(values)) for step, values in plain["scores"]]
        self.closing = None if plain["closing"] is None else (int(plain["closing"][0]), int(plain["closing"][1]))
        self.settled, self.seconds = bool(plain["settled"]), float(plain["seconds"])


def settled(scores: Sequence[tuple[int, float]]) -> bool:
    """Whether scores (lower is better) can be said to gain no more than is worth waiting for.

    The means of the last two quarters are compared, on any scale and for any number of steps. Scores jump, and what a few of
    them do not show may still be there: the gain counts with two standard errors on top. Where there is nothing but noise,
    these are small enough after some twenty scores.

    Args:
        scores: steps and scores, in order; gains are measured from the first.
    """
    if not _known(scores):
        return False
    gain, error, noise, worth = _last_quarter(scores)
    return gain + 2 * error <= max(worth, noise / 2)


def worsened(scores: Sequence[tuple[int, float]]) -> bool:
    """Whether scores can be said to have become worse in the last quarter, by more than a gain would be worth waiting for.

    Args:
        scores: as of :func:`settled`.
    """
    if not _known(scores):
        return False
    gain, error, _, worth = _last_quarter(scores)
    return -gain - 2 * error > worth


def _known(scores: Sequence[tuple[int, float]]) -> bool:
    return len(scores) >= _FEWEST and scores[-1][0] - scores[0][0] >= _SHORTEST


def _last_quarter(scores: Sequence[tuple[int, float]]) -> tuple[float, float, float, float]:
    """The gain from the means of the quarter before to those of the last, its standard error, the deviation of a single score,
    and what a gain must be to be worth waiting for."""
    values = [score for _, score in scores]
    quarter = max(2, len(values) // 4)
    gain = statistics.fmean(values[-2 * quarter : -quarter]) - statistics.fmean(values[-quarter:])
    last = values[-max(2 * quarter, _FEWEST) :]
    # Of second differences, in which a trend leaves nothing: their deviation is sqrt(6) times that of a score.
    second = statistics.median(abs(a - 2 * b + c) for a, b, c in zip(last, last[1:], last[2:], strict=False))
    noise = second / _MEDIAN / math.sqrt(6)
    return gain, noise * math.sqrt(2 / quarter), noise, _LITTLE * (values[0] - min(values))
