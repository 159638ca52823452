"""The moving picture of the README, from the starter: ``python docs/walk.py`` writes docs/images/walk.gif.

Faces that wear no glasses walk through the latent block of glasses, by way of the glasses of three others and back.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import labelspace as ls

PICTURE = Path(__file__).resolve().parent / "images" / "walk.gif"
LABEL, FACES, DONORS = "Eyeglasses", 5, 3
STEPS, REST = 7, 5  # frames from one stop to the next, and at a stop
SIDE = 112


def walk(home: str) -> Iterator[Tensor]:
    """The faces, frame by frame, ``(FACES, channels, height, width)``."""
    model, data = ls.open_run(home)
    test = data.rows("test")
    has = data.values[test, data.schema.names.index(LABEL)] == 1
    faces, donors = test[~has][:FACES], test[has][:DONORS]
    block = f"w.{LABEL}"
    x, labels = data.samples(faces), data.labels(faces)
    own = ls.interventions.move(model, x, {}, labels).codes[block]
    worn = ls.interventions.move(model, data.samples(donors), {}, data.labels(donors)).codes[block]
    stops = [own, *(code.expand_as(own) for code in worn), own]
    for here, there in itertools.pairwise(stops):
        for part in [*[0.0] * REST, *np.linspace(0, 1, STEPS + 1)[1:-1]]:
            yield ls.interventions.move(model, x, {block: here + part * (there - here)}, labels, keep_detail=True).x


def picture(faces: Tensor) -> Image.Image:
    """Faces side by side."""
    pixels = (faces.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    whole = Image.new("RGB", (SIDE * len(pixels), SIDE))
    for i, face in enumerate(pixels):
        whole.paste(Image.fromarray(face).resize((SIDE, SIDE), Image.Resampling.BICUBIC), (SIDE * i, 0))
    return whole


def main(home: str = "demo:faces", out: Path = PICTURE) -> None:
    first, *rest = [picture(faces).quantize(96, dither=Image.Dither.NONE) for faces in walk(home)]
    first.save(out, save_all=True, append_images=rest, duration=110, loop=0, optimize=True)
    print(out, f"{out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
