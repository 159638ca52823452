"""``labelspace explain``: what the terms of logs, tables and reports mean."""

from __future__ import annotations

import argparse
import itertools
import textwrap

from labelspace import glossary, terminal
from labelspace.glossary import Entry
from labelspace.reporting.tables import markdown


def explain(given: argparse.Namespace) -> None:
    """Explains terms, or all by group."""
    found = [(term, entry) for term in given.terms for entry in glossary.find(term)]
    if given.markdown:
        print(page(), end="")
    elif given.json:
        terminal.emit([entry.to_dict() for _, entry in found] if given.terms else [e.to_dict() for e in glossary.entries()])
    elif given.terms:
        for term, entry in found:
            _print(term, entry)
    else:
        for group, own in _groups():
            print(f"{group}  ({own[0].page})")
            for entry in own:
                shown = entry.meaning + (f" ({', '.join(entry.models)})" if _of_some(entry) else "")
                print(textwrap.fill(shown, 120, initial_indent=f"  {entry.term:<30}", subsequent_indent=" " * 32))
            print()


def page() -> str:
    """All terms as a page of the documentation."""
    lines = [
        "# Glossary",
        "",
        "What logs, tables, reports and the explorer show, in one line each: `labelspace explain TERM`. This page is made by "
        "`make glossary`.",
        "",
    ]
    for group, own in _groups():
        with_models = group == glossary.ARGUMENTS
        header = ["term", "meaning", "of models" if with_models else "equation"]
        rows = [
            [
                f"`{e.term}`",
                _cell(e.meaning),
                (", ".join(e.models) if _of_some(e) else "all") if with_models else _code(e.symbol),
            ]
            for e in own
        ]
        shown = own[0].page.removeprefix("docs/")
        lines += [f"## {group.capitalize()}", "", f"More: [{shown}]({shown}).", "", markdown(header, rows)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _groups() -> list[tuple[str, list[Entry]]]:
    return [(group, [*own]) for group, own in itertools.groupby(glossary.entries(), lambda entry: entry.group)]


def _of_some(entry: Entry) -> bool:
    """Whether an argument is not one of all models."""
    from labelspace.models import MODELS

    return bool(entry.models) and len(entry.models) < len(MODELS)


def _print(term: str, entry: Entry) -> None:
    of = f" of {', '.join(entry.models)}" if _of_some(entry) else ""
    known = "" if entry.named(term) else f": {entry.term}"
    print(f"{term}{known}  ({entry.group}{of}; {entry.page})")
    for line in filter(None, (entry.meaning, entry.symbol)):
        print(textwrap.fill(line, 120, initial_indent="  ", subsequent_indent="  "))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(symbol: str) -> str:
    return f"`{_cell(symbol)}`" if symbol else ""
