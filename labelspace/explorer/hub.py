"""What the parts of a page share: the session, its renderer, and the way from an edit to a new picture."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from nicegui import ui
from torch import Tensor

from labelspace import errors
from labelspace.errors import UserError
from labelspace.explorer import frames
from labelspace.explorer.parts import Bars, Contact, Pictures, Readings, Text
from labelspace.explorer.render import Renderer
from labelspace.explorer.session import Session
from labelspace.explorer.steps import Step
from labelspace.explorer.workbench import Workbench
from labelspace.interventions import Intervention

T = TypeVar("T")


class Sheet(Protocol):
    """Other samples that follow the edit, where they are looked at."""

    shown: bool

    def frame(self, step: Step | None = None) -> dict[str, Any]: ...

    @property
    def sheet(self) -> Contact: ...


@dataclass(frozen=True)
class Frame:
    """What is shown of a state.

    Attributes:
        pictures: the comparison: addresses by key, or rows.
        read: what the model reads in it; None where that takes too long.
        sheet: the samples that follow; None where nobody looks at them.
    """

    pictures: Any
    read: dict[str, Any] | None
    sheet: dict[str, Any] | None


class Hub:
    """One tab: parts of the page change the session through it, and are told when it changed.

    Args:
        bench: the run.
        address: address of a sample's picture, by its row.
        uploads: address that files of this tab are sent to.

    Attributes:
        used: when the tab was used last.
        takes: what is done with the name and the content of a file, by what kind of upload it is.
    """

    def __init__(self, bench: Workbench, address: Callable[[int], str], uploads: str = "") -> None:
        self.bench, self.address, self.uploads = bench, address, uploads
        self.session, self.renderer = Session(bench), Renderer()
        self.client = ui.context.client
        self.used = time.monotonic()
        self.takes: dict[str, Callable[[str, bytes], Awaitable[None]]] = {}
        self.view: Pictures | Bars | None = None
        self.readings: Readings | None = None
        self.live: Text | None = None
        self.sheet: Sheet | None = None
        self.on_change: list[Callable[[], Any]] = []  # after every change of the session
        self.on_found: list[Callable[[], Any]] = []  # after other samples were found
        self.client.on_delete(self.close)

    def close(self) -> None:
        """Ends the work for the tab; nothing of it is needed any more."""
        self.renderer.close()
        self.on_change.clear()
        self.on_found.clear()
        self.takes.clear()
        self.sheet = None

    # -- changes ------------------------------------------------------------------------------------------------------

    async def change(self, job: Callable[[], Any], number: int = 0) -> bool:
        """Does what changes the session, in order with all else, and shows what came of it; False when it was refused."""

        def work() -> Any:
            job()
            return self.frame(None)

        done = await self.ask(work)
        if done is None:
            return False
        self._show(done, number)
        for told in self.on_change:
            answer = told()
            if isinstance(answer, Awaitable):
                await answer
        return True

    async def apply(self, step: Callable[[], Step], number: int = 0) -> bool:
        """Does a step that is made when its turn comes, and says so to screen readers."""
        done = await self.change(lambda: self.session.apply(step()), number)
        if done and self.session.steps:
            self.say(self.session.steps[-1].step.about)
        return done

    async def undo(self) -> None:
        """Takes back the last step."""
        last = self.session.steps[-1].step.about if self.session.steps else "reset"
        if await self.change(self.session.undo):
            self.say(f"undone: {last}")

    async def redo(self) -> None:
        """Does again what was taken back."""
        if await self.change(self.session.redo):
            self.say(f"done again: {self.session.steps[-1].step.about if self.session.steps else 'reset'}")

    async def reset(self, block: str | None = None) -> None:
        """Takes back all steps, or those of a block."""
        if await self.change(lambda: self.session.reset(block)):
            self.say(f"{block} is back to its own" if block else "all edits taken back")

    async def preview(self, step: Callable[[], Step], number: int) -> None:
        """Shows what a step would lead to, unless another one is asked for meanwhile."""
        self.used = time.monotonic()

        def work() -> Any:
            with errors.hearing():  # it is said when the step is done
                made = step()
                return self.frame(self.session.preview(made), made)

        try:
            done = await self.renderer.show(work)
        except UserError as error:
            self.warn(error)
            return
        if done is not None:
            self._show(done, number)

    async def ask(self, job: Callable[[], T]) -> T | None:
        """Does something that takes a moment; None when it was refused, which the user is told."""
        self.used = time.monotonic()

        def work() -> tuple[T, list[str]]:
            with errors.hearing() as notes:
                return job(), notes

        try:
            done, notes = await self.renderer.run(work)
        except Exception as error:
            if (said := errors.told(error)) is None:
                self.warn("That did not work, and it is the explorer's fault: the terminal says where.")
                raise
            self.warn(said)
            return None
        for said in notes:
            self.warn(said)
        return done

    # -- pictures -----------------------------------------------------------------------------------------------------

    def frame(self, state: Intervention | None, step: Step | None = None) -> Frame:
        """What is shown of a state: in the comparison, of the session's own state (None) everything, of others what differs by
        them; what the model reads, where that is quick enough; and the samples that follow, where they are looked at.

        Args:
            state: the state.
            step: the one beyond the session's that led to it.
        """
        session, bench = self.session, self.bench
        x = session.x if state is None else state.x
        codes = session.state.codes if state is None else state.codes
        read = session.reading(x, codes, step) if state is None or bench.reads_quickly else None
        sheet = self.sheet.frame(step) if self.sheet is not None and self.sheet.shown else None
        return Frame(self._pictures(state, x), read, sheet)

    def _pictures(self, state: Intervention | None, x: Tensor) -> Any:
        session = self.session
        if not self.bench.is_image:
            return frames.rows(self.bench.features, session.sample.x, session.reconstruction, x, self.bench.data.variables)
        before = session.sample.x if session.keep_detail else session.reconstruction
        out = {"edit": frames.url(frames.png(x)), "difference": frames.url(frames.difference(x, before))}
        if state is None:
            out["original"] = frames.url(frames.png(session.sample.x))
            out["reconstruction"] = frames.url(frames.png(session.reconstruction))
            before, after = session.sample.large, session.large  # the pictures follow when the handle is let go of
            out["largeBefore"] = "" if before is None else frames.photograph(before)
            out["largeAfter"] = "" if after is None else frames.photograph(after)
        return out

    def items(self, x: Tensor, names: list[str]) -> list[dict[str, Any]]:
        """Samples ``(n, *shape)`` as items of a gallery."""
        if self.bench.is_image:
            return [{"id": i, "name": names[i], "text": "", "src": frames.url(frames.png(one))} for i, one in enumerate(x)]
        texts = [
            ", ".join(self.bench.text(i, v) for i, v in enumerate(one[:6].tolist())) + (", ..." if len(one) > 6 else "")
            for one in x
        ]
        return [{"id": i, "name": names[i], "text": text} for i, text in enumerate(texts)]

    def _show(self, frame: Frame, number: int) -> None:
        if self.view is None or self.client.is_deleted or self.view.is_deleted:
            return
        if frame.sheet is not None and self.sheet is not None:
            self.sheet.sheet.show(frame.sheet, number)
        self.view.show(frame.pictures, number)
        if frame.read is not None and self.readings is not None:
            self.readings.show(frame.read, number)

    # -- words --------------------------------------------------------------------------------------------------------

    def warn(self, problem: object) -> None:
        """Something that was refused, and why."""
        with self.client:
            ui.notify(str(problem), type="warning", multi_line=True, timeout=10_000, close_button="Close", position="bottom")

    def say(self, text: str) -> None:
        """For screen readers, and for the line under the pictures."""
        if self.live is not None:
            self.live.set_text(text)
