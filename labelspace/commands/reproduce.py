"""``labelspace reproduce``: published claims as commands."""

from __future__ import annotations

import argparse
import time
from contextlib import nullcontext
from pathlib import Path

from labelspace import terminal
from labelspace.errors import UserError
from labelspace.experiments import evidence, grid
from labelspace.experiments.recipe import Recipe, Scale
from labelspace.experiments.recipes import RECIPES, load
from labelspace.storage import files


def reproduce(given: argparse.Namespace) -> None:
    """Runs one recipe, or all, or lists them."""
    if not given.recipe:
        _list(given)
        return
    names = list(RECIPES) if given.recipe == "all" else [given.recipe]
    found, failures = [], []
    for name in names:
        recipe = load(name)
        if given.recipe == "all" and recipe.needs and not given.data:
            terminal.say(f"{name} is left out: it needs --data {recipe.needs}")
            continue
        try:
            found.append(_one(given, name, recipe, address_for(given, name, recipe, several=len(names) > 1)))
        except UserError as error:
            if len(names) == 1:
                raise
            failures.append(str(error))
            terminal.say(f"{name}: {error}")
    if failures:
        raise UserError(f"{len(failures)} of {len(names)} recipes failed, the first: {failures[0]}")
    if given.json:
        terminal.emit(found[0] if len(names) == 1 else found)


def address_for(given: argparse.Namespace, name: str, recipe: Recipe, *, several: bool = False) -> str:
    """The data that a recipe runs on."""
    if given.data and (recipe.needs or not several):
        return given.data
    if recipe.default:
        return recipe.default
    raise UserError(f"{name} needs data that are not built in: --data {recipe.needs}")


def _one(given: argparse.Namespace, name: str, recipe: Recipe, address: str) -> dict:
    began = time.monotonic()
    scale: Scale = given.scale
    out = Path(given.out)
    known = grid.known_results(recipe, name, scale, [Path(file) for file in given.known])
    with terminal.share(name) as report:
        results = grid.run(
            name,
            recipe,
            scale,
            address,
            Path(given.runs),
            workers=given.workers,
            only=given.only,
            known=known,
            tell=terminal.say,
            report=report,
        )
    if all(r.failed for r in results):
        raise UserError(f"{name}: every run failed, the first: {results[0].failed}")
    with files.of_form(" or ".join(given.known), grid.RESULTS) if given.known else nullcontext():
        conclusion, home = evidence.write(name, recipe, scale, address, results, out, grid.judges(recipe, results))
    if not given.json:
        for table in conclusion.tables:
            terminal.table(table.header, table.rows, title=table.title)
        for verdict in conclusion.verdicts:
            print(f"{evidence.HELD[verdict.held].upper()}: {verdict.claim}. {verdict.why}")
    terminal.say(f"written to {home}   {time.monotonic() - began:.0f} s")
    return files.read_json(home / "results.json")


def _list(given: argparse.Namespace) -> None:
    rows = []
    for name in RECIPES:
        recipe = load(name)
        address = given.data if given.data and recipe.needs else recipe.default or recipe.needs
        done, planned = grid.present(name, recipe, given.scale, address, Path(given.runs))
        written = Path(given.out) / name / "results.json"
        state = f"{done} of {planned} runs"
        found = files.read_json(written) if written.exists() else {}
        with files.of_form(written, grid.RESULTS):
            if found.get("scale") == given.scale:
                held = sum(v["held"] is True for v in found["verdicts"])
                state += f"; results: {held} of {len(found['verdicts'])} claims held"
        rows.append((name, recipe.paper, recipe.claim, state, recipe.needs or "built in"))
    header = ["recipe", "paper", "claim", f"results at --scale {given.scale}", "data"]
    if given.json:
        terminal.emit([dict(zip(("recipe", "paper", "claim", "state", "data"), row, strict=True)) for row in rows])
    else:
        terminal.table(header, rows)
