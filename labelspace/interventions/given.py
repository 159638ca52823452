"""Samples as people have them, into what models take and back.

A tensor or an array is taken as it is, whatever the order of a picture's channels; pictures (files, PIL images, arrays of
another size) are fitted as the training data were; frames and AnnData objects are read by the names of the model's columns, and
their labels with them. What an intervention makes of them can be had in the same kind: see :class:`Intervention`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeAlias, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from labelspace.data import frames, images, memory
from labelspace.data.cells import plain
from labelspace.data.dataset import Dataset, as_float
from labelspace.data.views import Sample, as_pil
from labelspace.errors import UserError
from labelspace.interventions.record import Intervention, Labels
from labelspace.likelihoods.base import unchanged
from labelspace.models.base import Model

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame


class Cells(Protocol):
    """An AnnData object, by what tells it: a checker that cannot see anndata would take anything for one."""

    @property
    def obs_names(self) -> Any: ...
    @property
    def var_names(self) -> Any: ...


Several: TypeAlias = "Sequence[memory.Picture] | Sequence[Sample] | Dataset | IntoDataFrame | Cells"
NoArray: TypeAlias = "Tensor | str | PathLike[str] | Image.Image | Sample | Several"
"""Samples that are no array of numpy's: what is made of them are tensors."""

Samples: TypeAlias = "NoArray | np.ndarray"
"""One sample or many: tensors and arrays ``shape`` or ``(n, *shape)``, pictures, rows of a frame, cells, a data set."""

LabelsGiven: TypeAlias = "Labels | Mapping[str, Any]"
"""``values`` and ``observed``, both ``(n, labels)``; or label name -> value for all samples, or one value for each."""

P = ParamSpec("P")


@dataclass(frozen=True)
class Given:
    """Samples that were given, as a model takes them.

    Attributes:
        x: one sample or a batch.
        labels: those that came with them.
        original: what was given.
        pictures: the pictures at their own size, where such were given.
        single: whether one sample was given.
        framing: how the pictures were read.
    """

    x: Tensor
    labels: Labels | None = None
    original: Any = None
    pictures: tuple[Image.Image, ...] = ()
    single: bool = False
    framing: images.Framing = field(default_factory=images.Framing)

    @classmethod
    def of(cls, model: Model, x: Samples) -> Given:
        """Reads samples for a model.

        Raises:
            UserError: samples that the model cannot take, or of a kind that nothing is known of.
        """
        if isinstance(x, Sample):
            labels = labels_of(model, {k: v for k, v in x.labels.items() if k in model.schema.names}, 1)
            return cls(x.x, labels, x, single=True)
        if isinstance(x, Dataset):
            return cls._data(model, x, x)
        if isinstance(x, Tensor | np.ndarray):
            return cls._array(model, x)
        if isinstance(x, Image.Image | str | PathLike):
            return cls._pictures(model, [x], x, single=True)
        if type(x).__module__.partition(".")[0] == "anndata":
            data = memory.from_anndata(x, None, like=_described(model, x))  # type: ignore[arg-type]
            return cls._data(model, data, x)
        if frames.is_frame(x):
            names = [name for name in model.schema.names if name in frames.names(x)]
            return cls._data(model, memory.from_frame(x, names, like=_described(model, x)), x)  # type: ignore[arg-type]
        if isinstance(x, list | tuple) and len(x):
            if isinstance(x[0], Sample):
                return cls._data(model, None, x)
            if len(model.shape) == 3 and memory.are_pictures(x):
                return cls._pictures(model, list(x), x)
            if all(isinstance(entry, Tensor) for entry in x):
                return cls._array(model, torch.stack([entry for entry in x if isinstance(entry, Tensor)]))
            return cls._array(model, np.asarray(x, np.float32))
        raise UserError(
            f"a sample of type {type(x).__name__} cannot be read; expected a tensor, an array, a picture or its file, rows of "
            "a frame, an AnnData object or a labelspace.Dataset"
        )

    @classmethod
    def _array(cls, model: Model, x: Tensor | np.ndarray) -> Given:
        tensor = torch.from_numpy(np.array(x)) if isinstance(x, np.ndarray) else x
        shape = model.shape
        if len(shape) == 1 and tensor.dtype not in (torch.uint8, torch.bool) and not tensor.dtype.is_floating_point:
            tensor = tensor.float()
        if len(shape) == 3:
            tensor = _channels_first(tensor, shape)
            if tuple(tensor.shape[-3:]) != shape and isinstance(x, np.ndarray):  # pictures of another size
                each = [x] if tensor.ndim <= 3 and np.ndim(x) <= 3 else list(x)
                return cls._pictures(model, each, x, single=len(each) == 1 and np.ndim(x) <= 3)
        if tuple(tensor.shape[-len(shape) :]) != shape:
            raise UserError(f"samples have shape {tuple(tensor.shape)}, the model takes {shape} or (n, ...) of it")
        if len(shape) == 3 and not tensor.dtype.is_floating_point:
            try:
                tensor = torch.from_numpy(images.shades(tensor.cpu().numpy(), model.framing)).to(tensor.device)
            except ValueError as error:
                raise UserError(f"these samples cannot be read as pictures: {error}") from None
        return cls(as_float(tensor), None, x, single=tuple(tensor.shape) == shape)

    @classmethod
    def _pictures(cls, model: Model, pictures: list[Any], original: Any, *, single: bool = False) -> Given:
        if len(model.shape) != 3:
            raise UserError(f"the model takes vectors of {model.shape[0]}, not pictures")
        channels = model.shape[0]
        if channels not in images.MODES:
            raise UserError(f"pictures have 1, 3 or 4 channels, the model takes {channels}; give tensors instead")
        one = single and isinstance(pictures[0], str | PathLike)
        called = [str(pictures[0])] if one else [memory.called(i, picture) for i, picture in enumerate(pictures)]
        framing, _ = memory.survey(pictures, called).depth(model.framing)
        own = [memory.upright(picture, name, channels, framing) for picture, name in zip(pictures, called, strict=True)]
        x = np.stack(
            [memory.pixels(picture, name, model.shape, framing) for picture, name in zip(pictures, called, strict=True)]
        )
        batch = as_float(torch.from_numpy(x))
        return cls(batch[0] if single else batch, None, original, tuple(own), single, framing)

    @classmethod
    def _data(cls, model: Model, data: Dataset | None, original: Any) -> Given:
        if data is None:
            parts = [cls.of(model, sample) for sample in original]
            labels = [part.labels for part in parts if part.labels is not None]
            values, observed = (torch.cat([one[i] for one in labels]) for i in (0, 1))
            return cls(torch.stack([part.x for part in parts]), (values, observed), original)
        if data.shape != model.shape:
            raise UserError(f"{data.address} has samples of shape {data.shape}, the model takes {model.shape}")
        rows = np.arange(len(data))
        decoded = data.schema.decode(data.values, data.observed)
        known = {name: decoded[name] for name in data.schema.names if name in model.schema.names}
        return cls(data.samples(rows), labels_of(model, known, len(data)), original)

    def back(self, x: Tensor) -> Any:
        """New samples in the kind of arrays that was given: an array for an array, with its type; else the tensor."""
        if not isinstance(self.original, np.ndarray) or self.pictures:
            return x
        array = x.detach().cpu().numpy()
        if self.original.dtype == np.uint8:
            array = np.round(np.clip(array, 0, 1) * 255).astype(np.uint8)
        if self.x.ndim >= 3 and self.original.shape[-3:] != tuple(self.x.shape[-3:]):  # channels last, or none
            array = np.moveaxis(array, -3, -1)
            array = array[..., 0] if self.original.ndim == self.x.ndim - 1 else array
        return array


def _channels_first(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Pictures ``(..., h, w)`` or ``(..., h, w, channels)`` as ``(..., channels, h, w)``, where that is the model's shape."""
    channels, height, width = shape
    if tuple(x.shape[-3:]) == shape:
        return x
    if tuple(x.shape[-3:]) == (height, width, channels):
        return x.movedim(-1, -3)
    if channels == 1 and tuple(x.shape[-2:]) == (height, width) and x.ndim in (2, 3):
        return x.unsqueeze(-3)
    return x


def _described(model: Model, x: Any) -> Model:
    if not model.variables:
        kind = "frame" if frames.is_frame(x) else type(x).__name__
        raise UserError(f"the model does not know names for its columns, so a {kind} cannot be read; give an array instead")
    return model


def labels_of(model: Model, given: LabelsGiven | None, n: int) -> Labels | None:
    """Labels of ``n`` samples as models take them.

    Raises:
        UserError: an unknown label, another number of values, or a value that a label cannot take.
    """
    if given is None or isinstance(given, tuple):
        return given
    values, observed = torch.zeros(n, len(model.schema)), torch.zeros(n, len(model.schema), dtype=torch.bool)
    for name, entries in given.items():
        i, label = model.schema.index(name), model.schema[name]
        one = isinstance(entries, str | int | float | bool | np.generic) or entries is None
        column: list[Any] = [entries] * n if one else list(entries)  # type: ignore[arg-type]
        if len(column) != n:
            raise UserError(f"label {name!r} has {len(column)} values for {n} samples; expected one for all, or one for each")
        for row, entry in enumerate(column):
            value = label.parse(plain(entry))
            if not np.isnan(value):
                values[row, i], observed[row, i] = value, True
    return values, observed


class Edit(Protocol[P]):
    """An intervention: what comes back of arrays are arrays, of everything else tensors."""

    @overload
    def __call__(self, model: Model, x: np.ndarray, *args: P.args, **kwargs: P.kwargs) -> Intervention[np.ndarray]: ...
    @overload
    def __call__(self, model: Model, x: NoArray, *args: P.args, **kwargs: P.kwargs) -> Intervention: ...


def takes_samples(function: Callable[Concatenate[Model, Tensor, P], Intervention]) -> Edit[P]:
    """An intervention on tensors as one on whatever people have; labels that come with the samples are used if none are given.

    Args:
        function: takes a model, and one sample or a batch.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def taking(model: Model, x: Samples, *args: P.args, **kwargs: P.kwargs) -> Intervention[Any]:
        given = Given.of(model, x)
        bound = signature.bind(model, given.x, *args, **kwargs)
        if bound.arguments.get("labels") is None and given.labels is not None and bound.arguments.get("after") is None:
            bound.arguments["labels"] = given.labels
        done = function(*bound.args, **bound.kwargs)
        return replace(done, x=given.back(done.x), given=given, model=model)

    return taking  # type: ignore[return-value]


# -- pictures at their own size ---------------------------------------------------------------------------------------


def laid_over(picture: Image.Image, before: Tensor, after: Tensor, crop: str, resolution: float = 0.1) -> Image.Image:
    """An edit of a small copy of a picture, laid over the picture at its own size.

    Where the small copy changes, the picture becomes what it changes to, elsewhere it stays as it is, to the bit; in between
    both are mixed. What the picture has beyond the part that the model saw stays as well.

    Args:
        picture: upright.
        before, after: ``(channels, height, width)`` in [0, 1]: what the model makes of it unedited and edited.
        crop: how the copy was fitted.
        resolution: how large a change is that counts.
    """
    channels, height, width = after.shape
    mixed = 1 - unchanged(((after - before) / resolution)[None], channels=True)[0, 0]
    least = 1 - np.exp(-1.0)  # of a change that just counts: all below it is none
    share = ((mixed - least) / (1 - least)).clamp(0, 1).cpu().numpy()
    mode = images.MODES[channels]
    base = picture.convert(mode)
    left, top, right, bottom = images.box_of(base.size, width, height, crop)
    size = max(1, round(right - left)), max(1, round(bottom - top))
    edited = as_pil(after).resize(size, Image.Resampling.BICUBIC)
    mask = Image.fromarray(np.round(share * 255).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    out = base.copy()
    out.paste(edited, (round(left), round(top)), mask)
    return out


def names_of(given: Given | None, n: int) -> list[str]:
    """What samples are called: as what was given names them, or by their place."""
    original = None if given is None else given.original
    if isinstance(original, Sample):
        return [original.id]
    if isinstance(original, Dataset) and original.ids is not None:
        return [str(name) for name in original.ids]
    names: Iterable[Any] | None = getattr(original, "obs_names", None)
    names = getattr(original, "index", None) if names is None and not isinstance(original, list | tuple | str) else names
    found = [] if names is None or callable(names) else [str(name) for name in names]
    return found if len(found) == n else [str(i) for i in range(n)]
