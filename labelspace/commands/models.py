"""``labelspace models``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from labelspace import terminal
from labelspace.models import MODELS, model_class


def models(given: argparse.Namespace) -> None:
    """What each model is for."""
    about = {name: asdict(model_class(name).about) for name in MODELS}
    if given.json:
        terminal.emit(about)
        return
    columns = ["model", "for", "not when", "labels", "missing labels", "blocks", "adversaries", "paper"]
    terminal.table(columns, [(name, *row.values()) for name, row in about.items()])
