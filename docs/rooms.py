"""The rooms of the package and who imports whom, read from the source: ``python docs/rooms.py`` draws docs/images/rooms.svg.

A room is a folder or a single file directly below ``labelspace/``. An arrow goes from a room to one that it imports, whether at
the top of a file or inside a function; what is imported only for type checkers is no arrow. A room's floor is the length of
the longest way down from it, so arrows can only go down where there is no circle.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "labelspace"
PICTURE = Path(__file__).resolve().parent / "images" / "rooms.svg"
BY_NAME = {"cli": {"commands": ["cli"]}}  # commands are imported by their names, when they are called
DOORS = ("__init__", "__main__")  # what users import and call: they may reach into every room
# Lowest first: a room imports only rooms that are named before it.
ORDER = [
    "errors", "cores", "precision", "optimizers", "plugins", "distributions", "blocks", "labels", "likelihoods", "storage",
    "surroundings", "variables", "data", "metrics", "models", "terminal", "interventions", "maps", "saving",
    "training", "config", "glossary", "evaluation", "reporting", "results", "export", "explorer", "sklearn",
    "experiments", "speed", "commands", "cli",
]  # fmt: skip


def modules() -> dict[str, Path]:
    """Dotted name below the package -> file, of every module."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Dotted names below the package that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for part in block.body
        for node in ast.walk(part)
    }
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "labelspace":
            base = node.module.split(".")[1:]
            yield from (".".join([*base, alias.name]) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("labelspace."))


def arrows() -> dict[str, dict[str, list[str]]]:
    """Room -> rooms that it imports -> the files that do."""
    known = modules()
    rooms = {name.split(".")[0] for name in known} - set(DOORS)
    found: dict[str, dict[str, list[str]]] = {room: dict(BY_NAME.get(room, {})) for room in sorted(rooms)}
    for name, path in known.items():
        room = name.split(".")[0]
        if room in DOORS:
            continue
        for target in imports(path):
            other = target.split(".")[0]
            if other in rooms and other != room:
                files = found[room].setdefault(other, [])
                files += [name] if name not in files else []
    return found


def floors(found: dict[str, dict[str, list[str]]]) -> dict[str, int]:
    """Room -> floor. Raises ValueError where rooms import each other in a circle."""
    out: dict[str, int] = {}

    def floor(room: str, above: tuple[str, ...] = ()) -> int:
        if room in above:
            raise ValueError("a circle: " + " -> ".join([*above[above.index(room) :], room]))
        if room not in out:
            out[room] = 1 + max((floor(other, (*above, room)) for other in found[room]), default=-1)
        return out[room]

    for room in found:
        floor(room)
    return out


def upwards(found: dict[str, dict[str, list[str]]]) -> list[str]:
    """Every import that goes up in ``ORDER``, as "file imports room"; also of rooms that are not in it."""
    level = {room: i for i, room in enumerate(ORDER)}
    return [
        f"{file} imports {other}"
        for room, others in found.items()
        for other, files in others.items()
        if not level.get(other, len(ORDER)) < level.get(room, -1)
        for file in files
    ]


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def summary() -> str:
    """Files, lines, rooms, floors, arrows and the longest files, as text."""
    known, found = modules(), arrows()
    sizes = sorted(((lines(path), name) for name, path in known.items()), reverse=True)
    return "\n".join(
        [
            f"{len(known)} files, {sum(size for size, _ in sizes):,} lines, {len(found)} rooms, "
            f"{1 + max(floors(found).values())} floors, {sum(map(len, found.values()))} arrows",
            "longest: " + ", ".join(f"{name} {size}" for size, name in sizes[:8]),
        ]
    )


def draw() -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "labelspace"  # the same bytes every time
    import matplotlib.pyplot as plt

    found = arrows()
    level = floors(found)
    sizes = {room: sum(lines(p) for n, p in modules().items() if n.split(".")[0] == room) for room in found}
    height = 1 + max(level.values())
    place = {}
    for floor in range(height):
        here = [room for room in found if level[room] == floor]
        # beside what it stands on, so that arrows are short
        here.sort(key=lambda room: sum(place[o][0] for o in found[room]) / max(1, len(found[room])))
        place |= {room: ((i + 0.5) / len(here), floor) for i, room in enumerate(here)}
    figure, axes = plt.subplots(figsize=(11, 0.95 * height))
    for room, others in found.items():
        for other in others:
            # What can be reached by way of a third room is drawn faintly.
            by_way = any(other in found[third] for third in others if third != other)
            axes.annotate(
                "",
                place[other],
                place[room],
                arrowprops={
                    "arrowstyle": "-",
                    "color": "#c9d1da" if by_way else "#5b6f86",
                    "lw": 0.4 if by_way else 0.9,
                    "zorder": 0,
                },
            )
    for room, (x, y) in place.items():
        axes.text(
            x,
            y,
            f"{room}\n{sizes[room]:,}",
            ha="center",
            va="center",
            fontsize=8,
            bbox={"boxstyle": "round,pad=0.35", "facecolor": "#eef3f8", "edgecolor": "#5b6f86", "lw": 0.8},
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.6, height - 0.4)
    axes.axis("off")
    figure.tight_layout()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    print(summary())
    if "--count" not in sys.argv:
        draw()
