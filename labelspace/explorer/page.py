"""The page of one tab: header, gallery, comparison, blocks, and the views below."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar
from urllib.parse import parse_qsl

from nicegui import run, ui
from nicegui.events import GenericEventArguments

from labelspace import errors, glossary
from labelspace.errors import UserError
from labelspace.explorer import frames, links, saved, views
from labelspace.explorer.blocks_panel import BlocksPanel
from labelspace.explorer.contact import ContactSheet
from labelspace.explorer.hub import Hub
from labelspace.explorer.parts import Bars, Pictures, Text, explain
from labelspace.explorer.samples import Samples
from labelspace.explorer.workbench import Workbench
from labelspace.maps import PCA

_PICTURES = {
    "original": ("Original", "The sample as it is"),
    "edit": ("Edit", "The edited sample"),
    "reconstruction": ("Reconstruction", "The sample encoded and decoded without any edit"),
    "difference": ("Difference", glossary.meaning("difference") or ""),
}
KEYS = """
document.addEventListener('keydown', (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.target.matches('input, textarea')) return;
  const key = event.key.toLowerCase();
  const name = key === 'z' && !event.shiftKey ? 'undo' : key === 'y' || key === 'z' ? 'redo' : '';
  if (!name) return;
  event.preventDefault();
  document.querySelector('.' + name)?.click();
});
window.addEventListener('popstate', () => emitEvent('labelspace:address', location.search));
"""
"""A script of every page: keys that undo and redo, and the browser's Back."""


class Page:
    """Builds the page for a tab.

    Args:
        bench: the run.
        address: address of a sample's picture, by its row.
        uploads: address that files are sent to.
        root: the path below which a proxy shows the page.
        state: what the page's address says of what to show; see :mod:`labelspace.explorer.links`.
    """

    writing: ClassVar[bool] = False  # whether a page is being saved: that takes much of the machine, and one is enough

    def __init__(
        self,
        bench: Workbench,
        address: Callable[[int], str],
        uploads: str = "",
        root: str = "",
        state: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.hub = hub = Hub(bench, address, uploads)
        self._restore(state)
        self._sample, self._query = hub.session.sample, ""
        self.dark = ui.dark_mode(None)
        ui.on("labelspace:address", self.went)
        with ui.element("div").classes("app"):
            self._header()
            samples = Samples(hub)
            with ui.element("div").classes("middle"):
                self._comparison()
                self._views(samples, state.get("view", ""))
            self.blocks = BlocksPanel(hub, state.get("block", ""), state.get("colour", ""), root, state.get("map", ""))
        hub.on_change.append(self.refresh)
        hub.on_change.append(self.remember)
        self.blocks.on_shown = self.remember
        self.tabs.on_value_change(self.turned)
        self.refresh()
        if self.tabs.value == "Sheet":
            ui.timer(0.1, lambda: self.sheet.show(True), once=True)

    async def turned(self) -> None:
        """Another view is looked at."""
        self.remember()
        await self.sheet.show(self.tabs.value == "Sheet")

    # -- a tab and its address ----------------------------------------------------------------------------------------

    @property
    def used(self) -> float:
        """When the tab was used last."""
        return self.hub.used

    def _restore(self, state: Mapping[str, str]) -> None:
        try:
            with errors.hearing():
                links.restore(self.hub.session, state)
        except UserError as error:
            self.hub.warn(error)

    def remember(self) -> None:
        """Puts what is shown into the address: a page that is loaded again, or opened by someone else, shows it, too. Back
        leads to the sample before."""
        session = self.hub.session
        shown = {"block": self.blocks.block, "view": str(self.tabs.value or "")}
        if self.blocks.colour:
            shown["colour"] = self.blocks.colour
        if self.blocks.method != PCA:
            shown["map"] = self.blocks.method
        query = links.query(session, shown) or ""
        if query == self._query:
            return
        way = "pushState" if session.sample is not self._sample else "replaceState"
        self._sample, self._query = session.sample, query
        there = json.dumps(f"?{query}") if query else "location.pathname"
        ui.run_javascript(f"history.{way}(null, '', {there})")

    async def went(self, event: GenericEventArguments) -> None:
        """The browser went back or on."""
        if not isinstance(event.args, str):  # what a browser sends may be anything
            return
        state = dict(parse_qsl(event.args.removeprefix("?")))
        self._query = event.args.removeprefix("?")

        def again() -> None:
            links.restore(self.hub.session, state)
            self._sample = self.hub.session.sample

        if await self.hub.change(again):
            await self.blocks.choose(state.get("block", self.blocks.block))

    def rest(self, why: str) -> None:
        """Lets go of all that the tab holds; its address is enough to go on."""
        self.hub.close()
        client = self.hub.client
        client.content.clear()
        with client.content, ui.element("div").classes("resting").props('role="alert"'):
            Text("h1", "This tab rests")
            Text("p", f"It was put to rest because {why}. What it showed is in its address.")
            go_on = Text("button", "Go on").props("type=button").classes("go-on")
            go_on.on("click", js_handler="() => location.reload()")

    # -- header -------------------------------------------------------------------------------------------------------

    def _header(self) -> None:
        bench, hub = self.hub.bench, self.hub
        with ui.element("header"):
            ui.html("<h1>labelspace</h1>", sanitize=False)
            Text("span", f"{bench.home.name} · {type(bench.model).__name__} · {bench.address}").classes("about")
            ui.element("span").classes("grow")
            self.undo = self._tool("undo", "Undo (Ctrl+Z)", hub.undo).classes("undo")
            self.redo = self._tool("redo", "Redo (Ctrl+Shift+Z)", hub.redo).classes("redo")
            self.reset = self._tool("restart_alt", "Reset all edits", hub.reset).classes("reset")
            self.detail = ui.switch("Keep detail", value=hub.session.keep_detail, on_change=self.keep_detail).classes("detail")
            self.detail.props('aria-label="Keep what the model could not reconstruct"')
            explain(self.detail, "keep detail")
            with ui.button("Copy").props('flat aria-label="Copy this edit"').classes("copy"), ui.menu():
                ui.menu_item("as a link", self.copy_link)
                ui.menu_item("as a command", self.copy_command)
                ui.menu_item("as Python lines", self.copy_python)
            with ui.button("Save").props('flat aria-label="Save this edit"').classes("save"), ui.menu():
                ui.menu_item("picture with its record" if bench.is_image else "sample with its record", self.save)
                self.large = ui.menu_item("picture at its own size", self.save_large)
                ui.menu_item("record (JSON)", self.save_record)
                ui.menu_item("page that needs no server", self.save_page)
            self._tool("contrast", "Light or dark", self.turn_dark)

    @staticmethod
    def _tool(icon: str, name: str, act: Callable[[], object]) -> ui.button:
        button = ui.button(icon=icon, on_click=act).props(f'flat dense aria-label="{name}"')
        with button:
            ui.tooltip(name)
        return button

    async def turn_dark(self) -> None:
        """From what is shown to the other."""
        dark = await ui.run_javascript("document.body.classList.contains('body--dark')")
        self.dark.set_value(not dark)

    async def keep_detail(self) -> None:
        """Details are kept or not, for all edits."""
        keep = bool(self.detail.value)
        if keep != self.hub.session.keep_detail and not await self.hub.change(lambda: self.hub.session.set_keep_detail(keep)):
            self.detail.set_value(self.hub.session.keep_detail)

    def refresh(self) -> None:
        """Shows what can be undone, and how the sample stands."""
        session = self.hub.session
        self.undo.set_enabled(session.can_undo)
        self.redo.set_enabled(session.can_redo)
        self.reset.set_enabled(bool(session.steps))
        self.detail.set_value(session.keep_detail)
        self.heading.set_text(session.sample.name)
        self.standing.set_text(session.standing)
        self.place.set_content(self.hub.bench.standing_picture(session.error))
        self.large.set_visibility(session.sample.large is not None)

    # -- comparison ---------------------------------------------------------------------------------------------------

    def _comparison(self) -> None:
        hub = self.hub
        with ui.element("section").classes("panel compare").props('aria-label="Comparison"'):
            with ui.element("div").classes("heading"):
                self.heading = Text("h2")
                self.standing = Text("span").classes("standing")
                self.place = ui.html(sanitize=False).classes("place")
                hub.live = Text("p").classes("live").props('aria-live="polite"')
            if hub.bench.is_image:
                sources = hub.frame(None).pictures
                hub.view = Pictures(
                    [{"key": key, "title": title, "alt": alt, "src": sources[key]} for key, (title, alt) in _PICTURES.items()]
                )
            else:
                hub.view = Bars(hub.frame(None).pictures, hub.bench.ranges, hub.bench.classes, self.change_cell)

    async def change_cell(self, feature: str, text: str) -> None:
        """An entry of the sample was written anew; the edit's steps are done to that sample."""
        session = self.hub.session
        if await self.hub.change(lambda: session.choose(session.with_cell(feature, text), keep_steps=True)):
            self.hub.say(f"{feature} changed to {text.strip() or 'missing'}")

    def _views(self, samples: Samples, first: str) -> None:
        hub = self.hub
        with ui.element("section").classes("panel views").props('aria-label="More to do with the sample"'):
            with ui.tabs().props("dense no-caps align=left inline-label narrow-indicator outside-arrows mobile-arrows") as tabs:
                names = ["Transfer", "Generate", "Grid", "Interpolate", "Sheet", "Nearest", "Many"]
                names += ["Truth"] if hub.bench.data.truth else []
                found = {name: ui.tab(name) for name in names}
                for name, tab in found.items():
                    explain(tab, name)
            self.tabs = tabs
            with ui.tab_panels(tabs, value=first if first in names else "Transfer", animated=False).props("keep-alive"):
                with ui.tab_panel(found["Transfer"]):
                    views.transfer(hub, samples)
                with ui.tab_panel(found["Generate"]):
                    views.Generate(hub, samples)
                with ui.tab_panel(found["Grid"]):
                    views.Grid(hub)
                with ui.tab_panel(found["Interpolate"]):
                    views.Interpolate(hub, samples)
                with ui.tab_panel(found["Sheet"]):
                    self.sheet = ContactSheet(hub, samples)
                with ui.tab_panel(found["Nearest"]):
                    views.nearest(hub)
                with ui.tab_panel(found["Many"]):
                    views.Several(hub, samples)
                if "Truth" in found:
                    with ui.tab_panel(found["Truth"]):
                        views.truth(hub)

    # -- taking it away -----------------------------------------------------------------------------------------------

    async def copy_link(self) -> None:
        """The address that shows the same."""
        if not self._query and self.hub.session.sample.uploaded:
            self.hub.warn("a picture of yours is in no link, nor is a row or an edit that is too long for an address")
            return
        self._copied(str(await ui.run_javascript("location.href")), "Link")

    async def copy_command(self) -> None:
        """The command that makes the same edit."""
        text = await self.hub.ask(self.hub.session.command)
        if text == "":
            self.hub.warn("this sample or edit has no name on the command line; copy the Python lines instead")
        elif text is not None:
            self._copied(text, "Command")

    async def copy_python(self) -> None:
        """Python lines that make the same edit."""
        text = await self.hub.ask(self.hub.session.python)
        if text is not None:
            self._copied(text, "Python lines")

    def _copied(self, text: str, what: str) -> None:
        """Copies, and shows what was copied: a browser may refuse the clipboard on addresses without https."""
        ui.clipboard.write(text)
        with ui.dialog().props(f'aria-label="{what}"') as dialog, ui.element("div").classes("copied"):
            Text("h2", f"{what} of this edit")
            Text("p", "On the clipboard, where the browser allows it.").classes("hint")
            Text("pre", text).props("tabindex=0")
            ui.button("Close", on_click=dialog.close).props("flat")
        dialog.on("hide", dialog.delete)
        dialog.open()

    async def save(self) -> None:
        """The edited sample as a file that holds its record."""
        found = await self.hub.ask(self.hub.session.saved)
        if found is not None:
            ui.download.content(found[1], found[0])

    async def save_large(self) -> None:
        """The uploaded picture, edited."""
        found = await self.hub.ask(self.hub.session.saved_large)
        if found is not None:
            ui.download.content(found[1], found[0])

    async def save_record(self) -> None:
        """The record alone."""
        found = await self.hub.ask(self.hub.session.record_json)
        if found is not None:
            ui.download.content(found, "edit.json", "application/json")

    async def save_page(self) -> None:
        """The run as one file in which its model is edited by whoever opens it."""
        bench, row = self.hub.bench, self.hub.session.sample.row
        if Page.writing:
            self.hub.warn("a page is being made already; it takes a minute or two")
            return
        Page.writing = True
        self.hub.say("the page is being made, which takes a minute or two")
        try:
            found = await run.io_bound(saved.write, bench, [] if row is None else [row])
        except UserError as error:
            self.hub.warn(error)
            return
        finally:
            Page.writing = False
        if found is None or self.hub.client.is_deleted:  # the server is about to end, or nobody waits any more
            return
        content, lost = found
        with self.hub.client:
            ui.download.content(content, f"{bench.home.resolve().name}.html", "text/html")
        for what in lost:
            self.hub.warn(f"so that the page has room: {what}")
        self.hub.say(f"page made ({len(content) / 1e6:.1f} MB)")


def picture(bench: Workbench, row: int) -> bytes:
    """A sample of the data as PNG, for the gallery."""
    return frames.png(bench.data.samples([row])[0], level=6)
