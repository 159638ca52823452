"""The site: built without running its notebooks, every link leads somewhere and everything public has an entry."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import labelspace as ls
from labelspace import cli, interventions, metrics, models

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.browser  # building all of it takes half a minute


class Links(HTMLParser):
    """Addresses that a page refers to, and the anchors that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.links += [value for name in ("href", "src") if (value := given.get(name))]
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("myst_nb")
    pytest.importorskip("furo")
    home = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-D", "html_copy_source=0", "docs", str(home)]
    env = {**os.environ, "LABELSPACE_DOCS_RUN": "off"}
    done = subprocess.run([*command, "-d", str(home / "trees")], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Links]:
    return {file: Links(file.read_text()) for file in site.rglob("*.html") if "_modules" not in file.parts}


def test_every_link_leads_somewhere(site: Path, pages: dict[Path, Links]) -> None:
    broken = []
    for page, found in pages.items():
        for link in found.links:
            address = urlsplit(link)
            if address.scheme or not (address.path or address.fragment):
                continue
            target = (page.parent / unquote(address.path)).resolve() if address.path else page
            if not target.exists() or (target in pages and address.fragment and address.fragment not in pages[target].anchors):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, Links]) -> None:
    for page in pages:
        loaded = re.findall(r"<(?:script|img|link|iframe)[^>]*(?:src|href)=\"(?:https?:)?//[^\"]*", page.read_text())
        assert loaded == [], page


def test_everything_public_has_an_entry(site: Path, pages: dict[Path, Links]) -> None:
    anchors = set().union(*(found.anchors for found in pages.values()))
    names = [f"labelspace.{name}" for name in ls.__all__ if name != "interventions"]
    names += [f"labelspace.interventions.{name}" for name in interventions.__all__]
    names += [f"labelspace.metrics.{name}" for name in metrics.__all__]
    missing = [name for name in names if not any(name.rpartition(".")[2] == anchor.rpartition(".")[2] for anchor in anchors)]
    assert missing == []
    commands = (site / "reference" / "commands.html").read_text()
    (choices,) = (action.choices for action in cli.parser()._actions if action.dest == "command")
    assert [name for name in choices or () if f">{name}<" not in commands] == []
    listed = (site / "models.html").read_text()
    assert [name for name in models.MODELS if f">{name}<" not in listed] == []


def test_equations_are_rendered(site: Path) -> None:
    for page in (site / "lsvae.html", site / "vae.html"):
        assert page.read_text().count("<math ") > 3
    assert not [
        page for page in site.rglob("*.html") if re.search(r"\$\\\w", page.read_text()) and "_modules" not in page.parts
    ]
