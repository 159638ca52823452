"""Columns of text or numbers as labels: kinds are inferred, missing entries become masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labelspace.errors import UserError
from labelspace.labels import Label, Schema, binary, categorical, continuous

_PROBE = binary("probe")
_MOST_CLASSES = 50


def infer(name: str, entries: Sequence[Any]) -> Label:
    """The label that a column of entries looks like.

    Two values that read as off and on are binary; numbers with a fraction, or more than 50 different ones, are continuous
    (their mean and standard deviation are measured); everything else is categorical, classes sorted.

    Raises:
        UserError: the column has no entry at all, or more than 50 different texts.
    """
    seen = sorted({text for e in entries if (text := _text(e)) is not None})
    if not seen:
        raise UserError(f"label {name!r} has no entry at all")
    if all(_is_binary(text) for text in seen):
        return binary(name)
    numbers = [_number(text) for text in seen]
    if None not in numbers:
        whole = all(float(n).is_integer() for n in numbers)  # type: ignore[arg-type]
        if not whole or len(set(numbers)) > _MOST_CLASSES:
            all_numbers = np.array([float(t) for e in entries if (t := _text(e)) is not None])
            return continuous(name, float(all_numbers.mean()), float(all_numbers.std()) or 1.0)
        classes = [str(int(n)) for n in sorted(set(numbers))]  # type: ignore[type-var, arg-type]
    else:
        classes = seen
    if len(classes) > _MOST_CLASSES:
        raise UserError(
            f"label {name!r} has {len(classes)} different texts; a categorical label takes up to {_MOST_CLASSES}: if they "
            f"say what belongs together, use --group {name}; otherwise leave it out by naming the others with --labels"
        )
    if len(classes) < 2:
        raise UserError(f"label {name!r} is always {classes[0]!r}, so nothing can be learnt about it; leave it out")
    return categorical(name, classes)


def read(columns: Mapping[str, Sequence[Any]], n: int = 0) -> tuple[Schema, np.ndarray, np.ndarray]:
    """Infers a schema from columns of ``n`` entries and encodes them: ``schema``, ``values``, ``observed``."""
    if not columns:
        return Schema(), np.zeros((n, 0), np.float32), np.zeros((n, 0), bool)
    columns = {name: [_decoded(name, e) if isinstance(e, bytes) else e for e in entries] for name, entries in columns.items()}
    schema = Schema(infer(name, entries) for name, entries in columns.items())
    cleaned = {label.name: [_canonical(label, entry) for entry in columns[label.name]] for label in schema}
    values, observed = schema.encode(cleaned)
    return schema, values, observed


def _decoded(name: str, entry: bytes) -> str:
    try:
        return entry.decode()
    except UnicodeDecodeError:
        raise UserError(f"label {name!r} holds bytes that are not UTF-8 text: {entry!r}") from None


def _canonical(label: Label, entry: Any) -> Any:
    text = _text(entry)
    if text is None or label.kind != "categorical" or text in label.classes:
        return text
    return str(int(float(text)))  # a class that was written as a number, "3.0" for "3"


def _text(entry: Any) -> str | None:
    if entry is None or (isinstance(entry, float | np.floating) and np.isnan(entry)):
        return None
    text = str(entry).strip()
    return None if text.lower() in ("", "nan", "na", "n/a", "none", "null", "?") else text


def _is_binary(text: str) -> bool:
    try:
        _PROBE.parse(text)
        return True
    except UserError:
        return False


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None
