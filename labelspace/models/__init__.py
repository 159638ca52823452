"""The models, by name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from labelspace.errors import unknown

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
}


_CHUNK = 20_000  # vectors that are checked at once, and the most that a likelihood is measured on
_IMAGES = 500  # the same for images, which are large


def model_class(name: str) -> type[Model]:
    """The class of a model's name. Raises UserError with the nearest name."""
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    module, attribute = MODELS[name]
    return getattr(importlib.import_module(module), attribute)


def name_of(model: Model) -> str:
    """The registered name of a model's class."""
    for name, (module, attribute) in MODELS.items():
        if (type(model).__module__, type(model).__name__) == (module, attribute):
            return name
    raise unknown("model class", type(model).__name__, [attribute for _, attribute in MODELS.values()])


def build(name: str, data: Dataset, **arguments: Any) -> Model:
    """A new model for a data set: its shape, labels and label frequencies are taken from the data.

    Args:
        name: a name that ``labelspace models`` prints.
        data: what it will be trained on.
        **arguments: the model's own arguments; what is not given is the model's default for such data.

    Raises:
        UserError: an unknown model or argument, or data that the model's likelihood cannot describe.
    """
    import inspect

    import numpy as np

    cls = model_class(name)
    known = [p for p in inspect.signature(cls.__init__).parameters if p not in ("self", "shape", "schema", "frequencies")]
    for key in arguments:
        if key not in known:
            raise unknown(f"argument of model {name!r}:", key, known)
    given = {
        **cls.defaults(data.shape, len(data.schema)),
        **({"likelihood": data.likelihood} if data.likelihood else {}),
        **arguments,
    }
    model = cls(shape=data.shape, schema=data.schema, frequencies=data.frequencies(), **given)  # type: ignore[call-arg]
    model.variables = data.variables
    most = _IMAGES if data.is_image else _CHUNK
    for rows in np.array_split(np.arange(len(data)), -(-len(data) // most)):
        model.likelihood.check(data.samples(rows))
        if data.x.dtype == np.uint8:
            break  # pictures lie in [0, 1] by construction
    rows = data.rows("train")
    model.likelihood.measure(data.samples(rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int)]))
    return model
