"""What people and programs write where there is no value."""

from __future__ import annotations

import re
from collections.abc import Collection

# What programs write. No class is called that.
NEVER = frozenset(
    {"#N/A", "#N/A!", "#NA", "#DIV/0!", "#DIV/0", "#REF!", "#VALUE!", "#NUM!", "#NAME?", "#NULL!", "#SPILL!", "#CALC!"}
    | {"#NV", "#WERT!", "#BEZUG!", "#ZAHL!"}  # what a spreadsheet writes in German
    | {"<NA>", "<N/A>", "NaN", "nan", "NAN", "-nan", "-NaN", "NaT", "\\N"}
    | {"1.#QNAN", "-1.#QNAN", "1.#IND", "-1.#IND", "1.#INF", "-1.#INF"}
)
# What people write, in any case. Among numbers it is missing; among words it may be one of them.
_PERHAPS = frozenset(
    ["na", "n/a", "n.a.", "none", "null", "nil", "nd", "n.d.", "n/d", "missing", "unknown", "not available", "not applicable"]
)
COMMON = frozenset({*NEVER, *(case(text) for text in _PERHAPS for case in (str, str.upper, str.title)), "N/a", "-", ".", "?"})
"""Most of what stands for no value among numbers."""
STROKES = re.compile("[-\u2013\u2014.?*_/~]+")
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)


def is_perhaps(text: str) -> bool:
    """Whether a text stands for no value among numbers, and may be a word among words."""
    return text.lower() in _PERHAPS


def is_mark(text: str) -> bool:
    """Whether a text among numbers stands for no value."""
    return bool(text in NEVER or is_perhaps(text) or STROKES.fullmatch(text) or _INFINITE.fullmatch(text))


def is_missing(text: str, words: Collection[str] = ()) -> bool:
    """Whether a text stands for no value, where these words are values."""
    return text not in words and (not text or text in NEVER or is_perhaps(text) or bool(STROKES.fullmatch(text)))
