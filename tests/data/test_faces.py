"""Drawn faces: labels, true counterfactuals and the store behind them."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

import labelspace
from labelspace.data.dataset import Dataset
from labelspace.data.synthetic.faces import FACTORS, draw, faces, sample_factors
from labelspace.storage import cache

pytest.importorskip("skia")
pytest.importorskip("python_avatars")

ADDRESS = "faces:n=40,size=32"
COLUMN = {name: i for i, name in enumerate(FACTORS)}
GRID = faces(size=32)
LABELS = GRID.schema.names


@pytest.fixture(scope="module")
def data() -> Dataset:
    return labelspace.open(ADDRESS)


@pytest.fixture(scope="module")
def factors(data: Dataset) -> np.ndarray:
    assert data.factors is not None
    return data.factors


def option(factors: np.ndarray, name: str) -> np.ndarray:
    return np.array(FACTORS[name])[factors[:, COLUMN[name]]]


def test_the_labels_are_the_promised_ones(data: Dataset):
    assert LABELS == ("Eyeglasses", "Beard", "Smiling", "Wearing_Hat", "Bald", "Hair_Color", "Skin_Color")
    assert [label.kind for label in data.schema] == ["binary"] * 5 + ["categorical"] * 2
    assert data.x.shape == (40, 3, 32, 32)
    assert data.x.dtype == np.uint8
    assert data.truth is not None
    assert sorted(np.concatenate(list(data.splits.values())).tolist()) == list(range(40))


def test_labels_agree_with_factors():
    factors = sample_factors(3000, np.random.default_rng(5))
    values, observed = GRID.labels(factors)
    columns = dict(zip(LABELS, values.T, strict=True))
    seen = dict(zip(LABELS, observed.T, strict=True))
    hat, bald = option(factors, "hat") != "NONE", option(factors, "hair") == "NONE"
    smiles = np.isin(option(factors, "mouth"), ["SMILE", "BIG_SMILE", "TWINKLE"])
    np.testing.assert_array_equal(columns["Eyeglasses"], option(factors, "glasses") != "NONE")
    np.testing.assert_array_equal(columns["Beard"], option(factors, "beard") != "NONE")
    np.testing.assert_array_equal(columns["Smiling"], smiles)
    np.testing.assert_array_equal(columns["Wearing_Hat"], hat)
    np.testing.assert_array_equal(columns["Bald"], bald & ~hat)
    np.testing.assert_array_equal(seen["Bald"], ~hat)
    np.testing.assert_array_equal(seen["Hair_Color"], ~hat & ~bald)
    for name in ("Eyeglasses", "Beard", "Smiling", "Wearing_Hat", "Skin_Color"):
        assert seen[name].all()
    skins = np.array(GRID.schema["Skin_Color"].classes)[columns["Skin_Color"].astype(int)]
    assert [skin.upper() for skin in skins] == option(factors, "skin").tolist()
    shades = {"BLACK": "black", "RED": "red", "BLONDE": "blonde", "SILVER_GRAY": "grey"}
    shown = np.array(GRID.schema["Hair_Color"].classes)[columns["Hair_Color"].astype(int)][seen["Hair_Color"]]
    assert shown.tolist() == [shades[name] for name in option(factors, "hair_color")[seen["Hair_Color"]]]
    assert (values[~observed] == 0).all()


def test_factors_stay_inside_their_options():
    factors = sample_factors(3000, np.random.default_rng(0))
    assert factors.dtype == np.uint8
    for name, options in FACTORS.items():
        assert set(factors[:, COLUMN[name]]) == set(range(len(options)))


@pytest.mark.parametrize("name", ["Eyeglasses", "Beard"])
def test_there_are_at_least_five_styles(name: str):
    assert len(GRID.styles(name, 1)) >= 5
    assert GRID.styles(name, 0) == ("NONE",)


@pytest.mark.parametrize("name", LABELS)
def test_a_change_touches_one_factor_and_gives_the_label_its_value(name: str, factors: np.ndarray):
    rule = GRID.rule(name)
    for value in range(len(rule.label.values)):
        changed = GRID.changed(factors, name, value)
        assert changed.shape == (len(factors), len(GRID.styles(name, value)), factors.shape[1])
        others = np.arange(factors.shape[1]) != rule.factor
        assert (changed[:, :, others] == factors[:, None, others]).all()
        values, observed = GRID.labels(changed.reshape(-1, factors.shape[1]))
        column = LABELS.index(name)
        assert (values[observed[:, column], column] == value).all()


@pytest.mark.parametrize("name", LABELS)
def test_the_counterfactual_in_a_samples_own_style_is_the_sample(name: str, data: Dataset, factors: np.ndarray):
    rows = np.arange(8)
    own = data.style(name, rows)
    rule = GRID.rule(name)
    for row in rows:
        value = next(v for v, codes in enumerate(rule.options) if factors[row, rule.factor] in codes)
        changed = GRID.changed(factors[[row]], name, value)[0, own[row]]
        np.testing.assert_array_equal(draw(changed[None], 32)[0], data.x[row])


def test_counterfactuals_of_the_data_set_are_those_drawn(data: Dataset, factors: np.ndarray):
    rows = data.rows("test")
    x, styles = data.counterfactuals("Eyeglasses", 1, rows)
    assert x.shape == (len(rows), len(styles), 3, 32, 32)
    assert x.dtype == torch.float32
    assert styles == GRID.styles("Eyeglasses", 1)
    expected = draw(GRID.changed(factors[rows], "Eyeglasses", 1).reshape(-1, factors.shape[1]), 32)
    torch.testing.assert_close(x.flatten(0, 1), torch.from_numpy(expected) / 255)
    worn = data.values[rows, 0] == 1
    own = data.style("Eyeglasses", rows)
    for i in np.flatnonzero(worn):
        assert torch.equal(x[i, own[i]], data.samples([rows[i]])[0])
    some = data.select(["Smiling", "Eyeglasses"])
    assert torch.equal(some.counterfactuals("Eyeglasses", 1, rows)[0], x)
    with pytest.raises(labelspace.UserError, match="'Beard'"):
        some.counterfactuals("Beard", 1, rows)


@pytest.mark.parametrize("name", LABELS)
def test_every_label_that_is_observed_can_be_seen(name: str, data: Dataset, factors: np.ndarray):
    """Drawing another value gives another picture, so no label is about something hidden."""
    column, rule = LABELS.index(name), GRID.rule(name)
    rows = np.flatnonzero(data.observed[:, column])[:10]
    for value in range(len(rule.label.values)):
        here = rows[data.values[rows, column] != value]
        changed = GRID.changed(factors[here], name, value)
        pictures = draw(changed.reshape(-1, factors.shape[1]), 32).reshape(*changed.shape[:2], -1).astype(int)
        difference = np.abs(pictures - data.x[here].reshape(len(here), 1, -1).astype(int))
        assert (difference.max(-1) > 10).all()


def test_what_is_not_observed_cannot_be_seen():
    factors = sample_factors(60, np.random.default_rng(3))
    _, observed = GRID.labels(factors)
    for name in ("Bald", "Hair_Color"):
        rule = GRID.rule(name)
        hidden = factors[~observed[:, LABELS.index(name)]][:8]
        original = draw(hidden, 32)
        for value in range(len(rule.options)):
            changed = hidden.copy()
            changed[:, rule.factor] = rule.options[value][0]
            np.testing.assert_array_equal(draw(changed, 32), original)


@pytest.mark.parametrize("name", ["glasses", "beard", "mouth", "hat", "hair"])
def test_no_two_styles_look_the_same(name: str):
    row = np.zeros((1, len(FACTORS)), np.uint8)
    row[0, COLUMN["skin"]] = 1
    row[0, COLUMN["hair_color"]] = 1
    rows = np.repeat(row, len(FACTORS[name]), axis=0)
    rows[:, COLUMN[name]] = np.arange(len(rows))
    pictures = draw(rows, 64).reshape(len(rows), -1).astype(int)
    for i in range(len(rows)):
        for j in range(i):
            assert np.abs(pictures[i] - pictures[j]).max() > 10, (FACTORS[name][i], FACTORS[name][j])


@pytest.mark.parametrize("name", LABELS)
def test_a_change_stays_where_its_factor_is(name: str, factors: np.ndarray):
    """Changing what a face wears leaves the corners of the picture, which only show background, alone."""
    value = len(GRID.rule(name).options) - 1
    changed = GRID.changed(factors[:6], name, value)[:, 0]
    corners = (slice(None), slice(None), slice(0, 3), slice(0, 3))
    np.testing.assert_array_equal(draw(changed, 32)[corners], draw(factors[:6], 32)[corners])


def test_attributes_are_independent_unless_correlated():
    columns = {}
    for correlated in (False, True):
        grid = faces(correlated=correlated)
        columns[correlated] = np.corrcoef(grid.labels(grid.sample(30_000, np.random.default_rng(0)))[0][:, :4].T)
    off = ~np.eye(4, dtype=bool)
    assert np.abs(columns[False][off]).max() < 0.03
    glasses, beard, smile, hat = range(4)
    together = columns[True]
    assert together[glasses, beard] > 0.05
    assert together[beard, hat] > 0.05
    assert together[smile, beard] < -0.05


def test_the_address_can_ask_for_correlations():
    data = labelspace.open("faces:n=40,size=8,correlated=true")
    assert data.x.shape == (40, 3, 8, 8)
    expected = faces(correlated=True).sample(40, np.random.default_rng(0))
    assert data.factors is not None
    np.testing.assert_array_equal(data.factors, expected)
    assert not np.array_equal(data.factors, GRID.sample(40, np.random.default_rng(0)))


def test_drawing_is_deterministic(data: Dataset, factors: np.ndarray):
    once, again = draw(factors[:10], 32), draw(factors[:10], 32)
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(once, data.x[:10])
    np.testing.assert_array_equal(draw(factors[5:6], 32)[0], once[5])


def test_faces_follow_the_seed(factors: np.ndarray):
    for seed, equal in ((0, True), (1, False)):
        rows = GRID.sample(40, np.random.default_rng(seed))
        assert np.array_equal(rows, factors) == equal


@pytest.mark.parametrize("size", [8, 48, 64])
def test_size_is_the_side_of_the_pictures(size: int):
    row = sample_factors(1, np.random.default_rng(0))
    assert draw(row, size).shape == (1, 3, size, size)
    assert faces(size=size).arguments == {"size": size}


def test_a_small_picture_shows_the_same_face_as_a_large_one():
    rows = sample_factors(4, np.random.default_rng(1))
    large = draw(rows, 64).astype(float).reshape(4, 3, 32, 2, 32, 2).mean((3, 5))
    assert np.abs(large - draw(rows, 32)).mean() < 6


def test_opening_again_builds_nothing_and_is_quick(data: Dataset):
    home = cache.directory()
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.name.startswith(("x.npy", "store.json"))}
    calls: list[tuple[int, int]] = []
    began = time.process_time()
    again = labelspace.open(ADDRESS, progress=lambda done, total: calls.append((done, total)))
    assert time.process_time() - began < 1
    assert calls == []
    assert not any("drawn" in note for note in again.notes)
    assert isinstance(again.x, np.memmap)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    np.testing.assert_array_equal(again.x, data.x)


def test_a_label_may_imply_another_and_labels_may_be_rare():
    def labels(**options):
        grid = faces(**options)
        values, _ = grid.labels(grid.sample(30_000, np.random.default_rng(0)))
        return {name: values[:, grid.schema.index(name)] for name in ("Eyeglasses", "Beard", "Smiling")}

    implied = labels(implied=True)
    assert implied["Eyeglasses"][implied["Beard"] == 1].all()
    assert implied["Beard"].mean() == pytest.approx(0.25, abs=0.01)
    assert implied["Eyeglasses"].mean() == pytest.approx(0.5, abs=0.01)
    rare = labels(rare=True)
    assert rare["Beard"].mean() == pytest.approx(0.02, abs=0.003)
    assert rare["Eyeglasses"].mean() == pytest.approx(0.1, abs=0.01)
    assert rare["Smiling"].mean() == pytest.approx(0.5, abs=0.01)
