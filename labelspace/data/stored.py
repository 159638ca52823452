"""Image files in the store: what all sources of photographs do once they know which files there are."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labelspace.data import images, store
from labelspace.data.images import Background, Crop, Framing, Survey
from labelspace.errors import UserError, refused
from labelspace.storage import files

_MOST_CORRUPT = 0.01


@dataclass(frozen=True)
class Stored:
    """Images of some files.

    Attributes:
        x: ``(kept, channels, height, width)`` uint8, memory-mapped.
        kept: ``(kept,)`` which of the files they are, in order: all but those that cannot be read.
        framing: how they were read.
        notes: says how, and which files were skipped.
    """

    x: np.ndarray
    kept: np.ndarray
    framing: Framing
    notes: tuple[str, ...] = ()


def load(
    name: str,
    home: Path,
    names: Sequence[str],
    *,
    size: int,
    channels: int,
    crop: Crop = "centre",
    background: Background = "white",
    like: Any = None,
    where: Callable[[int], str] | None = None,
    progress: store.Progress | None = None,
) -> Stored:
    """Decodes image files into the store, or finds them there.

    Args:
        name: first part of the store's name.
        home: directory that the files are in.
        names: of the files, relative to it.
        size, channels, crop, background, like: as of :meth:`labelspace.data.images.Survey.read_as`.
        where: says where a file is listed, by its place in ``names``.
        progress: called with images read and images in all.

    Raises:
        UserError: an option that images cannot have; a file that is not there (where it is listed is named); more than 1% of
            files that cannot be read (the first is named).
    """
    images.check(size, channels, crop, background)
    base = str(home.resolve())
    stamps = ";".join(_stamp(home, file, lambda row=row: where(row) if where else "image") for row, file in enumerate(names))
    reading = _survey(home, base, names, stamps).read_as(size, channels, crop, background, like)
    built = store.build(
        name,
        np.array(names),
        reading.shape,
        "files",
        {
            "size": list(reading.shape[1:]),
            "channels": reading.shape[0],
            "framing": reading.framing.to_dict(),
            "home": base,
        },
        fingerprint=stamps,
        progress=progress,
    )
    if not built.failures:
        return Stored(built.x, built.kept, reading.framing, reading.notes)
    first = min(built.failures)
    why = built.failures[first].removeprefix(f"{os.path.join(base, names[first])}: ")
    text = f"{len(built.failures)} of {len(names)} images {{}}, first {home / names[first]}: {why}"
    if len(built.failures) > _MOST_CORRUPT * len(names):
        store.discard(built)  # what stops reading may pass while the files stay as they are: rights, say
        raise UserError(text.format("cannot be read (at most 1% may be skipped)"))
    skipped = "skipped " + text.format("that cannot be read")
    return Stored(built.x, built.kept, reading.framing, (skipped, *reading.notes))


def _stamp(home: Path, name: str, where: Callable[[], str]) -> str:
    """Size and time of a file, which change when its content does."""
    if files.leads_out(name):
        raise UserError(f"{where()}: {name!r} is not in {home}; no other file is read") from None
    try:
        found = os.stat(os.path.join(home, name))
        if name and stat.S_ISREG(found.st_mode):
            return f"{found.st_size},{found.st_mtime_ns}"
    except PermissionError as error:
        raise UserError(f"{where()}: {refused(error)}") from None
    except (OSError, ValueError):  # ValueError: a name that no file can have
        pass
    raise UserError(f"{where()}: no such file {name!r} in {home}") from None


def _survey(home: Path, base: str, names: Sequence[str], stamps: str) -> Survey:
    """What the files are. All are opened for it, once: while none of them changes it is remembered."""

    def survey() -> tuple[dict[str, Any], bool]:
        looked = list(images.look(os.path.join(base, file) for file in names).values())
        readable = [found for found in looked if not isinstance(found, str)]
        if not readable:
            first = next(iter(looked), "there is none")
            raise UserError(f"{home}: no file can be read as an image, first {names[0] if names else ''}: {first}")
        return asdict(Survey.of(readable)), len(readable) == len(looked)

    found = store.remembered("\n".join([base, *images.FORMATS, *names, stamps]), survey)
    return Survey(**{**found, "size": tuple(found["size"])})
