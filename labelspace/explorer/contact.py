"""The contact sheet: several samples that the edit is done to at once, while the handle moves, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nicegui import background_tasks, ui
from torch import Tensor

from labelspace.errors import UserError
from labelspace.explorer import frames
from labelspace.explorer.hub import Hub
from labelspace.explorer.many import Followers
from labelspace.explorer.parts import Contact, Text
from labelspace.explorer.samples import Samples
from labelspace.explorer.steps import Step

_SIZES = (4, 8, 12, 16)
_CELLS = 8  # of a row, at most


class ContactSheet:
    """The first samples that the gallery has found, edited."""

    def __init__(self, hub: Hub, samples: Samples) -> None:
        self.hub, self.samples, self.shown = hub, samples, False
        self.followers: Followers | None = None
        with ui.element("div").classes("view stack"):
            with ui.element("div").classes("form"):
                self.n = ui.select(list(_SIZES), value=8, label="Samples", on_change=self.draw)
                self.n.props("dense outlined options-dense").classes("field")
                self.about = Text("p").classes("hint")
            self.sheet = Contact(hub.bench.is_image)
        hub.sheet = self
        hub.on_found.append(lambda: background_tasks.create(self.draw()))

    async def show(self, shown: bool) -> None:
        """The sheet is looked at, or not any more: only then it follows."""
        self.shown = shown
        if shown:
            await self.draw()

    async def draw(self) -> None:
        """Takes the samples that the gallery shows."""
        if not self.shown:
            return
        places = range(self.samples.start, min(self.samples.n, self.samples.start + int(self.n.value)))

        def work() -> tuple[Followers, list[dict[str, Any]], dict[str, Any]] | None:
            if not places:
                return None
            made = Followers(self.hub.session, self.samples.get(places))
            before = [{"name": one.name, **self._cell(one.x)} for one in made.samples]
            self.followers = made
            return made, before, self.frame()

        found = await self.hub.ask(work)
        self.sheet.set_visibility(found is not None)
        self.about.set_text(
            "What you do to the sample is done to these, too; search the gallery for others."
            if found
            else "No sample is found."
        )
        if found is not None:
            self.sheet.draw(found[1], found[2])

    def frame(self, step: Step | None = None) -> dict[str, Any]:
        """What is shown after the session's steps, and after one more."""
        if self.followers is None:
            return {}
        try:
            x = self.followers.edited(step)
        except UserError as error:
            return {"why": str(error)}
        if self.hub.bench.is_image:
            return {"cells": [self._cell(one) for one in x]}
        change = (x - self.followers.batch.x).abs().nan_to_num().amax(0)
        chosen = sorted(change.argsort(descending=True)[:_CELLS].tolist())
        return {"names": [self.hub.bench.features[i] for i in chosen], "cells": [self._texts(one, chosen) for one in x]}

    def _cell(self, x: Tensor) -> dict[str, Any]:
        return {"src": frames.url(frames.png(x))} if self.hub.bench.is_image else {}

    def _texts(self, x: Tensor, chosen: Sequence[int]) -> dict[str, Any]:
        return {"texts": [self.hub.bench.text(i, float(x[i])) for i in chosen]}
