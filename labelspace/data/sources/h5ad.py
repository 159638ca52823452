"""``h5ad:FILE``: cells by genes, as the anndata package writes them (extra ``bio``).

The matrix is X, a layer or ``raw``, sparse or dense. Whole numbers >= 0 are counts, described by the negative binomial;
everything else is taken as it is. The file is read in pieces of rows, so that only the genes that are kept are ever held as a
dense matrix: 4 bytes for each cell and gene.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from labelspace.data import checked, frames, paths
from labelspace.data.cells import Column, some
from labelspace.data.columns import BadCell, Columns, read_labels
from labelspace.data.dataset import Dataset
from labelspace.data.reading import Asked, Reading
from labelspace.data.splits import drawn_splits
from labelspace.data.tabular import parse_asked
from labelspace.errors import UserError, lacks_memory, unknown
from labelspace.labels import Schema
from labelspace.storage import bounds
from labelspace.variables import Described, Variable

_ENTRIES = 20_000_000  # of a dense piece of the matrix that is read at once
_LARGEST_LOG = 15.0  # of 1 + a count, scaled to ten thousand or a million a cell
_SMALLEST = (1, 2, 3, 4, 5)  # counts that the smallest entry of a cell may stand for
_MANY = 10_000  # genes; networks have thousands of weights for each
_READ_IN_PIECES = ("X", "raw/X")  # of a file, where they are not sparse by columns
_TOTAL = 10_000  # what a cell's counts are scaled to sum up to before their logarithm, when genes are compared


def open(
    address: str,
    seed: int,
    path: str,
    labels: Sequence[str] | None = None,
    group: str = "",
    like: Described | None = None,
    progress=None,
    layer: Annotated[str, "NAME"] = "",
    raw: bool = False,
    counts: Literal["auto", "true", "false"] = "auto",
    genes: Annotated[int, "N"] = 0,
    kinds: Annotated[str, "A:categorical"] = "",
    missing: Annotated[str, "A:none"] = "",
    classes: Annotated[str, "A:low|high"] = "",
) -> Dataset:
    """Reads cells and their labels.

    Args:
        path: the file.
        labels: columns of obs; by default all that hold classes or booleans.
        group: a column of obs that says which cells belong together.
        like: a trained model that the cells are for: its genes are read, in its order.
        layer: a layer to read instead of X.
        raw: read ``raw`` instead of X.
        counts: whether entries are counts: "true", "false", or "auto" (whether all are whole numbers >= 0). Of ``raw``, and
            where it is "true", logarithms of scaled counts are turned back into counts.
        genes: keep so many genes, those whose values vary most over the training cells; 0 keeps all. Of counts compared are the
            variances of log(1 + 10,000 count / total of the cell), of other entries those of the entries themselves.
        kinds, missing, classes: of columns of obs, as of ``table``.

    Raises:
        UserError: not such a file, an unknown layer, gene or column of obs, entries that are not what ``counts`` says, or a
            matrix that does not fit into memory.
    """
    file = paths.own(path)
    _check_options(layer, raw, genes)
    asked = parse_asked(kinds, missing, "", classes)
    with _damage(file):
        cells = _read(file)
        try:
            return dataset(
                file,
                cells,
                address,
                seed,
                labels=labels,
                group=group,
                like=like,
                progress=progress,
                layer=layer,
                raw=raw,
                counts=counts,
                genes=genes,
                asked=asked,
            )
        finally:
            if cells.file is not None:
                cells.file.close()


@contextmanager
def _damage(file: Path) -> Iterator[None]:
    """Makes one line of whatever a file that is something else makes of its reader, now or when it is looked into."""
    try:
        yield
    except (UserError, MemoryError, PermissionError):
        raise
    except Exception as error:
        if lacks_memory(error):
            raise
        why = " ".join(str(error).split())[:200]
        raise UserError(f"{file} cannot be read as cells by genes: {type(error).__name__} {why}") from None


def _check_options(layer: str, raw: bool, genes: int) -> None:
    if layer and raw:
        raise UserError("layer and raw are two matrices; name one of them")
    if genes < 0:
        raise UserError(f"genes must be 0 (all) or more, got {genes}")


def dataset(
    file: Path | str,
    cells: Any,
    address: str,
    seed: int,
    *,
    labels: Sequence[str] | None = None,
    group: str = "",
    like: Described | None = None,
    progress: Any = None,
    layer: str = "",
    raw: bool = False,
    counts: Literal["auto", "true", "false"] = "auto",
    genes: int = 0,
    asked: Asked | None = None,
) -> Dataset:
    """Makes a data set of an AnnData object, in memory or backed by a file.

    Args:
        file: what it is called in messages.
        cells: the object; a view of one is taken as it is.
        address: kept with the data.
        seed: of the splits.
        labels, group, like, progress, layer, raw, counts, genes: as in :func:`open`.
        asked: what the user says about columns of obs.

    Raises:
        UserError: as :func:`open`.
    """
    _check_options(layer, raw, genes)
    matrix, var_names = _matrix(file, cells, layer, raw)
    found_counts = ""
    if counts == "true" or (counts == "auto" and raw):
        matrix, found_counts = _recovered(file, matrix)
    schema, values, observed, reading = _labels(file, cells, labels, group, like, asked or Asked())
    notes = [*reading.notes, *reading.summary(), *([found_counts] if found_counts else [])]
    ids = _unique(cells.obs_names, "cells", notes)
    names = _unique(var_names, "genes", notes)
    n = len(ids)
    data = Dataset(
        address,
        np.empty((n, 0), np.float32),
        values,
        observed,
        schema,
        drawn_splits(schema, values, observed, seed),
        notes=tuple(notes),
        ids=ids,
        keys={group: _keys(file, cells, group)} if group else {},
        reading=reading,
    )
    if group and like is None:
        data = data.group(group, seed)  # genes are chosen on the training cells
    wanted = len(like.variables) if like is not None and like.variables else min(genes or len(names), len(names))
    _check_memory(file, n, wanted)
    found = _measure(file, matrix, data.rows("train") if genes and like is None else np.arange(0), counts, like, ids)
    if like is not None and like.variables:
        kept = _positions(file, names, like.variables)
        variables = tuple(like.variables)
    else:
        kept = _most_variable(file, found["log" if found["counts"] else "plain"], genes, names)
        variables = tuple(Variable(str(name), "count" if found["counts"] else "continuous") for name in names[kept])
    x = _dense(file, matrix, kept, progress)
    if len(kept) > _MANY and like is None and not genes:
        size = f"{4 * n * len(kept) / 2**20:,.0f} MB of entries"
        note = f"all {len(kept):,} genes are kept: {size}, and weights for every gene; genes=2000 keeps the most variable"
        data = replace(data, notes=(*data.notes, note))
    if len(kept) < len(names) and like is None:
        data = replace(data, notes=(*data.notes, f"the {len(kept):,} most variable of {len(names):,} genes are kept"))
    return replace(data, x=x, variables=variables, likelihood="negative-binomial" if found["counts"] else "")


def _read(file: Path) -> Any:
    """The file as AnnData, its matrix on disk."""
    try:
        import anndata
    except ModuleNotFoundError:
        raise UserError("h5ad files need anndata: pip install 'labelspace[bio]'") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about files of older versions, which are read all the same
        if file.is_dir() and file.suffix == ".zarr":
            checked.zarr(file)
            return anndata.read_zarr(file)
        checked.hdf5(paths.file(file), _READ_IN_PIECES)
        _check_columns(file)
        return anndata.read_h5ad(file, backed="r")


def _check_columns(file: Path) -> None:
    """Raises UserError where a column of cells or genes has another shape than their names: pandas would go through it all."""
    import h5py

    with h5py.File(file, "r") as opened:
        for part in ("obs", "var"):
            table: Any = opened.get(part)
            index = table.attrs.get("_index") if isinstance(table, h5py.Group) else None
            if not isinstance(index, str) or not isinstance(names := table.get(index), h5py.Dataset):
                continue  # of an older version, or damaged, which its reader says
            for name in table:
                column: Any = table[name]
                inner = [column] if isinstance(column, h5py.Dataset) else [column.get(of) for of in ("codes", "values", "mask")]
                for array in inner:
                    if isinstance(array, h5py.Dataset) and array.shape != names.shape:
                        raise UserError(
                            f"{file} is damaged: {array.name} has shape {array.shape}, and {names.name} {names.shape}"
                        )


def _matrix(file: Path | str, cells: Any, layer: str, raw: bool) -> tuple[Any, Any]:
    """The matrix, quick to read row by row, and the names of its columns."""
    import scipy.sparse

    if layer:
        if layer not in cells.layers:
            raise UserError(f"{file}: {unknown('layer', layer, cells.layers)}")
        matrix, names = cells.layers[layer], cells.var_names
    elif raw:
        if cells.raw is None:
            raise UserError(f"{file} has no raw; leave out raw=true")
        matrix, names = cells.raw.X, cells.raw.var_names
    else:
        try:
            matrix, names = cells.X, cells.var_names
        except KeyError:  # looked up in the file now
            matrix, names = None, ()
    if matrix is None:
        raise UserError(f"{file} has no X; name a layer: {', '.join(cells.layers) or 'there is none'}")
    for what, found, expected in (("columns", matrix.shape[1:], len(names)), ("rows", matrix.shape[:1], len(cells.obs_names))):
        if len(matrix.shape) != 2 or found != (expected,):
            of = "genes" if what == "columns" else "cells"
            raise UserError(
                f"{file} is damaged: the matrix has shape {tuple(matrix.shape)} and there are {expected:,} names of {of}"
            )
    if hasattr(matrix, "group"):
        _check_pointers(file, matrix)
    if getattr(matrix, "format", "") == "csc" and hasattr(matrix, "to_memory"):
        bounds.check(file, 2 * sum(matrix.group[part].size * matrix.group[part].dtype.itemsize for part in ("data", "indices")))
        matrix = matrix.to_memory()
    if scipy.sparse.issparse(matrix):
        matrix = _checked(file, matrix).tocsr()
    if matrix.dtype.kind not in "fiub":
        raise UserError(f"{file}: the matrix holds {matrix.dtype}, not numbers")
    if 0 in matrix.shape:
        raise UserError(f"{file}: the matrix has shape {tuple(matrix.shape)}; expected cells and genes")
    return matrix, names


def _check_pointers(file: Path | str, matrix: Any) -> None:
    """Raises UserError where a sparse matrix on disk says of its rows or columns what cannot be, before anything follows it."""
    entries, major = len(matrix.group["indices"]), matrix.shape[0] if matrix.format == "csr" else matrix.shape[1]
    whole = all(matrix.group[part].dtype.kind in "iu" for part in ("indptr", "indices"))
    fits = whole and matrix.group["indptr"].shape == (major + 1,)
    pointers = np.asarray(matrix.group["indptr"]) if fits else np.zeros(0)
    if not fits or pointers[0] != 0 or pointers[-1] != entries or _falls(pointers) or len(matrix.group["data"]) != entries:
        raise UserError(f"{file} is damaged: the pointers of its sparse matrix do not fit its {entries:,} entries")


def _checked(file: Path | str, matrix: Any) -> Any:
    """A sparse matrix whose every index is one of it. Raises UserError otherwise: C code writes wherever an index says."""
    try:
        matrix.check_format(full_check=True)
    except (ValueError, AttributeError) as error:
        if isinstance(error, AttributeError):
            return matrix  # of a format without indices of its own
        raise UserError(f"{file} is damaged: its sparse matrix has an index that is not in it ({error})") from None
    if hasattr(matrix, "indptr") and _falls(matrix.indptr):  # scipy looks at no pointers where the last one is 0
        raise UserError(f"{file} is damaged: the pointers of its sparse matrix do not fit its entries")
    return matrix


def _falls(pointers: np.ndarray) -> bool:
    """Whether one of them is smaller than the one before; differences would not tell it of numbers without a sign."""
    return bool((pointers[1:] < pointers[:-1]).any())


def _recovered(file: Path | str, matrix: Any) -> tuple[Any, str]:
    """The counts that a matrix of their logarithms stands for, and a note; the matrix and "" where it does not.

    In each cell log(1 + c u) has counts c in a unit u of the cell's own: the smallest entry is that of a count of one, or of a
    few, and all others are whole multiples of it.
    """
    import scipy.sparse

    parts, changed = [], False
    for _, piece in _pieces(file, matrix):
        rows: Any = scipy.sparse.csr_matrix(piece).astype(np.float64)
        rows.eliminate_zeros()
        whole = bool((rows.data == np.round(rows.data)).all())
        if not whole:
            if rows.data.min(initial=0) < 0 or rows.data.max(initial=0) > _LARGEST_LOG:
                return matrix, ""
            for start, end in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
                counted = _counted(np.expm1(rows.data[start:end]))
                if counted is None:
                    return matrix, ""
                rows.data[start:end] = counted
            changed = True
        parts.append(rows.astype(np.float32))
    if not changed:
        return matrix, ""
    return scipy.sparse.vstack(parts, "csr"), "counts are recovered from their logarithms; counts=false takes these as they are"


def _counted(scaled: np.ndarray) -> np.ndarray | None:
    """Counts of one cell that were scaled by a number; None where they are no multiples of one."""
    if not len(scaled):
        return scaled
    for smallest in _SMALLEST:
        whole = np.round(scaled * (smallest / scaled.min()))
        counted = scaled * (whole.sum() / scaled.sum())  # the unit from all entries, which may be rounded
        if bool((np.abs(counted - whole) <= np.minimum(0.3, 0.02 + 2e-3 * whole)).all()):
            return whole
    return None


def _pieces(file: Path | str, matrix: Any) -> Iterator[tuple[int, Any]]:
    """The matrix in pieces of rows, as float32: the first row's index, and a sparse (CSR) or dense array."""
    import scipy.sparse

    step = max(1, _ENTRIES // matrix.shape[1])
    for start in range(0, matrix.shape[0], step):
        piece = matrix[start : start + step]
        yield start, (_checked(file, piece) if scipy.sparse.issparse(piece) else np.asarray(piece)).astype(np.float32)


def _column(file: Path | str, cells: Any, name: str) -> Column:
    if name not in cells.obs.columns:
        raise UserError(f"{file}: {unknown('column of obs', name, cells.obs.columns)}")
    found = frames.series(name, cells.obs[name])
    return Column.of(name, cells.obs[name].tolist()) if found is None else found


def _keys(file: Path | str, cells: Any, name: str) -> np.ndarray:
    return Columns({name: _column(file, cells, name)}).keys(name)


def _labels(
    file: Path | str, cells: Any, labels: Sequence[str] | None, group: str, like: Described | None, asked: Asked
) -> tuple[Schema, np.ndarray, np.ndarray, Reading]:
    """Labels of columns of obs; by default those that hold classes or truth values, but for what is always the same."""
    names, known = cells.obs_names, None if like is None else like.schema
    found = labels is None and known is None
    if labels is None:
        wanted = map(str, cells.obs.columns) if known is None else known.names
        labels = [name for name in wanted if name in cells.obs.columns and name != group]
    aside: dict[str, str] = {}
    try:
        columns = Columns({name: _column(file, cells, name) for name in labels}, asked)
        if found:
            aside = {name: why for name in labels if name not in asked.kinds and (why := _no_label(columns, cells, name))}
        kept = [name for name in labels if name not in aside]
        schema, values, observed, readings = read_labels(
            columns, kept, len(names), known=known, where=lambda row: f"{file}, cell {names[row]}"
        )
    except UserError as error:
        raise UserError(str(error) if str(error).startswith(str(file)) else f"{file}: {error}") from None
    readings += [columns.read_as(name, "left out", why) for name, why in aside.items()]
    set_aside = some((f"{name} ({why})" for name, why in aside.items()), 20)
    notes = (f"columns of obs that are not taken for labels unless they are named: {set_aside}",) if aside else ()
    return schema, values, observed, Reading(tuple(readings), notes)


def _no_label(columns: Columns, cells: Any, name: str) -> str:
    """Why a column of obs is not taken for a label; "" where it is."""
    if cells.obs[name].dtype.kind not in "bO":
        return "numbers"
    try:
        label, values = columns.label(name)
    except BadCell:
        return "numbers and texts"
    except UserError:
        words = columns[name].coded[1]
        return "no entry" if not words else f"always {words[0]}" if len(words) == 1 else f"{len(words):,} texts"
    if not label.discrete:
        return "numbers"
    known = values[~np.isnan(values)]
    return "" if len(np.unique(known)) > 1 else f"always {label.format(float(known[0]))}"


def _unique(names: Any, what: str, notes: list[str]) -> np.ndarray:
    if not names.is_unique:
        from anndata.utils import make_index_unique

        notes.append(f"{what} of the same name are told apart by a number behind it")
        names = make_index_unique(names.astype(str))
    return np.array([str(name) for name in names])


def _measure(
    file: Path | str, matrix: Any, train: np.ndarray, counts: str, like: Described | None, ids: np.ndarray
) -> dict[str, Any]:
    """Whether the entries are counts, and the variance of every gene over some cells, "plain" and of logarithms.

    A trained model knows whether it takes counts.
    """
    if like is not None and like.variables:
        counts = "true" if all(variable.kind == "count" for variable in like.variables) else "false"
    plain, log = _Moments(matrix.shape[1]), _Moments(matrix.shape[1])
    for start, piece in _pieces(file, matrix):
        stored = piece.data if hasattr(piece, "indptr") else piece
        whole = (stored >= 0) & (stored == np.round(stored))
        if counts == "true" and not whole.all():
            row = start + int(np.flatnonzero(~_rowwise(piece, whole))[0])
            raise UserError(f"{file}, cell {ids[row]}: entries that are not counts, whole numbers >= 0; leave counts=true out")
        if not whole.all():
            counts = "false"
        rows = train[(train >= start) & (train < start + piece.shape[0])] - start
        if len(rows):
            plain.add(piece[rows])
            if counts != "false":
                log.add(_logarithm(piece[rows]))
    return {"counts": counts != "false", "plain": plain.variance, "log": log.variance}


def _rowwise(piece: Any, whole: np.ndarray) -> np.ndarray:
    """Which rows have whole entries only, ``(rows,)``; ``whole`` is of the stored entries."""
    if not hasattr(piece, "indptr"):
        return np.asarray(whole.all(axis=1))
    rows = np.repeat(np.arange(piece.shape[0]), np.diff(piece.indptr))
    return np.bincount(rows, weights=~whole, minlength=piece.shape[0]) == 0


def _logarithm(piece: Any) -> Any:
    totals = np.maximum(np.asarray(piece.sum(1)).ravel(), 1)
    if hasattr(piece, "indptr"):
        scaled = piece.copy()
        scaled.data = np.log1p(scaled.data * np.repeat(_TOTAL / totals, np.diff(piece.indptr)))
        return scaled
    return np.log1p(piece * (_TOTAL / totals)[:, None])


class _Moments:
    """Sums that give the variance of every column."""

    def __init__(self, d: int) -> None:
        self.n, self.first, self.second = 0, np.zeros(d), np.zeros(d)

    def add(self, piece: Any) -> None:
        wide = piece.astype(np.float64)
        self.n += piece.shape[0]
        self.first += np.asarray(wide.sum(0)).ravel()
        self.second += np.asarray((wide.multiply(wide) if hasattr(wide, "indptr") else wide**2).sum(0)).ravel()

    @property
    def variance(self) -> np.ndarray:
        n = max(self.n, 1)
        return self.second / n - (self.first / n) ** 2


def _most_variable(file: Path | str, variance: np.ndarray, genes: int, names: np.ndarray) -> np.ndarray:
    """Columns to keep, in the order of the file."""
    if genes == 0:
        return np.arange(len(names))
    if genes > len(names):
        raise UserError(f"{file} has {len(names):,} genes, fewer than genes={genes}")
    return np.sort(np.argsort(-np.nan_to_num(variance), kind="stable")[:genes])


def _positions(file: Path | str, names: np.ndarray, variables: Sequence[Variable]) -> np.ndarray:
    """Where the genes of a trained model are."""
    at = {name: i for i, name in enumerate(names)}
    absent = [variable.name for variable in variables if variable.name not in at]
    if absent:
        some = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
        raise UserError(f"{file} lacks {len(absent)} of the model's {len(variables)} genes: {some}")
    return np.array([at[variable.name] for variable in variables])


def _check_memory(file: Path | str, cells: int, genes: int) -> None:
    """Raises UserError where the dense matrix is larger than may be."""
    bounds.check(f"{file}: {cells:,} cells and {genes:,} genes (fewer with genes=2000): their matrix", 4 * cells * genes)


def _dense(file: Path | str, matrix: Any, kept: np.ndarray, progress: Any) -> np.ndarray:
    """The kept columns as ``(n, genes)`` float32."""
    n, whole = matrix.shape[0], len(kept) == matrix.shape[1] and bool((np.diff(kept) == 1).all())
    x = np.empty((n, len(kept)), np.float32)
    for start, piece in _pieces(file, matrix):
        part = piece if whole else piece[:, kept]
        x[start : start + part.shape[0]] = part.toarray() if hasattr(part, "indptr") else part
        if progress is not None:
            progress(start + part.shape[0], n)
    return x
