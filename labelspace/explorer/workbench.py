"""What all tabs of an explorer share: a run's model and data, codes of a part of the data, and charts of its blocks."""

from __future__ import annotations

import functools
import math
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelspace import maps
from labelspace.blocks import Latents, modes
from labelspace.data import paths
from labelspace.data.dataset import Dataset
from labelspace.data.sources import shown_address
from labelspace.data.splits import SPLITS
from labelspace.errors import UserError
from labelspace.evaluation import diagnosis, kept, probing
from labelspace.explorer.charts import Chart, chart
from labelspace.explorer.nearest import Neighbours
from labelspace.explorer.steps import short
from labelspace.interventions import Labels
from labelspace.models.base import Model
from labelspace.precision import as_double_on_cpu
from labelspace.training.fit import open_run

CROWD = 20_000  # samples that are drawn on maps when all are asked for
_CLOUD = 1200  # samples whose codes are drawn on maps
_ROWS = 10_000  # samples that scales are taken from
FAR = 0.99  # a picture is far from the data when it is farther than this share of them
_BARS = 24  # of a histogram
_QUICK = 0.012  # seconds for reading all labels, up to which that is done for every picture on the way
_SAME = 1e-9  # a variance beside the mean square: below it all entries are the same
_OF_USE = 0.05  # of the variance: reconstructions that explain less show nothing of a sample
_CLEAN = 0.1  # of the way from chance to certainty: a leak below it is none
_LONG = 19  # digits of a number that no row has
_TERM = re.compile(r"^(?P<name>.+?)\s*(?P<sign>!=|<=|>=|=|<|>)\s*(?P<value>.*)$")


@dataclass(frozen=True)
class Read:
    """What the model itself reads of a label in a sample.

    Attributes:
        value: as people write it.
        sure: its probability; of a number its standard deviation.
        about: both as text.
    """

    value: Any
    sure: float
    about: str


@dataclass(frozen=True)
class Leak:
    """What a block tells of labels that it should not.

    Attributes:
        word: "none", "little" or "strong".
        about: which label, and how far.
    """

    word: str
    about: str


@dataclass(frozen=True)
class Distance:
    """How far a sample is from the data, as shares of samples that are nearer.

    Attributes:
        reconstruction: share of the data that the model reconstructs better.
        code: share of the data whose codes lie nearer to training codes, in the block where that is largest.
    """

    reconstruction: float
    code: float

    @property
    def warning(self) -> str:
        """What a user should know, empty when the sample is like the data."""
        if max(self.reconstruction, self.code) < FAR:
            return ""
        what = "reconstructs it worse" if self.reconstruction >= self.code else "encodes it farther out"
        share = min(0.99, max(self.reconstruction, self.code))
        return (
            f"This sample is far from the data that the model was trained on (the model {what} than {share:.0%} of "
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
        self._errors, self.explained = self._spread()

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

    @property
    def address(self) -> str:
        """The data's address as strangers may see it: of a file its name, and not in which directories it lies."""
        return shown_address(self.data.address)

    @functools.cached_property
    def features(self) -> tuple[str, ...]:
        """Names of the entries of a vector."""
        return self.data.entries

    @functools.cached_property
    def ranges(self) -> dict[str, list[float]]:
        """The scale of each entry of a vector: its least and largest value, in a part of the data where they are many."""
        x = self.data.x[:: max(1, -(-len(self.data) // _ROWS))]
        ends = np.stack([np.fmin.reduce(x, 0), np.fmax.reduce(x, 0)], 1).astype(float)
        ends += np.array([v.origin for v in self.data.variables] or [0.0])[:, None]
        return dict(zip(self.features, np.nan_to_num(ends).tolist(), strict=True))

    @functools.cache  # noqa: B019  a workbench lives as long as the program
    def histogram(self, label: str) -> tuple[float, float, list[int]]:
        """The least and the largest value that the training data have of a number, and how many lie in each part between."""
        data, kind = self.data, self.data.schema[label]
        rows, column = data.rows("train"), data.schema.index(label)
        seen = data.values[rows, column][data.observed[rows, column]]
        if not len(seen) or seen.min() == seen.max():
            middle = float(seen[0]) if len(seen) else kind.mean  # type: ignore[attr-defined]
            seen = np.array([middle - kind.scale, middle + kind.scale])  # type: ignore[attr-defined]
        counts, ends = np.histogram(seen, _BARS)
        return float(kind.format(float(ends[0]))), float(kind.format(float(ends[-1]))), counts.tolist()

    def text(self, entry: int, value: float) -> str:
        """An entry of a vector as it is shown: its class, or a number with what digits tell it from others."""
        if math.isnan(value):
            return "missing"
        variable = self.data.variables[entry] if self.data.variables else None
        if variable is not None and variable.classes:
            return variable.format(value)
        return short(value if variable is None else variable.number(value), self.digits[self.features[entry]])

    @functools.cached_property
    def digits(self) -> dict[str, int]:
        """How many digits tell numbers of an entry from each other: four, and more where all are far from zero."""
        far = {name: max(abs(low), abs(high)) / max(high - low, 1e-12) for name, (low, high) in self.ranges.items()}
        return {name: 4 if times < 10 else min(15, 4 + math.ceil(math.log10(times))) for name, times in far.items()}

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
        number = int(index) if index.isdecimal() and len(index) < _LONG else -1
        if split not in self.data.splits or not 0 <= number < len(self.data.rows(split)):
            sizes = ", ".join(f"{s}:0 to {s}:{len(self.data.rows(s)) - 1}" for s in SPLITS if s in self.data.splits)
            raise UserError(f"there is no sample {name!r}; there are {sizes}")
        return int(self.data.rows(split)[number])

    def values(self, row: int) -> dict[str, object]:
        """Label name -> what is known of a sample, None where missing."""
        decoded = self.data.schema.decode(self.data.values[[row]], self.data.observed[[row]])
        return {name: entries[0] for name, entries in decoded.items()}

    def decoded(self, labels: Labels | None) -> dict[str, Any]:
        """Label name -> what one sample's labels ``(1, labels)`` say, as a user writes it; None where missing."""
        if labels is None:
            return dict.fromkeys(self.model.schema.names)
        decoded = self.model.schema.decode(*(part.cpu().numpy() for part in labels))
        return {name: entries[0] for name, entries in decoded.items()}

    @property
    def example(self) -> str:
        """A search that finds something."""
        schema = self.data.schema
        if not len(schema):
            return "test"
        label = schema.labels[0]
        middle = label.format(label.mean) if not label.discrete else None  # type: ignore[attr-defined]
        return f"{label.name}={label.values[-1]}" if label.discrete else f"{label.name}>{middle:.4g}"

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
                raise UserError(f"{term!r} is not a search; write {self.example}, or the name of a sample, such as test:0")
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
    def neighbour_map(self, name: str) -> maps.NeighbourMap:
        """The same by t-SNE, which takes some seconds when it is first asked for."""
        return maps.neighbour_map(self.model, name, self.codes, self.cloud)

    @functools.cached_property
    def crowd(self) -> tuple[np.ndarray, Latents[Tensor]]:
        """All samples, or very many, and their codes; made when they are first asked for."""
        rows = np.sort(np.random.default_rng(0).permutation(self.gallery)[:CROWD])
        return rows, probing.encoded(self.model, self.data, rows)

    @functools.cache  # noqa: B019
    def chart(self, name: str, colour: str | None = None, every: bool = False, method: str = maps.PCA) -> Chart:
        """A block's map as it is drawn. Raises UserError when there is none by t-SNE.

        Args:
            name: of the block.
            colour: the label or column that points are coloured by; by default the block's own label.
            every: draw :attr:`crowd` in the place of :attr:`cloud`; not by t-SNE, which is too slow for them.
            method: how a block of more than two coordinates is brought to two, :data:`labelspace.maps.PCA` or
                :data:`labelspace.maps.TSNE`.
        """
        if method == maps.TSNE:
            found = self.neighbour_map(name)
            return chart(self.model, self.data, found, colour or found.block.label)
        found = self.block_map(name)
        if every:
            rows, codes = self.crowd
            found = replace(found, points=found.project(codes[name]), rows=rows)
        return chart(self.model, self.data, found, colour or found.block.label)

    # -- what the model reads -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def read(self, x: Tensor) -> dict[str, Read]:
        """What the model reads of every label in one sample; empty where it reads none."""
        try:
            found = self.model.predict(x[None]).table()
        except UserError:
            return {}
        out = {}
        for label in self.model.schema:
            read = {name: float(column[0]) for name, column in found[label.name].items()}
            if label.discrete:
                best = max(read, key=lambda name: read[name])
                sure = f" ({min(read[best], 0.99):.0%})"
                out[label.name] = Read(label.format(label.parse(best)), read[best], best + sure)
            else:
                out[label.name] = Read(read["mean"], read["sd"], f"{short(read['mean'])} ± {short(read['sd'], 2)}")
        return out

    @functools.cached_property
    def reads_quickly(self) -> bool:
        """Whether a label can be read while a handle is dragged. Models that have no head for it try every value."""
        x = self.data.samples(self.cloud[:1])[0]
        took = []
        for _ in range(3):
            start = time.perf_counter()
            self.read(x)
            took.append(time.perf_counter() - start)
        return min(took) < _QUICK

    # -- can a block be trusted? --------------------------------------------------------------------------------------

    @functools.cached_property
    def _evaluation(self) -> dict[str, Any]:
        """What ``labelspace evaluate`` measured of these weights; empty where it did not."""
        try:
            return kept.read(self.home)[0]
        except (UserError, OSError):
            return {}

    def leak(self, block: str) -> Leak | None:
        """What a block tells that it should not; None where that was not measured."""
        label = self.model.blocks.named(block).label
        own = "free" if label is None else f"other.{label}"
        try:
            found = [(far, name) for name, place, far, _ in diagnosis.leaks(self._evaluation["leakage"]) if place == own]
        except (KeyError, TypeError, AttributeError):  # not measured, or damaged
            return None
        if not found:
            return None
        far, name = max(found)
        word = "none" if far <= _CLEAN else "little" if far <= diagnosis.READS else "strong"
        return Leak(
            word, f"A fresh probe reads {name} off this block, {max(0.0, far):.0%} of the way from chance to certainty."
        )

    @property
    def report(self) -> Path | None:
        """The run's report, where it has one."""
        path = self.home / "report.html"
        return path if path.is_file() and not path.is_symlink() else None

    # -- is it like the data? -----------------------------------------------------------------------------------------

    def _spread(self) -> tuple[np.ndarray, float]:
        """Sorted reconstruction errors of the cloud, and the share of its variance that reconstructions explain."""
        each: list[Tensor] = []
        sums = torch.zeros(4, self.data.samples(self.cloud[:1])[0].numel(), dtype=torch.float64)
        for part in probing.chunks(self.cloud):
            x = self.data.samples(part)
            errors = self._errors_of(x, self.data.labels(part))
            each.append(errors.nanmean(1))
            flat, errors = as_double_on_cpu(x.flatten(1)), as_double_on_cpu(errors)
            sums += torch.stack([(~flat.isnan()).sum(0), flat.nansum(0), flat.square().nansum(0), errors.nansum(0)])
        n = sums[0].clamp_min(1)
        varying, left = sums[2] / n - (sums[1] / n).square(), sums[3] / n
        differs = varying > _SAME * (sums[2] / n)
        varying, left = varying[differs], left[differs]
        if not self.is_image:  # columns in units of their own count alike
            varying, left = torch.ones_like(left), left / varying
        return np.sort(torch.cat(each).numpy()), 1 - float(left.sum() / varying.sum()) if len(left) else 1.0

    @torch.no_grad()
    def _errors_of(self, x: Tensor, labels: Labels | None) -> Tensor:
        """Squared reconstruction errors of the entries of samples, ``(n, entries)``."""
        codes: Latents[Tensor] = modes(self.model.encode(x, *(labels or (None, None))))
        return (self.model.decode(codes).mean_like(x) - x).flatten(1).square()

    @functools.cached_property
    def neighbours(self) -> Neighbours:
        """The training samples, to compare with; made when they are first asked for."""

        @torch.no_grad()
        def rebuilt(rows: np.ndarray) -> Tensor:
            x, labels = self.data.samples(rows), self.data.labels(rows)
            return self.model.decode(modes(self.model.encode(x, *labels))).mean_like(x)

        return Neighbours(self.data, rebuilt)

    @property
    def remark(self) -> str:
        """What a user should know of all reconstructions; empty where they are of use."""
        if self.explained >= _OF_USE:
            return ""
        return (
            f"Reconstructions explain {max(0.0, self.explained):.0%} of what differs between samples: this model shows next to "
            "nothing of a sample, and edits of it say as little. Train it for longer, or see its report"
        )

    def _away(self, block: str, code: Tensor) -> Tensor:
        """How far codes of a block lie from training codes; see :meth:`AggregatePosterior.distance`."""
        label = self.model.blocks.named(block).label
        span = (0.0, 0.0)
        if label is not None and not self.model.schema[label].discrete:
            span = tuple(self.model.label_range[:, self.model.schema.index(label)].tolist())
        return self.model.aggregate.distance(block, code, span)

    @functools.cached_property
    def _aways(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Of blocks of which that is known, sorted distances of the cloud's codes to training codes; and, sorted, the largest
        place among them that each sample of the cloud has in any block."""
        found = {block.name: self._away(block.name, self.codes[block.name]).numpy() for block in self.model.blocks}
        found = {name: away for name, away in found.items() if np.isfinite(away).all()}
        known = {name: np.sort(away) for name, away in found.items()}
        places = [np.searchsorted(known[name], away) / len(away) for name, away in found.items()]
        return known, np.sort(np.max(places, 0)) if places else np.zeros(0)

    def farthest(self, codes: Latents[Tensor]) -> tuple[str, float] | None:
        """The block in which a sample's codes are least like training codes, and the share of samples whose codes are more like
        them in every block; None where nothing is known of where training codes lie."""
        known, worst = self._aways
        found = []
        for name, others in known.items():
            away = float(self._away(name, codes[name])[0])
            place = float(np.searchsorted(others, away)) / len(others)
            found.append((place, away / max(float(others[-1]), 1e-12), name))  # past all others: by how far
        if not found:
            return None
        place, _, name = max(found)
        return name, float(np.searchsorted(worst, place, side="right" if place >= 1 else "left")) / len(worst)

    @torch.no_grad()
    def error(self, x: Tensor, labels: Labels | None = None) -> float:
        """The mean squared reconstruction error of one sample."""
        return float(self._errors_of(x[None], labels).nanmean())

    def place(self, error: float) -> float:
        """The share of the data that is reconstructed better than with such an error."""
        return float(np.searchsorted(self._errors, error) / len(self._errors))

    def standing_picture(self, error: float) -> str:
        """A small histogram of the data's errors, on a logarithmic scale, with a mark at this one, as SVG."""
        logs = np.log10(np.maximum(self._errors[np.isfinite(self._errors)], 1e-12))
        if not len(logs) or not logs[-1] > logs[0]:
            return ""
        counts, ends = np.histogram(logs, _BARS)
        bars = "".join(
            f'<rect x="{4 * i}" width="3" y="{16 - h:.1f}" height="{h:.1f}" />'
            for i, h in enumerate(15 * counts / counts.max())
        )
        at = 4 * _BARS * float(np.clip((np.log10(max(error, 1e-12)) - ends[0]) / (ends[-1] - ends[0]), 0, 1))
        return f'<svg viewBox="0 0 {4 * _BARS} 16" aria-hidden="true">{bars}<path class="mark" d="M{at:.1f} 0v16" /></svg>'

    @torch.no_grad()
    def distance(self, x: Tensor, labels: Labels | None = None) -> Distance:
        """How far one sample is from the data."""
        found = self.farthest(modes(self.model.encode(x[None], *(labels or (None, None)))))
        return Distance(self.place(self.error(x, labels)), found[1] if found else 0.0)
