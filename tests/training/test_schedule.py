"""Learning rates over time, and when training is over."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import labelspace as ls
from labelspace.errors import UserError
from labelspace.models.networks import Network
from labelspace.training.options import Options
from labelspace.training.progress import Callback
from labelspace.training.schedule import Schedule, settled, worsened


def falling(n: int, step: int, noise: float, seed: int = 0, scale: float = 1.0, rate: float = 300.0) -> list[tuple[int, float]]:
    """Scores that fall exponentially."""
    rng = np.random.default_rng(seed)
    return [(i * step, scale * (math.exp(-i * step / rate) + noise * rng.normal())) for i in range(1, n + 1)]


@given(st.integers(0, 1000), st.floats(-6, 6), st.sampled_from([0.0, 0.01, 0.1]))
def test_a_verdict_does_not_depend_on_the_scale_or_offset(seed: int, power: float, noise: float) -> None:
    scores = falling(40, 50, noise, seed)
    moved = [(step, 10**power * score) for step, score in scores]
    assert settled(scores) == settled(moved)


def test_what_still_falls_is_not_settled_and_what_is_flat_is() -> None:
    for step in (5, 50, 500):  # samples few and many: epochs of so many steps
        ends = []
        for n in range(1, 4000 // step + 60):
            if settled(falling(n, step, 0.002)):
                ends.append(n * step)
                break
        (end,) = ends
        assert math.exp(-end / 300) < 0.05, "almost all is gained"
        assert end < 16_000
    assert settled([(100 * i, 1.0) for i in range(12)])
    assert not settled([(100 * i, 100.0 - i) for i in range(100)])


def test_few_validations_or_steps_are_no_ground() -> None:
    assert not settled([(1000 * i, 1.0) for i in range(4)])
    assert not settled([(10 * i, 1.0) for i in range(20)])


def test_a_steady_gain_is_no_noise_however_few_validations() -> None:
    for n in range(8, 15):
        assert not settled([(1000 * i, -float(i)) for i in range(n)])
        assert settled([(1000 * i, -1.0 if i else 0.0) for i in range(n)])


def test_a_gain_that_noise_hides_is_waited_for_and_noise_alone_is_not() -> None:
    early = []
    for seed in range(40):
        noise = np.random.default_rng(seed).normal(size=100)
        slow = [(1000 * i, -0.02 * i + 0.05 * float(jump)) for i, jump in enumerate(noise)]  # a quarter gains less than a jump
        early.append(any(settled(slow[:n]) for n in range(5, 60)))
        flat = [(1000 * i, float(jump)) for i, jump in enumerate(noise)]
        assert any(settled(flat[:n]) for n in range(5, 80))
    assert np.mean(early) < 0.15


def test_a_score_that_becomes_worse_ends_training_whatever_reconstructions_do() -> None:
    schedule, plain = Schedule(Options(epochs=0), 100), Schedule(Options(epochs=0), 100)
    for i in range(60):
        score = -min(i, 20) + 0.2 * max(0, i - 20)  # codes cost more than what they save from here
        schedule.epoch_ended(100 * (i + 1), (score, -float(i)), 1.0)
        plain.epoch_ended(100 * (i + 1), (-min(i, 20), -float(i)), 1.0)
    assert schedule.settled
    assert schedule.closing is not None
    assert schedule.closing[0] < 4000
    assert not plain.settled, "it stands still, and reconstructions get better"


@pytest.mark.parametrize("rise", [0.0, 0.01])
def test_noise_and_what_is_too_little_are_no_worsening(rise: float) -> None:
    for seed in range(40):
        noise = np.random.default_rng(seed).normal(size=80)
        scores = [(0, 0.0), *((1000 * i, -50 + rise * i + 0.5 * float(jump)) for i, jump in enumerate(noise, 1))]
        assert not any(worsened(scores[:n]) for n in range(8, 80))


def test_gains_are_measured_from_the_first_score_of_all() -> None:
    slow = [(100 * i, 100.0 - i) for i in range(30)]
    assert not settled(slow)
    assert settled([(-100, 10_000.0), *slow]), "a hundredth of what came before it"


def test_a_score_that_stands_still_while_reconstructions_improve_has_not_settled() -> None:
    schedule = Schedule(Options(epochs=0), steps=100)
    for epoch in range(30):
        schedule.epoch_ended(100 * epoch, [1.0, -float(epoch)], seconds=1.0)
    assert schedule.closing is None
    for epoch in range(30, 90):
        schedule.epoch_ended(100 * epoch, [1.0, -30.0], seconds=1.0)
    assert schedule.settled


def test_epochs_without_a_finite_score_do_not_end_training() -> None:
    schedule = Schedule(Options(epochs=0), steps=500)
    for epoch in range(1, 8):
        schedule.epoch_ended(500 * epoch, None, seconds=1.0)
    assert schedule.closing is None
    assert not schedule.settled


def test_rates_rise_stay_and_fall() -> None:
    schedule = Schedule(Options(epochs=0, warmup=10, floor=0.1), steps=20)
    assert schedule.pace(0) == 0.1
    assert schedule.pace(10_000) == 1.0
    for epoch in range(1, 100):
        schedule.epoch_ended(20 * epoch, [1.0], seconds=1.0)
        if schedule.closing:
            break
    assert schedule.settled
    assert schedule.closing is not None
    first, over = schedule.closing
    assert over == first // 2
    assert schedule.scores[0][0] == 20
    assert schedule.pace(20) == 1.0
    assert schedule.pace(80) == pytest.approx(0.5), "with the root of time"
    assert schedule.pace(first) == pytest.approx(math.sqrt(20 / first))
    middle, last = first + over // 2, first + over
    assert schedule.pace(middle) == pytest.approx(0.55 * math.sqrt(20 / middle), rel=0.02)
    assert schedule.pace(last) == pytest.approx(0.1 * math.sqrt(20 / last))
    assert not schedule.over(first + over - 1)
    assert schedule.over(first + over)
    again = Schedule(Options(epochs=0, warmup=10, floor=0.1), steps=20)
    again.restore(schedule.plain())
    assert again == schedule


def test_budgets_end_training_in_time() -> None:
    by_steps = Schedule(Options(epochs=0, steps=600), steps=20)
    by_minutes = Schedule(Options(epochs=0, minutes=1.0), steps=20)
    for schedule in (by_steps, by_minutes):
        epoch = 0
        while not schedule.over(20 * epoch):
            epoch += 1
            schedule.epoch_ended(20 * epoch, [-float(epoch**2)], seconds=2.0)
        assert 26 <= epoch <= 31
        assert not schedule.settled
        assert schedule.pace(20 * epoch) < 0.1


def test_a_number_of_passes_is_kept_and_a_smaller_budget_shortens_it() -> None:
    schedule, options = Schedule(Options(epochs=10), steps=20), Options(epochs=10)
    assert [schedule.pace(step) for step in range(200)] == [options.pace(step, 200) for step in range(200)]
    assert schedule.over(200)
    assert not schedule.over(180)
    short = Schedule(Options(epochs=10, steps=100), steps=20)
    done = next(epoch for epoch in range(1, 11) if short.epoch_ended(20 * epoch, [0.0], 1.0) or short.over(20 * epoch))
    assert done == 5
    paces = [short.pace(step) for step in range(100)]
    assert paces[40:] == sorted(paces[40:], reverse=True), "rates that have begun to fall do not rise again"
    assert paces[-1] < 0.1


@pytest.mark.parametrize("options", [{"epochs": -1}, {"steps": -1}, {"minutes": -0.5}])
def test_negative_budgets_are_refused(options: dict) -> None:
    with pytest.raises(UserError, match="at least 0"):
        Options(**options)


class Heard(Callback):
    def __init__(self, stop_after: int = 0) -> None:
        self.rows: list[dict] = []
        self.expected: list[int] = []
        self.stop_after = stop_after

    def epoch(self, row: dict) -> None:
        self.rows.append(row)
        if len(self.rows) == self.stop_after:
            raise KeyboardInterrupt

    def expect(self, epochs: int) -> None:
        self.expected.append(epochs)


def new():
    torch.manual_seed(0)
    data = ls.open("swiss-roll:n=500")
    return ls.build("vae", data, network=Network(width=16, depth=1)), data


def test_training_without_a_number_of_passes_ends_by_itself_and_resumes_to_the_same_bits(tmp_path: Path) -> None:
    options = Options(epochs=0, batch_size=32, learning_rate=1e-2, warmup=10)
    model, data = new()
    heard = Heard()
    fitted = ls.fit(model, data, options, out=tmp_path / "whole", callbacks=[heard])
    assert "nothing being gained any more" in fitted.reason
    epochs = len(heard.rows)
    assert 40 < epochs < 400
    assert heard.expected[-1] == epochs
    assert heard.expected == sorted(heard.expected)
    assert heard.rows[-1]["score"] <= min(row["score"] for row in heard.rows) + 0.2
    cut, _ = new()
    with pytest.raises(KeyboardInterrupt):
        ls.fit(cut, data, options, out=tmp_path / "cut", callbacks=[Heard(epochs - 5)])
    again, _ = new()
    ls.fit(again, data, options, out=tmp_path / "cut", resume=True)
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor.nan_to_num(), again.state_dict()[key].nan_to_num()), key
