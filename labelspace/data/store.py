"""The store: samples decoded or drawn once, kept as memory-mapped uint8 images in the user's cache.

A store is a directory ``<name>-<key>`` with ``x.npy`` and ``store.json``. The key is a hash of everything that determines
the pixels, so a store is never stale. It is built by worker processes into a temporary directory that is renamed when it
is whole: a killed build leaves no store, and of two builders at once one wins and both find the same files.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from labelspace.errors import UserError

FORMAT = 1
_CHUNK = 64  # rows that a worker draws between two progress lines

# Functions that turn rows into images: name -> "module:function". Each takes an array of rows and keyword arguments, and
# returns uint8 images (n, channels, height, width). A row that cannot be drawn is a zero image and an entry in the
# function's ``failures`` list argument.
DRAWERS = {
    "faces": "labelspace.data.synthetic.faces:draw",
    "files": "labelspace.data.images:decode",
    "glyphs": "labelspace.data.synthetic.glyphs:draw",
    "sprites": "labelspace.data.synthetic.sprites:draw",
}

Progress = Callable[[int, int], None]


def cache_directory() -> Path:
    """Where stores are kept: ``$LABELSPACE_CACHE``, else ``labelspace`` in the user's cache directory."""
    if given := os.environ.get("LABELSPACE_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labelspace"


@dataclass(frozen=True)
class Built:
    """A finished store: the images ``(n, channels, height, width)`` uint8, memory-mapped, and rows that failed.

    Attributes:
        failures: row -> why it could not be read; such a row is black and must be left out.
        seconds: what building took, 0 when the store was there already.
    """

    x: np.ndarray
    failures: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0


def build(
    name: str,
    rows: np.ndarray,
    shape: tuple[int, int, int],
    drawer: str,
    arguments: dict[str, Any],
    *,
    fingerprint: str = "",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Built:
    """Finds or builds the store of some rows.

    Args:
        name: first part of the directory's name.
        rows: what is drawn, one row a sample (factor codes, or file names).
        shape: channels, height and width of every image.
        drawer: a key of ``DRAWERS``.
        arguments: JSON keyword arguments of the drawing function.
        fingerprint: anything else that determines the pixels (sizes and times of files).
        workers: processes; by default one per core.
        progress: called with rows done and rows in all.

    Raises:
        UserError: a worker failed, or the disk is full.
    """
    text = json.dumps([FORMAT, drawer, arguments, list(shape), rows.dtype.str, list(rows.shape), fingerprint])
    key = hashlib.sha256(text.encode() + np.ascontiguousarray(rows).tobytes()).hexdigest()[:20]
    home = cache_directory() / f"{name}-{key}"
    if not (home / "store.json").exists():
        if home.exists():
            raise UserError(f"the store {home} is damaged (no store.json); delete it and it will be built again")
        seconds = _build(home, rows, shape, drawer, arguments, workers or os.cpu_count() or 1, progress)
    else:
        seconds = 0.0
    return _open(home, (len(rows), *shape), seconds)


def _open(home: Path, shape: tuple[int, ...], seconds: float) -> Built:
    try:
        meta = json.loads((home / "store.json").read_text())
        x = np.load(home / "x.npy", mmap_mode="r", allow_pickle=False)
        if meta["format"] != FORMAT or x.shape != shape or x.dtype != np.uint8:
            raise ValueError(f"holds {x.dtype} {x.shape}, expected uint8 {shape}")
        return Built(x, {int(k): str(v) for k, v in meta["failures"].items()}, seconds)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"the store {home} is damaged ({error}); delete it and it will be built again") from None


def _build(home: Path, rows, shape, drawer: str, arguments, workers: int, progress: Progress | None) -> float:
    began = time.monotonic()
    work = home
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{home.name}-", dir=home.parent))
        work.chmod(0o755)
        np.save(work / "rows.npy", rows, allow_pickle=False)
        x = np.lib.format.open_memmap(work / "x.npy", mode="w+", dtype=np.uint8, shape=(len(rows), *shape))
        x.flush()
        del x
        job = {"drawer": drawer, "arguments": arguments}
        (work / "job.json").write_text(json.dumps(job))
        failures = _run_workers(work, len(rows), max(1, min(workers, len(rows) // _CHUNK)), progress)
        (work / "rows.npy").unlink()
        (work / "job.json").unlink()
        (work / "store.json").write_text(json.dumps({"format": FORMAT, "failures": failures}))
        try:
            work.rename(home)
        except OSError:
            if not (home / "store.json").exists():  # else another process was faster, with the same content
                raise
    except OSError as error:
        raise UserError(f"the store {home} could not be written: {error}") from None
    finally:
        if work != home:
            shutil.rmtree(work, ignore_errors=True)
    return time.monotonic() - began


def _run_workers(work: Path, n: int, workers: int, progress: Progress | None) -> dict[int, str]:
    # Plain subprocesses: a multiprocessing pool would either fork a process that runs threads or import the user's script.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "labelspace.data.store", str(work), str(workers)]
    processes = [
        subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for i in range(workers)
    ]
    failures: dict[int, str] = {}
    done = 0
    try:
        with selectors.DefaultSelector() as selector:
            for process in processes:
                selector.register(process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]
            while selector.get_map():
                for key, _ in selector.select():
                    line = key.fileobj.readline()  # type: ignore[union-attr]
                    if not line:
                        selector.unregister(key.fileobj)
                        continue
                    message = json.loads(line)
                    done += message["done"]
                    failures.update({int(row): why for row, why in message["failures"].items()})
                    if progress:
                        progress(done, n)
        for process in processes:
            _, errors = process.communicate()
            if process.returncode:
                last = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
                raise UserError(last.removeprefix("labelspace.errors.UserError: "))
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
    return failures


def resolve(drawer: str) -> Callable[..., np.ndarray]:
    """The drawing function of a name."""
    module, function = DRAWERS[drawer].split(":")
    return getattr(importlib.import_module(module), function)


def _work(work: Path, workers: int, index: int) -> None:
    job = json.loads((work / "job.json").read_text())
    rows = np.load(work / "rows.npy", allow_pickle=False)
    x = np.lib.format.open_memmap(work / "x.npy", mode="r+")
    draw = resolve(job["drawer"])
    for start in range(index * _CHUNK, len(rows), workers * _CHUNK):
        failures: list[tuple[int, str]] = []
        chunk = rows[start : start + _CHUNK]
        x[start : start + len(chunk)] = draw(chunk, failures=failures, **job["arguments"])
        found = {start + row: why for row, why in failures}
        sys.stdout.write(json.dumps({"done": len(chunk), "failures": found}) + "\n")
        sys.stdout.flush()
    x.flush()


if __name__ == "__main__":
    _work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
