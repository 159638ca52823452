"""One tab of the explorer: a sample, what was done to it, and what can be made of it. There is no web page in here."""

from __future__ import annotations

import csv
import io
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from labelspace import interventions
from labelspace.blocks import Latents
from labelspace.errors import UserError, unknown
from labelspace.explorer import script
from labelspace.explorer.steps import Drawn, MoveBlock, Sample, SetLabel, Step, TakeFrom, blocks_of, perform, short
from labelspace.explorer.workbench import FAR, Read, Workbench
from labelspace.interventions import Intervention, Labels
from labelspace.reporting import pictures
from labelspace.storage import files

_MOST_DRAWN = 64
_MOST_UNDO = 200
CHANGED = " (changed)"  # behind the name of a sample with other cells


@dataclass(frozen=True)
class Applied:
    """A step and what it led to."""

    step: Step
    result: Intervention


@dataclass(frozen=True)
class Truth:
    """The true pictures of an edit, where the data can be drawn: one for each style of the label's new value.

    Attributes:
        title: which label became what.
        x: ``(styles, *shape)``.
        styles: their names.
    """

    title: str
    x: Tensor
    styles: tuple[str, ...]


@dataclass
class Session:
    """The state of one tab.

    Attributes:
        bench: the run, shared with other tabs.
        sample: what is edited.
        steps: what was done to it, in order.
        keep_detail: whether results keep what the model could not reconstruct; as edits do for such data, until it is said.
        donor: where transfers and interpolations come from, None before one is chosen.
        drawn: how the samples of the generator's page were drawn, None before any were.
    """

    bench: Workbench
    sample: Sample = field(init=False)
    steps: tuple[Applied, ...] = ()
    keep_detail: bool = field(init=False)
    donor: Sample | None = None
    drawn: Drawn | None = None

    def __post_init__(self) -> None:
        self.standing = ""  # how well the sample is reconstructed, in words
        self.error = 0.0  # and the mean squared error of it
        self.read_before: dict[str, Read] = {}  # what the model reads in the sample
        self._read_start: dict[str, Read] | None = None  # and in what is shown of it before any edit, once that was asked for
        self._past: list[tuple[Applied, ...]] = []
        self._future: list[tuple[Applied, ...]] = []
        self.keep_detail = self.bench.model.likelihood.keeps_detail
        self.choose(self.first())

    # -- samples ------------------------------------------------------------------------------------------------------

    def first(self) -> Sample:
        """The sample that a new tab begins with."""
        return self.of_data(int(self.bench.gallery[0]))

    def of_data(self, row: int) -> Sample:
        """A sample of the run's data, by its row."""
        return self.of_rows([row])[0]

    def of_rows(self, rows: Sequence[int]) -> list[Sample]:
        """Samples of the run's data, by their rows."""
        x, (values, observed) = self.bench.data.samples(rows), self.bench.data.labels(rows)
        return [
            Sample(self.bench.name(row), x[i], (values[i : i + 1], observed[i : i + 1]), row=row) for i, row in enumerate(rows)
        ]

    def row_text(self) -> str:
        """The sample that is shown, as rows are pasted: names of columns, and its cells."""
        buffer = io.StringIO()
        variables = self.bench.data.variables
        cells = [
            variables[i].format(value) if variables else "" if math.isnan(value) else f"{value:.6g}"
            for i, value in enumerate(self.sample.x.tolist())
        ]
        csv.writer(buffer, lineterminator="\n").writerows([self.bench.features, cells])
        return buffer.getvalue()

    def with_cell(self, feature: str, text: str) -> Sample:
        """The sample with one entry changed.

        Args:
            feature: which.
            text: what a user wrote; empty for a missing one.

        Raises:
            UserError: there is no such entry, or it cannot be that.
        """
        if feature not in self.bench.features:
            raise unknown("column", feature, self.bench.features)
        place, text = self.bench.features.index(feature), text.strip()
        classes, variables = self.bench.classes.get(feature), self.bench.data.variables
        if not text:
            value = math.nan
        elif classes:
            if text not in classes:
                raise unknown(f"class of {feature!r}", text, classes)
            value = float(classes.index(text))
        else:
            try:
                value = float(text) - (variables[place].origin if variables else 0.0)
            except ValueError:
                raise UserError(f"{feature!r} is a number and cannot be {text!r}") from None
        x = self.sample.x.clone()
        x[place] = value
        name = self.sample.name if self.sample.name.endswith(CHANGED) else f"{self.sample.name}{CHANGED}"
        return self.typed(x, name, self.sample.labels)

    def typed(self, x: Tensor, name: str, labels: Labels | None = None) -> Sample:
        """A row of the user's own.

        Args:
            x: its entries in the order of the model's, nan where missing.
            name: what it is called on the page.
            labels: those that came with it.

        Raises:
            UserError: the model takes no such rows.
        """
        model = self.bench.model
        if tuple(x.shape) != tuple(model.shape) or x.ndim != 1:
            raise UserError(f"a row of {list(x.shape)} was given; this model takes samples of shape {list(model.shape)}")
        for value, feature in zip(x.tolist(), self.bench.features, strict=True):
            classes = self.bench.classes.get(feature)
            if math.isinf(value) or (classes and not (math.isnan(value) or value in range(len(classes)))):
                raise UserError(f"{value:g} cannot be a value of {feature!r}")
        model.likelihood.check(x[None])
        model.note_far(x[None])
        return Sample(name, x, labels)

    def choose(self, sample: Sample, *, keep_steps: bool = False) -> None:
        """Begins anew with a sample.

        Args:
            sample: the sample.
            keep_steps: do what was done to the sample before to this one.

        Raises:
            UserError: the model cannot encode it, or cannot do the steps with it; the sample before it stays.
        """
        before = self.__dict__.copy()
        try:
            self.sample, self.base = sample, perform(self.bench.model, sample, None, False, None)
            self.read_before, self._read_start, self.standing = self.bench.read(sample.x), None, self._standing()
            self.steps = self._replayed([a.step for a in self.steps]) if keep_steps else ()
            self._past, self._future = [], []
        except UserError:
            self.__dict__.update(before)
            raise

    def drawn_sample(self, how: Drawn) -> Sample:
        """One of the samples that were, or can be, drawn in some way."""
        if not 0 <= how.index < how.n <= _MOST_DRAWN:
            raise UserError(f"the explorer draws 1 to {_MOST_DRAWN} samples at a time, got {how.n}")
        drawn, i = how.run(self.bench.model), how.index
        labels = (drawn.labels[0][i : i + 1], drawn.labels[1][i : i + 1])  # type: ignore[index]
        return Sample(f"drawn {i + 1}", drawn.x[i], labels, drawn=how)

    def open_drawn(self, index: int) -> None:
        """Begins anew with one of the generated samples."""
        if self.drawn is None:
            raise UserError("nothing was drawn yet; choose labels and draw")
        self.choose(self.drawn_sample(replace(self.drawn, index=index)))

    # -- edits --------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> Intervention:
        """The result of all steps."""
        return self.steps[-1].result if self.steps else self.base

    @property
    def x(self) -> Tensor:
        """The edited sample as it is shown: without any edit, and with details kept, it is the sample itself."""
        return self._shown(self.state)

    def _shown(self, state: Intervention) -> Tensor:
        return self.sample.x if self.keep_detail and state is self.base else state.x

    @property
    def reconstruction(self) -> Tensor:
        return self.base.x

    @property
    def large(self) -> Tensor | None:
        """The edit at the sample's own size: the uploaded picture with what the edit changes, enlarged; None where that is no
        larger."""
        large = self.sample.large
        if large is None:
            return None
        change = self.x - (self.sample.x if self.keep_detail else self.reconstruction)
        size = (int(large.shape[1]), int(large.shape[2]))
        return (large + F.interpolate(change[None], size, mode="bicubic", align_corners=False)[0]).clamp(0, 1)

    def _standing(self) -> str:
        """How well the model reconstructs the sample, beside the others."""
        self.error = self.bench.error(self.sample.x, self.sample.labels)
        share = self.bench.place(self.error)
        return f"reconstructed {'worse' if share >= 0.5 else 'better'} than {max(share, 1 - share):.0%} of the data"

    def reading(self, x: Tensor, codes: Latents[Tensor], now: Step | None = None) -> dict[str, Any]:
        """What the model reads in an edit, as plain data.

        Args:
            x: the edited sample.
            codes: its codes.
            now: a step beyond those that were done.

        Returns:
            ``labels``: label name -> ``text``; ``changed``: whether it is another value than before any edit; ``asked``:
            whether an edit was about it. ``codes``: how they lie beside training codes, in words; ``far``: whether that is a
            warning.
        """
        steps = [*(a.step for a in self.steps), *([now] if now is not None else [])]
        moved = {name for step in steps for name in blocks_of(self.bench.model, step)}
        asked = {getattr(step, "label", None) for step in steps} | {b.label for b in self.bench.model.blocks if b.name in moved}
        if self._read_start is None:
            self._read_start = self.bench.read(self._shown(self.base))
        rows = {}
        for name, read in self.bench.read(x).items():
            before = self._read_start.get(name, read)
            changed = read.value != before.value
            if not self.bench.model.schema[name].discrete:  # a number is never quite the same
                changed = abs(read.value - before.value) > max(before.sure, read.sure)
            rows[name] = {"text": read.about, "changed": changed, "asked": name in asked}
        found = self.bench.farthest(codes)
        if found is None:
            return {"labels": rows, "codes": "", "far": False}
        block, share = found
        words = f"codes like training codes ({share:.0%} of the data are nearer)"
        if share >= FAR:
            words = f"{block} is farther from training codes than in {min(share, 0.99):.0%} of the data: extrapolated"
        return {"labels": rows, "codes": words, "far": share >= FAR}

    def preview(self, step: Step) -> Intervention:
        """What a step would lead to; nothing changes."""
        return perform(self.bench.model, self.sample, step, self.keep_detail, self.state)

    def apply(self, step: Step) -> Intervention:
        """Does a step. Raises UserError when the model cannot; then nothing changes.

        A move right after a move of the same block takes its place; undo goes back to each of them all the same.
        """
        last = self.steps[-1].step if self.steps else None
        again = isinstance(step, MoveBlock) and isinstance(last, MoveBlock) and step.block == last.block
        before = self.steps[:-1] if again else self.steps
        self._go((*before, self._applied(step, before)))
        return self.state

    def _applied(self, step: Step, before: Sequence[Applied]) -> Applied:
        state = before[-1].result if before else self.base
        return Applied(step, perform(self.bench.model, self.sample, step, self.keep_detail, state))

    def point_step(self, block: str, point: Sequence[float]) -> Step:
        """The step that a point of a block's chart means: a label's value where the point is one, else a move."""
        chart = self.bench.chart(block)
        if len(point) != chart.dimensions or not np.isfinite(point).all():
            raise UserError(f"block {block!r} is drawn with {chart.dimensions} coordinates, got {list(point)}")
        at = tuple(float(v) for v in point)
        value = chart.value(at)
        if value is not None and chart.label is not None:
            return SetLabel(chart.label.name, value)
        return MoveBlock(block, tuple(chart.code(at, self.state.codes[block])))

    def where(self, block: str, state: Intervention | None = None) -> tuple[float, ...]:
        """Where the sample is on a block's chart."""
        return self.bench.chart(block).locate((state or self.state).codes[block])

    def transfer(self, label: str) -> Intervention:
        """Takes a label's block from the donor. Raises UserError when there is none, or no block for the label."""
        return self.apply(TakeFrom(label, self._donor()))

    def set_keep_detail(self, keep: bool) -> None:
        """Turns details on or off for all steps."""
        self.keep_detail, self._read_start = keep, None
        done: dict[int, Applied] = {}  # what is in several states of the history was applied once, and is so again
        self.steps = self._again(self.steps, done)
        self._past = [self._again(state, done) for state in self._past]
        self._future = [self._again(state, done) for state in self._future]

    def _again(self, steps: Sequence[Applied], done: dict[int, Applied]) -> tuple[Applied, ...]:
        """Applies steps again; ``done`` holds those that were, by the identity of what they were."""
        out: list[Applied] = []
        for applied in steps:
            if id(applied) not in done:
                done[id(applied)] = self._applied(applied.step, out)
            out.append(done[id(applied)])
        return tuple(out)

    def _replayed(self, steps: Sequence[Step]) -> tuple[Applied, ...]:
        out: list[Applied] = []
        for step in steps:
            out.append(self._applied(step, out))
        return tuple(out)

    # -- history ------------------------------------------------------------------------------------------------------

    def _go(self, steps: tuple[Applied, ...]) -> None:
        self._past = [*self._past, self.steps][-_MOST_UNDO:]
        self._future, self.steps = [], steps

    @property
    def can_undo(self) -> bool:
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        return bool(self._future)

    def undo(self) -> None:
        """Takes back the last step, or a reset."""
        if self._past:
            self._future.append(self.steps)
            self.steps = self._past.pop()

    def redo(self) -> None:
        """Does again what was taken back."""
        if self._future:
            self._past.append(self.steps)
            self.steps = self._future.pop()

    def reset(self, block: str | None = None) -> None:
        """Takes back all steps, or puts one block back to where the sample's own code is; can be undone."""
        if block is None:
            if self.steps:
                self._go(())
            return
        own = self.base.codes[block]
        if not torch.equal(own, self.state.codes[block]):
            kept = [a.step for a in self.steps if blocks_of(self.bench.model, a.step) != (block,)]
            self._go(self._replayed(kept))

    def status(self, name: str) -> str:
        """What became of a block or, for models without a block for it, of a label; empty: as it was."""
        names = {name, *(block.name for block in self.bench.model.blocks if block.label == name)}
        for applied in reversed(self.steps):
            if names & {*blocks_of(self.bench.model, applied.step), getattr(applied.step, "label", None)}:
                return applied.step.about
        return ""

    def value(self, label: str) -> tuple[Any, bool]:
        """The value that a label has now, and whether it is known (given or set) or only predicted by the model.

        A block that was moved to a point is at no value: None, known.
        """
        block = next((b.name for b in self.bench.model.blocks if b.label == label), None)
        about = [a.step for a in self.steps if block in blocks_of(self.bench.model, a.step)] if block else []
        if about and isinstance(about[-1], MoveBlock):
            return None, True
        index = self.bench.model.schema.index(label)
        kind = self.bench.model.schema[label]
        values, observed = self.state.labels  # type: ignore[misc]
        own = self.sample.labels
        was_set = any(getattr(applied.step, "label", None) == label for applied in self.steps)
        if bool(observed[0, index]):
            given = own is not None and bool(own[1][0, index])
            return kind.format(float(values[0, index])), was_set or given
        return (self.read_before[label].value if label in self.read_before else None), False

    # -- what is made of it -------------------------------------------------------------------------------------------

    def generate(self, values: Mapping[str, Any], n: int, seed: int) -> Intervention:
        """Draws samples under labels; labels that are not named are drawn, too."""
        if not 1 <= n <= _MOST_DRAWN:
            raise UserError(f"the explorer draws 1 to {_MOST_DRAWN} samples at a time, got {n}")
        how = Drawn(tuple(values.items()), n, seed)
        result = how.run(self.bench.model)
        self.drawn = how
        return result

    def generated(self) -> Intervention:
        """The samples that were drawn last. Raises UserError when there are none."""
        if self.drawn is None:
            raise UserError("nothing was drawn yet; choose labels and draw")
        return self.drawn.run(self.bench.model)

    def redraw_generated(self, block: str, seed: int) -> Intervention:
        """Draws one block of the generated samples anew and keeps the others."""
        if self.drawn is None:
            raise UserError("nothing was drawn yet; choose labels and draw")
        others = tuple(pair for pair in self.drawn.redrawn if pair[0] != block)
        how = replace(self.drawn, redrawn=(*others, (block, seed)))
        result = how.run(self.bench.model)
        self.drawn = how
        return result

    def grid(self, block: str, coordinates: Sequence[int], steps: int, span: str) -> Intervention:
        """A walk through one or two coordinates of a block, from the edited sample; rows are the first coordinate."""
        return interventions.traverse(
            self.bench.model,
            self.sample.x,
            block=block,
            coordinates=tuple(coordinates),
            steps=steps,
            span=span,  # type: ignore[arg-type]
            data_codes=self.bench.codes,
            keep_detail=self.keep_detail,
            after=self.state,
        )

    def interpolate(self, steps: int, blocks: Sequence[str] | None = None) -> Intervention:
        """A walk from the edited sample to the donor, in some blocks or all."""
        donor = self._donor()
        return interventions.interpolate(
            self.bench.model,
            self.sample.x,
            donor.x,
            other_labels=donor.labels,
            steps=steps,
            blocks=blocks,
            keep_detail=self.keep_detail,
            after=self.state,
        )

    def _donor(self) -> Sample:
        if self.donor is None:
            raise UserError("choose a donor first")
        return self.donor

    def truth(self) -> Truth:
        """What the edit would truly be. Raises UserError where that is not known, with the reason."""
        data, row = self.bench.data, self.sample.row
        if data.truth is None or data.factors is None:
            raise UserError("only data that are generated from known factors have true counterfactuals")
        if row is None:
            raise UserError("true counterfactuals are drawn for samples of the data")
        (now, known), (before, given) = self.state.labels, self.base.labels  # type: ignore[misc]  predictions are in both
        changed = []
        for label in data.schema:
            index = self.bench.model.schema.index(label.name)
            was_set = any(getattr(applied.step, "label", None) == label.name for applied in self.steps)
            same = bool(given[0, index]) and bool(now[0, index] == before[0, index])
            if was_set and bool(known[0, index]) and not same:
                changed.append((label, float(now[0, index])))
        if len(changed) != 1:
            raise UserError(
                "change one label to see its true counterfactual"
                if not changed
                else f"{len(changed)} labels were changed; true counterfactuals are drawn for one"
            )
        label, value = changed[0]
        x, styles = data.counterfactuals(label.name, value, [row])
        return Truth(f"{label.name} {short(label.format(value))}", x[0], styles)

    # -- taking it away -----------------------------------------------------------------------------------------------

    def needed(self) -> list[Step]:
        """The steps that still matter."""
        return script.needed(self.bench.model, self.sample, [a.step for a in self.steps], self.state, self.keep_detail)

    def python(self) -> str:
        """Python lines that make the same edit."""
        return script.python(str(self.bench.home), self.bench.model, self.sample, self.needed(), self.keep_detail)

    def command(self) -> str:
        """The command that makes the same edit, empty where there is none."""
        return script.command(str(self.bench.home), self.bench.model, self.sample, self.needed(), self.state, self.keep_detail)

    def record(self) -> dict[str, Any]:
        """What was done, as plain data."""
        return {
            "run": str(self.bench.home),
            "sample": self.sample.name,
            "steps": [step.about for step in self.needed()],
            **self.state.record.to_dict(),
        }

    def saved(self) -> tuple[str, bytes]:
        """The edited sample as a file, with its record in it: a name and the file's bytes."""
        stem = Path(self.sample.name).stem if self.sample.uploaded else self.sample.name
        name = f"{stem.replace(':', '-').replace(' ', '-')}-edited{'.png' if self.bench.is_image else '.npz'}"
        return name, self._written(self.x, Path(name).suffix)

    def saved_large(self) -> tuple[str, bytes]:
        """The same of :attr:`large`. Raises UserError where there is none."""
        large = self.large
        if large is None:
            raise UserError(
                "this sample has no more pixels than the model: upload a larger picture to have it edited at its own size"
            )
        return f"{Path(self.sample.name).stem.replace(' ', '-')}-edited-large.png", self._written(large, ".png")

    def _written(self, x: Tensor, ending: str) -> bytes:
        with tempfile.TemporaryDirectory(prefix="labelspace-") as home:
            file = pictures.write(Path(home) / f"edit{ending}", x, self.record(), self.bench.model.variables)
            return file.read_bytes()

    def record_json(self) -> bytes:
        return files.to_json(self.record()).encode()


def animation(x: Tensor, side: int = 256, milliseconds: int = 90) -> bytes:
    """A walk ``(steps, channels, height, width)`` there and back as a GIF, enlarged to at least ``side`` pixels."""
    shown = pictures.to_pixels(x)
    factor = max(1, round(side / max(shown.shape[1:3])))
    frames = [Image.fromarray(f[..., 0] if f.shape[-1] == 1 else f[..., :3]) for f in shown]
    large = [f.resize((f.width * factor, f.height * factor), Image.Resampling.BICUBIC) for f in frames]
    buffer = io.BytesIO()
    walk = large + large[-2:0:-1]
    walk[0].save(buffer, "GIF", save_all=True, append_images=walk[1:], duration=milliseconds, loop=0)
    return buffer.getvalue()
