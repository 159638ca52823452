"""Nothing is followed out of what is opened: what leads elsewhere is refused, and nothing there changes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import labelspace as ls
from labelspace.cli import main
from labelspace.data import checked
from labelspace.errors import UserError
from labelspace.storage import files, hub
from labelspace.training.fit import open_run
from labelspace.training.run import NAMES, Run

pytestmark = pytest.mark.usefixtures("hasty")


@pytest.mark.parametrize("name", ["a.png", "./b/../a.png", "a..b/c", "b\\..\\a.png"])
def test_names_that_stay(name: str) -> None:
    assert not files.leads_out(name)


@pytest.mark.parametrize("name", ["..", "a/../../b", "/a", "~/a", "..\\a"])
def test_names_that_lead_out(name: str) -> None:
    assert files.leads_out(name)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.yaml", "metrics.jsonl", "evaluation.json", ".lock", "checkpoint"]
)
def test_a_run_with_a_link_out_of_it_is_neither_read_nor_written(name: str, run: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    if name == "checkpoint":
        victim.mkdir()
        shutil.rmtree(run / name)
    else:
        victim.write_text("mine")
        (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(victim)
    calls = [lambda: Run(run), lambda: open_run(run)]
    if name in hub.FILES:  # what a model is read from
        calls += [lambda: ls.load(run), lambda: ls.open("swiss-roll:n=60", like=ls.load(run))]
    for call in calls:
        with pytest.raises(UserError, match=f"{name} is a link to .*victim, outside of"):
            call()
    assert main(["train", "--resume", "--out", str(run), "--no-report"]) == 2
    assert main(["report", str(run), "--quick"]) == 2
    assert not list(victim.iterdir()) if victim.is_dir() else victim.read_text() == "mine"


def test_links_that_are_no_business_of_ours_are_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    for name in ("notes.txt", "data", "figures-of-mine/a.png", "model.onnx"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).symlink_to(tmp_path / "elsewhere")
    ls.load(run)
    assert main(["train", "--resume", "--out", str(run), "--no-report"]) == 0
    assert main(["report", str(run), "--quick"]) == 0
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_whatever_commands_write_into_a_run_is_looked_at(run: Path, tmp_path: Path) -> None:
    """What is missing from the list would be written through a link."""
    assert main(["train", "swiss-roll:n=300", "--steps", "1", "--tensorboard", "--out", str(tmp_path / "new")]) == 0
    assert main(["evaluate", str(tmp_path / "new"), "--most", "30"]) == 0
    assert (
        main(["train", "table:" + str(_table(tmp_path)), "--labels", "a", "--steps", "1", "--out", str(tmp_path / "rows")]) == 0
    )
    written = {file.name for home in ("new", "rows") for file in (tmp_path / home).iterdir()}
    assert {"report.html", "evaluation.json", "events", "reading.json", "variables.json"} < written <= set(NAMES)


def _table(home: Path) -> Path:
    rows = "".join(f"{i % 2},{i * 0.37 % 1:.3f},{i * 0.71 % 1:.3f}\n" for i in range(40))
    (home / "t.csv").write_text("a,b,c\n" + rows)
    return home / "t.csv"


def test_links_within_a_run_and_in_the_cache_of_the_hub_are_followed(run: Path, tmp_path: Path) -> None:
    (run / "kept").mkdir()
    (run / "model.safetensors").rename(run / "kept" / "w")
    (run / "model.safetensors").symlink_to("kept/w")
    ls.load(run)
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    (tmp_path / "models--a--b" / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, name in enumerate(hub.FILES):
        if (run / name).exists():
            blob = tmp_path / "models--a--b" / "blobs" / str(number)
            shutil.copyfile(run / name, blob)
            (snapshot / name).symlink_to(blob)
    ls.load(snapshot)


def test_a_pipe_is_no_file(run: Path, tmp_path: Path) -> None:
    for name in ("config.yaml", "config.json", "metrics.jsonl"):
        (run / name).unlink()
        os.mkfifo(run / name)
        with pytest.raises(UserError, match="no file but a directory, a pipe or a device"):
            (
                Run(run).read_config
                if name == "config.yaml"
                else Run(run).metrics
                if name == "metrics.jsonl"
                else lambda: ls.load(run)
            )()


@pytest.mark.parametrize("name", ["../secret.png", "{out}/secret.png", "a/../../secret.png"])
def test_a_list_names_no_pictures_elsewhere(name: str, tmp_path: Path) -> None:
    home = tmp_path / "set"
    (home / "a").mkdir(parents=True)
    for file in (tmp_path / "secret.png", *(home / f"{i}.png" for i in range(12))):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(file)
    rows = "".join(f"{i}.png,{i % 2}\n" for i in range(12))
    (home / "labels.csv").write_text(f"file,a\n{rows}{name.format(out=tmp_path)},1\n")
    with pytest.raises(UserError, match=r"no such file in .*secret.png"):
        ls.open(f"folder:{home}")


# -- HDF5 and Zarr ----------------------------------------------------------------------------------------------------

h5py = pytest.importorskip("h5py")
anndata = pytest.importorskip("anndata")


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Cells as a file, beside one that is nobody's business."""
    import pandas as pd

    n = 30
    obs = pd.DataFrame({"t": pd.Categorical(list("xyz") * (n // 3))}, index=pd.Index([f"c{i}" for i in range(n)]))
    x = np.random.default_rng(0).poisson(1, (n, 5)).astype(np.float32)
    made = anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=pd.Index([f"g{i}" for i in range(5)])))
    made.write_h5ad(tmp_path / "cells.h5ad")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = x
        file.create_group("g")
    return tmp_path / "cells.h5ad"


def _external_link(file, other):
    del file["X"]
    file["X"] = h5py.ExternalLink(other, "/x")


def _external_group(file, other):
    del file["obsm"]
    file["obsm"] = h5py.ExternalLink(other, "/g")


def _external_storage(file, other):
    del file["X"]
    file.create_dataset("X", (30, 5), "f4", external=[(other, 0, h5py.h5f.UNLIMITED)])


def _virtual(file, other):
    del file["X"]
    layout = h5py.VirtualLayout((30, 5), "f4")
    layout[:] = h5py.VirtualSource(other, "x", (30, 5))
    file.create_virtual_dataset("X", layout)


def _loop_of_links(file, other):
    file["uns/a"], file["uns/b"] = h5py.SoftLink("/uns/b"), h5py.SoftLink("/uns/a")


def _group_in_itself(file, other):
    file["uns/a"] = file["uns"]


@pytest.mark.parametrize(
    "damage",
    [_external_link, _external_group, _external_storage, _virtual, _loop_of_links, _group_in_itself],
    ids=lambda one: one.__name__,
)
def test_hdf5_that_leads_out_is_neither_read_nor_written(damage, cells: Path, tmp_path: Path, whole: Path) -> None:
    other = tmp_path / "other.h5"
    with h5py.File(cells, "r+") as file:
        damage(file, str(other))
    before = other.read_bytes()
    with pytest.raises(UserError, match=r"cells.h5ad"):
        ls.open(f"h5ad:{cells}")
    from labelspace.results import annotated

    ids = np.array([f"c{i}" for i in range(30)])
    with pytest.raises(UserError, match=r"cells.h5ad"):
        annotated.write(cells, tmp_path / "out.h5ad", ids, {"z": np.zeros((30, 2), np.float32)}, {})
    assert other.read_bytes() == before
    assert not (tmp_path / "out.h5ad").exists()


def test_zarr_that_is_unpacked_by_code_is_refused(cells: Path, tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    home = tmp_path / "cells.zarr"
    home.mkdir()
    about = {"zarr_format": 2, "shape": [3], "chunks": [3], "dtype": "<i4", "compressor": None, "filters": [{"id": "pickle"}]}
    (home / ".zarray").write_text(json.dumps(about))
    with pytest.raises(UserError, match="packed by 'pickle'"):
        checked.zarr(home)
    (home / ".zarray").write_text(json.dumps({**about, "filters": None, "shape": [10**13]}))
    with pytest.raises(UserError, match=r"takes .* in memory"):
        checked.zarr(home)
    (home / ".zarray").unlink()
    (home / "0").symlink_to(cells)
    with pytest.raises(UserError, match=r"is a link to .*cells.h5ad"):
        checked.zarr(home)


# -- directories of the datasets library ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("state.json", '{"_data_files": [{"filename": "../other/data.arrow"}]}'),
        ("README.md", "---\nconfigs:\n- config_name: default\n  data_files: /etc/*.csv\n---\n"),
        (
            "README.md",
            "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: 'https://a.example/t.csv'\n---\n",
        ),
        ("README.md", "---\nconfigs:\n- config_name: default\n  data_dir: ../other\n---\n"),
    ],
)
def test_a_directory_that_names_files_elsewhere(file: str, content: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=r"nothing outside of the directory is read"):
        checked.hub(tmp_path)
    (tmp_path / file).write_text("{}" if file.endswith("json") else "# Data\n")
    checked.hub(tmp_path)


def test_arrow_whose_offsets_lead_out_is_refused(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    made = datasets.Dataset.from_dict({"a": [0.5 * i for i in range(30)], "species": ["x", "y"] * 15})
    made.save_to_disk(str(tmp_path / "set"))
    (file,) = (tmp_path / "set").glob("*.arrow")
    content = file.read_bytes()
    offsets = np.arange(31, dtype="<i4").tobytes()
    assert content.count(offsets) == 1
    file.write_bytes(content.replace(offsets, np.where(np.arange(31) == 9, 2**30, np.arange(31)).astype("<i4").tobytes()))
    with pytest.raises(UserError, match="cannot be read as a data set"):
        ls.open(f"hf:{tmp_path / 'set'}", ["species"])
