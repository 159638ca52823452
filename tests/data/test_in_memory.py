"""Data that are in memory, and every way in which they can be wrong: one line each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import labelspace as ls
from labelspace.variables import Variable

RNG = np.random.default_rng(0)


def frame(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    found = pd.DataFrame(
        {
            "height": rng.normal(size=n),
            "visits": rng.integers(0, 9, n) * 1.5,
            "ward": rng.choice(["a", "b"], n),
            "treated": rng.integers(0, 2, n),
        },
        index=pd.Index([f"p{i}" for i in range(n)]),
    )
    found.loc["p3", "height"] = np.nan
    return found


def cells(n: int = 50) -> anndata.AnnData:
    rng = np.random.default_rng(2)
    obs = pd.DataFrame({"type": pd.Categorical(rng.choice(list("ab"), n))}, index=pd.Index([f"c{i}" for i in range(n)]))
    return anndata.AnnData(scipy.sparse.csr_matrix(rng.poisson(2, (n, 20)).astype("f4")), obs=obs)


def test_a_frame_is_read_by_its_columns() -> None:
    data = ls.open(frame(), ["treated"])
    assert data.address == "memory:frame"
    assert data.entries == ("height", "visits", "ward")
    assert data.variables[2] == Variable("ward", "categorical", ("a", "b"))
    assert np.isnan(data.x[3, 0])
    assert data.ids is not None
    assert data.ids[3] == "p3"
    assert str(data.schema["treated"].kind) == "binary"
    assert data[3].labels == {"treated": int(frame()["treated"].iloc[3])}


@pytest.mark.parametrize(
    "make",
    [lambda f: pa.Table.from_pandas(f, preserve_index=False), lambda f: pl.from_pandas(f), lambda f: pl.from_pandas(f).lazy()],
    ids=["pyarrow", "polars", "polars, lazy"],
)
def test_frames_of_other_libraries_are_the_same(make: Callable[[pd.DataFrame], Any]) -> None:
    there, here = ls.open(make(frame()), ["treated"]), ls.open(frame(), ["treated"])
    np.testing.assert_array_equal(there.x, here.x)
    np.testing.assert_array_equal(there.values, here.values)


def test_missing_values_are_those_of_each_camp() -> None:
    for missing in (None, float("nan"), pd.NA, pd.NaT, "", " "):
        data = ls.Dataset.from_arrays(np.eye(9, dtype="f4"), {"a": ["x", "y", missing] * 3})
        assert data.observed[:, 0].tolist() == [True, True, False] * 3
    numbers = ls.Dataset.from_arrays([[1.0, None], [2.0, 3.0], [4.0, 5.0]] * 3, [0, 1, 0] * 3)
    assert int(np.isnan(numbers.x).sum()) == 3
    assert numbers.likelihood.startswith("table")
    assert any("3 cells of x are NaN" in note for note in numbers.notes)


@pytest.mark.parametrize(
    ("x", "shape"),
    [
        (RNG.integers(0, 255, (9, 12, 10, 3), np.uint8), (3, 12, 10)),
        (RNG.integers(0, 255, (9, 3, 12, 10), np.uint8), (3, 12, 10)),
        (RNG.random((9, 12, 10)), (1, 12, 10)),
        (torch.rand(9, 1, 8, 8), (1, 8, 8)),
        (RNG.random((9, 8, 8)) > 0.5, (1, 8, 8)),
        (RNG.normal(size=(9, 5)), (5,)),
        (torch.randn(9, 5), (5,)),
        ([[1, 2], [3, 4], [5, 7]] * 3, (2,)),
        (np.array([[1, 2.5], [None, 4], [5, 7]] * 3, object), (2,)),
    ],
)
def test_arrays_of_every_layout(x: Any, shape: tuple[int, ...]) -> None:
    data = ls.open(x, {"a": [0, 1, 0] * 3})
    assert data.shape == shape
    assert len(data) == 9


def test_pictures_of_any_size_and_mode_are_fitted_and_said() -> None:
    pictures = [Image.new("RGB" if i % 2 else "L", (30 + i, 20)) for i in range(20)]
    data = ls.Dataset.from_images(pictures, [0, 1] * 10)
    assert data.shape == (3, 64, 64)
    assert "20 sizes are fitted to 64 x 64" in data.notes[0]
    assert "read as RGB" in data.notes[1]
    named = ls.Dataset.from_images({f"n{i}": picture for i, picture in enumerate(pictures)}, [0, 1] * 10, size=16, channels=1)
    assert named.shape == (1, 16, 16)
    assert named[2].id == "n2"


def test_pictures_from_files_have_their_names(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.png" for i in range(10)]
    for i, file in enumerate(files):
        Image.new("RGB", (10, 8), (20 * i, 0, 0)).save(file)
    data = ls.open(files, pd.DataFrame({"odd": [0, 1] * 5}))
    assert data.shape == (3, 8, 10)
    assert data.ids is not None
    assert data.ids[4] == str(files[4])
    assert int(data.x[4, 0, 0, 0]) == 80


@pytest.mark.parametrize("view", [lambda a: a, lambda a: a[:40], lambda a: a.copy()])
def test_cells_are_read_whether_they_are_a_view_or_not(view: Callable[[Any], Any]) -> None:
    data = ls.open(view(cells()))
    assert data.likelihood == "negative-binomial"
    assert data.schema.names == ("type",)
    assert data.ids is not None
    assert data.ids[0] == "c0"


def test_backed_cells_are_read(tmp_path: Path) -> None:
    cells().write_h5ad(tmp_path / "c.h5ad")
    backed = anndata.read_h5ad(tmp_path / "c.h5ad", backed="r")
    np.testing.assert_array_equal(ls.open(backed).x, ls.open(cells()).x)
    backed.file.close()


class Dicts(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 10

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"image": torch.full((8, 8), i / 10), "label": i % 2, "size": float(i)}


class Named(torch.utils.data.TensorDataset):
    classes = ("cat", "dog")


def test_torch_data_sets() -> None:
    pairs = torch.utils.data.TensorDataset(torch.randn(12, 3), torch.arange(12) % 2)
    assert ls.open(pairs, ["side"]).schema.names == ("side",)
    assert ls.open(pairs).schema.names == ("label",)
    found = ls.Dataset.from_torch(Dicts(), x="image")
    assert found.shape == (1, 8, 8)
    assert set(found.schema.names) == {"label", "size"}
    named = ls.open(Named(torch.randn(12, 3), torch.arange(12) % 2))
    assert named.schema["label"].values == ("cat", "dog")
    stream = ((torch.randn(3), i % 3) for i in range(12))
    assert len(ls.Dataset.from_torch(stream, "k")) == 12


def test_a_torch_view_feeds_a_loader() -> None:
    data = ls.Dataset.from_arrays(np.eye(10, dtype="f4"), [0, 1] * 5)
    seen = [x for x, _, _ in torch.utils.data.DataLoader(data.torch("train"), batch_size=3)]
    assert torch.cat(seen).shape == (8, 10)
    torch.testing.assert_close(torch.cat(seen), data.samples(data.rows("train")))


@given(st.lists(st.booleans(), min_size=12, max_size=12).filter(any))
def test_parts_of_a_data_set_keep_samples_labels_and_splits(mask: list[bool]) -> None:
    data = ls.Dataset.from_arrays(np.arange(24.0).reshape(12, 2), {"a": [0, 1] * 6}, ids=[f"s{i}" for i in range(12)])
    part = data[mask]
    rows = np.flatnonzero(mask)
    np.testing.assert_array_equal(part.x, data.x[rows])
    for split, members in part.splits.items():
        assert set(rows[members]) == set(data.rows(split)) & set(rows)
    assert [sample.id for sample in part] == [f"s{i}" for i in rows]


def test_single_samples_are_counted_from_either_end() -> None:
    data = ls.Dataset.from_arrays(np.eye(10, dtype="f4"), [0, 1] * 5)
    assert data[-1].id == "9"
    assert [int(s.x.argmax()) for s in data[7:]] == [7, 8, 9]
    with pytest.raises(IndexError):
        data[10]
    with pytest.raises(ls.UserError, match="a mask of 3 for 10"):
        data[np.array([True, False, True])]


def test_it_prints_itself_in_three_lines_and_as_a_table() -> None:
    data = ls.Dataset.from_images([Image.new("RGB", (9, 9))] * 10, {"a": [0, 1] * 5, "b": ["x", "y", None, "z", None] * 2})
    assert repr(data).splitlines() == [
        "Dataset memory:pictures: 10 pictures of 3x9x9",
        "splits: train 8, val 1, test 1",
        "labels: a (0/1), b (x/y/z, 4 missing)",
    ]
    assert data._repr_html_().count("<img") == 6


def test_a_saved_data_set_is_the_same_again(tmp_path: Path) -> None:
    for data in (ls.open(frame(), ["treated"]), ls.open(cells()), ls.open(RNG.random((12, 8, 8)), ["a", "b", None] * 4)):
        again = ls.open(f"npz:{data.save(tmp_path / 'd.npz')}")
        np.testing.assert_array_equal(again.x, data.x)
        np.testing.assert_array_equal(again.observed, data.observed)
        assert again.schema == data.schema
        assert (again.variables, again.likelihood) == (data.variables, data.likelihood)
        for split, rows in data.splits.items():
            np.testing.assert_array_equal(again.splits[split], rows)
        assert again.fingerprint() == data.fingerprint()


def test_splits_and_groups_are_as_they_are_given() -> None:
    x, y = np.eye(12, dtype="f4"), [0, 1] * 6
    words = ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    assert ls.Dataset.from_arrays(x, y, splits=words).rows("test").tolist() == [10, 11]
    assert ls.Dataset.from_arrays(x, y, splits={"train": range(8), "test": [8, 9]}).rows("test").tolist() == [8, 9]
    people = [f"p{i // 2}" for i in range(12)]
    data = ls.Dataset.from_arrays(x, y, group=people)
    for rows in data.splits.values():
        others = np.setdiff1d(np.arange(12), rows)
        assert not {people[i] for i in rows} & {people[i] for i in others}


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: ls.open(pd.DataFrame([[1, 2]], columns=pd.Index(["a", "a"])), ["a"]), r"two columns are called 'a'"),
    (lambda: ls.open(pd.DataFrame([[1, 2]] * 9), ["a"]), r"column 0 has a name that is no text"),
    (lambda: ls.open(frame()), r"say which columns are labels with labels=; the columns are height \(continuous\)"),
    (lambda: ls.open(frame(), ["treatd"]), r"did you mean 'treated'"),
    (lambda: ls.open(frame().assign(odd=[[1, 2]] * 60), ["treated"]), r"column 'odd' holds list values"),
    (lambda: ls.open(RNG.normal(size=(10, 3)), [0, 1]), r"label 'label' has 2 entries for 10 samples"),
    (lambda: ls.open(np.array([[1, "q"]] * 9, object), [0] * 9), r"row 1, column 2: 'q' \(str\) is not a number"),
    (lambda: ls.open([[1, 2], [1]], [0, 1]), r"row 1 has \(2,\), row 2 has \(1,\)"),
    (lambda: ls.open(np.full((9, 8, 8), np.nan), [0, 1, 0] * 3), r"picture 0 holds NaN or infinity"),
    (lambda: ls.open(np.full((9, 3), np.inf), [0, 1, 0] * 3), r"infinity, first in row 1, column 1"),
    (lambda: ls.open(np.full((9, 8, 8), 200.0), [0, 1, 0] * 3), r"divide them by 255"),
    (lambda: ls.open(np.full((9, 3), 1e300), [0, 1, 0] * 3), r"row 1, column 1: 1e\+300 is larger"),
    (lambda: ls.open(np.array([[1.7e15 + i / 4, 1] for i in range(9)]), [0, 1, 0] * 3), r"column 1 varies by"),
    (lambda: ls.open(np.zeros((9, 2, 3, 4, 5)), [0, 1, 0] * 3), r"shape \(9, 2, 3, 4, 5\); expected"),
    (lambda: ls.open(Dicts()), r"item 0 is a mapping with image, label, size; say which of them is the sample, x='image'"),
    (lambda: ls.Dataset.from_images(["/nowhere.png"], [0]), r"picture 0 \('/nowhere.png'\): no such picture"),
    (lambda: ls.Dataset.from_images([np.zeros((7, 4, 9))], [0]), r"picture 0 has shape \(7, 4, 9\)"),
    (lambda: ls.Dataset.from_images([], []), r"there is no picture"),
    (lambda: ls.open(cells(), ["kind"]), r"kind"),
    (lambda: ls.Dataset.from_anndata(cells(), layer="raw"), r"unknown layer 'raw'"),
    (lambda: ls.Dataset.from_arrays(frame(), [0] * 60), r"from_frame"),  # type: ignore[arg-type]
    (lambda: ls.Dataset.from_arrays(np.eye(9), [0] * 9, kinds={"lable": "binary"}), r"did you mean 'label'"),
    (lambda: ls.Dataset.from_arrays(np.eye(9), [0] * 9, splits=["train"] * 8 + ["tset"]), r"row 9: .*did you mean 'test'"),
    (lambda: ls.Dataset.from_arrays(np.eye(9), [0] * 9, splits={"train": [0, 9]}), r"has row 9"),
    (lambda: ls.Dataset.from_arrays(np.eye(9), [0] * 9, splits={"train": [0], "test": [0]}), r"row 0 is in two splits"),
    (lambda: ls.Dataset.from_arrays(np.eye(9), [0] * 9, ids=["a"] * 9), r"two samples are called 'a'"),
    (lambda: ls.Dataset.from_arrays(np.eye(9), [0] * 9, names=["a"]), r"1 names for 9 columns"),
    (lambda: ls.open(3), r"data of type int cannot be read"),
    (lambda: ls.open("memory:frame"), r"trained on data in memory"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG)
def test_what_is_wrong_is_one_line(wrong: Callable[[], Any], said: str) -> None:
    with pytest.raises(ls.UserError, match=said) as caught:
        wrong()
    assert "\n" not in str(caught.value)
    assert "--" not in str(caught.value)


def test_a_bare_file_name_is_answered_with_its_address(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ls.UserError, match=r"its address is table:"):
        ls.open(str(tmp_path / "t.csv"))
    with pytest.raises(ls.UserError, match=r"its address is folder:"):
        ls.open(str(tmp_path))


def test_a_path_is_read_as_what_it_is(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "t.csv", index=False)
    assert ls.open(tmp_path / "t.csv", ["treated"]).address == f"table:{tmp_path / 't.csv'}"
    with pytest.raises(ls.UserError, match="no file or directory that can be read"):
        ls.open(tmp_path / "nowhere.csv")
