"""Data that are drawn from known factors, so that the truth of any edit can be drawn too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from labelspace.labels import Label, Schema


@dataclass(frozen=True)
class LabelRule:
    """What a label says about the factors of a sample.

    Attributes:
        label: a discrete label.
        factor: the column of the factor that it is about.
        options: per value of the label, the factor's codes that have this value (each one is a *style* of the value).
        seen: which rows ``(n, factors)`` show the label at all; elsewhere it is missing.
    """

    label: Label
    factor: int
    options: tuple[tuple[int, ...], ...]
    seen: Callable[[np.ndarray], np.ndarray] | None = None


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
    arguments: dict[str, int] = field(default_factory=dict)

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
            for value, codes in enumerate(rule.options):
                values[np.isin(factors[:, rule.factor], codes), i] = value
            if rule.seen is not None:
                observed[:, i] = rule.seen(factors)
        return np.where(observed, values, 0).astype(np.float32), observed

    def styles(self, label: str, value: int) -> tuple[str, ...]:
        """Names of the styles that a label's value has."""
        rule = self.rule(label)
        names = list(self.factors.values())[rule.factor]
        return tuple(names[code] for code in rule.options[value])

    def changed(self, factors: np.ndarray, label: str, value: int) -> np.ndarray:
        """Rows with one label's factor set to each style of a value: ``(n, factors) -> (n, styles, factors)``."""
        rule = self.rule(label)
        codes = np.array(rule.options[value], factors.dtype)
        out = np.repeat(factors[:, None], len(codes), axis=1)
        out[:, :, rule.factor] = codes
        return out
