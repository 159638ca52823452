"""Kinds of labels inferred from columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelspace.data.columns import infer, read
from labelspace.errors import UserError
from labelspace.labels import binary, categorical


@pytest.mark.parametrize(
    "entries",
    [[0, 1, 0], ["yes", "no"], ["True", "False", ""], [1.0, 0.0, math.nan], [True, False], ["on", "off", None], ["T", "F"]],
)
def test_off_and_on_are_binary(entries: list[Any]):
    assert infer("a", entries) == binary("a")


@pytest.mark.parametrize(
    ("entries", "classes"),
    [
        (["b", "a", "b", ""], ("a", "b")),
        ([3, 1, 10, None], ("1", "3", "10")),
        ([3.0, 1.0, 10.0, math.nan], ("1", "3", "10")),
        (["-1", "1"], ("-1", "1")),
        (["1", "x"], ("1", "x")),
        (["1.5", "x"], ("1.5", "x")),
        (["yes", "no", "unsure"], ("no", "unsure", "yes")),
        (list(range(50)), tuple(str(i) for i in range(50))),
    ],
)
def test_texts_and_few_whole_numbers_are_categorical(entries: list[Any], classes: tuple[str, ...]):
    assert infer("a", entries) == categorical("a", classes)


def test_numbers_with_fractions_and_many_numbers_are_continuous():
    label = infer("a", [0.5, "1.5", None, 4])
    assert label.kind == "continuous"
    assert (label.mean, label.scale) == (pytest.approx(2.0), pytest.approx(np.std([0.5, 1.5, 4])))
    assert infer("a", list(range(51))).kind == "continuous"


def test_ways_of_writing_a_number_are_not_counted_as_different_numbers():
    entries = [text for i in range(30) for text in (str(i), f"{i}.0")]
    assert infer("a", entries) == categorical("a", [str(i) for i in range(30)])


def test_columns_that_cannot_be_labels_are_refused():
    for entries in ([], ["", None, math.nan], ["NA", "?"]):
        with pytest.raises(UserError, match="'a' has no entry"):
            infer("a", entries)
    with pytest.raises(UserError, match=r"'a'.*51 different texts"):
        infer("a", [f"t{i}" for i in range(51)])
    with pytest.raises(UserError, match=r"'a' is always 'x'"):
        infer("a", ["x", "x", ""])


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        st.lists(
            st.one_of(
                st.sampled_from(["", None, "cat", " dog", "3", "3.0", "yes", "0", "1e3"]), st.integers(-9, 9), st.floats(-9, 9)
            ),
            min_size=6,
            max_size=6,
        ),
        min_size=1,
    )
)
def test_columns_read_back_or_are_refused_by_name(columns: dict[str, list[Any]]):
    try:
        schema, values, observed = read(columns)
    except UserError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert any(repr(name) in refusal for name in columns)
        return
    assert schema.names == tuple(columns)
    decoded = schema.decode(values, observed)
    for label in schema:
        for entry, back in zip(columns[label.name], decoded[label.name], strict=True):
            if entry in ("", None):
                assert back is None
            elif label.kind == "continuous":
                assert back == pytest.approx(float(entry), rel=1e-6, abs=1e-30)
            elif label.kind == "categorical":
                assert back == str(entry).strip() or float(back) == float(entry)


def test_missing_entries_are_masked_in_every_kind():
    schema, values, observed = read({"a": [0, None, 1], "b": ["x", "", "y"], "c": [0.5, math.nan, 1.0]})
    assert [label.kind for label in schema] == ["binary", "categorical", "continuous"]
    assert observed.tolist() == [[True] * 3, [False] * 3, [True] * 3]
    assert values[1].tolist() == [0, 0, 0]
