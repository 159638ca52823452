"""Interventions on what people have, and their results in the same kind."""

from __future__ import annotations

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
from PIL import Image, ImageDraw

import labelspace as ls
from labelspace import interventions
from labelspace.interventions.given import laid_over
from labelspace.models import of_data

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def pictures() -> tuple[ls.Dataset, Any]:
    data = ls.Dataset.from_arrays(RNG.integers(0, 255, (60, 12, 10, 3), np.uint8), {"g": [0, 1] * 30})
    torch.manual_seed(0)
    return data, ls.fit(ls.build("condvae", data), data, epochs=1).model


@pytest.fixture(scope="module")
def table() -> tuple[pd.DataFrame, Any]:
    frame = pd.DataFrame(
        {
            "a": RNG.normal(size=200),
            "n": RNG.integers(0, 90, 200),
            "c": RNG.choice(["x", "y", "z"], 200),
            "treated": RNG.integers(0, 2, 200).astype(bool),
            "who": [f"w{i}" for i in range(200)],
        },
        index=pd.Index([f"p{i}" for i in range(200)]),
    )
    data = ls.Dataset.from_frame(frame, ["treated"], drop=["who"])
    torch.manual_seed(0)
    return frame, ls.fit(ls.build("condvae", data), data, epochs=1).model


@pytest.fixture(scope="module")
def counts() -> tuple[anndata.AnnData, Any]:
    obs = pd.DataFrame(
        {"type": pd.Categorical(RNG.choice(list("ab"), 90)), "n": range(90)}, index=pd.Index([f"c{i}" for i in range(90)])
    )
    adata = anndata.AnnData(scipy.sparse.csr_matrix(RNG.poisson(2, (90, 20)).astype("f4")), obs=obs)
    data = ls.open(adata)
    torch.manual_seed(0)
    return adata, ls.fit(ls.build("condvae", data), data, epochs=1).model


def test_arrays_come_back_as_they_were_given(pictures: tuple[ls.Dataset, Any]) -> None:
    data, model = pictures
    last = np.moveaxis(data.x[:3], 1, -1)
    expected = interventions.set(model, data.samples(range(3)), {"g": 1})
    assert isinstance(expected.x, torch.Tensor)
    bytes_ = (expected.x.numpy() * 255).round().astype(np.uint8)
    for given, back in ((data.x[:3], bytes_), (last, np.moveaxis(bytes_, 1, -1))):
        done = interventions.set(model, given, {"g": 1})
        assert isinstance(done.x, np.ndarray)
        assert done.x.dtype == np.uint8
        np.testing.assert_array_equal(done.x, back)
        torch.testing.assert_close(done.tensor, torch.from_numpy(bytes_).float() / 255)
    floats = interventions.set(model, (last / 255).astype(np.float32), {"g": 1})
    np.testing.assert_allclose(floats.x, np.moveaxis(expected.x.numpy(), 1, -1), atol=1e-6)
    one = interventions.set(model, last[0], {"g": 1})
    assert one.x.shape == (12, 10, 3)
    assert [picture.size for picture in interventions.set(model, last, {"g": 1}).images()] == [(10, 12)] * 3


def test_samples_of_a_data_set_bring_their_labels(pictures: tuple[ls.Dataset, Any]) -> None:
    data, model = pictures
    done = interventions.set(model, data[:4], {"g": 1})
    assert done.record.source["g"] == [0, 1, 0, 1]
    assert interventions.set(model, data[1], {"g": 0}).record.source["g"] == [1]
    assert interventions.set(model, [data[0], data[1]], {"g": 1}).record.source["g"] == [0, 1]
    assert interventions.set(model, data.x[:2], {"g": 1}, {"g": [1, 0]}).record.source["g"] == [1, 0]
    assert interventions.set(model, data.x[:2], {"g": 1}, {"g": 1}).record.source["g"] == [1, 1]


def test_many_samples_are_edited_in_parts_as_each_alone(
    table: tuple[pd.DataFrame, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, model = table
    whole = interventions.set(model, frame, {"treated": 1}, keep_detail=True)
    monkeypatch.setattr(of_data.chunks, "__defaults__", (7,))
    parts = interventions.set(model, frame, {"treated": 1}, keep_detail=True)
    assert isinstance(whole.x, torch.Tensor)
    assert isinstance(parts.x, torch.Tensor)
    torch.testing.assert_close(whole.x, parts.x, rtol=1e-5, atol=1e-5)
    assert whole.record == parts.record


def test_pictures_come_back_at_their_own_size(pictures: tuple[ls.Dataset, Any], tmp_path: Path) -> None:
    _, model = pictures
    photograph = Image.fromarray(RNG.integers(0, 255, (60, 90, 3), np.uint8))
    photograph.save(tmp_path / "p.png")
    for given in (photograph, tmp_path / "p.png", str(tmp_path / "p.png"), np.asarray(photograph)):
        done = interventions.set(model, given, {"g": 1}, {"g": 0})
        assert done.image().size == (90, 60)
        assert done.tensor.shape == model.shape
    walk = interventions.traverse(model, photograph, "g", steps=3)
    assert [picture.size for picture in walk.images()] == [(90, 60)] * 3
    several = interventions.set(model, [photograph, photograph.resize((40, 40))], {"g": 1})
    assert [picture.size for picture in several.images()] == [(90, 60), (40, 40)]
    with pytest.raises(ls.UserError, match="the samples are pictures"):
        done.to_frame()


@pytest.mark.parametrize("crop", ["centre", "pad", "none", "close"])
def test_what_an_edit_leaves_alone_stays_to_the_bit(crop: str) -> None:
    photograph = Image.new("RGB", (1024, 768), (90, 120, 60))
    draw = ImageDraw.Draw(photograph)
    for i in range(0, 1024, 16):
        draw.line((i, 0, 1023 - i, 767), fill=(i % 255, 40, 200))
    before = torch.full((3, 32, 32), 0.5)
    after = before + 0.02 * torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0))  # what every decoding differs by
    after[:, 12:20, 12:20] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    made = laid_over(photograph, before, after.clamp(0, 1), crop)
    assert made.size == (1024, 768)
    changed = np.abs(np.asarray(made, np.int16) - np.asarray(photograph, np.int16)).max(-1)
    share = (changed > 0).mean()
    assert 0.03 < share < 0.12
    middle = np.asarray(made)[384, 512]
    assert middle[0] > 240
    assert middle[1:].max() < 15
    assert changed[:, :40].mean() <= 1


def test_rows_of_a_frame_come_back_in_their_frame(table: tuple[pd.DataFrame, Any]) -> None:
    frame, model = table
    done = interventions.set(model, frame.iloc[:5], {"treated": 1})
    made = done.to_frame()
    assert isinstance(made, pd.DataFrame)
    assert list(made.columns) == list(frame.columns)
    assert list(made.index) == list(frame.index[:5])
    assert made["who"].tolist() == frame["who"].iloc[:5].tolist()
    assert made["treated"].tolist() == [True] * 5
    assert all(isinstance(entry, int) for entry in made["n"].tolist())
    assert set(made["c"]) <= {"x", "y", "z"}
    assert done.record.source["treated"] == frame["treated"].iloc[:5].astype(int).tolist()
    arrow = interventions.set(model, pa.Table.from_pandas(frame.iloc[:5]), {"treated": 0}).to_frame()
    assert isinstance(arrow, pa.Table)
    assert isinstance(interventions.set(model, pl.from_pandas(frame.iloc[:5]), {"treated": 0}).to_frame(), pl.DataFrame)
    new = interventions.generate(model, {"treated": 1}, 3).to_frame()
    assert isinstance(new, pd.DataFrame)
    assert new["treated"].tolist() == [1, 1, 1]


def test_cells_come_back_in_their_object(counts: tuple[anndata.AnnData, Any]) -> None:
    adata, model = counts
    done = interventions.set(model, adata[:6], {"type": "b"})
    made = done.to_anndata()
    assert made.obs["type"].tolist() == ["b"] * 6
    assert made.obs["n"].tolist() == list(range(6))
    assert made.obsm["X_labelspace"].shape == (6, model.blocks.size)
    np.testing.assert_allclose(np.asarray(made.X), done.x.numpy())
    assert adata.obs["type"].iloc[:6].tolist() != ["b"] * 6
    assert interventions.generate(model, {"type": "a"}, 3).to_anndata().n_obs == 3


def test_codes_and_predictions_of_whole_data_sets(counts: tuple[anndata.AnnData, Any], tmp_path: Path) -> None:
    adata, model = counts
    data = ls.open(adata)
    codes = model.encode(data)
    assert codes["z"].shape == (90, model.blocks.named("z").size)
    assert codes.array.shape == (90, model.blocks.size)
    assert list(codes.to_frame().columns)[:3] == ["id", "split", "type"]
    there = codes.to_anndata(adata.copy())
    np.testing.assert_array_equal(there.obsm["X_labelspace_z"], codes["z"])
    predicted = model.predict(data)
    assert set(predicted["type"]) <= {"a", "b"}
    assert predicted.probabilities("type")["a"].shape == (90,)
    assert np.allclose(sum(predicted.probabilities("type").values()), 1)
    drawn = model.encode(data, draw=torch.Generator().manual_seed(0))
    assert not np.allclose(drawn["z"], codes["z"])
    written = ls.embed(model, adata, out=tmp_path / "c.h5ad")
    np.testing.assert_allclose(anndata.read_h5ad(tmp_path / "c.h5ad").obsm["X_labelspace"], written.array)
    with pytest.raises(ls.UserError, match="has no cell"):
        codes.to_anndata(adata[:3].copy())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "a sample of type int cannot be read"),
        (np.zeros((2, 7, 7, 7)), "has shape"),
        ("/nowhere.png", "no such picture"),
        (torch.zeros(3, 9, 9), "the model takes"),
    ],
)
def test_what_cannot_be_read_is_one_line(pictures: tuple[ls.Dataset, Any], given: Any, said: str) -> None:
    with pytest.raises(ls.UserError, match=said):
        interventions.set(pictures[1], given, {"g": 1})


def test_a_frame_without_the_columns_is_refused(table: tuple[pd.DataFrame, Any], pictures: tuple[ls.Dataset, Any]) -> None:
    with pytest.raises(ls.UserError, match="lacks 1 of the model's 3 columns: n"):
        interventions.set(table[1], table[0].drop(columns=["n"]), {"treated": 1})
    with pytest.raises(ls.UserError, match="does not know names for its columns"):
        interventions.set(pictures[1], table[0], {"g": 1})
    with pytest.raises(ls.UserError, match="2 values for 5 samples"):
        interventions.set(table[1], table[0].iloc[:5], {"treated": 1}, {"treated": [0, 1]})


def test_results_show_themselves(pictures: tuple[ls.Dataset, Any], table: tuple[pd.DataFrame, Any]) -> None:
    done = interventions.set(pictures[1], pictures[0][:3], {"g": 1})
    assert repr(done) == "Intervention(set g=1: 3x3x12x10; changed y.g)"
    assert done._repr_html_().count("<img") == 3
    assert "<table>" in interventions.set(table[1], table[0].iloc[:2], {"treated": 1})._repr_html_()
