"""Codes of samples, and what fresh probes read from them: the same everywhere that a model is measured.

A model whose encoder is given the label has it in that label's block by construction. So codes can be had with all labels
**hidden**: the model then predicts what it needs, and what a block tells is what the model found in x.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelspace.blocks import Blocks, Latents
from labelspace.data.dataset import Dataset
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import UserError
from labelspace.metrics import entropy, kl_permuted, nearest_neighbour_kl, probe_scores, probe_values
from labelspace.models.base import Model

_CHUNK = 500


def chosen(data: Dataset, split: str, most: int, seed: int = 0) -> np.ndarray:
    """At most so many samples of a split, drawn at random: splits may be sorted by class."""
    rows = data.rows(split)  # type: ignore[arg-type]
    return np.random.default_rng([seed, 5]).permutation(rows)[:most]


def chunks(rows: np.ndarray, size: int = _CHUNK) -> list[np.ndarray]:
    """Rows in parts of about a size."""
    return np.array_split(rows, max(1, -(-len(rows) // size)))


@torch.no_grad()
def posterior(model: Model, data: Dataset, rows: np.ndarray, *, hidden: bool = False) -> Latents[DiagonalGaussian]:
    """The posterior of samples under what is known of their labels, or with all labels hidden."""

    def encode(part: np.ndarray) -> Latents[DiagonalGaussian]:
        values, observed = data.labels(part)
        if hidden:
            values, observed = torch.zeros_like(values), torch.zeros_like(observed)
        return model.encode(data.samples(part), values, observed)

    parts = [encode(part) for part in chunks(rows)]
    joined: dict[str, DiagonalGaussian] = {}
    for block in model.blocks:
        found = [part[block.name] for part in parts]
        means, scales = torch.cat([q.mean for q in found]), torch.cat([q.scale for q in found])
        joined[block.name] = type(found[0])(means, scales)
    return Latents(model.blocks, joined)


def encoded(model: Model, data: Dataset, rows: np.ndarray, *, hidden: bool = False) -> Latents[Tensor]:
    """Mean codes of samples; see :func:`posterior`."""
    return posterior(model, data, rows, hidden=hidden).map(lambda q: q.mode)


def widest(model: Model, data: Dataset, block: str, value: float | None = None) -> list[int]:
    """Coordinates of a block from that on in which training samples (with a value of its label) differ most; in their own order
    where there are two at most."""
    size = model.blocks.named(block).size
    if size <= 2:
        return list(range(size))
    rows = chosen(data, "train", len(data))
    if value is not None and (label := model.blocks.named(block).label) is not None:
        column = data.schema.index(label)
        having = rows[data.observed[rows, column] & (data.values[rows, column] == value)]
        rows = having if len(having) > 1 else rows
    codes = encoded(model, data, rows[:_CHUNK])[block]
    return codes.std(0, correction=0).argsort(descending=True).tolist()


@torch.no_grad()
def reconstructed(model: Model, data: Dataset, rows: np.ndarray) -> Tensor:
    """Samples decoded from their mean codes."""
    out = []
    for part in chunks(rows):
        x = data.samples(part)
        out.append(model.decode(model.encode(x, *data.labels(part)).map(lambda q: q.mode)).mean_like(x))
    return torch.cat(out)


def places(blocks: Blocks, label: str) -> dict[str, list[str]]:
    """Where a label may be read: the "free" blocks together, its "own" block, and "other.X", the block of label X."""
    free = [block.name for block in blocks.free]
    out = {"free": free} if free else {}
    for block in blocks:
        if block.label is not None:
            out["own" if block.label == label else f"other.{block.label}"] = [block.name]
    return out


def probes(model: Model, data: Dataset, rows: np.ndarray, *, seed: int = 0, divergence: bool = False) -> dict[str, Any]:
    """What fresh probes read of every label at every place, on mean codes.

    Args:
        model: a trained model.
        data: its data.
        rows: samples.
        seed: of halves, networks and draws.
        divergence: also the nearest-neighbour KL between the codes with and without a binary label, in the free blocks and its
            own. It is that of draws, because mean codes may lie on curves without width, and between two of those any offset,
            however far below the posterior's own width, is a large divergence.

    Returns:
        Label -> place (:func:`places`, and "own_hidden", its own block of codes that were made with all labels hidden) -> probe
        -> scores of :func:`~labelspace.metrics.probe_scores` or :func:`~labelspace.metrics.probe_values`; and per discrete
        label "chance" and "entropy" in nats. Of another label's block, "together" is what that label's value alone tells of
        this one: labels that go together in the data can be read off each other's blocks as far. A label that is too rare to be
        probed has the reason under "not probed".
    """
    known, blind = posterior(model, data, rows), posterior(model, data, rows, hidden=True)
    generator = torch.Generator().manual_seed(seed)
    drawn = known.map(lambda q: q.sample(generator))
    out: dict[str, Any] = {}
    for i, label in enumerate(data.schema):
        seen = np.flatnonzero(data.observed[rows, i])
        target = data.values[rows[seen], i]
        if len(seen) < 40 or len(np.unique(target)) < 2:
            out[label.name] = {
                "not probed": f"{len(seen)} samples of {len(np.unique(target))} values; at least 40 of two needed"
            }
            continue
        row: dict[str, Any] = {}
        if label.discrete:
            row |= {"chance": 1 / len(np.unique(target)), "entropy": entropy(target.astype(int)).value}
        try:
            for place, names in places(model.blocks, label.name).items():
                row[place] = _read(_side_by_side(known, names, seen), target, label.discrete, seed)
                if divergence and label.kind == "binary" and place in ("free", "own"):
                    code = torch.cat([drawn[name] for name in names], 1).numpy()[seen]
                    row[place]["kl"] = _divergence(code, target == 1, seed)
                if place.startswith("other."):
                    row[place]["together"] = _together(data, rows[seen], i, place.removeprefix("other."), seed)
            own = places(model.blocks, label.name).get("own")
            if own:
                row["own_hidden"] = _read(_side_by_side(blind, own, seen), target, label.discrete, seed)
        except UserError as error:
            row = {"not probed": str(error)}
        out[label.name] = row
    return out


def best_probe(read: dict[str, Any]) -> dict[str, float]:
    """The score of the probe that reads most: balanced accuracy of a discrete label, R^2 of a number."""
    scores = [found.get("balanced_accuracy", found) for name, found in read.items() if name not in ("kl", "together")]
    return max(scores, key=lambda score: score["value"])


def _together(data: Dataset, rows: np.ndarray, i: int, other: str, seed: int) -> dict[str, float] | None:
    """What the value of another label tells of label ``i``: the best probe's score; None where too few samples have both."""
    j = data.schema.index(other)
    both = rows[data.observed[rows, j]]
    value = data.values[both, j]
    code = np.eye(len(data.schema[other].values))[value.astype(int)] if data.schema[other].discrete else value[:, None]
    target = data.values[both, i]
    if len(both) < 40 or len(np.unique(target)) < 2:
        return None
    try:
        return best_probe(_read(code, target, data.schema.labels[i].discrete, seed))
    except UserError:
        return None


def _side_by_side(codes: Latents[DiagonalGaussian], names: list[str], seen: np.ndarray) -> np.ndarray:
    return torch.cat([codes[name].mode for name in names], 1).numpy()[seen]


def _read(code: np.ndarray, target: np.ndarray, discrete: bool, seed: int) -> dict[str, Any]:
    if not discrete:
        return {name: score.to_dict() for name, score in probe_values(code, target, seed=seed).items()}
    found = probe_scores(code, target.astype(int), seed=seed)
    return {name: {what: score.to_dict() for what, score in scores.items()} for name, scores in found.items()}


def _divergence(code: np.ndarray, on: np.ndarray, seed: int) -> dict[str, float] | None:
    """Nearest-neighbour KL of codes with a label from those without it, and what shuffled labels give; in nats."""
    try:
        floor = kl_permuted(code[on], code[~on], seed=seed)
        return {"value": nearest_neighbour_kl(code[on], code[~on]).value, "floor": floor.mean, "floor_sd": floor.sd}
    except UserError:
        return None  # a class with one code only, such as the label's own value
