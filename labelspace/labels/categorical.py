"""Categorical labels: a categorical distribution with one logit per class."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from labelspace.errors import UserError, unknown
from labelspace.labels.label import Label


@dataclass(frozen=True)
class Categorical(Label):
    """A label that is one of at least two named classes; its features are one-hot."""

    classes: tuple[str, ...]
    kind = "categorical"

    def __post_init__(self) -> None:
        super().__post_init__()
        if odd := [c for c in self.classes if not c or c != c.strip()]:
            raise UserError(f"class {odd[0]!r} of label {self.name!r} is empty or has blanks around it")
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise UserError(
                f"categorical label {self.name!r} needs at least two different classes, got {reprlib.repr(self.classes)}"
            )

    @property
    def values(self) -> tuple[str, ...]:
        return self.classes

    @property
    def features(self) -> int:
        return len(self.classes)

    @property
    def parameters(self) -> int:
        return len(self.classes)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Categorical:
        return cls(str(row["name"]), tuple(row["classes"]))

    def _parse(self, given: Any, text: str) -> float:
        if text in self.classes:
            return float(self.classes.index(text))
        if isinstance(given, float | np.floating) and float(given).is_integer() and str(int(given)) in self.classes:
            return float(self.classes.index(str(int(given))))
        raise unknown(f"class of label {self.name!r}:", text, self.classes)

    def _format(self, value: float) -> str:
        return self.classes[int(value)]

    def to_features(self, values: Tensor) -> Tensor:
        return F.one_hot(values.long(), self.features).to(values.dtype)

    def prior_parameters(self, frequencies: Sequence[float]) -> list[float]:
        return [math.log(p) for p in frequencies]

    def log_table(self, logits: Tensor) -> Tensor:
        return F.log_softmax(logits, -1)


def categorical(name: str, classes: Iterable[str]) -> Categorical:
    """A label that is one of at least two named classes."""
    return Categorical(name, tuple(str(c) for c in classes))
