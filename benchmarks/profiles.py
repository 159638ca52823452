"""Where the time of a training step goes: operations by kind, for the training workloads of ``labelspace bench``.

    python benchmarks/profiles.py [--out docs/evidence/profiles.md] [--only b,c,d]

Each workload is trained for some steps to warm up and for some under PyTorch's profiler, in float32 and with precision "auto".
What is counted is the time inside an operation itself, on the thread that runs it.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from labelspace.data.batches import Batches
from labelspace.errors import DivergedError
from labelspace.reporting.tables import markdown
from labelspace.speed.training import TRAINING, Training
from labelspace.storage import files
from labelspace.training import engine
from labelspace.training.options import Options
from labelspace.training.schedule import Schedule
from labelspace.training.step import Stepper

KINDS = {  # kind of operation -> parts of names; the first that fits counts
    "convolutions, backward": ("convolution_backward",),
    "convolutions, forward": ("mkldnn_convolution", "_convolution", "thnn_conv"),
    "matrix products": ("aten::mm", "addmm", "bmm"),
    "activations": ("silu", "threshold", "clamp_min", "relu", "sigmoid", "softplus"),
    "copies and casts": ("copy_", "_to_copy", "cat", "index_select"),
    "optimisers": ("adam", "Adam", "lerp", "foreach"),
    "losses": ("mse_loss", "l1_loss", "log_sigmoid", "aten::sum", "aten::mean", "aten::abs", "aten::sub", "aten::mul"),
}


def kinds(workload: Training, precision: str) -> dict[str, float]:
    """Shares of a step by kind of operation; they sum to 1."""
    data = workload.dataset()
    options = Options(epochs=1, batch_size=workload.batch_size, clip=0.0, warmup=0, decay=0.0, precision=precision)  # type: ignore[arg-type]
    fabric = engine.launch(options, data.is_image)
    model, batches = workload.new(data).train(), Batches(data, "train", workload.batch_size, prefetch=0)
    stepper = Stepper(fabric, model, options, Schedule(options, len(batches)), _diverged)
    generator = torch.Generator().manual_seed(0)

    def epoch() -> None:
        for step, batch in enumerate(batches):
            stepper.step(batch, generator, step)

    with engine.held_memory(fabric.device):
        epoch()
        with profile(activities=[ProfilerActivity.CPU]) as found:
            epoch()
    times: Counter[str] = Counter()
    for event in found.key_averages():
        kind = next((kind for kind, parts in KINDS.items() if any(part in event.key for part in parts)), "other")
        times[kind] += event.self_cpu_time_total
    return {kind: times[kind] / sum(times.values()) for kind in (*KINDS, "other")}


def _diverged(*_: object) -> None:
    raise DivergedError("a step that is profiled diverged")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/evidence/profiles.md"))
    parser.add_argument("--only", default="b,c,cv,d")
    given = parser.parse_args()
    columns: dict[str, dict[str, float]] = {}
    for workload in TRAINING:
        if workload.key in given.only.split(","):
            for precision in ("32-true", "auto"):
                steps = 100 if workload.key == "b" else 12
                columns[f"{workload.key}, {precision}"] = kinds(replace(workload, steps=steps), precision)
    rows = [[kind, *(f"{100 * shares[kind]:.0f}%" for shares in columns.values())] for kind in (*KINDS, "other")]
    about = f"`python benchmarks/profiles.py`: shares of a step, {torch.get_num_threads()} threads, torch {torch.__version__}."
    text = f"{about}\n\n{markdown(['operations', *columns], rows)}"
    files.write(given.out, text)
    print(text, end="")


if __name__ == "__main__":
    main()
