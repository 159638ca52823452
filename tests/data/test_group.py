"""Splits that keep samples together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelspace.data.dataset import Dataset
from labelspace.data.splits import Split, random_splits
from labelspace.errors import UserError
from labelspace.labels import Schema, binary, categorical


def data_of(persons: list[str], splits: dict[Split, np.ndarray] | None = None) -> Dataset:
    n = len(persons)
    values = np.stack([np.arange(n) % 2, np.arange(n) % 3], axis=1).astype(np.float32)
    schema = Schema([binary("on"), categorical("class", ["a", "b", "c"])])
    return Dataset(
        "test",
        np.zeros((n, 2), np.float32),
        values,
        np.ones((n, 2), bool),
        schema,
        splits or random_splits(n, 0),
        keys={"person": np.array(persons)},
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=10, max_size=120), st.integers(0, 5))
def test_no_group_is_in_two_splits_and_no_sample_is_lost(persons, seed):
    data = data_of([f"p{i}" for i in persons])
    if len(set(persons)) < 3:
        with pytest.raises(UserError, match="too few"):
            data.group("person", seed)
        return
    found = data.group("person", seed)
    homes = [{persons[i] for i in rows} for rows in found.splits.values()]
    assert sum(map(len, homes)) == len(set(persons))
    assert sorted(np.concatenate(list(found.splits.values())).tolist()) == list(range(len(persons)))
    assert all(len(rows) for rows in found.splits.values())


def test_splits_of_many_small_groups_are_about_as_large_as_before():
    data = data_of([f"p{i // 3}" for i in range(3000)])
    found = data.group("person", 1)
    assert {name: pytest.approx(len(rows), rel=0.02) for name, rows in data.splits.items()} == {
        name: len(rows) for name, rows in found.splits.items()
    }
    assert found.grouped == "person"
    assert any("one person" in note for note in found.notes)


def test_splits_that_keep_groups_together_already_are_kept():
    rows: dict[Split, np.ndarray] = {"train": np.arange(0, 6), "val": np.arange(6, 8), "test": np.arange(8, 12)}
    data = data_of(["a"] * 3 + ["b"] * 3 + ["c"] * 2 + ["d"] * 4, rows)
    found = data.group("person", 5)
    assert all(np.array_equal(found.splits[name], rows[name]) for name in rows)
    assert not found.notes


def test_samples_of_unknown_group_are_each_their_own():
    data = data_of([""] * 30 + ["0"] * 5)
    found = data.group("person", 0)
    assert sum(bool(set(range(30, 35)) & set(rows.tolist())) for rows in found.splits.values()) == 1
    assert min(len(rows) for rows in found.splits.values()) >= 1


def test_a_discrete_label_groups_too_and_an_unknown_name_is_refused():
    found = data_of(["x"] * 30).group("class", 0)
    homes = [set(found.values[rows, 1]) for rows in found.splits.values()]
    assert sum(map(len, homes)) == 3
    with pytest.raises(UserError, match="person"):
        found.group("persn", 0)
