"""Who imports whom: every arrow between rooms goes down, and what few need is imported by few."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def rooms(program: Callable[[str], ModuleType]) -> ModuleType:
    return program("docs/rooms.py")


def test_rooms_are_in_order(rooms: ModuleType) -> None:
    arrows = rooms.arrows()
    assert sorted(rooms.ORDER) == sorted(arrows), "ORDER in docs/rooms.py names every room once"
    assert rooms.upwards(arrows) == []
    rooms.floors(arrows)  # no circles


def test_an_arrow_upwards_is_named_with_its_file(rooms: ModuleType) -> None:
    arrows = {"errors": {"training": ["errors"]}, "training": {"errors": ["training.fit"]}}
    assert rooms.upwards(arrows) == ["errors imports training"]
    with pytest.raises(ValueError, match="a circle: errors -> training -> errors"):
        rooms.floors(arrows)


def test_experiments_and_speed_stay_out_of_what_others_import(rooms: ModuleType) -> None:
    apart = {"experiments", "speed"}
    users = {
        name
        for name, path in rooms.modules().items()
        if name.split(".")[0] not in apart and apart & {target.split(".")[0] for target in rooms.imports(path)}
    }
    assert users == {"commands.bench", "commands.compare", "commands.reproduce"}
    importers = [name for name, path in rooms.modules().items() if users & set(rooms.imports(path))]
    assert importers == []  # the command line imports a command when it is called


def test_commands_start_without_what_they_may_not_need() -> None:
    """Lightning, Matplotlib and SciPy's statistics each take as long to import as a small model to train."""
    commands = ["arrays", "data", "edit", "explain", "explore", "models", "train", "whole"]  # the others draw
    heavy = ["lightning_fabric", "matplotlib.figure", "scipy.stats", "sklearn", "nicegui"]
    imports = ", ".join(f"labelspace.commands.{name}" for name in commands)
    asked = f"import sys, {imports}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
