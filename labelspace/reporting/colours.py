"""Colours: the same for the same thing in every figure, told apart without full colour vision, seen on white.

``COLOURS`` were chosen by search: any two of them (and ``OTHER``) differ by at least 12 CIEDE2000 for normal vision and under
simulated protanopia and deuteranopia, the first six by 15; ``tests/report/test_colours.py`` measures it.
"""

from __future__ import annotations

from collections.abc import Sequence

from labelspace.labels import Schema

COLOURS = ("#0072b2", "#d55e00", "#118662", "#8f1d6b", "#f1b400", "#53aee0", "#c3b58a", "#723f37", "#b81300", "#7ed9c8")
"""Colours of classes and lines, in order."""

ON_DARK = ("#447ce5", "#f66800", "#5cb576", "#bb1b8c", "#e1e51c", "#7cc6f2", "#f4fecf", "#885659", "#c3271f", "#aef3f1")
"""What takes the place of each of them where a page's background is dark; found in the same way."""

OTHER = "#8c8c8c"
"""What has no class: samples without a label, a binary label that is off, the cloud behind what is shown."""

MARKERS = ("o", "^", "s", "D", "v", "P")
"""Shapes of points: the next one each time that the colours begin again."""

INK, INK_ON_DARK = "#1f2328", "#d7dbe0"
"""Text, axes and outlines; and on a dark background."""

SEQUENTIAL, SIZES, SIGNED = "viridis", "Blues", "PuOr_r"
"""Colour maps: of numbers, of sizes from zero, and of differences around zero."""


def colour(index: int) -> str:
    """The colour of a class or line by its place; after the last the first comes again."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """The shape of the points of a class by its place."""
    return MARKERS[index // len(COLOURS) % len(MARKERS)]


def of_label(schema: Schema, name: str) -> str:
    """The colour of a label: of its curves, and of its being on."""
    return colour(schema.index(name))


def of_values(schema: Schema, name: str) -> Sequence[str]:
    """The colours of a discrete label's values, in their order: a binary label is off in grey and on in its own colour."""
    label = schema[name]
    if label.kind == "binary":
        return (OTHER, of_label(schema, name))
    return tuple(colour(i) for i in range(len(label.values)))
