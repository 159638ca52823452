"""How long training lasts by itself, on 200, 2,000 and 16,000 samples.

    python benchmarks/until_done.py [--models lsvae] [--seeds 100,101]

Nothing is set: every model trains until validation has settled (docs/training.md). Beside passes, steps and minutes stands what
came out: the squared error of reconstructions of test samples over that of their mean (columns in units of their deviation).
docs/evidence/until-done.json and .md are written after every run; runs that are there are not made again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from labelspace.evaluation.probing import reconstructed
from labelspace.evaluation.units import units
from labelspace.experiments import jobs
from labelspace.experiments.jobs import Job
from labelspace.experiments.script import mean
from labelspace.reporting.tables import markdown
from labelspace.storage import files
from labelspace.training.fit import resolve

EVIDENCE = Path(__file__).parents[1] / "docs" / "evidence" / "until-done"
SAMPLES = (200, 2000, 16000)  # of the training split, which is four fifths
KINDS: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "Swiss roll": ("swiss-roll:n={n}", None),
    "patients": ("patients:n={n}", None),
    "faces, 32x32": ("faces:n={n},size=32", ("Eyeglasses", "Beard", "Smiling")),
}


def measure(kind: str, samples: int, name: str, seed: int) -> dict[str, Any]:
    """Trains a model without any option, and says how long that took and what it reaches."""
    address, labels = KINDS[kind]
    job = Job(name, address.format(n=samples * 5 // 4), labels, seed)
    with tempfile.TemporaryDirectory() as home:
        model, data = jobs.train(job, Path(home) / "run"), job.open_whole()
        passes = len((Path(home) / "run" / "metrics.jsonl").read_text("utf-8").splitlines())
        minutes = jobs.seconds(Path(home) / "run") / 60
    rows, compared = data.rows("test"), units(data)
    x, again = compared(data.samples(rows)), compared(reconstructed(model, data, rows))
    steps = passes * -(-samples // resolve(model, data, None, {}).batch_size)
    error = float((again - x).square().mean() / (x - x.mean(0)).square().mean())
    found = {"kind": kind, "samples": samples, "model": name, "seed": seed}
    return found | {"passes": passes, "steps": steps, "minutes": minutes, "error": error}


def page(found: list[dict[str, Any]], command: str) -> str:
    seeds = sorted({run["seed"] for run in found})
    said = f"Seed {seeds[0]}" if len(seeds) == 1 else f"Mean of {len(seeds)} seeds, smallest and largest in brackets"
    rows = []
    for model, kind, samples in dict.fromkeys((run["model"], run["kind"], run["samples"]) for run in found):
        of = [run for run in found if (run["model"], run["kind"], run["samples"]) == (model, kind, samples)]
        forms = {"passes": ".0f", "steps": ",.0f", "minutes": ".1f", "error": ".3f"}
        rows.append([model, kind, f"{samples:,}", *(_shown([run[key] for run in of], form) for key, form in forms.items())])
    shown = markdown(["model", "data", "samples", "passes", "steps", "minutes of a core", "error over that of the mean"], rows)
    return f"""# How long training lasts by itself

No option is set; training ends when validation has settled ([Training](../training.md#how-long)). {said}.

```
{command}
```

{shown.rstrip()}

All figures: [until-done.json](until-done.json).
"""


def _shown(values: list[float], form: str) -> str:
    return mean(values, form) if len(values) > 1 else format(values[0], form)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", default="lsvae")
    parser.add_argument("--seeds", default="100,101")
    parser.add_argument("--out", default=str(EVIDENCE))
    given = parser.parse_args()
    command = f"python benchmarks/until_done.py --models {given.models} --seeds {given.seeds}"
    kept = Path(f"{given.out}.json")
    found = json.loads(kept.read_text("utf-8"))["runs"] if kept.exists() else []
    done = {(run["samples"], run["model"], run["kind"], run["seed"]) for run in found}
    models, seeds = given.models.split(","), [int(seed) for seed in given.seeds.split(",")]
    asked = [(samples, name, kind, seed) for samples in SAMPLES for name in models for kind in KINDS for seed in seeds]
    for samples, name, kind, seed in asked:
        if (samples, name, kind, seed) not in done:
            found.append(measure(kind, samples, name, seed))
            found.sort(key=lambda run: (run["model"], list(KINDS).index(run["kind"]), run["samples"], run["seed"]))
            files.write_json(kept, {"command": command, "runs": found})
            files.write(kept.with_suffix(".md"), page(found, command))


if __name__ == "__main__":
    main()
