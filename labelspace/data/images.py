"""Image files as arrays: found, looked at, decoded and resized."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from labelspace.errors import UserError

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
# What Pillow raises for a file that is not a picture or is damaged.
UNREADABLE = (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError)
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def decode(rows: np.ndarray, size: list[int] | None, channels: int, failures: list[tuple[int, str]]) -> np.ndarray:
    """Reads image files, ``(n,)`` paths -> ``(n, channels, height, width)`` uint8.

    Args:
        rows: paths.
        size: height and width to resize to.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        failures: receives ``(row, reason)`` for each file that cannot be read; its image is black.
    """
    height, width = size or _size_of(str(rows[0]))
    out = np.zeros((len(rows), channels, height, width), np.uint8)
    for i, path in enumerate(rows):
        try:
            out[i] = read(str(path), channels, (height, width))
        except UNREADABLE as error:
            failures.append((i, f"{path}: {error}"))
    return out


def read(
    path: str | Path | BinaryIO, channels: int, size: tuple[int, int] | None = None, formats: tuple[str, ...] | None = None
) -> np.ndarray:
    """One image file as ``(channels, height, width)`` uint8, turned upright, resized if a size (height, width) is given.

    Only ``formats`` are tried, where they are given (names as Pillow has them).
    """
    with Image.open(path, formats=formats) as image:
        picture = ImageOps.exif_transpose(image)
        if picture.mode.startswith("I;16"):  # 16-bit grey; PIL's own conversion would clip it
            picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        picture = picture.convert(MODES[channels])
        if size is not None and picture.size != size[::-1]:
            picture = picture.resize((size[1], size[0]), Image.Resampling.LANCZOS)
        pixels = np.array(picture)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def read_for(shape: tuple[int, ...], path: str | Path) -> np.ndarray:
    """One image file fitted to a model's image shape. Raises UserError when it cannot be read."""
    if shape[0] not in MODES:
        raise UserError(f"picture files have 1, 3 or 4 channels, the model takes {shape[0]}; name a sample of its data instead")
    try:
        return read(path, shape[0], (shape[1], shape[2]))
    except FileNotFoundError:
        raise UserError(f"no such image: {path}") from None
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read as an image: {error}") from None


def look(paths: list[Path]) -> dict[Path, tuple[tuple[int, int], int] | str]:
    """Height, width and channels of each file, or why it cannot be read (its header is enough; pixels are not decoded)."""
    found: dict[Path, tuple[tuple[int, int], int] | str] = {}
    for path in paths:
        try:
            with Image.open(path) as image:
                upright = image.size if image.getexif().get(0x0112, 1) < 5 else image.size[::-1]
                mode = image.mode.partition(";")[0]
                bands = {"1": 1, "L": 1, "I": 1, "F": 1, "RGBA": 4, "LA": 4, "PA": 4}.get(mode, 3)
                found[path] = ((upright[1], upright[0]), bands)
        except UNREADABLE as error:
            found[path] = str(error)
    return found


def _size_of(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size[1], image.size[0]
