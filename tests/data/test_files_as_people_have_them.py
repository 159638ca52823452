"""Tables as people have them: what looks like something else is read as what it is, and the reading says how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import labelspace as ls
from labelspace.data.cells import Column, look
from labelspace.data.columns import Columns
from labelspace.data.reading import Reading
from labelspace.errors import UserError

RNG = np.random.default_rng(0)


def table(home: Path, columns: dict[str, Any], separator: str = ",", encoding: str = "utf-8", end: str = "\n") -> str:
    """A CSV file as its address; cells are written as they are."""
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    text = "".join(separator.join(f'"{cell}"' if separator in str(cell) else str(cell) for cell in row) + end for row in rows)
    (home / "t.csv").write_bytes(text.encode(encoding))
    return f"table:{home / 't.csv'}"


def reading(data: ls.Dataset) -> Reading:
    assert data.reading is not None
    return data.reading


N = 120
Y = ["u", "v"] * (N // 2)
NUMBERS = RNG.normal(size=N).round(3).tolist()

MARKS = [
    "#N/A",
    "#DIV/0!",
    "#REF!",
    "#VALUE!",
    "#NUM!",
    "#NAME?",
    "#NULL!",
    "<NA>",
    "NaN",
    "nan",
    "-nan",
    "1.#QNAN",
    "1.#IND",
    "-",
    "--",
    ".",
    "..",
    "?",
    "NA",
    "n/a",
    "N/A",
    "none",
    "None",
    "null",
]
MARKS += ["NULL", "n.d.", "nd", "inf", "-inf", "Infinity", "\\N", "unknown", "missing", "—"]


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_among_numbers_is_a_missing_cell_whatever_its_count(tmp_path: Path, mark: str) -> None:
    for every in (40, 2):  # few, and most
        cells = [mark if i % every else number for i, number in enumerate(NUMBERS)] if every == 2 else NUMBERS[:]
        if every == 40:
            cells[::40] = [mark] * 3
        data = ls.open(table(tmp_path, {"a": cells, "b": NUMBERS, "y": Y}), ["y"])
        assert data.variables[0].kind == "continuous"
        gone = cells.count(mark)
        assert int(np.isnan(data.x[:, 0]).sum()) == gone
        assert reading(data)["a"].missing == {mark: gone}
        assert any(repr(mark)[1:-1] in note for note in data.notes)


@pytest.mark.parametrize("word", ["none", "None", "NA", "N/A", "null", "unknown", "n.d.", "missing"])
def test_a_word_among_words_is_a_class_and_the_reading_says_so(tmp_path: Path, word: str) -> None:
    words = [("light", "heavy", word)[i % 3] for i in range(N)]
    address = table(tmp_path, {"a": NUMBERS, "s": words, "y": words})
    data = ls.open(address, ["y"])
    assert data.schema["y"].classes == tuple(sorted({"light", "heavy", word}))
    assert bool(data.observed.all())
    assert data.variables[1].classes == tuple(sorted({"light", "heavy", word}))
    assert any(f"missing=y:{word}" in doubt for doubt in reading(data)["y"].doubts)
    if "/" in word:
        return  # cannot be written into an address
    fewer = ls.open(f"{address},missing=y:{word}", ["y"])
    assert fewer.schema["y"].values == ("heavy", "light")
    assert reading(fewer)["y"].missing == {word: N // 3}


def test_a_word_that_is_missing_among_numbers_is_so_among_words(tmp_path: Path) -> None:
    words = [("male", "female", "NA")[i % 3] for i in range(N)]
    numbers = [number if i % 5 else "NA" for i, number in enumerate(NUMBERS)]
    data = ls.open(table(tmp_path, {"a": numbers, "sex": words, "y": Y}), ["y"])
    assert data.variables[1].classes == ("female", "male")
    assert reading(data)["sex"].missing == {"NA": N // 3}


@pytest.mark.parametrize(
    ("entries", "kind", "values"),
    [
        (["N", "F", "T"], "categorical", ("F", "N", "T")),
        (["yes", "no"], "binary", ("no", "yes")),
        (["Yes", "No", "NA"], "binary", ("No", "Yes")),
        (["TRUE", "FALSE", ""], "binary", ("FALSE", "TRUE")),
        (["0", "1", "1.0"], "binary", ("0", "1")),
        (["yes", "no", "y"], "categorical", ("no", "y", "yes")),
        (["t", "n"], "categorical", ("n", "t")),
        (["1.1", "1.10", "1.2"], "categorical", ("1.1", "1.10", "1.2")),
        (["01", "1", "10"], "categorical", ("01", "1", "10")),
        (["-1", "0", "1"], "categorical", ("-1", "0", "1")),
        ([str(2**60 + i) for i in range(3)], "categorical", tuple(str(2**60 + i) for i in range(3))),
        (["+", "-"], "categorical", ("+", "-")),
        (["a", "b", "?"], "categorical", ("a", "b")),
        (["2024-01-01", "2024-02-01"], "refused", ()),
    ],
)
def test_what_the_file_keeps_apart_stays_apart(tmp_path: Path, entries: list[str], kind: str, values: tuple[str, ...]) -> None:
    cells = [entries[i % len(entries)] for i in range(N)]
    address = table(tmp_path, {"a": NUMBERS, "y": cells})
    if kind == "refused":
        with pytest.raises(UserError, match="dates or times"):
            ls.open(address, ["y"])
        return
    data = ls.open(address, ["y"])
    assert (data.schema["y"].kind, data.schema["y"].values) == (kind, values)
    decoded = data.schema.decode(data.values, data.observed)["y"]
    for cell, back in zip(cells, decoded, strict=True):
        assert back is None or str(back) == cell or float(back) == float(cell)


@pytest.mark.parametrize("entries", [["007", "7", "08"], ["1.1", "1.10", "1.2"]])
def test_what_is_kept_apart_is_numbers_where_the_user_says_so(tmp_path: Path, entries: list[str]) -> None:
    cells = [entries[i % 3] for i in range(N)]
    data = ls.open(f"{table(tmp_path, {'a': cells, 'y': cells})},kinds=a:continuous+y:continuous", ["y"])
    expected = np.array([float(cell) for cell in cells], np.float32)
    np.testing.assert_array_equal(data.x[:, 0], expected)
    np.testing.assert_array_equal(data.values[:, 0], expected)


def test_minus_one_is_a_value_with_a_doubt(tmp_path: Path) -> None:
    address = table(tmp_path, {"a": NUMBERS, "y": [(-1, 0, 1)[i % 3] for i in range(N)]})
    assert any("missing=y:-1" in doubt for doubt in reading(ls.open(address, ["y"]))["y"].doubts)
    assert ls.open(f"{address},missing=-1", ["y"]).schema["y"].kind == "binary"


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["3,5", "-1,25", "0,5"], [3.5, -1.25, 0.5]),
        (["1.234,5", "7,0", "1.234.567,25"], [1234.5, 7, 1234567.25]),
        (["1,234.5", "7.25", "1,234,567.0"], [1234.5, 7.25, 1234567]),
        (["1 234,5", "12,25", "0,125"], [1234.5, 12.25, 0.125]),
        (["1'234.5", "12.25", "0.5"], [1234.5, 12.25, 0.5]),
        (["$1,234.50", "$3.20", "$0.99"], [1234.5, 3.2, 0.99]),
        (["1.250,50 €", "3,20 €", "7,00 €"], [1250.5, 3.2, 7]),
        (["12 %", "3.5 %", "100 %"], [12, 3.5, 100]),
        (["-$5.00", "$2.50", "$1.25"], [-5, 2.5, 1.25]),
        (["\u22123.5", "2.5", "1.25"], [-3.5, 2.5, 1.25]),
        (["1e-3", "2.5E+2", "+4"], [0.001, 250, 4]),
    ],
)
def test_numbers_as_people_write_them(tmp_path: Path, cells: list[str], values: list[float]) -> None:
    column = [cells[i % 3] for i in range(N)]
    for separator in (";", ","):
        data = ls.open(table(tmp_path, {"a": column, "y": Y}, separator), ["y"])
        np.testing.assert_allclose(data.x[:3, 0], values, rtol=1e-6)
    if not all(
        cell.lstrip("+").replace("e", "").replace("E+", "").replace("-", "").replace(".", "").isdigit() for cell in cells
    ):
        assert reading(data)["a"].doubts


def test_whether_a_comma_is_decimal_is_decided_by_the_file(tmp_path: Path) -> None:
    open_ones = ["1,234", "5,678", "9,012"]
    cells = [open_ones[i % 3] for i in range(N)]
    said = {"": ({"a": cells, "y": Y}, ",", 1234.0), "semicolons": ({"a": cells, "y": Y}, ";", 1.234)}
    said["others"] = ({"a": cells, "b": [f"{i},5" for i in range(N)], "y": Y}, ",", 1.234)
    said["points"] = ({"a": cells, "b": [f"{i}.25" for i in range(N)], "y": Y}, ";", 1.234)
    for columns, separator, first in said.values():
        address = table(tmp_path, columns, separator)
        data = ls.open(address, ["y"])
        assert data.x[0, 0] == pytest.approx(first)
        assert any("decimal=" in doubt for doubt in reading(data)["a"].doubts)
    frame = pd.DataFrame({"a": cells, "y": Y})
    assert ls.Dataset.from_frame(frame, ["y"], decimal=",").x[0, 0] == pytest.approx(1.234)
    assert ls.Dataset.from_frame(frame, ["y"], decimal=".").x[0, 0] == 1234


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "latin-1"])
def test_encodings_are_found_and_noted(tmp_path: Path, encoding: str) -> None:
    words = [("grün", "weiß", "Ärger")[i % 3] for i in range(N)]
    data = ls.open(table(tmp_path, {"größe": NUMBERS, "y": words}, encoding=encoding, end="\r\n"), ["y"])
    assert data.schema["y"].classes == tuple(sorted({"grün", "weiß", "Ärger"}))
    assert data.variables[0].name == "größe"
    assert bool(reading(data).notes) == (not encoding.startswith("utf-8"))


@pytest.mark.parametrize(
    ("text", "names", "note"),
    [
        ("a,y,\n" + "1.5,u,\n2.5,v,\n" * 30, None, "ends with a separator"),
        ("a,y\n" + "1.5,u,\n2.5,v,\n" * 30, None, "ends with a separator"),
        ("a y\n".replace(" ", "\t") + "".join(f"r{i}\t{i}.5\t{'uv'[i % 2]}\n" for i in range(60)), "r3", "rows' names"),
        ("sep=;\na;y\n" + "1,5;u\n2,5;v\n" * 30, None, ""),
        ("a,y\n" + "1.5,u\n,\n2.5,v\n" * 30, None, "without any entry"),
    ],
)
def test_shapes_of_files_are_found_and_noted(tmp_path: Path, text: str, names: str | None, note: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    data = ls.open(f"table:{tmp_path / 't.csv'}", ["y"])
    assert len(data) == 60
    assert data.schema["y"].values == ("u", "v")
    assert note == "" or any(note in one for one in data.notes)
    assert (data.ids is None) if names is None else (data.ids is not None and data.ids[3] == names)


def test_what_names_or_counts_rows_is_no_sample(tmp_path: Path) -> None:
    columns = {
        "Unnamed: 0": range(N),
        "id": [f"p{i * 7 % N}" for i in range(N)],
        "hash": [f"{i * 7919:x}-{i}" for i in range(N)],
        "when": [f"2024-03-{i % 28 + 1:02}" for i in range(N)],
        "same": ["x"] * N,
        "steps": range(5, N + 5),
        "a": NUMBERS,
        "copy": [{"u": "one", "v": "two"}[y] for y in Y],
        "y": Y,
    }
    data = ls.open(table(tmp_path, columns), ["y"])
    assert [variable.name for variable in data.variables] == ["steps", "a", "copy"]
    assert data.ids is not None
    assert data.ids[1] == "p7"
    how = {column.name: (column.use, column.kind) for column in reading(data).columns}
    assert how["Unnamed: 0"] == ("left out", "row numbers")
    assert how["hash"] == ("left out", "names")
    assert how["when"] == ("left out", "dates")
    assert how["same"] == ("left out", "constant")
    assert how["id"] == ("id", "names")
    for name in ("Unnamed: 0", "hash", "when", "steps", "copy"):
        assert any(f"drop={name}" in doubt for doubt in reading(data)[name].doubts), name
    kept = ls.open(f"{table(tmp_path, columns)},kinds=Unnamed: 0:continuous", ["y"])
    assert kept.variables[0].name == "Unnamed: 0"


def test_classes_and_their_order_can_be_said(tmp_path: Path) -> None:
    stages = [("low", "middle", "high")[i % 3] for i in range(N)]
    address = table(tmp_path, {"a": NUMBERS, "s": stages, "y": stages})
    data = ls.open(f"{address},classes=y:low|middle|high+s:low|middle|high", ["y"])
    assert data.schema["y"].classes == data.variables[1].classes == ("low", "middle", "high")
    with pytest.raises(UserError, match=r"line 3, column 'y'.*'middle'"):
        ls.open(f"{address},classes=y:low|high", ["y"])


def test_more_than_fifty_classes_where_they_are_asked_for_or_the_source_says_so(tmp_path: Path) -> None:
    words = [f"type {i % 60}" for i in range(N)]
    address = table(tmp_path, {"a": NUMBERS, "y": words})
    with pytest.raises(UserError, match=r"60 different texts.*kinds=y:categorical"):
        ls.open(address, ["y"])
    assert len(ls.open(f"{address},kinds=y:categorical", ["y"]).schema["y"].classes) == 60
    frame = pd.DataFrame({"a": NUMBERS, "y": pd.Categorical(words), "c": pd.Categorical(words)})
    data = ls.Dataset.from_frame(frame, ["y"])
    assert len(data.schema["y"].classes) == len(data.variables[1].classes) == 60
    frame.to_parquet(tmp_path / "t.parquet")
    assert len(ls.open(f"table:{tmp_path / 't.parquet'}", ["y"]).schema["y"].classes) == 60
    codes = ls.open(table(tmp_path, {"a": NUMBERS, "y": [i % 60 for i in range(N)]}), ["y"])
    assert any("kinds=y:categorical" in doubt for doubt in reading(codes)["y"].doubts)


def test_numbers_far_from_zero_keep_their_differences(tmp_path: Path) -> None:
    day = np.arange(N) / N
    unix, julian = 1764300000 + 600 * day, 2461000.5 + day
    columns = {"a": NUMBERS, "unix": unix.round(1), "julian": julian.round(5), "y": unix.round(1)}
    data = ls.open(table(tmp_path, columns), ["y"])
    assert [len(np.unique(data.x[:, i])) for i in (1, 2)] == [N, N]
    assert len(np.unique(data.values)) == N
    assert data[7].labels["y"] == pytest.approx(unix[7].round(1), abs=1e-4)
    assert data.schema["y"].format(data.schema["y"].parse(str(unix[7]))) == pytest.approx(unix[7], abs=1e-6)
    arrays = ls.Dataset.from_arrays(np.stack([NUMBERS, unix], 1), {"y": Y})
    assert len(np.unique(arrays.x[:, 1])) == N
    arrays.save(tmp_path / "d.npz")
    again = ls.open(f"npz:{tmp_path / 'd.npz'}")
    assert again.variables == arrays.variables
    np.testing.assert_array_equal(again.x, arrays.x)
    np.savez(tmp_path / "x.npz", x=np.stack([NUMBERS, unix], 1), y=np.array(Y))
    assert len(np.unique(ls.open(f"npz:{tmp_path / 'x.npz'}").x[:, 1])) == N
    model = ls.fit(ls.build("condvae", data), data, epochs=1).model
    edited = pd.DataFrame(ls.interventions.set(model, data[:4], {"y": unix[50]}).to_frame())
    assert all(abs(entry - unix.mean()) < 1e4 for entry in edited["unix"])


def test_rows_of_any_width_and_rare_classes_are_in_every_split(tmp_path: Path) -> None:
    kinds = ["rare" if i < 4 else "pq"[i % 2] for i in range(400)]
    flags = [int(i in (7, 90, 200)) for i in range(400)]
    once = ["one" if i == 33 else "other" for i in range(400)]
    numbers = RNG.normal(size=400).round(3)
    for seed in range(5):
        data = ls.open(table(tmp_path, {"a": numbers, "k": kinds, "f": flags, "o": once}), ["k", "f", "o"], seed=seed)
        sizes = {split: len(rows) for split, rows in data.splits.items()}
        assert sizes == {"train": 320, "val": 40, "test": 40}
        for rows in data.splits.values():
            assert set(np.unique(data.values[rows, 0])) == {0, 1, 2}
            assert set(np.unique(data.values[rows, 1])) == {0, 1}
        assert (data.values[data.rows("train"), 2] == 0).any()


def test_a_written_table_means_the_same_when_it_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from labelspace.cli import main

    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(
        {
            "id": [f"p{i}" for i in range(N)],
            "a": NUMBERS,
            "visits": RNG.integers(0, 9, N),
            "ward": ["east", "west", "NA"] * (N // 3),
        }
    )
    frame["smoker"] = ["yes", "no"] * (N // 2)
    frame.to_csv("t.csv", index=False)
    data = ls.open("table:t.csv", ["smoker"])
    ls.fit(ls.build("condvae", data), data, epochs=1, out="run")
    assert main(["edit", "run", "--data", "table:t.csv", "--set", "smoker=yes", "--out", "e.csv"]) == 0
    written = pd.read_csv("e.csv", keep_default_na=False)
    assert set(written["smoker"]) == {"yes"}
    assert written["id"].tolist() == frame["id"].tolist()
    assert set(written["ward"]) <= {"east", "west", "NA"}
    assert main(["predict", "run", "table:e.csv", "--out", "p.csv"]) == 0
    assert set(pd.read_csv("p.csv", keep_default_na=False)["smoker"]) <= {"no", "yes"}
    assert json.loads((tmp_path / "run/reading.json").read_text())["columns"][0]["name"] == "id"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(st.floats(-1e6, 1e6).map(lambda v: f"{v:.3f}"), st.sampled_from(MARKS), st.just("")), min_size=3, max_size=40
    )
)
def test_numbers_with_any_marks_are_those_numbers(cells: list[str]) -> None:
    found = look(Column.of("a", cells))
    numbers = [cell for cell in cells if cell and cell not in MARKS]
    if not numbers:
        assert found.kind == "nothing"
        return
    assert found.kind == "numbers"
    assert found.numbers is not None
    np.testing.assert_allclose(found.numbers[~np.isnan(found.numbers)], [float(cell) for cell in numbers])
    assert sum(found.missing.values()) + len(numbers) == len(cells)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=4),
        min_size=2,
        max_size=30,
    )
)
def test_texts_come_back_as_they_were_or_are_missing_and_counted(cells: list[str]) -> None:
    columns = Columns({"a": Column.of("a", cells)})
    found = columns["a"]
    codes, words = found.coded
    if found.numbers is not None:
        return
    for cell, code in zip(cells, codes, strict=True):
        assert words[code] == cell if code >= 0 else cell in found.missing


def test_a_mark_with_a_slash_and_a_directory_that_looks_like_an_option(tmp_path: Path) -> None:
    home = tmp_path / "of,kind=b"
    home.mkdir()
    pd.DataFrame({"x": ["w/o", *map(str, range(30))], "y": ["a", "b", "a"] * 10 + ["b"]}).to_csv(home / "t.csv", index=False)
    data = ls.open(f"table:{home}/t.csv,missing=w/o", ["y"])
    assert np.isnan(data.x[0, 0])
    assert data.x[1, 0] == 0
