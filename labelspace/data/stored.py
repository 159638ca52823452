"""Image files in the store: what all sources of photographs do once they know which files there are."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labelspace.data import images, store
from labelspace.errors import UserError, refused

_MOST_CORRUPT = 0.01


@dataclass(frozen=True)
class Stored:
    """Images of some files.

    Attributes:
        x: ``(kept, channels, height, width)`` uint8, memory-mapped.
        kept: ``(kept,)`` which of the files they are, in order: all but those that cannot be read.
        notes: says which files were skipped.
    """

    x: np.ndarray
    kept: np.ndarray
    notes: tuple[str, ...] = ()


def load(
    name: str,
    home: Path,
    names: Sequence[str],
    *,
    size: int,
    channels: int,
    crop: str = "centre",
    where: Callable[[int], str] | None = None,
    progress: store.Progress | None = None,
) -> Stored:
    """Decodes image files into the store, or finds them there.

    Args:
        name: first part of the store's name.
        home: directory that the files are in.
        names: of the files, relative to it.
        size: side of the square that images are fitted to; 0 keeps their size, which must then be one and the same.
        channels: 1, 3 or 4; 0 takes the images' own, which must then be one and the same.
        crop: how they are fitted, a key of :data:`labelspace.data.images.CROPS`.
        where: says where a file is listed, by its place in ``names``.
        progress: called with images read and images in all.

    Raises:
        UserError: an option that images cannot have; a file that is not there (where it is listed is named); images of
            different sizes or modes; more than 1% of files that cannot be read (the first is named).
    """
    images.check(size, channels, crop)
    base = str(home.resolve())
    stamps = ";".join(_stamp(home, file, lambda row=row: where(row) if where else "image") for row, file in enumerate(names))
    if not (size and channels):
        shape = _common_shape(home, [os.path.join(base, file) for file in names], size, channels)
    else:
        shape = (channels, size, size)
    built = store.build(
        name,
        np.array(names),
        shape,
        "files",
        {"size": list(shape[1:]), "channels": shape[0], "crop": crop, "home": base},
        fingerprint=stamps,
        progress=progress,
    )
    if not built.failures:
        return Stored(built.x, built.kept)
    first = min(built.failures)
    why = built.failures[first].removeprefix(f"{os.path.join(base, names[first])}: ")
    text = f"{len(built.failures)} of {len(names)} images {{}}, first {home / names[first]}: {why}"
    if len(built.failures) > _MOST_CORRUPT * len(names):
        store.discard(built)  # what stops reading may pass while the files stay as they are: rights, say
        raise UserError(text.format("cannot be read (at most 1% may be skipped)"))
    return Stored(built.x, built.kept, ("skipped " + text.format("that cannot be read"),))


def _stamp(home: Path, name: str, where: Callable[[], str]) -> str:
    """Size and time of a file, which change when its content does."""
    try:
        found = os.stat(os.path.join(home, name))
        if name and stat.S_ISREG(found.st_mode):
            return f"{found.st_size},{found.st_mtime_ns}"
    except PermissionError as error:
        raise UserError(f"{where()}: {refused(error)}") from None
    except (OSError, ValueError):  # ValueError: a name that no file can have
        pass
    raise UserError(f"{where()}: no such file {name!r} in {home}") from None


def _common_shape(home: Path, files: list[str], size: int, channels: int) -> tuple[int, int, int]:
    looked = {file: found for file, found in images.look(files).items() if not isinstance(found, str)}
    if not looked:
        raise UserError(f"{home}: no file can be read as an image")
    sizes = Counter(found[0] for found in looked.values())
    bands = Counter(found[1] for found in looked.values())
    if not size and len(sizes) > 1:
        first, second = (next(f for f, found in looked.items() if found[0] == s) for s in list(sizes)[:2])
        raise UserError(
            f"images of different sizes: {first} is {looked[first][0]}, {second} is {looked[second][0]} "
            f"(height, width); resize them with the option size, as in folder:{home},size=64"
        )
    if not channels and len(bands) > 1:
        first, second = (next(f for f, found in looked.items() if found[1] == b) for b in list(bands)[:2])
        raise UserError(
            f"images of different modes: {first} has {looked[first][1]} channels, {second} has {looked[second][1]}; "
            f"convert them with the option channels, as in folder:{home},channels=3"
        )
    height, width = (size, size) if size else next(iter(sizes))
    if not size and not (8 <= height <= 256 and 8 <= width <= 256):
        raise UserError(
            f"{home}: images of {height} x {width} pixels; models take sides of 8 to 256: resize them with the option size, as "
            f"in folder:{home},size=64"
        )
    return channels or next(iter(bands)), height, width
