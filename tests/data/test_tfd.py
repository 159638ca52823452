"""The Toronto Face Database's MATLAB file."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

import labelspace
from labelspace.data import matlab
from labelspace.data.sources.tfd import EXPRESSIONS
from labelspace.errors import UserError

N = 60
X = np.random.default_rng(0).integers(0, 256, (N, 48, 48), dtype=np.uint8)
EXPRESSION = np.where(np.arange(N) < 42, np.arange(N) % 7 + 1, -1)
IDENTITY = np.where(np.arange(N) < 42, np.arange(N) // 3, -1)
# A fold shifts which samples test; those without labels are 0 in every fold.
FOLDS = np.array([[0 if i >= 42 else [3, 2, 1, 1, 1, 1][(i // 7 + f) % 6] for f in range(5)] for i in range(N)])


def tfd(file: Path, **arrays: Any) -> Path:
    """The file as MATLAB writes it, numbers as doubles in columns; ``arrays`` replace some, None leaves one out."""
    content = {
        "images": X,
        "labs_ex": EXPRESSION[:, None].astype(float),
        "labs_id": IDENTITY[:, None].astype(float),
        "folds": FOLDS.astype(float),
    } | arrays
    savemat(file, {name: array for name, array in content.items() if array is not None}, do_compression=True)
    return file


def refused(address: str, *parts: str) -> None:
    with pytest.raises(UserError) as caught:
        labelspace.open(address)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("fold", [1, 5])
def test_a_fold_is_read_and_images_without_labels_train(tmp_path: Path, fold: int):
    data = labelspace.open(f"tfd:{tfd(tmp_path / 'TFD_48x48.mat')},fold={fold}")
    np.testing.assert_array_equal(data.x, X[:, None])
    assert data.schema.names == ("expression",)
    assert data.schema["expression"].classes == EXPRESSIONS
    assert data.observed[:, 0].tolist() == [True] * 42 + [False] * 18
    np.testing.assert_array_equal(data.values[:42, 0], np.arange(42) % 7)
    assert (data.values[42:] == 0).all()
    column = FOLDS[:, fold - 1]
    assert data.rows("train").tolist() == np.flatnonzero(column <= 1).tolist()
    assert data.rows("val").tolist() == np.flatnonzero(column == 2).tolist()
    assert data.rows("test").tolist() == np.flatnonzero(column == 3).tolist()
    assert data.keys["identity"][[0, 3, 59]].tolist() == ["0", "1", ""]


def test_the_large_version_and_row_vectors_are_read(tmp_path: Path):
    file = tfd(tmp_path / "large", images=np.kron(X, np.ones((1, 2, 2), np.uint8)), labs_ex=EXPRESSION[None], labs_id=IDENTITY)
    assert labelspace.open(f"tfd:{file}").shape == (1, 96, 96)


def changed(array: np.ndarray, row: int, value: float, column: int | None = None) -> np.ndarray:
    out = array.astype(float)
    out[(row,) if column is None else (row, column)] = value
    return out


@pytest.fixture
def read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are not damaged are read without a process for each, which takes a second."""

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        said = matlab._write(command[3], command[4], command[5:])
        return SimpleNamespace(returncode=int(said != ""), stderr=said)

    monkeypatch.setattr(matlab, "subprocess", SimpleNamespace(run=run, DEVNULL=None))


@pytest.mark.usefixtures("read_here")
@pytest.mark.parametrize(
    ("arrays", "parts"),
    [
        ({"images": None}, ("no array 'images'",)),
        ({"folds": None}, ("no array 'folds'",)),
        ({"images": X.astype(float)}, ("images", "float64")),
        ({"images": X.reshape(N, -1)}, ("images", "(60, 2304)")),
        ({"images": X[:, :4]}, ("images", "8 to 256")),
        ({"labs_ex": changed(EXPRESSION, 5, 8)}, ("labs_ex", "row 6", "8", "1 to 7")),
        ({"labs_ex": changed(EXPRESSION, 5, 0)}, ("labs_ex", "row 6")),
        ({"labs_ex": changed(EXPRESSION, 5, 1.5)}, ("labs_ex", "row 6", "1.5")),
        ({"labs_ex": changed(EXPRESSION, 5, np.nan)}, ("labs_ex", "row 6", "nan")),
        ({"labs_ex": EXPRESSION[:9]}, ("labs_ex", "9 entries", "60")),
        ({"labs_ex": "text"}, ("labs_ex", "numbers")),
        ({"labs_ex": {"a": 1}}, ("labs_ex", "numbers")),
        ({"labs_id": changed(IDENTITY, 7, -2)}, ("labs_id", "row 8", "-2")),
        ({"folds": changed(FOLDS, 3, 4, 0)}, ("folds", "row 4", "column 1", "4")),
        ({"folds": FOLDS[:9]}, ("folds", "(9, 5)")),
        ({"folds": np.where(FOLDS == 3, 1, FOLDS)}, ("test split is empty",)),
    ],
)
def test_wrong_arrays_are_refused_naming_array_and_row(tmp_path: Path, arrays: dict[str, Any], parts: tuple[str, ...]):
    refused(f"tfd:{tfd(tmp_path / 'tfd.mat', **arrays)}", "tfd.mat", *parts)


@pytest.mark.usefixtures("read_here")
@pytest.mark.parametrize("fold", [0, 6])
def test_folds_that_are_not_there_are_refused(tmp_path: Path, fold: int):
    refused(f"tfd:{tfd(tmp_path / 'tfd.mat')},fold={fold}", "fold must be 1 to 5")


def test_files_that_are_not_matlab_are_refused(tmp_path: Path):
    file = tmp_path / "tfd.mat"
    refused(f"tfd:{file}", "no such file")
    hdf = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF" + b"\0" * 100
    for content, part in ((b"", "MATLAB"), (b"hello, I am a text", "MATLAB"), (os.urandom(4000), "MATLAB"), (hdf, "-v7")):
        file.write_bytes(content)
        refused(f"tfd:{file}", str(file), part)


def test_a_reader_that_crashes_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tfd(tmp_path / "TFD.mat")
    (tmp_path / "scipy").mkdir()  # found first by the process that reads
    (tmp_path / "scipy" / "__init__.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    refused(f"tfd:{file}", "cannot be read as a MATLAB file: it is damaged")


BYTES = io.BytesIO()
savemat(
    BYTES,
    {"images": X[:9, :8, :8], "labs_ex": EXPRESSION[:9], "labs_id": IDENTITY[:9], "folds": np.array([[1, 2, 3] * 3]).T},
)


@settings(max_examples=8)  # each starts a process
@given(st.data())
def test_damaged_files_are_one_line(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    raw = bytearray(BYTES.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=3)):
        raw[place] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.getbasetemp() / "damaged.mat"
    file.write_bytes(raw[: data.draw(st.one_of(st.just(len(raw)), st.integers(0, len(raw))))])
    message = ""
    try:
        labelspace.open(f"tfd:{file}")
    except UserError as error:
        message = str(error)
    assert "\n" not in message
