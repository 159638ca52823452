"""``facescrub:DIR``: FaceScrub (Ng, Winkler 2014): a directory of faces for each person."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from labelspace.data import images, paths, stored
from labelspace.data.dataset import Dataset
from labelspace.data.images import Crop
from labelspace.data.splits import random_splits
from labelspace.errors import UserError
from labelspace.labels import Label, Schema, categorical

GENDERS = ("female", "male")
# Where downloading programs put the faces of one gender.
_HALVES = {
    "female": ("actress_faces", "actresses/faces", "actresses"),
    "male": ("actor_faces", "actors/faces", "actors"),
}


def open(
    address: str, seed: int, path: str, progress=None, size: int = 64, crop: Crop = "centre", channels: int = 3
) -> Dataset:
    """Reads the faces; the label ``person`` is the directory that a face is in.

    Args:
        seed: seed of the splits; the set has none of its own.
        path: directory with a directory of images for each person; or with ``actor_faces`` and ``actress_faces`` (or
            ``actors/faces`` and ``actresses/faces``), in which those are. Then there is a label ``gender`` too.
        size: side of the square that images are fitted to.
        crop: how they are fitted, a key of :data:`labelspace.data.images.CROPS`.
        channels: 3, or 1 for grey.

    Raises:
        UserError: directories that are not so, or images that cannot be read.
    """
    home = paths.directory(path)
    halves = {
        gender: next((home / name for name in names if (home / name).is_dir()), None) for gender, names in _HALVES.items()
    }
    found: list[tuple[str, str, str]] = []  # file, person, gender
    left: list[Path] = []
    if any(halves.values()):
        for gender, half in halves.items():
            if half is None:
                raise UserError(f"{home} has faces of one gender only: no directory {_HALVES[gender][0]}")
            found += [(file, person, gender) for file, person in _persons(home, half, left)]
    else:
        found = [(file, person, "") for file, person in _persons(home, home, left)]
    found.sort()
    persons = sorted({person for _, person, _ in found})
    if len(persons) < 2:
        raise UserError(f"{home} has no directories of images for two persons")
    have = stored.load(
        "facescrub",
        home,
        [file for file, _, _ in found],
        size=size,
        channels=channels,
        crop=crop,
        progress=progress,
    )
    found = [found[row] for row in have.kept]
    code = {person: i for i, person in enumerate(persons)}
    labels: list[Label] = [categorical("person", persons)]
    columns = [[code[person] for _, person, _ in found]]
    if any(halves.values()):
        labels.append(categorical("gender", GENDERS))
        columns.append([GENDERS.index(gender) for _, _, gender in found])
    values = np.array(columns, np.float32).T.copy()
    return Dataset(
        address,
        have.x,
        values,
        np.ones(values.shape, bool),
        Schema(labels),
        random_splits(len(found), seed),
        notes=(*have.notes, *images.left_out(left)),
        ids=np.array([file for file, _, _ in found]),
        framing=have.framing,
    )


def _persons(home: Path, half: Path, left: list[Path]) -> list[tuple[str, str]]:
    """Files in the directories of a directory, and the person that each is of; files that are no images go to ``left``."""
    out = []
    for directory in half.iterdir():
        if not directory.is_dir() or directory.name.startswith("."):
            continue
        files, others = images.within(directory)
        left += others
        if not files:
            raise UserError(f"{directory} holds no images")
        out += [(str(file.relative_to(home)), directory.name) for file in files]
    return out
