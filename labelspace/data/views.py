"""Ways to look at a data set: one sample, a split for a torch DataLoader, a few lines or a small table for a person."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    from labelspace.data.dataset import Dataset

_ROWS, _LABELS, _ENTRIES = 6, 8, 6  # of a table in a notebook
_NAMES = 6  # classes that are named in a line
_THUMBNAIL = 48


@dataclass(frozen=True)
class Sample:
    """One sample.

    Attributes:
        x: ``shape``, float32, pictures in [0, 1].
        labels: label name -> value as users write it, None where it is missing.
        id: what the data call it; its place where they have no names.
    """

    x: Tensor
    labels: dict[str, Any]
    id: str

    def __repr__(self) -> str:
        labels = ", ".join(f"{name}={value}" for name, value in self.labels.items())
        return f"Sample({self.id}: {'x'.join(map(str, self.x.shape))}{f', {labels}' if labels else ''})"


class TorchView(torch.utils.data.Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Samples of a data set for ``torch.utils.data.DataLoader``: items are ``x``, ``values`` and ``observed``."""

    def __init__(self, data: Dataset, rows: np.ndarray) -> None:
        self.data, self.rows = data, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        x, values, observed = self.__getitems__([index])[0]
        return x, values, observed

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Several items at once, as a DataLoader asks for a batch."""
        rows = self.rows[indices]
        values, observed = self.data.labels(rows)
        return list(zip(self.data.samples(rows), values, observed, strict=True))


def lines(data: Dataset) -> str:
    """A data set in three lines: what and how much, the splits, the labels."""
    shape = "x".join(map(str, data.shape))
    what = f"pictures of {shape}" if data.is_image else f"vectors of {data.shape[0]}"
    splits = ", ".join(f"{name} {len(rows):,}" for name, rows in data.splits.items()) or "none"
    labels = []
    for i, label in enumerate(data.schema):
        missing = int((~data.observed[:, i]).sum())
        kind = _short(list(label.values)) if label.kind == "categorical" else "0/1" if label.kind == "binary" else "number"
        labels.append(f"{label.name} ({kind}{f', {missing:,} missing' if missing else ''})")
    return f"Dataset {data.address}: {len(data):,} {what}\nsplits: {splits}\nlabels: {', '.join(labels) or 'none'}"


def _short(names: list[str]) -> str:
    return "/".join(names[:_NAMES]) + ("/..." if len(names) > _NAMES else "")


def table(data: Dataset) -> str:
    """A data set as a small table of HTML: its first samples, with thumbnails where they are pictures."""
    names = data.schema.names[:_LABELS]
    entries = () if data.is_image else data.entries[:_ENTRIES]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("", *(("x",) if data.is_image else entries), *names))
    rows = []
    for row in range(min(_ROWS, len(data))):
        sample = data[row]
        cells = [html.escape(sample.id)]
        cells += [thumbnail(sample.x)] if data.is_image else [f"{float(v):.4g}" for v in sample.x[: len(entries)]]
        cells += ["" if (v := sample.labels[name]) is None else html.escape(_cell(v)) for name in names]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    about = "<br>".join(html.escape(line) for line in lines(data).splitlines())
    return f"<div><p>{about}</p><table><tr>{head}</tr>{''.join(rows)}</table></div>"


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def as_pil(x: Tensor) -> Image.Image:
    """A picture ``(channels, height, width)`` in [0, 1] as PIL has it; two channels become shades of red and green."""
    shades = (x.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    if len(shades) == 2:
        shades = torch.cat([shades, torch.zeros_like(shades[:1])])
    array = shades.numpy()
    return Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))


def thumbnail(x: Tensor | Image.Image, side: int = _THUMBNAIL) -> str:
    """A picture as an ``img`` of HTML that carries its own pixels."""
    picture = as_pil(x) if isinstance(x, Tensor) else x
    scale = side / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    buffer = io.BytesIO()
    picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS).save(buffer, "PNG")
    return (
        f'<img width="{size[0]}" height="{size[1]}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
    )
