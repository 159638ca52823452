"""What the scores of :mod:`~labelspace.metrics.disentanglement` share: samples, floors, ceilings, intervals, binning.

A score is a function of a :class:`CodedSample`, or of codes alone. :func:`measure` and :func:`measure_codes` apply it to what
was given and to noise, and for a ceiling to the factors themselves.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from labelspace.errors import UserError
from labelspace.metrics.scores import Score

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

RESAMPLES = 400
CROWDED = 0.95
"""Share of samples in one bin from which on a note says that the bins are as good as empty."""
TINY = 1e-12

Discrete: TypeAlias = "bool | Sequence[bool] | None"
"""Which factors are discrete: all or none of them, one entry per factor, or None to look (:func:`is_discrete`)."""

Binning: TypeAlias = Literal["width", "quantile"]
"""Bins of equal width between the extremes, or of equally many samples, which one outlier cannot empty."""


@dataclass(frozen=True)
class Metric:
    """A score between what noise gets and what can be had.

    Attributes:
        score: value, interval and sample size (rows that the value rests on; votes for the two scores that vote).
        floor: the score of standard normal codes of the same shape, measured once with the same seed.
        ceiling: the best that codes can score on these factors; None where there is no such thing.
        parameters: everything else that the value depends on.
    """

    score: Score
    floor: float | None
    ceiling: float | None
    parameters: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {**self.score.to_dict(), "floor": self.floor, "ceiling": self.ceiling, "parameters": dict(self.parameters)}


@dataclass(frozen=True)
class CodedSample:
    """Checked codes and factors of the same rows, with everything that one scoring of them needs.

    Attributes:
        codes: ``(n, d)``.
        values: ``(n, k)``: as given for continuous factors, the number of the value for discrete ones.
        levels: ``(n, k)`` integers: the number of the value, or the bin.
        discrete: per factor.
        bins: per latent and continuous factor, for scores that count.
        seed: of whatever a score draws.
        fit, held: rows that probes are trained on and scored on.
        resamples: how often to resample for intervals; 0 where only the value is wanted.
        binning: how latents and continuous factors are cut into bins.
    """

    codes: np.ndarray
    values: np.ndarray
    levels: np.ndarray
    discrete: tuple[bool, ...]
    bins: int
    seed: int
    fit: np.ndarray
    held: np.ndarray
    resamples: int = RESAMPLES
    binning: Binning = "width"

    @classmethod
    def of(
        cls,
        codes: np.ndarray,
        factors: np.ndarray,
        discrete: Discrete,
        bins: int,
        seed: int,
        *,
        least_latents: int = 1,
        least_factors: int = 1,
        binning: Binning = "width",
    ) -> CodedSample:
        """Checks arrays and splits their rows.

        Args:
            codes: ``(n, d)``.
            factors: ``(n, k)``, or ``(n,)`` for one: numbers, booleans or words.
            discrete: which factors' values are classes.
            bins: at least 2.
            seed: also of the split.
            least_latents, least_factors: how many the score needs.
            binning: of latents and continuous factors.

        Raises:
            UserError: for arrays that cannot be scored: shapes, NaN, constant factors, too few samples.
        """
        codes, factors = checked_codes(codes, least_latents), np.asarray(factors)
        n = len(codes)
        if factors.ndim not in (1, 2) or len(factors) != n:
            raise UserError(f"factors must be (n, k) or (n,) with n = {n} as in codes, got shape {factors.shape}")
        columns = [_factor(column) for column in factors.reshape(n, -1).T]
        if len(columns) < least_factors:
            raise UserError(f"this score compares factors: it needs at least {least_factors}, got {len(columns)}")
        if discrete is None:
            discrete = [is_discrete(column) for column in columns]
        elif isinstance(discrete, bool):
            discrete = [discrete] * len(columns)
        elif len(discrete) != len(columns):
            raise UserError(f"discrete must say yes or no for each of {len(columns)} factors, got {len(discrete)} entries")
        if binning not in ("width", "quantile"):
            raise UserError(f"binning must be 'width' or 'quantile', got {binning!r}")
        if bins < 2:
            raise UserError(f"bins must be at least 2, got {bins}")
        order = np.random.default_rng(seed).permutation(n)
        fit, held = np.sort(order[n // 3 :]), np.sort(order[: n // 3])
        values, levels = np.zeros((n, len(columns))), np.zeros((n, len(columns)), np.int64)
        for k, column in enumerate(columns):
            known, number = np.unique(column, return_inverse=True)
            if len(known) < 2:
                raise UserError(f"factor {k} is constant ({known[0]}); leave it out")
            if discrete[k] and len(known) > n / 5:
                raise UserError(
                    f"factor {k} has {len(known)} values in {n} samples, too many for classes; say that it is not discrete"
                )
            if not discrete[k] and column.dtype.kind == "U":
                raise UserError(f"factor {k} holds words, such as {str(known[0])!r}; say that it is discrete")
            values[:, k] = number if discrete[k] else column
            levels[:, k] = number if discrete[k] else discretised(column[:, None], bins, binning)[:, 0]
            if any(len(np.unique(levels[rows, k])) < 2 for rows in (fit, held)):
                raise UserError(f"factor {k} has nearly always the same value: too few samples of the others to score probes")
        return cls(codes, values, levels, tuple(bool(x) for x in discrete), bins, seed, fit, held, binning=binning)

    @property
    def n(self) -> int:
        return len(self.codes)

    def noise(self) -> CodedSample:
        """The same factors with codes that know nothing of them."""
        return replace(self, codes=noise_like(self.codes, self.seed), resamples=0)

    def ideal(self) -> CodedSample:
        """The factors themselves as codes, standardised; a single one beside a latent of noise, to have a second."""
        codes = (self.values - self.values.mean(0)) / self.values.std(0)
        if codes.shape[1] == 1:
            codes = np.concatenate([codes, noise_like(codes, self.seed)], 1)
        return replace(self, codes=codes, resamples=0)


def measure(compute: Callable[..., Score], sample: CodedSample, ceiling: float | None = None, **parameters: Any) -> Metric:
    """A score with its floor, and its ceiling unless that is given.

    Args:
        compute: the score of a sample under the parameters.
        sample: what to score.
        ceiling: if it is known; by default measured.
        parameters: of the score.
    """
    return measure_all(lambda of, **given: (compute(of, **given),), sample, ceiling, **parameters)[0]


def measure_all(
    compute: Callable[..., tuple[Score, ...]], sample: CodedSample, ceiling: float | None = None, **parameters: Any
) -> list[Metric]:
    """Like :func:`measure`, for several scores that are computed together."""
    scores = compute(sample, **parameters)
    floors = [score.value for score in compute(sample.noise(), **parameters)]
    ceilings = [score.value for score in compute(sample.ideal(), **parameters)] if ceiling is None else [ceiling]
    parameters = {key: list(p) if isinstance(p, tuple) else p for key, p in parameters.items()}
    parameters = {**parameters, "rows": sample.n, "bins": sample.bins, "binning": sample.binning, "seed": sample.seed}
    return [Metric(s, f, c, parameters) for s, f, c in zip(scores, floors, ceilings, strict=True)]


def measure_codes(
    score: Callable[[np.ndarray, np.ndarray], np.ndarray], codes: np.ndarray, seed: int, **parameters: Any
) -> Metric:
    """A score of codes alone, from 0 and without a ceiling.

    Args:
        score: of codes ``(n, d)`` whose rows count as often as weights ``(r, n)`` say, ``(r,)``.
        codes: ``(n, d)``, at least two latents.
        seed: of noise and resampling.
        parameters: of the score, to be reported.
    """
    codes = checked_codes(codes, 2)

    def scored(codes: np.ndarray, resamples: int) -> Score:
        return by_rows(lambda weights: score(codes, weights), len(codes), resamples, seed, high=np.inf)

    floor = scored(noise_like(codes, seed), 0).value
    return Metric(scored(codes, RESAMPLES), floor, None, {"rows": len(codes), **parameters, "seed": seed})


def checked_codes(codes: np.ndarray, least_latents: int) -> np.ndarray:
    """Codes as float64 ``(n, d)``.

    Raises:
        UserError: if they have another shape, too few rows or latents, or NaN.
    """
    codes = np.asarray(codes, np.float64)
    if codes.ndim != 2:
        raise UserError(f"codes must be (n, d), one row per sample, got shape {codes.shape}")
    if codes.shape[1] < least_latents:
        raise UserError(f"this score compares latents: it needs at least {least_latents}, got {codes.shape[1]}")
    if len(codes) < 50:
        raise UserError(f"too few samples: scores of codes need at least 50, better 10,000, got {len(codes)}")
    if not np.isfinite(codes).all():
        raise UserError("codes contain NaN or infinity; has the model diverged?")
    return codes


def _factor(column: np.ndarray) -> np.ndarray:
    """One factor as numbers, booleans or words ``(n,)``; a column of objects becomes what its values are."""
    missing = False
    if column.dtype == object:
        missing = any(value is None or value != value for value in column)  # NaN differs from itself
        column = np.array(column.tolist())
    if missing or (column.dtype.kind == "f" and not np.isfinite(column).all()):
        raise UserError("factors contain NaN or infinity; leave out the rows where a factor is not known")
    if column.dtype.kind not in "biufU":
        raise UserError(f"factors must be numbers, booleans or words, got an array of {column.dtype}")
    return column


def is_discrete(column: np.ndarray) -> bool:
    """Whether the values of a factor ``(n,)`` are taken as classes where nothing else is said.

    Integers, booleans and words are, and so are floats that are all whole numbers, some of them more than once (the convention
    of scikit-learn's ``type_of_target``); other floats are continuous.
    """
    if column.dtype.kind != "f":
        return True
    return bool((column == np.round(column)).all()) and len(np.unique(column)) < len(column)


def noise_like(codes: np.ndarray, seed: int) -> np.ndarray:
    """Standard normal codes of the same shape."""
    return np.random.default_rng([seed, 1]).normal(size=codes.shape)


def standardised(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """By mean and deviation over some rows; constant columns become zero."""
    scale = x[rows].std(0)
    return (x - x[rows].mean(0)) / np.where(scale > TINY, scale, np.inf)


def discretised(x: np.ndarray, bins: int, binning: Binning = "width") -> np.ndarray:
    """Numbers of bins of every column, ``(n, d)``: of equal width between its extremes, or of as many samples each.

    Equal values are in one bin.
    """
    out = np.zeros(x.shape, np.int64)
    for number, column in zip(out.T, x.T.astype(np.float64), strict=True):
        if binning == "quantile":
            edges = np.unique(np.quantile(column, np.linspace(0, 1, bins + 1)))
        else:
            edges = np.linspace(column.min(), column.max(), bins + 1)
        if edges[0] < edges[-1]:
            number[:] = np.searchsorted(edges[1:-1], column, side="right")
    return out


def note_crowded(codes: np.ndarray, binned: np.ndarray, bins: int) -> None:
    """Says which latents, though they vary, have nearly all samples in one bin of equal width: one outlier does that."""
    crowded = [
        j
        for j, (column, number) in enumerate(zip(codes.T, binned.T, strict=True))
        if np.bincount(number).max() > CROWDED * len(column) and len(np.unique(column)) > bins
    ]
    if crowded:
        warnings.warn(
            f"latents {', '.join(map(str, crowded))} have {CROWDED:.0%} of their samples in one of {bins} bins of equal width, "
            "because of outliers: binning='quantile' makes bins of equally many samples",
            Crowded,
            stacklevel=2,
        )


class Crowded(UserWarning):
    """Outliers leave hardly a sample in most bins of a latent."""


def bootstrap_counts(n: int, resamples: int, seed: int) -> np.ndarray:
    """How often every row is in each bootstrap sample, ``(resamples, n)``."""
    draws = np.random.default_rng([seed, 2]).integers(0, n, (resamples, n)) + np.arange(resamples)[:, None] * n
    return np.bincount(draws.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.float32)


def interval(value: float, resampled: np.ndarray, n: int, high: float = 1.0) -> Score:
    """Value with the quantiles of resampled values moved onto it, within 0 and ``high``."""
    if len(resampled) == 0:
        return Score(value, value, value, n)
    low, middle, top = np.quantile(resampled, [0.025, 0.5, 0.975])
    return Score(value, max(0.0, value + float(low - middle)), min(high, value + float(top - middle)), n)


def by_rows(score: Callable[[np.ndarray], np.ndarray], n: int, resamples: int, seed: int, high: float = 1.0) -> Score:
    """A score of rows from a function of their weights ``(resamples, n)``."""
    value = float(score(np.ones((1, n)))[0])
    return interval(value, score(bootstrap_counts(n, resamples, seed)) if resamples else np.zeros(0), n, high)


def covariances(x: np.ndarray, weights: np.ndarray) -> Iterator[np.ndarray]:
    """Covariances ``(d, d)`` of columns of ``(n, d)`` whose rows count as often as each row of weights ``(r, n)`` says."""
    for row in weights:
        mean = row @ x / len(x)
        yield (x * row[:, None]).T @ x / len(x) - np.outer(mean, mean)


def gap(matrix: np.ndarray) -> np.ndarray:
    """The gap of MIG and SAP: largest less second largest over latents of ``(..., d, k)``, ``(..., k)``."""
    top = np.sort(matrix, axis=-2)
    return top[..., -1, :] - top[..., -2, :]


def logistic_probe(x: np.ndarray, y: np.ndarray, steps: int) -> LogisticRegression:
    """A logistic regression of classes ``(n,)`` on ``(n, d)``, as far as it gets in a number of steps."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(max_iter=steps).fit(x, y)
