"""Parts of the page that the browser draws: Vue components beside this file, and the elements that stand for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement
from nicegui.events import GenericEventArguments

from labelspace import glossary


class Text(TextElement):
    """A piece of text.

    Args:
        tag: the kind of element, "h2" for example.
        text: the text.
    """

    def __init__(self, tag: str, text: str = "") -> None:
        super().__init__(tag=tag, text=text)


def explain(element: Element, term: str) -> None:
    """Hover text of an element, and what screen readers say after its name: the meaning of a term."""
    meaning = glossary.meaning(term) or ""
    element.props["aria-description"] = meaning
    with element:
        ui.tooltip(meaning)


class LatentMap(Element, component="latent_map.js"):
    """A block's chart with the sample as a handle.

    Args:
        on_move: called with ``block``, ``point``, ``final`` (whether it was let go of) and ``number`` (of
            :meth:`Pictures.show`).
    """

    def __init__(self, on_move: Callable[[dict[str, Any]], Any]) -> None:
        super().__init__()
        self.on("move", lambda event: on_move(event.args))

    def draw(self, chart: dict[str, Any], point: tuple[float, ...], home: tuple[float, ...], label: str) -> None:
        """Shows a block: its chart, where the edit is, and where the sample's own code is."""
        self._props["chart"], self._props["label"] = chart, label
        self._props["point"], self._props["home"] = list(point), list(home)
        self.update()

    def place(self, point: tuple[float, ...], home: tuple[float, ...]) -> None:
        """Moves the handle."""
        if self._props["point"] != list(point) or self._props["home"] != list(home):
            self._props["point"], self._props["home"] = list(point), list(home)
            self.update()


class Pictures(Element, component="pictures.js"):
    """Pictures side by side.

    Args:
        items: per picture its key, title, text for screen readers (``alt``) and address (``src``).
    """

    def __init__(self, items: list[dict[str, str]]) -> None:
        super().__init__()
        self._props["items"] = items

    def show(self, sources: dict[str, str], number: int = 0) -> None:
        """New pictures by key; ``number`` is that of the handle's position that they are for."""
        self.run_method("show", sources, number)


class Bars(Element, component="bars.js"):
    """The entries of a vector as a table with bars.

    Args:
        rows: see :func:`labelspace.explorer.frames.rows`.
        ranges: feature name -> ends of its scale.
        classes: feature name -> names of its classes, of those that are classes.
    """

    def __init__(self, rows: list[dict[str, Any]], ranges: dict[str, list[float]], classes: dict[str, list[str]]) -> None:
        super().__init__()
        self._props["rows"], self._props["ranges"], self._props["classes"] = rows, ranges, classes

    def show(self, rows: list[dict[str, Any]], number: int = 0) -> None:
        """New rows; ``number`` as in :meth:`Pictures.show`."""
        self.run_method("show", rows, number)


class Gallery(Element, component="gallery.js"):
    """Samples to choose from.

    Args:
        label: for screen readers.
        pictures: whether the samples are pictures.
        on_choose: called with the id of what was chosen.
        empty: what is said when there is nothing to choose from.
    """

    def __init__(self, label: str, pictures: bool, on_choose: Callable[[Any], Any], empty: str) -> None:
        super().__init__()
        self._props.update({"items": [], "label": label, "pictures": pictures, "empty": empty})

        async def chosen(event: GenericEventArguments) -> None:
            await on_choose(event.args)

        self.on("choose", chosen)

    def fill(self, items: list[dict[str, Any]]) -> None:
        """The samples: per one its ``id``, ``name``, ``text`` (labels) and ``src`` (address of its picture)."""
        self._props["items"] = items
        self.update()

    def mark(self, selected: int | str | None, second: int | str | None = None) -> None:
        """Which one is chosen, and which is the donor."""
        self._props["selected"], self._props["second"] = selected, second
        self.update()
