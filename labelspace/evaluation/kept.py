"""What ``labelspace evaluate`` wrote into a run: taken up again where it is of the run's weights, and measured as today."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from labelspace import saving
from labelspace.errors import UserError
from labelspace.storage import files

FORMAT = 2
_NAME = "evaluation.json"


def write(home: Path, found: dict[str, Any]) -> None:
    """Keeps an evaluation of the model that a run directory holds, with a digest: pages build on what is in it."""
    files.write_json(home / _NAME, {**found, "digest": _digest(found)})


def marked(home: Path, found: dict[str, Any]) -> dict[str, Any]:
    """An evaluation that says which weights it is of, and in what form."""
    return {"format": FORMAT, "model": saving.fingerprint(home), **found}


def read(home: Path) -> tuple[dict[str, Any], str]:
    """The evaluation of a run's weights; empty where there is none, and then a reason, unless nothing was measured.

    Raises:
        UserError: a file that cannot be read, or a damaged one. Earlier versions wrote no digest.
    """
    if not (path := home / _NAME).exists():
        return {}, ""
    found = files.read_json(path)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return {}, f"{_NAME} is of another version, which measured otherwise"
    digest = found.pop("digest", None)
    if digest is not None and digest != _digest(found):
        raise UserError(f"{path} is damaged: its content is not what was written; labelspace evaluate writes it anew")
    if found.get("model") != saving.fingerprint(home):
        return {}, f"{_NAME} is of other weights than the model's"
    return found, ""


def _digest(found: dict[str, Any]) -> str:
    """Of an evaluation without one: the same before it is written and after it was read."""
    return hashlib.sha256(files.to_json(found, None).encode()).hexdigest()
