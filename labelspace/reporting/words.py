"""What a run is and what was measured of it, in words and tables."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from labelspace.data.sources import shown_address
from labelspace.evaluation.diagnosis import DONE, READS, TRUSTED, Finding, excess, trusted
from labelspace.evaluation.probing import said
from labelspace.reporting.html import Content, Html, explained, items, paragraph, table, tag
from labelspace.reporting.runs import Subject, shown_text
from labelspace.terminal import duration

MOVES = 0.05  # of samples: a label that changes with another one in more of them is said to move with it


def overview(subject: Subject) -> list[tuple[str, str]]:
    """What was trained on what, and how it went: names and texts."""
    config, metrics, model, data = subject.config, subject.metrics, subject.model, subject.data
    rows = [("model", _model(subject)), ("data", subject.address)]
    if data is not None:
        splits = ", ".join(f"{name} {len(rows):,}" for name, rows in data.splits.items())
        shape = " x ".join(str(side) for side in data.shape)
        rows.append(("samples", f"{len(data):,} ({splits}), each {'an image' if data.is_image else 'a vector'} of {shape}"))
        rows += [("note on the data", shown_text(note)) for note in data.notes]
    if model is not None:
        rows.append(("latent blocks", ", ".join(_block(block) for block in model.blocks)))
        rows.append(("parameters", f"{sum(p.numel() for p in model.parameters()):,}"))
        if model.started_from or config.get("init_from"):
            rows.append(("started from", shown_text(str(config.get("init_from") or model.started_from))))
    planned = config["training"].get("epochs", "?")
    rows.append(("epochs", f"{len(metrics)} of {planned}; the weights of epoch {subject.best_epoch} were kept"))
    best = next((row for row in metrics if row["epoch"] == subject.best_epoch), None)
    if best is not None and best.get("score") is not None:
        rows.append(("score of that epoch", f"{best['score']:,.6g} (validation, lower is better)"))
    if metrics:
        seconds = sum(row.get("seconds", 0.0) for row in metrics)
        rate = sorted(row.get("samples_per_second", 0.0) for row in metrics)[len(metrics) // 2]
        rows.append(("time", f"{duration(seconds)} of training, {rate:,.0f} samples a second"))
    if subject.environment:
        packages = subject.environment.get("packages", {})
        versions = ", ".join(f"{name} {packages[name]}" for name in ("labelspace", "torch") if name in packages)
        about = [
            versions,
            f"Python {subject.environment.get('python', '?')}",
            f"{_count(subject.environment.get('threads', '?'), 'thread')}",
        ]
        on = str(subject.environment.get("cuda") or subject.environment.get("processor") or "CPU")
        if "precision" in subject.environment:
            on += f", precision {subject.environment['precision']}, Muon in {subject.environment.get('muon', '?')}"
        rows.append(("made with", ", ".join([*about, on])))
        if "date" in subject.environment:
            rows.append(("made on", shown_text(str(subject.environment["date"]))))
    rows.append(
        ("made again by", f"labelspace train --config {shlex.quote(subject.home.resolve().name)}/config.yaml --out NEW")
    )
    return rows


def _model(subject: Subject) -> str:
    name = subject.config["model"]["name"]
    return name if subject.model is None else f"{name} ({subject.model.about.paper}): {subject.model.about.purpose}"


def _block(block: Any) -> str:
    of = "free" if block.label is None else f"of {block.label}"
    return f"{block.name} ({of}, {_count(block.size, 'coordinate')})"


def _count(n: Any, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def labels(subject: Subject) -> Html | None:
    """The labels with their kinds and values."""
    if subject.data is None or not len(subject.data.schema):
        return None
    rows = []
    for row in subject.data.describe()["labels"]:
        if "counts" in row:
            known = sum(row["counts"].values()) or 1
            values = ", ".join(f"{name}: {n:,} ({n / known:.0%})" for name, n in row["counts"].items())
        else:
            values = f"mean {row['mean']:.4g}, sd {row['sd']:.4g}"
        rows.append([row["name"], row["kind"], values, f"{row['missing']:,}"])
    return table([explained(name) for name in ("label", "kind", "values", "missing or hidden")], rows, "Labels")


def settings(config: dict[str, Any]) -> dict[str, str]:
    """A run's settings, one a line, without directories of this machine."""
    out: dict[str, str] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        elif isinstance(value, list):
            out[prefix] = ", ".join(str(entry) for entry in value)
        else:
            out[prefix] = str(value)

    walk("", {**config, "data": {**config["data"], "address": shown_address(config["data"]["address"])}})
    if "init_from" in out:
        out["init_from"] = shown_text(out["init_from"])
    return out


# -- what was measured ------------------------------------------------------------------------------------------------


def verdict(subject: Subject) -> list[str]:
    """What a reader wants to know first, in a few sentences: what can be set, what moves with it, what else tells labels."""
    found = subject.evaluation
    if subject.diverged:
        kept = f"The weights of epoch {subject.best_epoch} were kept" if subject.best_epoch else "No weights were kept"
        return [f"{kept}. What follows is of no use until training ends well."]
    if not found:
        return ["Nothing is measured of this run."]
    known = [*_what_can_be_set(found), *_what_moves(found), *_what_tells(found), *_how_exact(found)]
    return known or ["What was measured of this run says nothing of its labels."]


def _what_can_be_set(found: dict[str, Any]) -> list[str]:
    rows = found.get("manipulation", {}).get("labels", {})
    if not rows:
        return ["Whether edits do what they should is not measured yet."] if found.get("prediction") else []
    weak = [name for name in rows if not _trusted(found, name)]
    rates = {name: row["judge"]["value"] for name, row in rows.items() if name not in weak}
    sure = [name for name, rate in rates.items() if rate >= TRUSTED]
    some = [f"{name} in {rate:.0%}" for name, rate in rates.items() if DONE <= rate < TRUSTED]
    failed = [f"{name} only in {rate:.0%}" for name, rate in rates.items() if rate < DONE]
    out = [f"{listed(sure)} can be set."] if sure else []
    if works := [*some, *failed]:
        out.append(f"Setting works for {listed(works)} of samples.")
    if weak:
        out.append(f"Of {listed(weak)} it cannot be said: the judge itself is not sure of real samples.")
    return out


def _trusted(found: dict[str, Any], label: str) -> bool:
    """Whether the judge is sure enough of a label for its verdicts to count."""
    return label not in found.get("judge", {}) or trusted(found["judge"][label])


def _what_moves(found: dict[str, Any]) -> list[str]:
    side = found.get("manipulation", {}).get("side_effects", {})
    moved = sorted(
        (
            (cell["flipped"]["value"], other, name)
            for name, row in side.items()
            for other, cell in row.items()
            if other != name and _trusted(found, other) and cell.get("flipped", {}).get("value", 0) > MOVES
        ),
        reverse=True,
    )
    worst = [f"{other} moves with {name} in {rate:.0%}" for rate, other, name in moved[:3]]
    more = f", and {len(moved) - len(worst)} more" if len(moved) > len(worst) else ""
    return [f"{listed(worst)}{more}."] if worst else []


def _what_tells(found: dict[str, Any]) -> list[str]:
    told = []
    for name, row in found.get("leakage", {}).items():
        if "free" not in row:
            continue
        best, chance = said(row["free"], "draws")["value"], row.get("chance")
        if excess(row["free"], row, "draws") > READS:
            told.append(f"{name} (R² {best:.2f})" if chance is None else f"{name} ({best:.0%}, chance {chance:.0%})")
    if told:
        return [f"The free code still tells {listed(told)}."]
    return ["The free code tells hardly anything of the labels."] if found.get("leakage") else []


def _how_exact(found: dict[str, Any]) -> list[str]:
    row = found.get("likelihood", {}).get("reconstruction_error")
    if not row or not row.get("variance"):
        return []
    return [f"Reconstructions have {1 - row['value'] / row['variance']:.0%} of what varies in the data."]


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them: a, b and c."""
    return ", ".join(names) if len(names) < 2 else f"{', '.join(names[:-1])} and {names[-1]}"


def diagnosis(subject: Subject) -> list[Content]:
    """Alarms, each remedy once, then in a sentence a label what is known of it."""
    out: list[Content] = []
    findings = subject.findings()
    remedies: dict[str, list[Finding]] = {}
    for finding in findings:
        remedies.setdefault(finding.remedy, []).append(finding)
    for remedy, those in remedies.items():
        alarms = [
            paragraph(tag("strong", f"{one.kind[0].upper()}{one.kind[1:]}, {one.where}. "), f"{one.what}.") for one in those
        ]
        out.append(tag("div", alarms, paragraph(f"What to try: {remedy}."), class_="alarm"))
    if subject.diverged and not findings:
        out.append(paragraph("Training diverged, so alarms of its codes and edits would say nothing new."))
    elif subject.evaluation and not findings:
        out.append(paragraph("No alarm: nothing that was measured is outside its bounds."))
    if known := sentences(subject.evaluation):
        out.append(items(known))
    out.append(paragraph(*measured(subject), kind="note"))
    return out


def measured(subject: Subject) -> list[Content]:
    """What the numbers are of, and how to get those that are not there."""
    found, name = subject.evaluation, shlex.quote(subject.home.resolve().name)
    more: list[Content] = [
        "All of it is measured by ", tag("code", f"labelspace evaluate {name}"), ", and shown here after ",
        tag("code", f"labelspace report {name}"), ".",
    ]  # fmt: skip
    if not found:
        return ["Nothing is measured of this run. ", *(more if subject.model is not None else [])]
    split = f"{found['samples']:,} samples of the {found['split']} split of {shown_address(found['data'])}"
    if subject.measured == "all":
        return [f"Measured by labelspace evaluate on {split}."]
    left = "" if "leakage" in found else "what codes tell of labels, "
    left += "" if "manipulation" in found else "whether edits change what they should and nothing else, "
    return [
        f"Measured on {split}. Not measured: {left}disentanglement, and how new samples compare with real ones. ",
        *more,
    ]


def rest(subject: Subject) -> Html:
    """What a brief page leaves out, and how to get it."""
    name = shlex.quote(subject.home.resolve().name)
    return paragraph(
        "This is the brief page that training writes. What probes read of codes, edits label by label, maps and all curves: ",
        tag("code", f"labelspace report {name}"), ".", kind="note",
    )  # fmt: skip


def sentences(found: dict[str, Any]) -> list[str]:
    """What is known of every label, in words."""
    names = dict.fromkeys([*found.get("prediction", {}), *found.get("leakage", {})])
    out = []
    for name in names:
        said = [
            *_edited(found, name),
            *_predicted(found.get("prediction", {}).get(name)),
            *_read(found.get("leakage", {}).get(name)),
        ]
        if said:
            out.append(f"{name}: {'; '.join(said)}.")
    return out


def _edited(found: dict[str, Any], name: str) -> list[str]:
    row = found.get("manipulation", {}).get("labels", {}).get(name)
    if row is None:
        return []
    reached, own = row["judge"]["value"], found.get("judge", {}).get(name, {}).get("value")
    done = "does" if reached >= DONE * (own or 1.0) else "does not"
    trusted = "" if own is None or own >= TRUSTED else " (which is weak)"
    return [f"setting it {done} what was asked: the judge{trusted} reads the new value in {reached:.0%}"]


def _predicted(row: dict[str, Any] | None) -> list[str]:
    if row is None:
        return []
    if "balanced_accuracy" in row:
        return [f"the model itself predicts it with a balanced accuracy of {row['balanced_accuracy']['value']:.0%}"]
    return [f"the model itself predicts it with an R² of {row['r_squared']['value']:.2f}"] if "r_squared" in row else []


def _read(row: dict[str, Any] | None) -> list[str]:
    if row is None:
        return []
    out = []
    for place, where in (("free", "the free blocks"), ("own_hidden", "its own block (label hidden)")):
        if place not in row:
            continue
        drawn, chance = said(row[place], "draws")["value"], row.get("chance")
        score = f"R² {drawn:.2f}" if chance is None else f"{drawn:.0%}, chance {chance:.0%}"
        verb = "reads it off" if excess(row[place], row, "draws") > READS else "hardly reads it off"
        out.append(f"a fresh reader {verb} draws of {where} ({score})")
    return out
