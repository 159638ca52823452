"""labelspace/data/packed.py: pieces say, or are asked, how large they become."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from labelspace.data import checked, packed
from labelspace.errors import UserError

PLAIN = [b"", b"x", b"plain numbers", bytes(100), np.arange(100.0).tobytes(), b"x\x9c", b"BZh9", b"\x1f\x8b"]
DAMAGED = [b"", b"\x15", b"\x15" + b"\xff" * 20, b"\x1c" * 100, b"\x1d", b"\x00", b"\x19\xff" + b"\x01" * 40]
CONTENT = b"abc" * 100_000 + bytes(500_000)


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, bz2.compress, lzma.compress], ids=lambda pack: pack.__module__)
def test_what_is_packed_is_counted(pack, tmp_path: Path) -> None:
    content = pack(CONTENT)
    (tmp_path / "p").write_bytes(content)
    with (tmp_path / "p").open("rb") as file:
        assert packed.unpacked(content, 1000) > 1000
        assert packed.unpacked(file, 1000) > 1000
        file.seek(0)
        assert packed.unpacked(file, 10**6 - 1) in (len(CONTENT), 0)  # deflated, so little cannot become much
    assert packed.unpacked(content[: len(content) // 2], 1000) >= 0  # cut off


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_791, 65_792, 10**7])
def test_what_says_how_large_it_is(size: int) -> None:
    codecs = pytest.importorskip("numcodecs")
    content = np.zeros(size, np.uint8)
    assert packed.unpacked(bytes(codecs.Zstd().encode(content))) == size
    if size:
        assert packed.unpacked(bytes(codecs.Blosc().encode(content))) == size


@pytest.mark.parametrize("content", PLAIN)
def test_what_is_not_packed(content: bytes) -> None:
    assert packed.unpacked(content, 0) == 0


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip"])
@pytest.mark.parametrize("how", [{}, {"data_page_version": "2.0"}, {"use_dictionary": False}, {"data_page_size": 100}])
def test_pages_of_parquet_say_how_large_they_are(compression: str, how: dict, tmp_path: Path) -> None:
    rows = {"a": np.arange(5000.0), "s": [f"text {i % 7}" for i in range(5000)], "n": [None, 1] * 2500, "l": [[1, 2]] * 5000}
    parquet.write_table(pa.table(rows), tmp_path / "t.parquet", compression=compression, **how)
    about = parquet.ParquetFile(tmp_path / "t.parquet").metadata.row_group(0)
    with (tmp_path / "t.parquet").open("rb") as file:
        for i in range(about.num_columns):
            column = about.column(i)
            start = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
            said = packed.pages(file, start, column.total_compressed_size)
            assert 0 < said <= column.total_uncompressed_size  # which counts headers, too
            assert said > 0.5 * column.total_uncompressed_size
    assert checked.parquet(tmp_path / "t.parquet").num_rows == 5000


@pytest.mark.parametrize("header", DAMAGED)
def test_damaged_headers_of_pages(header: bytes) -> None:
    with pytest.raises(ValueError, match="page"):
        packed.pages(io.BytesIO(header), 0, 1000)


def test_chunks_that_hold_more_than_they_are(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        for name, how in {"plain": {}, "summed": {"fletcher32": True}, "shuffled": {"shuffle": True}}.items():
            made = file.create_dataset(name, (1000, 1000), "f4", chunks=(1000, 1000), compression="gzip", **how)
            made[...] = np.random.default_rng(0).random((1000, 1000))
    checked.hdf5(tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5", "r+") as file:
        packer = zlib.compressobj(1)
        bomb = b"".join(packer.compress(bytes(2**24)) for _ in range(24)) + packer.flush()
        file["plain"].id.write_direct_chunk((0, 0), bomb)
    with pytest.raises(UserError, match="plain: a chunk unpacks to more than its 4,000,000 bytes"):
        checked.hdf5(tmp_path / "c.h5")


def test_heaps_of_texts_that_claim_more_than_there_is(tmp_path: Path) -> None:
    """HDF5 takes as much memory as a heap says that it has."""
    h5py = pytest.importorskip("h5py")
    for start in (0, 512):
        path = tmp_path / f"{start}.h5"
        with h5py.File(path, "w", userblock_size=start) as file:
            file["s"] = ["a text", "and another"] * 10
        checked.hdf5(path)
        content = path.read_bytes()
        at = content.index(b"GCOL") + 8
        path.write_bytes(content[:at] + (2**32).to_bytes(8, "little") + content[at + 8 :])
        with pytest.raises(UserError, match="a heap of texts claims more than the file holds"):
            checked.hdf5(path)


@pytest.mark.parametrize("how", ["plain", "attribute", "deflated", "shuffled", "behind"])
def test_texts_that_claim_to_be_longer_than_their_heap(how: str, tmp_path: Path) -> None:
    """HDF5 takes as much memory as a reference to a text says that it is long."""
    h5py = pytest.importorskip("h5py")
    path, texts = tmp_path / "t.h5", [f"text {i}" for i in range(50)]
    with h5py.File(path, "w", userblock_size=512 if how == "behind" else 0) as file:
        if how == "attribute":
            file.attrs["s"] = texts
        else:
            packing = {"chunks": (50,), "compression": "gzip", "shuffle": how == "shuffled"} if how.endswith("ed") else {}
            file.create_dataset("s", (50,), h5py.string_dtype(), **packing)[...] = texts
    checked.hdf5(path)
    if how in ("deflated", "shuffled"):
        with h5py.File(path, "r+") as file:
            mask, content = file["s"].id.read_direct_chunk((0,))
            plain = bytearray(zlib.decompress(content))
            plain[7 * 16 + 3] = 0x20  # the last byte of a length
            file["s"].id.write_direct_chunk((0,), zlib.compress(bytes(plain)), mask)
    else:
        content = bytearray(path.read_bytes())
        heap = (content.index(b"GCOL") - (512 if how == "behind" else 0)).to_bytes(8, "little")
        at = content.index((7).to_bytes(4, "little") + heap)  # of "text 10"
        content[at + 3] = 0x20
        path.write_bytes(content)
    with pytest.raises(UserError, match="a text claims to be longer than what holds it"):
        checked.hdf5(path)


@pytest.mark.parametrize("where", ["", "g", "a"])
def test_types_of_a_variable_length_that_there_are_not(where: str, tmp_path: Path) -> None:
    """HDF5 crashes where it reads one."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "t.h5"
    with h5py.File(path, "w") as file:
        file.create_group("g")
        file["a"] = [1, 2]
        file[f"/{where}"].attrs["s"] = "a text"
    checked.hdf5(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"\x19\x01") + 1] = 0x09
    path.write_bytes(content)
    with pytest.raises(UserError, match="of a type that there is not"):
        checked.hdf5(path)


@pytest.mark.parametrize("damage", [b"\0" * 16, b"\1\0\1\0\0\0\0\0" + b"\xff" * 8, b"\0\0\0\0\0\0\0\0\xff\xff\0\0\0\0\0\0"])
def test_heaps_of_texts_that_have_no_end(damage: bytes, tmp_path: Path) -> None:
    """HDF5 would go on for ever."""
    h5py = pytest.importorskip("h5py")
    for size in (10, 10**7):  # a small heap, and one that is not read at once
        path = tmp_path / f"{size}.h5"
        with h5py.File(path, "w") as file:
            file["s"] = ["a" * size, "another", "", "more"] * 3
        checked.hdf5(path)
        content = path.read_bytes()
        at = content.index(b"GCOL") + 16
        at += 16 + (int.from_bytes(content[at + 8 : at + 16], "little") + 7) // 8 * 8 if size < 100 else 0
        path.write_bytes(content[:at] + damage + content[at + 16 :])
        with pytest.raises(UserError, match="a heap of texts is damaged"):
            checked.hdf5(path)
