"""Data that are in memory: arrays, frames, pictures, AnnData objects, torch data sets. Each becomes a :class:`Dataset`.

They are what :meth:`Dataset.from_arrays` and its sisters call, and :func:`labelspace.open` for whatever is no address. All that
is wrong with the data is a :class:`~labelspace.errors.UserError` of one line that names the column, the row or the item.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from PIL import Image

from labelspace.data import frames, images, paths, tabular, vectors
from labelspace.data.cells import Column, plain
from labelspace.data.columns import Columns, read_labels
from labelspace.data.dataset import Dataset
from labelspace.data.reading import Asked, Reading, asked_for
from labelspace.data.splits import SPLITS, Split, drawn_splits
from labelspace.data.targets import Array, LabelColumns, as_array, label_columns
from labelspace.errors import UserError, option, unknown
from labelspace.labels import Schema
from labelspace.variables import Described, Variable, table_likelihood

if TYPE_CHECKING:
    from anndata import AnnData
    from narwhals.typing import IntoDataFrame

Picture: TypeAlias = "str | PathLike[str] | Image.Image | np.ndarray | torch.Tensor"
"""A picture: a file, a PIL image, or an array ``(h, w)``, ``(h, w, channels)`` or ``(channels, h, w)``: uint8, in [0, 1], or
other numbers that are not negative, whose range is that of all pictures that are read together."""

Splits: TypeAlias = "Mapping[str, Sequence[int]] | Sequence[str] | np.ndarray | None"
"""Rows of "train", "val" and "test", or one of these words for each sample; by default a tenth each is held back."""

_SCHEME = "memory"


def is_memory(address: str) -> bool:
    """Whether an address stands for data that were in memory."""
    return address.partition(":")[0] == _SCHEME


# -- what people have -------------------------------------------------------------------------------------------------


def from_arrays(
    x: Array,
    labels: LabelColumns = None,
    *,
    names: Sequence[str] = (),
    ids: Sequence[Any] | np.ndarray | None = None,
    kinds: Mapping[str, str] | None = None,
    splits: Splits = None,
    group: str | Array = "",
    seed: int = 0,
    name: str = "arrays",
    like: Described | None = None,
) -> Dataset:
    """See :meth:`Dataset.from_arrays`."""
    if frames.is_frame(x):
        raise UserError(f"{name}: x is a frame; labelspace.Dataset.from_frame reads its columns by name and kind")
    samples, notes, framing = _samples(name, x)
    n = len(samples)
    variables, likelihood = _variables(name, samples, names)
    if samples.ndim == 2:
        samples, origins = vectors.counted_from(name, samples, like)
        variables = vectors.named([variable.name for variable in variables], samples.shape[1], origins)
    if variables and bool(np.isnan(samples).any()):
        notes.append(
            f"{int(np.isnan(samples).sum()):,} cells of x are NaN and read as missing: the columns are those of a table"
        )
    return _made(
        name,
        samples,
        labels,
        n,
        ids,
        kinds,
        splits,
        group,
        seed,
        notes,
        like,
        variables=variables,
        likelihood=likelihood,
        framing=framing,
    )


def from_frame(
    frame: IntoDataFrame,
    labels: Iterable[str] | None,
    *,
    id: str = "",
    drop: Sequence[str] = (),
    kinds: Mapping[str, str] | None = None,
    missing: Sequence[str] | Mapping[str, Sequence[str]] = (),
    decimal: str = "",
    classes: Mapping[str, Sequence[str]] | None = None,
    splits: Splits = None,
    group: str = "",
    seed: int = 0,
    name: str = "frame",
    like: Described | None = None,
) -> Dataset:
    """See :meth:`Dataset.from_frame`."""
    found = frames.columns(name, frame)
    n = len(next(iter(found.values()))) if found else 0
    if not n:
        raise UserError(f"{name} has no rows" if found else f"{name} has no columns")
    index = frames.index(frame)
    made = tabular.Frame(
        name,
        found,
        n,
        lambda row: f"row {row + 1}" if index is None else f"row {row + 1} ({index[row]!r})",
        names=None if index is None else np.array([str(entry) for entry in index]),
    )
    rows = _splits(name, splits, n)
    data = tabular.dataset(
        replace(made, splits=rows or None),
        f"{_SCHEME}:{name}",
        seed,
        labels=None if labels is None else [labels] if isinstance(labels, str) else list(labels),
        group=group,
        like=like,
        id=id,
        drop=[drop] if isinstance(drop, str) else drop,
        asked=asked_for(kinds, missing, decimal, classes),
    )
    return _grouped(data, group, seed)


def from_images(
    pictures: Iterable[Picture] | Mapping[str, Picture],
    labels: LabelColumns = None,
    *,
    size: int = 0,
    channels: int = 0,
    crop: images.Crop = "centre",
    background: images.Background = "white",
    ids: Sequence[Any] | np.ndarray | None = None,
    kinds: Mapping[str, str] | None = None,
    splits: Splits = None,
    group: str | Array = "",
    seed: int = 0,
    name: str = "pictures",
    like: Described | None = None,
) -> Dataset:
    """See :meth:`Dataset.from_images`."""
    if isinstance(pictures, Mapping):
        ids = list(pictures) if ids is None else ids
        pictures = pictures.values()
    given = list(pictures)
    if not given:
        raise UserError(f"{name}: there is no picture")
    called_ = [called(i, picture) for i, picture in enumerate(given)]
    reading = survey(given, called_).read_as(size, channels, crop, background, like)
    x = np.stack([pixels(picture, called_[i], reading.shape, reading.framing) for i, picture in enumerate(given)])
    if ids is None and all(isinstance(picture, str | PathLike) for picture in given):
        files = [str(Path(picture)) for picture in given]  # type: ignore[arg-type]
        ids = files if len(set(files)) == len(files) else None
    notes = list(reading.notes)
    return _made(name, x, labels, len(x), ids, kinds, splits, group, seed, notes, like, framing=reading.framing)


def from_anndata(
    adata: AnnData,
    labels: Iterable[str] | None = None,
    *,
    layer: str = "",
    raw: bool = False,
    counts: Literal["auto", "true", "false"] = "auto",
    genes: int = 0,
    splits: Splits = None,
    group: str = "",
    seed: int = 0,
    name: str = "AnnData",
    like: Described | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Dataset:
    """See :meth:`Dataset.from_anndata`."""
    from labelspace.data.sources import h5ad

    if not (hasattr(adata, "obs") and hasattr(adata, "var_names")):
        raise UserError(f"{name}: expected an AnnData object, got {type(adata).__name__}")
    data = h5ad.dataset(
        name,
        adata,
        f"{_SCHEME}:{name}",
        seed,
        labels=None if labels is None else [labels] if isinstance(labels, str) else list(labels),
        group=group,
        like=like,
        progress=progress,
        layer=layer,
        raw=raw,
        counts=counts,
        genes=genes,
    )
    rows = _splits(name, splits, len(data))
    return _grouped(replace(data, splits=rows) if rows else data, group, seed)


def from_torch(
    dataset: torch.utils.data.Dataset[Any] | Iterable[Any],
    labels: LabelColumns | str = None,
    *,
    x: str = "",
    size: int = 0,
    channels: int = 0,
    crop: images.Crop = "centre",
    background: images.Background = "white",
    kinds: Mapping[str, str] | None = None,
    splits: Splits = None,
    group: str | Array = "",
    seed: int = 0,
    name: str = "torch",
    like: Described | None = None,
) -> Dataset:
    """See :meth:`Dataset.from_torch`."""
    items = _items(name, dataset)
    samples, found = _taken_apart(name, items, x)
    if isinstance(labels, str):
        labels = [labels]
    if isinstance(labels, Sequence) and all(isinstance(label, str) for label in labels) and len(labels) != len(items):
        found = _chosen(name, found, list(labels))
    elif labels is not None:
        found = label_columns(name, labels, len(items))
    columns = {name: column if isinstance(column, Column) else Column.of(name, column) for name, column in found.items()}
    classes = getattr(dataset, "classes", None)
    if len(columns) == 1 and isinstance(classes, Sequence) and len(classes) > 1 and all(isinstance(c, str) for c in classes):
        columns = {label: column.of_classes(classes) for label, column in columns.items()}
    if are_pictures(samples):
        return from_images(
            samples,
            columns,
            size=size,
            channels=channels,
            crop=crop,
            background=background,
            kinds=kinds,
            splits=splits,
            group=group,
            seed=seed,
            name=name,
            like=like,
        )
    return from_arrays(samples, columns, kinds=kinds, splits=splits, group=group, seed=seed, name=name, like=like)


def opened(
    given: Any,
    labels: LabelColumns | Iterable[str] | str = None,
    *,
    seed: int = 0,
    group: str = "",
    like: Described | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Dataset:
    """Whatever is no address, by what it is; ``labels`` are names where it has columns of its own, else the labels.

    Raises:
        UserError: nothing that can be read; what can is listed.
    """
    names: Any = [labels] if isinstance(labels, str) else labels
    if isinstance(given, Dataset):
        return _grouped(given, group, seed).select(names)
    if type(given).__module__.partition(".")[0] == "anndata":
        return from_anndata(given, names, group=group, seed=seed, like=like, progress=progress)
    if frames.is_frame(given):
        return from_frame(given, names, group=group, seed=seed, like=like)
    if isinstance(given, torch.utils.data.Dataset):
        return from_torch(given, names, group=group, seed=seed, like=like, **images.options_like(like))
    if isinstance(given, Mapping) or (isinstance(given, list | tuple) and are_pictures(given)):
        return from_images(given, names, group=group, seed=seed, like=like, **images.options_like(like))
    if isinstance(given, np.ndarray | torch.Tensor | list | tuple):
        return from_arrays(given, names, group=group, seed=seed, like=like)
    raise UserError(
        f"data of type {type(given).__name__} cannot be read; expected an address (labelspace data list), a frame, an array, "
        "pictures, an AnnData object, a torch data set or a labelspace.Dataset"
    )


# -- labels -----------------------------------------------------------------------------------------------------------


def _read(
    name: str, found: Mapping[str, Column], n: int, asked: Asked, like: Described | None
) -> tuple[Schema, np.ndarray, np.ndarray, Reading]:
    try:
        columns = Columns(found, asked)
        known = None if like is None else like.schema
        *labels, readings = read_labels(columns, found, n, known=known, where=lambda row: f"{name}, row {row + 1}")
    except UserError as error:
        raise UserError(str(error) if str(error).startswith(name) else f"{name}: {error}") from None
    return *labels, Reading(tuple(readings))  # type: ignore[return-value]


# -- samples ----------------------------------------------------------------------------------------------------------


def _samples(name: str, x: Any) -> tuple[np.ndarray, list[str], images.Framing]:
    """Samples as a data set holds them: ``(n, d)`` float32, or ``(n, channels, height, width)``; notes, and how pictures were
    read."""
    array = _stacked(name, x)
    if array.dtype.kind == "O":
        array = _numbers(name, array)
    if array.dtype.kind not in "fiub":
        raise UserError(f"{name}: x holds {array.dtype}, not numbers")
    if 0 in array.shape:
        raise UserError(f"{name}: x has shape {array.shape}, so there is nothing in it")
    if array.ndim == 2:
        return array, [], images.Framing()
    if array.ndim not in (3, 4):
        raise UserError(
            f"{name}: x has shape {array.shape}; expected (n, d) numbers, or pictures (n, h, w), (n, h, w, channels) or "
            "(n, channels, h, w)"
        )
    array = array[:, None] if array.ndim == 3 else array
    if array.shape[1] > 4 and array.shape[3] <= 4:
        array = array.transpose(0, 3, 1, 2)
    return _shades(name, array)


def _shades(name: str, array: np.ndarray) -> tuple[np.ndarray, list[str], images.Framing]:
    """Pictures as uint8, or as float32 in [0, 1]; notes, and how they were read."""
    framing = images.Framing()
    if array.dtype == np.uint8 or array.dtype == bool:
        return np.ascontiguousarray(images.shades(array)), [], framing
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int((~np.isfinite(array)).any(axis=(1, 2, 3)).argmax())
        raise UserError(f"{name}: picture {bad} holds NaN or infinity, which a picture cannot")
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.ascontiguousarray(array, np.float32), [], framing
    if array.dtype.kind in "iu" and low >= 0:
        framing, notes = images.Survey.of([images.Look.of(array)]).depth(framing)
        return np.ascontiguousarray(images.shades(array, framing)), notes, framing
    hint = "divide them by 255" if low >= 0 and high <= 255 else "put them between 0 and 1"
    raise UserError(
        f"{name}: pictures hold {array.dtype} from {low:g} to {high:g}; expected uint8, or numbers in [0, 1]: {hint}"
    )


def _stacked(name: str, x: Any) -> np.ndarray:
    plain = as_array(x)
    if isinstance(plain, np.ndarray):
        return plain
    rows = [np.asarray(as_array(row)) for row in plain]
    if not rows:
        raise UserError(f"{name}: x is empty")
    odd = next((i for i, row in enumerate(rows) if row.shape != rows[0].shape), None)
    if odd is not None:
        raise UserError(
            f"{name}: samples of different shapes: row 1 has {rows[0].shape}, row {odd + 1} has {rows[odd].shape}; pictures of "
            "different sizes are read by labelspace.Dataset.from_images"
        )
    return np.stack(rows)


def _numbers(name: str, array: np.ndarray) -> np.ndarray:
    """An array of objects as numbers, NaN where one is missing. Raises UserError naming the first that is none."""
    flat = [plain(entry) for entry in array.ravel().tolist()]
    for place, entry in enumerate(flat):
        if entry is not None and not isinstance(entry, int | float):
            at = np.unravel_index(place, array.shape)
            where = f"row {int(at[0]) + 1}" + (f", column {int(at[1]) + 1}" if len(at) > 1 else "")
            raise UserError(f"{name}, {where}: {entry!r} ({type(entry).__name__}) is not a number")
    return np.array([np.nan if entry is None else float(entry) for entry in flat]).reshape(array.shape)


def _variables(name: str, x: np.ndarray, names: Sequence[str]) -> tuple[tuple[Variable, ...], str]:
    """What the columns of vectors are called, and the likelihood of a table where cells are missing."""
    if x.ndim != 2:
        if len(names):
            raise UserError(f"{name}: names are for the columns of vectors, and x holds pictures")
        return (), ""
    if len(names) and len(names) != x.shape[1]:
        raise UserError(f"{name}: {len(names)} names for {x.shape[1]} columns of x; expected one for each")
    if len(set(names)) < len(names):
        raise UserError(f"{name}: two columns are called {Counter(names).most_common(1)[0][0]!r}")
    called = [str(one) for one in names]
    if np.isnan(x).any():
        variables = tuple(Variable(one) for one in called or [f"x{i + 1}" for i in range(x.shape[1])])
        return variables, table_likelihood(variables)
    return tuple(Variable(one) for one in called), ""


# -- pictures ---------------------------------------------------------------------------------------------------------


def survey(pictures: Sequence[Picture], called: Sequence[str]) -> images.Survey:
    """What is in pictures. Raises UserError naming the first that cannot be read."""
    return images.Survey.of([_look(picture, name) for picture, name in zip(pictures, called, strict=True)])


def upright(picture: Picture, called: str, channels: int, framing: images.Framing) -> Image.Image:
    """A picture as :func:`labelspace.data.images.upright` has it. Raises UserError naming it where it cannot be read."""
    with _readable(called):
        if isinstance(picture, str | PathLike):
            with images.opened(paths.own(picture)) as opened:
                return images.upright(opened, channels, framing)
        return images.upright(_image(picture, called, framing), channels, framing)


def pixels(picture: Picture, called: str, shape: tuple[int, ...], framing: images.Framing) -> np.ndarray:
    """A picture as uint8 of a shape (channels, height, width). Raises UserError naming it where it cannot be read."""
    with _readable(called):
        if isinstance(picture, str | PathLike):
            return images.read(paths.own(picture), shape[0], (shape[1], shape[2]), framing)
        return images.pixels(_image(picture, called, framing), shape[0], (shape[1], shape[2]), framing)


@contextmanager
def _readable(called: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{called}: no such picture") from None
    except images.UNREADABLE as error:
        raise UserError(f"{called} cannot be read as an image: {error}") from None


def _image(picture: Image.Image | np.ndarray | torch.Tensor, called: str, framing: images.Framing) -> Image.Image:
    """A picture that is no file, as PIL has it."""
    if isinstance(picture, Image.Image):
        return picture
    grey = images.shades(_channels_first(picture, called), framing)
    return Image.fromarray(grey[0] if len(grey) == 1 else np.ascontiguousarray(grey.transpose(1, 2, 0)))


def _look(picture: Picture, called: str) -> images.Look:
    with _readable(called):
        if isinstance(picture, str | PathLike):
            with images.opened(paths.own(picture)) as opened:
                return images.Look.at(opened)
        if isinstance(picture, Image.Image):
            return images.Look.at(picture)
        return images.Look.of(_channels_first(picture, called))


def _channels_first(picture: np.ndarray | torch.Tensor, called: str) -> np.ndarray:
    """An array as ``(channels, height, width)``. Raises UserError where it is no picture."""
    array = np.asarray(as_array(picture))
    if array.ndim == 2:
        array = array[None]
    elif array.ndim == 3 and array.shape[0] > 4:
        array = array.transpose(2, 0, 1)
    if array.ndim != 3 or array.shape[0] not in images.MODES or 0 in array.shape:
        raise UserError(
            f"{called} has shape {np.asarray(as_array(picture)).shape}; expected (h, w), (h, w, channels) or (channels, h, w) "
            "with 1, 3 or 4 channels"
        )
    if array.dtype.kind not in "fiub":
        raise UserError(f"{called} holds {array.dtype}, not numbers")
    return array


def called(i: int, picture: Picture) -> str:
    """What a picture is called in messages."""
    return f"picture {i} ({str(picture)!r})" if isinstance(picture, str | PathLike) else f"picture {i}"


def are_pictures(given: Any) -> bool:
    """Whether a list is one of pictures: PIL images, files, or arrays of two or three dimensions."""
    if not isinstance(given, list | tuple) or not len(given):
        return False
    first = given[0]
    if isinstance(first, Image.Image | str | PathLike):
        return True
    return isinstance(first, np.ndarray | torch.Tensor) and first.ndim in (2, 3)


# -- torch data sets --------------------------------------------------------------------------------------------------


def _items(name: str, dataset: Any) -> list[Any]:
    try:
        if hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):
            items = [dataset[i] for i in range(len(dataset))]
        else:
            items = list(dataset)
    except (TypeError, IndexError, KeyError, NotImplementedError) as error:
        raise UserError(f"{name}: the data set cannot be read item by item: {type(error).__name__} {error}") from None
    if not items:
        raise UserError(f"{name}: the data set has no item")
    return items


def _taken_apart(name: str, items: list[Any], x: str) -> tuple[list[Any], dict[str, list[Any]]]:
    """Samples, and the other entries of items as columns."""
    first = items[0]
    if isinstance(first, Mapping):
        keys = ", ".join(map(str, first))
        if not x:
            raise UserError(
                f"{name}: item 0 is a mapping with {keys}; say which of them is the sample, x={next(iter(first), '')!r}"
            )
        odd = next((i for i, item in enumerate(items) if not isinstance(item, Mapping) or x not in item), None)
        if odd is not None:
            raise UserError(f"{name}: item {odd} has no {x!r}; item 0 has {keys}")
        rest = dict.fromkeys(key for item in items for key in item if key != x)
        return [item[x] for item in items], {str(key): [plain(item.get(key)) for item in items] for key in rest}
    if not isinstance(first, tuple | list):
        return items, {}
    width = len(first)
    odd = next((i for i, item in enumerate(items) if not isinstance(item, tuple | list) or len(item) != width), None)
    if odd is not None:
        raise UserError(f"{name}: item {odd} is not like item 0, which has {width} entries")
    found: dict[str, list[Any]] = {}
    for place in range(1, width):
        called = "label" if width == 2 else f"label{place - 1}"
        entries = [item[place] for item in items]
        if isinstance(entries[0], Mapping):
            found |= {str(key): [plain(entry.get(key)) for entry in entries] for key in entries[0]}
        elif isinstance(entries[0], torch.Tensor | np.ndarray) and entries[0].ndim == 1:
            rows = _stacked(f"{name}: labels", entries)
            found |= {f"{called}.{i}": [plain(entry) for entry in column] for i, column in enumerate(rows.T)}
        else:
            found[called] = [plain(entry) for entry in entries]
    return [item[0] for item in items], found


def _chosen(name: str, found: dict[str, list[Any]], labels: list[str]) -> dict[str, list[Any]]:
    """Columns under the names that are asked for: of their own, or in their order."""
    if all(label in found for label in labels):
        return {label: found[label] for label in labels}
    if len(labels) == len(found):
        return dict(zip(labels, found.values(), strict=True))
    absent = next(label for label in labels if label not in found)
    raise UserError(f"{name}: {unknown('label', absent, found)}")


# -- what they share --------------------------------------------------------------------------------------------------


def _entries(entries: Any) -> list[Any]:
    plain = as_array(entries)
    return plain.tolist() if isinstance(plain, np.ndarray) else list(plain)


def _splits(name: str, splits: Any, n: int) -> dict[Split, np.ndarray]:
    """Rows of each split; empty where none are given."""
    if splits is None:
        return {}
    if isinstance(splits, Mapping):
        found: dict[Split, np.ndarray] = {}
        for split, rows in splits.items():
            if split not in SPLITS:
                raise UserError(f"{name}: {unknown('split', str(split), SPLITS)}")
            rows = np.asarray(as_array(rows))
            rows = np.flatnonzero(rows) if rows.dtype == bool and len(rows) == n else rows.astype(int)
            if len(rows) and not (rows.min() >= 0 and rows.max() < n):
                raise UserError(f"{name}: split {split!r} has row {int(rows.max())}, and there are {n}, counted from 0")
            found[split] = np.sort(rows)
        taken = np.concatenate(list(found.values()))
        if len(np.unique(taken)) < len(taken):
            raise UserError(f"{name}: row {Counter(taken.tolist()).most_common(1)[0][0]} is in two splits")
        return found
    words = [str(word) for word in _entries(splits)]
    if len(words) != n:
        raise UserError(f"{name}: splits has {len(words)} entries for {n} samples; expected one for each")
    for row, word in enumerate(words):
        if word not in SPLITS:
            raise UserError(f"{name}, row {row + 1}: {unknown('split', word, SPLITS)}")
    return {split: np.flatnonzero(np.array(words) == split) for split in SPLITS if split in words}


def _made(
    name: str,
    x: np.ndarray,
    labels: LabelColumns,
    n: int,
    ids: Sequence[Any] | np.ndarray | None,
    kinds: Mapping[str, str] | None,
    splits: Splits,
    group: str | Array,
    seed: int,
    notes: list[str],
    like: Described | None,
    **more: Any,
) -> Dataset:
    schema, values, observed, reading = _read(name, label_columns(name, labels, n), n, asked_for(kinds), like)
    if ids is not None:
        ids = np.array([str(entry) for entry in _entries(ids)])
        if len(ids) != n:
            raise UserError(f"{name}: {len(ids)} ids for {n} samples; expected one for each")
        if len(set(ids)) < n:
            raise UserError(f"{name}: two samples are called {Counter(ids.tolist()).most_common(1)[0][0]!r}")
    keys, together = {}, group if isinstance(group, str) else "group"
    if not isinstance(group, str):
        entries = [plain(entry) for entry in _entries(group)]
        if len(entries) != n:
            raise UserError(f"{name}: group has {len(entries)} entries for {n} samples; expected one for each")
        keys = {together: np.array(["" if entry is None else str(entry) for entry in entries])}
    data = Dataset(
        f"{_SCHEME}:{name}",
        x,
        values,
        observed,
        schema,
        _splits(name, splits, n) or drawn_splits(schema, values, observed, seed),
        notes=(*notes, *reading.summary()),
        ids=ids,
        keys=keys,
        seed=seed,
        reading=reading,
        **more,
    )
    return _grouped(data, together, seed)


def _grouped(data: Dataset, group: str, seed: int) -> Dataset:
    data = replace(data, seed=seed) if is_memory(data.address) else data
    return data.group(group, seed) if group else data


def missing_data(address: str, about: str) -> UserError:
    """The error where a run's data were in memory and are not given."""
    return UserError(
        f"the run was trained on data in memory ({about or address.partition(':')[2]}), which are not kept with it; give them "
        f"with {option('data')}, as they were (data.save(FILE) writes an archive that npz:FILE names)"
    )
