"""Avatar faces whose every attribute is known, so that the truth of an edit can be drawn.

A face is a row of factors (glasses, beard, mouth, hair, skin, ...); a label is a statement about one factor ("the glasses
factor is not *none*"). Changing only that factor and drawing again gives the true counterfactual, in as many styles as the
factor has. Attributes are drawn independently unless something else is asked for: correlated ones, one that implies another,
or rare ones.

The drawings come from the package ``python-avatars``; ``skia-python`` turns them into pixels (extra ``faces``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce

import numpy as np

from labelspace.data.truth import FactorGrid, LabelRule
from labelspace.errors import UserError
from labelspace.labels import binary, categorical

# Options of each factor, in the order of their codes. Names are the enumeration members of python-avatars.
# Left out on purpose: hair that hides eyes or beard, a moustache that hides the mouth, and glasses that are copies of
# another pair at 64 pixels (SUNGLASSES ~ WAYFARERS, WAYFARERS_2 ~ SUNGLASSES_2), and hair of the colour of some skin
# (a brown beard on brown skin cannot be seen, so its label would be wrong).
FACTORS: dict[str, tuple[str, ...]] = {
    "glasses": ("NONE", "KURT", "PRESCRIPTION_1", "PRESCRIPTION_2", "ROUND", "WAYFARERS", "SUNGLASSES_2"),
    "beard": (
        "NONE",
        "BEARD_LIGHT",
        "BEARD_MEDIUM",
        "BEARD_MAGESTIC",
        "WICK_BEARD",
        "MOUSTACHE_FANCY",
        "MOUSTACHE_MAGNUM",
    ),
    "mouth": ("SERIOUS", "SAD", "CONCERNED", "DISBELIEF", "SMILE", "BIG_SMILE", "TWINKLE"),
    "hat": ("NONE", "HAT", "TURBAN", "WINTER_HAT_2", "WINTER_HAT_3", "WINTER_HAT_4"),
    "hair": (
        "NONE",
        "BOB",
        "BUN",
        "CAESAR_SIDE_PART",
        "CURLY",
        "FRIZZLE",
        "FRO",
        "SHAGGY_MULLET",
        "SHORT_CURLY",
        "SHORT_DREADS_1",
        "SHORT_FLAT",
        "SHORT_ROUND",
        "SHORT_WAVED",
        "STRAIGHT_STRAND",
        "BUZZCUT",
        "DREADS",
        "POMPADOUR",
    ),
    "hair_color": ("BLACK", "RED", "BLONDE", "SILVER_GRAY"),
    "skin": ("PALE", "LIGHT", "TANNED", "BROWN", "DARK_BROWN", "BLACK"),
    "eyes": ("DEFAULT", "CLOSED", "HAPPY", "SIDE", "SQUINT", "SURPRISED", "WINK"),
    "eyebrows": ("DEFAULT", "DEFAULT_NATURAL", "ANGRY_NATURAL", "FLAT_NATURAL", "RAISED_EXCITED", "SAD_CONCERNED"),
    "nose": ("DEFAULT", "SMALL", "WIDE"),
    "clothing": ("SHIRT_CREW_NECK", "SHIRT_V_NECK", "HOODIE", "BLAZER_SHIRT"),
    "clothing_color": ("BLACK", "BLUE_02", "GRAY_01", "PASTEL_GREEN", "PINK", "RED", "WHITE"),
    "background": ("#ffffff", "#dfe9f3", "#f6e7d2", "#d9ead3", "#cfc8dd"),
}
_COLUMN = {name: i for i, name in enumerate(FACTORS)}


def _not_none(factor: str) -> tuple[tuple[int, ...], ...]:
    return ((0,), tuple(range(1, len(FACTORS[factor]))))


def _one_each(factor: str) -> tuple[tuple[int, ...], ...]:
    return tuple((code,) for code in range(len(FACTORS[factor])))


# A hat hides the hair, so Bald is unknown under one, and without visible hair there is no hair colour to see. A beard has
# the colour of the hair where that is visible and is black elsewhere, so that the truth never depends on what cannot be
# seen.


def _hair_is_visible(factors: np.ndarray) -> np.ndarray:
    return (factors[..., _COLUMN["hat"]] == 0) & (factors[..., _COLUMN["hair"]] > 0)


RULES: tuple[LabelRule, ...] = (
    LabelRule(binary("Eyeglasses"), _COLUMN["glasses"], _not_none("glasses")),
    LabelRule(binary("Beard"), _COLUMN["beard"], _not_none("beard")),
    LabelRule(binary("Smiling"), _COLUMN["mouth"], ((0, 1, 2, 3), (4, 5, 6))),
    LabelRule(binary("Wearing_Hat"), _COLUMN["hat"], _not_none("hat")),
    LabelRule(
        binary("Bald"),
        _COLUMN["hair"],
        (tuple(range(1, len(FACTORS["hair"]))), (0,)),
        seen=lambda f: f[:, _COLUMN["hat"]] == 0,
    ),
    LabelRule(
        categorical("Hair_Color", ("black", "red", "blonde", "grey")),
        _COLUMN["hair_color"],
        _one_each("hair_color"),
        seen=_hair_is_visible,
    ),
    LabelRule(
        categorical("Skin_Color", ("pale", "light", "tanned", "brown", "dark_brown", "black")),
        _COLUMN["skin"],
        _one_each("skin"),
    ),
)
_PROBABILITY = {"Eyeglasses": 0.5, "Beard": 0.5, "Smiling": 0.5, "Wearing_Hat": 0.2, "Bald": 0.15}

# With ``correlated=True``: log-odds of an attribute, shifted by attributes drawn before it (signs as in photographs of
# celebrities: glasses, hats, beards and baldness go together, smiles go with none of them).
_LOG_ODDS_SHIFT = {
    "Beard": {"Eyeglasses": 0.6},
    "Smiling": {"Beard": -0.6, "Eyeglasses": -0.2},
    "Wearing_Hat": {"Beard": 0.9, "Eyeglasses": 0.4, "Smiling": -0.4},
    "Bald": {"Beard": 0.7, "Eyeglasses": 0.8},
}


# With ``rare=True``: one label on a sample in fifty, one on a sample in ten.
_RARE = {"Beard": 0.02, "Eyeglasses": 0.1}
# With ``implied=True``: label -> the label that it implies.
_IMPLIES = {"Beard": "Eyeglasses"}


def sample_factors(
    n: int, rng: np.random.Generator, *, correlated: bool = False, implied: bool = False, rare: bool = False
) -> np.ndarray:
    """Draws ``n`` rows of factors, shape ``(n, len(FACTORS))``, dtype uint8.

    Args:
        n: how many.
        rng: of the draws.
        correlated: attributes go together as in photographs of celebrities.
        implied: a beard is only where glasses are.
        rare: beards on two samples in a hundred, glasses on ten.
    """
    probability = _PROBABILITY | (_RARE if rare else {})
    factors = np.stack([rng.integers(0, len(options), n) for options in FACTORS.values()], axis=1).astype(np.uint8)
    drawn: dict[str, np.ndarray] = {}
    for rule in RULES:
        name = rule.label.name
        if name not in _PROBABILITY:
            continue
        p = probability[name]
        log_odds = np.full(n, np.log(p / (1 - p)))
        if correlated:
            for other, shift in _LOG_ODDS_SHIFT.get(name, {}).items():
                log_odds += shift * (drawn[other] - probability[other])
        drawn[name] = (rng.random(n) < 1 / (1 + np.exp(-log_odds))).astype(int)
        if implied and name in _IMPLIES:
            drawn[name] &= drawn[_IMPLIES[name]]
        for value in (0, 1):
            rows = drawn[name] == value
            factors[rows, rule.factor] = rng.choice(rule.options[value], rows.sum())
    return factors


_CROP = (38.0, 4.0, 188.0)  # left, top and side of the square around the head, in the drawing's own units
_SUPERSAMPLE = 2


def draw(factors: np.ndarray, size: int = 64, failures: list[tuple[int, str]] | None = None) -> np.ndarray:
    """Draws rows of factors as images, shape ``(n, 3, size, size)``, dtype uint8. No row can fail.

    Raises:
        UserError: the packages that draw are not installed.
    """
    try:
        import python_avatars as pa
        import skia
    except ImportError as error:
        raise UserError(
            f"faces needs the packages python-avatars and skia-python ({error}); pip install 'labelspace[faces]'"
        ) from error

    def option(row: Sequence[int], factor: str, enum):
        return enum[FACTORS[factor][row[_COLUMN[factor]]]]

    side = size * _SUPERSAMPLE
    surface = skia.Surface(side, side)
    canvas = surface.getCanvas()
    canvas.scale(side / _CROP[2], side / _CROP[2])
    canvas.translate(-_CROP[0], -_CROP[1])
    images = np.empty((len(factors), 3, size, size), np.uint8)
    for i, row in enumerate(factors):
        hair_color = option(row, "hair_color", pa.HairColor)
        hat = FACTORS["hat"][row[_COLUMN["hat"]]]
        svg = pa.Avatar(
            style=pa.AvatarStyle.TRANSPARENT,
            top=option(row, "hair", pa.HairType) if hat == "NONE" else pa.HatType[hat],  # type: ignore[arg-type]
            hat_color=option(row, "clothing_color", pa.ClothingColor),
            accessory=option(row, "glasses", pa.AccessoryType),
            facial_hair=option(row, "beard", pa.FacialHairType),
            mouth=option(row, "mouth", pa.MouthType),
            skin_color=option(row, "skin", pa.SkinColor),
            hair_color=hair_color,
            facial_hair_color=hair_color if _hair_is_visible(row) else pa.HairColor.BLACK,
            eyes=option(row, "eyes", pa.EyeType),
            eyebrows=option(row, "eyebrows", pa.EyebrowType),
            nose=option(row, "nose", pa.NoseType),
            clothing=option(row, "clothing", pa.ClothingType),
            clothing_color=option(row, "clothing_color", pa.ClothingColor),
        ).render()
        drawing = skia.SVGDOM.MakeFromStream(skia.MemoryStream(_plain(svg).encode(), True))  # True: it keeps a copy
        canvas.clear(skia.Color(*bytes.fromhex(FACTORS["background"][row[_COLUMN["background"]]][1:])))
        drawing.render(canvas)
        pixels = surface.toarray(colorType=skia.kRGBA_8888_ColorType)[..., :3]
        # The mean of each block, rounded: strided sums in integers are three times as fast as a sum over two axes.
        lines = reduce(np.add, (pixels[k::_SUPERSAMPLE].astype(np.uint16) for k in range(_SUPERSAMPLE)))
        block = reduce(np.add, (lines[:, k::_SUPERSAMPLE] for k in range(_SUPERSAMPLE)))
        images[i] = ((block + _SUPERSAMPLE**2 // 2) // _SUPERSAMPLE**2).astype(np.uint8).transpose(2, 0, 1)
    return images


def _plain(svg: str) -> str:
    """The drawing without its descriptions, which the renderer has no use for."""
    return re.sub(r"<(title|desc)>.*?</\1>", "", svg)


def faces(*, size: int = 64, correlated: bool = False, implied: bool = False, rare: bool = False) -> FactorGrid:
    """The generator of ``faces`` as a grid of factors with label rules; arguments as of :func:`sample_factors`."""
    return FactorGrid(
        name="faces",
        factors=FACTORS,
        rules=RULES,
        sample=lambda n, rng: sample_factors(n, rng, correlated=correlated, implied=implied, rare=rare),
        arguments={"size": size},
    )
