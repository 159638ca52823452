"""The report of one run as a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from labelspace import __version__, glossary
from labelspace.reporting import curves, views, words
from labelspace.reporting.evaluation import side_effects, tables
from labelspace.reporting.html import (
    Content,
    Html,
    Section,
    explained,
    items,
    page,
    paragraph,
    picture,
    table,
    tag,
)
from labelspace.reporting.runs import MEASURED, Subject
from labelspace.reporting.views import Shown, View

_MOST_CLASSES = 12  # of a label whose confusions are shown
_SHOWN = 1000  # samples that reconstructions and maps are of, at most
_LEAKAGE = "What probes read from the codes"
Tell = Callable[[str], None]


def write(subject: Subject, tell: Tell = lambda _: None, *, brief: bool = False) -> tuple[str, list[str]]:
    """The page of a run, and the names of its sections.

    Args:
        subject: the run.
        tell: told what is being drawn.
        brief: without what takes as long as to train a small model: edits label by label, latent maps, curves of readers.
    """
    glance = _at_a_glance(subject, tell)
    sections = [
        Section(
            "verdict", "In short", [alarms(subject), items(words.verdict(subject)), words.rest(subject) if brief else None]
        ),
        *glance,
        Section("diagnosis", "Diagnosis", words.diagnosis(subject)),
        *([] if brief else [*_measurements(subject), *_pictures(subject, tell)]),
        _curves(subject, brief),
        _overview(subject),
        Section("settings", "Settings", _settings(subject)),
    ]
    lead = paragraph(f"A {subject.config['model']['name']} trained on {subject.address}.", kind="lead")
    return page(f"Report of {subject.name}", lead, sections, end()), [section.name for section in sections]


def end() -> Html:
    return paragraph(f"Written by labelspace {__version__}. The page is whole in itself: it loads nothing and runs nothing.")


def alarms(subject: Subject) -> list[Html]:
    """What a reader should know before reading on: training that did not end well, and what is not there."""
    said = [subject.state, subject.note and f"{subject.note[0].upper()}{subject.note[1:]}.", *subject.absent.values()]
    return [tag("div", paragraph(text), class_="alarm", role="note") for text in said if text]


def show(views_: Sequence[View], name: str) -> list[Section]:
    """Views as parts of a section."""
    return [Section(f"{name}-{i + 1}", view.title, picture(view.figures, view.caption)) for i, view in enumerate(views_)]


def together(views_: Sequence[View], name: str, title: str) -> Section:
    """A section of views; of a single one without a heading of its own."""
    if len(views_) == 1:
        return Section(name, title, picture(views_[0].figures, views_[0].caption))
    return Section(name, title, parts=show(views_, name))


def plain(views_: Sequence[Shown], level: int) -> list[Content]:
    """Views one below the other, and in their places the reasons why some are not there."""
    out: list[Content] = []
    for view in views_:
        if isinstance(view, View):
            heading = tag(f"h{level}", view.title) if view.title else None
            out += [heading, picture(view.figures, view.caption)]
        else:
            out.append(paragraph(view, kind="note"))
    return out


def _overview(subject: Subject) -> Section:
    rows = [[explained(what), text] for what, text in words.overview(subject)]
    about = table(["what", "of this run"], rows, "What was trained, and on what", titled=True)
    return Section("overview", "What was trained on what", [about, words.labels(subject)])


def _curves(subject: Subject, brief: bool) -> Section:
    if not subject.metrics:
        return Section("curves", "Curves", paragraph("No epoch was finished, so there are no curves."))
    section = together(curves.of_one(subject, brief), "curves", "Curves")
    return replace(section, content=[in_words(curves.terms([subject], brief)), section.content])


def in_words(terms: Sequence[str]) -> Html:
    """The names of terms and what they mean, which pictures of curves cannot say."""
    return paragraph("Curves of ", [[explained(term), ", "] for term in terms], "and the ", explained("score"), ".")


def measured(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    """A table of an evaluation; the rows of some are labels or blocks, which have names of their own, of others measures."""
    named = header[0] in ("score", "what")
    cells = [[explained(row[0]) if named else row[0], *row[1:]] for row in rows]
    return table([explained(name) for name in header], cells, title, titled=True)


def _at_a_glance(subject: Subject, tell: Tell) -> list[Section]:
    """What the model does with the data, in three pictures."""
    model, data = subject.model, subject.data
    if model is None or data is None:
        why = " ".join(subject.absent[part] for part in ("model", "data") if part in subject.absent)
        return [Section("pictures", "Reconstructions and edits", paragraph(f"There is nothing to show. {why}"))]
    tell("reconstructions and samples")
    run, rows = {subject.name: (model, data)}, subject.rows(_SHOWN)
    glance = [together(views.reconstructions(run, rows), "reconstructions", "Reconstructions")]
    if data.schema.names:
        glance.append(Section("edits", "Every label set to another value", plain([views.every_label(model, data)], 3)))
    glance.append(together([views.generated(run)], "samples", "New samples"))
    return glance


def _pictures(subject: Subject, tell: Tell) -> list[Section]:
    """What the model does with the data, label by label and block by block."""
    model, data, out = subject.model, subject.data, []
    if model is None or data is None:
        return []
    names, more = views.first(data.schema.names)
    parts = []
    for i, name in enumerate(names):
        tell(f"edits of {name}")
        parts.append(Section(f"label-{i + 1}", name, plain(views.of_label(model, data, name), 4)))
    if parts:
        out.append(Section("labels", "Edits, label by label", paragraph(more) if more else None, parts))
    else:
        out.append(Section("labels", "Edits, label by label", paragraph("The data have no labels to edit.")))
    tell("maps of the latent blocks")
    out.append(together(views.latent_maps(model, data, subject.rows(_SHOWN)), "maps", "Latent maps"))
    return out


def _measurements(subject: Subject) -> list[Section]:
    """Leakage first, then side effects, then every other table."""
    found, note = subject.evaluation, paragraph(*words.measured(subject), kind="note")
    all_tables = tables(found) if found else []
    leakage = [measured(title, header, rows) for title, header, rows in all_tables if title == _LEAKAGE]
    reading = paragraph(
        "Fresh probes (logistic, and a small network) read every label off the codes. Off the free blocks and other labels' "
        "blocks they should read no more than chance; off the label's own block as much as there is. Nats are information "
        "beyond the label's frequencies.",
        kind="note",
    )
    matrix = side_effects(found) if found else None
    effects: Content = note
    if matrix is not None:
        names = list(found["manipulation"]["side_effects"])
        effects = picture(
            [(matrix, f"Matrices of what setting each of {', '.join(names)} does to every label.")],
            "Rows: the label that was set to another value. Columns: what the judge reads of every label, compared with the "
            "reconstruction. Off the diagonal there should be nothing.",
        )
    others = [(title, measured(title, header, rows)) for title, header, rows in all_tables if title != _LEAKAGE]
    others += confusions(subject)
    out = [
        Section("leakage", "Leakage", [reading, leakage] if leakage else note),
        Section("side-effects", "Side effects", effects),
    ]
    if others or found.get("not measured"):
        left = [f"{part}: {why}." for part, why in found.get("not measured", {}).items()]
        parts = [Section(f"table-{i + 1}", title, shown) for i, (title, shown) in enumerate(others)]
        if left:
            parts.append(Section("not-measured", "Not measured", items(left)))
        out.append(Section("measurements", "Other measurements", parts=parts))
    return out


def confusions(subject: Subject) -> list[tuple[str, Html]]:
    """Which classes the model itself takes for which, of every label with more than two."""
    model, data = subject.model, subject.data
    if model is None or data is None or not subject.evaluation.get("prediction"):
        return []
    rows = subject.rows(MEASURED)
    said = model.predict(data.samples(rows)).mode().numpy()
    out = []
    for i, label in enumerate(data.schema):
        seen = data.observed[rows, i]
        if not 2 < len(label.values) <= _MOST_CLASSES or not seen.any():
            continue
        counts = np.zeros((len(label.values),) * 2, int)
        np.add.at(counts, (data.values[rows, i][seen].astype(int), said[seen, i].astype(int)), 1)
        title = f"What {label.name} is predicted as"
        cells = [[value, *map(str, line)] for value, line in zip(label.values, counts, strict=True)]
        out.append(
            (title, table([f"{label.name} is", *(f"read as {value}" for value in label.values)], cells, title, titled=True))
        )
    return out


def _settings(subject: Subject) -> Html:
    name, found = subject.config["model"]["name"], words.settings(subject.config).items()
    rows = [[key, value, glossary.setting(key, name)] for key, value in found]
    return table(["setting", "value", "meaning"], rows, "The resolved configuration", titled=True)


def describe(subject: Subject) -> dict[str, Any]:
    """What a program may want to know of a reported run."""
    return {
        "run": str(subject.home),
        "model": subject.config["model"]["name"],
        "data": subject.config["data"]["address"],
        "epochs": len(subject.metrics),
        "state": subject.state or "finished",
        "measured": subject.measured,
        "alarms": [finding.to_dict() for finding in subject.findings()],
        "absent": subject.absent,
    }
