"""Mini-batches: complete, reproducible, resumable, shared between ranks."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labelspace.data.batches import Batch, Batches
from labelspace.data.dataset import Dataset
from labelspace.data.splits import Split, random_splits
from labelspace.labels import Schema, binary, continuous

SCHEMA = Schema([binary("on"), continuous("level")])


def numbered(n: int = 23, x: np.ndarray | None = None) -> Dataset:
    """A data set whose sample i holds i in every entry and label."""
    x = np.repeat(np.arange(n, dtype=np.float32)[:, None], 3, 1) if x is None else x
    values = np.stack([np.arange(n) % 2, np.arange(n)], 1).astype(np.float32)
    observed = np.stack([np.ones(n, bool), np.arange(n) % 3 != 0], 1)
    splits: dict[Split, np.ndarray] = {"train": np.arange(n), "val": np.arange(2), "test": np.arange(2)}
    return Dataset("numbered", x, np.where(observed, values, 0).astype(np.float32), observed, SCHEMA, splits)


def numbers(batches: list[Batch]) -> list[list[int]]:
    return [batch.x.flatten(1)[:, 0].int().tolist() for batch in batches]


def epoch(batches: Batches) -> list[list[int]]:
    return numbers(list(batches))


@given(st.integers(1, 40), st.integers(1, 50), st.booleans(), st.integers(0, 2), st.integers(0, 5))
def test_every_sample_comes_exactly_once_an_epoch(n: int, size: int, shuffle: bool, prefetch: int, seed: int):
    batches = Batches(numbered(n), "train", size, shuffle=shuffle, prefetch=prefetch, seed=seed)
    for _ in range(2):
        found = epoch(batches)
        assert sorted(i for batch in found for i in batch) == list(range(n))
        assert len(found) == len(batches)
        assert all(len(batch) == size for batch in found[:-1])
        assert 1 <= len(found[-1]) <= size
    assert batches.state_dict() == {"epoch": 2, "position": 0}


def test_the_last_batch_may_be_one_sample():
    found = list(Batches(numbered(9), "train", 4))
    assert [len(batch) for batch in found] == [4, 4, 1]
    assert found[-1].x.shape == (1, 3)
    assert found[-1].values.shape == found[-1].observed.shape == (1, 2)


def test_labels_stay_with_their_samples():
    data = numbered()
    for batch in Batches(data, "train", 5):
        rows = batch.x[:, 0].long().numpy()
        assert batch.x.dtype == batch.values.dtype == torch.float32
        assert batch.observed.dtype == torch.bool
        np.testing.assert_array_equal(batch.values.numpy(), data.values[rows])
        np.testing.assert_array_equal(batch.observed.numpy(), data.observed[rows])


def test_only_the_split_is_walked():
    data = replace(numbered(), splits=random_splits(23, 0))
    for split in ("train", "val", "test"):
        assert sorted(chain(*epoch(Batches(data, split, 4)))) == data.rows(split).tolist()


def test_an_unshuffled_epoch_has_the_order_of_the_split():
    batches = Batches(numbered(7), "train", 3, shuffle=False)
    assert epoch(batches) == epoch(batches) == [[0, 1, 2], [3, 4, 5], [6]]


def test_the_order_follows_seed_and_epoch():
    one, same, other = (Batches(numbered(), "train", 5, seed=seed) for seed in (1, 1, 2))
    first = [epoch(one), epoch(one), epoch(one)]
    assert first == [epoch(same), epoch(same), epoch(same)]
    assert first[0] != first[1] != first[2]
    assert epoch(other) != first[0]


def test_an_epoch_can_be_entered_directly():
    walked, jumped = Batches(numbered(), "train", 5), Batches(numbered(), "train", 5)
    for _ in range(3):
        epoch(walked)
    jumped.load_state_dict({"epoch": 3, "position": 0})
    assert epoch(jumped) == epoch(walked)


@given(st.integers(0, 10), st.integers(0, 2), st.integers(0, 2))
def test_a_saved_position_continues_exactly(stop: int, prefetch: int, prefetch_after: int):
    whole = Batches(numbered(), "train", 5, seed=3)
    expected = epoch(whole) + epoch(whole)
    interrupted = Batches(numbered(), "train", 5, seed=3, prefetch=prefetch)
    seen: list[Batch] = []
    while len(seen) < stop:
        for batch in interrupted:
            seen.append(batch)
            if len(seen) == stop:
                break
    state = interrupted.state_dict()
    resumed = Batches(numbered(), "train", 5, seed=3, prefetch=prefetch_after)
    resumed.load_state_dict(state)
    rest: list[list[int]] = []
    while len(seen) + len(rest) < len(expected):
        rest += epoch(resumed)
    assert numbers(seen) + rest == expected


def test_breaking_off_an_epoch_and_going_on_skips_nothing():
    batches = Batches(numbered(), "train", 5)
    seen: list[Batch] = []
    for batch in batches:
        seen.append(batch)
        if len(seen) == 2:
            break
    assert sorted(chain(*numbers(seen), *epoch(batches))) == list(range(23))
    assert batches.epoch == 1


@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 4), st.booleans())
def test_ranks_share_every_batch(n: int, size: int, world: int, shuffle: bool):
    whole = epoch(Batches(numbered(n), "train", size, shuffle=shuffle))
    shares = []
    for rank in range(world):
        batches = Batches(numbered(n), "train", size, shuffle=shuffle, rank=rank, world=world, prefetch=0)
        # a rank without a sample of its own gets a stand-in, and says so
        shares.append([numbers([batch])[0][: batches.own] for batch in batches if len(batch) == max(1, batches.own)])
    assert all(len(share) == len(whole) for share in shares)
    for parts in zip(whole, *shares, strict=True):
        batch, *pieces = parts
        assert sorted(chain(*pieces)) == sorted(batch)
        assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


@pytest.mark.parametrize("prefetch", [1, 2, 50])
def test_prefetching_changes_nothing(prefetch: int):
    plain = list(Batches(numbered(), "train", 5, prefetch=0))
    ahead = list(Batches(numbered(), "train", 5, prefetch=prefetch))
    for one, other in zip(plain, ahead, strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.values, other.values)
        assert torch.equal(one.observed, other.observed)


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_an_error_while_gathering_reaches_the_consumer(prefetch: int):
    data = numbered()
    rows = np.arange(23)
    rows[12] = 10_000
    batches = Batches(replace(data, splits={**data.splits, "train": rows}), "train", 5, shuffle=False, prefetch=prefetch)
    seen: list[Batch] = []

    def walk() -> None:
        for batch in batches:
            seen.append(batch)

    with pytest.raises((IndexError, RuntimeError), match="range"):
        walk()
    assert numbers(seen) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_no_thread_is_left_behind():
    before = set(threading.enumerate())
    for stop in (1, 2, 3, 100):
        for i, _ in enumerate(Batches(numbered(), "train", 2, prefetch=2), 1):
            if i == stop:
                break
    assert set(threading.enumerate()) <= before


def test_bytes_become_floats_between_zero_and_one():
    x = np.repeat(np.arange(256, dtype=np.uint8), 4).reshape(256, 1, 2, 2)
    batch = next(iter(Batches(numbered(256, x), "train", 256, shuffle=False)))
    assert batch.x.dtype == torch.float32
    torch.testing.assert_close(batch.x[:, 0, 0, 0], torch.arange(256) / 255)
    assert x.max() == 255


def test_floats_are_kept():
    x = np.linspace(-3, 300, 23 * 3, dtype=np.float32).reshape(23, 3)
    batch = next(iter(Batches(numbered(23, x), "train", 23, shuffle=False)))
    assert torch.equal(batch.x, torch.from_numpy(x))


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_changing_a_batch_does_not_change_the_data(tmp_path: Path, kind: Any):
    np.save(tmp_path / "x.npy", np.ones((10, 1, 4, 4), kind))
    content = (tmp_path / "x.npy").read_bytes()
    for mode in (None, "r", "r+"):
        x = np.load(tmp_path / "x.npy", mmap_mode=mode)
        for batch in Batches(numbered(10, x), "train", 10):
            batch.x.zero_()
            batch.values.zero_()
        assert (x == 1).all()
        assert (tmp_path / "x.npy").read_bytes() == content


@pytest.mark.parametrize("part", [slice(5, 15), slice(None, None, 2)])
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_part_of_a_mapped_file_gives_the_samples_of_that_part(tmp_path: Path, part: slice, mode: Any):
    np.save(tmp_path / "x.npy", np.arange(20, dtype=np.uint8).repeat(4).reshape(20, 1, 2, 2))
    x = np.load(tmp_path / "x.npy", mmap_mode=mode)[part]
    batch = next(iter(Batches(numbered(len(x), x), "train", 20, shuffle=False)))
    np.testing.assert_array_equal(batch.x.mul(255).round().numpy(), x)


def test_read_only_memory_is_read_without_a_warning():
    x = np.arange(23 * 3, dtype=np.float32).reshape(23, 3)
    x.flags.writeable = False
    assert len(epoch(Batches(numbered(23, x), "train", 5))) == 5


FIRST_BATCH = """
import resource
import sys

import numpy as np

from labelspace.data.batches import Batches
from labelspace.data.dataset import Dataset
from labelspace.labels import Schema

x, rows, none = np.load(sys.argv[1], mmap_mode="r"), np.arange(4000), np.zeros((4000, 0), np.float32)
data = Dataset("mapped", x, none, none.astype(bool), Schema([]), dict.fromkeys(("train", "val", "test"), rows))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
iterator = iter(Batches(data, "train", 8, prefetch=1))
assert next(iterator).x.shape == (8, 4, 128, 128)
iterator.close()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems count memory in other units")
def test_a_mapped_file_is_not_copied_whole(tmp_path: Path, alone: Callable[..., str]):
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (4000, 4, 128, 128))  # 262 MB that are never written
    del x
    assert int(alone(FIRST_BATCH, tmp_path / "x.npy")) < 100_000  # kB


def test_a_batch_stays_itself_on_the_cpu():
    batch = next(iter(Batches(numbered(), "train", 5)))
    assert batch.to(torch.device("cpu")) is batch
    assert len(batch) == 5


@given(st.integers(3, 200), st.integers(0, 5))
def test_random_splits_are_disjoint_complete_and_reproducible(n: int, seed: int):
    splits, again = random_splits(n, seed), random_splits(n, seed)
    rows = np.concatenate(list(splits.values()))
    assert sorted(rows.tolist()) == list(range(n))
    assert all(len(part) >= 1 for part in splits.values())
    assert all(np.array_equal(splits[name], again[name]) for name in splits)


# -- rare labels ------------------------------------------------------------------------------------------------------


def rarely_labelled(n: int = 60, labelled: int = 3) -> Dataset:
    data = numbered(n)
    observed = np.zeros_like(data.observed)
    observed[:labelled] = True
    return replace(data, observed=observed)


def test_rare_labels_fill_a_share_of_each_batch_beside_one_pass_over_all_samples():
    batches = Batches(rarely_labelled(), "train", 10, labelled=0.2, prefetch=0)
    found = epoch(batches)
    assert len(found) == len(batches) == 8  # 60 samples, 8 of their own in each batch of 10
    assert all(sum(i < 3 for i in batch[-2:]) == 2 for batch in found)  # the last two are labelled ones
    own = [i for batch in found for i in batch[:-2]]
    assert sorted(own) == list(range(60))
    extra = [i for batch in found for i in batch[-2:]]
    assert max(extra.count(i) for i in range(3)) - min(extra.count(i) for i in range(3)) <= 1


def test_filled_batches_go_on_where_they_were_stopped():
    whole = epoch(Batches(rarely_labelled(), "train", 10, labelled=0.3, seed=4, prefetch=0))
    again = Batches(rarely_labelled(), "train", 10, labelled=0.3, seed=4, prefetch=0)
    again.load_state_dict({"epoch": 0, "position": 3})
    assert epoch(again) == whole[3:]


@pytest.mark.parametrize(("labelled", "share"), [(60, 0.2), (0, 0.2), (12, 0.2), (3, 0.0)])
def test_batches_are_left_alone_where_labels_are_common_absent_or_no_share_is_asked(labelled: int, share: float):
    plain = epoch(Batches(rarely_labelled(labelled=labelled), "train", 10, prefetch=0))
    assert epoch(Batches(rarely_labelled(labelled=labelled), "train", 10, labelled=share, prefetch=0)) == plain


def test_the_order_of_a_split_is_never_filled():
    assert epoch(Batches(rarely_labelled(), "train", 10, shuffle=False, labelled=0.2, prefetch=0))[0] == list(range(10))
