"""Shared set-up: few threads, no writes outside temporary directories, and hypothesis without deadlines."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "tests",
    deadline=None,
    max_examples=50,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "labelspace-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABELSPACE_CACHE", str(home))
        yield


@pytest.fixture(scope="session")
def program() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a file of the repository, "benchmarks/letters.py" say, that is in no package."""
    loaded = []

    def load(path: str) -> ModuleType:
        name = path.removesuffix(".py").replace("/", "_")
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / path)
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


@pytest.fixture(scope="session")
def fonts(program: Callable[[str], ModuleType]) -> ModuleType:
    """``tests/fonts.py``."""
    return program("tests/fonts.py")
