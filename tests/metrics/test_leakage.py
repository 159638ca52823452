"""Leakage: probes in nats and of numbers, the nearest-neighbour KL on Gaussians, and blocks that carry nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelspace.errors import UserError
from labelspace.metrics.leakage import (
    active_units,
    block_use,
    entropy,
    kl_floor,
    kl_permuted,
    nearest_neighbour_kl,
    probe,
    probe_nats,
    probe_scores,
    probe_values,
    strong_probe,
)
from labelspace.metrics.scores import area_score


def test_a_perfect_probe_reads_the_entropy_and_noise_nothing() -> None:
    rng = np.random.default_rng(0)
    y = rng.choice(3, 900, p=[0.6, 0.3, 0.1])
    told = np.eye(3)[y] * 50 + rng.normal(size=(900, 3))
    ceiling = entropy(y).value
    assert ceiling == pytest.approx(-(np.log([0.6, 0.3, 0.1]) * [0.6, 0.3, 0.1]).sum(), abs=0.05)
    for found in probe_nats(told, y).values():
        assert found.value == pytest.approx(ceiling, abs=0.06)
        assert found.n == 450
    told_apart = probe_nats(np.eye(3)[y], y)
    assert all(found.value > 0.95 * ceiling for found in told_apart.values())
    for found in probe_nats(rng.normal(size=(900, 3)), y).values():
        assert abs(found.value) < 0.03


def test_nats_are_a_lower_bound_of_the_mutual_information() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 4000)
    codes = rng.normal(size=(4000, 1)) + 2 * y[:, None]
    grid = np.linspace(-8, 10, 4001)
    densities = [np.exp(-0.5 * (grid - 2 * k) ** 2) / np.sqrt(2 * np.pi) for k in (0, 1)]
    mixture = sum(densities) / 2
    information = sum(0.5 * (d * np.log(d / mixture)).sum() * (grid[1] - grid[0]) for d in densities)
    for found in probe_nats(codes, y).values():
        assert found.low < information < found.high
        assert found.value == pytest.approx(information, abs=0.03)


def test_what_was_learnt_from_noise_costs_nats_and_is_shown() -> None:
    rng = np.random.default_rng(1)
    found = [probe_nats(rng.normal(size=(40, 10)), rng.permutation(40) % 2, seed=s)["logistic"].value for s in range(20)]
    assert min(found) < 0
    assert np.mean(found) < 0.05


def test_both_scores_come_from_one_probe() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    codes = rng.normal(size=(200, 2)) + y[:, None]
    both = probe_scores(codes, y, seed=3)
    assert probe(codes, y, seed=3) == {name: found["balanced_accuracy"] for name, found in both.items()}
    assert probe_nats(codes, y, seed=3) == {name: found["nats"] for name, found in both.items()}


def test_a_class_that_the_fit_half_lacks_costs_a_finite_amount() -> None:
    y = np.repeat([0, 1], 30)
    held = np.random.default_rng(0).permutation(60)[30:]
    y[held[0]] = 7
    for found in probe_nats(np.random.default_rng(1).normal(size=(60, 2)), y).values():
        assert np.isfinite(found.value)


def test_a_probe_of_values_reads_lines_and_curves() -> None:
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(1500, 3))
    line = probe_values(codes, 100 + 5 * codes[:, 0] + rng.normal(size=1500) * 2.5)
    for found in line.values():
        assert found.value == pytest.approx(1 / (1 + 0.25), abs=0.06)
    curve = probe_values(codes, codes[:, 0] ** 2)
    assert curve["ridge"].value < 0.1
    assert curve["mlp"].value > 0.8
    for found in probe_values(codes, rng.normal(size=1500)).values():
        assert -0.2 < found.value < 0.05


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (1.0, 1.0), (0.5, 2.0)])
def test_the_kl_of_gaussians_is_near_the_truth(shift: float, scale: float) -> None:
    rng = np.random.default_rng(0)
    p, q = rng.normal(size=(4000, 2)), rng.normal(shift, scale, size=(6000, 2))
    truth = 2 * (np.log(scale) + (1 + shift**2) / (2 * scale**2) - 0.5)
    found = nearest_neighbour_kl(p, q)
    assert found.value == pytest.approx(truth, abs=0.1)
    assert found.high - found.low == pytest.approx(3.92 * 0.035, rel=0.5)
    assert found.n == 4000


@given(st.integers(0, 100), st.integers(1, 10), st.sampled_from([(5, 9), (9, 5), (2, 2)]))
def test_the_kl_is_the_textbook_loop(seed: int, d: int, sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    (n, m), total = sizes, 0.0
    p, q = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    for i in range(n):
        rho = min(np.linalg.norm(p[i] - p[j]) for j in range(n) if j != i)
        nu = min(np.linalg.norm(p[i] - other) for other in q)
        total += np.log(nu / rho)
    assert nearest_neighbour_kl(p, q).value == pytest.approx(np.log(m / (n - 1)) + d / n * total)


def test_codes_that_repeat_count_once_and_shared_codes_are_left_out() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.normal(size=(300, 2)), rng.normal(size=(400, 2))
    expected = nearest_neighbour_kl(p, q).value
    assert nearest_neighbour_kl(np.repeat(p, 3, axis=0), np.concatenate([q, q[:50]])).value == pytest.approx(expected)
    shared = nearest_neighbour_kl(p, np.concatenate([q, p[:150]]))
    assert np.isfinite([shared.value, shared.low, shared.high]).all()
    same = nearest_neighbour_kl(p, p)
    assert same.value == pytest.approx(np.log(300 / 299)), "every code is compared with the same neighbours"


def test_far_from_the_origin_small_distances_are_not_lost() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.normal(size=(200, 12)) * 1e-3, rng.normal(size=(200, 12)) * 1e-3
    assert nearest_neighbour_kl(p + 1000, q + 1000).value == pytest.approx(nearest_neighbour_kl(p, q).value, abs=1e-3)


def test_floors_of_the_kl() -> None:
    floor = kl_floor(1380, 8620, 2)
    assert abs(floor.mean) < 0.09
    assert 0.02 < floor.sd < 0.09
    assert kl_floor(50, 60, 2, draws=3, seed=1) == kl_floor(50, 60, 2, draws=3, seed=1)
    rng = np.random.default_rng(0)
    p, q = rng.normal(size=(400, 2)), rng.normal(3, 1, size=(1200, 2))
    shuffled = kl_permuted(p, q)
    assert abs(shuffled.mean) < 0.15
    assert nearest_neighbour_kl(p, q).value > shuffled.mean + 10 * shuffled.sd


def test_active_units_are_coordinates_whose_mean_varies() -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(size=(1000, 4)) * [1.0, 0.2, 0.05, 0.0] + [0, 0, 0, 9.0]
    assert active_units(means).tolist() == [True, True, False, False]
    assert active_units(means, least=0.5).tolist() == [True, False, False, False]


def test_collapsed_blocks_are_told() -> None:
    rng = np.random.default_rng(0)
    n = 500
    means = {
        "used": rng.normal(size=(n, 3)),
        "prior": rng.normal(size=(n, 2)) * 1e-3,
        "constant": np.full((n, 2), 4.0),
        "follows_a_prior": rng.normal(size=(n, 1)),
        "known": rng.integers(0, 2, (n, 1)).astype(float),
    }
    kl = {
        "used": rng.gamma(2, 1, (n, 3)),
        "prior": np.full(n, 1e-4),
        "constant": np.full(n, 8.0),
        "follows_a_prior": np.full(n, 1e-3),
    }
    found = block_use(means, kl)
    assert [name for name, use in found.items() if use.collapsed] == ["prior", "constant", "follows_a_prior"]
    used = found["used"]
    assert used.kl is not None
    assert used.kl.value == pytest.approx(6, rel=0.1), "coordinates are summed"
    assert (used.active, used.size) == (3, 3)
    assert found["known"].kl is None


cloud = np.random.default_rng(0).normal(size=(30, 2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: probe_nats(cloud, np.zeros(30)), "two classes"),
        (lambda: probe_values(cloud, np.ones(30)), "different finite values"),
        (lambda: probe_values(cloud[:10], np.arange(10)), "at least 20"),
        (lambda: nearest_neighbour_kl(cloud, cloud[:, :1]), "P have 2 coordinates and those of Q 1"),
        (lambda: kl_permuted(cloud, cloud[:, :1]), "P have 2 coordinates and those of Q 1"),
        (lambda: nearest_neighbour_kl(np.ones((9, 2)), cloud), "P has 1 and Q 30 different codes"),
        (lambda: nearest_neighbour_kl(cloud * np.nan, cloud), "NaN or infinity in 30"),
        (lambda: kl_floor(20, 20, 2, draws=1), "at least 2"),
        (lambda: block_use({"z": cloud}, {"w": np.ones(30)}), "block 'w' has a KL but no means"),
        (lambda: block_use({"z": cloud}, {"z": np.full(30, np.inf)}), "30 samples, 0 finite"),
        (lambda: block_use({"z": cloud}, {"z": np.ones(3)}), "expected 30"),
    ],
)
def test_faults_are_told_in_one_line(call: Callable[[], object], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def rare_codes(rare: float, n: int = 10_000, size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian codes, one coordinate of which is shifted by a deviation where the label is on: its area is Phi(1/sqrt(2))."""
    rng = np.random.default_rng(5)
    y = (rng.random(n) < rare).astype(int)
    codes = rng.normal(size=(n, size))
    codes[:, 0] += y
    return codes, y


@pytest.mark.parametrize("rare", [0.5, 0.14, 0.05, 0.02])
def test_a_rare_label_is_read_as_far_as_it_can_be(rare: float) -> None:
    """Beside what the shifted coordinate alone, which is all that there is, gets on the same held-out samples."""
    codes, y = rare_codes(rare)
    found = probe_scores(codes, y)
    held = np.random.default_rng(0).permutation(len(y))[len(y) // 2 :]
    best = area_score(y[held], codes[held, :1], np.array([1]))
    assert best.value == pytest.approx(0.7602, abs=0.02), "Phi(1/sqrt(2))"
    area, right = (max(scores[what].value for scores in found.values()) for what in ("auc", "balanced_accuracy"))
    assert area == pytest.approx(best.value, abs=0.02)
    assert right == pytest.approx(0.6915, abs=0.035), "Phi(1/2); an unweighted classifier of one in twenty gets 0.5"
    nats = found["logistic"]["nats"], found["logistic"]["nats_floor"]
    assert nats[0].value > nats[1].high, "what shuffled labels get is less"


def test_what_shuffled_labels_get_is_the_floor() -> None:
    codes, y = rare_codes(0.14, 2000)
    found = probe_scores(np.random.default_rng(3).normal(size=codes.shape), y)["logistic"]
    assert found["nats"].value == pytest.approx(found["nats_floor"].value, abs=0.005)
    assert found["auc"].low < 0.5 < found["auc"].high


def test_labels_and_codes_that_are_not_there_are_refused() -> None:
    codes, y = rare_codes(0.5, 200)
    holes = np.where(np.arange(200) == 3, np.nan, y)
    for read in (probe, probe_nats, strong_probe):
        with pytest.raises(UserError, match="labels are NaN or None for 1 of 200 samples"):
            read(codes, holes)
        with pytest.raises(UserError, match="codes contain NaN or infinity"):
            read(np.where(np.arange(8) == 1, np.inf, codes), y)
        with pytest.raises(UserError, match=r"expected \(n, d\) with a row for each of 199 labels"):
            read(codes, y[:-1])
    with pytest.raises(UserError, match="labels are NaN"):
        entropy(holes)
