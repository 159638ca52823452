"""The steps of an edit, done to many samples at once, as files to take away."""

from __future__ import annotations

import importlib.util
import io
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labelspace.blocks import Latents
from labelspace.errors import UserError
from labelspace.explorer.session import Applied, Session
from labelspace.explorer.steps import Redraw, Sample, Step, perform
from labelspace.interventions import Intervention
from labelspace.models.of_data import chunks
from labelspace.results import writers

MOST = 20_000


@dataclass(frozen=True)
class Many:
    """What became of many samples.

    Attributes:
        name: of the file.
        content: of the file.
        read: label name -> the share of the samples in which the model reads another value than before; empty where it reads
            none.
        n: how many samples.
    """

    name: str
    content: bytes
    read: dict[str, float]
    n: int


def formats(is_image: bool) -> dict[str, str]:
    """Endings of the files that can be had, and what is said of them."""
    if is_image:
        return {".zip": "PNG pictures (.zip)", ".npz": "arrays (.npz)"}
    anndata = {".h5ad": "AnnData (.h5ad)"} if importlib.util.find_spec("anndata") else {}
    return {".csv": "table (.csv)", ".parquet": "Parquet", ".npz": "arrays (.npz)", **anndata}


def edit(session: Session, get: Callable[[Sequence[int]], list[Sample]], n: int, ending: str) -> Many:
    """Does the session's steps to many samples.

    Args:
        session: says the steps.
        get: samples by their places.
        n: how many there are.
        ending: of the file; see :func:`formats`.

    Raises:
        UserError: there are no steps, none or too many samples, or a step that is about one sample only.
    """
    model, bench = session.bench.model, session.bench
    steps = [applied.step for applied in session.steps]
    if not steps:
        raise UserError("make an edit first: its steps are then done to all of these samples")
    if not 0 < n <= MOST:
        raise UserError(f"{n:,} samples are chosen; 1 to {MOST:,} can be edited at once")
    if ending not in formats(bench.is_image):
        raise UserError(f"{ending!r} is not a kind of file that these samples can be written to")
    changed = torch.zeros(len(model.schema))
    done: list[Intervention] = []

    def part(places: Sequence[int]) -> writers.Part:
        samples = get(places)
        batch = batch_of(samples, len(model.schema))
        start = perform(model, batch, None, session.keep_detail, None)
        state = performed(model, batch, steps, session.keep_detail, start)
        changed.add_(_changed(session, batch.x, state.x))
        if ending == ".h5ad":
            done.append(state)
        after, before = (model.schema.decode(*(t.cpu().numpy() for t in each.labels)) for each in (state, start))  # type: ignore[union-attr]
        columns: dict[str, Sequence[Any]] = {}
        for name in model.schema.names:
            columns[name] = after[name]
            if list(after[name]) != list(before[name]):
                columns[f"{name}:before"] = before[name]
        return writers.Part([one.name for one in samples], columns, state.x)

    with tempfile.TemporaryDirectory(prefix="labelspace-") as folder:
        out = Path(folder) / f"edited{'' if ending == '.zip' else '.npz' if ending == '.h5ad' else ending}"
        with writers.writer(out, model, n, lambda: session.record() | {"sample": f"{n} samples"}) as written:
            parts = [part(places.tolist()) for places in chunks(torch.arange(n).numpy())]
            names = dict.fromkeys(name for one in parts for name in one.columns)
            for one in parts:  # of some parts no value changed
                blank = [None] * len(one.ids)
                written.add(replace(one, columns={name: one.columns.get(name, blank) for name in names}))
        if ending == ".h5ad":
            out = _annotated(done, [name for one in parts for name in one.ids], Path(folder) / "edited.h5ad", model)
        content = _zipped(out) if out.is_dir() else out.read_bytes()
    share = (changed / n).tolist()
    reads = bool(session.read_before)
    return Many(f"edited{ending}", content, dict(zip(model.schema.names, share, strict=True)) if reads else {}, n)


def batch_of(samples: Sequence[Sample], k: int) -> Sample:
    """Samples as one whose ``x`` and labels (``k`` of them) are a batch."""
    none = torch.zeros(1, k), torch.zeros(1, k, dtype=torch.bool)
    given = [one.labels or none for one in samples]
    labels = torch.cat([values for values, _ in given]), torch.cat([observed for _, observed in given])
    return Sample("many", torch.stack([one.x for one in samples]), labels)


def performed(model: Any, batch: Sample, steps: Sequence[Step], keep_detail: bool, state: Intervention) -> Intervention:
    """Steps done to a batch, from a state of it.

    Raises:
        UserError: a step that is about one sample only.
    """
    if any(isinstance(step, Redraw) for step in steps):
        raise UserError("a block that was drawn anew is a draw for one sample; put it back to its own to edit many")
    for step in steps:
        state = perform(model, batch, step, keep_detail, state)
    return state


class Followers:
    """Samples that are edited as the session's sample is.

    Args:
        session: says the steps.
        samples: the samples.
    """

    def __init__(self, session: Session, samples: Sequence[Sample]) -> None:
        self.session, self.samples = session, list(samples)
        self.batch = batch_of(self.samples, len(session.bench.model.schema))
        self._known: tuple[tuple[Applied, ...], bool, Intervention] | None = None

    @property
    def state(self) -> Intervention:
        """What the session's steps lead to."""
        session = self.session
        if self._known is None or self._known[0] is not session.steps or self._known[1] != session.keep_detail:
            model, steps = session.bench.model, [applied.step for applied in session.steps]
            start = perform(model, self.batch, None, session.keep_detail, None)
            done = performed(model, self.batch, steps, session.keep_detail, start)
            self._known = (session.steps, session.keep_detail, done)
        return self._known[2]

    def edited(self, step: Step | None = None) -> Tensor:
        """The samples ``(n, *shape)`` after the session's steps, and after one more.

        Raises:
            UserError: a step that is about one sample only.
        """
        state = self.state
        if step is None:
            return self.batch.x if self.session.keep_detail and not self.session.steps else state.x
        return performed(self.session.bench.model, self.batch, [step], self.session.keep_detail, state).x


def _changed(session: Session, before: Tensor, after: Tensor) -> Tensor:
    """In how many samples the model reads another value of each label than before, ``(labels,)``."""
    try:
        one, other = (session.bench.model.predict(x).mode() for x in (before, after))
    except UserError:
        return torch.zeros(len(session.bench.model.schema))
    scale = torch.tensor([0.5 if label.discrete else 0.5 * label.scale for label in session.bench.model.schema])  # type: ignore[attr-defined]
    return ((one - other).abs() > scale).float().sum(0)


def _annotated(done: list[Intervention], names: list[str], out: Path, model: Any) -> Path:
    codes = Latents(model.blocks, {name: torch.cat([one.codes[name] for one in done]) for name in done[0].codes})
    labels = tuple(torch.cat([one.labels[i] for one in done]) for i in (0, 1))  # type: ignore[index]
    every = replace(done[-1], x=torch.cat([one.x for one in done]), codes=codes, labels=labels, given=None, model=model)
    cells = every.to_anndata()
    cells.obs_names = names
    cells.write_h5ad(out)
    return out


def _zipped(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # PNGs are compressed as they are
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return buffer.getvalue()
