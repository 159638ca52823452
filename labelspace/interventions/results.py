"""What an intervention made, in the kinds that people use: pictures, frames, AnnData objects, a few lines of HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from labelspace.blocks import concatenate
from labelspace.data import frames
from labelspace.data.views import as_pil, thumbnail
from labelspace.errors import UserError
from labelspace.interventions.given import laid_over, names_of
from labelspace.interventions.record import Intervention
from labelspace.models.base import Model

if TYPE_CHECKING:
    from anndata import AnnData
    from narwhals.typing import IntoDataFrame

_SHOWN = 12  # pictures in a notebook
_COLUMNS = 8  # of a frame in a notebook


def tensor(done: Intervention[Any]) -> Tensor:
    """See :attr:`Intervention.tensor`."""
    if isinstance(done.x, Tensor):
        return done.x
    model, x = _model(done), torch.from_numpy(np.ascontiguousarray(done.x))
    x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
    if len(model.shape) == 3 and tuple(x.shape[-3:]) != model.shape:
        x = x.unsqueeze(-1) if model.shape[0] == 1 and tuple(x.shape[-2:]) == model.shape[1:] else x
        x = x.movedim(-1, -3)
    return x


def _model(done: Intervention[Any]) -> Model:
    if done.model is None:
        raise UserError("this result does not know its model; interventions that labelspace made do")
    return done.model


def _flat(done: Intervention[Any]) -> Tensor:
    """All samples, those of walks one after the other, ``(n, *shape)``."""
    return tensor(done).reshape(-1, *_model(done).shape)


def count(done: Intervention[Any]) -> int:
    """How many samples there are."""
    return len(_flat(done))


def _starts(done: Intervention[Any]) -> int:
    """How many samples were given."""
    return len(next(iter(done.encoded.values()))) if done.encoded is not None else 1


@torch.no_grad()
def image(done: Intervention[Any], i: int) -> Image.Image:
    """See :meth:`Intervention.image`."""
    model, flat = _model(done), _flat(done)
    if len(model.shape) != 3:
        raise UserError("the samples are vectors, not pictures; to_frame() has their columns")
    if not -len(flat) <= i < len(flat):
        raise UserError(f"there is no picture {i}: there are {len(flat)}, counted from 0")
    given = done.given
    if given is None or not given.pictures or done.encoded is None:
        return as_pil(flat[i])
    place = range(len(flat))[i]
    start = place * len(given.pictures) // len(flat)  # walks have several of each
    codes = done.encoded.rows(slice(start, start + 1)) if _starts(done) == len(given.pictures) else done.encoded.rows([place])
    x = given.x if given.x.ndim == 4 else given.x[None]
    before = model.decode(codes).mean_like(x[start : start + 1])[0]
    after = model.decode(done.codes.rows([place])).mean_like(x[start : start + 1])[0]
    return laid_over(
        given.pictures[start], before, after, given.framing.crop, float(torch.as_tensor(model.likelihood.resolution).max())
    )


def columns(model: Model, x: Tensor) -> dict[str, list[Any]]:
    """Vectors ``(n, d)`` as columns by their names: classes in words, counts as whole numbers, missing cells None."""
    found: dict[str, list[Any]] = {}
    wholes = model.likelihood.wholes()
    for i, column in enumerate(x.detach().cpu().numpy().T):
        known = model.variables[i] if model.variables else None
        name = f"x.{i}" if known is None else known.name
        if known is not None and known.kind == "categorical":
            found[name] = [None if math.isnan(cell) else known.classes[int(cell)] for cell in column]
        else:
            whole = bool((column == np.round(column))[~np.isnan(column)].all()) and bool(wholes[i])
            numbers = [float(cell) if known is None else known.number(cell) for cell in column]
            found[name] = [None if math.isnan(cell) else int(cell) if whole else cell for cell in numbers]
    return found


def _labels(done: Intervention[Any], n: int) -> dict[str, list[Any]]:
    """Label values that belong to the samples, None where they are not known."""
    model = _model(done)
    if done.labels is None:
        return {}
    each = n // len(done.labels[0])
    values, observed = (part.cpu().numpy().repeat(each, 0) for part in done.labels)
    return dict(model.schema.decode(values, observed))


def frame(done: Intervention[Any]) -> IntoDataFrame:
    """See :meth:`Intervention.to_frame`."""
    model, flat = _model(done), _flat(done)
    if len(model.shape) != 1:
        raise UserError("the samples are pictures; images() has them")
    edited, labels = columns(model, flat), _labels(done, len(flat))
    original = None if done.given is None else done.given.original
    if original is None or not frames.is_frame(original):
        names = names_of(done.given, len(flat))
        taken = {f"label.{name}" if name in edited else name: entries for name, entries in labels.items()}
        return frames.make({"id": names, **edited, **taken})
    given = done.given.x.reshape(-1, *model.shape)  # type: ignore[union-attr]
    rows = np.arange(len(given)).repeat(len(flat) // len(given))
    cells, own = flat.detach().cpu().numpy(), given.cpu().numpy()[rows]
    changed: dict[str, tuple[np.ndarray, list[Any]]] = {}
    for i, variable in enumerate(model.variables):
        kept = (cells[:, i] == own[:, i]) | (np.isnan(cells[:, i]) & np.isnan(own[:, i]))
        changed[variable.name] = ~kept, edited[variable.name]
    before = frames.as_columns(original)
    for name in done.record.target:
        if name in before:
            entries = [_typed(before[name], entry) for entry in labels[name]]
            moved = np.array([str(before[name][row]) != str(entry) for row, entry in zip(rows, entries, strict=True)])
            changed[name] = moved, entries
    return _laid_into(original, rows, changed)


def _laid_into(original: Any, rows: np.ndarray, changed: Mapping[str, tuple[np.ndarray, list[Any]]]) -> IntoDataFrame:
    """Rows of a frame with some cells changed: every other cell, column, type and the index are those of the frame.

    Args:
        original: the frame.
        rows: which of its rows.
        changed: column -> which of the rows change, and the entries of all of them.
    """
    import narwhals as nw

    out = nw.from_native(original, eager_only=True)[rows.tolist()]
    for name, (where, entries) in changed.items():
        if where.any():
            mixed = [
                new if there else old for there, new, old in zip(where, entries, _entries(out[name].to_native()), strict=True)
            ]
            out = out.with_columns(nw.from_native(_like(out[name].to_native(), mixed), series_only=True).alias(name))
    return out.to_native()


def _entries(series: Any) -> list[Any]:
    """The entries of a native series, as it holds them."""
    return list(series) if hasattr(series, "dtype") else series.to_pylist()


def _like(series: Any, entries: list[Any]) -> Any:
    """Entries as a series of the kind and type that another is of; where the type cannot hold them, of one that can."""
    kind = type(series).__module__.partition(".")[0]
    if kind == "pyarrow":
        import pyarrow as arrow

        try:
            return arrow.chunked_array([arrow.array(_rounded(entries, arrow.types.is_integer(series.type)), type=series.type)])
        except (arrow.ArrowInvalid, arrow.ArrowTypeError):
            return arrow.chunked_array([arrow.array(entries)])
    whole = "int" in str(series.dtype).lower()
    more = {"index": series.index} if hasattr(series, "index") else {}
    try:
        return type(series)(_rounded(entries, whole), dtype=series.dtype, **more)
    except (TypeError, ValueError, OverflowError):
        return type(series)(entries, **more)


def _rounded(entries: list[Any], whole: bool) -> list[Any]:
    """Numbers as a column of whole numbers takes them."""
    return [round(entry) if whole and isinstance(entry, float) and math.isfinite(entry) else entry for entry in entries]


def _typed(before: list[Any], entry: Any) -> Any:
    """A label's value as the column writes it: the entry that means the same, where it has one."""
    shown = str(entry)
    for own in before:
        if str(own) == shown or (isinstance(own, bool) and str(int(own)) == shown):
            return own
    return entry


def annotated(done: Intervention[Any]) -> AnnData:
    """See :meth:`Intervention.to_anndata`."""
    try:
        import anndata
        import pandas as pd
    except ImportError:
        raise UserError("AnnData objects need anndata: pip install 'labelspace[bio]'") from None
    model, flat = _model(done), _flat(done)
    if len(model.shape) != 1:
        raise UserError("the samples are pictures; images() has them")
    x, labels, codes = flat.detach().cpu().numpy(), _labels(done, len(flat)), done.codes
    original = None if done.given is None else done.given.original
    kept = isinstance(original, anndata.AnnData) and original.n_obs == len(flat)
    names = [v.name for v in model.variables] or [f"x.{i}" for i in range(x.shape[1])]
    if kept:
        out = original[:, names].copy()  # type: ignore[index]
        out = out.to_memory() if out.isbacked else out
        out.X = x
    else:
        cells = pd.Index(names_of(done.given, len(flat)))
        out = anndata.AnnData(x, obs=pd.DataFrame(index=cells), var=pd.DataFrame(index=pd.Index(names)))
    for name, entries in labels.items():
        if name in done.record.target or not kept:
            out.obs[name] = pd.Categorical([str(entry) for entry in entries]) if model.schema[name].discrete else entries
    out.obsm["X_labelspace"] = concatenate(codes).cpu().numpy()
    out.uns["labelspace"] = {"intervention": done.record.kind, "labels": list(done.record.target)}
    return out


def page(done: Intervention[Any]) -> str:
    """An intervention as a few lines of HTML: the pictures, or the first rows."""
    model, flat = _model(done), _flat(done)
    if len(model.shape) == 3:
        shown = "".join(thumbnail(x) for x in flat[:_SHOWN])
    else:
        found = columns(model, flat[:4])
        names = list(found)[:_COLUMNS]
        head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
        rows = zip(*(found[name] for name in names), strict=True)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(_cell(cell))}</td>" for cell in row) + "</tr>" for row in rows)
        shown = f"<table><tr>{head}</tr>{body}</table>"
    return f"<div><p>{html.escape(repr(done))}</p>{shown}</div>"


def _cell(entry: Any) -> str:
    return "" if entry is None else f"{entry:.4g}" if isinstance(entry, float) else str(entry)
