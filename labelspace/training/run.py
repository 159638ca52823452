"""A run directory: everything that a training run leaves behind.

===========================  ====================================================================================
``config.yaml``              the resolved configuration: data address, model and its arguments, training options
``schema.json``              the labels
``variables.json``           what the entries of vectors are called, where the data say so
``reading.json``             what the columns of the data were read as, where they have columns
``config.json``              what makes the model again
``model.safetensors``        the best model
``metrics.jsonl``            one line an epoch: every term, training and validation
``environment.json``         date, versions, machine, threads, what is multiplied in what precision, seed
``checkpoint/last.safetensors``  all that resuming needs, weights to batch position
``checkpoint/previous.safetensors``  the checkpoint before it, for when that one is damaged
``.lock``                    locked while a process trains here; readers take no notice of it
===========================  ====================================================================================

Evaluations, reports and trackers write into it, too: ``NAMES``.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_type_hints

import torch
import yaml
from torch import Tensor

from labelspace import cores
from labelspace.data import paths
from labelspace.errors import UserError, option, reason
from labelspace.models import legacy
from labelspace.storage import bounds, files, hub, locks, tensorfiles
from labelspace.training.options import Options

FORMAT = 1
# What is read or written in a run: no link of such a name may lead out of it.
NAMES = (
    *hub.FILES,
    *("config.yaml", "reading.json", "metrics.jsonl", "metrics-damaged.jsonl", "environment.json", "checkpoint", ".lock"),
    *("evaluation.json", "evaluation.md", "figures", "report.html", "events", "wandb"),
)
_LONGEST = 2**22  # bytes of a line of the metrics
_METRICS = replace(bounds.JSON, usual=4 * 2**30)  # of the longest trainings
_ROW = {"epoch", "train", "val", "score", "best", "seconds", "samples_per_second"}  # what every line of the metrics has


class Run:
    """The files of one run. Make a new one with :meth:`create`.

    Args:
        home: the run directory.

    Raises:
        UserError: something of a run (``NAMES``) is a link that leads out of the directory.
    """

    def __init__(self, home: str | Path) -> None:
        self.home = paths.own(home)
        self.checkpoint_file = self.home / "checkpoint" / "last.safetensors"
        self.previous_file = self.home / "checkpoint" / "previous.safetensors"
        self.metrics_file = self.home / "metrics.jsonl"
        self._damaged = False  # whether the last checkpoint is
        files.contained(self.home, NAMES)

    @classmethod
    def create(cls, home: str | Path) -> Run:
        """A new run. Raises UserError when the directory already holds one."""
        run = cls(home)
        if run.exists:
            raise UserError(
                f"{run.home} already holds a run; add {option('resume')} to go on with it, or choose another {option('out')}"
            )
        try:
            run.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{run.home} cannot be made: {reason(error)}") from None
        return run

    @property
    def exists(self) -> bool:
        return any((self.home / name).exists() for name in ("config.yaml", "config.json", "metrics.jsonl", "checkpoint"))

    @contextmanager
    def locked(self, tell: Callable[[str], object]) -> Iterator[None]:
        """Keeps other processes from training in this run meanwhile; the system lets go of it when this process ends.

        Args:
            tell: told in a line where the file system has no locks.

        Raises:
            UserError: another process is training in it.
        """
        busy = f"another process is training in {self.home}; wait until it has ended, or choose another {option('out')}"
        with locks.exclusive(self.home / ".lock", busy, tell):
            for name in ("config.yaml", "environment.json", "metrics.jsonl", "model.safetensors", "schema.json"):
                files.sweep(self.home / name)
            if self.checkpoint_file.parent.is_dir():
                files.sweep(self.checkpoint_file)
            yield

    def write_config(self, config: dict[str, Any]) -> None:
        files.write(self.home / "config.yaml", yaml.safe_dump(config, sort_keys=False))

    def write_reading(self, reading: dict[str, Any]) -> None:
        files.write_json(self.home / "reading.json", reading)

    def read_config(self) -> dict[str, Any]:
        """The resolved configuration. Raises UserError when the directory holds no run."""
        return read_config(self.home / "config.yaml")

    def write_environment(self, **facts: Any) -> None:
        """Versions and machine, and what else is to be known of a run, such as its seed."""
        packages = {name: version(name) for name in ("torch", "numpy", "safetensors", "lightning-fabric", "labelspace")}
        files.write_json(
            self.home / "environment.json",
            {
                "packages": packages,
                "date": datetime.now(UTC).isoformat(" ", "minutes"),
                "python": sys.version.split()[0],
                "platform": platform.platform(),
                "cores": cores.usable(),
                "threads": torch.get_num_threads(),
                "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
                **facts,
            },
        )

    # -- metrics ------------------------------------------------------------------------------------------------------

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Adds a line; the whole line reaches the disk in one write."""
        try:
            with self.metrics_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise UserError(f"{self.metrics_file} could not be written: {reason(error)}") from None

    def metrics(self) -> list[dict[str, Any]]:
        """All whole lines; the last one may be cut off by a crash, or not be whole yet.

        Raises:
            UserError: another line is damaged.
        """
        rows, damaged = self._lines()
        if damaged:
            raise UserError(f"{self.metrics_file} is damaged in line {damaged}; remove that line to read the others")
        return rows

    def _lines(self) -> tuple[list[dict[str, Any]], int]:
        """Lines up to the first that cannot be read, and the number of that one: 0 if it is but the end of the file."""
        if bounds.absent(self.metrics_file):
            return [], 0
        lines = bounds.read(self.metrics_file, _METRICS).split(b"\n")
        rows = []
        for line in lines[:-1]:  # behind the last line break is nothing, or a line that is not whole
            if len(line) > _LONGEST:
                return rows, len(rows) + 1
            try:
                row = json.loads(line)
                if not _is_row(row):
                    return rows, len(rows) + 1
            except (ValueError, RecursionError):
                return rows, len(rows) + 1
            rows.append(row)
        return rows, 0

    def keep_metrics(self, rows: int, tell: Callable[[str], object]) -> None:
        """Drops lines that a crash left behind after the checkpoint.

        Args:
            rows: how many lines belong to the checkpoint.
            tell: told in a line where not so many are there to be read; they say what was, and nothing depends on them.
        """
        kept, _ = self._lines()
        if len(kept) < rows:
            beside = self.metrics_file.with_name("metrics-damaged.jsonl")
            if self.metrics_file.exists():
                os.replace(self.metrics_file, beside)
            was = f" (what was there is now {beside.name})" if beside.exists() else ""
            tell(f"{self.metrics_file} was damaged: of {rows} epochs before this one, {len(kept)} could be read{was}")
        files.write(self.metrics_file, "".join(json.dumps(row) + "\n" for row in kept[:rows]))

    # -- checkpoint ---------------------------------------------------------------------------------------------------

    def write_checkpoint(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Writes the whole state of training as one file; the one before it is kept beside it."""
        metadata = {"format": str(FORMAT), "state": json.dumps(state)}
        kept = None if self._damaged else self.previous_file
        tensorfiles.write(self.checkpoint_file, tensors, metadata, kept)
        self._damaged = False

    def read_checkpoint(
        self, tell: Callable[[str], object] = lambda text: None
    ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last checkpoint, or the one before it where that is damaged; None when there is none yet.

        Args:
            tell: told in a line that an older checkpoint is used.

        Raises:
            UserError: both are damaged, or of a newer format.
        """
        last = self.checkpoint_file.exists()
        if not self.previous_file.exists():
            return _checkpoint(self.checkpoint_file) if last else None
        if not last:  # killed between two renames
            return _checkpoint(self.previous_file)
        try:
            return _checkpoint(self.checkpoint_file)
        except _DamagedError as error:
            try:
                found = _checkpoint(self.previous_file)
            except _DamagedError:
                raise UserError(
                    f"{error}; {self.previous_file.name} is damaged, too; remove {self.checkpoint_file.parent} and resume to "
                    "train this run from its beginning"
                ) from None
            self._damaged = True  # it must not take the place of the good one
            tell(f"{error}; going on from the checkpoint before it")
            return found


def _is_row(row: Any) -> bool:
    """Whether something is a line of the metrics: numbers, in dictionaries by the names of their terms."""
    if not isinstance(row, dict) or not row.keys() >= _ROW or not isinstance(row["epoch"], int):
        return False
    parts = [row["train"], row["val"], row.get("weights", {})]
    if not all(isinstance(part, dict) for part in parts) or not isinstance(row.get("readers", []), list):
        return False
    numbers = [number for part in parts for number in part.values()] + [row["seconds"], row["samples_per_second"]]
    return all(isinstance(number, int | float) for number in numbers) and isinstance(row["score"], int | float | None)


class _DamagedError(UserError):
    """A checkpoint that cannot be read."""


def _checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        tensors, metadata = tensorfiles.read(path)
    except UserError as error:
        raise _DamagedError(str(error)) from None
    try:
        version_found, state = int(metadata["format"]), files.from_json(metadata["state"])
    except (KeyError, ValueError):
        raise _DamagedError(f"{path} is not a checkpoint of labelspace") from None
    if version_found > FORMAT:
        raise UserError(f"{path} has format {version_found}, newer than this version reads ({FORMAT}); update labelspace")
    return tensors, state


def read_config(path: Path) -> dict[str, Any]:
    """Reads a resolved configuration. Raises UserError when it is absent or not one."""
    config = files.read_yaml(path)
    try:
        data, model, training = config["data"], config["model"], config["training"]
        data = config["data"] = legacy.renamed(data, legacy.DATA)
        training = config["training"] = legacy.renamed(training, legacy.OPTIONS)
        legacy.refuse(model["name"], model)
        whole = (
            isinstance(data["address"], str)
            and isinstance(data["labels"], list)
            and all(isinstance(label, str) for label in data["labels"])
            and isinstance(data["seed"], int)
            and isinstance(data.get("supervision", 1.0), int | float)
            and isinstance(data.get("label_noise", 0.0), int | float)
            and isinstance(data.get("group", ""), str)
            and isinstance(model["name"], str)
            and isinstance(training, dict)
            and isinstance(config.get("init_from") or "", str)
        )
        hints = get_type_hints(Options)
        for name, value in training.items() if whole else ():
            if name in hints and not files.fits(value, hints[name]):
                raise UserError(f"setting {name!r} is {str(value)[:60]!r}, of another type")
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (TypeError, KeyError, IndexError, AttributeError):
        whole = False
    if not whole:
        raise UserError(
            f"{path} is not the configuration of a run; it needs data (address, labels, seed), model (name, ...) and training"
        )
    return config


def flatten_optimizer(prefix: str, state: dict[str, Any]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """An optimiser's state as named tensors, and its groups' plain options."""
    tensors = {
        f"{prefix}.{index}.{key}": torch.as_tensor(value)
        for index, entries in state["state"].items()
        for key, value in entries.items()
    }
    return tensors, state["param_groups"]


def optimizer_state(prefix: str, tensors: dict[str, Tensor], groups: list[dict[str, Any]]) -> dict[str, Any]:
    """The inverse of :func:`flatten_optimizer`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(f"{prefix}."):
            index, key = name[len(prefix) + 1 :].split(".", 1)
            state.setdefault(int(index), {})[key] = tensor
    return {"state": state, "param_groups": groups}
