"""What an index of packages is told of this one: a README whose links and pictures lead to the repository, and its addresses.

The repository's address is one line of pyproject.toml, ``repository`` below ``[tool.hatch.metadata.hooks.custom]``. While it is
empty, relative links become plain text and pictures are left out, because on an index they would lead nowhere.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)]+)\)")


class Readme(MetadataHookInterface):
    """Fills in ``readme`` and ``urls``."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        root = Path(self.root)
        repository = self.config.get("repository", "").rstrip("/")
        version = re.search(r'__version__ = "(.+)"', (root / "labelspace" / "__init__.py").read_text("utf-8"))
        assert version is not None
        text = for_an_index((root / "README.md").read_text("utf-8"), repository, f"v{version[1]}")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        if repository:
            metadata["urls"] = {
                "Source": repository,
                "Issues": f"{repository}/issues",
                "Changelog": f"{repository}/blob/v{version[1]}/CHANGELOG.md",
            }


def for_an_index(text: str, repository: str, tag: str) -> str:
    """The README with absolute links and pictures; without those that have nowhere to lead where there is no repository."""

    def absolute(target: str, kind: str) -> str:
        return target if re.match(r"https?://|#", target) else f"{repository}/{kind}/{tag}/{target}"

    if repository:
        text = _PICTURE.sub(lambda found: f"![{found[1]}]({absolute(found[2], 'raw')})", text)
        return _LINK.sub(lambda found: f"[{found[1]}]({absolute(found[2], 'blob')})", text)
    without = [line for line in text.splitlines(keepends=True) if not re.fullmatch(r"\|?[\s|]*(!\[.*\]\(.*\)[\s|]*)+\n", line)]
    return _LINK.sub(lambda found: found[0] if re.match(r"https?://", found[2]) else found[1], "".join(without))
