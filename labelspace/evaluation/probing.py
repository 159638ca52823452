"""Codes of samples, and what fresh readers say of them: the same everywhere that a model is measured.

A model whose encoder is given the label has it in that label's block by construction. So codes can be had with all labels
**hidden**: the model then predicts what it needs, and what a block tells is what the model found in x.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from labelspace.blocks import Blocks, Latents
from labelspace.data.dataset import Dataset
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import UserError
from labelspace.evaluation.readers import STEPS, Codes, explained, read_scores
from labelspace.metrics import balanced_rate, entropy, kl_permuted, nearest_neighbour_kl, statistic
from labelspace.models.base import Model

Of = Literal["draws", "means"]
"""What of a posterior is read."""

_CHUNK = 500
_LEARNT, _ENOUGH = 8000, 200  # samples of the training split that readers learn from: at most, and at least
_LEAST, _FEWEST = 20, 2  # samples that a reader is scored on, and of every class


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


def probes(
    model: Model, data: Dataset, rows: np.ndarray, *, seed: int = 0, divergence: bool = False, steps: int = STEPS
) -> dict[str, Any]:
    """What a strong reader (:mod:`labelspace.evaluation.readers`) says of every label at every place, of draws and of means.

    Draws of the posterior are what the decoder gets, so they say whether it can know the label from there; means are what is
    written out (``labelspace embed``), so they say whether somebody could read it. Mean codes may tell what draws do not: an
    offset far below the posterior's own width. Readers learn from samples of the training split that are not among ``rows``; of
    data with too few of these, from one half of ``rows``, and are scored on the other.

    Args:
        model: a trained model.
        data: its data.
        rows: samples.
        seed: of choices, readers and draws.
        divergence: also the nearest-neighbour KL between the codes with and without a binary label, in the free blocks and its
            own. It is that of draws, because mean codes may lie on curves without width.
        steps: of every reader at most.

    Returns:
        Label -> place (:func:`places`, and "own_hidden", its own block of codes that were made with all labels hidden) ->
        "draws" and "means" -> scores of :func:`~labelspace.evaluation.readers.read_scores`; and per discrete label "chance" and
        "entropy" in nats. Of another label's block, "together" is what that label's value alone tells of this one: labels that
        go together in the data can be read off each other's blocks as far. A label that is too rare to be read has the reason
        under "not probed".
    """
    learnt, held = _learnt_and_held(data, rows, seed)
    out: dict[str, Any] = {}
    for i, label in enumerate(data.schema):
        target = data.values[held[data.observed[held, i]], i]
        few = label.discrete and len(target) > 0 and int(np.unique(target, return_counts=True)[1].min()) < _FEWEST
        if len(target) < _LEAST or len(np.unique(target)) < 2 or few:
            rare = f" of which the rarest has fewer than {_FEWEST}" if few else ""
            reason = f"{len(target)} samples of {len(np.unique(target))} values{rare}; at least {_LEAST} of two needed"
            out[label.name] = {"not probed": reason}
        else:
            chance = {"chance": 1 / len(np.unique(target)), "entropy": entropy(target.astype(int)).value}
            out[label.name] = chance if label.discrete else {}
    known = {hidden: [posterior(model, data, part, hidden=hidden) for part in (learnt, held)] for hidden in (False, True)}
    told = [(data.values[part], data.observed[part]) for part in (learnt, held)]
    generator = torch.Generator().manual_seed(seed)

    def ask(names: list[str], hidden: bool = False) -> dict[str, dict[str, Any]]:
        """Label -> "draws" and "means" of some blocks side by side."""
        parts = [
            Codes(beside([q[name] for name in names]), values, observed)
            for q, (values, observed) in zip(known[hidden], told, strict=True)
        ]
        found: dict[str, dict[str, Any]] = {}
        for of, drawn in (("draws", True), ("means", False)):
            exact = not drawn and not bool(parts[1].posterior.scale.any())  # a draw of a point is its mean
            read = {} if exact else read_scores(parts[0], parts[1], data.schema, drawn=drawn, steps=steps, seed=seed)
            for name, scores in read.items():
                found.setdefault(name, {})[of] = {what: score.to_dict() for what, score in scores.items()}
        return {name: {"means": row["draws"], **row} for name, row in found.items()}

    blocks: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
    for i, label in enumerate(data.schema):
        row = out[label.name]
        if "not probed" in row:
            continue
        for place, names in places(model.blocks, label.name).items():
            key = tuple(names)
            blocks[key] = blocks.get(key) or ask(names)
            row[place] = dict(blocks[key][label.name])
            if divergence and label.kind == "binary" and place in ("free", "own"):
                seen = data.observed[held, i]
                code = beside([known[False][1][name] for name in names]).sample(generator).numpy()[seen]
                row[place]["kl"] = _divergence(code, data.values[held[seen], i] == 1, seed)
            if place.startswith("other."):
                row[place]["together"] = _together(data, learnt, held, i, place.removeprefix("other."))
            if place == "own":
                row["own_hidden"] = ask(names, hidden=True)[label.name]
    return out


def _learnt_and_held(data: Dataset, rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples that readers learn from and samples that they are scored on."""
    others = np.setdiff1d(data.rows("train"), rows) if "train" in data.splits else rows[:0]
    rng = np.random.default_rng([seed, 6])
    if len(others) >= _ENOUGH:
        return rng.permutation(others)[:_LEARNT], rows
    order = rng.permutation(rows)
    return order[: len(rows) // 2], order[len(rows) // 2 :]


def beside(parts: list[DiagonalGaussian]) -> DiagonalGaussian:
    """Blocks as one code."""
    return DiagonalGaussian(torch.cat([q.mean for q in parts], 1), torch.cat([q.scale for q in parts], 1))


def said(read: dict[str, Any], of: Of) -> dict[str, float]:
    """The main score of what was read at a place: balanced accuracy of a discrete label, R^2 of a number."""
    return read[of].get("balanced_accuracy") or read[of]["r2"]


def _together(data: Dataset, learnt: np.ndarray, held: np.ndarray, i: int, other: str) -> dict[str, float] | None:
    """What the value of another label tells of label ``i``, by counting; None where too few samples have both.

    Numbers are told by in which twentieth they are, and are told as the mean of what goes with the value.
    """
    j = data.schema.index(other)
    label = data.schema.labels[i]
    learnt, held = (part[data.observed[part, i] & data.observed[part, j]] for part in (learnt, held))
    if min(len(learnt), len(held)) < _LEAST or len(np.unique(data.values[held, i])) < 2:
        return None
    value, target = data.values[:, j], data.values[:, i]
    if not data.schema[other].discrete:
        value = np.searchsorted(np.quantile(value[learnt], np.linspace(0, 1, 21)[1:-1]), value)
    cells, place = np.unique(np.concatenate([value[learnt], value[held]]), return_inverse=True)
    known, asked = np.split(place, [len(learnt)])
    if not label.discrete:
        count = np.bincount(known, minlength=len(cells))
        sums = np.bincount(known, target[learnt], minlength=len(cells))
        means = np.where(count > 0, sums / np.maximum(count, 1), target[learnt].mean())
        return statistic(explained, target[held], means[asked]).to_dict()
    classes = len(label.values)
    table = np.zeros((len(cells), classes))
    np.add.at(table, (known, target[learnt].astype(int)), 1)
    answers = (table / np.maximum(table.sum(0), 1)).argmax(1)
    return balanced_rate(target[held].astype(int), answers[asked]).to_dict()


def _divergence(code: np.ndarray, on: np.ndarray, seed: int) -> dict[str, float] | None:
    """Nearest-neighbour KL of codes with a label from those without it, and what shuffled labels give; in nats."""
    try:
        floor = kl_permuted(code[on], code[~on], seed=seed)
        return {"value": nearest_neighbour_kl(code[on], code[~on]).value, "floor": floor.mean, "floor_sd": floor.sd}
    except UserError:
        return None  # a class with one code only, such as the label's own value
