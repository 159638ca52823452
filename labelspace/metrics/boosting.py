"""Gradient boosted trees that predict several targets from the same few features, fast enough to score codes with.

The algorithm is that of Friedman (2001, 2002) with the defaults of the textbook implementation (100 stages of trees of depth
3, learning rate 0.1, one tree per class and stage under the multinomial loss, one under the binomial and the squared loss), and
the importance of a feature is the decrease of squared error at the splits on it. What differs is how splits are found:

- Features are cut once into at most 255 bins of equally many samples. Where a feature has fewer values, nothing is lost; where
  it has more, trees cannot single out samples as exact ones do late in training, so they overfit a little less.
- The trees of one stage, of all targets, grow together, level by level. Residuals (a row of them per sample, one per tree) are
  summed over the samples of every bin by one product with a sparse matrix, so the inner loop runs over trees and not over
  samples. Only left children are summed; right ones are the parent's less those.

For trees on more than a few dozen features, or for predictions in their own right, use a library for boosting instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import expit, logit, softmax
from threadpoolctl import threadpool_limits

_BINS = 255
_LEAST_GAIN = 1e-12


@dataclass(frozen=True)
class Boosted:
    """Fitted trees, as far as scores need them.

    Attributes:
        importances: ``(d, k)``; the columns sum to one, or to zero for a target that no feature helps to predict.
        shares: ``(n, d, k)``, how much every training sample contributed to the unnormalised importances (their sum over
            samples is proportional to ``importances``), or None if it was not asked for.
        predictions: ``(m, k)`` for the held-out samples: classes, or values.
    """

    importances: np.ndarray
    shares: np.ndarray | None
    predictions: np.ndarray


@threadpool_limits.wrap(1, user_api="blas")  # on a busy machine the threads of small products wait for each other
def boost(
    features: np.ndarray,
    targets: np.ndarray,
    held: np.ndarray,
    *,
    discrete: Sequence[bool],
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
    losses: list[_Loss] = []
    for column, is_class in zip(targets.T, discrete, strict=True):
        losses.append(_Loss(column, is_class, losses[-1].trees.stop if losses else 0))
    binned = _Binned(features, held)
    raw = np.concatenate([loss.start(binned.rows) for loss in losses])  # (trees, n + m), trained and held-out samples alike
    trees, leaves = len(raw), 2**depth
    target_of_tree = np.repeat(np.arange(len(losses)), [loss.trees.stop - loss.trees.start for loss in losses])
    offset = np.arange(trees)[:, None] * leaves
    importances = np.zeros((len(losses), d))
    kept = np.zeros((len(losses), d, n), np.float32) if shares else None
    rng = np.random.default_rng(seed)
    for _ in range(stages):
        residual, curvature = (
            np.concatenate(parts) for parts in zip(*(loss.residual(raw[loss.trees, :n]) for loss in losses), strict=True)
        )
        tree = _grow(binned, residual, depth, rng)
        for feature, gain in zip(tree.features, tree.gains, strict=True):
            np.add.at(importances, (np.broadcast_to(target_of_tree, feature.shape), feature), gain)
        leaf = tree.nodes[-1] + offset
        total, weight, count = (
            np.bincount(leaf[:, :n].ravel(), x, trees * leaves).reshape(trees, leaves)
            for x in (residual.ravel(), curvature.ravel(), None)
        )
        if kept is not None:
            _share(kept, tree, losses, residual, leaf[:, :n], total, count)
        value = (np.where(weight > 1e-30, total / np.maximum(weight, 1e-30), 0.0) * rate).astype(np.float32)
        for loss in losses:
            value[loss.trees] *= loss.step
        raw += value.ravel().take(leaf)
    return Boosted(
        importances=importances.T / np.maximum(importances.sum(1), 1e-300),
        shares=None if kept is None else kept.transpose(2, 1, 0),
        predictions=np.stack([loss.predict(raw[loss.trees, n:]) for loss in losses], 1),
    )


class _Loss:
    """The loss of one target and the rows of the trees that serve it."""

    def __init__(self, target: np.ndarray, is_class: bool, first: int) -> None:
        self.classes = int(target.max()) + 1 if is_class else 0
        count = self.classes if self.classes > 2 else 1
        self.trees = slice(first, first + count)
        # Friedman's factor for the diagonal Newton step under the multinomial loss.
        self.step = (self.classes - 1) / self.classes if self.classes > 2 else 1.0
        one_hot = target == np.arange(count)[:, None] if self.classes > 2 else target[None]
        self.target = one_hot.astype(np.float32)  # (trees, n)

    def start(self, rows: int) -> np.ndarray:
        """The best constant prediction, ``(trees, rows)``."""
        mean = self.target.mean(1, keepdims=True)
        if self.classes > 2:
            mean = np.log(mean.clip(1e-7))
        elif self.classes == 2:
            mean = logit(mean.clip(1e-7, 1 - 1e-7))
        return np.repeat(mean, rows, 1)

    def residual(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Negative gradient and curvature of the loss, each ``(trees, n)``."""
        if self.classes == 0:
            return self.target - raw, np.ones_like(raw)
        p = softmax(raw, 0) if self.classes > 2 else expit(raw)
        return self.target - p, p * (1 - p)

    def predict(self, raw: np.ndarray) -> np.ndarray:
        if self.classes > 2:
            return raw.argmax(0)
        return (raw[0] > 0).astype(int) if self.classes else raw[0]


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
        self.bins = np.stack([_binned(f, x) for f, x in zip(features.T, both.T, strict=True)])
        self.rows, self.trained, self.width = len(both), n, int(self.bins.max()) + 1
        key = self.bins[:, :n].T + np.arange(d) * self.width  # (n, d)
        parts = np.ones(key.size, np.float32), key.ravel(), np.arange(n + 1) * d
        self._members = sparse.csc_array(parts, shape=(d * self.width, n))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums of values ``(n, trees)`` over the training samples of every bin and those below it, ``(d, width, trees)``."""
        sums = (self._members @ values).reshape(len(self.bins), self.width, -1)
        return np.cumsum(sums, 1, out=sums)


def _binned(feature: np.ndarray, values: np.ndarray) -> np.ndarray:
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

    nodes: list[np.ndarray]
    features: list[np.ndarray]
    gains: list[np.ndarray]


def _grow(binned: _Binned, residual: np.ndarray, depth: int, rng: np.random.Generator) -> _Tree:
    trees, n = residual.shape
    node = np.zeros((trees, binned.rows), np.uint8)
    inside = [np.ones_like(node, dtype=bool)]
    by_row = np.ascontiguousarray(residual.T)  # (n, trees)
    sums = [binned.sums(by_row)]  # per node (d, width, trees)
    counts = [np.broadcast_to(binned.sums(np.ones((n, 1), np.float32)), sums[0].shape)]
    nodes, features, gains = [], [], []
    for level in range(depth):
        splits = [_split(s, c, rng) for s, c in zip(sums, counts, strict=True)]
        nodes.append(node)
        features.append(np.stack([feature for feature, _, _ in splits]))
        gains.append(np.stack([gain for _, _, gain in splits]))
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
                member = left[:, :n].T.astype(np.float32, order="C")
                left_sums, left_counts = binned.sums(member * by_row), binned.sums(member)
                sums += [left_sums, parent_sums - left_sums]
                counts += [left_counts, parent_counts - left_counts]
    return _Tree([*nodes, node], features, gains)


def _split(left: np.ndarray, left_count: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best feature, the last bin that goes left, and the decrease of squared error of one node, each ``(trees,)``.

    Where nothing is gained, all samples go left. Small nodes can often be split equally well on several features; the first in
    a random order wins, since a fixed one would credit the first features with what all of them can do.

    Args:
        left, left_count: ``(d, width, trees)``, sums of residuals, and samples, up to every bin.
        rng: of that order.
    """
    total, count = left[:1, -1:], left_count[:1, -1:]
    right, right_count = total - left, count - left_count
    # Half a sample stands in for none at all; such splits have no gain but rounding's, and are refused.
    empty = np.minimum(left_count, right_count) < 0.5
    gain = left**2 / np.maximum(left_count, 0.5) + right**2 / np.maximum(right_count, 0.5)
    gain[empty] = -1.0
    last = gain.argmax(1)  # (d, trees)
    best = np.take_along_axis(gain, last[:, None], 1)[:, 0]
    order = rng.permutation(len(best))
    feature = order[best[order].argmax(0)]
    each = np.arange(len(feature))
    most = best[feature, each] - (total**2 / np.maximum(count, 0.5))[0, 0]
    useful = most > _LEAST_GAIN
    last = np.where(useful, last[feature, each], _BINS).astype(np.uint8)
    return np.where(useful, feature, 0), last, np.where(useful, most, 0.0)


def _share(
    kept: np.ndarray,
    tree: _Tree,
    losses: list[_Loss],
    residual: np.ndarray,
    leaf: np.ndarray,
    total: np.ndarray,
    count: np.ndarray,
) -> None:
    """Adds up how much nearer every sample's residual is to its child's mean than to its parent's, squared.

    Args:
        kept: ``(k, d, n)``.
        tree: the trees of this stage.
        losses: of every target.
        residual: ``(trees, n)``.
        leaf: ``(trees, n)``, of every sample, numbered through all trees.
        total, count: ``(trees, leaves)``, sums of residuals, and samples.
    """
    (trees, n), leaves = residual.shape, total.shape[1]
    means = []  # of the node of every level that a leaf is in, root first, (trees, leaves)
    for level in range(len(tree.nodes)):
        parts = trees, 2**level, -1
        mean = total.reshape(parts).sum(2) / count.reshape(parts).sum(2).clip(1)
        means.append(np.repeat(mean.astype(np.float32), leaves // 2**level, 1))
    for level, features in enumerate(tree.features):
        parent, child = means[level], means[level + 1]
        gain = (child - parent).take(leaf) * (2 * residual - (child + parent).take(leaf))
        for v, feature in enumerate(features):
            here = gain * (tree.nodes[level][:, :n] == v)
            chosen = np.eye(kept.shape[1], dtype=np.float32)[feature]  # (trees, d)
            for target, loss in zip(kept, losses, strict=True):
                target += chosen[loss.trees].T @ here[loss.trees]
