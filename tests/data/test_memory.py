"""Image sets larger than memory: nothing asks for many of their samples at once, and nothing copies them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import labelspace
from labelspace.data.batches import Batches
from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.evaluation import judge
from labelspace.labels import Schema, binary

N, MOST = 6000, 1100


@pytest.fixture
def large(tmp_path: Path) -> Dataset:
    x = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.uint8, shape=(N, 1, 8, 8))
    x[:] = (np.arange(N) % 251)[:, None, None, None]
    x.flush()
    values = (np.arange(N) % 2)[:, None].astype(np.float32)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    schema = Schema([binary("odd")])
    keys = {"pair": (np.arange(N) // 2).astype(str)}
    return Dataset("large", mapped, values, np.ones((N, 1), bool), schema, random_splits(N, 0, (0.1, 0.4)), keys=keys)


def test_few_samples_are_asked_for_at_once(large: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LABELSPACE_CACHE", str(tmp_path / "cache"))
    asked: list[int] = []
    samples = Dataset.samples

    def counted(self: Dataset, rows):
        asked.append(len(rows))
        return samples(self, rows)

    monkeypatch.setattr(Dataset, "samples", counted)
    labelspace.build("vae", large)
    trained = judge.train(large, epochs=1)
    judge.accuracy(trained, large)
    assert sum(asked) > N // 4
    assert max(asked) <= MOST


def test_views_of_a_data_set_share_its_file(large: Dataset):
    views = [large.select(["odd"]), large.group("pair", 0), large.hide(0.5, 0), large.with_label_noise(0.1, 0), large.check()]
    assert all(view.x is large.x for view in views)
    assert large.describe()["range"] == [0.0, 1.0]
    batches = Batches(large, "train", 64, prefetch=0)
    assert isinstance(batches._x.numpy(), np.ndarray)
    address = batches._x.data_ptr()
    file = str(large.x.filename)  # type: ignore[attr-defined]
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if file in line]
    spans = [[int(end, 16) for end in line[0].split("-")] for line in maps]
    assert any(start <= address < end for start, end in spans)  # pages of the file, not memory of our own
