"""What a GPU does with all models, in at most five minutes: whether they train right, and how fast.

    python benchmarks/accelerator.py [--minutes 5] [--out docs/evidence/accelerator.json]
    python benchmarks/accelerator.py --dry        # on the CPU, a little of everything, to see that it runs

Of every model: two runs of the same seed, one cut off after an epoch and resumed, and the first objective in bfloat16 beside
float32. Then samples a second of the bench's workloads, of pictures of 128x128 and of forty labels, with the share of the rate
at which the device multiplies large matrices; and images a second that reach the device. What is still to be done when time is
up is listed under "left out". A part that fails is kept with its error, and the others go on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import labelspace as ls
from labelspace.data.batches import Batches
from labelspace.data.dataset import Dataset
from labelspace.models import MODELS, build
from labelspace.models.base import Model
from labelspace.speed import floor
from labelspace.speed.training import TRAINING, noise
from labelspace.training import engine
from labelspace.training.fit import resolve
from labelspace.training.options import Options


class Cut(ls.Callback):
    """Ends training after its first epoch, as a keyboard does."""

    def epoch(self, row: dict[str, Any]) -> None:
        if row["epoch"] == 2:
            raise KeyboardInterrupt


def fresh(name: str, data: Dataset) -> Model:
    torch.manual_seed(0)
    return build(name, data)


def farthest(a: Model, b: Model) -> float:
    """The largest difference of two models' tensors."""
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return max(float((x.double().nan_to_num() - y.double().nan_to_num()).abs().max()) for x, y in pairs if x.numel())


def check(name: str, where: str, side: int) -> dict[str, Any]:
    """Whether a model trains, does the same twice, resumes, and means the same in bfloat16."""
    data = noise((3, side, side), 3, 256)
    options = Options(epochs=3, batch_size=64, accelerator=where, precision="32-true")
    runs = [ls.fit(fresh(name, data), data, options, progress=False).model for _ in range(2)]
    with tempfile.TemporaryDirectory() as home:
        with contextlib.suppress(KeyboardInterrupt):
            ls.fit(fresh(name, data), data, options, out=f"{home}/run", callbacks=[Cut()], progress=False)
        resumed = ls.fit(fresh(name, data), data, options, out=f"{home}/run", resume=True, progress=False).model
    objectives = {}
    for precision in ("32-true", "bf16-mixed"):
        fabric = engine.launch(Options(accelerator=where, precision=precision), True)
        model = fresh(name, data).to(fabric.device).train()
        batch = next(iter(Batches(data, "train", 64, shuffle=False, prefetch=0))).to(fabric.device)
        with fabric.autocast():
            losses = model.losses(batch, torch.Generator(fabric.device).manual_seed(0))
            objectives[precision] = float(losses.objective("model").detach())
    exact, rough = objectives.values()
    return {
        "finite": all(bool(p.isfinite().all()) for p in runs[0].parameters()),
        "moved": farthest(fresh(name, data), runs[0]),
        "twice": farthest(*runs),
        "resumed": farthest(runs[0], resumed),
        "objective": exact,
        "bfloat16 beside it": abs(rough - exact) / max(abs(exact), 1e-6),
    }


def peak(device: torch.device, dtype: torch.dtype, seconds: float = 1.0) -> float:
    """Floating-point operations a second of products of large square matrices."""
    if device.type == "cpu":
        return floor.multiply_rate(dtype, seconds / 10, 256)  # without bfloat16 in the processor more takes minutes
    side = 8192
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    out, best = torch.empty_like(a), float("inf")
    for _ in range(20):
        torch.cuda.synchronize()
        began = time.perf_counter()
        torch.mm(a, b, out=out)
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best


def speed(model: Callable[[Dataset], Model], data: Dataset, options: Options, peaks: dict[str, float]) -> dict[str, Any]:
    """Samples a second of the better of two passes after a first one, and the share of the peak."""
    rates = ls.fit(model(data), data, options, epochs=3, progress=False).rows[1:]
    rate = max(row["samples_per_second"] for row in rates)
    fabric = engine.launch(options, data.is_image)
    counted = model(data).to(fabric.device).train()
    batch = next(iter(Batches(data, "train", options.batch_size, prefetch=0))).to(fabric.device)
    with FlopCounterMode(display=False) as counter, fabric.autocast():
        losses = counted.losses(batch, torch.Generator(fabric.device).manual_seed(0))
        for player in counted.players():
            losses.objective(player).backward(retain_graph=True)
    each = counter.get_total_flops() / len(batch)
    kind = engine.precision_for(options, data.is_image)
    return {
        "samples_per_second": rate,
        "batch_size": options.batch_size,
        "precision": kind,
        "operations_per_sample": each,
        "share_of_peak": rate * each / peaks["bfloat16" if kind == "bf16-mixed" else "float32"],
        "most_memory_mb": torch.cuda.max_memory_allocated() / 1e6 if fabric.device.type == "cuda" else None,
    }


def feeding(device: torch.device, n: int) -> dict[str, float]:
    """Images 64x64 a second that are gathered, and that reach the device."""
    data, found = noise((3, 64, 64), 3, n), {}
    for what, moves in (("gathered", False), ("on the device", True)):
        batches = Batches(data, "train", 256, prefetch=2, pin=moves and device.type == "cuda")
        began = time.perf_counter()
        for batch in batches:
            if moves:
                batch.to(device)
        if device.type == "cuda":
            torch.cuda.synchronize()
        found[what] = n / (time.perf_counter() - began)
    return found


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--minutes", type=float, default=5.0)
    asked.add_argument("--dry", action="store_true", help="on the CPU, a little of everything")
    asked.add_argument("--only", default="", help="parts whose names begin with one of these, with commas between")
    asked.add_argument("--out", type=Path)
    given = asked.parse_args()
    if not (given.dry or torch.cuda.is_available()):
        raise SystemExit("there is no GPU here; --dry runs on the CPU")
    device, where = (torch.device("cpu"), "cpu") if given.dry else (torch.device("cuda"), "cuda")
    until, small = time.monotonic() + 60 * given.minutes, given.dry
    found: dict[str, Any] = {
        "device": engine.processor() if small else torch.cuda.get_device_name(),
        "torch": version("torch"),
        "dry": small,
        "peaks": {},
        "parts": {},
        "left out": [],
    }
    peaks = found["peaks"]
    for kind in ("float32", "bfloat16"):
        peaks[kind] = peak(device, getattr(torch, kind))
    many, steps = (64, 2) if small else (512, 20)

    def trained(shape: tuple[int, ...], labels: int, name: str) -> Callable[[], Any]:
        def run() -> Any:
            data = noise(shape, labels, many * steps)
            changes = {"batch_size": many, "accelerator": where, "epochs": 1}
            return speed(lambda data: fresh(name, data), data, resolve(fresh(name, data), data, None, changes), peaks)

        return run

    def workload(each: Any) -> Callable[[], Any]:
        data = (each.shortened(1000) if small else each).dataset
        options = Options(epochs=1, batch_size=each.batch_size, accelerator=where)
        return lambda: speed(each.new, data(), options, peaks)

    parts: dict[str, Callable[[], Any]] = {f"model {name}": lambda name=name: check(name, where, 16) for name in MODELS}
    parts |= {f"row {each.key}: {each.title}": workload(each) for each in TRAINING if each.key in "abcd"}
    parts["row lsvae, 64x64, 3 labels"] = trained((3, 64, 64), 3, "lsvae")
    parts["row lsvae, 64x64, 40 labels"] = trained((3, 64, 64), 40, "lsvae")
    parts["row lsvae, 128x128, 3 labels"] = trained((3, 128, 128), 3, "lsvae")
    parts["feeding"] = lambda: feeding(device, 512 if small else 20_000)
    for name, part in parts.items():
        if given.only and not name.startswith(tuple(given.only.split(","))):
            continue
        if time.monotonic() > until:
            found["left out"].append(name)
            continue
        began = time.monotonic()
        try:
            found["parts"][name] = part()
        except Exception as error:  # the others go on: a machine is lent for minutes
            found["parts"][name] = {"error": f"{type(error).__name__}: {error}"}
        print(f"{name}: {found['parts'][name]}  ({time.monotonic() - began:.1f} s)", flush=True)
        if given.out:
            given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    failed = [name for name, part in found["parts"].items() if "error" in part]
    print(f"left out: {', '.join(found['left out']) or 'nothing'}; failed: {', '.join(failed) or 'nothing'}")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
