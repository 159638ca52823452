"""A run directory: everything that a training run leaves behind.

===========================  ====================================================================================
``config.yaml``              the resolved configuration: data address, model and its arguments, training options
``schema.json``              the labels
``variables.json``           what the entries of vectors are called, where the data say so
``config.json``              what makes the model again
``model.safetensors``        the best model
``metrics.jsonl``            one line an epoch: every term, training and validation
``environment.json``         versions, machine, threads, seed
``checkpoint/last.safetensors``  all that resuming needs, weights to batch position
===========================  ====================================================================================
"""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from labelspace import files
from labelspace.errors import UserError

FORMAT = 1


class Run:
    """The files of one run. Make one with :meth:`create` or :meth:`resume`.

    Args:
        home: the run directory.
    """

    def __init__(self, home: str | Path) -> None:
        self.home = Path(home)
        self.checkpoint_file = self.home / "checkpoint" / "last.safetensors"
        self.metrics_file = self.home / "metrics.jsonl"

    @classmethod
    def create(cls, home: str | Path) -> Run:
        """A new run. Raises UserError when the directory already holds one."""
        run = cls(home)
        if run.exists:
            raise UserError(f"{run.home} already holds a run; add --resume to go on with it, or choose another --out")
        try:
            run.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{run.home} cannot be made: {error.strerror}") from None
        return run

    @property
    def exists(self) -> bool:
        return any((self.home / name).exists() for name in ("config.yaml", "config.json", "metrics.jsonl", "checkpoint"))

    def write_config(self, config: dict[str, Any]) -> None:
        files.write(self.home / "config.yaml", yaml.safe_dump(config, sort_keys=False))

    def read_config(self) -> dict[str, Any]:
        """The resolved configuration. Raises UserError when the directory holds no run."""
        return read_config(self.home / "config.yaml")

    def write_environment(self, seed: int, processes: int = 1) -> None:
        packages = {name: version(name) for name in ("torch", "numpy", "safetensors", "lightning-fabric", "labelspace")}
        files.write_json(
            self.home / "environment.json",
            {
                "packages": packages,
                "python": sys.version.split()[0],
                "platform": platform.platform(),
                "processor": platform.processor() or platform.machine(),
                "cores": os.cpu_count(),
                "threads": torch.get_num_threads(),
                "processes": processes,
                "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
                "seed": seed,
            },
        )

    # -- metrics ------------------------------------------------------------------------------------------------------

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Adds a line; the whole line reaches the disk in one write."""
        try:
            with self.metrics_file.open("a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise UserError(f"{self.metrics_file} could not be written: {error.strerror}") from None

    def metrics(self) -> list[dict[str, Any]]:
        """All whole lines."""
        if not self.metrics_file.exists():
            return []
        rows = []
        for line in self.metrics_file.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:  # a line that a crash cut off; what follows it would be from after the crash
                break
        return rows

    def keep_metrics(self, rows: int) -> None:
        """Drops lines that a crash left behind after the checkpoint."""
        kept = self.metrics()[:rows]
        files.write(self.metrics_file, "".join(json.dumps(row) + "\n" for row in kept))

    # -- checkpoint ---------------------------------------------------------------------------------------------------

    def write_checkpoint(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Writes the whole state of training as one file; the previous checkpoint stays until the new one is whole."""
        metadata = {"format": str(FORMAT), "state": json.dumps(state)}
        files.write_tensors(self.checkpoint_file, tensors, metadata)

    def read_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last checkpoint, None when there is none yet. Raises UserError when it is damaged or of a newer format."""
        if not self.checkpoint_file.exists():
            return None
        tensors, metadata = files.read_tensors(self.checkpoint_file)
        try:
            version_found, state = int(metadata["format"]), json.loads(metadata["state"])
        except (KeyError, ValueError):
            raise UserError(f"{self.checkpoint_file} is not a checkpoint of labelspace") from None
        if version_found > FORMAT:
            raise UserError(
                f"{self.checkpoint_file} has format {version_found}, newer than this version reads ({FORMAT}); "
                "update labelspace"
            )
        return tensors, state


def read_config(path: Path) -> dict[str, Any]:
    """Reads a resolved configuration. Raises UserError when it is absent or not one."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    try:
        data, model, training = config["data"], config["model"], config["training"]
        whole = (
            isinstance(data["address"], str)
            and isinstance(data["labels"], list)
            and isinstance(data["seed"], int)
            and isinstance(data.get("supervision", 1.0), int | float)
            and isinstance(data.get("mislabelled", 0.0), int | float)
            and isinstance(data.get("group", ""), str)
            and isinstance(model["name"], str)
            and isinstance(training, dict)
        )
    except (TypeError, KeyError, IndexError):
        whole = False
    if not whole:
        raise UserError(
            f"{path} is not the configuration of a run; it needs data (address, labels, seed), model (name, ...) and training"
        )
    return config


def flatten_optimizer(prefix: str, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """An optimiser's state as named tensors, and its groups' plain options."""
    state = optimizer.state_dict()
    tensors = {
        f"{prefix}.{index}.{key}": torch.as_tensor(value)
        for index, entries in state["state"].items()
        for key, value in entries.items()
    }
    return tensors, state["param_groups"]


def restore_optimizer(
    prefix: str, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    """The inverse of :func:`flatten_optimizer`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(f"{prefix}."):
            index, key = name[len(prefix) + 1 :].split(".", 1)
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": groups})
