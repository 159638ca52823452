"""Tensors in safetensors files, with a digest by which reading notices any damage."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from labelspace.errors import UserError, reason
from labelspace.storage import bounds, files

_DIGEST = "digest"  # name of the text in a file that tells whether the rest of it is as it was written


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None, kept: Path | None = None) -> None:
    """Writes tensors and texts as one safetensors file, atomically, with a digest by which reading notices any damage.

    Args:
        path: the file.
        tensors: by name.
        metadata: texts by name.
        kept: as in :func:`labelspace.storage.files.replacing`.
    """
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    texts = metadata or {}
    files.write(path, save(plain, {**texts, _DIGEST: _digest(plain, texts)}), kept)


def _digest(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    found = hashlib.blake2b(digest_size=16)
    found.update(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def read(path: Path, tell: Callable[[str], object] = lambda text: None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reads a safetensors file: tensors and texts.

    Args:
        path: the file.
        tell: told in a line that the file has no digest.

    Raises:
        UserError: it is absent, truncated or foreign, or not as it was written. A file without a digest, by another program or
            an older version, is taken as it is.
    """
    bounds.sized(path)
    _check_header(path)
    try:
        with bounds.opened(path) as handle, safe_open(_named(path, handle), framework="pt") as file:
            tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{path} is truncated or not a safetensors file: {error}") from None
    digest = metadata.pop(_DIGEST, None)
    if digest is None:
        tell(f"{path} has no digest (an older version or another program wrote it): whether it is damaged cannot be told")
    elif digest != _digest(tensors, metadata):
        raise UserError(f"{path} is damaged: its content is not what was written")
    return tensors, metadata


def _named(path: Path, handle: BufferedReader) -> str:
    """A name of an open file that safetensors can open: only texts in UTF-8, which names on Linux need not be."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return f"/dev/fd/{handle.fileno()}"
    return str(path)


_HEADER = 24  # bytes of memory that a byte of a header becomes


def _check_header(path: Path) -> None:
    """Raises UserError where what a file says of its tensors is more than may be read."""
    with bounds.opened(path) as file:
        length = min(int.from_bytes(file.read(8), "little"), os.fstat(file.fileno()).st_size)
    bounds.check(f"{path}: its header", _HEADER * length, bounds.JSON.usual)


def load_strictly(module: torch.nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Copies tensors into a module. Raises UserError when names or shapes do not match exactly, or weights are not finite."""
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
    refuse_infinite(module, tensors, path)
    module.load_state_dict(tensors)


def refuse_infinite(module: torch.nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Raises UserError where tensors of a module's parameters hold NaN or infinity; buffers may: what was not measured."""
    for name, _ in module.named_parameters():
        if name in tensors and not bool(torch.isfinite(tensors[name]).all()):
            raise UserError(f"{path} is of no use: tensor {name!r} holds NaN or infinity")
