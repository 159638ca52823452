"""Errors to the truth of samples that are measured with noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import labelspace as ls
from labelspace.evaluation.units import Truths


@pytest.mark.parametrize("address", ["patients:n=300,missing=0.2", "cells:n=300", "swiss-roll:n=300"])
def test_nothing_the_truth_and_the_mean_of_the_truth(address: str) -> None:
    data = ls.open(address)
    rows, label = data.rows("test"), data.schema.labels[0]
    wanted = 1 - data.values[rows, 0]
    x, expected = data.samples(rows), data.expected(rows)
    true = torch.stack([data.counterfactuals(label.name, float(v), rows[[i]])[0][0, 0] for i, v in enumerate(wanted)])
    truths = Truths(data, rows, label.name, wanted)
    nothing, done, meant = truths.of_nothing().sum(), truths.of_edits(x).sum(), truths.of_means(true).sum()
    assert nothing > 0
    assert done == pytest.approx(nothing, rel=1e-4), "samples as they are have not been edited, whatever their noise"
    assert meant == pytest.approx(0, abs=1e-6)
    if "patients" in address:  # numbers have noise that is added: the true change keeps it
        numbers = [i for i, variable in enumerate(data.variables) if variable.kind == "continuous"]
        changed = x.clone()
        changed[:, numbers] += (true - expected)[:, numbers]
        assert truths.of_edits(changed).sum() < 0.5 * nothing


def test_what_an_edit_puts_into_missing_cells_does_not_count() -> None:
    data = ls.open("patients:n=300,missing=0.3")
    rows = data.rows("test")
    x, wanted = data.samples(rows), 1 - data.values[rows, 0]
    filled = torch.where(x.isnan(), 1e3, x)
    truths = Truths(data, rows, "treated", wanted)
    assert np.array_equal(truths.of_edits(x), truths.of_edits(filled))
