"""Files that are either whole or not there: written to a temporary name in the same directory and renamed."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from labelspace.errors import UserError


def write(path: Path, content: bytes | str) -> None:
    """Writes a file atomically: after a crash at any moment the old or the new content is there, never a mixture.

    Raises:
        UserError: the disk is full or the directory cannot be written; what was there before is kept.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields an empty file to write to; it takes the place of ``path`` when the block ends without an error.

    Raises:
        UserError: the disk is full or the directory cannot be written; what was there before is kept.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        os.close(handle)
        yield Path(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())  # what is private stays so
        os.replace(temporary, path)
    except OSError as error:
        kept = "; the file that was there is kept" if path.exists() else ""
        raise UserError(f"{path} could not be written: {error.strerror or error}{kept}") from None
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)


@contextmanager
def filling(path: Path, ours: Callable[[Path], Iterable[str]], overwrite: bool = False) -> Iterator[Path]:
    """Yields an empty directory to write to; its files take their places in ``path`` when the block ends without an error.

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
    there = any(path.iterdir()) if path.exists() else False
    old = list(ours(path)) if there else []
    if there and not old and not overwrite:
        raise UserError(f"{path} holds other files; name another directory, or add --overwrite to write beside them")
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if there:
            for name in old:
                (path / name).unlink(missing_ok=True)
            for file in sorted(temporary.iterdir()):
                os.replace(file, path / file.name)
        else:
            if path.exists():
                path.rmdir()
            os.rename(temporary, path)
    except OSError as error:
        raise UserError(f"{path} could not be written: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def write_json(path: Path, content: Any) -> None:
    """Writes JSON atomically; see :func:`to_json`."""
    write(path, to_json(content))


def to_json(content: Any) -> str:
    """JSON text of plain data; what is not a finite number, which JSON does not have, is null."""
    return json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def read_json(path: Path) -> Any:
    """Reads a JSON file. Raises UserError when it is absent or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged or not JSON: {error}") from None


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Writes tensors and texts as one safetensors file, atomically."""
    write(path, save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reads a safetensors file: tensors and texts. Raises UserError when it is absent, truncated or foreign."""
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is truncated or not a safetensors file: {error}") from None


def load_strictly(module: torch.nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Copies tensors into a module. Raises UserError when names or shapes do not match exactly."""
    wanted = module.state_dict()
    for name in wanted.keys() - tensors.keys():
        raise UserError(f"{path} has no tensor {name!r}; it belongs to another model")
    for name in tensors.keys() - wanted.keys():
        raise UserError(f"{path} has an unexpected tensor {name!r}; it belongs to another model")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            raise UserError(
                f"{path}: tensor {name!r} has shape {tuple(tensor.shape)}, the model expects {tuple(wanted[name].shape)}"
            )
    module.load_state_dict(tensors)
