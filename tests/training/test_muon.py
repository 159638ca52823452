"""Muon, and what it multiplies in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import labelspace as ls
from labelspace.errors import UserError
from labelspace.models.networks import Network
from labelspace.storage import files
from labelspace.training import engine
from labelspace.training.optimizers import Muon, orthogonalise
from labelspace.training.options import Options


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (16, 20), (9, 9), (1, 30)])
def test_singular_values_of_an_update_are_near_one(shape: tuple[int, int], dtype: torch.dtype) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    update = orthogonalise(matrix, dtype)
    assert update.dtype == torch.float32
    values = torch.linalg.svdvals(update)
    assert bool(((values > 0.65) & (values < 1.25)).all())


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (16, 20)])
def test_an_update_is_that_of_the_iteration_as_it_is_written(shape: tuple[int, int]) -> None:
    """Also for matrices whose singular values differ by four orders of magnitude."""
    short = min(shape)
    left, right = (torch.linalg.qr(torch.randn(n, short, generator=torch.Generator().manual_seed(n)))[0] for n in shape)
    matrix = left @ torch.diag(torch.logspace(0, -4, short)) @ right.T
    x = matrix.double() / matrix.double().norm()
    x = x if shape[0] <= shape[1] else x.T
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    expected = (x if shape[0] <= shape[1] else x.T).float()
    torch.testing.assert_close(orthogonalise(matrix), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_is_for_devices_that_multiply_it_natively(
    native: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine, "multiplies_bfloat16", lambda device: native)
    data = ls.open("faces:n=40,size=8")
    model = ls.build("vae", data, latent=2, network=Network(width=64))
    chosen = []
    make = Muon.__init__
    monkeypatch.setattr(Muon, "__init__", lambda self, *a, **given: (chosen.append(given["dtype"]), make(self, *a, **given))[1])
    ls.fit(model, data, epochs=1, batch_size=16, precision="32-true", muon_learning_rate=1e-2, out=tmp_path / "run")
    name = "bfloat16" if native else "float32"
    assert chosen == [getattr(torch, name)]
    environment = files.read_json(tmp_path / "run" / "environment.json")
    assert environment["muon"] == name
    assert environment["precision"] == "32-true"
    assert environment["processor"]
    assert engine.muon_dtype(Options(muon_precision="bfloat16"), torch.device("cpu")) == torch.bfloat16


def test_another_precision_is_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'float32'"):
        Options(muon_precision="float23")  # type: ignore[arg-type]
