"""What the build needs of onnxruntime-web, from npm."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILES = {  # digests (SHA-256) of what was looked at
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}


class Fetch(BuildHookInterface):
    """Puts the files beside the package before it is built."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        home = Path(self.root) / "labelspace_page"
        if all((home / name).exists() for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm.gz")):
            return
        name = f"onnxruntime-web@{self.metadata.version}"
        with tempfile.TemporaryDirectory() as there:
            subprocess.run(["npm", "pack", "--silent", name], cwd=there, check=True, stdout=subprocess.DEVNULL)
            packed = next(Path(there).glob("*.tgz")).read_bytes()
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            for file, digest in FILES.items():
                found = archive.extractfile(f"package/dist/{file}")
                content = found.read() if found else b""
                if hashlib.sha256(content).hexdigest() != digest:
                    raise ValueError(f"{file} of {name} is not the file that was looked at")
                if file.endswith(".wasm"):
                    (home / f"{file}.gz").write_bytes(gzip.compress(content, 9, mtime=0))
                else:
                    (home / file).write_bytes(content)
