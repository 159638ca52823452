"""All runs of a recipe: side by side, resumable, none made twice.

Every job is trained and measured by a process of its own (:mod:`labelspace.experiments.worker`). Run directories are named by
what the job is, so recipes that need the same run share it. What was measured lies beside the run, a file for each recipe.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from labelspace import cores
from labelspace.data import sources
from labelspace.errors import UserError
from labelspace.evaluation import judge
from labelspace.evaluation.diagnosis import TRUSTED
from labelspace.experiments import jobs
from labelspace.experiments.recipe import Recipe, Result, Scale
from labelspace.storage import files
from labelspace.training.run import Run

Report = Callable[[float, str], None]  # the share that is done, and what is being done

NOT_RUN = "not run"
_POLL = 0.5  # seconds


def side_by_side() -> int:
    """Runs at a time: one a core and at most four, because runs of one thread each finish sooner than one run of several
    threads; one where there is a GPU."""
    return 1 if torch.cuda.is_available() else min(4, cores.usable())


def run(
    name: str,
    recipe: Recipe,
    scale: Scale,
    address: str,
    work: Path,
    *,
    workers: int = 0,
    only: str = "",
    known: Mapping[str, Mapping[str, Any]] | None = None,
    tell: Callable[[str], None] = lambda _: None,
    report: Report = lambda done, what: None,
) -> list[Result]:
    """Trains and measures every job of a recipe that is not done yet.

    Args:
        name: of the recipe.
        recipe: the recipe.
        scale: how large.
        address: of the data.
        work: directory of the runs.
        workers: runs at a time; 0 is :func:`side_by_side`.
        only: words that what is done now must have in its description (:func:`describe`); all by default. Other runs count
            where they are there.
        known: results that were measured before or elsewhere, by the name of their run (:func:`known_results`): these runs
            are not made, unless they are here as well.
        tell: told when something is finished or fails, a line each.
        report: told how far the whole grid is.

    Returns:
        One result a job, in their order; a failed one says why.
    """
    cores.check(workers, "--workers")
    if workers < 0:
        raise UserError(
            f"--workers is how many runs are trained at a time, at least 1 (0: as many as suit the machine); got {workers}"
        )
    planned = recipe.jobs(scale, address)
    homes, known = [work / job.key for job in planned], known or {}

    def is_open(home: Path) -> bool:
        return home.name not in known and _measured(recipe, name, scale, home) is None

    open_ones = [i for i, home in enumerate(homes) if is_open(home)]
    left = len(open_ones)
    open_ones = [i for i in open_ones if set(only.split()) <= set(describe(planned[i]).split())]
    if left and not open_ones:
        first = describe(planned[next(i for i, home in enumerate(homes) if is_open(home))])
        tell(f"{name}: none of the {left} runs that are left is described by {only!r}; they are like '{first}'")
    if open_ones:
        tell(f"{name}: {len(open_ones)} of {len(planned)} runs to do")
        _prepare(recipe, [planned[i] for i in open_ones], tell)
    workers = min(workers or side_by_side(), max(1, len(open_ones)))
    failures: dict[int, str] = {}
    waiting, running = list(open_ones), dict[int, subprocess.Popen]()
    epochs = {i: _epochs(planned[i]) for i in open_ones}
    with _stopped(running):
        while waiting or running:
            while waiting and len(running) < workers:
                i = waiting.pop(0)
                running[i] = _start(name, scale, address, i, homes[i], workers)
            time.sleep(_POLL)
            for i, process in list(running.items()):
                if process.poll() is None:
                    continue
                del running[i]
                if process.returncode:
                    failures[i] = _last_line(homes[i] / f"{name}.log")
                    tell(f"{name}: {homes[i].name} failed: {failures[i]}")
                else:
                    tell(f"{name}: {homes[i].name} is done ({describe(planned[i])})")
            over = len(open_ones) - len(waiting) - len(running)
            part = sum(min(1.0, len(Run(homes[i]).metrics()) / max(1, epochs[i])) * 0.95 for i in running)
            report((over + part) / max(1, len(open_ones)), ", ".join(describe(planned[i]) for i in running))
    results = []
    for i, (job, home) in enumerate(zip(planned, homes, strict=True)):
        measured, elsewhere = _measured(recipe, name, scale, home), known.get(home.name)
        if measured is None and elsewhere is not None:
            result = Result(job, home, **elsewhere)
        else:
            failed = failures.get(i, "" if measured is not None else NOT_RUN)
            held = measured or {"found": {}}
            found, commit = held["found"], held.get("commit", "")
            result = Result(job, home, found, jobs.seconds(home), failed, commit, jobs.skipped(home))
        results.append(result)
    return results


RESULTS = "a results file of labelspace reproduce"


def known_results(recipe: Recipe, name: str, scale: Scale, written: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """What results files say of a recipe's runs: name of the run -> arguments of :class:`Result` after ``job, home``.

    Args:
        recipe: the recipe.
        name: its name.
        scale: how large.
        written: results files; of a run that several have, the last counts.

    Raises:
        UserError: a file that is none, or is of another recipe, another version of it or another scale.
    """
    found: dict[str, dict[str, Any]] = {}
    for file in written:
        held = files.read_json(file)
        with files.of_form(file, RESULTS):
            theirs = (held["recipe"], held["scale"], held.get("recipe_version"))
        if theirs != (name, scale, recipe.version):
            raise UserError(
                f"{file} has results of {theirs[0]} at --scale {theirs[1]}, version {theirs[2]} of the recipe; "
                f"asked for is {name} at --scale {scale}, version {recipe.version}"
            )
        with files.of_form(file, RESULTS):
            for row in held["runs"]:
                if "found" in row:
                    about = {key: row[key] for key in ("seconds", "commit", "skipped")}
                    found[str(row["run"])] = {"measured": dict(row["found"]), **about}
    return found


@dataclass
class JudgeReads:
    """How well judges read a label, balanced: one number for each judge.

    Attributes:
        samples: real test samples.
        truths: true counterfactuals; none where they are not known.
    """

    samples: list[float] = field(default_factory=list)
    truths: list[float] = field(default_factory=list)

    @property
    def trusted(self) -> bool:
        """Whether what these judges say of edits counts."""
        return min(self.samples) >= TRUSTED and (not self.truths or min(self.truths) >= judge.SURE)


def judges(recipe: Recipe, results: list[Result]) -> dict[str, JudgeReads]:
    """How well the judges that results were read by read real samples and true counterfactuals, by label."""
    found: dict[str, JudgeReads] = {}
    good = [r.job for r in results if not r.failed and recipe.judged and r.here]
    for address, labels, seed in dict.fromkeys((job.address, job.labels, job.seed) for job in good):
        _judge_reads(found, address, labels, seed)
    return found


def _judge_reads(found: dict[str, JudgeReads], address: str, labels: tuple[str, ...] | None, seed: int) -> None:
    data = jobs.Job("vae", address, labels, seed).open_whole()
    reader = judge.of(data, seed)
    truths = judge.on_truths(reader, data, seed=seed)
    for label, score in judge.accuracy(reader, data).items():
        row = found.setdefault(label, JudgeReads())
        row.samples.append(score.value)
        row.truths += [truths[label].value] if label in truths else []


def present(name: str, recipe: Recipe, scale: Scale, address: str, work: Path) -> tuple[int, int]:
    """How many of a recipe's runs are done, and how many there are."""
    planned = recipe.jobs(scale, address)
    return sum(_measured(recipe, name, scale, work / job.key) is not None for job in planned), len(planned)


def describe(job: jobs.Job) -> str:
    """A job in a few words."""
    parts = [
        job.model,
        without_path(job.address),
        *(text for text in job.settings if text.startswith(("latent=", "beta=", "adversary=", "balance="))),
    ]
    if job.supervision < 1:
        parts.append(f"{job.supervision:g} labelled")
    if job.label_noise:
        parts.append(f"{job.label_noise:g} wrong")
    return " ".join([*parts, f"seed {job.seed}"])


def _prepare(recipe: Recipe, planned: list[jobs.Job], tell: Callable[[str], None]) -> None:
    """Builds stores and judges once, before processes would each build their own."""
    for address, labels, seed in dict.fromkeys((job.address, job.labels, job.seed) for job in planned):
        data = jobs.Job("vae", address, labels, seed).open_whole()
        recipe.check(data)
        if recipe.judged:
            tell(f"judge of {address}, seed {seed}")
            read: dict[str, JudgeReads] = {}
            _judge_reads(read, address, labels, seed)
            for name, row in read.items():
                if not row.trusted:
                    truths = f", true counterfactuals in {row.truths[0]:.1%}" if row.truths else ""
                    tell(f"the judge reads {name} off real samples in {row.samples[0]:.1%}{truths}: it is no judge of {name}")


def _start(name: str, scale: Scale, address: str, i: int, home: Path, workers: int) -> subprocess.Popen:
    threads = str(max(1, cores.usable() // workers))
    task = {
        "recipe": name,
        "scale": scale,
        "address": address,
        "job": i,
        "home": str(home),
        "found": str(home / f"{name}.json"),
    }
    files.write_json(home / f"{name}.task.json", task)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    command = [sys.executable, "-m", "labelspace.experiments.worker", str(home / f"{name}.task.json")]
    with (home / f"{name}.log").open("w", encoding="utf-8") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)


@contextmanager
def _stopped(running: dict[int, subprocess.Popen]) -> Iterator[None]:
    """Whatever ends the block, no process outlives it; a request to terminate ends it, too."""

    def leave(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    handled = threading.current_thread() is threading.main_thread()  # signals reach no other
    before = signal.signal(signal.SIGTERM, leave) if handled else None
    try:
        yield
    finally:
        if handled:
            signal.signal(signal.SIGTERM, before)
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()


def _measured(recipe: Recipe, name: str, scale: Scale, home: Path) -> dict[str, Any] | None:
    """What was measured on a run, if this version of the recipe did."""
    file = home / f"{name}.json"
    if not file.exists():
        return None
    try:
        held = files.read_json(file)
    except UserError:
        return None  # cut off by a crash; it is measured again
    whole = isinstance(held, dict) and {"version", "scale", "found"} <= set(held)
    return held if whole and (held["version"], held["scale"]) == (recipe.version, scale) else None


def _epochs(job: jobs.Job) -> int:
    return job.epochs or 20  # only the bar depends on it


def _last_line(log: Path) -> str:
    lines = (
        [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        if log.exists()
        else []
    )
    return lines[-1].strip() if lines else "it ended without a word"


def as_plain(result: Result) -> dict[str, Any]:
    """A result for a results file; paths of this machine are left out."""
    job = {**asdict(result.job), "address": without_path(result.job.address)}
    about = {"seconds": round(result.seconds, 1), "commit": result.commit, "skipped": result.skipped}
    return {"job": job, "run": result.home.name, **about} | (
        {"failed": failure(result)} if result.failed else {"found": result.measured}
    )


def failure(result: Result) -> str:
    """Why a run failed, without this machine's directories."""
    return re.sub(r"(?:[\w.~-]*/)+(?=[\w.~-])", "", result.failed)


def without_path(address: str) -> str:
    """An address with a directory of this machine replaced by DIR; of several, set apart by ';', each."""
    first, more, others = address.partition(";")
    if more:
        return f"{without_path(first)};{without_path(others)}"
    name, path, options = sources.parts(address)
    if not path:
        return address
    return f"{name}:DIR" + "".join(f",{key}={value}" for key, value in options.items())
