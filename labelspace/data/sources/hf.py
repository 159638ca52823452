"""``hf:NAME``: a data set that the ``datasets`` library reads (extra ``hub``).

NAME is a directory that ``save_to_disk`` wrote, a directory of Parquet or CSV files or of images, or a name on the Hugging Face
hub. Code that comes with a data set is never run. Where the hub cannot be reached, what was downloaded before is used.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import socket
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal
from urllib.parse import urlparse

import numpy as np

from labelspace.data import checked, frames, images, paths
from labelspace.data.arrow import pa
from labelspace.data.cells import Column
from labelspace.data.dataset import Dataset
from labelspace.data.images import Background, Crop, Framing, Look, Reading, Survey
from labelspace.data.splits import SPLITS, Split, random_splits
from labelspace.data.tabular import Frame, dataset, parse_asked, parse_drop
from labelspace.errors import UserError, unknown
from labelspace.variables import Described

_SPLITS: dict[str, Split] = {
    "train": "train",
    "validation": "val",
    "valid": "val",
    "val": "val",
    "dev": "val",
    "test": "test",
}
_WAIT = 5.0  # seconds for the hub to answer


def open(
    address: str,
    seed: int,
    path: str,
    labels: Sequence[str] | None = None,
    group: str = "",
    like: Described | None = None,
    progress=None,
    config: Annotated[str, "NAME"] = "",
    image: Annotated[str, "COLUMN"] = "",
    size: Annotated[int, "64"] = 0,
    channels: Annotated[int, "3"] = 0,
    crop: Crop = "centre",
    background: Background = "white",
    id: Annotated[str, "COLUMN"] = "",
    drop: Annotated[str, "A+B"] = "",
    kinds: Annotated[str, "A:count+B:categorical"] = "",
    missing: Annotated[str, "-1+A:none"] = "",
    decimal: Literal["", ",", "."] = "",
    classes: Annotated[str, "A:low|high"] = "",
) -> Dataset:
    """Reads a data set with its own splits; what it lacks of validation and test samples is drawn from the training split.

    Args:
        seed: seed of what is drawn.
        path: directory or name on the hub.
        labels: columns that are labels; by default those that hold classes or booleans, and of images without such columns
            all that can be.
        group: the column that says which samples belong together.
        like: a trained model that the data are for.
        config: which of the data set's configurations.
        image: the column of images, where there are several.
        size, channels, crop, background: as of ``folder``.
        id, drop, kinds, missing, decimal, classes: as of ``table``.

    Raises:
        UserError: no such data set, the hub cannot be reached, or columns, cells or images that cannot be used.
    """
    images.check(size, channels, crop, background)
    parts, notes = _splits(path, _load(path, config))
    features = next(iter(parts.values())).features
    for part in parts.values():
        if odd := set(features).symmetric_difference(part.features):
            raise UserError(
                f"{path}: its splits have different columns: {min(odd)!r} is not in all of them ({', '.join(parts)})"
            )
    pictures = [name for name, feature in features.items() if type(feature).__name__ == "Image"]
    if image and image not in pictures:
        raise UserError(f"{path}: {unknown('column of images', image, pictures)}")
    if len(pictures) > 1 and not image:
        raise UserError(f"{path} has several columns of images; name one with image=: {', '.join(pictures)}")
    frame = _frame(path, parts, features, pictures, seed, notes)
    x, reading = None, Reading((0, 0, 0), Framing())
    if pictures:
        entries = _entries(frame, image or pictures[0], parts, path)
        reading = _survey(frame, image or pictures[0], entries).read_as(size, channels, crop, background, like)
        x = _pixels(frame, image or pictures[0], entries, reading, progress)
        frame = replace(frame, notes=(*frame.notes, *reading.notes))
    if labels is None and like is None:
        rest = [name for name in features if name not in {*pictures, *drop.split("+"), id, group}]
        labels = [name for name in rest if _holds_classes(features[name])] or None
        if labels and pictures and len(labels) < len(rest):
            others = ", ".join(name for name in rest if name not in labels)
            note = f"columns that are not taken for labels unless they are named: {others}"
            frame = replace(frame, notes=(*frame.notes, note))
    asked = parse_asked(kinds, missing, decimal, classes)
    data = dataset(frame, address, seed, labels=labels, group=group, like=like, x=x, id=id, drop=parse_drop(drop), asked=asked)
    return replace(data, framing=reading.framing)


def _load(path: str, config: str) -> Any:
    try:
        import datasets
    except ModuleNotFoundError:
        raise UserError("data sets of the hub need the datasets library: pip install 'labelspace[hub]'") from None
    home = paths.own(path)
    if home.is_file():  # or it would be looked for on the hub
        raise UserError(f"{path} is a file; hf reads a directory or a name on the hub, and a table is read by table:{path}")
    with _quietly(datasets), _offline(datasets, not home.exists()) as unreachable:
        try:
            if home.is_dir():
                checked.hub(home)
            if (home / "dataset_dict.json").exists() or (home / "state.json").exists():
                loaded: Any = datasets.load_from_disk(str(home))
                for part in loaded.values() if hasattr(loaded, "values") else [loaded]:
                    for table in (part.data, part._indices):
                        if table is not None:
                            table.validate(full=True)  # files are mapped into memory as they are
                return loaded
            return datasets.load_dataset(path, config or None)
        except UserError:
            raise
        except Exception as error:  # libraries and servers have many ways of saying no
            if home.exists():
                reason = f"cannot be read as a data set: {_line(error)}"
            elif unreachable:
                reason = "is no directory here, was not downloaded before, and the Hugging Face hub cannot be reached"
            else:
                reason = f"is no directory here, and cannot be had from the Hugging Face hub: {_line(error)}"
            raise UserError(f"{path} {reason}") from None


def _line(error: Exception) -> str:
    return f"{type(error).__name__} {' '.join(str(error).split())[:200]}"


@contextlib.contextmanager
def _quietly(datasets: Any) -> Iterator[None]:
    """Without the library's own progress bars, log lines and warnings."""
    shown = not datasets.are_progress_bars_disabled()
    level = datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        datasets.logging.set_verbosity(level)
        if shown:
            datasets.enable_progress_bars()


@contextlib.contextmanager
def _offline(datasets: Any, asks_hub: bool) -> Iterator[bool]:
    """Yields whether the hub is needed and cannot be reached; the libraries then look at what they have, and do not wait."""
    from huggingface_hub import constants

    unreachable = asks_hub and not urllib.request.getproxies() and not _answers(urlparse(constants.ENDPOINT))
    switches = [(datasets.config, "HF_HUB_OFFLINE"), (constants, "HF_HUB_OFFLINE")]
    before = [getattr(module, name) for module, name in switches]
    for module, name in switches if unreachable else []:
        setattr(module, name, True)
    try:
        yield unreachable
    finally:
        for (module, name), value in zip(switches, before, strict=True):
            setattr(module, name, value)


def _answers(server: Any) -> bool:
    try:
        with socket.create_connection((server.hostname, server.port or 443), timeout=_WAIT):
            return True
    except OSError:
        return False


def _splits(path: str, loaded: Any) -> tuple[dict[Split, Any], tuple[str, ...]]:
    """The data set's own splits by our names, and notes."""
    parts = dict(loaded) if hasattr(loaded, "keys") else {"train": loaded}
    if len(parts) == 1:
        parts = {"train": next(iter(parts.values()))}
    out: dict[Split, Any] = {}
    others = []
    for name, part in parts.items():
        split = _SPLITS.get(name)
        if split is None or split in out:
            others.append(name)
        elif len(part):
            out[split] = part
    if "train" not in out:
        raise UserError(f"{path} has no training samples; its splits: {', '.join(parts)}")
    ordered: dict[Split, Any] = {split: out[split] for split in SPLITS if split in out}
    return ordered, ((f"splits that are not used: {', '.join(others)}",) if others else ())


def _holds_classes(feature: Any) -> bool:
    return type(feature).__name__ == "ClassLabel" or getattr(feature, "dtype", "") == "bool"


def _frame(path: str, parts: dict[Split, Any], features: Any, pictures: list[str], seed: int, notes: tuple[str, ...]) -> Frame:
    """The columns of all splits, one split after the other, without images."""
    rest = [name for name in features if name not in pictures]
    found = [
        {
            name: _named(column, part.features.get(name))
            for name, column in frames.of_table(part.with_format("arrow")[:].select(rest)).items()
        }
        for part in parts.values()
    ]
    names = [name for name in found[0] if all(name in columns for columns in found)]
    merged = {name: _joined([columns[name] for columns in found]) for name in names}
    ends = np.cumsum([len(part) for part in parts.values()]).tolist()
    starts = dict(zip(parts, [0, *ends], strict=False))
    splits: dict[Split, np.ndarray] = {}
    for split, start, end in zip(parts, starts.values(), ends, strict=True):
        splits[split] = np.arange(start, end)

    def where(row: int) -> str:
        split, start = [(name, start) for name, start in starts.items() if start <= row][-1]
        return f"{split} row {row - start + 1}"

    return Frame(path, merged, ends[-1], where, splits=_completed(splits, seed), notes=notes)


def _columns(part: Any, names: list[str]) -> dict[str, Column]:
    return frames.of_table(part.with_format("arrow")[:].select(names))


def _named(column: Column, feature: Any) -> Column:
    """A column of class numbers as one of the classes' names; the same class may have another number in another split."""
    return column.of_classes(feature.names) if type(feature).__name__ == "ClassLabel" else column


def _joined(columns: list[Column]) -> Column:
    """A column of all splits."""
    first = columns[0]
    unusable = next((column.unusable for column in columns if column.unusable), "")
    cells = [column.cells for column in columns]
    pieces = [piece for one in cells for piece in (one.chunks if isinstance(one, pa.ChunkedArray) else [one])]
    if len({piece.type for piece in pieces}) > 1:
        pieces = [piece.cast(pa.string()) for piece in pieces]
    whole = pa.chunked_array(pieces, pieces[0].type)
    if pa.types.is_dictionary(whole.type):
        whole = whole.unify_dictionaries()
    return Column(first.name, whole, unusable)


def _completed(splits: dict[Split, np.ndarray], seed: int) -> dict[Split, np.ndarray]:
    """Splits with the missing ones drawn from the training split, a tenth of it each."""
    absent: list[Split] = [name for name in SPLITS if name not in splits]
    if not absent:
        return splits
    train = splits["train"]
    drawn = random_splits(len(train), seed)
    if len(absent) == 2:
        return {name: train[rows] for name, rows in drawn.items()}
    kept = np.setdiff1d(train, train[drawn[absent[0]]])
    out: dict[Split, np.ndarray] = {**splits, "train": kept}
    out[absent[0]] = train[drawn[absent[0]]]
    return {name: out[name] for name in SPLITS}


def _entries(frame: Frame, column: str, parts: dict[Split, Any], path: str) -> list[Callable[[], BinaryIO | Path]]:
    """What opens the images of all parts, in their order."""
    homes = _homes(path)

    def file(row: int, entry: Any) -> BinaryIO | Path:
        if entry is None or (entry["bytes"] is None and not entry["path"]):
            raise UserError(f"{frame.place(row, column)}: there is no image")
        if entry["bytes"] is not None:
            return io.BytesIO(entry["bytes"])
        found = os.path.realpath(entry["path"])
        if not any(os.path.commonpath([home, found]) == home for home in homes):
            raise UserError(f"{frame.place(row, column)}: the image {entry['path']!r} is not in {path}; no other file is read")
        return Path(found)

    found = [entry for part in parts.values() for entry in part.with_format("arrow")[:].column(column).to_pylist()]
    return [functools.partial(file, row, entry) for row, entry in enumerate(found)]


def _homes(path: str) -> list[str]:
    """Directories that the images of a data set may be in: its own, or where those of the hub are kept."""
    if (home := paths.own(path)).is_dir():
        return [os.path.realpath(home)]
    from datasets import config
    from huggingface_hub import constants

    return [os.path.realpath(home) for home in (config.HF_DATASETS_CACHE, constants.HF_HUB_CACHE)]


def _survey(frame: Frame, column: str, entries: Sequence[Callable[[], BinaryIO | Path]]) -> Survey:
    looked: list[Look] = []
    for row, entry in enumerate(entries):
        with _readable(frame, column, row), images.opened(entry()) as image:
            looked.append(Look.at(image))
    return Survey.of(looked)


def _pixels(
    frame: Frame, column: str, entries: Sequence[Callable[[], BinaryIO | Path]], reading: Reading, progress: Any
) -> np.ndarray:
    """The images as ``(n, channels, height, width)`` uint8."""
    channels, *size = reading.shape
    x = np.empty((frame.n, *reading.shape), np.uint8)
    for row, entry in enumerate(entries):
        with _readable(frame, column, row):
            x[row] = images.read(entry(), channels, (size[0], size[1]), reading.framing)
        if progress is not None:
            progress(row + 1, frame.n)
    return x


@contextlib.contextmanager
def _readable(frame: Frame, column: str, row: int) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except images.UNREADABLE as error:
        raise UserError(f"{frame.place(row, column)}: the image cannot be read: {error}") from None
