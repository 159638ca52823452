"""Samples as a browser shows them: pictures as PNG data, vectors as rows of a table."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from labelspace.reporting.pictures import to_pixels
from labelspace.variables import Variable

LESS, MORE = (124, 84, 196), (214, 112, 20)  # violet and orange, as in reports: told apart by everyone
_ROWS = 60


def png(x: Tensor, level: int = 1) -> bytes:
    """One image ``(channels, height, width)`` in [0, 1] as PNG; channels that are not colours are averaged."""
    pixels = to_pixels(x if x.shape[0] in (1, 3, 4) else x.mean(0, keepdim=True))
    return _encoded(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, level)


def photograph(x: Tensor) -> str:
    """One large image as the address of a JPEG, which takes a tenth of a PNG's room."""
    pixels, buffer = to_pixels(x), io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels[..., :3]).save(buffer, "JPEG", quality=92)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def difference(x: Tensor, before: Tensor) -> bytes:
    """What became lighter (orange) and darker (violet) as PNG; transparent where nothing changed."""
    change = (x - before).detach().float().mean(0).clamp(-1, 1).numpy()
    pixels = np.empty((*change.shape, 4), np.uint8)
    pixels[..., :3] = np.where(change[..., None] > 0, MORE, LESS)
    pixels[..., 3] = np.minimum(255, np.abs(change) * 3 * 255)
    return _encoded(pixels, 1)


def _encoded(pixels: np.ndarray, level: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=level)
    return buffer.getvalue()


def url(png_bytes: bytes) -> str:
    """PNG data as an address that a page can show."""
    return "data:image/png;base64," + base64.b64encode(png_bytes).decode()


def rows(
    features: tuple[str, ...],
    original: Tensor,
    reconstruction: Tensor,
    edit: Tensor,
    variables: tuple[Variable, ...] = (),
) -> list[dict[str, Any]]:
    """The entries of vectors as rows of a table; of very many the ones that the edit changed most.

    Args:
        features: names of the entries.
        original, reconstruction, edit: the vectors.
        variables: what is known of the entries: numbers are shown in the unit of the data.
    """
    change = (edit - reconstruction).abs().nan_to_num()
    order = range(len(features))
    if len(features) > _ROWS:
        order = sorted(change.argsort(descending=True)[:_ROWS].tolist())
    return [
        {
            "name": features[i],
            **{
                what: _number(x[i], variables[i] if variables else None)
                for what, x in (("original", original), ("reconstruction", reconstruction), ("edit", edit))
            },
        }
        for i in order
    ]


def _number(value: Tensor, variable: Variable | None) -> float | None:
    number = float(value)
    if not math.isfinite(number):
        return None
    return number if variable is None else variable.number(number)
