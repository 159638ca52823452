"""The judge: a classifier trained on real training data, never on a model's output, that reads labels off samples."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from labelspace.data.batches import Batches
from labelspace.data.dataset import Dataset
from labelspace.data.splits import Split
from labelspace.data.store import Progress
from labelspace.errors import UserError
from labelspace.evaluation.probing import chunks
from labelspace.labels import LabelDistribution, Schema
from labelspace.likelihoods import build_likelihood
from labelspace.metrics import Score, balanced_rate
from labelspace.models.networks import mlp
from labelspace.optimizers import Adam
from labelspace.storage import cache, tensorfiles

FORMAT = 3
SURE = 0.97
"""A judge that reads fewer true counterfactuals than this (balanced) is no judge of edits."""
_STEPS, _BATCH, _RATE = 600, 128, 2e-3  # of training, about
_MEASURED = 1000  # of images, which may be more than memory holds, some are enough to learn their scale from


class Judge(nn.Module):
    """Reads the labels of samples.

    Args:
        shape: shape of one sample: images of sides of at least 8, or vectors.
        schema: the labels.
        likelihood: what the data are (:attr:`Dataset.likelihood`): counts are read through a logarithm, tables with flags for
            their missing cells.
    """

    def __init__(self, shape: tuple[int, ...], schema: Schema, likelihood: str = "") -> None:
        super().__init__()
        self.shape, self.schema = shape, schema
        self.data = build_likelihood(likelihood or "gaussian", shape, 1.0, False)
        if len(shape) == 1:
            self.network = mlp(self.data.input_shape[0], [128, 128], schema.parameters)
        else:
            kernel, stride = (6, 4) if min(shape[1:]) >= 32 else (4, 2)
            layers: list[nn.Module] = [nn.Conv2d(shape[0], 32, kernel, stride, padding=1), nn.BatchNorm2d(32), nn.ReLU()]
            for inputs, outputs in pairwise((32, 64, 96)):
                layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
            with torch.no_grad():
                size = nn.Sequential(*layers).eval()(torch.zeros(1, *shape)).numel()
            self.network = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(size, schema.parameters))

    def forward(self, x: Tensor) -> LabelDistribution:
        return self.schema.distribution(self.network(self.data.inputs(x)))

    @torch.no_grad()
    def read(self, x: Tensor, batch_size: int = 512) -> Tensor:
        """The most probable label values of samples, ``(n, labels)``."""
        return torch.cat([self(part).mode() for part in x.split(batch_size)])

    @torch.no_grad()
    def log_odds(self, x: Tensor, batch_size: int = 512) -> Tensor:
        """Raw outputs of the judge, ``(n, schema.parameters)``: log-odds for binary labels."""
        return torch.cat([self.network(self.data.inputs(part)) for part in x.split(batch_size)])

    @torch.no_grad()
    def features(self, x: Tensor, batch_size: int = 512) -> Tensor:
        """What the judge sees in samples, ``(n, features)``: its last layer of activations before the labels.

        Of images it is the mean over positions of the last convolution's 96 channels (as the Inception network's features are
        pooled), so that its size does not grow with the image's.
        """
        # The last layers are a linear one, and before it, for images, flatten and dropout.
        trunk = self.network[:-1] if len(self.shape) == 1 else self.network[:-3]
        seen = torch.cat([trunk(self.data.inputs(part)) for part in x.split(batch_size)])
        return seen if seen.ndim == 2 else seen.mean((2, 3))


def of(data: Dataset, seed: int = 0, *, effort: float = 1.0, progress: Progress | None = None) -> Judge:
    """The judge of a data set: one that can read counterfactuals, in which labels do not go together as they do in the data.

    Of data that can be drawn it learns from samples whose labels are independent; of others, all combinations of labels that
    occur weigh alike. A judge of correlated pictures as they are reads all test pictures right and every fifth true
    counterfactual wrong.

    Args:
        data: the data set; its labels are what the judge reads.
        seed: of the judge, and of the samples that are drawn for it.
        effort: how long it is trained, of what it needs; for trials.
        progress: as of :func:`train`.
    """
    epochs = 0 if effort == 1 else max(1, round(epochs_for(data) * effort))
    drawn = data.truth is not None
    return train(data, epochs=epochs, seed=seed, balanced=not drawn, independent=drawn, progress=progress)


def train(
    data: Dataset,
    *,
    epochs: int = 0,
    seed: int = 0,
    balanced: bool = False,
    independent: bool = False,
    progress: Progress | None = None,
) -> Judge:
    """A judge of a data set: from the cache, or trained on its training split and put there.

    Args:
        data: the data set; its labels are what the judge reads.
        epochs: passes; by default as many as make about 600 steps, at least 4.
        seed: of the judge's weights, batches and noise.
        balanced: all combinations of discrete labels that occur weigh alike, so that the judge does not take one label for
            another that mostly goes with it.
        independent: it learns from as many samples that are drawn with independent labels (:meth:`Dataset.independent`).
        progress: called with steps done and steps in all.
    """
    if len(data.schema) == 0:
        raise UserError(f"{data.address} has no labels for a judge to read")
    epochs = epochs or epochs_for(data)
    what = json.dumps(
        [
            FORMAT,
            data.schema.to_json(),
            data.shape,
            data.likelihood,
            len(data),
            epochs,
            seed,
            *(["balanced"] if balanced else []),
            *(["independent"] if independent else []),
        ]
    )
    rows = data.rows("train")
    probe = np.ascontiguousarray(data.x[rows[:64]]).tobytes() + data.values[rows].tobytes() + data.observed[rows].tobytes()
    key = hashlib.sha256(what.encode() + probe).hexdigest()[:20]
    file = cache.place(f"judge-{key}.safetensors")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = Judge(data.shape, data.schema, data.likelihood)
        if file.exists():
            tensorfiles.load_strictly(judge, tensorfiles.read(file)[0], file)
            return judge.eval()
        learnt = data.independent(seed) if independent else data
        batches = Batches(learnt, "train", _BATCH, seed=seed)
        judge.data.measure(data.samples(rows[:: max(1, len(rows) // _MEASURED)] if data.is_image else rows))
        _train(judge, batches, epochs, progress, _cell_weights(learnt) if balanced else None)
    tensorfiles.write(file, judge.state_dict())
    return judge.eval()


def epochs_for(data: Dataset) -> int:
    """As many passes as make about 600 steps, at least 4."""
    return max(4, -(-_STEPS // max(1, -(-len(data.rows("train")) // _BATCH))))


def _cell_weights(data: Dataset) -> dict[tuple[int, ...], float]:
    """Combination of discrete labels in the training split -> weight of each of its samples; of mean 1."""
    cells = Counter(_cells(data.schema, data.values[data.rows("train")]))
    return {cell: cells.total() / len(cells) / count for cell, count in cells.items()}


def _cells(schema: Schema, values: np.ndarray) -> list[tuple[int, ...]]:
    discrete = [i for i, label in enumerate(schema) if label.discrete]
    return [tuple(row) for row in values[:, discrete].astype(int).tolist()]


def _train(
    judge: Judge,
    batches: Batches,
    epochs: int,
    progress: Progress | None,
    weights: dict[tuple[int, ...], float] | None,
) -> None:
    steps = epochs * len(batches)
    optimizer = Adam(judge.parameters(), _RATE, weight_decay=1e-2)
    step = 0
    for _ in range(epochs):
        for batch in batches:
            if len(batch) < 2:
                continue  # batch norm needs two
            # Noise of random strength: model output is never as clean as data, and the judge must not mind.
            x = batch.x
            if judge.data.additive:
                x = x + torch.randn_like(x) * torch.rand(len(batch), *[1] * (x.ndim - 1)) * 0.1
            log_prob = judge(x).log_prob(batch.values)
            if weights is not None:
                of_cell = [weights[cell] for cell in _cells(judge.schema, batch.values.numpy())]
                log_prob = log_prob * torch.tensor(of_cell)[:, None]
            loss = -torch.where(batch.observed, log_prob, 0.0).sum() / batch.observed.sum().clamp_min(1)
            if not bool(torch.isfinite(loss)):
                raise UserError("the judge's loss is not finite; are there NaN or huge entries in the data?")
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = _RATE * (1 - step / (steps + 1))
            optimizer.step()
            step += 1
            if progress:
                progress(step, steps)


def accuracy(judge: Judge, data: Dataset, split: Split = "test") -> dict[str, Score]:
    """The judge's own balanced accuracy per discrete label with a known value, by name (plain mean over its classes)."""
    rows = data.rows(split)
    read = np.concatenate([judge.read(data.samples(part)).numpy() for part in chunks(rows)])
    values, observed = (t.numpy() for t in data.labels(rows))
    out = {}
    for i, label in enumerate(data.schema):
        seen = observed[:, i]
        if label.discrete and seen.any():
            out[label.name] = balanced_rate(values[seen, i].astype(int), read[seen, i].astype(int))
    return out


def on_truths(judge: Judge, data: Dataset, *, most: int = 100, seed: int = 0) -> dict[str, Score]:
    """The judge's balanced accuracy on *true* counterfactuals of test samples, per discrete label.

    Every sample is given another value of the label, in one of its true styles. Nothing where no truth is known.

    Args:
        judge: of the data's labels.
        data: the data set.
        most: test samples, drawn at random.
        seed: of that, of new values and of styles.
    """
    if data.truth is None:
        return {}
    rng = np.random.default_rng([seed, 8])
    rows = rng.permutation(data.rows("test"))[:most]
    out = {}
    for i, label in enumerate(data.schema):
        mine = rows[data.observed[rows, i]]
        if not label.discrete or not len(mine):
            continue
        size = len(label.values)
        wanted = (data.values[mine, i].astype(int) + rng.integers(1, size, len(mine))) % size
        read = np.empty(len(mine), np.int64)
        for value in np.unique(wanted):
            chosen = np.flatnonzero(wanted == value)
            truths, styles = data.counterfactuals(label.name, float(value), mine[chosen])
            truths = truths[torch.arange(len(chosen)), torch.from_numpy(rng.integers(0, len(styles), len(chosen)))]
            read[chosen] = judge.read(truths)[:, i].numpy()
        out[label.name] = balanced_rate(wanted, read)
    return out
