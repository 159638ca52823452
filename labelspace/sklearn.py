"""A model as a scikit-learn transformer: codes of samples as features, in pipelines and searches.

For: codes as the input of other estimators; predictions of several labels with missing entries. Not for: edits, which need the
model itself (``transformer.model_`` is one, and takes everything that :mod:`labelspace.interventions` has).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from labelspace.blocks import concatenate
from labelspace.data.cells import Column, plain
from labelspace.data.columns import Columns, read_labels
from labelspace.data.dataset import Dataset
from labelspace.data.reading import Asked, Reading
from labelspace.data.splits import Split
from labelspace.errors import UserError
from labelspace.labels import Label, Schema
from labelspace.models import build, model_class, of_data
from labelspace.training.fit import fit


def _one_discrete(self: LabelspaceTransformer) -> bool:
    check_is_fitted(self)
    if len(self.schema_) != 1 or not self.schema_.labels[0].discrete:
        raise AttributeError("predict_proba needs one label that is binary or categorical")
    return True


class LabelspaceTransformer(TransformerMixin, BaseEstimator):
    """Trains a model on samples and labels; transforms samples into their codes.

    Samples of different columns should be put on one scale before (``StandardScaler``). Codes are those of x alone: the labels
    that an encoder reads are predicted.

    Args:
        model: name of a model (``labelspace models``).
        kinds: kinds of the labels where they are not to be inferred: label name -> "binary", "categorical" or "continuous".
        blocks: names of the latent blocks that :meth:`transform` returns; all by default.
        epochs: passes over the samples; the model's own recipe by default.
        validation: fraction of samples that are held back to find the best epoch; 0 trains on all and keeps the last.
        arguments: the model's own arguments (``{"latent": 8}``).
        options: training options (:class:`labelspace.Options`).
        out: run directory to write; nothing is written without one.
        random_state: seed of weights, splits and training.

    Attributes:
        model_: the trained model.
        schema_: its labels. They have the names of the columns of y; else "label", or "label0", "label1", ...
        classes_: original values of a single discrete label; of several labels a list with None for numbers.
        n_features_in_, feature_names_in_: as in scikit-learn.
    """

    def __init__(
        self,
        model: str = "lsvae",
        *,
        kinds: Mapping[str, str] | None = None,
        blocks: Sequence[str] | None = None,
        epochs: int | None = None,
        validation: float = 0.1,
        arguments: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        out: str | Path | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.model = model
        self.kinds = kinds
        self.blocks = blocks
        self.epochs = epochs
        self.validation = validation
        self.arguments = arguments
        self.options = options
        self.out = out
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> LabelspaceTransformer:  # noqa: N803
        """Trains the model.

        Args:
            X: ``(n, d)`` numbers, or ``(n, channels, height, width)`` images in [0, 1] or of type uint8.
            y: ``(n,)`` or ``(n, labels)``: an array, list, Series or DataFrame; None, NaN and '' are missing.

        Raises:
            ValueError: labels that nothing can be learnt from, or that do not go with X.
        """
        x = self._samples(X, reset=True)
        if y is None and model_class(self.model).trained_on_labels():
            raise UserError(f"{self.model} requires y to be passed, but the target y is None; without labels use vae")
        table = _columns(y, len(x))
        read = Columns({name: Column.of(name, entries) for name, entries in table.items()}, Asked(self.kinds or {}))
        if not 0 <= self.validation < 1:
            raise UserError(f"validation is a fraction of the samples, at least 0 and below 1; got {self.validation}")
        schema, values, observed, readings = read_labels(read, table, len(x), where=lambda row: f"row {row + 1} of y")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        splits = _splits(schema, values, observed, self.validation, seed)
        likelihood = str((self.arguments or {}).get("likelihood", ""))
        reading = Reading(tuple(readings))
        data = Dataset(
            "memory:transformer", x, values, observed, schema, splits, likelihood=likelihood, seed=seed, reading=reading
        )
        data.check()
        given = {"seed": seed, **({} if self.epochs is None else {"epochs": self.epochs}), **(self.options or {})}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build(self.model, data, **(self.arguments or {}))
            for name in self.blocks or ():
                model.blocks.named(name)
            self.model_ = fit(model, data, out=self.out, progress=False, **given).model
        self.schema_ = schema
        originals = [_originals(label, values[:, i], table[label.name]) for i, label in enumerate(schema)]
        self.classes_ = originals[0] if len(originals) == 1 else originals
        self._flat = _dimensions(y) == 1
        self._originals = originals
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Mean codes ``(n, coordinates)`` of the blocks, side by side."""
        check_is_fitted(self)
        data = self._dataset(X)
        codes = of_data.codes(self.model_, data, ignore_labels=True)
        return concatenate(codes.take(self._names())).numpy()

    def inverse_transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Samples decoded from codes of all blocks, as :meth:`transform` returns them: the mean of p(x | codes).

        Raises:
            ValueError: the transformer returns some of the blocks only, or codes of another width.
        """
        check_is_fitted(self)
        if self._names() != [block.name for block in self.model_.blocks]:
            raise UserError("a sample is decoded from all blocks; this transformer returns only " + ", ".join(self._names()))
        code = torch.from_numpy(check_array(X, dtype=np.float32))  # type: ignore[arg-type]
        with torch.no_grad():
            parts = [self.model_.decode(self.model_.blocks.split(part)).mean for part in code.split(of_data.CHUNK)]
        return torch.cat(parts).numpy()

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The most probable labels: ``(n,)`` where y was, else ``(n, labels)``, with the values that y had."""
        check_is_fitted(self)
        data = self._dataset(X)
        modes = [self.model_.predict(data.samples(rows)).mode() for rows in of_data.chunks(np.arange(len(data)))]
        values = torch.cat(modes).numpy()
        found = [v if known is None else known[v.astype(int)] for v, known in zip(values.T, self._originals, strict=True)]
        if self._flat:
            return found[0]
        kind = np.result_type(*found) if all(f.dtype.kind in "fiu" for f in found) else object
        return np.stack([f.astype(kind) for f in found], 1)

    @available_if(_one_discrete)
    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Probabilities ``(n, classes)`` of a single discrete label, in the order of ``classes_``."""
        data = self._dataset(X)
        parts = [self.model_.predict(data.samples(rows)).log_table(0).exp() for rows in of_data.chunks(np.arange(len(data)))]
        return torch.cat(parts).numpy()

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns of :meth:`transform`: ``BLOCK.0``, ``BLOCK.1``, ..."""
        check_is_fitted(self)
        sizes = {block.name: block.size for block in self.model_.blocks}
        return np.array([f"{name}.{i}" for name in self._names() for i in range(sizes[name])], object)

    # -- what they share ----------------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        wanted = None if self.blocks is None else set(self.blocks)
        return [block.name for block in self.model_.blocks if wanted is None or block.name in wanted]

    def _samples(self, given: Any, *, reset: bool) -> np.ndarray:
        table = str((self.arguments or {}).get("likelihood", "")).startswith("table")
        pictures = _dimensions(given) == 4
        kind = np.uint8 if pictures and getattr(given, "dtype", None) == np.uint8 else np.float32
        checked: Any = validate_data(
            self,
            given,
            reset=reset,
            dtype=kind,
            allow_nd=pictures,
            ensure_2d=not pictures,
            ensure_all_finite="allow-nan" if table else True,
            ensure_min_samples=2 if reset else 1,
        )
        return checked

    def _dataset(self, given: Any) -> Dataset:
        x = self._samples(given, reset=False)
        empty = np.zeros((len(x), 0), np.float32)
        data = Dataset("memory:transformer", x, empty, empty.astype(bool), Schema(), {})
        of_data.check_fit(self.model_, data)
        return data

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = model_class(self.model).trained_on_labels()
        tags.target_tags.multi_output = True
        tags.target_tags.two_d_labels = True
        tags.transformer_tags.preserves_dtype = []
        tags.non_deterministic = False
        return tags


def _columns(y: Any, n: int) -> dict[str, list[Any]]:
    """Labels as columns of entries, None where missing; whole numbers are written without a fraction."""
    if y is None:
        return {}
    entries = np.asarray(y.astype(object).where(y.notna(), None) if hasattr(y, "notna") else y, object)  # pandas has its own NA
    if entries.ndim not in (1, 2):
        raise UserError(f"y has shape {entries.shape}; expected (n,) or (n, labels)")
    if len(entries) != n:
        raise UserError(f"X has {n} samples and y {len(entries)}; expected as many")
    if hasattr(y, "columns"):
        names = [str(name) for name in y.columns]
    elif entries.ndim == 1:
        names = [str(y.name) if getattr(y, "name", None) is not None else "label"]
    else:
        names = [f"label{i}" for i in range(entries.shape[1])]
    if len(set(names)) < len(names):
        raise UserError(f"y has two columns of the same name; expected different ones, got {', '.join(names)}")
    table = entries if entries.ndim == 2 else entries[:, None]
    return {name: [_entry(entry) for entry in column] for name, column in zip(names, table.T, strict=True)}


def _dimensions(given: Any) -> int:
    return given.ndim if hasattr(given, "ndim") else np.asarray(given).ndim


def _entry(entry: Any) -> Any:
    """An entry of y, None where it is missing. A whole number is written without a fraction."""
    found = plain(entry)
    if isinstance(found, float) and not np.isfinite(found):
        raise UserError("y holds infinity, which no label can be")
    return int(found) if isinstance(found, float) and found.is_integer() else found


def _originals(label: Label, values: np.ndarray, column: list[Any]) -> np.ndarray | None:
    """Per value of a discrete label what it was called in y; None for a number."""
    if not label.discrete:
        return None
    called = {int(value): entry for value, entry in zip(values, column, strict=True) if entry is not None}
    return np.array([called.get(i, label.format(i)) for i in range(len(label.values))])


def _splits(schema: Schema, values: np.ndarray, observed: np.ndarray, share: float, seed: int) -> dict[Split, np.ndarray]:
    """Training and validation rows; every value of every discrete label stays in training."""
    n = len(values)
    order = np.random.default_rng(seed).permutation(n)
    held = np.zeros(n, bool)
    held[order[: min(round(share * n), n - 1)]] = True
    for i, label in enumerate(schema):
        for value in range(len(label.values)):
            rows = np.flatnonzero(observed[:, i] & (values[:, i] == value))
            if len(rows) and held[rows].all():
                held[rows[0]] = False
    splits: dict[Split, np.ndarray] = {"train": np.flatnonzero(~held)}
    return {**splits, "val": np.flatnonzero(held)} if held.any() else splits
