"""A trained model on a whole data set, in batches: codes and predictions, as arrays, frames or AnnData objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from labelspace.blocks import Latents, joined, modes, sample
from labelspace.data import frames
from labelspace.data.store import Progress
from labelspace.errors import UserError

if TYPE_CHECKING:
    from anndata import AnnData
    from narwhals.typing import IntoDataFrame

    from labelspace.data.dataset import Dataset
    from labelspace.models.base import Model

CHUNK = 512  # samples that go through a model at once
KEY = "X_labelspace"
"""In obsm of AnnData objects, of all blocks side by side; with _BLOCK of each. ``uns`` holds a record under "labelspace"."""


def check_fit(model: Model, data: Dataset) -> None:
    """Raises UserError when a model cannot read a data set: samples of another shape, or outside its likelihood's range."""
    if data.shape != model.shape:
        raise UserError(f"{data.address} has samples of shape {data.shape}, the model takes {model.shape}")
    if data.x.dtype != np.uint8:
        for rows in chunks(np.arange(len(data))):
            model.likelihood.check(data.samples(rows))


def chunks(rows: np.ndarray, size: int = CHUNK) -> Iterator[np.ndarray]:
    """Rows in parts of a size."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def names(data: Dataset) -> np.ndarray:
    """What the samples are called, ``(n,)`` texts: as the data name them, or by their row, counted from 0."""
    return np.arange(len(data)).astype(str) if data.ids is None else np.asarray(data.ids, str)


def splits(data: Dataset) -> np.ndarray:
    """Per sample the split that it is in, ``(n,)`` texts; '' for none."""
    out = np.full(len(data), "", "U5")
    for name, rows in data.splits.items():
        out[rows] = name
    return out


def known_labels(model: Model, data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """``values`` and ``observed``, both ``(n, labels)``, of the model's labels where the data have them.

    The data's own schema may differ: new data need not have all classes, and have other means.

    Raises:
        UserError: an entry that is not a value of the model's label (sample and label named).
    """
    values = np.zeros((len(data), len(model.schema)), np.float32)
    observed = np.zeros(values.shape, bool)
    for i, label in enumerate(model.schema):
        if label.name not in data.schema.names:
            continue
        column, theirs = data.schema.index(label.name), data.schema[label.name]
        observed[:, i] = data.observed[:, column]
        if theirs == label or (theirs.kind == label.kind == "continuous"):
            values[:, i] = data.values[:, column]
            continue
        for value in np.unique(data.values[observed[:, i], column]):
            here = observed[:, i] & (data.values[:, column] == value)
            try:
                values[here, i] = label.parse(theirs.format(float(value)))
            except UserError as error:
                raise UserError(f"{data.address}, sample {str(names(data)[here.argmax()])!r}: {error}") from None
    return values, observed


@torch.no_grad()
def codes(
    model: Model,
    data: Dataset,
    *,
    ignore_labels: bool = False,
    draw: torch.Generator | None = None,
    progress: Progress | None = None,
) -> Latents[Tensor]:
    """Codes of all samples, block by block, ``(n, size)``.

    Args:
        model: a trained model.
        data: the samples.
        ignore_labels: encode as if no label were known, so that codes depend on x alone.
        draw: draws of the posteriors by this generator, as decoders get them; by default their means.
        progress: told samples done and samples in all.
    """
    values, observed = known_labels(model, data) if not ignore_labels else (None, None)
    parts = []
    for rows in chunks(np.arange(len(data))):
        given = (None, None) if values is None or observed is None else _tensors(values[rows], observed[rows])
        posterior = model.encode(data.samples(rows), *given)
        parts.append(modes(posterior) if draw is None else sample(posterior, draw))
        if progress:
            progress(int(rows[-1]) + 1, len(data))
    return joined(parts)


def _tensors(values: np.ndarray, observed: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(values), torch.from_numpy(observed)


@torch.no_grad()
def predictions(model: Model, data: Dataset, progress: Progress | None = None) -> dict[str, list[Any]]:
    """Columns of a table of what the model predicts from x alone.

    Per label its predicted value under the label's name and ``LABEL:VALUE``, the probability of every value; for a number
    ``LABEL:mean`` and ``LABEL:sd``, in its own unit.
    """
    columns: dict[str, list[Any]] = {}
    for rows in chunks(np.arange(len(data))):
        answer = model.predict(data.samples(rows))
        table, likely = answer.table(), model.schema.decode(answer.mode().cpu())
        for label in model.schema:
            columns.setdefault(label.name, []).extend(likely[label.name])
            for value, numbers in table[label.name].items():
                columns.setdefault(f"{label.name}:{value}", []).extend(numbers.tolist())
        if progress:
            progress(int(rows[-1]) + 1, len(data))
    return columns


@dataclass(frozen=True, repr=False, eq=False)
class Codes(Mapping[str, np.ndarray]):
    """Codes of a data set, block by block: ``codes["w.Beard"]`` is ``(n, size)``.

    Attributes:
        blocks: block name -> ``(n, size)`` float32.
        ids: what the samples are called, ``(n,)``.
        split: the split of each, '' for none.
        labels: label name -> values of the samples, None where missing.
        about: what they are codes of, for records.
    """

    blocks: dict[str, np.ndarray]
    ids: np.ndarray
    split: np.ndarray
    labels: dict[str, list[Any]]
    about: dict[str, Any]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.blocks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def array(self) -> np.ndarray:
        """All blocks side by side, ``(n, coordinates)``."""
        return np.concatenate(list(self.blocks.values()), 1)

    def columns(self) -> dict[str, Any]:
        """As columns of a table: id, split, the labels, and ``BLOCK.0``, ``BLOCK.1``, ..."""
        found: dict[str, Any] = {"id": self.ids, "split": self.split, **self.labels}
        for name, code in self.blocks.items():
            found |= {f"{name}.{i}": column for i, column in enumerate(code.T)}
        return found

    def to_frame(self) -> IntoDataFrame:
        """As a frame with the columns of :meth:`columns`. Raises UserError where no library for frames is installed."""
        return frames.make(self.columns())

    def to_anndata(self, adata: AnnData | None = None) -> AnnData:
        """As an AnnData object: codes in ``obsm["X_labelspace"]`` and ``obsm["X_labelspace_BLOCK"]``.

        Args:
            adata: the object that the samples came from: it gets them, in place, and is returned; cells without codes get NaN.
                By default a new object, whose X are the codes.

        Raises:
            UserError: anndata is not installed, or a sample is none of the object's cells.
        """
        try:
            import anndata
            import pandas as pd
        except ImportError:
            raise UserError("AnnData objects need anndata: pip install 'labelspace[bio]'") from None
        if adata is None:
            obs = pd.DataFrame({"split": self.split, **self.labels}, index=pd.Index(self.ids.astype(str)))
            names_ = [f"{name}.{i}" for name, code in self.blocks.items() for i in range(code.shape[1])]
            adata = anndata.AnnData(self.array, obs=obs, var=pd.DataFrame(index=pd.Index(names_)))
        places = {str(cell): i for i, cell in enumerate(adata.obs_names)}
        absent = [name for name in self.ids if str(name) not in places]
        if absent:
            raise UserError(f"the AnnData object has no cell {str(absent[0])!r}; the codes are of {len(absent)} others")
        rows = np.array([places[str(name)] for name in self.ids])
        for key, code in {KEY: self.array, **{f"{KEY}_{name}".replace("/", "_"): c for name, c in self.blocks.items()}}.items():
            placed = np.full((adata.n_obs, code.shape[1]), np.nan, np.float32)
            placed[rows] = code
            adata.obsm[key] = placed
        adata.uns["labelspace"] = {name: np.array(v) if isinstance(v, list) else v for name, v in self.about.items()}
        return adata

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {code.shape[1]}" for name, code in self.blocks.items())
        return f"Codes of {len(self.ids):,} samples: {sizes}"


@dataclass(frozen=True, repr=False, eq=False)
class Predictions(Mapping[str, list[Any]]):
    """Predicted labels of a data set: ``predictions["Beard"]`` has the most probable values, as users write them.

    Attributes:
        table: columns: per label its value, and ``LABEL:VALUE``, the probability of every value; of a number ``LABEL:mean`` and
            ``LABEL:sd``.
        ids: what the samples are called, ``(n,)``.
        split: the split of each, '' for none.
        names: of the labels.
    """

    table: dict[str, list[Any]]
    ids: np.ndarray
    split: np.ndarray
    names: tuple[str, ...]

    def __getitem__(self, name: str) -> list[Any]:
        return self.table[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def probabilities(self, label: str) -> dict[str, np.ndarray]:
        """Value -> ``(n,)`` probabilities of a label; of a number its mean and sd."""
        begin = f"{label}:"
        return {key.removeprefix(begin): np.array(column) for key, column in self.table.items() if key.startswith(begin)}

    def to_frame(self) -> IntoDataFrame:
        """As a frame: id, split and :attr:`table`. Raises UserError where no library for frames is installed."""
        return frames.make({"id": self.ids, "split": self.split, **self.table})

    def __repr__(self) -> str:
        return f"Predictions of {len(self.ids):,} samples: {', '.join(self.names) or 'no label'}"


def encoded(
    model: Model,
    data: Dataset,
    *,
    ignore_labels: bool = False,
    draw: torch.Generator | None = None,
    progress: Progress | None = None,
) -> Codes:
    """Codes of a data set with all that says what they are of; see :func:`codes`.

    Raises:
        UserError: samples that the model cannot read.
    """
    check_fit(model, data)
    found = codes(model, data, ignore_labels=ignore_labels, draw=draw, progress=progress)
    about = {
        "model": type(model).__name__,
        "blocks": [block.name for block in model.blocks],
        "sizes": [block.size for block in model.blocks],
        "labels": [block.label or "" for block in model.blocks],
        "labels_given": not ignore_labels,
        "drawn": draw is not None,
    }
    labels = dict(data.schema.decode(data.values, data.observed))
    return Codes({name: code.numpy() for name, code in found.items()}, names(data), splits(data), labels, about)


def predicted(model: Model, data: Dataset, progress: Progress | None = None) -> Predictions:
    """Predictions for a data set from x alone.

    Raises:
        UserError: samples that the model cannot read, or a model that predicts nothing.
    """
    check_fit(model, data)
    return Predictions(predictions(model, data, progress), names(data), splits(data), tuple(model.schema.names))
