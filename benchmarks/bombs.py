"""Files that are small and become large: what the command takes of memory until it refuses them.

    python benchmarks/bombs.py [--only WORD] [--out docs/evidence/faults]

Each file is made, and read by a command in a forked child of a process that has imported torch and nothing else of size; what
counts is the most memory that the child, or a process that it started, held beyond that. Files that claim a size are read with
the bound that the machine's memory gives, those that really hold half a gigabyte with LABELSPACE_MAX_BYTES=64M. The exit
code is 1 where one of them is read, or takes 300 MB or more, or does not end in one line.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import io
import json
import os
import re
import resource
import shlex
import shutil
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

MOST = 300 << 20  # bytes that a refused file may take
HELD = 1 << 29  # bytes that a file holds that holds them
BOUND = "64M"
SECONDS = 120
ZEROS = bytes(1 << 24)

Bomb = Callable[[Path], str]
BOMBS: dict[str, tuple[Bomb, bool]] = {}


def bomb(about: str, held: bool = False) -> Callable[[Bomb], Bomb]:
    """Registers what makes a file in a directory and returns the command that reads it."""

    def register(make: Bomb) -> Bomb:
        BOMBS[about] = (make, held)
        return make

    return register


def packed(size: int = HELD, kind: int = 31) -> bytes:
    """So many zeros, deflated: 15 raw bits (-15), zlib (15) or gzip (31)."""
    packer, out = zlib.compressobj(1, zlib.DEFLATED, kind), b""
    for _ in range(size // len(ZEROS)):
        out += packer.compress(ZEROS)
    return out + packer.flush()


def header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": kind, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@contextmanager
def member(path: Path, name: str) -> Iterator[Any]:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open(name, "w", force_zip64=True) as file:
            yield file


# -- NumPy, IDX, text -------------------------------------------------------------------------------------------------


@bomb("npz: a shape of 12 TB")
def npz_claims(home: Path) -> str:
    with member(home / "b.npz", "x.npy") as file:
        file.write(header((10**12, 3), "<f4"))
    return f"data inspect npz:{home}/b.npz"


@bomb("npz: half a gigabyte of zeros", held=True)
def npz_holds(home: Path) -> str:
    with member(home / "b.npz", "x.npy") as file:
        file.write(header((HELD,)))
        for _ in range(HELD // len(ZEROS)):
            file.write(ZEROS)
    return f"data inspect npz:{home}/b.npz"


@bomb("npz: more zeros than its shape says", held=True)
def npz_lies(home: Path) -> str:
    with member(home / "b.npz", "x.npy") as file:
        file.write(header((60, 3)))
        for _ in range(HELD // len(ZEROS)):
            file.write(ZEROS)
    return f"data inspect npz:{home}/b.npz"


@bomb("npz: a header of half a gigabyte", held=True)
def npz_header(home: Path) -> str:
    with member(home / "b.npz", "x.npy") as file:
        file.write(b"\x93NUMPY\x02\x00" + struct.pack("<I", HELD))
        for _ in range(HELD // len(ZEROS)):
            file.write(ZEROS.replace(b"\0", b" "))
    return f"data inspect npz:{home}/b.npz"


@bomb("npz: a hundred thousand members")
def npz_many(home: Path) -> str:
    with zipfile.ZipFile(home / "b.npz", "w") as archive:
        one = header((60,)) + bytes(60)
        for i in range(100_000):
            archive.writestr(zipfile.ZipInfo(f"{i}.npy"), one)
    return f"data inspect npz:{home}/b.npz"


def _idx(home: Path, n: int, body: bytes, ending: str = ".gz") -> str:
    for part in ("train", "t10k"):
        head = struct.pack(">4B3I", 0, 0, 8, 3, n, 10, 10)
        (home / f"{part}-images-idx3-ubyte{ending}").write_bytes(gzip.compress(head) + body if ending else head + body)
        (home / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 60) + bytes(i % 10 for i in range(60)))
    return f"data inspect mnist:{home}"


@bomb("IDX: 400 GB by its first bytes")
def idx_claims(home: Path) -> str:
    return _idx(home, 2**32 - 1, b"", "")


@bomb("IDX, gzipped: more zeros than its first bytes say", held=True)
def idx_lies(home: Path) -> str:
    return _idx(home, 60, packed())


@bomb("IDX, gzipped: half a gigabyte of zeros", held=True)
def idx_holds(home: Path) -> str:
    return _idx(home, HELD // 100, packed())


@bomb("CSV: half a gigabyte of nothing", held=True)
def csv_sparse(home: Path) -> str:
    (home / "b.csv").write_text("a,b\n")
    os.truncate(home / "b.csv", HELD)
    return f"data inspect table:{home}/b.csv --labels a"


@bomb("CSV: a terabyte of nothing")
def csv_claims(home: Path) -> str:
    (home / "b.csv").write_text("a,b\n")
    os.truncate(home / "b.csv", 2**40)
    return f"data inspect table:{home}/b.csv --labels a"


@bomb("CSV: 60 MB of separators", held=True)
def csv_wide(home: Path) -> str:
    (home / "b.csv").write_bytes(b"," * 60_000_000 + b"\n")
    return f"data inspect table:{home}/b.csv --labels a"


@bomb("labels.csv: half a gigabyte of nothing", held=True)
def list_sparse(home: Path) -> str:
    (home / "labels.csv").write_text("file,a\n")
    os.truncate(home / "labels.csv", HELD)
    return f"data inspect folder:{home}"


# -- Parquet ----------------------------------------------------------------------------------------------------------


@bomb("Parquet: one text that 200,000 rows share", held=True)
def parquet_shared(home: Path) -> str:
    import pyarrow as pa
    from pyarrow import parquet

    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(200_000, np.int32)), pa.array(["x" * 2**20]))
    parquet.write_table(pa.table({"text": text, "label": ["a", "b"] * 100_000}), home / "b.parquet", store_schema=False)
    return f"data inspect table:{home}/b.parquet --labels label"


@bomb("Parquet: 130 million rows in a few kilobytes", held=True)
def parquet_rows(home: Path) -> str:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"a": pa.nulls(2**24, pa.float64())})
    with parquet.ParquetWriter(home / "b.parquet", table.schema, compression="zstd") as writer:
        for _ in range(8):
            writer.write_table(table)
    return f"data inspect table:{home}/b.parquet --labels a"


@bomb("Parquet: a page that says less than it holds", held=True)
def parquet_page(home: Path) -> str:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"text": ["x" * (HELD // 2), "y"] * 1, "label": ["a", "b"]})
    parquet.write_table(table, home / "b.parquet", compression="zstd", write_statistics=False)
    content = (home / "b.parquet").read_bytes()
    about = parquet.ParquetFile(home / "b.parquet").metadata.row_group(0).column(0)
    said, less = _varint(about.total_uncompressed_size), _varint(2 * 10**4)
    less = less[:-1] + bytes([less[-1] | 0x80]) + b"\x80" * (len(said) - len(less) - 1) + b"\0"
    (home / "b.parquet").write_bytes(content.replace(said, less))
    return f"data inspect table:{home}/b.parquet --labels label"


def _varint(number: int) -> bytes:
    """A positive number as Parquet's metadata write it."""
    number, out = 2 * number, b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


# -- HDF5 and Zarr ----------------------------------------------------------------------------------------------------


def _cells(home: Path) -> Path:
    import anndata
    import pandas as pd

    obs = pd.DataFrame({"t": list("xyz") * 20}, index=pd.Index([f"c{i}" for i in range(60)]))
    made = anndata.AnnData(np.ones((60, 4), np.float32), obs=obs)
    made.write_h5ad(home / "b.h5ad")
    return home / "b.h5ad"


def _h5(about: str, held: bool, change: Callable[[Any], None]) -> None:
    @bomb(f"HDF5: {about}", held)
    def make(home: Path) -> str:
        import h5py

        path = _cells(home)
        with h5py.File(path, "r+") as file:
            change(file)
        return f"data inspect h5ad:{path} --labels t"


def _matrix(file: Any, shape: tuple[int, ...], **how: Any) -> Any:
    about = dict(file["X"].attrs)
    del file["X"]
    made = file.create_dataset("X", shape, "f4", **how)
    made.attrs.update(about)
    return made


def _hollow(file: Any) -> None:
    made = _matrix(file, (60, 4), chunks=(60, 4), compression="gzip")
    made.id.write_direct_chunk((0, 0), packed(kind=15))


def _large(file: Any) -> None:
    made = _matrix(file, (60, HELD // 240), chunks=(1, HELD // 240), compression="gzip", compression_opts=1)
    made[...] = 0


def _texts(file: Any) -> None:
    import h5py

    file["obs"].create_dataset("s", (60,), h5py.string_dtype())
    file["obs/s"][...] = ["x" * (HELD // 60)] * 60
    file["obs"].attrs["column-order"] = ["t", "s"]
    file["obs/s"].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})


def _sparse(file: Any) -> None:
    del file["X"]
    group = file.create_group("X")
    group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": np.array([60, 2**40])})
    for name, kind in (("data", "f4"), ("indices", "i4")):
        group.create_dataset(name, (10**11,), kind, chunks=(1000,))
    group["indptr"] = np.linspace(0, 10**11, 61).astype(np.int64)


_h5("an array of 4 TB, of which nothing is written", False, lambda file: _matrix(file, (10**12, 4), chunks=(1000, 4)))
_h5("chunks of 4 TB", False, lambda file: _matrix(file, (10**9, 1000), chunks=(10**6, 1000)))
_h5("a sparse matrix of 400 GB", False, _sparse)
_h5("half a gigabyte of zeros", True, _large)
_h5("a chunk that unpacks to more than its shape", True, _hollow)
_h5("half a gigabyte of texts", True, _texts)
_h5("layers of 8 TB", False, lambda file: file["layers"].create_dataset("m", (10**12,), "f8", chunks=(1000,)))
_h5(
    "fifty thousand groups",
    False,
    lambda file: [file.create_group(f"uns/{i}", track_order=False) for i in range(50_001)],  # type: ignore[func-returns-value]
)


@bomb("HDF5: texts that claim to have a gigabyte")
def claiming(home: Path) -> str:
    path = _cells(home)
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL").to_bytes(8, "little")
    places = [found.start() for found in re.finditer(rb"[^\0]\0\0\0" + re.escape(heap) + rb"[^\0].\0\0", content, re.DOTALL)]
    for at in places:  # references: a length, the heap, the number of a text
        content[at + 3] = 0x40
    path.write_bytes(content)
    return f"data inspect h5ad:{path} --labels t"


def _zarr(about: str, held: bool, change: Callable[[Path], None]) -> None:
    @bomb(f"Zarr: {about}", held)
    def make(home: Path) -> str:
        import warnings

        import anndata

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            anndata.read_h5ad(_cells(home)).write_zarr(home / "b.zarr")
        change(home / "b.zarr")
        return f"data inspect h5ad:{home}/b.zarr --labels t"


def _described(home: Path, **about: Any) -> None:
    """The matrix of a Zarr directory, described otherwise."""
    file = home / "X" / ".zarray"
    file.write_text(json.dumps({**json.loads(file.read_text()), **about}))
    for index in (home / ".zmetadata",):
        if index.exists():
            whole = json.loads(index.read_text())
            whole["metadata"]["X/.zarray"] |= about
            index.write_text(json.dumps(whole))


def _chunk(home: Path, compressor: dict[str, Any], content: bytes) -> None:
    _described(home, compressor=compressor)
    chunk = next(file for file in (home / "X").iterdir() if not file.name.startswith("."))
    chunk.write_bytes(content)


def _blosc() -> bytes:
    from numcodecs import Blosc

    return bytes(Blosc(cname="zstd", clevel=1).encode(np.zeros(HELD, np.uint8)))


def _zstd() -> bytes:
    from numcodecs import Zstd

    return bytes(Zstd(level=1).encode(np.zeros(HELD, np.uint8)))


_zarr("an array of 4 TB", False, lambda home: _described(home, shape=[10**12, 4]))
_zarr("chunks of 4 TB", False, lambda home: _described(home, shape=[10**9, 1000], chunks=[10**9, 1000]))
_zarr("zlib, more than its shape", True, lambda home: _chunk(home, {"id": "zlib", "level": 1}, packed(kind=15)))
_zarr("gzip, more than its shape", True, lambda home: _chunk(home, {"id": "gzip", "level": 1}, packed()))
_zarr("bz2, more than its shape", True, lambda home: _chunk(home, {"id": "bz2", "level": 1}, _bz2()))
_zarr(
    "blosc, more than its shape",
    True,
    lambda home: _chunk(home, {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 0, "blocksize": 0}, _blosc()),
)
_zarr("zstd, more than its shape", True, lambda home: _chunk(home, {"id": "zstd", "level": 1}, _zstd()))


def _bz2() -> bytes:
    packer, out = bz2.BZ2Compressor(1), b""
    for _ in range(HELD // len(ZEROS)):
        out += packer.compress(ZEROS)
    return out + packer.flush()


# -- MATLAB, pictures -------------------------------------------------------------------------------------------------


@bomb("MATLAB: a packed half a gigabyte of zeros", held=True)
def matlab(home: Path) -> str:
    import scipy.io

    scipy.io.savemat(home / "b.mat", {"images": np.zeros((HELD // 100, 10, 10), np.uint8)}, do_compression=True)
    return f"data inspect tfd:{home}/b.mat"


def _png(width: int, height: int, body: bytes = b"", extra: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", body or zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def _pictures(about: str, name: str, content: Callable[[], bytes]) -> None:
    @bomb(f"picture: {about}", name != "a.png" or "really" in about)
    def make(home: Path) -> str:
        picture = content()
        for kind in "ab":
            (home / kind).mkdir()
            for i in range(8):
                (home / kind / f"{i}-{name}").write_bytes(picture)
        return f"data inspect folder:{home} --workers 1"


def _written(kind: str, side: int, mode: str = "L", **how: Any) -> bytes:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    out = io.BytesIO()
    Image.new(mode, (side, side)).save(out, kind, **how)
    return out.getvalue()


_pictures("PNG, 10 gigapixels by its header", "a.png", lambda: _png(100_000, 100_000))
_pictures("PNG, 200 megapixels, really", "a.png", lambda: _written("PNG", 14_200, compress_level=1))
_pictures("GIF, 200 megapixels", "a.gif", lambda: _written("GIF", 14_200))
_pictures("TIFF, 200 megapixels", "a.tif", lambda: _written("TIFF", 14_200, compression="tiff_deflate"))
_pictures("JPEG, 200 megapixels", "a.jpg", lambda: _written("JPEG", 14_200))
_pictures("PPM, 100 gigapixels by its header", "a.ppm", lambda: b"P6 999999 99999 255\n")


# -- YAML, JSON, safetensors ------------------------------------------------------------------------------------------

RUN: list[Path] = []


def train(place: Path) -> None:
    """Trains a small run, in a child."""
    words = ["train", "swiss-roll:n=300", "--model", "csvae", "--steps", "2", "--no-report", "--out", str(place / "run")]
    if (child := os.fork()) == 0:
        from labelspace import cli

        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        os._exit(cli.main(words))
    os.waitpid(child, 0)
    RUN.append(place / "run")


def _run(home: Path) -> Path:
    """A copy of a small run."""
    return Path(shutil.copytree(RUN[0], home / "run"))


def _in_run(about: str, name: str, content: Callable[[], bytes | int], command: str = "") -> None:
    @bomb(f"{about} ({name})")
    def make(home: Path) -> str:
        run, found = _run(home), content()
        if isinstance(found, int):
            os.truncate(run / name, found)
        else:
            (run / name).write_bytes(found)
        return (command or "edit @ test:0 --set side=1 --out ?/o.csv").replace("@", str(run)).replace("?", str(home))


_ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)
_TRAIN = "train --config @/config.yaml --steps 1 --no-report --out ?/o"
_in_run("YAML: a billion by aliases", "config.yaml", _ALIASES.encode, _TRAIN)
_in_run("YAML: aliases merged", "config.yaml", lambda: b"a: &a {b: 1}\n" + b"c: {<<: [" + b"*a, " * 100_000 + b"]}\n", _TRAIN)
_in_run("YAML: 600 kB of brackets in a list", "config.yaml", lambda: b"[" + b"[],\n" * 150_000 + b"]", _TRAIN)
_in_run("YAML: 2 MB of brackets in a list", "config.yaml", lambda: b"[" + b"[],\n" * 500_000 + b"]", _TRAIN)
_in_run("YAML: 100 MB", "config.yaml", lambda: b"a: [" + b"1,\n" * 33_000_000 + b"]", _TRAIN)
_in_run("JSON: a terabyte of nothing", "config.json", lambda: 2**40)
for _name in ("config.json", "schema.json", "variables.json"):
    _in_run("JSON: 9 MB of empty objects", _name, lambda: b"[" + b"{}," * 3_000_000 + b"{}]")
    _in_run("JSON: 100 MB of empty objects", _name, lambda: b"[" + b"{}," * 33_000_000 + b"{}]")
_in_run("JSON: 100 MB of numbers", "config.json", lambda: b"[" + b"1234," * 20_000_000 + b"1]")
_in_run("JSON: a number of 100 MB", "config.json", lambda: b"[" + b"1" * 100_000_000 + b"]")
_in_run("JSON: 100 MB of brackets", "config.json", lambda: b"[" * 100_000_000)
_in_run("JSON: a line of 100 MB", "metrics.jsonl", lambda: b"[" + b"{}," * 33_000_000 + b"{}]\n", "report @ --quick")
_in_run("JSON: 100 MB of empty objects", "evaluation.json", lambda: b"[" + b"{}," * 33_000_000 + b"{}]", "report @ --quick")
_in_run("safetensors: a terabyte of nothing", "model.safetensors", lambda: 2**40)


def _tensors(shape: list[int], size: int) -> bytes:
    head = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(head)) + head


def _many_tensors(n: int) -> bytes:
    head = ("{" + ",".join(f'"{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(n)) + "}").encode()
    return struct.pack("<Q", len(head)) + head


_in_run("safetensors: a tensor of 4 TB", "model.safetensors", lambda: _tensors([10**12], 4 * 10**12))
_in_run("safetensors: a header of 90 MB", "model.safetensors", lambda: _many_tensors(1_500_000))
_in_run("safetensors: a header that says 4 EB", "model.safetensors", lambda: struct.pack("<Q", 2**62) + b"{}")


@bomb("config.json: a model with layers of 100 GB")
def wide(home: Path) -> str:
    run = _run(home)
    config = json.loads((run / "config.json").read_text())
    config["arguments"]["latent"] = 10**11
    (run / "config.json").write_text(json.dumps(config))
    return f"edit {run} test:0 --set side=1 --out {home}/o.csv"


@bomb("config.yaml: data of a trillion points")
def points(home: Path) -> str:
    run = _run(home)
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("swiss-roll:n=300", "swiss-roll:n=999999999999"))
    return f"edit {run} test:0 --set side=1 --out {home}/o.csv"


@bomb("store.json: a number of rows that is not there")
def nothing(home: Path) -> str:
    return "data inspect faces:n=99999999999"


# -- measured ---------------------------------------------------------------------------------------------------------


def measured(words: list[str], held: bool, home: Path) -> tuple[int, str, int, float]:
    """Exit code, last line, bytes beyond ours, and seconds of a command in a child."""
    err, began = home / ".err", time.monotonic()
    if (child := os.fork()) == 0:
        code = 70
        try:
            for number, path in ((1, os.devnull), (2, str(err))):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
            os.chdir(home)
            os.environ |= {"HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg", "LABELSPACE_CACHE": str(home / "cache")}
            if held:
                os.environ["LABELSPACE_MAX_BYTES"] = BOUND
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
            from labelspace import cli

            Path("/proc/self/clear_refs").write_text("5")
            before = resident("VmRSS")
            try:
                code = cli.main(words)
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 1
            sys.stderr.flush()
            others = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
            (home / ".peak").write_text(str(max(resident("VmHWM"), others) - before))
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    peak = int((home / ".peak").read_text()) if (home / ".peak").exists() else -1
    lines = err.read_text(errors="replace").strip().splitlines() or [""]
    return code, lines[-1], peak, time.monotonic() - began


def resident(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) * 1024 if found else 0


def made(make: Bomb, home: Path) -> str:
    """The command of a bomb, which a child makes, so that this process imports nothing."""
    if (child := os.fork()) == 0:
        try:
            (home / ".words").write_text(make(home))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return (home / ".words").read_text()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="files whose description holds one of these words")
    parser.add_argument("--out", type=Path, help="write a section of OUT.md, and bombs.json beside it")
    given = parser.parse_args()
    torch.zeros(1)
    rows: list[dict[str, Any]] = []
    place = Path(tempfile.mkdtemp(prefix="labelspace-bombs-"))
    train(place)
    for about, (make, held) in BOMBS.items():
        if not any(word in about for word in given.only.split(",")):
            continue
        with tempfile.TemporaryDirectory(prefix="labelspace-bomb-") as scratch:
            home = Path(scratch)
            words = made(make, home)
            size = sum(file.stat().st_blocks * 512 for file in home.rglob("*") if file.is_file())
            code, line, peak, seconds = measured(shlex.split(words), held, home)
        line = re.sub(r"/\S*labelspace-bomb-\w+/?", "", line)
        well = code == 2 and 0 <= peak < MOST and line.startswith("labelspace")
        rows.append({"file": about, "bytes": size, "code": code, "peak": peak, "seconds": round(seconds, 1), "said": line})
        rows[-1]["well"] = well
        print(
            f"{'' if well else 'NO '}{about}: {size:,} bytes, exit {code}, {peak / 2**20:.0f} MB, {seconds:.1f} s: {line[:99]}",
            flush=True,
        )
    shutil.rmtree(place)
    if given.out:
        from labelspace.reporting.tables import markdown, put_section
        from labelspace.storage import files

        files.write_json(given.out.with_name("bombs.json"), {"command": "python benchmarks/bombs.py", "files": rows})
        cells = [[row["file"], f"{row['bytes'] / 1e6:,.1f}", f"{row['peak'] / 2**20:,.0f}", row["said"][:120]] for row in rows]
        table = markdown(["file", "MB on the disk", "MB of memory beyond `import torch`", "what is said"], cells)
        put_section(given.out.with_suffix(".md"), "Files that become large", f"`python benchmarks/bombs.py`\n\n{table}")
    return int(not all(row["well"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
