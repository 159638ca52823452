"""Two processes of one thread against one process of two threads, at the same batch size; and an estimate for GPUs.

    python benchmarks/processes.py [--rounds 3] [--data faces:n=2000] [--model lsvae] [--out docs/evidence]

Every round trains the same model on the same data by ``labelspace train``, once each way, in turn. Beside the rates: how far
the losses are apart, how long the exchange of gradients takes, and the arithmetic of one step at 128 x 128, counted.
Writes ``processes.json`` and ``processes.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import labelspace as ls
from labelspace import cores
from labelspace.data.batches import Batch
from labelspace.labels import Schema, binary
from labelspace.models import model_class
from labelspace.storage import files
from labelspace.training import engine, launcher
from labelspace.training.options import Options
from labelspace.training.run import Run
from labelspace.training.schedule import Schedule
from labelspace.training.step import Stepper

_WAYS = {"one process": (["--devices", "1"], "2"), "two processes": (["--devices", "2"], "1")}  # and threads of each
_SEED, _EPOCHS = 0, 3
_CELEBA = 162_770  # images of its training split
_SIZES = {"lsvae": 5, "ccvae": 18}  # labels that the estimate is for
_GPU, _SHARES = 312e12, (0.1, 0.3)  # an A100's bfloat16 operations a second, and how many of them are used
_STEP = (0.02, 0.1)  # seconds that starting the kernels of a step takes
_BATCH = 128  # images of each GPU in a step
_GPUS, _LINK = 8, 25e9  # bytes a second between two GPUs


def train(data: str, model: str, way: str, home: Path) -> dict[str, Any]:
    """Rate (median over epochs) and losses of the last epoch."""
    arguments, threads = _WAYS[way]
    command = [sys.executable, "-m", "labelspace.cli", "train", data, "--model", model, "--out", str(home), "--no-report"]
    options = ["--accelerator", "cpu", "--epochs", str(_EPOCHS), "--seed", str(_SEED), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    subprocess.run([*command, *options, *arguments], env=environment, check=True, capture_output=True)
    rows = Run(home).metrics()
    return {
        "way": way,
        "samples_per_second": statistics.median(row["samples_per_second"] for row in rows),
        "train": rows[-1]["train"],
        "val": rows[-1]["val"],
    }


def exchange(data: str, model: str, out: Path) -> None:
    """Seconds and bytes of the gradients that two processes exchange in a step; run by both of them."""
    source = ls.open(data)
    built = ls.build(model, source)
    fabric = engine.launch(Options(devices=2, accelerator="cpu"), images=False)
    players = built.players().values()
    for p in built.parameters():
        p.grad = torch.zeros_like(p)
    seconds = []
    for _ in range(20):
        began = time.perf_counter()
        for player in players:
            for _ in range(player.steps):
                engine.average_gradients(fabric, player.parameters, 0.5)
        seconds.append(time.perf_counter() - began)
    if fabric.is_global_zero:
        files.write_json(out, {"bytes": message(players), "seconds": statistics.median(seconds)})
    launcher.over()


def message(players: Any) -> int:
    """Bytes of gradients in a step."""
    return sum(4 * p.numel() * player.steps for player in players for p in player.parameters if p.requires_grad)


def estimate(name: str) -> dict[str, Any]:
    """The arithmetic of one training step at 3 x 128 x 128: operations an image and a step, counted at two batch sizes."""
    schema = Schema([binary(f"label{i}") for i in range(_SIZES[name])])
    shape = (3, 128, 128)
    cls = model_class(name)
    torch.manual_seed(_SEED)
    model = cls(shape=shape, schema=schema, frequencies=None, **cls.defaults(shape, len(schema))).train()  # type: ignore[call-arg]
    options = Options(**{**cls.recipe(shape, _CELEBA), "accelerator": "cpu", "precision": "32-true"})
    fabric = engine.launch(options, images=True)
    stepper = Stepper(fabric, model, options, Schedule(options, 1), lambda *_: None)
    last = options.epochs - 1  # late in training, when all terms are on
    counted = {}
    for n in (4, 8):
        observed = torch.ones(n, len(schema), dtype=torch.bool)
        batch = Batch(torch.rand(n, *shape), torch.randint(2, observed.shape).float(), observed)
        with FlopCounterMode(display=False) as counter:
            stepper.step(batch, torch.Generator().manual_seed(_SEED), last)
        counted[n] = counter.get_total_flops()
    an_image = (counted[8] - counted[4]) / 4
    return {
        "labels": len(schema),
        "parameters": sum(p.numel() for p in model.parameters()),
        "operations_an_image": an_image,
        "operations_a_step_besides": counted[4] - 4 * an_image,
        "gradient_bytes_a_step": message(model.players().values()),
        "epochs": options.epochs,
    }


def page(found: dict[str, Any]) -> str:
    rates = {way: [r["samples_per_second"] for r in found["runs"] if r["way"] == way] for way in _WAYS}
    rows = [f"| {way} | {statistics.median(v):,.0f} | {min(v):,.0f} - {max(v):,.0f} |" for way, v in rates.items()]
    last = {way: next(r for r in reversed(found["runs"]) if r["way"] == way) for way in _WAYS}
    one, two = (last[way] for way in _WAYS)
    terms = [
        f"| {part} {name} | {one[part][name]:.5g} | {two[part][name]:.5g} |"
        for part in ("train", "val")
        for name in ("reconstruction", "kl_z")
    ]
    exchanged = found["exchange"]
    guesses = []
    for name, e in found["estimate"].items():
        a_gpu = e["operations_an_image"] + e["operations_a_step_besides"] / _BATCH  # every GPU does all that is besides images
        seconds = [e["epochs"] * _CELEBA / _GPUS * a_gpu / (_GPU * share) for share in _SHARES]
        steps = e["epochs"] * -(-_CELEBA // (_GPUS * _BATCH))
        sent = 2 * (_GPUS - 1) / _GPUS * e["gradient_bytes_a_step"]
        guesses.append(
            f"| {name} | {e['labels']} | {e['parameters'] / 1e6:.2f} million | {e['operations_an_image'] / 1e9:.2f} billion | "
            f"{e['gradient_bytes_a_step'] / 1e6:.1f} MB | {1e3 * sent / _LINK:.2f} ms | {e['epochs']} | "
            f"{seconds[1]:.0f} to {seconds[0]:.0f} s | "
            f"{steps * _STEP[0]:.0f} to {steps * _STEP[1]:.0f} s |"
        )
    return "\n".join(
        [
            "# Several processes",
            "",
            f"`{found['command']}`",
            "",
            f"{found['model']} on {found['data']}, seed {_SEED}, {_EPOCHS} epochs, {found['rounds']} round(s) in turn on "
            f"{found['cores']} cores (torch {found['torch']}, other work beside it: {found['load']}); batches of 128.",
            "",
            "| | samples a second, median | smallest - largest |",
            "|---|---|---|",
            *rows,
            "",
            "One process has two threads, two processes have one each. Losses after the last epoch (the noise of the second",
            "process is its own, so they are near, not equal):",
            "",
            "| | one process | two processes |",
            "|---|---|---|",
            *terms,
            "",
            f"The gradients of a step are {exchanged['bytes'] / 1e6:.1f} MB; two processes on this machine (gloo) average them "
            f"in {1e3 * exchanged['seconds']:.1f} ms.",
            "",
            "## An estimate that nobody has run",
            "",
            f"CelebA ({_CELEBA:,} images) at 128 x 128 on {_GPUS} GPUs. Operations of a whole step (all players, forward and",
            "backward, the terms of late training) are counted by torch's FlopCounterMode with the default networks. Assumed:",
            f"{_GPU / 1e12:.0f} million million bfloat16 operations a second a GPU, of which",
            f"{_SHARES[0]:.0%} to {_SHARES[1]:.0%} "
            f"are used; {_BATCH} images a GPU and step; {_LINK / 1e9:.0f} GB/s between GPUs;",
            f"{1e3 * _STEP[0]:.0f} to {1e3 * _STEP[1]:.0f} ms to start the kernels of a step; epochs by the recipe; "
            "nothing for reading data,",
            "validation and starting. So the networks are far too small to be limited by arithmetic: starting kernels is what",
            "takes time, then reading 8 GB of images an epoch, and larger networks would cost little more.",
            "",
            "| model | labels | parameters | operations an image | gradients | sent in | epochs | arithmetic | kernels |",
            "|---|---|---|---|---|---|---|---|---|",
            *guesses,
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Two processes against one, and an estimate for GPUs.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", default="faces:n=2000")
    parser.add_argument("--model", default="lsvae")
    parser.add_argument("--out", default="docs/evidence")
    parser.add_argument("--exchange", metavar="FILE", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.exchange:
        exchange(given.data, given.model, Path(given.exchange))
        return
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        ls.open(given.data)  # images are drawn before anything is measured
        runs = [train(given.data, given.model, way, home / f"{way}-{i}") for i in range(given.rounds) for way in _WAYS]
        measured = home / "exchange.json"
        command = [sys.executable, __file__, "--data", given.data, "--model", given.model, "--exchange", str(measured)]
        subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
        found = {
            "command": " ".join(["python", "benchmarks/processes.py", *sys.argv[1:]]),
            "data": given.data,
            "model": given.model,
            "rounds": given.rounds,
            "seed": _SEED,
            "cores": cores.usable(),
            "load": f"load {os.getloadavg()[1]:.1f} over five minutes",
            "torch": torch.__version__,
            "runs": runs,
            "exchange": json.loads(measured.read_text()),
            "estimate": {name: estimate(name) for name in _SIZES},
        }
    out = Path(given.out)
    files.write_json(out / "processes.json", found)
    files.write(out / "processes.md", page(found))
    print(page(found))


if __name__ == "__main__":
    main()
