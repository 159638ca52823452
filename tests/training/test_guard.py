"""Training that does not die: odd steps are skipped or undone, rates back off, and the run goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import labelspace as ls
from labelspace.data.dataset import Dataset
from labelspace.errors import DivergedError
from labelspace.models.networks import Network
from labelspace.training.guard import Guard, Range, Record
from labelspace.training.progress import Callback

SMALL = Network(width=8, depth=1)
STEPS = 4  # an epoch


@pytest.fixture(scope="module")
def data() -> Dataset:
    found = ls.open("swiss-roll:n=80")
    assert len(found.rows("train")) // 16 == STEPS
    return found


def new(data: Dataset, name: str = "vae") -> Any:
    torch.manual_seed(0)
    return ls.build(name, data, network=SMALL)


def spoil(model: Any, factor: Callable[[int], float]) -> Any:
    """From then on the reconstruction of the i-th training batch is multiplied by ``factor(i)``."""
    losses, count = model.losses, 0

    def spoiled(batch, generator):
        nonlocal count
        found = losses(batch, generator)
        if not model.training:
            return found
        objective, i = found.objectives["model"], count
        count += 1

        def times() -> dict:
            terms = objective()
            return {**terms, "reconstruction": terms["reconstruction"] * factor(i)}

        found.objectives["model"] = times
        return found

    model.losses = spoiled
    return model


class Heard(Callback):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.rows: list[dict] = []

    def note(self, text: str) -> None:
        self.said.append(text)

    def epoch(self, row: dict) -> None:
        self.rows.append(row)


def train(model: Any, data: Dataset, epochs: int = 12, **more) -> Heard:
    heard = Heard()
    ls.fit(model, data, epochs=epochs, batch_size=16, warmup=2, callbacks=[heard], **more)
    return heard


def weights(model: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# -- the range --------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0.1, 10.0), min_size=30, max_size=80), st.floats(-9, 9))
def test_what_is_far_does_not_depend_on_the_scale(norms: list[float], power: float) -> None:
    known, scaled = Range(), Range()
    for norm in norms:
        known.take(norm)
        scaled.take(norm * 10**power)
    for norm in (1.0, 30.0, 1e3, 1e6):
        assert known.far(norm) == scaled.far(norm * 10**power)
    assert known.far(1e9)
    assert not known.far(1e-9)


def test_nothing_is_far_before_the_range_is_known() -> None:
    known = Range()
    for _ in range(5):
        known.take(1.0)
    assert not known.far(1e30)


def test_a_record_is_plain_data(data: Dataset) -> None:
    guard = Guard(new(data), {})
    for norm in (1.0, 2.0, math.pi):
        guard.judge("model", True, norm)
    assert Record.of(guard.record.plain()) == guard.record


# -- runs -------------------------------------------------------------------------------------------------------------


def test_a_batch_that_is_not_finite_is_undone_and_the_run_goes_on(data: Dataset) -> None:
    model = spoil(new(data), lambda i: math.nan if i == 30 else 1.0)
    heard = train(model, data)
    assert bool(torch.isfinite(weights(model)).all())
    assert len(heard.rows) == 12
    (said,) = heard.said
    assert "term 'reconstruction' became NaN or infinite in epoch 8, step 3" in said
    assert "goes back" in said
    assert "undone" not in heard.rows[6]
    assert heard.rows[-1]["undone"] == 3  # since epoch 7, whose end was kept
    assert 0.5 < heard.rows[7]["pace"] < heard.rows[-1]["pace"] < 1


def test_a_jump_is_skipped(data: Dataset) -> None:
    jump = train(spoil(new(data), lambda i: 1e4 if i == 30 else 1.0), data)
    (said,) = jump.said
    assert "gradient of player 'model' was" in said
    assert "left out" in said
    assert (jump.rows[-1]["skipped"], jump.rows[-1]["undone"]) == (1, 0)
    calm = train(new(data), data)
    assert jump.rows[-1]["score"] == pytest.approx(calm.rows[-1]["score"], rel=0.1)


def test_a_jump_that_stays_becomes_the_new_level(data: Dataset) -> None:
    heard = train(spoil(new(data), lambda i: 1e4 if i >= 30 else 1.0), data, epochs=20)
    assert len(heard.rows) == 20
    assert heard.rows[-1]["skipped"] + heard.rows[-1]["undone"] < 20
    assert heard.rows[-1]["train"]["reconstruction"] < heard.rows[10]["train"]["reconstruction"], "it still learns"


def test_what_no_going_back_helps_against_ends_the_run_with_what_was_first(data: Dataset, tmp_path: Path) -> None:
    model = spoil(new(data), lambda i: math.inf if i >= 9 else 1.0)
    with pytest.raises(
        DivergedError, match=r"term 'reconstruction' became .* in epoch 3, step 2; so it did 4 times more"
    ) as error:
        train(model, data, out=tmp_path / "run")
    assert "learning_rate" in str(error.value)
    assert f"last good checkpoint is {tmp_path / 'run'}" in str(error.value)
    assert bool(torch.isfinite(weights(ls.load(tmp_path / "run"))).all())


def test_a_run_of_which_no_step_could_be_taken_fails(data: Dataset) -> None:
    with pytest.raises(DivergedError, match="term 'reconstruction'"):
        train(spoil(new(data), lambda i: math.nan), data, epochs=1)


@pytest.mark.parametrize("name", ["vae", "lsvae"])
@pytest.mark.parametrize("bad", [1e4, math.nan])
def test_a_run_cut_inside_a_stretch_with_lower_rates_ends_with_the_same_bits(
    name: str, bad: float, data: Dataset, tmp_path: Path
) -> None:
    cut = 31  # the third step of an epoch

    def factor(i: int) -> float:
        return bad if i in (29, 30, 33) else 1.0

    def interrupted(i: int) -> float:
        if i == cut:
            raise KeyboardInterrupt
        return factor(i)

    whole = new(data, name)
    heard = train(spoil(whole, factor), data, out=tmp_path / "whole")
    assert heard.rows[-1]["skipped"] + heard.rows[-1]["undone"] > 1
    with pytest.raises(KeyboardInterrupt):
        train(spoil(new(data, name), interrupted), data, out=tmp_path / "cut", checkpoint_minutes=0.0)
    again = new(data, name)
    train(spoil(again, lambda i: factor(i + cut)), data, out=tmp_path / "cut", resume=True, checkpoint_minutes=0.0)
    for key, tensor in whole.state_dict().items():
        assert torch.equal(tensor.nan_to_num(), again.state_dict()[key].nan_to_num()), key
    assert bool(torch.isfinite(weights(again)).all())
