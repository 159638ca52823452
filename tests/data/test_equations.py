"""Vectors from equations: what they are, and that an edit's truth changes what follows from its label and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

import labelspace as ls
from labelspace.errors import UserError


def test_a_treatment_lowers_the_pressure_by_fourteen_a_dose_and_leaves_the_weight_alone() -> None:
    data = ls.open("patients:n=400")
    rows = np.flatnonzero(data.values[:, 0] == 0)[:50]
    before = data.expected(rows)
    truths, styles = data.counterfactuals("treated", 1, rows)
    assert styles == ("0.5", "1", "1.5")
    for k, dose in enumerate((0.5, 1.0, 1.5)):
        change = truths[:, k] - before
        np.testing.assert_allclose(change[:, 0], -14 * dose, rtol=1e-5)  # pressure
        np.testing.assert_allclose(change[:, 2], 0.12 * dose, atol=1e-6)  # creatinine
        for column in (1, 3, 4, 6):  # platelets, weight, glucose, conductance
            np.testing.assert_array_equal(change[:, column], 0)


@pytest.mark.parametrize("address", ["patients:n=300", "cells:n=300", "swiss-roll:n=300", "swiss-roll:n=300,cut=x"])
def test_the_truth_of_an_own_value_in_its_own_style_is_what_is_expected(address: str) -> None:
    data = ls.open(address)
    rows = data.rows("test")
    for i, label in enumerate(data.schema):
        if label.discrete and not address.startswith("swiss"):  # heights and angles are rounded to levels there
            own = data.style(label.name, rows)
            for row, style in zip(rows, own, strict=True):
                truths, _ = data.counterfactuals(label.name, data.values[row, i], [row])
                np.testing.assert_array_equal(truths[0, style], data.expected([row])[0])
        elif not label.discrete:
            truths, _ = data.counterfactuals(label.name, float(data.values[rows[0], i]), rows[:1])
            np.testing.assert_allclose(truths[0, 0], data.expected(rows[:1])[0], rtol=1e-5)


def test_cells_have_the_depth_that_is_expected_whatever_their_type() -> None:
    data = ls.open("cells:n=2000")
    rows = np.arange(50)
    assert data.factors is not None
    depth = data.factors[rows, 2]
    for value in range(4):
        truths, _ = data.counterfactuals("type", value, rows)
        np.testing.assert_allclose(truths[:, 0].sum(1), depth, rtol=1e-4)
    totals = data.x.sum(1) / data.factors[:, 2]
    assert abs(totals.mean() - 1) < 0.05, "counts are around what is expected"


def test_missing_cells_are_as_many_as_asked_for_and_truths_have_none() -> None:
    data = ls.open("patients:n=2000,missing=0.3")
    assert np.isnan(data.x).mean() == pytest.approx(0.3, abs=0.02)
    assert not data.counterfactuals("site", 2, [0, 1])[0].isnan().any()
    assert not np.isnan(ls.open("patients:n=100,missing=0").x).any()


def test_the_other_side_of_the_sheet_has_the_same_angle() -> None:
    data = ls.open("swiss-roll:n=200")
    rows = np.flatnonzero(data.values[:, 0] == 0)[:10]
    truths, styles = data.counterfactuals("side", 1, rows)
    assert len(styles) > 20
    np.testing.assert_allclose(truths[:, :, 0], np.repeat(data.x[rows, 0][:, None], len(styles), 1), atol=1e-5)
    again = ls.open("swiss-roll:n=200,noise=0.5")
    assert np.abs(again.expected(rows).numpy() - again.x[rows]).mean() > 0.01, "measurements have noise, truths have none"


@pytest.mark.parametrize("address", ["faces:n=400,size=8,rare=true", "patients:n=1500", "cells:n=1500"])
def test_independent_samples_have_labels_that_do_not_go_together_and_are_never_rare(address: str) -> None:
    free = ls.open(address).independent(seed=1)
    names = free.schema.names
    for i, label in enumerate(free.schema):
        seen = free.observed[:, i]
        values = free.values[seen, i]
        if label.discrete:
            shares = np.bincount(values.astype(int), minlength=len(label.values)) / len(values)
            np.testing.assert_allclose(shares, 1 / len(label.values), atol=0.1)
        for j in range(i):
            pair = free.values[seen & free.observed[:, j]][:, [i, j]]
            if pair.std(0).all():  # hair has a colour only where there is hair
                assert abs(np.corrcoef(pair.T)[0, 1]) < 0.2, (names[i], names[j])


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("patients:n=3", "n >= 30"),
        ("patients:missing=1", "missing"),
        ("cells:n=5", "n >= 100"),
        ("album:n=2", "n >= 10"),
    ],
)
def test_what_cannot_be_is_refused(address: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        ls.open(address)


def test_data_without_factors_have_no_truth() -> None:
    data = ls.open("digits")
    for ask in (data.independent, lambda: data.expected([0]), lambda: data.style("digit", [0])):
        with pytest.raises(UserError, match="no known truth"):
            ask()


def test_an_album_is_a_folder_of_pictures_of_all_kinds_with_a_number_among_its_labels() -> None:
    from PIL import Image

    from labelspace.storage import cache

    data = ls.open("album:n=60,size=16", seed=3)
    assert data.shape == (3, 16, 16)
    assert [label.kind for label in data.schema] == ["binary", "binary", "binary", "continuous"]
    home = next(cache.directory().glob("album-*-60-3"))
    kinds = []
    for file in home.iterdir():
        if file.suffix != ".csv":
            with Image.open(file) as picture:
                kinds.append((picture.size, picture.mode, picture.format))
    assert len(kinds) == len(data) == 60
    assert [len(set(part)) > least for part, least in zip(zip(*kinds, strict=True), (30, 2, 2), strict=True)] == [True] * 3
