"""``labelspace models``."""

from __future__ import annotations

import argparse
import textwrap

from labelspace import terminal
from labelspace.errors import UserError
from labelspace.models import about, names

_TITLES = {
    "purpose": "for",
    "avoid": "not when",
    "labels": "labels",
    "missing": "missing labels",
    "blocks": "blocks",
    "adversaries": "adversaries",
}


def models(given: argparse.Namespace) -> None:
    """What each model is for."""
    found = {}
    for name in names():
        try:
            found[name] = about(name)
        except UserError as error:  # of an installed package
            terminal.say(f"note: {error}")
    if given.json:
        terminal.emit(found)
        return
    for name, row in found.items():
        print(f"{name}  ({row['paper']})")
        for key, title in _TITLES.items():
            print(textwrap.fill(row[key], 100, initial_indent=f"  {title:<16}", subsequent_indent=" " * 18))
        print()
