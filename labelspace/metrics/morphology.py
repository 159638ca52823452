"""Digit morphology: stroke thickness, slant, width and so on, measured on images of single strokes.

The measures of Morpho-MNIST (Castro et al., Journal of Machine Learning Research 20(178), 2019), for whole data sets at
once. They are meant for one bright figure on a dark ground, drawn with a pen: digits, letters, simple glyphs. They say nothing
sensible about photographs, about dark strokes on white (invert those first), or about several figures in one image, which
are measured as if they were one.

How one image is measured:

1. It is enlarged (``scale`` times, cubic splines, clipped to its own range) and smoothed with a Gaussian of a third of a pixel,
   and stays in 256 grey levels. Moments, slant, width and height are of this grey image.
2. It is cut at half its own range, so contrast does not matter; area, length and thickness are of this binary image.
3. The binary image is peeled from its edge inwards until a skeleton is left. Length is the length of the skeleton,
   thickness twice the mean distance from the skeleton to the background.

Everything is compared in 256 grey levels: images of floats are rounded to them first, so that a decoder's means and a data
set's bytes go the same way. An image whose range is a few grey levels is measured on a staircase and comes out rough.
Length is the least sure of the six: which pixels of a skeleton survive depends on the order of equally distant ones, drawn
from a fixed seed here. Another seed moves the length of a digit by about 1%, thickness by 0.2% and the rest by nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage
from threadpoolctl import threadpool_limits

from labelspace import cores
from labelspace.errors import UserError, unknown

FORMAT = 1  # raised when measures change, for those who keep them

NAMES = ("area", "length", "thickness", "slant", "width", "height")
"""The columns of :attr:`Morphology.values`: pixels², pixels, pixels, radians (positive leans right), pixels, pixels."""

_CHUNK = 192  # images that are peeled together: enough to hide Python's steps, few enough for the processor's cache


@dataclass(frozen=True)
class Morphology:
    """Measures of images.

    Attributes:
        values: ``(n, 6)`` float64, columns as in :data:`NAMES`, in pixels of the images given (slant: radians). A row of an
            image without any contrast is NaN.
    """

    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, name: str) -> np.ndarray:
        """One measure by name, ``(n,)``."""
        if name not in NAMES:
            raise unknown("measure", name, NAMES)
        return self.values[:, NAMES.index(name)]

    @property
    def blank(self) -> np.ndarray:
        """Which images could not be measured, ``(n,)`` bool."""
        return np.asarray(np.isnan(self.values).any(1))

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Number of images measured, mean and standard deviation of every measure over them."""
        seen = self.values[~self.blank]
        if not len(seen):
            return {name: {"n": 0} for name in NAMES}
        spread = zip(NAMES, seen.mean(0), seen.std(0), strict=True)
        return {name: {"n": len(seen), "mean": float(mean), "sd": float(sd)} for name, mean, sd in spread}


def measure(
    images: np.ndarray,
    *,
    threshold: float = 0.5,
    scale: int = 4,
    bound_fraction: float = 0.02,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Morphology:
    """Area, length, thickness, slant, width and height of the strokes in images.

    Args:
        images: ``(n, h, w)`` or ``(n, 1, h, w)``, bright on dark: integers of 0 to 255, floats of 0 to 1 (rounded to the
            nearest of 256 grey levels) or bool. NumPy or anything it reads, such as a tensor on the CPU.
        threshold: where between an image's darkest (0) and brightest (1) the stroke begins.
        scale: how many times images are enlarged before they are measured, at least 2.
        bound_fraction: share of the grey mass that width, and likewise height, leave out, half on each side.
        workers: threads; by default one per core, at most 4. The result does not depend on it.
        progress: called with images done and images in all.

    Returns:
        The measures. Images without contrast give NaN.

    Raises:
        UserError: wrong shape, values outside the range or not finite, or a setting out of its range.
    """
    images = _checked(images)
    if not 0 < threshold <= 1:
        raise UserError(f"threshold must be above 0 and at most 1, got {threshold}")
    if not 0 <= bound_fraction < 1:
        raise UserError(f"bound_fraction must be at least 0 and below 1, got {bound_fraction}")
    if not scale >= 2 or scale % 1 != 0:
        raise UserError(f"scale must be a whole number of at least 2, got {scale}")
    workers = min(4, cores.usable()) if workers is None else workers
    if workers < 1:
        raise UserError(f"workers must be at least 1, got {workers}")
    starts = range(0, len(images), _CHUNK)

    def part(start: int) -> np.ndarray:
        return _measure(_as_bytes(images[start : start + _CHUNK]), threshold, int(scale), bound_fraction)

    values = np.empty((len(images), len(NAMES)))
    # The matrices are small: BLAS threads of their own gain nothing, and on a busy machine wait for each other for minutes.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
        # One worker needs no thread, and its tracebacks and interrupts are plainer without.
        parts: Iterator[np.ndarray] = pool.map(part, starts) if workers > 1 else map(part, starts)
        for start, rows in zip(starts, parts, strict=True):
            values[start : start + len(rows)] = rows
            if progress:
                progress(start + len(rows), len(images))
    return Morphology(values)


def _checked(images: np.ndarray) -> np.ndarray:
    """Images as ``(n, h, w)`` of a type and range that :func:`_as_bytes` understands."""
    images = np.asarray(images)
    if images.ndim == 4 and images.shape[1] == 1:
        images = images[:, 0]
    if images.ndim != 3 or min(images.shape[1:]) < 2:
        raise UserError(f"images must be (n, h, w) or (n, 1, h, w) with sides of at least 2, got {images.shape}")
    if images.dtype.kind not in "buif":
        raise UserError(f"images must be integers, floats or bool, got {images.dtype}")
    if images.dtype.kind in "iuf" and images.size:
        low, high = float(images.min()), float(images.max())
        if not np.isfinite(low + high):
            raise UserError("images contain NaN or infinity; leave those out or repair them first")
        limit, slack = (1, 1 / 512) if images.dtype.kind == "f" else (255, 0)  # less than half a grey level may be rounding
        if low < -slack or high > limit + slack:
            raise UserError(f"images of {images.dtype} must be in 0 to {limit}, got {low:g} to {high:g}; rescale them first")
    return images


def _as_bytes(images: np.ndarray) -> np.ndarray:
    if images.dtype.kind == "f":
        return np.rint(images.astype(np.float64) * 255).clip(0, 255).astype(np.uint8)
    return images.astype(np.uint8) * (255 if images.dtype.kind == "b" else 1)


def _measure(images: np.ndarray, threshold: float, scale: int, bound_fraction: float) -> np.ndarray:
    """The measures ``(n, 6)`` of bytes ``(n, h, w)``."""
    out = np.full((len(images), len(NAMES)), np.nan)
    grey = _enlarge(images, scale)  # (n, H, W) uint8
    low, high = grey.min((1, 2)), grey.max((1, 2))
    good = high > low
    if not good.any():
        return out
    grey, low, high = grey[good], low[good].astype(np.float64), high[good].astype(np.float64)
    stroke = grey >= np.ceil(low + threshold * (high - low)).astype(np.uint8)[:, None, None]
    squared = squared_distances(stroke)
    skeleton = skeletons(stroke, squared)
    slant, width, height = _grey_measures(grey, bound_fraction / 2)
    area = stroke.sum((1, 2)) / scale**2
    distance = np.where(skeleton, np.sqrt(squared, dtype=np.float32), 0).sum((1, 2), dtype=np.float64)
    thickness = 2 * distance / skeleton.sum((1, 2)) / scale
    out[good] = np.stack([area, _lengths(skeleton) / scale, thickness, slant, width / scale, height / scale], axis=1)
    return out


# -- Enlarging: a fixed linear map along each axis, twice, with a clip between ---------------------------------------------


@lru_cache(maxsize=8)
def _operators(size: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """The matrices that enlarge ``(size * scale, size)`` and smooth ``(size * scale, size * scale)`` along one axis."""
    zoom = np.array([ndimage.zoom(row, scale, order=3, mode="mirror", grid_mode=True) for row in np.eye(size)])
    smooth = np.array([ndimage.gaussian_filter1d(row, 2 * scale / 6, mode="reflect") for row in np.eye(size * scale)])
    return zoom.T.astype(np.float32), smooth.T.astype(np.float32)


def _enlarge(images: np.ndarray, scale: int) -> np.ndarray:
    """Bytes ``(n, h, w)`` enlarged to bytes ``(n, h * scale, w * scale)``."""
    (up, smooth), (across, smooth_across) = (_operators(size, scale) for size in images.shape[1:])
    x = images.astype(np.float32)
    low, high = x.min((1, 2), keepdims=True), x.max((1, 2), keepdims=True)
    x = up @ (x @ across.T)
    np.clip(x, low, high, out=x)  # splines overshoot
    x = smooth @ (x @ smooth_across.T)
    # Grey levels are cut off, not rounded, as in the reference. The small number keeps rounding errors from cutting a
    # level off every pixel of a flat region.
    return (x + np.float32(1e-4)).astype(np.uint8)


# -- The grey image ----------------------------------------------------------------------------------------------------------


def _grey_measures(grey: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slant (radians), width and height (pixels of ``grey``) of the parallelogram that leaves out ``margin`` on each side."""
    n, height, width = grey.shape
    x, y = np.arange(width), np.arange(height)
    # Sums of bytes times columns stay below 2**24, so float32 is exact here (for sides up to 360).
    rows, first = np.moveaxis(grey.astype(np.float32) @ np.stack([np.ones(width), x], 1).astype(np.float32), 2, 0)
    rows, first = rows.astype(np.float64), first.astype(np.float64)  # (n, H): sum of H and of x H in each row
    mass = rows.sum(1)
    centre_x, centre_y = first.sum(1) / mass, rows @ y / mass
    u11 = first @ y / mass - centre_x * centre_y
    u02 = rows @ y**2 / mass - centre_y**2
    with np.errstate(invalid="ignore", divide="ignore"):
        shear = u11 / u02  # NaN where all mass is in one row
    flat = np.isnan(shear)
    shear = np.where(flat, 0.0, shear)
    # F(t) is the share of mass with x + 0.5 < t + shear (y - centre). As t and x are whole, every row is counted from
    # t = x + 1 + (a whole number of the row): the same histogram, shifted row by row.
    shift = np.floor(0.5 - shear[:, None] * (y - centre_y[:, None])).astype(np.int64) + 1  # (n, H)
    bins = (shift[:, :, None] + x).clip(0, width) + (np.arange(n) * (width + 1))[:, None, None]
    counts = np.bincount(bins.ravel(), grey.ravel(), minlength=n * (width + 1)).reshape(n, width + 1)
    across = np.cumsum(counts, 1)[:, :width] / mass[:, None]
    down = np.concatenate([np.zeros((n, 1)), np.cumsum(rows, 1)[:, :-1]], 1) / mass[:, None]  # mass above t
    levels = [margin, 1 - margin]
    left, right = np.array([np.interp(levels, cdf, x) for cdf in across]).T
    top, bottom = np.array([np.interp(levels, cdf, y) for cdf in down]).T
    slant, span = np.arctan(-shear), right - left
    slant[flat] = span[flat] = np.nan
    return slant, span, bottom - top


# -- The binary image --------------------------------------------------------------------------------------------------------


def squared_distances(stroke: np.ndarray) -> np.ndarray:
    """Squared Euclidean distance of every pixel to the nearest background pixel of its image (exact, whole numbers).

    Args:
        stroke: ``(n, h, w)`` bool, with background somewhere in each image. What is outside an image is not background.

    Returns:
        ``(n, h, w)`` uint16 or uint32; 0 on the background.
    """
    _, height, width = stroke.shape
    far = int(np.ceil(np.hypot(height, width)))
    dtype = np.uint16 if far**2 + width**2 < 2**16 else np.uint32
    # To the nearest background in the same column, from above and from below ...
    down = np.where(stroke, dtype(far), dtype(0))
    for y in range(1, height):
        np.minimum(down[:, y], down[:, y - 1] + dtype(1), out=down[:, y])
    for y in range(height - 2, -1, -1):
        np.minimum(down[:, y], down[:, y + 1] + dtype(1), out=down[:, y])
    column = down * down
    # ... then the best over the columns around, as far out as could still help any pixel.
    out = column.copy()
    for dx in range(1, width):
        if dx * dx >= out.max():
            break
        step = column + dtype(dx * dx)
        np.minimum(out[:, :, dx:], step[:, :, :-dx], out=out[:, :, dx:])
        np.minimum(out[:, :, :-dx], step[:, :, dx:], out=out[:, :, :-dx])
    return out


@lru_cache(maxsize=1)
def _removable() -> np.ndarray:
    """Whether a pixel may go, by its 8 neighbours as bits (row by row, highest bit first), ``(256,)`` bool.

    It may if those that are set are at least two (it is no tip) and hang together without it.
    """
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    around = np.insert(bits, 4, 0, axis=1).reshape(-1, 3, 3)
    pieces = np.array([ndimage.label(pattern, np.ones((3, 3)))[1] for pattern in around])  # type: ignore[index]
    return (pieces == 1) & (bits.sum(1) >= 2)


def skeletons(stroke: np.ndarray, squared: np.ndarray) -> np.ndarray:
    """Medial axes: strokes peeled from the edge inwards, keeping tips and connections.

    Pixels are visited once each in order of their distance to the background, then of how many background neighbours they
    had at the start (corners last, or the skeleton would lose its arms), then of a fixed shuffle. Images are independent, so
    the k-th pixels of all of them are visited together. With the same shuffle the result is that of
    ``skimage.morphology.medial_axis(image, rng=42)``.

    Args:
        stroke: ``(n, h, w)`` bool.
        squared: ``(n, h, w)`` from :func:`squared_distances`.

    Returns:
        ``(n, h, w)`` bool.
    """
    n, height, width = stroke.shape
    order = np.argsort(-stroke.sum((1, 2)))  # most pixels first: whoever has pixels left is always a leading part
    left = np.pad(stroke[order], ((0, 0), (1, 1), (1, 1))).astype(np.uint8)
    line = width + 2
    around = np.array([-line - 1, -line, -line + 1, -1, 1, line - 1, line, line + 1])
    flat = left.reshape(-1)
    counts = left.sum((1, 2), dtype=np.int64)
    # Three rows added, then three columns: pixels set in the 3 by 3 square.
    beside = left[:, :-2] + left[:, 1:-1] + left[:, 2:]
    square = beside[:, :, :-2] + beside[:, :, 1:-1] + beside[:, :, 2:]
    rank = squared[order].astype(np.int64) * 10 + (9 - square)
    queue = np.zeros((int(counts[0]), n), np.int64)
    for i in range(n):
        y, x = np.nonzero(stroke[order[i]])
        shuffle = np.random.default_rng(42).permutation(len(y))
        first = np.argsort(rank[i, y, x] * len(y) + shuffle)
        queue[: len(y), i] = (i * (height + 2) + y[first] + 1) * line + x[first] + 1
    active = (counts > np.arange(len(queue))[:, None]).sum(1)
    removable = _removable()
    for pixels, number in zip(queue, active, strict=True):
        pixels = pixels[:number]
        pattern = np.packbits(flat.take(pixels[:, None] + around), axis=1)[:, 0]
        flat[pixels[removable.take(pattern)]] = 0
    out = np.empty_like(stroke)
    out[order] = left[:, 1:-1, 1:-1]
    return out


def _lengths(skeleton: np.ndarray) -> np.ndarray:
    """Sum over pairs of neighbours that are both set, diagonal ones counting for root two, ``(n,)``."""
    straight = (skeleton[:, :, 1:] & skeleton[:, :, :-1]).sum((1, 2)) + (skeleton[:, 1:] & skeleton[:, :-1]).sum((1, 2))
    rising = (skeleton[:, 1:, :-1] & skeleton[:, :-1, 1:]).sum((1, 2))
    falling = (skeleton[:, 1:, 1:] & skeleton[:, :-1, :-1]).sum((1, 2))
    return straight + np.sqrt(2) * (rising + falling)
