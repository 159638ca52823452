"""Uploads: good pictures are fitted, everything else is refused by what it is and not by what it is called."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from labelspace.data.dataset import as_float
from labelspace.data.images import read
from labelspace.errors import UserError
from labelspace.explorer.session import Session
from labelspace.explorer.uploads import MOST_BYTES, read_upload, safe_name

SHAPE = (3, 16, 16)


def encoded(kind: str, size: tuple[int, int] = (40, 30), mode: str = "RGB", **options) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header announces many pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM"])
def test_pictures_are_fitted_as_commands_fit_them(kind: str, tmp_path: Path) -> None:
    content = encoded(kind)
    (tmp_path / "picture.any").write_bytes(content)
    found = read_upload(content, SHAPE)
    assert found.shape == SHAPE
    torch.testing.assert_close(found, as_float(torch.from_numpy(read(tmp_path / "picture.any", 3, (16, 16)))))


def test_transparent_grey_and_turned_pictures() -> None:
    assert read_upload(encoded("PNG", mode="RGBA"), SHAPE).shape == SHAPE
    assert read_upload(encoded("PNG", mode="L"), (1, 8, 8)).shape == (1, 8, 8)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    upright = read_upload(encoded("JPEG", (8, 16), exif=exif.tobytes(), quality=95), (3, 8, 16))
    assert upright.shape == (3, 8, 16)


@pytest.mark.parametrize(
    ("content", "said"),
    [  # the message is what a user reads
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"<html><script>alert(1)</script></html>", "not a picture"),
        (b"%PDF-1.7 and so on", "not a picture"),
        (b"\x7fELF" + b"\0" * 500, "not a picture"),
        (encoded("TGA"), "not a picture"),  # a picture, but of a kind that is not taken
        (encoded("PNG")[:300], "damaged"),
        (encoded("JPEG")[:400], "damaged"),
        (b"\x89PNG\r\n\x1a\n" + b"\xff" * 200, "(damaged|not a picture)"),
        (bomb(60_000, 60_000), "60,000 x 60,000 pixels"),
        (bomb(6_000, 6_000), "6000 x 6000"),
        (bomb(100, 100), "damaged"),
        (b"\0" * (MOST_BYTES + 1), "MB"),
    ],
    ids=range(13),
)
def test_everything_else_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_upload(content, SHAPE)


def test_a_file_in_disguise_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("face.png", encoded("PNG"))
    with pytest.raises(UserError, match="not a picture"):
        read_upload(buffer.getvalue(), SHAPE)


def test_damaged_exif_does_no_harm() -> None:
    content = encoded("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\xff" * 50)
    assert read_upload(content, SHAPE).shape == SHAPE


def test_models_of_vectors_take_no_pictures() -> None:
    with pytest.raises(UserError, match="shape"):
        read_upload(encoded("PNG"), (5,))


def test_names_are_kept_harmless() -> None:
    assert safe_name("../../etc/passwd") == "passwd"
    assert safe_name("C:\\pictures\\me.png") == "me.png"
    assert safe_name("<img src=x>\n") == "img src=x"
    assert safe_name("  ") == "upload.png"


def test_pictures_that_are_far_from_the_data_are_warned_about(pictures: str, session_of: Callable[..., Session]) -> None:
    bench = session_of("lsvae", pictures).bench
    own = [bench.distance(bench.data.samples([int(row)])[0]) for row in bench.cloud[:60]]
    assert sum(bool(found.warning) for found in own) <= 3
    checks = (torch.arange(16)[:, None] // 2 + torch.arange(16)) % 2
    far = bench.distance(checks.float().expand(SHAPE))
    assert far.reconstruction == 1.0
    assert "far from the data" in far.warning
