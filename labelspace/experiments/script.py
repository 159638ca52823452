"""The frame of a script that measures something for several seeds and writes what it found as JSON, Markdown and a picture."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from labelspace.experiments.evidence import COLOURS
from labelspace.reporting.figures import write
from labelspace.storage import files


def mean(values: Sequence[float], form: str) -> str:
    """Mean over seeds, smallest and largest in brackets."""
    low, middle, high = (format(value, form) for value in (min(values), math.fsum(values) / len(values), max(values)))
    return f"{middle} ({low} - {high})"


def main(
    script: str,
    about: str | None,
    measure: Callable[[str, int, int], dict[str, Any]],
    page: Callable[[list[dict[str, Any]], str], str],
    picture: Callable[[list[dict[str, Any]]], Figure],
    *,
    epochs: int,
    arguments: Sequence[str] | None = None,
) -> None:
    """Reads the command line and measures; results go to ``docs/evidence`` by default.

    Args:
        script: the script's path.
        about: its docstring; the first line describes it.
        measure: file, seed and epochs -> everything of one seed, as plain data. A function of a module: it may run elsewhere.
        page: what was found and the command -> Markdown.
        picture: of what was found.
        epochs: passes over the data, where the command line does not say.
        arguments: instead of the command line.
    """
    name = Path(script).stem
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("file")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", default=f"docs/evidence/{name}")
    given = parser.parse_args(arguments)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    if given.workers == 1:
        found = [measure(given.file, seed, given.epochs) for seed in seeds]
    else:
        with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn")) as pool:
            found = list(pool.map(measure, [given.file] * len(seeds), seeds, [given.epochs] * len(seeds)))
    command = f"python benchmarks/{name}.py {Path(given.file).name} --seeds {given.seeds} --epochs {given.epochs}"
    files.write_json(Path(f"{given.out}.json"), {"command": command, "seeds": found})
    files.write(Path(f"{given.out}.md"), page(found, command))
    write(picture(found), Path(f"{given.out}.png"), colours=COLOURS)
