"""Adagrad as an option: PyTorch's own, step for step."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

import labelspace as ls
from labelspace.errors import UserError
from labelspace.training import optimizers
from labelspace.training.options import Options
from labelspace.training.run import Run

PLAIN = {"optimizer": "adagrad", "warmup": 0, "decay": 0.0, "clip": 0.0, "muon_learning_rate": 0.0, "batch_size": 32}


def test_fit_steps_like_a_plain_loop_with_torch_adagrad() -> None:
    data = ls.open("swiss-roll:n=300")
    torch.manual_seed(0)
    model = ls.build("vae", data, likelihood="gaussian")
    mine = copy.deepcopy(model)
    seen = []
    losses = model.losses

    def recorded(batch, generator):
        if model.training:
            seen.append((batch, generator.get_state(), model.epoch))
        return losses(batch, generator)

    model.losses = recorded  # type: ignore[method-assign]
    ls.fit(model, data, epochs=1, learning_rate=0.03, **PLAIN)
    assert len(seen) == 8
    player = mine.train().players()["model"]
    start = [p.detach().clone() for p in player.parameters]
    optimizer = torch.optim.Adagrad(player.parameters, lr=0.03)
    for batch, noise, mine.epoch in seen:
        generator = torch.Generator()
        generator.set_state(noise)
        optimizer.zero_grad()
        mine.losses(batch, generator).objective("model").backward()
        optimizer.step()
    assert max(float((p.detach() - old).abs().max()) for p, old in zip(player.parameters, start, strict=True)) > 0.05
    trained = dict(model.named_parameters())
    for name, parameter in mine.named_parameters():
        torch.testing.assert_close(trained[name], parameter, rtol=1e-4, atol=1e-5)


def test_steps_do_not_depend_on_the_scale_of_the_loss() -> None:
    """A sum over a batch of 100 trains like the mean; with Adagrad from the first step to the last."""
    torch.manual_seed(0)
    x, target = torch.randn(100, 6), torch.randn(100, 3)
    start = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    ends = []
    for factor in (1.0, 100.0):
        network = copy.deepcopy(start)
        (optimizer,) = optimizers.build(list(network.parameters()), 0.01, 0.0, "adagrad")
        for _ in range(20):
            optimizer.zero_grad()
            (factor * ((network(x) - target) ** 2).sum(1).mean()).backward()
            optimizer.step()
        ends.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-4, atol=1e-6)
    begun = torch.cat([p.detach().flatten() for p in start.parameters()])
    assert float((ends[0] - begun).abs().max()) > 0.01


def test_it_is_not_adam_and_what_reads_codes_keeps_adam() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(80, 80)), torch.nn.Parameter(torch.zeros(80))]
    assert [type(o) for o in optimizers.build(parameters, 0.01, 0.0, "adagrad")] == [optimizers.Adagrad]
    assert [type(o) for o in optimizers.build(parameters, 0.01, 0.0)] == [optimizers.Adam]
    found = optimizers.build(parameters, 0.01, 0.02, "adagrad")
    assert [type(o) for o in found] == [optimizers.Adagrad, optimizers.Muon]
    assert [type(o) for o in optimizers.auxiliary(parameters, 0.01)] == [optimizers.Adam]


@pytest.mark.parametrize("name", ["vae", "lsvae"])
def test_an_interrupted_run_resumes_bit_for_bit(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ls.open("swiss-roll:n=300")
    options = {**PLAIN, "epochs": 3, "learning_rate": 0.03, "checkpoint_minutes": 0.0}

    def model(seed: int):
        torch.manual_seed(seed)
        return ls.build(name, data, likelihood="gaussian")

    ls.fit(model(0), data, out=tmp_path / "whole", **options)

    class StopHereError(Exception):
        pass

    write, count = Run.write_checkpoint, 0

    def stopping(run, tensors, state):
        nonlocal count
        write(run, tensors, state)
        count += 1
        if count == 11:
            raise StopHereError

    monkeypatch.setattr(Run, "write_checkpoint", stopping)
    with pytest.raises(StopHereError):
        ls.fit(model(0), data, out=tmp_path / "run", **options)
    monkeypatch.undo()
    found = Run(tmp_path / "run").read_checkpoint()
    assert found is not None
    assert found[1]["batches"]["position"] > 0
    assert any(key.endswith(".sum") for key in found[0]), "Adagrad's sums are kept"
    ls.fit(model(9), data, out=tmp_path / "run", resume=True, **options)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_the_option_is_recorded_and_a_wrong_one_refused(tmp_path: Path, monkeypatch, capsys) -> None:
    from labelspace.cli import main

    monkeypatch.chdir(tmp_path)
    arguments = ["train", "swiss-roll:n=100", "--model", "vae", "--epochs", "1", "--set", "likelihood=gaussian", "--no-report"]
    assert main([*arguments, "--set", "optimizer=adagrad", "--out", "run"]) == 0
    assert "optimizer: adagrad" in Path("run/config.yaml").read_text()
    capsys.readouterr()
    assert main([*arguments, "--set", "optimizer=sgd", "--out", "other"]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "optimizer" in line
    assert "sgd" in line


def test_the_python_interface_refuses_an_unknown_optimizer() -> None:
    with pytest.raises(UserError, match="adagrad"):
        Options(optimizer="sgd")  # type: ignore[arg-type]
