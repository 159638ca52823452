"""Everything that is measured on one trained model: what ``labelspace evaluate`` writes.

Works on any model and any data: what a model or the data cannot give (edits of labels, likelihoods, known truth) is left out,
and the reason is kept under "not measured".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from labelspace import interventions
from labelspace.data.dataset import Dataset
from labelspace.data.splits import Split
from labelspace.distributions import Point
from labelspace.errors import UserError
from labelspace.evaluation import edits, prediction
from labelspace.evaluation import judge as judges
from labelspace.evaluation.judge import Judge
from labelspace.evaluation.manipulation import Edited, changed_region, errors_to_styles, identity_cost, side_effect_matrix
from labelspace.evaluation.probing import chosen, chunks, posterior, probes, reconstructed
from labelspace.evaluation.units import Truths, units
from labelspace.labels import LabelDistribution
from labelspace.likelihoods import Table
from labelspace.metrics import (
    Score,
    block_use,
    diversity,
    gaussian_copula,
    generation,
    mean,
    missing_like,
    read_as_asked,
    suite,
    two_sample_auc,
)
from labelspace.models.base import Model
from labelspace.precision import as_double_on_cpu

Tell = Callable[[str], None]

Depth = Literal["brief", "quick", "edits", "all"]

# What is measured at every depth: what a model says by itself; what probes read of its codes, which takes seconds on a thousand
# samples; what edits do as well, which needs a judge; all.
_BRIEF = ("prediction", "blocks", "likelihood")
_QUICK = (*_BRIEF, "leakage")
_PARTS: dict[Depth, tuple[str, ...]] = {
    "brief": _BRIEF,
    "quick": _QUICK,
    "edits": (*_QUICK, "judge", "manipulation"),
    "all": (*_QUICK, "judge", "manipulation", "disentanglement", "generation"),
}

# How many samples the slower parts look at; the others look at all that are given.
TRUTH, DRAWS, PROBED, SCORED, LIKELIHOOD, GENERATED = 600, 8, 4000, 3000, 300, 2000
_CHUNK = 500  # samples generated at a time


def evaluate(
    model: Model,
    data: Dataset,
    *,
    split: Split = "test",
    most: int = 10_000,
    seed: int = 0,
    depth: Depth = "all",
    tell: Tell = lambda _: None,
) -> dict[str, Any]:
    """Measures a model on a split, as plain data.

    Args:
        model: a trained model.
        data: its data, with every label that is known.
        split: which samples.
        most: at most so many of them.
        seed: of the judge, of draws, halves and resampling.
        depth: "brief" is predictions, blocks and reconstructions; "quick" adds leakage, which takes seconds; "edits" what edits
            do to every label.
        tell: told which part is measured.

    Returns:
        "samples", "judge", "prediction", "manipulation", "leakage", "blocks", "disentanglement", "likelihood", "generation",
        "seconds" per part, and "not measured": part -> why.
    """
    rows = chosen(data, split, most, seed)
    if len(rows) < 20:
        raise UserError(f"{data.address}: {len(rows)} samples in the {split} split; an evaluation needs at least 20")
    found: dict[str, Any] = {"data": data.address, "split": split, "samples": len(rows), "seed": seed}
    left_out: dict[str, str] = {}
    seconds: dict[str, float] = {}

    @contextmanager
    def part(name: str) -> Iterator[None]:
        tell(name)
        began = time.monotonic()
        try:
            yield
        except UserError as error:
            left_out[name] = str(error)
        seconds[name] = round(time.monotonic() - began, 1)

    reader: Judge | None = None

    def judged() -> dict[str, Any]:
        nonlocal reader
        reader = judges.of(data, seed)
        truths = judges.on_truths(reader, data, seed=seed)
        read = judges.accuracy(reader, data, split)
        return {n: s.to_dict() | ({"truths": truths[n].to_dict()} if n in truths else {}) for n, s in read.items()}

    measures: dict[str, Callable[[], Any]] = {
        "judge": judged,
        "prediction": lambda: _plain(prediction.labels(_predicted(model, data, rows), *data.labels(rows))),
        "manipulation": lambda: _manipulation(model, data, _there(reader), rows, seed),
        "leakage": lambda: _leakage(model, data, rows, seed, left_out),
        "blocks": lambda: _blocks(model, data, rows),
        "disentanglement": lambda: _disentanglement(model, data, rows, seed),
        "likelihood": lambda: _likelihood(model, data, rows, seed, left_out if depth == "all" else None),
        "generation": lambda: _generation(model, data, _there(reader), rows, seed),
    }
    for name, measured in measures.items():
        if name in _PARTS[depth]:
            with part(name):
                found[name] = measured()
    return {**found, "seconds": seconds, "not measured": left_out}


# -- parts ------------------------------------------------------------------------------------------------------------


def _there(reader: Judge | None) -> Judge:
    if reader is None:
        raise UserError("it needs the judge")
    return reader


def _predicted(model: Model, data: Dataset, rows: np.ndarray) -> LabelDistribution:
    return data.schema.distribution(torch.cat([model.predict(data.samples(part)).parameters for part in chunks(rows)]))


def _manipulation(model: Model, data: Dataset, reader: Judge, rows: np.ndarray, seed: int) -> dict[str, Any]:
    """Per discrete label: the judge's verdict on flipped samples, side effects, and on data with truth the errors.

    Side effects are those of the edit alone: the judge's reading of edited samples beside that of reconstructed ones. What
    reconstructing does by itself is under "reconstruction".
    """
    out: dict[str, Any] = {"labels": {}}
    x = data.samples(rows)
    again = reconstructed(model, data, rows)
    before, blurred = reader.log_odds(x), reader.log_odds(again)
    verdicts = [data.schema.distribution(raw).mode() for raw in (before, blurred)]
    out["reconstruction"] = {
        label.name: mean((verdicts[0][:, i] == verdicts[1][:, i]).numpy()).to_dict()
        for i, label in enumerate(data.schema)
        if label.discrete
    }
    blur = ((again - x) ** 2).flatten(1).nanmean(1).numpy()
    del again
    made: dict[str, Edited] = {}
    for i, label in enumerate(data.schema):
        seen = np.flatnonzero(data.observed[rows, i])
        if not label.discrete or len(seen) < 20:
            continue
        row: dict[str, Any] = {}
        edited, wanted = _flipped(model, data, rows[seen], label.name, seed)
        after = reader.log_odds(edited)
        for name, raw in (("judge", after), ("doing_nothing", before[seen])):
            row[name] = mean((data.schema.distribution(raw).mode()[:, i] == wanted).numpy()).to_dict()
        direction = 2 * wanted.float() - 1 if label.kind == "binary" else None
        made[label.name] = Edited(blurred[seen], after, direction)
        changed = ((edited - x[seen]) ** 2).flatten(1).nanmean(1).numpy()
        row["changed"] = {**mean(changed).to_dict(), "reconstruction": float(blur[seen].mean())}
        if label.kind == "binary":
            row |= _styles(model, data, rows[seen], label.name, edited, wanted, seed)
        out["labels"][label.name] = row
    if not made:
        raise UserError("no discrete label has 20 samples to edit")
    out["side_effects"] = _plain(side_effect_matrix(data.schema, made))
    return out


def _flipped(model: Model, data: Dataset, rows: np.ndarray, label: str, seed: int) -> tuple[Tensor, Tensor]:
    parts = [edits.flip(model, data, part, label, keep_detail=False, seed=seed + k) for k, part in enumerate(chunks(rows))]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


def _styles(
    model: Model, data: Dataset, rows: np.ndarray, label: str, edited: Tensor, wanted: Tensor, seed: int
) -> dict[str, Any]:
    """Diversity of draws of a binary label's block, and where the truth is known, errors, coverage and locality."""
    out: dict[str, Any] = {}
    lacking = rows[data.values[rows, data.schema.index(label)] == 0][:100]  # rows know the label
    draws = None
    if len(lacking):
        x, labels = data.samples(lacking), data.labels(lacking)
        generator = torch.Generator().manual_seed(seed)
        draws = torch.stack(
            [
                interventions.set(model, x, {label: 1}, labels, point="draw", keep_detail=False, generator=generator).x
                for _ in range(DRAWS)
            ],
            1,
        )
        out["spread_of_draws"] = mean(draws.var(1).flatten(1).nanmean(1).numpy()).to_dict()
    if data.truth is None:
        return out
    known = rows[:TRUTH]
    x = data.expected(known)
    out["error"] = edits.errors(Truths(data, known, label, wanted[:TRUTH].numpy()), edited[:TRUTH])
    on = wanted[:TRUTH] == 1
    if bool(on.any()):
        truths, _ = data.counterfactuals(label, 1, known[on.numpy()])
        region = changed_region(x[on], truths)
        again = reconstructed(model, data, known[on.numpy()])
        out["identity_cost"] = {
            **identity_cost(x[on], edited[:TRUTH][on], region).to_dict(),
            "reconstruction": identity_cost(x[on], again, region).value,
        }
    if draws is not None:
        truths, names = data.counterfactuals(label, 1, lacking)
        compared = units(data)
        true = compared(truths)
        errors = np.stack([errors_to_styles(compared(draws[:, k]), true) for k in range(DRAWS)], 1)
        covered = diversity.style_coverage(errors)
        inside = diversity.share_inside(
            diversity.variance_map(draws.numpy()), changed_region(data.expected(lacking), truths).numpy()
        )
        out |= {
            "styles_hit": {**covered.share.to_dict(), "floor": 1 / len(names), "ceiling": covered.ceiling},
            "variance_inside": {**inside["share"].to_dict(), "floor": inside["floor"].value},
        }
    return out


def _leakage(model: Model, data: Dataset, rows: np.ndarray, seed: int, left_out: dict[str, str]) -> dict[str, Any]:
    """What fresh probes read of every label; see :func:`labelspace.evaluation.probing.probes`."""
    found = probes(model, data, rows[:PROBED], seed=seed, divergence=True)
    for name, row in found.items():
        if "not probed" in row:
            left_out[f"leakage of {name}"] = row["not probed"]
    return {name: row for name, row in found.items() if "not probed" not in row}


@torch.no_grad()
def _blocks(model: Model, data: Dataset, rows: np.ndarray) -> dict[str, dict[str, Any]]:
    """Per block its KL from the prior, its active coordinates, and whether it has collapsed."""
    known = posterior(model, data, rows)
    prior = model.prior(*data.labels(rows))
    given = {
        name: q.kl(prior[name]).numpy()
        for name, q in known.items()
        if not isinstance(q, Point) and not isinstance(prior[name], Point)
    }
    used = block_use({name: q.mode.numpy() for name, q in known.items()}, given)
    return {
        name: {
            "kl": None if use.kl is None else use.kl.to_dict(),
            "active": use.active,
            "size": use.size,
            "collapsed": use.collapsed,
        }
        for name, use in used.items()
    }


def _disentanglement(model: Model, data: Dataset, rows: np.ndarray, seed: int) -> dict[str, Any]:
    """Scores of all coordinates that were found in x, with the labels that most samples have as factors.

    Codes are made with all labels hidden, and blocks that hold a label's own value are left out: what was told is not found.
    """
    named = [i for i in range(len(data.schema)) if data.observed[rows, i].mean() > 0.5]
    whole = np.flatnonzero(np.all(data.observed[rows][:, named], axis=1))[:SCORED]
    factors = data.values[rows[whole]][:, named]
    kept = [k for k, i in enumerate(named) if _scorable(factors[:, k], data.schema.labels[i].discrete)]
    if len(kept) < 2 or len(whole) < 200:
        raise UserError(
            "scores of disentanglement need 200 samples that have at least two labels, of every class at least ten of them"
        )
    labels = [data.schema.labels[named[k]] for k in kept]
    blind = posterior(model, data, rows[whole], hidden=True)
    # A block whose code is the label's own value is a point both before and after x is seen.
    prior = model.prior(*data.labels(rows[whole]))
    told = [b.name for b in model.blocks if isinstance(blind[b.name], Point) and isinstance(prior[b.name], Point)]
    codes = torch.cat([q.mode for name, q in blind.items() if name not in told], 1).numpy()
    moving = codes.std(0) > 0
    if moving.sum() < 2:
        raise UserError("scores of disentanglement need at least two coordinates that vary")
    scores = suite(codes[:, moving], factors[:, kept], discrete=[label.discrete for label in labels], seed=seed)
    about = {"factors": [label.name for label in labels], "samples": len(whole), "latents": int(moving.sum())}
    return {**about, "left_out": told, **scores}


def _scorable(values: np.ndarray, discrete: bool) -> bool:
    counts = np.unique(values, return_counts=True)[1]
    return len(counts) > 1 and (not discrete or counts.min() >= 10)


def _likelihood(model: Model, data: Dataset, rows: np.ndarray, seed: int, left_out: dict[str, str] | None) -> dict[str, Any]:
    """Reconstruction error of all samples; an importance-weighted log-likelihood of some, with its number of draws.

    The latter takes long, and is not measured where nothing (None) is told why it could not be."""
    errors, sums, squares, counts = [], 0.0, 0.0, 0.0
    for part in chunks(rows):
        x = data.samples(part)
        errors.append(((reconstructed(model, data, part) - x) ** 2).flatten(1).nanmean(1))
        flat = as_double_on_cpu(x.flatten(1))
        sums, squares = sums + flat.nansum(0), squares + (flat**2).nansum(0)
        counts = counts + (~flat.isnan()).sum(0)
    variance = (squares / counts - (sums / counts) ** 2).nanmean()  # type: ignore[union-attr]
    out: dict[str, Any] = {"reconstruction_error": {**mean(torch.cat(errors).numpy()).to_dict(), "variance": float(variance)}}
    if left_out is None:
        return out
    some = rows[:LIKELIHOOD]
    try:
        generator = torch.Generator().manual_seed(seed)
        found = [
            model.log_likelihood(data.samples(p), *data.labels(p), draws=20, generator=generator) for p in chunks(some, 100)
        ]
        out["log_likelihood"] = {**mean(torch.cat(found).numpy()).to_dict(), "draws": 20}
    except UserError as error:
        left_out["log-likelihood"] = str(error)
    return out


def _generation(model: Model, data: Dataset, reader: Judge, rows: np.ndarray, seed: int) -> dict[str, Any]:
    """New samples beside real ones, in the features of the judge; rows of a table as they are, too."""
    n = min(GENERATED, len(rows))
    generator = torch.Generator().manual_seed(seed)
    values = model.label_marginal(n).sample(generator) if model.labelled else torch.zeros(n, len(data.schema))
    made = torch.cat([model.generate(values[start : start + _CHUNK], generator=generator) for start in range(0, n, _CHUNK)])
    real = data.samples(rows[:n])
    shown, seen = reader.features(real).numpy(), reader.features(made).numpy()
    out: dict[str, Any] = {"samples": n}
    for name, score in (("frechet", generation.frechet), ("kernel", generation.kernel_distance)):
        out[name] = {**score(shown, seen).to_dict(), "real_halves": generation.real_halves(score, shown, seed).value}
    both, halves = generation.precision_recall(shown, seen), generation.real_halves(generation.precision_recall, shown, seed)
    out |= {name: {**both[name].to_dict(), "real_halves": halves[name].value} for name in both}
    out["labels"] = {}
    answers = [data.schema.distribution(reader.log_odds(x)) for x in (made, real)]
    for i, label in enumerate(data.schema):
        if not label.discrete:
            continue
        row: dict[str, Any] = {}
        for name, answer in zip(("inception_style", "real"), answers, strict=True):
            row[name] = generation.inception_style_score(answer.log_table(i).exp().numpy()).to_dict()
        if model.labelled:
            row["as_asked"] = mean((answers[0].mode()[:, i] == values[:, i]).numpy()).to_dict()
            classes = data.values[rows[:n], i]
            known = data.observed[rows[:n], i]
            try:
                inside = diversity.intra_class(seen, values[:, i].numpy(), shown[known], classes[known])
                row["diversity"] = {
                    label.values[v]: {"made": c.generated.to_dict(), "real": c.real.to_dict()} for v, c in inside.items()
                }
            except UserError:
                pass  # no class has two samples of both
        out["labels"][label.name] = row
    if isinstance(model.likelihood, Table):
        out["rows"] = drawn_rows(data, made, values if model.labelled else None, rows[:n], seed)
    return out


def drawn_rows(data: Dataset, made: Tensor, asked: Tensor | None, rows: np.ndarray, seed: int) -> dict[str, Any]:
    """Rows that a model drew beside real ones; labels are columns like others.

    Args:
        data: a table, on whose training split the model was trained.
        made: ``(n, d)``, the rows drawn.
        asked: ``(n, labels)`` under which; None for a model without labels.
        rows: real rows that it was not trained on.
        seed: of readers and of the copula.

    Returns:
        "auc" of a classifier that tells drawn from real, "copula", that of a Gaussian copula of the training rows, and per
        discrete label "labels": how often a classifier of real rows reads what was "asked", and of "real" rows what they are.
    """
    train, n = data.rows("train"), len(made)

    def whole(chosen: np.ndarray) -> np.ndarray:
        labels = np.where(data.observed[chosen], data.values[chosen], np.nan)
        return np.concatenate([data.x[chosen], labels], 1) if asked is not None else np.asarray(data.x[chosen])

    known, real = whole(train), whole(rows)
    drawn = made.numpy() if asked is None else np.concatenate([made.numpy(), asked.numpy()], 1)
    drawn = missing_like(drawn, known, seed=seed)
    classes = [variable.kind == "categorical" for variable in data.variables]
    both = classes + ([label.discrete for label in data.schema] if asked is not None else [])
    copula = gaussian_copula(known, n, categorical=both, seed=seed)
    out: dict[str, Any] = {
        "auc": two_sample_auc(real, drawn, categorical=both, seed=seed).to_dict(),
        "copula": two_sample_auc(real, copula, categorical=both, seed=seed).to_dict(),
        "labels": {},
    }
    for i, label in enumerate(data.schema if asked is not None else ()):
        column = len(classes) + i
        if label.discrete and len(np.unique(known[~np.isnan(known[:, column]), column])) > 1:

            def read(x: np.ndarray, column: int = column) -> dict[str, float]:
                wanted = x[:, column]
                own = known[:, : len(classes)]
                return read_as_asked(own, known[:, column], x[:, : len(classes)], wanted, categorical=classes).to_dict()

            out["labels"][label.name] = {"asked": read(drawn), "real": read(real)}
    return out


# -- what they share --------------------------------------------------------------------------------------------------


def _plain(found: Any) -> Any:
    """Scores inside nested dicts as plain data."""
    if isinstance(found, Score):
        return found.to_dict()
    return {name: _plain(value) for name, value in found.items()} if isinstance(found, dict) else found
