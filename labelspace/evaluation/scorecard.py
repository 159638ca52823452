"""What one model does on one data set, every figure between its floor and its ceiling.

A figure is a number per label (or direction, or block), with what doing nothing reaches, its *floor*, and what the truth itself
reaches, its *ceiling*. Where a figure lies between them, its *share*, is what data sets can be compared by: 0 is nothing, 1 is
all that can be. The worst label counts, and labels are never averaged.

===============  ============================================  ==================================  =========================
figure           what it is                                    floor                               ceiling
===============  ============================================  ==================================  =========================
read as set      judge reads the new value, per new value      on unchanged samples                on true counterfactuals
others kept      its verdict on another label stays            on other samples                    on true counterfactuals
error            squared error to the nearest truth, over      1                                   0, the truth itself
                 that of doing nothing
donor            transfer is nearest to the donor's own style  one in as many styles               reconstructions of the truth
told by z        reader of draws of z, all classes alike       everything                          chance
block's own      reader of draws of a block, own label given,  everything                          nothing
                 says of other factors; the most of any
reconstruction   squared error                                 the mean of the data                a VAE of the same networks
new samples      judge reads the label that was asked for      chance                              on real samples
coverage         real samples that have a new one near them    0                                   real samples of each other
prediction       the model's own, balanced                     chance                              a classifier, same trunk
===============  ============================================  ==================================  =========================

Where there is no truth, real samples with the value stand for it, errors and donors are left out, and of what a block carries
only other labels are known. Of numbers, R^2 stands in the place of accuracy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelspace.blocks import Block, Latents
from labelspace.data.dataset import Dataset
from labelspace.data.splits import Split
from labelspace.distributions import DiagonalGaussian, Point
from labelspace.errors import UserError
from labelspace.evaluation import classifier, edits
from labelspace.evaluation import judge as judges
from labelspace.evaluation.judge import Judge
from labelspace.evaluation.operators import Operator, best
from labelspace.evaluation.probing import chosen, chunks, posterior, reconstructed
from labelspace.evaluation.readers import STEPS, Codes, explained, read, scores
from labelspace.evaluation.units import Truths, units
from labelspace.labels import Label, Schema, categorical, continuous
from labelspace.metrics import precision_recall, real_halves
from labelspace.models.base import Model
from labelspace.models.networks import Network
from labelspace.storage import cache, files

FIGURES = (
    "read as set",
    "others kept",
    "error",
    "donor",
    "told by z",
    "block's own",
    "reconstruction",
    "new samples",
    "coverage",
    "prediction",
)
EDITED = 400  # test samples that are edited, about
_READ_FROM = 4000  # codes that readers learn from
_CLASSIFIED = 1000  # steps of the plain classifier
_FEWEST = 30  # samples that a figure rests on
_SET = 40  # samples that are set to each value, about, at least
_APART = 0.05  # of a floor and a ceiling that nothing can be said between
_TARGETS = (0.1, 0.3, 0.5, 0.7, 0.9)  # quantiles of a number that samples are set to


@dataclass(frozen=True)
class Entry:
    """One figure of one label.

    Attributes:
        value: what was measured.
        floor, ceiling: see the module.
        n: samples that it rests on.
        beside: other numbers that belong to it.
        falling: whether less is better.
    """

    value: float
    floor: float
    ceiling: float
    n: int
    beside: Mapping[str, Any] | None = None
    falling: bool = False

    @property
    def share(self) -> float | None:
        """Where the value lies between floor (0) and ceiling (1); None where nothing can be told between them."""
        height = (self.floor - self.ceiling) if self.falling else (self.ceiling - self.floor)
        if not np.isfinite([self.value, height]).all() or height < _APART:
            return None
        return float(np.clip((self.value - self.floor) / (self.ceiling - self.floor), 0, 1))

    def to_dict(self) -> dict[str, Any]:
        plain = {"value": self.value, "floor": self.floor, "ceiling": self.ceiling, "share": self.share, "n": self.n}
        return plain | ({"beside": dict(self.beside)} if self.beside else {})


Entries = dict[str, Entry]


def measure(
    model: Model,
    data: Dataset,
    trained_on: Dataset | None = None,
    *,
    seed: int = 0,
    most: int = EDITED,
    effort: float = 1.0,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, Any]]:
    """All figures of a model on the test split.

    Args:
        model: a trained model.
        data: its data, with every label there and right.
        trained_on: what it was trained on, where that is not ``data``: more samples of the same kind say more of a model that
            was trained on few.
        seed: of the judge, of choices and of readers.
        most: samples that are edited.
        effort: how long judge, readers and classifier are trained, of what they need; for trials.
        tell: told what is being measured.

    Returns:
        Figure -> label (or what it is about) -> :meth:`Entry.to_dict`. What a model or the data cannot give is left out.
    """
    tell("judge")
    judge = judges.of(data, seed, effort=effort)
    rows = chosen(data, "test", most, seed)
    card = _Card(model, data, trained_on or data, judge, rows, seed)
    steps = max(1, round(STEPS * effort))
    found: dict[str, Entries] = {figure: {} for figure in FIGURES}
    for label in data.schema:
        tell(f"editing {label.name}")
        card.edit(label, found)
    tell("reading codes")
    found["told by z"] = card.told_by_z(steps)
    found["block's own"] = card.carried(steps // 3)
    found["reconstruction"] = card.reconstruction()
    tell("new samples and predictions")
    found |= card.new_samples()
    found["prediction"] = card.prediction(max(1, round(_CLASSIFIED * effort)))
    return {figure: {name: entry.to_dict() for name, entry in entries.items()} for figure, entries in found.items()}


def worst(entries: Mapping[str, Mapping[str, Any]]) -> tuple[str, Mapping[str, Any]] | None:
    """The entry (as plain data) with the least share, and what it is about; None where nothing can be said."""
    known = [(name, entry) for name, entry in entries.items() if entry["share"] is not None]
    return min(known, key=lambda item: item[1]["share"]) if known else None


class _Card:
    """What figures share: samples, the judge's verdicts, codes."""

    def __init__(self, model: Model, data: Dataset, trained_on: Dataset, judge: Judge, rows: np.ndarray, seed: int) -> None:
        self.model, self.data, self.judge, self.rows, self.seed = model, data, judge, rows, seed
        self.trained_on = trained_on
        self.rng = np.random.default_rng([seed, 11])
        self.units = units(data)
        test = data.rows("test")
        real = judge.read(data.samples(test)).numpy()
        values, observed = (part.numpy() for part in data.labels(test))
        self.judge_reads = scores(data.schema, real, values, observed)
        self.recalls = {
            label.name: [_rate(real[(values[:, i] == v) & observed[:, i], i] == v) for v in range(len(label.values))]
            for i, label in enumerate(data.schema)
        }
        self._posteriors: dict[str, tuple[Latents[DiagonalGaussian], np.ndarray]] = {}
        discrete = [i for i, label in enumerate(data.schema) if label.discrete]
        train = trained_on.values[trained_on.rows("train")]
        self.discrete, self.seen = discrete, set(map(tuple, train[:, discrete].astype(int)))

    # -- edits --------------------------------------------------------------------------------------------------------

    def edit(self, label: Label, found: dict[str, Entries]) -> None:
        """What setting a label achieves: "read as set", "others kept", "error" and "donor"."""
        rows = self.rows_of(label, "test", len(self.rows))
        if len(rows) < 2 or not self._editable(label):
            return
        operator = self._operator(label)
        # Few samples of many classes are set to several values, so that enough are set to each.
        trial = _Trial(self, label, np.tile(rows, -(-_SET * max(1, len(label.values)) // len(rows))), operator)
        found["read as set"] |= trial.read_as_set()
        found["others kept"] |= trial.others_kept()
        if self.data.truth is not None:
            found["error"] |= trial.error()
            found["donor"] |= self._donor(label, rows, operator)

    def rows_of(self, label: Label, split: Split, most: int) -> np.ndarray:
        """At most so many random samples of a split that have a label: of each of its values as many, where there are."""
        i, rows = self.data.schema.index(label.name), chosen(self.data, split, len(self.data), self.seed)
        rows = rows[self.data.observed[rows, i]]
        if not label.discrete:
            return rows[:most]
        of_each = [rows[self.data.values[rows, i] == value] for value in range(len(label.values))]
        return self.rng.permutation(np.concatenate([part[: most // len(of_each)] for part in of_each]))

    def _editable(self, label: Label) -> bool:
        try:
            value = self.data.values[self.rows[:1], self.data.schema.index(label.name)]
            Operator().apply(self.model, self.data, self.rows[:1], label.name, value)
        except UserError:
            return False
        return True

    def _operator(self, label: Label) -> Operator:
        """Of the ways in which samples can be edited, the one that does best on validation samples."""
        rows = self.rows_of(label, "val" if "val" in self.data.splits else "train", len(self.rows) // 2)
        if len(rows) < 2:
            return Operator()
        wanted = self.wanted(label, rows)
        return best(self.model, self.data, self.judge, rows, label.name, wanted, keep=(False, True))

    def wanted(self, label: Label, rows: np.ndarray) -> np.ndarray:
        """Another value for every sample; of a number one of a few quantiles."""
        data, rng = self.data, np.random.default_rng([self.seed, 12])
        i = data.schema.index(label.name)
        if label.discrete:
            size = len(label.values)
            return (data.values[rows, i] + rng.integers(1, size, len(rows))) % size
        train = data.rows("train")
        levels = np.quantile(data.values[train, i][data.observed[train, i]], _TARGETS, method="nearest")
        return levels[rng.integers(0, len(levels), len(rows))]

    def _donor(self, label: Label, rows: np.ndarray, operator: Operator) -> Entries:
        """Of the value that can be had in most ways: whether a donor's way arrives."""
        truth, data = self.data.truth, self.data
        if truth is None or not label.discrete:
            return {}
        value = max(range(len(label.values)), key=lambda v: len(truth.styles(label.name, v)))
        ways = len(truth.styles(label.name, value))
        if ways < 2:
            return {}
        try:
            takers, lent = edits.donors(data, rows, label.name, value=value, seed=self.seed)
        except UserError:
            return {}
        if len(takers) < _FEWEST:
            return {}
        styles = data.style(label.name, lent)
        made = edits.take(self.model, data, takers, lent, label.name, value=value, keep_detail=operator.keep_detail)
        truths, _ = data.counterfactuals(label.name, value, takers)
        again = self._reconstructed(truths[torch.arange(len(takers)), torch.from_numpy(styles)], takers, label, value)

        def rate(x: Tensor) -> float:
            return edits.style_hits(data, takers, label.name, value, x, styles).value

        return {label.name: Entry(rate(made), 1 / ways, rate(again), len(takers), {"operator": operator.name})}

    @torch.no_grad()
    def _reconstructed(self, x: Tensor, rows: np.ndarray, label: Label, value: float | np.ndarray) -> Tensor:
        """Counterfactuals of some samples, encoded under their labels and decoded."""
        values, observed = (part.clone() for part in self.data.labels(rows))
        values[:, self.data.schema.index(label.name)] = torch.as_tensor(value, dtype=values.dtype)
        codes = self.model.encode(x, values, observed).map(lambda q: q.mode)
        return self.model.decode(codes).mean_like(x)

    # -- codes --------------------------------------------------------------------------------------------------------

    def _posterior(self, split: str) -> tuple[Latents[DiagonalGaussian], np.ndarray]:
        """Posteriors of up to 4,000 samples of a split, and which samples they are of; made once."""
        if split not in self._posteriors:
            rows = chosen(self.data, split, _READ_FROM, self.seed)
            self._posteriors[split] = (posterior(self.model, self.data, rows), rows)
        return self._posteriors[split]

    def told_by_z(self, steps: int) -> Entries:
        """What a strong reader says about labels from draws of the free blocks, and beside it from their means."""
        free = [block.name for block in self.model.blocks.free]
        if not free:
            return {}
        train, held = (self._side_by_side(split, free) for split in ("train", "test"))
        drawn = read(train, held, self.data.schema, drawn=True, steps=steps, seed=self.seed)
        means = read(train, held, self.data.schema, drawn=False, steps=steps, seed=self.seed)
        return {
            name: Entry(score.value, 1.0, _chance(self.data.schema[name]), score.n, {"means": means[name].value}, True)
            for name, score in drawn.items()
        }

    def _side_by_side(self, split: str, names: list[str]) -> Codes:
        known, rows = self._posterior(split)
        q = DiagonalGaussian(torch.cat([known[n].mean for n in names], 1), torch.cat([known[n].scale for n in names], 1))
        return Codes(q, self.data.values[rows], self.data.observed[rows])

    def carried(self, steps: int) -> Entries:
        """What blocks of labels tell beside their labels: the factor that a reader of a block's draws says most of, among
        samples that have the label's most frequent value."""
        found = {}
        for block in self.model.blocks:
            if block.label is None or self._is_value(block):
                continue
            schema, columns = self._others(block.label)
            if not len(schema):
                continue
            parts = []
            for split in ("train", "test"):
                known, rows = self._posterior(split)
                alike = self._alike(rows, block.label)
                q = DiagonalGaussian(known[block.name].mean[alike], known[block.name].scale[alike])
                parts.append(Codes(q, *columns(rows[alike])))
            if min(map(len, parts)) < _FEWEST:
                continue
            said = read(parts[0], parts[1], schema, drawn=True, steps=steps, seed=self.seed)
            excess = {name: (s.value - _chance(schema[name])) / (1 - _chance(schema[name])) for name, s in said.items()}
            if excess:
                most = max(excess, key=lambda name: excess[name])
                found[block.label] = Entry(
                    max(0.0, excess[most]), 1.0, 0.0, len(parts[1]), {"factor": most, "of": excess}, True
                )
        return found

    def _is_value(self, block: Block) -> bool:
        """Whether a block holds a label's value itself."""
        return isinstance(self.model.prior(*self.data.labels(self.rows[:1]))[block.name], Point)

    def _alike(self, rows: np.ndarray, name: str) -> np.ndarray:
        """Which of some samples have the most frequent value of a label in training; of a number, all."""
        label, i = self.data.schema[name], self.data.schema.index(name)
        seen = self.data.observed[rows, i]
        if not label.discrete:
            return np.flatnonzero(seen)
        train = self.data.rows("train")
        usual = np.bincount(self.data.values[train, i][self.data.observed[train, i]].astype(int)).argmax()
        return np.flatnonzero(seen & (self.data.values[rows, i] == usual))

    def _others(self, name: str) -> tuple[Schema, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]]:
        """All factors but a label's own (where they are not known, all other labels), and their values of samples."""
        data = self.data
        if data.truth is None or data.factors is None:
            kept = [i for i, label in enumerate(data.schema) if label.name != name]
            names = [data.schema.names[i] for i in kept]
            return data.schema.select(names), lambda rows: (data.values[rows][:, kept], data.observed[rows][:, kept])
        own, factors = data.truth.factor(name), data.factors
        kept = [i for i in range(factors.shape[1]) if i != own]
        labels = []
        for i, (factor, options) in enumerate(data.truth.factors.items()):
            if i != own:
                column = factors[:, i]
                labels.append(
                    categorical(factor, options) if len(options) > 1 else continuous(factor, column.mean(), column.std() or 1)
                )

        def columns(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            values = factors[rows][:, kept].astype(np.float32)
            return values, np.ones(values.shape, bool)

        return Schema(labels), columns

    # -- samples ------------------------------------------------------------------------------------------------------

    def reconstruction(self) -> Entries:
        """Squared error of reconstructions; the ceiling is another model's, and is filled in where both are known."""
        x = self._original(self.rows)
        again = self.units(reconstructed(self.model, self.data, self.rows))
        compared = self.units(x)
        error = float(((again - compared) ** 2).mean())
        nothing = float(((compared - compared.mean(0)) ** 2).mean())
        return {"x": Entry(error, nothing, 0.0, len(x), falling=True)}

    def _original(self, rows: np.ndarray) -> Tensor:
        return self.data.samples(rows) if self.data.truth is None else self.data.expected(rows)

    @torch.no_grad()
    def new_samples(self) -> dict[str, Entries]:
        """New samples under the labels of test samples: what the judge reads, and how much of the real ones they cover."""
        data, rows = self.data, self.data.rows("test")[:1000]
        values, observed = data.labels(rows)
        generator = torch.Generator().manual_seed(self.seed)
        parts = np.array_split(np.arange(len(rows)), max(1, len(rows) // 250))
        made = torch.cat([self.model.generate(values[p], observed[p], generator=generator) for p in parts])
        read_off = scores(data.schema, self.judge.read(made).numpy(), values.numpy(), observed.numpy())
        found = {
            name: Entry(score.value, _chance(data.schema[name]), self.judge_reads[name].value, score.n)
            for name, score in read_off.items()
            if name in self.judge_reads
        }
        real, new = (self.judge.features(x).numpy() for x in (data.samples(rows), made))
        if len(real) < 2 * _FEWEST:
            return {"new samples": found}

        def coverage(a: np.ndarray, b: np.ndarray) -> float:
            return precision_recall(a, b)["coverage"].value

        half = self.rng.permutation(len(new))[: len(new) // 2]
        ceiling = real_halves(coverage, real, self.seed)
        entry = Entry(coverage(real[: len(real) // 2], new[half]), 0.0, ceiling, len(half))
        return {"new samples": found, "coverage": {"x": entry}}

    def prediction(self, steps: int) -> Entries:
        """The model's own predictions beside those of a plain classifier with half as wide a trunk as the default encoder's."""
        if not self.model.labelled:
            return {}
        data, rows = self.data, self.data.rows("test")
        said = torch.cat([self.model.predict(data.samples(part)).mode() for part in chunks(rows)]).numpy()
        values, observed = (part.numpy() for part in data.labels(rows))
        plain = _classified(self.trained_on, data, self.seed, steps)
        return {
            name: Entry(score.value, _chance(data.schema[name]), plain[name], score.n)
            for name, score in scores(data.schema, said, values, observed).items()
        }


class _Trial:
    """Samples with a label set, beside what they were and what they would truly be."""

    def __init__(self, card: _Card, label: Label, rows: np.ndarray, operator: Operator) -> None:
        self.card, self.label, self.rows, self.operator = card, label, rows, operator
        data, rng = card.data, np.random.default_rng([card.seed, 14])
        self.index = data.schema.index(label.name)
        self.wanted = card.wanted(label, rows)
        self.edited = operator.apply(card.model, data, rows, label.name, self.wanted)
        self.truths = Truths(data, rows, label.name, self.wanted) if data.truth is not None else None
        self.true = self.truths.one_each(rng) if self.truths else None  # (n, *shape)
        read = card.judge.read
        self.before, self.after = read(data.samples(rows)).numpy(), read(self.edited).numpy()
        self.truly = None if self.true is None else read(self.true).numpy()

    def read_as_set(self) -> Entries:
        """Per new value of a discrete label the judge's rate; of a number R^2."""
        card, label, i = self.card, self.label, self.index
        beside = {"operator": self.operator.name}
        if not label.discrete:
            floor, value = (explained(self.wanted, said[:, i]) for said in (self.before, self.after))
            ceiling = explained(self.wanted, self.truly[:, i]) if self.truly is not None else _judged(card, label)
            return {label.name: Entry(value, floor, ceiling, len(self.rows), beside)}
        found = {}
        for value in np.unique(self.wanted):
            mine = self.wanted == value
            unseen = np.array([not self._was_seen(row, value) for row in self.rows[mine]])
            judged = np.flatnonzero(mine)
            if card.data.truth is None and not unseen.all():  # of cells that no sample was seen of, the judge knows nothing
                judged = judged[~unseen]
            if len(judged) < _FEWEST:
                continue
            floor, rate = (_rate(said[judged, i] == value) for said in (self.before, self.after))
            real = card.recalls[label.name][int(value)]
            ceiling = real if self.truly is None else _rate(self.truly[judged, i] == value)
            more = beside | {"never seen": float(unseen.mean())}
            found[f"{label.name}={label.format(float(value))}"] = Entry(rate, floor, ceiling, len(judged), more)
        return found

    def _was_seen(self, row: int, value: float) -> bool:
        """Whether training saw the combination of discrete labels that an edit asks for."""
        cell = self.card.data.values[row].copy()
        cell[self.index] = value
        return tuple(cell[self.card.discrete].astype(int)) in self.card.seen

    def others_kept(self) -> Entries:
        """Per other label the rate at which the judge's verdict stays; of a number one minus its change, in its own units."""
        found = {}
        shuffled = np.random.default_rng(13).permutation(len(self.rows))
        for j, other in enumerate(self.card.data.schema):
            known = self.card.data.observed[self.rows, j]
            if j == self.index or known.sum() < _FEWEST:
                continue

            def stays(said: np.ndarray, j=j, other=other, known=known) -> float:
                before, after = self.before[known, j], said[known, j]
                if other.discrete:
                    return _rate(before == after)
                return 1 - float(np.mean((before - after) ** 2)) / (2 * float(np.var(before)) or 1.0)

            ceiling = 1.0 if self.truly is None else stays(self.truly)
            entry = Entry(stays(self.after), stays(self.before[shuffled]), ceiling, int(known.sum()))
            found[f"{self.label.name} -> {other.name}"] = entry
        return found

    def error(self) -> Entries:
        """Squared error to the nearest true style over that of doing nothing; beside it, per new value, and what the model's
        reconstruction of the truth reaches."""
        truths = self.truths
        assert truths is not None
        assert self.true is not None
        again = self.card._reconstructed(self.true, self.rows, self.label, self.wanted)
        sums = np.stack([truths.of_nothing(), truths.of_edits(self.edited), truths.of_means(again)])
        values = np.unique(self.wanted) if self.label.discrete else ()
        per_value = {
            str(self.label.format(float(v))): float(
                sums[1, self.wanted == v].sum() / max(sums[0, self.wanted == v].sum(), 1e-12)
            )
            for v in values
        }
        nothing, made, reconstructed = sums.sum(1)
        if not nothing > 0:
            return {}
        beside = {"operator": self.operator.name, "to": per_value, "reconstructed truth": float(reconstructed / nothing)}
        return {self.label.name: Entry(float(made / nothing), 1.0, 0.0, len(self.rows), beside, True)}


def _judged(card: _Card, label: Label) -> float:
    return card.judge_reads[label.name].value if label.name in card.judge_reads else float("nan")


def _chance(label: Label) -> float:
    return 1 / len(label.values) if label.discrete else 0.0


def _rate(hits: np.ndarray) -> float:
    return float(np.mean(hits)) if len(hits) else float("nan")


def _classified(train: Dataset, data: Dataset, seed: int, steps: int) -> dict[str, float]:
    """What a plain classifier that learns from some data reaches on the test split of others, by label; trained once and kept
    in the cache."""
    what = json.dumps([3, steps, train.address, data.address, data.schema.to_json(), data.shape, len(train), len(data), seed])
    rows = train.rows("train")
    key = hashlib.sha256(what.encode() + train.values[rows].tobytes() + train.observed[rows].tobytes()).hexdigest()[:20]
    file = cache.place(f"classifier-{key}.json")
    if file.exists():
        return files.read_json(file)
    network = Network().narrowed(data.shape)
    plain = classifier.train(train, network, steps=steps, batch_size=128, seed=seed)
    rows = data.rows("test")
    with torch.no_grad():
        said = torch.cat([plain.predict(data.samples(part)).mode() for part in chunks(rows)]).numpy()
    values, observed = (part.numpy() for part in data.labels(rows))
    found = {name: score.value for name, score in scores(data.schema, said, values, observed).items()}
    files.write_json(file, found)
    return found
