"""``labelspace edit``, ``transfer``, ``move``, ``traverse``, ``inpaint`` and ``generate``."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

import torch
from torch import Tensor

from labelspace import interventions, saving, terminal
from labelspace.commands import outputs, whole
from labelspace.data import paths, sources
from labelspace.data.batches import Batches
from labelspace.data.dataset import Dataset
from labelspace.data.images import MODES
from labelspace.data.splits import SPLITS
from labelspace.distributions import Point
from labelspace.errors import UserError
from labelspace.interventions import Intervention, Labels
from labelspace.interventions.given import Given
from labelspace.labels import parse_assignments
from labelspace.models.base import Model
from labelspace.reporting import pictures
from labelspace.training.fit import open_data, open_run
from labelspace.training.run import Run


def edit(given: argparse.Namespace) -> None:
    """Sets labels of a sample, or of many."""
    model, get = open_samples(given.run_directory, given.data)
    values = {name: model.schema[name].format(v) for name, v in parse_assignments(model.schema, given.set).items()}
    generator = torch.Generator().manual_seed(given.seed)

    def change(x: Tensor | Path, labels: Labels | None) -> Intervention:
        return interventions.set(
            model,
            x,
            values,
            labels,
            point=given.point,
            others=given.others,
            keep_detail=given.keep_detail,
            generator=generator,
        )

    if whole.asked(given):
        options = {"seed": given.seed} if given.point == "draw" else {}
        whole.each(given, model, lambda x, labels, _: change(x, labels), options=options)
    else:
        _finish(given, change(*get(given.sample)), "edit", model)


def transfer(given: argparse.Namespace) -> None:
    """Gives a sample, or many, a donor's way of having a label."""
    model, get = open_samples(given.run_directory, given.data)
    if whole.asked(given):
        whole.transfer(given, model, get)
        return
    donor = given.donor or given.donor_option
    if given.donors:
        raise UserError("--donors draws donors for many samples; name these with --data or --split, or one donor as DONOR")
    if not donor or (given.donor and given.donor_option):
        raise UserError("transfer needs a DONOR, once: an image file, or SPLIT:INDEX of the run's data (test:0)")
    (x, labels), (lent, donor_labels) = get(given.sample), get(donor)
    done = interventions.transfer(model, x, lent, given.label, labels, donor_labels, keep_detail=given.keep_detail)
    _finish(given, done, "transfer", model)


def move(given: argparse.Namespace) -> None:
    """Puts latent blocks of a sample, or of many, at points."""
    model, get = open_samples(given.run_directory, given.data)
    points = {}
    for text in given.to:
        name, equals, numbers = text.partition("=")
        try:
            point = [float(number) for number in numbers.split(",")]
        except ValueError:
            equals = ""
        if not equals:
            raise UserError(f"--to {text!r} is not of the form BLOCK=X,Y,... with a number for each coordinate")
        if points.setdefault(name.strip(), point) != point:
            raise UserError(f"block {name.strip()!r} is put at two points; expected one")

    def change(x: Tensor | Path, labels: Labels | None) -> Intervention:
        return interventions.move(model, x, points, labels, keep_detail=given.keep_detail)

    if whole.asked(given):
        whole.each(given, model, lambda x, labels, _: change(x, labels), options={"points": points})
    else:
        _finish(given, change(*get(given.sample)), "move", model)


def _widest(given: argparse.Namespace, model: Model, block: str, value: float | None) -> tuple[int, int]:
    """The two coordinates of a block in which a run's data of a value vary most; the first two where the data are gone."""
    from labelspace.evaluation import probing  # with it come the metrics

    try:
        first, second, *_ = probing.widest(model, open_data(Run(given.run_directory), given.data), block, value)
    except UserError as error:
        terminal.say(
            f"walking the first two coordinates of {block}: which of them vary most is not known without data ({error})"
        )
        return 0, 1
    return first, second


def traverse(given: argparse.Namespace) -> None:
    """Walks through a label's block."""
    model, get = open_samples(given.run_directory, given.data)
    kind = model.schema[given.label]
    block = model.blocks.of(given.label)
    known = isinstance(model.prior(torch.zeros(1, len(model.schema)))[block.name], Point)
    size = kind.features if known else block.size  # what follows a label's own value in its block is a flag
    x, labels = get(given.sample)
    if given.coordinates:
        try:
            coordinates = tuple(int(c) for c in given.coordinates.split(","))
        except ValueError:
            raise UserError(f"--coordinates {given.coordinates!r} is not one or two numbers, such as 0,1") from None
    elif known or size <= 2:
        coordinates = tuple(range(min(size, 2)))
    else:  # a binary label is walked through where it is on, a class where the sample has it
        own = float(model.complete(Given.of(model, x).x[None], *(labels or (None, None)))[0, model.schema.index(given.label)])
        value = 1.0 if kind.kind == "binary" else own if kind.discrete else None
        coordinates = _widest(given, model, block.name, value)
    span: str | tuple[float, float] = given.span
    data_codes = None
    low, colon, high = given.span.partition(":")
    if colon:
        try:
            span = (float(low), float(high))
        except ValueError:
            raise UserError(f"--span {given.span!r} is not prior, data, or LOW:HIGH, such as -2:2") from None
    elif given.span == "data":
        _, data = open_run(given.run_directory, given.data)
        data_codes, _ = interventions.encode_all(
            model, Batches(data, "val" if "val" in data.splits else "train", 512, shuffle=False)
        )
    done = interventions.traverse(
        model,
        x,
        given.label,
        labels,
        coordinates=coordinates,
        steps=given.steps,
        span=span,  # type: ignore[arg-type]
        data_codes=data_codes,
        keep_detail=given.keep_detail,
    )
    _finish(given, done, "traverse", model)


def inpaint(given: argparse.Namespace) -> None:
    """Fills a hole in a picture."""
    model, get = open_samples(given.run_directory, given.data)
    if len(model.shape) != 3:
        raise UserError("inpaint on the command line takes pictures; for vectors use labelspace.interventions.inpaint")
    x, labels = get(given.sample)
    try:
        left, top, width, height = (int(part) for part in given.hole.split(","))
    except ValueError:
        raise UserError(f"--hole {given.hole!r} is not LEFT,TOP,WIDTH,HEIGHT, such as 20,10,16,16") from None
    _, rows, columns = model.shape
    if not (left >= 0 and top >= 0 and width > 0 and height > 0 and left + width <= columns and top + height <= rows):
        raise UserError(f"--hole {given.hole} does not lie inside a picture of {columns} x {rows} pixels")
    hole = torch.zeros(rows, columns, dtype=torch.bool)
    hole[top : top + height, left : left + width] = True
    done = interventions.inpaint(model, x, hole, labels, rounds=given.rounds)
    _finish(given, done, "inpaint", model)


def generate(given: argparse.Namespace) -> None:
    """New samples under labels."""
    model = saving.load(given.run_directory)
    values = {name: model.schema[name].format(v) for name, v in parse_assignments(model.schema, given.set).items()}
    if whole.many(given, model):
        whole.generate(given, model, values)
        return
    done = interventions.generate(
        model, values, given.n, source=given.source, mean=given.mean, generator=torch.Generator().manual_seed(given.seed)
    )
    if len(model.shape) == 3:  # a picture with about as many rows as columns
        columns = max(1, round(given.n**0.5))
        rows = -(-given.n // columns)
        blank = done.x.new_ones(rows * columns - given.n, *model.shape)
        done = Intervention(torch.cat([done.x, blank]).view(rows, columns, *model.shape), done.record, done.codes)
    _finish(given, done, "generate", model)


def open_samples(home: str, address: str | None = None):
    """The model of a run, and a function that finds a sample by what the user wrote: of the run's data, or of an address."""
    model = saving.load(home)

    @functools.cache
    def data() -> Dataset:
        return open_run(home, address)[1]

    def get(text: str) -> tuple[Tensor | Path, Labels | None]:
        split, colon, index = text.partition(":")
        if colon and split in SPLITS and index.isdecimal():
            rows = data().rows(split)  # type: ignore[arg-type]
            if int(index) >= len(rows):
                raise UserError(f"there is no sample {text}: the {split} split has {len(rows)}, counted from 0")
            row = rows[int(index) : int(index) + 1]
            return data().samples(row)[0], data().labels(row)
        return _from_file(model, text), None

    return model, get


def _from_file(model: Model, text: str) -> Tensor | Path:
    if len(model.shape) != 3:
        address = sources.address_of(text)
        rows = f"; for rows of a file give --data {address}" if address else ""
        raise UserError(f"{text!r} is not a sample of this run; vectors are named SPLIT:INDEX, such as test:0{rows}")
    path = paths.own(text)
    if not path.exists():
        raise UserError(f"no such image: {text} (or name a sample of the run's data, such as test:0)")
    if model.shape[0] not in MODES:
        raise UserError(f"picture files have 1, 3 or 4 channels, the model takes {model.shape[0]}; name a sample of its data")
    return path


def _finish(given: argparse.Namespace, done: Intervention, name: str, model: Model) -> None:
    record = done.record.to_dict()
    is_image = len(model.shape) == 3
    if not given.out:
        given.out = f"{name}{'.png' if is_image else '.csv'}"
        outputs.check(given)
    out = given.out
    own = done.given is not None and done.given.pictures and done.x.ndim == 3 and name != "inpaint"
    if own and getattr(given, "full_size", False) and Path(out).suffix.lower() != ".npz":
        written = pictures.write_picture(out, done.image(), record)
    else:
        rows = not is_image and Path(out).suffix.lower() != ".npz"  # a grid of vectors is a table, a row each
        x = done.x.reshape(-1, *model.shape) if rows else done.x
        written = pictures.write(out, x, record, model.variables)
    if given.json:
        terminal.emit({"out": str(written), **record})
        return
    changes = ", ".join(
        f"{label} {done.record.source.get(label, ['?'])[0]} -> {values[0]}" for label, values in done.record.target.items()
    )
    held, changed = (", ".join(names) or "nothing" for names in (done.record.held, done.record.changed))
    if name == "inpaint":
        terminal.say(f"filled {100 * done.record.options['hole']:.0f}% of the picture; the rest is as it was")
    else:
        what = changes if changes and name in ("edit", "transfer") else f"{name} of {changed}"
        terminal.say(f"{what}; changed {changed}; held {held}")
    terminal.say(f"written to {written}")
