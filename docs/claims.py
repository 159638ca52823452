"""Verdicts from results: ``python docs/claims.py`` writes docs/evidence/*/results.* and a part of docs/reproduce.md anew.

Nothing is trained: the results in ``docs/evidence`` are judged by the claims and rules that the source has now. What is written
about them in docs/reproduce.md stands between two markers.
"""

from __future__ import annotations

from pathlib import Path

from labelspace.experiments import evidence
from labelspace.experiments.recipes import RECIPES
from labelspace.storage import files

DOCS = Path(__file__).resolve().parent
BEGIN, END = "<!-- verdicts: python docs/claims.py -->", "<!-- end of verdicts -->"


def written() -> dict[Path, str]:
    """Every file that follows from results, as it should be."""
    homes = [home for name in RECIPES if (home := DOCS / "evidence" / name).exists()]
    found = {home / file: text for home in homes for file, text in evidence.rewritten(home)[0].items()}
    page = (DOCS / "reproduce.md").read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    found[DOCS / "reproduce.md"] = f"{before}{BEGIN}\n\n{evidence.summary(homes)}\n{END}{after}"
    return found


if __name__ == "__main__":
    for path, text in written().items():
        files.write(path, text)
