"""Labels and schemas: parsing, encoding and features."""

from __future__ import annotations

import json
import math
import warnings
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labelspace.errors import UserError
from labelspace.labels import Label, Schema, binary, categorical, continuous, frequencies, parse_assignments

_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="=,:\n\r"), min_size=1, max_size=12)
TRIMMED = _TEXTS.map(str.strip).filter(bool)
MISSING = st.sampled_from([None, math.nan, "", "  ", "NaN"])
# As people write them, and as single precision holds them.
NUMBERS = st.floats(-1e6, 1e6, width=32).map(lambda x: float(str(np.float32(x))))


def labels(name: st.SearchStrategy[str], text: st.SearchStrategy[str]) -> st.SearchStrategy[Label]:
    classes = st.lists(text, min_size=2, max_size=5, unique=True)
    return st.one_of(
        st.builds(binary, name),
        st.builds(categorical, name, classes),
        st.builds(continuous, name, NUMBERS, st.floats(1e-3, 1e3)),
    )


def schemas(text: st.SearchStrategy[str], most: int = 4, least: int = 0) -> st.SearchStrategy[Schema]:
    return st.lists(labels(text, text), min_size=least, max_size=most, unique_by=lambda label: label.name).map(Schema)


def entries_of(label: Label) -> st.SearchStrategy[Any]:
    if label.kind == "binary":
        return st.integers(0, 1)
    return st.sampled_from(label.classes) if label.kind == "categorical" else NUMBERS


MIXED = Schema([binary("on"), categorical("colour", ["red", "green", "blue"]), continuous("age", 40.0, 10.0)])


# -- labels and schemas ------------------------------------------------------------------------------------------------


@given(schemas(TRIMMED))
def test_a_schema_survives_json(schema: Schema):
    assert Schema.from_json(schema.to_json()) == schema
    json.loads(schema.to_json())


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), lambda s: st.lists(s, max_size=3)))
def test_foreign_json_is_a_user_error(content: Any):
    for text in (json.dumps(content), json.dumps({"labels": [content]}), json.dumps({"labels": content})):
        with suppress(UserError):
            assert isinstance(Schema.from_json(text), Schema)


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "null", '{"labels": [{"name": "a"}]}'])
def test_broken_json_is_a_user_error(text: str):
    with pytest.raises(UserError, match="schema"):
        Schema.from_json(text)


@pytest.mark.parametrize("name", ["", "a=b", "a,b", "a:b", "a\nb", "a\rb"])
def test_names_that_addresses_and_assignments_cannot_hold_are_refused(name: str):
    with pytest.raises(UserError, match="label name"):
        binary(name)


@pytest.mark.parametrize("classes", [[], ["only"], ["twice", "twice"]])
def test_a_categorical_label_needs_two_different_classes(classes: list[str]):
    with pytest.raises(UserError, match="'c'"):
        categorical("c", classes)


@pytest.mark.parametrize(("mean", "scale"), [(math.nan, 1), (math.inf, 1), (0, 0), (0, -1), (0, math.nan), (0, math.inf)])
def test_a_continuous_label_needs_a_finite_mean_and_a_positive_scale(mean: float, scale: float):
    with pytest.raises(UserError, match="'age'"):
        continuous("age", mean, scale)


def test_two_labels_of_one_name_are_refused():
    with pytest.raises(UserError, match="same name"):
        Schema([binary("a"), continuous("a")])


def test_an_unknown_label_suggests_the_nearest():
    for ask in (MIXED.index, MIXED.__getitem__, lambda name: MIXED.select([name])):
        with pytest.raises(UserError, match=r"'color'.*did you mean 'colour'"):
            ask("color")
    with pytest.raises(UserError, match="on, colour, age"):
        MIXED.index("zzzzz")


def test_select_keeps_the_order_given():
    assert MIXED.select(["age", "on"]).names == ("age", "on")
    assert len(MIXED.select([])) == 0


def test_widths_per_kind():
    assert MIXED.feature_widths == [1, 3, 1]
    assert MIXED.width == 5
    assert MIXED.parameters == 1 + 3 + 2
    assert [label.values for label in MIXED] == [("0", "1"), ("red", "green", "blue"), ()]
    assert [label.discrete for label in MIXED] == [True, True, False]


# -- encode and decode -------------------------------------------------------------------------------------------------


@given(st.data())
def test_decode_is_the_inverse_of_encode(data: st.DataObject):
    schema = data.draw(schemas(TRIMMED, least=1))
    n = data.draw(st.integers(0, 6))
    truth, given_columns = {}, {}
    for label in schema:
        here = data.draw(st.lists(st.tuples(entries_of(label), st.booleans(), MISSING), min_size=n, max_size=n))
        truth[label.name] = [None if gone else entry for entry, gone, _ in here]
        given_columns[label.name] = [
            hole if gone and hole not in label.classes else (None if gone else entry) for entry, gone, hole in here
        ]
    values, observed = schema.encode(given_columns)
    assert values.shape == observed.shape == (n, len(schema))
    assert values.dtype == np.float32
    assert observed.dtype == bool
    assert np.isfinite(values).all()
    assert (values[~observed] == 0).all()
    assert schema.decode(values, observed) == truth
    assert schema.decode(torch.from_numpy(values), torch.from_numpy(observed)) == truth


@given(labels(TRIMMED, TRIMMED), st.data())
def test_format_is_the_inverse_of_parse(label: Label, data: st.DataObject):
    number = label.parse(entry := data.draw(entries_of(label)))
    assert label.format(number) == entry
    assert label.parse(label.format(number)) == number


@pytest.mark.parametrize("name", [" red", "red ", "light red", " ", "\tred"])
def test_a_class_name_that_is_accepted_can_be_encoded(name: str):
    try:
        label = categorical("colour", [name, "blue"])
    except UserError:
        return
    assert label.format(label.parse(name)) == name


@given(labels(TRIMMED, TRIMMED), st.data())
def test_every_value_of_every_label_can_be_assigned_by_text(label: Label, data: st.DataObject):
    entry = data.draw(entries_of(label))
    assert parse_assignments(Schema([label]), [f"{label.name}={entry}"]) == {label.name: label.parse(entry)}


@pytest.mark.parametrize("name", [" hat", "hat ", "red hat", " "])
def test_a_label_name_that_is_accepted_can_be_assigned(name: str):
    try:
        schema = Schema([binary(name)])
    except UserError:
        return
    assert parse_assignments(schema, [f"{name}=1"]) == {name: 1}


def test_a_missing_entry_is_a_mask_and_a_zero_is_a_value():
    values, observed = MIXED.encode({"on": [0, None], "colour": ["red", ""], "age": [0, math.nan]})
    assert observed.tolist() == [[True] * 3, [False] * 3]
    assert values.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert MIXED.decode(values, observed) == {"on": [0, None], "colour": ["red", None], "age": [0.0, None]}


@pytest.mark.parametrize(
    "hole", [None, math.nan, np.float32("nan"), np.float64("nan"), "", " ", "NA", "n/a", "None", "null", "?"]
)
@pytest.mark.parametrize("name", MIXED.names)
def test_spellings_of_missing(name: str, hole: Any):
    assert math.isnan(MIXED[name].parse(hole))


def test_a_class_may_be_called_like_a_missing_entry():
    label = categorical("hat", ["none", "cap"])
    assert label.parse("none") == 0
    assert math.isnan(label.parse(None))


@pytest.mark.parametrize("entry", [1, True, 1.0, np.int64(1), np.bool_(True), np.float32(1), "1", "1.0", "true", "Yes", " on "])
def test_spellings_of_on(entry: Any):
    assert binary("b").parse(entry) == 1.0


@pytest.mark.parametrize(
    "entry", [0, False, 0.0, np.int64(0), np.bool_(False), np.float32(0), "0", "0.0", "false", "No", "off"]
)
def test_spellings_of_off(entry: Any):
    assert binary("b").parse(entry) == 0.0


@pytest.mark.parametrize("entry", [3, 3.0, np.int32(3), np.float32(3), "3"])
def test_numbers_name_classes(entry: Any):
    assert categorical("digit", ["1", "3"]).parse(entry) == 1.0


@pytest.mark.parametrize(
    ("name", "entry"), [("on", "2"), ("on", 0.5), ("on", -1), ("colour", "rad"), ("colour", 7), ("age", "old"), ("age", "inf")]
)
def test_a_wrong_value_names_its_row_and_label(name: str, entry: Any):
    columns: dict[str, list[Any]] = {"on": [1, 1, 1], "colour": ["red"] * 3, "age": [1, 2, 3]}
    columns[name][1] = entry
    with pytest.raises(UserError, match=rf"row 2.*'{name}'.*{entry}") as caught:
        MIXED.encode(columns)
    assert "\n" not in str(caught.value)


def test_a_wrong_class_suggests_the_nearest():
    with pytest.raises(UserError, match="did you mean 'red'"):
        MIXED["colour"].parse("rad")


@pytest.mark.parametrize("number", [1e39, -1e39, 1e300])
def test_a_number_too_large_for_float32_never_becomes_an_infinite_label(number: float):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(UserError):
            values, _ = Schema([continuous("c")]).encode({"c": [number]})
            assert np.isfinite(values).all()


def test_unknown_absent_and_ragged_columns_are_refused():
    with pytest.raises(UserError, match="did you mean 'colour'"):
        MIXED.encode({"on": [1], "color": ["red"], "age": [1]})
    with pytest.raises(UserError, match="'age'"):
        MIXED.encode({"on": [1], "colour": ["red"]})
    with pytest.raises(UserError, match="rows"):
        MIXED.encode({"on": [1], "colour": ["red", "red"], "age": [1]})


def test_a_schema_without_labels_encodes_to_no_columns():
    values, observed = Schema().encode({})
    assert values.shape[1] == observed.shape[1] == 0


# -- features ----------------------------------------------------------------------------------------------------------


def test_features_are_binary_one_hot_and_standardised():
    features = MIXED.features(torch.tensor([[1.0, 2.0, 55.0], [0.0, 0.0, 40.0]]))
    assert features.tolist() == [[1, 0, 0, 1, 1.5], [0, 1, 0, 0, 0]]


def test_missing_features_come_from_the_prior():
    values, observed = MIXED.encode({"on": [1, 1, 0, None], "colour": ["red", "red", "blue", None], "age": [40, 50, None, 60]})
    table = frequencies(MIXED, values, observed)
    prior = MIXED.prior_features(table)
    assert prior.shape == (MIXED.width,)
    features = MIXED.features(torch.from_numpy(values), torch.from_numpy(observed), prior)
    torch.testing.assert_close(features[3], torch.tensor([table[0][1], *table[1], 2.0]))
    torch.testing.assert_close(features[2], torch.tensor([0, 0, 0, 1, 0.0]))
    with pytest.raises(UserError, match="missing"):
        MIXED.features(torch.from_numpy(values), torch.from_numpy(observed))


def test_the_prior_is_not_used_where_nothing_is_missing():
    values, prior = torch.tensor([[1.0, 0.0, 40.0]]), torch.full((5,), math.nan)
    torch.testing.assert_close(MIXED.features(values, torch.ones(1, 3, dtype=torch.bool), prior), MIXED.features(values))


def test_spread_repeats_a_label_over_its_features():
    assert MIXED.repeat_over_features(torch.tensor([[1, 2, 3]])).tolist() == [[1, 2, 2, 2, 3]]


@given(schemas(TRIMMED, least=1), st.integers(0, 5))
def test_features_have_the_promised_width(schema: Schema, n: int):
    features = schema.features(torch.zeros(n, len(schema)))
    assert features.shape == (n, schema.width)
    assert sum(schema.feature_widths) == schema.width


# -- frequencies and assignments ---------------------------------------------------------------------------------------


def test_frequencies_add_one_half_and_ignore_missing_entries():
    values, observed = MIXED.encode({"on": [1, 1, 0, None], "colour": ["red", None, None, "red"], "age": [1, 2, 3, 4]})
    on, colour, age = frequencies(MIXED, values, observed)
    assert on == pytest.approx([1.5 / 4, 2.5 / 4])
    assert colour == pytest.approx([2.5 / 3.5, 0.5 / 3.5, 0.5 / 3.5])
    assert age == []


def test_frequencies_of_a_label_that_is_never_observed_are_uniform():
    zeros = np.zeros((3, 3), np.float32)
    assert frequencies(MIXED, zeros, zeros > 0)[1] == pytest.approx([1 / 3] * 3)


def test_assignments_are_read_by_kind():
    assert parse_assignments(MIXED, ["on=yes", " colour = blue", "age=3.5"]) == {"on": 1, "colour": 2, "age": 3.5}
    assert parse_assignments(MIXED, []) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("on", "LABEL=VALUE"),
        ("colr=red", "did you mean 'colour'"),
        ("colour=gren", "did you mean 'green'"),
        ("on=maybe", "0 or 1"),
        ("age=", "nothing"),
        ("age=nan", "nothing"),
        ("age=ten", "number"),
        ("=1", "label"),
    ],
)
def test_wrong_assignments_are_refused(text: str, message: str):
    with pytest.raises(UserError, match=message):
        parse_assignments(MIXED, [text])
