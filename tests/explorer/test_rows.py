"""Rows of the user's own: pasted, in files, cells that are changed; and edits of many samples as files."""

from __future__ import annotations

import csv
import io
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from labelspace import errors
from labelspace.errors import UserError
from labelspace.explorer import many, rows
from labelspace.explorer.session import Session
from labelspace.explorer.steps import MoveBlock, Redraw, SetLabel
from labelspace.interventions import move


@pytest.fixture
def session(things: str, session_of: Callable[..., Session]) -> Session:
    return Session(session_of("lsvae", things, labels=("kind", "on")).bench)


def paste(session: Session, text: str):
    return rows.paste(session.bench.model, session.bench.home, text, session.bench.features)


@pytest.mark.parametrize(
    "text",
    [
        "amount,colour,size,kind,on\n5.5,pale blue,,elm,1\n",
        "on;size;kind;colour;amount\n1;;elm;pale blue;5.5\n",  # another order and separator
        "5.5,pale blue,,elm,1",  # no names: the model's order, and its labels behind
        "\n5.5\tpale blue\t\telm\t1\n\n",
    ],
)
def test_rows_are_pasted_with_names_or_without(text: str, session: Session) -> None:
    x, (values, observed) = paste(session, text)
    assert x.shape == (1, 3)
    assert x[0, 0] == 5.5
    assert x[0, 1] == session.bench.classes["colour"].index("pale blue")
    assert math.isnan(x[0, 2])
    assert bool(observed.all())
    assert session.bench.model.schema.decode(values.numpy(), observed.numpy()) == {"kind": ["elm"], "on": [1]}


def test_rows_without_labels_and_with_columns_missing(session: Session) -> None:
    x, (_, observed) = paste(session, "5.5,pale blue,0.25\n6,deep red,0")
    assert x.shape == (2, 3)
    assert not bool(observed.any())
    with errors.hearing() as notes:
        x, _ = paste(session, "colour,kind\npale blue,oak")
    assert x.isnan().tolist() == [[True, False, True]]
    assert any("amount, size" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing was pasted"),
        ("1,2", "2 cells"),
        ("amount,colour,size\n1,violet,2", "violet"),
        ("amount,colour,size\nmuch,pale blue,2", "much"),
        ("amount,amount,size\n1,2,3", "same name"),
    ],
)
def test_what_cannot_be_rows_is_refused_in_one_line(text: str, said: str, session: Session) -> None:
    with pytest.raises(UserError, match=said) as refused:
        paste(session, text)
    assert "\n" not in str(refused.value)
    assert "/tmp" not in str(refused.value)  # where they are kept for a moment is nobody's business


def test_files_of_rows(session: Session, things: str, tmp_path: Path) -> None:
    model, home = session.bench.model, session.bench.home
    content = Path(things.partition(":")[2]).read_bytes()
    x, _ = rows.read(model, home, "things.csv", content)
    np.testing.assert_array_equal(x.numpy(), session.bench.data.samples(range(120)).numpy())
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 7), np.float32))
    for name, bad in (
        ("rows.exe", b"MZ"),
        ("a.npz", (tmp_path / "a.npz").read_bytes()),
        ("b.parquet", b"PAR1"),
        ("c.csv", b"\0"),
    ):
        with pytest.raises(UserError) as refused:
            rows.read(model, home, name, bad)
        assert "\n" not in str(refused.value)


def test_a_cell_is_changed_and_the_edit_kept(session: Session) -> None:
    session.apply(SetLabel("kind", "ash"))
    before = session.base.codes["z"].clone()
    session.choose(session.with_cell("amount", " 9.5 "), keep_steps=True)
    assert session.sample.name == "test:0 (changed)"
    assert session.sample.x[0] == 9.5
    assert [a.step.about for a in session.steps] == ["kind set to ash"]
    assert not torch.equal(session.base.codes["z"], before)
    session.choose(session.with_cell("colour", "deep red"), keep_steps=True)
    session.choose(session.with_cell("size", ""), keep_steps=True)
    assert session.sample.x[2].isnan()
    assert session.row_text().splitlines()[1].startswith("9.5,deep red,")
    for feature, text in (("colour", "violet"), ("amount", "much"), ("amount", "inf"), ("nothing", "1")):
        with pytest.raises(UserError):
            session.with_cell(feature, text)


def test_the_lines_of_a_changed_row_make_the_same_edit(session: Session) -> None:
    session.choose(session.with_cell("amount", "7.125"))
    session.apply(SetLabel("kind", "oak"))
    assert session.command() == ""
    scope: dict = {}
    exec(compile(session.python(), "copied", "exec"), scope)
    torch.testing.assert_close(scope["edit"].x, session.x, equal_nan=True)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".npz", ".h5ad"])
def test_many_rows_are_edited_as_one_is(ending: str, session: Session, tmp_path: Path) -> None:
    if ending == ".h5ad":
        pytest.importorskip("anndata")
    session.apply(SetLabel("kind", "ash"))
    found = session.bench.search("test")
    get = lambda places: session.of_rows([int(found[i]) for i in places])  # noqa: E731
    done = many.edit(session, get, len(found), ending)
    (tmp_path / done.name).write_bytes(done.content)
    assert set(done.read) == {"kind", "on"}
    each = []
    for row in found:
        one = Session(session.bench)
        one.choose(one.of_data(int(row)))
        one.apply(SetLabel("kind", "ash"))
        each.append(one.x)
    expected = torch.stack(each)[:, 0].numpy()
    if ending == ".csv":
        written = list(csv.DictReader(io.StringIO(done.content.decode())))
        assert [row["id"] for row in written] == [session.bench.name(int(row)) for row in found]
        assert {row["kind"] for row in written} == {"ash"}
        assert {row["kind:before"] for row in written} == {"oak", "ash", "elm"}
        amounts = np.array([float(row["amount"] or "nan") for row in written])
    elif ending == ".npz":
        with np.load(tmp_path / done.name) as written:
            assert json.loads(str(written["record"]))["steps"] == ["kind set to ash"]
            amounts = written["x"][:, 0]
    elif ending == ".parquet":
        import pyarrow.parquet

        amounts = np.array(pyarrow.parquet.read_table(tmp_path / done.name)["amount"].to_pylist(), float)
    else:
        import anndata

        amounts = np.asarray(anndata.read_h5ad(tmp_path / done.name).X)[:, 0]
    np.testing.assert_allclose(amounts, expected, rtol=1e-5, atol=1e-6)


def test_many_pictures_are_a_zip(pictures: str, session_of: Callable[..., Session]) -> None:
    session = Session(session_of("lsvae", pictures).bench)
    found = session.bench.gallery[:5]
    get = lambda places: session.of_rows([int(found[i]) for i in places])  # noqa: E731
    with pytest.raises(UserError, match="make an edit first"):
        many.edit(session, get, 5, ".zip")
    session.apply(MoveBlock("w.lit", (0.5, 0.25)))
    with zipfile.ZipFile(io.BytesIO(many.edit(session, get, 5, ".zip").content)) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        assert len(names) == 5
        picture = np.asarray(Image.open(io.BytesIO(archive.read("test_0.png")))).transpose(2, 0, 1) / 255
    one = move(session.bench.model, session.sample.x, {"w.lit": (0.5, 0.25)}, session.sample.labels)
    np.testing.assert_allclose(picture, one.x.clamp(0, 1).numpy(), atol=0.6 / 255)
    session.apply(Redraw("w.lit", 3))
    with pytest.raises(UserError, match="one sample"):
        many.edit(session, get, 5, ".zip")
    session.undo()
    with pytest.raises(UserError, match="20,000"):
        many.edit(session, get, 10**6, ".zip")
