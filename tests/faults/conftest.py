"""A trained run to damage, made once and copied for every test."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import torch

import labelspace as ls
from labelspace.data.dataset import Dataset
from labelspace.training import loop
from labelspace.training.fit import Fitted

OPTIONS = {"epochs": 3, "batch_size": 64}


def train(data: Dataset, home: Path, **options) -> Fitted:
    """A small training, the same every time."""
    torch.manual_seed(0)
    return ls.fit(ls.build("lsvae", data), data, out=home, **{**OPTIONS, **options})


@pytest.fixture(autouse=True)
def _every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every epoch, however short it is."""
    monkeypatch.setattr(loop, "_WRITING", math.inf)


@pytest.fixture(scope="session")
def roll() -> Dataset:
    return ls.open("swiss-roll:n=300")


@pytest.fixture(scope="session")
def whole(roll: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run; nobody writes to it."""
    home = tmp_path_factory.mktemp("whole") / "run"
    train(roll, home)
    return home


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of the uninterrupted run."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


@pytest.fixture(scope="session")
def trained():
    """:func:`train`: tests are no package that it could be imported from."""
    return train
