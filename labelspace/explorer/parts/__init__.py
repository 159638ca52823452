"""Parts of the page that the browser draws: Vue components beside this file, and the elements that stand for them."""

from __future__ import annotations

import math
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


def whole(field: ui.number, low: int, high: int) -> int:
    """The whole number in a field, from ``low`` to ``high``; ``low`` where there is none: a browser may send anything."""
    value = field.value
    return int(min(max(value, low), high)) if isinstance(value, int | float) and not math.isnan(value) else low


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

        async def moved(event: GenericEventArguments) -> None:
            match event.args:  # what a browser sends may be anything
                case {"block": str(), "point": list(point), "final": bool(), "number": int()} if all(
                    isinstance(v, int | float) and abs(v) < 1e30 for v in point
                ):
                    await on_move(event.args)

        self.on("move", moved)

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
        on_change: called with a feature's name and the text that a user wrote in the sample's cell.
    """

    def __init__(
        self,
        rows: list[dict[str, Any]],
        ranges: dict[str, list[float]],
        classes: dict[str, list[str]],
        on_change: Callable[[str, str], Any],
    ) -> None:
        super().__init__()
        self._props["rows"], self._props["ranges"], self._props["classes"] = rows, ranges, classes

        async def changed(event: GenericEventArguments) -> None:
            match event.args:  # what a browser sends may be anything
                case {"name": str(name), "text": str(text)}:
                    await on_change(name, text[:200])

        self.on("cell", changed)

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
            for item in self._props["items"]:  # what a browser sends may be anything
                if type(event.args) is type(item["id"]) and event.args == item["id"]:
                    await on_choose(item["id"])
                    return

        self.on("choose", chosen)

    def fill(self, items: list[dict[str, Any]]) -> None:
        """The samples: per one its ``id``, ``name``, ``text`` (labels) and ``src`` (address of its picture)."""
        self._props["items"] = items
        self.update()

    def mark(self, selected: int | str | None, second: int | str | None = None) -> None:
        """Which one is chosen, and which is the donor."""
        self._props["selected"], self._props["second"] = selected, second
        self.update()


class Contact(Element, component="contact.js"):
    """Several samples that follow the edit.

    Args:
        pictures: whether the samples are pictures.
    """

    def __init__(self, pictures: bool) -> None:
        super().__init__()
        self._props.update({"items": [], "first": {"cells": []}, "pictures": pictures})

    def draw(self, items: list[dict[str, Any]], state: dict[str, Any]) -> None:
        """Other samples: per one its ``name`` and, of a picture, its address ``src``; and what :meth:`show` takes."""
        self._props["items"], self._props["first"] = items, state
        self.update()

    def show(self, state: dict[str, Any], number: int = 0) -> None:
        """What became of them: ``cells`` with a ``src`` or ``texts`` each, and ``names`` of the texts; or ``why`` there is
        nothing. ``number`` as in :meth:`Pictures.show`."""
        self.run_method("show", state, number)


class Readings(Element, component="readings.js"):
    """Rows of labels with a :class:`Reading` each, and a line on the codes.

    Args:
        first: see :meth:`labelspace.explorer.session.Session.reading`.
    """

    def __init__(self, first: dict[str, Any]) -> None:
        super().__init__()
        self._props["first"] = first

    def show(self, read: dict[str, Any], number: int = 0) -> None:
        """New readings; ``number`` as in :meth:`Pictures.show`."""
        self.run_method("show", read, number)


class Reading(Element, component="reading.js"):
    """What the model reads of one label; somewhere in :class:`Readings`."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self._props["label"], self._props["about"] = label, glossary.meaning("reads") or ""


class Slide(Element, component="number.js"):
    """A number as a slider with the data's histogram, and as a field.

    Args:
        label: for screen readers.
        low, high: the data's range.
        counts: of the histogram's bins.
        value: None where it is not known.
        on_set: called with the value, ``final`` (whether it was let go of) and ``number`` (of :meth:`Pictures.show`).
        placeholder: what the empty field shows.
    """

    def __init__(
        self,
        label: str,
        low: float,
        high: float,
        counts: list[int],
        value: float | None,
        on_set: Callable[[float | None, bool, int], Any],
        placeholder: str = "",
    ) -> None:
        super().__init__()
        self._props.update(
            {"label": label, "low": low, "high": high, "counts": counts, "value": value, "placeholder": placeholder}
        )

        async def was_set(event: GenericEventArguments) -> None:
            match event.args:  # what a browser sends may be anything
                case {"value": int() | float() | None as given, "final": bool(final), "number": int(number)}:
                    await on_set(given, final, number)

        self.on("set", was_set)

    @property
    def value(self) -> float | None:
        """What it shows."""
        return self._props["value"]

    def show(self, value: float | None) -> None:
        """Another value."""
        if self._props["value"] != value:
            self._props["value"] = value
            self.update()


class Upload(Element, component="upload.js"):
    """A button that takes a file of the user's.

    Args:
        to: the address that it is sent to.
        label: what the button says.
        accept: kinds of files that the browser offers.
        most: bytes.
        on_refused: called with why the browser could not send it.
    """

    def __init__(self, to: str, label: str, accept: str, most: int, on_refused: Callable[[str], Any]) -> None:
        super().__init__()
        self._props.update({"to": to, "label": label, "accept": accept, "most": most})
        self.on("refused", lambda event: on_refused(str(event.args)[:300]))
