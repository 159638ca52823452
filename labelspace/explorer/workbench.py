"""What all tabs of an explorer share: a run's model and data, codes of a part of the data, and charts of its blocks."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelspace import maps
from labelspace.blocks import Latents, modes
from labelspace.data import paths
from labelspace.data.dataset import Dataset
from labelspace.data.splits import SPLITS
from labelspace.errors import UserError
from labelspace.evaluation import probing
from labelspace.explorer.charts import Chart, chart
from labelspace.interventions import Labels
from labelspace.models.base import Model
from labelspace.training.fit import open_run

_CLOUD = 1200  # samples whose codes are drawn on maps
_ROWS = 10_000  # samples that scales are taken from
_FAR = 0.99  # a picture is far from the data when it is farther than this share of them
_TERM = re.compile(r"^(?P<name>.+?)\s*(?P<sign>!=|<=|>=|=|<|>)\s*(?P<value>.*)$")


@dataclass(frozen=True)
class Distance:
    """How far a sample is from the data, as shares of samples that are nearer.

    Attributes:
        reconstruction: share of the data that the model reconstructs better.
        code: share of the data whose codes lie nearer to the middle of all codes.
    """

    reconstruction: float
    code: float

    @property
    def warning(self) -> str:
        """What a user should know, empty when the sample is like the data."""
        if max(self.reconstruction, self.code) < _FAR:
            return ""
        what = "reconstructs it worse" if self.reconstruction >= self.code else "encodes it farther out"
        share = min(0.99, max(self.reconstruction, self.code))
        return (
            f"This picture is far from the data that the model was trained on (the model {what} than {share:.0%} of "
            "them): what edits of it show says little."
        )


class Workbench:
    """A run that is open for exploring; nothing in it changes, so that any number of tabs may read it.

    Args:
        home: the run directory.
        model: its model.
        data: its data.
    """

    def __init__(self, home: str | Path, model: Model, data: Dataset) -> None:
        self.home, self.model, self.data = paths.own(home), model.eval(), data
        # Held-back samples first: they say more about edits of new samples than those that were learnt.
        held = [data.rows(split) for split in reversed(SPLITS) if split in data.splits and split != "train"]
        rows = np.concatenate([*held, data.rows("train")])
        self.gallery = rows
        self._split, self._index = np.full(len(data), -1, np.int8), np.zeros(len(data), np.int64)  # of each row, for its name
        for number, split in enumerate(SPLITS):
            if split in data.splits:
                of_split = data.rows(split)
                self._split[of_split], self._index[of_split] = number, np.arange(len(of_split))
        chosen = np.concatenate([probing.chosen(data, split, _CLOUD) for split in reversed(SPLITS) if split in data.splits])
        self.cloud = np.sort(chosen[:_CLOUD])
        self.codes = probing.encoded(model, data, self.cloud)
        self._errors, self._norms = self._spread()

    @classmethod
    def open(cls, home: str | Path, data: Any = None) -> Workbench:
        """Opens a run. Raises UserError when the directory holds none, or its data cannot be opened any more.

        Args:
            home: the run directory.
            data: the data, where the run cannot open them itself; see :func:`labelspace.open_run`.
        """
        if not paths.own(home).is_dir():
            raise UserError(f"no such directory: {home}")
        if not (paths.own(home) / "config.yaml").exists():
            raise UserError(f"{home} is not a run directory (no config.yaml); labelspace train makes one")
        model, data = open_run(home, data)
        if tuple(model.shape) != data.shape:
            raise UserError(f"{home}: the model takes samples of shape {model.shape}, its data have {data.shape}")
        return cls(home, model, data)

    @property
    def is_image(self) -> bool:
        return self.data.is_image

    @functools.cached_property
    def features(self) -> tuple[str, ...]:
        """Names of the entries of a vector."""
        return self.data.entries

    @functools.cached_property
    def ranges(self) -> dict[str, list[float]]:
        """The scale of each entry of a vector: its least and largest value, in a part of the data where they are many."""
        x = self.data.x[:: max(1, -(-len(self.data) // _ROWS))]
        ends = np.stack([np.fmin.reduce(x, 0), np.fmax.reduce(x, 0)], 1).astype(float)
        return dict(zip(self.features, np.nan_to_num(ends).tolist(), strict=True))

    @property
    def classes(self) -> dict[str, list[str]]:
        """Names of the classes of the entries that are classes."""
        return {variable.name: list(variable.classes) for variable in self.data.variables if variable.classes}

    # -- samples ------------------------------------------------------------------------------------------------------

    def name(self, row: int) -> str:
        """A sample as commands name it, ``SPLIT:INDEX``."""
        return f"{SPLITS[self._split[row]]}:{self._index[row]}"

    def has(self, row: object) -> bool:
        """Whether this is the row of a sample."""
        return isinstance(row, int) and 0 <= row < len(self._split) and bool(self._split[row] >= 0)

    def row(self, name: str) -> int:
        """The inverse of :meth:`name`. Raises UserError when there is no such sample."""
        split, _, index = name.partition(":")
        if split not in self.data.splits or not index.isdecimal() or int(index) >= len(self.data.rows(split)):
            sizes = ", ".join(f"{s}:0 to {s}:{len(self.data.rows(s)) - 1}" for s in SPLITS if s in self.data.splits)
            raise UserError(f"there is no sample {name!r}; there are {sizes}")
        return int(self.data.rows(split)[int(index)])

    def values(self, row: int) -> dict[str, object]:
        """Label name -> what is known of a sample, None where missing."""
        decoded = self.data.schema.decode(self.data.values[[row]], self.data.observed[[row]])
        return {name: entries[0] for name, entries in decoded.items()}

    def search(self, text: str) -> np.ndarray:
        """Rows of the samples that a search text describes, held-back samples first.

        Args:
            text: terms with commas between them: ``LABEL=VALUE``, ``LABEL!=VALUE``, for numbers also ``<``, ``<=``, ``>``
                and ``>=``; ``LABEL=?`` finds samples without the label; ``SPLIT`` or ``SPLIT:INDEX`` by name.

        Raises:
            UserError: a term that is none of these, or a label or value that does not exist.
        """
        rows = self.gallery
        for term in filter(None, (part.strip() for part in text.split(","))):
            if term in self.data.splits:
                rows = rows[np.isin(rows, self.data.rows(term))]  # type: ignore[arg-type]
            elif match := _TERM.match(term):
                rows = rows[self._meets(rows, match["name"].strip(), match["sign"], match["value"].strip())]
            elif ":" in term:
                rows = rows[rows == self.row(term)]
            else:
                example = f"{self.data.schema.names[0]}=1" if len(self.data.schema) else "test:0"
                raise UserError(f"{term!r} is not a search; write {example}, or the name of a sample, such as test:0")
        return rows

    def _meets(self, rows: np.ndarray, name: str, sign: str, text: str) -> np.ndarray:
        column = self.data.schema.index(name)
        label, seen, values = self.data.schema[name], self.data.observed[rows, column], self.data.values[rows, column]
        if text == "?":
            return seen if sign == "!=" else ~seen
        value = label.parse(text)
        if np.isnan(value):
            raise UserError(f"label {name!r} is compared with nothing; expected a value")
        if sign not in ("=", "!=") and label.kind == "categorical":
            raise UserError(f"label {name!r} has classes without an order; search for {name}={text} or {name}!={text}")
        if label.discrete or sign not in ("=", "!="):
            found = {
                "=": values == value,
                "!=": values != value,
                "<": values < value,
                "<=": values <= value,
                ">": values > value,
                ">=": values >= value,
            }[sign]
        else:  # a number is as good as never met exactly
            found = (np.abs(values - value) <= 0.05 * label.scale) == (sign == "=")
        return seen & found

    # -- blocks -------------------------------------------------------------------------------------------------------

    @functools.cache  # noqa: B019  a workbench lives as long as the program
    def block_map(self, name: str) -> maps.BlockMap:
        """The map of a block, drawn with :attr:`cloud`."""
        return maps.block_map(self.model, self.data, name, self.codes, self.cloud)

    @functools.cache  # noqa: B019
    def chart(self, name: str, colour: str | None = None) -> Chart:
        """A block's map as it is drawn, coloured by a label: the block's own, unless it has none."""
        shown = self.block_map(name).block.label or colour
        return chart(self.model, self.data, self.block_map(name), shown)

    # -- is it like the data? -----------------------------------------------------------------------------------------

    def _spread(self) -> tuple[np.ndarray, np.ndarray]:
        """Sorted reconstruction errors and code norms of the cloud."""
        found = [self._far(self.data.samples(part), self.data.labels(part)) for part in probing.chunks(self.cloud)]
        errors, norms = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
        return np.sort(errors), np.sort(norms)

    @torch.no_grad()
    def _far(self, x: Tensor, labels: Labels | None) -> tuple[Tensor, Tensor]:
        """Mean squared reconstruction error and standardised squared distance of the free codes to their middle."""
        codes: Latents[Tensor] = modes(self.model.encode(x, *(labels or (None, None))))
        error = (self.model.decode(codes).mean_like(x) - x).flatten(1).square().nanmean(1)
        names = [block.name for block in (self.model.blocks.free or self.model.blocks)]
        middle = torch.cat([self.codes[name] for name in names], 1)
        code = torch.cat([codes[name] for name in names], 1)
        scale = middle.std(0).clamp_min(1e-6)
        return error, ((code - middle.mean(0)) / scale).square().mean(1)

    def distance(self, x: Tensor, labels: Labels | None = None) -> Distance:
        """How far one sample is from the data."""
        error, norm = self._far(x[None], labels)
        return Distance(
            float(np.searchsorted(self._errors, float(error)) / len(self._errors)),
            float(np.searchsorted(self._norms, float(norm)) / len(self._norms)),
        )
