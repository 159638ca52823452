"""``make fuzz``: calls of every command with odd arguments, and damaged files for every reader.

None may end in a traceback or a crash, or write elsewhere. Each call is a forked child of a process that has imported
everything, so that thousands are affordable. It has limits on time, on memory and on the files that it writes, works in a
directory of its own, and is not root: a child of root becomes nobody. All is drawn from a seed and a number, so that a call can
be made again alone::

    python tests/faults/fuzz.py --calls 5000 --files 2000 --seed 0
    python tests/faults/fuzz.py --again 0:file:h5ad:17

What went wrong is kept, with its input, in the directory ``--keep``.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import gzip
import hashlib
import importlib
import io
import os
import pkgutil
import random
import re
import resource
import shlex
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SECONDS = 20  # of a processor, for a call; it is ended then, which is no fault
PATIENCE = 5  # times as many, by the clock
MEMORY = 6 << 30  # bytes of address space beyond what the parent has
WRITTEN = 256 << 20  # bytes of a file
NOBODY = 65534


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
    """

    code: int
    err: str
    crashed: str
    late: bool
    grown: int

    @property
    def fault(self) -> str:
        """What is wrong with how it ended; "" where nothing is."""
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


def call(function: Callable[[], int], home: Path, plain: bool, seconds: int = SECONDS) -> Outcome:
    """Runs a function, which returns an exit code, in a child that starts in ``home``."""
    err, facts = home / ".err", home / ".facts"
    for file in (err, facts):
        file.write_bytes(b"")
        file.chmod(0o666)
    began = time.monotonic()
    if (child := os.fork()) == 0:
        _child(function, home, err, facts, plain, seconds)
    status, pause = None, 0.001
    while status is None and time.monotonic() - began < PATIENCE * seconds:
        ended, found = os.waitpid(child, os.WNOHANG)
        status = found if ended else None
        time.sleep(0 if ended else pause)
        pause = min(1.5 * pause, 0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # also what it started
    if status is None:
        os.waitpid(child, 0)
    grown, _, crashed = facts.read_text(errors="replace").partition("\n")
    code = os.waitstatus_to_exitcode(status) if status is not None else -int(signal.SIGKILL)
    late = status is None or code == -signal.SIGXCPU
    return Outcome(code, err.read_text(errors="replace"), crashed.strip(), late, int(grown or 0))


def _child(function: Callable[[], int], home: Path, err: Path, facts: Path, plain: bool, seconds: int) -> None:
    code, crashed = 70, ""
    try:
        os.setpgid(0, 0)
        os.chdir(home)
        for path, number in ((Path(os.devnull), 1), (err, 2)):
            opened = os.open(path, os.O_WRONLY)
            os.dup2(opened, number)
            os.close(opened)
        report = os.open(facts, os.O_WRONLY)
        before = _bytes("VmRSS")
        most = _bytes("VmSize") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN, WRITTEN))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        if plain:
            become_nobody()
        for number, name in ((1, "stdout"), (2, "stderr")):
            setattr(sys, name, io.TextIOWrapper(io.FileIO(number, "w", closefd=False), "utf-8", "backslashreplace"))
        try:
            code = function()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException as error:
            crashed = " ".join(f"{type(error).__name__}: {error}".split())[:300] + _place(error)
            traceback.print_exc()
            code = 1
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os.write(report, f"{max(0, _bytes('VmHWM') - before)}\n{crashed}".encode(errors="replace"))
    finally:
        os._exit(code)


def become_nobody() -> None:
    """Gives up the rights of root, if this process has them."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


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


def warm() -> None:
    """Imports what commands import: children find it there, also those who could not read the interpreter's files."""
    import encodings
    import warnings

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
    (home / "listed" / "labels.csv").write_text("file,a\n" + "".join(f"files/{i}.png,{i % 2}\n" for i in range(n // 2)))
    counts = scipy.sparse.csr_matrix(rng.poisson(1, (n, 20)).astype(np.float32))
    obs = pd.DataFrame({"t": pd.Categorical(list("xyz") * (n // 3))}, index=pd.Index([f"c{i}" for i in range(n)]))
    cells = anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=pd.Index([f"g{i}" for i in range(20)])))
    cells.write_h5ad(home / "cells.h5ad")
    cells.X = counts.tocsc()
    cells.write_h5ad(home / "columns.h5ad")
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
    faces = {"images": rng.integers(0, 255, (40, 10, 10), np.uint8), "labs_ex": np.arange(40) % 7 + 1, "labs_id": np.arange(40)}
    scipy.io.savemat(home / "faces.mat", faces | {"folds": rng.integers(1, 4, (40, 5))}, do_compression=True)
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


def _needed(words: Sequence[str], home: Path) -> None:
    """A call without which there is no world."""
    if (done := call(command(words), home, False, 600)).code:
        raise SystemExit(f"{shlex.join(words)} ended with {done.code}: {done.crashed or done.err}")


ODD = (
    "", " ", "-", "--", "-1", "0", "1", "2", "9e18", "9000000000000000000", "-9223372036854775809", "1e400", "nan", "-inf",
    "٣", "²", "\udce4", "ß" * 200, "x" * 300, "x" * 5000, "%s%n", "{}", "[[", "a=b", "=", "a=", "=b", ",", ":", "a,b", "../..",
    "/", ".", "/dev/null", "/dev/full", "/proc/self/mem", "/nowhere/x", "~nobody/x", "-2:2", "2:-2", "nan:nan", "0,1", "-1,0",
    "true", "null", "a\nb", "a\x00b", "'; rm", "test:0", "test:9", "val:-1", "hf:./x", "hf:no/where", "memory:x", "npz:",
    "npz:x,a=1,a=2", "folder:.", "mnist:.",
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
    """

    source: str
    address: str
    commands: tuple[str, ...] = ()

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
    "mnist": Reader("mnist", "mnist:@/mnist"),
    "cifar10": Reader("cifar", "cifar10:@/cifar"),
    "tfd": Reader("faces.mat", "tfd:@/faces.mat"),
    "hf": Reader("hub", "hf:@/hub", ("data inspect hf:@ --labels species",)),
    "folder": Reader("listed", "folder:@/listed"),
    **{
        kind: Reader(f"one.{kind}", "folder:@/pictures", ("edit #/runs/photos @ --set class=a --out o.png",))
        for kind in ("png", "jpg", "gif", "bmp", "webp", "tif", "jp2", "ppm")
    },
    "run": Reader("runs/roll", "swiss-roll:n=40", _OF_RUNS),
    "annotated": Reader("cells.h5ad", "h5ad:@/cells.h5ad", ("embed #/runs/cells h5ad:@ --out @",)),
}
TOKENS = (
    b"null", b"[]", b"{}", b"-1", b"0", b"1e400", b"9" * 30, b'"x"', b"true", b"NaN", b"[[[[", b"..", b"\xff\xfe", b"\0", b"",
    b"*a",
)  # fmt: skip


def damaged(content: bytes, r: random.Random) -> bytes:
    """Bytes with some of them changed, gone, doubled, or, in texts, a word of them replaced by another."""
    changed = bytearray(content)
    words = list(re.finditer(rb'-?[\d.]+(?:e-?\d+)?|"[^"\n]*"|[A-Za-z_]\w*', content)) if not content.count(0) else []
    for _ in range(r.choice((1, 1, 1, 2, 8))):
        way = r.random()
        at = r.randrange(len(changed)) if changed else 0
        if words and way < 0.6:
            word = r.choice(words)
            return content[: word.start()] + r.choice(TOKENS) + content[word.end() :]
        if way < 0.85 and changed:
            changed[at] ^= 1 << r.randrange(8)
        elif way < 0.9:
            del changed[at:]
        elif way < 0.95:
            changed[at:at] = changed[at : at + r.randrange(1, 64)]
        else:
            changed[at : at + 4] = r.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f"))
    return bytes(changed)


def file_call(world: World, kind: str, r: random.Random, home: Path) -> list[str]:
    """Writes a damaged copy into a directory; the arguments of a command that reads it."""
    reader = READERS[kind]
    copy = home / Path(reader.source).name
    if (world / reader.source).is_dir():
        shutil.copytree(world / reader.source, copy)
        there = sorted(file for file in copy.rglob("*") if file.is_file() and file.stat().st_size)
        victim = r.choice(there)
    else:
        victim = Path(shutil.copy(world / reader.source, copy))
    victim.write_bytes(damaged(victim.read_bytes(), r))
    chosen = r.choice(reader.calls())
    return [word.replace("@", str(copy)).replace("#", str(world.home)) for word in shlex.split(chosen)]


# -- all of it --------------------------------------------------------------------------------------------------------


def numbered(seed: int, calls: int, files: int, only: str) -> Iterator[str]:
    """The names of all calls, kinds in turn."""
    kinds = [kind for kind in READERS if not only or kind == only]
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


def one(name: str, world: World, home: Path, plain: bool) -> tuple[list[str], Outcome]:
    """Makes one call by its name."""
    r = random.Random(name)
    parts = name.split(":")
    arguments = words(world, r, home) if parts[1] == "call" else file_call(world, parts[2], r, home)
    for place in (home, *home.rglob("*")):
        place.chmod(0o777 if place.is_dir() else 0o666)
    return arguments, call(command(arguments), home, plain)


def readable() -> bool:
    """Whether nobody can read the interpreter's files, which are needed for what is imported late."""
    if (child := os.fork()) == 0:
        with contextlib.suppress(OSError):
            become_nobody()
            Path(os.__file__).read_bytes()
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def main() -> int:
    asked = argparse.ArgumentParser(description="odd calls and damaged files")
    asked.add_argument("--calls", type=int, default=5000)
    asked.add_argument("--files", type=int, default=2000)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--minutes", type=float, default=1e9, help="stop after so many of them")
    asked.add_argument("--only", default="", help="a kind of file")
    asked.add_argument("--keep", type=Path, default=Path(".fuzz"), help="directory of what went wrong")
    asked.add_argument("--root", action="store_true", help="stay root, if this is root")
    asked.add_argument("--again", default="", metavar="NAME", help="make this call again, and show what it says")
    given = asked.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_ENDPOINT": "http://127.0.0.1:9", "MPLBACKEND": "agg"}
    warm()
    plain = os.getuid() == 0 and not given.root and readable()
    with tempfile.TemporaryDirectory(prefix="labelspace-fuzz-") as scratch:
        top = Path(scratch)
        top.chmod(0o755)
        for name in ("cache", "home"):
            (top / name).mkdir(mode=0o777)
            (top / name).chmod(0o777)
        os.environ |= {"LABELSPACE_CACHE": str(top / "cache"), "HOME": str(top / "home"), "HF_HOME": str(top / "home")}
        (top / "world").mkdir()
        world = make(top / "world")
        before, counts, faults, largest = state(world.home), Counter(), {}, (0, "")
        began = time.monotonic()
        names = [given.again] if given.again else numbered(given.seed, given.calls, given.files, given.only)
        for name in names:
            if time.monotonic() - began > 60 * given.minutes:
                break
            home = top / "work"
            home.mkdir(mode=0o777)
            home.chmod(0o777)
            for place in (top / "cache").rglob("*"):
                place.chmod(0o777 if place.is_dir() else 0o666)
            arguments, outcome = one(name, world, home, plain)
            counts[name.split(":")[1]] += 1
            counts["ended after a while" if outcome.late else f"exit code {outcome.code}"] += 1
            if outcome.code == 2 and outcome.grown > largest[0]:
                largest = (outcome.grown, name)
            if given.again:
                print(shlex.join(arguments), outcome.err, sep="\n")
            if outcome.fault:
                counts["faults"] += 1
                if outcome.fault not in faults:
                    faults[outcome.fault] = name
                    print(f"{name}: {outcome.fault}", flush=True)
                    kept = given.keep / name.replace(":", "-")
                    shutil.rmtree(kept, ignore_errors=True)
                    shutil.copytree(home, kept, symlinks=True)
                    (kept / ".command").write_text(shlex.join(["labelspace", *arguments]) + "\n", errors="backslashreplace")
            shutil.rmtree(home)
        unchanged = state(world.home) == before
    who = "nobody" if plain else "root" if os.getuid() == 0 else "a plain user"
    took = time.monotonic() - began
    print(f"{counts['call']:,} calls and {counts['file']:,} damaged files as {who} in {took:,.0f} s, seed {given.seed}")
    print(", ".join(f"{what}: {n:,}" for what, n in sorted(counts.items()) if what not in ("call", "file")))
    print(f"a refused call held at most {largest[0] / 2**20:,.0f} MB beyond what was imported ({largest[1]})")
    print("files beside the calls' own are unchanged" if unchanged else "FILES BESIDE THE CALLS' OWN ARE CHANGED")
    print(f"{counts['faults']:,} faults, {len(faults)} different" + (f"; their inputs are in {given.keep}" if faults else ""))
    return 1 if faults or not unchanged else 0


if __name__ == "__main__":
    sys.exit(main())
