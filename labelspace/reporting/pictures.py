"""Samples as picture files and tables."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin
from torch import Tensor

from labelspace.data import paths
from labelspace.errors import UserError
from labelspace.storage import files
from labelspace.variables import Variable

_WRITABLE = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}


def to_pixels(x: Tensor) -> np.ndarray:
    """Images in [0, 1], ``(..., channels, height, width)``, as uint8 ``(..., height, width, channels)``."""
    return np.moveaxis((x.detach().float().cpu().clamp(0, 1) * 255 + 0.5).byte().numpy(), -3, -1)


def tile(images: Tensor, gap: int = 2) -> np.ndarray:
    """One picture of a grid of images ``(rows, columns, channels, height, width)``, with white gaps between them."""
    rows, columns, channels, height, width = images.shape
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8)
    for r, line in enumerate(to_pixels(images)):
        for c, image in enumerate(line):
            sheet[r * (height + gap) : r * (height + gap) + height, c * (width + gap) : c * (width + gap) + width] = image
    return sheet


def write(path: str | Path, x: Tensor, record: dict[str, Any] | None = None, variables: Sequence[Variable] = ()) -> Path:
    """Writes one sample, a row ``(columns, *shape)`` or a grid ``(rows, columns, *shape)`` of samples.

    Images become one picture (png, jpg, webp, bmp, tif); vectors become an archive (.npz, array ``x``) or a table (.csv). A
    PNG carries the record of the intervention as its text "labelspace"; an archive as its array "record". Where the
    entries of vectors have names (``variables``), they are a table's first line and an archive's array "names", and a table
    has the names of classes.

    Raises:
        UserError: an ending that is none of these, or a file that cannot be written.
    """
    path = paths.own(path)
    ending = path.suffix.lower()
    is_image = x.ndim >= 3
    if is_image and ending in _WRITABLE:
        grid = x.reshape(*[1] * (5 - x.ndim), *x.shape)
        files.write(path, encoded(tile(grid), _WRITABLE[ending], record))
    elif ending == ".npz":
        buffer = io.BytesIO()
        named: dict[str, Any] = {"names": np.array([variable.name for variable in variables])} if variables else {}
        np.savez(buffer, x=x.cpu().numpy(), record=np.array(json.dumps(record or {})), **named)
        files.write(path, buffer.getvalue())
    elif not is_image and ending == ".csv":
        text = io.StringIO()
        rows = x.reshape(-1, x.shape[-1]).cpu().numpy().tolist()
        if variables:
            rows = [[v.format(cell) for v, cell in zip(variables, row, strict=True)] for row in rows]
            rows.insert(0, [variable.name for variable in variables])
        csv.writer(text).writerows(rows)
        files.write(path, text.getvalue())
    else:
        kinds = ", ".join([*_WRITABLE, ".npz"]) if is_image else ".npz, .csv"
        raise UserError(f"{path}: files of this kind cannot be written; use one of {kinds}")
    return path


def write_picture(path: str | Path, picture: Image.Image, record: dict[str, Any] | None = None) -> Path:
    """Writes one picture at its own size; a PNG carries the record, as in :func:`write`.

    Raises:
        UserError: an ending that is none of a picture's, or a file that cannot be written.
    """
    path = paths.own(path)
    if path.suffix.lower() not in _WRITABLE:
        raise UserError(f"{path}: files of this kind cannot be written; use one of {', '.join([*_WRITABLE, '.npz'])}")
    pixels = np.asarray(picture)
    files.write(path, encoded(pixels if pixels.ndim == 3 else pixels[..., None], _WRITABLE[path.suffix.lower()], record))
    return path


def encoded(pixels: np.ndarray, kind: str, record: dict[str, Any] | None = None) -> bytes:
    """A picture ``(height, width, channels)`` uint8 as the content of a file of a kind that Pillow names ("PNG")."""
    channels = pixels.shape[-1]
    if channels == 2:
        raise UserError("images of two channels have no picture format; write them as .npz")
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    options: dict[str, Any] = {}
    if kind == "PNG" and record:
        info = PngImagePlugin.PngInfo()
        info.add_text("labelspace", json.dumps(record))
        options["pnginfo"] = info
    buffer = io.BytesIO()
    (image.convert("RGB") if kind == "JPEG" and image.mode == "RGBA" else image).save(buffer, kind, **options)
    return buffer.getvalue()
