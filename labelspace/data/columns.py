"""Columns of text or numbers as labels: kinds are inferred, missing entries become masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from labelspace.errors import UserError, option, unknown
from labelspace.labels import Label, Schema, binary, categorical, continuous

_PROBE = binary("probe")
MOST_CLASSES = 50


def infer(name: str, entries: Sequence[Any], kind: str = "") -> Label:
    """The label that a column of entries looks like.

    Two values that read as off and on are binary; numbers with a fraction, or more than 50 different ones, are continuous
    (their mean and standard deviation are measured); everything else is categorical, classes sorted.

    Args:
        name: the column's name.
        entries: its entries.
        kind: binary, categorical or continuous where the user says what it is.

    Raises:
        UserError: the column has no entry at all, more than 50 different texts, or entries that are not of the kind.
    """
    if kind and kind not in ("binary", "categorical", "continuous"):
        raise unknown(f"kind of label {name!r}:", kind, ("binary", "categorical", "continuous"))
    seen = sorted({shown for e in entries if (shown := text(e)) is not None})
    if not seen:
        raise UserError(f"label {name!r} has no entry at all")
    if kind == "binary" or (not kind and all(is_binary(one) for one in seen)):
        return binary(name)
    numbers = [number(one) for one in seen]
    if kind == "continuous" and None in numbers:
        raise UserError(f"label {name!r} is said to be continuous, but {seen[numbers.index(None)]!r} is not a number")
    if None not in numbers:
        whole = all(float(n).is_integer() for n in numbers)  # type: ignore[arg-type]
        if kind != "categorical" and (kind or not whole or len(set(numbers)) > MOST_CLASSES):
            all_numbers = np.array([float(t) for e in entries if (t := text(e)) is not None])
            with np.errstate(over="ignore", invalid="ignore"):  # what is too large is refused by the label
                return continuous(name, float(all_numbers.mean()), float(all_numbers.std()) or 1.0)
        classes = [as_class(n) for n in sorted(set(numbers))]  # type: ignore[type-var, arg-type]
    else:
        classes = seen
    if len(classes) > MOST_CLASSES:
        raise UserError(
            f"label {name!r} has {len(classes)} different texts; a categorical label takes up to {MOST_CLASSES}: if they "
            f"say what belongs together, use {option('group', name)}; otherwise leave it out by naming the others with "
            + option("labels")
        )
    if len(classes) < 2:
        raise UserError(f"label {name!r} is always {classes[0]!r}, so nothing can be learnt about it; leave it out")
    return categorical(name, classes)


def read(
    columns: Mapping[str, Sequence[Any]],
    n: int = 0,
    *,
    kinds: Mapping[str, str] | None = None,
    known: Schema | None = None,
    where: Callable[[int], str] | None = None,
) -> tuple[Schema, np.ndarray, np.ndarray]:
    """Infers a schema from columns of ``n`` entries and encodes them: ``schema``, ``values``, ``observed``.

    Args:
        columns: label name -> entries.
        n: number of entries, for no columns at all.
        kinds: kinds that the user says, by label.
        known: labels of a trained model; those of them that are asked for are taken as they are instead of inferred.
        where: what a row is called in messages, after the file ("data.csv, line 3"); "row 3" by default.

    Raises:
        UserError: a column that cannot be a label, or an entry that is not a value of its label (row named).
    """
    if not columns:
        return Schema(), np.zeros((n, 0), np.float32), np.zeros((n, 0), bool)
    columns = {name: [_decoded(name, e) if isinstance(e, bytes) else e for e in entries] for name, entries in columns.items()}
    kinds, known = kinds or {}, known or Schema()
    schema = Schema(
        known[name] if name in known.names else infer(name, entries, kinds.get(name, "")) for name, entries in columns.items()
    )
    cleaned = {label.name: [canonical(label, entry) for entry in columns[label.name]] for label in schema}
    if where is not None:
        for label in schema:
            for row, entry in enumerate(cleaned[label.name]):
                try:
                    label.parse(entry)
                except UserError as error:
                    raise UserError(f"{where(row)}: {error}") from None
    values, observed = schema.encode(cleaned)
    return schema, values, observed


def _decoded(name: str, entry: bytes) -> str:
    try:
        return entry.decode()
    except UnicodeDecodeError:
        raise UserError(f"label {name!r} holds bytes that are not UTF-8 text: {entry!r}") from None


def canonical(label: Label, entry: Any) -> Any:
    """An entry as the label takes it: its class however that was written, None where it is missing."""
    if isinstance(entry, str) and entry.strip() in label.classes:
        return entry.strip()
    shown = text(entry)
    if shown is None or label.kind != "categorical" or shown in label.classes:
        return shown
    value = number(shown)
    return shown if value is None else as_class(value)  # a class that was written as a number, "3.0" for "3"


def text(entry: Any) -> str | None:
    """An entry as text without blanks around it, None where it is missing."""
    if entry is None or (isinstance(entry, float | np.floating) and np.isnan(entry)):
        return None
    shown = str(entry).strip()
    return None if shown.lower() in ("", "nan", "na", "n/a", "none", "null", "?") else shown


def is_binary(shown: str) -> bool:
    """Whether a text reads as off or on."""
    try:
        _PROBE.parse(shown)
        return True
    except UserError:
        return False


def number(shown: str) -> float | None:
    """A text as a finite number, None where it is not one."""
    try:
        value = float(shown)
    except ValueError:
        return None
    return value if np.isfinite(value) and "_" not in shown else None


def as_class(value: float) -> str:
    """The name of a class that is written as a number: "3" for 3.0."""
    return str(int(value)) if float(value).is_integer() else str(value)
