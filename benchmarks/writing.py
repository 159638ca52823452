"""What is left of how a digit was written once it is another digit.

    python benchmarks/writing.py [--models lsvae,csvae,ccvae,condvae-info,lr-livae,vae] [--seeds 100,101]

Models are trained on the 1,797 digits of 8x8 pixels (``digits``) as ``labelspace train`` trains them. Every digit of the test
and validation splits is set to each of the nine others. How it was written is told by three numbers: its ink, its slant and its
width. Among the edited digits of a class their correlation with those of the originals is taken, of which the mean of the
original's class is taken off; shown is its mean over classes. docs/evidence/writing.json and .md are written.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelspace import interventions
from labelspace.data.dataset import Dataset
from labelspace.evaluation import probing
from labelspace.experiments import jobs
from labelspace.experiments.jobs import Job
from labelspace.experiments.script import mean
from labelspace.models.base import Model
from labelspace.reporting.tables import markdown
from labelspace.storage import files

EVIDENCE = Path(__file__).parents[1] / "docs" / "evidence" / "writing"


def writing(x: Tensor) -> dict[str, np.ndarray]:
    """Ink, slant and width of digits ``(n, 1, h, w)``, by the moments of their ink."""
    ink = x[:, 0].double().clamp(0, 1)
    total = ink.sum((1, 2)).clamp_min(1e-6)
    down = torch.arange(ink.shape[1], dtype=torch.float64)[None, :, None]
    across = torch.arange(ink.shape[2], dtype=torch.float64)[None, None, :]

    def of(values: Tensor) -> Tensor:
        return (ink * values).sum((1, 2)) / total

    y, x_ = down - of(down)[:, None, None], across - of(across)[:, None, None]
    found = {"ink": ink.mean((1, 2)), "slant": of(x_ * y) / of(y**2).clamp_min(1e-6), "width": of(x_**2).sqrt()}
    return {name: values.numpy() for name, values in found.items()}


def kept(model: Model, data: Dataset) -> dict[str, float]:
    """The correlations of the module, one for each number."""
    rows = np.concatenate([data.rows("val"), data.rows("test")])
    x, digits = data.samples(rows), data.values[rows, 0].astype(int)
    before, classes = writing(x), range(len(data.schema["digit"].values))
    for values in before.values():
        for digit in classes:
            values[digits == digit] -= values[digits == digit].mean()
    found: dict[str, list[float]] = {name: [] for name in before}
    for digit in classes:
        others = np.flatnonzero(digits != digit)
        edited = interventions.set(model, x[others], {"digit": digit}, data.labels(rows[others]))
        for name, values in writing(edited.x).items():
            found[name].append(float(np.corrcoef(before[name][others], values)[0, 1]))
    return {name: statistics.fmean(values) for name, values in found.items()}


def measure(name: str, seed: int) -> dict[str, Any]:
    """Trains a model and measures it."""
    job = Job(name, "digits", None, seed)
    with tempfile.TemporaryDirectory() as home:
        model, data = jobs.train(job, Path(home) / "run"), job.open_whole()
        used = probing.posterior(model, data, data.rows("val"))
        prior = model.prior(*data.labels(data.rows("val")))
        free = [block.name for block in model.blocks.free]
        nats = sum(float(used[block].kl(prior[block]).mean()) for block in free)
        return {
            "model": name,
            "seed": seed,
            **kept(model, data),
            "nats": nats,
            "seconds": round(jobs.seconds(Path(home) / "run")),
        }


def page(found: list[dict[str, Any]], command: str) -> str:
    columns = {"ink": ".2f", "slant": ".2f", "width": ".2f", "nats": ".1f"}
    rows = [
        [name, *(mean([run[key] for run in found if run["model"] == name], form) for key, form in columns.items())]
        for name in dict.fromkeys(run["model"] for run in found)
    ]
    shown = markdown(["model", "ink", "slant", "width", "nats of the free block (validation)"], rows).rstrip()
    return f"""# What is left of a digit's writing

Every test and validation digit of `digits` (8x8) is set to each of the nine others. Among the edited digits of a class:
correlation of their ink, slant and width with those that the originals had, beside what is usual in their class; the mean over
classes, of {len({run["seed"] for run in found})} seeds, smallest and largest in brackets. 1 is all of it, 0 nothing.

```
{command}
```

{shown}

All figures: [writing.json](writing.json).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", default="lsvae,csvae,ccvae,condvae-info,lr-livae,vae")
    parser.add_argument("--seeds", default="100,101")
    parser.add_argument("--out", default=str(EVIDENCE))
    given = parser.parse_args()
    found = [measure(name, int(seed)) for name in given.models.split(",") for seed in given.seeds.split(",")]
    command = f"python benchmarks/writing.py --models {given.models} --seeds {given.seeds}"
    files.write_json(Path(f"{given.out}.json"), {"command": command, "runs": found})
    files.write(Path(f"{given.out}.md"), page(found, command))


if __name__ == "__main__":
    main()
