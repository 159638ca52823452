"""Arrays of a MATLAB file, read by a process of its own: SciPy's reader, which is compiled, may crash on a damaged file.

    python -m labelspace.data.matlab FILE OUT.npz NAME...

writes the arrays that are there; a failure is one line on standard error and exit code 1.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from labelspace.data import paths
from labelspace.errors import UserError
from labelspace.storage import bounds

_WIDTHS = {"logical": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "single": 4}
_OWN = 4 * 2**30  # bytes of address space that SciPy takes for itself


def read(file: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of numbers of a MATLAB file of version 5 to 7.

    Raises:
        UserError: there is no such file, it cannot be read, or an array is not there or not of numbers.
    """
    paths.file(file)
    with tempfile.TemporaryDirectory() as home:
        out = Path(home) / "arrays.npz"
        command = [sys.executable, "-m", "labelspace.data.matlab", str(file.absolute()), str(out), *names]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            why = done.stderr.strip().splitlines()[-1] if done.returncode > 0 and done.stderr.strip() else "it is damaged"
            raise UserError(f"{file} cannot be read as a MATLAB file: {why}")
        bounds.sized(out)
        with np.load(out, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    for name in names:
        if name not in found:
            raise UserError(f"{file} has no array {name!r}")
        if found[name].dtype.kind not in "iufb":
            raise UserError(f"{file}: {name} is not an array of numbers")
    return found


def _write(file: str, out: str, names: Sequence[str]) -> str:
    """Writes the arrays; returns why that cannot be done, or an empty text."""
    from scipy.io import loadmat, whosmat

    try:
        said = [(shape, kind) for name, shape, kind in whosmat(file, appendmat=False) if name in names]
        bounds.check(file, sum(math.prod(shape) * _WIDTHS.get(kind, 8) for shape, kind in said))
        found = loadmat(file, appendmat=False, variable_names=names)
    except NotImplementedError:
        return "it is of version 7.3; save it again with save -v7"
    except Exception as error:  # what is raised for a damaged file depends on where it is damaged
        return " ".join(str(error).split()) or type(error).__name__
    kept = {name: found[name] for name in names if name in found}
    # What is not of numbers goes without its content, which might be objects.
    np.savez(out, **{n: a if isinstance(a, np.ndarray) and a.dtype.kind in "iufb" else np.array("") for n, a in kept.items()})  # type: ignore[arg-type]
    return ""


def _bound() -> None:
    """Lets this process have no more memory than may be read: how large an array is, MATLAB files say where it is unpacked."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        most = _OWN + 2 * bounds.most()
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    _bound()
    if said := _write(sys.argv[1], sys.argv[2], sys.argv[3:]):
        sys.exit(said)
