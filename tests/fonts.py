"""A small variable font with exactly known outlines, made with fontTools (which matplotlib brings)."""

from __future__ import annotations

import math
from pathlib import Path

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib.tables.TupleVariation import TupleVariation

EM, HEIGHT = 1000, 700
STEM, BOLD = 80, 240
"""Width of the stem at the lightest and at the boldest weight, in units of the em."""
SPAN, WIDE = 300, 900
"""Length of the bar of L and T at the narrowest and at the widest width."""
LEAN = math.radians(10)
"""Angle by which letters lean right where slant is at its smallest, -10."""
AXES = [
    ("wght", 100, 100, 900, "Weight"),
    ("wdth", 50, 50, 150, "Width"),
    ("slnt", -10, 0, 0, "Slant"),
    ("opsz", 8, 12, 72, "Optical Size"),
]


def variable_font(path: Path, axes=AXES) -> Path:
    """Writes a font with I (a stem), L (stem and bar) and T; weight widens the stems, width the bars. Bars are 100 high.

    Optical size changes nothing.
    """

    def box(left: int, bottom: int, right: int, top: int) -> list[tuple[int, int]]:
        return [(left, bottom), (left, top), (right, top), (right, bottom)]

    boxes = {
        "I": [box(100, 0, 100 + STEM, HEIGHT)],
        "L": [box(100, 0, 100 + STEM, HEIGHT), box(100, 0, 100 + SPAN, 100)],
        "T": [box(100, HEIGHT - 100, 100 + SPAN, HEIGHT), box(210, 0, 210 + STEM, HEIGHT)],
        ".notdef": [box(0, 0, 50, 50)],
        "space": [],
    }
    glyphs = {}
    for name, contours in boxes.items():
        pen = TTGlyphPen(None)
        for contour in contours:
            pen.moveTo(contour[0])
            for point in contour[1:]:
                pen.lineTo(point)
            pen.closePath()
        glyphs[name] = pen.glyph()
    builder = FontBuilder(EM, isTTF=True)
    builder.setupGlyphOrder([".notdef", "space", "I", "L", "T"])
    builder.setupCharacterMap({ord("I"): "I", ord("L"): "L", ord("T"): "T", ord(" "): "space"})
    builder.setupGlyf(glyphs)
    advance = {"I": 400, "L": 600, "T": 600, ".notdef": 100, "space": 300}
    builder.setupHorizontalMetrics({name: (advance[name], 0) for name in glyphs})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Test", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    if axes:
        builder.setupFvar(axes, [])
        tags = [axis[0] for axis in axes]
        variations: dict[str, list[TupleVariation]] = {name: [] for name in glyphs}

        def moves(name: str, tag: str, peak: int, delta: list[tuple[int, int]]) -> None:
            if tag in tags:  # the last four are phantom points
                variations[name].append(TupleVariation({tag: (min(peak, 0), peak, max(peak, 0))}, [*delta, *[(0, 0)] * 4]))

        for name, stem, bar in (("I", 0, None), ("L", 0, 1), ("T", 1, 0)):
            for tag, contour, distance in (("wght", stem, BOLD - STEM), ("wdth", bar, WIDE - SPAN)):
                if contour is not None:  # its right side moves
                    delta = [(0, 0)] * (4 * len(boxes[name]))
                    delta[4 * contour + 2] = delta[4 * contour + 3] = (distance, 0)
                    moves(name, tag, 1, delta)
            moves(name, "slnt", -1, [(round(math.tan(LEAN) * y), 0) for contour in boxes[name] for _, y in contour])
        builder.setupGvar(variations)
    builder.save(path)
    return path
