"""Addresses: short texts that name a data set, such as ``faces:n=5000`` or ``mnist:DIR``.

An address is ``NAME[:PATH][,KEY=VALUE...]`` (or ``NAME:KEY=VALUE,...`` for those without a path). Each source lives in a
file of its own and is listed in ``SOURCES``; others are registered.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin

from labelspace import plugins
from labelspace.data import memory, paths
from labelspace.data.dataset import Dataset
from labelspace.data.images import options_like
from labelspace.errors import UserError, unknown
from labelspace.storage import bounds
from labelspace.variables import Described


@dataclass(frozen=True)
class Source:
    """A kind of data set.

    Attributes:
        name: the first word of its addresses.
        opens: its function, or the module whose ``open`` it is.
        about: what it is.
        path: what the path in its addresses is (DIR, FILE, ...); empty where there is none.
        get: where its files can be had.
        row: bytes of memory that each of its ``n`` samples takes at most, where it draws them.
    """

    name: str
    opens: str | Callable[..., Dataset]
    about: str
    path: str = ""
    get: str = ""
    row: int = 250

    def function(self) -> Callable[..., Dataset]:
        return importlib.import_module(self.opens).open if isinstance(self.opens, str) else self.opens

    def options(self) -> dict[str, Option]:
        """Its options, as its function's parameters say."""
        takes = inspect.signature(self.function(), eval_str=isinstance(self.opens, str)).parameters
        return {key: Option.of(parameter) for key, parameter in takes.items() if key not in ("path", *_GIVEN)}

    @property
    def form(self) -> str:
        """How its addresses look, with the options and their defaults or choices."""
        shown = ",".join(f"{key}={option.shown}" for key, option in self.options().items())
        path = f":{self.path}" if self.path else ""
        return f"{self.name}{path}" + (f"[{',' if path else ':'}{shown}]" if shown else "")


@dataclass(frozen=True)
class Option:
    """An option of an address: its default, whose type its text is read as, what stands for it in the form of addresses, and
    the texts that it may be (none: any)."""

    default: bool | int | float | str
    shown: str
    choices: tuple[str, ...] = ()

    @classmethod
    def of(cls, parameter: inspect.Parameter) -> Option:
        """By a parameter: ``Literal[...]`` lists choices, ``Annotated[..., "COLUMN"]`` has what is shown for the default."""
        default, hint = parameter.default, parameter.annotation
        if get_origin(hint) is Literal:
            return cls(default, "|".join(filter(None, get_args(hint))), get_args(hint))
        if get_origin(hint) is Annotated:
            return cls(default, get_args(hint)[1])
        return cls(default, str(default).lower() if isinstance(default, bool) else str(default))

    def read(self, name: str, text: str) -> bool | int | float | str:
        """The value that a text stands for. Raises UserError where it stands for none."""
        if self.choices and text not in self.choices:
            raise unknown(f"value of option {name}:", text, filter(None, self.choices))
        try:
            if isinstance(self.default, bool):
                return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
            return type(self.default)(text)
        except (KeyError, ValueError):
            raise UserError(f"option {name}={text!r} is not a {type(self.default).__name__}") from None


_LISTED = (
    Source("digits", "labelspace.data.sources.digits", "1,797 handwritten digits of 8x8 (scikit-learn); label digit"),
    Source(
        "swiss-roll",
        "labelspace.data.sources.swiss_roll",
        "points on a rolled-up sheet in 3-D, standardised; binary label side (height or x at or above 10)",
    ),
    Source("moons", "labelspace.data.sources.moons", "points of the plane on three half circles side by side; label moon"),
    Source(
        "faces",
        "labelspace.data.sources.faces",
        "drawn faces with true counterfactuals; labels Eyeglasses, Beard, Smiling, Wearing_Hat, Bald, Hair_Color, Skin_Color",
    ),
    Source(
        "sprites",
        "labelspace.data.sources.sprites",
        "squares, ellipses and hearts on the factor grid of dSprites, with true counterfactuals; labels shape, scale, "
        "orientation, x, y (and color); n=0 is the whole grid",
    ),
    Source(
        "glyphs",
        "labelspace.data.sources.glyphs",
        "letters of a variable font with true counterfactuals; labels character, and the font's axes as numbers",
        "FONT",
        "any variable font does; npm install @fontsource-variable/roboto-flex brings one, in "
        "node_modules/@fontsource-variable/roboto-flex/files/roboto-flex-latin-standard-normal.woff2",
    ),
    Source(
        "patients",
        "labelspace.data.sources.patients",
        "a table from known equations, with missing cells and true counterfactuals; labels treated, site, age",
    ),
    Source(
        "cells",
        "labelspace.data.sources.cells",
        "counts of 60 genes in cells from known equations, with true counterfactuals; labels stimulated, type",
        row=2_000,
    ),
    Source(
        "album",
        "labelspace.data.sources.album",
        "a directory of drawn faces of all sizes, shapes and formats; labels Eyeglasses, Beard, Wearing_Hat, light",
    ),
    Source("mnist", "labelspace.data.sources.mnist", "a directory of IDX files (MNIST and its family), gzipped or not", "DIR"),
    Source(
        "folder",
        "labelspace.data.sources.folder",
        "images: one directory a class, or images beside a labels.csv with a column of file names",
        "DIR",
    ),
    Source(
        "celeba",
        "labelspace.data.sources.celeba",
        "CelebA: aligned faces, 40 attributes, the official splits; and the subsets of the CSVAE paper",
        "DIR",
    ),
    Source(
        "chexpert",
        "labelspace.data.sources.chexpert",
        "CheXpert: chest radiographs with sex, age and 14 findings; no patient is in two splits",
        "DIR",
    ),
    Source("tfd", "labelspace.data.sources.tfd", "the Toronto Face Database as a MATLAB file; label expression", "FILE"),
    Source(
        "facescrub",
        "labelspace.data.sources.facescrub",
        "FaceScrub: a directory of faces a person; labels person and, where the directories say it, gender",
        "DIR",
    ),
    Source(
        "cifar10",
        "labelspace.data.sources.cifar10",
        "the binary version of CIFAR-10 (label class) or CIFAR-100 (labels coarse and fine)",
        "DIR",
    ),
    Source("npz", "labelspace.data.sources.npz", "a NumPy archive with x and one array per label (NaN or '' missing)", "FILE"),
    Source(
        "table",
        "labelspace.data.sources.table",
        "a CSV, TSV or Parquet file; --labels names the columns that are labels, the others are samples",
        "FILE",
    ),
    Source("h5ad", "labelspace.data.sources.h5ad", "cells by genes as AnnData writes them; labels are columns of obs", "FILE"),
    Source(
        "hf",
        "labelspace.data.sources.hf",
        "a data set of the Hugging Face hub, or a directory that the datasets library reads",
        "NAME",
    ),
)
SOURCES: dict[str, Source] = {source.name: source for source in _LISTED}


# What a source's function may take beside its options; its docstring says only what is special. ``address`` is kept with the
# data. ``seed`` is that of splits and of generated data. ``progress`` is called with samples read (or drawn) and samples in
# all, by sources that take a while. A table needs ``labels`` and ``group`` to tell which of its columns are samples; most
# sources take neither. ``like`` is a trained model (or its description) that the data are for: sources whose samples have
# named columns read those, in its order and with its classes.
_GIVEN = ("address", "seed", "progress", "labels", "group", "like")

F = TypeVar("F", bound=Callable[..., Dataset])


def _described(name: str, function: Callable[..., Dataset]) -> Source:
    """A source of one's own, told by the first line of its docstring."""
    if not callable(function):
        raise UserError(f"data source {name!r} must be a function that returns a Dataset, got {function!r}")
    path = "PATH" if "path" in inspect.signature(function).parameters else ""
    found = Source(name, function, (inspect.getdoc(function) or "not said").partition("\n")[0], path)
    for key, option in found.options().items():
        if type(option.default) not in (bool, int, float, str):
            raise UserError(f"option {key!r} of data source {name!r} needs a default that is a text, a number or a bool")
    return found


OWN = plugins.Registry("data address", SOURCES, "labelspace.sources", _described)
"""The sources that are not the library's."""


def register_source(function: F, name: str = "") -> F:
    """Makes a data source of one's own known: to :func:`open` and every command of this process.

    Args:
        function: ``function([address, seed, path, progress, labels, group, like], **options)`` that returns a :class:`Dataset`;
            it takes those of the former that it needs, and every option has a default, whose type its text is read as. It is
            returned, so that this can be a decorator.
        name: the first word of its addresses; by default the name of the function, with - for _.

    Raises:
        UserError: not such a function, or a name that is taken.
    """
    OWN.add(name or function.__name__.replace("_", "-"), function)
    return function


def source(name: str) -> Source:
    """The source of that name. Raises UserError with the nearest name."""
    if name not in SOURCES and (address := address_of(name)):
        raise UserError(f"{name!r} is a file or directory; its address is {address}")
    return SOURCES[name] if name in SOURCES else OWN.find(name)


def address_of(path: str | PathLike[str]) -> str:
    """The address of a file or directory by what it is; '' where it is none that a source reads."""
    place = paths.own(path)
    if not place.exists():
        return ""
    endings = {".csv": "table", ".tsv": "table", ".parquet": "table", ".pq": "table", ".npz": "npz", ".h5ad": "h5ad"}
    name = "folder" if place.is_dir() else endings.get(place.suffix.lower(), "")
    return f"{name}:{path}" if name else ""


def open(
    address: str | Any,
    labels: Iterable[str] | memory.LabelColumns = None,
    *,
    seed: int = 0,
    supervision: float = 1.0,
    label_noise: float = 0.0,
    group: str = "",
    training: bool = True,
    like: Described | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Dataset:
    """Opens a data set: by its address, or of what is in memory.

    Args:
        address: ``NAME[:PATH][,KEY=VALUE...]``; ``labelspace data list`` prints all. A path stands for its file. Or what is in
            memory: a frame, an array, pictures, an AnnData object, a torch data set, a :class:`Dataset`.
        labels: names of the labels to keep, in this order; all by default. Of arrays and pictures the labels themselves, as in
            :meth:`Dataset.from_arrays`.
        seed: seed of the splits where the source has none of its own, and of generated data.
        supervision: fraction of the training and validation samples whose labels are used, chosen by the seed; the others'
            are hidden, as if they were missing.
        label_noise: fraction of the labels in the training and validation samples that are replaced by wrong ones.
        group: what splits keep together: samples of one person or patient are all in the same split. A column of the data, or
            a discrete label; see :meth:`Dataset.group`.
        training: False for data that a trained model is only to read: nothing is asked of labels and splits then.
        like: a trained model that the data are for: a table's columns are found by their names and read with the kinds and
            classes that the model knows, whatever their order.
        progress: called with samples read and samples in all, where reading takes a while.

    Raises:
        UserError: an unknown address, label or option, or data that cannot be used (file, row and column named).

    >>> import labelspace as ls
    >>> len(ls.open("moons:n=300"))
    300
    >>> ls.open([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]] * 3, {"side": [0, 1, 0, 1] * 3}).schema.names
    ('side',)
    """
    if not 0 <= seed < 2**32:
        raise UserError(f"the seed must be 0 to {2**32 - 1:,}, got {seed}")
    if isinstance(address, PathLike):
        found = address_of(address)
        if not found:
            raise UserError(f"{address} is no file or directory that can be read; labelspace data list says what can")
        address = found
    if isinstance(address, str):
        names = None if labels is None else [str(label) for label in cast(Iterable[str], labels)]
        data = _addressed(address, names, seed, group, like, progress).select(names)
    else:
        data = memory.opened(address, labels, seed=seed, group=group, like=like, progress=progress)
    if data.label_noise != label_noise:  # what is given may have been changed so already
        data = data.with_label_noise(label_noise, seed)
    if data.supervision != supervision:
        data = data.hide(supervision, seed)
    return data.check(training=training)


def _addressed(
    address: str,
    labels: list[str] | None,
    seed: int,
    group: str,
    like: Described | None,
    progress: Callable[[int, int], object] | None,
) -> Dataset:
    """What an address names, with all of its labels, or at least those that are asked for."""
    if memory.is_memory(address):
        raise memory.missing_data(address, "")
    name, path, options = parts(address)
    found = source(name)
    function = found.function()
    takes, known = inspect.signature(function).parameters, found.options()
    if found.path and not path:
        raise UserError(f"address {address!r} needs a path: {found.form}{found.get and f' ({found.get})'}")
    if path and not found.path:
        raise UserError(f"address {address!r} takes no path: {found.form}")
    arguments = {}
    for key, text in options.items():
        if key not in known:
            raise unknown(f"option of address {name!r}:", key, known)
        arguments[key] = known[key].read(f"{name}:{key}", text)
    if name in SOURCES:  # options of one's own sources may mean something else
        arguments = {**{key: value for key, value in options_like(like).items() if key in known}, **arguments}
    if found.path:
        arguments["path"] = path
    if name in SOURCES and isinstance(n := arguments.get("n"), int):
        bounds.check(f"address {address!r}", found.row * n, how="drawn")
    given = {"address": address, "seed": seed, "progress": progress, "labels": labels, "group": group, "like": like}
    data = function(**{key: value for key, value in given.items() if key in takes}, **arguments)
    if not isinstance(data, Dataset):
        raise UserError(f"data source {name!r} must return a labelspace.Dataset, got {type(data).__name__}")
    data = replace(data, address=address, seed=seed)
    return data.group(group, seed) if group else data


def parts(address: str) -> tuple[str, str, dict[str, str]]:
    """Name, path and options of an address."""
    name, _, rest = str(address).partition(":")
    name, *early = name.split(",")
    path, options = _split(rest, early)
    return name, os.path.expanduser(path), options


def shown_address(address: str) -> str:
    """An address without the directories of this machine."""
    name, path, options = parts(address)
    given = [Path(path).name if Path(path).is_absolute() else path] if path else []
    return ":".join([name, *[",".join([*given, *(f"{key}={value}" for key, value in options.items())])]]).rstrip(":")


def _split(rest: str, early: list[str]) -> tuple[str, dict[str, str]]:
    """Cuts ``PATH,KEY=VALUE,...`` at the trailing options; a path that is there may itself hold what looks like one."""
    parts = rest.split(",") if rest else []
    options: list[str] = []
    while parts and re.fullmatch(r"[a-z_]+=.*", parts[-1]) and not ("/" in parts[-1] and paths.own(",".join(parts)).exists()):
        options.insert(0, parts.pop())
    found: dict[str, str] = {}
    for key, _, value in (option.partition("=") for option in [*early, *options]):
        if key in found:
            raise UserError(f"the address gives {key} twice: {key}={found[key]} and {key}={value}")
        found[key] = value
    return ",".join(parts), found
