"""``labelspace demo``: the main job from drawn faces to edited faces, with its evidence."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from labelspace import interventions, surroundings, terminal
from labelspace.commands.data import open_data
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.evaluation import edits
from labelspace.evaluation import judge as judges
from labelspace.evaluation.manipulation import errors_to_styles
from labelspace.evaluation.probing import encoded, said
from labelspace.maps import block_map
from labelspace.models import build
from labelspace.models.base import Model
from labelspace.reporting.figures import Sheet, sheets
from labelspace.reporting.passes import Passes
from labelspace.storage import files, starters
from labelspace.training.fit import fit, resolve
from labelspace.training.progress import Terminal
from labelspace.training.run import Run

LABELS = ("Eyeglasses", "Beard", "Smiling")
STARTER = "faces"
# Faces, and steps of training: at most six minutes of two slow cores in all; the score would go on to gain.
_FACES, _STEPS = 10000, 600
_WALKED = 9  # points of a walk along each axis


def demo(given: argparse.Namespace) -> None:
    """Draws faces, trains an LSVAE and a judge, edits test faces, and prints what was achieved."""
    with nullcontext() if given.json else meanwhile():
        _demo(given)


def meanwhile() -> AbstractContextManager[Any]:
    """The explorer of a model that is trained already, where somebody sits at a terminal; else a line that says how to."""
    starter = starters.SCHEME + STARTER
    command = f"labelspace explore {starter}"
    if STARTER not in starters.available():
        terminal.say(f"a model that is trained already can be looked at meanwhile: {starters.INSTALL}, then {command}")
    elif not sys.stderr.isatty():
        terminal.say(f"a smaller model is ready: {command}")
    else:
        from labelspace.explorer import notebook

        try:
            explorer = notebook.explore(starter, browser=surroundings.display())
        except UserError as error:
            terminal.say(f"a smaller model is ready, but the explorer did not open: {error}")
        else:
            terminal.say(f"0/4 a smaller model that is ready, until this ends: {explorer.url}")
            return explorer
    return nullcontext()


def _demo(given: argparse.Namespace) -> None:
    began = time.monotonic()
    address = f"faces:n={1500 if given.quick else _FACES}"
    terminal.say("1/4 drawing faces (kept for next time)")
    data = open_data(address, ",".join(LABELS), given.seed)
    terminal.say("2/4 training an LSVAE")
    torch.manual_seed(given.seed)
    model = build("lsvae", data)
    options = resolve(model, data, None, {"seed": given.seed, **({"epochs": 2} if given.quick else {"steps": _STEPS})})
    resume = given.resume and Run(given.out).exists
    home = Path(given.out)
    passes = Passes(model, data, home / "figures" / "passes.png", LABELS)
    terminal.say(f"after every pass, what the model makes of two faces: {passes.path}")
    fitted = fit(model, data, options, out=given.out, resume=resume, callbacks=[Terminal(), passes], progress=False)
    terminal.say("3/4 training a judge on real faces")
    with terminal.bar("judge") as progress:
        judge = judges.train(data, seed=given.seed, progress=progress)
    terminal.say("4/4 editing test faces")
    result = edits.measure(model, data, judge, most=60 if given.quick else 600, seed=given.seed, tell=terminal.say)
    rows = data.rows("test")[: result["samples"]]
    result["donor_transfer"] = edits.donor_transfer(model, data, rows, "Eyeglasses", seed=given.seed).to_dict()
    result |= {"seed": given.seed, "data": data.address, "training_seconds": fitted.seconds}
    picture = home / "figures" / "demo.png"
    draw(model, data, picture, seed=given.seed)
    result["seconds"] = time.monotonic() - began
    files.write_json(home / "demo.json", result)
    if given.json:
        terminal.emit(result)
        return
    show(result)
    terminal.say(f"table: {home / 'demo.json'}   picture: {picture}   {result['seconds']:.0f} s in all")
    terminal.say(f"by hand, in the browser: labelspace explore {given.out}")


def show(result: dict[str, Any]) -> None:
    """Prints the table."""
    rows = []
    for name, modes in result["labels"].items():
        leak = result["leakage"][name]
        for mode, found in modes.items():
            error = found["error"]
            rows.append(
                (
                    name,
                    mode.replace("_", " "),
                    _percent(found["judge"]),
                    "  ".join(f"{other} {_percent(score)}" for other, score in found["kept"].items()),
                    f"{error['all']['ratio']:.2f} ({error['adding']['ratio']:.2f} / {error['removing']['ratio']:.2f})",
                    *(_percent(said(leak[place], of)) for place in ("free", "own_hidden") for of in ("draws", "means")),
                )
            )
    terminal.table(
        [
            "label flipped",
            "edit",
            "judge reads new value",
            "other verdicts unchanged",
            "error to truth / doing nothing (adding / removing)",
            "draws of z tell it",
            "means of z tell it",
            "draws of its block, label hidden",
            "means of its block, label hidden",
        ],
        rows,
        title=f"{result['samples']} test faces; the judge itself reads "
        + ", ".join(f"{name} {_percent(score)}" for name, score in result["judge_accuracy"].items()),
    )
    donor = result["donor_transfer"]
    print(f"donor transfer of Eyeglasses nearest to the donor's own style: {_percent(donor)} of {donor['n']}")


def _percent(score: dict[str, float]) -> str:
    return f"{100 * score['value']:.1f}%"


def draw(model: Model, data: Dataset, path: Path, *, seed: int, faces: int = 10) -> None:
    """One picture: originals, edits and truths; a walk through the glasses plane; glasses from several donors."""
    rows = data.rows("test")[:faces]
    x, labels = data.samples(rows), data.labels(rows)
    lines, names = [x], ["original"]
    for label in LABELS:
        edited, wanted = edits.flip(model, data, rows, label, keep_detail=True)
        truth = torch.empty_like(x)
        for value in (0, 1):
            chosen = (wanted == value).numpy()
            if chosen.any():
                styles, _ = data.counterfactuals(label, value, rows[chosen])
                nearest = errors_to_styles(edited[chosen], styles).argmin(axis=1)
                truth[chosen] = styles[torch.arange(len(nearest)), torch.from_numpy(nearest)]
        lines += [edited, truth]
        names += [f"{label} flipped", "nearest truth"]
    values = labels[0][:, data.schema.index("Eyeglasses")]
    bare = int((values == 0).nonzero()[0, 0])
    test = data.rows("test")
    worn = test[data.values[test, data.schema.index("Eyeglasses")] == 1]
    walk, axes = _walk(model, data, int(rows[bare]), worn)
    plain = test[data.values[test, data.schema.index("Eyeglasses")] == 0][:4]
    _, first = np.unique(data.style("Eyeglasses", worn), return_index=True)
    donors = worn[first]
    grid = [torch.cat([torch.ones_like(x[:1]), data.samples(donors)])]
    for taker in plain:
        taken = np.repeat(taker, len(donors))
        done = interventions.transfer(
            model,
            data.samples(taken),
            data.samples(donors),
            "Eyeglasses",
            data.labels(taken),
            data.labels(donors),
            keep_detail=True,
        )
        grid.append(torch.cat([data.samples([taker]), done.x]))
    figure = sheets(
        [
            Sheet("Setting one label (keep detail) beside the true picture", torch.stack(lines), rows=names),
            Sheet("A walk through the plane in which w.Eyeglasses varies most, the rest held", walk.flip(0), axes=axes),
            Sheet("Transfer: each row's face takes the glasses of each column's donor", torch.stack(grid), rows=["donors"]),
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _walk(model: Model, data: Dataset, face: int, worn: np.ndarray) -> tuple[torch.Tensor, tuple[str, str]]:
    """A face with glasses from a grid over the principal plane of the glasses that others wear, and the names of its axes."""
    plane = block_map(model, data, "w.Eyeglasses", encoded(model, data, worn), worn)
    ends = torch.quantile(plane.points, torch.tensor([0.02, 0.98]), dim=0)
    across, up = (torch.linspace(float(low), float(high), _WALKED) for low, high in ends.T)
    points = torch.cartesian_prod(up, across).flip(1)
    codes = plane.lift(points, plane.origin.expand(len(points), -1))
    rows = np.full(len(points), face)
    walked = interventions.move(model, data.samples(rows), {"w.Eyeglasses": codes}, data.labels(rows), keep_detail=True)
    first, second = plane.names
    return walked.x.view(_WALKED, _WALKED, *data.shape), (first, second)
