"""Cells by genes: matrices of every storage, counts and numbers, labels from obs, and genes that a trained model knows."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import labelspace
from labelspace.cli import main
from labelspace.errors import UserError
from labelspace.variables import Description

anndata = pytest.importorskip("anndata")
h5py = pytest.importorskip("h5py")
pd = pytest.importorskip("pandas")
sp = pytest.importorskip("scipy.sparse")

CELLS, GENES = 60, 12
COUNTS = np.random.default_rng(0).poisson(np.linspace(0.2, 6, GENES), (CELLS, GENES)).astype(np.float32)
LOGS = np.log1p(COUNTS / 3)
NAMES = [f"cell{i}" for i in range(CELLS)]
OBS = {
    "type": pd.Categorical([("B", "T", "NK")[i % 3] for i in range(CELLS)]),
    "treated": [i % 2 == 0 for i in range(CELLS)],
    "donor": pd.Categorical([f"d{i // 6}" for i in range(CELLS)]),
    "depth": np.linspace(0, 1, CELLS),
    "barcode": [f"b{i}" for i in range(CELLS)],
}


def cells(path: Path, x: Any = COUNTS, **changes: Any) -> Path:
    obs = pd.DataFrame({**OBS, **changes.pop("obs", {})}, index=changes.pop("names", NAMES))
    genes = changes.pop("genes", [f"g{i}" for i in range(COUNTS.shape[1])])
    made = anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=genes), layers=changes.pop("layers", {}))
    if "raw" in changes:
        made.raw = anndata.AnnData(changes["raw"], obs=obs, var=pd.DataFrame(index=[f"r{i}" for i in range(8)]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.write_h5ad(path)
    return path


def refused(address: str, *parts: str, labels: list[str] | None = None, **options: Any) -> None:
    with pytest.raises(UserError) as caught:
        labelspace.open(address, labels, **options)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize("store", [np.asarray, sp.csr_matrix, sp.csc_matrix])
def test_every_storage_gives_the_same_counts(tmp_path: Path, store: Any):
    data = labelspace.open(f"h5ad:{cells(tmp_path / 'c.h5ad', store(COUNTS))}")
    np.testing.assert_array_equal(data.x, COUNTS)
    assert data.likelihood == "negative-binomial"
    assert [variable.name for variable in data.variables] == [f"g{i}" for i in range(GENES)]
    assert {variable.kind for variable in data.variables} == {"count"}
    assert data.ids is not None
    assert data.ids.tolist() == NAMES


def test_layers_raw_and_numbers(tmp_path: Path):
    layers = {"counts": sp.csc_matrix(COUNTS), "dense": COUNTS}
    file = cells(tmp_path / "c.h5ad", LOGS, layers=layers, raw=sp.csr_matrix(LOGS[:, :8]))
    data = labelspace.open(f"h5ad:{file}")
    np.testing.assert_allclose(data.x, LOGS)
    assert data.likelihood == ""
    assert {variable.kind for variable in data.variables} == {"continuous"}
    for layer in ("counts", "dense"):
        layered = labelspace.open(f"h5ad:{file},layer={layer}")
        np.testing.assert_array_equal(layered.x, COUNTS)
        assert layered.likelihood == "negative-binomial"
        assert labelspace.open(f"h5ad:{file},layer={layer},counts=false").likelihood == ""
    raw = labelspace.open(f"h5ad:{file},raw=true")
    np.testing.assert_array_equal(raw.x, COUNTS[:, :8])
    assert raw.likelihood == "negative-binomial"
    assert any("counts=false" in note for note in raw.notes)
    assert raw.variables[3].name == "r3"
    np.testing.assert_allclose(labelspace.open(f"h5ad:{file},raw=true,counts=false").x, LOGS[:, :8])
    odd = cells(tmp_path / "odd.h5ad", LOGS + np.linspace(0, 1, LOGS.size, dtype=np.float32).reshape(LOGS.shape))
    refused(f"h5ad:{odd},counts=true", "cell cell0", "not counts")
    refused(f"h5ad:{file},layer=count", "did you mean 'counts'")
    refused(f"h5ad:{file},layer=counts,raw=true", "layer", "raw")
    refused(f"h5ad:{file},counts=maybe", "h5ad:counts", "auto, true, false")
    refused(f"h5ad:{cells(tmp_path / 'd.h5ad')},raw=true", "no raw")


def test_the_cell_with_an_entry_that_is_no_count_is_named(tmp_path: Path):
    for store in (np.array, sp.csr_matrix):
        wrong = COUNTS.copy()
        wrong[41, 3] = 2.5
        refused(f"h5ad:{cells(tmp_path / 'c.h5ad', store(wrong))},counts=true", "cell cell41")
    wrong[7, 2] = np.nan
    refused(f"h5ad:{cells(tmp_path / 'c.h5ad', wrong)}", "row 8, column 'g2'")


def test_labels_are_classes_and_booleans_and_the_rest_is_noted(tmp_path: Path):
    file = cells(tmp_path / "c.h5ad")
    data = labelspace.open(f"h5ad:{file}")
    assert [(label.name, label.kind) for label in data.schema] == [
        ("type", "categorical"),
        ("treated", "binary"),
        ("donor", "categorical"),
    ]
    assert any("depth (numbers), barcode" in note for note in data.notes)
    assert labelspace.open(f"h5ad:{file}", ["depth"]).schema["depth"].kind == "continuous"
    refused(f"h5ad:{file}", "c.h5ad", "'barcode'", "60 different texts", labels=["barcode"])
    refused(f"h5ad:{file}", "did you mean 'type'", labels=["typ"])
    some = OBS["type"].astype(object)
    some[5] = None
    missing = labelspace.open(f"h5ad:{cells(tmp_path / 'm.h5ad', obs={'type': pd.Categorical(some)})}", ["type"])
    assert np.flatnonzero(~missing.observed[:, 0]).tolist() == [5]
    assert not any("read as missing" in note for note in missing.notes)
    some = pd.Categorical([("none", "drug", "both")[i % 3] for i in range(CELLS)])
    named = labelspace.open(f"h5ad:{cells(tmp_path / 'n.h5ad', obs={'type': some})}", ["type"])
    assert "none" in named.schema["type"].classes
    assert any("'none' (" in note and "missing=type:none" in note for note in named.notes)


def test_what_is_always_the_same_is_set_aside_with_a_note(tmp_path: Path):
    obs = {"type": OBS["type"], "doublet": [False] * CELLS, "kept": [True] * CELLS, "tissue": pd.Categorical(["lung"] * CELLS)}
    data = labelspace.open(f"h5ad:{cells(tmp_path / 'c.h5ad', obs=obs)}")
    assert not {"doublet", "kept", "tissue"} & set(data.schema.names)
    assert any("doublet (always 0), kept (always 1), tissue (always lung)" in note for note in data.notes)
    assert data.reading is not None
    assert data.reading["tissue"].use == "left out"


@pytest.mark.parametrize("store", [sp.csr_matrix, sp.csc_matrix])
@pytest.mark.parametrize("part", ["indices", "indptr", "data"])
@pytest.mark.parametrize("value", [10**6, -1])
def test_a_sparse_matrix_that_points_out_of_itself_is_refused(tmp_path: Path, store: Any, part: str, value: int):
    file = cells(tmp_path / "c.h5ad", store(COUNTS))
    with h5py.File(file, "r+") as handle:
        where = handle["X"][part]
        if part == "data":
            handle["X"].move("data", "whole")
            handle["X"]["data"] = handle["X"]["whole"][: len(where) // 2]
        else:
            where[len(where) // 2] = value
    refused(f"h5ad:{file}", str(file), "damaged" if part != "data" else "")


@pytest.mark.parametrize("store", [sp.csr_matrix, sp.csc_matrix])
@pytest.mark.parametrize("kind", ["i4", "u8", "f8"])
def test_pointers_that_fall_are_refused(tmp_path: Path, store: Any, kind: str):
    """Also where the last one says that there are no entries, in numbers without a sign, and in numbers that are not whole."""
    file = cells(tmp_path / "c.h5ad", store(COUNTS))
    with h5py.File(file, "r+") as handle:
        pointers = handle["X"]["indptr"][...].astype(kind)
        del handle["X"]["indptr"]
        handle["X"]["indptr"] = np.concatenate([pointers[:2], [2**28], pointers[3:-1], pointers[-1:]]).astype(kind)
    refused(f"h5ad:{file}", "damaged")
    zarr = pytest.importorskip("zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        anndata.read_h5ad(cells(tmp_path / "d.h5ad", store(COUNTS))).write_zarr(tmp_path / "c.zarr")
        where = zarr.open(tmp_path / "c.zarr", mode="r+")["X"]["indptr"]
        where[2], where[-1] = 2**28, 0
        refused(f"h5ad:{tmp_path / 'c.zarr'}", "damaged")


def test_a_zarr_directory_is_read_as_the_file_is(tmp_path: Path):
    pytest.importorskip("zarr")
    file = cells(tmp_path / "c.h5ad", sp.csr_matrix(COUNTS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        anndata.read_h5ad(file).write_zarr(tmp_path / "c.zarr")
        there = labelspace.open(f"h5ad:{tmp_path / 'c.zarr'}")
    here = labelspace.open(f"h5ad:{file}")
    np.testing.assert_array_equal(there.x, here.x)
    assert there.schema == here.schema


def test_cells_of_a_donor_stay_together(tmp_path: Path):
    file = cells(tmp_path / "c.h5ad")
    data = labelspace.open(f"h5ad:{file},genes=4", ["type"], group="donor")
    homes = [set(data.keys["donor"][rows]) for rows in data.splits.values()]
    assert sum(map(len, homes)) == 10
    assert "donor" not in labelspace.open(f"h5ad:{file}", group="donor").schema.names
    refused(f"h5ad:{file}", "did you mean 'donor'", group="doner")


@pytest.mark.parametrize("store", [np.asarray, sp.csr_matrix])
def test_the_most_variable_genes_are_measured_on_the_training_cells(tmp_path: Path, store: Any):
    data = labelspace.open(f"h5ad:{cells(tmp_path / 'c.h5ad', store(COUNTS))},genes=5")
    train = COUNTS[data.rows("train")]
    spread = np.log1p(10_000 * train / train.sum(1, keepdims=True)).var(0)
    kept = np.sort(np.argsort(-spread)[:5])
    np.testing.assert_array_equal(data.x, COUNTS[:, kept])
    assert [variable.name for variable in data.variables] == [f"g{i}" for i in kept]
    plain = labelspace.open(f"h5ad:{cells(tmp_path / 'l.h5ad', store(LOGS))},genes=5")
    kept = np.sort(np.argsort(-LOGS[data.rows("train")].var(0))[:5])
    np.testing.assert_allclose(plain.x, LOGS[:, kept])
    refused(f"h5ad:{tmp_path / 'c.h5ad'},genes=13", "12 genes")
    refused(f"h5ad:{tmp_path / 'c.h5ad'},genes=-1", "genes")


def test_names_that_repeat_are_told_apart(tmp_path: Path):
    genes = ["a", "b", "a", *[f"g{i}" for i in range(GENES - 3)]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = cells(tmp_path / "c.h5ad", genes=genes, names=["x"] * 2 + NAMES[2:])
    data = labelspace.open(f"h5ad:{file}")
    assert len({variable.name for variable in data.variables}) == GENES
    assert data.ids is not None
    assert len(set(data.ids)) == CELLS
    assert sum("same name" in note for note in data.notes) == 2


def test_wrong_files_are_refused(tmp_path: Path):
    refused(f"h5ad:{tmp_path / 'none.h5ad'}", "no such file")
    (tmp_path / "text.h5ad").write_text("cells")
    refused(f"h5ad:{tmp_path / 'text.h5ad'}", "text.h5ad", "cannot be read")

    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["y"] = np.arange(5)
    refused(f"h5ad:{tmp_path / 'other.h5ad'}", "other.h5ad")
    file = cells(tmp_path / "cut.h5ad")
    file.write_bytes(file.read_bytes()[:3000])
    refused(f"h5ad:{file}", "cut.h5ad")
    refused(f"h5ad:{cells(tmp_path / 'e.h5ad', None, layers={'c': COUNTS})}", "no X", "c")


def test_what_does_not_fit_into_memory_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from labelspace.data.sources import h5ad

    file = cells(tmp_path / "c.h5ad")
    monkeypatch.setenv("LABELSPACE_MAX_BYTES", "2500")
    monkeypatch.setattr(h5ad.checked, "hdf5", lambda file, later: None)  # the columns of obs are as large
    assert labelspace.open(f"h5ad:{file},genes=10").x.shape == (CELLS, 10)
    monkeypatch.setattr(h5ad, "_pieces", lambda matrix: pytest.fail("it was read"))
    refused(f"h5ad:{file}", "60 cells and 12 genes", "genes=2000")


def test_labels_that_the_model_does_not_know_leave_its_own_as_they_are(tmp_path: Path):
    model = Description(labelspace.open(f"h5ad:{cells(tmp_path / 'c.h5ad')}", ["type"]).schema, ())
    few = cells(tmp_path / "few.h5ad", obs={"type": pd.Categorical(["NK", "T"] * (CELLS // 2))})
    data = labelspace.open(f"h5ad:{few}", ["type", "treated"], training=False, like=model)
    assert data.schema["type"].classes == ("B", "NK", "T")


def test_a_new_file_is_read_with_the_genes_of_the_model(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    file, run = cells(tmp_path / "c.h5ad", sp.csr_matrix(COUNTS)), tmp_path / "run"
    arguments = ["train", f"h5ad:{file},genes=6", "--model", "vae", "--labels", "type", "--no-report", "--json"]
    assert main([*arguments, "--epochs", "1", "--out", str(run)]) == 0
    model = labelspace.load(run)
    order = np.random.default_rng(1).permutation(GENES)
    new = cells(tmp_path / "new.h5ad", COUNTS[:, order], genes=[f"g{i}" for i in order])
    data = labelspace.open(f"h5ad:{new}", training=False, like=model)
    np.testing.assert_array_equal(data.x, labelspace.open(f"h5ad:{file},genes=6").x)
    assert data.variables == model.variables
    assert main(["embed", str(run), f"h5ad:{new}", "--out", str(tmp_path / "codes.npz")]) == 0
    out = tmp_path / "made.csv"
    assert main(["generate", str(run), "-n", "3", "--out", str(out)]) == 0
    assert out.read_text().splitlines()[0].split(",") == ["id", *(variable.name for variable in model.variables)]
    capfd.readouterr()
    few = cells(tmp_path / "few.h5ad", COUNTS[:, :3], genes=["g0", "other", "more"])
    assert main(["embed", str(run), f"h5ad:{few}", "--out", str(tmp_path / "x.npz")]) == 2
    assert "of the model's 6 genes" in capfd.readouterr().err
    real = cells(tmp_path / "real.h5ad", LOGS)
    assert main(["embed", str(run), f"h5ad:{real}", "--out", str(tmp_path / "x.npz")]) == 2
    assert "not counts" in capfd.readouterr().err
    other = cells(tmp_path / "type.h5ad", obs={"type": pd.Categorical(["B", "mast"] * (CELLS // 2))})
    assert main(["embed", str(run), f"h5ad:{other}", "--out", str(tmp_path / "x.npz")]) == 2
    assert "cell cell1, column 'type': unknown class of label 'type': 'mast'" in capfd.readouterr().err


@pytest.mark.parametrize("store", [np.asarray, sp.csr_matrix, sp.csc_matrix])
@pytest.mark.parametrize("shape", [(CELLS - 1, GENES), (10**12, GENES), (CELLS, 10**12)], ids=["fewer", "cells", "genes"])
def test_a_matrix_of_another_shape_than_there_are_names_is_refused_before_it_is_read(tmp_path: Path, store: Any, shape: tuple):
    file = cells(tmp_path / "c.h5ad", store(COUNTS))
    with h5py.File(file, "r+") as handle:
        if store is np.asarray:
            about = dict(handle["X"].attrs)
            del handle["X"]
            handle.create_dataset("X", shape, "f4", chunks=(1, GENES)).attrs.update(about)
        else:
            handle["X"].attrs["shape"] = np.array(shape)
            del handle["X"]["indptr"]
            handle["X"].create_dataset("indptr", (max(shape) + 1,), "i8", chunks=(10,))
    refused(f"h5ad:{file}", str(file), "is damaged: the matrix has shape")


@pytest.mark.parametrize("column", ["obs/type/codes", "obs/depth", "var/_index"])
def test_a_column_of_another_shape_than_there_are_names(tmp_path: Path, column: str):
    file = cells(tmp_path / "c.h5ad")
    with h5py.File(file, "r+") as handle:
        about = dict(handle[column].attrs)
        del handle[column]
        handle.create_dataset(column, (10**6, 20), "i8", chunks=(1000, 20)).attrs.update(about)
    refused(f"h5ad:{file}", str(file))
