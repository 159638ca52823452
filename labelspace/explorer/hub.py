"""What the parts of a page share: the session, its renderer, and the way from an edit to a new picture."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from nicegui import ui
from torch import Tensor

from labelspace.errors import UserError
from labelspace.explorer import frames
from labelspace.explorer.parts import Bars, Pictures, Text
from labelspace.explorer.render import Renderer
from labelspace.explorer.session import Session
from labelspace.explorer.steps import Step
from labelspace.explorer.workbench import Workbench
from labelspace.interventions import Intervention

T = TypeVar("T")


class Hub:
    """One tab: parts of the page change the session through it, and are told when it changed.

    Args:
        bench: the run.
        address: address of a sample's picture, by its row.
    """

    def __init__(self, bench: Workbench, address: Callable[[int], str]) -> None:
        self.bench, self.address = bench, address
        self.session, self.renderer = Session(bench), Renderer()
        self.client = ui.context.client
        self.view: Pictures | Bars | None = None
        self.live: Text | None = None
        self.on_change: list[Callable[[], Any]] = []  # after every change of the session
        self.client.on_delete(self.renderer.close)

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

    async def preview(self, step: Callable[[], Step], number: int) -> None:
        """Shows what a step would lead to, unless another one is asked for meanwhile."""
        try:
            done = await self.renderer.show(lambda: self.frame(self.session.preview(step())))
        except UserError as error:
            self.warn(error)
            return
        if done is not None:
            self._show(done, number)

    async def ask(self, job: Callable[[], T]) -> T | None:
        """Does something that takes a moment; None when it was refused, which the user is told."""
        try:
            return await self.renderer.run(job)
        except UserError as error:
            self.warn(error)
            return None

    # -- pictures -----------------------------------------------------------------------------------------------------

    def frame(self, state: Intervention | None) -> Any:
        """What the comparison shows: of the session's own state (None) everything, of another one what differs by it."""
        session = self.session
        x = session.x if state is None else state.x
        if not self.bench.is_image:
            return frames.rows(self.bench.features, session.sample.x, session.reconstruction, x)
        before = session.sample.x if session.keep_detail else session.reconstruction
        out = {"edit": frames.url(frames.png(x)), "difference": frames.url(frames.difference(x, before))}
        if state is None:
            out["original"] = frames.url(frames.png(session.sample.x))
            out["reconstruction"] = frames.url(frames.png(session.reconstruction))
        return out

    def items(self, x: Tensor, names: list[str]) -> list[dict[str, Any]]:
        """Samples ``(n, *shape)`` as items of a gallery."""
        if self.bench.is_image:
            return [{"id": i, "name": names[i], "text": "", "src": frames.url(frames.png(one))} for i, one in enumerate(x)]
        texts = [", ".join(f"{v:.3g}" for v in one[:6].tolist()) + (", ..." if len(one) > 6 else "") for one in x]
        return [{"id": i, "name": names[i], "text": text} for i, text in enumerate(texts)]

    def _show(self, frame: Any, number: int) -> None:
        if self.view is not None and not self.client.is_deleted:
            self.view.show(frame, number)

    # -- words --------------------------------------------------------------------------------------------------------

    def warn(self, problem: object) -> None:
        """Something that was refused, and why."""
        with self.client:
            ui.notify(str(problem), type="warning", multi_line=True, timeout=8000, close_button="Close", position="bottom")

    def say(self, text: str) -> None:
        """For screen readers, and for the line under the pictures."""
        if self.live is not None:
            self.live.set_text(text)
