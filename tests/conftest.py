"""Shared set-up: one thread, no writes outside temporary directories, the same noise for every test in whatever order."""

from __future__ import annotations

import gc
import importlib.util
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from labelspace import models
from labelspace.data import sources
from labelspace.evaluation import judge, readers
from labelspace.models.base import Model

settings.register_profile(
    "tests",
    deadline=None,
    max_examples=50,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")


ROOT = Path(__file__).parents[1]


def seed() -> None:
    """Libraries' own generators begin anew."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and "browser" in item.fixturenames:
            item.add_marker("browser")


def pytest_fixture_setup(fixturedef: pytest.FixtureDef) -> None:
    if fixturedef.scope != "function":  # what tests share does not depend on which of them came first
        seed()


@pytest.fixture(autouse=True)
def _own_noise() -> None:
    seed()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Here, and in processes that are started from here."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("LABELSPACE_QUIET", "1")  # hundreds of small trainings
        yield


@pytest.fixture(scope="session")
def listening() -> Callable[[Model], Model]:
    """Gives a model a decoder whose pictures follow blocks from the start: one that is not trained, or on noise, has none."""

    def given(model: Model) -> Model:
        decoder = model.get_submodule("decoder")
        next(layer for layer in decoder.modules() if isinstance(layer, torch.nn.Linear)).reset_parameters()
        return model

    return given


@pytest.fixture(scope="session", autouse=True)
def _interrupts_are_heard() -> None:
    """Shells let what runs in the background ignore interrupts, and programs that tests start would inherit it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _no_garbage_yet() -> None:
    gc.freeze()  # what was imported is none: looking for garbage is quick


@pytest.fixture(scope="module", autouse=True)
def _own_garbage() -> Iterator[None]:
    """Files that were left open are found in the module that opened them."""
    yield
    gc.collect()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "labelspace-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABELSPACE_CACHE", str(home))
        yield


@pytest.fixture(scope="module")
def hasty_readers() -> Iterator[None]:
    """For modules that ask what is read off codes, and not how well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "_PASSES", 1)
        yield


@pytest.fixture(scope="module")
def hasty(hasty_readers: None) -> Iterator[None]:
    """For modules that ask that a judge is there, too, and not how well it reads: both take most of the time of a page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "_STEPS", 30)
        yield


@pytest.fixture(scope="session")
def program() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a file of the repository, "benchmarks/letters.py" say, that is in no package."""
    loaded = []

    def load(path: str) -> ModuleType:
        name = path.removesuffix(".py").replace("/", "_")
        spec = importlib.util.spec_from_file_location(name, ROOT / path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look there
        loaded.append(name)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in loaded:
        sys.modules.pop(name, None)


@pytest.fixture
def own_model(program: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``examples/own_model.py``; what it registers is forgotten after the test."""
    for registry in (models.OWN, sources.OWN):
        monkeypatch.setattr(registry, "_added", {})
    return program("examples/own_model.py")


@pytest.fixture(scope="session")
def fonts(program: Callable[[str], ModuleType]) -> ModuleType:
    """``tests/fonts.py``."""
    return program("tests/fonts.py")


@pytest.fixture(scope="session")
def alone() -> Callable[..., str]:
    """Runs Python text in a process of its own, where what is measured of a process is its own; returns what it printed."""

    def run(code: str, *arguments: object) -> str:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def violations() -> Callable[..., list[str]]:
    """What Deque's axe-core finds wrong on a page, or inside of one of its elements (a selector in quotes).

    Tooltips and menus hang outside of the page's landmarks, as Quasar puts them.
    """
    found = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    script = (Path(found.__path__[0]) / "axe.min.js").read_text()

    def find(page: Any, inside: str = "document") -> list[str]:
        if not page.evaluate("'axe' in window"):
            page.evaluate(script)
        seen = page.evaluate(f"axe.run({inside}, {{resultTypes: ['violations'], rules: {{region: {{enabled: false}}}}}})")
        nodes = [(rule, node) for rule in seen["violations"] for node in rule["nodes"]]
        return [f"{rule['id']}: {node['html'][:160]} {node['failureSummary']}" for rule, node in nodes]

    return find
