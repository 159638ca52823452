"""Tables: files read, kinds inferred, wrong cells named, and new files read as a trained model knows them."""

from __future__ import annotations

import csv
import io
import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import labelspace
from labelspace.cli import main
from labelspace.errors import UserError
from labelspace.variables import Description, Variable

ROWS = 24
COLUMNS: dict[str, list[Any]] = {
    "kind": [("oak", "elm", "fir")[i % 3] for i in range(ROWS)],
    "height": [1.5 + i % 7 for i in range(ROWS)],
    "rings": [i % 5 for i in range(ROWS)],
    "leaf": [("broad", "narrow")[i % 2] for i in range(ROWS)],
    "ill": [int(i % 4 == 0) for i in range(ROWS)],
    "wood": [f"w{i // 4}" for i in range(ROWS)],
}
COUNTS = "kinds=rings:count"


def written(path: Path, columns: dict[str, list[Any]] | None = None, separator: str = ",", end: str = "\n") -> Path:
    columns = COLUMNS if columns is None else columns
    text = io.StringIO()
    out = csv.writer(text, delimiter=separator, lineterminator=end)
    out.writerow(columns)
    out.writerows(zip(*columns.values(), strict=True))
    path.write_bytes(text.getvalue().encode())
    return path


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    return written(tmp_path / "trees.csv")


def refused(address: str, *parts: str, labels: list[str] | None = None, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        labelspace.open(address, labels, **options)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


def test_columns_are_labels_a_key_names_and_samples(trees: Path):
    data = labelspace.open(f"table:{trees},{COUNTS}", ["kind", "height"], group="wood")
    assert [(label.name, label.kind) for label in data.schema] == [("kind", "categorical"), ("height", "continuous")]
    assert data.variables == (
        Variable("rings", "count"),
        Variable("leaf", "categorical", ("broad", "narrow")),
        Variable("ill", "categorical", ("0", "1")),
    )
    assert data.likelihood == "table(count,categorical:2,categorical:2)"
    expected = np.stack([COLUMNS["rings"], [i % 2 for i in range(ROWS)], COLUMNS["ill"]], 1)
    np.testing.assert_array_equal(data.x, expected)
    assert data.keys["wood"].tolist() == COLUMNS["wood"]
    homes = [{COLUMNS["wood"][i] for i in rows} for rows in data.splits.values()]
    assert sum(map(len, homes)) == len(set(COLUMNS["wood"]))
    assert data.ids is None


@pytest.mark.parametrize("separator", list(",;\t|"))
@pytest.mark.parametrize(("mark", "end"), [(b"", "\n"), (b"\xef\xbb\xbf", "\r\n")])
def test_separators_byte_order_marks_and_line_ends_make_no_difference(
    trees: Path, tmp_path: Path, separator: str, mark: bytes, end: str
):
    other = written(tmp_path / "other.tsv", separator=separator, end=end)
    other.write_bytes(mark + other.read_bytes())
    here, there = (labelspace.open(f"table:{file}", ["kind"]) for file in (trees, other))
    assert here.variables == there.variables
    np.testing.assert_array_equal(here.x, there.x)


def test_quoted_cells_may_hold_separators_quotes_and_line_ends(tmp_path: Path):
    names = ['a, "b"', "c\nd", "plain; x", "e|f"]
    columns = {"y": ["u", "v"] * 8, "a\nname, with comma": [names[i % 4] for i in range(16)], "n": list(range(16))}
    data = labelspace.open(f"table:{written(tmp_path / 'q.csv', columns)}", ["y"])
    assert data.variables[0] == Variable("a name, with comma", "categorical", tuple(sorted(names)))


def test_missing_cells_are_nan_and_missing_labels_are_masked(tmp_path: Path):
    columns = {name: list(entries) for name, entries in COLUMNS.items()}
    for row, (name, entry) in enumerate([("kind", ""), ("height", "NA"), ("rings", "?"), ("leaf", ""), ("ill", "nan")]):
        columns[name][row] = entry
    data = labelspace.open(f"table:{written(tmp_path / 'm.csv', columns)},drop=wood,{COUNTS}", ["kind"])
    assert data.observed[:, 0].tolist() == [False] + [True] * (ROWS - 1)
    assert [tuple(cell) for cell in np.argwhere(np.isnan(data.x))] == [(1, 0), (2, 1), (3, 2), (4, 3)]
    about = data.describe()
    assert [row["missing"] for row in about["variables"]] == [1, 1, 1, 1]
    assert about["variables"][0]["range"] == [1.5, 7.5]
    assert about["variables"][2]["counts"] == {"broad": 12, "narrow": 11}


def test_without_labels_all_columns_are_listed_with_their_kinds(trees: Path):
    message = refused(f"table:{trees}", "labels=", "height (continuous)", "leaf (categorical, 2 classes)", str(trees))
    assert "rings (continuous)" in message
    assert refused(f"table:{trees},{COUNTS}").count("rings (count)") == 1


def test_kinds_of_labels_and_columns_are_what_the_user_says(trees: Path):
    data = labelspace.open(f"table:{trees},kinds=ill:categorical+rings:categorical+height:continuous", ["ill", "height"])
    assert [label.kind for label in data.schema] == ["categorical", "continuous"]
    assert data.variables[1] == Variable("rings", "categorical", ("0", "1", "2", "3", "4"))
    refused(f"table:{trees},kinds=height:count", "trees.csv, line 2, column 'height'", "1.5", labels=["kind"])
    refused(f"table:{trees},kinds=leaf:continuous", "line 2, column 'leaf'", "'broad'", labels=["kind"])
    refused(f"table:{trees},kinds=leaf:number", "leaf", "continuous", labels=["kind"])
    refused(f"table:{trees},kinds=leaf:number", "leaf", "continuous", labels=["leaf"])
    refused(f"table:{trees},kinds=leaf", "kinds='leaf'", "COLUMN:KIND", labels=["kind"])
    refused(f"table:{trees},kinds=lef:count", "did you mean 'leaf'", labels=["kind"])
    refused(f"table:{trees},kinds=kind:binary", "line 2", "'oak'", labels=["kind"])
    refused(f"table:{trees},kinds=kind:continuous", "line 2", "'oak'", labels=["kind"])


def test_rows_are_named_by_a_column_or_by_a_first_one_without_a_name(tmp_path: Path):
    named = {"": [f"t{i}" for i in range(ROWS)], **COLUMNS}
    data = labelspace.open(f"table:{written(tmp_path / 'a.csv', named)}", ["kind"])
    assert data.ids is not None
    assert data.ids.tolist() == named[""]
    assert any("names" in note for note in data.notes)
    named = {"name": named[""], **COLUMNS}
    data = labelspace.open(f"table:{written(tmp_path / 'b.csv', named)},id=name", ["kind"])
    assert data.ids is not None
    assert data.ids.tolist() == named["name"]
    named["name"][5] = "t2"
    refused(f"table:{written(tmp_path / 'c.csv', named)},id=name", "line 7, column 'name'", "'t2'", "line 4", labels=["kind"])
    named["name"][5] = ""
    refused(f"table:{written(tmp_path / 'c.csv', named)},id=name", "line 7", "no name", labels=["kind"])
    refused(f"table:{tmp_path / 'c.csv'},id=nam", "did you mean 'name'", labels=["kind"])
    refused(f"table:{tmp_path / 'c.csv'},id=kind", "'kind'", "id", labels=["kind"])


def test_columns_that_say_nothing_are_left_out_with_a_note(tmp_path: Path):
    columns = {**COLUMNS, "same": ["x"] * ROWS, "void": [""] * ROWS, "one": ["1", "1.0"] * (ROWS // 2)}
    data = labelspace.open(f"table:{written(tmp_path / 'c.csv', columns)}", ["kind"])
    assert not {"same", "void", "one"} & {variable.name for variable in data.variables}
    assert any("same, void, one" in note for note in data.notes)


@pytest.mark.parametrize(
    ("column", "parts"),
    [
        (["1e39", *range(ROWS - 1)], ("line 2, column 'new'", "1e+39")),
        ([f"{10**15 + i / 10:.1f}" for i in range(ROWS)], ("'new'", "double precision")),
        (
            [["low", 1.5, 2.5, 3.5][i % 4 if i > 1 else 0] for i in range(ROWS)],
            ("line 2, column 'new'", "'low'", "missing=new:low"),
        ),
    ],
)
def test_columns_that_cannot_be_used_are_refused_by_name(tmp_path: Path, column: list[Any], parts: tuple[str, ...]):
    file = written(tmp_path / "d.csv", {**COLUMNS, "new": column})
    refused(f"table:{file}", str(file), *parts, labels=["kind"])
    data = labelspace.open(f"table:{file},drop=new+rings", ["kind"])
    assert [variable.name for variable in data.variables] == ["height", "leaf", "ill", "wood"]


def test_free_text_and_single_wrong_numbers_are_told_apart(tmp_path: Path):
    n = 80
    columns = {"y": [i % 2 for i in range(n)], "a": [i / 3 for i in range(n)], "new": [f"said {i or 1}" for i in range(n)]}
    refused(f"table:{written(tmp_path / 't.csv', columns)}", "'new'", "79 different texts", "drop=new", labels=["y"])
    columns["new"] = ["12.O" if i == 41 else i / 7 for i in range(n)]
    refused(f"table:{written(tmp_path / 't.csv', columns)}", "line 43, column 'new'", "'12.O'", labels=["y"])


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path):
    texts = [f"said {i or 1}" for i in range(60)]
    columns = {"y": [0, 1] * 30, "a": texts, "b": ["x", *map(str, range(59))], "c": [{}] * 60, "d": [1.5, 2.5] * 30}
    message = refused(f"table:{written(tmp_path / 'd.csv', columns)}", "2 problems: (1)", "'a'", "(2)", "'b'", labels=["y"])
    assert message.count("drop=a") == 1


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (b"", ("names the columns",)),
        (b"\n\n", ("names the columns",)),
        (b"y,a\n", ("names the columns",)),
        (b"y,a\n1,2\n1\n", ("line 3", "1 cells", "expected 2")),
        (b"y,a\n1,2\n\n1,2,3\n", ("line 4", "3 cells", "expected 2")),
        (b"y,a,a\n1,2,3\n", ("line 1", "'a'", "same name")),
        (b"y,,a\n1,2,3\n", ("line 1", "column 2 of 3")),
        (b"y,a\n1,\x00\x00\x01\n", ("bytes of 0",)),
        (b'y,a\n1,"2\n1,3\n', ("line 3", "unexpected end")),
        (b'y,a\n1,"2"x\n1,3\n', ("line 2", "expected after")),
        (b"y\n1\n0\n", ("no column is left",)),
    ],
)
def test_wrong_files_are_refused_naming_the_line(tmp_path: Path, text: bytes, parts: tuple[str, ...]):
    (tmp_path / "w.csv").write_bytes(text)
    refused(f"table:{tmp_path / 'w.csv'}", "w.csv", *parts, labels=["y"])


def test_rows_without_any_entry_are_left_out(tmp_path: Path):
    file = written(tmp_path / "e.csv")
    file.write_bytes(file.read_bytes() + b",,,,,\n,,,,,\n\n")
    data = labelspace.open(f"table:{file}", ["kind"])
    assert len(data) == ROWS
    assert any(note.startswith("2 rows") for note in data.notes)


def test_unknown_columns_and_paths_are_refused(trees: Path, tmp_path: Path):
    refused(f"table:{trees}", "did you mean 'kind'", labels=["kindd"])
    refused(f"table:{trees}", "did you mean 'wood'", labels=["kind"], group="wod")
    refused(f"table:{trees},drop=leav", "did you mean 'leaf'", labels=["kind"])
    refused(f"table:{trees},drop=kind", "'kind'", "drop", labels=["kind"])
    refused(f"table:{tmp_path / 'none.csv'}", "no such file", labels=["kind"])
    refused(f"table:{tmp_path}", "no file but a directory", labels=["kind"])


def test_parquet_is_read_as_csv_is(trees: Path, tmp_path: Path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {**COLUMNS, "ill": [bool(i) for i in COLUMNS["ill"]], "pair": [[i / 3, i % 3] for i in range(ROWS)]}
    columns["height"] = [None if i == 2 else entry for i, entry in enumerate(COLUMNS["height"])]
    table = arrow.table(columns)
    table = table.set_column(3, "leaf", table.column("leaf").dictionary_encode())
    parquet.write_table(table, tmp_path / "t.parquet")
    data = labelspace.open(f"table:{tmp_path / 't.parquet'},{COUNTS}", ["kind"])
    there = labelspace.open(f"table:{trees},{COUNTS}", ["kind"])
    names = [variable.name for variable in data.variables]
    assert names == ["height", "rings", "leaf", "ill", "wood", "pair.0", "pair.1"]
    assert data.variables[3].classes == ("False", "True")
    assert np.isnan(data.x[2, 0])
    np.testing.assert_array_equal(np.delete(data.x[:, :5], 2, 0), np.delete(there.x, 2, 0))

    import datetime

    days = [datetime.date(2024, 1, d) for d in (1, 2, 3)] * 10
    odd = {"y": [0, 1, 0] * 10, "when": days, "map": [{"a": 1}] * 30, "n": [1.5, 2.5, None] * 10}
    parquet.write_table(arrow.table(odd), tmp_path / "odd.parquet")
    refused(f"table:{tmp_path / 'odd.parquet'}", "'map'", "struct", "drop=map", labels=["y"])
    reading = labelspace.open(f"table:{tmp_path / 'odd.parquet'},drop=map", ["y"]).reading
    assert reading is not None
    assert reading["when"].kind == "dates"
    assert "map (cannot be used: holds struct" in refused(f"table:{tmp_path / 'odd.parquet'}")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    refused(f"table:{tmp_path / 'bad.parquet'}", "bad.parquet", "Parquet", labels=["y"])


CELL = st.one_of(
    st.sampled_from(
        ["", "NA", "1", "0", "yes", "no", "2.5", "-3", "1e400", "inf", "1_0", "3,5", "2024-01-01", '"', "\x00", "\r"]
    ),
    st.text(max_size=6),
    st.floats().map(str),
)


@given(
    rows=st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=14),
    header=st.one_of(st.just(["y", "a", "b"]), st.lists(st.text(max_size=4), min_size=1, max_size=4)),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    separator=st.sampled_from(list(",;\t|")),
    kinds=st.sampled_from(["", ",kinds=a:categorical+y:continuous", ",kinds=b:count", ",kinds=a:continuous,id=b"]),
)
def test_any_text_is_a_table_or_refused_in_one_line(tmp_path_factory, rows, header, quoting, separator, kinds):
    text = io.StringIO()
    csv.writer(text, delimiter=separator, quoting=quoting).writerows([header, *rows])
    file = tmp_path_factory.getbasetemp() / "fuzz.csv"
    file.write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
    for labels, training in itertools.product((["y"], None), (True, False)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                data = labelspace.open(f"table:{file}{kinds}", labels, training=training)
            except UserError:
                continue
            assert data.x.shape == (len(data), len(data.variables))
            data.describe()


@given(raw=st.binary(max_size=80))
def test_any_bytes_are_a_table_or_refused(tmp_path_factory, raw):
    file = tmp_path_factory.getbasetemp() / "fuzz.csv"
    file.write_bytes(b"y,a\n" + raw)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            data = labelspace.open(f"table:{file}", ["y"], training=False)
        except UserError:
            return
        assert data.x.shape == (len(data), 1)


# -- a trained model and new files -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("trees")
    file = written(home / "trees.csv", {name: entries * 4 for name, entries in COLUMNS.items()})
    address = f"table:{file},{COUNTS}"
    arguments = ["train", address, "--model", "condvae", "--labels", "kind,height", "--group", "wood", "--no-report", "--json"]
    assert main([*arguments, "--epochs", "2", "--out", str(home / "run")]) == 0
    return home / "run"


def embedded(run: Path, file: Path, options: str = "") -> dict[str, np.ndarray]:
    assert main(["embed", str(run), f"table:{file}{options}", "--out", str(file.with_suffix(".npz"))]) == 0
    with np.load(file.with_suffix(".npz")) as archive:
        return {name: archive[name] for name in archive.files}


def test_a_new_file_is_read_with_the_columns_classes_and_scales_of_the_model(run: Path, tmp_path: Path):
    new = {name: entries[3:6] for name, entries in COLUMNS.items()}  # too few to infer any kind from
    shuffled = {"extra": ["z", 1, 2], **{name: new[name] for name in reversed(new)}}
    first = embedded(run, written(tmp_path / "new.csv", new))
    second = embedded(run, written(tmp_path / "shuffled.csv", shuffled, ";", "\r\n"))
    assert first["label.kind"].tolist() == COLUMNS["kind"][3:6]
    assert first["label.height"].tolist() == [str(float(h)) for h in COLUMNS["height"][3:6]]
    whole = embedded(run, run.parent / "trees.csv")
    for name in ("z", "y.kind", "label.kind", "label.height"):
        if name in first:
            np.testing.assert_array_equal(first[name], second[name])
    np.testing.assert_allclose(first["z"], whole["z"][3:6], rtol=1e-5, atol=1e-6)


def test_new_files_that_do_not_fit_the_model_are_refused(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    new = {name: list(entries[:6]) for name, entries in COLUMNS.items()}
    cases = {
        "kind": (["yew", *new["kind"][1:]], ("line 2", "'kind'", "'yew'")),
        "leaf": (["none at all", *new["leaf"][1:]], ("line 2, column 'leaf'", "'none at all'", "broad, narrow")),
        "rings": ([1.5, *new["rings"][1:]], ("line 2, column 'rings'", "count")),
        "height": (["tall", *new["height"][1:]], ("line 2", "'height'", "'tall'")),
    }
    for name, (entries, parts) in cases.items():
        file = written(tmp_path / "wrong.csv", {**new, name: entries})
        assert main(["embed", str(run), f"table:{file}", "--out", str(tmp_path / "x.npz")]) == 2
        message = capfd.readouterr().err
        assert message.count("\n") == 1
        assert all(part in message for part in ("wrong.csv", *parts)), message
    file = written(tmp_path / "few.csv", {name: new[name] for name in ("kind", "rings")})
    assert main(["embed", str(run), f"table:{file}", "--out", str(tmp_path / "x.npz")]) == 2
    assert "leaf, ill" in capfd.readouterr().err


def test_a_run_reads_its_own_file_as_it_was_trained_although_more_was_added(run: Path):
    model, data = labelspace.open_run(run)
    assert model.variables == data.variables
    assert data.grouped == "wood"
    loaded = labelspace.load(run)
    assert loaded.variables == data.variables
    assert (run / "variables.json").exists()


def test_edits_and_new_samples_are_written_in_the_users_words(run: Path, tmp_path: Path):
    for name, command in {
        "new": ["generate", str(run), "--set", "kind=elm", "-n", "5"],
        "one": ["edit", str(run), "test:0", "--set", "kind=elm"],
        "many": ["edit", str(run), "--split", "test", "--set", "kind=elm"],
    }.items():
        out = tmp_path / f"{name}.csv"
        assert main([*command, "--out", str(out)]) == 0
        header, *rows = list(csv.reader(io.StringIO(out.read_text())))
        assert header[-3:] == ["rings", "leaf", "ill"]
        assert rows
        for row in (dict(zip(header, cells, strict=True)) for cells in rows):
            assert row["leaf"] in ("broad", "narrow")
            assert row["ill"] in ("0", "1")
            assert 0 <= float(row["rings"]) < 10
            assert row.get("kind", "elm") == "elm"
    archive = tmp_path / "one.npz"
    assert main(["edit", str(run), "test:0", "--set", "kind=elm", "--out", str(archive)]) == 0
    with np.load(archive) as found:
        assert found["names"].tolist() == ["rings", "leaf", "ill"]


def test_evaluate_reads_other_tables_as_the_model_does(run: Path, tmp_path: Path):
    model = labelspace.load(run)
    file = written(tmp_path / "new.csv", {name: entries[:6] for name, entries in COLUMNS.items()})
    data = labelspace.open(f"table:{file}", list(model.schema.names), training=False, like=model)
    assert data.schema == model.schema
    assert data.variables == model.variables
    assert data.entries == ("rings", "leaf", "ill")
    model.likelihood.check(torch.from_numpy(data.x))
    described = Description(model.schema, model.variables)
    np.testing.assert_array_equal(labelspace.open(f"table:{file}", training=False, like=described).x, data.x)


def test_what_is_asked_of_new_files_beside_the_models_labels_changes_nothing_about_those(tmp_path: Path):
    trained = labelspace.open(f"table:{written(tmp_path / 'trees.csv')},drop=wood", ["kind"])
    like = Description(trained.schema, trained.variables)
    file = written(tmp_path / "new.csv", {**COLUMNS, "kind": ["oak", "fir"] * (ROWS // 2)})
    data = labelspace.open(f"table:{file}", ["wood", "kind"], training=False, like=like)
    assert data.schema["kind"].classes == ("elm", "fir", "oak")
    assert data.values[:2, 1].tolist() == [2, 1]
    for option in ("drop=kind", "id=kind"):
        names = {**COLUMNS, "kind": [f"a{i}" for i in range(ROWS)]}
        other = labelspace.open(f"table:{written(tmp_path / 'o.csv', names)},{option}", training=False, like=like)
        assert len(other.schema) == 0


def test_new_rows_may_be_nearer_to_each_other_than_those_of_training(tmp_path: Path):
    columns = {"far": [1e6 * (1 + i) for i in range(ROWS)], "y": [i % 2 for i in range(ROWS)]}
    trained = labelspace.open(f"table:{written(tmp_path / 'far.csv', columns)}", ["y"])
    like = Description(trained.schema, trained.variables)
    near = written(tmp_path / "near.csv", {"far": [1e6, 1e6 + 0.5, 1e6 + 0.25], "y": [0, 1, 0]})
    assert labelspace.open(f"table:{near}", training=False, like=like).x[:, 0].tolist() == [1e6, 1e6 + 0.5, 1e6 + 0.25]


def test_places_of_lists_take_no_other_column_away_and_row_names_are_different(tmp_path: Path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {
        "v.0": [float(i) for i in range(ROWS)],
        "v": [[i / 3, -i / 7] for i in range(ROWS)],
        "y": [i % 2 for i in range(ROWS)],
        "__index_level_0__": ["a row"] * ROWS,
    }
    parquet.write_table(arrow.table(columns), tmp_path / "t.parquet")
    refused(f"table:{tmp_path / 't.parquet'}", "'v'", "list", "drop=v", labels=["y"])
    data = labelspace.open(f"table:{tmp_path / 't.parquet'},drop=v", ["y"])
    assert data.x[:, 0].tolist() == columns["v.0"]
    assert data.ids is None
    assert any("several rows alike" in note for note in data.notes)


def test_inspect_shows_columns(trees: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["data", "inspect", f"table:{trees},{COUNTS}", "--labels", "kind"]) == 0
    shown = capsys.readouterr().out
    assert "row of 5 columns" in shown
    for part in ("rings", "count", "0 to 4", "broad: 12"):
        assert part in shown
