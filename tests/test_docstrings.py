"""Examples in docstrings of the public surface run as they stand."""

from __future__ import annotations

import doctest
import inspect
import sys
from typing import Any

import pytest
import torch

import labelspace as ls
from labelspace import interventions

PUBLIC = {name: getattr(ls, name) for name in ls.__all__ if name != "interventions"}
PUBLIC |= {f"interventions.{name}": getattr(interventions, name) for name in interventions.__all__}


def has_example(what: Any) -> bool:
    """Whether it, or a method of it, has one."""
    methods = vars(what).values() if inspect.isclass(what) else ()
    parts = [what, *(part for part in methods if isinstance(part, classmethod | property) or inspect.isfunction(part))]
    return any(">>>" in (getattr(part, "__doc__", None) or "") for part in parts)


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """What examples take for granted: a data set, and a model that was trained on it."""
    data = ls.open("moons:n=200")
    torch.manual_seed(0)
    return {"ls": ls, "data": data, "model": ls.fit(ls.build("condvae", data), data, epochs=1, progress=False).model}


@pytest.mark.parametrize("name", [name for name, what in PUBLIC.items() if has_example(what)])
def test_examples_of_docstrings_run(name: str, known: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    what = PUBLIC[name]
    names = vars(sys.modules[what.__module__])
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
    tests = [test for test in finder.find(what, name, globs={**names, **known}) if test.examples]
    assert tests
    for test in tests:
        runner.run(test)
    assert runner.failures == 0, capsys.readouterr().out


def test_what_people_call_has_an_example() -> None:
    called = ["open", "Dataset", "build", "fit", "open_run", "save", "effects", "Callback"]
    others = {"Intervention", "Labels", "Record", "encode_all"}
    called += [f"interventions.{name}" for name in interventions.__all__ if name not in others]
    assert [name for name in called if not has_example(PUBLIC[name])] == []
