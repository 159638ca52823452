"""Codes written into AnnData files: only obsm and uns change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from labelspace.errors import UserError
from labelspace.results import annotated

anndata = pytest.importorskip("anndata")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

RECORD = {"model": "lsvae", "run": "r", "blocks": ["z", "w.kind/of"], "sizes": [2, 3], "labels_given": True}


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    import pandas

    rng = np.random.default_rng(0)
    obs = pandas.DataFrame(
        {"kind": pandas.Categorical(rng.choice(["a", "b"], 6))}, index=pandas.Index([f"cell-{i}" for i in range(6)])
    )
    x = sparse.csr_matrix(rng.poisson(0.5, (6, 5)).astype(np.float32))
    made = anndata.AnnData(x, obs, obsm={"X_pca": rng.normal(size=(6, 2))}, uns={"note": "kept"}, layers={"raw": x.copy()})
    made.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def codes(n: int, first: float = 0.0) -> dict[str, np.ndarray]:
    return {"z": first + np.arange(2 * n, dtype=np.float32).reshape(n, 2), "w.kind/of": np.ones((n, 3), np.float32)}


def names(n: int) -> np.ndarray:
    return np.array([f"cell-{i}" for i in range(n)])


def test_a_copy_has_the_codes_and_all_else(cells: Path, tmp_path: Path) -> None:
    before = cells.read_bytes()
    keys = annotated.write(cells, tmp_path / "out.h5ad", names(6), codes(6), RECORD)
    assert keys == ["X_labelspace", "X_labelspace_z", "X_labelspace_w.kind_of"]
    assert cells.read_bytes() == before
    old, new = anndata.read_h5ad(cells), anndata.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(new.obsm["X_labelspace_z"], codes(6)["z"])
    assert new.obsm["X_labelspace"].shape == (6, 5)
    assert sparse.issparse(new.X)
    assert (new.X != old.X).nnz == 0
    assert (new.layers["raw"] != old.layers["raw"]).nnz == 0
    assert new.obs.equals(old.obs)
    np.testing.assert_array_equal(new.obsm["X_pca"], old.obsm["X_pca"])
    assert new.uns["note"] == "kept"
    assert new.uns["labelspace"]["model"] == "lsvae"
    assert list(new.uns["labelspace"]["blocks"]) == ["z", "w.kind/of"]


def test_back_into_the_file_again_and_by_name(cells: Path) -> None:
    annotated.write(cells, cells, names(6), codes(6), RECORD)
    some = np.array(["cell-4", "cell-1"])
    annotated.write(cells, cells, some, {"z": np.array([[4.0, 4.0], [1.0, 1.0]], np.float32)}, {**RECORD, "blocks": ["z"]})
    new = anndata.read_h5ad(cells)
    assert {key for key in new.obsm if key.startswith("X_lab")} == {"X_labelspace", "X_labelspace_z"}
    found = new.obsm["X_labelspace_z"]
    assert found[[1, 4]].tolist() == [[1, 1], [4, 4]]
    assert np.isnan(found[[0, 2, 3, 5]]).all()
    assert list(cells.parent.iterdir()) == [cells]


def test_what_does_not_fit_is_refused_and_nothing_changes(cells: Path, tmp_path: Path) -> None:
    before = cells.read_bytes()
    with pytest.raises(UserError, match="no cell 'cell-6'"):
        annotated.write(cells, cells, names(7), codes(7), RECORD)
    with pytest.raises(UserError, match="two samples are called 'cell-0'"):
        annotated.write(cells, cells, np.array(["cell-0", "cell-0"]), codes(2), RECORD)
    with pytest.raises(UserError, match="same name where / is written"):
        annotated.write(cells, cells, names(6), {"w.a/b": codes(6)["z"], "w.a_b": codes(6)["z"]}, RECORD)
    assert cells.read_bytes() == before
    (tmp_path / "text.h5ad").write_text("not HDF5")
    with pytest.raises(UserError, match="cannot be read as HDF5"):
        annotated.write(tmp_path / "text.h5ad", tmp_path / "out.h5ad", names(6), codes(6), RECORD)
    with pytest.raises(UserError, match="no such file"):
        annotated.write(tmp_path / "none.h5ad", tmp_path / "out.h5ad", names(6), codes(6), RECORD)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cells.h5ad", "text.h5ad"]


def test_embed_writes_into_the_file_that_data_are_read_from(cells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import labelspace as ls
    from labelspace.data import sources
    from labelspace.data.dataset import Dataset
    from labelspace.data.splits import random_splits
    from labelspace.labels import Schema, binary
    from labelspace.models.networks import Network

    rng = np.random.default_rng(0)
    values = np.array([0, 1, 0, 1, 0, 1], np.float32)[:, None]
    x = rng.normal(size=(6, 5)).astype(np.float32)
    data = Dataset("cells", x, values, values >= 0, Schema([binary("on")]), random_splits(6, 0), ids=names(6)[::-1].copy())
    model = ls.build("lsvae", data, latent=2, network=Network(width=4, depth=1)).eval()
    monkeypatch.setattr(sources, "open", lambda address, *given, **more: data)
    ls.embed(model, f"h5ad:{cells}", out=cells, ignore_labels=True)
    new = anndata.read_h5ad(cells)
    wanted = model.encode(data.samples(range(6)))["w.on"].mode.detach().numpy()
    np.testing.assert_allclose(new.obsm["X_labelspace_w.on"], wanted[::-1], atol=1e-6)
    assert not new.uns["labelspace"]["labels_given"]


def test_cells_of_one_name_are_told_apart_as_the_reader_does(cells: Path) -> None:
    from labelspace.data import sources

    whole = anndata.read_h5ad(cells)
    whole.obs_names = ["a", "a", "b", "b", "b", "c"]
    whole.write_h5ad(cells)
    data = sources.open(f"h5ad:{cells}", ["kind"], training=False)
    assert data.ids is not None
    annotated.write(cells, cells, data.ids[::-1], codes(6), RECORD)
    np.testing.assert_array_equal(anndata.read_h5ad(cells).obsm["X_labelspace_z"], codes(6)["z"][::-1])


def test_a_file_that_only_its_owner_may_read_stays_so(cells: Path) -> None:
    cells.chmod(0o600)
    annotated.write(cells, cells, names(6), codes(6), RECORD)
    assert cells.stat().st_mode & 0o777 == 0o600


def test_a_file_of_an_old_format_is_renewed(tmp_path: Path) -> None:
    """As anndata before 0.7 wrote: obs, var and obsm are tables of records."""
    import h5py

    with h5py.File(tmp_path / "old.h5ad", "w") as file:
        file["X"] = np.arange(6, dtype=np.float32).reshape(3, 2)
        file["obs"] = np.array([(b"a", 1.0), (b"b", 2.0), (b"c", 3.0)], [("index", "S1"), ("size", "f8")])
        file["var"] = np.array([(b"g",), (b"h",)], [("index", "S1")])
        file["obsm"] = np.array([((1.0, 2.0),)] * 3, [("X_pca", "f8", (2,))])
    old = tmp_path / "old.h5ad"
    annotated.write(old, old, np.array(["c", "b", "a"]), codes(3), RECORD)
    new = anndata.read_h5ad(old)
    np.testing.assert_array_equal(new.obsm["X_labelspace_z"], codes(3)["z"][::-1])
    assert new.obsm["X_pca"].shape == (3, 2)
    assert list(new.obs["size"]) == [1, 2, 3]
    assert new.X.tolist() == [[0, 1], [2, 3], [4, 5]]
