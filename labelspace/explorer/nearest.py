"""The training samples that are nearest to an edit: is it new, or remembered?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from labelspace.data.dataset import Dataset
from labelspace.evaluation import probing
from labelspace.models.of_data import chunks

MOST = 20_000  # training samples that are looked at
_HELD = 400  # held-back samples that say how near is usual
_SIDE = 16  # pixels: pictures are compared at this size
_REMEMBERED = 0.01  # of held-back samples: what is nearer to a training sample than all but these is taken for one


@dataclass(frozen=True)
class Near:
    """What is nearest to a sample.

    Attributes:
        rows: training samples, the nearest first.
        distances: of each, a root mean square difference of entries: of pictures at 16 x 16 pixels, of columns in standard
            deviations.
        share: the share of held-back samples, reconstructed, that are nearer to a training sample; None without any.
    """

    rows: tuple[int, ...]
    distances: tuple[float, ...]
    share: float | None

    @property
    def verdict(self) -> str:
        """In words."""
        if self.share is None:
            return "No sample is held back that would say how near is usual."
        if self.share <= _REMEMBERED:
            return (
                f"Remembered: nearer to a training sample than {1 - _REMEMBERED:.0%} of reconstructed held-back samples are. "
                "The model may show a training sample again."
            )
        return f"New: {self.share:.0%} of reconstructed held-back samples are nearer to a training sample than this."


class Neighbours:
    """Training samples, ready to be compared with.

    Args:
        data: the data.
        rebuilt: what a model makes of samples, which are given by their rows.
    """

    def __init__(self, data: Dataset, rebuilt: Callable[[np.ndarray], Tensor]) -> None:
        self.rows = np.sort(probing.chosen(data, "train", MOST))
        parts = [self._seen(data.samples(part)) for part in chunks(self.rows)]
        self.train = torch.cat(parts)
        if not data.is_image:  # columns count alike; what is missing is at the middle
            held = self.train
            self._middle = held.nanmean(0)
            self._scale = (held - self._middle).square().nanmean(0).sqrt()
            self._scale[~(self._scale > 0)] = 1.0
            self.train = self._standardised(held)
        self.is_image = data.is_image
        split = next((s for s in ("test", "val") if s in data.splits and len(data.rows(s))), None)
        usual = [] if split is None else [rebuilt(part) for part in chunks(probing.chosen(data, split, _HELD))]
        self.usual = np.sort(self._away(torch.cat(usual)).amin(1).numpy()) if usual else np.zeros(0)

    def of(self, x: Tensor, k: int) -> Near:
        """The ``k`` nearest ones of a sample."""
        away, places = self._away(x[None])[0].topk(min(k, len(self.train)), largest=False)
        share = float(np.searchsorted(self.usual, float(away[0])) / len(self.usual)) if len(self.usual) else None
        return Near(tuple(self.rows[places.numpy()].tolist()), tuple(away.tolist()), share)

    def _seen(self, x: Tensor) -> Tensor:
        """What is compared of samples, ``(n, d)``."""
        if x.ndim == 4 and max(x.shape[2:]) > _SIDE:
            x = F.adaptive_avg_pool2d(x, _SIDE)
        return x.flatten(1).float()

    def _standardised(self, x: Tensor) -> Tensor:
        return ((x - self._middle) / self._scale).nan_to_num()

    @torch.no_grad()
    def _away(self, x: Tensor) -> Tensor:
        """Distances of samples to all training samples, ``(n, train)``."""
        seen = self._seen(x)
        if not self.is_image:
            seen = self._standardised(seen)
        return torch.cdist(seen, self.train) / self.train.shape[1] ** 0.5
