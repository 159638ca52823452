"""What a file would become in memory is known before it is read: bombs are refused, and the message says what to set."""

from __future__ import annotations

import gzip
import io
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import labelspace as ls
from labelspace import interventions
from labelspace.cli import main
from labelspace.data import images
from labelspace.data.dataset import Dataset
from labelspace.data.sources.mnist import read_idx
from labelspace.errors import UserError
from labelspace.storage import bounds, files, tensorfiles

TOO_LARGE = r"takes .* in memory, and no more than .* are \w+ at once; set LABELSPACE_MAX_BYTES=\S+ in the environment"


@pytest.mark.parametrize(
    ("given", "size"), [("8e9", 8 * 10**9), ("8G", 8 * 2**30), ("1.5 MiB", 3 * 2**19), ("100", 100), ("2kB", 2048)]
)
def test_how_much_may_be_read_is_said_in_the_environment(given: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(bounds.VARIABLE, given)
    assert bounds.most() == bounds.most(usual=1) == size
    bounds.check("it", size)
    with pytest.raises(UserError, match=TOO_LARGE) as error:
        bounds.check("it", size + 1)
    monkeypatch.setenv(bounds.VARIABLE, str(error.value).split(f"{bounds.VARIABLE}=")[1].split()[0])
    bounds.check("it", size + 1)  # what the message says is enough


@pytest.mark.parametrize("given", ["lots", "-1", "1e999", "8 GG"])
def test_what_is_no_number_of_bytes(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(bounds.VARIABLE, given)
    with pytest.raises(UserError, match="is not a number of bytes"):
        bounds.most()


def test_by_default_it_is_a_part_of_the_memory_and_no_more_than_is_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(bounds.VARIABLE, raising=False)
    assert 2**20 < bounds.most() < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert bounds.most(usual=1000) == 1000


@pytest.mark.parametrize(
    "call",
    [
        lambda model, x: interventions.traverse(model, x, "side", steps=999_999_999),
        lambda model, x: interventions.traverse(model, x, "side", steps=99_999, coordinates=(0, 1)),
        lambda model, x: interventions.interpolate(model, x, x, steps=10**10),
        lambda model, x: interventions.generate(model, n=10**10),
        lambda model, x: interventions.resample(model, x, "side", n=10**10),
    ],
    ids=["walk", "grid", "line", "new", "anew"],
)
def test_no_more_samples_than_memory_has_place_for(call: Callable, whole: Path, roll: Dataset) -> None:
    with pytest.raises(UserError, match=TOO_LARGE):
        call(ls.load(whole), roll.samples([0]))


@pytest.mark.parametrize("address", ["swiss-roll:n=99999999999", "moons:n=9999999999", "cells:n=99999999", "faces:n=999999999"])
def test_no_more_data_than_memory_has_place_for(address: str) -> None:
    with pytest.raises(UserError, match=TOO_LARGE):
        ls.open(address)


@pytest.mark.parametrize(
    "words",
    [
        ["data", "inspect", "faces:n=12", "--workers", "999999"],
        ["reproduce", "csvae-swiss-roll", "--workers", "999999"],
        ["train", "swiss-roll:n=60", "--devices", "999999", "--no-report"],
        ["train", "swiss-roll:n=60", "--set", "latent=999999999", "--no-report"],
        ["train", "swiss-roll:n=60", "--set", "network.width=99999", "--no-report"],
        ["inpaint", ".", "test:0", "--hole", "0,0,2,2", "--rounds", "999999999"],
        ["compare", "swiss-roll", "--seeds", "999999999"],
    ],
    ids=lambda words: words[-2] if words[-1].isdigit() else words[-2].lstrip("-"),
)
def test_numbers_that_no_machine_has_place_for_are_refused_at_the_door(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = main(words)
    except SystemExit as error:  # the parser's
        code = error.code
    assert code == 2
    assert re.search(r"expected (at most|less than)|takes .* in memory", capsys.readouterr().err.splitlines()[-1])


def idx(path: Path, n: int, body: bytes) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(struct.pack(">4B3I", 0, 0, 8, 3, n, 10, 10) + body)
    return path


def test_gz_is_unpacked_as_far_as_its_first_bytes_say(tmp_path: Path) -> None:
    assert read_idx(idx(tmp_path / "good.gz", 3, bytes(300))).shape == (3, 10, 10)
    with pytest.raises(UserError, match="holds more"):
        read_idx(idx(tmp_path / "bomb.gz", 3, bytes(50_000_000)))
    with pytest.raises(UserError, match="but holds 299"):
        read_idx(idx(tmp_path / "short.gz", 3, bytes(299)))
    with pytest.raises(UserError, match=TOO_LARGE):
        read_idx(idx(tmp_path / "claims.gz", 2**32 - 1, b""))


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def header(shape: tuple[int, ...], kind: str = "<f4") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": kind, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        {"x.npy": header((10**12, 3))},
        {"x.npy": header((100,), "<U500000000")},
        {f"{i}.npy": header((10**10,), "|u1") for i in range(9)},
    ],
    ids=["one", "texts", "many"],
)
def test_archives_by_what_their_arrays_say(members: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=TOO_LARGE):
        ls.open(f"npz:{archive(tmp_path / 'data.npz', members)}")


@pytest.mark.parametrize("content", [b"hello", header((3,), "|O"), header((3,), [("a", "<i4")]), b"\x93NUMPY\x09\x00"])  # type: ignore[arg-type]
def test_members_of_archives_that_are_no_plain_arrays(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read as a NumPy archive of plain arrays"):
        ls.open(f"npz:{archive(tmp_path / 'data.npz', {'x.npy': content})}")


def test_a_text_that_all_rows_share_is_counted_for_each(tmp_path: Path) -> None:
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(200_000, np.int32)), pa.array(["x" * 2**20]))
    parquet.write_table(pa.table({"text": text, "label": ["a", "b"] * 100_000}), tmp_path / "t.parquet", store_schema=False)
    assert (tmp_path / "t.parquet").stat().st_size < 2_000_000
    with pytest.raises(UserError, match=TOO_LARGE):
        ls.open(f"table:{tmp_path / 't.parquet'}", ["label"])


def test_rows_of_parquet_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet.write_table(pa.table({"a": np.zeros(1_000_000), "label": ["a", "b"] * 500_000}), tmp_path / "t.parquet")
    monkeypatch.setenv(bounds.VARIABLE, "10M")
    with pytest.raises(UserError, match=TOO_LARGE):
        ls.open(f"table:{tmp_path / 't.parquet'}", ["label"])


def test_texts_of_parquet_are_read_as_they_are(tmp_path: Path) -> None:
    rows = {"word": ["x", None, "ü", ""] * 10, "kind": pa.array(["a", "b"] * 20).dictionary_encode(), "label": ["u", "v"] * 20}
    parquet.write_table(pa.table(rows), tmp_path / "t.parquet")
    from labelspace.data import checked

    found = checked.parquet(tmp_path / "t.parquet")
    assert found.column("word").to_pylist() == rows["word"]
    assert pa.types.is_string(found.schema.field("word").type)
    assert pa.types.is_dictionary(found.schema.field("kind").type)


def test_pictures_by_their_header(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">2I5B", 100_000, 100_000, 1, 0, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )
    with pytest.raises(UserError, match=r"100,000 x 100,000 pixels " + TOO_LARGE):
        images.opened(tmp_path / "a.png")


def test_sparse_files(tmp_path: Path) -> None:
    """They claim a size, and take no place on the disk."""
    for name, read in {
        "model.safetensors": tensorfiles.read,
        "config.json": files.read_json,
        "t.csv": lambda path: ls.open(f"table:{path}", ["a"]),
    }.items():
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, 2**40)
        with pytest.raises(UserError, match=TOO_LARGE):
            read(tmp_path / name)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "with all that its aliases"),
        ("a: &a {b: *a}", "refers to itself"),
        ("a: &a [*a]", "refers to itself"),
        ("[" * 20_000, "cannot be read as YAML"),
        ("a: 2020-99-99", "cannot be read as YAML"),
        ("a: !!python/object/apply:os.getcwd []", "cannot be read as YAML"),
        ("? {a: 1}\n: 2", "cannot be read as YAML"),
    ],
)
def test_yaml_that_is_more_than_its_text(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        files.read_yaml(tmp_path / "c.yaml")


def test_yaml_with_aliases_is_read(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("a: &a [1, 2]\nb: *a\nc: {<<: {d: 1}}\n")
    assert files.read_yaml(tmp_path / "c.yaml") == {"a": [1, 2], "b": [1, 2], "c": {"d": 1}}


@pytest.mark.parametrize("place", ["obs/many", "layers/many"])
def test_arrays_of_cells_that_are_nearly_empty(place: str, tmp_path: Path) -> None:
    anndata, h5py = pytest.importorskip("anndata"), pytest.importorskip("h5py")
    import pandas as pd

    obs = pd.DataFrame({"t": list("xyz") * 10}, index=pd.Index([f"c{i}" for i in range(30)]))
    anndata.AnnData(np.ones((30, 4), np.float32), obs=obs).write_h5ad(tmp_path / "c.h5ad")
    with h5py.File(tmp_path / "c.h5ad", "r+") as file:
        file.create_dataset(place, (10**12,), "f8", chunks=(1000,))
    with pytest.raises(UserError, match=TOO_LARGE):
        ls.open(f"h5ad:{tmp_path / 'c.h5ad'}")


@pytest.mark.parametrize("shape", [(60, 0), (0, 3), (0, 0), (60, 1, 0, 4), (60, 1, 4, 0)])
def test_samples_without_entries(shape: tuple[int, ...], tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros(shape, np.float32), a=np.arange(shape[0]) % 2)
    with pytest.raises(UserError, match=r"data\.npz"):
        ls.open(f"npz:{tmp_path / 'data.npz'}")
