"""The page of one tab: header, gallery, comparison, blocks, and the views below."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from labelspace import glossary
from labelspace.errors import UserError
from labelspace.explorer import frames, views
from labelspace.explorer.blocks_panel import BlocksPanel
from labelspace.explorer.hub import Hub
from labelspace.explorer.parts import Bars, Pictures, Text, explain
from labelspace.explorer.samples import Samples
from labelspace.explorer.workbench import Workbench

_PICTURES = {
    "original": ("Original", "The sample as it is"),
    "edit": ("Edit", "The edited sample"),
    "reconstruction": ("Reconstruction", "The sample encoded and decoded without any edit"),
    "difference": ("Difference", glossary.meaning("difference") or ""),
}
_KEYS = """
document.addEventListener('keydown', (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.target.matches('input, textarea')) return;
  const key = event.key.toLowerCase();
  const name = key === 'z' && !event.shiftKey ? 'undo' : key === 'y' || key === 'z' ? 'redo' : '';
  if (!name) return;
  event.preventDefault();
  document.querySelector('.' + name)?.click();
});
"""


class Page:
    """Builds the page for a tab.

    Args:
        bench: the run.
        address: address of a sample's picture, by its row.
        sample: name of the sample to begin with; empty for the first one.
    """

    def __init__(self, bench: Workbench, address: Callable[[int], str], sample: str = "") -> None:
        self.hub = hub = Hub(bench, address)
        if sample:
            try:
                hub.session.choose(hub.session.of_data(bench.row(sample)))
            except UserError as error:
                hub.warn(error)
        self.dark = ui.dark_mode(None)
        ui.add_body_html(f"<script>{_KEYS}</script>")
        with ui.element("div").classes("app"):
            self._header()
            samples = Samples(hub)
            with ui.element("main").classes("middle"):
                self._comparison()
                self._views(samples)
            BlocksPanel(hub)
        hub.on_change.append(self.refresh)
        self.refresh()

    # -- header -------------------------------------------------------------------------------------------------------

    def _header(self) -> None:
        bench, session = self.hub.bench, self.hub.session
        with ui.element("header"):
            ui.html("<h1>labelspace</h1>", sanitize=False)
            Text("span", f"{bench.home.name} · {type(bench.model).__name__} · {bench.data.address}").classes("about")
            ui.element("span").classes("grow")
            self.undo = self._tool("undo", "Undo (Ctrl+Z)", lambda: self.hub.change(session.undo)).classes("undo")
            self.redo = self._tool("redo", "Redo (Ctrl+Shift+Z)", lambda: self.hub.change(session.redo)).classes("redo")
            self.reset = self._tool("restart_alt", "Reset all edits", lambda: self.hub.change(session.reset)).classes("reset")
            self.detail = ui.switch("Keep detail", on_change=self.keep_detail).classes("detail")
            self.detail.props('aria-label="Keep what the model could not reconstruct"')
            explain(self.detail, "keep detail")
            with ui.button("Copy").props('flat aria-label="Copy this edit"').classes("copy"), ui.menu():
                ui.menu_item("as a command", self.copy_command)
                ui.menu_item("as Python lines", self.copy_python)
            with ui.button("Save").props('flat aria-label="Save this edit"').classes("save"), ui.menu():
                ui.menu_item("picture with its record" if bench.is_image else "sample with its record", self.save)
                ui.menu_item("record (JSON)", self.save_record)
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
        """Shows what can be undone."""
        session = self.hub.session
        self.undo.set_enabled(session.can_undo)
        self.redo.set_enabled(session.can_redo)
        self.reset.set_enabled(bool(session.steps))
        self.heading.set_text(session.sample.name)

    # -- comparison ---------------------------------------------------------------------------------------------------

    def _comparison(self) -> None:
        hub = self.hub
        with ui.element("section").classes("panel compare").props('aria-label="Comparison"'):
            with ui.element("div").classes("heading"):
                self.heading = Text("h2")
                hub.live = Text("p").classes("live").props('aria-live="polite"')
            if hub.bench.is_image:
                sources = hub.frame(None)
                hub.view = Pictures(
                    [{"key": key, "title": title, "alt": alt, "src": sources[key]} for key, (title, alt) in _PICTURES.items()]
                )
            else:
                hub.view = Bars(hub.frame(None), hub.bench.ranges, hub.bench.classes)

    def _views(self, samples: Samples) -> None:
        hub = self.hub
        with ui.element("section").classes("panel views").props('aria-label="More to do with the sample"'):
            with ui.tabs().props("dense no-caps align=left inline-label narrow-indicator") as tabs:
                names = ["Transfer", "Generate", "Grid", "Interpolate", *(["Truth"] if hub.bench.data.truth else [])]
                found = {name: ui.tab(name) for name in names}
                for name, tab in found.items():
                    explain(tab, name)
            with ui.tab_panels(tabs, value="Transfer", animated=False).props("keep-alive"):
                with ui.tab_panel(found["Transfer"]):
                    views.transfer(hub, samples)
                with ui.tab_panel(found["Generate"]):
                    views.Generate(hub, samples)
                with ui.tab_panel(found["Grid"]):
                    views.Grid(hub)
                with ui.tab_panel(found["Interpolate"]):
                    views.Interpolate(hub, samples)
                if "Truth" in found:
                    with ui.tab_panel(found["Truth"]):
                        views.Truths(hub)

    # -- taking it away -----------------------------------------------------------------------------------------------

    async def copy_command(self) -> None:
        """The command that makes the same edit."""
        text = await self.hub.ask(self.hub.session.command)
        if text == "":
            self.hub.warn("a generated sample has no name on the command line; copy the Python lines instead")
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

    async def save_record(self) -> None:
        """The record alone."""
        found = await self.hub.ask(self.hub.session.record_json)
        if found is not None:
            ui.download.content(found, "edit.json", "application/json")


def picture(bench: Workbench, row: int) -> bytes:
    """A sample of the data as PNG, for the gallery."""
    return frames.png(bench.data.samples([row])[0], level=6)
