"""The left side of the page: the gallery with its search, and what users bring: pictures, rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from nicegui import ui

from labelspace.errors import UserError
from labelspace.explorer import rows, uploads
from labelspace.explorer.hub import Hub
from labelspace.explorer.parts import Gallery, Text, Upload
from labelspace.explorer.steps import Sample, short

_PAGE = 48


class Samples:
    """Chooses the sample, or the donor."""

    def __init__(self, hub: Hub) -> None:
        self.hub, self.start = hub, 0
        self.rows: np.ndarray = hub.bench.gallery
        self.own: list[Sample] = []  # rows that the user brought
        with ui.element("section").classes("panel samples").props('aria-label="Samples"'):
            with ui.element("div").classes("heading"):
                ui.html("<h2>Samples</h2>", sanitize=False)
                self.role = ui.toggle({"sample": "Sample", "donor": "Donor"}, value="sample")
                self.role.props('dense no-caps unelevated aria-label="What a click in the gallery chooses"')
            self.shelf = ui.select({"data": "the run's data"}, value="data", label="From", on_change=self.find)
            self.shelf.props("dense outlined options-dense").classes("shelf").set_visibility(False)
            self.search = ui.input(label="Search by label", placeholder=f"{hub.bench.example}, test:7")
            self.search.props("dense outlined clearable debounce=250").on_value_change(self.find)
            self.message = Text("p").classes("message").props('role="alert"')
            self.gallery = Gallery("Samples", hub.bench.is_image, self.choose, "No sample is like that.")
            with ui.element("div").classes("pages"):
                self.back = ui.button(icon="chevron_left", on_click=lambda: self.turn(-1))
                self.back.props('flat dense aria-label="Samples before these"')
                self.where = Text("span").props('aria-live="polite"')
                self.on = ui.button(icon="chevron_right", on_click=lambda: self.turn(1))
                self.on.props('flat dense aria-label="More samples"')
            with ui.element("div").classes("bring"):
                self._bring()
        hub.on_change.append(self.mark)
        self.fill()

    def _bring(self) -> None:
        """Ways to bring samples of one's own."""
        hub = self.hub
        if hub.bench.is_image:
            hub.takes["picture"] = self.uploaded
            Upload(f"{hub.uploads}/picture", "Your own picture", "image/*", uploads.MOST_BYTES, hub.warn)
            return
        hub.takes["rows"] = self.uploaded_rows
        Upload(f"{hub.uploads}/rows", "Your file of rows", ",".join(rows.KINDS), uploads.MOST_BYTES, hub.warn)
        ui.button("Paste rows", on_click=self.ask_rows).props("outline dense")

    # -- the gallery --------------------------------------------------------------------------------------------------

    @property
    def shows_own(self) -> bool:
        return self.shelf.value == "own" and bool(self.own)

    @property
    def n(self) -> int:
        """How many samples are found."""
        return len(self.own) if self.shows_own else len(self.rows)

    def get(self, places: Sequence[int]) -> list[Sample]:
        """Found samples by their places."""
        if self.shows_own:
            return [self.own[i] for i in places]
        return self.hub.session.of_rows([int(self.rows[i]) for i in places])

    def find(self) -> None:
        """Shows what the search text describes."""
        self.search.set_visibility(not self.shows_own)
        self.start = 0
        try:
            self.rows = self.hub.bench.search(str(self.search.value or ""))
            self.message.set_text("")
        except UserError as error:
            self.message.set_text(str(error))
        self.fill()

    def turn(self, way: int) -> None:
        """Shows the samples before or after these."""
        self.start = int(np.clip(self.start + way * _PAGE, 0, max(0, self.n - 1) // _PAGE * _PAGE))
        self.fill()

    def fill(self) -> None:
        """Puts the found samples into the gallery."""
        places = range(self.start, min(self.n, self.start + _PAGE))
        items = [self._own_item(i) if self.shows_own else self._item(int(self.rows[i])) for i in places]
        self.gallery.fill(items)
        self.mark()
        self.where.set_text(f"{self.start + 1} to {self.start + len(items)} of {self.n:,}" if items else "none")
        self.back.set_enabled(self.start > 0)
        self.on.set_enabled(self.start + _PAGE < self.n)
        for told in self.hub.on_found:
            told()

    def _item(self, row: int) -> dict[str, Any]:
        item = {"id": row, "name": self.hub.bench.name(row), "text": _said(self.hub.bench.values(row))}
        return {**item, "src": self.hub.address(row)} if self.hub.bench.is_image else item

    def _own_item(self, i: int) -> dict[str, Any]:
        known = self.hub.bench.decoded(self.own[i].labels)
        return {"id": f"own:{i}", "name": self.own[i].name, "text": _said(known)}

    def mark(self) -> None:
        """Marks the sample and the donor."""
        session = self.hub.session
        self.gallery.mark(self._id(session.sample), self._id(session.donor) if session.donor else None)

    def _id(self, sample: Sample) -> int | str | None:
        if sample.row is not None:
            return sample.row
        return next((f"own:{i}" for i, one in enumerate(self.own) if one is sample), None)

    async def choose(self, chosen: int | str) -> None:
        """A sample was chosen in the gallery."""
        own = {f"own:{i}": one for i, one in enumerate(self.own)}
        if isinstance(chosen, str) and chosen in own:
            await self.take(lambda: own[chosen])
        elif self.hub.bench.has(chosen):  # what a browser sends may be anything
            await self.take(lambda: self.hub.session.of_data(int(chosen)))

    async def take(self, make: Callable[[], Sample]) -> None:
        """Makes a sample the one that is edited, or the donor."""
        session = self.hub.session
        if self.role.value == "donor":

            def job() -> None:
                session.donor = make()

            await self.hub.change(job)
        elif await self.hub.change(lambda: session.choose(make())):
            self.hub.say(f"{session.sample.name} chosen")

    # -- what users bring ---------------------------------------------------------------------------------------------

    async def uploaded(self, name: str, content: bytes) -> None:
        """A picture came; what it is decides its content."""
        bench = self.hub.bench

        def read() -> tuple[Sample, str]:
            x = uploads.read_upload(content, tuple(bench.model.shape), bench.model.framing)
            large = uploads.read_large(content, tuple(bench.model.shape), bench.model.framing)
            return Sample(uploads.safe_name(name), x, large=large), bench.distance(x).warning

        found = await self.hub.ask(read)
        if found is None:
            return
        sample, warning = found
        await self.take(lambda: sample)
        if warning:
            self.hub.warn(warning)

    async def uploaded_rows(self, name: str, content: bytes) -> None:
        """A file of rows came."""
        bench, called = self.hub.bench, uploads.safe_name(name)
        await self._put(called, lambda: rows.read(bench.model, bench.home, called, content))

    async def ask_rows(self) -> None:
        """Asks for rows to be pasted."""
        bench = self.hub.bench
        few = bench.features[:4]
        with ui.dialog().props('aria-label="Paste rows"') as dialog, ui.element("div").classes("copied"):
            Text("h2", "Paste rows")
            Text(
                "p",
                "Cells with commas, semicolons or tabs between them; the first line may name the columns. Without one they are "
                f"{', '.join(few)}{' and so on' if len(bench.features) > len(few) else ''}. Empty cells are missing.",
            ).classes("hint")
            text = ui.textarea(label="Rows", value=self.hub.session.row_text()).props("outlined autofocus").classes("pasted")

            async def read() -> None:
                pasted = str(text.value or "")[: uploads.MOST_BYTES]
                if await self._put("pasted", lambda: rows.paste(bench.model, bench.home, pasted, bench.features)):
                    dialog.close()

            with ui.element("div").classes("tools"):
                ui.button("Show them", on_click=read)
                ui.button("Cancel", on_click=dialog.close).props("flat")
        dialog.on("hide", dialog.delete)
        dialog.open()

    async def _put(self, called: str, read: Callable[[], Any]) -> bool:
        """Reads rows, shows them in the gallery and chooses the first."""

        def work() -> list[Sample]:
            x, (values, observed) = read()
            made = self.hub.session.typed
            return [made(x[i], f"{called}:{i}", (values[i : i + 1], observed[i : i + 1])) for i in range(len(x))]

        found = await self.hub.ask(work)
        if not found:
            return False
        self.own = found
        self.shelf.set_options({"data": "the run's data", "own": f"{called} ({len(found):,})"}, value="own")
        self.shelf.set_visibility(True)
        self.find()
        await self.take(lambda: found[0])
        return True


def _said(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {short(value)}" for name, value in values.items() if value is not None)
