"""HTML is made of escaped strings, and pages carry all that they show."""

from __future__ import annotations

import re
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np

from labelspace.reporting import colours
from labelspace.reporting.figures import Lines, lines
from labelspace.reporting.html import Html, Section, items, join, page, paragraph, picture, table, tag


def test_texts_are_escaped_and_markup_is_kept() -> None:
    assert join("<b>&\"'") == "&lt;b&gt;&amp;&quot;&#x27;"
    assert join([Html("<b>"), "<", None, ["a", tag("br")]]) == "<b>&lt;a<br>"
    assert tag("a", "x", href='"><script>', class_="k", hidden=True, id=None) == (
        '<a href="&quot;&gt;&lt;script&gt;" class="k" hidden>x</a>'
    )
    assert paragraph("a < b", kind="note") == '<p class="note">a &lt; b</p>'
    assert items(["<", tag("b", "x")]) == "<ul><li>&lt;</li><li><b>x</b></li></ul>"


def test_a_table_has_a_caption_and_scopes() -> None:
    text = table(["label", "<n>"], [["a&b", "12.5%"], ["c", "many words"]], "What <it> is")
    assert '<th scope="col">&lt;n&gt;</th>' in text
    assert '<th scope="row">a&amp;b</th><td class="number">12.5%</td>' in text
    assert "<td>many words</td>" in text
    assert "<caption>What &lt;it&gt; is</caption>" in text
    assert 'aria-label="What &lt;it&gt; is"' in text
    assert 'class="heard"' in table(["a"], [["b"]], "said above", titled=True)


def test_a_picture_is_a_whole_svg_that_follows_the_pages_colours() -> None:
    shown = picture([(lines([Lines([1, 2], {"a": np.array([1.0, 2.0])})]), 'a "curve"')], "A <caption>")
    assert 'alt="a &quot;curve&quot;"' in shown
    assert "<figcaption>A &lt;caption&gt;</figcaption>" in shown
    assert "http://" not in shown
    address = re.search(r'src="data:image/svg\+xml,([^"]*)"', shown)
    assert address is not None
    svg = unquote(address[1].replace("&amp;", "&").replace("&#x27;", "'"))
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "prefers-color-scheme:dark" in svg
    style, body = svg.split("</style>", 1)
    assert colours.INK in style
    assert colours.ON_DARK[0] in style
    assert "stroke:var(--c0)" in body
    assert colours.INK not in body
    assert "<metadata>" not in svg
    assert "<!--" not in svg
    names = [element.get("id") for element in root.iter() if element.get("id")]
    used = re.findall(r"(?:href='|url\()#([^')]+)", svg)
    assert used
    assert set(used) == set(names), "every name is used, and every use has its name"
    width, height = re.search(r'width="(\d+)" height="(\d+)"', shown).groups()  # type: ignore[union-attr]
    assert int(width) > int(height) > 100


def test_a_page_has_contents_that_lead_to_its_sections(parse) -> None:
    parts = [Section("one", "First <part>", "text"), Section("two", "Second", "more"), Section("lone", "Third")]
    found = parse(page("A & B", "lead", [Section("all", "All", parts=parts), Section("end", "End", parts=parts[:0])], "end"))
    assert found.headings == [
        (1, "A & B"),
        (2, "Contents"),
        (2, "All"),
        (3, "First <part>"),
        (3, "Second"),
        (3, "Third"),
        (2, "End"),
    ]
    assert [link["href"] for link in found.all("a")] == ["#all", "#one", "#two", "#lone", "#end"]
    assert found.all("html")[0]["lang"] == "en"
    assert not found.all("script")
