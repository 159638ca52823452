"""The side-effect matrix and the identity cost of edits that are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from labelspace.errors import UserError
from labelspace.evaluation.manipulation import Edited, changed_region, identity_cost, side_effect_matrix
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.metrics.scores import mean

SCHEMA = Schema([binary("a"), categorical("c", "xyz"), continuous("v", 10, 2), binary("b")])


def raw(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, SCHEMA.parameters, generator=torch.Generator().manual_seed(seed))


def test_an_edit_that_changes_one_label_has_one_column() -> None:
    before = raw(50)
    after = before.clone()
    after[:, 0] = -after[:, 0]
    direction = torch.where(before[:, 0] > 0, -1.0, 1.0)
    row = side_effect_matrix(SCHEMA, {"a": Edited(before, after, direction)})["a"]
    size = 2 * before[:, 0].abs().mean().item()
    assert row["a"]["signed"].value == pytest.approx(size)
    assert row["a"]["absolute"].value == pytest.approx(size)
    assert row["a"]["flipped"].value == 1
    for other in ("c", "v", "b"):
        assert {score.value for score in row[other].values()} == {0}
    assert set(row["v"]) == {"signed", "absolute"}, "a number has no verdict"
    undirected = side_effect_matrix(SCHEMA, {"a": Edited(before, after)})["a"]["a"]
    assert undirected["signed"].value == pytest.approx(-2 * before[:, 0].mean().item(), abs=1e-6)


def test_side_effects_are_those_of_a_loop() -> None:
    before, after = raw(40), raw(40, 1)
    row = side_effect_matrix(SCHEMA, {"v": Edited(before, after)})["v"]
    changes, flips = [], []
    for old, new in zip(before.double(), after.double(), strict=True):
        p, q = old[1:4].softmax(0), new[1:4].softmax(0)
        k = int(p.argmax())
        changes.append(float(torch.logit(q[k]) - torch.logit(p[k])))
        flips.append(k != int(q.argmax()))
    assert row["c"]["signed"].value == pytest.approx(np.mean(changes))
    assert row["c"]["absolute"].value == pytest.approx(np.mean(np.abs(changes)))
    assert row["c"]["flipped"].value == pytest.approx(np.mean(flips))
    assert row["v"]["signed"].value == pytest.approx((after - before)[:, 4].mean().item(), abs=1e-6)
    assert row["b"]["absolute"].value == pytest.approx((after - before)[:, 6].abs().mean().item(), abs=1e-6)
    # The same resampled samples for all columns, and the same interval as any other mean.
    assert row["b"]["absolute"].to_dict() == pytest.approx(mean((after - before)[:, 6].double().abs().numpy()).to_dict())


def test_the_matrix_has_a_row_for_each_edit() -> None:
    found = side_effect_matrix(SCHEMA, {"a": Edited(raw(5), raw(5)), "b": Edited(raw(9), raw(9, 1))})
    assert list(found) == ["a", "b"]
    assert all(list(row) == list(SCHEMA.names) for row in found.values())
    assert found["b"]["a"]["signed"].n == 9


def test_the_region_is_where_any_style_differs() -> None:
    original = torch.zeros(2, 3, 8, 8)
    truths = original[:, None].repeat(1, 2, 1, 1, 1)
    truths[0, 0, 1, 2, 2] = 0.5
    truths[0, 1, 2, 6, 6] = -0.5
    truths[1, 0, 0, 0, 0] = 0.01
    region = changed_region(original, truths, dilation=0)
    assert region.nonzero().tolist() == [[0, 2, 2], [0, 6, 6]]
    assert changed_region(original, truths, threshold=0.005, dilation=0)[1].sum() == 1
    grown = changed_region(original, truths, dilation=1)
    assert grown[0].sum() == 18
    assert grown[0, 1:4, 1:4].all()
    vectors = changed_region(torch.zeros(1, 4), torch.tensor([[[0.0, 1.0, 0, 0], [0, 0, 1, 0]]]))
    assert vectors.tolist() == [[False, True, True, False]]


def test_identity_cost_is_counted_outside_the_region_only() -> None:
    generator = torch.Generator().manual_seed(0)
    original = torch.rand(6, 3, 8, 8, generator=generator)
    region = torch.zeros(6, 8, 8, dtype=torch.bool)
    region[:, :2] = True
    edited = original.clone()
    edited[:, :, :2] += 5
    assert identity_cost(original, edited, region).value == 0
    edited[:, :, 2:] += 0.5
    assert identity_cost(original, edited, region).value == pytest.approx(0.25)
    region[0] = True
    found = identity_cost(original, edited, region)
    assert found.n == 5, "a sample that is all region has no outside"
    assert found.value == pytest.approx(0.25)
    assert identity_cost(torch.zeros(2, 2), torch.ones(2, 2) * 3, torch.tensor([[True, False]] * 2)).value == 9


def test_a_true_edit_costs_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    original = torch.rand(6, 1, 8, 8, generator=generator)
    truths = original[:, None].repeat(1, 3, 1, 1, 1)
    truths[..., 2:5, 2:5] = torch.rand(6, 3, 1, 3, 3, generator=generator)
    for style in range(3):
        assert identity_cost(original, truths[:, style], changed_region(original, truths)).value < 0.02**2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: side_effect_matrix(SCHEMA, {"q": Edited(raw(5), raw(5))}), "unknown label"),
        (lambda: side_effect_matrix(SCHEMA, {"a": Edited(raw(5), raw(6))}), "edit of 'a' have shapes"),
        (lambda: side_effect_matrix(SCHEMA, {"a": Edited(raw(5)[:, :3], raw(5)[:, :3])}), r"\(n, 7\) before and after"),
        (lambda: side_effect_matrix(SCHEMA, {"a": Edited(raw(5), raw(5), torch.ones(4))}), r"a direction \(n,\)"),
        (lambda: changed_region(torch.zeros(2, 3), torch.zeros(2, 3)), "styles"),
        (lambda: identity_cost(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)), "cover every sample"),
        (lambda: identity_cost(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)), "without channels"),
    ],
)
def test_faults_are_told_in_one_line(call: Callable[[], object], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
