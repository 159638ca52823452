"""Three half circles: where the points are, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import labelspace as ls
from labelspace.data.sources.moons import CENTRES
from labelspace.errors import UserError


def test_points_without_noise_lie_on_upper_half_circles_of_radius_one() -> None:
    data = ls.open("moons:n=3000,noise=0")
    centre = np.stack([np.array(CENTRES)[data.values[:, 0].astype(int)], np.full(3000, -0.5)], 1)
    np.testing.assert_allclose(np.linalg.norm(data.x - centre, axis=1), 1, atol=1e-5)
    assert data.x[:, 1].min() >= -0.5 - 1e-6
    for value in range(3):
        angle = np.arctan2(*(data.x - centre)[data.values[:, 0] == value].T[::-1])
        counts, _ = np.histogram(angle, 4, (0, np.pi))
        assert counts.min() > 200, "every quarter of the half circle has its share of the 1,000 points"


def test_each_class_has_its_place_and_its_name() -> None:
    data = ls.open("moons:n=3000")
    assert data.schema.names == ("moon",)
    assert data.schema["moon"].values == ("middle", "right", "left")
    middle, right, left = (data.x[data.values[:, 0] == value, 0].mean() for value in range(3))
    assert left < middle - 2 < right - 4
    assert abs(middle) < 0.1


@pytest.mark.parametrize("noise", [0.05, 0.15])
def test_noise_is_the_standard_deviation_around_the_circle(noise: float) -> None:
    data = ls.open(f"moons:n=9000,noise={noise}")
    centre = np.stack([np.array(CENTRES)[data.values[:, 0].astype(int)], np.full(9000, -0.5)], 1)
    assert np.linalg.norm(data.x - centre, axis=1).std() == pytest.approx(noise, rel=0.05)


def test_points_are_float32_balanced_and_split_once() -> None:
    data = ls.open("moons:n=300")
    assert data.x.dtype == np.float32
    assert data.shape == (2,)
    assert not data.is_image
    assert np.bincount(data.values[:, 0].astype(int)).tolist() == [100, 100, 100]
    assert data.observed.all()
    rows = np.concatenate([data.rows(split) for split in ("train", "val", "test")])
    assert sorted(rows.tolist()) == list(range(300))
    assert [len(data.rows(split)) for split in ("train", "val", "test")] == [240, 30, 30]


def test_the_defaults_are_those_that_the_address_shows() -> None:
    data = ls.open("moons")
    assert len(data) == 30_000
    np.testing.assert_array_equal(data.x, ls.open("moons:n=30000,noise=0.15").x)


def test_seeds_move_points_and_splits() -> None:
    one, same, other = (ls.open("moons:n=300", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.x, same.x)
    np.testing.assert_array_equal(one.rows("test"), same.rows("test"))
    assert not np.array_equal(one.x, other.x)
    assert not np.array_equal(one.rows("test"), other.rows("test"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("n=29", "n >= 30"),
        ("n=-3", "n >= 30"),
        ("noise=-0.1", "noise >= 0"),
        ("noise=nan", "noise >= 0"),
        ("noise=inf", "noise >= 0"),
        ("n=many", "n='many'"),
        ("nois=1", "did you mean 'noise'"),
        ("somewhere", "takes no path"),
    ],
)
def test_faults_are_one_line(options: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        ls.open(f"moons:{options}")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
