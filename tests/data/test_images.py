"""Image files as arrays."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from labelspace.data import memory
from labelspace.data.images import Framing, Look, decode, look, read
from labelspace.errors import UserError

FORMATS = {"PNG": "RGB", "JPEG": "RGB", "BMP": "RGB", "GIF": "P", "WEBP": "RGB", "TIFF": "RGB"}
NOISE = np.random.default_rng(0).integers(0, 256, (10, 14, 3), dtype=np.uint8)


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    Image.fromarray(NOISE).save(tmp_path / "c.png")
    return tmp_path / "c.png"


def test_pixels_are_channels_first(colours: Path):
    assert np.array_equal(read(colours, 3), NOISE.transpose(2, 0, 1))
    assert read(colours, 1).shape == (1, 10, 14)
    opaque = read(colours, 4)
    assert opaque.shape == (4, 10, 14)
    assert (opaque[3] == 255).all()


def test_sizes_are_height_and_width(colours: Path):
    assert read(colours, 3, (20, 9)).shape == (3, 20, 9)


def test_decode_reads_all_and_reports_what_it_cannot(colours: Path):
    (colours.parent / "broken.png").write_bytes(b"junk")
    rows = np.array([str(colours), str(colours.parent / "broken.png"), str(colours.parent / "ghost.png")])
    failures: list[tuple[int, str]] = []
    x = decode(rows, [10, 14], 3, failures)
    assert x.shape == (3, 3, 10, 14)
    assert np.array_equal(x[0], NOISE.transpose(2, 0, 1))
    assert not x[1:].any()
    assert [row for row, _ in failures] == [1, 2]
    assert "broken.png" in failures[0][1]


def test_look_tells_the_upright_size_and_channels(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 8
    made = {
        "grey.png": ("L", {}, Look((10, 14), 1)),
        "turned.png": ("RGB", {"exif": exif}, Look((14, 10), 3)),
        "alpha.png": ("RGBA", {}, Look((10, 14), 3, transparent=True)),
        "print.jpg": ("CMYK", {}, Look((10, 14), 3)),
    }
    for name, (mode, options, _) in made.items():
        Image.fromarray(NOISE).convert(mode).save(tmp_path / name, **options)
    (tmp_path / "bad.png").write_bytes(b"")
    found = look([tmp_path / name for name in [*made, "bad.png"]])
    assert {Path(path).name: what for path, what in found.items() if not isinstance(what, str)} == {
        k: v[2] for k, v in made.items()
    }
    assert isinstance(found[tmp_path / "bad.png"], str)


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_sixteen_bit_grey_of_either_byte_order_has_one_channel_and_keeps_its_high_byte(tmp_path: Path, mode: str):
    level = np.arange(140, dtype=np.uint16).reshape(10, 14) * 400
    raw = level.astype(">u2" if mode.endswith("B") else "<u2").tobytes()
    Image.frombytes(mode, (14, 10), raw).save(tmp_path / "deep.tif")
    assert look([tmp_path / "deep.tif"])[tmp_path / "deep.tif"] == Look((10, 14), 1, deep=139 * 400)
    assert np.array_equal(read(tmp_path / "deep.tif", 1)[0], (level >> 8).astype(np.uint8))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_image_is_fitted_to_a_model(colours: Path, channels: int):
    assert memory.pixels(colours, "c", (channels, 16, 24), Framing()).shape == (channels, 16, 24)


def test_an_image_that_cannot_be_read_for_a_model_is_refused(tmp_path: Path):
    (tmp_path / "bad.png").write_bytes(b"junk")
    for name in ("bad.png", "ghost.png", "."):
        with pytest.raises(UserError) as caught:
            memory.pixels(tmp_path / name, str(tmp_path / name), (3, 16, 16), Framing())
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


@settings(max_examples=150)
@given(st.sampled_from(sorted(FORMATS)), st.data())
def test_damaged_files_are_reported_and_never_stop_the_reading(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
):
    buffer = io.BytesIO()
    Image.fromarray(NOISE).convert(FORMATS[kind]).save(buffer, kind)
    raw = bytearray(buffer.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind.lower()}"
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    failures: list[tuple[int, str]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = look([path])[path]
        x = decode(np.array([str(path)]), [8, 8], 3, failures)
    assert x.shape == (1, 3, 8, 8)
    if isinstance(found, str):
        assert failures
