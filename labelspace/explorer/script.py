"""An edit that was made on the page, as Python lines and as a command that make the same edit again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import torch

from labelspace import plugins
from labelspace.explorer.steps import MoveBlock, Sample, SetLabel, Step, TakeFrom, blocks_of, literal, perform
from labelspace.interventions import Intervention
from labelspace.models.base import Model


def needed(model: Model, sample: Sample, steps: Sequence[Step], result: Intervention, keep_detail: bool) -> list[Step]:
    """The steps without those that later ones made void: what is left ends at exactly the same codes.

    A step is tried without only if a later one is about the same block, and left out if nothing changes by that. This is
    measured and not derived, because in some models the place of one label's value depends on the other codes: first with
    only the last step of every block, which is nearly always enough.
    """
    last = {blocks_of(model, step) or step.label: step for step in steps}  # type: ignore[union-attr]  no block: a label
    kept = [step for step in steps if any(step is other for other in last.values())]

    def enough(some: Sequence[Step]) -> bool:
        again = replayed(model, sample, some, keep_detail=keep_detail)
        return _same(again, result) and (not keep_detail or torch.equal(_changing(model, again), _changing(model, result)))

    if enough(kept):
        return kept
    kept = list(steps)
    for step in steps:
        index = next(i for i, other in enumerate(kept) if other is step)
        mine = (blocks_of(model, step), getattr(step, "label", None))
        if not any(
            (blocks_of(model, s), getattr(s, "label", None)) == mine or _covers(model, s, step) for s in kept[index + 1 :]
        ):
            continue
        without = kept[:index] + kept[index + 1 :]
        if enough(without):
            kept = without
    return kept


def _same(one: Intervention, other: Intervention) -> bool:
    return all(torch.equal(one.codes[name], other.codes[name]) for name in one.codes)


def _changing(model: Model, done: Intervention) -> torch.Tensor:
    """The columns that an edit may change where details are kept."""
    return torch.ones_like(model.label_columns[:1].any(0)) if done.about is None else model.columns_of(done.about)


def _covers(model: Model, later: Step, step: Step) -> bool:
    return bool(blocks_of(model, step)) and blocks_of(model, later) == blocks_of(model, step)


def replayed(model: Model, sample: Sample, steps: Sequence[Step], *, keep_detail: bool) -> Intervention:
    """All steps from the start."""
    state = perform(model, sample, None, keep_detail, None)
    for step in steps:
        state = perform(model, sample, step, keep_detail, state)
    return state


def python(home: str, model: Model, sample: Sample, steps: Sequence[Step], keep_detail: bool) -> str:
    """Python lines that make the edit; the result is ``edit.x``."""
    said = "" if keep_detail == model.likelihood.keeps_detail else f"keep_detail={keep_detail}"
    body = [*sample.lines("x", "labels"), ""]
    for i, step in enumerate(steps or [None]):
        how = ["labels=labels" if i == 0 else "", said]
        how.append("after=edit" if i > 0 else "")
        given = ", ".join(part for part in how if part)
        body += [f"edit = ls.interventions.move(model, x, {{}}, {given})"] if step is None else step.lines(given)
    text = "\n".join(body)
    standard = ["from dataclasses import replace"] if "replace(" in text else []
    outside = ["import torch"] if "torch." in text else []
    own = ["import labelspace as ls"]
    groups = ["\n".join(group) for group in (standard, outside, own) if group]
    plugged = "".join(f"ls.load_plugin({literal(where)})\n" for where in plugins.loaded())
    opened = f"{plugged}model, data = ls.open_run({literal(home)})"
    return "\n\n".join([*groups, f"{opened}\n{text}\nprint(edit.x.shape, edit.record.changed)\n"])


def command(home: str, model: Model, sample: Sample, steps: Sequence[Step], result: Intervention, keep_detail: bool) -> str:
    """The command that makes the edit; empty where a sample has no name on the command line.

    Labels that were set are set again, and a transfer is a transfer; anything else names the points at which the blocks are.
    """
    if sample.address is None:
        return ""
    out = f"edit{'.png' if len(model.shape) == 3 else '.csv'}"
    plugged = [word for where in plugins.loaded() for word in ("--plugin", where)]
    small = ["--no-full-size"] if sample.uploaded and len(model.shape) == 3 else []  # as the page shows it
    said = [] if keep_detail == model.likelihood.keeps_detail else ["--keep-detail" if keep_detail else "--no-keep-detail"]
    ending = [*said, *small, *plugged, "--out", out]
    sets = [step for step in steps if isinstance(step, SetLabel)]
    if steps and len(sets) == len(steps) and len({step.label for step in sets}) == len(sets):
        given = [part for step in sets for part in ("--set", f"{step.label}={step.value}")]
        words = ["edit", home, sample.address, *given]
    elif len(steps) == 1 and isinstance(steps[0], TakeFrom) and steps[0].donor.address is not None:
        words = ["transfer", home, sample.address, steps[0].donor.address, "--label", steps[0].label]
    elif keep_detail and not bool(_changing(model, result).all()):
        return ""  # points of blocks do not say which labels they are about
    else:
        moved = [name for name in result.codes if name in result.record.changed]
        asked = {step.block: step.point for step in steps if isinstance(step, MoveBlock)}
        given = []
        for name in moved:
            point = asked.get(name, ())
            code = result.codes[name][0]
            exact = bool(point) and torch.equal(torch.tensor(point), code)
            numbers = ",".join(str(v) for v in point) if exact else ",".join(f"{v:.9g}" for v in code.tolist())
            given += ["--to", f"{name}={numbers}"]
        words = ["move", home, sample.address, *given]
    return shlex.join(["labelspace", *words, *ending])
