"""Damaged files: bytes that are others, and contents that are others below the checksums of what they are packed in.

A flipped bit of a zip archive, a PNG or a gz file is found by the library that unpacks it. What our readers do with strange
numbers shows where the archive is whole and its content is not; so half of the files of such formats are packed again.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

TOKENS = (
    b"null", b"[]", b"{}", b"-1", b"0", b"1e400", b"9" * 30, b'"x"', b"true", b"NaN", b"[[[[", b"..", b"\xff\xfe", b"\0",
    b"", b"9" * 5000,
    b"*a", b'"../../x"', b'"/etc/passwd"', b"1e18", b"4294967296", b"-9223372036854775809", b"\xf0\x9f\x99\x82",
)  # fmt: skip


def damage(file: Path, r: random.Random) -> None:
    """Damages a file, by the kind of its content."""
    content = file.read_bytes()
    below = next((way for start, way in _BELOW.items() if content.startswith(start)), None)
    if file.suffix == ".safetensors":
        below = _tensors
    if below is None or r.random() < 0.5:
        file.write_bytes(damaged(content, r))
        return
    try:
        changed = below(content, r)
    except Exception:  # a library does not write everything that it may be given to read
        changed = damaged(content, r)
    file.write_bytes(changed)


def damaged(content: bytes, r: random.Random) -> bytes:
    """Bytes with some of them changed, gone, doubled, or, in texts, a word of them replaced by another."""
    changed = bytearray(content)
    words = list(re.finditer(rb'-?[\d.]+(?:e-?\d+)?|"[^"\n]*"|[A-Za-z_]\w*', content)) if not content.count(0) else []
    for _ in range(r.choice((1, 1, 1, 2, 8))):
        way = r.random()
        at = r.randrange(len(changed)) if changed else 0
        if words and way < 0.6:
            word = r.choice(words)
            return content[: word.start()] + r.choice(TOKENS) + content[word.end() :]
        if way < 0.85 and changed:
            changed[at] ^= 1 << r.randrange(8)
        elif way < 0.9:
            del changed[at:]
        elif way < 0.95:
            changed[at:at] = changed[at : at + r.randrange(1, 64)]
        else:
            changed[at : at + 4] = r.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f"))
    return bytes(changed)


# -- below the checksums ----------------------------------------------------------------------------------------------


def _archive(content: bytes, r: random.Random) -> bytes:
    """A zip archive with one of its members damaged."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = r.choice(list(members))
    way = r.random()
    if way < 0.5:
        head = min(128, len(members[name]))  # what says type and shape
        members[name] = damaged(members[name][:head], r) + members[name][head:]
    elif way < 0.8:
        members[name] = damaged(members[name], r)
    elif way < 0.9:
        members[r.choice(("../x.npy", "/x.npy", "x" * 300 + ".npy", "\u202e.npy", "a.npy/"))] = members.pop(name)
    else:
        members[name] = _saved(_strange(r))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", r.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return out.getvalue()


def _saved(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _strange(r: random.Random, n: int = 60) -> np.ndarray:
    """An array that may be of the wrong length, of another type, or hold what is no sensible number."""
    n = r.choice((n, n, n, 0, 1, n - 1, 2 * n))
    made = r.choice(
        (
            np.full(n, np.nan),
            np.full(n, np.inf, np.float32),
            np.full(n, -1),
            np.full(n, np.iinfo(np.int64).max),
            np.full(n, np.iinfo(np.uint64).max, np.uint64),
            np.arange(n, dtype=np.float16),
            np.zeros(n, bool),
            np.zeros(n, complex),
            np.array(["x"] * n),
            np.array([b"\xff"] * n) if n else np.zeros(0, "S1"),
            np.zeros(n, "M8[s]"),
            np.zeros((n, 0)),
            np.zeros((n, 2, 3)),
            np.array(0.5),
            np.full(n, 1e300),
            np.linspace(-1e38, 1e38, n, dtype=np.float32),
            np.arange(n, dtype=">f8"),
        )
    )
    return np.asarray(made)


def _gz(content: bytes, r: random.Random) -> bytes:
    inner = gzip.decompress(content)
    head = min(16, len(inner))
    return gzip.compress(damaged(inner[:head], r) + inner[head:] if r.random() < 0.7 else damaged(inner, r), mtime=0)


def _png(content: bytes, r: random.Random) -> bytes:
    """Parts of a PNG, one of them damaged, doubled or gone, all with sums that are right."""
    parts, at = [], 8
    while at + 8 <= len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        parts.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    i = r.randrange(len(parts))
    kind, inner = parts[i]
    if kind == b"IDAT" and r.random() < 0.5:
        inner = zlib.compress(damaged(zlib.decompress(inner), r))
    elif inner:
        inner = damaged(inner, r)
    parts[i] = (kind, inner)
    if r.random() < 0.2:
        extra = (
            (b"tEXt", b"a\0" + b"x" * 10_000),
            (b"iCCP", b"a\0\0" + zlib.compress(b"\xff" * 99)),
            (b"tRNS", b"\1\2"),
            parts[i],
        )
        parts.insert(r.randrange(1, len(parts) + 1), r.choice(extra))
    out = content[:8]
    for kind, inner in parts:
        out += struct.pack(">I", len(inner)) + kind + inner + struct.pack(">I", zlib.crc32(kind + inner))
    return out


def _tensors(content: bytes, r: random.Random) -> bytes:
    """A safetensors file with another header, which may lack the digest, or without digest and with other numbers."""
    (length,) = struct.unpack("<Q", content[:8])
    header, body = json.loads(content[8 : 8 + length]), bytearray(content[8 + length :])
    if r.random() < 0.8:
        header.get("__metadata__", {}).pop("digest", None)
    way = r.random()
    if way < 0.3 and len(body) >= 4:
        at = r.randrange(len(body) // 4) * 4
        body[at : at + 4] = struct.pack("<f", r.choice((float("nan"), float("inf"), -1.0, 1e38)))
        text = json.dumps(header).encode()
    elif way < 0.6:
        name = r.choice([key for key in header if key != "__metadata__"])
        r.choice(
            (
                lambda: header.pop(name),
                lambda: header.update({"x" * 200: header[name]}),
                lambda: header[name].update(dtype=r.choice(("F64", "I64", "BOOL", "F8_E4M3", "BF16"))),
                lambda: header[name].update(shape=r.choice(([0], [], [2**62], [-1], [1] * 70))),
                lambda: header[name].update(data_offsets=r.choice(([0, 0], [0, 2**62], [8, 4]))),
            )
        )()
        text = json.dumps(header).encode()
    else:
        text = damaged(json.dumps(header).encode(), r)
    return struct.pack("<Q", len(text)) + text + bytes(body)


def _hdf5(content: bytes, r: random.Random) -> bytes:
    """An HDF5 file whose structure is whole: an array, an attribute or a group in it is another."""
    import h5py

    out = io.BytesIO(content)
    with h5py.File(out, "r+") as file:
        found: list[Any] = [file]
        file.visititems(lambda _, one: found.append(one))
        for _ in range(r.choice((1, 1, 2))):
            one = r.choice(found)
            if not one:  # gone
                continue
            if len(one.attrs) and r.random() < 0.4:
                _attribute(one.attrs, r)
            elif isinstance(one, h5py.Dataset):
                _array(one, r)
            elif len(one):
                _member(one, r.choice(list(one)), r)
    return out.getvalue()


def _member(group: Any, name: str, r: random.Random) -> None:
    way = r.randrange(3)
    if way == 0:
        group.move(name, "other")
    elif way == 1:
        del group[name]
    else:
        _replaced(group, name, r)


def _attribute(attributes: Any, r: random.Random) -> None:
    name = r.choice(list(attributes))
    value = r.choice((None, "", "x", "csr_matrix", "csc_matrix", "dataframe", "categorical", "0.0.0", b"\xff", -1, 10**9))
    if value is None:
        del attributes[name]
    elif r.random() < 0.3:
        attributes[name] = np.array(r.choice(([-1, 20], [2**62, 2**62], [0, 0], [60], [1, 1, 1])))
    elif r.random() < 0.2:
        attributes[name] = ["a", "a", "/", "..", "_index"]
    else:
        attributes[name] = value


def _array(array: Any, r: random.Random) -> None:
    if array.dtype.kind in "iuf" and array.size and r.random() < 0.7:
        value = r.choice((-1, 0, np.iinfo(np.int32).max, 2**40, 19, 20, 1e300, float("nan"), float("-inf")))
        if array.dtype.kind in "iu":
            value = 0 if value != value else int(max(np.iinfo(array.dtype).min, min(np.iinfo(array.dtype).max, value)))
        flat = array[...].reshape(-1)
        for _ in range(r.choice((1, 1, 5))):
            with np.errstate(all="ignore"):  # of values that the type does not have
                flat[r.randrange(flat.size)] = value
        if r.random() < 0.2:
            flat[:] = flat[::-1]
        array[...] = flat.reshape(array.shape)
    else:
        _replaced(array.parent, array.name.rpartition("/")[2], r)


def _replaced(group: Any, name: str, r: random.Random) -> None:
    import h5py

    attributes = dict(group[name].attrs)
    n = group[name].shape[0] if isinstance(group[name], h5py.Dataset) and group[name].shape else 60
    del group[name]
    made = _strange(r, n)
    if made.dtype.kind in "UM":
        made = made.astype("S")
    way = r.random()
    if way < 0.6:
        group[name] = made
    elif way < 0.7:
        group[name] = h5py.SoftLink(r.choice(("/", "/X", "/nowhere", f"{group.name}/{name}")))
    elif way < 0.8:
        group[name] = h5py.ExternalLink(r.choice(("/etc/passwd", "../cells.h5ad", "")), "/X")
    elif way < 0.9:
        group.create_dataset(name, (r.choice((10**6, 2**40)), 20), r.choice(("f4", "i8")), chunks=(1000, 20))
    else:
        group.create_group(name)
    with suppress(KeyError, OSError):
        group[name].attrs.update(attributes)


def _parquet(content: bytes, r: random.Random) -> bytes:
    """A Parquet file that is whole, of columns that are not what they were."""
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(content))
    n, i = len(table), r.randrange(table.num_columns)
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: pa.nulls(n),
        lambda: pa.array([[1, 2]] * n),
        lambda: pa.array([{"a": 1, "b": None}] * n),
        lambda: pa.array([None] * (n - 1) + ["x"]) if n else pa.nulls(0),
        lambda: pa.array([b"\xff\xfe"] * n),
        lambda: pa.array([2**63 - 1] * n),
        lambda: pa.array([float("inf"), float("nan")] * (n // 2) + [0.0] * (n % 2)),
        lambda: pa.array([2**62] * n, pa.timestamp("s")),
        lambda: pa.array([2**62] * n, pa.duration("ns")),
        lambda: pa.array([1] * n, pa.decimal128(38, 30)),
        lambda: pa.array([True, None] * (n // 2) + [False] * (n % 2)),
        lambda: pa.array(["x", None] * (n // 2) + ["y"] * (n % 2)).dictionary_encode(),
        lambda: pa.array([[("k", 1)]] * n, pa.map_(pa.string(), pa.int64())),
        lambda: pa.array(["x" * 10_000] * n),
        lambda: pa.array([b"abcd"] * n, pa.binary(4)),
        lambda: pa.array([0] * n, pa.time64("ns")),
        lambda: pa.array([1.5] * n, pa.float16()),
    )
    name = r.choice((table.column_names[i], "", table.column_names[0], "a" * 1000, "a\nb", "../x", "\u202e"))
    way = r.random()
    if way < 0.7:
        table = table.set_column(i, name, r.choice(kinds)())
    elif way < 0.8:
        table = table.slice(0, r.choice((0, 1, 2)))
    elif way < 0.9:
        table = table.select([i]) if r.random() < 0.5 else table.select([])
    else:
        table = table.append_column(name, table.column(i))
    if r.random() < 0.3:
        table = table.replace_schema_metadata(
            {b"pandas": r.choice((b"", b"{", b"[]", b'{"columns": 3}')), b"ARROW:schema": b"x"}
        )
    out = io.BytesIO()
    parquet.write_table(table, out, store_schema=r.random() < 0.5, compression=r.choice(("none", "snappy", "zstd", "gzip")))
    return out.getvalue()


def _matlab(content: bytes, r: random.Random) -> bytes:
    """A MATLAB file with one of its packed arrays damaged."""
    parts, at = [], 128
    while at + 8 <= len(content):
        kind, length = struct.unpack("<2I", content[at : at + 8])
        parts.append((kind, content[at + 8 : at + 8 + length]))
        at += 8 + length
    i = r.randrange(len(parts))
    inner = zlib.decompress(parts[i][1])
    head = min(64, len(inner))  # what says type, shape and name
    inner = damaged(inner[:head], r) + inner[head:] if r.random() < 0.7 else damaged(inner, r)
    parts[i] = (parts[i][0], zlib.compress(inner))
    return content[:128] + b"".join(struct.pack("<2I", kind, len(part)) + part for kind, part in parts)


_BELOW: dict[bytes, Callable[[bytes, random.Random], bytes]] = {
    b"PK\x03\x04": _archive,
    b"\x1f\x8b": _gz,
    b"\x89PNG": _png,
    b"\x89HDF": _hdf5,
    b"PAR1": _parquet,
    b"MATLAB 5.0": _matlab,
}


# -- directories ------------------------------------------------------------------------------------------------------


def misplace(file: Path, elsewhere: Path, r: random.Random) -> None:
    """Puts something else in the place of a file: nothing, a directory, a pipe, a link out, or what may not be read."""
    way = r.randrange(6)
    if way == 5:
        file.chmod(0)
        return
    file.unlink()
    if way == 0:
        file.mkdir()
    elif way == 1:
        os.mkfifo(file)
    elif way == 2:
        file.symlink_to(elsewhere)
    elif way == 3:
        file.touch()
