"""What tests of commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from labelspace.cli import main


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Asserts that a command ends with exit code 2 and one line that says what was wrong, with these words in it."""

    def check(arguments: list[str], *said: str) -> None:
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        assert code == 2, captured.err
        last = captured.err.strip().splitlines()[-1]
        for part in said:
            assert part in last
        assert "Traceback" not in captured.err
        assert captured.out == ""

    return check


@pytest.fixture
def strict() -> Callable[[str], Any]:
    """Reads JSON as other programs do: without NaN and Infinity."""

    def refuse(name: str):
        raise AssertionError(f"{name} is not JSON")

    return lambda text: json.loads(text, parse_constant=refuse)
