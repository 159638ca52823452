"""A model as a folder for a model hub: weights, configuration, labels, and a card that says what it is and what it is not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from labelspace import __version__, saving
from labelspace.data import paths
from labelspace.data.dataset import Dataset
from labelspace.data.sources import shown_address
from labelspace.errors import UserError
from labelspace.evaluation import kept
from labelspace.evaluation.diagnosis import diagnose
from labelspace.models import name_of
from labelspace.models.base import Model
from labelspace.reporting import words
from labelspace.reporting.evaluation import tables
from labelspace.reporting.runs import shown_text
from labelspace.storage import files, hub
from labelspace.training.fit import open_data as open_run_data
from labelspace.training.run import Run

CARD = "README.md"


def export(home: str | Path, out: str | Path, *, name: str = "", license: str = "", overwrite: bool = False) -> Path:
    """Writes the folder of a run, or of a model that :func:`labelspace.save` wrote.

    Args:
        home: the run directory.
        out: the folder to write.
        name: what the model is called, by default as the folder.
        license: of the weights, as the hub names them ("mit"); not stated without one.
        overwrite: write into a directory that holds other files.

    Returns:
        The folder.

    Raises:
        UserError: ``home`` holds no model, or the folder cannot be written.
    """
    home, out = paths.own(home), paths.own(out)
    model = saving.load(home)
    text = card(home, model, name or out.resolve().name, license)
    with files.filling(out, _ours, overwrite) as folder:
        saving.save(model, folder)
        files.write(folder / CARD, text)
    return out


def _ours(path: Path) -> list[str]:
    """Files of a folder that :func:`export` wrote."""
    text = path / CARD
    if not text.is_file() or "library_name: labelspace\n" not in text.read_text(encoding="utf-8", errors="replace"):
        return []
    return [CARD, *(file for file in hub.FILES if (path / file).is_file())]


def card(home: Path, model: Model, name: str, license: str = "") -> str:
    """The model card, as Markdown with a YAML header, of a model that is saved in ``home``."""
    header: dict[str, Any] = {"library_name": "labelspace"}
    if license:
        header["license"] = license
    header["tags"] = ["labelspace", "variational-autoencoder", "representation-learning", name_of(model)]
    run = Run(home)
    config = run.read_config() if (home / "config.yaml").exists() else None
    data, absent = _data(run) if config else (None, "")
    measured, why = kept.read(home)
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n# {name}",
        f"{_about(model)}\n\nWritten by labelspace {__version__}.",
        f"## Use\n\n```python\n{_use(model, name)}```",
        "## Data\n\n" + _data_section(model, config, data, absent),
        "## Model\n\n" + _model_section(model, config),
        "## Measured\n\n" + _measured_section(home, measured, why),
        "## Limits\n\n" + _limits(model, run, measured),
    ]
    return "\n\n".join(parts) + "\n"


def _about(model: Model) -> str:
    about = model.about
    return (
        f"A label-structured variational autoencoder, `{name_of(model)}` ({about.paper}). What it is for: "
        f"{about.purpose}. When not to use it: {about.avoid}."
    )


def _use(model: Model, name: str) -> str:
    lines = ["import labelspace as ls", "", f'model = ls.load("hf:./{name}")  # or hf:OWNER/NAME, once it is on the hub']
    lines.append(f"# samples: float32 of shape (n, {', '.join(map(str, model.shape))})" + _range(model))
    lines += ["new = ls.interventions.generate(model, n=4)", "codes = model.encode(new.x)", "print(list(codes))"]
    if len(model.schema) and model.labelled:
        label = model.schema.labels[0]
        value = label.values[-1] if label.discrete else label.mean
        asked = json.dumps({label.name: value}, ensure_ascii=False)
        lines.append(f"edited = ls.interventions.set(model, new.x, {asked}, new.labels)")
    return "\n".join(lines) + "\n"


def _range(model: Model) -> str:
    bounds = model.likelihood.bounds or ((0, 1) if len(model.shape) == 3 else None)
    return f" in [{bounds[0]:g}, {bounds[1]:g}]" if bounds else ""


def _data(run: Run) -> tuple[Dataset | None, str]:
    try:
        return open_run_data(run), ""
    except UserError as error:
        return None, f"The data could not be opened when this card was written: {shown_text(str(error))}."


def _data_section(model: Model, config: dict[str, Any] | None, data: Dataset | None, absent: str) -> str:
    if config is None:
        return f"Not recorded: the model was saved without its run.\n\n{_labels(model, None)}"
    lines = [f"Trained on `{shown_address(config['data']['address'])}`, seed {config['data']['seed']}."]
    if config["data"].get("supervision", 1.0) < 1:
        lines.append(f"The labels of only {config['data']['supervision']:.2%} of the training samples were used.")
    if config["data"].get("label_noise"):
        lines.append(f"{config['data']['label_noise']:.2%} of the labels for training were made wrong on purpose.")
    if data is not None:
        splits = ", ".join(f"{split} {len(rows):,}" for split, rows in data.splits.items())
        shape = " x ".join(map(str, data.shape))
        lines.append(f"{len(data):,} samples ({splits}), each {'an image' if data.is_image else 'a vector'} of {shape}.")
        lines += [f"{shown_text(note)}." for note in data.notes]
    return " ".join([*lines, absent]).rstrip() + f"\n\n{_labels(model, data)}"


def _labels(model: Model, data: Dataset | None) -> str:
    if not len(model.schema):
        return "There are no labels."
    counted = {row["name"]: row for row in data.describe()["labels"]} if data is not None else {}
    rows = []
    for label in model.schema:
        row = counted.get(label.name, {})
        if "counts" in row:
            known = sum(row["counts"].values()) or 1
            values = ", ".join(f"{value}: {n:,} ({n / known:.0%})" for value, n in row["counts"].items())
        else:
            values = ", ".join(label.values) or f"mean {label.mean:.4g}, sd {label.scale:.4g}"
        rows.append([label.name, label.kind, values, f"{row['missing']:,}" if row else "not known"])
    return _table(["label", "kind", "values", "missing or hidden"], rows)


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _model_section(model: Model, config: dict[str, Any] | None) -> str:
    blocks = [[b.name, str(b.size), b.label or "none (free)"] for b in model.blocks]
    count = sum(parameter.numel() for parameter in model.parameters())
    out = _table(["latent block", "coordinates", "label"], blocks) + f"\n\n{count:,} parameters."
    own = words.settings(config) if config else {}
    listed = "\n".join(f"- `{key}`: {value}" for key, value in own.items() if not key.startswith("data."))
    return out + (f"\n\nSettings:\n\n{listed}" if listed else "")


def _measured_section(home: Path, found: dict[str, Any], why: str) -> str:
    if not found:
        reason = f" (the run's {why})" if why else ""
        return f"Not measured{reason}. `labelspace evaluate RUN` measures a run; this card then says what it found."
    day = datetime.fromtimestamp((home / "evaluation.json").stat().st_mtime, UTC).date().isoformat()
    out = [
        f"By `labelspace evaluate`, {day}, on {found['samples']:,} samples of the {found['split']} split of "
        f"`{shown_address(found['data'])}`."
    ]
    for title, header, rows in tables(found):
        out.append(f"**{title}**\n\n{_table(list(header), [list(row) for row in rows])}")
    return "\n\n".join(out)


def _limits(model: Model, run: Run, found: dict[str, Any]) -> str:
    said = [
        f"It describes samples like those it was trained on, of shape ({', '.join(map(str, model.shape))}){_range(model)}, and "
        "no others: other sources, other preparation, or classes that are not in the table of labels give results that mean "
        "nothing.",
        "What goes together in the data goes together in the model: an edit shows what the data associate with a label, not "
        "what would happen if it were changed. Do not use edits or predictions to decide about persons.",
    ]
    for finding in diagnose(found, run.metrics()) if found else []:
        said.append(f"{finding.kind[0].upper()}{finding.kind[1:]}, {finding.where}: {finding.what}.")
    said += words.sentences(found)
    if not found:
        said.append("Whether edits do what is asked, and whether labels leak into other blocks, was not measured.")
    if model.labelled and model.encoder_needs_labels:
        said.append("Its encoder reads labels: codes of samples whose labels are given tell these labels.")
    return "\n".join(f"- {line}" for line in said)
