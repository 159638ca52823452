"""Ways of setting a label: what a model is offered, what they do, and which is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import labelspace as ls
from labelspace.data.dataset import Dataset
from labelspace.evaluation import judge as judges
from labelspace.evaluation import operators
from labelspace.evaluation.operators import REACHES, STYLES, Operator, Worth, best, offered
from labelspace.models.base import Model


@pytest.fixture(scope="module")
def data() -> Dataset:
    return ls.open("swiss-roll:n=400")


def built(name: str, data: Dataset) -> Model:
    torch.manual_seed(0)
    return ls.build(name, data).eval()


def test_every_model_is_offered_what_its_blocks_allow(data: Dataset) -> None:
    names = {name: [op.name for op in offered(built(name, data), "side")] for name in ("csvae", "condvae", "vae")}
    assert names["vae"] == names["condvae"] == ["typical point", *(f"typical point, {r:g} times as far" for r in REACHES)]
    assert names["csvae"] == [*names["vae"], *(f"drawn point {k + 1}" for k in range(STYLES))]
    kept = offered(built("vae", data), "side", keep=(False, True))
    assert [op.name for op in kept][-1] == f"typical point, {REACHES[-1]:g} times as far, detail kept"


def test_the_plain_operator_is_the_intervention_and_reach_goes_further(data: Dataset) -> None:
    model, rows = built("condvae", data), data.rows("test")[:20]
    wanted = 1 - data.values[rows, 0]
    plain = Operator().apply(model, data, rows, "side", wanted)
    for value in (0, 1):
        mine = wanted == value
        done = ls.interventions.set(model, data.samples(rows[mine]), {"side": value}, data.labels(rows[mine]))
        assert torch.equal(plain[torch.from_numpy(mine)], done.x)
    far = Operator(reach=2.0).apply(model, data, rows, "side", wanted)
    x, labels = data.samples(rows[:1]), data.labels(rows[:1])
    value = float(2 * wanted[0] - (1 - wanted[0]))  # beside it in the block is whether the label is missing
    moved = ls.interventions.move(model, x, {"y.side": [value, 0.0]}, labels)
    assert torch.allclose(far[0], moved.x[0], atol=1e-5), "the value itself, twice as far from the sample's own"


def test_a_drawn_point_is_the_same_for_all_samples(data: Dataset) -> None:
    model, rows = built("csvae", data), data.rows("test")[:8]
    seen: list[torch.Tensor] = []
    before = operators.interventions.move
    with pytest.MonkeyPatch.context() as patch:

        def move(model: Model, x: Any, points: Any, *args: Any, **given: Any) -> Any:
            seen.append(points["w.side"])
            return before(model, x, points, *args, **given)

        patch.setattr(operators.interventions, "move", move)
        first = Operator(style=1).apply(model, data, rows, "side", np.ones(8))
        assert torch.equal(first, Operator(style=1).apply(model, data, rows, "side", np.ones(8)))
        Operator(style=2).apply(model, data, rows, "side", np.ones(8))
    assert seen[0].shape == (2,)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_the_best_is_chosen_by_what_edits_are_worth(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    model, reader, rows = built("csvae", data), judges.Judge(data.shape, data.schema).eval(), data.rows("val")
    wanted = 1 - data.values[rows, 0]
    truths = torch.empty_like(data.samples(rows))
    for value in (0, 1):
        mine = wanted == value
        truths[torch.from_numpy(mine)] = data.counterfactuals("side", value, rows[mine])[0][:, 0]
    worth = Worth(data, reader, rows, "side", wanted)
    right, nothing = worth(truths), worth(data.samples(rows))
    assert right > nothing + 0.5, "the truth has no error"

    def apply(self: Operator, *_: Any) -> torch.Tensor:
        return truths if (self.style, self.keep_detail) == (2, True) else truths + (0.1 if self.style == 2 else 1.0)

    monkeypatch.setattr(Operator, "apply", apply)
    assert best(model, data, reader, rows, "side", wanted, keep=(False, True)) == Operator(style=2, keep_detail=True)
    assert best(model, data, reader, rows, "side", wanted) == Operator(style=2)
