"""``chexpert:DIR``: CheXpert (Irvin et al. 2019), chest radiographs with 14 findings, sex and age."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Literal

import numpy as np

from labelspace.data import lists, paths, stored
from labelspace.data.dataset import Dataset
from labelspace.data.images import Crop
from labelspace.data.splits import Split
from labelspace.errors import UserError
from labelspace.labels import Label, Schema, binary, categorical, continuous

FINDINGS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
_COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS)
_SEXES = ("Female", "Male")
_VIEWS = ("Frontal", "Lateral")  # the label View, from the column Frontal/Lateral
_PROJECTIONS = ("AP", "PA")  # the label Projection, from the column AP/PA
_RARE_PROJECTIONS = ("LL", "RL")  # of a handful of images: missing
_MISSING = math.nan


def open(
    address: str,
    seed: int,
    path: str,
    progress=None,
    size: int = 64,
    crop: Crop = "centre",
    channels: int = 1,
    views: Literal["frontal", "lateral", "all"] = "frontal",
    uncertain: Literal["missing", "0", "1"] = "missing",
    blank: Literal["missing", "0"] = "missing",
    val: float = 0.1,
) -> Dataset:
    """Reads ``train.csv`` and ``valid.csv`` with the images that they list, the original or the small ones.

    The images of ``valid.csv``, which radiologists have labelled, are the test split. Of the patients of ``train.csv``, a part
    is the validation split; no patient is in two splits.

    Args:
        seed: seed of the choice of patients for validation.
        path: the directory with the two files, or the one that it is in.
        size: side of the square that images are fitted to.
        crop: how they are fitted, a key of :data:`labelspace.data.images.CROPS`.
        channels: 1 (grey), or 3.
        views: "frontal", "lateral" or "all"; with "all", the view is a label.
        uncertain: what a finding of -1 is: "missing", "0" or "1".
        blank: what a finding without entry, which the report does not mention, is: "missing" or "0". "No Finding" is always 0
            there, for it is 1 where nothing was found.
        val: part of the patients of ``train.csv`` whose images validate; with 0 all of them train.

    Raises:
        UserError: a file is absent or a row of one wrong (file, line and column named), or images cannot be read.
    """
    if not 0 <= val < 1:
        raise UserError(f"val is the part of the training patients that validates, from 0 up to below 1; got {val}")
    home = _home(Path(path))
    codes = {"1": 1.0, "0": 0.0}
    finding = {"1.0": 1.0, "0.0": 0.0, "-1.0": codes.get(uncertain, _MISSING), "": codes.get(blank, _MISSING)}
    finding |= {"1": 1.0, "0": 0.0, "-1": finding["-1.0"]}
    kept = [(table, *row) for table in ("train.csv", "valid.csv") for row in _rows(home / table, finding, views)]
    if not kept:
        raise UserError(f"{home / 'train.csv'} lists no {views} images")
    tables, lines, names, patients, entries = zip(*kept, strict=True)
    in_test = np.array(tables) == "valid.csv"
    patients = np.array(patients)
    if both := set(patients[in_test]) & set(patients[~in_test]):
        raise UserError(f"{home}: {min(both)} is in train.csv and in valid.csv")
    have = stored.load(
        "chexpert",
        home,
        names,
        size=size,
        channels=channels,
        crop=crop,
        where=lambda i: f"{home / tables[i]}, line {lines[i]}",
        progress=progress,
    )
    patients, in_test = patients[have.kept], in_test[have.kept]
    values = np.array(entries, np.float32)[have.kept]
    schema, shown = _schema(values, views)
    values = values[:, shown]
    observed = ~np.isnan(values)
    return Dataset(
        address,
        have.x,
        np.where(observed, values, 0).astype(np.float32),
        observed,
        schema,
        _splits(patients, in_test, val, seed),
        notes=have.notes,
        ids=np.array(names)[have.kept],
        keys={"patient": patients},
        grouped="patient",
        framing=have.framing,
    )


def _home(given: Path) -> Path:
    paths.directory(given)
    if (given / "train.csv").is_file():
        return given
    inside = sorted(directory for directory in given.iterdir() if (directory / "train.csv").is_file())
    if len(inside) != 1:
        raise UserError(f"{given} has no train.csv, nor exactly one directory that has")
    return inside[0]


def _rows(file: Path, finding: dict[str, float], views: str) -> list[tuple[int, str, str, list[float]]]:
    """Line, file name, patient and entries (sex, age, view, projection, findings; nan missing) of the wanted images."""
    rows = lists.read(file, ",")
    header = next(rows, (0, []))[1]
    for name in _COLUMNS:
        if header.count(name) != 1:
            raise UserError(f"{file}, line 1: expected one column {name!r}")
    place = [header.index(name) for name in _COLUMNS]
    seen: dict[str, int] = {}
    found = []
    for line, row in rows:
        if len(row) != len(header):
            raise UserError(f"{file}, line {line}: {len(row)} cells, expected {len(header)}")
        name, sex, age, view, projection, *findings = (row[i] for i in place)

        def wrong(column: str, text: str, expected: str, line: int = line) -> UserError:
            return UserError(f"{file}, line {line}, column {column!r}: {text!r} is not {expected}")

        if name in seen:
            raise UserError(f"{file}, line {line}: {name!r} is already in line {seen[name]}")
        seen[name] = line
        patient = re.search(r"(?:^|/)(patient\w+)/", name)
        if not patient:
            raise wrong("Path", name, "a path with a directory such as patient00001")
        if sex not in (*_SEXES, "Unknown", ""):
            raise wrong("Sex", sex, "Female, Male or Unknown")
        if view not in _VIEWS:
            raise wrong("Frontal/Lateral", view, "Frontal or Lateral")
        if projection not in (*_PROJECTIONS, *_RARE_PROJECTIONS, ""):
            raise wrong("AP/PA", projection, "AP, PA, LL, RL or empty")
        if age and not re.fullmatch(r"\d{1,3}(\.\d*)?", age):
            raise wrong("Age", age, "a number of years")
        for column, text in zip(FINDINGS, findings, strict=True):
            if text not in finding:
                raise wrong(column, text, "1.0, 0.0, -1.0 or empty")
        if views not in ("all", view.lower()):
            continue
        entries = [
            float(_SEXES.index(sex)) if sex in _SEXES else _MISSING,
            float(age) if age else _MISSING,
            float(_VIEWS.index(view)),
            float(_PROJECTIONS.index(projection)) if projection in _PROJECTIONS else _MISSING,
            0.0 if findings[0] == "" else finding[findings[0]],
            *(finding[text] for text in findings[1:]),
        ]
        root = re.match(r"(?!train/|valid/)[^/]+/(?=train/|valid/)", name)  # the name of the set, which DIR may not have
        found.append((line, name[root.end() :] if root else name, patient[1], entries))
    return found


def _schema(values: np.ndarray, views: str) -> tuple[Schema, list[int]]:
    """The labels, and their columns in ``values``: the view where both are there, the projection where any is frontal."""
    age = values[:, 1][~np.isnan(values[:, 1])].astype(np.float64)
    labels: dict[int, Label] = {
        0: categorical("Sex", _SEXES),
        1: continuous("Age", float(age.mean()) if len(age) else 0.0, (float(age.std()) if len(age) else 0.0) or 1.0),
    }
    if views == "all":
        labels[2] = categorical("View", _VIEWS)
    if views != "lateral":
        labels[3] = categorical("Projection", _PROJECTIONS)
    labels |= {4 + i: binary(name) for i, name in enumerate(FINDINGS)}
    return Schema(labels.values()), list(labels)


def _splits(patients: np.ndarray, in_test: np.ndarray, val: float, seed: int) -> dict[Split, np.ndarray]:
    chosen = np.random.default_rng(seed).permutation(np.unique(patients[~in_test]))
    held = np.isin(patients, chosen[: max(1, round(val * len(chosen))) if val else 0])
    splits: dict[Split, np.ndarray] = {"train": np.flatnonzero(~in_test & ~held)}
    if val:
        splits["val"] = np.flatnonzero(held & ~in_test)
    splits["test"] = np.flatnonzero(in_test)
    return splits
