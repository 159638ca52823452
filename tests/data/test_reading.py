"""Kinds of labels inferred from columns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelspace.data.cells import Column
from labelspace.data.columns import Columns, read_labels
from labelspace.data.reading import Asked
from labelspace.errors import UserError
from labelspace.labels import Label, Schema, binary, categorical


def infer(name: str, entries: Iterable[Any], kind: str = "") -> Label:
    """The label that a column of entries looks like."""
    return Columns({name: Column.of(name, entries)}, Asked({name: kind} if kind else {})).label(name)[0]


def read(columns: dict[str, list[Any]]) -> tuple[Schema, np.ndarray, np.ndarray]:
    n = len(next(iter(columns.values())))
    read = Columns({name: Column.of(name, entries) for name, entries in columns.items()})
    return read_labels(read, columns, n, where=lambda row: f"row {row + 1}")[:3]


@pytest.mark.parametrize(
    "entries",
    [[0, 1, 0], [1.0, 0.0, math.nan], [True, False], ["0", "1.0", "NA"], ["1", "0", "#N/A"]],
)
def test_zero_and_one_are_binary(entries: list[Any]):
    assert infer("a", entries) == binary("a")


@pytest.mark.parametrize(
    ("entries", "off", "on"),
    [
        (["yes", "no"], "no", "yes"),
        (["True", "False", ""], "False", "True"),
        (["on", "off", None], "off", "on"),
        (["T", "F"], "F", "T"),
        (["N", "Y", "NA"], "N", "Y"),
        (["No", "No"], "No", "Yes"),
    ],
)
def test_words_for_off_and_on_are_kept(entries: list[Any], off: str, on: str):
    label = infer("a", entries)
    assert label == binary("a", off, on)
    assert [label.format(value) for value in (0.0, 1.0)] == [off, on]
    assert label.parse("1") == label.parse("yes") == label.parse(on) == 1
    assert type(label).from_row(label.to_row()) == label


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
        (["N", "F", "T"], ("F", "N", "T")),
        (["N", "T"], ("N", "T")),
        (["none", "light", "heavy"], ("heavy", "light", "none")),
        (["NA", "x", "y"], ("NA", "x", "y")),
        (["x", "y", "?", "-", ".", "#N/A", "<NA>", "nan"], ("x", "y")),
        (["+", "-"], ("+", "-")),
        (["1.1", "1.10", "1.2"], ("1.1", "1.10", "1.2")),
        (["007", "7", "08"], ("007", "7", "08")),
        ([f"1234567890123456{i}" for i in range(3)], tuple(f"1234567890123456{i}" for i in range(3))),
        ([1234567890123456780 + i for i in range(3)], tuple(str(1234567890123456780 + i) for i in range(3))),
        (["yes", "Yes", "no"], ("Yes", "no", "yes")),
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
