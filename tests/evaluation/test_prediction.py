"""Predictions of every label of a schema, scored where they are known."""

from __future__ import annotations

import pytest
import torch

from labelspace.errors import UserError
from labelspace.evaluation import prediction
from labelspace.labels import Schema, binary, categorical, continuous


def test_every_label_of_a_distribution_is_scored_where_it_is_known() -> None:
    schema = Schema([binary("a"), categorical("c", "xyz"), continuous("v", 10.0, 2.0), binary("unseen")])
    n = 200
    generator = torch.Generator().manual_seed(0)
    distribution = schema.distribution(torch.randn(n, schema.parameters, generator=generator))
    values = distribution.sample(generator)
    observed = torch.rand(n, 4, generator=generator) < 0.7
    observed[:, 3] = False
    values = torch.where(observed, values, 0)
    found = prediction.labels(distribution, values, observed)
    assert set(found) == {"a", "c", "v"}
    assert found["c"]["accuracy"].n == int(observed[:, 1].sum())
    right = (distribution.mode() == values)[:, 1][observed[:, 1]]
    assert found["c"]["accuracy"].value == pytest.approx(right.float().mean().item())
    log_prob = distribution.log_prob(values)[:, 0][observed[:, 0]]
    assert found["a"]["log_loss"].value == pytest.approx(-log_prob.mean().item(), rel=1e-5)
    error = (distribution.mode() - values)[:, 2].abs()[observed[:, 2]]
    assert found["v"]["absolute_error"].value == pytest.approx(error.mean().item(), rel=1e-5)
    assert 0.8 < found["v"]["coverage_90"].value < 1


def test_values_of_other_labels_are_refused() -> None:
    distribution = Schema([binary("a")]).distribution(torch.zeros(3, 1))
    with pytest.raises(UserError, match=r"expected \(n, 1\)") as caught:
        prediction.labels(distribution, torch.zeros(3, 2), torch.ones(3, 2, dtype=torch.bool))
    assert "\n" not in str(caught.value)
