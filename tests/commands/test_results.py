"""Whole data sets on the command line: embed, predict, edit, transfer, move, generate; read back and compared with Python."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import labelspace as ls
from labelspace import interventions, saving
from labelspace.cli import main
from labelspace.interventions import Intervention
from labelspace.models import of_data
from labelspace.models.base import Model
from labelspace.models.networks import Network


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, listening: Callable[[Model], Model]) -> Path:
    """Two data sets and a run on each: vectors with labels of every kind, some missing; pictures with names."""
    home = tmp_path_factory.mktemp("results")
    rng = np.random.default_rng(0)
    n = 60
    kind = rng.choice(["a", "b", "c"], n)
    kind[:5] = ""
    np.savez(
        home / "table.npz",
        x=rng.normal(size=(n, 4)).astype(np.float32),
        on=rng.integers(0, 2, n),
        kind=kind,
        dose=rng.normal(3, 2, n).round(4),
        ids=np.array([f"row/{i}" for i in range(n)]),
    )
    np.savez(
        home / "pictures.npz",
        x=rng.integers(0, 256, (n, 3, 8, 8)).astype(np.uint8),
        on=rng.integers(0, 2, n),
        ids=np.array([f"day 1/face{i % 30}.png" for i in range(n)]),
    )
    small = {"latent": 2, "subspace": 2, "network": Network(width=4, depth=1)}
    for name in ("table", "pictures"):
        data = ls.open(f"npz:{home / name}.npz")
        torch.manual_seed(0)
        ls.fit(listening(ls.build("lsvae", data, **small)), data, out=home / f"{name}-run", epochs=1, batch_size=30)
    return home


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows_of(path: str) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_embedding_as_an_archive_and_as_a_table(home: Path) -> None:
    run, address = str(home / "table-run"), f"npz:{home / 'table.npz'}"
    model, data = ls.load(run), ls.open(address)
    assert main(["embed", run, address, "--out", "c.npz"]) == 0
    assert main(["embed", run, address, "--out", "c.csv"]) == 0
    wanted = model.encode(data.samples(range(60)), *data.labels(range(60)))
    table = rows_of("c.csv")
    assert [row["id"] for row in table] == [f"row/{i}" for i in range(60)]
    with np.load("c.npz") as found:
        assert list(found["ids"]) == [f"row/{i}" for i in range(60)]
        for block in model.blocks:
            np.testing.assert_allclose(found[block.name], wanted[block.name].mode.detach(), atol=1e-5)
            columns = [[float(row[f"{block.name}.{i}"]) for i in range(block.size)] for row in table]
            np.testing.assert_allclose(columns, found[block.name], atol=1e-6)
    assert {row["split"] for row in table} == {"train", "val", "test"}
    assert [row["kind"] for row in table][:6] == ["", "", "", "", "", data.schema["kind"].format(data.values[5, 1])]


def test_parquet_has_types(home: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    run, address = str(home / "table-run"), f"npz:{home / 'table.npz'}"
    assert main(["embed", run, address, "--out", "c.parquet"]) == 0
    found = parquet.read_table("c.parquet")
    kinds = {field.name: str(field.type) for field in found.schema}
    assert (kinds["id"], kinds["on"], kinds["kind"], kinds["dose"], kinds["z.0"]) == (
        "string",
        "int64",
        "string",
        "double",
        "float",
    )
    assert found.column("kind").null_count == 5
    assert main(["predict", run, address, "--out", "p.parquet"]) == 0
    assert "kind:a" in parquet.read_table("p.parquet").column_names


def test_codes_can_ignore_the_labels(home: Path) -> None:
    run, address = str(home / "table-run"), f"npz:{home / 'table.npz'}"
    with np.load(home / "table.npz") as whole:
        np.savez("alone.npz", x=whole["x"])
    assert main(["embed", run, address, "--out", "given.npz"]) == 0
    assert main(["embed", run, address, "--ignore-labels", "--out", "ignored.npz"]) == 0
    assert main(["embed", run, "npz:alone.npz", "--out", "alone-codes.npz"]) == 0
    with np.load("given.npz") as given, np.load("ignored.npz") as ignored, np.load("alone-codes.npz") as alone:
        np.testing.assert_array_equal(ignored["w.on"], alone["w.on"])
        assert not np.allclose(given["w.on"], ignored["w.on"])


def test_predictions_have_every_probability(home: Path, capsys) -> None:
    run, address = str(home / "table-run"), f"npz:{home / 'table.npz'}"
    assert main(["predict", run, address, "--out", "p.csv"]) == 0
    model, data = ls.load(run), ls.open(address)
    wanted = model.predict(data.samples(range(60))).table()
    table = rows_of("p.csv")
    for label, values in wanted.items():
        for value, numbers in values.items():
            np.testing.assert_allclose([float(row[f"{label}:{value}"]) for row in table], numbers, rtol=1e-5)
    assert [row["id"] for row in table][:2] == ["row/0", "row/1"]
    capsys.readouterr()
    assert main(["predict", run, address]) == 0
    assert capsys.readouterr().out == Path("p.csv").read_text()
    assert main(["predict", run, address, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[1]["id"] == "row/1"


def test_labels_of_new_data_are_read_as_the_models(home: Path, fails) -> None:
    """New data need not have all classes, and have other means."""
    run = str(home / "table-run")
    x = np.random.default_rng(1).normal(size=(4, 4))
    np.savez("new.npz", x=x, kind=np.array(["c", "b", "", "c"]), dose=np.array([1.5, 2.5, 3.5, 4.25]))
    model, data = ls.load(run), ls.open("npz:new.npz", seed=0, training=False)
    values, observed = of_data.known_labels(model, data)
    assert observed.tolist() == [[False, True, True], [False, True, True], [False, False, True], [False, True, True]]
    assert values[:, 1].tolist() == [2, 1, 0, 2]
    assert values[:, 2].tolist() == [1.5, 2.5, 3.5, 4.25]
    np.savez("new.npz", x=x, kind=np.array(["c", "b", "", "d"]))
    fails(["embed", run, "npz:new.npz", "--out", "c.npz"], "sample '3'", "unknown class of label 'kind'")
    assert main(["embed", run, "npz:new.npz", "--ignore-labels", "--out", "c.npz"]) == 0


def test_a_whole_set_is_edited_as_in_python_and_read_back(home: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(of_data, "CHUNK", 7)
    monkeypatch.setattr(of_data.chunks, "__defaults__", (7,))
    run, address = str(home / "table-run"), f"npz:{home / 'table.npz'}"
    asked = ["--data", address, "--set", "kind=b", "--set", "on=1"]
    assert main(["edit", run, *asked, "--out", "e.npz", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["samples"], record["changed"], record["held"]) == (60, ["w.on", "w.kind"], ["z", "w.dose"])
    assert main(["edit", run, *asked, "--out", "e.csv"]) == 0
    model, data = ls.load(run), ls.open(address)
    wanted = interventions.set(model, data.samples(range(60)), {"kind": "b", "on": 1}, data.labels(range(60)))
    back = ls.open("npz:e.npz", seed=0, training=False)
    np.testing.assert_allclose(back.x, wanted.x, atol=1e-5)
    assert back.schema == model.schema
    assert set(back.values[:, 1]) == {1}
    np.testing.assert_array_equal(back.values[:, 2], data.values[:, 2])
    assert back.ids is not None
    assert back.ids.tolist() == [f"row/{i}" for i in range(60)]
    table = rows_of("e.csv")
    assert [row["kind"] for row in table] == ["b"] * 60
    assert [row["kind:before"] for row in table] == wanted.record.source["kind"]
    np.testing.assert_allclose([[float(row[f"x.{i}"]) for i in range(4)] for row in table], wanted.x, atol=1e-5)


def test_pictures_go_into_a_directory(home: Path, fails) -> None:
    run, address = str(home / "pictures-run"), f"npz:{home / 'pictures.npz'}"
    asked = ["edit", run, "--data", address, "--set", "on=1"]
    assert main([*asked, "--out", "faces"]) == 0
    table = rows_of("faces/records.csv")
    assert len({row["file"] for row in table}) == 60  # two samples have each name
    assert (table[0]["id"], table[0]["file"], table[30]["file"]) == ("day 1/face0.png", "day_1_face0.png", "day_1_face0-2.png")
    model, data = ls.load(run), ls.open(address)
    wanted = interventions.set(model, data.samples(range(60)), {"on": 1}, data.labels(range(60)))
    for i in (0, 30, 59):
        with Image.open(Path("faces", table[i]["file"])) as image:
            difference = np.asarray(image) / 255 - wanted.x[i].permute(1, 2, 0).clamp(0, 1).numpy()
        assert np.abs(difference).max() < 0.01
    assert json.loads(Path("faces/record.json").read_text())["data"] == "npz:pictures.npz"
    Path("faces/mine.txt").write_text("a note")
    assert main([*asked, "--split", "test", "--out", "faces"]) == 0  # an earlier result is replaced, other files are kept
    kept = sorted(file.name for file in Path("faces").iterdir())
    assert len(kept) == 6 + 3
    assert "mine.txt" in kept
    Path("other").mkdir()
    Path("other/holiday.png").write_bytes(b"")
    fails([*asked, "--out", "other"], "holds other files", "--overwrite")
    assert main([*asked, "--split", "test", "--out", "other", "--overwrite"]) == 0
    assert Path("other/holiday.png").exists()
    assert [file.name for file in Path().iterdir() if file.name.startswith(".")] == []


def test_nothing_is_left_of_what_failed(home: Path, monkeypatch: pytest.MonkeyPatch, fails) -> None:
    def broken(*_, **__) -> Intervention:
        raise ls.UserError("broken on purpose")

    monkeypatch.setattr(interventions, "set", broken)
    for out in ("new", "new.npz"):
        asked = ["edit", str(home / "pictures-run"), "--split", "test", "--set", "on=1", "--out", out]
        fails(asked, "broken on purpose")
    assert list(Path().iterdir()) == []


def test_donors_are_one_for_all_or_drawn_for_each(home: Path) -> None:
    run, address = str(home / "table-run"), f"npz:{home / 'table.npz'}"
    model, data = ls.load(run), ls.open(address)
    rows, donor = data.rows("test"), data.rows("train")[3:4]
    assert main(["transfer", run, "--split", "test", "--donor", "train:3", "--label", "kind", "--out", "one.npz"]) == 0
    own, lent = (data.samples(rows), data.labels(rows)), (data.samples(donor), data.labels(donor))
    wanted = interventions.transfer(model, own[0], lent[0][0], "kind", own[1], lent[1])
    np.testing.assert_allclose(ls.open("npz:one.npz", training=False).x, wanted.x, atol=1e-5)
    asked = ["transfer", run, "--data", address, "--label", "kind", "--seed", "4"]
    assert main([*asked, "--donors", "val", "--out", "val.csv"]) == 0
    assert main([*asked, "--donors", address, "--out", "all.csv"]) == 0
    assert main([*asked, "--donors", address, "--out", "again.csv"]) == 0
    assert Path("all.csv").read_text() == Path("again.csv").read_text()
    ids = of_data.names(data)
    assert {row["donor"] for row in rows_of("val.csv")} <= set(ids[data.rows("val")])
    table = rows_of("all.csv")
    assert len({row["donor"] for row in table}) > 20
    places = [ids.tolist().index(row["donor"]) for row in table]
    each = interventions.transfer(
        model, data.samples(range(60)), data.samples(places), "kind", data.labels(range(60)), data.labels(places)
    )
    np.testing.assert_allclose([[float(row[f"x.{i}"]) for i in range(4)] for row in table], each.x, atol=1e-5)
    assert [row["kind"] for row in table] == each.record.target["kind"]


def test_moving_a_split(home: Path, capsys) -> None:
    run = str(home / "table-run")
    assert main(["move", run, "--split", "val", "--to", "w.on=0.5,-1", "--out", "m.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["options"]["points"] == {"w.on": [0.5, -1.0]}
    assert len(rows_of("m.csv")) == 6


def test_new_samples_with_their_labels(home: Path, capsys) -> None:
    for name, out in (("table", "g.npz"), ("pictures", "p.npz")):
        run = str(home / f"{name}-run")
        assert main(["generate", run, "--set", "on=1", "-n", "9", "--seed", "3", "--out", out]) == 0
        model = ls.load(run)
        wanted = interventions.generate(model, {"on": 1}, 9, generator=torch.Generator().manual_seed(3))
        back = ls.open(f"npz:{out}", training=False)
        np.testing.assert_allclose(back.samples(range(9)), wanted.x.clamp(0, 1) if name == "pictures" else wanted.x, atol=3e-3)
        assert back.schema == model.schema
        for label, entries in back.schema.decode(back.values, back.observed).items():
            drawn = wanted.record.target[label]
            assert entries == (pytest.approx(drawn) if label == "dose" else drawn)
    assert main(["generate", str(home / "pictures-run"), "-n", "12", "--out", "new"]) == 0
    assert [row["file"] for row in rows_of("new/records.csv")][:2] == ["new-00.png", "new-01.png"]
    assert main(["generate", str(home / "table-run"), "-n", "3", "--out", "g.csv"]) == 0
    assert [row["id"] for row in rows_of("g.csv")] == ["new-0", "new-1", "new-2"]
    assert main(["generate", str(home / "pictures-run"), "-n", "4", "--out", "sheet.png"]) == 0
    with Image.open("sheet.png") as image:
        assert image.size == (18, 18)
    capsys.readouterr()


def test_wrong_requests(home: Path, fails) -> None:
    table, pictures = str(home / "table-run"), str(home / "pictures-run")
    edit = ["edit", table, "--set", "on=1"]
    fails(edit, "which sample?")
    assert main([*edit, "test:0", "--out", "one.csv"]) == 0  # a sample may stand behind the options
    assert main(["transfer", table, "test:0", "--label", "on", "test:1", "--out", "one.csv"]) == 0
    fails([*edit, "test:0", "test:1"], "unrecognized arguments: test:1")
    fails([*edit, "test:0", "--split", "test", "--out", "a.csv"], "give one or the other")
    fails([*edit, "--split", "test"], "--out is needed")
    fails([*edit, "--split", "test", "--out", "a.png"], "cannot hold many vectors", ".parquet")
    fails([*edit, "--data", "digits", "--out", "a.csv"], "the model takes (4,)")
    fails(["edit", pictures, "--set", "on=1", "--split", "test", "--out", "a.csv"], "cannot hold many pictures")
    Path("file").write_text("")
    fails(["edit", pictures, "--set", "on=1", "--split", "test", "--out", "file"], "is there already")
    fails(["edit", pictures, "--set", "on=1", "--split", "test", "--out", "file", "--overwrite"], "is a file")
    many = ["transfer", table, "--split", "test", "--label", "on", "--out", "t.csv"]
    fails(many, "needs --donor")
    fails([*many, "--donor", "test:0", "--donors", "val"], "needs --donor")
    fails([*many, "--donors", "nowhere"], "unknown data address")
    fails(["transfer", table, "test:0", "--label", "on"], "needs a DONOR")
    fails(["transfer", table, "test:0", "--donors", "val", "--label", "on"], "--donors draws")
    fails(["generate", table, "-n", "0", "--out", "g.csv"], "at least one sample")
    fails(["embed", table, "digits", "--out", "c.txt"], "must end in")
    fails(["embed", table, f"npz:{home / 'table.npz'}", "--out", "c.h5ad"], "h5ad:FILE")
    fails(["predict", table, "digits", "--out", "p.txt"], "must end in")


def test_an_archive_that_says_other_than_it_holds(home: Path, fails) -> None:
    model = saving.load(home / "table-run")
    x = np.zeros((2, 4))
    np.savez("bad.npz", x=x, kind=np.array(["a", "z"]), on=[0, 1], dose=[1.0, 2.0], schema=np.array(model.schema.to_json()))
    fails(["predict", str(home / "table-run"), "npz:bad.npz"], "bad.npz: row 2", "unknown class")
    np.savez("bad.npz", x=x, kind=np.array(["a", "b"]), schema=np.array("{"))
    fails(["predict", str(home / "table-run"), "npz:bad.npz"], "bad.npz: not a label schema")
    np.savez("bad.npz", x=x, ids=np.array(["a"]))
    fails(["predict", str(home / "table-run"), "npz:bad.npz"], "ids has shape (1,)")


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A run on a table with classes among its columns and a label called donor, split by person under another seed than 0."""
    home = tmp_path_factory.mktemp("grouped")
    rng = np.random.default_rng(0)
    sites, donors = rng.choice(["n", "s", "w"], 60), rng.choice(["d1", "d2"], 60)
    lines = [f"{sites[i]},{rng.normal():.3f},{donors[i]},p{i // 3}" for i in range(60)]
    (home / "t.csv").write_text("\n".join(["site,size,donor,person", *lines]) + "\n")
    data = ls.open(f"table:{home / 't.csv'}", ["donor"], seed=3, group="person")
    torch.manual_seed(0)
    model = ls.build("lsvae", data, latent=2, network=Network(width=4, depth=1))
    ls.fit(model, data, out=home / "run", epochs=1, batch_size=30)
    return str(home / "run"), data.address


def test_splits_are_those_of_the_training(grouped: tuple[str, str]) -> None:
    run, address = grouped
    assert main(["embed", run, address, "--out", "c.csv"]) == 0
    wanted = of_data.splits(ls.open_run(run)[1]).tolist()
    assert [row["split"] for row in rows_of("c.csv")] == wanted
    assert main(["edit", run, "--data", address, "--split", "test", "--set", "donor=d1", "--out", "e.csv"]) == 0
    assert [int(row["id"]) for row in rows_of("e.csv")] == [i for i, split in enumerate(wanted) if split == "test"]


def test_a_label_called_donor_keeps_its_column(grouped: tuple[str, str], fails) -> None:
    run, address = grouped
    asked = ["transfer", run, "--data", address, "--donors", "test", "--label", "donor"]
    assert main([*asked, "--out", "t.csv"]) == 0
    data = ls.open_run(run)[1]
    for row in rows_of("t.csv"):
        assert row["donor"] == data.schema["donor"].format(float(data.values[int(row["donor:id"]), 0]))
    assert main([*asked, "--out", "t.npz"]) == 0
    back = ls.open("npz:t.npz", training=False)
    assert back.schema == data.schema
    fails([*asked, "--seed", "-1", "--out", "t.csv"], "--seed: -1 is out of range; expected 0")


def test_an_archive_of_a_table_is_read_back_though_a_class_is_not_in_it(grouped: tuple[str, str]) -> None:
    run, _ = grouped
    assert main(["generate", run, "-n", "1", "--set", "donor=d1", "--out", "g.npz"]) == 0
    assert ls.open("npz:g.npz", training=False).likelihood == "table(categorical:3,continuous)"
    assert main(["embed", run, "npz:g.npz", "--out", "c.npz"]) == 0


@pytest.mark.parametrize("name", ["id", "split"])
def test_a_label_does_not_take_the_place_of_the_names(name: str, fails) -> None:
    rng = np.random.default_rng(0)
    lines = [f"{rng.normal():.3f},{rng.choice(['u', 'v'])}" for _ in range(40)]
    Path("t.csv").write_text("\n".join([f"size,{name}", *lines]) + "\n")
    data = ls.open("table:t.csv", [name])
    ls.save(ls.build("lsvae", data, latent=2, network=Network(width=4, depth=1)), "saved")
    fails(["embed", "saved", "table:t.csv", "--out", "c.csv"], f"label '{name}' cannot be written", "rename the label")
    fails(["predict", "saved", "table:t.csv"], f"label '{name}' cannot be written")
