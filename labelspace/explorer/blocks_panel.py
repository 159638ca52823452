"""The right side of the page: every label with its value, and the chosen block as a map."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from nicegui import ui

from labelspace.explorer import charts, workbench
from labelspace.explorer.hub import Hub
from labelspace.explorer.parts import LatentMap, Reading, Readings, Slide, Text, explain
from labelspace.explorer.steps import Redraw, SetLabel
from labelspace.labels import Label
from labelspace.maps import PCA, TSNE

_FEW, _LONG = 4, 32  # values of a label that get a button each, and letters of all of them
_PREDICTED, _UNKNOWN = "predicted", "not known"


class BlocksPanel:
    """Labels and blocks.

    Args:
        hub: the tab.
        block: the block that is shown first; the first one of a label where there is none of this name.
        colour: the label or column that points are coloured by; empty for what suits the block.
        root: the path below which a proxy shows the page.
        method: how a block of more than two coordinates is shown, "PCA" or "t-SNE".
    """

    def __init__(self, hub: Hub, block: str = "", colour: str = "", root: str = "", method: str = PCA) -> None:
        self.hub, self.root = hub, root
        blocks = hub.bench.model.blocks
        first = next((b.name for b in blocks if b.label), blocks[0].name)
        self.block = block if block in [b.name for b in blocks] else first
        names = charts.colourings(hub.bench.data)
        self.colour = colour if colour in names else ""  # none chosen: what suits the block
        self.every = False  # whether all samples are drawn, and not a part of them
        self.method = PCA  # of blocks of more than two coordinates
        self._rows: dict[str, dict[str, Any]] = {}
        self.on_shown: Callable[[], object] = lambda: None  # after another block is shown
        with ui.element("section").classes("panel blocks").props('aria-label="Labels and latent blocks"'):
            explain(Text("h2", "Labels and latent blocks"), "latent block")
            for remark in filter(None, (*hub.bench.model.remarks(), hub.bench.remark)):
                Text("p", f"{remark}.").classes("remark")
            state = hub.session.state
            hub.readings = Readings(hub.session.reading(hub.session.x, state.codes))
            with hub.readings:
                for label in hub.bench.model.schema:
                    self._label_row(label)
                for free in blocks.free:
                    self._row(free.name, free.name, f"{free.size} coordinates of everything else", free.name)
            with ui.element("div").classes("map-box"):
                with ui.element("div").classes("heading"):
                    self.title = Text("h3")
                    self.leak = ui.element("a").classes("leak").props("target=_blank")
                self.map = LatentMap(self.moved)
                self.map.draw(*self._drawing())
                self.legend = ui.element("div").classes("legend")
                with ui.element("div").classes("tools"):
                    for name, act in (("Back to its own", self.back), ("Draw anew", self.redraw)):
                        explain(ui.button(name, on_click=act).props("outline dense"), name)
                    with ui.element("div").classes("shows"):
                        options = {"": "own label", **{name: name for name in names}}
                        self.colouring = ui.select(options, value=self.colour, label="Colours", on_change=self.recolour)
                        self.colouring.props("dense outlined options-dense").classes("colouring").set_visibility(bool(names))
                        n = min(len(hub.bench.gallery), workbench.CROWD)
                        self.all = ui.switch(f"All {n:,}", on_change=self.recolour).classes("every")
                        explain(self.all, "all samples")
                        self.mapping = ui.select([PCA, TSNE], value=PCA, label="Map by", on_change=self.recolour)
                        self.mapping.props("dense outlined options-dense").classes("mapping")
                        explain(self.mapping, "map by")
        if method == TSNE:  # which takes a while: the page does not wait for it
            ui.timer(0.1, lambda: self.mapping.set_value(TSNE), once=True)
        self._legend()
        hub.on_change.append(self.refresh)
        self.refresh()

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _label_row(self, label: Label) -> None:
        block = next((b.name for b in self.hub.bench.model.blocks if b.label == label.name), None)
        self._row(label.name, label.name, "", block, label)

    def _row(self, key: str, name: str, about: str, block: str | None, label: Label | None = None) -> None:
        with ui.element("div").classes("entry") as row:
            if block is None:
                Text("span", name).classes("row-name")
            else:
                button = Text("button", name).classes("row-name").props("type=button")
                button.props["aria-label"] = f"Map of {name}"
                button.on("click", lambda: self.choose(block))
            with ui.element("div").classes("control"):
                control = self._control(label) if label is not None else None
                if label is not None:
                    Reading(label.name)
                status = Text("span", about).classes("status")
        self._rows[key] = {"row": row, "block": block, "label": label, "control": control, "status": status, "about": about}

    def _control(self, label: Label) -> Any:
        if not label.discrete:
            low, high, counts = self.hub.bench.histogram(label.name)

            async def slid(value: float | None, final: bool, number: int) -> None:
                await self.slide(label, value, final, number)

            return Slide(label.name, low, high, counts, None, slid)
        if len(label.values) <= _FEW and sum(map(len, label.values)) <= _LONG:
            with ui.element("div").classes("values").props("role=group") as group:
                group.props["aria-label"] = label.name
                buttons = {}
                for text in label.values:
                    button = Text("button", text).classes("value").props("type=button")
                    button.props["aria-label"] = f"{label.name} {text}"
                    button.on("click", lambda text=text: self.set(label, label.format(label.parse(text))))
                    buttons[text] = button
            return buttons
        box = ui.select(list(label.values)).props("dense outlined options-dense").classes("choice")
        box.props["aria-label"] = label.name
        box.on("update:model-value", lambda: self.set(label, box.value))
        return box

    def refresh(self) -> None:
        """Shows the session's values, statuses and handle."""
        session = self.hub.session
        for key, row in self._rows.items():
            label, control, status = row["label"], row["control"], row["status"]
            note = session.status(key) or (session.status(row["block"]) if row["block"] else "")
            if label is not None:
                value, known = session.value(label.name)
                self._show_value(label, control, value)
                note = note or ("" if known else _UNKNOWN if value is None else _PREDICTED)
            status.set_text(note or row["about"])
            changed = bool(note) and note not in (_PREDICTED, _UNKNOWN)
            _mark(row["row"], "changed", changed)
            _mark(row["row"], "chosen", row["block"] == self.block)
        self.map.place(*self._places())

    def _show_value(self, label: Label, control: Any, value: Any) -> None:
        if isinstance(control, dict):
            for text, button in control.items():
                on = value is not None and text == str(value)
                button.props(f"aria-pressed={'true' if on else 'false'}")
                _mark(button, "on", on)
        elif label.discrete:
            control.set_value(None if value is None else str(value))
        else:
            control.show(value)

    async def slide(self, label: Label, value: float | None, final: bool, number: int) -> None:
        """A number was chosen, or is on the way."""
        if value is None:
            self.refresh()
        elif not final:
            await self.hub.preview(lambda: SetLabel(label.name, value), number)
        elif not await self.hub.apply(lambda: SetLabel(label.name, value), number):
            self.refresh()

    async def set(self, label: Label, value: Any) -> None:
        """A value was chosen."""
        if value is None:
            return
        await self.hub.apply(lambda: SetLabel(label.name, value))

    # -- the map ------------------------------------------------------------------------------------------------------

    @property
    def chart(self) -> charts.Chart:
        """The block as it is drawn now."""
        bench = self.hub.bench
        names = bench.data.schema.names
        suits = bench.model.blocks.named(self.block).label or (names[0] if names else None)
        by_pca = bench.chart(self.block, self.colour or suits, self.every)
        if self.method == PCA or not by_pca.method:
            return by_pca
        return bench.chart(self.block, self.colour or suits, method=self.method)

    def _places(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Where the edit is on the map, and the sample without it."""
        session, chart = self.hub.session, self.chart
        return chart.locate(session.state.codes[self.block]), chart.locate(session.base.codes[self.block])

    def _drawing(self) -> tuple[dict[str, Any], tuple[float, ...], tuple[float, ...], str]:
        block = self.hub.bench.model.blocks.named(self.block)
        about = f"Position in {block.name}" + (f", the block of {block.label}" if block.label else ", a free block")
        return self.chart.to_dict(), *self._places(), about

    async def choose(self, block: str) -> None:
        """Another block is shown."""
        if block not in [b.name for b in self.hub.bench.model.blocks]:  # what a browser sends may be anything
            return
        self.block = block
        found = await self.hub.ask(self._drawing)
        if found is not None:
            self.map.draw(*found)
            self._legend()
            self.refresh()
            self.on_shown()
        elif self.method != PCA:  # there is no other map
            self.method = PCA
            self.mapping.set_value(PCA)

    async def recolour(self) -> None:
        """Other colours are wanted, other samples, or another method."""
        before, self.method = self.method, str(self.mapping.value)
        self.colour, self.every = str(self.colouring.value or ""), bool(self.all.value)
        if self.method == before:
            await self.choose(self.block)
            return
        self.hub.say(f"drawing by {self.method}" + (", which takes some seconds" if self.method == TSNE else ""))
        await self.choose(self.block)
        self.hub.say(f"map by {self.method}")

    def _legend(self) -> None:
        block = self.hub.bench.model.blocks.named(self.block)
        chart = self.chart
        size = f"{block.size} coordinate{'s' if block.size > 1 else ''}"
        method = f", by {chart.method}" if chart.method else ""
        self.title.set_text(f"{block.name}: {size}{'' if block.label else ', free'}{method}")
        self.mapping.set_visibility(bool(chart.method))
        n = min(len(self.hub.bench.gallery), workbench.CROWD)
        self.all.set_visibility(n > len(self.hub.bench.cloud) and chart.method != TSNE)
        leak = self.hub.bench.leak(self.block)
        self.leak.set_visibility(leak is not None or self.hub.bench.report is not None)
        self.leak.clear()
        with self.leak:
            Text("span", f"leak: {leak.word}" if leak else "leak: not measured")
            ui.tooltip(leak.about if leak else "labelspace evaluate RUN measures what other blocks tell of labels")
        self.leak.props["href"] = f"{self.root}/report#leakage" if self.hub.bench.report is not None else None
        self.leak.classes(replace=f"leak {leak.word if leak else ''}")
        self.legend.clear()
        with self.legend:
            if chart.anchors is not None:
                Text("span", "The block is the label's own value: slide between values.")
                return
            if chart.colours:
                Text("span", f"{chart.colour_label}:")
            for name, colour in chart.colours:
                with ui.element("span").classes("key"):
                    ui.element("i").style(f"background:{colour}")
                    Text("span", name)
            if chart.method == TSNE:
                Text("span", "A sample stands among the codes nearest to its own; drag on the map by PCA.").classes("key quiet")
            else:
                explain(Text("span", "outlines: priors, one and two deviations").classes("key quiet"), "prior")

    async def moved(self, event: dict[str, Any]) -> None:
        """The handle moved: its picture on the way, or a step when it was let go of."""
        block, point, number = event["block"], event["point"], event["number"]  # the block may not be shown any more
        if block not in [b.name for b in self.hub.bench.model.blocks]:  # what a browser sends may be anything
            return

        def step() -> Any:
            return self.hub.session.point_step(block, point)

        if event["final"]:
            if not await self.hub.apply(step, number):
                self.map.draw(*self._drawing())  # the handle goes back
        else:
            await self.hub.preview(step, number)

    async def back(self) -> None:
        """The block goes back to the sample's own code."""
        await self.hub.reset(self.block)

    async def redraw(self) -> None:
        """The block is drawn from where training codes lie."""
        seed = random.randrange(10_000)
        await self.hub.apply(lambda: Redraw(self.block, seed))


def _mark(element: ui.element, name: str, on: bool) -> None:
    """Gives an element a class, or takes it away."""
    element.classes(add=name if on else None, remove=None if on else name)
