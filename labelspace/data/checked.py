"""Containers that libraries follow wherever they lead, looked through before a library reads them.

HDF5, Zarr and Parquet files and directories of the ``datasets`` library may refer to other files, and may say of themselves
that they are as large as they like. What is refused here is whatever leads out, and what would be larger than may be read
(:mod:`labelspace.storage.bounds`).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from labelspace.data import packed
from labelspace.data.arrow import pa, pc
from labelspace.errors import UserError, reason
from labelspace.storage import bounds, files

_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # where the superblock of HDF5 begins: at 0, or 512, 1024, 2048, ...
_HEAP = b"GCOL\1\0\0\0"  # where a heap begins that holds texts
_AT_ONCE = 2**22  # bytes that are looked through
_REFERENCES = 2**28  # bytes of a file that are looked through for them
_LEAST = 16  # bytes that a text takes in a heap, and a reference to it
_LONGEST = 2**26  # bytes of a text; of what is shorter, no harm comes
_VARIABLE = 3  # the byte of a type of variable length that says which kind it is of
_MOST_OBJECTS = 50_000  # groups and arrays of a file
_DEEPEST = 64  # groups in groups


def _links(path: Path | str, where: str, what: str) -> UserError:
    return UserError(f"{path}: {where} is {what}; nothing outside of the file is read. Save the data as one whole file")


# -- HDF5 -------------------------------------------------------------------------------------------------------------


def hdf5(path: Path, later: tuple[str, ...] = (), name: object = None) -> None:
    """Looks through an HDF5 file.

    Args:
        path: the file.
        later: arrays and groups that are not read as a whole: they may be of any size.
        name: what the file is called in messages, where that is another.

    Raises:
        UserError: it cannot be opened, refers to another file (an external link, external storage, a virtual array), has a link
            that leads nowhere or in a circle, or its arrays are together larger than may be read.
    """
    import h5py

    called = str(name or path)
    with bounds.opened(path) as handle:
        base, heaps = _heaps(called, handle)
        size = sum(heaps.values())
        bounds.check(called, size)
        for content in _beside(handle, base, heaps):
            _check_references(called, content, heaps)
    try:
        with h5py.File(path, "r") as file:
            for place, array in _arrays(called, file):
                bounds.check(f"{called}: a piece of {place}", math.prod(array.chunks or ()) * array.dtype.itemsize)
                if array.chunks:
                    packed.check_chunks(f"{called}: {place}", array)
                if array.chunks and array.dtype.hasobject:
                    for content in packed.chunks(array):
                        _check_references(called, content, heaps)
                if not any(f"{place}/".startswith(f"{one}/") for one in later):
                    size += array.size * array.dtype.itemsize if array.shape is not None else 0
    except UserError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, AttributeError) as error:
        raise UserError(f"{called} cannot be read as HDF5: {reason(error)[:200]}") from None
    bounds.check(called, size)


def _heaps(path: str, handle: BinaryIO) -> tuple[int, dict[int, int]]:
    """Where an HDF5 file begins in its file, and the sizes of all heaps of texts by their addresses.

    Raises:
        UserError: one says that it is larger than the file, or holds a text that ends where it begins: HDF5 would take as much
            memory, or never come to the end of it.
    """
    base, length = _superblock(handle)
    left, found, kept = os.fstat(handle.fileno()).st_size, dict[int, int](), b""
    handle.seek(0)
    while length and (block := handle.read(_AT_ONCE)):
        content = kept + block
        at = content.find(_HEAP)
        while 0 <= at <= len(content) - 16:
            size = int.from_bytes(content[at + 8 : at + 8 + length], "little")
            if size > left + len(kept) - at:
                raise UserError(f"{path} cannot be read as HDF5: a heap of texts claims more than the file holds")
            start = handle.tell() - len(content) + at
            _check_heap(path, handle.fileno(), start, size, length)
            found[start - base] = size
            at = content.find(_HEAP, at + 8)
        kept = content[-15:]
        left -= len(block)
    return base, found


def _beside(handle: BinaryIO, base: int, heaps: dict[int, int]) -> Iterator[bytearray]:
    """A file's beginning without what is in its heaps, in parts that overlap by a reference."""
    for at in range(0, _REFERENCES if heaps else 0, _AT_ONCE):
        handle.seek(at)
        part = bytearray(handle.read(_AT_ONCE + _LEAST))
        for address, size in heaps.items():
            start, end = (min(max(place - at, 0), len(part)) for place in (base + address, base + address + size))
            part[start:end] = bytes(end - start)
        yield part
        if len(part) < _AT_ONCE:
            break


def _check_heap(path: str, file: int, start: int, size: int, length: int) -> None:
    """Goes from text to text in a heap. Raises UserError where that does not lead to its end."""
    header, at = 8 + length, 8 + length
    whole = os.pread(file, size, start) if size <= _AT_ONCE else b""
    while at + header <= size:
        head = whole[at : at + header] or os.pread(file, header, start + at)
        number, told = int.from_bytes(head[:2], "little"), int.from_bytes(head[8:header], "little")
        step = header + (told + 7) // 8 * 8 if number else told  # a text, or the space that is free
        if step < header or at + step > size:
            raise UserError(f"{path} cannot be read as HDF5: a heap of texts is damaged")
        at += step


def _check_references(path: str, content: bytes | bytearray, heaps: dict[int, int]) -> None:
    """Raises UserError where a text's reference to a heap claims a text that no heap holds: HDF5 would take as much memory.

    References have no place of their own: they are in arrays and in headers. They are known by what is in them: a length, the
    address of a heap, the number of a text.
    """
    for shift in range(4) if heaps and len(content) > 2 * _LEAST else ():
        words = np.frombuffer(content, "<u4", (len(content) - shift) // 4, shift)
        lengths, low, high, numbers = (words[i : len(words) - 3 + i] for i in range(4))
        for i in np.flatnonzero((lengths > _LONGEST) & (high == 0) & (numbers - np.uint32(1) < 2**16 - 1)):
            if numbers[i] <= heaps.get(int(low[i]), 0) // _LEAST:
                raise UserError(f"{path} cannot be read as HDF5: a text claims to be longer than what holds it")


def _superblock(handle: BinaryIO) -> tuple[int, int]:
    """Where an HDF5 file begins in its file, and bytes that a length takes there; 0 of them where there is none."""
    for start in (0, *(512 << i for i in range(20))):
        handle.seek(start)
        head = handle.read(16)
        if head.startswith(_SIGNATURE) and len(head) == 16:
            return start, head[14] if head[8] < 2 else head[10]
    return 0, 0


def _arrays(path: str, file: Any) -> Iterator[tuple[str, Any]]:
    """All arrays of a file, each as often as it is named, with their places."""
    import h5py
    from h5py import h5o  # type: ignore[attr-defined]

    _check_types(path, "/", file["/"])
    waiting: list[tuple[str, Any, tuple[int, ...]]] = [("", file, ())]
    seen = 0
    while waiting:
        place, group, above = waiting.pop()
        address = h5o.get_info(group.id).addr
        if address in above or len(above) > _DEEPEST:
            raise _links(path, place, "a group within itself")
        for key in group:
            seen += 1
            if seen > _MOST_OBJECTS:
                raise UserError(f"{path} has more than {_MOST_OBJECTS:,} groups and arrays")
            inner, link = f"{place}/{key}".lstrip("/"), group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise _links(path, inner, f"a link to another file ({link.filename})")
            found = group.get(key)
            if found is None:
                raise _links(path, inner, "a link that leads nowhere")
            _check_types(path, inner, found)
            if isinstance(found, h5py.Group):
                waiting.append((inner, found, (*above, address)))
            elif isinstance(found, h5py.Dataset):
                if found.external:
                    raise _links(path, inner, f"an array that is stored in another file ({found.external[0][0]})")
                if found.is_virtual:
                    raise _links(path, inner, "put together from other arrays")
                yield inner, found


def _check_types(path: str, where: str, one: Any) -> None:
    """Raises UserError where an array or an attribute is of a variable length of no known kind: HDF5 would call what is not
    there."""
    import h5py
    from h5py import h5a, h5t  # type: ignore[attr-defined]

    kinds = [h5a.open(one.id, index=i).get_type() for i in range(h5a.get_num_attrs(one.id))]
    kinds += [one.id.get_type()] if isinstance(one, h5py.Dataset) else []
    while kinds:
        kind = kinds.pop()
        if isinstance(kind, h5t.TypeVlenID):
            if kind.encode()[_VARIABLE] & 15 > 1:  # 0: a sequence, 1: a text
                raise UserError(f"{path} cannot be read as HDF5: {where} is of a type that there is not")
            kinds.append(kind.get_super())
        elif isinstance(kind, h5t.TypeArrayID):
            kinds.append(kind.get_super())
        elif isinstance(kind, h5t.TypeCompoundID):
            kinds += [kind.get_member_type(i) for i in range(kind.get_nmembers())]


# -- Zarr -------------------------------------------------------------------------------------------------------------

_CODECS = {
    *(
        "blosc",
        "zlib",
        "gzip",
        "zstd",
        "lz4",
        "lzma",
        "bz2",
        "shuffle",
        "bitround",
        "delta",
        "fixedscaleoffset",
        "packbits",
        "adler32",
    ),
    *(
        "crc32",
        "crc32c",
        "fletcher32",
        "bytes",
        "transpose",
        "sharding_indexed",
        "vlen-utf8",
        "vlen-bytes",
        "vlen-array",
        "astype",
    ),
    *("quantize", "categorize", "scale_offset", "cast_value"),
}


def zarr(path: Path) -> None:
    """Looks through a Zarr directory.

    Raises:
        UserError: a file of it is a link that leads out of it, it is packed in a way that is not known to be harmless, or its
            arrays are together larger than may be read.
    """
    files.contained(path)
    size = 0
    for home, _, names in os.walk(path):
        for name in names:
            if name in (".zarray", ".zmetadata", "zarr.json", ".zattrs", ".zgroup"):
                size += _described(
                    Path(home, name), files.read_json(Path(home, name)), 0, name == ".zarray" or name == "zarr.json"
                )
            else:
                packed.check_file(Path(home, name), 0)
    bounds.check(path, size)


def _described(file: Path, found: Any, depth: int, counts: bool) -> int:
    """Bytes of the arrays that a part of Zarr's metadata describes."""
    if depth > _DEEPEST:
        raise UserError(f"{file} is nested too deeply")
    if isinstance(found, list):
        return sum(_described(file, one, depth + 1, counts) for one in found)
    if not isinstance(found, dict):
        return 0
    codecs = [found.get("compressor"), *_listed(found.get("filters")), *_listed(found.get("codecs"))]
    for codec in codecs:
        name = (codec.get("id") or codec.get("name")) if isinstance(codec, dict) else codec
        if name is not None and str(name).removeprefix("numcodecs.") not in _CODECS:
            raise UserError(f"{file} is packed by {name!r}, which is not read; save it with blosc, zstd or gzip")
    size = sum(_described(file, one, depth + 1, counts) for key, one in found.items() if key != "attributes")
    shape = found.get("shape")
    if not counts or not isinstance(shape, list) or not all(isinstance(side, int) and side >= 0 for side in shape):
        return size
    width = _width(found.get("dtype", found.get("data_type")))
    chunk = found.get("chunks") or found.get("chunk_grid", {}).get("configuration", {}).get("chunk_shape")
    if isinstance(chunk, list) and all(isinstance(side, int) and side >= 0 for side in chunk):
        bounds.check(f"{file}: a piece", math.prod(chunk) * width)
    return size + math.prod(shape) * width


def _listed(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []


def _width(kind: Any) -> int:
    """Bytes of an entry, by its type as Zarr writes it."""
    try:
        return np.dtype(kind).itemsize if isinstance(kind, str) else 8
    except TypeError:
        return 8


# -- Parquet ----------------------------------------------------------------------------------------------------------

_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 8}


def parquet(path: Path) -> Any:
    """Reads a Parquet file as an Arrow table.

    Raises:
        UserError: it is none, keeps a column in another file, or is larger than may be read. A text that many rows share is
            stored once, so texts are counted before they are written out.
    """
    from pyarrow import parquet as library

    try:
        with bounds.opened(path) as handle:
            file = library.ParquetFile(handle)
            _check_parquet(path, file, handle)
            texts = [i for i, field in enumerate(file.schema_arrow) if _is_text(field.type)]
            names = [file.schema_arrow.names[i] for i in texts]
            handle.seek(0)
            table = library.ParquetFile(handle, read_dictionary=names).read()
            table.validate(full=True)
            bounds.check(path, table.nbytes + sum(_written_out(table.column(i)) for i in texts))
            for i, name in zip(texts, names, strict=True):
                if pa.types.is_dictionary(table.column(i).type):
                    table = table.set_column(i, name, table.column(i).cast(table.column(i).type.value_type))
            return table
    except (UserError, MemoryError):
        raise
    except Exception as error:  # what is raised for a damaged file depends on where it is damaged
        raise UserError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())[:300]}") from None


def _is_text(kind: Any) -> bool:
    return pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_string(kind)


def _check_parquet(path: Path, file: Any, handle: BinaryIO) -> None:
    about, size = file.metadata, 0
    for i in range(about.num_row_groups):
        group = about.row_group(i)
        for j in range(group.num_columns):
            column = group.column(j)
            if column.file_path:
                raise _links(path, f"column {column.path_in_schema}", f"stored in another file ({column.file_path})")
            width = _WIDTHS.get(column.physical_type) or max(1, about.schema.column(j).length)
            starts = [column.data_page_offset, *([column.dictionary_page_offset] if column.has_dictionary_page else [])]
            pages = packed.pages(handle, min(start for start in starts if start), column.total_compressed_size)
            size += max(column.total_uncompressed_size, pages, max(column.num_values, group.num_rows) * width)
    bounds.check(path, size)


def _written_out(column: Any) -> int:
    """Bytes of a column of texts, each kept once, when all are written out."""
    size = 0
    for piece in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        if pa.types.is_dictionary(piece.type):
            lengths = pc.binary_length(piece.dictionary).cast(pa.int64())
            size += pc.sum(lengths.take(piece.indices)).as_py() or 0
    return size


# -- directories of the datasets library ------------------------------------------------------------------------------


_NAMING = ("data_files", "_data_files", "data_dir", "_indices_data_files")  # keys of what names files


def hub(path: Path) -> None:
    """Looks through a directory that the ``datasets`` library is to read.

    Raises:
        UserError: it names files outside of itself, has links that lead out of it, or a Parquet file that is larger than may be
            read.
    """
    from pyarrow import parquet as library

    files.contained(path)
    for file in sorted(path.rglob("*")):
        if file.name in ("state.json", "dataset_info.json", "dataset_dict.json"):
            _check_named(file, files.read_json(file))
        elif file.name == "README.md" and (head := re.match(r"---\r?\n(.*?)\n---", bounds.text(file), re.DOTALL)):
            _check_named(file, _configs(file, head[1]))
        elif file.suffix in (".yaml", ".yml"):
            _check_named(file, files.read_yaml(file))
        elif file.suffix in (".parquet", ".pq") and file.is_file():
            try:
                with bounds.opened(file) as handle:
                    _check_parquet(file, library.ParquetFile(handle), handle)
            except (OSError, ValueError, pa.ArrowException) as error:
                raise UserError(f"{file} cannot be read as Parquet: {' '.join(str(error).split())[:300]}") from None


def _configs(file: Path, text: str) -> Any:
    found = files.parse_yaml(file, text)
    return found.get("configs") if isinstance(found, dict) else None


def _check_named(file: Path, found: Any) -> None:
    """Raises UserError where what says which files there are names one that is elsewhere."""
    waiting = [(found, False)]
    while waiting:
        part, names = waiting.pop()
        if isinstance(part, dict):
            waiting += [(one, names or key in _NAMING) for key, one in part.items()]
        elif isinstance(part, list):
            waiting += [(one, names) for one in part]
        elif names and isinstance(part, str) and (files.leads_out(part) or ":" in part):  # a URL, an archive's member
            raise UserError(f"{file} names {part!r}, which is not in {file.parent}; nothing outside of the directory is read")
