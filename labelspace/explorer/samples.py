"""The left side of the page: the gallery with its search, and uploads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from nicegui import run, ui
from nicegui.events import UploadEventArguments

from labelspace.errors import UserError
from labelspace.explorer import uploads
from labelspace.explorer.hub import Hub
from labelspace.explorer.parts import Gallery, Text
from labelspace.explorer.steps import Sample, short

_PAGE = 48


class Samples:
    """Chooses the sample, or the donor."""

    def __init__(self, hub: Hub) -> None:
        self.hub, self.rows, self.start = hub, hub.bench.gallery, 0
        names = hub.bench.data.schema.names
        example = f"{names[0]}=1" if names and hub.bench.data.schema[names[0]].kind == "binary" else "test:0"
        with ui.element("section").classes("panel samples").props('aria-label="Samples"'):
            with ui.element("div").classes("heading"):
                ui.html("<h2>Samples</h2>", sanitize=False)
                self.role = ui.toggle({"sample": "Sample", "donor": "Donor"}, value="sample")
                self.role.props('dense no-caps unelevated aria-label="What a click in the gallery chooses"')
            self.search = ui.input(label="Search by label", placeholder=f"{example}, test:7").props("dense outlined clearable")
            self.search.props("debounce=250").on_value_change(self.find)
            self.message = Text("p").classes("message").props('role="alert"')
            self.gallery = Gallery("Samples", hub.bench.is_image, self.choose, "No sample is like that.")
            with ui.element("div").classes("pages"):
                self.back = ui.button(icon="chevron_left", on_click=lambda: self.turn(-1))
                self.back.props('flat dense aria-label="Samples before these"')
                self.where = Text("span").props('aria-live="polite"')
                self.on = ui.button(icon="chevron_right", on_click=lambda: self.turn(1))
                self.on.props('flat dense aria-label="More samples"')
            if hub.bench.is_image:
                self._uploader()
        hub.on_change.append(self.mark)
        self.fill()

    def _uploader(self) -> None:
        self.upload = ui.upload(
            label="Your own picture",
            auto_upload=True,
            max_file_size=uploads.MOST_BYTES,
            on_upload=self.uploaded,
            on_rejected=lambda: self.hub.warn(f"a picture of up to {uploads.MOST_BYTES / 1e6:.0f} MB can be uploaded"),
        )
        self.upload.classes("upload").props('flat bordered hide-upload-btn accept="image/*" aria-label="Upload a picture"')

    # -- the gallery --------------------------------------------------------------------------------------------------

    def find(self) -> None:
        """Shows what the search text describes."""
        try:
            self.rows, self.start = self.hub.bench.search(self.search.value or ""), 0
            self.message.set_text("")
        except UserError as error:
            self.message.set_text(str(error))
        self.fill()

    def turn(self, way: int) -> None:
        """Shows the samples before or after these."""
        self.start = int(np.clip(self.start + way * _PAGE, 0, max(0, len(self.rows) - 1) // _PAGE * _PAGE))
        self.fill()

    def fill(self) -> None:
        """Puts the found samples into the gallery."""
        part = self.rows[self.start : self.start + _PAGE]
        self.gallery.fill([self._item(int(row)) for row in part])
        self.mark()
        self.where.set_text(f"{self.start + 1} to {self.start + len(part)} of {len(self.rows):,}" if len(part) else "none")
        self.back.set_enabled(self.start > 0)
        self.on.set_enabled(self.start + _PAGE < len(self.rows))

    def _item(self, row: int) -> dict[str, Any]:
        known = {name: value for name, value in self.hub.bench.values(row).items() if value is not None}
        text = ", ".join(f"{name} {short(value)}" for name, value in known.items())
        item = {"id": row, "name": self.hub.bench.name(row), "text": text}
        return {**item, "src": self.hub.address(row)} if self.hub.bench.is_image else item

    def mark(self) -> None:
        """Marks the sample and the donor."""
        session = self.hub.session
        self.gallery.mark(session.sample.row, session.donor.row if session.donor else None)

    async def choose(self, row: int) -> None:
        """A sample was chosen in the gallery."""
        if not self.hub.bench.has(row):  # what a browser sends may be anything
            return
        await self.take(lambda: self.hub.session.of_data(row))

    async def take(self, make: Callable[[], Sample]) -> None:
        """Makes a sample the one that is edited, or the donor."""
        session = self.hub.session
        if self.role.value == "donor":

            def job() -> None:
                session.donor = make()

            await self.hub.change(job)
        elif await self.hub.change(lambda: session.choose(make())):
            self.chosen()

    def chosen(self) -> None:
        """Says which sample is shown, and puts it into the address: a page that is loaded again shows it again."""
        sample = self.hub.session.sample
        self.hub.say(f"{sample.name} chosen")
        there = "location.pathname" if sample.row is None else f"'?sample={sample.name}'"
        ui.run_javascript(f"history.replaceState(null, '', {there})")

    # -- uploads ------------------------------------------------------------------------------------------------------

    async def uploaded(self, event: UploadEventArguments) -> None:
        """A picture came; what it is decides its content."""
        self.upload.reset()
        bench = self.hub.bench
        content = await event.file.read()
        try:
            x = await run.io_bound(uploads.read_upload, content, tuple(bench.model.shape), bench.model.framing)
        except UserError as error:
            self.hub.warn(error)
            return
        if x is None:  # the server is about to end
            return
        sample = Sample(uploads.safe_name(event.file.name), x)
        distance = await self.hub.ask(lambda: bench.distance(sample.x))
        await self.take(lambda: sample)
        if distance is not None and distance.warning:
            self.hub.warn(distance.warning)
