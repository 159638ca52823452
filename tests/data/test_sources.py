"""Addresses, and the readers behind them."""

from __future__ import annotations

import gc
import gzip
import os
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import labelspace
from labelspace.data.dataset import Dataset
from labelspace.data.sources import SOURCES
from labelspace.errors import UserError
from labelspace.labels import Schema, binary, categorical
from labelspace.likelihoods import build_likelihood

Opener = Callable[..., Dataset]


def refused(address: str, *parts: str, **options: Any) -> str:
    """Opens what must be refused; checks that the message is one line that holds some parts."""
    with pytest.raises(UserError) as caught:
        labelspace.open(address, **options)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


def check_splits(data: Dataset) -> None:
    rows = np.concatenate([data.rows(split) for split in ("train", "val", "test")])
    assert sorted(rows.tolist()) == list(range(len(data)))


# -- addresses ---------------------------------------------------------------------------------------------------------


def test_an_unknown_address_suggests_the_nearest():
    refused("digit", "did you mean 'digits'")
    refused("swissroll:n=100", "did you mean 'swiss-roll'")
    refused("wikipedia", *SOURCES)
    refused("")


@pytest.mark.parametrize(
    ("address", "part"),
    [
        ("swiss-roll:m=100", "n, cut, noise"),
        ("swiss-roll:nois=1", "did you mean 'noise'"),
        ("swiss-roll:n=many", "n='many'"),
        ("swiss-roll:n=1.5", "n='1.5'"),
        ("swiss-roll:n=", "n="),
        ("swiss-roll:n", "takes no path"),
        ("swiss-roll:n=3", "n >= 10"),
        ("swiss-roll:n=-5", "n >= 10"),
        ("swiss-roll:cut=z", "swiss-roll:cut: 'z'; known: height, x"),
        ("swiss-roll:noise=-1", "noise"),
        ("swiss-roll:noise=nan", "noise"),
        ("swiss-roll:noise=inf", "noise"),
        ("digits:/tmp", "takes no path"),
        ("digits:n=3", "'n'"),
        ("digits:seed=3", "'seed'"),
        ("digits:address=3", "'address'"),
        ("faces:correlated=maybe", "correlated='maybe'"),
        ("faces:n=3", "n >= 10"),
        ("faces:size=7", "8 to 256"),
        ("faces:size=257", "8 to 256"),
        ("npz", "needs a path"),
        ("mnist:", "needs a path"),
        ("folder:size=64", "needs a path"),
    ],
)
def test_bad_options_are_refused(address: str, part: str):
    refused(address, part)


@pytest.mark.parametrize("address", ["npz:/no/such/file.npz", "folder:/no/such/place", "mnist:/no/such/place"])
def test_a_path_that_does_not_exist_is_refused(address: str):
    refused(address, "no such", address.partition(":")[2])


def test_labels_are_selected_in_the_order_given(tmp_path: Path):
    np.savez(tmp_path / "d.npz", x=np.eye(20), a=np.arange(20) % 2, b=np.arange(20) % 3, c=np.arange(20) / 7)
    address = f"npz:{tmp_path}/d.npz"
    whole, some = labelspace.open(address), labelspace.open(address, ["c", "a"])
    assert whole.schema.names == ("a", "b", "c")
    assert some.schema.names == ("c", "a")
    np.testing.assert_array_equal(some.values, whole.values[:, [2, 0]])
    assert labelspace.open(address, []).values.shape == (20, 0)


def test_an_unknown_label_suggests_the_nearest():
    refused("digits", "did you mean 'digit'", labels=["digits"])
    refused("swiss-roll:n=20", "'side'", labels=["sid"])


# -- digits and swiss-roll ---------------------------------------------------------------------------------------------


def test_digits():
    data = labelspace.open("digits")
    assert data.x.shape == (1797, 1, 8, 8)
    assert data.x.dtype == np.uint8
    assert (data.x.min(), data.x.max()) == (0, 255)
    assert data.schema == Schema([categorical("digit", [str(d) for d in range(10)])])
    assert data.observed.all()
    assert data.is_image
    assert data.range() == (0, 1)
    check_splits(data)
    assert len(data.rows("val")) == len(data.rows("test")) == 180
    samples = data.samples([0, 5])
    assert samples.max() <= 1
    assert data.describe()["labels"][0]["counts"]["0"] == 178


@pytest.mark.parametrize(("cut", "fraction"), [("height", 0.52), ("x", 0.14)])
def test_swiss_roll_has_the_promised_fractions(cut: str, fraction: float):
    data = labelspace.open(f"swiss-roll:cut={cut}")
    assert data.x.shape == (10_000, 3)
    assert data.x.dtype == np.float32
    assert data.values.mean() == pytest.approx(fraction, abs=0.015)
    np.testing.assert_allclose(data.x.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(data.x.std(0), 1, atol=1e-5)
    assert data.schema == Schema([binary("side")])
    assert not data.is_image
    column = {"x": 0, "height": 1}[cut]
    on = data.values[:, 0] == 1
    assert data.x[on, column].min() >= data.x[~on, column].max()
    check_splits(data)


def test_height_is_the_default_cut_and_noise_moves_the_points():
    plain, height, noisy = (labelspace.open(f"swiss-roll:n=50{more}") for more in ("", ",cut=height", ",noise=0.5"))
    np.testing.assert_array_equal(plain.values, height.values)
    assert not np.array_equal(plain.x, noisy.x)


@pytest.mark.parametrize("address", ["digits", "swiss-roll:n=200"])
def test_seeds_are_reproducible(address: str):
    one, same, other = (labelspace.open(address, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.x, same.x)
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(one.rows(split), same.rows(split))
    assert not np.array_equal(one.rows("test"), other.rows("test"))
    assert one.seed == 1


def test_an_unknown_split_is_refused():
    with pytest.raises(UserError, match="did you mean 'train'"):
        labelspace.open("swiss-roll:n=20").rows("trian")  # type: ignore[arg-type]


def test_data_without_known_truth_cannot_draw_counterfactuals():
    with pytest.raises(UserError, match="truth"):
        labelspace.open("digits").counterfactuals("digit", 1, [0])


# -- npz ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def npz(tmp_path: Path) -> Opener:
    def make(labels: list[str] | None = None, **arrays: Any) -> Dataset:
        np.savez(tmp_path / "data.npz", **arrays)
        return labelspace.open(f"npz:{tmp_path}/data.npz", labels)

    return make


VECTORS = np.random.default_rng(0).normal(size=(30, 4))
ON = np.arange(30) % 2


def test_npz_reads_labels_of_every_kind_with_missing_entries(npz: Opener):
    kind = np.array(["cat", "dog", ""] * 10)
    level = np.arange(30) / 4
    level[7] = np.nan
    grade = (np.arange(30) % 4).astype(float)
    grade[3] = np.nan
    flag = np.where(np.arange(30) == 4, np.nan, ON)
    data = npz(x=VECTORS, kind=kind, level=level, grade=grade, flag=flag, bit=ON == 1)
    assert [label.kind for label in data.schema] == ["categorical", "continuous", "categorical", "binary", "binary"]
    assert data.schema["kind"].classes == ("cat", "dog")
    assert data.schema["grade"].classes == ("0", "1", "2", "3")
    assert data.schema["level"].mean == pytest.approx(np.nanmean(level))
    assert data.schema["level"].scale == pytest.approx(np.nanstd(level))
    assert (~data.observed).sum(0).tolist() == [10, 1, 1, 1, 0]
    assert (data.values[~data.observed] == 0).all()
    decoded = data.schema.decode(data.values, data.observed)
    assert decoded["kind"] == [entry or None for entry in kind.tolist()]
    assert decoded["grade"][:5] == ["0", "1", "2", None, "0"]
    assert [row["missing"] for row in data.describe()["labels"]] == [10, 1, 1, 1, 0]
    check_splits(data)


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int32, np.uint8, bool])
def test_npz_reads_vectors_of_any_number_type(npz: Opener, kind: type):
    x = (np.arange(120).reshape(30, 4) % 2).astype(kind)
    data = npz(x=x, on=ON)
    assert data.x.dtype == np.float32
    np.testing.assert_array_equal(data.x, x.astype(np.float32))


@pytest.mark.parametrize("shape", [(30, 3, 9, 10), (30, 9, 10, 3), (30, 9, 10), (30, 9, 10, 1)])
def test_npz_reads_images_with_channels_first_last_or_none(npz: Opener, shape: tuple[int, ...]):
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    data = npz(x=x, on=ON)
    expected = x[:, None] if x.ndim == 3 else x if shape[1] == 3 else x.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(data.x, expected)
    assert data.x.dtype == np.uint8
    as_float = npz(x=x / 255, on=ON)
    assert as_float.x.dtype == np.float32
    np.testing.assert_allclose(as_float.samples(range(30)), data.samples(range(30)), atol=1e-6)


def test_npz_takes_splits_from_the_archive(npz: Opener):
    split = np.array((["train"] * 8 + ["val"] + ["test"]) * 3)
    data = npz(x=VECTORS, on=(np.arange(30) % 3 == 0), split=split)
    assert data.schema.names == ("on",)
    assert data.rows("val").tolist() == [8, 18, 28]
    assert data.rows("test").tolist() == [9, 19, 29]
    check_splits(data)


def test_npz_without_labels_has_none(npz: Opener):
    data = npz(x=VECTORS)
    assert data.values.shape == data.observed.shape == (30, 0)


@pytest.mark.parametrize(
    ("arrays", "parts"),
    [
        ({"on": ON}, ("no array x", "on")),
        ({"x": VECTORS, "on": ON[:7]}, ("'on'", "(7,)", "30")),
        ({"x": VECTORS, "on": VECTORS}, ("'on'", "(30, 4)")),
        ({"x": VECTORS[0], "on": ON}, ("x", "(4,)")),
        ({"x": VECTORS.astype(str), "on": ON}, ("x",)),
        ({"x": VECTORS.astype(complex), "on": ON}, ("x", "complex")),
        ({"x": VECTORS, "on": ON, "split": np.array(["train"] * 29 + ["dev"])}, ("split", "train, val or test")),
        ({"x": VECTORS, "on": ON, "split": np.array(["train"] * 30)}, ("val", "empty")),
        ({"x": VECTORS, "on": ON, "split": np.array(["train"] * 3)}, ("split", "30")),
        ({"x": VECTORS, "on": np.ones(30)}, ("'on'", "always 1")),
        ({"x": VECTORS, "c": np.array(["same"] * 30)}, ("'c'", "always 'same'")),
        ({"x": VECTORS, "c": np.full(30, 2.5)}, ("'c'", "always 2.5")),
        ({"x": VECTORS, "c": np.full(30, np.nan)}, ("'c'", "no entry")),
        ({"x": VECTORS[:2], "on": ON[:2]}, ("train split is empty",)),
        ({"x": VECTORS[:0], "on": ON[:0]}, ()),
    ],
)
def test_npz_with_wrong_arrays_is_refused(tmp_path: Path, arrays: dict[str, Any], parts: tuple[str, ...]):
    np.savez(tmp_path / "data.npz", **arrays)
    refused(f"npz:{tmp_path}/data.npz", *parts)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_in_x_names_the_first_row(tmp_path: Path, bad: float):
    x = VECTORS.copy()
    x[6, 2] = x[20, 0] = bad
    np.savez(tmp_path / "data.npz", x=x, on=ON)
    refused(f"npz:{tmp_path}/data.npz", "NaN", "row 7", "column 3", "2 rows")


def tabular() -> np.ndarray:
    """30 rows: a number, a class index of three, a count; some cells are missing."""
    i = np.arange(30)
    x = np.stack([VECTORS[:, 0], i % 3, i // 4], 1)
    x[4, 0] = x[5, 1] = x[6, 2] = x[6, 0] = np.nan
    return x


KINDS = np.array(["continuous", "categorical", "count"])


@pytest.mark.parametrize("kinds", [KINDS, KINDS.astype(bytes)])
def test_npz_with_columns_is_a_table_with_missing_cells(npz: Opener, kinds: np.ndarray):
    x = tabular()
    data = npz(x=x, columns=kinds, on=ON)
    assert data.schema.names == ("on",)
    assert data.likelihood == "table(continuous,categorical:3,count)"
    np.testing.assert_array_equal(data.x, x.astype(np.float32))
    found = data.describe()
    assert found["missing_cells"] == 4
    assert found["range"] == pytest.approx([np.nanmin(x), np.nanmax(x)])
    build_likelihood(data.likelihood, data.shape, 1.0, False).check(data.samples(data.rows("train")))
    assert npz(x=VECTORS, on=ON).likelihood == ""
    assert npz(x=VECTORS, on=ON).describe()["missing_cells"] == 0


def altered(column: int, value: float, rows: slice = slice(None)) -> np.ndarray:
    x = tabular()
    x[rows, column] = value
    return x


@pytest.mark.parametrize(
    ("x", "kinds", "parts"),
    [
        (tabular(), KINDS[:2], ("columns", "(2,)", "(30, 3)")),
        (np.zeros((30, 3, 9, 9)), KINDS, ("columns", "(30, 3, 9, 9)")),
        (tabular(), ["continuous", "categorial", "count"], ("column 2", "did you mean 'categorical'")),
        (tabular(), ["count", "categorical", "count"], ("row 1, column 1", "whole numbers")),
        (altered(1, 1.5, slice(3, 4)), KINDS, ("row 4, column 2", "0 to 2")),
        (altered(1, -1, slice(3, 4)), KINDS, ("row 4, column 2", "0 to 2")),
        (altered(1, 0), KINDS, ("column 2", "two classes")),
        (altered(1, 90210, slice(3, 4)), KINDS, ("column 2", "90210")),
        (altered(0, np.inf, slice(3, 4)), KINDS, ("row 4, column 1", "inf")),
        (altered(2, np.nan), KINDS, ("column 3", "training split")),
    ],
)
def test_a_table_that_does_not_fit_its_columns_is_refused(tmp_path: Path, x: np.ndarray, kinds: Any, parts: tuple[str, ...]):
    np.savez(tmp_path / "data.npz", x=x, columns=np.array(kinds), on=ON)
    refused(f"npz:{tmp_path}/data.npz", "data.npz", *parts)


def test_a_class_without_any_training_sample_is_refused(tmp_path: Path):
    split = np.array(["train"] * 20 + ["val"] * 5 + ["test"] * 5)
    kind = np.array(["cat", "dog"] * 10 + ["eel"] * 10)
    np.savez(tmp_path / "data.npz", x=VECTORS, split=split, kind=kind, on=ON)
    refused(f"npz:{tmp_path}/data.npz", "'eel'", "'kind'", "labels=")
    assert labelspace.open(f"npz:{tmp_path}/data.npz", ["on"]).schema.names == ("on",)


def test_hidden_labels_are_those_of_whole_samples_outside_the_test_split(npz: Opener):
    level = np.where(ON == 1, np.nan, np.arange(30) + 0.5)
    data = npz(x=VECTORS, on=np.arange(30) % 3 == 0, level=level)
    before = data.observed.copy()
    few, same, more, other = (data.hide(part, seed) for part, seed in [(0.25, 3), (0.25, 3), (0.5, 3), (0.25, 4)])
    train, val, test = (few.rows(split) for split in ("train", "val", "test"))
    assert few.observed[train, 0].sum() == 6
    assert few.observed[val, 0].sum() == 1
    np.testing.assert_array_equal(few.observed[test], data.observed[test])
    np.testing.assert_array_equal(few.observed, data.observed & few.observed[:, :1])
    np.testing.assert_array_equal(few.values, np.where(few.observed, data.values, 0))
    assert few.values.dtype == np.float32
    np.testing.assert_array_equal(few.observed, same.observed)
    assert (few.observed <= more.observed).all()
    assert (few.observed != other.observed).any()
    assert few.notes == ("labels of 6 of 24 training samples are used (supervision 0.25, seed 3)",)
    np.testing.assert_array_equal(data.observed, before)
    assert data.hide(1e-9, 0).observed[train, 0].sum() == 1
    assert data.hide(1, 0) is data


@pytest.mark.parametrize("supervision", [0.0, -0.5, 1.5, np.nan])
def test_supervision_is_a_fraction(npz: Opener, supervision: float):
    with pytest.raises(UserError, match="above 0 up to 1"):
        npz(x=VECTORS, on=ON).hide(supervision, 0)


def test_pickled_object_arrays_are_refused_without_running_them(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    trap = np.empty(30, object)
    trap[:] = [Trap() for _ in range(30)]
    np.savez(tmp_path / "data.npz", x=VECTORS, on=trap)
    refused(f"npz:{tmp_path}/data.npz", "data.npz")
    assert not (tmp_path / "sprung").exists()


def damaged_npz(path: Path, how: str) -> None:
    np.savez_compressed(path, x=VECTORS, on=ON)
    raw = bytearray(path.read_bytes())
    if how == "cut":
        raw = raw[: len(raw) // 2]
    elif how == "flipped":
        raw[80:120] = bytes(b ^ 0xFF for b in raw[80:120])
    elif how == "text":
        raw = bytearray(b"hello, I am a text file")
    elif how == "empty":
        raw = bytearray()
    path.write_bytes(raw)


@pytest.mark.parametrize("how", ["cut", "flipped", "text", "empty"])
def test_a_damaged_archive_is_refused_and_not_left_open(tmp_path: Path, how: str):
    damaged_npz(tmp_path / "data.npz", how)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        refused(f"npz:{tmp_path}/data.npz", "data.npz")
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def test_a_single_array_file_is_refused_as_an_archive(tmp_path: Path):
    np.save(tmp_path / "data.npy", VECTORS)
    refused(f"npz:{tmp_path}/data.npy", "data.npy")


def test_byte_texts_are_labels_too(npz: Opener):
    data = npz(x=VECTORS, c=np.array([b"cat", b" dog "] * 15))
    assert data.schema["c"].classes == ("cat", "dog")


def test_bytes_that_are_not_text_are_refused(tmp_path: Path):
    np.savez(tmp_path / "data.npz", x=VECTORS, c=np.array([b"\xff\xfe", b"dog"] * 15))
    refused(f"npz:{tmp_path}/data.npz", "'c'")


def test_a_path_may_hold_commas_and_spaces(tmp_path: Path):
    home = tmp_path / "my data, new"
    home.mkdir()
    np.savez(home / "d.npz", x=VECTORS, on=ON)
    assert len(labelspace.open(f"npz:{home}/d.npz")) == 30


# -- folder ------------------------------------------------------------------------------------------------------------


def picture(path: Path, shade: int = 0, mode: str = "RGB", size: tuple[int, int] = (12, 10), **options: Any) -> Path:
    """Writes an image file of (width, height) whose shade can be told from the pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, shade).convert(mode).save(path, **options)
    return path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two classes with ten images each; cats are dark, dogs are bright."""
    home = tmp_path / "pets"
    for i in range(10):
        picture(home / "cat" / f"{i}.png", i)
        picture(home / "dog" / f"{i}.PNG", 200 + i)
    return home


def table(home: Path, text: str, encoding: str = "utf-8") -> Path:
    (home / "labels.csv").write_bytes(text.encode(encoding))
    return home


def listed(home: Path, n: int = 12, **options: Any) -> list[str]:
    for i in range(n):
        picture(home / f"{i}.png", 10 * i, **options)
    return [f"{i}.png" for i in range(n)]


def test_class_directories_become_a_categorical_label(pets: Path):
    data = labelspace.open(f"folder:{pets}")
    assert data.x.shape == (20, 3, 10, 12)
    assert data.schema == Schema([categorical("class", ["cat", "dog"])])
    np.testing.assert_array_equal(data.values[:, 0] == 1, data.x[:, 0, 0, 0] >= 200)
    assert data.notes == ()
    check_splits(data)


@pytest.mark.parametrize("names", [("hat", "none"), ("no", "yes"), ("0.5", "1.5"), ("01", "02")])
def test_every_sub_directory_is_a_class_whatever_it_is_called(tmp_path: Path, names: tuple[str, str]):
    for name in names:
        for i in range(6):
            picture(tmp_path / name / f"{i}.png", i)
    data = labelspace.open(f"folder:{tmp_path}")
    assert data.observed.all()
    assert data.schema == Schema([categorical("class", names)])


def test_labels_csv_with_a_byte_order_mark_and_windows_line_ends(tmp_path: Path):
    names = listed(tmp_path)
    rows = [f"{name},{i % 2},{['rot', 'grün', ''][i % 3]},{i / 4}" for i, name in enumerate(names)]
    table(tmp_path, "\r\n".join(["file,on,farbe,level", *rows, ""]), "utf-8-sig")
    data = labelspace.open(f"folder:{tmp_path}")
    assert data.schema.names == ("on", "farbe", "level")
    assert [label.kind for label in data.schema] == ["binary", "categorical", "continuous"]
    assert data.schema["farbe"].classes == ("grün", "rot")
    assert (~data.observed).sum(0).tolist() == [0, 4, 0]
    assert data.x[:, 0, 0, 0].tolist() == [10 * i for i in range(12)]
    assert data.values[:, 0].tolist() == [i % 2 for i in range(12)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("file,on\n0.png,1\nghost.png,0\n", ("line 3", "'ghost.png'")),
        ("file,on\n0.png,1\n1.png,0\n0.png,0\n", ("line 4", "'0.png'", "line 2")),
        ("file,on\n0.png,1\n1.png\n", ("line 3", "1 cells", "2")),
        ("file,on\n0.png,1\n1.png,0,7\n", ("line 3", "3 cells", "2")),
        ("file,on\n\n0.png,1\n\nghost.png,1\n", ("line 5", "'ghost.png'")),
        ("file,on\n0.png,1\n,1\n", ("line 3",)),
        ("file\n0.png\n", ("label column",)),
        ("file,on\n", ("at least one row",)),
        ("", ("names the columns",)),
        ("file,on,on\n0.png,1,1\n", ("same name", "on")),
        ("file,a=b\n0.png,1\n1.png,0\n", ("'a=b'",)),
        ("file,on\n0.png,1\n1.png,1\n2.png,1\n3.png,1\n", ("'on'", "always 1")),
    ],
)
def test_a_wrong_labels_csv_is_refused_naming_the_line(tmp_path: Path, text: str, parts: tuple[str, ...]):
    listed(tmp_path, 4)
    refused(f"folder:{table(tmp_path, text)}", *parts)


def test_a_labels_csv_that_is_not_utf8_is_read_and_noted(tmp_path: Path):
    listed(tmp_path, 12)
    table(tmp_path, "file,on\n" + "".join(f"{i}.png,{'grün' if i % 2 else 'rot'}\n" for i in range(12)), "latin-1")
    data = labelspace.open(f"folder:{tmp_path}")
    assert data.schema["on"].classes == ("grün", "rot")
    assert any("Windows-1252" in note for note in data.notes)


def test_directories_that_cannot_be_classes_are_refused(tmp_path: Path):
    refused(f"folder:{tmp_path}", "labels.csv")
    picture(tmp_path / "cat" / "1.png")
    refused(f"folder:{tmp_path}", "two class directories")
    (tmp_path / "dog").mkdir()
    refused(f"folder:{tmp_path}", "dog", "no images")


@pytest.mark.parametrize(("options", "part"), [("size=7", "8 to 256"), ("size=300", "8 to 256"), ("channels=2", "1, 3 or 4")])
def test_wrong_options_of_a_folder_are_refused(pets: Path, options: str, part: str):
    refused(f"folder:{pets},{options}", part)


def test_images_of_different_sizes_are_fitted_to_64_or_to_a_size(pets: Path):
    picture(pets / "dog" / "large.png", 210, size=(30, 20))
    data = labelspace.open(f"folder:{pets}")
    assert data.x.shape == (21, 3, 64, 64)
    assert data.notes == ("pictures of 2 sizes are fitted to 64 x 64 (crop 'centre'); size= chooses another",)
    data = labelspace.open(f"folder:{pets},size=16")
    assert data.x.shape == (21, 3, 16, 16)
    assert data.x[:10].max() < 20
    assert data.x[10:].min() >= 200


def test_images_of_different_modes_are_read_as_rgb_or_by_channels(pets: Path):
    picture(pets / "dog" / "grey.png", 210, "L")
    data = labelspace.open(f"folder:{pets}")
    assert data.shape == (3, 10, 12)
    assert data.notes == ("1 picture is grey, and read as RGB like the others; channels= chooses",)
    for channels in (1, 3, 4):
        data = labelspace.open(f"folder:{pets},channels={channels}")
        assert data.x.shape == (21, channels, 10, 12)
        assert (data.x[20, : min(channels, 3)] == 210).all()


@pytest.mark.parametrize(
    ("name", "mode", "channels"),
    [
        ("x.png", "L", 1),
        ("x.PNG", "1", 1),
        ("x.png", "P", 3),
        ("x.gif", "P", 3),
        ("x.png", "RGBA", 3),
        ("x.JPG", "RGB", 3),
        ("x.Jpeg", "CMYK", 3),
        ("x.tif", "CMYK", 3),
        ("x.TIFF", "L", 1),
        ("x.bmp", "RGB", 3),
        ("x.webp", "RGB", 3),
    ],
)
def test_modes_and_endings_are_read(tmp_path: Path, name: str, mode: str, channels: int):
    for i, level in enumerate((0, 255) * 5):
        picture(tmp_path / ("dark" if level == 0 else "light") / f"{i}{name}", level, mode)
    data = labelspace.open(f"folder:{tmp_path}")
    assert data.x.shape == (10, channels, 10, 12)
    light = data.values[:, 0] == 1
    assert data.x[light, :3].min() >= 250
    assert data.x[~light, :3].max() <= 5


def test_sixteen_bit_grey_keeps_its_high_byte(tmp_path: Path):
    for i in range(12):
        level = np.full((10, 12), 256 * 20 * i + 255, np.uint16)
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(level).save(tmp_path / "ab"[i % 2] / f"{i:02}.png")
    data = labelspace.open(f"folder:{tmp_path}")
    assert data.x.shape == (12, 1, 10, 12)
    assert sorted(data.x[:, 0, 0, 0].tolist()) == [20 * i for i in range(12)]


def test_images_are_turned_upright_by_their_exif(tmp_path: Path):
    upright = np.zeros((10, 16), np.uint8)
    upright[:5, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 270 degrees
    for i in range(6):
        for kind in ("plain", "turned"):
            (tmp_path / kind).mkdir(exist_ok=True)
        Image.fromarray(upright).save(tmp_path / "plain" / f"{i}.png")
        Image.fromarray(np.rot90(upright)).save(tmp_path / "turned" / f"{i}.png", exif=exif)
    data = labelspace.open(f"folder:{tmp_path}")
    assert data.x.shape == (12, 1, 10, 16)
    assert (data.x == upright).all()


def many(home: Path, broken: int) -> Path:
    for i in range(120):
        picture(home / ("a" if i < 60 else "b") / f"{i:03}.png", i, "L", (8, 8))
    for i in range(broken):
        victim = home / "b" / f"{119 - i:03}.png"
        victim.write_bytes(victim.read_bytes()[:45] if i % 2 else b"not an image")
    return home


def test_up_to_one_percent_of_corrupt_images_is_skipped_and_noted(tmp_path: Path):
    data = labelspace.open(f"folder:{many(tmp_path, 1)}")
    assert len(data) == 119
    assert data.x[:, 0, 0, 0].tolist() == list(range(119))
    assert data.values[:, 0].tolist() == [0] * 60 + [1] * 59
    assert len(data.notes) == 1
    assert "119.png" in data.notes[0]
    assert "1 of 120" in data.notes[0]
    check_splits(data)
    assert labelspace.open(f"folder:{tmp_path}").notes == data.notes


def test_more_than_one_percent_of_corrupt_images_is_refused(tmp_path: Path):
    message = refused(f"folder:{many(tmp_path, 2)}", "2 of 120", "1%")
    assert "119.png" in message or "118.png" in message


def test_what_was_refused_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("LABELSPACE_CACHE", str(cache))
    victim = many(tmp_path / "home", 0) / "a" / "000.png"
    content, before = victim.read_bytes(), victim.stat()
    for i in range(2):
        other = victim.with_name(f"{i:03}.png")
        other.write_bytes(b"x" * len(content))
        os.utime(other, ns=(before.st_mtime_ns, before.st_mtime_ns))
    refused(f"folder:{tmp_path / 'home'},size=8,channels=1", "2 of 120")
    assert list(cache.iterdir()) == []
    victim.write_bytes(content)
    os.utime(victim, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert len(labelspace.open(f"folder:{tmp_path / 'home'},size=8,channels=1")) == 119


def test_hidden_files_are_no_samples(pets: Path):
    (pets / "cat" / ".copies").mkdir()
    (pets / "cat" / ".copies" / "0.png").write_bytes((pets / "cat" / "0.png").read_bytes())
    (pets / "dog" / "._0.png").write_bytes(b"what macOS writes")
    assert len(labelspace.open(f"folder:{pets}")) == 20


def test_a_file_that_is_listed_under_two_names_is_refused(tmp_path: Path):
    rows = "".join(f"{i}.png,{i % 2}\n" for i in range(12))
    for i in range(12):
        picture(tmp_path / f"{i}.png", i)
    (tmp_path / "labels.csv").write_text(f"file,y\n{rows}./3.png,1\n")
    refused(f"folder:{tmp_path}", "line 14", "already in line 5")


def test_an_image_cut_short_after_its_header_counts_as_corrupt(pets: Path):
    noise = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    victim = pets / "cat" / "0.png"
    Image.fromarray(noise).save(victim)
    victim.write_bytes(victim.read_bytes()[:200])
    refused(f"folder:{pets}", "1 of 20", str(victim))


def test_a_changed_image_is_read_again(pets: Path):
    before = labelspace.open(f"folder:{pets}")
    victim = picture(pets / "cat" / "0.png", 77)
    os.utime(victim, (1, 1))
    after = labelspace.open(f"folder:{pets}")
    assert before.x[0, 0, 0, 0] == 0
    assert after.x[0, 0, 0, 0] == 77


# -- mnist -------------------------------------------------------------------------------------------------------------


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


IMAGES = np.random.default_rng(0).integers(0, 256, (34, 9, 8), dtype=np.uint8)
DIGITS = (np.arange(34) % 5).astype(np.uint8)


def mnist(home: Path, zipped: bool = False, test: str = "t10k", **replaced: bytes) -> Path:
    """Writes 24 training and 10 test digits; ``replaced`` exchanges the content of a file (train_images, ...)."""
    home.mkdir(exist_ok=True)
    content = {
        "train_images": idx(IMAGES[:24]),
        "train_labels": idx(DIGITS[:24]),
        "test_images": idx(IMAGES[24:]),
        "test_labels": idx(DIGITS[24:]),
    }
    for name, raw in (content | replaced).items():
        part, kind = name.split("_")
        file = f"{'train' if part == 'train' else test}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"
        (home / (file + ".gz" if zipped else file)).write_bytes(gzip.compress(raw) if zipped else raw)
    return home


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("test", ["t10k", "test"])
def test_mnist_reads_idx_files(tmp_path: Path, zipped: bool, test: str):
    data = labelspace.open(f"mnist:{mnist(tmp_path, zipped, test)}")
    np.testing.assert_array_equal(data.x, IMAGES[:, None])
    assert data.values[:, 0].tolist() == DIGITS.tolist()
    assert data.schema == Schema([categorical("digit", "01234")])
    assert data.rows("test").tolist() == list(range(24, 34))
    assert len(data.rows("val")) == 2
    check_splits(data)


def test_mnist_validation_rows_follow_the_seed(tmp_path: Path):
    home = mnist(tmp_path)
    rows = [labelspace.open(f"mnist:{home}", seed=seed).rows("val").tolist() for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("name", "raw", "part"),
    [
        ("train_images", idx(IMAGES[:24])[:-7], "train-images"),
        ("train_images", idx(IMAGES[:24]) + b"x", "train-images"),
        ("train_images", b"\1\2" + idx(IMAGES[:24])[2:], "not an IDX file"),
        ("test_labels", b"\0\0\x07\1" + idx(DIGITS[24:])[4:], "not an IDX file"),
        ("test_labels", b"\0\0", "not an IDX file"),
        ("test_labels", b"", "not an IDX file"),
        ("train_images", idx(IMAGES[:24])[:9], "not an IDX file"),
        ("train_labels", idx(DIGITS[:23]), "23 labels for the 24 images"),
        ("train_images", idx(IMAGES[:24].reshape(24, -1)), "expected bytes"),
        ("test_images", idx(IMAGES[24:, :8]), "(9, 8)"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path: Path, zipped: bool, name: str, raw: bytes, part: str):
    refused(f"mnist:{mnist(tmp_path, zipped, 't10k', **{name: raw})}", part, str(tmp_path))


def test_idx_files_without_any_image_are_refused(tmp_path: Path):
    refused(f"mnist:{mnist(tmp_path, train_images=idx(IMAGES[:0]), train_labels=idx(DIGITS[:0]))}")


@pytest.mark.parametrize("how", ["cut", "flipped", "plain"])
def test_damaged_gzip_files_are_refused(tmp_path: Path, how: str):
    victim = mnist(tmp_path, zipped=True) / "train-images-idx3-ubyte.gz"
    raw = bytearray(victim.read_bytes())
    if how == "flipped":
        raw[12:60] = bytes(b ^ 0xFF for b in raw[12:60])
    victim.write_bytes({"cut": raw[:100], "flipped": raw, "plain": idx(IMAGES[:24])}[how])
    refused(f"mnist:{tmp_path}", victim.name)


def test_an_absent_idx_file_is_named(tmp_path: Path):
    (mnist(tmp_path) / "t10k-labels-idx1-ubyte").unlink()
    refused(f"mnist:{tmp_path}", "t10k-labels")


def test_entries_without_names_are_numbered() -> None:
    assert labelspace.open("moons:n=100").entries == ("x1", "x2")
