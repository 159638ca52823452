"""What the panel makes of moves that a browser sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest

pytest.importorskip("nicegui")

from labelspace.explorer.blocks_panel import BlocksPanel
from labelspace.explorer.session import Session
from labelspace.explorer.steps import MoveBlock


def panel_of(session: Session, refuse: bool = False) -> tuple[BlocksPanel, list]:
    """A panel without a page, which shows the free block; and what was drawn again."""

    async def apply(step, number: int) -> bool:
        if not refuse:
            session.apply(step())
        return not refuse

    drawn: list = []
    panel = BlocksPanel.__new__(BlocksPanel)
    panel.hub = SimpleNamespace(session=session, bench=session.bench, apply=apply)  # type: ignore[assignment]
    panel.block, panel.colour, panel.every, panel.method = "z", "", False, "PCA"
    panel.map = SimpleNamespace(draw=lambda *given: drawn.append(given))  # type: ignore[assignment]
    return panel, drawn


def test_a_point_is_of_the_block_whose_map_was_shown(vectors: str, session_of: Callable[..., Session]) -> None:
    session = session_of("lsvae", vectors)
    panel, drawn = panel_of(session)
    asyncio.run(panel.moved({"block": "w.on", "point": [0.5, 0.25], "final": True, "number": 1}))
    assert [applied.step for applied in session.steps] == [MoveBlock("w.on", (0.5, 0.25))]
    asyncio.run(panel.moved({"block": "w.other", "point": [0.5, 0.25], "final": True, "number": 2}))
    assert len(session.steps) == 1
    assert not drawn


def test_the_handle_goes_back_after_a_refused_move(vectors: str, session_of: Callable[..., Session]) -> None:
    session = session_of("lsvae", vectors)
    panel, drawn = panel_of(session, refuse=True)
    asyncio.run(panel.moved({"block": "z", "point": [9.0, 9.0], "final": True, "number": 1}))
    assert [given[1] for given in drawn] == [session.where("z")]
