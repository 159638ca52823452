"""HTML from escaped strings: whatever is not made here is text, and comes out as it was written."""

from __future__ import annotations

import base64
import csv
import html
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING
from urllib.parse import quote

from PIL import Image, features

from labelspace import glossary
from labelspace.reporting.colours import COLOURS, INK, INK_ON_DARK, ON_DARK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EMPTY = frozenset({"meta", "link", "img", "br", "hr", "input"})
_SMALL = 64  # pixels a side
_QUALITY, _EFFORT = 75, 6  # of samples' pixels inside pictures, as WebP
_PIXELATED = "image-rendering:crisp-edges;image-rendering:pixelated"  # as matplotlib says it
# The page may show pictures that it carries and use its own style; nothing else: no script, no form, no network.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


class Html(str):
    """Text that is markup already."""


Content = str | Html | None | Iterable["Content"]


def join(content: Content) -> Html:
    """Content as markup: texts are escaped, markup is kept, None is nothing, lists are joined."""
    if content is None:
        return Html("")
    if isinstance(content, Html):
        return content
    if isinstance(content, str):
        return Html(html.escape(content))
    return Html("".join(join(part) for part in content))


def tag(name: str, /, *content: Content, **attributes: str | int | bool | None) -> Html:
    """An element. Underscores at the end of an attribute's name fall off, others become hyphens; None and False: left out.

    Values of attributes are text, too; one that is :class:`Html` holds no double quotes and is written as it is.
    """
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        text = value if isinstance(value, Html) else html.escape(str(value))
        written.append(f" {key}" if value is True else f' {key}="{text}"')
    opened = f"<{name}{''.join(written)}>"
    return Html(opened if name in _EMPTY else f"{opened}{join(content)}</{name}>")


def paragraph(*content: Content, kind: str | None = None) -> Html:
    return tag("p", *content, class_=kind)


def explained(text: str) -> Content:
    """A term with its meaning, to be read where a pointer, a finger or the keyboard rests on it; other text as it is."""
    meaning = glossary.meaning(text)
    return text if meaning is None else tag("abbr", text, title=meaning, tabindex=0)


def items(entries: Iterable[Content]) -> Html:
    """A list with bullets."""
    return tag("ul", [tag("li", entry) for entry in entries])


def table(header: Sequence[Content], rows: Sequence[Sequence[Content]], caption: str, *, titled: bool = False) -> Html:
    """A table whose first column names the rows, to be had as CSV; where it is wider than the page it can be scrolled.

    Args:
        header: names of the columns.
        rows: cells.
        caption: what it is.
        titled: whether a heading above it says so already, so that the caption is only for those who do not see it.
    """
    head = tag("tr", [tag("th", cell, scope="col") for cell in header])
    body = [
        tag("tr", tag("th", row[0], scope="row"), [tag("td", cell, class_=_kind(cell)) for cell in row[1:]]) for row in rows
    ]
    whole = tag("table", tag("caption", caption, class_="heard" if titled else None), tag("thead", head), tag("tbody", body))
    file = f"{re.sub('[^a-z0-9]+', '-', caption.lower()).strip('-') or 'table'}.csv"
    link = tag("a", "CSV", href=_csv(header, rows), download=file, aria_label=f"{caption}, as CSV")
    return join(
        [tag("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption), tag("p", link, class_="file")]
    )


def _csv(header: Sequence[Content], rows: Iterable[Sequence[Content]]) -> str:
    """A table as the address of a file that the page carries."""
    text = io.StringIO()
    csv.writer(text).writerows([[plain_text(cell) for cell in row] for row in (header, *rows)])
    return f"data:text/csv;charset=utf-8,{quote(text.getvalue())}"


def plain_text(content: Content) -> str:
    """Content without its markup."""
    return html.unescape(re.sub(r"<[^>]*>", "", join(content)))


def _kind(cell: Content) -> str | None:
    """Numbers stand in line with each other."""
    return "number" if isinstance(cell, str) and re.match(r"[-+]?\d", cell) and len(cell) < 40 else None


def picture(figures: Sequence[tuple[Figure, str]], caption: Content = None) -> Html:
    """Figures with their alternative texts and one caption; several stand side by side as far as there is room.

    A click on one, or the space bar, shows it as large as the window is; another puts it back.
    """
    images = [
        tag(
            "label",
            tag("input", type="checkbox", class_="heard", aria_label=f"Enlarge: {alt}"),
            _image(figure, alt),
            class_="zoom",
        )
        for figure, alt in figures
    ]
    panels = images[0] if len(images) == 1 else tag("div", images, class_="panels")
    return tag("figure", panels, tag("figcaption", caption) if caption else None)


def _image(figure: Figure, alt: str) -> Html:
    """A vector picture that the page carries; its text follows the page's light or dark background."""
    from labelspace.reporting.figures import render  # imports matplotlib, which pages without figures do without

    svg = render(figure, "svg", background="none", cut=False).decode()
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', svg)
    if size is None:
        raise ValueError("matplotlib wrote an SVG without a size")
    width, height = (round(float(part) * 4 / 3) for part in size.groups())
    # The names of vocabularies in it look like addresses of the network, which a reader of the page's source need not wonder
    # about. Its quotes are single ones, which need no escape: a picture has tens of thousands.
    text = quote(_smaller(themed(svg)), safe=" /:;,=+-_.!*()$?'").replace("http:", "http%3A")
    return tag("img", src=Html(f"data:image/svg+xml,{text}"), alt=alt, width=width, height=height, decoding="async")


def _smaller(svg: str) -> str:
    """An SVG in less room: places to a hundredth of a point, pixels that it carries as WebP, what all share said once, short
    names, no comments.

    WebP halves the resolution of colours, so pixels of small pictures are doubled first.
    """
    svg = re.sub(r">\s+<", "><", re.sub(r"<!--.*?-->", "", svg, flags=re.S))
    if _PIXELATED in svg:
        svg = svg.replace(f' style="{_PIXELATED}"', "").replace("<style>", f"<style>image{{{_PIXELATED}}}", 1)
    svg = svg.replace("xlink:href", "href").replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    names = {name: f"{i:x}" for i, name in enumerate(dict.fromkeys(re.findall(r'(?:href="|url\()#([^")]+)', svg)))}
    svg = re.sub(r'((?:href="|url\()#)([^")]+)', lambda found: f"{found[1]}{names[found[2]]}", svg)
    svg = re.sub(r' id="([^"]*)"', lambda found: f' id="{names[found[1]]}"' if found[1] in names else "", svg)
    svg = re.sub(r'(?<= )(?:d|x|y)="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), svg)
    svg = re.sub(r'(?<= )style="[^"]*"', lambda found: re.sub(r"([:;]) ", r"\1", found[0]), svg)

    def again(found: re.Match[str]) -> str:
        buffer = io.BytesIO()
        with Image.open(io.BytesIO(base64.b64decode(found[1]))) as image:
            times = 2 if max(image.size) < _SMALL else 1
            larger = image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
            larger.save(buffer, "WEBP", quality=_QUALITY, method=_EFFORT, exact=True)
        return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"

    if features.check("webp"):
        svg = re.sub(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)", again, svg)  # matplotlib breaks long lines
    svg = re.sub(r"\s+", " ", svg)
    return svg if "'" in svg else svg.replace('"', "'")


def themed(svg: str) -> str:
    """An SVG whose ink and whose colours of classes are others where the reader's system is dark."""
    svg = svg[svg.index("<svg") :]
    names: dict[str, str] = dict(zip((INK, *COLOURS), ("ink", *(f"c{i}" for i in range(len(COLOURS)))), strict=True))
    light = ";".join(f"--{name}:{colour}" for colour, name in names.items())
    dark = ";".join(f"--{name}:{colour}" for name, colour in zip(names.values(), (INK_ON_DARK, *ON_DARK), strict=True))
    style = f"<style>:root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    opening = svg.index(">") + 1
    # What matplotlib says of itself, with addresses of vocabularies, is of no use inside a page.
    body = re.sub(r"<metadata>.*?</metadata>", "", svg[opening:], count=1, flags=re.S)
    body = re.sub("|".join(names), lambda found: f"var(--{names[found[0]]})", body)
    return svg[:opening] + style + body


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        name: what links call it.
        title: its heading.
        content: what is in it.
        parts: parts of it, with headings of the next level.
    """

    name: str
    title: str
    content: Content = None
    parts: Sequence[Section] = field(default=())

    def write(self, level: int = 2) -> Html:
        inside = [part.write(level + 1) for part in self.parts]
        return tag("section", tag(f"h{level}", self.title), self.content, inside, id=self.name)


def page(title: str, lead: Content, sections: Sequence[Section], end: Content) -> str:
    """A whole page: title, contents, sections, end."""
    style = resources.files("labelspace.reporting").joinpath("page.css").read_text(encoding="utf-8")
    contents = tag("ol", [tag("li", tag("a", part.title, href=f"#{part.name}"), _inner(part)) for part in sections])
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", Html(style)),
    )
    body = tag(
        "body",
        tag("header", tag("h1", title), lead),
        tag("nav", tag("h2", "Contents", id="contents"), contents, aria_labelledby="contents"),
        tag("main", [part.write() for part in sections]),
        tag("footer", end),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _inner(part: Section) -> Html | None:
    """Links to the parts of a section, where there are several."""
    if len(part.parts) < 2:
        return None
    return tag("ul", [tag("li", tag("a", inner.title, href=f"#{inner.name}")) for inner in part.parts])
