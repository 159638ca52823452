"""Codes into AnnData files (``.h5ad``, extra ``bio``): only ``obsm`` and ``uns`` change, all else stays as it is."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from labelspace.data import checked
from labelspace.errors import UserError
from labelspace.models.of_data import KEY
from labelspace.storage import files


def write(source: Path, out: Path, ids: np.ndarray, codes: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> list[str]:
    """Writes codes into a copy of an AnnData file, or back into it.

    Cells are matched by their names; those without codes get NaN. Codes that an earlier call wrote are replaced. A file of
    anndata before 0.7 is written in the format of today.

    Args:
        source: the file that the samples were read from.
        out: the file to write; it may be the same.
        ids: ``(n,)`` names of the samples.
        codes: block name -> ``(n, size)``.
        record: what goes into ``uns["labelspace"]``: texts, numbers and lists of them.

    Returns:
        The keys of ``obsm``.

    Raises:
        UserError: a file that is not of AnnData, or whose cells are not those of the samples.
    """
    try:
        import h5py
        from anndata.io import read_elem, write_elem
        from anndata.utils import make_index_unique
    except ModuleNotFoundError:
        raise UserError("AnnData files need anndata; install it with: pip install 'labelspace[bio]'") from None
    if not source.is_file():
        raise UserError(f"no such file: {source}")
    whole = np.concatenate(list(codes.values()), 1)
    keys = {KEY: whole, **{f"{KEY}_{name}".replace("/", "_"): code for name, code in codes.items()}}
    if len(keys) <= len(codes):
        raise UserError(f"{out}: two latent blocks have the same name where / is written as _; rename the labels")
    with files.replacing(out) as temporary:
        shutil.copyfile(source, temporary)
        checked.hdf5(temporary, ("X", "raw/X", "layers"), source)  # what it links to would be written
        _renew(source, temporary)
        try:
            file = h5py.File(temporary, "r+")
        except OSError as error:
            raise UserError(f"{source} cannot be read as HDF5: {error}") from None
        with file:
            if "obs" not in file:
                raise UserError(f"{source} is not an AnnData file: it has no obs")
            obs: Any = read_elem(file["obs"])  # type: ignore[arg-type]  # a DataFrame
            index = obs.index if obs.index.is_unique else make_index_unique(obs.index.astype(str))  # as they are read
            rows = _rows(source, np.asarray(index, str), np.asarray(ids, str))
            for group in ("obsm", "uns"):
                if group not in file:
                    write_elem(file, group, {})
            obsm, uns = file["obsm"], file["uns"]
            assert isinstance(obsm, h5py.Group)
            assert isinstance(uns, h5py.Group)
            for old in [name for name in map(str, obsm) if name == KEY or name.startswith(f"{KEY}_")]:
                del obsm[old]
            for key, code in keys.items():
                placed = np.full((len(rows), code.shape[1]), np.nan, np.float32)
                placed[rows >= 0] = code[rows[rows >= 0]]
                write_elem(obsm, key, placed)
            if "labelspace" in uns:
                del uns["labelspace"]
            write_elem(uns, "labelspace", {name: _stored(entry) for name, entry in record.items()})
    return list(keys)


def _renew(source: Path, copy: Path) -> None:
    """Writes a copy of a file anew where it is of anndata before 0.7, whose obs and obsm cannot take another column."""
    import anndata
    import h5py

    try:
        with h5py.File(copy, "r") as file:
            if not isinstance(file.get("obs"), h5py.Dataset):
                return
    except OSError:
        return  # what is not HDF5 is said where it is written to
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        anndata.read_h5ad(source).write_h5ad(copy)


def _stored(entry: Any) -> Any:
    return np.array(entry) if isinstance(entry, list | tuple) else entry


def _rows(source: Path, cells: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """For each cell of the file the row of its sample, -1 where there is none."""
    if len(cells) == len(ids) and bool((cells == ids).all()):
        return np.arange(len(cells))
    for what, found in (("cells of the file", cells), ("samples", ids)):
        names, counts = np.unique(found, return_counts=True)
        if len(names) < len(found):
            raise UserError(
                f"{source}: two {what} are called {str(names[counts.argmax()])!r}, so codes cannot be matched by name"
            )
    places = {name: row for row, name in enumerate(ids.tolist())}
    if absent := places.keys() - set(cells.tolist()):
        raise UserError(f"{source} has no cell {min(absent)!r}; the codes are of {len(absent)} cells that are not in it")
    return np.array([places.get(cell, -1) for cell in cells.tolist()])
