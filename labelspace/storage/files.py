"""Files that are either whole or not there: written to a temporary name in the same directory and renamed.

What is written lies in a hidden directory that is locked: what a killed process left is told from it, and removed.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from labelspace.errors import UserError, option, reason
from labelspace.storage import bounds, locks

# Told of a file before it takes its place, and of what is written so far; a process may be killed right after.
PLACING: ContextVar[Callable[[Path, Path], object] | None] = ContextVar("labelspace_placing", default=None)
SURROGATES = "backslashreplace"  # how UTF-8 shows the bytes of a file's name that are no text


def write(path: Path, content: bytes | str, kept: Path | None = None) -> None:
    """Writes a file atomically: after a crash at any moment the old or the new content is there, never a mixture.

    Args:
        path: the file.
        content: of it; a text is encoded as UTF-8.
        kept: as in :func:`replacing`.

    Raises:
        UserError: the disk is full or the directory cannot be written; what was there before is kept.
    """
    with replacing(path, kept) as temporary:
        temporary.write_bytes(content.encode(errors=SURROGATES) if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, kept: Path | None = None) -> Iterator[Path]:
    """Yields an empty file to write to; it takes the place of ``path`` when the block ends without an error.

    Args:
        path: the file.
        kept: where the file that was there is moved, once the new one is on the disk; by default it is deleted.

    Raises:
        UserError: the disk is full or the directory cannot be written; what was there before is kept.
    """
    try:
        if path.is_symlink():  # the file that it leads to is replaced, not the link
            path = Path(os.path.realpath(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(path) as hidden:
            temporary = hidden / path.name
            temporary.touch()
            yield temporary
            with temporary.open("r+b") as file:  # Windows flushes nothing that may only be read
                os.fsync(file.fileno())
            temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())  # what is private stays so
            if kept is not None and path.exists():
                os.replace(path, kept)
            if (tell := PLACING.get()) is not None:
                tell(path, temporary)
            os.replace(temporary, path)
    except OSError as error:
        there = "; the file that was there is kept" if path.exists() else ""
        raise UserError(f"{path} could not be written: {reason(error)}{there}") from None


@contextmanager
def filling(path: Path, ours: Callable[[Path], Iterable[str]], overwrite: bool = False) -> Iterator[Path]:
    """Yields an empty directory to write to; its files take their places in ``path`` when the block ends without an error.

    A directory that holds nothing but what an earlier call wrote is replaced as a whole: after a crash it is the old one, the
    new one, or not there. In one that holds other files too, the new files are put in place one by one.

    Args:
        path: a directory that is absent, empty, or holds what an earlier call wrote.
        ours: names of the files in ``path`` that an earlier call wrote, none where it is not such a directory. They are
            removed; all other files are kept.
        overwrite: also take a directory that holds other files.

    Raises:
        UserError: ``path`` is a file, holds other files, or cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; expected a directory, or the name of a new one")
    path = path.resolve()  # the directory that a link leads to is replaced, not the link
    there = {file.name for file in path.iterdir()} if path.exists() else set()
    old = set(ours(path)) if there else set()
    if there and not old and not overwrite:
        raise UserError(f"{path} holds other files; name another directory, or add {option('overwrite')} to write beside them")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(path) as temporary:
            yield temporary
            temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o777 & ~_umask())
            if not (there <= old and _swapped(temporary, path)):
                new = sorted(temporary.iterdir())
                for file in new:
                    os.replace(file, path / file.name)
                for name in old - {file.name for file in new}:
                    (path / name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} could not be written: {reason(error)}") from None


def _swapped(new: Path, path: Path) -> bool:
    """Puts a directory in place of another; False where that cannot be moved: a mounted one, or one that a process is in."""
    if not path.exists():
        os.rename(new, path)
        return True
    if Path.cwd().is_relative_to(path):
        return False
    with _temporary(path) as old:
        try:
            os.rename(path, old)
        except OSError:
            return False
        try:
            os.rename(new, path)
        except OSError:
            os.rename(old, path)
            raise
    return True


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A hidden directory beside ``path``; it is deleted in the end, and by the next one if this process is killed.

    It is the directory that is locked, also where one file is written: some libraries lock what they write themselves.
    """
    sweep(path)
    with ExitStack() as stack:
        lock = None
        while lock is None:  # where another process has just taken it for one that was left behind, again
            temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
            try:
                lock = locks.acquire(temporary)
            except OSError:  # a file system without locks
                break
            if lock is not None:
                stack.callback(os.close, lock)
        stack.callback(shutil.rmtree, temporary, ignore_errors=True)
        yield temporary


def sweep(path: Path) -> None:
    """Deletes the hidden directories that processes which were killed while writing ``path`` left beside it."""
    pattern = re.compile(rf"\.{re.escape(path.name)}-[a-z0-9_]{{8}}")
    with os.scandir(path.parent) as entries:
        left = [Path(entry.path) for entry in entries if pattern.fullmatch(entry.name)]
    for directory in left:
        with suppress(OSError):  # gone, or a file system without locks
            if (lock := locks.acquire(directory)) is not None:
                shutil.rmtree(directory, ignore_errors=True)
                os.close(lock)


def leads_out(name: str) -> bool:
    """Whether the name of a file, as something in a directory has it, is that of one outside of the directory."""
    plain = name.replace("\\", "/")
    return plain.startswith(("/", "~")) or os.path.normpath(plain).split("/")[0] == ".."


def contained(home: Path, names: Iterable[str] | None = None, root: Path | None = None) -> None:
    """Raises UserError where a link in a directory leads out of it.

    Whatever comes as a directory (a model, a run, data) may have been packed by anybody; what is read or written by a name in
    it is to be in it.

    Args:
        home: the directory.
        names: of what is read or written in it; in directories among them it is everything. By default all of the directory.
        root: a directory that holds it, which links may lead to as well.
    """
    within = os.path.realpath(root or home)
    for path in _named(home, names):
        if os.path.islink(path) and os.path.commonpath([within, target := os.path.realpath(path)]) != within:
            raise UserError(f"{path} is a link to {target}, outside of {home}; nothing there is read or written")


def _named(home: Path, names: Iterable[str] | None) -> Iterator[str]:
    """Paths of what is in a directory, or of what is called so, with all that is below."""
    tops = [os.path.join(home, name) for name in names] if names is not None else [str(home)]
    yield from tops if names is not None else ()
    for top in tops:
        for place, directories, found in os.walk(top):
            yield from (os.path.join(place, name) for name in [*directories, *found])


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def write_json(path: Path, content: Any) -> None:
    """Writes JSON atomically; see :func:`to_json`."""
    write(path, to_json(content))


def to_json(content: Any, indent: int | None = 1, separators: tuple[str, str] | None = None) -> str:
    """JSON text of plain data; what is not a finite number, which JSON does not have, is null."""
    return json.dumps(_finite(content), indent=indent, separators=separators, allow_nan=False) + "\n"


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def read_json(path: Path) -> Any:
    """Reads a JSON file. Raises UserError when it is absent, not JSON, too large, or has a number that is not finite."""
    text = bounds.text(path, bounds.JSON)
    try:
        return from_json(text)
    except ValueError as error:
        raise UserError(f"{path} is damaged or not JSON: {error}") from None


def from_json(text: str) -> Any:
    """Plain data of JSON text. Raises ValueError where it is none, is nested too deeply, or has a number that is not finite."""
    try:
        return json.loads(text, parse_constant=_number, parse_float=_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _number(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not a finite number")
    return number


def fits(value: Any, hint: Any) -> bool:
    """Whether a value of plain data may be of a type; of a type that is not plain data's it may."""
    origin = get_origin(hint)
    if origin is Union or origin is UnionType:
        return any(fits(value, one) for one in get_args(hint))
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in get_args(hint))
    if origin is not None:  # a list of something
        within = get_args(hint)[:1]
        return isinstance(value, list | tuple) and all(fits(one, kind) for one in value for kind in within)
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    return not isinstance(hint, type) or isinstance(value, hint)


@contextmanager
def of_form(path: object, what: str) -> Iterator[None]:
    """Inside, plain data of a file are taken apart: where they are of another form, a UserError says so.

    Args:
        path: the file.
        what: it is expected to be.
    """
    try:
        yield
    except UserError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise UserError(
            f"{path} is not {what}, or damaged: {type(error).__name__} {' '.join(str(error).split())[:100]}"
        ) from None


_MOST_NODES = 200_000


def read_yaml(path: Path) -> Any:
    """Reads a YAML file as plain data; what it says once and refers to again is there as often as it is referred to.

    Raises:
        UserError: it is absent, not YAML, too large, refers to itself, or is much larger than its text with what it refers to.
    """
    return parse_yaml(path, bounds.text(path, bounds.YAML))


def parse_yaml(path: Path, text: str) -> Any:
    """Plain data of the YAML text of a file, as :func:`read_yaml`."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        if node is None:
            return None
        if _nodes(node, {}) > _MOST_NODES:
            raise UserError(f"{path} has more than {_MOST_NODES:,} entries, with all that its aliases (*) stand for")
        return yaml.SafeLoader("").construct_document(node)
    except yaml.YAMLError as error:
        raise UserError(f"{path} cannot be read as YAML: {' '.join(str(error).split())[:300]}") from None
    except RecursionError:
        raise UserError(f"{path} cannot be read as YAML: it is nested too deeply, or refers to itself") from None
    except UserError:
        raise
    except (ValueError, TypeError, AttributeError, OverflowError) as error:  # of a date or a number that cannot be
        raise UserError(f"{path} cannot be read as YAML: {' '.join(str(error).split())[:300]}") from None


def _nodes(node: Any, known: dict[int, int]) -> int:
    """How many entries a part of a YAML text has, with all that it refers to. Raises RecursionError where that is itself."""
    if id(node) not in known:
        known[id(node)] = sys.maxsize  # until it is known
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        found = 1
        for part in parts:
            for one in part if isinstance(part, tuple) else (part,):
                found += _nodes(one, known)
        known[id(node)] = found
    if known[id(node)] == sys.maxsize:
        raise RecursionError
    return known[id(node)]
