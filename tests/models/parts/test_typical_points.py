"""Where in its block a label has a value: what is chosen, and what it costs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import labelspace as ls
from labelspace.blocks import Block, Blocks, Latents
from labelspace.data.batches import Batch, Batches
from labelspace.distributions import DiagonalGaussian, Point
from labelspace.labels import Schema, binary
from labelspace.models.base import Model
from labelspace.models.parts import TypicalPoints, typical_points
from labelspace.models.parts.typical_points import ridge

N = 400


class Drawn(Model):
    """A sample is (z, the two coordinates of its block): codes are read off, and edits can be told."""

    def __init__(self, shape, schema, frequencies=None) -> None:
        super().__init__(shape, schema, frequencies, Blocks([Block("z", 1), Block("w.a", 2, "a")]), {}, scale=1.0)
        self.decoder = nn.Identity()

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents:
        return Latents(self.blocks, {"z": Point.at(x[:, :1]), "w.a": Point.at(x[:, 1:])})

    def label_distribution(self, x: Tensor):
        return self.schema.distribution(20 * (x[:, 1:2] - 0.5))  # on: the first coordinate of the block says so


def found(on: Tensor, z: Tensor | None = None, off: tuple[float, float] = (0.0, 0.0)) -> Callable[[Tensor], Tensor]:
    """Where samples of given free codes are put to be "on", of which data have the codes ``on (N, 2)`` beside ``z (N, 1)``."""
    schema = Schema([binary("a")])
    model = Drawn((3,), schema).eval()
    torch.manual_seed(0)
    z = torch.randn(N, 1) if z is None else z
    x = torch.cat([torch.cat([z, on], 1), torch.cat([torch.randn(N, 1), torch.tensor(off).expand(N, 2)], 1)])
    values = torch.cat([torch.ones(N, 1), torch.zeros(N, 1)])
    points = TypicalPoints(model.blocks, schema)
    assert points.put(model, Latents(model.blocks, {"z": z, "w.a": on}), "a", torch.ones(N)) is None  # nothing is known yet
    points.measure(model, lambda: [Batch(x, values, torch.ones_like(values, dtype=torch.bool))])

    def put(free: Tensor) -> Tensor:
        codes = Latents(model.blocks, {"z": free, "w.a": torch.zeros(len(free), 2)})
        done = points.put(model, codes, "a", torch.ones(len(free)))
        assert done is not None
        torch.testing.assert_close(done["z"], free)
        return done["w.a"]

    return put


def around(points: list[tuple[float, float]]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.tensor(points).repeat(N // len(points), 1) + 1e-3 * torch.randn(N, 2, generator=generator)


def test_of_points_that_are_read_as_the_value_it_is_the_one_that_changes_least() -> None:
    put = found(around([(1.0, 3.0), (1.0, 1.0), (1.0, 1.0), (1.0, 4.0)]))
    torch.testing.assert_close(put(torch.zeros(1, 1))[0], torch.tensor([1.0, 1.0]), atol=0.01, rtol=0)


def test_the_quarter_that_hardly_changes_samples_is_not_taken() -> None:
    put = found(around([(1.0, 0.1), *[(1.0, 1.0)] * 7]))
    torch.testing.assert_close(put(torch.zeros(1, 1))[0], torch.tensor([1.0, 1.0]), atol=0.01, rtol=0)


def test_a_point_that_changes_less_but_is_not_read_as_the_value_is_not_taken() -> None:
    put = found(around([(0.3, 0.1), (0.3, 0.1), (1.0, 1.0), (1.0, 4.0)]))
    torch.testing.assert_close(put(torch.zeros(1, 1))[0], torch.tensor([1.0, 1.0]), atol=0.01, rtol=0)


def test_where_the_free_code_tells_nothing_of_the_block_all_are_given_the_same() -> None:
    put = found(torch.cat([torch.ones(N, 1), torch.randn(N, 1, generator=torch.Generator().manual_seed(3))], 1))
    each = put(torch.linspace(-2, 2, 9)[:, None])
    torch.testing.assert_close(each, each[:1].expand_as(each))


def test_where_it_does_each_is_given_what_samples_like_it_have() -> None:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(N, 1, generator=generator)
    put = found(torch.cat([torch.ones(N, 1), z + 0.1 * torch.randn(N, 1, generator=generator)], 1), z)
    asked = torch.linspace(-1.5, 1.5, 7)[:, None]
    each = put(asked)
    torch.testing.assert_close(each[:, 0], torch.ones(7), atol=0.05, rtol=0)
    torch.testing.assert_close(each[:, 1:], asked, atol=0.5, rtol=0)
    assert float((each[:, 1:] - asked).abs().mean()) < 0.25


def test_an_empty_block_is_put_where_it_is() -> None:
    put = found(torch.tensor([2.0, -1.0]).expand(N, 2))
    torch.testing.assert_close(put(torch.randn(5, 1)), torch.tensor([2.0, -1.0]).expand(5, 2))


class Unsure(Drawn):
    """The posterior of the block has a width of its own along each coordinate."""

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents:
        widths = torch.tensor([2.0, 0.0]).expand(len(x), 2)
        return Latents(self.blocks, {"z": Point.at(x[:, :1]), "w.a": DiagonalGaussian(x[:, 1:], widths)})


@settings(max_examples=20)
@given(st.integers(0, 99), st.sampled_from([0.1, 0.3, 0.6, 2.0, 10.0]))
def test_codes_spread_about_their_middle_as_far_as_draws(seed: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    schema = Schema([binary("a")])
    model = Unsure((3,), schema).eval()
    on = torch.tensor([5.0, -1.0]) + spread * torch.randn(N, 2, generator=generator)
    x = torch.cat([torch.randn(2 * N, 1, generator=generator), torch.cat([on, torch.zeros(N, 2)])], 1)
    values = torch.cat([torch.ones(N, 1), torch.zeros(N, 1)])
    observed = torch.ones_like(values, dtype=torch.bool)
    codes = model.posterior(x, values, observed).map(lambda q: q.mode)
    model.typical = TypicalPoints(model.blocks, schema)
    assert model.as_drawn(codes, values, observed)["w.a"].equal(codes["w.a"])  # nothing is known yet
    model.typical.measure(model, lambda: [Batch(x, values, observed)])
    found = model.as_drawn(codes, values, observed)
    torch.testing.assert_close(found["w.a"][:N].mean(0), on.mean(0), rtol=1e-3, atol=1e-3)
    means = on.var(0, correction=0)
    told = means / (means + torch.tensor([4.0, 0.0]))
    expected = torch.where(told < 0.05, means, means / told).sqrt()  # a coordinate that tells nothing stays as it is
    torch.testing.assert_close(found["w.a"][:N].std(0, correction=0), expected, rtol=1e-3, atol=1e-3)
    assert found["w.a"][N:].equal(codes["w.a"][N:])  # an empty block stays
    assert found["z"].equal(codes["z"])
    assert model.as_drawn(codes, values, ~observed)["w.a"].equal(codes["w.a"])


def test_codes_of_numbers_stay() -> None:
    data = ls.open("patients:n=200")
    model = ls.build("lsvae", data)
    typical, codes = model.typical, torch.randn(5, model.blocks.of("age").size)
    assert typical is not None
    assert typical.as_drawn(codes, "age", torch.zeros(5)).equal(codes)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_samples_of_a_value_are_enough_for_points(n: int) -> None:
    schema = Schema([binary("a")])
    model = Drawn((3,), schema).eval()
    x = torch.cat([torch.randn(20, 1), torch.zeros(20, 2)], 1)
    x[:n, 1:] = torch.tensor([1.0, 2.0]) + torch.arange(n)[:, None]
    values = (torch.arange(20) < n).float()[:, None]
    points = TypicalPoints(model.blocks, schema)
    points.measure(model, lambda: [Batch(x, values, torch.ones_like(values, dtype=torch.bool))])
    done = points.put(model, Latents(model.blocks, {"z": x[:, :1], "w.a": x[:, 1:]}), "a", torch.ones(20))
    assert done is not None
    assert float(torch.cdist(done["w.a"], x[:n, 1:]).min(1).values.max()) < 1e-3


def test_a_ridge_regression_finds_its_penalty_by_samples_that_are_left_out() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 3, generator=generator)
    slope = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.5, 0.0]])
    y = 3 + x @ slope + 0.01 * torch.randn(60, 2, generator=generator)
    start, found, errors = ridge(x, y)
    torch.testing.assert_close(found, slope, atol=0.02, rtol=0)
    torch.testing.assert_close(start, torch.full((2,), 3.0), atol=0.02, rtol=0)
    rest = torch.arange(60) != 7
    again = torch.linalg.lstsq(torch.cat([torch.ones(59, 1), x[rest]], 1), y[rest]).solution
    torch.testing.assert_close(errors[7], y[7] - torch.cat([torch.ones(1), x[7]]) @ again, atol=0.005, rtol=0)
    x, noise = torch.randn(30, 25, generator=generator), torch.randn(30, 2, generator=generator)
    exact = torch.linalg.lstsq(x - x.mean(0), noise - noise.mean(0)).solution
    _, found, errors = ridge(x, noise)
    assert float(found.norm()) < 0.3 * float(exact.norm())
    assert float(errors.square().mean()) <= float(((noise - noise.mean(0)) * 30 / 29).square().mean())


@pytest.mark.parametrize("name", ["lsvae", "csvae", "contrastive"])
def test_searches_together_find_what_each_finds_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ls.open("moons:n=300")
    torch.manual_seed(0)
    model = ls.fit(ls.build(name, data), data, epochs=3).model

    def points() -> Tensor:
        model.typical.measure(model, lambda: Batches(data, "train", 64, shuffle=False, prefetch=0))  # type: ignore[union-attr]
        return model.typical.points.clone()  # type: ignore[union-attr, return-value]

    together = points()
    monkeypatch.setattr(typical_points, "_at_once", lambda model: 7)
    assert bool(together[:, 0].isfinite().all())
    torch.testing.assert_close(points(), together, equal_nan=True)
