"""Weights that change during training."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelspace.errors import UserError
from labelspace.models.schedules import Schedule, parse

WEIGHTS = st.floats(0, 1e6)
SCHEDULES = st.builds(Schedule, st.sampled_from(["linear", "cosine", "cyclic"]), WEIGHTS, WEIGHTS, st.floats(1e-3, 1e6))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.2", {0: 0.2, 0.5: 0.2, 1000: 0.2}),
        ("linear:0->1@10", {0: 0, 2.5: 0.25, 5: 0.5, 10: 1, 11: 1, 1e6: 1}),
        ("linear:4->2@4", {0: 4, 1: 3.5, 2: 3, 4: 2, 5: 2}),
        ("cosine:0->1@10", {0: 0, 2.5: 0.5 - math.sqrt(0.125), 5: 0.5, 10: 1, 12: 1}),
        ("cosine:2->0@1", {0: 2, 0.5: 1, 1: 0}),
        ("cyclic:0->1@10", {0: 0, 2.5: 0.5, 5: 1, 9.9: 1, 10: 0, 12.5: 0.5, 17: 1, 20: 0}),
        ("cyclic:1->3@2", {0: 1, 0.5: 2, 1: 3, 1.5: 3, 2: 1}),
    ],
)
def test_values_at_known_times(text: str, values: dict[float, float]):
    schedule = parse(text)
    assert {time: schedule(time) for time in values} == pytest.approx(values)


@pytest.mark.parametrize("given_number", [0, 1, 0.25, "1e-3", " 2 "])
def test_a_number_is_a_constant(given_number: float | str):
    schedule = parse(given_number)
    assert schedule(0) == schedule(7.3) == float(given_number)
    assert parse(str(schedule)) == schedule


@given(SCHEDULES)
def test_the_text_of_a_schedule_reads_back(schedule: Schedule):
    assert parse(str(schedule)) == schedule
    assert parse(schedule) is schedule


@given(SCHEDULES, st.floats(0, 1e6))
def test_weights_stay_between_start_and_end(schedule: Schedule, time: float):
    low, high = sorted((schedule.start, schedule.end))
    slack = 1e-9 * (1 + high)
    assert low - slack <= schedule(time) <= high + slack


@given(SCHEDULES)
def test_schedules_begin_at_start_and_settle_at_end(schedule: Schedule):
    assert schedule(0) == pytest.approx(schedule.start)
    settled = 0.75 if schedule.kind == "cyclic" else 1.0
    rounding = 1e-9 * schedule.start
    assert schedule(settled * schedule.epochs) == pytest.approx(schedule.end, abs=rounding)


@pytest.mark.parametrize("text", ["-1", "linear:-1->1@10", "linear:0->-1@10", "cyclic:0->-0.5@3", -0.1])
def test_negative_weights_are_refused(text: str | float):
    with pytest.raises(UserError, match="negative"):
        parse(text)


@pytest.mark.parametrize("text", ["nan", "inf", math.nan, math.inf, "linear:nan->1@10", "linear:0->inf@10"])
def test_weights_that_are_not_finite_are_refused(text: str | float):
    with pytest.raises(UserError, match="finite"):
        parse(text)


@pytest.mark.parametrize("epochs", ["0", "-3", "nan", "inf"])
def test_a_schedule_needs_a_positive_number_of_epochs(epochs: str):
    with pytest.raises(UserError, match="epochs"):
        parse(f"linear:0->1@{epochs}")


@pytest.mark.parametrize(
    "nonsense", ["", "beta", "linear", "linear:0->1", "linear:0@1", "linear:a->b@c", "ramp:0->1@10", "linear:0->1->2@3", "1,2"]
)
def test_nonsense_is_refused_with_the_forms_that_are_known(nonsense: str):
    with pytest.raises(UserError, match="START->END@EPOCHS"):
        parse(nonsense)


@pytest.mark.parametrize("nonsense", [None, [1, 2], {"linear": 1}])
def test_what_is_neither_number_nor_text_is_refused(nonsense: Any):
    with pytest.raises(UserError, match="not a weight"):
        parse(nonsense)


@given(st.text(max_size=20))
def test_any_text_is_a_schedule_or_a_user_error(text: str):
    with suppress(UserError):
        assert math.isfinite(parse(text)(1.5))
