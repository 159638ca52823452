"""What all likelihoods have in common, and what they refuse."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from labelspace.errors import UserError, setting


class DataDistribution:
    """A distribution over samples: ``log_prob(x) -> (n,)``, ``mean`` and ``sample(generator)``, both shaped like x."""

    mean: Tensor

    def mean_like(self, x: Tensor) -> Tensor:
        """The mean for samples that have the known circumstances of ``x`` (its total count, say); mostly just the mean."""
        return self.mean

    def log_prob(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        raise NotImplementedError

    def fill(self, x: Tensor, known: Tensor) -> Tensor:
        """The mean for samples of which only the entries where ``known`` is True count as circumstances."""
        return self.mean_like(x)


class Likelihood(nn.Module):
    """Turns a decoder's raw output into a distribution over data, and data into what an encoder reads.

    Args:
        shape: shape of one sample.

    Attributes:
        bounds: the closed interval that data must lie in (None: unbounded).
        additive: whether a difference of two samples is a meaningful change of a third.
        keeps_detail: whether an edit keeps, where nothing is said, what the model leaves unexplained of a sample
            (:meth:`counterfactual`): where each entry is read for itself, as the cells of a table are.
        drawn: whether a new sample is, where nothing is said, a draw of p(x | codes) and not its mean (:meth:`new`): where a
            mean is nothing that data could be.
        input_shape: shape of what an encoder reads of one sample.
        output_shape: shape of the raw output of a decoder for one sample.
    """

    bounds: tuple[float, float] | None = None
    additive = True
    keeps_detail = False
    drawn = False

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.input_shape = self.output_shape = self.shape

    def inputs(self, x: Tensor) -> Tensor:
        """What an encoder reads: ``(n, *shape) -> (n, *input_shape)``."""
        return x

    def numbers(self, x: Tensor) -> Tensor:
        """What an encoder reads, ``(n, ...)``, but for indicators (of a class, of a missing cell), whose variance follows from
        their mean."""
        return self.inputs(x)

    def blank(self, x: Tensor) -> Tensor:
        """What stands in samples ``x`` where nothing is known: mid-grey in pictures, 0 in vectors."""
        return torch.full_like(x, 0.5 if len(self.shape) == 3 else 0.0)

    def forward(self, raw: Tensor) -> DataDistribution:
        """p(x | codes) from a decoder's raw output ``(n, *output_shape)``."""
        raise NotImplementedError

    @property
    def resolution(self) -> Tensor | float:
        """How large a change of an entry is that counts, a number or one a column: a tenth of the range of pictures."""
        return 0.1

    def counterfactual(self, x: Tensor, before: DataDistribution, after: DataDistribution) -> Tensor:
        """What samples become when ``after`` describes them in the place of ``before``, with all else that they are.

        What ``before`` leaves unexplained of a sample is taken to be its own and kept (the abduction of Pearl 2009), but where
        the change is large in units of :attr:`resolution`: there it belongs to what is replaced, as the edge of a frame that is
        taken off, which would stay as a ghost.

        Args:
            x: ``(n, *shape)``.
            before: p(x | codes of x).
            after: p(x | edited codes).
        """
        start, end = before.mean_like(x), after.mean_like(x)
        kept = unchanged((end - start) / self.resolution, len(self.shape) == 3)
        low, high = self.bounds or ((0.0, 1.0) if len(self.shape) == 3 else (-math.inf, math.inf))
        # As end + kept * (x - start), but exactly x where nothing changes.
        return (x + (end - start) - (1 - kept) * (x - start)).clamp(low, high)

    def takes_mean(self, asked: bool | None) -> bool:
        """Whether a new sample is a mean: as was asked, else as :attr:`drawn` says."""
        return not self.drawn if asked is None else asked

    def new(self, described: DataDistribution, mean: bool | None = None, generator: torch.Generator | None = None) -> Tensor:
        """New samples, ``(n, *shape)``, of what ``described`` describes.

        Args:
            described: p(x | codes).
            mean: its mean, or a draw of it that data could be; None: see :meth:`takes_mean`.
            generator: of the draws.
        """
        return described.mean if self.takes_mean(mean) else self.possible(described.sample(generator))

    def possible(self, x: Tensor) -> Tensor:
        """Draws ``(n, *shape)`` as data could be: in the range of the training data, and whole where these are."""
        return x

    def wholes(self) -> Tensor:
        """Which columns of vectors hold whole numbers, ``(d,)`` bool."""
        return torch.full(self.shape, self.drawn)

    def responses(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """What labels are held against to see which columns of ``x (n, d)`` they have to do with: numbers ``(n, k)``, NaN where
        missing, and the column that each is of, ``(k,)``; None where every entry may have to do with every label."""
        return None

    def outside(self, x: Tensor) -> dict[int, tuple[float, float]]:
        """Of vectors ``(n, d)``, columns with an entry far outside of the training data, and their range there; where known."""
        return {}

    def measure(self, x: Tensor) -> None:
        """Takes what it needs to know of the data (their scale, say) from training samples ``(n, *shape)``."""

    def check(self, x: Tensor) -> None:
        """Raises UserError when samples ``(n, *shape)`` do not fit this likelihood."""
        low, high = float(x.min()), float(x.max())
        if math.isnan(low):
            raise UserError(
                f"data have missing cells (NaN), which the {type(self).__name__.lower()} likelihood cannot describe; fill "
                f"them in or choose {setting('likelihood', 'table(...)')}"
            )
        if self.bounds and not (self.bounds[0] <= low and high <= self.bounds[1]):
            raise UserError(
                f"data lie in [{low:g}, {high:g}], outside [{self.bounds[0]:g}, {self.bounds[1]:g}] of the "
                f"{type(self).__name__.lower()} likelihood; rescale them or choose {setting('likelihood', 'gaussian')}"
            )


def unchanged(change: Tensor, channels: bool = False) -> Tensor:
    """How far entries are left alone by a change in units of what counts, from 1 to 0; all channels of a picture alike."""
    return torch.exp(-((change.abs().amax(1, keepdim=True) if channels else change) ** 2))


def entry_dimensions(x: Tensor) -> tuple[int, ...]:
    """The dimensions of one sample's entries. Sums over them need no copy whatever the layout, as flattening would."""
    return tuple(range(1, x.ndim))


def refuse_images(name: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 1:
        raise UserError(f"the {name} likelihood describes vectors, not samples of shape {shape}; choose another for images")


def refuse_cells(x: Tensor, bad: Tensor, expected: str, column: int | None = None) -> None:
    """Raises UserError naming the first bad cell of ``x (n, d)``; ``bad`` is ``(n, d)``, or ``(n,)`` of one column."""
    if not bad.any():
        return
    first = int(bad.flatten().int().argmax())
    row, column = (first, column) if column is not None else divmod(first, x.shape[1])
    raise UserError(
        f"x holds {float(x[row, column]):g} in row {row + 1}, column {column + 1} ({int(bad.sum())} such cells), but "
        f"{expected}; correct the data or choose another likelihood with {setting('likelihood')}"
    )
