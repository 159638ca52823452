"""Colours can be told apart, also by those who do not see all of them, on white and on dark pages."""

from __future__ import annotations

import numpy as np
import pytest

from labelspace.labels import Schema, binary, categorical
from labelspace.reporting import colours

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
SEEN = {
    "all colours": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
LEAST = {"all colours": 12, "protanopia": 12, "deuteranopia": 12, "tritanopia": 7}


def linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
    xyz = rgb @ to_xyz.T / np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """CIEDE2000 of two colours in CIELAB."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    g = 0.5 * (1 - np.sqrt(chroma**7 / (chroma**7 + 25.0**7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    turn = 0.0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    light, chroma, hue = (l1 + l2) / 2, (c1 + c2) / 2, (h1 + turn / 2) % 360
    cosines = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.2, 4, -63))
    t = 1 + sum(weight * np.cos(np.radians(times * hue + shift)) for weight, times, shift in cosines)
    lightness = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    colourful = (c2 - c1) / (1 + 0.045 * chroma)
    hues = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    rotation = np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    mixed = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * rotation * colourful * hues
    return float(np.sqrt(lightness**2 + colourful**2 + hues**2 + mixed))


def smallest(palette: tuple[str, ...], matrix) -> float:
    shown = [lab(np.clip(np.asarray(matrix) @ linear(colour), 0, 1)) for colour in palette]
    return min(difference(a, b) for i, a in enumerate(shown) for b in shown[:i])


def contrast(one: str, other: str) -> float:
    light, dark = sorted((float(linear(c) @ [0.2126, 0.7152, 0.0722]) + 0.05 for c in (one, other)), reverse=True)
    return light / dark


def test_the_measure_of_difference_gives_published_values() -> None:
    # Sharma, Wu and Dalal (2005), pairs 1, 7 and 25.
    assert difference(np.array([50, 2.6772, -79.7751]), np.array([50, 0, -82.7485])) == pytest.approx(2.0425, abs=1e-3)
    assert difference(np.array([50, 0, 0]), np.array([50, -1, 2])) == pytest.approx(2.3669, abs=1e-3)
    assert difference(np.array([60.2574, -34.0099, 36.2677]), np.array([60.4626, -34.1751, 39.4387])) == pytest.approx(
        1.2644, abs=1e-3
    )


@pytest.mark.parametrize("kind", SEEN)
@pytest.mark.parametrize("palette", [colours.COLOURS, colours.ON_DARK], ids=["light", "dark"])
def test_any_two_colours_differ_however_colours_are_seen(kind: str, palette: tuple[str, ...]) -> None:
    assert smallest(palette, SEEN[kind]) >= LEAST[kind]
    assert smallest((*palette, colours.OTHER), SEEN[kind]) >= min(LEAST[kind], 7)
    if kind != "tritanopia":
        assert smallest(palette[:6], SEEN[kind]) >= 15


def test_a_careless_palette_fails_the_measure() -> None:
    assert smallest(("#d1495b", "#3a9a5b"), SEEN["deuteranopia"]) < 8


def test_colours_stand_out_from_the_page() -> None:
    assert min(contrast(colour, "#ffffff") for colour in colours.COLOURS) > 1.6
    assert min(contrast(colour, "#14171b") for colour in colours.ON_DARK) > 2.9
    assert contrast(colours.INK, "#ffffff") > 7
    assert contrast(colours.INK_ON_DARK, "#14171b") > 7


def test_a_labels_value_has_one_colour() -> None:
    schema = Schema([binary("a"), categorical("k", ("x", "y", "z")), binary("b")])
    assert colours.of_values(schema, "a") == (colours.OTHER, colours.COLOURS[0])
    assert colours.of_values(schema, "b") == (colours.OTHER, colours.of_label(schema, "b"))
    assert colours.of_values(schema, "k") == colours.COLOURS[:3]
    assert colours.colour(10) == colours.COLOURS[0]
    assert colours.marker(10) != colours.marker(9), "where colours begin again, shapes differ"
