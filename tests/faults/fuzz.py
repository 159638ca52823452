"""``make fuzz``: calls of every command with odd arguments, and damaged files for every reader.

None may end in a traceback or a crash, or write elsewhere. Calls are made in forked children of a process that has imported
everything, so that thousands are affordable, some twenty in a child; one in a hundred is a program of its own. A call has
limits on time, on memory and on the files that it writes, works in a directory of its own, and is not root: children of root
become nobody. All is drawn from a seed and a number, so that a call can be made again alone::

    python tests/faults/fuzz.py --calls 5000 --files 2000 --seed 0
    python tests/faults/fuzz.py --again 0:file:h5ad:17

What went wrong is kept, with its input, in the directory ``--keep``.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import gzip
import hashlib
import importlib
import io
import itertools
import json
import os
import pkgutil
import random
import re
import resource
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from damage import damage, misplace

sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"  # what is written is what a call writes

SECONDS = 20  # of a processor, for a call; it is ended then, which is no fault
BATCH = 20  # calls that share a child
LEARNING = 500  # calls that are worth the time of learning what they import
PATIENCE = 5  # times as many, by the clock
MEMORY = 6 << 30  # bytes of address space beyond what the parent has
WRITTEN = 256 << 20  # bytes of a file
NOBODY = 65534
_DUMPABLE = 4  # PR_SET_DUMPABLE of prctl


# -- calls in children ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What came of a call.

    Attributes:
        code: exit code; negative is the signal that ended it.
        err: what it wrote to standard error.
        crashed: the exception that it ended with, and where; "" where there was none.
        late: whether it had to be ended.
        grown: bytes of memory that it held at most beyond those of the parent.
        strays: files outside of its own directories that it opened for writing, moved or removed, or tried to.
        modules: what it imported that its parent had not.
    """

    code: int
    err: str
    crashed: str
    late: bool
    grown: int
    strays: tuple[str, ...]
    modules: tuple[str, ...]

    @property
    def fault(self) -> str:
        """What is wrong with how it ended; "" where nothing is."""
        if self.strays:
            return f"wrote to {self.strays[0]}"
        if self.late:
            return ""
        if self.crashed:
            return self.crashed
        if self.code < 0:
            return f"ended by {signal.Signals(-self.code).name}"
        if "Traceback (most recent call last)" in self.err:
            return "a traceback on standard error"
        lines = [line for line in self.err.splitlines() if line.strip()]
        if self.code not in (0, 1, 2):
            return f"exit code {self.code}"
        if self.code and not (lines and lines[-1].startswith("labelspace")):
            return f"exit code {self.code} without a line that says why"
        return ""


@dataclass(frozen=True)
class Task:
    """A function, which returns an exit code, the directory that it starts in, and those below which it may write."""

    function: Callable[[], int]
    home: Path
    own: tuple[Path, ...] = (Path("/"),)


def call(function: Callable[[], int], home: Path, plain: bool, seconds: int = SECONDS) -> Outcome:
    """Runs a function, which returns an exit code, in a child that starts in ``home``."""
    return calls([Task(function, home)], plain, seconds)[0]


def calls(tasks: Sequence[Task], plain: bool, seconds: int = SECONDS) -> list[Outcome]:
    """Runs functions in a child, one after another: forking costs more than most calls. One that ends it ends no other."""
    outcomes: list[Outcome] = []
    while len(outcomes) < len(tasks):
        outcomes += _shared(tasks[len(outcomes) :], plain, seconds)
    return outcomes


def _shared(tasks: Sequence[Task], plain: bool, seconds: int) -> list[Outcome]:
    """What came of functions in one child, up to one that ended it or had to be ended."""
    for task in tasks:
        for name in (".err", ".out"):
            (task.home / name).touch()
            (task.home / name).chmod(0o666)
    heard, said = os.pipe()
    if (child := os.fork()) == 0:
        os.close(heard)
        _child(tasks, said, plain, seconds)
    os.close(said)
    found: list[dict[str, Any]] = []
    part, late = b"", False
    while len(found) < len(tasks):
        if late := not select.select([heard], [], [], PATIENCE * seconds)[0]:
            break
        if not (read := os.read(heard, 2**16)):
            break
        *lines, part = (part + read).split(b"\n")
        found += [json.loads(line) for line in lines]
    os.close(heard)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # also what it started
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    outcomes = [Outcome(err=_text(task.home / ".err"), late=False, **one) for task, one in zip(tasks, found, strict=False)]
    if len(found) < len(tasks):  # it ended, by itself, by its limits, or by us
        late = late or code == -signal.SIGXCPU
        outcomes.append(Outcome(code, _text(tasks[len(found)].home / ".err"), "", late, 0, (), ()))
    return outcomes


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _child(tasks: Sequence[Task], said: int, plain: bool, seconds: int) -> None:
    code = 70
    try:
        os.setpgid(0, 0)
        most = _bytes("VmSize") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN, WRITTEN))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        if plain:
            become_nobody()
        watch = Watch()
        for task in tasks:
            used = resource.getrusage(resource.RUSAGE_SELF)
            _, hard = resource.getrlimit(resource.RLIMIT_CPU)
            resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds, hard))
            found = _run(task, watch)
            os.write(said, json.dumps(found).encode() + b"\n")
        code = 0
    finally:
        os._exit(code)


def _run(task: Task, watch: Watch) -> dict[str, Any]:
    """Runs a function in this process; what came of it."""
    os.chdir(task.home)
    for path, number in ((task.home / ".out", 1), (task.home / ".err", 2)):
        opened = os.open(path, os.O_WRONLY | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    for number, name in ((1, "stdout"), (2, "stderr")):
        setattr(sys, name, io.TextIOWrapper(io.FileIO(number, "w", closefd=False), "utf-8", "backslashreplace"))
    watch.begin(task.own)
    there, crashed = set(sys.modules), ""
    Path("/proc/self/clear_refs").write_text("5")  # what it holds at most is counted from now on
    before = _bytes("VmRSS")
    try:
        code = task.function()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        crashed = " ".join(f"{type(error).__name__}: {error}".split())[:300] + _place(error)
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return {
        "code": code,
        "crashed": crashed,
        "grown": max(0, _bytes("VmHWM") - before),
        "strays": tuple(watch.strays),
        "modules": tuple(sorted(set(sys.modules) - there)),
    }


_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.utime"}


class Watch:
    """Hears, as Python tells its auditors, which files this process changes, and keeps those outside of its directories."""

    def __init__(self) -> None:
        self.strays: list[str] = []
        self._within: tuple[str, ...] = ("/",)
        sys.addaudithook(self._heard)

    def begin(self, own: Sequence[Path]) -> None:
        """Forgets what was heard; from now on these are its directories."""
        self._within = tuple(os.path.realpath(place) for place in (*own, os.devnull, "/proc/self", "/dev/shm"))
        self.strays = []

    def _heard(self, event: str, about: tuple[Any, ...]) -> None:
        if event == "open":
            flags = about[2] if isinstance(about[2], int) else 0
            paths = about[:1] if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC) else ()
        elif event == "os.mkdir":
            paths = () if os.path.exists(about[0]) else about[:1]
        else:
            paths = about[: 2 if event in ("os.rename", "os.link") else 1] if event in _CHANGES else ()
        for path in paths:
            if isinstance(path, str | bytes) and not _below(os.fsdecode(path), self._within):
                self.strays.append(os.fsdecode(path))


def _below(path: str, within: Sequence[str]) -> bool:
    try:
        real = os.path.realpath(path)
    except (OSError, ValueError):  # no path at all
        return True
    return any(place == "/" or real == place or real.startswith(place + "/") for place in within)


def become_nobody() -> None:
    """Gives up the rights of root, if this process has them."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        ctypes.CDLL(None).prctl(_DUMPABLE, 1, 0, 0, 0)  # else /proc/self is root's


def _bytes(name: str) -> int:
    """What Linux says of this process's memory."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) * 1024 if found else 0


def _place(error: BaseException) -> str:
    """The last function of ours that an exception passed."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if "/labelspace/" in frame.filename]
    return f" in {own[-1].filename.rpartition('/labelspace/')[2]}:{own[-1].name}" if own else ""


def command(words: Sequence[str]) -> Callable[[], int]:
    """The command with these arguments."""

    def run() -> int:
        from labelspace import cli

        return cli.main(list(words))

    return run


def program(words: Sequence[str]) -> Callable[[], int]:
    """The command as a program of its own."""

    def run() -> int:
        out = {"stdout": subprocess.DEVNULL, "check": False, "timeout": PATIENCE * SECONDS}
        with contextlib.suppress(ValueError):  # an argument with a zero byte, which no program can be given
            return subprocess.run([sys.executable, "-m", "labelspace", *words], **out).returncode  # pyright: ignore
        return 0

    return run


def warm() -> None:
    """Imports what commands import: children find it there, also those who could not read the interpreter's files.

    What they import besides is learnt from the first calls (:func:`_needed`).
    """
    import encodings

    import labelspace.commands
    from labelspace import config
    from labelspace.models import names

    for module in pkgutil.iter_modules(encodings.__path__):
        with contextlib.suppress(ImportError):
            importlib.import_module(f"encodings.{module.name}")
    libraries = (
        "anndata.io",
        "datasets",
        "h5py",
        "importlib.readers",
        "matplotlib.pyplot",
        "pyarrow.parquet",
        "scipy.sparse",
        "zarr",
    )
    ours = [f"labelspace.commands.{module.name}" for module in pkgutil.iter_modules(labelspace.commands.__path__)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in (*libraries, *ours):
            with contextlib.suppress(ImportError):  # an extra that is not installed
                importlib.import_module(module)
    for name in names():
        config.settings(name)
    gc.freeze()


# -- what commands are called with ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """Files and runs that are not damaged; nobody writes to them."""

    home: Path

    def __truediv__(self, name: str) -> Path:
        return self.home / name


def make(home: Path) -> World:
    """Makes a world: data of every kind, and a run of each."""
    import anndata
    import datasets
    import pandas as pd
    import scipy.io
    import scipy.sparse
    from PIL import Image

    rng, n = np.random.default_rng(0), 60
    datasets.disable_progress_bars()
    for name in "ab":
        (home / "pictures" / name).mkdir(parents=True)
        for i in range(n // 2):
            Image.fromarray(rng.integers(0, 255 if name == "a" else 100, (12, 12), np.uint8)).save(
                home / "pictures" / name / f"{i}.png"
            )
    picture = Image.fromarray(rng.integers(0, 255, (20, 20, 3), np.uint8))
    for kind in ("png", "jpg", "gif", "bmp", "webp", "tif", "jp2", "ppm"):
        with contextlib.suppress(OSError, KeyError):  # a format that this Pillow cannot write
            picture.save(home / f"one.{kind}")
    frame = pd.DataFrame(
        {"species": list("xy") * (n // 2), "a": rng.random(n), "b": rng.random(n), "c": list("uvw") * (n // 3)}
    )
    frame.to_csv(home / "table.csv", index=False)
    frame.to_parquet(home / "table.parquet")
    np.savez_compressed(home / "vectors.npz", x=rng.random((n, 3), np.float32), a=np.arange(n) % 2)
    (home / "listed").mkdir()
    shutil.copytree(home / "pictures" / "a", home / "listed" / "files")
    for name in "ab":
        (home / "photographs" / name).mkdir(parents=True)
        for i in range(8):
            picture.rotate(i).save(home / "photographs" / name / f"{i}.jpg")
    (home / "listed" / "labels.csv").write_text("file,a\n" + "".join(f"files/{i}.png,{i % 2}\n" for i in range(n // 2)))
    counts = scipy.sparse.csr_matrix(rng.poisson(1, (n, 20)).astype(np.float32))
    obs = pd.DataFrame({"t": pd.Categorical(list("xyz") * (n // 3))}, index=pd.Index([f"c{i}" for i in range(n)]))
    cells = anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=pd.Index([f"g{i}" for i in range(20)])))
    cells.write_h5ad(home / "cells.h5ad")
    cells.X = counts.tocsc()
    cells.write_h5ad(home / "columns.h5ad")
    with warnings.catch_warnings():  # of the format, whose default will be another
        warnings.simplefilter("ignore")
        cells.write_zarr(home / "cells.zarr")
    (home / "mnist").mkdir()
    for part, m in (("train", n), ("t10k", 20)):
        with gzip.open(home / "mnist" / f"{part}-images-idx3-ubyte.gz", "wb") as file:
            file.write(struct.pack(">4B3I", 0, 0, 8, 3, m, 10, 10) + rng.integers(0, 255, m * 100, np.uint8).tobytes())
        labels = struct.pack(">4BI", 0, 0, 8, 1, m) + (np.arange(m) % 10).astype(np.uint8).tobytes()
        (home / "mnist" / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    (home / "cifar").mkdir()
    for part in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (home / "cifar" / f"{part}.bin").write_bytes(b"".join(bytes([i % 2]) + rng.bytes(3072) for i in range(6)))
    (home / "cifar" / "batches.meta.txt").write_text("cat\ndog\n")
    faces = {
        "images": rng.integers(0, 255, (140, 10, 10), np.uint8),
        "labs_ex": np.arange(140) % 7 + 1,
        "labs_id": np.arange(140),
    }
    scipy.io.savemat(home / "faces.mat", faces | {"folds": rng.integers(1, 4, (140, 5))}, do_compression=True)
    _faces(home / "celeba", picture.resize((178, 218)))
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    import fonts

    fonts.variable_font(home / "font.ttf")
    datasets.Dataset.from_pandas(frame).save_to_disk(str(home / "hub"))
    for name, words in {
        "roll": ["swiss-roll:n=300"],
        "photos": [f"folder:{home}/pictures"],
        "rows": [f"table:{home}/table.csv", "--labels", "species"],
        "cells": [f"h5ad:{home}/cells.h5ad"],
    }.items():
        _needed(["train", *words, "--model", "csvae", "--steps", "2", "--no-report", "--out", str(home / "runs" / name)], home)
    _needed(["evaluate", str(home / "runs" / "roll"), "--most", "30"], home)
    for place in (home, *home.rglob("*")):
        place.chmod(0o755 if place.is_dir() else 0o644)
    return World(home)


def _faces(home: Path, picture: Any) -> None:
    """CelebA's lists and pictures."""
    from labelspace.data.sources.celeba import CCVAE

    (home / "img_align_celeba").mkdir(parents=True)
    names, attributes = [f"{i + 1:06}.jpg" for i in range(40)], ["Goatee", "Mustache", *CCVAE]
    for name in names:
        picture.save(home / "img_align_celeba" / name)
    rows = [f"{name} {' '.join(str(1 - 2 * ((i + j) % 2)) for j in range(len(attributes)))}" for i, name in enumerate(names)]
    (home / "list_attr_celeba.txt").write_text("\n".join([str(len(names)), " ".join(attributes), *rows, ""]))
    (home / "list_eval_partition.txt").write_text("".join(f"{name} {i // 8 % 3}\n" for i, name in enumerate(names)))
    (home / "identity_CelebA.txt").write_text("".join(f"{name} {i // 2}\n" for i, name in enumerate(names)))


def learn(world: World, spare: Path) -> None:
    """Makes calls of several kinds, so that others find imported what these import; worth it before many."""
    shutil.copytree(world / "runs", spare / "runs")
    for words in (
        f"export {spare}/runs/roll --to onnx --out {spare}/onnx",
        f"export {spare}/runs/roll --to hub --out {spare}/hub",
        *(f"report {spare}/runs/{name} --out {spare}/{name}.html" for name in ("roll", "photos", "rows")),
        f"edit {spare}/runs/photos {world.home}/one.png --set class=a --out {spare}/o.png",
        f"embed {spare}/runs/cells h5ad:{world.home}/cells.h5ad --out {spare}/o.h5ad",
        f"predict {spare}/runs/rows table:{world.home}/table.csv --out {spare}/o.parquet",
        f"data inspect hf:{world.home}/hub --labels species",
        f"data inspect h5ad:{world.home}/cells.zarr",
        f"data inspect table:{world.home}/table.parquet --labels species",
        "data inspect moons --json",
    ):
        _needed(words.split(), spare)
    shutil.rmtree(spare)


def _needed(words: Sequence[str], home: Path) -> None:
    """A call that has to succeed; what it imported, later ones find there."""
    if (done := call(command(words), home, False, 600)).code:
        raise SystemExit(f"{shlex.join(words)} ended with {done.code}: {done.crashed or done.err}")
    for name in done.modules:
        with contextlib.suppress(Exception):  # some cannot be imported by their names
            importlib.import_module(name)
    gc.freeze()


ODD = (
    "", " ", "-", "--", "-1", "0", "1", "2", "9e18", "9000000000000000000", "-9223372036854775809", "1e400", "nan", "-inf",
    "٣", "²", "\udce4", "ß" * 200, "x" * 300, "x" * 5000, "%s%n", "{}", "[[", "a=b", "=", "a=", "=b", ",", ":", "a,b", "../..",
    "/", ".", "/dev/null", "/dev/full", "/proc/self/mem", "/nowhere/x", "~nobody/x", "-2:2", "2:-2", "nan:nan", "0,1", "-1,0",
    "true", "null", "a\nb", "a\x00b", "'; rm", "test:0", "test:9", "val:-1", "hf:./x", "hf:no/where", "memory:x", "npz:",
    "npz:x,a=1,a=2", "folder:.", "mnist:.", "9" * 5000, "test:" + "9" * 5000,
)  # fmt: skip
SOURCES = ("swiss-roll", "moons", "faces", "sprites", "patients", "cells", "album", "digits")
LEFT_OUT = {"explore"}  # a server
SLOW = {"demo", "bench", "reproduce", "compare"}  # always with something that is refused


def words(world: World, r: random.Random, home: Path) -> list[str]:
    """Arguments of a command that its parser knows, some odd. Runs are copies in ``home``: commands write into them."""
    from labelspace.cli import parser

    commands = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)).choices
    name = r.choice(sorted(set(commands) - LEFT_OUT))
    odd = 0.6 if name in SLOW else r.choice((0.0, 0.1, 0.3))
    out = [name]
    for action in commands[name]._actions:
        if isinstance(action, argparse._HelpAction) or action.dest in ("plugin", "push", "accelerator"):
            continue
        needed = not action.option_strings or action.required
        if r.random() > (0.9 if needed else 0.25):
            continue
        for _ in range(r.choice((1, 1, 1, 2)) if isinstance(action, argparse._AppendAction) or action.nargs == "+" else 1):
            flag = [r.choice(action.option_strings)] if action.option_strings else []
            if action.nargs == 0:
                out += flag
                continue
            value = r.choice(ODD) if r.random() < odd else _value(world, action, r, home)
            out += [f"{flag[0]}={value}"] if flag and flag[0].startswith("--") and r.random() < 0.5 else [*flag, value]
    if name == "report" and r.random() < 0.8:
        out.append("--quick")
    if name == "evaluate" and "--most" not in out:
        out += ["--most", "20"]
    if name == "train" and "--steps" not in out:
        out += ["--steps", "1", "--no-report"]
    if name in SLOW and name != "reproduce":
        out += ["--seed" if name == "demo" else "--rounds" if name == "bench" else "--seeds", r.choice(("x", "-1", "9e18"))]
    if name == "reproduce":
        out += ["--scale", "none"]
    return out


_OPTIONS = ("size=16", "drop=c", "kinds=a:count", "missing=-1", "no=1", "genes=5", "crop=pad")
_GENERATED = ("n=120", "n=12", "size=16", "noise=0.1", "size=9000000000000000000", "n=-1", "n=9000000000000000000", "n=")
_POOL = {  # what arguments may be, by their names; @ is the world, ? a run, & an address
    "run_directory": "?", "run_directories": "?", "init_from": "?", "config": "?/config.yaml", "data": "&", "address": "&",
    "donors": "train &", "sample": "test:0 train:1 @/one.png @/one.jpg", "donor": "test:1 @/one.png", "donor_option": "test:1",
    "set": "side=1 class=b species=y t=z latent=3 learning_rate=0.1 batch_size=7 network.width=8",
    "label": "side class species t", "labels": "side class species t a,species", "group": "c side",
    "model": "csvae vae m2 lsvae", "models": "csvae",
    "to": "z=0,0 w.side=1,-1 w.class=0,0", "coordinates": "0 0,1 -1,0", "span": "prior data -2:2", "hole": "0,0,4,4 -1,0,2,2",
    "out": "o.png o.csv o.npz o.parquet o.h5ad o o.html o/p.csv ? @/table.csv", "terms": "kl_w DCI",
    "recipe": "csvae-swiss-roll",
}  # fmt: skip


def _value(world: World, action: argparse.Action, r: random.Random, home: Path) -> str:
    """Something that an argument may be."""
    if action.choices:
        return str(r.choice(list(action.choices)))
    chosen = r.choice(_POOL.get(action.dest, "0 1 2 5 0.5").split())
    if chosen == "&":
        return address(world, r)
    run = r.choice(("roll", "photos", "rows", "cells"))
    if "?" in chosen and not (home / run).exists():
        shutil.copytree(world / "runs" / run, home / run)
    return chosen.replace("@", str(world.home)).replace("?", str(home / run))


def address(world: World, r: random.Random) -> str:
    """An address of data."""
    if r.random() < 0.3:
        keys = r.sample(_GENERATED, r.choice((0, 1, 1, 2)))
        return r.choice(SOURCES) + (":" + ",".join(keys) if keys else "")
    made = r.choice(list(READERS.values())).address.replace("@", str(world.home))
    return made + ("," + r.choice(_OPTIONS) if r.random() < 0.6 else "")


# -- damaged files ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reader:
    """A kind of file.

    Attributes:
        source: a file or directory of the world.
        address: as data, with ``@`` for the directory that it is in; "" of what is no data.
        commands: calls that read it, with ``@`` for its path and ``#`` for the world.
        victims: which files of a directory are damaged.
    """

    source: str
    address: str
    commands: tuple[str, ...] = ()
    victims: str = "*"

    def calls(self) -> tuple[str, ...]:
        return self.commands or (f"data inspect {self.address.replace('@/' + self.source, '@')} --json",)


_OF_RUNS = (
    "edit @ test:0 --set side=1 --out o.csv",
    "predict @ swiss-roll:n=40",
    "embed @ swiss-roll:n=40 --out o.npz",
    "report @ --quick",
    "export @ --to hub --out o",
    "train --resume --out @ --no-report",
    "train --config @/config.yaml --steps 1 --no-report --out o",
    "train swiss-roll:n=40 --model csvae --init-from @ --steps 1 --no-report --out o",
    "generate @ -n 3 --out o.csv",
    "traverse @ test:0 --label side --out o.npz",
    "report @ #/runs/rows --quick --out o.html",
)
READERS = {
    "h5ad": Reader("cells.h5ad", "h5ad:@/cells.h5ad"),
    "h5ad-columns": Reader("columns.h5ad", "h5ad:@/columns.h5ad"),
    "zarr": Reader("cells.zarr", "h5ad:@/cells.zarr"),
    "npz": Reader("vectors.npz", "npz:@/vectors.npz"),
    "csv": Reader("table.csv", "table:@/table.csv", ("data inspect table:@ --labels species",)),
    "parquet": Reader("table.parquet", "table:@/table.parquet", ("data inspect table:@ --labels species",)),
    "idx": Reader("mnist", "mnist:@/mnist", victims="*ubyte"),
    "idx-gz": Reader("mnist", "mnist:@/mnist", victims="*.gz"),
    "cifar10": Reader("cifar", "cifar10:@/cifar"),
    "tfd": Reader("faces.mat", "tfd:@/faces.mat"),
    "hf": Reader("hub", "hf:@/hub", ("data inspect hf:@ --labels species",)),
    "celeba": Reader("celeba", "celeba:@/celeba,size=16", victims="*.txt"),
    "font": Reader("font.ttf", "glyphs:@/font.ttf", ("data inspect glyphs:@,n=20,size=16,characters=ILT --json",)),
    "folder": Reader("listed", "folder:@/listed"),
    "folder-list": Reader("listed", "folder:@/listed", victims="labels.csv"),
    "folder-jpeg": Reader("photographs", "folder:@/photographs"),
    **{
        kind: Reader(f"one.{kind}", "folder:@/pictures", ("edit #/runs/photos @ --set class=a --out o.png",))
        for kind in ("png", "jpg", "gif", "bmp", "webp", "tif", "jp2", "ppm")
    },
    "run": Reader("runs/roll", "swiss-roll:n=40", _OF_RUNS),
    "json": Reader("runs/roll", "swiss-roll:n=40", _OF_RUNS, "*.json*"),
    "yaml": Reader("runs/roll", "swiss-roll:n=40", (*_OF_RUNS[5:7], *_OF_RUNS[:4]), "*.yaml"),
    "safetensors": Reader("runs/roll", "swiss-roll:n=40", _OF_RUNS, "*.safetensors"),
    "annotated": Reader("cells.h5ad", "h5ad:@/cells.h5ad", ("embed #/runs/cells h5ad:@ --out @",)),
}


def file_call(world: World, kind: str, r: random.Random, home: Path) -> list[str]:
    """Writes a damaged copy into a directory; the arguments of a command that reads it."""
    reader = READERS[kind]
    copy = home / Path(reader.source).name
    if (world / reader.source).is_dir():
        shutil.copytree(world / reader.source, copy)
        there = sorted(file for file in copy.rglob(reader.victims) if file.is_file() and file.stat().st_size)
        victim = r.choice(there)
    else:
        victim = Path(shutil.copy(world / reader.source, copy))
    if r.random() < 0.05:
        misplace(victim, world / reader.source if victim == copy else world / "table.csv", r)
    else:
        damage(victim, r)
    chosen = r.choice(reader.calls())
    return [word.replace("@", str(copy)).replace("#", str(world.home)) for word in shlex.split(chosen)]


# -- all of it --------------------------------------------------------------------------------------------------------


def numbered(seed: int, calls: int, files: int, only: str) -> Iterator[str]:
    """The names of all calls, kinds in turn."""
    kinds = [kind for kind in READERS if not only or kind in only.split(",")]
    for i in range(max(calls, files)):
        if i < calls:
            yield f"{seed}:call:{i}"
        if i < files:
            yield f"{seed}:file:{kinds[i % len(kinds)]}:{i}"


def state(home: Path) -> str:
    """A digest of a directory."""
    found = hashlib.sha256()
    for file in sorted(home.rglob("*")):
        found.update(str(file).encode(errors="replace") + (file.read_bytes() if file.is_file() else b""))
    return found.hexdigest()


def prepared(name: str, world: World, home: Path, whole: float) -> tuple[list[str], Task]:
    """Arguments of a call, by its name, and what makes it in a directory; a part of them are programs of their own."""
    r = random.Random(name)
    home.mkdir(mode=0o777)
    parts = name.split(":")
    arguments = words(world, r, home) if parts[1] == "call" else file_call(world, parts[2], r, home)
    for place in (home, *home.rglob("*")):
        if not place.is_symlink() and place.stat().st_mode & 0o777:
            place.chmod(0o777 if place.is_dir() else 0o666)
    own = tuple(home.parent / name for name in (home.name, "cache", "home", "tmp"))
    if parts[1] == "call":  # may be asked to write anywhere
        own = (Path("/"),)
    return arguments, Task((program if r.random() < whole else command)(arguments), home, own)


def _keep(place: Path, home: Path, arguments: Sequence[str]) -> None:
    """Keeps the input of a call, and the call."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(home, place, symlinks=True, ignore=_unreadable)
    (place / ".command").write_text(shlex.join(["labelspace", *arguments]) + "\n", errors="backslashreplace")


def _unreadable(home: str, names: list[str]) -> list[str]:
    """What cannot be copied: pipes."""
    return [name for name in names if not Path(home, name).is_symlink() and Path(home, name).is_fifo()]


def evidence(logs: Sequence[Path], page: Path) -> None:
    """Puts what logs of several runs say into a page: who made how many calls, and what came of the files of each kind."""
    from labelspace.reporting.tables import markdown, put_section

    calls: dict[str, Counter[str]] = {}
    kinds: dict[str, Counter[str]] = {}
    seeds: dict[str, set[str]] = {}
    for log in logs:
        for line in log.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            seed, what, *kind = row["name"].split(":")
            seeds.setdefault(row["who"], set()).add(seed)
            end = "faults" if row["fault"] else "late" if row["late"] else "done" if row["code"] == 0 else "refused"
            calls.setdefault(f"{what}s as {row['who']}", Counter()).update([end, "all"])
            if what == "file":
                kinds.setdefault(kind[0], Counter()).update([end, "all"])
    titles = {"all": "calls", "done": "done", "refused": "refused in a line", "late": "ended after a while", "faults": "faults"}
    tables = [
        markdown([first, *titles.values()], [[key, *(f"{table[key][end]:,}" for end in titles)] for key in sorted(table)])
        for first, table in (("what", calls), ("kind of file", kinds))
    ]
    drawn = "; ".join(f"seeds as {who}: {', '.join(sorted(seeds[who], key=int))}" for who in sorted(seeds))
    about = f"`python tests/faults/fuzz.py`; {drawn}; {processor()}.\n"
    put_section(page, "Odd calls and damaged files", "\n".join([about, *tables]))


def processor() -> str:
    """What computes here."""
    about = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    name = re.search(r"model name\s*:\s*(.*)", about)
    widest = next((way for way in ("avx512f", "avx2") if way in about), "")
    return f"{name[1] if name else 'processor'}, {os.cpu_count()} cores, {widest.upper()}"


def readable() -> bool:
    """Whether nobody can read the interpreter's files, which are needed for what is imported late."""
    if (child := os.fork()) == 0:
        with contextlib.suppress(OSError):
            become_nobody()
            Path(os.__file__).read_bytes()
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0


@dataclass
class Tally:
    """What came of all calls.

    Attributes:
        who: makes the calls.
        keep: a directory for the inputs of what went wrong, one of each kind.
        log: a file that gets a line of JSON for every call.
        loud: whether to print every call with what it said.
        counts: of calls and damaged files, and of their ends.
        faults: the first call that ended so, by what is wrong with it.
        largest: memory that a refused call held at most, and its name.
    """

    who: str
    keep: Path
    log: Path | None = None
    loud: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    largest: tuple[int, str] = (0, "")

    def add(self, name: str, arguments: Sequence[str], task: Task, outcome: Outcome) -> None:
        self.counts[name.split(":")[1]] += 1
        self.counts["ended after a while" if outcome.late else f"exit code {outcome.code}"] += 1
        if outcome.code == 2:
            self.largest = max(self.largest, (outcome.grown, name))
        if self.loud:
            print(shlex.join(arguments), outcome.err, sep="\n")
        if self.log:
            facts = asdict(outcome) | {"err": outcome.err[-1000:], "modules": len(outcome.modules), "fault": outcome.fault}
            with self.log.open("a", encoding="utf-8") as log:
                log.write(json.dumps({"name": name, "who": self.who, "command": arguments, **facts}) + "\n")
        if outcome.fault:
            self.counts["faults"] += 1
            if outcome.fault not in self.faults:
                self.faults[outcome.fault] = name
                print(f"{name}: {outcome.fault}", flush=True)
                _keep(self.keep / name.replace(":", "-"), task.home, arguments)

    def lines(self) -> list[str]:
        ends = ", ".join(f"{what}: {n:,}" for what, n in sorted(self.counts.items()) if what not in ("call", "file", "faults"))
        kept = f"; their inputs are in {self.keep}" if self.faults else ""
        return [
            f"{self.counts['call']:,} calls and {self.counts['file']:,} damaged files; {ends}",
            f"a refused call held at most {self.largest[0] / 2**20:,.0f} MB beyond what was imported ({self.largest[1]})",
            f"{self.counts['faults']:,} faults, {len(self.faults)} different{kept}",
        ]


def main() -> int:
    asked = argparse.ArgumentParser(description="odd calls and damaged files")
    asked.add_argument("--calls", type=int, default=5000)
    asked.add_argument("--files", type=int, default=2000)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--minutes", type=float, default=1e9, help="stop after so many of them")
    asked.add_argument("--only", default="", help="kinds of files, separated by commas")
    asked.add_argument("--keep", type=Path, default=Path(".fuzz"), help="directory of what went wrong")
    asked.add_argument("--whole", type=float, default=0.01, help="the part of calls that are programs of their own")
    asked.add_argument("--log", type=Path, metavar="FILE", help="a line of JSON for every call")
    asked.add_argument("--root", action="store_true", help="stay root, if this is root")
    asked.add_argument("--again", default="", metavar="NAME", help="make this call again, and show what it says")
    asked.add_argument("--page", type=Path, metavar="FILE", help="put what the logs that are named say into this page, and end")
    asked.add_argument("logs", type=Path, nargs="*")
    given = asked.parse_args()
    if given.page:
        evidence(given.logs, given.page)
        return 0
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_ENDPOINT": "http://127.0.0.1:9", "MPLBACKEND": "agg"}
    plain = os.getuid() == 0 and not given.root and readable()
    who = "nobody" if plain else "root" if os.getuid() == 0 else "a plain user"
    with tempfile.TemporaryDirectory(prefix="labelspace-fuzz-") as scratch:
        top = Path(scratch)
        top.chmod(0o755)
        for name in ("cache", "home", "tmp"):
            (top / name).mkdir(mode=0o777)
            (top / name).chmod(0o777)
        os.environ |= {"LABELSPACE_CACHE": str(top / "cache"), "HOME": str(top / "home"), "HF_HOME": str(top / "home")}
        os.environ["TMPDIR"] = tempfile.tempdir = str(top / "tmp")
        warm()  # now: some libraries ask only once where they may write
        (top / "world").mkdir()
        world = make(top / "world")
        if given.calls + given.files > LEARNING:
            learn(world, top / "spare")
        before, tally, began = state(world.home), Tally(who, given.keep, given.log, bool(given.again)), time.monotonic()
        names = iter([given.again]) if given.again else numbered(given.seed, given.calls, given.files, given.only)
        for batch in iter(lambda: list(itertools.islice(names, BATCH)), []):
            if time.monotonic() - began > 60 * given.minutes:
                break
            tasks = [prepared(name, world, top / f"work{i}", given.whole) for i, name in enumerate(batch)]
            outcomes = calls([task for _, task in tasks], plain)
            for name, (arguments, task), outcome in zip(batch, tasks, outcomes, strict=True):
                tally.add(name, arguments, task, outcome)
                shutil.rmtree(task.home)
            for place in (top / "cache").rglob("*"):
                place.chmod(0o777 if place.is_dir() else 0o666)
        unchanged = state(world.home) == before
    print(f"as {who} in {time.monotonic() - began:,.0f} s, seed {given.seed}:", *tally.lines(), sep="\n")
    print("files beside the calls' own are unchanged" if unchanged else "FILES BESIDE THE CALLS' OWN ARE CHANGED")
    return 1 if tally.faults or not unchanged else 0


if __name__ == "__main__":
    sys.exit(main())
