"""Columns with long tails, in coordinates in which they are close to normal: Johnson's SU system (Johnson 1949).

    v = asinh((x - location) / width),   x = location + width sinh(v)

where v is close to normal and x is not. Logarithms are its limit for small widths, and x itself that for large ones.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from labelspace.precision import as_double_on_cpu

_FEWEST = 20  # different values: fewer have no tails
_POINTS = 200  # quantiles of a column that are looked at, beside its ends
_NORMAL = 0.01  # a column is close to normal where normal quantiles explain all but this share of it
_GAIN = 0.5  # of what keeps a column from being normal, the share that may be left where it is bent
_STARTS = [
    (place, width) for place in (0.0, 0.02, 0.25, 0.5, 0.75, 0.98, 1.0) for width in (0.003, 0.1, 1.0)
]  # location as a quantile, width in units of the spread
_NARROWEST = 1e-3  # width in units of the spread


class JohnsonSU(nn.Module):
    """The coordinates of ``d`` columns; a column that is no closer to normal in v is left as it is: its v is x.

    Attributes:
        location: ``(d,)``.
        width: ``(d,)``, infinite where a column is left as it is.
    """

    location: Tensor
    width: Tensor
    least: Tensor
    most: Tensor

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.register_buffer("location", torch.zeros(columns))
        self.register_buffer("width", torch.full((columns,), torch.inf))
        # v goes no farther beyond that of the training data than those are wide: sinh is steep.
        self.register_buffer("least", torch.full((columns,), -torch.inf))
        self.register_buffer("most", torch.full((columns,), torch.inf))

    @property
    def bent(self) -> Tensor:
        """Columns whose v is not x, ``(d,)`` bool."""
        return self.width.isfinite()

    def measure(self, x: Tensor) -> None:
        """Finds the coordinates of columns ``(n, d)``, NaN where a cell is missing."""
        for j, column in enumerate(as_double_on_cpu(x.detach()).numpy().T):
            found = fit(column[~np.isnan(column)])
            self.location[j], self.width[j] = found or (0.0, math.inf)
        v, missing = self.straight(x), x.isnan()
        least, most = v.masked_fill(missing, torch.inf).amin(0), v.masked_fill(missing, -torch.inf).amax(0)
        self.least.copy_(torch.where(self.bent, 2 * least - most, -torch.inf))
        self.most.copy_(torch.where(self.bent, 2 * most - least, torch.inf))

    def straight(self, x: Tensor) -> Tensor:
        """x to v, both ``(n, d)``."""
        return torch.where(self.bent, torch.asinh((x - self.location) / self.width), x)

    def curved(self, v: Tensor) -> Tensor:
        """v to x, both ``(n, d)``."""
        v = v.clamp(self.least, self.most)
        return torch.where(self.bent, self.location + self._finite_width * torch.sinh(torch.where(self.bent, v, 0)), v)

    def log_slope(self, x: Tensor) -> Tensor:
        """log dv/dx at x, ``(n, d)``."""
        return torch.where(self.bent, -torch.log(torch.hypot(x - self.location, self._finite_width)), 0)

    def expectation(self, mean: Tensor, sd: Tensor) -> Tensor:
        """E[x] where v is N(mean, sd^2), ``(n, d)`` and ``(d,)``."""
        middle = self.curved(mean) - self.location
        return torch.where(self.bent, self.location + middle * torch.exp(0.5 * torch.where(self.bent, sd, 0).square()), mean)

    @property
    def _finite_width(self) -> Tensor:
        return torch.where(self.bent, self.width, 1.0)


def fit(x: np.ndarray) -> tuple[float, float] | None:
    """Location and width in which a column ``(n,)`` without missing cells is closest to normal; None where x is as close.

    Closest is where v's quantiles have the largest correlation with those of a normal distribution (Shapiro and Francia 1972).
    Unlike a likelihood this is not fooled by values that many samples share.
    """
    if len(np.unique(x)) < _FEWEST:
        return None
    points, shares = _quantiles(np.sort(x))
    low, middle, high = np.quantile(points, [0.1, 0.5, 0.9])
    unit = (high - low) / 2.56 or float(np.std(points))
    if not unit > 1e-6 * abs(middle):
        return None
    points, scores = (points - middle) / unit, torch.special.ndtri(torch.from_numpy(shares)).numpy()

    def unlike(v: np.ndarray) -> float:
        """How much of v a straight line over the normal quantiles leaves."""
        spread = v.std()
        return 1 - float(np.mean((v - v.mean()) * scores) / (spread * scores.std())) ** 2 if spread > 0 else 1.0

    def bent(parameters: np.ndarray) -> float:
        location, log_width = parameters
        return unlike(np.arcsinh((points - location) / max(_NARROWEST, math.exp(min(log_width, 50.0)))))

    if unlike(points) <= _NORMAL:
        return None
    starts = [np.array([np.quantile(points, place), math.log(width)]) for place, width in _STARTS]
    from scipy.optimize import minimize  # takes half a second to import, and only training needs it

    best = minimize(bent, min(starts, key=bent), method="Nelder-Mead", options={"maxiter": 200, "xatol": 1e-3, "fatol": 1e-5})
    if best.fun > _GAIN * unlike(points):
        return None
    location, width = best.x[0], max(_NARROWEST, math.exp(min(best.x[1], 50.0)))
    return float(location * unit + middle), float(width * unit)


def _quantiles(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of a sorted column, the ends and quantiles between them, and the share of all values below each, equal values in their
    middle."""
    rows = np.unique(np.linspace(0, len(x) - 1, _POINTS + 2).round().astype(int))
    points = x[rows]
    below, above = np.searchsorted(x, points, "left"), np.searchsorted(x, points, "right")
    return points, (below + above) / (2 * len(x))
