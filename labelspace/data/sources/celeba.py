"""``celeba:DIR``: CelebA (Liu et al. 2015), as its authors or as Kaggle pack it, and the subsets of the CSVAE paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from labelspace.data import lists, paths, stored
from labelspace.data.dataset import Dataset
from labelspace.data.images import Crop
from labelspace.data.splits import SPLITS, Split
from labelspace.errors import UserError
from labelspace.labels import Schema, binary

# The attributes that CCVAE (Joy et al. 2021) is trained on, in the order of the file.
CCVAE = (
    "Arched_Eyebrows", "Bags_Under_Eyes", "Bangs", "Black_Hair", "Blond_Hair", "Brown_Hair", "Bushy_Eyebrows", "Chubby",
    "Eyeglasses", "Heavy_Makeup", "Male", "No_Beard", "Pale_Skin", "Receding_Hairline", "Smiling", "Wavy_Hair",
    "Wearing_Necktie", "Young",
)  # fmt: skip

# Subset -> its labels, and how many images without any of them there are for one that has one.
SUBSETS = {
    "glasses": (("Eyeglasses",), 2),
    "facialhair": (("Facial_Hair",), 1),
    "glassesfacialhair": (("Eyeglasses", "Facial_Hair"), 1),
}

_CODES = {"1": 1, "-1": 0}
_PARTS: dict[str, Split] = {"0": "train", "1": "val", "2": "test"}


def open(
    address: str,
    seed: int,
    path: str,
    progress=None,
    size: int = 64,
    crop: Crop = "centre",
    channels: int = 3,
    subset: Literal["", "glasses", "facialhair", "glassesfacialhair"] = "",
    attributes: Literal["", "ccvae"] = "",
) -> Dataset:
    """Reads the aligned images, 178 x 218 pixels, with 40 binary attributes and the official splits.

    Args:
        seed: not used: the splits are those of the set, and a subset is always the same.
        path: directory with ``img_align_celeba``, ``list_attr_celeba.txt`` and ``list_eval_partition.txt`` (or .csv), and where
            there is one ``identity_CelebA.txt``, which becomes the key ``identity``.
        size: side of the square that images are fitted to.
        crop: "centre" takes the middle 178 x 178; "none" squeezes, as CCVAE's authors do; "close" takes the middle three
            quarters of height and width, as the reproduction of the CSVAE does; or "pad".
        channels: 3, or 1 for grey.
        subset: a key of ``SUBSETS``: all images that have one of its labels, and some that have none, drawn split by split.
        attributes: "ccvae" for the 18 of ``CCVAE``.

    Raises:
        UserError: a file is absent or a line of one wrong (file, line and column named), or images cannot be read.
    """
    home = paths.directory(path)
    if subset and attributes:
        raise UserError("subset has labels of its own; give either subset or attributes")
    folder = next((d for d in (home / "img_align_celeba" / "img_align_celeba", home / "img_align_celeba") if d.is_dir()), None)
    if folder is None:
        raise UserError(f"{home} has no directory img_align_celeba")
    listing = _list(home, "list_attr_celeba")
    names, lines, header, codes = _attributes(listing)
    part = _partition(_list(home, "list_eval_partition"), names)
    if subset:
        header, codes = _subset_labels(listing, header, codes, SUBSETS[subset][0])
        rows = _balanced(codes.max(axis=1) > 0, part, SUBSETS[subset][1])
    else:
        rows = np.arange(len(names))
        if attributes:
            codes = codes[:, [_column(listing, header, name) for name in CCVAE]]
            header = list(CCVAE)
    have = stored.load(
        "celeba",
        folder,
        [names[row] for row in rows],
        size=size,
        channels=channels,
        crop=crop,
        where=lambda i: f"{listing}, line {lines[rows[i]]}",
        progress=progress,
    )
    rows = rows[have.kept]
    ids = np.array(names)[rows]
    identities = home / "identity_CelebA.txt"
    return Dataset(
        address,
        have.x,
        codes[rows].astype(np.float32),
        np.ones((len(rows), len(header)), bool),
        Schema([binary(name) for name in header]),
        {split: np.flatnonzero(part[rows] == i) for i, split in enumerate(SPLITS)},
        notes=have.notes,
        ids=ids,
        keys={"identity": _identity(identities, names)[rows]} if identities.exists() else {},
        framing=have.framing,
    )


def _list(home: Path, name: str) -> Path:
    for ending in (".txt", ".csv"):
        if (home / (name + ending)).is_file():
            return home / (name + ending)
    raise UserError(f"{home} has no file {name}.txt (or .csv)")


def _separator(file: Path) -> str:
    return " " if file.suffix == ".txt" else ","


def _attributes(file: Path) -> tuple[list[str], list[int], list[str], np.ndarray]:
    """File names, their lines, names of attributes, and ``(n, attributes)`` uint8 codes 0 and 1."""
    rows = lists.read(file, _separator(file))
    promised, header = None, next(rows, (0, []))[1]
    if file.suffix == ".txt":
        if len(header) != 1 or not header[0].isdecimal():
            raise UserError(f"{file}, line 1: {' '.join(header)[:40]!r} is not the number of images")
        promised, header = int(header[0]), next(rows, (0, []))[1]
    else:
        header = header[1:]
    if not header:
        raise UserError(f"{file} has no line with the names of attributes")
    if len(set(header)) != len(header):
        raise UserError(f"{file}: two attributes have the same name")
    names: list[str] = []
    lines: list[int] = []
    seen: dict[str, int] = {}
    codes: list[bytes] = []
    for line, (name, *cells) in rows:
        if len(cells) != len(header):
            raise UserError(f"{file}, line {line}: {len(cells)} attributes, expected {len(header)}")
        if name in seen:
            raise UserError(f"{file}, line {line}: {name!r} is already in line {seen[name]}")
        seen[name] = line
        try:
            codes.append(bytes([_CODES[cell] for cell in cells]))
        except KeyError as error:
            column = header[cells.index(error.args[0])]
            raise UserError(f"{file}, line {line}, column {column!r}: {error.args[0]!r} is not 1 or -1") from None
        names.append(name)
        lines.append(line)
    if not names:
        raise UserError(f"{file} lists no images")
    if promised is not None and promised != len(names):
        raise UserError(f"{file} says that it has {promised} images but lists {len(names)}; is it cut short?")
    return names, lines, header, np.frombuffer(b"".join(codes), np.uint8).reshape(len(names), len(header))


def _pairs(file: Path, what: str) -> dict[str, tuple[int, str]]:
    """File name -> line and value, from a list of two columns."""
    found: dict[str, tuple[int, str]] = {}
    rows = lists.read(file, _separator(file))
    if file.suffix == ".csv":
        next(rows, None)
    for line, cells in rows:
        if len(cells) != 2:
            raise UserError(f"{file}, line {line}: {len(cells)} cells, expected an image and its {what}")
        if cells[0] in found:
            raise UserError(f"{file}, line {line}: {cells[0]!r} is already in line {found[cells[0]][0]}")
        found[cells[0]] = (line, cells[1])
    return found


def _partition(file: Path, names: Sequence[str]) -> np.ndarray:
    """The split of each image, as its place in ``SPLITS``."""
    found = _pairs(file, "split")
    for name, (line, text) in found.items():
        if text not in _PARTS:
            raise UserError(f"{file}, line {line}: split {text!r} of {name!r} is not 0 (train), 1 (validation) or 2 (test)")
    for name in names:
        if name not in found:
            raise UserError(f"{file} has no line for {name!r}")
    return np.array([SPLITS.index(_PARTS[found[name][1]]) for name in names])


def _identity(file: Path, names: Sequence[str]) -> np.ndarray:
    found = _pairs(file, "identity")
    return np.array([found[name][1] if name in found else "" for name in names])


def _column(file: Path, header: list[str], name: str) -> int:
    if name not in header:
        raise UserError(f"{file} has no attribute {name!r}")
    return header.index(name)


def _subset_labels(file: Path, header: list[str], codes: np.ndarray, labels: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The labels of a subset. Facial hair is a beard, a moustache or a goatee."""
    columns = []
    for label in labels:
        if label == "Facial_Hair":
            no_beard, moustache, goatee = (codes[:, _column(file, header, name)] for name in ("No_Beard", "Mustache", "Goatee"))
            columns.append((no_beard == 0) | (moustache == 1) | (goatee == 1))
        else:
            columns.append(codes[:, _column(file, header, label)] == 1)
    return list(labels), np.stack(columns, 1)


def _balanced(on: np.ndarray, part: np.ndarray, without: int) -> np.ndarray:
    """All rows that are on, and of each split ``without`` times as many that are off, as far as there are."""
    rng = np.random.default_rng(0)
    chosen = [np.flatnonzero(on)]
    for i in range(len(SPLITS)):
        off = np.flatnonzero(~on & (part == i))
        chosen.append(rng.permutation(off)[: without * int((on & (part == i)).sum())])
    return np.sort(np.concatenate(chosen))
