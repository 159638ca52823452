"""Measurements of speed: that they measure what they say."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from labelspace.speed import calls, floor, loops, peers, table, timing
from labelspace.speed.training import TRAINING, Recipes, Training, all_of
from labelspace.training.fit import fit
from labelspace.training.options import Options
from labelspace.training.progress import Callback


def shortened(key: str) -> Training:
    return next(each for each in TRAINING if each.key == key).shortened(1000)


def test_contestants_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    clock = itertools.count(1)

    def contestant(name: str):
        def run() -> float:
            order.append(name)
            return float(next(clock))

        return run

    rates = timing.interleaved({name: contestant(name) for name in "abc"}, 2)
    assert "".join(order) == "cbaabccba"
    assert rates == {"a": [4.0, 9.0], "b": [5.0, 8.0], "c": [6.0, 7.0]}
    ratios = timing.against(rates, "a")
    assert ratios["b"].minimum == pytest.approx(8 / 9)
    assert ratios["b"].maximum == pytest.approx(5 / 4)
    assert ratios["c"].median == pytest.approx((6 / 4 + 7 / 9) / 2)


def test_operations_of_a_layer_are_counted_forward_and_backward() -> None:
    layer, x = nn.Linear(10, 20), torch.randn(4, 10)
    # two products: the output, and the gradient of the weight (none of the input)
    assert floor.operations(lambda: layer(x).sum().backward()) == 2 * (2 * 4 * 10 * 20)


def test_the_machine_multiplies_at_a_plausible_rate() -> None:
    assert 1e8 < floor.multiply_rate(torch.float32, seconds=0.05) < 1e16


@pytest.mark.parametrize("key", ["a", "b", "c", "d"])
def test_hand_written_loops_train(key: str) -> None:
    workload = shortened(key)
    data = workload.dataset()
    x, y = all_of(data)[:32], torch.from_numpy(data.values)[:32]
    model = workload.new(data)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    step = loops.by_hand(model)
    losses = [float(step(x, y)) for _ in range(12)]
    assert losses[-1] < losses[0]
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())  # copies were trained


def test_the_hand_written_vae_has_the_loss_of_ours() -> None:
    """The same networks on the same batch: the same loss up to the noise of the codes."""
    workload = shortened("b")
    data = workload.dataset()
    from labelspace.data.batches import Batch

    x, y = all_of(data)[:64], torch.from_numpy(data.values)[:64]
    model = workload.new(data)
    ours = []
    for seed in range(20):
        losses = model.losses(Batch(x, y, torch.ones_like(y, dtype=torch.bool)), torch.Generator().manual_seed(seed))
        ours.append(float(losses.objective("model").detach()))
    by_hand = float(loops.by_hand(model)(x, y))
    assert by_hand == pytest.approx(sum(ours) / len(ours), rel=0.01)


def test_recipes_are_measured_beside_the_first_of_them() -> None:
    two = Recipes("z", "two tables", {f"{n} rows": ("vae", (5,), 2, n) for n in (300, 256)}, batch_size=64)
    found = two.measure(1, lambda text: None)
    first, other = found["contestants"].values()
    assert "ratio" in other
    assert "ratio" not in first
    (row, _) = table.rows({"workloads": {"z": found}, "multiply_rate": {"float32": 1e11}})
    assert row[1] == f"300 rows, default recipe, {found['calls']['300 rows']:,} calls a step"


def test_bytes_that_a_step_moves_are_those_of_its_tensors() -> None:
    x, y = torch.randn(10, 20), torch.randn(10, 20)
    assert calls.counted(lambda: torch.add(x, y)).bytes == 3 * 200 * 4
    seen = calls.counted(lambda: x.t())
    assert (seen.calls, seen.bytes) == (1, 0), "a view moves nothing"
    assert 1e7 < floor.copy_rate(seconds=0.05) < 1e14


@pytest.mark.slow
@pytest.mark.parametrize("key", ["a", "b"])
def test_the_step_in_jax_is_the_one_by_hand(key: str) -> None:
    pytest.importorskip("jax")
    from labelspace.speed import jitted

    workload = shortened(key)
    data = workload.dataset()
    x, y = all_of(data)[: workload.batch_size], torch.from_numpy(data.values[: workload.batch_size])
    model = workload.new(data)
    assert jitted.can(model)
    assert not jitted.can(shortened("cv").new(shortened("cv").dataset())), "convolutions"
    by_hand = loops.by_hand(model)
    step, state = jitted._step(model)
    for i in range(40):
        state, loss = step(state, x.flatten(1).numpy(), y.numpy(), i)
        assert float(loss) == pytest.approx(float(by_hand(x, y)), rel=0.1), "but for the noise of one draw"


@pytest.mark.slow
def test_a_workload_is_measured_with_all_its_contestants() -> None:
    found = replace(shortened("b"), compiles=False).measure(1, lambda text: None)
    names = set(found["contestants"])
    assert {"hand-written loop", "with DataLoader", "fit, 32-true", "fit, auto"} <= names
    assert ("pythae 0.1.2" in names) == peers.has_pythae()
    assert all(measured["rate"]["median"] > 0 for measured in found["contestants"].values())
    # 784-500-10 both ways, forward and backward but for the gradient of the pixels
    per_sample = 2 * (784 * 500 * 2 + 500 * 20 * 3 + 10 * 500 * 3 + 500 * 784 * 3)
    assert found["operations_per_sample"] == pytest.approx(per_sample, rel=0.01)
    rows = table.rows({"workloads": {"b": found}, "multiply_rate": {"float32": 1e11, "bfloat16": 1e11}})
    assert len(rows) == len(names)
    assert all(len(row) == len(table.HEADER) for row in rows)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # of PyTorch's own modules
def test_compiled_networks_train_to_the_same_loss_and_are_left_as_they_were() -> None:
    workload = shortened("b")
    data = workload.dataset()
    scores = []
    for compile in (False, True):
        model = workload.new(data)
        rows: list[dict] = []

        class Keep(Callback):
            def epoch(self, row: dict, rows: list[dict] = rows) -> None:
                rows.append(row)

        fit(model, data, Options(epochs=2, precision="32-true"), compile=compile, callbacks=[Keep()])
        scores.append([row["train"]["reconstruction"] for row in rows])
        assert all(module._compiled_call_impl is None for module in model.modules())
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)
