"""Where in its block a label has a value: what is chosen, and what it costs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import labelspace as ls
from labelspace.blocks import Block, Blocks, Latents
from labelspace.data.batches import Batch, Batches
from labelspace.distributions import Point
from labelspace.labels import Schema, binary
from labelspace.models.base import Model
from labelspace.models.parts import TypicalPoints, typical_points

N = 400


class Drawn(Model):
    """A sample is (z, what its block w.a adds, w.a's loudness): codes are read off, and edits can be told."""

    def __init__(self, shape, schema, frequencies=None) -> None:
        super().__init__(shape, schema, frequencies, Blocks([Block("z", 1), Block("w.a", 2, "a")]), {}, scale=1.0)
        self.decoder = nn.Identity()
        self.decoded = 0

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents:
        return Latents(self.blocks, {"z": Point.at(x[:, :1]), "w.a": Point.at(x[:, 1:])})

    def decode(self, codes: Latents[Tensor]):
        self.decoded += len(codes["z"])
        return super().decode(codes)

    def label_distribution(self, x: Tensor):
        return self.schema.distribution(20 * (x[:, 1:2] - 0.5))  # on: the first coordinate of the block says so


def measured(points: list[tuple[float, float]], off: tuple[float, float] = (0.0, 0.0)) -> tuple[Tensor, Drawn]:
    """The point of "on", where the codes of samples that are on lie at some points, and the model."""
    schema = Schema([binary("a")])
    model = Drawn((3,), schema).eval()
    torch.manual_seed(0)
    on = torch.tensor(points).repeat(N // len(points), 1) + 1e-3 * torch.randn(N, 2)
    x = torch.cat([torch.randn(2 * N, 1), torch.cat([on, torch.tensor(off).expand(N, 2)])], 1)
    values = torch.cat([torch.ones(N, 1), torch.zeros(N, 1)])
    batch = Batch(x, values, torch.ones_like(values, dtype=torch.bool))
    found = TypicalPoints(model.blocks[1:], schema)
    found.measure(model, lambda: [batch])
    put = found.put(Latents(model.blocks, {"z": torch.zeros(1, 1), "w.a": torch.zeros(1, 2)}), "a", torch.ones(1))
    assert put is not None
    return put["w.a"][0], model


def test_of_points_that_are_read_as_the_value_it_is_the_one_that_changes_least() -> None:
    found, _ = measured([(1.0, 3.0), (1.0, 1.0), (1.0, -2.0), (2.0, 1.0)])
    torch.testing.assert_close(found, torch.tensor([1.0, 1.0]), atol=0.01, rtol=0)


def test_a_point_that_changes_less_but_is_not_read_as_the_value_is_not_taken() -> None:
    found, _ = measured([(0.3, 0.1), (1.0, 1.0), (1.0, 3.0), (1.0, 4.0)])
    torch.testing.assert_close(found, torch.tensor([1.0, 1.0]), atol=0.01, rtol=0)


def test_the_worst_points_are_left_out_after_a_few_samples() -> None:
    _, model = measured([(1.0, float(k)) for k in range(20)])
    assert model.decoded < 0.5 * typical_points._CANDIDATES * typical_points._ROUNDS[-1][0]


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
    assert bool(together.isfinite().all())
    torch.testing.assert_close(points(), together)
