"""Alignment on codes that were made with known answers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelspace.errors import UserError
from labelspace.metrics import alignment
from labelspace.metrics.alignment import measure_traversal, traversal, within_class
from labelspace.metrics.morphology import measure


def made(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes, properties and classes: latent 0 tells half of a, latent 1 all of b (backwards), latent 2 nothing, 3 is dead."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 5, n)
    a, b = rng.normal(size=(2, n))
    codes = np.stack([a + rng.normal(size=n), -2 * b, rng.normal(size=n), np.full(n, 0.3)], 1)
    return codes, np.stack([a, b], 1), classes


def test_known_shares_of_variance() -> None:
    codes, properties, classes = made()
    found = within_class(codes, properties, classes, names=["a", "b"])
    np.testing.assert_allclose(found.matrix, [[0.5, 0], [0, 1], [0, 0], [0, 0]], atol=0.03)
    np.testing.assert_allclose(found.slope, [[0.5, 0], [0, -0.5], [0, 0], [0, 0]], atol=0.03)
    np.testing.assert_allclose(found.per_class, found.matrix, atol=0.03)
    np.testing.assert_allclose(found.spread, 1, atol=0.03)
    assert found.r2[0][0].low < 0.5 < found.r2[0][0].high
    # A correlation of 0.7 from 4,000 samples: the sd of R² is 2 r (1 - r²) / sqrt(n).
    assert found.r2[0][0].high - found.r2[0][0].low == pytest.approx(4 * np.sqrt(0.5) * 0.5 * 1.96 / 4000**0.5, rel=0.15)
    assert found.r2[1][1].low > 0.999
    assert found.r2[3][0].to_dict() == {"value": 0.0, "low": 0.0, "high": 0.0, "n": 4000}


def test_carriers_are_named() -> None:
    codes, properties, classes = made()
    carriers = within_class(codes, properties, classes, names=["a", "b"], threshold=0.4).carriers
    assert [(c.best, c.latent, c.alone) for c in carriers.values()] == [(0, 0, True), (1, 1, True)]
    assert carriers["b"].slope.value == pytest.approx(-0.5, abs=1e-6)
    assert carriers["a"].slope.low < 0.5 < carriers["a"].slope.high
    assert carriers["a"].gap.value == pytest.approx(0.5, abs=0.03)
    assert carriers["a"].gap.low < carriers["a"].gap.value < carriers["a"].gap.high
    assert 0 < carriers["a"].floor < 0.005
    strict = within_class(codes, properties, classes, names=["a", "b"], threshold=0.6).carriers
    assert (strict["a"].best, strict["a"].latent, strict["a"].alone) == (0, None, False)


def test_rotated_codes_carry_nothing_alone() -> None:
    rng = np.random.default_rng(1)
    properties = rng.normal(size=(3000, 2))
    turn = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    found = within_class(properties @ turn, properties, threshold=0.4)
    np.testing.assert_allclose(found.matrix, 0.5, atol=0.04)
    for carrier in found.carriers.values():
        assert carrier.latent is not None
        assert not carrier.alone
        assert carrier.gap.low < 0.05


def test_class_means_do_not_count() -> None:
    rng = np.random.default_rng(2)
    classes = rng.integers(0, 10, 2000)
    codes = rng.normal(size=(2000, 2))
    width = rng.normal(size=2000) + 0.5 * codes[:, 1]
    codes[:, 0] += 5 * classes
    width += 3 * classes
    apart = within_class(codes, width[:, None], classes.astype(str))
    together = within_class(codes, width[:, None])
    assert together.matrix[0, 0] > 0.9
    assert apart.matrix[0, 0] < 0.01
    assert apart.matrix[1, 0] == pytest.approx(0.2, abs=0.04)
    assert apart.spread[0] == pytest.approx(np.sqrt(1.25), rel=0.05)
    assert apart.carriers["0"].latent is None
    assert apart.carriers["0"].best == 1


def test_a_latent_that_turns_round_between_classes_shows_in_the_classes_only() -> None:
    rng = np.random.default_rng(3)
    classes = rng.integers(0, 2, 2000)
    code = rng.normal(size=2000)
    found = within_class(code[:, None], (code * np.where(classes == 1, 1, -1))[:, None], classes)
    assert found.matrix[0, 0] < 0.02
    assert found.per_class[0, 0] == pytest.approx(1)


def test_noise_stays_below_the_floor_or_is_not_believed() -> None:
    rng = np.random.default_rng(4)
    few = within_class(rng.normal(size=(8, 20)), rng.normal(size=(8, 1)), threshold=0.3)
    assert few.carriers["0"].r2.value > 0.3  # the best of 20 latents on 8 samples
    assert few.carriers["0"].floor > 0.4
    assert few.carriers["0"].latent is None
    many = [within_class(rng.normal(size=(200, 5)), rng.normal(size=(200, 1)), seed=s) for s in range(20)]
    assert np.mean([m.carriers["0"].r2.value < m.carriers["0"].floor for m in many]) >= 0.8


def test_intervals_agree_with_resampling_one_by_one() -> None:
    codes, properties, classes = made(120)
    found = within_class(codes, properties, classes)
    rng = np.random.default_rng(9)
    values = []
    for _ in range(1000):
        rows = np.concatenate([rng.choice(np.flatnonzero(classes == c), (classes == c).sum()) for c in range(5)])
        x, y = codes[rows, 0].copy(), properties[rows, 0].copy()
        for c in range(5):
            inside = classes[rows] == c
            x[inside] -= x[inside].mean()
            y[inside] -= y[inside].mean()
        values.append(np.corrcoef(x, y)[0, 1] ** 2)
    assert [found.r2[0][0].low, found.r2[0][0].high] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.025)


@settings(max_examples=10)
@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-50, 50))
def test_units_and_origins_do_not_change_what_is_told(seed: int, unit: float, origin: float) -> None:
    codes, properties, classes = made(60, seed)
    plain, moved = within_class(codes, properties, classes), within_class(origin + unit * codes, properties - origin, classes)
    np.testing.assert_allclose(moved.matrix, plain.matrix, atol=1e-6)
    np.testing.assert_allclose(moved.slope * unit, plain.slope, atol=1e-6)
    assert moved.carriers["1"].r2.low == pytest.approx(plain.carriers["1"].r2.low, abs=1e-6)


def test_small_classes_and_one_latent() -> None:
    classes = np.array([0] * 10 + [1, 2, 2])
    x = np.arange(13.0)[:, None]
    found = within_class(x, 3 * x, classes)
    assert found.carriers["0"].gap.value == pytest.approx(1)
    assert found.carriers["0"].alone
    assert found.per_class[0, 0] == pytest.approx(1)


def test_results_are_written_as_json() -> None:
    codes, properties, classes = made(100)
    found = json.loads(json.dumps(within_class(codes, properties, classes, names=["a", "b"]).to_dict(), allow_nan=False))
    assert found["carriers"]["b"]["latent"] == 1
    assert np.shape(found["r2"]) == (4, 2)
    moved = traversal(np.arange(4.0), np.random.default_rng(0).normal(size=(5, 2, 4, 3)))
    written = json.loads(json.dumps(moved.to_dict(), allow_nan=False))
    assert set(written["effects"]) == {"0", "1", "2"}
    assert np.shape(written["slope"]) == (2, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": np.zeros(10)}, "codes must be"),
        ({"codes": np.zeros((9, 2))}, "same rows"),
        ({"classes": np.zeros((10, 1))}, "same rows"),
        ({"classes": np.full(10, np.nan)}, "classes contain NaN"),
        ({"classes": np.arange(10)}, "too few"),
        ({"properties": np.full((10, 1), np.nan)}, "10 of 10 rows are not"),
        ({"names": ["a", "b"]}, "names must be 1"),
        ({"shuffles": 0}, "shuffles"),
    ],
)
def test_faults_of_within_class(change: dict, message: str) -> None:
    given = {"codes": np.zeros((10, 2)), "properties": np.zeros((10, 1)), **change}
    with pytest.raises(UserError, match=message):
        within_class(**given)
    with pytest.raises(UserError, match="too few"):
        within_class(np.zeros((0, 2)), np.zeros((0, 1)))


# -- Traversals ---------------------------------------------------------------------------------------------------------------

VALUES = np.linspace(-2, 2, 9)


def lines(n: int = 50, noise: float = 0.0) -> np.ndarray:
    """Latent 0 moves property 0 by 2 a unit (more or less by sample), latent 1 property 1 by -1 and 0 by 0.5; 2 nothing."""
    rng = np.random.default_rng(0)
    out = rng.normal(size=(n, 1, 1, 2)) + np.zeros((n, 3, 9, 2))
    out[:, 0, :, 0] += (2 + 0.5 * rng.normal(size=(n, 1))) * VALUES
    out[:, 1, :, 1] -= VALUES
    out[:, 1, :, 0] += 0.5 * VALUES
    return out + noise * rng.normal(size=out.shape)


def test_known_effects() -> None:
    found = traversal(VALUES, lines(), spread=np.array([4.0, 0.5]), names=["a", "b"])
    assert found.slope[0][0].value == pytest.approx(2, abs=0.2)
    assert found.slope[0][0].high - found.slope[0][0].low == pytest.approx(4 * 0.5 / 50**0.5, rel=0.3)
    assert found.slope[1][1].value == pytest.approx(-1)
    assert found.range[1][1].value == pytest.approx(4 / 0.5)
    assert found.range[1][0].value == pytest.approx(2 / 4)
    assert found.r2[1][0].value == pytest.approx(1)
    for table in (found.slope, found.r2, found.range):
        assert table[2][0].to_dict() == {"value": 0.0, "low": 0.0, "high": 0.0, "n": 50}
    assert found.effects["a"].latent == 0
    assert found.effects["a"].share == pytest.approx(0.8, abs=0.03)
    assert found.effects["b"].latent == 1
    assert found.effects["b"].share == pytest.approx(1)
    assert found.measured.tolist() == [1, 1, 1]


def test_the_fit_is_a_straight_line_through_each_sample() -> None:
    measured = lines(20, noise=1.0)
    found = traversal(VALUES, measured)
    slopes = [np.polyfit(VALUES, measured[i, 0, :, 0], 1)[0] for i in range(20)]
    squares = [np.corrcoef(VALUES, measured[i, 0, :, 0])[0, 1] ** 2 for i in range(20)]
    assert found.slope[0][0].value == pytest.approx(np.mean(slopes))
    assert found.r2[0][0].value == pytest.approx(np.mean(squares))
    assert found.range[0][0].value == pytest.approx(np.ptp(measured[:, 0, :, 0], axis=1).mean())


def test_a_bend_has_no_slope_but_a_range() -> None:
    found = traversal(VALUES, np.broadcast_to((VALUES**2)[:, None], (5, 1, 9, 1)))
    assert found.slope[0][0].value == pytest.approx(0, abs=1e-12)
    assert found.r2[0][0].value == pytest.approx(0, abs=1e-12)
    assert found.range[0][0].value == pytest.approx(4)


def test_what_could_not_be_measured_is_left_out() -> None:
    whole = lines()
    part = whole.copy()
    part[:, 0, :2] = np.nan  # blank images at one end
    part[3, 1] = np.nan  # a whole traversal
    part[4, 1, 2:] = np.nan  # two points make no line
    a, b = traversal(VALUES, whole), traversal(VALUES, part)
    assert b.slope[0][0].value == pytest.approx(a.slope[0][0].value)
    assert b.slope[1][1].value == pytest.approx(-1)
    assert (b.slope[0][0].n, b.slope[1][1].n) == (50, 48)
    np.testing.assert_allclose(b.measured, [7 / 9, 1 - (9 + 7) / 450, 1])
    part[:, 2, 1:, 1] = np.nan
    with pytest.raises(UserError, match="no traversal of latent 2 has 3 values of property 'b'"):
        traversal(VALUES, part, names=["a", "b"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.zeros(9)}, "3 different"),
        ({"values": np.zeros((9, 1))}, "3 different"),
        ({"values": np.array([0, 1, np.nan])}, "finite"),
        ({"measured": np.zeros((5, 2, 8, 1))}, "9 steps"),
        ({"measured": np.zeros((0, 2, 9, 1))}, "9 steps"),
        ({"measured": np.full((5, 2, 9, 1), np.inf)}, "infinity"),
        ({"spread": np.zeros(1)}, "positive"),
        ({"spread": np.ones(2)}, "1 positive"),
        ({"names": ["a", "b"]}, "names must be 1"),
    ],
)
def test_faults_of_traversal(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        traversal(**{"values": VALUES, "measured": np.zeros((5, 2, 9, 1)), **change})


def test_a_decoder_that_draws_bars_is_read_rightly() -> None:
    """Latent 0 is the lean, latent 1 the pen, latent 2 nothing: measured on the images."""

    def decode(codes: np.ndarray) -> np.ndarray:
        y, x = np.mgrid[:28, :28].astype(float)
        lean, pen = 0.2 * codes[:, 0, None, None], 3 + 0.5 * codes[:, 1, None, None]
        off = np.abs(x - 14 + lean * (y - 14)) / np.sqrt(1 + lean**2)
        return np.clip(pen / 2 + 0.5 - off, 0, 1) * (np.abs(y - 14) < 9)

    codes = np.random.default_rng(0).normal(size=(4, 3)) * 0.5
    values = np.linspace(-2, 2, 5)
    measured = measure_traversal(decode, codes, values, lambda x: np.stack([measure(x)[k] for k in ("thickness", "slant")], 1))
    assert measured.shape == (4, 3, 5, 2)
    found = traversal(values, measured, names=["thickness", "slant"])
    assert (found.effects["thickness"].latent, found.effects["slant"].latent) == (1, 0)
    assert found.effects["thickness"].slope.value == pytest.approx(0.5, abs=0.15)
    assert found.effects["slant"].slope.value == pytest.approx(0.2, abs=0.02)
    assert found.effects["slant"].share > 0.95
    assert found.effects["thickness"].share > 0.9
    assert found.range[2][0].value == 0


def test_faults_of_measuring_traversals() -> None:
    with pytest.raises(UserError, match="one row for each of 6 samples"):
        measure_traversal(lambda z: z, np.zeros((2, 1)), np.arange(3.0), lambda x: x[:4])
    with pytest.raises(UserError, match="one-dimensional"):
        measure_traversal(lambda z: z, np.zeros((2, 1)), np.zeros((3, 1)), lambda x: x)
    assert alignment.measure_traversal(lambda z: z, np.zeros((2, 1)), np.arange(3.0), lambda x: x).shape == (2, 1, 3, 1)
