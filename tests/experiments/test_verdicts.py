"""Verdicts follow from intervals over fresh seeds: made-up results whose answers are known."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from labelspace.experiments.verdicts import (
    FEWEST,
    FRESH,
    SEEDS,
    Claim,
    Part,
    Quantity,
    Seen,
    difference,
    dig,
    interval,
    judge,
    least,
    mean_rate,
    most,
    rate,
    yes,
)
from labelspace.metrics import wilson

SIZE = Quantity("size", lambda found: found.get("size"))
HIT = Quantity("hit", lambda found: rate(found.get("hit")), "{:.0%}")


def group(values: list[float], first: int = FRESH) -> dict[int, Mapping[str, float]]:
    return {first + i: {"size": value} for i, value in enumerate(values)}


def rates(hits: list[int], n: int) -> dict[int, Mapping[str, Mapping[str, float]]]:
    return {FRESH + i: {"hit": {"value": k / n, "n": n}} for i, k in enumerate(hits)}


def held(part: Part, **groups: Mapping[int, Mapping]) -> bool | None:
    return judge(Claim("it is so", (part,)), groups).held


@pytest.mark.parametrize(
    ("values", "side", "than", "expected"),
    [
        ([1.0, 1.1, 0.9, 1.0, 1.05], "above", 0.5, True),
        ([1.0, 1.1, 0.9, 1.0, 1.05], "below", 0.5, False),
        ([1.0, 1.1, 0.9, 1.0, 1.05], "above", 1.0, None),
        ([1.0, 1.1, 0.9, 1.0, 1.05], "below", 1.0, None),
        ([0.1, 3.0, 0.2, 2.5, 0.1], "above", 0.5, None),
        ([1.0, 1.1, 0.9, 1.0, 1.05], "below", 2.0, True),
        ([1.0, 1.1, 0.9, 1.0, 1.05], "above", 2.0, False),
    ],
)
def test_a_number_beside_a_bound(values: list[float], side: str, than: float, expected: bool | None) -> None:
    assert held(Part(SIZE, "a", side, than), a=group(values)) is expected  # type: ignore[arg-type]


def test_fewer_than_five_seeds_say_nothing_and_neither_do_seeds_that_choices_were_made_on() -> None:
    part, values = Part(SIZE, "a", "above", 0.5), [1.0, 1.1, 0.9, 1.0, 1.05]
    assert held(part, a=group(values)) is True
    assert held(part, a=group(values[:-1])) is None
    assert held(part, a=group(values, first=0)) is None
    why = judge(Claim("it is so", (part,)), {"a": group(values[:3], first=0)}).why
    assert why.count("3 seeds, none of them fresh: a verdict needs 5 fresh ones") == 1
    assert "1.00 [" in why, "what they show is said all the same"
    mixed = {**group([9.0, -9.0, 9.0], first=0), **group(values)}
    assert held(part, a=mixed) is True, "beside fresh seeds others do not count"


def test_models_that_share_seeds_are_compared_seed_by_seed() -> None:
    """Seeds differ more than the models do: side by side nothing could be said."""
    a, b = group([1.0, 2.0, 3.0, 4.0, 5.0]), group([0.9, 1.88, 2.91, 3.9, 4.88])
    assert held(Part(SIZE, "a", "above", ("b",)), a=a, b=b) is True
    assert held(Part(SIZE, "a", "below", ("b",)), a=a, b=b) is False
    assert held(Part(SIZE, "a", "above", ("b",), by=0.5), a=a, b=b) is False
    assert held(Part(SIZE, "b", "above", ("a",), by=-0.5), a=a, b=b) is True, "falls short by less than half"
    elsewhere = {seed + 50: found for seed, found in b.items()}
    assert held(Part(SIZE, "a", "above", ("b",)), a=a, b=elsewhere) is None, "without common seeds intervals overlap"
    apart = {seed + 50: {"size": found["size"] - 9} for seed, found in b.items()}
    assert held(Part(SIZE, "a", "above", ("b",)), a=a, b=apart) is True


def test_a_lost_seed_is_not_paired_with_the_next() -> None:
    a, b = group([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), group([0.9, 1.9, 2.9, 3.9, 4.88, 5.9])
    del b[FRESH]
    verdict = judge(Claim("a is larger", (Part(SIZE, "a", "above", ("b",)),)), {"a": a, "b": b})
    assert verdict.held is True
    del b[FRESH + 1]
    assert held(Part(SIZE, "a", "above", ("b",)), a=a, b=b) is None


def test_one_rival_that_is_ahead_is_enough() -> None:
    groups = {"a": group([1.0, 1.1, 0.9, 1, 1.05]), "b": group([0.0] * 5), "c": group([2.0, 2.1, 2.2, 2.0, 2.1])}
    assert held(Part(SIZE, "a", "above", ("b",)), **groups) is True
    assert held(Part(SIZE, "a", "above", ("b", "c")), **groups) is False
    assert held(Part(SIZE, "a", "above", ("b", "nobody")), **groups) is None
    assert held(Part(SIZE, "a", "above", ("nobody", "c")), **groups) is False


def test_all_parts_must_hold_and_one_that_fails_is_enough() -> None:
    groups = {"a": group([1.0, 1.1, 0.9, 1, 1.05])}
    yea, nay, open_ = (Part(SIZE, "a", "above", than) for than in (0.5, 2.0, 1.0))
    for parts, expected in (((yea, yea), True), ((yea, nay), False), ((yea, open_), None), ((open_, nay), False)):
        assert judge(Claim("it is so", parts), groups).held is expected
    assert judge(Claim("it is so", (nay,), given=(open_,)), groups).held is None, "without its premise nothing is said"
    assert judge(Claim("it is so", (nay,), given=(yea,)), groups).held is False


def test_twenty_of_twenty_is_not_certain() -> None:
    low, high = wilson(1.0, 20)
    assert low == pytest.approx(20 / (20 + 1.959964**2))
    assert high == 1
    assert wilson(0.0, 20) == pytest.approx((0.0, 1 - low))
    five = rates([4] * 5, 4)  # twenty of twenty, over five seeds that agree
    assert held(Part(HIT, "a", "above", 0.8), a=five) is True
    assert held(Part(HIT, "a", "above", 0.9), a=five) is None
    assert held(Part(HIT, "a", "above", ("b",)), a=five, b=rates([3, 4, 3, 4, 3], 4)) is None
    assert held(Part(HIT, "a", "above", ("b",)), a=rates([400] * 5, 400), b=rates([380] * 5, 400)) is True


def test_a_condition_of_most_seeds_is_a_rate_of_one_trial_each() -> None:
    holds = Quantity("holds", lambda found: yes(found["holds"]))

    def runs(n: int) -> dict[int, dict[str, bool]]:
        return {seed: {"holds": i < n} for i, seed in enumerate(SEEDS)}

    answers = [held(Part(holds, "a", "above", 0.5), a=runs(n)) for n in range(FEWEST + 1)]
    assert answers == [False, None, None, None, None, True]


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=9))
def test_an_interval_is_students(values: list[float]) -> None:
    found = interval([Seen(v) for v in values])
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    assert found.value == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=1e-9)
    shifted = {i: Seen(v + 3) for i, v in enumerate(values)}
    assert difference(shifted, {i: Seen(v) for i, v in enumerate(values)}).value == pytest.approx(3)


@given(st.lists(st.integers(0, 12), min_size=2, max_size=7))
def test_rates_stay_between_nothing_and_everything_and_are_never_certain(hits: list[int]) -> None:
    found = interval([Seen(k / 12, 12) for k in hits])
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0.02


def test_no_interval_goes_beyond_what_can_be() -> None:
    accuracy = Quantity("accuracy", lambda f: f["accuracy"], "{:.1%}", (0.0, 1.0))
    claim = Claim("all is read", (Part(accuracy, "a", "above", 0.9),))
    found = {seed: {"accuracy": value} for seed, value in zip(SEEDS, (1.0, 1.0, 0.98, 1.0, 1.0), strict=True)}
    assert "99.6% [98.5%, 100.0%]" in judge(claim, {"a": found}).why


def test_the_why_says_numbers_intervals_and_differences() -> None:
    groups = {"a": group([1.0, 2.0, 3.0, 4.0, 5.0]), "b": group([0.5, 1.5, 2.6, 3.4, 4.5])}
    verdict = judge(Claim("a is larger", (Part(SIZE, "a", "above", ("b",)), Part(SIZE, "a", "below", 9.0))), groups)
    assert verdict.why.startswith("Size: a 3.00 [1.04, 4.96], b 2.50 [")
    assert "(difference +0.50 [+0.4" in verdict.why
    assert verdict.why.endswith("size of a 3.00 [1.04, 4.96], asked below 9.00.")
    assert "was not measured" in judge(Claim("c is", (Part(SIZE, "c", "above", 0.0),)), groups).why
    many = (*tuple(Part(SIZE, "a", "above", float(than)) for than in range(-9, 3)), Part(SIZE, "a", "above", 8.0))
    short = judge(Claim("it is so", many, shown=2), groups)
    assert "asked above 8.00" in short.why
    assert "11 more" in short.why


def test_what_is_not_there_is_none() -> None:
    assert dig({"a": {"b": 1}}, "a", "b") == 1
    assert dig({"a": {"b": 1}}, "a", "c") is None
    assert dig({"a": 1}, "a", "b") is None
    assert rate(None) is None
    assert mean_rate([{"value": 0.5, "n": 4}, {"value": 1.0, "n": 6}]) == Seen(0.75, 10)
    assert mean_rate([{"value": 0.5, "n": 4}, None]) is None
    assert least([0.5, Seen(0.2, 3)]) == Seen(0.2, 3)
    assert most([0.5, None]) is None
    assert least([]) is None
    assert SIZE.of({1: {"size": math.nan}, 2: {}, 3: {"size": 2.0}}) == {3: Seen(2.0)}
    with pytest.raises(ValueError, match="no seed"):
        difference({1: Seen(1.0)}, {2: Seen(1.0)})
