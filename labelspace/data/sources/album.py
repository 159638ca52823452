"""``album``: a directory of drawn faces as people keep pictures, of all sizes, shapes, modes and formats, read as a folder."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
from PIL import Image

from labelspace.data.dataset import Dataset
from labelspace.data.sources import folder
from labelspace.data.synthetic.faces import faces
from labelspace.errors import UserError
from labelspace.storage import cache, files

_FORMAT = 1
_LABELS = ("Eyeglasses", "Beard", "Wearing_Hat")


def open(address: str, seed: int, progress=None, n: int = 2_000, size: int = 32) -> Dataset:
    """Writes the pictures into the cache on first use, and opens them as ``folder:DIR,size=SIZE,channels=3``.

    Args:
        n: pictures.
        size: side of the squares that they are fitted to.
    """
    if n < 10:
        raise UserError(f"album needs n >= 10, got {n}")
    home = cache.place(f"album-{_FORMAT}-{n}-{seed}")
    if not home.exists():
        with files.filling(home, os.listdir, overwrite=True) as new:  # another process may be filling it, with the same
            _write(new, n, np.random.default_rng(seed))
    return folder.open(address, seed, str(home), progress, size=size, channels=3)


def _write(home: Path, n: int, rng: np.random.Generator) -> None:
    grid = faces(size=64)
    factors = grid.sample(n, rng)
    drawn = np.array(grid.expected(factors, (3, 64, 64)))
    values, _ = grid.select(_LABELS).labels(factors)
    light = rng.uniform(0.5, 1.0, n)  # how light a picture is: a number among the labels
    rows = []
    for i in range(n):
        pixels = (drawn[i].transpose(1, 2, 0) * light[i]).round().astype(np.uint8)
        side = int(rng.integers(24, 200))
        picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
        if rng.random() < 0.3:  # not square: what is beside the face is one colour
            wide = (int(picture.width * rng.uniform(1.0, 1.4)), int(picture.height * rng.uniform(1.0, 1.4)))
            whole = Image.new("RGB", wide, tuple(int(c) for c in rng.integers(0, 256, 3)))
            whole.paste(picture, ((wide[0] - picture.width) // 2, (wide[1] - picture.height) // 2))
            picture = whole
        mode = rng.choice(["RGB", "L", "P", "RGBA"], p=(0.7, 0.1, 0.1, 0.1))
        kind = "png" if mode in ("P", "RGBA") else str(rng.choice(["png", "jpg", "bmp"]))
        name = f"{i:05d}.{kind}"
        picture.convert(mode).save(home / name)
        rows.append([name, *values[i].astype(int), f"{light[i]:.4f}"])
    with (home / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file", *_LABELS, "light"], *rows])
