"""Models side by side on the same data: what their edits achieve by an independent judge, how they predict, what they cost."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from labelspace import config, files
from labelspace.data import sources
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError, unknown
from labelspace.evaluation import edits, judge
from labelspace.evaluation.judge import Judge
from labelspace.evaluation.manipulation import hit_rate, side_effects
from labelspace.evaluation.scores import mean
from labelspace.experiments import classifier
from labelspace.labels import LabelDistribution
from labelspace.models import MODELS, build
from labelspace.models.base import Model
from labelspace.training.fit import configuration, fit
from labelspace.training.progress import Silent, Watcher
from labelspace.training.run import Run

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
        for name in self.models:
            if name not in MODELS and name != CLASSIFIER:
                raise unknown("model", name, [*MODELS, CLASSIFIER])
        if self.seeds < 1:
            raise UserError(f"seeds must be at least 1, got {self.seeds}")
        for text in self.assignments:
            key = text.partition("=")[0].strip()
            if not any(key in config.settings("vae" if name == CLASSIFIER else name) for name in self.models):
                raise unknown("setting of the models:", key, sorted({k for n in MODELS for k in config.settings(n)}))


def run(
    plan: Plan, home: Path, *, tell: Callable[[str], None] = lambda _: None, watcher: Callable[[], Watcher] = Silent
) -> dict[str, Any]:
    """Trains and measures every model of a plan; runs that are finished are not trained again.

    Args:
        plan: what is compared.
        home: directory; a run directory for each model and seed, ``results.json`` and ``table.md``.
        tell: told what happens, a line each.
        watcher: makes a watcher for every training.

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
            _settings(plan, name, seed, data)  # what is wrong with them is said before anything is trained
        reader = None
        if plan.edit:
            tell(f"training a judge on real data, seed {seed}")
            reader = judge.train(known, seed=seed)
            shown |= {f"seed {seed}": {n: s.to_dict() for n, s in judge.accuracy(reader, known).items()}}
        for name in plan.models:
            if name in skipped:
                continue
            tell(f"{name}, seed {seed}")
            place = home / f"{name}-{seed}"
            try:
                results.append(_one(plan, name, seed, data, known, reader, place, watcher))
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
    watcher: Callable[[], Watcher],
) -> dict[str, Any]:
    """One model and seed: trained, or taken from its run directory, and measured."""
    resolved = _settings(plan, name, seed, data)
    if name == CLASSIFIER:
        plain = classifier.train(data, resolved.arguments["network"], seed=seed)
        return {"model": name, "seed": seed, "accuracy": accuracy(plain.predict, known)}
    torch.manual_seed(seed)
    model = build(name, data, **resolved.arguments)
    started, done = Run(place), place / "bench.json"
    if started.exists and started.read_config() != json.loads(json.dumps(configuration(model, data, resolved.options))):
        raise UserError(f"{place} holds a run with other settings; choose another --out")
    fit(model, data, resolved.options, out=place, resume=started.exists, watcher=watcher())
    if done.exists():
        old = files.read_json(done)
        if ("edits" in old) == plan.edit and old.get("most") == plan.most:
            return old
    seconds = sum(json.loads(line)["seconds"] for line in started.metrics_file.read_text().splitlines())
    result: dict[str, Any] = {"model": name, "seed": seed, "seconds": seconds, "epochs": resolved.options.epochs}
    result["most"] = plan.most
    rows = known.rows("test")[: plan.most]
    x = known.samples(rows)
    with torch.no_grad():
        again = model.decode(model.encode(x, *known.labels(rows)).map(lambda part: part.mode)).mean_like(x)
    result["reconstruction_error"] = float(((again - x) ** 2).nanmean())
    try:
        result["accuracy"] = accuracy(model.predict, known)
    except UserError:
        result["accuracy"] = {}  # the model does not predict
    if reader is not None:
        result["edits"] = {
            label.name: _edited(model, known, reader, rows, label.name, seed)
            for i, label in enumerate(known.schema)
            if label.discrete and known.observed[rows, i].any()
        }
    files.write_json(done, result)
    return result


def _settings(plan: Plan, name: str, seed: int, data: Dataset) -> config.Config:
    """A model's settings under a plan; of the plain classifier only the network counts."""
    known = "vae" if name == CLASSIFIER else name
    own = [f"{key}={value}" for key, value in _assigned(plan) if key in config.settings(known)]
    return config.resolve(
        known,
        data.shape,
        len(data.schema),
        len(data.rows("train")),
        likelihood=data.likelihood,
        assignments=own,
        training={"epochs": plan.epochs, "seed": seed},
    )


def _assigned(plan: Plan) -> list[tuple[str, str]]:
    pairs = (text.partition("=") for text in plan.assignments)
    return [(key.strip(), value.strip()) for key, _, value in pairs]


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


def _edited(model: Model, data: Dataset, reader: Judge, rows: np.ndarray, label: str, seed: int) -> dict[str, Any]:
    """What setting a label to another value achieves: the judge's verdict, the other labels, and the error to the truth."""
    rows = rows[data.observed[rows, data.schema.index(label)]]
    x = data.samples(rows)
    edited, wanted = edits.flip(model, data, rows, label, keep_detail=False, seed=seed)
    kept = side_effects(reader, x, edited, label).kept
    out: dict[str, Any] = {
        "judge": hit_rate(reader, edited, label, wanted).to_dict(),
        "kept": {name: score.to_dict() for name, score in kept.items()},
    }
    if data.truth is not None and data.schema[label].kind == "binary":
        out["error"] = edits.errors(data, rows, label, x, edited, wanted)["all"]["ratio"]
    return out


def table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: one row a model, means over seeds, and the range where there are several."""
    labels = list(dict.fromkeys(y for r in found["runs"] for y in (*r["accuracy"], *r.get("edits", {}))))
    edited = any("edits" in r for r in found["runs"])
    header = ["model", *(f"predicts {name}" for name in labels)]
    if edited:
        header += [*(f"transfer {name}" for name in labels), "others kept, worst", "error / doing nothing"]
    header += ["reconstruction MSE", "training minutes"]
    rows = []
    for name in dict.fromkeys(r["model"] for r in found["runs"]):
        mine = [r for r in found["runs"] if r["model"] == name]
        row = [name, *(_spread([r["accuracy"][y]["value"] for r in mine if y in r["accuracy"]]) for y in labels)]
        if edited:
            made = [r["edits"] for r in mine if "edits" in r]
            row += [_spread([e[y]["judge"]["value"] for e in made if y in e]) for y in labels]
            row.append(
                _spread([min(s["value"] for y in e.values() for s in y["kept"].values()) for e in made if len(labels) > 1])
            )
            ratios = [
                statistics.mean(y["error"] for y in e.values() if "error" in y)
                for e in made
                if any("error" in y for y in e.values())
            ]
            row.append(_spread(ratios, percent=False))
        row.append(_spread([r["reconstruction_error"] for r in mine if "reconstruction_error" in r], percent=False, digits=4))
        row.append(_spread([r["seconds"] / 60 for r in mine if "seconds" in r], percent=False, digits=1))
        rows.append(row)
    return header, rows


def _spread(values: Sequence[float], *, percent: bool = True, digits: int = 2) -> str:
    """The mean, and smallest and largest in brackets where there are several."""
    if not values:
        return "-"
    scaled = [100 * v for v in values] if percent else list(values)
    form = "{:.1f}%" if percent else f"{{:.{digits}f}}"
    text = form.format(statistics.mean(scaled))
    return text if len(scaled) == 1 else f"{text} ({form.format(min(scaled))} - {form.format(max(scaled))})"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table as Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
