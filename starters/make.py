"""Trains the starters and writes them into ``labelspace_starters/``: ``python starters/make.py [--fonts FILE] [NAME ...]``."""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

import labelspace as ls
from labelspace.data.dataset import Dataset
from labelspace.export import folder
from labelspace.models.networks import Network
from labelspace.storage import starters, tensorfiles

HOME = Path(__file__).resolve().parent / starters.PACKAGE
MOST = 3_000_000  # bytes of one
SHOWN = {"train": 300, "val": 50, "test": 150}  # samples that come with it
KEPT = ("config.json", "schema.json", "variables.json", "model.safetensors", "environment.json", "evaluation.json")


@dataclass(frozen=True)
class Recipe:
    """What a starter is trained on, for how many epochs (0: until it is done), and how; ``FONTS`` in an address: of fonts."""

    address: str
    labels: tuple[str, ...] | None = None
    width: int = 0
    epochs: int = 0
    model: str = "lsvae"


RECIPES = {
    "faces": Recipe("faces:n=6000,size=32", ("Eyeglasses", "Beard", "Smiling"), width=24),
    "letters": Recipe("glyphs:FONTS,n=4000,size=32,characters=A-J", width=24),
    "digits": Recipe("digits"),
    "patients": Recipe("patients:n=3000"),
}


def make(name: str, recipe: Recipe, out: Path) -> Path:
    """Trains, halves, measures and writes one; returns its directory."""
    data = ls.open(recipe.address, recipe.labels)
    torch.manual_seed(0)
    model = ls.build(recipe.model, data, network=Network(width=recipe.width))
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory) / name
        ls.fit(model, data, out=run, epochs=recipe.epochs, seed=0)
        tensorfiles.write(
            run / "model.safetensors", halved(ls.load(run).state_dict())
        )  # what is measured is what is given away
        ls.evaluate(run, most=1_000, depth="edits")
        card = folder.card(run, ls.load(run), name, "apache-2.0")
        home = out / name
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        for file in KEPT:
            if (run / file).exists():
                shutil.copyfile(run / file, home / file)
        (home / "README.md").write_text(re.sub(r"ls\.load\(.*", f'ls.load("demo:{name}")', card), "utf-8")
        config = yaml.safe_load((run / "config.yaml").read_text("utf-8"))
        config["data"]["address"] = starters.HERE
        (home / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
        packed(some(data).save(home / starters.SAMPLES))
    size = sum(file.stat().st_size for file in home.iterdir())
    assert size < MOST, f"{name} has {size:,} bytes"
    print(f"{name}: {size:,} bytes")
    return home


def halved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights with large matrices in half precision; what was measured (scales, statistics) and what is small stays."""
    large = {
        name for name, tensor in tensors.items() if tensor.dtype == torch.float32 and tensor.ndim > 1 and tensor.numel() >= 1024
    }
    return {name: tensor.half() if name in large else tensor for name, tensor in tensors.items()}


def some(data: Dataset) -> Dataset:
    """The first samples of every split."""
    return data.rows_only(np.concatenate([data.rows(split)[:n] for split, n in SHOWN.items() if split in data.splits]))


def packed(file: Path) -> None:
    """Packs the arrays of an archive."""
    with np.load(file, allow_pickle=False) as arrays:
        content = dict(arrays)
    np.savez_compressed(file, **content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}; default: all")
    parser.add_argument("--fonts", help="of letters: a variable font (those that are given away were drawn with Roboto Flex)")
    parser.add_argument("--out", type=Path, default=HOME)
    given = parser.parse_args()
    for name in given.names or RECIPES:
        recipe = RECIPES[name]
        if "FONTS" in recipe.address:
            if not given.fonts:
                parser.error(f"{name} needs --fonts FILE")
            recipe = replace(recipe, address=recipe.address.replace("FONTS", given.fonts))
        make(name, recipe, given.out)


if __name__ == "__main__":
    main()
