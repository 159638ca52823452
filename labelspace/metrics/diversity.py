"""Diversity: how far apart samples of one class are, which true styles draws hit, and where in the picture draws differ.

Functions of plain arrays. Distances are Euclidean, over whatever the columns are: pixels, or features that a judge or another
network gives (:meth:`labelspace.evaluation.judge.Judge.features`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from labelspace.errors import UserError
from labelspace.metrics.scores import Score, mean, statistic

_BLOCK = 2**20  # distances that are held at once: 8 MB, so that they stay in the cache


def as_matrix(name: str, samples: np.ndarray, least: int = 2) -> np.ndarray:
    """Samples as rows ``(n, d)`` of floats; whatever the shape of one sample, it is flattened.

    Args:
        name: what the samples are, for the error.
        samples: ``(n, ...)``.
        least: how many there must be.

    Raises:
        UserError: no rows, fewer than ``least``, or entries that are not finite.
    """
    array = np.asarray(samples)
    if array.ndim < 2 or len(array) < least:
        raise UserError(f"{name} have shape {array.shape}; expected at least {least} samples as rows of an array (n, d)")
    array = array.reshape(len(array), -1)
    bad = int((~np.isfinite(array)).any(1).sum())
    if bad:
        raise UserError(
            f"{name} hold NaN or infinity in {bad} of {len(array)} samples; expected finite numbers: leave these out"
        )
    return array.astype(np.result_type(array, np.float32), copy=False)


def squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared Euclidean distances between all rows of ``a (n, d)`` and of ``b (m, d)``, a few rows of ``a`` at a time.

    Yields:
        The rows of ``a``, and their distances to all of ``b``, ``(rows, m)``.
    """
    # |a - b|^2 = |a|^2 + |b|^2 - 2ab loses digits far from the origin, so the origin is moved amid the data.
    centre = b.mean(0, dtype=np.float64)
    a, b = a - centre, b - centre
    a_squared, b_squared = (a * a).sum(1), (b * b).sum(1)
    step = max(1, _BLOCK // len(b))
    for start in range(0, len(a), step):
        rows = slice(start, start + step)
        block = a[rows] @ (-2 * b.T)
        block += a_squared[rows, None]
        block += b_squared
        yield rows, np.maximum(block, 0, out=block)


def mean_squared_distance(samples: np.ndarray) -> Score:
    """Mean squared distance between two different samples; 0 if all are the same.

    Closed form, linear in n: twice the summed (unbiased) variances. Divided by the number of coordinates it is the mean squared
    difference per pixel. Resampled are the squared distances of the samples to their centre.

    Args:
        samples: ``(n, ...)``, flattened.
    """
    x = as_matrix("samples", samples)
    centred = x - x.mean(0)
    return mean(2 * len(x) / (len(x) - 1) * np.einsum("nd,nd->n", centred, centred))


def mean_distance(samples: np.ndarray) -> Score:
    """Mean (not squared) distance between two different samples, over all n(n-1)/2 pairs; 0 if all are the same.

    Few outliers move it less than :func:`mean_squared_distance`; it takes time in n squared, in pieces of bounded memory.
    Resampled are the samples' mean distances to all others, with the weight 2 that they have in a mean over pairs.

    Args:
        samples: ``(n, ...)``, flattened.
    """
    x = as_matrix("samples", samples)
    sums = np.concatenate([np.sqrt(block).sum(1) for _, block in squared_distances(x, x)])
    to_others = sums / (len(x) - 1)
    return mean(2 * to_others - to_others.mean())


@dataclass(frozen=True)
class ClassDiversity:
    """Diversity of generated samples of one class beside that of real ones.

    Attributes:
        generated: of the generated samples; its floor is 0, where all samples are alike.
        real: of the real samples: what to compare with. More than this is noise, or samples that are not of the class.
    """

    generated: Score
    real: Score

    @property
    def ratio(self) -> float:
        """Made over real: 1 is ideal. NaN where all real samples are alike."""
        return self.generated.value / self.real.value if self.real.value > 0 else float("nan")


def intra_class(
    generated: np.ndarray,
    generated_labels: np.ndarray,
    real: np.ndarray,
    real_labels: np.ndarray,
    measure: Callable[[np.ndarray], Score] = mean_squared_distance,
) -> dict[int, ClassDiversity]:
    """Diversity of the samples of each class, for classes with at least two generated and two real samples.

    Args:
        generated: ``(n, ...)`` samples or features of them.
        generated_labels: ``(n,)`` the class that each was asked to be.
        real: ``(m, ...)`` real samples or features of them.
        real_labels: ``(m,)``.
        measure: :func:`mean_squared_distance` (fast, for pixels and features) or :func:`mean_distance`.

    Raises:
        UserError: labels that do not fit the samples, or no class with two samples of both.
    """
    generated, real = as_matrix("generated samples", generated), as_matrix("real samples", real)
    generated_labels, real_labels = np.asarray(generated_labels), np.asarray(real_labels)
    for name, x, labels in (("generated", generated, generated_labels), ("real", real, real_labels)):
        if labels.shape != (len(x),):
            raise UserError(f"{len(x)} {name} samples have labels of shape {labels.shape}; expected one label a sample")
    out = {}
    for value in np.intersect1d(generated_labels, real_labels):
        mine, theirs = generated[generated_labels == value], real[real_labels == value]
        if min(len(mine), len(theirs)) > 1:
            out[int(value)] = ClassDiversity(measure(mine), measure(theirs))
    if not out:
        raise UserError("no class has two generated and two real samples; expected labels of the same coding and more samples")
    return out


@dataclass(frozen=True)
class StyleCoverage:
    """Which true styles draws hit.

    Attributes:
        share: of styles hit at least once. Its floor is one over the number of styles: every draw alike.
        rates: ``(styles,)`` share of draws that hit each style.
        ceiling: the share of styles that as many draws hit on average if all styles are equally likely.
    """

    share: Score
    rates: np.ndarray
    ceiling: float


def style_coverage(errors: np.ndarray, *, within: float = np.inf) -> StyleCoverage:
    """Which of the true styles draws hit. A draw hits the style that it is nearest to, if it is near enough.

    Args:
        errors: error of every draw to every style: ``(draws, styles)``, or ``(n, draws, styles)`` for ``n`` samples with their
            own draws, whose shares are averaged.
        within: largest error of a hit; by default even a bad draw hits its nearest style.

    Returns:
        The share's interval resamples samples, or the draws where there is only one set of them. Resampled draws can only lose
        styles, so that interval ends at the value above.
    """
    errors = np.asarray(errors, np.float64)
    if errors.ndim not in (2, 3) or 0 in errors.shape or np.isnan(errors).any():
        raise UserError(
            f"errors have shape {errors.shape}; expected (draws, styles) or (n, draws, styles) of numbers, none NaN"
        )
    draws, styles = errors.shape[-2:]
    nearest = errors.argmin(-1)
    hits = (nearest[..., None] == np.arange(styles)) & (errors.min(-1, keepdims=True) <= within)
    if errors.ndim == 3:
        share = mean(hits.any(1).mean(1))
    else:
        score = statistic(lambda drawn: float(drawn.any(0).mean()), hits)
        share = Score(score.value, score.low, max(score.high, score.value), score.n)
    return StyleCoverage(share, hits.reshape(-1, styles).mean(0), float(1 - (1 - 1 / styles) ** draws))


def variance_map(draws: np.ndarray) -> np.ndarray:
    """Where draws differ: their (unbiased) variance at every pixel, summed over channels.

    Args:
        draws: ``(n, draws, *shape)``: several draws of one block for each of ``n`` samples; images ``(c, h, w)`` or vectors.

    Returns:
        ``(n, h, w)`` or ``(n, d)``. Its mean over samples is the locality map of the block.
    """
    draws = np.asarray(draws)
    if draws.ndim not in (3, 5) or draws.shape[1] < 2:
        raise UserError(f"draws have shape {draws.shape}; expected (n, draws, *shape) with at least two draws a sample")
    if np.isinf(draws).any() or (np.isnan(draws).any(1) & ~np.isnan(draws).all(1)).any():
        raise UserError("some draws hold NaN or infinity where others of the same sample do not; leave these samples out")
    variance = draws.var(1, ddof=1)
    return variance.sum(1) if variance.ndim == 4 else variance


def share_inside(maps: np.ndarray, region: np.ndarray) -> dict[str, Score]:
    """How much of the variance of draws lies where the truth differs.

    Args:
        maps: ``(n, ...)`` of :func:`variance_map`.
        region: ``(n, ...)`` bool, as :func:`labelspace.evaluation.manipulation.changed_region` gives it.

    Returns:
        "share": variance inside over all variance (ideal: 1), NaN where no draw differs from another; "floor": the region's
        share of the pixels, which variance spread evenly has. Resampled are samples, each with its two sums.
    """
    maps, region = np.asarray(maps), np.asarray(region)
    if maps.shape != region.shape:
        raise UserError(f"maps have shape {maps.shape} and regions {region.shape}; expected the same")
    maps, region = (x.reshape(len(x), -1) for x in (maps, region))
    total, inside = maps.sum(1, dtype=np.float64), maps.sum(1, dtype=np.float64, where=region)
    share = statistic(_ratio, inside, total) if total.sum() > 0 else Score(float("nan"), float("nan"), float("nan"), len(total))
    return {"share": share, "floor": mean(region.mean(1))}


def _ratio(part: np.ndarray, whole: np.ndarray) -> float:
    return float(part.sum() / whole.sum()) if whole.sum() > 0 else float("nan")
