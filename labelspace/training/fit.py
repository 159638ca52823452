"""``fit``: one training loop for every model.

A model says who its players are and what each minimises; the loop knows nothing else. Anyone may write their own loop in
ten lines (docs/training.md shows one); this one adds schedules, validation, the best and the last checkpoint, exact
resuming, early stopping, and errors that say what went wrong where.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from labelspace import saving
from labelspace.data import memory, sources, store
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError, unknown
from labelspace.models.base import FROM_DATA, Model
from labelspace.training import engine
from labelspace.training.loop import Fitted, Loop
from labelspace.training.options import Options
from labelspace.training.progress import Callback, Callbacks, Terminal, quiet
from labelspace.training.run import Run
from labelspace.training.trackers import TensorBoard

WHERE = ("accelerator", "devices", "nodes", "strategy", "timeout")  # where to train; a resumed run may go on elsewhere


def fit(
    model: Model,
    data: Dataset,
    options: Options | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    callbacks: Iterable[Callback] = (),
    progress: bool = True,
    tensorboard: bool = False,
    **changes: Any,
) -> Fitted:
    """Trains a model on a data set's training split and keeps the weights that validate best.

    Args:
        model: from :func:`labelspace.build`; it is trained in place and ends with the best weights, on the CPU.
        data: the data set.
        options: how to train; the model's own recipe for such data by default.
        out: run directory; without one nothing is written and nothing can be resumed.
        resume: go on with the run in ``out``. An interrupted and resumed run ends with the same weights, bit for bit, as
            an uninterrupted one on the same machine with the same number of threads and
            processes.
        callbacks: told about the training; see :class:`labelspace.Callback`.
        progress: say how far it is: a bar in a terminal or a notebook, else a line now and then. The environment variable
            ``LABELSPACE_QUIET=1`` says no for all trainings.
        tensorboard: also write event files into ``out`` (extra ``track``).
        **changes: single options, such as ``epochs=5``, on top of ``options``.

    With several ``devices`` the program that calls this is started again for each of them (docs/scale.md).

    Raises:
        UserError: the options, the data and the directory do not go together, another process is training in the directory, or
            memory ran out.
        DivergedError: a term or a weight became NaN or infinite.
        LostError: one of several processes ended.
        InterruptedTraining: a KeyboardInterrupt: SIGINT or SIGTERM asked training to end; a checkpoint was written first.

    >>> fitted = fit(ls.build("condvae", data), data, epochs=1, progress=False)
    >>> fitted.best_epoch
    1
    """
    options = resolve(model, data, options, changes)
    check(model, data, options)
    shown = [Terminal()] if progress and not quiet() else []
    tracked = [TensorBoard(out)] if tensorboard and out is not None else []
    callback = Callbacks([*shown, *callbacks, *tracked])
    if out is None and (resume or tensorboard):
        raise UserError("resuming and TensorBoard need a run directory (out)")
    fabric = engine.launch(options, data.is_image)
    if fabric.is_global_zero and callback.wants_configuration:
        callback.configured(configuration(model, data, options))
    if out is None:
        return Loop(fabric, model, data, options, None, callback).run_to_the_end()
    run = Run(out)
    with ExitStack() as held:

        def take() -> None:
            if resume:
                _check_resumable(run, options)
            else:
                Run.create(out)
            held.enter_context(run.locked(callback.note))
            if not resume:
                Run.create(out)  # again: another process may have been quicker
                run.write_config(configuration(model, data, options))
                if data.reading is not None and data.reading.columns:
                    run.write_reading(data.reading.to_dict())
            if not (run.home / "environment.json").exists():
                run.write_environment(
                    seed=options.seed,
                    processes=fabric.world_size,
                    processor=engine.processor(),
                    precision=engine.precision_for(options, data.is_image),
                    muon=str(engine.muon_dtype(options, fabric.device)).removeprefix("torch."),
                )

        engine.on_first(fabric, take)  # of several processes, one holds the run for all
        return Loop(fabric, model, data, options, run, callback).run_to_the_end()


def check(model: Model, data: Dataset, options: Options) -> None:
    """Raises UserError where model, data and options do not go together."""
    if model.shape != data.shape or model.schema != data.schema:
        raise UserError(
            f"the model was built for {model.shape} and {model.schema}, the data have {data.shape} and {data.schema}"
        )
    if options.patience and "val" not in data.splits:
        raise UserError("patience waits for a better validation score, but the data have no validation split")


def _check_resumable(run: Run, options: Options) -> None:
    if not run.exists:
        raise UserError(f"{run.home} holds no run to resume")
    saved = asdict(Options()) | run.read_config()["training"]  # an earlier version did not have all of them
    for key, value in asdict(options).items():
        if key not in WHERE and saved.get(key) != value:
            raise UserError(
                f"{run.home} was started with {key}={saved.get(key)}, not {value}; a resumed run keeps its settings"
            )


def resolve(model: Model, data: Dataset, options: Options | None, changes: dict[str, Any]) -> Options:
    """Options with a model's recipe for such data and single changes applied."""
    base = (
        asdict(options) if options is not None else {**asdict(Options()), **model.recipe(data.shape, len(data.rows("train")))}
    )
    for key in changes:
        if key not in base:
            raise unknown("training option", key, base)
    return Options(**{**base, **changes})


def configuration(model: Model, data: Dataset, options: Options) -> dict[str, Any]:
    """The resolved configuration of a run, as ``config.yaml`` holds it."""
    made = saving.configuration(model)
    own = {name: value for name, value in made["arguments"].items() if name not in FROM_DATA}
    source = {"labels": list(data.schema.names), "seed": data.seed, "supervision": data.supervision}
    if data.label_noise:
        source["label_noise"] = data.label_noise
    if data.grouped:
        source["group"] = data.grouped
    if memory.is_memory(data.address):  # nothing that could be opened again: what they were is known by it
        source |= {"about": repr(data).partition("\n")[0].removeprefix("Dataset "), "fingerprint": data.fingerprint()}
    return {
        "data": {"address": data.address, **source},
        "model": {"name": made["model"], **({"class": made["class"]} if "class" in made else {}), **own},
        "training": asdict(options),
        **({"init_from": model.started_from} if model.started_from else {}),
    }


def open_run(home: str | Path, data: Any = None) -> tuple[Model, Dataset]:
    """The best model of a run and the data set that it was trained on.

    Args:
        home: the run directory.
        data: the data, an address or what :func:`labelspace.open` takes; by default those that the run names. A run that was
            trained on data in memory needs them here.

    Raises:
        UserError: the directory holds no run, or its data cannot be opened any more, or do not fit the model.

    >>> import tempfile
    >>> home = tempfile.mkdtemp() + "/run"
    >>> fitted = ls.fit(ls.build("condvae", data), data, out=home, epochs=1, progress=False)
    >>> best, own = open_run(home)
    >>> own.address
    'moons:n=200'
    """
    run = Run(home)
    run.read_config()  # says first whether it is a run at all
    return saving.load(run.home), open_data(run, data)


def open_data(run: Run, data: Any = None, progress: store.Progress | None = None) -> Dataset:
    """The data set that a run was trained on, its labels hidden and changed as they were then.

    Args:
        run: the run.
        data: as in :func:`open_run`. Where they are not those that the run was trained on, a note says so.
        progress: as in :func:`labelspace.open`.

    Raises:
        UserError: the directory holds no run, or its data cannot be opened any more.
    """
    found = run.read_config()["data"]
    if data is None and memory.is_memory(found["address"]):
        raise memory.missing_data(found["address"], found.get("about", ""))
    if isinstance(data, np.ndarray | torch.Tensor | list | tuple | dict):
        raise UserError("arrays and pictures do not say their labels; give them as labelspace.Dataset.from_arrays(x, labels)")
    opened = sources.open(
        found["address"] if data is None else data,
        found["labels"],
        seed=found["seed"],
        supervision=found.get("supervision", 1.0),
        label_noise=found.get("label_noise", 0.0),
        group=found.get("group", "") if data is None or isinstance(data, str) else "",
        like=saving.description(run.home),
        progress=progress,
    )
    if data is not None and found.get("fingerprint", "") not in ("", opened.fingerprint()):
        note = f"these are not the data that {run.home.name} was trained on, or they are split otherwise"
        opened = replace(opened, notes=(*opened.notes, note))
    return opened
