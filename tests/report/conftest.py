"""Tiny runs of every model on every kind of data, and pages taken apart."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

import labelspace as ls
from labelspace.models import model_class
from labelspace.models.networks import Network

# Names come from users' files: this one is a program in a page that does not escape, and mathematics in a careless figure.
WICKED = '<script>alert("$x_$")'
VOID = {"meta", "link", "img", "br", "hr", "input"}


def archive(home: Path, kind: str, n: int = 240) -> Path:
    """Data with a label of each kind, some of them missing; images, vectors, or tables with missing cells."""
    rng = np.random.default_rng(0)
    on, group, size = rng.integers(0, 2, n), rng.integers(0, 3, n), rng.normal(2, 1, n)
    seen = np.where(rng.random(n) < 0.2, np.nan, size)
    arrays: dict[str, np.ndarray] = {}
    if kind == "image":
        x = rng.integers(0, 60, (n, 1, 8, 8))
        x[:, :, :3] += (150 * on)[:, None, None, None]
        arrays["x"] = x.astype(np.uint8)
    else:
        x = np.stack([on + 0.1 * rng.normal(size=n), group + 0.1 * rng.normal(size=n), size, *rng.normal(size=(2, n))], 1)
        if kind == "table":
            x = np.stack([x[:, 0], rng.poisson(3 + 5 * on), group], 1)
            x[::7, 0] = np.nan
            arrays["columns"] = np.array(["continuous", "count", "categorical"])
        arrays["x"] = x.astype(np.float32)
    names = np.array(["red", "green", "blue"])[group]
    path = home / f"{kind}.npz"
    np.savez(path, **arrays, **{WICKED: on.astype(float), "group": names, "size": seen})  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Trains a tiny model once and returns its run directory; a test that writes into it must copy it."""
    made: dict[tuple, Path] = {}

    def train(name: str, kind: str, labels: tuple[str, ...] | None = None, **options) -> Path:
        key = (name, kind, labels, *sorted(options.items()))
        if key in made:
            return made[key]
        home = tmp_path_factory.mktemp("runs")
        path = archive(home, kind)
        names = labels if labels is not None else (WICKED, "group", "size")
        kinds = {WICKED: "binary", "group": "categorical", "size": "continuous"}
        data = ls.open(f"npz:{path}", [label for label in names if kinds[label] in model_class(name).label_kinds])
        torch.manual_seed(0)
        plain = {} if kind == "table" else {"likelihood": "gaussian"}
        model = ls.build(name, data, latent=3, network=Network(width=8, depth=1), **plain)
        made[key] = home / f"{name}-{kind}"
        ls.fit(model, data, out=made[key], **{"epochs": 2, "batch_size": 64, "warmup": 0, **options})
        return made[key]

    return train


@dataclass
class Page(HTMLParser):
    """What is in a page: elements with attributes, texts, headings in order."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    headings: list[tuple[int, str]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def __hash__(self) -> int:
        return id(self)

    def handle_starttag(self, tag: str, attrs) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append((int(tag[1]), ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)
        if self.open and self.open[-1] in ("h1", "h2", "h3", "h4"):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def titles(self) -> list[str]:
        return [text for _, text in self.headings]


def taken_apart(text: str) -> Page:
    """A page, after checks that hold for every page: whole, alone, escaped, and with names for those who do not see it."""
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == [], "every element is closed"
    assert not page.all("script")
    for name, attributes in page.elements:
        for key in ("src", "href", "data", "action"):
            address = attributes.get(key) or "#"
            assert address.startswith(("data:", "#")), f"{name} {key}={address[:60]}"
            assert "http://" not in address
            assert "https://" not in address
        assert not [key for key in attributes if key.startswith("on")]
    for image in page.all("img"):
        assert (image["src"] or "").startswith("data:image/svg+xml,")
        assert image["alt"]
        assert int(image["width"] or 0) > 20
    policy = next(meta for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in (policy["content"] or "")
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), levels
    named = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(named) == len(set(named))
    files = [link for link in page.all("a") if link.get("download")]
    assert len(files) == len(page.all("table"))
    assert all((link["href"] or "").startswith("data:text/csv") for link in files)
    links = [link["href"] for link in page.all("a") if not link.get("download")]
    assert links
    assert all(link and link[1:] in named for link in links)
    assert len(page.all("input")) == len(page.all("img")), "every picture can be enlarged"
    return page


@pytest.fixture(scope="session")
def parse() -> Callable[[str], Page]:
    return taken_apart


@pytest.fixture(scope="session")
def wicked() -> str:
    return WICKED
