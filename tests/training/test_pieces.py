"""Networks that see a batch piece by piece: the same step in less memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import labelspace as ls
from labelspace.data.batches import Batches
from labelspace.errors import UserError
from labelspace.models import MODELS
from labelspace.models.base import Model
from labelspace.speed.training import noise
from labelspace.training.pieces import in_pieces


def gradients(model: Model, size: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Of every player one after the other, and the terms."""
    batch = next(iter(Batches(noise((3, 16, 16), 2, 40), "train", 20, shuffle=False, prefetch=0)))
    with in_pieces(model, size):
        losses = model.losses(batch, torch.Generator().manual_seed(0))
        for name, player in model.players().items():
            learnt = [parameter for parameter in player.parameters if parameter.requires_grad]
            found = torch.autograd.grad(losses.objective(name), learnt, allow_unused=True, retain_graph=True)
            for parameter, gradient in zip(learnt, found, strict=True):
                parameter.grad = gradient
    named = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return named, losses.terms


@pytest.mark.parametrize("name", ["lsvae", "csvae", "ccvae", "cvae-gan"])
def test_gradients_are_those_of_the_whole_batch(name: str) -> None:
    made = []
    for size in (0, 7):
        torch.manual_seed(0)
        model = ls.build(name, noise((3, 16, 16), 2, 40)).train()
        made.append(gradients(model, size))
    (whole, terms), (parts, again) = made
    assert whole.keys() == parts.keys()
    for term, value in terms.items():
        torch.testing.assert_close(again[term], value, rtol=1e-4, atol=1e-4)
    for parameter, gradient in whole.items():
        scale = float(gradient.abs().max()) + 1e-6
        torch.testing.assert_close(parts[parameter], gradient, rtol=1e-3, atol=1e-4 * scale, msg=parameter)


def test_nothing_is_kept_of_a_batch_for_the_backward_pass() -> None:
    network = nn.Sequential(nn.Linear(4, 1000), nn.SiLU(), nn.Linear(1000, 4))
    host = nn.Module()
    host.network = network
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    held = {}
    for size in (0, 10):
        kept.clear()
        with in_pieces(host, size), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            network(torch.randn(100, 4)).sum()
        held[size] = max(kept)
    assert held == {0: 100 * 1000, 10: 4 * 1000}, "no more than the weights"
    assert "forward" not in vars(network)


def test_models_have_networks_to_take_apart() -> None:
    data = noise((3, 16, 16), 2, 40)
    for name in MODELS:
        assert any(isinstance(child, nn.Sequential) for child in ls.build(name, data).children()), name


class _FullError(RuntimeError):
    pass


def test_where_memory_runs_out_pieces_are_halved_until_they_fit(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, seen = noise((3, 16, 16), 2, 64), []
    torch.manual_seed(0)
    model = ls.build("vae", data)
    forward = model.trunk.forward  # type: ignore[union-attr]

    def scarce(x: Tensor) -> Tensor:
        if model.training:
            seen.append(len(x))
        if model.training and len(x) > 8:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return forward(x)

    monkeypatch.setattr(model.trunk, "forward", scarce)
    said: list[str] = []

    class Listens(ls.Callback):
        def note(self, text: str) -> None:
            said.append(text)

    fitted = ls.fit(model, data, epochs=2, batch_size=32, callbacks=[Listens()], progress=False)
    assert len(fitted.rows) == 2
    assert seen[:3] == [32, 16, 8]
    assert max(seen[3:]) == 8
    assert [text.split("see ")[1][:10] for text in said if "memory ran out" in text] == ["16 samples", "8 samples "]


def test_a_piece_of_one_sample_that_does_not_fit_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    data = noise((3, 16, 16), 2, 64)
    model = ls.build("vae", data)

    def full(x: Tensor) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    monkeypatch.setattr(model.trunk, "forward", full)
    with pytest.raises(UserError, match="not enough memory"):
        ls.fit(model, data, epochs=1, batch_size=32, progress=False)
