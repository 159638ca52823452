"""Drawn sprites: geometry, labels, true counterfactuals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import labelspace
from labelspace.data.dataset import Dataset
from labelspace.data.synthetic.sprites import (
    AREAS,
    COLOURS,
    ORIENTATIONS,
    PLACES,
    RADIUS,
    SCALES,
    SHAPES,
    TURNS,
    draw,
    sprites,
)
from labelspace.data.truth import FactorGrid

GRID = sprites()
TOTAL = 3 * 6 * 40 * 32 * 32
rows = st.tuples(*(st.integers(0, len(options) - 1) for options in GRID.factors.values()))


@pytest.fixture(scope="module")
def data() -> Dataset:
    return labelspace.open("sprites:n=120,size=32,color=true")


def moments(picture: np.ndarray) -> tuple[float, float, float, np.ndarray]:
    """Area, centre (right and down) and covariance (right and up) of a picture's mass, in pixels."""
    mass = picture.astype(float) / 255
    down, right = np.mgrid[: len(mass), : len(mass)] + 0.5
    area = mass.sum()
    x, y = (mass * right).sum() / area, (mass * down).sum() / area
    dx, up = right - x, y - down
    covariance = np.array([[(mass * a * b).sum() for b in (dx, up)] for a in (dx, up)]) / area
    return area, x, y, covariance


def row(shape: str, scale: int = 5, orientation: int = 0, x: int = 16, y: int = 16) -> np.ndarray:
    return np.array([[SHAPES.index(shape), scale, orientation, x, y]], np.uint8)


# -- the pictures ----------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(rows)
def test_area_and_centre_are_those_of_the_geometry(codes):
    size = 128
    picture = draw(np.array([codes], np.uint8), size, smooth=True)[0, 0]
    area, x, y, _ = moments(picture)
    radius = SCALES[codes[1]] * RADIUS * size
    assert area == pytest.approx(AREAS[codes[0]] * radius**2, rel=0.03)  # an upright edge may pass between samples
    low = (RADIUS + 1 / 64) * size
    assert x == pytest.approx(low + PLACES[codes[3]] * (size - 2 * low), abs=0.13)
    assert y == pytest.approx(low + PLACES[codes[4]] * (size - 2 * low), abs=0.13)


@pytest.mark.parametrize("code", range(20))
def test_an_ellipse_is_turned_by_its_orientation_against_the_clock(code: int):
    *_, covariance = moments(draw(row("ellipse", orientation=code), 128, smooth=True)[0, 0])
    angle = 0.5 * math.atan2(2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1])
    assert abs((angle - ORIENTATIONS[code] + math.pi / 2) % math.pi - math.pi / 2) < 0.02
    long, short = np.linalg.eigvalsh(covariance)[::-1]
    assert long / short == pytest.approx(4, rel=0.05)  # axes of 2 to 1


@pytest.mark.parametrize("code", range(0, 40, 3))
def test_a_hearts_tip_points_where_it_is_turned(code: int):
    picture = draw(row("heart", orientation=code), 128, smooth=True)[0, 0]
    _, x, y, _ = moments(picture)
    down, right = (part + 0.5 for part in np.nonzero(picture > 127))
    far = np.argmax(np.hypot(right - x, down - y))
    angle = math.atan2(y - down[far], right[far] - x) + math.pi / 2  # an upright heart's tip points down
    assert abs((angle - ORIENTATIONS[code] + math.pi) % (2 * math.pi) - math.pi) < 0.06
    assert np.hypot(right - x, down - y).max() == pytest.approx(RADIUS * 128, abs=1.6)


def test_a_square_on_its_side_fills_its_own_box():
    picture = draw(row("square"), 128, smooth=True)[0, 0] > 0
    lines, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))
    side = 2 * RADIUS * 128 * math.sqrt(0.5)
    assert len(lines) == pytest.approx(side, abs=2)
    assert picture[lines[0] : lines[-1] + 1, columns[0] : columns[-1] + 1].all()


@pytest.mark.parametrize("size", [8, 32, 64, 65])
@pytest.mark.parametrize("smooth", [False, True])
def test_no_sprite_touches_the_edge(size: int, smooth: bool):
    codes = np.array([[s, 5, o, x, y] for s in range(3) for o in range(40) for x in (0, 31) for y in (0, 31)], np.uint8)
    pictures = draw(codes, size, smooth=smooth)
    assert pictures.shape == (len(codes), 1, size, size)
    edge = np.ones((size, size), bool)
    if size >= 64:  # in a smaller picture a pixel is larger than what is kept free
        edge[1:-1, 1:-1] = False
        on_edge = pictures[:, 0, edge]
        assert (on_edge.max() < 128) if smooth else (on_edge == 0).all()
    if not smooth:
        assert set(np.unique(pictures)) == {0, 255}
    assert (pictures.reshape(len(codes), -1).max(1) > 0).all()


def test_a_smooth_picture_is_a_binary_one_with_grey_edges():
    codes = GRID.sample(50, np.random.default_rng(0))
    hard, soft = draw(codes, 64).astype(int), draw(codes, 64, smooth=True).astype(int)
    inner = (soft == 0) | (soft == 255)
    assert (hard[inner] == soft[inner]).mean() > 0.999
    assert 0.001 < (~inner).mean() < 0.1


def test_a_row_is_drawn_alike_alone_and_among_others():
    codes = sprites(color=True).sample(40, np.random.default_rng(2))
    together = draw(codes, 32, color=True)
    for i in range(0, 40, 7):
        np.testing.assert_array_equal(draw(codes[i : i + 1], 32, color=True)[0], together[i])


# -- labels ------------------------------------------------------------------------------------------------------------------


def test_labels_are_the_factors():
    codes = GRID.sample(4000, np.random.default_rng(1))
    values, observed = GRID.labels(codes)
    assert observed.all()
    assert GRID.schema.names == ("shape", "scale", "orientation", "x", "y")
    assert [label.kind for label in GRID.schema] == ["categorical", *["continuous"] * 4]
    np.testing.assert_array_equal(values[:, 0], codes[:, 0])
    for column, levels in ((1, SCALES), (3, PLACES), (4, PLACES)):
        np.testing.assert_array_equal(values[:, column], np.array(levels, np.float32)[codes[:, column]])
    turn = 2 * math.pi / np.array(TURNS)[codes[:, 0]]
    np.testing.assert_allclose(values[:, 2], np.array(ORIENTATIONS)[codes[:, 2]] % turn, atol=1e-5)
    for i, label in enumerate(GRID.schema):
        if not label.discrete:
            assert values[:, i].mean() == pytest.approx(label.mean, abs=0.05)
            assert values[:, i].std() == pytest.approx(label.scale, rel=0.05)


@pytest.mark.parametrize(("shape", "turns"), [*zip(SHAPES, TURNS, strict=True)])
def test_pictures_are_equal_exactly_where_orientation_labels_are(shape: str, turns: int):
    codes = np.concatenate([row(shape, orientation=code) for code in range(40)])
    pictures, angles = draw(codes, 64, smooth=True).reshape(40, -1), GRID.labels(codes)[0][:, 2]
    same = (pictures[:, None] == pictures[None]).all(2)
    np.testing.assert_array_equal(same, angles[:, None] == angles[None])
    assert len(np.unique(angles)) == 40 // turns


def test_the_whole_grid_comes_in_order():
    codes = GRID.sample(TOTAL, np.random.default_rng(0))
    assert len(codes) == TOTAL
    expected = [(0, 0, 0, 0, 0), (0, 0, 0, 0, 1), (0, 0, 0, 1, 0), (0, 0, 1, 0, 0), (0, 1, 0, 0, 0), (1, 0, 0, 0, 0)]
    assert [tuple(codes[i]) for i in (0, 1, 32, 1024, 40 * 1024, 6 * 40 * 1024)] == expected
    assert tuple(codes[-1]) == (2, 5, 39, 31, 31)


def test_draws_are_different_and_follow_the_seed():
    some = [GRID.sample(5000, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(some[0], some[1])
    assert not np.array_equal(some[0], some[2])
    assert len(np.unique(some[0], axis=0)) == 5000
    for column, options in enumerate(GRID.factors.values()):
        assert set(some[0][:, column]) == set(range(len(options)))


# -- the data set --------------------------------------------------------------------------------------------------------------


def test_colours_are_a_factor_and_a_label(data: Dataset):
    assert data.x.shape == (120, 3, 32, 32)
    assert data.schema.names == ("shape", "scale", "orientation", "x", "y", "color")
    assert data.factors is not None
    np.testing.assert_array_equal(data.values[:, 5], data.factors[:, 0])
    for picture, code in zip(data.x, data.factors[:, 0], strict=True):
        assert tuple(picture.reshape(3, -1).max(1)) == list(COLOURS.values())[code]
    np.testing.assert_array_equal(data.x[:, :].max(1), draw(data.factors[:, 1:], 32)[:, 0])


@pytest.mark.parametrize("name", ["shape", "scale", "orientation", "x", "y", "color"])
def test_the_counterfactual_of_an_own_value_is_the_sample_itself(data: Dataset, name: str):
    assert data.factors is not None
    assert data.truth is not None
    own = data.values[:, data.schema.index(name)]
    changed = np.concatenate([data.truth.changed(data.factors[[i]], name, own[i])[0] for i in range(len(data))])
    np.testing.assert_array_equal(draw(changed, 32, color=True), data.x)
    assert (data.style(name, np.arange(5)) == 0).all()


def test_counterfactuals_of_the_data_set_are_those_drawn(data: Dataset):
    assert data.factors is not None
    chosen = np.arange(20)
    expected = data.factors[chosen].copy()
    expected[:, 2] = 2
    x, styles = data.counterfactuals("scale", 0.74, chosen)
    assert styles == ("0.7",)
    np.testing.assert_array_equal(x[:, 0].numpy() * 255, draw(expected, 32, color=True))
    assert torch.equal(data.select(["y", "scale"]).counterfactuals("scale", 0.74, chosen)[0], x)


def test_an_angle_comes_round_and_other_numbers_have_ends(data: Dataset):
    assert isinstance(data.truth, FactorGrid)
    step = ORIENTATIONS[1]
    for value, name in ((2 * math.pi, 0), (-0.1, 39), (6.25, 0), (2 * math.pi + step, 1), (-7 * step, 33)):
        assert data.truth.rule("orientation").codes(value) == (name,)
    for name, value in (("scale", 1.3), ("scale", 0.4), ("x", -0.01), ("shape", 3), ("shape", -1), ("shape", 0.5)):
        with pytest.raises(labelspace.UserError, match=name):
            data.counterfactuals(name, value, [0])
    for name in ("scale", "orientation"):
        for value in (math.nan, math.inf):
            with pytest.raises(labelspace.UserError, match=name):
                data.counterfactuals(name, value, [0])


@settings(max_examples=100, deadline=None)
@given(rows, st.sampled_from(GRID.schema.names[1:]), st.floats(0, 1))
def test_setting_a_number_gives_the_label_the_nearest_level(codes, name: str, share: float):
    rule = GRID.rule(name)
    value = rule.levels[0] + share * (rule.levels[-1] - rule.levels[0])
    changed = GRID.changed(np.array([codes], np.uint8), name, value)[0]
    drawn = rule.levels[changed[0, rule.factor]]
    assert abs(drawn - value) == pytest.approx(min(abs(level - value) for level in rule.levels))
    others = np.arange(len(codes)) != rule.factor
    assert (changed[0, others] == np.array(codes)[others]).all()


@pytest.mark.parametrize(
    ("address", "part"),
    [
        ("sprites:n=5", "n of 10 to 737,280"),
        ("sprites:n=737281", "737,280"),
        ("sprites:n=-1", "n=-1"),
        ("sprites:size=7", "8 to 256"),
        ("sprites:size=300", "8 to 256"),
        ("sprites:colour=true", "did you mean 'color'"),
        ("sprites:smooth=half", "smooth='half'"),
        ("sprites:/tmp", "takes no path"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(address: str, part: str):
    with pytest.raises(labelspace.UserError) as caught:
        labelspace.open(address)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
