"""An ordered set of labels: between what users write, arrays, and what networks read."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelspace.errors import UserError, unknown
from labelspace.labels.binary import Binary
from labelspace.labels.categorical import Categorical
from labelspace.labels.continuous import Continuous
from labelspace.labels.distribution import LabelDistribution
from labelspace.labels.label import Label

KINDS: dict[str, type[Label]] = {kind.kind: kind for kind in (Binary, Categorical, Continuous)}


class Schema:
    """An ordered set of labels: the only place that knows how labels lie beside each other.

    Args:
        labels: the labels, with different names.
    """

    def __init__(self, labels: Iterable[Label] = ()) -> None:
        self.labels = tuple(labels)
        self.names = tuple(label.name for label in self.labels)
        if len(set(self.names)) != len(self.names):
            raise UserError(f"two labels have the same name: {', '.join(self.names)}")

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self):
        return iter(self.labels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and self.labels == other.labels

    def __hash__(self) -> int:
        return hash(self.labels)

    def __repr__(self) -> str:
        return f"Schema({', '.join(f'{label.name}: {label.kind}' for label in self.labels)})"

    def __getitem__(self, name: str) -> Label:
        return self.labels[self.index(name)]

    def index(self, name: str) -> int:
        """The position of a label. Raises UserError with the nearest name when there is none."""
        if name not in self.names:
            raise unknown("label", name, self.names)
        return self.names.index(name)

    def select(self, names: Sequence[str]) -> Schema:
        """The schema of some labels, in the order given."""
        return Schema(self[name] for name in names)

    # -- to and from what users write -------------------------------------------------------------------------------

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Encodes columns of entries, one per label.

        Args:
            columns: label name -> ``n`` entries; a missing entry is None, NaN or an empty string.

        Returns:
            ``values`` (float32) and ``observed`` (bool), both of shape ``(n, labels)``.

        Raises:
            UserError: an unknown or absent label, or an entry that is not a value of its label (row and label named).
        """
        for name in columns:
            self.index(name)
        if missing := [name for name in self.names if name not in columns]:
            raise UserError(f"no values for label {missing[0]!r}")
        table = []
        for label in self.labels:
            column = []
            for row, entry in enumerate(columns[label.name]):
                try:
                    column.append(label.parse(entry))
                except UserError as error:
                    raise UserError(f"row {row + 1}: {error}") from None
            table.append(column)
        if len({len(column) for column in table}) > 1:
            raise UserError(f"labels have different numbers of rows: {[len(column) for column in table]}")
        if not self.labels:
            return np.zeros((0, 0), np.float32), np.zeros((0, 0), bool)
        values = np.array(table, np.float32).T
        observed = ~np.isnan(values)
        return np.where(observed, values, 0).astype(np.float32), observed

    def decode(self, values: np.ndarray | Tensor, observed: np.ndarray | Tensor | None = None) -> dict[str, list[Any]]:
        """The inverse of :meth:`encode`: label name -> entries, None where missing."""
        values = np.asarray(values, np.float64)
        if observed is not None:
            values = np.where(np.asarray(observed), values, np.nan)
        return {label.name: [label.format(v) for v in values[:, i]] for i, label in enumerate(self.labels)}

    def to_json(self) -> str:
        """The schema as JSON text."""
        return json.dumps({"labels": [label.to_row() for label in self.labels]}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Schema:
        """Reads :meth:`to_json`. Raises UserError for anything else."""
        try:
            return cls(_from_row(row) for row in json.loads(text)["labels"])
        except UserError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise UserError(f"not a label schema: {type(error).__name__} {error}") from None

    # -- to what networks read ---------------------------------------------------------------------------------------

    @property
    def width(self) -> int:
        """Columns of :meth:`features`."""
        return sum(label.features for label in self.labels)

    @property
    def parameters(self) -> int:
        """Columns of raw parameters that :meth:`distribution` takes."""
        return sum(label.parameters for label in self.labels)

    @property
    def feature_widths(self) -> list[int]:
        """Columns of :meth:`features` per label."""
        return [label.features for label in self.labels]

    def features(self, values: Tensor, observed: Tensor | None = None, prior: Tensor | None = None) -> Tensor:
        """Encodes labels for a network: 0/1, one-hot, or standardised.

        Args:
            values: ``(n, labels)``.
            observed: ``(n, labels)`` bool; entries that are False are filled from ``prior``.
            prior: ``(width,)`` features that stand for a missing entry (see :meth:`prior_features`).

        Returns:
            ``(n, width)`` float.

        Raises:
            UserError: something is missing and no prior was given.
        """
        rows = zip(self.representatives, self.split_columns(self.standardised(values)), strict=True)
        features = self.join_groups([label.to_features(part) for label, part in rows], values)
        if observed is None or (prior is None and bool(observed.all())):
            return features
        if prior is None:
            raise UserError("labels are missing here; this needs all of them")
        return torch.where(
            self.repeat_over_features(observed), features, prior.to(features)
        )  # without a branch: an exported graph has none

    def repeat_over_features(self, per_label: Tensor) -> Tensor:
        """Repeats a column per label over that label's feature columns: ``(..., labels) -> (..., width)``."""
        if all(label.features == 1 for label in self.labels):
            return per_label
        rows = zip(self.representatives, self.split_groups(per_label, [1] * len(self)), strict=True)
        return self.join_groups([part.expand(*part.shape[:-1], label.features) for label, part in rows], per_label)

    def standardised(self, values: Tensor) -> Tensor:
        """``(..., labels)`` values with those of continuous labels standardised."""
        if all(label.discrete for label in self.labels):
            return values
        return (values - self._constants(values, "mean")) / self._constants(values, "scale")

    def unstandardised(self, values: Tensor) -> Tensor:
        """The inverse of :meth:`standardised`."""
        if all(label.discrete for label in self.labels):
            return values
        return values * self._constants(values, "scale") + self._constants(values, "mean")

    def _constants(self, like: Tensor, name: str) -> Tensor:
        return like.new_tensor([getattr(label, name) for label in self.labels])

    # -- labels that are alike at once ---------------------------------------------------------------------------------

    @functools.cached_property
    def groups(self) -> list[list[int]]:
        """Positions of labels, those together that have the same kind and as many values."""
        return self.grouped()

    @functools.cached_property
    def representatives(self) -> list[Label]:
        """A label for each group, whose values are standardised ones."""
        return [self.labels[group[0]].standardised() for group in self.groups]

    def split_groups(self, side_by_side: Tensor, widths: Sequence[int]) -> list[Tensor]:
        """Of columns label by label, so many each, those of each group: ``(..., labels of the group, width)``."""
        if len(self.groups) == 1:  # small models spend their time on calls: none that is not needed
            return [side_by_side.unflatten(-1, (len(self), widths[0]))]
        starts = [sum(widths[:i]) for i in range(len(widths) + 1)]
        parts = []
        for group in self.groups:
            width = widths[group[0]]
            if group == list(range(group[0], group[-1] + 1)):
                part = side_by_side[..., starts[group[0]] : starts[group[-1] + 1]]
                parts.append(part.unflatten(-1, (len(group), width)))
            else:  # by slices: a list of places would have to be copied to a GPU, which waits for it
                parts.append(torch.stack([side_by_side[..., starts[i] : starts[i] + width] for i in group], -2))
        return parts

    def join_groups(self, parts: Sequence[Tensor], like: Tensor) -> Tensor:
        """The inverse of :meth:`split_groups`; without labels no columns, of the shape of ``like``."""
        if not parts:
            return like[..., :0]
        places = [i for group in self.groups for i in group]
        if places == sorted(places):
            flat = [part.flatten(-2) for part in parts]
            return flat[0] if len(flat) == 1 else torch.cat(flat, -1)
        single = dict(zip(places, (column for part in parts for column in part.unbind(-2)), strict=True))
        return torch.cat([single[i] for i in range(len(places))], -1)

    def split_columns(self, per_label: Tensor) -> list[Tensor]:
        """Of a column per label those of each group: ``(..., labels of the group)``."""
        if len(self.groups) == 1:
            return [per_label]
        return [part[..., 0] for part in self.split_groups(per_label, [1] * len(self))]

    def join_columns(self, parts: Sequence[Tensor], like: Tensor) -> Tensor:
        """The inverse of :meth:`split_columns`; without labels no columns, of the shape of ``like``."""
        return parts[0] if len(parts) == 1 else self.join_groups([part[..., None] for part in parts], like)

    def prior_features(self, frequencies: Sequence[Sequence[float]]) -> Tensor:
        """The mean of :meth:`features` under label frequencies (see :func:`frequencies`), shape ``(width,)``."""
        rows = zip(self.labels, frequencies, strict=True)
        return torch.tensor([feature for label, row in rows for feature in label.prior_features(row)])

    # -- distributions -----------------------------------------------------------------------------------------------

    def distribution(self, parameters: Tensor) -> LabelDistribution:
        """The distribution over labels that raw network outputs ``(n, parameters)`` stand for."""
        return LabelDistribution(self, parameters)

    def prior_parameters(self, frequencies: Sequence[Sequence[float]]) -> Tensor:
        """Raw parameters of p(y) under label frequencies, shape ``(parameters,)``; see :meth:`distribution`."""
        rows = zip(self.labels, frequencies, strict=True)
        return torch.tensor([parameter for label, row in rows for parameter in label.prior_parameters(row)])

    def moment_matched(self, values: Tensor, log_weights: Tensor) -> Tensor:
        """Raw parameters ``(n, parameters)`` of the distribution whose marginals are those of weighted values.

        Args:
            values: ``(m, labels)`` candidates.
            log_weights: ``(n, m)``; they need not be normalised.
        """
        log_p = log_weights.log_softmax(-1)
        return torch.cat([label.moment_matched(values[:, i], log_p) for i, label in enumerate(self.labels)], -1)

    def grouped(self, *keys: Sequence[Any]) -> list[list[int]]:
        """Positions of labels, those together that have the same kind, as many values and the same entries in ``keys``.

        What is done with labels of a group is done with all of them at once: calls cost more than their arithmetic.
        """
        groups: dict[tuple, list[int]] = {}
        for i, (label, *own) in enumerate(zip(self.labels, *keys, strict=True)):
            groups.setdefault((label.kind, label.features, *own), []).append(i)
        return list(groups.values())

    def representative(self, group: Sequence[int]) -> Schema:
        """A label that stands for those of a group of :meth:`grouped`; a number's values are standardised."""
        return Schema([self.labels[group[0]].standardised()])

    # -- values to try -----------------------------------------------------------------------------------------------

    def candidates(self, name: str, device: torch.device | None = None) -> Tensor:
        """Values that a label is tried at: all of a discrete label's; 13 points within three scales of a continuous one."""
        return self[name].candidates(device)

    def completions(self, values: Tensor, observed: Tensor, drawn: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """Every way of filling the missing discrete entries of each sample, so that they can be summed out.

        Args:
            values: ``(n, labels)``.
            observed: ``(n, labels)`` bool.
            drawn: ``(n, labels)`` values for missing entries that are not enumerated: those of continuous labels, and all
                of a sample that could be filled in more than ``most`` ways.
            most: the most ways per sample.

        Returns:
            ``rows (m,)``, which sample each completion is of, in order, and ``filled (m, labels)``.
        """
        sizes = torch.tensor([max(1, len(label.values)) for label in self.labels], device=values.device)
        ways = torch.where(observed, 1, sizes)
        few = ways.float().log().sum(1, keepdim=True) <= math.log(most) + 1e-4  # a product might overflow
        ways = torch.where(few, ways, 1)
        rows = torch.repeat_interleave(torch.arange(len(values), device=values.device), ways.prod(1))
        first = torch.cumsum(ways.prod(1), 0) - ways.prod(1)
        number = torch.arange(len(rows), device=values.device) - first[rows]  # of a completion among those of its sample
        # Its digits in a mixed radix are the values.
        strides = torch.cat([torch.ones_like(ways[:, :1]), torch.cumprod(ways, 1)[:, :-1]], 1)
        digits = (number[:, None] // strides[rows]) % ways[rows]
        enumerated = ways > 1
        filled = torch.where(enumerated[rows], digits.to(values.dtype), torch.where(observed, values, drawn)[rows])
        return rows, filled


def _from_row(row: Mapping[str, Any]) -> Label:
    """A label of any kind from :meth:`Label.to_row`."""
    if row["kind"] not in KINDS:
        raise UserError(f"label {row['name']!r} has kind {row['kind']!r}; expected binary, categorical or continuous")
    return KINDS[row["kind"]].from_row(row)


def frequencies(schema: Schema, values: np.ndarray, observed: np.ndarray) -> list[list[float]]:
    """Label frequencies with add-half smoothing: per discrete label the probability of each value, ``[]`` if continuous.

    Args:
        schema: the labels.
        values: ``(n, labels)``.
        observed: ``(n, labels)`` bool; missing entries are not counted.
    """
    return [label.frequencies(values[observed[:, i], i]) for i, label in enumerate(schema)]


def parse_assignments(schema: Schema, texts: Iterable[str]) -> dict[str, float]:
    """Reads ``NAME=VALUE`` texts (as the commands' ``--set`` takes them) against a schema.

    Raises:
        UserError: no ``=``, an unknown label (the nearest is suggested), or a value that the label cannot take.
    """
    out = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"{text!r} is not of the form LABEL=VALUE")
        number = schema[name.strip()].parse(value)
        if math.isnan(number):
            raise UserError(f"{text!r} sets label {name!r} to nothing; expected a value")
        if out.get(name.strip(), number) != number:
            raise UserError(f"label {name.strip()!r} is set twice, to different values; expected one")
        out[name.strip()] = number
    return out
