"""Tables as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from labelspace.storage import files


def put_section(page: Path, title: str, text: str) -> None:
    """Puts a section into a page of Markdown, in the place of the one with this title, or at the end.

    Args:
        page: the file; a new one where there is none.
        title: of the section, of second order.
        text: of the section.
    """
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    head, *sections = re.split(r"^(?=## )", before, flags=re.MULTILINE)
    new = f"## {title}\n\n{text.strip()}\n"
    places = [i for i, section in enumerate(sections) if section.startswith(f"## {title}\n")]
    sections[places[0] if places else len(sections) : (places[0] + 1) if places else None] = [new]
    files.write(page, "\n\n".join(part.strip() for part in (head, *sections) if part.strip()) + "\n")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
