"""``labelspace demo``: what can be looked at while it trains. What it measures is tested in tests/evaluation/test_edits.py."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from labelspace.commands import demo
from labelspace.errors import UserError
from labelspace.storage import starters

notebook = pytest.importorskip("labelspace.explorer.notebook")


class Explorer:
    """Stands for one that runs."""

    url = "http://127.0.0.1:8080/"
    open = False

    def __enter__(self) -> Explorer:
        self.open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False


def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """To be called by a test itself: what stands for standard error is another while its fixtures are made."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)


@pytest.fixture
def explorer(monkeypatch: pytest.MonkeyPatch) -> Explorer:
    found = Explorer()
    monkeypatch.setattr(notebook, "explore", lambda run, browser: found)
    return found


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, explorer: Explorer) -> SimpleNamespace:
    """What the demo does stands for itself; ``seen`` is whether the explorer was open meanwhile."""
    found = SimpleNamespace(seen=None)
    monkeypatch.setattr(demo, "_demo", lambda given: setattr(found, "seen", explorer.open))
    return found


def test_a_trained_model_is_open_while_the_demo_trains(
    work: SimpleNamespace, explorer: Explorer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_terminal(monkeypatch)
    demo.demo(argparse.Namespace(json=False))
    assert work.seen
    assert not explorer.open
    assert explorer.url in capsys.readouterr().err


def test_programs_that_read_its_result_see_nothing_of_it(
    work: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_terminal(monkeypatch)
    demo.demo(argparse.Namespace(json=True))
    assert work.seen is False
    assert capsys.readouterr().err == ""


def test_without_a_terminal_a_line_says_how(work: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    demo.demo(argparse.Namespace(json=False))
    assert work.seen is False
    assert "labelspace explore demo:faces" in capsys.readouterr().err


def test_without_starters_a_line_says_how(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    at_terminal(monkeypatch)
    monkeypatch.setattr(starters, "available", dict)
    assert isinstance(demo.meanwhile(), nullcontext)
    said = capsys.readouterr().err
    assert starters.INSTALL in said
    assert "labelspace explore demo:faces" in said


def test_an_explorer_that_cannot_open_is_no_end(
    work: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(run: str, browser: bool) -> None:
        raise UserError("no port from 8080 to 8099 is free")

    at_terminal(monkeypatch)
    monkeypatch.setattr(notebook, "explore", fails)
    demo.demo(argparse.Namespace(json=False))
    assert work.seen is False
    assert "no port from 8080 to 8099 is free" in capsys.readouterr().err
