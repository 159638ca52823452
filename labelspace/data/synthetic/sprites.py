"""Squares, ellipses and hearts on the factor grid of dSprites (Matthey, Higgins, Hassabis, Lerchner 2017), drawn anew.

The factors are those of dSprites: shape (3), scale (6, from 0.5 to 1), orientation (40), x (32) and y (32), 737,280 pictures in
all, the last factor fastest; a colour, where asked for, comes first. What differs: the 40 orientations are 2 pi / 40 apart, so
that none comes twice (in dSprites the first and the last are one), and sizes and places are measured so that every sprite lies
wholly inside its picture.

A square looks the same after a quarter of a turn and an ellipse after half of one, so their orientation can only be known up
to that. The label ``orientation`` is the smallest angle that draws the same picture: below pi / 2 for a square, below pi for
an ellipse, below 2 pi for a heart. It still jumps where a turn is complete, as every number for an angle does.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from labelspace.data.truth import FactorGrid, LabelRule
from labelspace.labels import categorical, continuous

SHAPES = ("square", "ellipse", "heart")
TURNS = (4, 2, 1)  # how often each shape comes to lie on itself in a full turn
SCALES = tuple(np.linspace(0.5, 1, 6).tolist())
ORIENTATIONS = tuple((np.arange(40) * 2 * math.pi / 40).tolist())
PLACES = tuple(np.linspace(0, 1, 32).tolist())
COLOURS = {
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "yellow": (255, 255, 0),
    "green": (0, 255, 0),
    "cyan": (0, 255, 255),
    "blue": (0, 0, 255),
    "magenta": (255, 0, 255),
}
RADIUS = 0.22
"""Distance from the centre of gravity to the farthest point of a shape of scale 1, in sides of the picture."""

_EDGE = 1 / 64  # what stays free between the sprite at its outermost and the edge of the picture, in sides of the picture
_ACROSS, _ALONG = math.sqrt(0.5), 0.5  # half a square's side, and the ellipse's short half axis, in radii
_FINE = 4  # samples along a pixel's side where edges are smooth

# A heart is a square on its corner with half a disc on each of its upper sides. In sides of that square, its lower corner at
# the origin and its axes along the two sides, the centre of gravity is on the diagonal at:
_CENTRE = (1 / 2 + math.pi / 8 * (1 + 2 / (3 * math.pi)) + math.pi / 16) / (1 + math.pi / 4)
_SIDE = 1 / (math.sqrt(2) * _CENTRE)  # the square's side in radii; the lower corner is the farthest point

AREAS = (4 * _ACROSS**2, math.pi * _ALONG, _SIDE**2 * (1 + math.pi / 4))
"""Area of each shape in squared radii."""


def _inside(shape: int, across: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Which points of the plane, in radii from the centre of gravity, an upright shape covers."""
    if SHAPES[shape] == "square":
        return np.maximum(np.abs(across), np.abs(up)) <= _ACROSS
    if SHAPES[shape] == "ellipse":
        return across**2 + (up / _ALONG) ** 2 <= 1
    first, second = ((up + s * across) / (math.sqrt(2) * _SIDE) + _CENTRE for s in (1, -1))  # along the square's two sides
    covered = (first >= 0) & (second >= 0) & (first <= 1) & (second <= 1)
    for near, far in ((first, second), (second, first)):
        covered |= (near >= 1) & ((near - 1) ** 2 + (far - 0.5) ** 2 <= 0.25)
    return covered


def own_orientation(factors: np.ndarray, *, shape: int, orientation: int) -> np.ndarray:
    """The code of the smallest orientation that draws the same picture, ``(n, factors) -> (n,)``.

    ``shape`` and ``orientation`` are the columns of these factors.
    """
    apart = len(ORIENTATIONS) // np.array(TURNS)
    return factors[:, orientation] % apart[factors[:, shape]]


def draw(
    factors: np.ndarray,
    size: int = 64,
    smooth: bool = False,
    color: bool = False,
    failures: list[tuple[int, str]] | None = None,
) -> np.ndarray:
    """Draws rows of factors as images ``(n, 1 or 3, size, size)`` uint8. No row can fail.

    Args:
        factors: ``(n, 5)`` codes of shape, scale, orientation, x and y, or ``(n, 6)`` with the colour before them.
        size: side of the pictures.
        smooth: grey levels along edges, by the share of a pixel that is covered; else a pixel is on where its centre is.
        color: whether there is a colour.
        failures: not used.
    """
    first = 1 if color else 0
    shape, scale, _, x, y = factors[:, first:].astype(int).T
    angle = np.array(ORIENTATIONS)[own_orientation(factors, shape=first, orientation=first + 2).astype(int)]
    radius = np.array(SCALES)[scale] * RADIUS * size
    low = (RADIUS + _EDGE) * size
    middle = np.stack([low + np.array(PLACES)[code] * (size - 2 * low) for code in (x, y)], 1)  # (n, 2), in pixels
    # Only the square around a sprite is looked at.
    side = min(size, math.ceil(2 * RADIUS * size) + 1)
    corner = np.clip(np.floor(middle - side / 2 + 0.5).astype(int), 0, size - side)
    fine = _FINE if smooth else 1
    points = (np.arange(side * fine) + 0.5) / fine
    grey = np.zeros((len(factors), size, size), np.uint8)
    for kind in range(len(SHAPES)):
        rows = np.flatnonzero(shape == kind)
        right, down = ((corner[rows, k, None] + points - middle[rows, k, None]) / radius[rows, None] for k in (0, 1))
        right, down = right[:, None, :], down[:, :, None]
        cos, sin = (f(angle[rows])[:, None, None] for f in (np.cos, np.sin))
        covered = _inside(kind, right * cos - down * sin, -right * sin - down * cos)  # turned back, with up for down
        if smooth:
            shares = covered.reshape(len(rows), side, fine, side, fine).mean((2, 4))
            patch = np.rint(255 * shares).astype(np.uint8)
        else:
            patch = covered.astype(np.uint8) * np.uint8(255)
        along = np.arange(side)
        lines, columns = (corner[rows, k, None] + along for k in (1, 0))
        grey[rows[:, None, None], lines[:, :, None], columns[:, None, :]] = patch
    if not color:
        return grey[:, None]
    hue = np.array(list(COLOURS.values()), bool)[factors[:, 0].astype(int)]
    return np.where(hue[:, :, None, None], grey[:, None], np.uint8(0))


def sprites(*, size: int = 64, smooth: bool = False, color: bool = False) -> FactorGrid:
    """The generator of ``sprites`` as a grid of factors with label rules; see the module's docstring."""

    def number(name: str, levels: tuple[float, ...], found: list[float] | None = None, **known) -> LabelRule:
        mean, sd = (float(f(found or levels)) for f in (np.mean, np.std))
        return LabelRule(continuous(name, mean, sd), columns[name], levels=levels, **known)

    def names(levels: tuple[float, ...]) -> tuple[str, ...]:
        return tuple(f"{level:.3g}" for level in levels)

    factors = {"color": tuple(COLOURS)} if color else {}
    factors |= {
        "shape": SHAPES,
        "scale": names(SCALES),
        "orientation": names(ORIENTATIONS),
        "x": names(PLACES),
        "y": names(PLACES),
    }
    columns = {name: i for i, name in enumerate(factors)}
    one_each = {name: tuple((code,) for code in range(len(options))) for name, options in factors.items()}
    turned = [angle for turns in TURNS for angle in ORIENTATIONS[: len(ORIENTATIONS) // turns] * turns]
    own = partial(own_orientation, shape=columns["shape"], orientation=columns["orientation"])
    rules = [
        LabelRule(categorical("shape", SHAPES), columns["shape"], one_each["shape"]),
        number("scale", SCALES),
        number("orientation", ORIENTATIONS, turned, period=2 * math.pi, code=own),
        number("x", PLACES),
        number("y", PLACES),
    ]
    if color:
        rules.append(LabelRule(categorical("color", COLOURS), columns["color"], one_each["color"]))
    sizes = [len(options) for options in factors.values()]

    def sample(n: int, rng: np.random.Generator) -> np.ndarray:
        """Different rows of the grid, at random; all of it in order where ``n`` is its size."""
        total = math.prod(sizes)
        places = np.arange(n) if n == total else rng.choice(total, n, replace=False)
        return np.stack(np.unravel_index(places, sizes), axis=1).astype(np.uint8)

    arguments = {"size": size, "smooth": smooth, "color": color}
    return FactorGrid(name="sprites", factors=factors, rules=tuple(rules), sample=sample, arguments=arguments)
