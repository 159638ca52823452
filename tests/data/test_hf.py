"""Data sets of the datasets library, from directories; the hub is not asked."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import labelspace
from labelspace.errors import UserError

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def refused(address: str, *parts: str, labels: list[str] | None = None, **options: Any) -> None:
    with pytest.raises(UserError) as caught:
        labelspace.open(address, labels, **options)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def picture(level: int, size: tuple[int, int] = (12, 10), mode: str = "RGB") -> dict[str, Any]:
    file = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).convert(mode).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def pictured(n: int, **changes: Any) -> Any:
    columns = {
        "image": [picture(3 * i) for i in range(n)],
        "pet": [i % 3 - 1 for i in range(n)],
        "indoors": [i % 2 == 0 for i in range(n)],
        "text": [f"a pet, number {i}" for i in range(n)],
        **changes,
    }
    kinds: dict[str, Any] = {
        "image": datasets.Image(),
        "pet": datasets.ClassLabel(names=["cat", "dog"]),
        "indoors": datasets.Value("bool"),
        "text": datasets.Value("string"),
    }
    return datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))


def test_images_with_official_splits_and_classes(tmp_path: Path):
    parts = {"train": pictured(60), "validation": pictured(9), "test": pictured(12), "extra": pictured(3)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "pets")
    data = labelspace.open(f"hf:{tmp_path / 'pets'}")
    assert data.x.shape == (81, 3, 10, 12)
    assert data.x.dtype == np.uint8
    assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 60, "val": 9, "test": 12}
    assert data.x[data.rows("test"), 0, 0, 0].tolist() == [3 * i for i in range(12)]
    assert [(label.name, label.values) for label in data.schema] == [("pet", ("cat", "dog")), ("indoors", ("0", "1"))]
    assert data.observed[:3, 0].tolist() == [False, True, True]  # a class below 0 is not known
    assert any("extra" in note for note in data.notes)
    assert any("text" in note for note in data.notes)
    small = labelspace.open(f"hf:{tmp_path / 'pets'},size=16,channels=1", ["pet"])
    assert small.x.shape == (81, 1, 16, 16)
    refused(f"hf:{tmp_path / 'pets'},size=4", "8 to 256")
    refused(f"hf:{tmp_path / 'pets'},channels=2", "1, 3 or 4")
    refused(f"hf:{tmp_path / 'pets'},image=picture", "image")
    refused(f"hf:{tmp_path / 'pets'}", "did you mean 'pet'", labels=["pets"])


def test_what_a_data_set_lacks_of_splits_is_drawn_from_its_training_samples(tmp_path: Path):
    datasets.DatasetDict({"train": pictured(60), "test": pictured(12)}).save_to_disk(tmp_path / "two")
    data = labelspace.open(f"hf:{tmp_path / 'two'}")
    assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 54, "val": 6, "test": 12}
    assert not set(data.rows("train")) & set(data.rows("val"))
    assert data.rows("test").tolist() == list(range(60, 72))
    pictured(40).shuffle(seed=1).select(range(30)).save_to_disk(tmp_path / "one")
    one = labelspace.open(f"hf:{tmp_path / 'one'}", seed=3)
    assert {name: len(rows) for name, rows in one.splits.items()} == {"train": 24, "val": 3, "test": 3}
    order = pictured(40).shuffle(seed=1).select(range(30))["text"]
    assert one.x[:, 0, 0, 0].tolist() == [3 * int(text.rsplit(" ", 1)[1]) for text in order]


def test_images_of_different_shapes_are_fitted_and_damaged_ones_refused_naming_the_row(tmp_path: Path):
    for name, changed, note in (
        ("size", picture(1, (20, 30)), "2 sizes are fitted to 64 x 64"),
        ("mode", picture(1, mode="L"), "1 picture is grey"),
    ):
        images = [changed if i == 5 else picture(i) for i in range(20)]
        pictured(20, image=images).save_to_disk(tmp_path / name)
        assert any(note in said for said in labelspace.open(f"hf:{tmp_path / name}").notes)
    for name, changed, parts in (
        ("damaged", {"bytes": b"no picture", "path": None}, ("train row 6, column 'image'", "cannot be read")),
        ("none", None, ("train row 6, column 'image'", "no image")),
    ):
        images = [changed if i == 5 else picture(i) for i in range(20)]
        pictured(20, image=images).save_to_disk(tmp_path / name)
        refused(f"hf:{tmp_path / name}", *parts)
    data = labelspace.open(f"hf:{tmp_path / 'size'},size=8")
    assert data.x.shape == (20, 3, 8, 8)


def test_directories_of_images_csv_and_parquet(tmp_path: Path):
    for kind in ("cat", "dog"):
        (tmp_path / "images" / kind).mkdir(parents=True)
        for i in range(10):
            (tmp_path / "images" / kind / f"{i}.png").write_bytes(picture(i)["bytes"])
    data = labelspace.open(f"hf:{tmp_path / 'images'}")
    assert data.schema["label"].values == ("cat", "dog")
    assert data.x.shape == (20, 3, 10, 12)
    (tmp_path / "csv").mkdir()
    rows = "".join(f"{i / 7},{i % 4},{'uv'[i % 2]},p{i // 2}\n" for i in range(40))
    (tmp_path / "csv" / "t.csv").write_text(f"a,b,y,who\n{rows}")
    table = labelspace.open(f"hf:{tmp_path / 'csv'},kinds=b:count", ["y"], group="who")
    assert [(variable.name, variable.kind) for variable in table.variables] == [("a", "continuous"), ("b", "count")]
    assert table.schema["y"].values == ("u", "v")
    assert table.grouped == "who"
    refused(f"hf:{tmp_path / 'csv'}", "labels=", "a (continuous)", "y (categorical, 2 classes)")


def test_vectors_and_columns_of_classes(tmp_path: Path):
    n = 30
    columns = {
        "code": [[i / 3, -i / 7, i % 5] for i in range(n)],
        "on": [i % 2 == 0 for i in range(n)],
        "kind": [i % 3 for i in range(n)],
    }
    features = {
        "code": datasets.Sequence(datasets.Value("float32")),
        "on": datasets.Value("bool"),
        "kind": datasets.ClassLabel(names=["x", "y", "z"]),
    }
    datasets.Dataset.from_dict(columns, features=datasets.Features(features)).save_to_disk(tmp_path / "v")
    data = labelspace.open(f"hf:{tmp_path / 'v'}")
    assert data.schema.names == ("on", "kind")
    assert [variable.name for variable in data.variables] == ["code.0", "code.1", "code.2"]
    np.testing.assert_allclose(data.x, np.array(columns["code"], np.float32))


def test_a_class_that_is_called_none_is_one(tmp_path: Path):
    names = ["none", "light", "heavy"]
    features = datasets.Features(
        {"x": datasets.Value("float32"), "y": datasets.Value("float32"), "smoking": datasets.ClassLabel(names=names)}
    )
    rows = {"x": [i / 7 for i in range(90)], "y": [i % 11 for i in range(90)], "smoking": [i % 3 for i in range(90)]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "d")
    data = labelspace.open(f"hf:{tmp_path / 'd'}")
    assert data.schema["smoking"].values == tuple(names)
    assert bool(data.observed.all())


def test_every_split_has_classes_of_its_own_order_and_the_same_columns(tmp_path: Path):
    def part(names: list[str], **more: Any) -> Any:
        kinds = {"size": datasets.Value("float32"), "pet": datasets.ClassLabel(names=names)}
        columns = {"size": [i / 3 for i in range(20)], "pet": [names.index(("cat", "dog")[i % 2]) for i in range(20)], **more}
        features = datasets.Features({**kinds, **{name: datasets.Value("float32") for name in more}})
        return datasets.Dataset.from_dict(columns, features=features)

    parts = {"train": part(["cat", "dog"]), "test": part(["dog", "cat"])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "turned")
    data = labelspace.open(f"hf:{tmp_path / 'turned'}")
    assert data.schema["pet"].classes == ("cat", "dog")
    assert data.values[:, 0].tolist() == [i % 2 for i in range(40)]
    parts = {"train": part(["cat", "dog"], weight=[0.5] * 20), "test": part(["cat", "dog"])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "more")
    refused(f"hf:{tmp_path / 'more'}", "different columns", "'weight'")


def test_a_name_that_cannot_be_had_is_one_line_and_quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    began = time.monotonic()

    def nowhere(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.create_connection", nowhere)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    refused("hf:someone/something", "someone/something", "cannot be reached")
    assert time.monotonic() - began < 20
    (tmp_path / "t.csv").write_text("a,y\n1,2\n")
    refused(f"hf:{tmp_path / 't.csv'}", "is a file", "table:")
    (tmp_path / "empty").mkdir()
    refused(f"hf:{tmp_path / 'empty'}", str(tmp_path / "empty"), "cannot be read")
