"""Gradient boosted trees that read several targets off the same few features, fast enough to score codes with.

The algorithm is that of Friedman (2001, 2002) with the defaults of the textbook implementation (100 stages of trees of depth
3, learning rate 0.1, one tree per class and stage under the multinomial loss, one under the binomial and the squared loss), and
the importance of a feature is the decrease of squared error at the splits on it. What differs is how splits are found:

- Features are cut once into at most 255 bins of equally many samples. Where a feature has fewer values, nothing is lost; where
  it has more, trees cannot single out samples as exact ones do late in training, so they overfit a little less.
- The trees of one stage, of all targets, grow together, level by level. A sample's row of residuals (one per tree) is added
  up over the samples of every bin in one call, so the inner loop runs over trees and not over samples. Only left children are
  added up; right ones are the parent's less those.

For trees on more than a few dozen features, or for predictions in their own right, use a library for boosting instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_BINS = 255
_LEAST_GAIN = 1e-12
_WIDTH = 192  # columns that are added up at once: rows of residuals of a few thousand samples then stay in the cache


@dataclass(frozen=True)
class Boosted:
    """What boosting found.

    Attributes:
        importances: ``(d, k)``; the columns sum to one, or to zero for a target that no feature helps to read.
        shares: ``(n, d, k)``, how much every training sample contributed to the unnormalised importances (their sum over
            samples is proportional to ``importances``), or None if it was not asked for.
        predictions: ``(m, k)`` for the held-out samples: classes, or values.
    """

    importances: np.ndarray
    shares: np.ndarray | None
    predictions: np.ndarray


@contextmanager
def _one_thread() -> Iterator[None]:
    """Thousands of calls of a tenth of a millisecond gain little from threads, and wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
@_one_thread()
def boost(
    features: np.ndarray,
    targets: np.ndarray,
    held: np.ndarray,
    *,
    discrete: list[bool],
    stages: int = 100,
    depth: int = 3,
    rate: float = 0.1,
    shares: bool = False,
    seed: int = 0,
) -> Boosted:
    """Fits every target from the features.

    Args:
        features: ``(n, d)``, of the training samples.
        targets: ``(n, k)``; discrete ones are integers from zero.
        held: ``(m, d)``, samples to predict.
        discrete: per target, whether it is a class.
        stages: trees per class.
        depth: levels of splits of a tree.
        rate: what a tree's prediction is multiplied by.
        shares: whether to keep what every sample contributes to the importances.
        seed: of the order in which equally good splits win.
    """
    n, d = features.shape
    losses, trees = [], 0
    for column, is_class in zip(targets.T, discrete, strict=True):
        losses.append(_Loss(torch.from_numpy(np.ascontiguousarray(column)), is_class, trees))
        trees = losses[-1].trees.stop
    binned = _Binned(features, held)
    raw = torch.cat([loss.start(binned.rows) for loss in losses])  # (trees, n + m), trained and held-out samples alike
    target_of_tree = torch.repeat_interleave(torch.tensor([loss.trees.stop - loss.trees.start for loss in losses]))
    importances = torch.zeros(len(losses) * d, dtype=torch.float64)
    kept = torch.zeros(len(losses), d, n) if shares else None
    generator = torch.Generator().manual_seed(seed)
    for _ in range(stages):
        found = [loss.residual(raw[loss.trees, :n]) for loss in losses]
        residual = torch.cat([r for r, _ in found])
        curvature = torch.cat([c for _, c in found])
        tree = _grow(binned, residual, depth, generator)
        for feature, gain in zip(tree.features, tree.gains, strict=True):
            importances.index_add_(0, (target_of_tree * d + feature).flatten(), gain.double().flatten())
        leaf = tree.nodes[-1]
        total, weight = (torch.zeros(trees, 2**depth).scatter_add_(1, leaf[:, :n], x) for x in (residual, curvature))
        if kept is not None:
            _share(kept, tree, losses, residual, total)
        value = torch.where(weight > 1e-30, total / weight.clamp_min(1e-30), 0.0)
        for loss in losses:
            value[loss.trees] *= loss.step * rate
        raw += value.gather(1, leaf)
    sums = importances.view(len(losses), d).T.numpy()
    return Boosted(
        importances=sums / np.maximum(sums.sum(0), 1e-300),
        shares=None if kept is None else kept.permute(2, 1, 0).numpy(),
        predictions=np.stack([loss.predict(raw[loss.trees, n:]) for loss in losses], 1),
    )


class _Loss:
    """The loss of one target and the rows of the trees that serve it."""

    def __init__(self, target: Tensor, is_class: bool, first: int) -> None:
        self.classes = int(target.max()) + 1 if is_class else 0
        count = self.classes if self.classes > 2 else 1
        self.trees = slice(first, first + count)
        # Friedman's factor for the diagonal Newton step under the multinomial loss.
        self.step = (self.classes - 1) / self.classes if self.classes > 2 else 1.0
        if self.classes > 2:
            self.target = F.one_hot(target.long(), self.classes).T.float()  # (classes, n)
        else:
            self.target = target.float()[None]

    def start(self, rows: int) -> Tensor:
        """The best constant prediction, ``(trees, rows)``."""
        mean = self.target.mean(1, keepdim=True)
        if self.classes > 2:
            mean = mean.clamp_min(1e-7).log()
        elif self.classes == 2:
            mean = mean.logit(1e-7)
        return mean.repeat(1, rows)

    def residual(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Negative gradient and curvature of the loss, each ``(trees, n)``."""
        if self.classes == 0:
            return self.target - raw, torch.ones_like(raw)
        p = raw.softmax(0) if self.classes > 2 else raw.sigmoid()
        return self.target - p, p * (1 - p)

    def predict(self, raw: Tensor) -> np.ndarray:
        if self.classes > 2:
            return raw.argmax(0).numpy()
        return (raw[0] > 0).long().numpy() if self.classes else raw[0].numpy()


class _Binned:
    """Features as bins, and the samples of every bin.

    Attributes:
        bins: ``(d, n + m)`` uint8, the bin of every sample, training samples first.
        rows: n + m.
        trained: n.
        width: bins per feature.
    """

    def __init__(self, features: np.ndarray, held: np.ndarray) -> None:
        n, d = features.shape
        both = np.concatenate([features, held])
        self.bins = torch.from_numpy(np.stack([_cut(f, x) for f, x in zip(features.T, both.T, strict=True)]))
        self.rows, self.trained, self.width = len(both), n, int(self.bins.max()) + 1
        key = self.bins[:, :n].long() + torch.arange(d)[:, None] * self.width
        self._samples = key.flatten().argsort(stable=True) % n
        counts = torch.bincount(key.flatten(), minlength=d * self.width)
        self._starts = F.pad(counts.cumsum(0), (1, 0))
        self.counts = counts.view(d, self.width, 1).float()

    def sums(self, values: Tensor) -> Tensor:
        """Sums of values ``(columns, n)`` over the training samples of every bin, ``(d, width, columns)``."""
        parts = [
            F.embedding_bag(self._samples, part.T.contiguous(), self._starts, mode="sum", include_last_offset=True)
            for part in values.split(_WIDTH)
        ]
        return torch.cat(parts, 1).view(len(self.bins), self.width, -1)


def _cut(feature: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Bins of values by the distribution of a feature; edges lie midway between neighbouring values."""
    known = np.unique(feature)
    if len(known) > _BINS:
        known = np.unique(np.quantile(feature, np.linspace(0, 1, _BINS), method="nearest"))
    edges = (known[:-1] + known[1:]) / 2
    return np.searchsorted(edges, values, side="left").astype(np.uint8)


@dataclass(frozen=True)
class _Tree:
    """The trees of one stage. ``nodes[l]``: ``(trees, rows)``, node of every sample before the split of level l; ``features``,
    ``gains``: per level ``(2**l, trees)``."""

    nodes: list[Tensor]
    features: list[Tensor]
    gains: list[Tensor]


def _grow(binned: _Binned, residual: Tensor, depth: int, generator: torch.Generator) -> _Tree:
    trees, n = residual.shape
    node = torch.zeros(trees, binned.rows, dtype=torch.uint8)
    inside = [torch.ones_like(node, dtype=torch.bool)]
    sums = [binned.sums(residual)]  # per node (d, width, trees)
    counts = [binned.counts.expand_as(sums[0])]
    nodes, features, gains = [], [], []
    for level in range(depth):
        splits = [_split(s, c, generator) for s, c in zip(sums, counts, strict=True)]
        nodes.append(node)
        features.append(torch.stack([feature for feature, _, _ in splits]))
        gains.append(torch.stack([gain for _, _, gain in splits]))
        children = []
        node = 2 * node
        for here, (feature, last, _) in zip(inside, splits, strict=True):
            beyond = (binned.bins[feature] > last[:, None]) & here
            node += beyond
            children += [here & ~beyond, beyond]
        inside = children
        if level + 1 < depth:
            parents, sums, counts = list(zip(sums, counts, strict=True)), [], []
            for left, (parent_sums, parent_counts) in zip(inside[::2], parents, strict=True):
                member = left[:, :n].float()
                left_sums, left_counts = binned.sums(member * residual), binned.sums(member)
                sums += [left_sums, parent_sums - left_sums]
                counts += [left_counts, parent_counts - left_counts]
    nodes.append(node.long())
    return _Tree(nodes, features, gains)


def _split(sums: Tensor, counts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """The best feature, the last bin that goes left, and the decrease of squared error of one node, each ``(trees,)``.

    Where nothing is gained, all samples go left. Small nodes can often be split equally well on several features; the first in
    a random order wins, since a fixed one would credit the first features with what all of them can do.
    """
    left, left_count = sums.cumsum(1), counts.cumsum(1)
    total, count = left[:1, -1:].clone(), left_count[:1, -1:].clone()
    right, right_count = total - left, count - left_count
    # Half a sample stands in for none at all; such splits have no gain but rounding's, and are refused.
    empty = torch.minimum(left_count, right_count) < 0.5
    gain = left.square_().div_(left_count.clamp_min_(0.5)).add_(right.square_().div_(right_count.clamp_min_(0.5)))
    best, last = gain.masked_fill_(empty, -1.0).max(1)  # (d, trees)
    order = torch.randperm(len(best), generator=generator)
    most, where = best[order].max(0)
    feature = order[where]
    most = most - (total.square() / count.clamp_min(0.5))[0, 0]
    useful = most > _LEAST_GAIN
    last = last.gather(0, feature[None])[0]
    return torch.where(useful, feature, 0), torch.where(useful, last, _BINS).to(torch.uint8), torch.where(useful, most, 0.0)


def _share(kept: Tensor, tree: _Tree, losses: list[_Loss], residual: Tensor, total: Tensor) -> None:
    """Adds up how much nearer every sample's residual is to its child's mean than to its parent's, squared.

    Args:
        kept: ``(k, d, n)``.
        total: ``(trees, leaves)``, sums of residuals.
    """
    trees, n = residual.shape
    leaf = tree.nodes[-1][:, :n]
    count = torch.zeros_like(total).scatter_add_(1, leaf, torch.ones_like(residual))
    means = []  # of the node that a sample is in, root first
    for level in range(len(tree.features) + 1):
        shape = (trees, 2**level, -1)
        spread = (total.view(shape).sum(2) / count.view(shape).sum(2).clamp_min(1)).repeat_interleave(
            total.shape[1] // 2**level, 1
        )
        means.append(spread.gather(1, leaf))
    for level, features in enumerate(tree.features):
        parent, child = means[level], means[level + 1]
        gain = (child - parent) * (2 * residual - child - parent)
        for v, feature in enumerate(features):
            here = gain * (tree.nodes[level][:, :n] == v)
            chosen = F.one_hot(feature, kept.shape[1]).float()  # (trees, d)
            for k, loss in enumerate(losses):
                kept[k].addmm_(chosen[loss.trees].T, here[loss.trees])
