"""The explorer from Python: a server beside the program, shown in a notebook cell or a browser."""

from __future__ import annotations

import html
import json
import subprocess
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

from labelspace.data import paths, sources
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.training.loop import Fitted
from labelspace.training.trained import Trained

_HEIGHT = 760


class Explorer:
    """A running explorer; it ends with :meth:`close`, at the end of a ``with`` block, or with the program, however that ends.

    Attributes:
        url: where it is.
    """

    def __init__(self, url: str, process: subprocess.Popen[str], kept: tempfile.TemporaryDirectory[str] | None) -> None:
        self.url, self._process, self._kept = url, process, kept

    def show(self) -> None:
        """Opens it in a browser."""
        webbrowser.open(self.url)

    def close(self) -> None:
        """Ends the server."""
        self._process.terminate()
        _closed(self._process)
        if self._kept is not None:
            self._kept.cleanup()
            self._kept = None

    def __enter__(self) -> Explorer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()

    def __repr__(self) -> str:
        return f"Explorer({self.url!r}{'' if self._process.poll() is None else ', closed'})"

    def _repr_html_(self) -> str:
        return f'<iframe src="{html.escape(self.url)}" width="100%" height="{_HEIGHT}" style="border:1px solid #ccc"></iframe>'


def _closed(process: subprocess.Popen[str]) -> None:
    """Waits for the end of a process, and closes our ends of its pipes."""
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def explore(
    run: str | Path | Fitted, data: Any = None, *, port: int | None = None, browser: bool = False, root_path: str = ""
) -> Explorer:
    """Explores a run: in a notebook the explorer is shown in the cell.

    Args:
        run: a run directory, or what :func:`labelspace.fit` returned for one.
        data: an address or what :func:`labelspace.open` takes, where the run cannot open its data itself.
        port: to listen on, on this machine only; by default the first that is free from 8080 on.
        browser: also open it in a browser.
        root_path: the path below which a proxy shows it, such as ``/proxy/8080``.

    Raises:
        UserError: no such run, data that do not fit, or the explorer's extra is not installed.
    """
    home = run.home if isinstance(run, Fitted) else paths.own(run)
    if home is None:
        raise UserError("this training wrote no run directory, and the explorer shows one: fit(..., out=DIR)")
    command = [sys.executable, "-m", "labelspace", "explore", str(home), "--no-browser", "--frames", "--json", "--with-input"]
    kept = None
    if data is not None:
        address = data if isinstance(data, str) else ""
        if not address:
            opened = data if isinstance(data, Dataset) else sources.open(data, Trained.of(run).saved().get("labels"))
            kept = tempfile.TemporaryDirectory(prefix="labelspace-")
            address = f"npz:{opened.save(Path(kept.name) / 'data.npz')}"
        command += ["--data", address]
    command += ["--port", str(port)] if port else []
    command += ["--root-path", root_path] if root_path else []
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:  # a pipe that nobody reads would fill
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, encoding="utf-8")
        assert process.stdout is not None
        said = ""
        for line in process.stdout:  # an object of JSON, over several lines
            said += line
            try:
                url = json.loads(said)["url"]
            except ValueError:
                continue
            found = Explorer(url, process, kept)
            if browser:
                found.show()
            return found
        _closed(process)
        errors.seek(0)
        why = errors.read().strip().splitlines()
    if kept is not None:
        kept.cleanup()
    raise UserError(why[-1].removeprefix("labelspace explore: ") if why else "the explorer ended without a word")
