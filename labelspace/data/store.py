"""The store: samples decoded or drawn once, kept as memory-mapped uint8 images in the user's cache.

A store is a directory ``<name>-<key>`` with ``x.npy`` and ``store.json``. The key is a hash of everything that determines
the pixels, so a store is never stale. It is built by worker processes in a hidden directory beside it, ``.<name>-<key>``,
which is renamed when it is whole.

Whoever builds holds a lock on ``.<name>-<key>.lock``, and so do its workers. The system releases a lock when the last process
that holds it ends, however it ends: of two builders one works and the other waits for it, and what a killed build left is never
taken for one that is alive. A worker reports rows when they are on disk, and the builder notes them in ``done.jsonl``, so the
next build of the same key goes on where a killed one was. What nobody came back for within a day, or at once where the disk is
full, is deleted by the next build of any store.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from labelspace import cores
from labelspace.errors import UserError, option, reason
from labelspace.storage import cache, files, locks

FORMAT = 1
_CHUNK = 64  # rows that a worker draws between two looks at the clock
_FLUSHING = 0.05  # the part of its time that a worker may spend on waiting for the disk
_KEPT = 24 * 3600.0  # seconds that the work of a killed build is kept for

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


@dataclass(frozen=True)
class Built:
    """A finished store.

    Attributes:
        x: the images ``(kept, channels, height, width)`` uint8, memory-mapped; rows that failed are left out.
        home: its directory.
        failures: row -> why it could not be read.
        seconds: what building took now, 0 when the store was there already or another process built it.
        drawn: rows that were drawn now.
    """

    x: np.ndarray
    home: Path
    failures: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    drawn: int = 0

    @property
    def kept(self) -> np.ndarray:
        """Which of the rows that were asked for ``x`` holds, in order."""
        return np.setdiff1d(np.arange(len(self.x) + len(self.failures)), list(self.failures))


# What watched() asks for: the number of workers, and where finished stores are put.
_WATCHED: ContextVar[tuple[int, list[Built]] | None] = ContextVar("watched", default=None)


@contextmanager
def watched(workers: int = 0) -> Iterator[list[Built]]:
    """Every store that is built or found inside is put into the list, and built by ``workers`` processes (0: one per core)."""
    found: list[Built] = []
    token = _WATCHED.set((workers, found))
    try:
        yield found
    finally:
        _WATCHED.reset(token)


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
    """Finds or builds the store of some rows; waits for it where another process is building it.

    Args:
        name: first part of the directory's name.
        rows: what is drawn, one row a sample (factor codes, or file names).
        shape: channels, height and width of every image.
        drawer: a key of ``DRAWERS``, or "module:function" of something that can be imported.
        arguments: JSON keyword arguments of the drawing function.
        fingerprint: anything else that determines the pixels (sizes and times of files).
        workers: processes; by default one per core.
        progress: called with rows done and rows in all.

    Raises:
        UserError: a worker failed, the disk is full, or the cache cannot be written.
    """
    text = json.dumps([FORMAT, drawer, arguments, list(shape), rows.dtype.str, list(rows.shape), fingerprint])
    key = hashlib.sha256(text.encode() + np.ascontiguousarray(rows).tobytes()).hexdigest()[:20]
    home = cache.place(f"{name}-{key}")
    asked, found = _WATCHED.get() or (0, [])
    began, drawn = time.monotonic(), 0
    if not home.exists():
        try:
            home.parent.mkdir(parents=True, exist_ok=True)
            sweep(home, _KEPT)
            file = home.parent / f".{home.name}.lock"
            with locks.locked(file, lambda: progress and progress(sum(map(len, _done(_work_of(home)))), len(rows))) as lock:
                if not home.exists():  # else another process has built it meanwhile
                    job = {"drawer": drawer, "arguments": arguments}
                    drawn = _build(home, rows, shape, job, lock, workers or asked or cores.usable(), progress)
        except OSError as error:
            raise UserError(f"the store {home} could not be written: {reason(error)}") from None
    if not (home / "store.json").exists():
        raise UserError(f"the store {home} is damaged (no store.json); delete it and it will be built again")
    built = _open(home, (len(rows), *shape), time.monotonic() - began if drawn else 0.0, drawn)
    found.append(built)
    return built


def remembered(what: str, make: Callable[[], tuple[dict[str, Any], bool]]) -> dict[str, Any]:
    """Plain data that take long to find out, from the cache where they were found out before.

    Args:
        what: everything that determines them.
        make: finds them out, and says whether they may be kept.
    """
    file = cache.place("surveys") / f"{hashlib.sha256(what.encode(errors='surrogateescape')).hexdigest()[:20]}.json"
    with suppress(UserError):  # absent, or damaged
        return files.read_json(file)
    found, keep = make()
    if keep:
        files.write(file, json.dumps(found))
    return found


def discard(built: Built) -> None:
    """Deletes a store that is of no use, so that the next build of it reads everything again."""
    gone = built.home.parent / f".{built.home.name}-{os.getpid()}"
    with suppress(OSError):  # another process was faster
        built.home.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _open(home: Path, shape: tuple[int, ...], seconds: float, drawn: int) -> Built:
    try:
        files.contained(home)
        meta = json.loads((home / "store.json").read_text(encoding="utf-8"))
        x = np.load(home / "x.npy", mmap_mode="r", allow_pickle=False)
        failures = {int(k): str(v) for k, v in meta["failures"].items()}
        shape = (shape[0] - len(failures), *shape[1:])
        if meta["format"] != FORMAT or x.shape != shape or x.dtype != np.uint8:
            raise ValueError(f"holds {x.dtype} {x.shape}, expected uint8 {shape}")
        if (size := (home / "x.npy").stat().st_size) != x.offset + x.nbytes:
            raise ValueError(f"x.npy has {size} bytes, expected {x.offset + x.nbytes}")
        return Built(x, home, failures, seconds, drawn)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(f"the store {home} is damaged ({error}); delete it and it will be built again") from None


def _work_of(home: Path) -> Path:
    return home.parent / f".{home.name}"


def sweep(home: Path, age: float) -> None:
    """Deletes the work of other stores that nobody is building and nobody has touched for ``age`` seconds."""
    for path in home.parent.iterdir():
        if not (match := re.fullmatch(r"\.(.+-[0-9a-f]{20})(-\w+|\.lock)?", path.name)) or match[1] == home.name:
            continue
        with suppress(FileNotFoundError, BlockingIOError):  # another process was faster, or is building it
            touched = max(file.stat().st_mtime for file in [path, *(path.iterdir() if path.is_dir() else [])])
            if time.time() - touched >= age:
                with locks.locked(home.parent / f".{match[1]}.lock"):
                    shutil.rmtree(path, ignore_errors=True)


def _build(
    home: Path, rows: np.ndarray, shape: tuple[int, ...], job: dict, lock: int, workers: int, progress: Progress | None
) -> int:
    """Builds a store, or the rest of it, under its lock; returns how many rows were drawn."""
    work = _work_of(home)
    try:
        drawn = 0
        if not (work / "store.json").exists():  # else a build was killed just before the end
            done = _resumed(work, (len(rows), *shape))
            if not (work / "done.jsonl").exists():
                _begin(home, rows, shape, job)
            todo = [start for start in range(0, len(rows), _CHUNK) if start not in done]
            drawn = sum(min(_CHUNK, len(rows) - start) for start in todo)
            (work / "todo.json").write_text(json.dumps(todo), encoding="utf-8")
            if todo:
                _run_workers(work, len(rows), max(1, min(workers, len(todo))), lock, progress)
            failures = {row: why for chunk in _done(work) for row, why in chunk.failures.items()}
            _close_ranks(work, sorted(failures))
            finished = work / "finished.json"
            finished.write_text(json.dumps({"format": FORMAT, "failures": failures}), encoding="utf-8")
            finished.replace(work / "store.json")
        for file in work.iterdir():
            if file.name not in ("x.npy", "store.json"):
                file.unlink()
        work.rename(home)
    except _KilledError:
        raise
    except (UserError, OSError):  # what cannot be built is not kept; what was interrupted is
        shutil.rmtree(work, ignore_errors=True)
        raise
    return drawn


def _begin(home: Path, rows: np.ndarray, shape: tuple[int, ...], job: dict) -> None:
    work = _work_of(home)
    shutil.rmtree(work, ignore_errors=True)
    for again in (False, True):
        try:
            work.mkdir()
            np.save(work / "rows.npy", rows, allow_pickle=False)
            (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
            x = np.lib.format.open_memmap(work / "x.npy", mode="w+", dtype=np.uint8, shape=(len(rows), *shape))
            del x
            if hasattr(os, "posix_fallocate"):  # better to know now than after an hour that the disk is too small
                with (work / "x.npy").open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, (work / "x.npy").stat().st_size)
            break
        except OSError as error:
            if again or error.errno != errno.ENOSPC:
                raise
            shutil.rmtree(work, ignore_errors=True)
            sweep(home, 0.0)
    (work / "done.jsonl").touch()


class _KilledError(UserError):
    """A worker was ended by somebody else: for want of memory, say."""


@dataclass(frozen=True)
class _Chunk:
    """Rows that are on disk: from ``start`` on, ``rows`` of them, and those of them that failed."""

    start: int
    rows: int
    failures: dict[int, str]

    def __len__(self) -> int:
        return self.rows


def _done(work: Path) -> list[_Chunk]:
    """What a build has on disk, by its own notes; the last line may be cut short."""
    found = []
    try:
        for line in (work / "done.jsonl").read_text(encoding="utf-8").split("\n")[:-1]:
            for start, rows, failures in json.loads(line):
                found.append(_Chunk(start, rows, {int(row): why for row, why in failures.items()}))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        pass
    return found


def _resumed(work: Path, shape: tuple[int, ...]) -> set[int]:
    """First rows of the chunks that a build before this one has finished; removes from the notes what cannot be used."""
    try:
        x = np.load(work / "x.npy", mmap_mode="r", allow_pickle=False)
        usable = x.shape == shape and x.dtype == np.uint8 and (work / "rows.npy").exists() and (work / "job.json").exists()
    except (OSError, EOFError, ValueError):
        usable = False
    if not usable:
        (work / "done.jsonl").unlink(missing_ok=True)
        return set()
    chunks = _done(work)
    if (work / "done.jsonl").exists():  # a line that was cut short would swallow the next one
        _note(work, chunks)
    return {chunk.start for chunk in chunks}


def _note(work: Path, chunks: list[_Chunk]) -> None:
    """Replaces the notes of a build."""
    rest = work / "rest.jsonl"
    rest.write_text(json.dumps([(chunk.start, chunk.rows, chunk.failures) for chunk in chunks]) + "\n", encoding="utf-8")
    rest.replace(work / "done.jsonl")


def _close_ranks(work: Path, failed: list[int]) -> None:
    """Leaves rows that failed out of ``x.npy``: later rows move up, and the file ends earlier."""
    if not failed:
        return
    # Should this be killed, the next build draws again from the first row that moves.
    _note(work, [chunk for chunk in _done(work) if chunk.start + chunk.rows <= failed[0]])
    x = np.lib.format.open_memmap(work / "x.npy", mode="r+")
    n, to, shape = len(x), failed[0], x.shape[1:]
    gone = set(failed)
    for start in range(failed[0], n, _CHUNK):
        good = [row for row in range(start, min(start + _CHUNK, n)) if row not in gone]
        x[to : to + len(good)] = x[good]
        to += len(good)
    x.flush()
    offset = x.offset
    del x
    with (work / "x.npy").open("r+b") as file:
        file.truncate(offset + to * int(np.prod(shape)))
        header = {"descr": "|u1", "fortran_order": False, "shape": (to, *shape)}
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())
        if file.tell() != offset:
            raise OSError(f"the header of {work / 'x.npy'} has another length")


def _run_workers(work: Path, n: int, workers: int, lock: int, progress: Progress | None) -> None:
    """Draws all that is in todo.json and notes it in done.jsonl."""
    # Plain subprocesses: a multiprocessing pool would either fork a process that runs threads or import the user's script.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "labelspace.data.store", str(work), str(workers)]
    errors = [work / f"errors-{i}.txt" for i in range(workers)]
    processes: list[subprocess.Popen[str]] = []
    listeners: list[threading.Thread] = []
    found: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    done = sum(map(len, _done(work)))
    try:
        for i, file in enumerate(errors):
            with file.open("wb") as stderr:  # no pipe: nobody would empty it while libraries fill it with their warnings
                pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": stderr, "encoding": "utf-8"}
                processes.append(subprocess.Popen([*command, str(i)], env=environment, **pipes, **locks.inherited(lock)))
            listeners.append(threading.Thread(target=_listen, args=(processes[-1], found), daemon=True))
            listeners[-1].start()
        with (work / "done.jsonl").open("a", encoding="utf-8") as notes:
            for _ in processes:
                while (line := found.get()) is not None:
                    if line.endswith("\n"):
                        notes.write(line)
                        notes.flush()
                        done += sum(rows for _, rows, _ in json.loads(line))
                        if progress:
                            progress(done, n)
        for process, file in zip(processes, errors, strict=True):
            if process.wait():
                if process.returncode < 0:
                    raise _KilledError(
                        f"a process that was building {work.name[1:]} was killed by signal {-process.returncode}; what is "
                        f"done is kept, and the next build goes on from there; fewer {option('workers')} need less memory"
                    )
                said = file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                last = said[-1] if said else f"a worker ended with code {process.returncode}"
                raise UserError(last.removeprefix("labelspace.errors.UserError: "))
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        for listener in listeners:
            listener.join()
        for process in processes:
            process.stdout.close()  # type: ignore[union-attr]


def _listen(process: subprocess.Popen[str], found: queue.SimpleQueue[str | None]) -> None:
    """Hands on the lines that a process prints, then None; in a thread, because not every system can wait for several pipes."""
    assert process.stdout is not None
    for line in process.stdout:
        found.put(line)
    found.put(None)


def resolve(drawer: str) -> Callable[..., np.ndarray]:
    """The drawing function of a name in ``DRAWERS``, or of a text "module:function"."""
    module, function = DRAWERS.get(drawer, drawer).split(":")
    return getattr(importlib.import_module(module), function)


def _work(work: Path, workers: int, index: int) -> None:
    job = json.loads((work / "job.json").read_text(encoding="utf-8"))
    todo = json.loads((work / "todo.json").read_text(encoding="utf-8"))[index::workers]
    rows = np.load(work / "rows.npy", mmap_mode="r", allow_pickle=False)
    x = np.lib.format.open_memmap(work / "x.npy", mode="r+")
    draw = resolve(job["drawer"])
    drawn: list[tuple[int, int, dict[int, str]]] = []
    flushed, cost = time.monotonic(), 0.0
    for start in todo:
        failures: list[tuple[int, str]] = []
        chunk = np.array(rows[start : start + _CHUNK])
        x[start : start + len(chunk)] = draw(chunk, failures=failures, **job["arguments"])
        drawn.append((start, len(chunk), {start + row: why for row, why in failures}))
        now = time.monotonic()
        if start == todo[-1] or now - flushed >= cost / _FLUSHING:
            x.flush()
            flushed = time.monotonic()
            cost = flushed - now
            sys.stdout.write(json.dumps(drawn) + "\n")
            sys.stdout.flush()
            drawn.clear()


if __name__ == "__main__":
    _work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
