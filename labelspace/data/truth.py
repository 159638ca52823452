"""Data that are drawn from known factors, so that the truth of any edit can be drawn too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from labelspace.data import store
from labelspace.errors import UserError
from labelspace.labels import Label, Schema

_AT_ONCE = 1000  # pictures that are drawn again sooner than processes that draw into the store would have started


class Truth(ABC):
    """A generator of samples: factors, the labels that they imply, and what a sample with these factors is.

    Rows of factors are ``(n, factors)``: codes of options, or numbers. A discrete label's value may be had in several ways,
    its *styles*: each is a level of the factor that the label is about.

    Attributes:
        factors: factor name -> names of its options, in the order of their codes; none where it is a number.
        schema: the labels.
    """

    factors: Mapping[str, tuple[str, ...]]

    @property
    @abstractmethod
    def schema(self) -> Schema: ...

    @abstractmethod
    def select(self, labels: Sequence[str]) -> Truth:
        """The same generator with some of the labels, in the order given."""

    @abstractmethod
    def factor(self, label: str) -> int:
        """The column of the factor that a label is about."""

    @abstractmethod
    def labels(self, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``values`` and ``observed`` of rows of factors, both ``(n, labels)``."""

    @abstractmethod
    def styles(self, label: str, value: float) -> tuple[str, ...]:
        """Names of the styles that a label's value has; a number has one."""

    @abstractmethod
    def style(self, label: str, factors: np.ndarray) -> np.ndarray:
        """For each row of factors, which of the styles of its own value of a label it has, ``(n,)``; 0 for numbers."""

    @abstractmethod
    def changed(self, factors: np.ndarray, label: str, value: float) -> np.ndarray:
        """Rows with one label's factor set to each style of a value: ``(n, factors) -> (n, styles, factors)``."""

    @abstractmethod
    def expected(self, factors: np.ndarray, shape: tuple[int, ...], progress: store.Progress | None = None) -> np.ndarray:
        """What samples of a shape with these factors are, without noise of measurement: ``(n, factors) -> (n, *shape)``."""

    def measured(self, expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Samples as they come out: what is expected, with the noise of measurement where there is any."""
        return expected

    def independent(self, factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Rows of factors with every label drawn anew: independent of all else, each value and each of its styles alike
        probable; numbers are those of other rows."""
        out = factors.copy()
        for label in self.schema:
            if not label.discrete:
                out[:, self.factor(label.name)] = rng.permutation(out[:, self.factor(label.name)])
                continue
            values = rng.integers(0, len(label.values), len(out))
            for value in range(len(label.values)):
                rows = np.flatnonzero(values == value)
                if len(rows):
                    ways = self.changed(out[rows], label.name, value)
                    out[rows] = ways[np.arange(len(rows)), rng.integers(0, ways.shape[1], len(rows))]
        return out


@dataclass(frozen=True)
class LabelRule:
    """What a label says about the factors of a sample.

    Attributes:
        label: the label.
        factor: the column of the factor that it is about.
        options: of a discrete label: per value, the factor's codes that have this value (each one is a *style* of the value).
        seen: which rows ``(n, factors)`` show the label at all; elsewhere it is missing.
        levels: of a continuous label: the number that each code of the factor stands for.
        period: of a number that comes round again, such as an angle: after how much; 0 for other numbers.
        code: the factor's code in rows ``(n, factors)`` where some of its codes draw the same picture, so that the label can be
            read off the picture: ``-> (n,)`` codes. By default the code as it is.
    """

    label: Label
    factor: int
    options: tuple[tuple[int, ...], ...] = ()
    seen: Callable[[np.ndarray], np.ndarray] | None = None
    levels: tuple[float, ...] = ()
    period: float = 0.0
    code: Callable[[np.ndarray], np.ndarray] | None = None

    def values(self, factors: np.ndarray) -> np.ndarray:
        """The label's values of rows ``(n, factors)``, seen or not: ``(n,)`` float32."""
        codes = factors[:, self.factor] if self.code is None else self.code(factors)
        if not self.label.discrete:
            return np.array(self.levels, np.float32)[codes]
        values = np.zeros(len(factors), np.float32)
        for value, options in enumerate(self.options):
            values[np.isin(codes, options)] = value
        return values

    def codes(self, value: float) -> tuple[int, ...]:
        """The factor's codes that have a value: all styles of a discrete one, the code nearest to a number.

        Raises:
            UserError: a value that the label does not have, or a number outside its levels.
        """
        if self.label.discrete:
            if value not in range(len(self.options)):
                raise UserError(f"label {self.label.name!r} has values 0 to {len(self.options) - 1}, got {value:g}")
            return self.options[int(value)]
        if not np.isfinite(value):
            raise UserError(f"{self.label.name} cannot be {value}; expected a finite number")
        levels = np.array(self.levels)
        if self.period:
            away = np.abs((value - levels + self.period / 2) % self.period - self.period / 2)
        else:
            away = np.abs(value - levels)
            beyond = np.spacing(np.float32(max(abs(levels[0]), abs(levels[-1]))))  # a float32 may be rounded beyond the ends
            if not levels[0] - beyond <= value <= levels[-1] + beyond:
                raise UserError(f"{self.label.name} goes from {levels[0]:g} to {levels[-1]:g} in these data, got {value:g}")
        return (int(away.argmin()),)


@dataclass(frozen=True)
class FactorGrid(Truth):
    """Pictures of factors that are codes, drawn into the store.

    Attributes:
        name: name of the drawing function in the store's registry.
        factors: factor name -> option names, in the order of their codes.
        rules: one per label.
        sample: ``(n, rng) -> (n, factors)`` codes.
        arguments: keyword arguments of the drawing function.
    """

    name: str
    factors: Mapping[str, tuple[str, ...]]
    rules: tuple[LabelRule, ...]
    sample: Callable[[int, np.random.Generator], np.ndarray]
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def schema(self) -> Schema:
        return Schema(rule.label for rule in self.rules)

    def select(self, labels: Sequence[str]) -> FactorGrid:
        return replace(self, rules=tuple(self.rule(label) for label in labels))

    def rule(self, label: str) -> LabelRule:
        return self.rules[self.schema.index(label)]

    def factor(self, label: str) -> int:
        return self.rule(label).factor

    def labels(self, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = np.zeros((len(factors), len(self.rules)), np.float32)
        observed = np.ones(values.shape, bool)
        for i, rule in enumerate(self.rules):
            values[:, i] = rule.values(factors)
            if rule.seen is not None:
                observed[:, i] = rule.seen(factors)
        return np.where(observed, values, 0).astype(np.float32), observed

    def styles(self, label: str, value: float) -> tuple[str, ...]:
        rule = self.rule(label)
        names = list(self.factors.values())[rule.factor]
        return tuple(names[code] for code in rule.codes(value))

    def style(self, label: str, factors: np.ndarray) -> np.ndarray:
        rule = self.rule(label)
        if not rule.label.discrete:
            return np.zeros(len(factors), int)
        place = {code: i for options in rule.options for i, code in enumerate(options)}
        return np.array([place[int(code)] for code in factors[:, rule.factor]])

    def changed(self, factors: np.ndarray, label: str, value: float) -> np.ndarray:
        return _with_levels(factors, self.factor(label), self.rule(label).codes(value))

    def expected(self, factors: np.ndarray, shape: tuple[int, ...], progress: store.Progress | None = None) -> np.ndarray:
        if len(factors) <= _AT_ONCE:
            return store.resolve(self.name)(factors, **self.arguments)
        return store.build(f"{self.name}-truth", factors, shape, self.name, self.arguments, progress=progress).x  # type: ignore[arg-type]


@dataclass(frozen=True)
class Cause:
    """What a label of vectors says about a factor that is a number.

    Attributes:
        label: the label.
        factor: the column of the factor.
        levels: of a discrete label: per value, levels of the factor that have it (its styles).
        value: levels of the factor ``(n,)`` -> values of the label ``(n,)``; by default the level is the value.
    """

    label: Label
    factor: int
    levels: tuple[tuple[float, ...], ...] = ()
    value: Callable[[np.ndarray], np.ndarray] = np.asarray


@dataclass(frozen=True)
class Equations(Truth):
    """Vectors that are computed from factors.

    Attributes:
        factors: see :class:`Truth`.
        causes: one per label.
        compute: ``(n, factors) -> (n, d)``, what is expected.
        noise: what is expected ``(n, d)`` -> a measurement ``(n, d)``; None: without any noise.
    """

    factors: Mapping[str, tuple[str, ...]]
    causes: tuple[Cause, ...]
    compute: Callable[[np.ndarray], np.ndarray]
    noise: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None

    @property
    def schema(self) -> Schema:
        return Schema(cause.label for cause in self.causes)

    def select(self, labels: Sequence[str]) -> Equations:
        return replace(self, causes=tuple(self.cause(label) for label in labels))

    def cause(self, label: str) -> Cause:
        return self.causes[self.schema.index(label)]

    def factor(self, label: str) -> int:
        return self.cause(label).factor

    def labels(self, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = np.stack([cause.value(factors[:, cause.factor]) for cause in self.causes], 1).astype(np.float32)
        return values, np.ones(values.shape, bool)

    def _levels(self, label: str, value: float) -> tuple[float, ...]:
        cause = self.cause(label)
        if not np.isfinite(value):
            raise UserError(f"{label} cannot be {value}; expected a finite number")
        if not cause.label.discrete:
            return (float(value),)
        if value not in range(len(cause.levels)):
            raise UserError(f"label {label!r} has values 0 to {len(cause.levels) - 1}, got {value:g}")
        return cause.levels[int(value)]

    def styles(self, label: str, value: float) -> tuple[str, ...]:
        return tuple(f"{level:g}" for level in self._levels(label, value))

    def style(self, label: str, factors: np.ndarray) -> np.ndarray:
        cause, level = self.cause(label), factors[:, self.factor(label)]
        out = np.zeros(len(factors), int)
        values = cause.value(level)
        for value, levels in enumerate(cause.levels):
            mine = values == value
            out[mine] = np.abs(level[mine, None] - np.array(levels)).argmin(1)
        return out

    def changed(self, factors: np.ndarray, label: str, value: float) -> np.ndarray:
        return _with_levels(factors, self.factor(label), self._levels(label, value))

    def expected(self, factors: np.ndarray, shape: tuple[int, ...], progress: store.Progress | None = None) -> np.ndarray:
        return self.compute(factors).astype(np.float32)

    def measured(self, expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return expected if self.noise is None else self.noise(expected, rng).astype(np.float32)


def _with_levels(factors: np.ndarray, column: int, levels: Sequence[float]) -> np.ndarray:
    """Rows with one factor at each of some levels: ``(n, factors) -> (n, levels, factors)``."""
    out = np.repeat(factors[:, None], len(levels), axis=1)
    out[:, :, column] = np.array(levels, factors.dtype)
    return out
