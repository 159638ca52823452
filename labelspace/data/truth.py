"""Data that are drawn from known factors, so that the truth of any edit can be drawn too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from labelspace.errors import UserError
from labelspace.labels import Label, Schema


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
class FactorGrid:
    """A generator: factors, the labels that they imply, and how a row of factors is drawn.

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

    def rule(self, label: str) -> LabelRule:
        return self.rules[self.schema.index(label)]

    def labels(self, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``values`` and ``observed`` of rows of factors, both ``(n, labels)``."""
        values = np.zeros((len(factors), len(self.rules)), np.float32)
        observed = np.ones(values.shape, bool)
        for i, rule in enumerate(self.rules):
            values[:, i] = rule.values(factors)
            if rule.seen is not None:
                observed[:, i] = rule.seen(factors)
        return np.where(observed, values, 0).astype(np.float32), observed

    def styles(self, label: str, value: float) -> tuple[str, ...]:
        """Names of the styles that a label's value has; a number has one, named as the nearest that can be drawn."""
        rule = self.rule(label)
        names = list(self.factors.values())[rule.factor]
        return tuple(names[code] for code in rule.codes(value))

    def changed(self, factors: np.ndarray, label: str, value: float) -> np.ndarray:
        """Rows with one label's factor set to each style of a value: ``(n, factors) -> (n, styles, factors)``."""
        rule = self.rule(label)
        codes = np.array(rule.codes(value), factors.dtype)
        out = np.repeat(factors[:, None], len(codes), axis=1)
        out[:, :, rule.factor] = codes
        return out
