"""The code in README and docs runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

pytestmark = pytest.mark.usefixtures("hasty")

ROOT = Path(__file__).parent.parent
BLOCKS = [
    pytest.param(text, id=f"{file.name}-{i}")
    for file in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    if file.name not in ("cells.md", "table.md")  # they need files: tests/test_worked_examples.py
    for i, text in enumerate(re.findall(r"```python\n(.*?)```", file.read_text(), re.S))
]


@pytest.mark.parametrize("code", BLOCKS)
def test_examples_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fonts: ModuleType) -> None:
    if '"faces' in code:
        pytest.importorskip("skia")
        pytest.importorskip("python_avatars")
    monkeypatch.chdir(tmp_path)
    if '"glyphs' in code:
        fonts.variable_font(tmp_path / "font.woff2")  # what is in a font file is told by its content
    # The same lines at a small size: fewer faces, one pass.
    code = code.replace('"faces"', '"faces:n=200"').replace("epochs=8", "epochs=1")
    code = code.replace("characters=HAMBURGEFONTSIV,n=6000", "characters=ILT,n=60").replace("epochs=20", "epochs=1")
    torch.manual_seed(0)
    exec(compile(code, "example", "exec"), {"__name__": "example"})


def test_links_in_the_docs_lead_somewhere() -> None:
    for file in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", file.read_text()):
            if not target.startswith("http"):
                assert (file.parent / target).exists(), f"{file.name}: {target}"
