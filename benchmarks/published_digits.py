"""The published digits once more, by a plain loop that shares no code with the library: do the numbers agree?

    python benchmarks/published_digits.py DIR [--cells vae:10:1,condvae:10:5,...] [--workers 1]

DIR holds the IDX files of MNIST. Every cell (model, latents, KL weight) that ``labelspace reproduce pastrana-mnist`` has
trained with the published settings is trained again: 784-500-d-500-784 with tanh, Bernoulli pixels, Adagrad at 0.01 on the sum
over 100 digits, 51 passes; the conditional model has the class beside the picture and beside the code. Compared are
reconstruction, KL and ELBO of the 10,000 test digits, in nats a digit. Cells that are there already are kept;
docs/evidence/published-digits.json and .md are written after each.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from labelspace.reporting.tables import markdown
from labelspace.storage import files

EVIDENCE = Path(__file__).parents[1] / "docs" / "evidence"
PASSES, BATCH, HIDDEN, RATE, SEED = 51, 100, 500, 0.01, 1
ALLOWED = 1.5  # nats


def read(home: str, name: str) -> np.ndarray:
    """The bytes of an IDX file after its header, gzipped or not."""
    path = Path(home) / name
    content = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(f"{name}.gz").read_bytes())
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3])


def digits(home: str, part: str) -> tuple[Tensor, Tensor]:
    """Pictures ``(n, 784)`` and classes, one-hot ``(n, 10)``."""
    pictures = torch.tensor(read(home, f"{part}-images-idx3-ubyte").reshape(-1, 784))
    return pictures, functional.one_hot(torch.tensor(read(home, f"{part}-labels-idx1-ubyte")).long(), 10).float()


def train(home: str, model: str, latent: int, beta: float) -> dict[str, float]:
    """Trains one cell and measures it on the test digits."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    began = time.monotonic()
    x, y = digits(home, "train")
    seen = 10 if model == "condvae" else 0
    enter, mean, log_variance = nn.Linear(784 + seen, HIDDEN), nn.Linear(HIDDEN, latent), nn.Linear(HIDDEN, latent)
    leave, pixels = nn.Linear(latent + seen, HIDDEN), nn.Linear(HIDDEN, 784)
    layers = nn.ModuleList([enter, mean, log_variance, leave, pixels])
    optimizer = torch.optim.Adagrad(layers.parameters(), RATE)

    def terms(pictures: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        given = classes[:, :seen]
        hidden = torch.tanh(enter(torch.cat([pictures, given], 1)))
        m, v = mean(hidden), log_variance(hidden)
        z = m + (v / 2).exp() * torch.randn_like(m)
        logits = pixels(torch.tanh(leave(torch.cat([z, given], 1))))
        return functional.binary_cross_entropy_with_logits(logits, pictures, reduction="sum"), -0.5 * (
            1 + v - m**2 - v.exp()
        ).sum()

    for _ in range(PASSES):
        for rows in torch.randperm(len(x)).split(BATCH):
            reconstruction, kl = terms(x[rows].float() / 255, y[rows])
            optimizer.zero_grad()
            (reconstruction + beta * kl).backward()
            optimizer.step()
    test, classes = digits(home, "t10k")
    with torch.no_grad():
        reconstruction, kl = (float(term) / len(test) for term in terms(test.float() / 255, classes))
    return {
        "reconstruction": reconstruction,
        "kl": kl,
        "elbo": -reconstruction - kl,
        "seconds": round(time.monotonic() - began),
    }


def measured() -> dict[str, dict[str, float]]:
    """What the recipe found with the published settings: cell -> terms."""
    out = {}
    for run in json.loads((EVIDENCE / "pastrana-mnist" / "results.json").read_text())["runs"]:
        settings = dict(text.split("=") for text in run["job"]["settings"])
        if settings.get("optimizer") == "adagrad":
            found = {term: run["found"][term] for term in ("reconstruction", "kl", "elbo")}
            out[f"{run['job']['model']}:{settings['latent']}:{settings['beta']}"] = found
    return out


def write(found: dict[str, dict[str, float]], recipe: dict[str, dict[str, float]]) -> None:
    rows, apart = [], {}
    for cell in (cell for cell in recipe if cell in found):
        differences = {term: recipe[cell][term] - found[cell][term] for term in ("reconstruction", "kl", "elbo")}
        apart[cell] = max(abs(differences["elbo"]), abs(differences["kl"]))
        model, latent, beta = cell.split(":")
        terms = (f"{recipe[cell][term]:.2f} / {found[cell][term]:.2f}" for term in differences)
        apart_by = [f"{differences[term]:+.2f}" for term in ("elbo", "kl")]
        rows.append([model, latent, beta, *terms, *apart_by])
    outside = [cell for cell, size in apart.items() if size > ALLOWED]
    verdict = f"{len(apart) - len(outside)} of {len(apart)} cells agree within {ALLOWED} nats in ELBO and KL"
    if outside:
        verdict += f" (not {', '.join(outside)})"
    text = [
        "# The published digits by a plain loop",
        "",
        "Written by `python benchmarks/published_digits.py DIR`: recipe / plain loop, nats a test digit; one run of each, with",
        f"different draws. {verdict}; {len(recipe) - len(apart)} are not there yet.",
        "",
    ]
    header = ["model", "latents", "beta", "reconstruction", "KL", "ELBO", "ELBO differs", "KL differs"]
    files.write(EVIDENCE / "published-digits.md", "\n".join(text) + "\n" + markdown(header, rows))
    files.write_json(EVIDENCE / "published-digits.json", {"passes": PASSES, "seed": SEED, "cells": found})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--cells", help="MODEL:LATENTS:BETA, separated by commas (default: all)")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    recipe = measured()
    kept = EVIDENCE / "published-digits.json"
    found = json.loads(kept.read_text())["cells"] if kept.exists() else {}
    wanted = [cell for cell in (given.cells.split(",") if given.cells else recipe) if cell not in found]
    with ProcessPoolExecutor(given.workers) as pool:
        cells = {cell: cell.split(":") for cell in wanted}
        runs = {pool.submit(train, given.directory, m, int(d), float(b)): cell for cell, (m, d, b) in cells.items()}
        for run in as_completed(runs):
            found[runs[run]] = run.result()
            print(runs[run], found[runs[run]], flush=True)
            write(found, recipe)


if __name__ == "__main__":
    main()
