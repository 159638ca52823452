"""Image files as arrays: looked at, decoded, cropped and resized."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from labelspace.errors import UserError, unknown

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
# What Pillow raises for a file that is not a picture or is damaged.
UNREADABLE = (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError)
MODES = {1: "L", 3: "RGB", 4: "RGBA"}

# What becomes of a picture whose height and width are not in the proportion that is asked for.
CROPS = {
    "centre": "the largest part in its middle that has the proportion; what is beyond is cut off",
    "pad": "all of it, black where it ends",
    "none": "all of it, squeezed",
    "close": "the middle three quarters of height and of width, squeezed: closer to an aligned face",
}


Crop = Literal["centre", "pad", "none", "close"]
"""The keys of :data:`CROPS`."""


def check(size: int, channels: int, crop: str) -> None:
    """Raises UserError where options of a source (0 for what the images have) are not such that images can have them."""
    if size and not 8 <= size <= 256:
        raise UserError(f"size must be 8 to 256, got {size}")
    if channels not in (0, *MODES):
        raise UserError(f"channels must be 1, 3 or 4, got {channels}")
    if crop not in CROPS:
        raise unknown("crop", crop, CROPS)


def decode(
    rows: np.ndarray,
    size: list[int] | None,
    channels: int,
    failures: list[tuple[int, str]],
    crop: str = "centre",
    home: str = "",
) -> np.ndarray:
    """Reads image files, ``(n,)`` paths -> ``(n, channels, height, width)`` uint8.

    Args:
        rows: paths.
        size: height and width to resize to.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        failures: receives ``(row, reason)`` for each file that cannot be read; its image is black.
        crop: a key of ``CROPS``.
        home: directory that the paths are in.
    """
    height, width = size or _size_of(os.path.join(home, str(rows[0])))
    out = np.zeros((len(rows), channels, height, width), np.uint8)
    for i, name in enumerate(rows):
        path = os.path.join(home, str(name))
        try:
            out[i] = read(path, channels, (height, width), crop=crop)
        except UNREADABLE as error:
            failures.append((i, f"{path}: {error}"))
    return out


def read(
    path: str | Path | BinaryIO,
    channels: int,
    size: tuple[int, int] | None = None,
    formats: tuple[str, ...] | None = None,
    crop: str = "centre",
) -> np.ndarray:
    """One image file as ``(channels, height, width)`` uint8, turned upright; cropped and resized if a size (height, width) is
    given.

    Only ``formats`` are tried, where they are given (names as Pillow has them).
    """
    with Image.open(path, formats=formats) as image:
        if size is not None:  # a large photograph is decoded at a half, a quarter or an eighth where that is still enough
            image.draft(None, (2 * max(size), 2 * max(size)))  # type: ignore[arg-type]  # None keeps the mode
        return pixels(image, channels, size, crop)


def pixels(image: Image.Image, channels: int, size: tuple[int, int] | None = None, crop: str = "centre") -> np.ndarray:
    """A picture as ``(channels, height, width)`` uint8, as :func:`read` has it of a file."""
    picture = upright(image).convert(MODES[channels])
    if size is not None and picture.size != size[::-1]:
        picture = _fitted(picture, size[1], size[0], crop)
    found = np.array(picture)
    return found[None] if found.ndim == 2 else np.ascontiguousarray(found.transpose(2, 0, 1))


def upright(image: Image.Image) -> Image.Image:
    """A picture turned upright, of eight bits a channel, that every conversion of Pillow treats rightly."""
    picture = _eight_bit(ImageOps.exif_transpose(image))
    if picture.mode == "P" and isinstance(picture.info.get("transparency"), bytes):
        picture = picture.convert("RGBA")  # only then Pillow knows what to do with a transparent palette
    return picture


def bands(image: Image.Image) -> int:
    """Channels that a picture has for us: 1 (grey), 3 or 4 (with transparency)."""
    mode = image.mode.partition(";")[0]
    return {"1": 1, "L": 1, "I": 1, "F": 1, "RGBA": 4, "LA": 4, "PA": 4}.get(mode, 3)


def _eight_bit(picture: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit: its high bytes. Pillow's own conversion would clip it."""
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode == "I":
        deep = np.asarray(picture)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError("it has 32-bit pixels outside 0 to 65535; save it with 8 or 16 bits")
        return Image.fromarray((deep >> 8).astype(np.uint8))
    if picture.mode == "F":
        raise ValueError("it has floating-point pixels, whose scale is not known; save it with 8 or 16 bits")
    return picture


def box_of(size: tuple[int, int], width: int, height: int, crop: str) -> tuple[float, float, float, float]:
    """The part of a picture of ``size`` (width, height) that is fitted to ``width x height``: left, top, right, bottom.

    With ``crop="pad"`` it goes beyond the picture.
    """
    across, down = size
    if crop == "pad":
        scale = max(across / width, down / height)
    elif crop == "centre":
        scale = min(across / width, down / height)
    else:
        cut = (across / 8, down / 8) if crop == "close" else (0.0, 0.0)
        return cut[0], cut[1], across - cut[0], down - cut[1]
    cut = ((across - scale * width) / 2, (down - scale * height) / 2)
    return cut[0], cut[1], across - cut[0], down - cut[1]


def _fitted(picture: Image.Image, width: int, height: int, crop: str) -> Image.Image:
    if crop == "pad":
        return ImageOps.pad(picture, (width, height), Image.Resampling.LANCZOS)
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=box_of(picture.size, width, height, crop))


def read_for(shape: tuple[int, ...], path: str | Path, crop: str = "centre") -> np.ndarray:
    """One image file fitted to a model's image shape. Raises UserError when it cannot be read."""
    if shape[0] not in MODES:
        raise UserError(f"picture files have 1, 3 or 4 channels, the model takes {shape[0]}; name a sample of its data instead")
    try:
        return read(path, shape[0], (shape[1], shape[2]), crop=crop)
    except FileNotFoundError:
        raise UserError(f"no such image: {path}") from None
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read as an image: {error}") from None


def within(directory: Path) -> list[Path]:
    """All files in a directory, and in those below it, that are pictures by their endings; sorted.

    Hidden ones are left out: copies that programs keep, and what macOS writes beside a picture.
    """
    return sorted(
        file
        for file in directory.rglob("*")
        if file.suffix.lower() in ENDINGS
        and not any(part.startswith(".") for part in file.relative_to(directory).parts)
        and file.is_file()
    )


def look(paths: Iterable[str | Path]) -> dict[str | Path, tuple[tuple[int, int], int] | str]:
    """Height, width and channels of each file, or why it cannot be read (its header is enough; pixels are not decoded)."""
    found: dict[str | Path, tuple[tuple[int, int], int] | str] = {}
    for path in paths:
        try:
            with Image.open(path) as image:
                turned = image.size if image.getexif().get(0x0112, 1) < 5 else image.size[::-1]
                found[path] = ((turned[1], turned[0]), bands(image))
        except UNREADABLE as error:
            found[path] = str(error)
    return found


def _size_of(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size[1], image.size[0]
