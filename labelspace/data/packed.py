"""How large packed pieces become, told from the pieces before a library unpacks them.

What a container says of itself (the shape of an array, the size of a column) need not be what its pieces hold: libraries unpack
a piece as a whole, however large it turns out to be. Here the pieces are asked: those of Parquet say it in their headers, some
of Zarr in their first bytes, and of others that could become large it is counted, a little of it in memory at a time.
"""

from __future__ import annotations

import bz2
import lzma
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from labelspace.errors import UserError
from labelspace.storage import bounds

USUAL = 2**28  # bytes that a piece may become, whatever is said of it
_AT_ONCE = 2**20  # bytes
_DEFLATE = 1032  # bytes that a deflated one becomes at most


def unpacked(packed: bytes | BinaryIO, most: float = math.inf) -> int:
    """Bytes that become of something packed as zlib, gzip, bzip2, xz, Zstandard or Blosc do; 0 of anything else.

    Args:
        packed: a file at its beginning, or what it holds.
        most: more than so many need not be counted.

    Returns:
        The number; of what is damaged so many as come before it shows, of what should say how large it is and does not more
        than any memory has.
    """
    head = packed[:18] if isinstance(packed, bytes) else _peeked(packed)
    size = len(packed) if isinstance(packed, bytes) else _size(packed)
    if head[:4] == b"\x28\xb5\x2f\xfd":
        return _zstandard(head)
    if len(head) >= 16 and head[0] in (1, 2, 3, 4, 5) and int.from_bytes(head[12:16], "little") == size:
        return int.from_bytes(head[4:8], "little")  # Blosc
    makes = _counted(head)
    if makes is None or (makes is _inflater and size * _DEFLATE <= most):
        return 0
    return _count(makes(), packed, most)


def _peeked(file: BinaryIO) -> bytes:
    head = file.read(18)
    file.seek(0)
    return head


def _size(file: BinaryIO) -> int:
    size = file.seek(0, 2)
    file.seek(0)
    return size


def _zstandard(head: bytes) -> int:
    """By the header of a frame, which may leave it out."""
    flag = head[4]
    alone, width = flag & 32, (0, 2, 4, 8)[flag >> 6]
    if width == 0 and not alone:
        return 2**63
    at = 5 + (0 if alone else 1) + (0, 1, 2, 4)[flag & 3]
    number = int.from_bytes(head[at : at + (width or 1)], "little")
    return number + 256 if width == 2 else number


class _Inflater:
    """zlib's decompressor with the methods of the others."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(47)  # zlib or gzip

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    def decompress(self, piece: bytes, most: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + piece, most)


_inflater: Callable[[], Any] = _Inflater


def _counted(head: bytes) -> Callable[[], Any] | None:
    """What unpacks, by the first bytes."""
    if head[:3] == b"BZh":
        return bz2.BZ2Decompressor
    if head[:6] == b"\xfd7zXZ\0" or head[:3] == b"\x5d\0\0":
        return lzma.LZMADecompressor
    if head[:2] == b"\x1f\x8b" or (len(head) > 1 and head[0] & 15 == 8 and int.from_bytes(head[:2], "big") % 31 == 0):
        return _inflater
    return None


def _count(unpacker: Any, packed: bytes | BinaryIO, most: float) -> int:
    found = 0
    try:
        for piece in _pieces(packed):
            found += len(unpacker.decompress(piece, _AT_ONCE))
            while not unpacker.eof and not unpacker.needs_input and found <= most:
                found += len(unpacker.decompress(b"", _AT_ONCE))
            if unpacker.eof or found > most:
                break
    except (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError):
        pass  # what unpacks it will say so
    return found


def _pieces(packed: bytes | BinaryIO) -> Iterator[bytes]:
    if isinstance(packed, bytes):
        yield from (packed[i : i + _AT_ONCE] for i in range(0, len(packed), _AT_ONCE))
    else:
        yield from iter(lambda: packed.read(_AT_ONCE), b"")


def check_file(path: Path, said: int) -> None:
    """Raises UserError where a file that is one packed piece becomes larger than is said of it, and than is usual."""
    usual = max(said, USUAL)
    with bounds.opened(path) as file:
        bounds.check(path, unpacked(file, usual), usual)


# -- HDF5 -------------------------------------------------------------------------------------------------------------

_REFERENCE = 64  # bytes that a reference takes at most
_DEFLATED = 1  # HDF5's number of the filter


def check_chunks(where: str, array: Any) -> None:
    """Raises UserError where a chunk of an HDF5 array unpacks to more than a chunk is.

    Args:
        where: file and array.
        array: in chunks.
    """
    filters = _filters(array)
    if _DEFLATED not in filters:
        return
    whole = math.prod(array.chunks) * array.dtype.itemsize
    suspects: list[tuple[int, ...]] = []

    def look(info: Any) -> None:
        if info.size * _DEFLATE > max(whole, USUAL):
            suspects.append(info.chunk_offset)

    array.id.chunk_iter(look)
    for offset in suspects:
        mask, content = array.id.read_direct_chunk(offset)
        if _DEFLATED in _applied(filters, mask) and _count(_inflater(), content, whole) > whole:
            raise UserError(f"{where}: a chunk unpacks to more than its {whole:,} bytes; the file is damaged")


def chunks(array: Any) -> Iterator[bytes]:
    """The chunks of an HDF5 array of references (which HDF5 does not shuffle), unpacked; none where they are packed by anything
    else than deflate, or damaged."""
    filters = _filters(array)
    if _DEFLATED not in filters:
        return
    places: list[tuple[int, ...]] = []
    array.id.chunk_iter(lambda info: places.append(info.chunk_offset))
    for place in places:
        mask, content = array.id.read_direct_chunk(place)
        applied = _applied(filters, mask)
        with suppress(zlib.error):
            if _DEFLATED in applied:
                content = zlib.decompressobj().decompress(content, _REFERENCE * math.prod(array.chunks))
            yield content


def _filters(array: Any) -> list[int]:
    pipeline = array.id.get_create_plist()
    return [pipeline.get_filter(i)[0] for i in range(pipeline.get_nfilters())]


def _applied(filters: list[int], mask: int) -> list[int]:
    """The filters that a chunk went through: some are left out where they can do nothing, which its mask says."""
    return [number for i, number in enumerate(filters) if not mask >> i & 1]


# -- Parquet ----------------------------------------------------------------------------------------------------------

_TEXT, _STRUCT = 8, 12  # Thrift's numbers of types


def pages(file: BinaryIO, start: int, length: int) -> int:
    """Bytes that the pages of a column of a Parquet file become, as their headers say.

    Args:
        file: the file.
        start, length: where the pages are.

    Raises:
        ValueError: a header is damaged.
    """
    found, at = 0, start
    while at < start + length:
        file.seek(at)
        header = _numbers(file)
        unpacked_size, packed_size = header.get(2, -1), header.get(3, -1)
        if unpacked_size < 0 or packed_size < 0:
            raise ValueError("a page does not say how large it is")
        found += unpacked_size
        at = file.tell() + packed_size
    return found


def _numbers(file: BinaryIO) -> dict[int, int]:
    """Whole numbers among the fields of a structure in Thrift's compact protocol, by their numbers; the rest is passed over."""
    found: dict[int, int] = {}
    number = 0
    while (head := _byte(file)) & 15:
        number = number + (head >> 4) if head >> 4 else _signed(file)
        if (value := _value(file, head & 15, 0)) is not None:
            found[number] = value
    return found


def _value(file: BinaryIO, kind: int, depth: int) -> int | None:
    if depth > 16:
        raise ValueError("a page's header is nested too deeply")
    if kind in (4, 5, 6):
        return _signed(file)
    if kind == 3:
        file.seek(1, 1)
    elif kind == 7:
        file.seek(8, 1)
    elif kind == _TEXT:
        file.seek(_varint(file), 1)
    elif kind in (9, 10):
        head = _byte(file)
        count = head >> 4 if head >> 4 < 15 else _varint(file)
        for _ in range(count):
            _byte(file) if head & 15 in (1, 2) else _value(file, head & 15, depth + 1)
    elif kind == _STRUCT:
        while (head := _byte(file)) & 15:
            if not head >> 4:
                _signed(file)
            _value(file, head & 15, depth + 1)
    elif kind not in (1, 2):
        raise ValueError(f"a page's header has a field of type {kind}")
    return None


def _byte(file: BinaryIO) -> int:
    if not (read := file.read(1)):
        raise ValueError("a page's header is cut off")
    return read[0]


def _varint(file: BinaryIO) -> int:
    number = 0
    for shift in range(0, 70, 7):
        byte = _byte(file)
        number |= (byte & 127) << shift
        if byte < 128:
            return number
    raise ValueError("a page's header has a number of too many bytes")


def _signed(file: BinaryIO) -> int:
    number = _varint(file)
    return number >> 1 ^ -(number & 1)
