"""``labelspace export``."""

from __future__ import annotations

import argparse
from pathlib import Path

from labelspace import saving, terminal
from labelspace.data import paths
from labelspace.errors import UserError
from labelspace.export import onnx
from labelspace.models.base import Model
from labelspace.storage import files, hub
from labelspace.training.fit import open_data as open_run_data
from labelspace.training.run import Run

_CHECKED = 32  # samples of the data that graphs are also checked on


def export(given: argparse.Namespace) -> None:
    """Writes a model as a folder for a model hub, as ONNX graphs, or as a page that runs it."""
    if given.to == "hub":
        _hub(given)
        return
    if given.push or given.private or given.license:
        raise UserError("--push, --private and --license go with --to hub")
    if given.to == "page":
        _page(given)
        return
    if given.runtime:
        raise UserError("--runtime goes with --to page")
    model = saving.load(given.run_directory)
    about = onnx.export(
        model, given.out, _samples(given, model), overwrite=given.overwrite, tell=lambda name: terminal.say(f"writing: {name}")
    )
    if given.json:
        terminal.emit({"out": given.out, **about})
        return
    for name, graph in about["graphs"].items():
        inputs = ", ".join(port["name"] for port in graph["inputs"])
        terminal.say(f"{name}.onnx: {inputs}; differs from PyTorch by at most {graph['largest difference from PyTorch']:.1g}")
    terminal.say(f"written to {given.out}")


def _page(given: argparse.Namespace) -> None:
    from labelspace.explorer import saved  # a page is the explorer without a server
    from labelspace.explorer.workbench import Workbench

    out = paths.own(given.out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out {given.out} is not the name of a page; expected one that ends in .html")
    bench = Workbench.open(given.run_directory)
    page, lost = saved.write(
        bench, home=Path(given.runtime) if given.runtime else None, tell=lambda name: terminal.say(f"writing: {name}")
    )
    files.write(out, page)
    if given.json:
        terminal.emit({"out": given.out, "bytes": len(page), "left out": lost})
        return
    for what in lost:
        terminal.say(f"so that the page has room: {what}")
    terminal.say(f"written to {given.out} ({len(page) / 1e6:.1f} MB): it opens in a browser, without a server or a network")


def _samples(given: argparse.Namespace, model: Model):
    """Some samples of the run's data, where these can be had."""
    if not (Path(given.run_directory) / "config.yaml").exists():
        terminal.say("the model has no run: graphs are checked on random samples alone")
        return None
    try:
        with terminal.bar("reading the run's data") as progress:
            data = open_run_data(Run(given.run_directory), progress=progress)
    except UserError as error:
        terminal.say(f"the run's data cannot be opened, graphs are checked on random samples alone: {error}")
        return None
    return data.samples(data.rows("test")[:_CHECKED])


def _hub(given: argparse.Namespace) -> None:
    if given.private and not given.push:
        raise UserError("--private goes with --push NAME")
    from labelspace.export import folder  # its card has tables of the report's, which imports matplotlib

    name = (given.push or "").rpartition("/")[2]
    written = folder.export(given.run_directory, given.out, name=name, license=given.license, overwrite=given.overwrite)
    url = hub.push(written, given.push, given.private) if given.push else ""
    if given.json:
        terminal.emit({"out": given.out, "files": sorted(file.name for file in written.iterdir()), "url": url or None})
        return
    terminal.say(f"written to {given.out}; read README.md before you give it away" + (f"; uploaded: {url}" if url else ""))
