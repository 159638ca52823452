"""Addresses: short texts that name a data set, such as ``faces:n=5000`` or ``mnist:DIR``.

An address is ``NAME[:PATH][,KEY=VALUE...]`` (or ``NAME:KEY=VALUE,...`` for those without a path). Each source lives in a
file of its own and is listed in ``SOURCES``; others are registered.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from labelspace import plugins
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError, unknown
from labelspace.variables import Described


@dataclass(frozen=True)
class Source:
    """A kind of data set: its function or the module whose ``open`` it is, how its address looks, what it is, and where its
    files can be had."""

    opens: str | Callable[..., Dataset]
    form: str
    about: str
    get: str = ""

    def function(self) -> Callable[..., Dataset]:
        return importlib.import_module(self.opens).open if isinstance(self.opens, str) else self.opens


SOURCES: dict[str, Source] = {
    "digits": Source("labelspace.data.sources.digits", "digits", "1,797 handwritten digits of 8x8 (scikit-learn); label digit"),
    "swiss-roll": Source(
        "labelspace.data.sources.swiss_roll",
        "swiss-roll[:n=10000,cut=height|x,noise=0]",
        "points on a rolled-up sheet in 3-D, standardised; binary label side (height or x at or above 10)",
    ),
    "moons": Source(
        "labelspace.data.sources.moons",
        "moons[:n=30000,noise=0.15]",
        "points of the plane on three half circles side by side; label moon",
    ),
    "faces": Source(
        "labelspace.data.sources.faces",
        "faces[:n=20000,size=64,correlated=false]",
        "drawn faces with true counterfactuals; labels Eyeglasses, Beard, Smiling, Wearing_Hat, Bald, Hair_Color, Skin_Color",
    ),
    "sprites": Source(
        "labelspace.data.sources.sprites",
        "sprites[:n=30000,size=64,smooth=false,color=false]",
        "squares, ellipses and hearts on the factor grid of dSprites, with true counterfactuals; labels shape, scale, "
        "orientation, x, y (and color); n=0 is the whole grid",
    ),
    "glyphs": Source(
        "labelspace.data.sources.glyphs",
        "glyphs:FONT[,characters=A-Z0-9,axes=weight+width+slant,n=20000,size=64]",
        "letters of a variable font with true counterfactuals; labels character, and the font's axes as numbers",
        "any variable font does; npm install @fontsource-variable/roboto-flex brings one, in "
        "node_modules/@fontsource-variable/roboto-flex/files/roboto-flex-latin-standard-normal.woff2",
    ),
    "mnist": Source(
        "labelspace.data.sources.mnist",
        "mnist:DIR[,val=0.0833]",
        "a directory of IDX files (MNIST and its family), gzipped or not",
    ),
    "folder": Source(
        "labelspace.data.sources.folder",
        "folder:DIR[,size=64,channels=3,crop=centre|pad|none|close]",
        "images: one directory a class, or images beside a labels.csv whose first column is the file name",
    ),
    "celeba": Source(
        "labelspace.data.sources.celeba",
        "celeba:DIR[,size=64,crop=centre,subset=glasses|facialhair|glassesfacialhair,attributes=ccvae]",
        "CelebA: aligned faces, 40 attributes, the official splits; and the subsets of the CSVAE paper",
    ),
    "chexpert": Source(
        "labelspace.data.sources.chexpert",
        "chexpert:DIR[,size=64,views=frontal|lateral|all,uncertain=missing|0|1,blank=missing|0,val=0.1]",
        "CheXpert: chest radiographs with sex, age and 14 findings; no patient is in two splits",
    ),
    "tfd": Source(
        "labelspace.data.sources.tfd", "tfd:FILE[,fold=1]", "the Toronto Face Database as a MATLAB file; label expression"
    ),
    "facescrub": Source(
        "labelspace.data.sources.facescrub",
        "facescrub:DIR[,size=64,crop=centre]",
        "FaceScrub: a directory of faces a person; labels person and, where the directories say it, gender",
    ),
    "cifar10": Source(
        "labelspace.data.sources.cifar10",
        "cifar10:DIR[,val=0.1]",
        "the binary version of CIFAR-10 (label class) or CIFAR-100 (labels coarse and fine)",
    ),
    "npz": Source(
        "labelspace.data.sources.npz", "npz:FILE", "a NumPy archive with x and one array per label (NaN or '' missing)"
    ),
    "table": Source(
        "labelspace.data.sources.table",
        "table:FILE[,id=COLUMN,drop=A+B,kinds=A:count+B:categorical]",
        "a CSV, TSV or Parquet file; --labels names the columns that are labels, the others are samples",
    ),
    "h5ad": Source(
        "labelspace.data.sources.h5ad",
        "h5ad:FILE[,layer=NAME,raw=false,counts=auto,genes=N]",
        "cells by genes as AnnData writes them; labels are columns of obs",
    ),
    "hf": Source(
        "labelspace.data.sources.hf",
        "hf:NAME[,config=NAME,image=COLUMN,size=64,channels=3]",
        "a data set of the Hugging Face hub, or a directory that the datasets library reads",
    ),
}


# What a source's function may take beside its options; its docstring says only what is special. ``address`` is kept with the
# data. ``seed`` is that of splits and of generated data. ``progress`` is called with samples read (or drawn) and samples in
# all, by sources that take a while. A table needs ``labels`` and ``group`` to tell which of its columns are samples; most
# sources take neither. ``like`` is a trained model (or its description) that the data are for: sources whose samples have
# named columns read those, in its order and with its classes.
_GIVEN = ("address", "seed", "progress", "labels", "group", "like")

F = TypeVar("F", bound=Callable[..., Dataset])


def _described(name: str, function: Callable[..., Dataset]) -> Source:
    """A source of one's own: its form by its parameters, and what it is by the first line of its docstring."""
    if not callable(function):
        raise UserError(f"data source {name!r} must be a function that returns a Dataset, got {function!r}")
    takes = inspect.signature(function).parameters
    options = {key: parameter.default for key, parameter in takes.items() if key not in ("path", *_GIVEN)}
    for key, default in options.items():
        if type(default) not in (bool, int, float, str):
            raise UserError(f"option {key!r} of data source {name!r} needs a default that is a text, a number or a bool")
    shown = ",".join(
        f"{key}={str(default).lower() if isinstance(default, bool) else default}" for key, default in options.items()
    )
    path = ":PATH" if "path" in takes else ""
    form = f"{name}{path}" + (f"[{',' if path else ':'}{shown}]" if shown else "")
    return Source(function, form, (inspect.getdoc(function) or "not said").partition("\n")[0])


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
    return SOURCES[name] if name in SOURCES else OWN.find(name)


def open(
    address: str,
    labels: Iterable[str] | None = None,
    *,
    seed: int = 0,
    supervision: float = 1.0,
    label_noise: float = 0.0,
    group: str = "",
    training: bool = True,
    like: Described | None = None,
    progress=None,
) -> Dataset:
    """Opens a data set by its address.

    Args:
        address: ``NAME[:PATH][,KEY=VALUE...]``; ``labelspace data list`` prints all.
        labels: names of the labels to keep, in this order; all by default.
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
    """
    name, path, options = parts(address)
    found = source(name)
    function = found.function()
    takes = inspect.signature(function).parameters
    known = {key: parameter for key, parameter in takes.items() if key not in ("path", *_GIVEN)}
    takes_path = "path" in takes
    if takes_path and not path:
        raise UserError(f"address {address!r} needs a path: {found.form}{found.get and f' ({found.get})'}")
    if path and not takes_path:
        raise UserError(f"address {address!r} takes no path: {found.form}")
    if seed < 0:
        raise UserError(f"the seed must be 0 or larger, got {seed}")
    arguments = {}
    for key, text in options.items():
        if key not in known:
            raise unknown(f"option of address {name!r}:", key, known)
        arguments[key] = _convert(f"{name}:{key}", text, known[key].default)
    if takes_path:
        arguments["path"] = path
    labels = None if labels is None else list(labels)
    given = {"address": str(address), "seed": seed, "progress": progress, "labels": labels, "group": group, "like": like}
    data = function(**{key: value for key, value in given.items() if key in takes}, **arguments)
    if not isinstance(data, Dataset):
        raise UserError(f"data source {name!r} must return a labelspace.data.dataset.Dataset, got {type(data).__name__}")
    data = replace(data, address=str(address), seed=seed)
    if group:
        data = data.group(group, seed)
    return data.select(labels).with_label_noise(label_noise, seed).hide(supervision, seed).check(training=training)


def parts(address: str) -> tuple[str, str, dict[str, str]]:
    """Name, path and options of an address."""
    name, _, rest = str(address).partition(":")
    name, *early = name.split(",")
    return name, *_split(rest, early)


def _split(rest: str, early: list[str]) -> tuple[str, dict[str, str]]:
    """Cuts ``PATH,KEY=VALUE,...`` at the trailing options; a path may itself hold commas."""
    parts = rest.split(",") if rest else []
    options: list[str] = []
    while parts and re.fullmatch(r"[a-z_]+=[^/]*", parts[-1]):
        options.insert(0, parts.pop())
    return ",".join(parts), {key: value for key, _, value in (o.partition("=") for o in [*early, *options])}


def _convert(name: str, text: str, default: object) -> object:
    try:
        if isinstance(default, bool):
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        return type(default)(text)  # type: ignore[call-arg]  # int, float or str
    except (KeyError, ValueError):
        raise UserError(f"option {name}={text!r} is not a {type(default).__name__}") from None
