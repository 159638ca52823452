"""Rows of tables: what an edit leaves alone, rows that are drawn, and what lies outside of the data."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import labelspace as ls
from labelspace.errors import OutsideData, for_command
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.likelihoods import Table, build_likelihood
from labelspace.models.base import Model
from labelspace.models.networks import Network
from labelspace.models.parts import related

KINDS = {"visits": "count"}
iv = ls.interventions


def rows(n: int = 300, seed: int = 0) -> pd.DataFrame:
    """The label ``on`` moves size and visits; noise, steps and kind have nothing to do with it."""
    rng = np.random.default_rng(seed)
    on, age = rng.integers(0, 2, n), rng.uniform(20, 80, n).round(1)
    frame = pd.DataFrame(
        {
            "size": 3.0 * on + rng.normal(0, 1, n),
            "noise": rng.normal(0, 1, n),
            "steps": rng.integers(10, 30, n),
            "visits": rng.poisson(2 + 4 * on),
            "kind": rng.choice(["x", "y", "z"], n),
            "weight": 0.1 * age + rng.normal(0, 1, n),
            "on": on,
            "age": age,
        }
    )
    for name in ("size", "noise", "kind"):
        frame.loc[rng.random(n) < 0.1, name] = None
    return frame


@functools.cache
def fitted(name: str = "lsvae") -> tuple[pd.DataFrame, ls.Dataset, Model]:
    frame = rows()
    data = ls.Dataset.from_frame(frame, ["on", "age"], kinds=KINDS)
    torch.manual_seed(0)
    model = ls.build(name, data, network=Network(width=16, depth=1))
    return frame, data, ls.fit(model, data, epochs=3, progress=False).model


def is_possible(model: Model, x: torch.Tensor) -> None:
    """In the range of the training data, and whole where these are."""
    table = model.likelihood
    assert isinstance(table, Table)
    table.check(x)
    seen = ~x.isnan()
    assert bool(((x >= table.low) & (x <= table.high))[seen].all())
    assert bool((x == x.round())[seen & table.whole].all())


@given(st.integers(0, 10_000), st.floats(-2, 2))
@settings(deadline=None, max_examples=40)
def test_any_edit_of_any_table_makes_rows_that_could_be(seed: int, size: float) -> None:
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    kinds = rng.choice(["continuous", "count", "categorical:3"], rng.integers(1, 6))
    columns = [
        rng.integers(0, 3, 30)
        if kind == "categorical:3"
        else rng.poisson(3, 30)
        if kind == "count"
        else rng.choice([rng.normal(0, 10.0**size, 30), rng.integers(-5, 5, 30).astype(float)])
        for kind in kinds
    ]
    x = torch.tensor(np.stack(columns, 1), dtype=torch.float32)
    x[torch.rand(x.shape, generator=generator) < 0.2] = torch.nan
    table = build_likelihood(f"table({','.join(kinds)})", (len(kinds),), 1.0, False)
    table.measure(x)
    assert isinstance(table, Table)
    raws = [10.0**size * torch.randn(30, *table.output_shape, generator=generator) for _ in range(2)]
    raws[1][:5] = raws[0][:5]
    before, after = (table(raw) for raw in raws)
    made = table.counterfactual(x, before, after)
    assert torch.equal(made.isnan(), x.isnan())
    assert torch.equal(made[:5].nan_to_num(9), x[:5].nan_to_num(9)), "what does not change stays to the bit"
    for result in (made, table.new(after, generator=generator)):
        table.check(result)
        seen = ~result.isnan()
        assert bool(((result >= table.low) & (result <= table.high))[seen].all())
        assert bool((result == result.round())[seen & table.whole].all())


def test_a_column_of_numbers_keeps_what_is_its_own() -> None:
    table = build_likelihood("table(continuous,continuous)", (2,), 1.0, False)
    table.measure(torch.tensor([[0.0, 0.5], [10.0, 20.25], [5.0, 3.0]]))
    assert isinstance(table, Table)
    assert table.whole.tolist() == [True, False]
    x = torch.tensor([[3.0, 4.0], [9.0, 30.0]])
    before = table(torch.zeros(2, 2))
    after = table(torch.tensor([[0.5, 0.5], [1.0, 0.5]]))
    made = table.counterfactual(x, before, after)
    change = 0.5 * float(table.sd[1])
    assert float(made[0, 0]) == 3 + round(0.5 * float(table.sd[0]))
    assert float(made[0, 1]) == pytest.approx(4 + change)
    assert float(made[1, 0]) == 10, "no farther than training data reach"
    assert float(made[1, 1]) == 30, "what lies beyond them stays where it is"


def test_what_a_label_has_nothing_to_do_with_stays_and_what_has_the_value_stays() -> None:
    _, data, model = fitted()
    assert model.label_columns.tolist()[0] == [True, False, False, True, False, False]
    assert model.label_columns.tolist()[1] == [False, False, False, False, False, True]
    assert isinstance(model.likelihood, Table)
    x, labels = data.samples(np.arange(100)), data.labels(np.arange(100))
    done = iv.set(model, x, {"on": 1}, labels)
    assert done.record.options["keep_detail"] is True
    same = (done.x == x) | (done.x.isnan() & x.isnan())
    assert bool(same[:, [1, 2, 4, 5]].all())
    assert bool(same[labels[0][:, 0] == 1].all())
    assert not bool(same[labels[0][:, 0] == 0, 0].all())
    is_possible(model, done.x)
    plain = iv.set(model, x, {"on": 1}, labels, keep_detail=False).x
    assert not bool(plain.isnan().any())
    both = iv.set(model, x, {"age": 50}, after=done)
    assert both.about == {"on", "age"}
    assert bool(((both.x == x) | x.isnan())[:, [1, 2, 4]].all())
    drawn = iv.set(model, x, {"on": 1}, labels, point="draw", generator=torch.Generator().manual_seed(0)).x
    assert not torch.equal(drawn[labels[0][:, 0] == 1, 0].nan_to_num(), x[labels[0][:, 0] == 1, 0].nan_to_num())
    again = iv.set(model, x, {"on": 1}, after=done)
    assert torch.equal(again.x.nan_to_num(9), done.x.nan_to_num(9))
    told = [iv.set(model, x[:1], {"age": 50}, given_).told for given_ in (None, {"on": 1})]
    assert [known.tolist() for known in told if known is not None] == [[[False, True]], [[True, True]]], "predicted is not told"
    nothing = iv.move(model, x, {}, labels).x
    assert torch.equal(nothing.nan_to_num(9), x.nan_to_num(9))


def test_new_rows_are_drawn_with_their_labels() -> None:
    _, _, model = fitted()
    first, again, other = (iv.generate(model, {"on": 1}, 50, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, other.x)
    is_possible(model, first.x)
    assert first.record.target["on"] == [1] * 50
    assert len(set(first.record.target["age"])) > 40
    means = iv.generate(model, {"on": 1}, 50, mean=True, generator=torch.Generator().manual_seed(0))
    assert (first.record.options["mean"], means.record.options["mean"]) == (False, True)
    assert not torch.equal(means.x[:, 2], means.x[:, 2].round())
    frame = pd.DataFrame(first.to_frame())
    assert frame["steps"].dtype == frame["visits"].dtype == np.int64
    assert frame["size"].dtype == np.float64


def test_draws_beyond_the_range_are_put_back_without_a_heap_at_its_ends() -> None:
    table = build_likelihood("table(continuous,continuous)", (2,), 1.0, False)
    table.measure(torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.0]) + 1)
    drawn = table.new(table(torch.zeros(20_000, 2)), generator=torch.Generator().manual_seed(0))
    assert isinstance(table, Table)
    assert 0.05 < float((drawn[:, 0] < 1.1).float().mean()) < 0.15
    assert float(drawn[:, 0].unique().numel()) > 15_000
    assert drawn[:, 1].unique().tolist() == [1.0]


def test_values_outside_of_the_data_are_never_silent(capsys: pytest.CaptureFixture[str]) -> None:
    _, data, model = fitted()
    x, labels = data.samples([0]), data.labels([0])
    with pytest.warns(OutsideData, match=r"age=500.0 lies outside of the training data's 2.* to .*extrapolated"):
        iv.set(model, x, {"age": 500}, labels)
    with pytest.warns(OutsideData, match="age=-3"):
        iv.generate(model, {"age": -3}, 2)
    far = x.clone()
    far[0, 2] = 5000
    with pytest.warns(OutsideData, match=r"column 'steps' has values far outside of the training data's 10 to 29"):
        iv.set(model, far, {"on": 1}, labels)
    with for_command():
        for _ in range(2):
            iv.set(model, x, {"age": 500}, labels)
    assert capsys.readouterr().err.count("note: age=500.0 lies outside") == 1
    iv.set(model, x, {"age": 50}, labels)


def test_ranges_are_saved_and_runs_without_them_open(tmp_path: Path) -> None:
    from labelspace.storage import files, tensorfiles

    _, _, model = fitted()
    home = ls.save(model, tmp_path / "model")
    again = ls.load(home)
    assert torch.equal(again.likelihood.low, model.likelihood.low)  # type: ignore[arg-type]
    assert torch.equal(again.label_range, model.label_range)
    assert torch.equal(again.label_columns, model.label_columns)
    since = ("low", "high", "whole", "label_range", "label_columns")
    tensors, _ = tensorfiles.read(home / "model.safetensors")
    tensorfiles.write(
        home / "model.safetensors", {name: tensor for name, tensor in tensors.items() if name.split(".")[-1] not in since}
    )
    files.write_json(home / "config.json", files.read_json(home / "config.json") | {"format": 6})
    older = ls.load(home)
    assert bool(older.label_columns.all())
    assert older.likelihood.low.isinf().all()  # type: ignore[operator]
    iv.set(older, rows().iloc[:3], {"age": 500})  # nothing is known of ranges


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.iloc[:40].copy()
    frame["steps"] = frame["steps"].astype("Int64")
    frame["kind"] = frame["kind"].astype("category")
    frame["on"] = frame["on"].astype(bool)
    frame["who"] = [object() for _ in range(len(frame))]
    frame.index = [f"row {i}" for i in range(len(frame))]
    return frame


def test_frames_come_back_with_their_types_and_untouched_cells() -> None:
    frame, _, model = fitted()
    given_ = typed(frame)
    made = iv.set(model, given_, {"on": 1}).to_frame()
    assert isinstance(made, pd.DataFrame)
    assert made.dtypes.to_dict() == given_.dtypes.to_dict()
    assert list(made.index) == list(given_.index)
    assert bool(np.all(made["on"]))
    assert all(a is b for a, b in zip(made["who"], given_["who"], strict=True))
    for name in ("noise", "steps", "kind", "weight", "age"):
        pd.testing.assert_series_equal(made[name], given_[name])
    stay = given_["on"]
    pd.testing.assert_frame_equal(made[stay], given_[stay])
    assert not made["size"].equals(given_["size"])
    plain = iv.set(model, given_, {"on": 1}, keep_detail=False).to_frame()
    assert isinstance(plain, pd.DataFrame)
    assert plain["steps"].dtype == "Int64"
    walk = iv.traverse(model, given_.iloc[:2], "on", steps=3).to_frame()
    assert isinstance(walk, pd.DataFrame)
    assert list(walk.index) == ["row 0"] * 3 + ["row 1"] * 3
    other = given_.drop(columns=["who"])
    polars = pl.from_pandas(other)
    out = iv.set(model, polars, {"on": 0}).to_frame()
    assert isinstance(out, pl.DataFrame)
    assert out.schema == polars.schema
    arrow = pa.Table.from_pandas(other)
    out = iv.set(model, arrow, {"on": 0}).to_frame()
    assert isinstance(out, pa.Table)
    assert out.schema.types == arrow.schema.types


def test_a_label_is_related_to_what_it_tells_beside_the_others() -> None:
    rng = np.random.default_rng(0)
    n = 3000
    kind, level = rng.integers(0, 3, n), rng.normal(size=n)
    on = (rng.random(n) < 1 / (1 + np.exp(-level))).astype(float)  # goes with the number
    y = np.stack([on, level**2, (kind == 2) * 1.0, on * level, rng.normal(size=n)], 1) + 0.5 * rng.normal(size=(n, 5))
    y[rng.random(y.shape) < 0.1] = np.nan
    schema = Schema([binary("on"), categorical("kind", ["a", "b", "c"]), continuous("level")])
    values = torch.tensor(np.stack([on, kind, level], 1), dtype=torch.float32)
    observed = torch.ones_like(values, dtype=torch.bool)
    observed[::7, 1] = False
    found = related(torch.tensor(y), torch.arange(5), 5, schema, values, observed)
    assert found.int().tolist() == [[1, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 1, 0, 1, 0]]
    few = related(torch.tensor(y[:8]), torch.arange(5), 5, schema, values[:8], observed[:8])
    assert bool(few.all()), "too few rows to tell"
