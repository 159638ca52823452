"""Several runs side by side in one page."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from labelspace.data.dataset import Dataset
from labelspace.evaluation import probing
from labelspace.models.base import Model
from labelspace.reporting import curves, views, words
from labelspace.reporting.choices import Runs, first_data
from labelspace.reporting.evaluation import tables
from labelspace.reporting.html import Content, Html, Section, explained, page, paragraph, picture, table, tag
from labelspace.reporting.page import alarms, end, in_words, plain, together
from labelspace.reporting.runs import Subject

Tell = Callable[[str], None]

_INTERVAL = re.compile(r"\[([-+]?[\d.]+)%?, ([-+]?[\d.]+)%?\]")
_MOST = 20  # differences that are shown


def write(subjects: Sequence[Subject], tell: Tell = lambda _: None) -> tuple[str, list[str]]:
    """The page of several runs, and the names of its sections."""
    names = [subject.name for subject in subjects]
    view, measured = curves.of_all(subjects), _measured(subjects)
    sections = [
        Section("differences", "What differs", _differences(measured, names)),
        Section("runs", "The runs", [_alarms(subjects), _overview(subjects)]),
        Section("settings", "Settings that differ", _settings(subjects)),
        Section(
            "curves",
            "Curves",
            paragraph("No run has finished an epoch.")
            if view is None
            else [in_words(curves.terms(subjects)), picture(view.figures, view.caption)],
        ),
        *_pictures(subjects, tell),
        Section("diagnosis", "Diagnosis", parts=[_diagnosis(subject, i) for i, subject in enumerate(subjects)]),
        _measurements(subjects, measured),
    ]
    lead = paragraph(f"{len(subjects)} runs side by side: {', '.join(names)}.", kind="lead")
    return page("Comparison of runs", lead, sections, end()), [section.name for section in sections]


def _alarms(subjects: Sequence[Subject]) -> list[Html]:
    return [tag("div", tag("strong", f"{subject.name}."), said) for subject in subjects if (said := alarms(subject))]


def _overview(subjects: Sequence[Subject]) -> Html:
    return _side_by_side({s.name: dict(words.overview(s)) for s in subjects}, "what", "What was trained on what")


def _side_by_side(columns: dict[str, dict[str, str]], what: str, caption: str) -> Html:
    """A table with a column for each run; what none of them has is left out."""
    rows = dict.fromkeys(key for column in columns.values() for key, cell in column.items() if cell != "-")
    cells = [[_explained(key), *(column.get(key, "-") for column in columns.values())] for key in rows]
    return table([what, *columns], cells, caption, titled=True)


def _explained(key: str) -> list[Content]:
    """A term, or what is measured of a row (``row: column``), with its meaning."""
    row, colon, column = key.rpartition(": ")
    return [row, colon, explained(column)]


def _settings(subjects: Sequence[Subject]) -> list[Content]:
    found = {subject.name: words.settings(subject.config) for subject in subjects}
    keys = dict.fromkeys(key for settings in found.values() for key in settings)
    differ = {key for key in keys if len({settings.get(key) for settings in found.values()}) > 1}
    own = {name: {key: settings[key] for key in keys if key in differ and key in settings} for name, settings in found.items()}
    first = next(iter(found.values()))
    same = [[key, first[key]] for key in keys if key not in differ]
    return [
        _side_by_side(own, "setting", "Settings that differ") if differ else paragraph("All settings are the same."),
        tag("details", tag("summary", f"{len(same)} settings are the same"), table(["setting", "all runs"], same, "The same")),
    ]


def _pictures(subjects: Sequence[Subject], tell: Tell) -> list[Section]:
    """The same samples reconstructed and edited by each run, once for every data set that there is."""
    groups: dict[tuple[Any, ...], dict[str, tuple[Model, Dataset]]] = {}
    for subject in subjects:
        if subject.model is not None and subject.data is not None:
            samples = (subject.data.address, subject.data.seed, subject.data.shape, subject.data.rows("test").tobytes())
            groups.setdefault(samples, {})[subject.name] = (subject.model, subject.data)
    missing = [s.name for s in subjects if s.model is None or s.data is None]
    said = [f"Nothing can be shown of {', '.join(missing)}: the model or the data are not there."] if missing else []
    if len(groups) > 1:
        said.append(
            "The runs are of different samples (another address, seed or shape), so not all of them can be shown on the same "
            "ones: those that can are shown together."
        )
    out = [Section("same-samples", "The same samples", [paragraph(text) for text in said])] if said else []
    for g, runs in enumerate(groups.values()):
        tell(f"samples of {', '.join(runs)}")
        several = len(groups) > 1
        out += _group(runs, f"-{g + 1}" if several else "", f": {', '.join(runs)}" if several else "")
    return out


def _group(runs: Runs, suffix: str, of: str) -> list[Section]:
    rows = probing.chosen(first_data(runs), "test", 1000)
    out = [together(views.reconstructions(runs, rows), f"reconstructions{suffix}", f"Reconstructions{of}")]
    names, more = views.first([*dict.fromkeys(name for model, _ in runs.values() for name in model.schema.names)])
    shown: list[Content] = [paragraph(more)] if more else []
    for name in names:
        having = {run: pair for run, pair in runs.items() if name in pair[0].schema.names}
        shown += plain([views.edits_of_all(having, name)], 3)
    if names:
        out.append(Section(f"edits{suffix}", f"Edits{of}", shown))
    out.append(together([views.latent_maps_of_all(runs, rows)], f"maps{suffix}", f"Latent maps{of}"))
    out.append(together([views.generated(runs)], f"samples{suffix}", f"New samples{of}"))
    return out


def _diagnosis(subject: Subject, i: int) -> Section:
    return Section(f"diagnosis-{i + 1}", subject.name, words.diagnosis(subject))


Measured = dict[str, dict[str, dict[str, str]]]
"""Title of a table -> run -> what is measured -> cell."""


def _measured(subjects: Sequence[Subject]) -> Measured:
    """Every table of every run."""
    merged: Measured = {}
    for subject in subjects:
        for title, header, rows in tables(subject.evaluation) if subject.evaluation else []:
            for row in rows:
                for what, cell in zip(header[1:], row[1:], strict=True):
                    merged.setdefault(title, {s.name: {} for s in subjects})[subject.name][f"{row[0]}: {what}"] = cell
    return merged


def _differences(measured: Measured, names: Sequence[str]) -> list[Content]:
    """What is measured of all runs with intervals that do not all overlap, the farthest apart first."""
    apart, compared = [], 0
    for title, of_runs in measured.items():
        for what in of_runs[names[0]]:
            cells = [of_runs[name].get(what, "-") for name in names]
            intervals = [_INTERVAL.search(cell) for cell in cells]
            if not all(intervals):
                continue
            compared += 1
            lows, highs = ([float(found[end]) for found in intervals if found] for end in (1, 2))
            width = sum(highs) - sum(lows)
            if max(lows) > min(highs):
                apart.append(((max(lows) - min(highs)) / max(width, 1e-9), [[f"{title}: ", *_explained(what)], *cells]))
    if not compared:
        return [paragraph("Nothing is measured of all of these runs with intervals.")]
    if not apart:
        return [paragraph(f"Nothing: the intervals of all {compared} measures of these runs overlap.")]
    apart.sort(key=lambda row: -row[0])
    rows, rest = [row for _, row in apart[:_MOST]], compared - len(apart)
    said = f"Of {compared} measures with intervals, {len(apart)} are apart: some of their intervals do not overlap. "
    more = f"The {_MOST} farthest apart are shown. " if len(apart) > _MOST else ""
    same = f"The intervals of the other {rest} overlap: of them nothing can be said." if rest else ""
    return [paragraph(said, more, same), table(["what", *names], rows, "What differs", titled=True)]


def _measurements(subjects: Sequence[Subject], measured: Measured) -> Section:
    """Every table of every run, with a column for each run."""
    if not measured:
        return Section("measurements", "Measurements", paragraph("Nothing is measured of these runs."))
    parts = [
        Section(f"table-{i + 1}", title, _side_by_side(columns, "what", title))
        for i, (title, columns) in enumerate(measured.items())
    ]
    few = [subject.name for subject in subjects if subject.measured in ("brief", "quick", "edits")]
    note = f"Of {', '.join(few)} only some is measured; labelspace evaluate RUN measures all." if few else None
    return Section("measurements", "Measurements", paragraph(note, kind="note") if note else None, parts)
