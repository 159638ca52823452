"""The fused optimisers: they do what torch.optim's do, and take up their states."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from labelspace import optimizers

PAIRS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "adam": (
        lambda p: optimizers.Adam(p, lr=3e-3, betas=(0.5, 0.99)),
        lambda p: torch.optim.Adam(p, lr=3e-3, betas=(0.5, 0.99), fused=True),
    ),
    "adamw": (
        lambda p: optimizers.Adam(p, lr=3e-3, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, lr=3e-3, weight_decay=0.1, fused=True),
    ),
    "adagrad": (lambda p: optimizers.Adagrad(p, lr=0.03), lambda p: torch.optim.Adagrad(p, lr=0.03, fused=True)),
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3), nn.Linear(3, 2))


def train(model: nn.Sequential, optimizer: Any, steps: int, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        x = torch.randn(20, 6, generator=generator)
        optimizer.zero_grad()
        (model[:3] if step % 2 else model)(x).square().mean().backward()  # the last layer has a gradient now and then
        optimizer.step()


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("kind", PAIRS)
def test_steps_are_those_of_torch(kind: str) -> None:
    ours, theirs, start = network(), network(), network()
    for model, make in zip((ours, theirs), PAIRS[kind], strict=True):
        train(model, make(list(model.parameters())), 7)
    assert same(ours, theirs)
    assert not same(ours, start)


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("by", [0, 1])
def test_a_state_goes_on_where_it_was_whoever_wrote_it(kind: str, by: int) -> None:
    whole, cut = network(), network()
    first = PAIRS[kind][by](list(whole.parameters()))
    train(whole, first, 5)
    cut.load_state_dict(whole.state_dict())
    second = PAIRS[kind][0](list(cut.parameters()))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    train(whole, first, 5, seed=1)
    train(cut, second, 5, seed=1)
    assert same(whole, cut)


def test_a_loaded_state_is_a_copy() -> None:
    model = network()
    optimizer = optimizers.Adam(model.parameters())
    train(model, optimizer, 3)
    state = copy.deepcopy(optimizer.state_dict())
    kept = copy.deepcopy(state)
    optimizer.load_state_dict(state)
    train(model, optimizer, 3)
    assert all(torch.equal(t, kept["state"][i][name]) for i, known in state["state"].items() for name, t in known.items())


@pytest.mark.parametrize("kind", PAIRS)
def test_a_state_has_the_layout_of_its_parameter_again(kind: str) -> None:
    """Files hold tensors row by row; kernels of convolutions have their channels last."""

    def kernel() -> nn.Parameter:
        return nn.Parameter(torch.linspace(-1, 1, 72).view(2, 4, 3, 3).contiguous(memory_format=torch.channels_last))

    def step(parameter: nn.Parameter, optimizer: Any) -> None:
        optimizer.zero_grad()
        (parameter.sin() * torch.linspace(0, 3, 72).view(2, 4, 3, 3)).sum().backward()
        optimizer.step()

    whole, cut = kernel(), kernel()
    first, second = (PAIRS[kind][0]([parameter]) for parameter in (whole, cut))
    for _ in range(2):
        step(whole, first)
    cut.data.copy_(whole.data)
    state = first.state_dict()
    plain = {i: {name: tensor.contiguous() for name, tensor in known.items()} for i, known in state["state"].items()}
    second.load_state_dict({**state, "state": plain})
    for _ in range(2):
        step(whole, first)
        step(cut, second)
    assert torch.equal(whole, cut)


def test_groups_have_options_of_their_own() -> None:
    model, start = network(), network()
    groups = [{"params": [*model[0].parameters()], "lr": 0.0}, {"params": [*model[2].parameters()]}]
    train(model, optimizers.Adam(groups, lr=0.1), 3)
    assert same(model[0], start[0])
    assert not same(model[2], start[2])


def test_a_state_of_other_parameters_is_refused() -> None:
    model = network()
    optimizer = optimizers.Adam(model.parameters())
    train(model, optimizer, 1)
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match="groups"):
        optimizers.Adam(model[0].parameters()).load_state_dict(state)
    with pytest.raises(ValueError, match="shape"):
        optimizers.Adam([*model.parameters()][::-1]).load_state_dict(state)
