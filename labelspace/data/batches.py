"""Mini-batches: one vectorised gather a batch, prefetched by a thread, with a position that can be saved."""

from __future__ import annotations

import mmap
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from labelspace.data.dataset import Dataset, as_float
from labelspace.data.splits import Split


@dataclass(frozen=True)
class Batch:
    """Samples ``x (n, *shape)`` in float32 with label ``values`` and ``observed``, both ``(n, labels)``.

    ``complete`` is whether all labels are observed; known before a batch is on a GPU, where to ask would wait for the device.
    """

    x: Tensor
    values: Tensor
    observed: Tensor
    complete: bool = field(default=None, kw_only=True)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.complete is None:
            object.__setattr__(self, "complete", bool(self.observed.all()))

    def __len__(self) -> int:
        return len(self.x)

    @property
    def known(self) -> Tensor | None:
        """``observed``, or None where all labels are."""
        return None if self.complete else self.observed

    def to(self, device: torch.device) -> Batch:
        move = device.type != "cpu"
        moved = (t.to(device, non_blocking=True) for t in (self.x, self.values, self.observed))
        return Batch(*moved, complete=self.complete) if move else self


class Batches:
    """Batches of one split, an epoch at a time.

    The order of an epoch depends on the seed and the epoch's number alone, so ``(epoch, position)`` is the whole state.
    With several ranks every rank walks the same order and takes its share of each batch. The last batch of an epoch may
    be smaller, down to one sample; a rank for which none is left gets the first as a stand-in, and has ``own`` 0.

    Where labels are rare, batches are filled up with labelled samples: a part of each batch is drawn from those that have any
    label, in turn, so that every step hears of labels. An epoch is still one pass over all samples.

    Args:
        data: the data set.
        split: which split.
        batch_size: samples a batch, over all ranks.
        shuffle: a new order each epoch, or the order of the split.
        seed: seed of the orders.
        rank, world: this process among how many.
        prefetch: batches gathered ahead; 0 gathers in the caller's thread.
        pin: gather into page-locked memory, for copies to a GPU.
        labelled: the least share of labelled samples in a shuffled batch; no effect where more of the samples have labels.
    """

    def __init__(
        self,
        data: Dataset,
        split: Split,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        prefetch: int = 2,
        pin: bool = False,
        labelled: float = 0.0,
    ) -> None:
        self.rows = data.rows(split)
        found = self.rows[data.observed[self.rows].any(axis=1)] if labelled else self.rows
        rare = shuffle and 0 < len(found) < labelled * len(self.rows)
        # of each batch, so many samples are drawn from the labelled ones
        self.extra = min(round(labelled * batch_size), batch_size - 1) if rare else 0
        self._labelled = found
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.world, self.prefetch, self.pin = rank, world, prefetch, pin
        self.epoch = 0
        self.position = 0
        # torch gathers rows several times faster than numpy; the tensor shares the array's (or the file's) memory.
        array = data.x if data.x.flags.writeable else _read_only(data.x)
        self._x = torch.from_numpy(array)
        self._values, self._observed = torch.from_numpy(data.values), torch.from_numpy(data.observed)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.rows) // (self.batch_size - self.extra))

    @property
    def size(self) -> int:
        """Samples of the batch that came last, over all ranks."""
        drawn = self.batch_size - self.extra
        return min(drawn, len(self.rows) - (self.position - 1) * drawn) + self.extra

    @property
    def own(self) -> int:
        """Samples of the batch that came last that are this rank's."""
        return len(range(self.rank, self.size, self.world))

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.position = int(state["epoch"]), int(state["position"])

    def __iter__(self) -> Iterator[Batch]:
        """The rest of the current epoch; at its end the next epoch is current."""
        order = self.rows
        if self.shuffle:
            order = self.rows[np.random.default_rng([self.seed, self.epoch]).permutation(len(self.rows))]
        own = self.batch_size - self.extra
        batches = (order[s : s + own] for s in range(self.position * own, len(order), own))
        if self.extra:
            batches = self._filled(batches)
        gathered = (self._gather(rows[self.rank :: self.world] if self.rank < len(rows) else rows[:1]) for rows in batches)
        for batch in _ahead(gathered, self.prefetch) if self.prefetch else gathered:
            self.position += 1
            yield batch
        self.epoch, self.position = self.epoch + 1, 0

    def _filled(self, batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Batches with labelled samples added, in an order that depends on the seed and the epoch alone."""
        order = self._labelled[np.random.default_rng([self.seed, self.epoch, 1]).permutation(len(self._labelled))]
        for position, rows in enumerate(batches, self.position):
            turn = (position * self.extra + np.arange(self.extra)) % len(order)
            yield np.concatenate([rows, order[turn]])

    def _gather(self, rows: np.ndarray) -> Batch:
        index = torch.from_numpy(rows)
        x = self._x.index_select(0, index)
        # Convolutions want channels last; bytes are turned before they become four times as many.
        x = as_float(x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x)
        batch = Batch(x, self._values.index_select(0, index), self._observed.index_select(0, index))
        pinned = (t.pin_memory() for t in (batch.x, batch.values, batch.observed))
        return Batch(*pinned, complete=batch.complete) if self.pin else batch


def _read_only(array: np.ndarray) -> np.ndarray:
    """A view that torch takes without its warning about read-only memory; nothing here writes to it."""
    if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap) and array.flags.c_contiguous:
        # The whole mapping: mode "c" maps the same pages, copy on write; the file can never change through it.
        return np.memmap(str(array.filename), array.dtype, "c", array.offset, array.shape)
    return array.copy()


def _ahead(items: Iterator[Batch], depth: int) -> Iterator[Batch]:
    """Draws from an iterator in a thread, up to ``depth`` items ahead."""
    ready: queue.Queue = queue.Queue(depth)
    stop = threading.Event()

    def work() -> None:
        try:
            for item in items:
                while not stop.is_set():
                    try:
                        ready.put((item, None), timeout=0.1)
                        break
                    except queue.Full:
                        continue
                if stop.is_set():
                    return
            ready.put((None, None))
        except BaseException as error:  # handed to the consumer, which raises it
            ready.put((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        stop.set()
        while not ready.empty():
            ready.get_nowait()
        thread.join()
