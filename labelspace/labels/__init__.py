"""Labels: their kinds, their encoding, and distributions over them.

This is the only module that knows what kinds of label exist. A label is **binary** (0 or 1), **categorical** (one of named
classes) or **continuous** (a number with a mean and a scale). Inside the library the labels of ``n`` samples are two
arrays: ``values`` of shape ``(n, labels)`` (float32: 0/1, the class index, or the number itself) and ``observed`` of the
same shape (bool). A missing entry is ``observed = False`` and its value is 0, never a sentinel.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from labelspace.errors import UserError, unknown

Kind = Literal["binary", "categorical", "continuous"]

_LARGEST = float(np.finfo(np.float32).max)
_TRUE = {"1", "1.0", "true", "yes", "on", "y", "t"}
_FALSE = {"0", "0.0", "false", "no", "off", "n", "f"}
_MISSING = {"", "nan", "na", "n/a", "none", "null", "?"}


@dataclass(frozen=True)
class Label:
    """One label: a name, a kind, and for its kind the class names or the mean and scale.

    Use :func:`binary`, :func:`categorical` and :func:`continuous` to make one.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.name or self.name != self.name.strip() or any(c in self.name for c in "=,:\n\r"):
            raise UserError(f"label name {self.name!r} is empty, has blanks around it, or holds one of '= , :' or a line break")
        if odd := [c for c in self.classes if not c or c != c.strip()]:
            raise UserError(f"class {odd[0]!r} of label {self.name!r} is empty or has blanks around it")
        if self.kind not in ("binary", "categorical", "continuous"):
            raise UserError(f"label {self.name!r} has kind {self.kind!r}; expected binary, categorical or continuous")
        if self.kind == "categorical" and (len(self.classes) < 2 or len(set(self.classes)) != len(self.classes)):
            raise UserError(
                f"categorical label {self.name!r} needs at least two different classes, got {reprlib.repr(self.classes)}"
            )
        if self.kind == "continuous" and not (math.isfinite(self.mean) and 0 < self.scale < math.inf):
            raise UserError(
                f"continuous label {self.name!r} needs a finite mean and a positive scale, "
                f"got mean {self.mean} and scale {self.scale}"
            )

    @property
    def discrete(self) -> bool:
        """Whether the label takes one of finitely many values."""
        return self.kind != "continuous"

    @property
    def values(self) -> tuple[str, ...]:
        """The names of a discrete label's values; empty for a continuous label."""
        return ("0", "1") if self.kind == "binary" else self.classes

    @property
    def features(self) -> int:
        """Numbers that encode one value: 1 (binary, continuous) or one per class (one-hot)."""
        return len(self.classes) if self.kind == "categorical" else 1

    @property
    def parameters(self) -> int:
        """Numbers that describe a distribution over the label: logit; logits; or mean and log-scale."""
        return 2 if self.kind == "continuous" else self.features

    def parse(self, given: Any) -> float:
        """One entry as a number, ``nan`` when it is missing (None, NaN, empty, "NA", ...).

        Raises:
            UserError: the entry is not a value of this label.
        """
        if given is None or (isinstance(given, float) and math.isnan(given)):
            return math.nan
        text = str(given).strip()
        if text.lower() in _MISSING and text not in self.classes:
            return math.nan
        if self.kind == "binary":
            if text.lower() in _TRUE:
                return 1.0
            if text.lower() in _FALSE:
                return 0.0
            raise UserError(f"label {self.name!r} is binary and cannot be {text!r}; expected 0 or 1")
        if self.kind == "categorical":
            if text in self.classes:
                return float(self.classes.index(text))
            if isinstance(given, float | np.floating) and float(given).is_integer() and str(int(given)) in self.classes:
                return float(self.classes.index(str(int(given))))
            raise unknown(f"class of label {self.name!r}:", text, self.classes)
        try:
            number = float(text)
        except ValueError:
            raise UserError(f"label {self.name!r} is continuous and cannot be {text!r}; expected a number") from None
        if not abs(number) <= _LARGEST:
            raise UserError(f"label {self.name!r} is continuous and cannot be {text!r}; expected a finite number")
        return number

    def format(self, value: float) -> Any:
        """The inverse of :meth:`parse`: 0/1, the class name, the number, or None for ``nan``."""
        if math.isnan(value):
            return None
        if self.kind == "binary":
            return int(value)
        return self.classes[int(value)] if self.kind == "categorical" else float(value)


def binary(name: str) -> Label:
    """A label that is off (0) or on (1)."""
    return Label(name, "binary")


def categorical(name: str, classes: Iterable[str]) -> Label:
    """A label that is one of at least two named classes."""
    return Label(name, "categorical", tuple(str(c) for c in classes))


def continuous(name: str, mean: float = 0.0, scale: float = 1.0) -> Label:
    """A label that is a number; ``mean`` and ``scale`` (a standard deviation) standardise it inside a model."""
    return Label(name, "continuous", (), float(mean), float(scale))


class Schema:
    """An ordered set of labels: the only place that knows how labels of each kind are encoded.

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
        return json.dumps({"labels": [asdict(label) for label in self.labels]}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Schema:
        """Reads :meth:`to_json`. Raises UserError for anything else."""
        try:
            rows = json.loads(text)["labels"]
            return cls(Label(str(r["name"]), r["kind"], tuple(r["classes"]), float(r["mean"]), float(r["scale"])) for r in rows)
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
        columns = []
        for i, label in enumerate(self.labels):
            value = values[:, i]
            if label.kind == "binary":
                columns.append(value[:, None])
            elif label.kind == "categorical":
                columns.append(F.one_hot(value.long(), label.features).to(values.dtype))
            else:
                columns.append(((value - label.mean) / label.scale)[:, None])
        features = torch.cat(columns, 1) if columns else values[:, :0]
        if observed is None or (prior is None and bool(observed.all())):
            return features
        if prior is None:
            raise UserError("labels are missing here; this needs all of them")
        return torch.where(self.spread(observed), features, prior.to(features))  # without a branch: an exported graph has none

    def spread(self, per_label: Tensor) -> Tensor:
        """Repeats a column per label over that label's feature columns: ``(n, labels) -> (n, width)``."""
        columns = [per_label[:, i : i + 1].expand(-1, width) for i, width in enumerate(self.feature_widths)]
        return torch.cat(columns, 1) if columns else per_label[:, :0]

    def prior_features(self, frequencies: Sequence[Sequence[float]]) -> Tensor:
        """The mean of :meth:`features` under label frequencies (see :func:`frequencies`), shape ``(width,)``."""
        columns = []
        for label, row in zip(self.labels, frequencies, strict=True):
            columns += {"binary": list(row[1:]), "categorical": list(row), "continuous": [0.0]}[label.kind]
        return torch.tensor(columns)

    def prior_parameters(self, frequencies: Sequence[Sequence[float]]) -> Tensor:
        """Raw parameters of p(y) under label frequencies, shape ``(parameters,)``; see :meth:`distribution`."""
        columns: list[float] = []
        for label, row in zip(self.labels, frequencies, strict=True):
            if label.kind == "binary":
                columns.append(math.log(row[1]) - math.log(row[0]))
            elif label.kind == "categorical":
                columns += [math.log(p) for p in row]
            else:
                columns += [0.0, 0.0]
        return torch.tensor(columns)

    # -- labels that are alike ---------------------------------------------------------------------------------------

    def alike(self, *keys: Sequence[Any]) -> list[list[int]]:
        """Positions of labels, those together that have the same kind, as many values and the same entries in ``keys``.

        What is done with labels that are alike is done with all of them at once: calls cost more than their arithmetic.
        """
        groups: dict[tuple, list[int]] = {}
        for i, (label, *own) in enumerate(zip(self.labels, *keys, strict=True)):
            groups.setdefault((label.kind, label.features, *own), []).append(i)
        return list(groups.values())

    def one_of(self, group: Sequence[int]) -> Schema:
        """A label that stands for those of a group of :meth:`alike`; a number's values are standardised."""
        first = self.labels[group[0]]
        return Schema([first if first.discrete else replace(first, mean=0.0, scale=1.0)])

    def standardised(self, values: Tensor) -> Tensor:
        """``(n, labels)`` values with those of continuous labels standardised."""
        numbers = [not label.discrete for label in self.labels]
        if not any(numbers):
            return values
        mean, scale = (values.new_tensor([getattr(y, what) for y in self.labels]) for what in ("mean", "scale"))
        return torch.where(torch.tensor(numbers, device=values.device), (values - mean) / scale, values)

    # -- every way of filling what is missing ------------------------------------------------------------------------

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
        sizes = torch.tensor([len(label.values) if label.discrete else 1 for label in self.labels], device=values.device)
        ways = torch.where(observed, 1, sizes)
        few = ways.float().log().sum(1, keepdim=True) <= math.log(most) + 1e-4  # a product might overflow
        ways = torch.where(few, ways, 1)
        rows = torch.repeat_interleave(torch.arange(len(values), device=values.device), ways.prod(1))
        first = torch.cumsum(ways.prod(1), 0) - ways.prod(1)
        place = torch.arange(len(rows), device=values.device) - first[rows]
        # A mixed-radix number: the place of a completion among those of its sample.
        strides = torch.cat([torch.ones_like(ways[:, :1]), torch.cumprod(ways, 1)[:, :-1]], 1)
        digits = (place[:, None] // strides[rows]) % ways[rows]
        enumerated = ways > 1
        filled = torch.where(enumerated[rows], digits.to(values.dtype), torch.where(observed, values, drawn)[rows])
        return rows, filled

    def candidates(self, name: str, device: torch.device | None = None) -> Tensor:
        """Values that a label is tried at: all of a discrete label's; 13 points within three scales of a continuous one."""
        label = self[name]
        if label.discrete:
            return torch.arange(len(label.values), dtype=torch.float32, device=device)
        return label.mean + label.scale * torch.linspace(-3, 3, 13, device=device)

    def weighed(self, values: Tensor, log_weights: Tensor) -> Tensor:
        """Raw parameters ``(n, parameters)`` of the distribution whose marginals are those of weighted values.

        Args:
            values: ``(m, labels)`` candidates.
            log_weights: ``(n, m)``; they need not be normalised.
        """
        log_p = log_weights.log_softmax(-1)
        columns = []
        for i, label in enumerate(self.labels):
            if label.discrete:
                marks = torch.stack([values[:, i] == k for k in range(len(label.values))])  # (values, m)
                logits = torch.stack([torch.where(mark, log_p, -1e4).logsumexp(-1) for mark in marks], -1)
                columns.append(logits[:, 1:] - logits[:, :1] if label.kind == "binary" else logits)
            else:
                standard = (values[:, i] - label.mean) / label.scale
                mean = log_p.exp() @ standard
                variance = (log_p.exp() @ standard**2 - mean**2).clamp_min(1e-4)
                columns.append(torch.stack([mean, 0.5 * variance.log()], -1))
        return torch.cat(columns, -1)

    def distribution(self, parameters: Tensor) -> LabelDistribution:
        """The distribution over labels that raw network outputs ``(n, parameters)`` stand for."""
        return LabelDistribution(self, parameters)


_LEAST_LOG_SCALE = -4.0  # of a number's distribution, in its own standard deviations


def _floored(part: Tensor) -> Tensor:
    return torch.cat([part[..., :1], part[..., 1:].clamp_min(_LEAST_LOG_SCALE)], -1)


class LabelDistribution:
    """Independent distributions over the labels of a schema: Bernoulli, categorical, or Gaussian of the standardised value.

    Args:
        schema: the labels.
        parameters: ``(n, schema.parameters)``: per label a logit, class logits, or mean and log-scale.
    """

    def __init__(self, schema: Schema, parameters: Tensor) -> None:
        self.schema = schema
        self._empty = parameters[..., :0]
        parts = parameters.split([label.parameters for label in schema.labels], dim=-1)
        # A number's density would have no bound where a few samples can be learnt by heart.
        self._parts = [p if y.discrete else _floored(p) for y, p in zip(schema.labels, parts, strict=True)]

    @property
    def parameters(self) -> Tensor:
        """Raw parameters, ``(n, schema.parameters)``: what makes the distributions again."""
        return torch.cat(self._parts, -1)

    def rows(self, rows: Tensor | slice) -> LabelDistribution:
        """The distributions of some samples: anything that indexes the first dimension."""
        return LabelDistribution(self.schema, torch.cat([part[rows] for part in self._parts], -1))

    def expand(self, n: int) -> LabelDistribution:
        """The same distributions for each of ``n`` samples, a dimension before the others."""
        return LabelDistribution(self.schema, self.parameters.expand(n, *self.parameters.shape))

    def of(self, i: int) -> LabelDistribution:
        """The distribution of one label alone, by its position."""
        return LabelDistribution(Schema([self.schema.labels[i]]), self._parts[i])

    def log_table(self, i: int) -> Tensor:
        """Log-probabilities of all values of a discrete label, by its position, ``(..., values)``."""
        part = self._parts[i]
        if self.schema.labels[i].kind == "binary":
            return torch.cat([F.logsigmoid(-part), F.logsigmoid(part)], -1)
        return F.log_softmax(part, -1)

    def log_prob(self, values: Tensor) -> Tensor:
        """Log-probability (nats; density of the standardised value for continuous labels) of ``(n, labels)`` values."""
        columns = [self.log_prob_of(i, values[:, i]) for i in range(len(self.schema))]
        return torch.stack(columns, 1) if columns else self._empty

    def log_prob_of(self, i: int, values: Tensor) -> Tensor:
        """Log-probability of one label's values, by its position; any dimensions that fit those of the parameters."""
        label = self.schema.labels[i]
        if label.discrete:
            table = self.log_table(i)
            return table.gather(-1, values.long().expand(table.shape[:-1])[..., None])[..., 0]
        mean, log_scale = self._parts[i].unbind(-1)
        z = ((values - label.mean) / label.scale - mean) * torch.exp(-log_scale)
        return -0.5 * z**2 - log_scale - 0.5 * math.log(2 * math.pi)

    def alike(self, group: Sequence[int]) -> LabelDistribution:
        """The distributions of labels that are alike (:meth:`Schema.alike`) as those of one label.

        A dimension for the labels comes before that of the parameters. Values of continuous labels are standardised ones.
        """
        return self.schema.one_of(group).distribution(torch.stack([self._parts[i] for i in group], -2))

    def entropy(self) -> Tensor:
        """Entropy (nats) per label, ``(n, labels)``."""
        columns = []
        for i, label in enumerate(self.schema.labels):
            if label.discrete:
                logits = self.log_table(i)
                columns.append(-(logits.exp() * logits).sum(-1))
            else:
                columns.append(self._parts[i][..., 1] + 0.5 * math.log(2 * math.pi * math.e))
        return torch.stack(columns, -1)

    def kl_to(self, other: LabelDistribution) -> Tensor:
        """KL(self || other) in nats per label, ``(n, labels)``; shapes broadcast."""
        columns = []
        for i, label in enumerate(self.schema.labels):
            if label.discrete:
                a, b = self.log_table(i), other.log_table(i)
                columns.append((a.exp() * (a - b)).sum(-1))
            else:
                (m, s), (m2, s2) = self._parts[i].unbind(-1), other._parts[i].unbind(-1)
                columns.append(s2 - s + (torch.exp(2 * s) + (m - m2) ** 2) / (2 * torch.exp(2 * s2)) - 0.5)
        return torch.stack(columns, -1)

    def mode(self) -> Tensor:
        """The most probable values, ``(n, labels)``."""
        columns = []
        for i, label in enumerate(self.schema.labels):
            if label.discrete:
                columns.append(self.log_table(i).argmax(-1).to(self._parts[i].dtype))
            else:
                columns.append(self._parts[i][..., 0] * label.scale + label.mean)
        return torch.stack(columns, -1) if columns else self._empty

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw of the values, ``(n, labels)``."""
        columns = []
        for i, label in enumerate(self.schema.labels):
            part = self._parts[i]
            if label.discrete:
                columns.append(torch.multinomial(self.log_table(i).exp(), 1, generator=generator)[:, 0].to(part.dtype))
            else:
                noise = torch.randn(part.shape[0], generator=generator, device=part.device, dtype=part.dtype)
                columns.append((part[:, 0] + noise * part[:, 1].exp()) * label.scale + label.mean)
        return torch.stack(columns, 1) if columns else self._empty

    def relaxed(self, temperature: float, generator: torch.Generator | None = None) -> Tensor:
        """One draw as label features ``(n, width)`` with a gradient: a softened draw for discrete labels (the concrete
        distribution of Maddison et al. 2017), a reparameterised one for continuous labels."""
        columns = []
        for i, label in enumerate(self.schema.labels):
            part = self._parts[i]
            if label.discrete:
                uniform = torch.rand((len(part), len(label.values)), generator=generator, device=part.device)
                gumbel = -torch.log(-torch.log(uniform.clamp(1e-6, 1 - 1e-6)))
                soft = F.softmax((self.log_table(i) + gumbel) / temperature, -1)
                columns.append(soft[:, 1:] if label.kind == "binary" else soft)
            else:
                noise = torch.randn(len(part), generator=generator, device=part.device)
                columns.append((part[:, 0] + noise * part[:, 1].exp())[:, None])
        return torch.cat(columns, -1)

    def table(self) -> dict[str, dict[str, np.ndarray]]:
        """Label name -> {value name: probability ``(n,)``}, or {"mean", "sd"} in the label's own unit if continuous."""
        out = {}
        for i, label in enumerate(self.schema.labels):
            if label.discrete:
                p = self.log_table(i).exp().detach().cpu().double().numpy()
                out[label.name] = {name: p[:, k] for k, name in enumerate(label.values)}
            else:
                mean, log_scale = self._parts[i].detach().cpu().double().numpy().T
                out[label.name] = {
                    "mean": mean * label.scale + label.mean,
                    "sd": np.exp(log_scale) * label.scale,
                }
        return out


def frequencies(schema: Schema, values: np.ndarray, observed: np.ndarray) -> list[list[float]]:
    """Label frequencies with add-half smoothing: per discrete label the probability of each value, ``[]`` if continuous.

    Args:
        schema: the labels.
        values: ``(n, labels)``.
        observed: ``(n, labels)`` bool; missing entries are not counted.
    """
    table = []
    for i, label in enumerate(schema.labels):
        if not label.discrete:
            table.append([])
            continue
        counts = np.bincount(values[observed[:, i], i].astype(int), minlength=len(label.values)) + 0.5
        table.append([float(c) for c in counts / counts.sum()])
    return table


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
        out[name.strip()] = number
    return out
