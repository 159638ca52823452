"""``labelspace train``."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import Any

import torch
import yaml

from labelspace import saving, terminal
from labelspace.commands.data import open_data
from labelspace.config import resolve
from labelspace.data.dataset import Dataset
from labelspace.errors import DivergedError, LostError, UserError
from labelspace.models import build
from labelspace.models.base import Model
from labelspace.training import engine, launcher
from labelspace.training.fit import WHERE, Fitted, check, configuration, fit
from labelspace.training.options import Options
from labelspace.training.progress import Terminal
from labelspace.training.run import Run, read_config
from labelspace.training.trackers import logger

_MOST_SHOWN = 40  # columns


def train(given: argparse.Namespace) -> None:
    """Trains a model, or goes on with a run."""
    file: dict[str, Any] = {}
    if given.resume:
        file = _resumed(given)
    elif given.config:
        file = read_config(Path(given.config))
    saved = file.get("data", {})
    address = given.data or saved.get("address")
    if not address:
        raise UserError("which data? labelspace train DATA, where labelspace data list prints addresses")
    labels = given.labels
    if labels is None and address == saved.get("address"):
        labels = ",".join(saved["labels"])
    name = given.model or file.get("model", {}).get("name") or "lsvae"
    seed = given.seed if given.seed is not None else int(saved.get("seed", 0))
    home = given.out or f"runs/{name}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', address).strip('-')}"
    if not given.resume and Run(home).exists:
        Run.create(home)  # says what to do, before any data are read
    supervision = given.supervision if given.supervision is not None else float(saved.get("supervision", 1.0))
    label_noise = given.label_noise if given.label_noise is not None else float(saved.get("label_noise", 0.0))
    group = given.group if given.group is not None else saved.get("group", "")
    data = open_data(address, labels, seed, supervision, label_noise, group=group)
    config = resolve(
        name,
        data.shape,
        len(data.schema),
        len(data.rows("train")),
        likelihood=data.likelihood,
        file=file if name == file.get("model", {}).get("name") else {"training": file.get("training", {})},
        assignments=given.set,
        training={**_budget(given), "seed": given.seed, **_where(given, file)},
    )
    torch.manual_seed(config.options.seed)
    with saving.Trainable():
        model = build(name, data, **config.arguments)
    taken, source = None, given.init_from or file.get("init_from")
    if source and given.resume and Run(home).checkpoint_file.exists():
        model.started_from = source  # the checkpoint has all weights
    elif source:
        taken = saving.warm_start(model, source)
    check(model, data, config.options)
    # What a user can get wrong has been met by now, before there are other processes to meet it again.
    if not engine.launch(config.options, data.is_image, launcher.this_command(given.words)).is_global_zero:
        _take_part(given, model, data, config.options, home)
        return
    resolved = configuration(model, data, config.options)
    if not given.json:
        terminal.say(yaml.safe_dump(resolved, sort_keys=False).rstrip())
    for note in data.notes:
        terminal.say(f"note: {note}")
    if data.reading is not None and not given.json:
        for line in data.reading.lines(_MOST_SHOWN):
            terminal.say(line)
    for line in taken.lines() if taken else ():
        terminal.say(f"from {source}: {line}")
    names = [*given.logger, *(["tensorboard"] if given.tensorboard and "tensorboard" not in given.logger else [])]
    trackers = [logger(name, home) for name in names]
    try:
        fitted = fit(
            model,
            data,
            config.options,
            out=home,
            resume=given.resume,
            callbacks=[Terminal(), *trackers],
            progress=False,
        )
    except DivergedError as error:
        _page(given, home, None, data, note=str(error))
        raise
    report(given, home, fitted, resolved)
    _page(given, home, fitted.model, data)


def _take_part(given: argparse.Namespace, model: Model, data: Dataset, options: Options, home: str) -> None:
    """What a process that is not the first does: all but talk and write."""
    try:
        fit(model, data, options, out=home, resume=given.resume, progress=False)
    except (engine.ReportedError, DivergedError, LostError, KeyboardInterrupt):
        raise SystemExit(1) from None


def _page(given: argparse.Namespace, home: str, model: Model | None, data: Dataset, note: str = "") -> None:
    """Writes the run's report; a page that cannot be written is no reason to fail."""
    if given.no_report:
        return
    from labelspace.commands.report import after_training  # figures take as long to import as a small model to train

    try:
        written = after_training(home, model, data, note)
    except Exception as error:  # the training is whole; its page can be made again
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        terminal.say(f"no report: {kind}{error} (labelspace report {home} tries again)")
    else:
        terminal.say(f"report: {written}")


def _budget(given: argparse.Namespace) -> dict[str, Any]:
    """How long to train: who gives steps or minutes does not ask for a number of passes as well."""
    limited = given.steps is not None or given.minutes is not None
    epochs = 0 if given.epochs is None and limited and not given.resume else given.epochs
    return {"epochs": epochs, "steps": given.steps, "minutes": given.minutes}


def _where(given: argparse.Namespace, file: dict[str, Any]) -> dict[str, Any]:
    """Devices and what belongs to them: as asked for; a configuration made elsewhere does not outweigh a launcher."""
    asked = {key: getattr(given, key, None) for key in WHERE}
    if file and launcher.started() is not None:
        asked |= {key: "auto" for key in ("devices", "nodes") if asked[key] is None}
    return asked


def _resumed(given: argparse.Namespace) -> dict[str, Any]:
    """The configuration of the run that is to go on; nothing else may be asked for."""
    if not given.out:
        raise UserError("--resume needs --out, the directory of the run to go on with")
    if not Run(given.out).exists:
        raise UserError(f"{given.out} holds no run to resume")
    file = Run(given.out).read_config()
    saved = {
        "DATA": (given.data, file["data"]["address"]),
        "--model": (given.model, file["model"]["name"]),
        "--labels": (given.labels, ",".join(file["data"]["labels"])),
        "--epochs": (given.epochs, file["training"].get("epochs", Options.epochs)),
        "--steps": (given.steps, file["training"].get("steps", 0)),
        "--minutes": (given.minutes, file["training"].get("minutes", 0.0)),
        "--seed": (given.seed, file["training"].get("seed", Options.seed)),
        "--label-noise": (given.label_noise, file["data"].get("label_noise", 0.0)),
        "--group": (given.group, file["data"].get("group", "")),
        "--supervision": (given.supervision, file["data"].get("supervision", 1.0)),
    }
    for option, (asked, was) in saved.items():
        if asked is not None and asked != was:
            raise UserError(f"{given.out} was started with {option} {was}, not {asked}; a resumed run keeps its settings")
    if given.set or given.config or given.init_from:
        raise UserError("a resumed run keeps its settings; leave out --set, --config and --init-from")
    return file


def report(given: argparse.Namespace, home: str, fitted: Fitted, resolved: dict[str, Any]) -> None:
    """Prints the result of training."""
    if given.json:
        terminal.emit(
            {
                "run": str(home),
                "reason": fitted.reason,
                "best_epoch": fitted.best_epoch,
                "best_score": fitted.best_score if math.isfinite(fitted.best_score) else None,
                "seconds": fitted.seconds,
                "samples_per_second": fitted.samples_per_second,
                "config": resolved,
            }
        )
        return
    terminal.say(f"{home}: best epoch {fitted.best_epoch}, {fitted.seconds:.0f} s, {fitted.samples_per_second:,.0f} samples/s")
