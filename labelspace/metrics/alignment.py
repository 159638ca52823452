"""Alignment: which latent carries which measured property.

Two questions that look alike and are not:

- :func:`within_class` *observes*: over data, how much of a property does one latent tell? Class means are taken out of both
  first. Where a property differs between classes (the width of a "1" and of a "0"), any latent that tells the classes
  apart would otherwise seem to carry it.
- :func:`traversal` *intervenes*: when one latent is moved and all else is kept, how does the property of what is decoded
  move? A latent can be correlated with a property and yet change nothing, or the reverse where latents are dependent.

A latent that is named by both carries the property. Neither sees a curved relation for more than its straight part, and
neither says anything about properties that hang together in the data themselves: a code with one latent for each of two
correlated properties is not what a factorised code looks like.

Codes are posterior means, properties are what a measure gave, such as :func:`labelspace.metrics.morphology.measure`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from labelspace.errors import UserError
from labelspace.metrics.scores import RESAMPLES, Score, percentile_interval

_FLAT = 1e-20  # a column whose sum of squares about its mean is below this share of that about zero does not vary


@dataclass(frozen=True)
class Carrier:
    """The latent that tells most of one property.

    Attributes:
        best: index of the latent with the highest R².
        latent: the same, or None if its R² is below the threshold or within the noise: then nothing carries the property.
        alone: whether a latent carries it and every other one is below the second threshold.
        r2: of the best latent.
        gap: R² of the best less that of the second best (less 0 if there is one latent); the interval is of these two.
        slope: units of the property per unit of the latent, within classes. The sign is the direction.
        floor: what noise reaches: the R² of the best latent is below this in 95 of 100 shuffles within classes.
    """

    best: int
    latent: int | None
    alone: bool
    r2: Score
    gap: Score
    slope: Score
    floor: float

    def to_dict(self) -> dict[str, Any]:
        scores = {name: getattr(self, name).to_dict() for name in ("r2", "gap", "slope")}
        return {"best": self.best, "latent": self.latent, "alone": self.alone, **scores, "floor": self.floor}


@dataclass(frozen=True)
class WithinClass:
    """What latents tell of properties within classes, over data.

    Attributes:
        properties: names, ``p`` of them.
        r2: squared correlation pooled over classes, ``d`` rows of ``p``; 0 for a latent or a property that does not vary.
        slope: units of the property per unit of the latent, ``(d, p)``.
        per_class: mean over classes of the squared correlation inside each, ``(d, p)``. Much above ``r2`` where a latent
            means something else, or the opposite, in another class.
        spread: standard deviation of each property within classes, ``(p,)``.
        carriers: property -> the latent that tells most of it.
    """

    properties: tuple[str, ...]
    r2: tuple[tuple[Score, ...], ...]
    slope: np.ndarray
    per_class: np.ndarray
    spread: np.ndarray
    carriers: dict[str, Carrier]

    @property
    def matrix(self) -> np.ndarray:
        """R² without intervals, ``(d, p)``."""
        return np.array([[score.value for score in row] for row in self.r2])

    def to_dict(self) -> dict[str, Any]:
        return {
            "properties": list(self.properties),
            "r2": [[score.to_dict() for score in row] for row in self.r2],
            "slope": self.slope.tolist(),
            "per_class": self.per_class.tolist(),
            "spread": self.spread.tolist(),
            "carriers": {name: carrier.to_dict() for name, carrier in self.carriers.items()},
        }


def within_class(
    codes: np.ndarray,
    properties: np.ndarray,
    classes: np.ndarray | None = None,
    *,
    names: Sequence[str] | None = None,
    threshold: float = 0.5,
    others_below: float = 0.1,
    shuffles: int = 100,
    seed: int = 0,
) -> WithinClass:
    """Squared correlation of every latent with every property, class means removed from both.

    Args:
        codes: ``(n, d)``.
        properties: ``(n, p)``, finite: leave out samples that could not be measured.
        classes: ``(n,)``, any values; None for one class.
        names: of the properties; by default "0", "1", ...
        threshold: R² from which a latent carries a property.
        others_below: R² that every other latent has to stay below for the carrier to carry it alone.
        shuffles: permutations of rows within classes for the noise floor.
        seed: of resampling (rows within their class, for the intervals) and shuffling.

    Raises:
        UserError: wrong shapes, values that are not finite, or too few samples for the classes.
    """
    codes, properties = _matrix("codes", codes), _matrix("properties", properties)
    n, d = codes.shape
    p = properties.shape[1]
    classes = np.zeros(n, int) if classes is None else np.asarray(classes)
    if len(properties) != n or classes.shape != (n,):
        raise UserError(
            f"codes, properties and classes must have the same rows, got {codes.shape}, {properties.shape} and {classes.shape}"
        )
    if classes.dtype.kind == "f" and not np.isfinite(classes).all():
        raise UserError("classes contain NaN or infinity; leave out samples without a class")
    names = _names(names, p)
    index = np.unique(classes, return_inverse=True)[1]
    groups = [np.flatnonzero(index == g) for g in range(index.max() + 1)] if n else []
    if n - len(groups) < 3:
        raise UserError(f"{n} samples in {len(groups)} classes are too few to compare within classes; give several per class")
    if not shuffles > 0:
        raise UserError(f"shuffles must be at least 1, got {shuffles}")
    c, y = _residuals(codes, groups), _residuals(properties, groups)
    rng = np.random.default_rng(seed)

    cc, yy, cy = (c**2).sum(0), (y**2).sum(0), c.T @ y
    value, slope = _r2(cc, yy, cy), _ratio(cy, cc[:, None])
    within = [_r2((c[g] ** 2).sum(0), (y[g] ** 2).sum(0), c[g].T @ y[g]) for g in groups if len(g) > 2]
    with threadpool_limits(1, user_api="blas"):  # thin matrices: on a busy machine more threads only wait for each other
        drawn_cc, drawn_yy, drawn_cy = _resampled(c, y, groups, rng)
    drawn, drawn_slope = _r2(drawn_cc, drawn_yy, drawn_cy), _ratio(drawn_cy, drawn_cc[:, :, None])
    floor = np.quantile([_r2(cc, yy, c.T @ y[_shuffle(groups, n, rng)]).max(0) for _ in range(shuffles)], 0.95, axis=0)

    carriers = {}
    for k, name in enumerate(names):
        ranked = np.argsort(-value[:, k], kind="stable")
        best, second = int(ranked[0]), int(ranked[1]) if d > 1 else None
        r2 = percentile_interval(value[best, k], drawn[:, best, k], n)
        behind = (0.0, np.zeros(RESAMPLES)) if second is None else (value[second, k], drawn[:, second, k])
        carried = r2.value >= threshold and r2.value > floor[k]
        carriers[name] = Carrier(
            best=best,
            latent=best if carried else None,
            alone=bool(carried and behind[0] < others_below),
            r2=r2,
            gap=percentile_interval(r2.value - behind[0], drawn[:, best, k] - behind[1], n),
            slope=percentile_interval(slope[best, k], drawn_slope[:, best, k], n),
            floor=float(floor[k]),
        )
    return WithinClass(
        properties=names,
        r2=tuple(tuple(percentile_interval(value[j, k], drawn[:, j, k], n) for k in range(p)) for j in range(d)),
        slope=slope,
        per_class=np.mean(within, axis=0) if within else np.full((d, p), np.nan),
        spread=np.sqrt(yy / (n - len(groups))),
        carriers=carriers,
    )


def within(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Values ``(n, columns)`` less the mean of their class, for scores that are to say nothing of the class."""
    return _residuals(np.asarray(values, np.float64), [np.flatnonzero(classes == c) for c in np.unique(classes)])


def _residuals(values: np.ndarray, groups: list[np.ndarray]) -> np.ndarray:
    out = np.empty_like(values)
    for rows in groups:
        out[rows] = values[rows] - values[rows].mean(0)
    out[:, (out**2).sum(0) <= _FLAT * (values**2).sum(0)] = 0.0  # what is left of a constant is rounding
    return out


def _resampled(c: np.ndarray, y: np.ndarray, groups: list[np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Within-class sums of squares and products in bootstrap resamples: ``(B, d)``, ``(B, p)``, ``(B, d, p)``.

    Rows are drawn within their class, and class means are those of the resample.
    """
    d, p = c.shape[1], y.shape[1]
    products = (c[:, :, None] * y[:, None, :]).reshape(len(c), -1)
    features = np.concatenate([c, y, c**2, y**2, products], axis=1)
    total = np.zeros((RESAMPLES, d + p + d * p))
    for rows in groups:
        k, part = len(rows), features[rows]
        block = max(1, 2_000_000 // k)  # resamples at a time: tables of counts of 16 MB
        for start in range(0, RESAMPLES, block):
            size = min(block, RESAMPLES - start)
            draws = rng.integers(0, k, (size, k)) + np.arange(size)[:, None] * k
            sums = np.bincount(draws.ravel(), minlength=size * k).reshape(size, k).astype(float) @ part
            mean_c, mean_y = sums[:, :d] / k, sums[:, d : d + p] / k
            offset = [mean_c**2, mean_y**2, (mean_c[:, :, None] * mean_y[:, None, :]).reshape(size, -1)]
            total[start : start + size] += sums[:, d + p :] - k * np.concatenate(offset, axis=1)
    return total[:, :d], total[:, d : d + p], total[:, d + p :].reshape(-1, d, p)


def _shuffle(groups: list[np.ndarray], n: int, rng: np.random.Generator) -> np.ndarray:
    out = np.empty(n, int)
    for rows in groups:
        out[rows] = rng.permutation(rows)
    return out


@dataclass(frozen=True)
class Effect:
    """The latent that moves one property most.

    Attributes:
        latent: its index: the steepest mean slope.
        share: of its slope in the sum of all latents' slopes (without signs): 1 if no other latent moves the property.
        slope, r2, range: of this latent, as in :class:`Traversal`.
    """

    latent: int
    share: float
    slope: Score
    r2: Score
    range: Score

    def to_dict(self) -> dict[str, Any]:
        scores = {name: getattr(self, name).to_dict() for name in ("slope", "r2", "range")}
        return {"latent": self.latent, "share": self.share, **scores}


@dataclass(frozen=True)
class Traversal:
    """What moving one latent does to properties: means over base samples, with intervals over them.

    Attributes:
        properties: names, ``p`` of them.
        slope: change of the property per unit of the latent, ``d`` rows of ``p``.
        r2: of the straight line through one sample's traversal; 0 where the property does not move. A property that moves
            little moves in steps of measurement, so look at the range first.
        range: greatest less smallest value of the property along the traversal, in units of ``spread``.
        measured: share of the decoded samples of each latent that could be measured, ``(d,)``.
        effects: property -> the latent that moves it most.
    """

    properties: tuple[str, ...]
    slope: tuple[tuple[Score, ...], ...]
    r2: tuple[tuple[Score, ...], ...]
    range: tuple[tuple[Score, ...], ...]
    measured: np.ndarray
    effects: dict[str, Effect]

    def to_dict(self) -> dict[str, Any]:
        tables = {name: [[s.to_dict() for s in row] for row in getattr(self, name)] for name in ("slope", "r2", "range")}
        effects = {name: effect.to_dict() for name, effect in self.effects.items()}
        return {"properties": list(self.properties), **tables, "measured": self.measured.tolist(), "effects": effects}


def traversal(
    values: np.ndarray,
    measured: np.ndarray,
    *,
    spread: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> Traversal:
    """The effect of every latent on every property, from measured traversals.

    Args:
        values: ``(steps,)``, at least 3 different ones: what the latent was set to.
        measured: ``(n, d, steps, p)``: properties of base sample i with latent j set to the value and all else kept. NaN
            where a decoded sample could not be measured: lines are fitted through the rest, and a line through fewer than
            3 values does not count.
        spread: ``(p,)`` what to express ranges in, such as :attr:`WithinClass.spread`; None leaves the property's unit.
        names: of the properties; by default "0", "1", ...
        seed: of the resampling of base samples.

    Raises:
        UserError: wrong shapes, infinite values, or a latent and property with no line at all.
    """
    values, measured = np.asarray(values, np.float64), np.asarray(measured, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all() or len(np.unique(values)) < 3:
        raise UserError(f"values must be at least 3 different finite numbers, got {values.tolist()}")
    if measured.ndim != 4 or measured.shape[2] != len(values) or 0 in measured.shape:
        raise UserError(f"measured must be (samples, latents, {len(values)} steps, properties), got {measured.shape}")
    if np.isinf(measured).any():
        raise UserError("measured contains infinity; use NaN for what could not be measured")
    p = measured.shape[3]
    names = _names(names, p)
    spread = np.ones(p) if spread is None else np.asarray(spread, np.float64)
    if spread.shape != (p,) or not (np.isfinite(spread) & (spread > 0)).all():
        raise UserError(f"spread must be {p} positive numbers, one a property, got {spread.tolist()}")

    seen = ~np.isnan(measured)
    count = seen.sum(2)
    x = np.where(seen, values[:, None], 0.0)
    y = np.where(seen, measured, 0.0)
    square = (y**2).sum(2)
    many = np.maximum(count, 1)[:, :, None]
    x = np.where(seen, x - x.sum(2, keepdims=True) / many, 0.0)
    y = np.where(seen, y - y.sum(2, keepdims=True) / many, 0.0)
    xx, yy, xy = (x**2).sum(2), (y**2).sum(2), (x * y).sum(2)  # (n, d, p)
    yy, xy = (np.where(yy <= _FLAT * square, 0.0, part) for part in (yy, xy))
    counts = (count >= 3) & (xx > 0)
    if not counts.any(0).all():
        j, k = np.argwhere(~counts.any(0))[0]
        raise UserError(f"no traversal of latent {j} has 3 values of property {names[k]!r} that could be measured")
    slopes = np.where(counts, _ratio(xy, xx), np.nan)
    r2 = np.where(counts, np.clip(_ratio(xy**2, xx * yy), 0, 1), np.nan)
    ranges = np.where(counts, (y.max(2, where=seen, initial=-np.inf) - y.min(2, where=seen, initial=np.inf)) / spread, np.nan)

    tables = [_means(part, seed) for part in (slopes, r2, ranges)]
    steepness = np.abs(np.nanmean(slopes, 0))  # (d, p)
    effects = {}
    for k, name in enumerate(names):
        j = int(steepness[:, k].argmax())
        share = float(_ratio(steepness[j, k], steepness[:, k].sum()))
        effects[name] = Effect(j, share, *(table[j][k] for table in tables))
    return Traversal(names, tables[0], tables[1], tables[2], seen.all(3).mean((0, 2)), effects)


def measure_traversal(
    decode: Callable[[np.ndarray], Any], codes: np.ndarray, values: np.ndarray, measure: Callable[[Any], np.ndarray]
) -> np.ndarray:
    """Decodes and measures traversals of every latent, for :func:`traversal`.

    Args:
        decode: codes ``(n * steps, d)`` to samples, sample by sample with all its steps.
        codes: ``(n, d)``, the base samples.
        values: ``(steps,)``, what each latent in turn is set to.
        measure: samples to properties ``(n * steps, p)``, such as ``lambda x: morphology.measure(x).values``.

    Returns:
        ``(n, d, steps, p)``.
    """
    codes, values = _matrix("codes", codes), np.asarray(values, np.float64)
    if values.ndim != 1:
        raise UserError(f"values must be one-dimensional, got shape {values.shape}")
    out = []
    for j in range(codes.shape[1]):
        moved = np.repeat(codes[:, None], len(values), axis=1)
        moved[:, :, j] = values
        properties = np.asarray(measure(decode(moved.reshape(-1, codes.shape[1]))))
        if properties.ndim != 2 or len(properties) != len(codes) * len(values):
            raise UserError(
                f"measure must return one row for each of {len(codes) * len(values)} samples, got {properties.shape}"
            )
        out.append(properties.reshape(len(codes), len(values), -1))
    return np.stack(out, axis=1)


# -- Shared ------------------------------------------------------------------------------------------------------------------


def _matrix(what: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or not values.shape[1]:
        raise UserError(f"{what} must be (samples, columns), got shape {values.shape}")
    bad = int((~np.isfinite(values)).any(1).sum())
    if bad:
        raise UserError(f"{what} must be finite, but {bad} of {len(values)} rows are not; leave those samples out")
    return values


def _names(names: Sequence[str] | None, p: int) -> tuple[str, ...]:
    names = tuple(str(k) for k in range(p)) if names is None else tuple(names)
    if len(names) != p or len(set(names)) != p:
        raise UserError(f"names must be {p} different ones, one a property, got {list(names)}")
    return names


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, and 0 where b is not positive."""
    a, b = np.broadcast_arrays(a, b)
    return np.divide(a, b, out=np.zeros(a.shape), where=b > 0)


def _r2(cc: np.ndarray, yy: np.ndarray, cy: np.ndarray) -> np.ndarray:
    """Squared correlations ``(..., d, p)`` from sums of squares ``(..., d)``, ``(..., p)`` and of products."""
    return np.clip(_ratio(cy**2, np.maximum(cc, 0)[..., :, None] * np.maximum(yy, 0)[..., None, :]), 0, 1)


def _means(values: np.ndarray, seed: int) -> tuple[tuple[Score, ...], ...]:
    """Means of ``(n, d, p)`` over samples without NaN; all resampled alike."""
    n, d, p = values.shape
    draws = np.random.default_rng(seed).integers(0, n, (RESAMPLES, n)) + np.arange(RESAMPLES)[:, None] * n
    weights = np.bincount(draws.ravel(), minlength=RESAMPLES * n).reshape(RESAMPLES, n).astype(float)
    seen = ~np.isnan(values)
    filled, count = np.where(seen, values, 0.0), seen.sum(0)
    mean = filled.sum(0) / count
    with np.errstate(invalid="ignore"):  # a resample can miss every sample that counts
        drawn = (weights @ filled.reshape(n, -1)) / (weights @ seen.reshape(n, -1))
    low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0).reshape(2, d, p)
    return tuple(
        tuple(Score(float(mean[j, k]), float(low[j, k]), float(high[j, k]), int(count[j, k])) for k in range(p))
        for j in range(d)
    )
