"""The pages under the comparison: transfer, generate, grid, interpolate, and the truth."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from nicegui import ui
from PIL import Image
from torch import Tensor

from labelspace.explorer import frames, many
from labelspace.explorer.hub import Hub
from labelspace.explorer.parts import Gallery, Text, whole
from labelspace.explorer.samples import Samples
from labelspace.explorer.session import animation
from labelspace.explorer.steps import Sample, short
from labelspace.explorer.workbench import Workbench
from labelspace.reporting.pictures import tile

_ANY = "any"
_STEPS = (5, 7, 9)
_NEAREST = 8
_MOST_SEED = 2**32 - 1


def transfer(hub: Hub, samples: Samples) -> None:
    """A donor's way of having a label."""
    with ui.element("div").classes("view split"):
        donor_box(hub, samples)
        with ui.element("div").classes("stack"):
            Text("p", "Take the donor's block of a label and keep everything else.").classes("hint")
            with ui.element("div").classes("takes"):
                for block in hub.bench.model.blocks:
                    if block.label is not None:
                        _take_button(hub, block.label)
            if not any(block.label for block in hub.bench.model.blocks):
                Text("p", "This model keeps no label in a block of its own.").classes("hint")


def _take_button(hub: Hub, label: str) -> None:
    async def take() -> None:
        if await hub.change(lambda: hub.session.transfer(label)):
            hub.say(hub.session.steps[-1].step.about)

    ui.button(f"Take {label}", on_click=take).props("outline dense")


def donor_box(hub: Hub, samples: Samples) -> None:
    """The donor, and how to choose one."""
    with ui.element("div").classes("donor"):
        picture = ui.element("img").props('alt="The donor"') if hub.bench.is_image else None
        name = Text("span").classes("hint")
        ui.button("Choose a donor", on_click=lambda: samples.role.set_value("donor")).props("flat dense")

    shown: Sample | None = None

    def refresh() -> None:
        nonlocal shown
        donor = hub.session.donor
        if donor is shown and donor is not None:
            return
        shown = donor
        if donor is None:
            name.set_text("No donor yet: switch the gallery to Donor and click one.")
        else:
            values = hub.bench.values(donor.row) if donor.row is not None else {}
            known = ", ".join(f"{label} {short(value)}" for label, value in values.items() if value is not None)
            name.set_text(f"{donor.name}{': ' if known else ''}{known}")
        if picture is not None:
            picture.set_visibility(donor is not None)
            if donor is not None:
                picture.props["src"] = frames.url(frames.png(donor.x))
                picture.update()

    hub.on_change.append(refresh)
    refresh()


class Generate:
    """Samples under labels."""

    def __init__(self, hub: Hub, samples: Samples) -> None:
        self.hub, self.samples, self.chosen = hub, samples, 0
        self._values: dict[str, Any] = {}
        model = hub.bench.model
        with ui.element("div").classes("view stack"):
            with ui.element("div").classes("form"):
                for label in model.schema if model.labelled else ():
                    if label.discrete:
                        box: Any = ui.select([_ANY, *label.values], value=_ANY, label=label.name)
                        box.props("options-dense")
                    else:
                        box = ui.number(label.name, placeholder=_ANY, format="%.4g")
                    self._values[label.name] = box.props("dense outlined").classes("field")
                self.n = ui.number("How many", value=8, min=1, max=64, format="%d").props("dense outlined").classes("field")
                self.seed = ui.number("Seed", value=0, min=0, format="%d").props("dense outlined").classes("field")
                ui.button("Draw", on_click=self.draw)
            with ui.element("div").classes("form"):
                self.block = ui.select([b.name for b in model.blocks], value=model.blocks[0].name, label="Block")
                self.block.props("dense outlined options-dense").classes("field")
                ui.button("Draw this block anew", on_click=self.redraw).props("outline dense")
                ui.button("Edit the chosen one", on_click=self.open).props("outline dense")
            self.gallery = Gallery("Generated samples", hub.bench.is_image, self.choose, "Choose labels and draw.")
            self.gallery.classes("drawn")

    async def choose(self, index: int) -> None:
        """One of the drawn samples was clicked."""
        self.chosen = index
        self.gallery.mark(self.chosen)

    async def _fill(self, draw: Callable[[], Any]) -> None:
        def work() -> list[dict[str, Any]]:
            done = draw()
            texts = [
                ", ".join(f"{name} {short(values[i])}" for name, values in done.record.target.items())
                for i in range(len(done.x))
            ]
            items = self.hub.items(done.x, [f"drawn {i + 1}" for i in range(len(done.x))])
            return [{**item, "text": "; ".join(filter(None, (texts[i], item["text"])))} for i, item in enumerate(items)]

        items = await self.hub.ask(work)
        if items is not None:
            self.gallery.fill(items)
            self.chosen = min(self.chosen, len(items) - 1)
            self.gallery.mark(self.chosen)
            self.hub.say(f"{len(items)} samples drawn")

    async def draw(self) -> None:
        """Draws samples under the chosen labels."""
        schema = self.hub.bench.model.schema
        asked = {name: box.value for name, box in self._values.items() if box.value not in (_ANY, None)}
        n, seed = whole(self.n, 0, 10**6), whole(self.seed, 0, _MOST_SEED)  # how many may be drawn, the session knows
        await self._fill(
            lambda: self.hub.session.generate(
                {name: schema[name].format(schema[name].parse(value)) for name, value in asked.items()}, n, seed
            )
        )

    async def redraw(self) -> None:
        """Draws one block of the samples anew."""
        block, seed = str(self.block.value), random.randrange(10_000)
        await self._fill(lambda: self.hub.session.redraw_generated(block, seed))

    async def open(self) -> None:
        """Goes on with one of the drawn samples."""
        if await self.hub.change(lambda: self.hub.session.open_drawn(self.chosen)):
            self.hub.say(f"{self.hub.session.sample.name} chosen")


class Grid:
    """A walk through one or two coordinates of a block."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        blocks = hub.bench.model.blocks
        first = next((b for b in blocks if b.label), blocks[0])
        with ui.element("div").classes("view split"):
            with ui.element("div").classes("form narrow"):
                self.block = ui.select([b.name for b in blocks], value=first.name, label="Block", on_change=self._coordinates)
                self.down = ui.select([0], value=0, label="Down")
                self.across = ui.select([0], value=0, label="Across")
                self.span = ui.select({"data": "the data", "prior": "the prior"}, value="data", label="Where")
                self.steps = ui.select(list(_STEPS), value=7, label="Steps")
                for box in (self.block, self.down, self.across, self.span, self.steps):
                    box.props("dense outlined options-dense").classes("field")
                self.block.classes("wide")
                ui.button("Draw the grid", on_click=self.draw).classes("wide")
            self.out = ui.element("div").classes("sheet")
        self._coordinates()

    def _coordinates(self) -> None:
        """The two coordinates of the block in which the data vary most are offered first."""
        anchors = self.hub.bench.chart(self.block.value).anchors
        codes = self.hub.bench.codes[self.block.value] if anchors is None else anchors  # beside a value may be flags
        spread = codes.std(0)
        order = [c for c in spread.argsort(descending=True).tolist() if c == int(spread.argmax()) or float(spread[c]) > 0]
        options: dict[Any, str] = {c: str(c + 1) for c in sorted(order)}
        self.down.set_options(options, value=order[0])
        self.across.set_options({None: "none", **options}, value=order[1] if len(order) > 1 else None)

    async def draw(self) -> None:
        """Draws the grid from the edited sample."""
        block, down, across = self.block.value, self.down.value, self.across.value
        steps, span = int(self.steps.value), str(self.span.value)
        coordinates = [down] if across is None else [down, across]
        done = await self.hub.ask(lambda: self.hub.session.grid(block, coordinates, steps, span))
        if done is None:
            return
        axes = done.record.options["axes"]
        ends = [f"{axis[0]:.2f} to {axis[-1]:.2f}" for axis in axes]
        words = [f"{block} {c + 1}, {end}" for c, end in zip(coordinates, ends, strict=True)]
        x = done.x if len(coordinates) == 2 else done.x[:, None]
        self.out.clear()
        with self.out:
            if self.hub.bench.is_image:
                sheet(x, f"Grid through {block}")
            else:
                table(self.hub.bench, x.flatten(0, -2))
            Text("p", "Downwards: " + "; across: ".join(words)).classes("hint")
        self.hub.say(f"grid through {block} drawn")


class Interpolate:
    """A walk from the edited sample to the donor, as an animation."""

    def __init__(self, hub: Hub, samples: Samples) -> None:
        self.hub, self.content = hub, b""
        blocks = hub.bench.model.blocks
        with ui.element("div").classes("view split"):
            donor_box(hub, samples)
            with ui.element("div").classes("form slim"):
                options = {"": "all blocks", **{b.name: f"only {b.name}" for b in blocks}}
                self.blocks = ui.select(options, value="", label="What moves")
                self.steps = ui.select([8, 12, 16, 24], value=12, label="Steps")
                for box in (self.blocks, self.steps):
                    box.props("dense outlined options-dense").classes("field")
                ui.button("Walk to the donor", on_click=self.draw)
            self.out = ui.element("div").classes("sheet")

    async def draw(self) -> None:
        """Makes the walk."""
        steps, chosen = int(self.steps.value), [self.blocks.value] if self.blocks.value else None

        def work() -> tuple[Tensor, bytes]:
            x = self.hub.session.interpolate(steps, chosen).x
            return x, animation(x) if self.hub.bench.is_image else b""

        done = await self.hub.ask(work)
        if done is None:
            return
        x, self.content = done
        self.out.clear()
        with self.out:
            if self.content:
                source = "data:image/gif;base64," + base64.b64encode(self.content).decode()
                ui.element("img").props(f'src="{source}" alt="Walk from the edit to the donor"').classes("walk")
                save = lambda: ui.download.content(self.content, "walk.gif", "image/gif")  # noqa: E731
                ui.button("Save the animation", on_click=save).props("outline dense")
            else:
                table(self.hub.bench, x)
        self.hub.say(f"walk of {steps} steps drawn")


class Several:
    """The steps of the edit, done to all samples that the gallery has found."""

    def __init__(self, hub: Hub, samples: Samples) -> None:
        self.hub, self.samples = hub, samples
        with ui.element("div").classes("view stack"):
            self.about = Text("p").classes("hint")
            with ui.element("div").classes("form"):
                kinds = many.formats(hub.bench.is_image)
                self.kind = ui.select(kinds, value=next(iter(kinds)), label="As")
                self.kind.props("dense outlined options-dense").classes("kind")
                self.go = ui.button("Edit them all", on_click=self.edit)
            self.out = ui.element("div").classes("sheet")
        hub.on_change.append(self.refresh)
        hub.on_found.append(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Says what would be done."""
        steps = ", ".join(a.step.about for a in self.hub.session.steps)
        n = self.samples.n
        self.about.set_text(
            f"{steps}: done to all that the gallery has found ({n:,}; its search narrows them), as a file to take away."
            if steps
            else f"Make an edit; its steps can then be done to all that the gallery has found ({n:,}; its search narrows them)."
        )
        self.go.set_enabled(bool(steps) and n > 0)

    async def edit(self) -> None:
        """Edits them, hands over the file, and says what the model reads in them now."""
        get, n, kind = self.samples.get, self.samples.n, str(self.kind.value)
        done = await self.hub.ask(lambda: many.edit(self.hub.session, get, n, kind))
        if done is None:
            return
        ui.download.content(done.content, done.name)
        self.out.clear()
        with self.out:
            if done.read:
                read = ", ".join(f"{name} {share:.0%}" for name, share in done.read.items())
                Text("p", f"The model reads another value than before in this share of them: {read}.").classes("hint")
        self.hub.say(f"edited: {done.n:,}")


def beside(hub: Hub, hint: str, name: str, alt: str, find: Callable[[], tuple[str, Tensor, list[str], str]]) -> None:
    """Samples that are asked for to compare the edit with; they are gone when it changes.

    Args:
        hub: the tab.
        hint: what they are.
        name: of the button that asks for them.
        alt: what a picture of one is.
        find: finds them: what they tell of the edit, the samples, what each is, and what is said when they are there.
    """

    async def show() -> None:
        if (found := await hub.ask(find)) is None:
            return
        verdict, x, names, said = found
        out.clear()
        with out:
            Text("p", verdict).set_visibility(bool(verdict))
            if not hub.bench.is_image:
                table(hub.bench, x, names)
            else:
                with ui.element("div").classes("truths"):
                    for caption, one in zip(names, x, strict=True):
                        with ui.element("figure").classes("truth"):
                            ui.element("img").props(f'alt="{alt}"').props["src"] = frames.url(frames.png(one))
                            Text("figcaption", caption)
        hub.say(said)

    with ui.element("div").classes("view stack"):
        Text("p", hint).classes("hint")
        ui.button(name, on_click=show).props("outline dense")
        out = ui.element("div").classes("sheet")
    hub.on_change.append(out.clear)


def nearest(hub: Hub) -> None:
    """The training samples that are nearest to the edit."""
    bench = hub.bench

    def find() -> tuple[str, Tensor, list[str], str]:
        near = bench.neighbours.of(hub.session.x, _NEAREST)
        names = [f"{bench.name(row)}, {away:.3g} away" for row, away in zip(near.rows, near.distances, strict=True)]
        return near.verdict, bench.data.samples(list(near.rows)), names, "nearest training samples found"

    hint = (
        "Is the edit new, or remembered? Pictures are compared at 16 x 16 pixels, columns of a table in standard deviations; "
        "how near is usual is told by reconstructions of samples that were held back."
    )
    beside(hub, hint, "Find the nearest training samples", "A training sample", find)


def truth(hub: Hub) -> None:
    """The true counterfactuals of generated data."""

    def find() -> tuple[str, Tensor, list[str], str]:
        true = hub.session.truth()
        return "", true.x, [f"{true.title}: {style}" for style in true.styles], f"truth of {true.title} drawn"

    hint = (
        "These data were drawn from known factors, so what a sample truly is with one label changed can be drawn, too: one for "
        "each style that the new value has."
    )
    beside(hub, hint, "Draw the truth of this edit", "The true picture", find)


def sheet(x: Tensor, alt: str) -> None:
    """A grid of images ``(rows, columns, channels, height, width)`` as one picture."""
    pixels = tile(x if x.shape[2] in (1, 3, 4) else x.mean(2, keepdim=True))
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    factor = max(1, round(560 / max(picture.size)))
    large = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)
    ui.image(large).props("no-spinner fit=contain").classes("tiles").props["alt"] = alt


def table(bench: Workbench, x: Tensor, names: Sequence[str] = ()) -> None:
    """Vectors ``(n, d)`` as a table, one a row, with their names if there are any; of very long ones the entries that differ
    most."""
    shown = list(range(x.shape[1]))
    if len(shown) > 12:
        shown = sorted(np.argsort(-x.std(0).nan_to_num().numpy())[:12].tolist())
    with ui.element("div").classes("bars").props('tabindex=0 role="region" aria-label="Values"'), ui.element("table"):
        with ui.element("tr"):
            if names:
                Text("td")
            for i in shown:
                Text("th", bench.features[i])
        for row, one in enumerate(x.tolist()):
            with ui.element("tr"):
                if names:
                    Text("th", names[row])
                for i in shown:
                    Text("td", bench.text(i, one[i]))
