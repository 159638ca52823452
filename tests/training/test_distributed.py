"""Two processes compute what one does: gradients, terms and what models keep of batches; and they agree on everything."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

import labelspace as ls
from labelspace.data.batches import Batches
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import DivergedError, UserError
from labelspace.models import MODELS
from labelspace.models.base import Losses
from labelspace.storage import tensorfiles
from labelspace.training import engine, launcher
from labelspace.training.fit import fit
from labelspace.training.options import Options
from labelspace.training.schedule import Schedule
from labelspace.training.step import Stepper

_PROGRAM = Path(__file__).with_name("shares.py")
_LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_NTASKS", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK")


@pytest.fixture(scope="module")
def shares(program: Callable[[str], ModuleType]) -> ModuleType:
    return program("tests/training/shares.py")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left."""
    home = tmp_path_factory.mktemp("shares")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    environment = {**os.environ, **meeting}
    processes = [
        subprocess.Popen(
            [sys.executable, str(_PROGRAM), str(home)],
            env={**environment, "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=600)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    return home


def left(home: Path, what: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    first, second = (tensorfiles.read(home / f"{what}-{rank}")[0] for rank in range(2))
    return first, second


def of(found: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): t for name, t in found.items() if name.startswith(f"{part}.")}


@pytest.mark.parametrize("kind", ["0.0-7", "0.4-7", "0.0-39"])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_processes_hold_the_same_bits_after_every_step(name: str, kind: str, home: Path) -> None:
    first, second = left(home, f"{name}-{kind}")
    assert first.keys() == second.keys()
    for key in first:
        assert torch.equal(first[key].nan_to_num(7.0), second[key].nan_to_num(7.0)), key
        assert not first[key].isinf().any()
        if key.endswith("updates"):
            assert torch.equal(first[key], first[key].round()), "a count of batches stays a whole number"


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_gradients_terms_and_buffers_are_those_of_one_process_that_computes_both_shares(
    name: str, missing: float, home: Path, shares: ModuleType
) -> None:
    found, _ = left(home, f"{name}-{missing}-7")
    data, options = shares.data(missing), shares.OPTIONS
    model = shares.model(name, data)
    models, losses, sizes = [model, copy.deepcopy(model)], [], []
    for rank, own in enumerate(models):
        batches = Batches(data, "train", options.batch_size, seed=options.seed, rank=rank, world=2, prefetch=0)
        batch = next(iter(batches))
        generator = torch.Generator().manual_seed(engine.seed(options.seed, 1, 0))
        engine.renew(generator, options.seed, 1, rank, 0)
        own.train()
        own.epoch = own.progress = 0.0
        losses.append(own.losses(batch, generator))
        sizes.append(len(batch))
    assert sizes == [4, 3]
    expected = []
    steppers = [
        Stepper(engine.launch(options, images=False), own, options, Schedule(options, 1), lambda *_: None) for own in models
    ]
    for mine in zip(*(stepper.turns for stepper in steppers), strict=True):
        for names in mine[0].steps():
            for one, loss in zip(mine, losses, strict=True):
                for p in one.parameters:
                    p.grad = None
                for name in names:
                    loss.objective(name).backward()
            for pair in zip(*(one.parameters for one in mine), strict=True):
                parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in pair]
                mean = (parts[0] * sizes[0] + parts[1] * sizes[1]) / sum(sizes)
                for p in pair:
                    p.grad = mean.clone()
            learnt = [p for p in mine[0].parameters if p.requires_grad]
            expected.append(torch.cat([p.grad.flatten() for p in learnt if p.grad is not None]))
            for optimizer in (o for stepper in steppers for o in stepper.optimizers[mine[0].name]):
                optimizer.step()
    gradients = of(found, "gradient")
    assert len(gradients) == len(expected)
    for i, gradient in enumerate(expected):
        assert torch.allclose(gradients[str(i)], gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max())), i
    assert of(found, "term").keys() == losses[0].terms.keys()
    for key, term in of(found, "term").items():
        mean = (losses[0].terms[key] * sizes[0] + losses[1].terms[key] * sizes[1]) / sum(sizes)
        assert torch.allclose(term, mean, rtol=1e-4, atol=1e-6), key
    buffers = [dict(own.named_buffers()) for own in models]
    for key, buffer in of(found, "buffer").items():
        mean = buffer if buffer.dtype == torch.bool else (buffers[0][key] * sizes[0] + buffers[1][key] * sizes[1]) / sum(sizes)
        assert torch.allclose(buffer.float(), mean.float(), rtol=1e-4, atol=1e-6, equal_nan=True), key


@pytest.mark.parametrize("name", ["vae", "condvae", "lr-livae"])
def test_without_noise_two_processes_are_one_with_the_whole_batch(
    name: str, home: Path, shares: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert name in shares.STILL
    found, _ = left(home, f"{name}-still")
    monkeypatch.setattr(DiagonalGaussian, "sample", shares.noiseless)
    data = shares.data(0.0)
    alone = engine.launch(shares.OPTIONS, images=False)
    loop = shares.Loop(alone, shares.model(name, data), data, shares.OPTIONS, None, shares.Callback())
    loop._train_epoch()
    for key, term in of(found, "sum").items():
        assert torch.allclose(term, loop.state.sums[key], rtol=1e-4, atol=1e-4), key
    terms, score = loop.validate()
    assert float(found["score"]) == pytest.approx(score, rel=1e-4)
    for key, term in of(found, "val").items():
        assert torch.allclose(term, terms[key], rtol=1e-4, atol=1e-4), key


def test_what_a_model_counts_is_counted_once_a_batch(home: Path) -> None:
    first, _ = left(home, "lsvae-0.0-7")
    assert of(first, "state")["independence.weight.updates"].tolist() == [6.0, 6.0, 6.0]


def test_gradients_that_some_processes_lack(home: Path) -> None:
    for rank in range(2):
        found = json.loads((home / f"{rank}.json").read_text())
        assert found["gradients"] == [[0.25, 0.25], [1.5, 1.5], None]


def test_the_first_processs_result_or_mistake_is_everyones(home: Path) -> None:
    first, second = (json.loads((home / f"{rank}.json").read_text()) for rank in range(2))
    assert first["told"] == second["told"] == "from the first"
    assert (first["refused"], second["refused"]) == ("UserError: not this one", "ReportedError: not this one")
    assert first["names"] == second["names"] == ["x", "z", "y"]


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("supervision", [1.0, 0.05])
def test_shares_make_up_the_batches_of_one_process(world: int, supervision: float) -> None:
    data = ls.open("swiss-roll:n=120", supervision=supervision)
    options = {"seed": 3, "prefetch": 0, "labelled": 0.2}
    whole = Batches(data, "train", 19, **options)
    ranks = [Batches(data, "train", 19, rank=rank, world=world, **options) for rank in range(world)]
    for batch, *parts in zip(whole, *ranks, strict=True):
        assert whole.size == len(batch)
        together = torch.empty_like(batch.x)
        for rank, (part, batches) in enumerate(zip(parts, ranks, strict=True)):
            assert batches.size == len(batch)
            assert len(part) == max(1, batches.own)
            if batches.own:
                together[rank::world] = part.x
        assert sum(batches.own for batches in ranks) == len(batch)
        assert torch.equal(together, batch.x)


def test_a_process_without_samples_gets_one_that_does_not_count() -> None:
    data = ls.open("swiss-roll:n=100")
    n = len(data.rows("train"))
    batches = Batches(data, "train", n - 1, rank=1, world=2, prefetch=0)
    found = [(len(batch), batches.own, batches.size) for batch in batches]
    assert found == [((n - 1) // 2, (n - 1) // 2, n - 1), (1, 0, 1)]


def test_noise_of_other_processes_is_a_function_of_seed_rank_and_step() -> None:
    def draw(rank: int, step: int, drawn: int = 0) -> list[float]:
        generator = torch.Generator().manual_seed(5)
        torch.rand(drawn, generator=generator)
        engine.renew(generator, 0, 1, rank, step)
        return torch.rand(2, generator=generator).tolist()

    assert draw(1, 7) == draw(1, 7, drawn=100)
    assert len({tuple(draw(rank, step)) for rank in (1, 2) for step in (0, 1, 2)}) == 6
    assert draw(0, 1) != draw(0, 1, drawn=100), "the first goes on with its stream"


@pytest.fixture
def unlaunched(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in _LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": 0}, "devices must be at least 1"),
        ({"nodes": 0}, "nodes must be at least 1"),
        ({"strategy": "fsdp"}, "use ddp"),
        ({"strategy": "horovod"}, "unknown strategy"),
        ({"precision": "16-mixed"}, "use bf16-mixed"),
        ({"timeout": 0.0}, "timeout must be positive"),
        ({"timeout": 1e12}, "at most a week"),
        ({"floor": -0.1}, "floor between 0 and 1"),
        ({"checkpoint_minutes": -1.0}, "checkpoint_minutes at least 0"),
    ],
)
def test_what_is_not_there_is_refused(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Options(**options)


def test_an_objective_that_is_not_finite_on_one_process_is_felt_by_all(
    shares: ModuleType, unlaunched: pytest.MonkeyPatch
) -> None:
    monkeypatch = unlaunched
    model = shares.model("vae", shares.data(0.0))
    fabric = engine.launch(Options(accelerator="cpu"), images=False)
    felt: list[float] = []
    monkeypatch.setattr(type(fabric), "world_size", 2)
    monkeypatch.setattr(engine.BufferSync, "remember", lambda kept: None)
    monkeypatch.setattr(engine.BufferSync, "average", lambda kept, losses, share: None)
    monkeypatch.setattr(engine, "average_gradients", lambda fabric, parameters, share: felt.append(float(share)))

    def troubled(*_: object) -> None:
        raise DivergedError("here")

    stepper = Stepper(fabric, model, Options(), Schedule(Options(), 1), troubled)
    weight = next(p for p in model.parameters() if p.requires_grad)
    batch = next(iter(Batches(shares.data(0.0), "train", 7, prefetch=0)))
    for addend in (0.0, torch.inf):  # its gradient is finite all the same
        model.losses = lambda batch, generator, addend=addend: Losses({"model": lambda: {"term": weight.sum() + addend}})
        with contextlib.suppress(DivergedError):
            stepper.step(batch, torch.Generator(), 0, 0.25)
    assert felt[0] == 0.25
    assert math.isnan(felt[1])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_devices_that_are_not_there_are_refused_in_one_line(unlaunched: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="accelerator=cuda and devices=1 do not work on this machine") as error:
        engine.launch(Options(accelerator="cuda"), images=False)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="accelerator=abacus"):
        engine.launch(Options(accelerator="abacus"), images=False)


def test_a_launchers_numbers_are_taken_and_others_refused(unlaunched: pytest.MonkeyPatch) -> None:
    assert launcher.wanted(Options()) == (1, 1)
    assert launcher.wanted(Options(devices=3, nodes=2)) == (3, 2)
    for name, value in {"LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}.items():
        unlaunched.setenv(name, value)
    assert launcher.wanted(Options()) == (4, 2)
    assert launcher.wanted(Options(devices=4, nodes=2)) == (4, 2)
    with pytest.raises(UserError, match="devices=2 was asked for, but the launcher started 4 processes on each of 2 machines"):
        launcher.wanted(Options(devices=2))


def test_slurms_numbers_are_taken(unlaunched: pytest.MonkeyPatch) -> None:
    for name, value in {"SLURM_NTASKS": "6", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "train"}.items():
        unlaunched.setenv(name, value)
    assert launcher.wanted(Options()) == (3, 2)
    unlaunched.setenv("SLURM_JOB_NAME", "bash")  # a shell in an allocation: what is started there is one process
    assert launcher.wanted(Options()) == (1, 1)


def test_several_machines_need_a_place_to_meet(unlaunched: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="MASTER_ADDR is not there"):
        launcher.start(1, 2, ["true"])


def test_a_prompt_cannot_be_started_again(unlaunched: pytest.MonkeyPatch) -> None:
    unlaunched.setattr(sys, "ps1", ">>> ", raising=False)
    with pytest.raises(UserError, match="can be started again"):
        launcher.start(2, 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_as_the_processor_does() -> None:
    data = ls.open("faces:n=60")
    scores = []
    for accelerator in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = ls.build("vae", data)
        scores.append(fit(model, data, epochs=2, accelerator=accelerator, precision="32-true").best_score)
        assert next(model.parameters()).device.type == "cpu", "models end where data are"
    assert np.isfinite(scores).all()
    assert scores[0] == pytest.approx(scores[1], rel=0.05)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_in_bfloat16() -> None:
    data = ls.open("faces:n=60")
    fitted = fit(ls.build("lsvae", data), data, epochs=1, accelerator="cuda", precision="bf16-mixed")
    assert np.isfinite(fitted.best_score)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_train(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "labelspace.cli", "train", "faces:n=60", "--epochs", "1", "--no-report", "--out", "run"]
    done = subprocess.run([*command, "--devices", "2"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
