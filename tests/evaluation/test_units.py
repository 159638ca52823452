"""Errors to the truth of samples that are measured with noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import labelspace as ls
from labelspace.evaluation.units import errors_to_truths


@pytest.mark.parametrize("address", ["patients:n=300,missing=0.2", "cells:n=300", "swiss-roll:n=300"])
def test_nothing_the_truth_and_the_mean_of_the_truth(address: str) -> None:
    data = ls.open(address)
    rows, label = data.rows("test"), data.schema.labels[0]
    wanted = 1 - data.values[rows, 0]
    x, expected = data.samples(rows), data.expected(rows)
    truths = torch.stack([data.counterfactuals(label.name, float(v), rows[[i]])[0][0, 0] for i, v in enumerate(wanted)])
    nothing, done, meant = errors_to_truths(data, rows, label.name, wanted, [x], [truths]).sum(1)
    assert nothing > 0
    assert done == pytest.approx(nothing, rel=1e-4), "samples as they are have not been edited, whatever their noise"
    assert meant == pytest.approx(0, abs=1e-6)
    if "patients" in address:  # numbers have noise that is added: the true change keeps it
        numbers = [i for i, variable in enumerate(data.variables) if variable.kind == "continuous"]
        changed = x.clone()
        changed[:, numbers] += (truths - expected)[:, numbers]
        left = errors_to_truths(data, rows, label.name, wanted, [changed]).sum(1)
        assert left[1] < 0.5 * left[0]


def test_what_an_edit_puts_into_missing_cells_does_not_count() -> None:
    data = ls.open("patients:n=300,missing=0.3")
    rows = data.rows("test")
    x, wanted = data.samples(rows), 1 - data.values[rows, 0]
    filled = torch.where(x.isnan(), 1e3, x)
    plain, other = errors_to_truths(data, rows, "treated", wanted, [x, filled])[1:]
    assert np.array_equal(plain, other)
