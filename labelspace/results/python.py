"""Codes of a data set from Python, written where they are asked for: what ``labelspace embed`` does."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from labelspace import __version__
from labelspace.data import paths, sources
from labelspace.data.dataset import Dataset
from labelspace.data.store import Progress
from labelspace.errors import UserError, option
from labelspace.models import name_of
from labelspace.models.of_data import Codes
from labelspace.results import annotated, writers
from labelspace.storage import files
from labelspace.training.trained import AnyRun, Trained

if TYPE_CHECKING:
    from anndata import AnnData

ENDINGS = (".npz", ".parquet", ".csv", ".h5ad")


def embed(
    run: AnyRun,
    data: Any = None,
    *,
    out: str | Path | None = None,
    ignore_labels: bool = False,
    draw: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Codes:
    """Codes of a whole data set, block by block.

    Args:
        run: a run directory, what :func:`labelspace.fit` returned, or a model.
        data: an address or what :func:`labelspace.open` takes; by default the run's own data.
        out: file to write as well: .npz, .parquet, .csv, or .h5ad for the cells of ``h5ad:FILE`` or an AnnData object.
        ignore_labels: encode as if no label were known: codes of x alone.
        draw: draws of the posteriors, as decoders get them, instead of their means.
        seed: of the draws.
        progress: told samples done and samples in all.

    Raises:
        UserError: data that the model cannot read, or a file of another kind.
    """
    path = None if out is None else paths.own(out)
    if path is not None and path.suffix.lower() not in ENDINGS:
        raise UserError(f"{option('out', str(out))} must end in .npz, .parquet, .csv or .h5ad")
    of_file = isinstance(data, str) and sources.parts(data)[0] == "h5ad"
    of_object = type(data).__module__.partition(".")[0] == "anndata"
    if path is not None and path.suffix.lower() == ".h5ad" and not (of_file or of_object):
        raise UserError(f"{option('out', str(out))} takes codes of the cells of an AnnData file; name the data as h5ad:FILE")
    trained = Trained.of(run)
    opened = trained.data(data, progress=progress)
    generator = torch.Generator().manual_seed(seed) if draw else None
    codes = trained.model.encode(opened, ignore_labels=ignore_labels, draw=generator, progress=progress)
    codes.about.update(model=name_of(trained.model), run=trained.name, labelspace=__version__)
    if path is not None:
        _write(path, codes, opened, data)
    return codes


def _write(path: Path, codes: Codes, data: Dataset, given: Any) -> None:
    ending = path.suffix.lower()
    if ending == ".npz":
        arrays: dict[str, np.ndarray] = {**codes.blocks, "ids": codes.ids, "split": codes.split}
        for name, column in codes.labels.items():
            arrays[f"label.{name}"] = np.array(["" if entry is None else str(entry) for entry in column])
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        files.write(path, buffer.getvalue())
    elif ending == ".h5ad" and isinstance(given, str):
        annotated.write(Path(sources.parts(given)[1]), path, codes.ids, codes.blocks, codes.about)
    elif ending == ".h5ad":
        _copy(given, codes).write_h5ad(path)
    else:
        with writers.table(path, data.schema) as rows:
            rows.add(codes.columns())


def _copy(adata: AnnData, codes: Codes) -> AnnData:
    return codes.to_anndata(adata.to_memory() if adata.isbacked else adata.copy())


def shapes(path: Path, codes: Mapping[str, np.ndarray]) -> dict[str, list[int]]:
    """What :func:`embed` wrote into a file: name -> shape."""
    n = len(next(iter(codes.values())))
    if path.suffix.lower() != ".h5ad":
        return {name: list(code.shape) for name, code in codes.items()}
    keys = [annotated.KEY, *(f"{annotated.KEY}_{name}".replace("/", "_") for name in codes)]
    sizes = [sum(code.shape[1] for code in codes.values()), *(code.shape[1] for code in codes.values())]
    return {f"obsm[{key!r}]": [n, size] for key, size in zip(keys, sizes, strict=True)}
