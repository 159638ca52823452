"""One run of a recipe in a process of its own: ``python -m labelspace.experiments.worker FILE``, called by the grid.

The file says which recipe, scale, address, job and directory. A user's mistake or a diverged training ends as one line on
standard error and exit code 2; what was measured is written beside the run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from labelspace import surroundings
from labelspace.errors import DivergedError, UserError
from labelspace.experiments import jobs, source
from labelspace.experiments.recipes import load
from labelspace.storage import files, locks


def work(task: dict) -> None:
    """Trains a job where it is not trained yet, measures it, and writes what was found."""
    recipe = load(task["recipe"])
    job = recipe.jobs(task["scale"], task["address"])[task["job"]]
    home = Path(task["home"])
    files.contained(home, (".job.lock", "samples", Path(task["found"]).name))
    busy = f"{home} is being worked on by another process; wait for it, or choose another --runs"
    with locks.exclusive(home / ".job.lock", busy, print):  # not the run's own lock, which ends with the training
        model = jobs.train(job, home, callback=lambda model, data: recipe.callback(job, model, data, home))
        found = recipe.measure(job, model, job.open_whole(), task["scale"])
        about = {"version": recipe.version, "scale": task["scale"], "commit": source.commit()}
        files.write_json(Path(task["found"]), {**about, "found": found})


def main() -> int:
    """Exit code 0, or 2 with one line on standard error."""
    try:
        work(files.read_json(Path(sys.argv[1])))
    except (UserError, DivergedError) as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        return 2
    return 0


if __name__ == "__main__":
    surroundings.prepare()
    sys.exit(main())
