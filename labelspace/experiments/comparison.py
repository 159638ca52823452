"""Models side by side on the same data: what their edits achieve by an independent judge, how they predict, what they cost."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from labelspace import config
from labelspace.data import frames, paths, sources
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError, unknown
from labelspace.evaluation import classifier, judge
from labelspace.evaluation.judge import Judge
from labelspace.experiments import jobs, measures
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import spread
from labelspace.labels import LabelDistribution
from labelspace.metrics import mean
from labelspace.models import MODELS, names
from labelspace.reporting.tables import markdown
from labelspace.storage import files
from labelspace.training.options import Options
from labelspace.training.progress import Callback
from labelspace.training.run import Run

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame

CLASSIFIER = "classifier"
_CHUNK = 500


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        address: data address.
        labels: labels to use; None is all.
        models: names of models; "classifier" is a plain classifier with the same encoder.
        seeds: runs of each model, with seeds from 0; the seed also chooses which labels are hidden.
        supervision: fraction of samples whose labels are used.
        epochs: passes; None is each model's recipe.
        assignments: ``KEY=VALUE`` settings, given to every model that has them.
        edit: whether edits are measured.
        most: test samples that are edited.
    """

    address: str
    labels: tuple[str, ...] | None = None
    models: tuple[str, ...] = (*MODELS,)
    seeds: int = 1
    supervision: float = 1.0
    epochs: int | None = None
    assignments: tuple[str, ...] = ()
    edit: bool = True
    most: int = 600

    def __post_init__(self) -> None:
        known = [*names(), CLASSIFIER]
        for name in self.models:
            if name not in known:
                raise unknown("model", name, known)
        if self.seeds < 1:
            raise UserError(f"seeds must be at least 1, got {self.seeds}")
        for text in self.assignments:
            key = text.partition("=")[0].strip()
            if not any(key in config.settings("vae" if name == CLASSIFIER else name) for name in self.models):
                raise unknown("setting of the models:", key, sorted({k for n in MODELS for k in config.settings(n)}))


def run(
    plan: Plan, home: Path, *, tell: Callable[[str], None] = lambda _: None, callback: Callable[[], Callback] = Callback
) -> dict[str, Any]:
    """Trains and measures every model of a plan; runs that are finished are not trained again.

    Args:
        plan: what is compared.
        home: directory; a run directory for each model and seed, ``results.json`` and ``table.md``.
        tell: told what happens, a line each.
        callback: makes what is told about a training.

    Returns:
        ``{"plan", "judge", "runs": [...], "skipped": {model: reason}}``.
    """
    results: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    shown: dict[str, Any] = {}
    for seed in range(plan.seeds):
        data = sources.open(plan.address, plan.labels, seed=seed, supervision=plan.supervision)
        known = sources.open(plan.address, plan.labels, seed=seed)
        for name in plan.models:
            _job(plan, name, seed).resolve(data)  # what is wrong with them is said before anything is trained
        reader = None
        if plan.edit:
            tell(f"training a judge on real data, seed {seed}")
            reader = judge.of(known, seed)
            shown |= {f"seed {seed}": {n: s.to_dict() for n, s in judge.accuracy(reader, known).items()}}
        for name in plan.models:
            if name in skipped:
                continue
            tell(f"{name}, seed {seed}")
            place = home / f"{name}-{seed}"
            try:
                results.append(_one(plan, name, seed, data, known, reader, place, callback))
            except UserError as error:
                if Run(place).exists:
                    raise
                skipped[name] = str(error)  # the model is not defined for these labels or data
                tell(f"{name} is left out: {error}")
            files.write_json(home / "results.json", _whole(plan, shown, results, skipped))
    if not results:
        raise UserError("no model could be trained: " + "; ".join(f"{name}: {reason}" for name, reason in skipped.items()))
    found = _whole(plan, shown, results, skipped)
    header, rows = table(found)
    files.write(home / "table.md", markdown(header, rows))
    return found


@dataclass(frozen=True, repr=False)
class Comparison:
    """Models side by side.

    Attributes:
        found: everything, as plain data: "plan", "judge", "runs", "skipped".
        home: directory of the runs.
    """

    found: dict[str, Any]
    home: Path

    def to_frame(self) -> IntoDataFrame:
        """The table as a frame of texts. Raises UserError where no library for frames is installed."""
        header, rows = table(self.found)
        return frames.make({name: [row[i] for row in rows] for i, name in enumerate(header)})

    def __repr__(self) -> str:
        header, rows = table(self.found)
        return markdown(header, rows).rstrip()

    def _repr_markdown_(self) -> str:
        return repr(self)


def compare(
    address: str,
    labels: Iterable[str] | None = None,
    *,
    models: Iterable[str] = (*MODELS,),
    seeds: int = 1,
    supervision: float = 1.0,
    epochs: int | None = None,
    settings: Mapping[str, Any] | None = None,
    edits: bool = True,
    out: str | Path = "compared",
    tell: Callable[[str], None] = lambda _: None,
    callback: Callable[[], Callback] = Callback,
) -> Comparison:
    """Trains models on the same data and measures what their edits achieve, how they predict, and what they cost.

    Args:
        address: of the data; data in memory are saved first (:meth:`Dataset.save`), so that every run can open them.
        labels: to use; all by default.
        models: their names; "classifier" is a plain classifier with the same encoder.
        seeds: runs of each, seeds from 0.
        supervision: fraction of samples whose labels are used.
        epochs: passes; by default each model's own recipe.
        settings: of every model that has them.
        edits: measure edits, which needs a judge.
        out: directory of runs and results; finished runs are kept.
        tell: told what happens, a line each.
        callback: makes what is told about a training.

    Raises:
        UserError: unknown models or data, or none that could be trained.
    """
    plan = Plan(
        address,
        None if labels is None else tuple(labels),
        tuple(models),
        seeds,
        supervision,
        epochs,
        tuple(f"{name}={value}" for name, value in (settings or {}).items()),
        edit=edits,
    )
    home = paths.own(out)
    return Comparison(run(plan, home, tell=tell, callback=callback), home)


def _whole(plan: Plan, shown: dict, results: list, skipped: dict) -> dict[str, Any]:
    return {"plan": vars(plan), "judge": shown, "runs": results, "skipped": skipped}


def _one(
    plan: Plan,
    name: str,
    seed: int,
    data: Dataset,
    known: Dataset,
    reader: Judge | None,
    place: Path,
    callback: Callable[[], Callback],
) -> dict[str, Any]:
    """One model and seed: trained, or taken from its run directory, and measured."""
    job = _job(plan, name, seed)
    if name == CLASSIFIER:
        plain = classifier.train(data, job.resolve(data).arguments["network"], seed=seed)
        return {"model": name, "seed": seed, "accuracy": accuracy(plain.predict, known)}
    model = jobs.train(job, place, callback=lambda model, data: callback())
    done = place / "bench.json"
    if done.exists():
        old = files.read_json(done)
        with files.of_form(done, "what was measured on a run"):
            if ("edits" in old) == plan.edit and old.get("most") == plan.most:
                return dict(old)
    epochs = Run(place).read_config()["training"].get("epochs", Options.epochs)
    result: dict[str, Any] = {"model": name, "seed": seed, "seconds": jobs.seconds(place), "epochs": epochs}
    result["most"] = plan.most
    rows = known.rows("test")[: plan.most]
    result["reconstruction_error"] = measures.reconstruction_error(model, known, rows)
    try:
        result["accuracy"] = accuracy(model.predict, known)
    except UserError:
        result["accuracy"] = {}  # the model does not predict
    if reader is not None:
        result["edits"] = {
            label.name: measures.edited(model, known, reader, rows, label.name, seed)
            for i, label in enumerate(known.schema)
            if label.discrete and known.observed[rows, i].any()
        }
    files.write_json(done, result)
    return result


def _job(plan: Plan, name: str, seed: int) -> Job:
    """A model of a plan with those of its settings that it has; of the plain classifier only the network counts."""
    known = config.settings("vae" if name == CLASSIFIER else name)
    own = [text for text in plan.assignments if text.partition("=")[0].strip() in known]
    return Job(
        "vae" if name == CLASSIFIER else name,
        plan.address,
        plan.labels,
        seed,
        supervision=plan.supervision,
        settings=tuple(own),
        epochs=plan.epochs,
    )


def accuracy(predict: Callable[[torch.Tensor], LabelDistribution], data: Dataset) -> dict[str, dict[str, float]]:
    """Rate of right predictions on the test split, per discrete label."""
    rows = data.rows("test")
    read = torch.cat([predict(data.samples(part)).mode() for part in np.array_split(rows, -(-len(rows) // _CHUNK))])
    values, observed = data.labels(rows)
    out = {}
    for i, label in enumerate(data.schema):
        if label.discrete:
            seen = observed[:, i]
            out[label.name] = mean((read[seen, i] == values[seen, i]).numpy()).to_dict()
    return out


def table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: one row a model, means over seeds, and the range where there are several."""
    labels = list(dict.fromkeys(y for r in found["runs"] for y in (*r["accuracy"], *r.get("edits", {}))))
    edited = any("edits" in r for r in found["runs"])
    header = ["model", *(f"predicts {name}" for name in labels)]
    if edited:
        header += [
            *(f"transfer {name}" for name in labels),
            "others kept, worst",
            "error / doing nothing",
            "worst label",
            "edited by",
        ]
    header += ["reconstruction MSE", "training minutes"]
    rows = []
    for name in dict.fromkeys(r["model"] for r in found["runs"]):
        mine = [r for r in found["runs"] if r["model"] == name]
        row = [name, *(spread([r["accuracy"][y]["value"] for r in mine if y in r["accuracy"]], "{:.1%}") for y in labels)]
        if edited:
            made = [r["edits"] for r in mine if "edits" in r]
            row += [spread([e[y]["judge"]["value"] for e in made if y in e], "{:.1%}") for y in labels]
            row.append(
                spread(
                    [min(s["value"] for y in e.values() for s in y["kept"].values()) for e in made if len(labels) > 1], "{:.1%}"
                )
            )
            errors = [[y["error"] for y in e.values() if "error" in y] for e in made]
            row += [spread([how(e) for e in errors if e], "{:.2f}") for how in (statistics.mean, max)]
            row.append(measures.operators(made))
        row.append(spread([r["reconstruction_error"] for r in mine if "reconstruction_error" in r], "{:.4f}"))
        row.append(spread([r["seconds"] / 60 for r in mine if "seconds" in r], "{:.1f}"))
        rows.append(row)
    return header, rows
