"""The curves of training: every term of every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from labelspace.reporting import colours
from labelspace.reporting.figures import Lines, lines
from labelspace.reporting.runs import Subject
from labelspace.reporting.views import View

_MOST = 10  # entries of a term that have a curve of their own


def of_one(subject: Subject, brief: bool = False) -> list[View]:
    """Every term in training and validation, the score, weights that change, and terms by their entries.

    Args:
        subject: the run.
        brief: only the score and the terms that the model minimises, as a whole.
    """
    rows = subject.metrics
    epochs = [row["epoch"] for row in rows]
    panels = []
    for term in terms([subject], brief):
        found = {part: _column(rows, part, term) for part in ("val", "train")}
        curves = {
            name: values
            for name, values in (("validation", found["val"]), ("training", found["train"]))
            if np.isfinite(values).any()
        }
        panels.append(
            _panel(
                term, epochs, curves, mark=subject.best_epoch,
                colours={"validation": colours.COLOURS[0], "training": colours.OTHER}, dashed=frozenset({"training"}),
            )
        )  # fmt: skip
    score = np.array([_number(row.get("score")) for row in rows])
    if np.isfinite(score).any():
        panels.append(
            _panel("score (lower is better)", epochs, {"validation": score}, mark=subject.best_epoch,
                   colours={"validation": colours.COLOURS[0]})
        )  # fmt: skip
    out = [
        View(
            "Terms",
            _alone(panels),
            "Every term in nats per sample, before its weight, by epoch. "
            f"Dotted line: epoch {subject.best_epoch}, whose weights were kept.",
        )
    ]
    if brief:
        return out
    entries = [panel for term in terms([subject]) if (panel := _by_entry(subject, term, epochs))]
    if entries:
        said = "The same terms label by label (validation; training where nothing is held back)."
        out.append(View("Terms by label", _alone(entries), said))
    changing = {
        name: values
        for name in dict.fromkeys(key for row in rows for key in row.get("weights", {}) if "." not in key)
        if np.ptp(values := np.array([_number(row.get("weights", {}).get(name)) for row in rows])) > 0
    }
    if changing:
        weights = [_panel(name, epochs, {"weight": values}) for name, values in changing.items()]
        out.append(View("Weights", _alone(weights), "Weights that changed during training."))
    return out


def of_all(subjects: Sequence[Subject]) -> View | None:
    """Every term of every run, laid over each other."""
    shown = [subject for subject in subjects if subject.metrics]
    if not shown:
        return None
    last = max(len(subject.metrics) for subject in shown)
    epochs = list(range(1, last + 1))
    panels = []
    for term in [*terms(shown), "score"]:
        curves = {}
        for subject in shown:
            values = (
                np.array([_number(row.get("score")) for row in subject.metrics]) if term == "score" else _kept(subject, term)
            )
            if np.isfinite(values).any():
                curves[subject.name] = np.concatenate([values, np.full(last - len(values), np.nan)])
        if curves:
            panels.append(_panel(term, epochs, curves, colours={s.name: colours.colour(i) for i, s in enumerate(subjects)}))
    if not panels:
        return None
    return View(
        "Curves",
        _alone(panels),
        "Every term in nats per sample, before its weight, on validation samples (on training samples where nothing is held "
        "back). Terms of the same name may be defined differently by different models; scores too.",
    )


def _alone(panels: Sequence[Lines]) -> list[tuple[Figure, str]]:
    """A figure for each panel."""
    return [(lines([panel], width=3.0, height=2.1, shared=len(panel.curves) > 1), _alt(panel)) for panel in panels]


def _alt(panel: Lines) -> str:
    """Where every curve begins and ends."""
    said = []
    for name, values in panel.curves.items():
        finite = values[np.isfinite(values)]
        if finite.size:
            said.append(f"{name} from {finite[0]:.4g} to {finite[-1]:.4g}")
    return f"Curves of {panel.title} by epoch: {'; '.join(said)}."


def terms(subjects: Sequence[Subject], brief: bool = False) -> list[str]:
    """Names of all terms, in the order in which they come; entries of a term (``term.entry``) are none.

    With ``brief`` without those that only readers of codes minimise.
    """
    parts = [row[part] for subject in subjects for row in subject.metrics for part in ("train", "val")]
    names = dict.fromkeys(name for part in parts for name in part)
    # A block's own term may have a dot in its name too, and so may a label: an entry is what has its term beside it.
    read = {name for subject in subjects for row in subject.metrics for name in row.get("readers", ())} if brief else set()
    whole = [name for name in names if not any(name[:i] in names for i, letter in enumerate(name) if letter == ".")]
    return [name for name in whole if name not in read]


def _kept(subject: Subject, term: str) -> np.ndarray:
    """A term on validation samples, or where there are none on training samples."""
    values = _column(subject.metrics, "val", term)
    return values if np.isfinite(values).any() else _column(subject.metrics, "train", term)


def _column(rows: list[dict[str, Any]], part: str, term: str) -> np.ndarray:
    return np.array([_number(row[part].get(term)) for row in rows])


def _number(value: float | None) -> float:
    return np.nan if value is None or not np.isfinite(value) else float(value)


def _by_entry(subject: Subject, term: str, epochs: list[int]) -> Lines | None:
    names = [*dict.fromkeys(key for row in subject.metrics for key in row["train"] if key.startswith(f"{term}."))]
    if not names or len(names) > _MOST:
        return None
    labels = subject.config["data"]["labels"]
    curves, shades = {}, {}
    for i, name in enumerate(names):
        entry = name.removeprefix(f"{term}.")
        curves[entry] = _kept(subject, name)
        shades[entry] = colours.colour(labels.index(entry) if entry in labels else i)
    return _panel(term, epochs, curves, colours=shades)


def _panel(title: str, epochs: Sequence[int], curves: dict[str, np.ndarray], **more: Any) -> Lines:
    """A panel whose first epochs may lie outside, where they would flatten everything else."""
    limits, note = None, ""
    known = [values[np.isfinite(values)] for values in curves.values()]
    late = [values[max(1, len(values) // 10) :] if len(values) > 1 else values for values in known]
    everything, rest = np.concatenate(known), np.concatenate(late)
    if len(epochs) > 3 and rest.size and np.ptp(everything) > 5 * np.ptp(rest) > 0:
        margin = 0.08 * np.ptp(rest)
        limits, note = (float(rest.min() - margin), float(rest.max() + margin)), "first epochs outside"
    return Lines(epochs, curves, ("epoch", ""), title, limits=limits, note=note, whole=True, **more)
