"""Digit morphology: shapes of known measures, published values, and a slow computation straight from the definitions."""

from __future__ import annotations

import base64
import os
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import labelspace
from labelspace.errors import UserError
from labelspace.metrics.morphology import NAMES, Morphology, measure, skeletons, squared_distances

# The first training image of MNIST, a "5".
_FIVE = (
    "eNpjYBicgFlISKiuY73Usv/f65HF5VTiZq36CwIP1/z9dNgBScrw3V8o+B0bFGShjqxN6DZY4ti27x8x7QqYk/3371luBu1ZWBzCxzjrbxROZ3"
    "b/3ceES4573183nBqVPz5ckMOIQzLww9+/5ZI4JHV3/f07TRqHpEDsn7+7cVr68+9PB6wSek3b//49j80n6lOeAsPt1zZMGYmiu6AgPemHISPu"
    "dBUc2IEYBgqtBsfD4QBOdBnzNY9AMl9auTFt6gBKXGlvEaBHugMAiR5rhg=="
)
FIVE = np.frombuffer(zlib.decompress(base64.b64decode(_FIVE)), np.uint8).reshape(28, 28)


# How much wider an upright stroke is by the grey mass than by its half height: both of its soft edges, smoothed.
EDGES = 1.3


def strokes(*lines: tuple[float, float, float, float], width: float = 3.0, size: int = 28) -> np.ndarray:
    """Lines (x, y, x, y) drawn with a round pen and soft edges, floats of 0 to 1."""
    y, x = np.mgrid[:size, :size].astype(float)
    far = np.full((size, size), np.inf)
    for ax, ay, bx, by in lines:
        along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2), 0, 1)
        far = np.minimum(far, np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)))
    return np.clip(width / 2 + 0.5 - far, 0, 1)


def blobs(shear: float, size: int = 28) -> np.ndarray:
    """Three smooth blobs, sheared about the middle row to the right as y goes down."""
    y, x = np.mgrid[:size, :size].astype(float)
    x = x - size / 2 - shear * (y - size / 2)
    y = y - size / 2
    image = sum(a * np.exp(-((x - u) ** 2) / 3 - (y - v) ** 2 / 4) for u, v, a in ((-1, -6, 0.9), (1.5, 0, 0.7), (0, 6, 0.8)))
    return np.clip(np.asarray(image), 0, 1)


def one(image: np.ndarray, **settings: float) -> dict[str, float]:
    row = measure(image[None], **settings).values[0]  # type: ignore[arg-type]
    return dict(zip(NAMES, row.tolist(), strict=True))


# -- Published values ---------------------------------------------------------------------------------------------------------


def test_the_first_training_digit_as_measured_with_todays_libraries() -> None:
    expected = [107.1875, 47.7487, 2.52540, 0.231577, 14.5237, 19.8892]
    assert measure(FIVE[None]).values[0] == pytest.approx(expected, rel=1e-3)


def test_the_first_training_digit_as_released() -> None:
    released = [107.3125, 50.2665, 2.46066, 0.231074, 14.53957, 19.84905]
    relative = np.abs(measure(FIVE[None]).values[0] / released - 1)
    # Length and thickness of the released table are of an older skeleton.
    assert (relative <= [0.01, 0.055, 0.03, 0.01, 0.01, 0.01]).all()


@pytest.mark.slow
def test_statistics_of_the_mnist_test_set() -> None:
    home = os.environ.get("LABELSPACE_TEST_MNIST")
    if not home:
        pytest.skip("set LABELSPACE_TEST_MNIST to a directory with MNIST's IDX files")
    data = labelspace.open(f"mnist:{home}")
    found = measure(data.samples(data.rows("test")).numpy())
    mean = dict(zip(NAMES, found.values.mean(0), strict=True))
    assert mean == pytest.approx(dict(zip(NAMES, (104.3, 42.8, 2.683, 0.088, 13.08, 19.14), strict=True)), rel=5e-3)
    sd = dict(zip(NAMES, found.values.std(0), strict=True))
    assert sd == pytest.approx(dict(zip(NAMES, (34.7, 11.2, 0.703, 0.245, 3.85, 1.14), strict=True)), rel=5e-3)


# -- Shapes of known measures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [2.0, 3.0, 4.0, 5.0])
def test_an_upright_bar(width: float) -> None:
    found = one(strokes((14, 6, 14, 21), width=width))
    assert found["area"] == pytest.approx(15 * width + np.pi * width**2 / 4, rel=0.03)
    assert found["thickness"] == pytest.approx(width, rel=0.16)  # side branches into corners count, and are thinner
    assert found["slant"] == pytest.approx(0, abs=0.01)
    assert found["width"] == pytest.approx(width + EDGES, abs=0.7)
    assert found["height"] == pytest.approx(15 + width, abs=0.8)


@pytest.mark.parametrize("end", [18.0, 21.0, 23.5])
def test_a_thin_line_is_as_long_as_it_is(end: float) -> None:
    assert one(strokes((14, 6, 14, end), width=2))["length"] == pytest.approx(end - 6 + 1, rel=0.12)
    assert one(strokes((6, 6, end, end), width=2))["length"] == pytest.approx(np.sqrt(2) * (end - 6) + 1, rel=0.12)


@pytest.mark.parametrize("lean", [-0.5, -0.2, 0.1, 0.3, 0.6])
def test_a_leaning_bar(lean: float) -> None:
    found = one(strokes((14 - 8 * lean, 22, 14 + 8 * lean, 6)))  # to the right at the top where lean is positive
    assert np.tan(found["slant"]) == pytest.approx(lean, abs=0.05)
    assert found["thickness"] == pytest.approx(3, abs=0.4)
    assert found["width"] == pytest.approx(3 * np.hypot(1, lean) + EDGES, abs=0.4)  # along x, the lean removed


def test_a_cross_is_as_wide_as_its_bar() -> None:
    found = one(strokes((14, 5, 14, 23), (8, 14, 20, 14), width=2))
    assert found["width"] == pytest.approx(14, abs=1)
    assert found["length"] == pytest.approx(18 + 12 + 2, rel=0.1)


def test_a_thicker_pen_changes_thickness_and_not_length() -> None:
    thin, thick = (one(strokes((8, 6, 20, 10), (20, 10, 9, 22), width=w)) for w in (2.0, 3.5))
    assert thick["thickness"] - thin["thickness"] == pytest.approx(1.5, abs=0.3)
    assert thick["length"] == pytest.approx(thin["length"], rel=0.1)


def test_contrast_does_not_matter() -> None:
    faint = np.rint(FIVE * 0.5).astype(np.uint8)
    rows = measure(np.stack([FIVE, faint])).values
    assert rows[1] == pytest.approx(rows[0], rel=0.03)


@settings(max_examples=20)
@given(st.floats(-0.4, 0.4))
def test_shearing_changes_the_slant_by_the_shear(shear: float) -> None:
    plain, sheared = measure(np.stack([blobs(0.0), blobs(shear)]))["slant"]
    assert np.tan(sheared) == pytest.approx(np.tan(plain) - shear, abs=0.02)


@settings(max_examples=20)
@given(st.integers(-3, 4), st.integers(-3, 3))
def test_moving_a_digit_changes_nothing(dx: int, dy: int) -> None:
    small = strokes((10, 8, 17, 9), (17, 9, 12, 19), width=2.5)
    rows = measure(np.stack([small, np.roll(small, (dy, dx), (0, 1))])).values
    assert rows[1] == pytest.approx(rows[0], rel=0.01, abs=1e-3)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_a_mirror_image_leans_the_other_way(seed: int) -> None:
    x = np.random.default_rng(seed).uniform(7, 20, 6)
    image = strokes((x[0], x[1], x[2], x[3]), (x[2], x[3], x[4], x[5]))
    here, there = measure(np.stack([image, image[:, ::-1]])).values
    assert there[3] == pytest.approx(-here[3], abs=0.02)
    # The definition measures x at pixel edges on one side and centres on the other, hence a quarter of a pixel.
    assert there[[0, 2, 4, 5]] == pytest.approx(here[[0, 2, 4, 5]], rel=0.03, abs=0.26)


# -- The definitions, literally -----------------------------------------------------------------------------------------------


def _slow_skeleton(stroke: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Skeleton and distances, pixel after pixel."""
    padded = np.pad(stroke, 1)
    dark = np.argwhere(~stroke)
    pixels = np.argwhere(stroke)
    squared = np.zeros(stroke.shape, int)
    for y, x in pixels:
        squared[y, x] = ((dark - [y, x]) ** 2).sum(1).min()
    shuffle = np.random.default_rng(42).permutation(len(pixels))
    background = {(y, x): 9 - padded[y : y + 3, x : x + 3].sum() for y, x in pixels}
    key = [(squared[y, x], background[y, x], shuffle[i]) for i, (y, x) in enumerate(pixels)]
    for i in sorted(range(len(pixels)), key=key.__getitem__):
        y, x = pixels[i]
        around = padded[y : y + 3, x : x + 3].copy()
        around[1, 1] = False
        left = {(int(a), int(b)) for a, b in np.argwhere(around)}
        if len(left) < 2:
            continue
        reached = [left.pop()]
        for a, b in reached:
            near = {(c, d) for c, d in left if max(abs(a - c), abs(b - d)) == 1}
            left -= near
            reached.extend(near)
        if not left:  # the neighbours hang together without the pixel
            padded[y + 1, x + 1] = False
    return padded[1:-1, 1:-1], np.sqrt(squared)


def _slow(image: np.ndarray, scale: int = 4, threshold: float = 0.5, bound: float = 0.02) -> list[float]:
    x = image / 255
    big = np.clip(np.array(ndimage.zoom(x, scale, order=3, mode="mirror", grid_mode=True)), x.min(), x.max())
    grey = np.floor(ndimage.gaussian_filter(big, 2 * scale / 6, mode="reflect") * 255 + 1e-4)
    stroke = grey >= grey.min() + threshold * (grey.max() - grey.min())
    skeleton, distance = _slow_skeleton(stroke)
    length, (height, width) = 0.0, grey.shape
    for y, x in np.argwhere(skeleton):
        for dy, dx, weight in ((0, 1, 1.0), (1, 0, 1.0), (1, 1, 2**0.5), (1, -1, 2**0.5)):
            if 0 <= x + dx < width and y + dy < height and skeleton[y + dy, x + dx]:
                length += weight
    weight = grey / grey.sum()
    y, x = np.mgrid[:height, :width].astype(float)
    centre_x, centre_y = (weight * x).sum(), (weight * y).sum()
    shear = ((weight * x * y).sum() - centre_x * centre_y) / ((weight * y * y).sum() - centre_y**2)
    across = [(weight * (x + 0.5 < t + shear * (y - centre_y))).sum() for t in range(width)]
    down = [(weight * (y < t)).sum() for t in range(height)]
    left, right = np.interp([bound / 2, 1 - bound / 2], across, range(width))
    top, bottom = np.interp([bound / 2, 1 - bound / 2], down, range(height))
    thickness = 2 * distance[skeleton].mean() / scale
    area = stroke.sum() / scale**2
    return [area, length / scale, thickness, -np.arctan(shear), (right - left) / scale, (bottom - top) / scale]


def test_the_definitions_computed_slowly_give_the_same() -> None:
    rng = np.random.default_rng(3)
    drawn = [strokes(tuple(rng.uniform(3, 24, 4)), tuple(rng.uniform(3, 24, 4)), width=w) for w in (1.5, 3.0, 6.0)]
    images = [FIVE, *(np.rint(image * 255).astype(np.uint8) for image in drawn)]
    for image, row in zip(images, measure(np.stack(images)).values, strict=True):
        assert row == pytest.approx(_slow(image), rel=2e-3, abs=1e-3)


def test_settings_mean_what_they_say() -> None:
    image = np.rint(strokes((8, 6, 15, 20), size=24)[:, :20] * 255).astype(np.uint8)  # not square
    found = measure(image[None], scale=3, threshold=0.3, bound_fraction=0.1).values[0]
    assert found == pytest.approx(_slow(image, 3, 0.3, 0.1), rel=2e-3)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 0.97))
def test_distances_and_skeletons_of_any_pattern(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    stroke = np.asarray(ndimage.binary_opening(rng.random((4, 17, 14)) < share, np.ones((1, 2, 2))))
    stroke[:, 3, 5] = False
    squared = squared_distances(stroke)
    skeleton = skeletons(stroke, squared)
    for i in range(4):
        expected, distance = _slow_skeleton(stroke[i])
        np.testing.assert_allclose(np.sqrt(squared[i]), distance)
        np.testing.assert_array_equal(skeleton[i], expected)
        # Peeling neither breaks nor joins nor removes anything.
        assert ndimage.label(skeleton[i], np.ones((3, 3)))[1] == ndimage.label(stroke[i], np.ones((3, 3)))[1]  # type: ignore[index]


def test_distances_where_columns_have_no_background() -> None:
    stroke = np.ones((1, 300, 250), bool)
    stroke[0, 10, 20] = False
    y, x = np.mgrid[:300, :250]
    np.testing.assert_array_equal(squared_distances(stroke)[0], (y - 10) ** 2 + (x - 20) ** 2)


# -- What goes in and what comes out ------------------------------------------------------------------------------------------


def test_bytes_floats_bools_channels_and_tensors_are_measured_alike() -> None:
    expected = measure(FIVE[None]).values
    as_float = (FIVE / 255).astype(np.float32)
    for same in (FIVE[None].astype(np.int64), as_float[None], FIVE[None, None], torch.from_numpy(as_float)[None, None]):
        np.testing.assert_array_equal(measure(same).values, expected)  # type: ignore[arg-type]
    # What a decoder rounds a little beyond its range is still white.
    np.testing.assert_array_equal(measure(np.where(FIVE == 255, 1 + 1e-6, FIVE / 255)[None]).values, expected)
    np.testing.assert_array_equal(measure(FIVE[None] > 99).values, measure((FIVE[None] > 99) * np.uint8(255)).values)


def test_threads_and_batches_change_nothing() -> None:
    images = np.concatenate([np.roll(FIVE, k % 5, 1)[None] for k in range(400)])
    images[::7] = images[::7] // 2
    calls: list[tuple[int, int]] = []
    found = measure(images, workers=2, progress=lambda done, total: calls.append((done, total))).values
    np.testing.assert_array_equal(found, measure(images, workers=1).values)
    np.testing.assert_array_equal(found[[3, 7, 399]], np.concatenate([measure(images[[i]]).values for i in (3, 7, 399)]))
    assert calls[-1] == (400, 400)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


@pytest.mark.parametrize("level", [0, 77, 255])
def test_an_image_without_contrast_has_no_measures(level: int) -> None:
    found = measure(np.stack([FIVE, np.full_like(FIVE, level)]))
    assert found.blank.tolist() == [False, True]
    assert np.isnan(found.values[1]).all()
    np.testing.assert_array_equal(found.values[:1], measure(FIVE[None]).values)
    assert found.to_dict()["width"] == {"n": 1, "mean": pytest.approx(14.52, abs=0.01), "sd": 0.0}


def test_nothing_and_next_to_nothing_are_measured_without_fuss() -> None:
    assert measure(np.zeros((0, 28, 28))).values.shape == (0, 6)
    assert measure(np.zeros((2, 28, 28))).to_dict()["area"] == {"n": 0}
    for value in (1, 2, 3, 5, 255):  # a dot, at first too faint to see
        dot = np.zeros((1, 28, 28), np.uint8)
        dot[0, 14, 14] = value
        assert measure(dot).values.shape == (1, 6)
    assert one(dot[0])["thickness"] == pytest.approx(1, abs=0.5)
    assert np.isfinite(measure(np.random.default_rng(0).random((5, 28, 28))).values).all()
    assert np.isfinite(measure(255 - FIVE[None]).values).all()  # not what it is for, but no accident either


@pytest.mark.parametrize("shape", [(2, 2), (3, 7), (8, 8), (40, 33)])
def test_images_of_other_sizes(shape: tuple[int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, *shape))
    for image, row in zip(images, measure(images).values, strict=True):
        assert row == pytest.approx(_slow(image), rel=5e-3, abs=5e-3)


def test_columns_have_names() -> None:
    found = measure(FIVE[None])
    assert len(found) == 1
    for k, name in enumerate(NAMES):
        assert found[name] == found.values[:, k]
    with pytest.raises(UserError, match="did you mean 'thickness'"):
        Morphology(found.values)["thicknes"]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((28, 28)), r"\(n, h, w\) or \(n, 1, h, w\)"),
        (np.zeros((2, 3, 28, 28)), r"got \(2, 3, 28, 28\)"),
        (np.zeros((2, 1, 28)), "sides of at least 2"),
        (np.full((1, 28, 28), np.nan), "NaN or infinity"),
        (np.full((1, 28, 28), np.inf), "NaN or infinity"),
        (np.full((1, 28, 28), 128.0), "0 to 1, got 128 to 128"),
        (np.full((1, 28, 28), -0.1), "0 to 1"),
        (np.full((1, 28, 28), 256), "0 to 255"),
        (np.full((1, 28, 28), -1), "0 to 255"),
        (np.full((1, 28, 28), "a"), "integers, floats or bool"),
    ],
)
def test_images_that_cannot_be_measured(images: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        measure(images)


@pytest.mark.parametrize(
    "setting",
    [
        {"threshold": 0.0},
        {"threshold": 1.1},
        {"scale": 1},
        {"scale": 2.5},
        {"scale": float("inf")},
        {"bound_fraction": 1.0},
        {"workers": 0},
    ],
)
def test_settings_out_of_range(setting: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(setting))):
        measure(FIVE[None], **setting)  # type: ignore[arg-type]
