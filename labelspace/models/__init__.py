"""The models, by name: the library's own, and those that were registered."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from labelspace import plugins
from labelspace.errors import UserError, option, unknown

if TYPE_CHECKING:
    from labelspace.data.dataset import Dataset
    from labelspace.models.base import Model

# name -> module and class; imported when asked for
MODELS = {
    "lsvae": ("labelspace.models.lsvae", "LSVAE"),
    "vae": ("labelspace.models.vae", "VAE"),
    "condvae": ("labelspace.models.condvae", "CondVAE"),
    "condvae-info": ("labelspace.models.condvae", "CondVAEInfo"),
    "csvae": ("labelspace.models.csvae", "CSVAE"),
    "m2": ("labelspace.models.m2", "M2"),
    "diva": ("labelspace.models.diva", "DIVA"),
    "mvae": ("labelspace.models.mvae", "MVAE"),
    "ccvae": ("labelspace.models.ccvae", "CCVAE"),
    "lr-livae": ("labelspace.models.lrlivae", "LrLiVAE"),
    "lr-livae-gan": ("labelspace.models.lrlivae", "LrLiVAEGAN"),
    "cvae-gan": ("labelspace.models.cvaegan", "CVAEGAN"),
    "contrastive": ("labelspace.models.contrastive", "ContrastiveVAE"),
    "ivae": ("labelspace.models.ivae", "IVAE"),
    "ada-gvae": ("labelspace.models.adagvae", "AdaGVAE"),
    "beta-tcvae": ("labelspace.models.tcvae", "BetaTCVAE"),
    "factor-vae": ("labelspace.models.factorvae", "FactorVAE"),
}

M = TypeVar("M", bound="type[Model]")

_CHUNK = 20_000  # vectors that are checked at once, and the most that a likelihood is measured on
_IMAGES = 500  # the same for images, which are large


def _checked(name: str, cls: Any) -> type[Model]:
    from labelspace.models.base import Model

    if not (isinstance(cls, type) and issubclass(cls, Model)):
        raise UserError(f"model {name!r} must be a class that extends labelspace.models.base.Model, got {cls!r}")
    cls.own_arguments()  # refuses a constructor that could not be called later
    if lacking := [part for part in ("posterior", "prior", "losses") if getattr(cls, part) is getattr(Model, part)]:
        raise UserError(f"model {name!r} defines no {' and no '.join(lacking)}; every model needs posterior, prior and losses")
    return cls


OWN = plugins.Registry("model", MODELS, "labelspace.models", _checked)
"""The models that are not the library's."""


def register(cls: M, name: str = "") -> M:
    """Makes a model of one's own known: to :func:`build`, :func:`labelspace.load` and every command of this process.

    Args:
        cls: the class; it is returned, so that this can be a decorator.
        name: what the model is called; by default the name of its class in small letters.

    Raises:
        UserError: not a model, one without its parts, a constructor that cannot be called from saved arguments, or a name that
            is taken.
    """
    OWN.add(name or cls.__name__.lower(), cls)
    return cls


def about(name: str) -> dict[str, str]:
    """What a model is for (:class:`~labelspace.models.base.About`), by field.

    That of the library's own models is read from their source: nothing has to be imported for it.

    Raises:
        UserError: there is no such model.
    """
    if name not in MODELS:
        found = model_class(name).about
        return {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    module, attribute = MODELS[name]
    source = Path(__file__).with_name(f"{module.rpartition('.')[2]}.py").read_text(encoding="utf-8")
    body = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == attribute).body
    said = next(
        node.value
        for node in body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "about"
    )
    assert isinstance(said, ast.Call)
    return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in said.keywords}


def names() -> list[str]:
    """The names of all models that are known here."""
    return OWN.names()


def model_class(name: str, origin: str = "") -> type[Model]:
    """The class of a model's name.

    Args:
        name: one of :func:`names`.
        origin: where the class of a saved model was defined, if it was not the library's own. It is not imported, only named.

    Raises:
        UserError: there is no such model; the nearest name is said, or the origin and how to make it known.
    """
    if name in MODELS and not origin:
        module, attribute = MODELS[name]
        return getattr(importlib.import_module(module), attribute)
    if origin and (name in MODELS or name not in OWN.names()):  # a name may have been free when the model was saved
        raise UserError(
            f"model {name!r} is {origin[:200]!r}, which is not known here: import and register it (labelspace.register), name "
            f"its file or module with {option('plugin')} or in {plugins.VARIABLE}, or install its package"
        )
    return OWN.find(name)


def name_of(model: Model) -> str:
    """The name that a model's class is known under. Raises UserError where it is not registered."""
    cls = type(model)
    if (found := _builtin(cls) or OWN.name_of(cls)) is None:
        raise UserError(f"{cls.__name__} is not registered, so it could not be loaded again; labelspace.register it first")
    return found


def origin_of(model: Model) -> str:
    """Where a model's class is defined (:func:`labelspace.plugins.origin`); empty for the library's own."""
    return "" if _builtin(type(model)) else plugins.origin(type(model))


def _builtin(cls: type[Model]) -> str | None:
    return next((name for name, where in MODELS.items() if where == (cls.__module__, cls.__name__)), None)


def defaults(
    cls: type[Model], shape: tuple[int, ...], labels: int, likelihood: str = "", population: int = 0
) -> dict[str, Any]:
    """The model's defaults for data of a shape, those of them that it has an argument for.

    Args:
        cls: the model.
        shape: of one sample.
        labels: number of labels.
        likelihood: what the data's source says that they are; it takes the place of the default.
        population: training samples, for models whose objective counts them; 0 where that is not known.
    """
    of_data = {"likelihood": likelihood, "population": population}
    given = cls.defaults(shape, labels) | {name: value for name, value in of_data.items() if value}
    return {name: value for name, value in given.items() if name in cls.own_arguments()}


def build(name: str, data: Dataset, **arguments: Any) -> Model:
    """A new model for a data set: its shape, labels and label frequencies are taken from the data.

    Args:
        name: a name that ``labelspace models`` prints.
        data: what it will be trained on.
        **arguments: the model's own arguments; what is not given is the model's default for such data.

    Raises:
        UserError: an unknown model or argument, or data that the model's likelihood cannot describe.

    >>> build("csvae", data, latent=4).blocks.named("z").size
    4
    """
    import numpy as np

    cls = model_class(name)
    for key in arguments:
        if key not in cls.own_arguments():
            raise unknown(f"argument of model {name!r}:", key, cls.own_arguments())
    counted = len(data.rows("train"))
    given = {**defaults(cls, data.shape, len(data.schema), data.likelihood, counted), **arguments}
    model = cls(shape=data.shape, schema=data.schema, frequencies=data.frequencies(), **given)  # type: ignore[call-arg]
    model.variables, model.framing = data.variables, data.framing
    most = _IMAGES if data.is_image else _CHUNK
    for rows in np.array_split(np.arange(len(data)), -(-len(data) // most)):
        model.likelihood.check(data.samples(rows))
        if data.x.dtype == np.uint8:
            break  # pictures lie in [0, 1] by construction
    rows = data.rows("train")
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int)]
    model.prepare(data.samples(rows), *data.labels(rows))
    return model
