"""Parts of a model that are chosen for themselves: a label head that learns by heart keeps its best epoch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import labelspace as ls
from labelspace import saving
from labelspace.metrics import log_loss
from labelspace.models.lsvae import LSVAE
from labelspace.training.progress import Callback


class Watch(Callback):
    def __init__(self, stop_after: int = 0) -> None:
        self.head: list[float] = []
        self.scores: list[float] = []
        self.stop_after = stop_after

    def epoch(self, row: dict) -> None:
        self.head.append(sum(v for k, v in row["val"].items() if k.startswith("label_head.")) or row["val"]["label_head"])
        self.scores.append(row["score"])
        if self.stop_after and len(self.head) == self.stop_after:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def data():
    """Few samples with labels that only chance has to do with: a head can do no better than learn them by heart."""
    whole = ls.open("swiss-roll:n=120", seed=2)
    shuffled = whole.values[torch.randperm(len(whole), generator=torch.Generator().manual_seed(0)).numpy()]
    return replace(whole, values=shuffled)


def trained(data, out: Path | None = None, *, resume: bool = False, stop_after: int = 0):
    torch.manual_seed(0)
    model = ls.build("lsvae", data)
    watch = Watch(stop_after)
    fit = lambda: ls.fit(model, data, epochs=100, learning_rate=1e-2, out=out, resume=resume, callbacks=[watch])  # noqa: E731
    if stop_after:
        with pytest.raises(KeyboardInterrupt):
            fit()
    else:
        fit()
    return model, watch


def test_the_head_is_that_of_its_own_best_epoch(data, tmp_path: Path) -> None:
    model, watch = trained(data, tmp_path / "run")
    least = min(watch.head)
    assert watch.head[-1] > 1.2 * least, "it has learnt by heart, so that the choice matters"
    rows = data.rows("val")
    values, _ = data.labels(rows)
    assert isinstance(model, LSVAE)
    with torch.no_grad():
        said = model._head(model.likelihood.inputs(data.samples(rows)))  # at temperature 1
    assert float(-said.log_prob(values).mean()) == pytest.approx(least, rel=1e-4)
    probabilities = torch.stack([1 - (p := torch.sigmoid(model.predict(data.samples(rows)).parameters[:, 0])), p], 1)
    assert log_loss(probabilities.numpy(), values[:, 0].numpy()).value <= least + 1e-6
    again = saving.load(tmp_path / "run")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


def test_a_run_that_is_cut_off_remembers_it_and_ends_with_the_same_bits(data, tmp_path: Path) -> None:
    whole, watch = trained(data, tmp_path / "whole")
    best = watch.head.index(min(watch.head))
    trained(data, tmp_path / "cut", stop_after=min(best + 3, 59))
    again, _ = trained(data, tmp_path / "cut", resume=True)
    for (name, a), b in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
