"""A data set: samples, labels and three splits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch
from torch import Tensor

from labelspace.data import altered, learnable, paths, store, views
from labelspace.data.images import Background, Crop, Framing
from labelspace.data.splits import Split
from labelspace.data.truth import Truth
from labelspace.data.views import Sample, TorchView
from labelspace.errors import UserError, unknown
from labelspace.labels import Schema, frequencies
from labelspace.variables import Variable, describe

if TYPE_CHECKING:
    from anndata import AnnData
    from narwhals.typing import IntoDataFrame

    from labelspace.data.memory import Picture, Splits
    from labelspace.data.reading import Reading
    from labelspace.data.targets import Array, LabelColumns


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Samples with labels.

    :func:`labelspace.open` makes one of an address or of what is in memory, :meth:`from_frame` and its sisters of the latter.
    It has a length, ``data[3]`` is a :class:`Sample`, ``data[:10]`` or ``data[mask]`` a smaller data set.

    >>> import numpy as np, labelspace as ls
    >>> data = ls.Dataset.from_arrays(np.eye(6, dtype="f4"), {"odd": [0, 1, 0, 1, 0, 1]})
    >>> data
    Dataset memory:arrays: 6 vectors of 6
    splits: train 4, val 1, test 1
    labels: odd (0/1)
    >>> data[1].labels
    {'odd': 1}

    Attributes:
        address: what :func:`labelspace.open` was given.
        x: ``(n, d)`` float32 vectors, or ``(n, channels, height, width)`` uint8 images (memory-mapped or not).
        values: ``(n, labels)`` float32, see :mod:`labelspace.labels`.
        observed: ``(n, labels)`` bool.
        schema: the labels.
        splits: split name -> indices of its samples; "val" is absent where nothing is to be held back for validation.
        truth: the generator that the samples came from, where there is one; it draws true counterfactuals.
        factors: ``(n, factors)`` codes of the generator.
        notes: what a user should know about how the data were read (skipped files, standardisation).
        likelihood: what the source says the data are, as :func:`labelspace.likelihoods.build_likelihood` takes it
            ("table(...)"; empty: not said). Only tables may have missing cells, NaN in ``x``.
        variables: what the entries of a vector are called and mean, one per column of ``x``; empty where that is not known.
        ids: ``(n,)`` texts, what the source calls each sample (a file, a cell's barcode); None where it has no names.
        keys: name -> ``(n,)`` texts that say which samples belong together (a person, a patient) without being labels;
            '' is not known. See :meth:`group`.
        grouped: what the splits keep together, '' for nothing.
        seed: what it was opened with.
        supervision: fraction of the samples whose labels are used (see :meth:`hide`).
        label_noise: fraction of the labels that were made wrong (see :meth:`with_label_noise`).
        framing: how pictures were read: later ones are read alike.
        reading: what columns were read as, where the source has columns; None elsewhere.
    """

    address: str
    x: np.ndarray
    values: np.ndarray
    observed: np.ndarray
    schema: Schema
    splits: dict[Split, np.ndarray]
    truth: Truth | None = None
    factors: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    likelihood: str = ""
    variables: tuple[Variable, ...] = ()
    ids: np.ndarray | None = None
    keys: Mapping[str, np.ndarray] = field(default_factory=dict)
    grouped: str = ""
    seed: int = 0
    supervision: float = 1.0
    label_noise: float = 0.0
    framing: Framing = field(default_factory=Framing)
    reading: Reading | None = None

    # -- from memory --------------------------------------------------------------------------------------------------

    @classmethod
    def from_arrays(
        cls,
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
    ) -> Dataset:
        """A data set of an array, a tensor or a list of rows.

        Args:
            x: ``(n, d)`` numbers, where NaN and None are missing cells; or pictures, ``(n, h, w)``, ``(n, h, w, channels)`` or
                ``(n, channels, h, w)``: uint8, in [0, 1], or larger whole numbers, which are scaled by the range
                of all.
            labels: columns by name (a mapping or a frame), one column, or an array ``(n, labels)``; None, NaN and blanks are
                missing.
            names: what the columns of vectors are called.
            ids: what the samples are called.
            kinds: label -> binary, categorical or continuous, where that is not to be inferred.
            splits: rows of "train", "val" and "test", or one of these words for each sample; by default a tenth each is held
                back, drawn by the seed.
            group: what splits keep together: the name of a discrete label, or an entry for each sample.
            seed: of the splits.
            name: what the data are called in messages.

        Raises:
            UserError: what is wrong, with the row or the column.

        >>> Dataset.from_arrays([[1.0, 2.0], [3.0, None], [5.0, 6.0]], ["a", "b", "a"]).schema.names
        ('label',)
        """
        from labelspace.data import memory

        return memory.from_arrays(
            x, labels, names=names, ids=ids, kinds=kinds, splits=splits, group=group, seed=seed, name=name
        )

    @classmethod
    def from_frame(
        cls,
        frame: IntoDataFrame,
        labels: Iterable[str],
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
    ) -> Dataset:
        """A data set of a frame (pandas, polars, pyarrow, whatever narwhals reads): some columns are labels, the others x.

        Args:
            frame: its columns have texts as names; missing cells are as the library writes them.
            labels: names of the columns that are labels.
            id: the column that names the rows; by default the index of pandas where it is one.
            drop: columns to leave out.
            kinds: column -> kind where that is not to be inferred: of x continuous, categorical or count, of labels binary,
                categorical or continuous.
            missing: texts that stand for no value, in every column; or column -> such texts.
            decimal: the decimal mark of numbers that are texts, "," or "."; by default it is found.
            classes: column -> its classes in their order, where it is not to have others.
            splits, seed, name: as in :meth:`from_arrays`.
            group: the column that says which rows belong together.

        Raises:
            UserError: what is wrong, with the row and the column.

        >>> import pandas as pd
        >>> Dataset.from_frame(pd.DataFrame({"a": [1.5, 2, 3], "y": ["u", "v", "u"]}), ["y"]).entries
        ('a',)
        """
        from labelspace.data import memory

        return memory.from_frame(
            frame,
            labels,
            id=id,
            drop=drop,
            kinds=kinds,
            missing=missing,
            decimal=decimal,
            classes=classes,
            splits=splits,
            group=group,
            seed=seed,
            name=name,
        )

    @classmethod
    def from_images(
        cls,
        pictures: Iterable[Picture] | Mapping[str, Picture],
        labels: LabelColumns = None,
        *,
        size: int = 0,
        channels: int = 0,
        crop: Crop = "centre",
        background: Background = "white",
        ids: Sequence[Any] | np.ndarray | None = None,
        kinds: Mapping[str, str] | None = None,
        splits: Splits = None,
        group: str | Array = "",
        seed: int = 0,
        name: str = "pictures",
    ) -> Dataset:
        """A data set of pictures of any size and mode: files, PIL images, arrays; a mapping names them.

        Args:
            pictures: files, PIL images, or arrays as in :meth:`from_arrays`.
            labels, ids, kinds, splits, group, seed, name: as in :meth:`from_arrays`.
            size: side of the square that they are fitted to; 0 keeps their size where it is the same and models take it, else
                it is 64.
            channels: 1 (grey), 3 or 4; 0 is 1 where all are grey, else 3 (4 with ``background="keep"`` where some are
                transparent).
            crop: how they are fitted, see :data:`labelspace.data.images.CROPS`.
            background: what transparent pictures are put on: "white" or "black"; or "keep", for a fourth channel.

        Raises:
            UserError: a picture that cannot be read, by its place.

        >>> from PIL import Image
        >>> Dataset.from_images([Image.new("L", (20, 12)), Image.new("RGB", (9, 9))], [0, 1], size=8).shape
        (3, 8, 8)
        """
        from labelspace.data import memory

        return memory.from_images(
            pictures,
            labels,
            size=size,
            channels=channels,
            crop=crop,
            background=background,
            ids=ids,
            kinds=kinds,
            splits=splits,
            group=group,
            seed=seed,
            name=name,
        )

    @classmethod
    def from_anndata(
        cls,
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
        progress: Callable[[int, int], object] | None = None,
    ) -> Dataset:
        """A data set of cells by genes, in memory, a view, or backed by a file.

        Args:
            adata: the object; it is not changed.
            labels: columns of obs; by default all that hold classes or booleans.
            layer, raw: the matrix, X by default.
            counts: whether entries are counts; "auto": where all are whole numbers >= 0.
            genes: keep so many, the most variable; 0 keeps all.
            splits, seed, name: as in :meth:`from_arrays`.
            group: a column of obs that says which cells belong together.
            progress: called with cells read and cells in all.

        Raises:
            UserError: an unknown layer, gene or column of obs, or entries that cannot be used.
        """
        from labelspace.data import memory

        return memory.from_anndata(
            adata,
            labels,
            layer=layer,
            raw=raw,
            counts=counts,
            genes=genes,
            splits=splits,
            group=group,
            seed=seed,
            name=name,
            progress=progress,
        )

    @classmethod
    def from_torch(
        cls,
        dataset: torch.utils.data.Dataset[Any] | Iterable[Any],
        labels: LabelColumns | str = None,
        *,
        x: str = "",
        size: int = 0,
        channels: int = 0,
        crop: Crop = "centre",
        background: Background = "white",
        kinds: Mapping[str, str] | None = None,
        splits: Splits = None,
        group: str | Array = "",
        seed: int = 0,
        name: str = "torch",
    ) -> Dataset:
        """A data set of the items of a torch data set, read into memory once.

        Items are samples, ``(sample, label, ...)`` tuples, or mappings. Samples are vectors or pictures. Where the data set has
        ``classes``, as those of torchvision do, they name the label's classes.

        Args:
            dataset: the data set, or any iterable of such items.
            labels: names for the items' other entries, in their order (of mappings: which keys); or labels as in
                :meth:`from_arrays`.
            x: which key of mappings is the sample.
            size, channels, crop, background: of pictures, as in :meth:`from_images`.
            kinds, splits, group, seed, name: as in :meth:`from_arrays`.

        Raises:
            UserError: an item that is not like the others, or mappings without ``x``.

        >>> pairs = torch.utils.data.TensorDataset(torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 1]))
        >>> Dataset.from_torch(pairs, "side").schema.names
        ('side',)
        """
        from labelspace.data import memory

        return memory.from_torch(
            dataset,
            labels,
            x=x,
            size=size,
            channels=channels,
            crop=crop,
            background=background,
            kinds=kinds,
            splits=splits,
            group=group,
            seed=seed,
            name=name,
        )

    # -- looked at ----------------------------------------------------------------------------------------------------

    @overload
    def __getitem__(self, rows: int) -> Sample: ...
    @overload
    def __getitem__(self, rows: slice | Sequence[int] | Sequence[bool] | np.ndarray | Tensor) -> Dataset: ...

    def __getitem__(self, rows: int | slice | Sequence[int] | Sequence[bool] | np.ndarray | Tensor) -> Sample | Dataset:
        """One sample by its place, or a data set of some: a slice, places, or a mask of all. Splits keep what is left of them.

        Raises:
            IndexError: there is no such sample.
            UserError: a mask of another length.
        """
        if isinstance(rows, int | np.integer):
            place = range(len(self))[int(rows)]
            labels = self.schema.decode(self.values[[place]], self.observed[[place]])
            name = str(place) if self.ids is None else str(self.ids[place])
            return Sample(self.samples([place])[0], {label: column[0] for label, column in labels.items()}, name)
        chosen = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        if chosen.dtype == bool:
            if chosen.shape != (len(self),):
                raise UserError(
                    f"{self.address}: a mask of {len(chosen):,} for {len(self):,} samples; expected one entry for each"
                )
            chosen = np.flatnonzero(chosen)
        chosen = np.arange(len(self))[chosen.astype(int)] if len(chosen) else np.zeros(0, int)
        return self.rows_only(chosen)

    def rows_only(self, rows: np.ndarray) -> Dataset:
        """Some of the samples, in this order; splits keep what is left of them."""
        home = np.full(len(self), "", "U5")
        for split, members in self.splits.items():
            home[members] = split
        splits: dict[Split, np.ndarray] = {split: np.flatnonzero(home[rows] == split) for split in self.splits}
        return replace(
            self,
            x=self.x[rows],
            values=self.values[rows],
            observed=self.observed[rows],
            splits={split: members for split, members in splits.items() if len(members)},
            factors=None if self.factors is None else self.factors[rows],
            ids=None if self.ids is None else self.ids[rows],
            keys={name: column[rows] for name, column in self.keys.items()},
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[row] for row in range(len(self)))

    def torch(self, split: Split | None = None) -> TorchView:
        """Samples of a split, or all, for ``torch.utils.data.DataLoader``: items are ``(x, values, observed)``.

        >>> data = Dataset.from_arrays(np.eye(10, dtype="f4"), [0, 1] * 5)
        >>> x, values, observed = next(iter(torch.utils.data.DataLoader(data.torch("train"), batch_size=4)))
        >>> tuple(x.shape), tuple(values.shape)
        ((4, 10), (4, 1))
        """
        return TorchView(self, np.arange(len(self)) if split is None else self.rows(split))

    def __repr__(self) -> str:
        return views.lines(self)

    def _repr_html_(self) -> str:
        return views.table(self)

    def fingerprint(self) -> str:
        """What tells these samples, labels and splits from all others: a digest of them."""
        digest = hashlib.sha256(repr((self.x.shape, str(self.x.dtype), self.schema.to_json())).encode())
        for part in (self.x, self.values, self.observed, *(rows.astype(np.int64) for _, rows in sorted(self.splits.items()))):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def save(self, path: str | PathLike[str]) -> Path:
        """Writes samples, labels, splits and names as a NumPy archive, which the address ``npz:FILE`` names.

        Raises:
            UserError: the file does not end in .npz, or a label or key is called as a part of such an archive.
        """
        from labelspace.data.sources import npz

        return npz.write(paths.own(path), self)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x.shape[1:])

    @property
    def is_image(self) -> bool:
        return self.x.ndim == 4

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, split: Split) -> np.ndarray:
        """Indices of the samples of a split."""
        if split not in self.splits:
            raise unknown("split", split, self.splits)
        return self.splits[split]

    @property
    def entries(self) -> tuple[str, ...]:
        """What the entries of a vector are called: the names of its variables where they are known, else x1, x2, ..."""
        return tuple(v.name for v in self.variables) or tuple(f"x{i + 1}" for i in range(self.shape[0]))

    def samples(self, rows: Sequence[int] | np.ndarray) -> Tensor:
        """Samples as models take them: float32, images scaled to [0, 1]."""
        return as_float(torch.from_numpy(np.ascontiguousarray(self.x[np.asarray(rows)])))

    def labels(self, rows: Sequence[int] | np.ndarray) -> tuple[Tensor, Tensor]:
        """``values`` and ``observed`` of some samples, both ``(n, labels)``."""
        rows = np.asarray(rows)
        return torch.from_numpy(self.values[rows]), torch.from_numpy(self.observed[rows])

    def frequencies(self) -> list[list[float]]:
        """Label frequencies of the training split; see :func:`labelspace.labels.frequencies`."""
        rows = self.rows("train")
        return frequencies(self.schema, self.values[rows], self.observed[rows])

    def range(self) -> tuple[float, float]:
        """Smallest and largest entry of a sample, as models see it; missing cells are left out."""
        if self.x.dtype == np.uint8:
            return 0.0, 1.0
        return float(np.nanmin(self.x)), float(np.nanmax(self.x))

    def select(self, labels: Iterable[str] | None) -> Dataset:
        """The same samples with some of the labels, in the order given."""
        if labels is None:
            return self
        names = list(labels)
        schema = self.schema.select(names)
        columns = [self.schema.index(name) for name in names]
        truth = self.truth and self.truth.select(names)
        return replace(self, values=self.values[:, columns], observed=self.observed[:, columns], schema=schema, truth=truth)

    def group(self, name: str, seed: int) -> Dataset:
        """The same samples, split so that those that belong together (of one person, say) are in one split.

        Splits that keep them together already stay as they are. Otherwise whole groups are drawn anew, in a random order, for
        splits about as large as they were. A sample whose group is not known is a group of its own.

        Args:
            name: one of ``keys``, or a discrete label.
            seed: seed of the order.

        Raises:
            UserError: an unknown name, or fewer groups than splits.
        """
        return altered.grouped(self, name, seed)

    def hide(self, supervision: float, seed: int) -> Dataset:
        """The same samples, with the labels of only some of them: to learn from few labels when many are known.

        A sample keeps all its labels or none. Training and validation samples are chosen alike; test samples keep theirs.
        With the same seed, those that keep their labels at a low supervision also keep them at a higher one.

        Args:
            supervision: fraction of samples that keep their labels, at least one sample of each split; in (0, 1].
            seed: seed of the choice.

        Raises:
            UserError: a supervision outside (0, 1].
        """
        return altered.hidden(self, supervision, seed)

    def with_label_noise(self, share: float, seed: int) -> Dataset:
        """The same samples, some of their labels wrong: to learn what wrong labels cost.

        Each discrete label of a training or validation sample is replaced by another of its values with probability
        ``share``, each number by that of another sample. Test samples keep theirs.

        Args:
            share: fraction of labels that become wrong, in [0, 1).
            seed: seed of the choice.

        Raises:
            UserError: a share outside [0, 1).
        """
        return altered.mislabelled(self, share, seed)

    def counterfactuals(
        self, label: str, value: float, rows: Sequence[int] | np.ndarray, progress: store.Progress | None = None
    ) -> tuple[Tensor, tuple[str, ...]]:
        """What some samples truly are with one label changed and everything else kept, without noise of measurement.

        Args:
            label: the label to change.
            value: its new value (0/1, class index or number); a value has one sample for each of its styles, a number has one,
                of the nearest number that can be drawn.
            rows: which samples.
            progress: called with pictures drawn and pictures in all.

        Returns:
            ``(n, styles, *shape)`` float32, pictures in [0, 1], and the names of the styles.

        Raises:
            UserError: the samples were not drawn from known factors, or never with this value.
        """
        truth, factors = self._generator()
        changed = truth.changed(factors[np.asarray(rows)], label, value)
        x = truth.expected(changed.reshape(-1, changed.shape[-1]), self.shape, progress)
        found = torch.from_numpy(np.array(x)).view(len(rows), changed.shape[1], *self.shape)
        return as_float(found), truth.styles(label, value)

    def expected(self, rows: Sequence[int] | np.ndarray) -> Tensor:
        """What samples are without noise of measurement and with all cells, ``(n, *shape)``; pictures are as they are.

        Raises:
            UserError: the samples were not drawn from known factors.
        """
        truth, factors = self._generator()
        return self.samples(rows) if self.is_image else torch.from_numpy(truth.expected(factors[np.asarray(rows)], self.shape))

    def style(self, label: str, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """For each sample, the index of its own style among the styles of its own value of a label, ``(n,)``; 0 for numbers."""
        truth, factors = self._generator()
        return truth.style(label, factors[np.asarray(rows)])

    def independent(self, seed: int = 0, progress: store.Progress | None = None) -> Dataset:
        """As many samples of the same generator, in the same splits, whose labels do not go together and are never rare.

        See :meth:`labelspace.data.truth.Truth.independent`. A judge that is trained on them reads counterfactuals as well as
        samples: it cannot take one label for another.

        Raises:
            UserError: the samples were not drawn from known factors.
        """
        truth, factors = self._generator()
        rng = np.random.default_rng([seed, 7])
        drawn = truth.independent(factors, rng)
        x = truth.measured(truth.expected(drawn, self.shape, progress), rng)
        values, observed = truth.labels(drawn)
        return replace(self, x=x, values=np.where(observed, values, 0), observed=observed, factors=drawn)

    def _generator(self) -> tuple[Truth, np.ndarray]:
        if self.truth is None or self.factors is None:
            raise UserError(
                f"{self.address} has no known truth; only data that are generated from factors have it (labelspace data list)"
            )
        return self.truth, self.factors

    def check(self, *, training: bool = True) -> Dataset:
        """Refuses data that nothing can be learnt from; returns itself, with notes of what is hard to learn from.

        Notes say which labels are copies of others or follow from them, which classes have hardly a sample, and which columns
        of vectors are constant, in the training split.

        Args:
            training: False asks only that the entries can be used, for data that a trained model is to read.

        Raises:
            UserError: samples without entries; infinity or, except in tables, NaN in x (first row named); too few samples; a
                table's column without any cell in the training split; a label without two values, or with a class that is never
                seen, there.
        """
        learnable.refuse(self, training)
        if not training:
            return self
        return replace(self, notes=(*self.notes, *(note for note in learnable.hard(self) if note not in self.notes)))

    def describe(self) -> dict:
        """What was found, as plain data: counts, shape, range, missing cells of vectors, per label its kind, frequencies
        and missing entries, and the same of named columns."""
        low, high = self.range()
        labels = []
        for i, label in enumerate(self.schema):
            seen = self.observed[:, i]
            row: dict = {"name": label.name, "kind": label.kind, "missing": int((~seen).sum())}
            if label.discrete:
                counts = np.bincount(self.values[seen, i].astype(int), minlength=len(label.values))
                row["counts"] = {name: int(c) for name, c in zip(label.values, counts, strict=True)}
            else:
                row |= {"mean": label.format(label.mean), "sd": label.scale}
            labels.append(row)
        return {
            "address": self.address,
            "samples": len(self),
            "splits": {name: len(rows) for name, rows in self.splits.items()},
            "shape": list(self.shape),
            "kind": "image" if self.is_image else "vector",
            "range": [low, high],
            **({} if self.is_image else {"missing_cells": int(np.isnan(self.x).sum())}),
            "labels": labels,
            **({"variables": describe(self.variables, self.x)} if self.variables else {}),
            "groups": {name: len(np.unique(column[column != ""])) for name, column in self.keys.items()},
            "truth": self.truth is not None,
            "notes": list(self.notes),
            **({} if self.reading is None else {"reading": self.reading.to_dict()}),
        }


def as_float(x: Tensor) -> Tensor:
    """Samples as models take them: uint8 images become float32 in [0, 1]; float samples are kept."""
    return x.to(torch.float32).div_(255) if x.dtype == torch.uint8 else x.to(torch.float32)
