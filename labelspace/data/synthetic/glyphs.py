"""Letters and digits of a variable font: every picture is a row of factors (character, weight, width, slant, ...).

A variable font holds axes, numbers in units of its own, and an outline for every combination of them. Changing one axis and
drawing again gives the true counterfactual: the same letter, bolder or wider, as its designer drew it.

Letters are bright on dark. All have one size and one baseline and are centred by their advance width, so that nothing about a
picture is normalised away: a bold letter has thicker strokes than a light one, a wide one is wider. The size is the largest
at which every character fits with every axis at its ends.

FreeType draws them, through Pillow, which passes it whole numbers only; the values of an axis are therefore the whole numbers
between its ends.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from labelspace.data import paths
from labelspace.data.truth import FactorGrid, LabelRule
from labelspace.errors import UserError, unknown
from labelspace.labels import categorical, continuous
from labelspace.storage import bounds

USUAL = ("weight", "width", "slant")
_TAGS = {"wght": "weight", "wdth": "width", "slnt": "slant", "opsz": "optical_size", "ital": "italic"}
_SUPERSAMPLE = 4
_MEASURED = 200  # pixels of the em at which letters are measured
_MARGIN = 0.03  # part of the picture that stays free on each side
_MOST, _MOST_AXES = 500, 6  # characters, and axes that vary
_NOWHERE = "\U0010fffe"  # a code point that no font has a glyph for

Axis = tuple[str, int, int]
"""Name, smallest and largest value."""


def characters_of(text: str) -> str:
    """Characters of a text in which ``A-Z`` is a range. Raises UserError when there are none or one is not visible."""
    places: list[int] = []
    for low, high in re.findall(r"(.)(?:-(.))?", text, re.S):
        span = range(ord(low), ord(high or low) + 1) or [ord(low), ord("-"), ord(high)]  # Z-A is no range
        if len(places) + len(span) > _MOST:
            raise UserError(f"characters={text} is more than {_MOST} characters")
        places += span
    found = "".join(map(chr, places))
    if not found:
        raise UserError("characters is empty; expected letters, such as characters=A-Z0-9")
    if odd := [c for c in found if not c.isprintable() or c.isspace()]:
        raise UserError(f"characters holds {odd[0]!r}, which cannot be seen")
    return "".join(dict.fromkeys(found))


class Typeface:
    """A variable font, ready to draw some characters at one size.

    Args:
        font: path of the file (.ttf, .otf, .woff2, whatever FreeType reads).
        characters: what is drawn of it.
        axes: name and limits of the axes that vary; the others stay at the font's default.
        size: side of the pictures.

    Raises:
        UserError: a file that is not a variable font, an unknown axis, limits outside the font's, or a character that the font
            does not have.
    """

    def __init__(self, font: str, characters: str, axes: Sequence[Axis], size: int) -> None:
        self.characters, self.axes, self.size = characters, tuple(axes), size
        self.content, known = read(font)
        if len(self.axes) > _MOST_AXES:
            raise UserError(f"{len(self.axes)} axes are named; at most {_MOST_AXES} can vary at once")
        places = {name: i for i, name in enumerate(known)}
        for name, low, high in self.axes:
            if name not in known:
                raise unknown(f"axis of {font}:", name, known)
            if not known[name][0] <= low < high <= known[name][2]:
                least, _, most = known[name]
                raise UserError(f"{font}: {name} goes from {least} to {most}; {low}:{high} is not a range inside it")
        self._places = [places[name] for name, _, _ in self.axes]
        self._default = [default for _, default, _ in known.values()]
        self._font = _opened(font, self.content, _MEASURED)
        try:
            nothing = self._ink(_NOWHERE)
            for character in characters:
                ink = self._ink(character)
                if not ink.any() or np.array_equal(ink, nothing):
                    raise UserError(f"{font} has no glyph for {character!r}; name others with characters=")
            left, top, right, bottom = self._extent(known)
        except OSError as error:
            raise UserError(f"{font} is damaged: {error}") from None
        room = size * _SUPERSAMPLE * (1 - 2 * _MARGIN)
        em = math.floor(_MEASURED * min(room / (right - left), room / (bottom - top)))
        self._font = _opened(font, self.content, em)
        middle = size * _SUPERSAMPLE / 2
        # Where the middle of a letter's advance and its baseline are put.
        self._x = middle - (left + right) / 2 * em / _MEASURED
        self._y = round(middle - (top + bottom) / 2 * em / _MEASURED)

    def _ink(self, character: str) -> np.ndarray:
        """A character as the font draws it now, as large as it comes."""
        mask = self._font.getmask(character)
        return np.array(mask, np.uint8).reshape(mask.size[::-1])

    def _extent(self, known: Mapping[str, tuple[int, int, int]]) -> tuple[float, float, float, float]:
        """Left, top, right and bottom that no letter passes, from the middle of its advance and the baseline.

        Measured at the ends and the default of every axis, in pixels of an em of ``_MEASURED``.
        """
        stops = [sorted({low, min(max(known[name][1], low), high), high}) for name, low, high in self.axes]
        boxes = []
        for values in itertools.product(*stops):
            self._set(values)
            for character in self.characters:
                mask, (x, y) = self._font.getmask2(character, "L", anchor="ls")
                left, top, right, bottom = mask.getbbox() or (0, 0, 1, 1)
                middle = self._font.getlength(character) / 2
                boxes.append((x + left - middle, y + top, x + right - middle, y + bottom))
        left, top, right, bottom = np.array(boxes).T
        return left.min(), top.min(), right.max(), bottom.max()

    def _set(self, values: Sequence[int]) -> None:
        setting = [*self._default]
        for place, value in zip(self._places, values, strict=True):
            setting[place] = int(value)
        self._font.set_variation_by_axes(setting)  # type: ignore[arg-type]

    def picture(self, character: str, values: Sequence[int]) -> tuple[np.ndarray, bool]:
        """One letter ``(size, size)`` uint8 with its axes at some values, and whether it fits the picture."""
        self._set(values)
        side = self.size * _SUPERSAMPLE
        canvas = Image.new("L", (side, side))
        x = round(self._x - self._font.getlength(character) / 2)
        ImageDraw.Draw(canvas).text((x, self._y), character, 255, font=self._font, anchor="ls")
        left, top, right, bottom = canvas.getbbox() or (0, 0, side, side)
        fits = min(left, top) > 0 and max(right, bottom) < side
        return np.asarray(canvas.reduce(_SUPERSAMPLE)), fits


def read(font: str) -> tuple[bytes, dict[str, tuple[int, int, int]]]:
    """A variable font's bytes, and its axes in order: name -> smallest, default and largest value.

    Names are the font's own in small letters, blanks as underscores ("Optical Size" is ``optical_size``).

    Raises:
        UserError: no such file, not a font, or a font without axes.
    """
    path = paths.file(font)
    content = bounds.read(path)
    opened = _opened(font, content, _MEASURED)
    try:
        found = opened.get_variation_axes()
    except OSError:
        found = []
    if not found:
        raise UserError(f"{font} is a font without axes, so nothing about its letters varies; expected a variable font")
    axes = {}
    for i, axis in enumerate(found):
        text = (axis.get("name") or b"").decode(errors="replace")
        name = re.sub(r"[^\w]+", "_", text.strip().lower()).strip("_")
        name = _TAGS.get(name, name)
        if not name or name in axes:
            name = f"{name or 'axis'}_{i + 1}"
        axes[name] = tuple(axis[key] or 0 for key in ("minimum", "default", "maximum"))
    return content, axes


def _opened(font: str, content: bytes, em: int) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(io.BytesIO(content), em, layout_engine=ImageFont.Layout.BASIC)
    except (OSError, ValueError) as error:
        raise UserError(f"{font} cannot be read as a font: {error}") from None


def axes_of(font: str, text: str) -> list[Axis]:
    """The axes that a text names: ``weight+width:75:125`` is all of weight, and width from 75 to 125.

    An empty text is those of weight, width and slant that the font has.
    """
    known = read(font)[1]
    names = text.split("+") if text else [name for name in USUAL if name in known]
    if not names:
        raise UserError(f"{font} has neither weight nor width nor slant; name axes of it with axes=: {', '.join(known)}")
    axes = []
    for part in names:
        name, *limits = part.split(":")
        name = _TAGS.get(name.strip(), name.strip())
        if name not in known:
            raise unknown(f"axis of {font}:", name, known)
        try:
            low, high = map(int, limits) if limits else (known[name][0], known[name][2])
        except ValueError:
            raise UserError(f"axis {part!r} is not NAME or NAME:LOW:HIGH with whole numbers, such as weight:300:700") from None
        axes.append((name, low, high))
    if len({name for name, _, _ in axes}) < len(axes):
        raise UserError(f"axes={text} names an axis twice")
    return axes


@lru_cache(maxsize=2)
def typeface(font: str, digest: str, characters: str, axes: tuple[Axis, ...], size: int) -> Typeface:
    """A font that has the content with this SHA-256, opened once per process."""
    if hashlib.sha256(read(font)[0]).hexdigest() != digest:
        raise UserError(f"{font} has changed since its letters were drawn; open the data again")
    return Typeface(font, characters, axes, size)


def draw(
    factors: np.ndarray,
    font: str,
    digest: str,
    characters: str,
    axes: Sequence[Sequence],
    size: int = 64,
    failures: list[tuple[int, str]] | None = None,
) -> np.ndarray:
    """Draws rows of factors as images ``(n, 1, size, size)`` uint8; a letter that does not fit is a failure.

    Args:
        factors: ``(n, 1 + axes)``: the index of the character, and for each axis how far above its smallest value.
        font, digest: a font's path and the SHA-256 of its content.
        characters, axes, size: as :class:`Typeface` has them.
        failures: receives rows that do not fit, with the reason.
    """
    drawn = typeface(font, digest, characters, tuple((str(n), int(low), int(high)) for n, low, high in axes), size)
    lows = [low for _, low, _ in drawn.axes]
    images = np.zeros((len(factors), 1, size, size), np.uint8)
    for i, (character, *steps) in enumerate(factors.tolist()):
        values = [low + step for low, step in zip(lows, steps, strict=True)]
        picture, fits = drawn.picture(characters[character], values)
        if fits:
            images[i, 0] = picture
        elif failures is not None:
            setting = ", ".join(f"{name} {value}" for (name, _, _), value in zip(drawn.axes, values, strict=True))
            failures.append((i, f"{characters[character]!r} with {setting} does not fit the picture"))
    return images


def glyphs(font: str, *, characters: str, axes: Sequence[Axis], size: int = 64) -> FactorGrid:
    """The letters of a font as a grid of factors with label rules; see the module's docstring.

    Labels: ``character``, where there are at least two, and one continuous label per axis in the font's own units.

    Raises:
        UserError: see :class:`Typeface`.
    """
    checked = Typeface(font, characters, axes, size)
    rules = []
    if len(characters) > 1:
        rules.append(LabelRule(categorical("character", characters), 0, tuple((i,) for i in range(len(characters)))))
    factors = {"character": tuple(characters)}
    for column, (name, low, high) in enumerate(checked.axes, 1):
        levels = tuple(float(value) for value in range(low, high + 1))
        label = continuous(name, float(np.mean(levels)), float(np.std(levels)))
        rules.append(LabelRule(label, column, levels=levels))
        factors[name] = tuple(f"{level:g}" for level in levels)
    sizes = [len(options) for options in factors.values()]
    return FactorGrid(
        name="glyphs",
        factors=factors,
        rules=tuple(rules),
        sample=lambda n, rng: np.stack([rng.integers(0, count, n) for count in sizes], axis=1).astype(np.uint16),
        arguments={
            "font": str(Path(font).resolve()),
            "digest": hashlib.sha256(checked.content).hexdigest(),
            "characters": characters,
            "axes": [list(axis) for axis in checked.axes],
            "size": size,
        },
    )
