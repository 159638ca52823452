"""Small trained models to begin with: ``demo:faces`` wherever a run is named.

They are directories of the package ``labelspace_starters``, which a wheel of its own brings and which lies in the repository
below ``starters/``; ``starters/make.py`` trains them. One that is asked for is put into the cache as a run, with a few hundred
samples of its data, so that evaluations and reports can be written beside it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from pathlib import Path

from labelspace.errors import UserError, unknown
from labelspace.storage import cache, files

SCHEME = "demo:"
PACKAGE = "labelspace_starters"
INSTALL = "pip install labelspace-starters (in a clone: pip install ./starters)"
SAMPLES = "samples.npz"
HERE = "npz:HERE/" + SAMPLES
"""What a starter's ``config.yaml`` calls its data; HERE becomes the directory that it is put into."""


def fetch(address: str) -> Path:
    """The run directory of a starter by its address, ``demo:NAME``.

    Raises:
        UserError: there is none of this name, or none are installed.
    """
    name = address.removeprefix(SCHEME)
    there = available()
    if not there:
        raise UserError(f"{address}: no starters are installed; install them with: {INSTALL}")
    if name not in there:
        raise unknown("starter", name, there)
    source = there[name]
    mark = hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest()[:8]
    home = cache.place("starters") / mark / name
    if not (home / "config.yaml").exists():
        with files.filling(home, os.listdir, overwrite=True) as new:
            for file in source.iterdir():
                shutil.copyfile(file, new / file.name)
            config = (new / "config.yaml").read_text(encoding="utf-8")
            files.write(new / "config.yaml", config.replace(HERE, f"npz:{home / SAMPLES}"))
    return home


def available() -> dict[str, Path]:
    """Name -> directory of every starter that is at hand."""
    return {
        path.parent.name: path.parent for place in reversed(_places()) for path in sorted(place.glob("*/model.safetensors"))
    }


def _places() -> list[Path]:
    """Directories of starters, the most particular first: the user's own, the installed ones, those of the repository."""
    found = [Path(os.path.expanduser(given))] if (given := os.environ.get("LABELSPACE_STARTERS")) else []
    spec = importlib.util.find_spec(PACKAGE)
    found += [Path(place) for place in (spec.submodule_search_locations or [] if spec else [])]
    return [*found, Path(__file__).parents[2] / "starters" / PACKAGE]
