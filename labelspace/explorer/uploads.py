"""Pictures that a user uploads: small enough, really pictures, and fitted to the model. They stay in memory.

What a file is called and what the browser says it is are not looked at: its first bytes decide, only the formats of
:data:`labelspace.data.images.FORMATS` are tried, and the size that the header announces is checked before any pixel is decoded.
"""

from __future__ import annotations

import io
import threading
import warnings
from pathlib import PurePath

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from labelspace.data.dataset import as_float
from labelspace.data.images import FORMATS, MODES, UNREADABLE, Framing, is_transparent, opened, read
from labelspace.errors import UserError, note

MOST_BYTES = 10_000_000
MOST_PIXELS = 25_000_000
_LARGE = 1024  # pixels of a side that edits are shown with, at most
_ONE_AT_A_TIME = threading.Lock()  # how warnings are treated belongs to the process; and so is memory for one picture enough


def read_upload(content: bytes, shape: tuple[int, ...], framing: Framing = Framing()) -> Tensor:
    """A picture fitted to a model's shape, as commands read picture files.

    Args:
        content: the file.
        shape: channels, height and width.
        framing: how the pictures that the model was trained on were read.

    Returns:
        ``shape`` float32 in [0, 1].

    Raises:
        UserError: the file is too large, has too many pixels, is not a picture or is damaged; or the model takes no pictures.
    """
    if len(shape) != 3 or shape[0] not in MODES:
        raise UserError(f"this model takes samples of shape {shape}, which a picture file cannot be")
    if len(content) > MOST_BYTES:
        raise UserError(f"the file has {len(content) / 1e6:.1f} MB; up to {MOST_BYTES / 1e6:.0f} MB can be uploaded")
    if not content:
        raise UserError("the file is empty")
    try:
        with _ONE_AT_A_TIME, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged fields that are not needed; the check of size below is stricter
            with opened(io.BytesIO(content)) as image:
                width, height = image.size
                if width * height > MOST_PIXELS:
                    raise UserError(
                        f"the picture has {width} x {height} pixels; up to {MOST_PIXELS / 1e6:.0f} million can be uploaded"
                    )
                through = (
                    shape[0] != 4 and is_transparent(image) and bool((np.asarray(image.convert("RGBA"))[..., 3] < 255).any())
                )
            x = as_float(torch.from_numpy(read(io.BytesIO(content), shape[0], (shape[1], shape[2]), framing)))
            if through:
                ground = "white" if framing.background == "white" else "black"
                note(
                    f"the picture has transparency, which this model has not: it is put on {ground}, as training pictures were"
                )
            return x
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(f"the picture has too many pixels; up to {MOST_PIXELS / 1e6:.0f} million can be uploaded") from None
    except Image.UnidentifiedImageError:
        raise UserError(f"the file is not a picture (by its content); expected one of {', '.join(FORMATS)}") from None
    except UNREADABLE as error:
        raise UserError(f"the picture cannot be read, or is damaged: {error}") from None


def read_large(content: bytes, shape: tuple[int, ...], framing: Framing = Framing()) -> Tensor | None:
    """A picture that :func:`read_upload` took, with as many pixels as it has, but for a remainder, and 1024 at most; None where
    the model has no fewer."""
    with opened(io.BytesIO(content)) as image:
        width, height = image.size
    factor = min(width // shape[2], height // shape[1], _LARGE // max(shape[1:]))
    if factor < 2:
        return None
    with _ONE_AT_A_TIME:
        return as_float(torch.from_numpy(read(io.BytesIO(content), shape[0], (factor * shape[1], factor * shape[2]), framing)))


def safe_name(name: str) -> str:
    """The last part of a file name as a user knows it, without anything that a terminal or page could trip over."""
    last = PurePath(name.replace("\\", "/")).name
    kept = "".join(c for c in last if c.isprintable() and c not in '<>"`$')[:80].strip()
    return kept or "upload.png"
