"""Labels that are copies of others or follow from them, and what data say about themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelspace.data.dataset import Dataset
from labelspace.data.splits import Split
from labelspace.errors import UserError
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.labels.relations import relations

SCHEMA = Schema(
    [categorical("city", ("a", "b", "c")), binary("north"), binary("wet"), continuous("m", 0, 1), continuous("ft", 0, 1)]
)


def arrays(n: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """North follows from the city, feet are metres in other units; rain comes as it likes."""
    rng = np.random.default_rng(seed)
    city = rng.integers(0, 3, n)
    metres = rng.standard_normal(n)
    values = np.stack([city, city == 0, rng.integers(0, 2, n), metres, 3.2808 * metres + 1], 1)
    return values.astype(np.float32), np.ones(values.shape, bool)


def test_a_region_follows_from_a_city_and_a_city_from_no_region() -> None:
    assert relations(SCHEMA, *arrays()) == ([("m", "ft")], [("city", "north")])


def test_a_copy_is_one_whatever_its_values_are_called() -> None:
    values, observed = arrays()
    values[:, 2] = 1 - values[:, 1]
    assert ("north", "wet") in relations(SCHEMA, values, observed)[0]


def test_what_is_missing_says_nothing_and_one_exception_is_enough() -> None:
    values, observed = arrays()
    values[:, 2], row = values[:, 1], 7
    values[row, 2] = 1 - values[row, 1]
    assert ("north", "wet") not in relations(SCHEMA, values, observed)[0]
    observed[row, 2] = False
    assert ("north", "wet") in relations(SCHEMA, values, observed)[0]
    observed[:, 2] = False
    assert not any("wet" in pair for pairs in relations(SCHEMA, values, observed) for pair in pairs)


def test_a_label_of_single_samples_does_not_tell_all_others() -> None:
    names = categorical("name", [f"n{i}" for i in range(20)])
    values = np.stack([np.arange(20), np.arange(20) % 2], 1).astype(np.float32)
    assert relations(Schema([names, binary("on")]), values, np.ones(values.shape, bool)) == ([], [])


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 4), st.integers(0, 10_000))
def test_a_function_is_found_whatever_it_is(classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    of = rng.integers(0, 2, classes)
    a = np.repeat(np.arange(classes), 3)
    values = np.stack([a, of[a]], 1).astype(np.float32)
    schema = Schema([categorical("a", [str(i) for i in range(classes)]), binary("b")])
    found = [pair for pairs in relations(schema, values, np.ones(values.shape, bool)) for pair in pairs]
    assert found == ([("a", "b")] if len(set(of)) > 1 else [])


def dataset(values: np.ndarray, observed: np.ndarray, schema: Schema, x: np.ndarray | None = None) -> Dataset:
    n = len(values)
    x = np.random.default_rng(1).standard_normal((n, 12)).astype(np.float32) if x is None else x
    splits: dict[Split, np.ndarray] = {"train": np.arange(n - 10), "val": np.arange(n - 10, n - 5), "test": np.arange(n - 5, n)}
    return Dataset("some", x, values, observed, schema, splits)


def test_data_say_what_is_hard_to_learn_from() -> None:
    values, observed = arrays(200)
    values[:, 2] = 0
    values[:3, 2] = 1
    x = np.random.default_rng(1).standard_normal((200, 12)).astype(np.float32)
    x[:, :10] = 4.0
    notes = dataset(values, observed, SCHEMA, x).check().notes
    assert len(notes) == 4
    assert "'m' and 'ft' say the same" in notes[0]
    assert "'north' follows from 'city'" in notes[1]
    assert "'wet' has too few training samples to learn what these look like: 1 (3);" in notes[2]
    assert "1 of x, 2 of x, 3 of x" in notes[3]
    assert notes[3].endswith("and 2 more")
    again = dataset(values, observed, SCHEMA, x).check().check()
    assert again.notes == notes, "said once"


def test_data_that_are_easy_have_no_notes() -> None:
    values, observed = arrays(200)
    schema = SCHEMA.select(["city", "wet", "m"])
    assert dataset(values[:, [0, 2, 3]], observed[:, [0, 2, 3]], schema).check().notes == ()


@pytest.mark.parametrize(("column", "why"), [(2, "is always 0"), (0, "no value in the training split")])
def test_what_nothing_can_be_learnt_from_is_refused(column: int, why: str) -> None:
    values, observed = arrays(200)
    if column:
        values[:, column] = 0
    else:
        observed[:190, column] = False
    with pytest.raises(UserError, match=why):
        dataset(values, observed, SCHEMA).check()
