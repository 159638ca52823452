"""A device without float64, as Apple's MPS is: nothing that trains or uses a model needs it there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import labelspace as ls
from labelspace import interventions, precision
from labelspace.labels import Schema
from labelspace.likelihoods.location_scale import LocationScale
from labelspace.models import MODELS

PACKAGE = Path(ls.__file__).parent


class Fetched(torch.Tensor):
    """A tensor that came from ``.cpu()``, or was computed from one."""


@pytest.fixture
def short_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tensor is taken for one of a device without float64, unless it came from ``.cpu()``."""
    cpu, double, to = torch.Tensor.cpu, torch.Tensor.double, torch.Tensor.to

    def fetched(self, *given, **named):
        return cpu(self, *given, **named).clone().as_subclass(Fetched)

    def refuse(tensor: torch.Tensor) -> None:
        if not isinstance(tensor, Fetched):
            raise TypeError("this device has no float64")

    def to_double(self, *given, **named):
        refuse(self)
        return double(self, *given, **named)

    def moved(self, *given, **named):
        asked = [*given, *named.values()]
        device = any(isinstance(one, torch.device) for one in asked)
        if torch.float64 in asked or (device and self.dtype == torch.float64):
            refuse(self)
        return to(self, *given, **named)

    def made(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def make(*given, **named):
            out = function(*given, **named)
            if out.dtype == torch.float64 and named.get("device") is not None:
                raise TypeError("this device has no float64")
            return out

        return make

    monkeypatch.setattr(torch.Tensor, "cpu", fetched)
    monkeypatch.setattr(torch.Tensor, "double", to_double)
    monkeypatch.setattr(torch.Tensor, "to", moved)
    measure = LocationScale.measure  # of samples as a data set has them: on the CPU
    monkeypatch.setattr(LocationScale, "measure", lambda self, x: measure(self, x.cpu()))
    monkeypatch.setattr(precision, "_WITHOUT_DOUBLE", ("mps", "cpu"))
    for name in ("tensor", "as_tensor", "zeros", "ones", "full", "rand", "randn", "arange", "linspace", "eye"):
        monkeypatch.setattr(torch, name, made(getattr(torch, name)))


def some_label(schema: Schema) -> tuple[str, object]:
    label = schema[schema.names[0]]
    return label.name, label.values[0] if label.discrete else label.mean


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("address", ["moons:n=120", "swiss-roll:n=120"])
@pytest.mark.usefixtures("short_digits", "hasty")
def test_a_model_is_trained_and_used(name: str, address: str, tmp_path: Path) -> None:
    data = ls.open(address)
    try:
        model = ls.build(name, data)
    except ls.UserError as error:  # a model of other data
        pytest.skip(str(error))
    ls.fit(model, data, out=tmp_path / "run", epochs=1)
    model = ls.load(tmp_path / "run")
    x = data.samples(data.rows("test"))[:8]
    model.encode(x)
    if len(model.schema):
        name, value = some_label(model.schema)
        if model.labelled:
            model.label_distribution(x)
            interventions.set(model, x, {name: value})
        interventions.generate(model, n=3)
    ls.embed(model, x)


@pytest.mark.usefixtures("short_digits", "hasty")
def test_a_run_is_measured_and_reported(tmp_path: Path) -> None:
    data = ls.open("moons:n=260")
    ls.fit(ls.build("ccvae", data), data, out=tmp_path / "run", epochs=1)
    name = next(label.name for label in data.schema if label.discrete)
    ls.effects(ls.load(tmp_path / "run"), data, name, *data.schema[name].values[:2])
    ls.evaluate(tmp_path / "run")
    ls.report(tmp_path / "run")


def test_doubles_are_made_in_one_place() -> None:
    """Models and measurements go through :mod:`labelspace.precision`; a likelihood's constants are measured on the CPU."""
    for part in ("models", "evaluation", "interventions", "labels", "training", "results", "reporting", "explorer"):
        for file in (PACKAGE / part).rglob("*.py"):
            assert ".double()" not in file.read_text(encoding="utf-8"), file
