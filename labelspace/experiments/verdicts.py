"""Whether a claim held: one rule for all recipes, from intervals over seeds.

A recipe states its claims as data (:class:`Claim`): what quantity, of which model, above or below what, by which margin. Here
is decided what follows:

- Only seeds from :data:`FRESH` on count, and at least :data:`FEWEST` of them: smaller seeds are those that choices are made on.
- A quantity has a 95% interval over seeds (Student's t). A rate is also known no better than Wilson's interval of all its
  trials says: 20 of 20 is not certainty.
- Two models are compared seed by seed where they share seeds, by the interval of their differences (of rates no narrower than
  Newcombe's); where they share none, by whether their intervals overlap.
- A claim *held* where all of that lies on the claimed side, *did not hold* where any of it lies wholly on the other, and else
  *cannot be said*.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from scipy.stats import t as student

from labelspace.metrics import wilson

FRESH = 100
"""Seeds from here on are kept for verdicts; choices are made on smaller ones."""
FEWEST = 5
"""Seeds that a verdict rests on."""
SEEDS = range(FRESH, FRESH + FEWEST)
"""What recipes run."""

Found = Mapping[str, Any]
"""What a recipe measured on a run."""
Group = Mapping[int, Found]
"""Seed -> what was measured."""


class Seen(NamedTuple):
    """A number of one run; of a rate also the trials behind it."""

    value: float
    trials: int | None = None


@dataclass(frozen=True)
class Quantity:
    """What is looked at.

    Attributes:
        name: in words.
        read: what was measured on a run -> the number; None where it was not measured.
        form: how it is written.
        ends: what it can be at least and at most, where its trials do not say it; no interval goes beyond.
    """

    name: str
    read: Callable[[Found], Seen | float | None]
    form: str = "{:.2f}"
    ends: tuple[float, float] = (-math.inf, math.inf)

    def number(self, found: Found) -> float | None:
        """The number of one run."""
        value = self.read(found)
        return value.value if isinstance(value, Seen) else value

    def of(self, group: Group) -> dict[int, Seen]:
        """By seed, where it was measured."""
        found = {}
        for seed, measured in sorted(group.items()):
            value = self.read(measured)
            seen = value if isinstance(value, Seen) else None if value is None else Seen(float(value))
            if seen is not None and math.isfinite(seen.value):
                found[seed] = seen
        return found


@dataclass(frozen=True)
class Part:
    """One comparison of a claim.

    Attributes:
        what: is compared.
        of: which group's.
        side: where it is claimed to be.
        than: of a number, or of the same quantity of every one of these groups.
        by: how far, at least; below 0 it may fall short by so much.
    """

    what: Quantity
    of: str
    side: Literal["above", "below"]
    than: float | tuple[str, ...]
    by: float = 0.0


@dataclass(frozen=True)
class Claim:
    """What is claimed.

    Attributes:
        says: a sentence without its full stop.
        parts: all of which must hold.
        given: what must hold for anything to be said: there is nothing to keep where nothing was learnt.
        shown: how many parts a verdict explains, those first that speak against the claim; 0 is all.
    """

    says: str
    parts: tuple[Part, ...]
    given: tuple[Part, ...] = field(default=())
    shown: int = 0


@dataclass(frozen=True)
class Verdict:
    """One claim and whether it held here; None where the runs cannot say."""

    claim: str
    held: bool | None
    why: str


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and its 95% interval; without width where there is one seed."""

    value: float
    low: float
    high: float
    seeds: int

    def show(self, form: str) -> str:
        """As a text: a number of one seed, or mean and interval."""
        text = form.format(self.value)
        return text if self.seeds < 2 else f"{text} [{form.format(self.low)}, {form.format(self.high)}]"


def interval(seen: Sequence[Seen], ends: tuple[float, float] = (-math.inf, math.inf)) -> Interval:
    """The interval of a mean over seeds, within what it can be; that of a rate holds Wilson's interval of all trials."""
    value, half = _mean([s.value for s in seen])
    low, high = max(ends[0], value - half), min(ends[1], value + half)
    if all(s.trials for s in seen):
        known = wilson(value, sum(s.trials or 0 for s in seen))
        low, high = max(0.0, min(low, known[0])), min(1.0, max(high, known[1]))
    return Interval(value, low, high, len(seen))


def difference(first: Mapping[int, Seen], second: Mapping[int, Seen]) -> Interval:
    """The interval of first less second, seed by seed; of rates it holds Newcombe's interval of all trials.

    Raises:
        ValueError: no seed in common.
    """
    common = sorted(set(first) & set(second))
    if not common:
        raise ValueError("the two share no seed")
    a, b = ([column[seed] for seed in common] for column in (first, second))
    value, half = _mean([x.value - y.value for x, y in zip(a, b, strict=True)])
    low, high = value - half, value + half
    if all(s.trials for s in (*a, *b)):
        (p, p_low, p_high), (q, q_low, q_high) = (_pooled(column) for column in (a, b))
        low = max(-1.0, min(low, value - math.hypot(p - p_low, q_high - q)))
        high = min(1.0, max(high, value + math.hypot(p_high - p, q - q_low)))
    return Interval(value, low, high, len(common))


def judge(claim: Claim, groups: Mapping[str, Group]) -> Verdict:
    """Whether a claim held, by the rules of this module.

    Args:
        claim: what is claimed.
        groups: name of a model, or of a model under some condition -> what was measured on its runs.
    """
    premises = [_judged(part, groups) for part in claim.given]
    if (lacked := _open(premises)) is not None:
        return Verdict(claim.says, None, _sentence([lacked], "without which nothing can be said"))
    found = [_judged(part, groups) for part in claim.parts]
    first = sorted(found, key=lambda f: ({False: 0, None: 1, True: 2}[f.held], f.room)) if claim.shown else found
    shown = first[: claim.shown or None]
    return Verdict(
        claim.says, _together(found), _sentence(shown, f"{len(found) - len(shown)} more" if len(found) > len(shown) else "")
    )


def _open(premises: Sequence[_Judged]) -> _Judged | None:
    return next((judged for judged in premises if judged.held is not True), None)


def _together(found: Sequence[_Judged]) -> bool | None:
    """One that failed is enough for a failure; else all must have held."""
    if any(f.held is False for f in found):
        return False
    return True if all(f.held for f in found) else None


class _Judged(NamedTuple):
    """One comparison, decided.

    Attributes:
        held: what follows.
        line: its numbers.
        lacking: why seeds are not enough for a verdict; empty where they are.
        room: how far the interval's worse end is on the claimed side.
    """

    held: bool | None
    line: str
    lacking: str = ""
    room: float = -math.inf


def _judged(part: Part, groups: Mapping[str, Group]) -> _Judged:
    mine = part.what.of(groups.get(part.of, {}))
    if not mine:
        return _Judged(None, f"{part.what.name} of {part.of} was not measured")
    counted = _counted(mine)
    own = interval([*counted.values()], part.what.ends)
    if isinstance(part.than, tuple):
        each = [_beside(part, mine, name, part.what.of(groups.get(name, {}))) for name in part.than]
        line = f"{part.what.name}: {part.of} {own.show(part.what.form)}, " + ", ".join(j.line for j in each)
        lacking = next((j.lacking for j in each if j.lacking), "")
        return _Judged(_together(each), line, lacking, min(j.room for j in each))
    line = f"{part.what.name} of {part.of} {own.show(part.what.form)}, asked {part.side} {part.what.form.format(part.than)}"
    return _decided(part.side, own.low - part.than, own.high - part.than, part.by, counted, line)


def _beside(part: Part, mine: Mapping[int, Seen], name: str, theirs: Mapping[int, Seen]) -> _Judged:
    """One model against another."""
    form = part.what.form
    if not theirs:
        return _Judged(None, f"{name} was not measured")
    common = _counted({seed: mine[seed] for seed in mine if seed in theirs})
    if common:
        gap = difference(common, theirs)
        line = f"{name} {interval([theirs[seed] for seed in common], part.what.ends).show(form)}"
        if gap.seeds > 1:
            line += f" (difference {gap.show(_signed(form))})"
        return _decided(part.side, gap.low, gap.high, part.by, common, line)
    own, other = _counted(mine), _counted(theirs)
    a, b = (interval([*column.values()], part.what.ends) for column in (own, other))
    line = f"{name} {b.show(form)} (other seeds)"
    return _decided(part.side, a.low - b.high, a.high - b.low, part.by, min(own, other, key=len), line)


def _decided(side: str, low: float, high: float, by: float, seeds: Mapping[int, Seen], line: str) -> _Judged:
    """What follows where something lies between low and high of a border."""
    if side == "below":
        low, high = -high, -low
    lacking = _lacking(seeds)
    held = None if lacking else True if low >= by and high > by else False if high < by else None
    return _Judged(held, line, lacking, low - by)


def _counted(seen: Mapping[int, Seen]) -> dict[int, Seen]:
    """Fresh seeds where there are any: others are shown in their place, and say nothing."""
    return {seed: s for seed, s in seen.items() if seed >= FRESH} or dict(seen)


def _lacking(seeds: Mapping[int, Seen]) -> str:
    """Why seeds are not enough for a verdict; empty where they are."""
    fresh = sum(seed >= FRESH for seed in seeds)
    if fresh >= FEWEST:
        return ""
    many = f"{len(seeds)} seed{'' if len(seeds) == 1 else 's'}"
    return f"{many}, {fresh or 'none'} of them fresh: a verdict needs {FEWEST} fresh ones"


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half of Student's 95% interval; 0 of a single value."""
    value = statistics.fmean(values)
    if len(values) < 2:
        return value, 0.0
    return value, float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))


def _pooled(seen: Sequence[Seen]) -> tuple[float, float, float]:
    value = statistics.fmean(s.value for s in seen)
    return (value, *wilson(value, sum(s.trials or 0 for s in seen)))


def _signed(form: str) -> str:
    """A form that writes the sign of a number."""
    return form.replace("{:", "{:+", 1)


def _sentence(found: Sequence[_Judged], rest: str) -> str:
    """Numbers of comparisons, and once why they are not enough."""
    lines = [*dict.fromkeys(f.line for f in found), *([rest] if rest else [])]
    lacking = dict.fromkeys(f.lacking for f in found if f.lacking)
    text = "; ".join(lines) + (f" ({'; '.join(lacking)})" if lacking else "")
    return text[:1].upper() + text[1:] + "."


# -- quantities ---------------------------------------------------------------------------------------------------------


def dig(found: Any, *keys: str) -> Any:
    """What lies below keys in nested plain data; None where it is not there."""
    for key in keys:
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found


def rate(score: Mapping[str, float] | None) -> Seen | None:
    """A rate that was measured as a score with its sample size."""
    if score is None or score.get("value") is None:
        return None
    return Seen(float(score["value"]), int(score["n"]))


def mean_rate(scores: Iterable[Mapping[str, float] | None]) -> Seen | None:
    """The mean of rates, of labels say; None where one is missing."""
    seen = [rate(score) for score in scores]
    known = [s for s in seen if s is not None]
    if not known or len(known) < len(seen):
        return None
    return Seen(statistics.fmean(s.value for s in known), sum(s.trials or 0 for s in known))


def least(values: Iterable[Seen | float | None]) -> Seen | float | None:
    """The smallest, that of the worst label say; None where one is missing."""
    return _extreme(values, min)


def most(values: Iterable[Seen | float | None]) -> Seen | float | None:
    """The largest; None where one is missing."""
    return _extreme(values, max)


def _extreme(values: Iterable[Seen | float | None], choose: Callable[..., Any]) -> Seen | float | None:
    listed = list(values)
    known = [v for v in listed if v is not None]
    if not known or len(known) < len(listed):
        return None
    return choose(known, key=lambda v: v.value if isinstance(v, Seen) else v)


def yes(condition: bool | None) -> Seen | None:
    """A condition of a run as a rate of one trial; its claim is about most seeds."""
    return None if condition is None else Seen(float(condition), 1)
