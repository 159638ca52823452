"""``labelspace bench``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from labelspace import terminal
from labelspace.errors import UserError, unknown
from labelspace.reporting.tables import markdown
from labelspace.speed import floor, memory, peers, table, using
from labelspace.speed.training import RECIPES, TRAINING
from labelspace.storage import files
from labelspace.training.engine import multiplies_bfloat16, precision_for, processor
from labelspace.training.options import Options

_LARGE = 200_000  # faces of 64x64: a store of 2.4 GB


def bench(given: argparse.Namespace) -> None:
    """Measures how fast training and use are on this machine, beside what else a person could run."""
    rounds = (2 if given.quick else 7) if given.rounds is None else given.rounds
    if rounds < 1:
        raise UserError(f"--rounds must be at least 1, got {rounds}")
    workloads = _workloads(rounds, given.quick)
    chosen = [key.strip() for key in given.only.split(",")] if given.only else list(workloads)
    for key in chosen:
        if key not in workloads:
            raise unknown("workload", key, workloads)
    for name, there in (("pythae", peers.has_pythae()), ("JAX", peers.has_jax())):
        if not there:
            terminal.say(f"{name} is not installed and is left out (pip install 'labelspace[bench]')")
    found: dict[str, Any] = {
        "machine": {
            "processor": processor(),
            "threads": torch.get_num_threads(),
            "torch": version("torch"),
            "precision auto": precision_for(Options()),
        },
        "rounds": rounds,
        "quick": given.quick,
        "multiply_rate": {},
        "copy_rate": 0.0,
        "workloads": {},
    }
    if given.out and given.only:
        _keep(_file(given.out, found), found)
    rates, dtypes = found["multiply_rate"], {"float32": torch.float32}
    if multiplies_bfloat16(torch.device("cpu")):  # without, a product takes most of a minute, and nothing is trained in it
        dtypes["bfloat16"] = torch.bfloat16
    for key in chosen:
        for name, dtype in dtypes.items():  # the best of all moments
            rates[name] = max(rates.get(name, 0.0), floor.multiply_rate(dtype))
        found["copy_rate"] = max(found["copy_rate"], floor.copy_rate())
        found["workloads"][key] = workloads[key](terminal.say)
        if given.out:
            _write(_file(given.out, found), found)
    if given.json:
        terminal.emit(found)
        return
    terminal.table(table.HEADER, table.rows(found), title="labelspace bench")


def _workloads(rounds: int, quick: bool) -> dict[str, Callable[[Callable[[str], None]], dict[str, Any]]]:
    training = {each.key: each.shortened(8) if quick else each for each in (*TRAINING, *RECIPES)}
    out = {key: lambda tell, each=each: each.measure(rounds, tell) for key, each in training.items()}
    n = 512 if quick else 10_000
    return {
        **out,
        "e": lambda tell: using.throughput(rounds, n, tell),
        "f": lambda tell: using.latency(rounds, tell),
        "g": lambda tell: using.stores(128 if quick else 4096, tell),
        "h": lambda tell: memory.of_stores((2_000,) if quick else (20_000, _LARGE), tell),
    }


def _keep(file: Path, found: dict[str, Any]) -> None:
    """Takes over the other workloads of an earlier call in the same place, if it measured alike."""
    before = files.read_json(file) if file.exists() else {}
    with files.of_form(file, "what labelspace bench writes"):
        if all(before.get(name) == found[name] for name in ("machine", "rounds", "quick")):
            found["workloads"] |= before["workloads"]
            found["multiply_rate"] |= before["multiply_rate"]
            found["copy_rate"] = before.get("copy_rate", 0.0)


def _file(out: str, found: dict[str, Any]) -> Path:
    """Where figures of this processor are kept: those of others lie beside them."""
    return Path(out) / f"bench-{re.sub(r'[^a-z0-9]+', '-', found['machine']['processor'].lower()).strip('-')}.json"


def _write(file: Path, found: dict[str, Any]) -> None:
    found["workloads"] = dict(sorted(found["workloads"].items()))
    files.write_json(file, found)
    rates = ", ".join(f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in found["multiply_rate"].items())
    machine = f"{found['machine']['processor']}, {found['machine']['threads']} threads, torch {found['machine']['torch']}"
    about = f"{machine}; products of matrices: {rates}; copies: {found['copy_rate'] / 1e9:,.0f} GB/s"
    text = f"`labelspace bench`, {found['rounds']} rounds, in turn. {about}.\n\n{markdown(table.HEADER, table.rows(found))}"
    files.write(file.with_suffix(".md"), text)
