"""onnxruntime-web, which runs networks in a browser: taken from where it is installed, never from the network.

Either the package ``labelspace-page`` (extra ``page``), which carries the two files that are needed, or a directory into which
``npm install onnxruntime-web`` put it.
"""

from __future__ import annotations

import gzip
import importlib.resources
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from labelspace.errors import UserError

PACKAGE = "labelspace_page"
SCRIPT, PROGRAM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"  # as onnxruntime-web calls them


@dataclass(frozen=True)
class Runtime:
    """onnxruntime-web.

    Attributes:
        script: its JavaScript module.
        program: its WebAssembly, compressed by gzip.
    """

    script: str
    program: bytes


def find(home: Path | None = None) -> Runtime:
    """Where it is installed.

    Args:
        home: a directory that npm installed it in, or its own; without one, the package ``labelspace-page`` has it.

    Raises:
        UserError: it is not there, and how to have it.
    """
    if home is not None:
        for place in (home, home / "dist", home / "onnxruntime-web/dist", home / "node_modules/onnxruntime-web/dist"):
            if (place / PROGRAM).is_file() and (place / SCRIPT).is_file():
                script = (place / SCRIPT).read_text(encoding="utf-8")
                return Runtime(script, gzip.compress((place / PROGRAM).read_bytes(), 9, mtime=0))
        raise UserError(f"{home} has no {PROGRAM}; expected a directory of npm install onnxruntime-web")
    if importlib.util.find_spec(PACKAGE) is None:
        raise UserError(
            "a saved page runs on onnxruntime-web, which is not installed: pip install 'labelspace[page]', or npm install "
            "onnxruntime-web and --runtime node_modules/onnxruntime-web"
        )
    files = importlib.resources.files(PACKAGE)
    return Runtime((files / SCRIPT).read_text(encoding="utf-8"), (files / f"{PROGRAM}.gz").read_bytes())
