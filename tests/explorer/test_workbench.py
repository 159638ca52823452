"""What all tabs share: how a sample stands among the data, what blocks leak, and a search that is proposed."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from labelspace import errors
from labelspace.blocks import Block, Blocks
from labelspace.evaluation import kept
from labelspace.explorer.session import Session
from labelspace.explorer.uploads import read_upload
from labelspace.explorer.workbench import Workbench
from labelspace.labels import Schema, binary, continuous
from labelspace.models.aggregate import AggregatePosterior


def test_the_search_that_is_proposed_finds_something(vectors: str, things: str, session_of: Callable[..., Session]) -> None:
    for session in (session_of("lsvae", vectors), session_of("lsvae", things, labels=("kind", "on", "size"))):
        assert len(session.bench.search(session.bench.example))


@pytest.mark.parametrize("name", ["test:-1", "test:x", "test:" + "9" * 5000, "nowhere:0", "test:²"])
def test_a_sample_that_is_not_there(name: str, vectors: str, session_of: Callable[..., Session]) -> None:
    with pytest.raises(errors.UserError, match="there is no sample"):
        session_of("lsvae", vectors).bench.row(name)


def test_strangers_do_not_see_where_files_lie(vectors: str, things: str, session_of: Callable[..., Session]) -> None:
    assert session_of("lsvae", vectors).bench.address == "npz:made.npz"
    bench = session_of("lsvae", things, labels=("kind", "on")).bench
    assert bench.address == "table:things.csv"


def test_distances_to_training_codes_are_in_their_deviations() -> None:
    schema = Schema([binary("on"), continuous("size", 10.0, 2.0)])
    blocks = Blocks([Block("z", 2), Block("w.on", 2, "on"), Block("w.size", 1, "size")])
    known = AggregatePosterior(blocks, schema)
    assert known.distance("z", torch.zeros(3, 2)).isnan().all()  # nothing was measured yet
    factor = torch.tensor([[2.0, 0.0], [1.0, 0.5]])
    known.get_buffer("mean_0").copy_(torch.tensor([1.0, -1.0]))
    known.get_buffer("factor_0").copy_(factor)
    away = torch.tensor([[0.0, 0.0], [3.0, 0.0], [1.0, 1.0]])
    found = known.distance("z", torch.tensor([1.0, -1.0]) + away @ factor.T)
    torch.testing.assert_close(found, away.square().mean(1).sqrt())
    known.get_buffer("mean_1").copy_(torch.tensor([[0.0, 0.0], [10.0, 0.0]]))
    known.get_buffer("scale_1").copy_(torch.tensor([[1.0, 1.0], [2.0, 2.0]]))
    found = known.distance("w.on", torch.tensor([[1.0, 1.0], [10.0, 4.0]]))
    torch.testing.assert_close(found, torch.tensor([1.0, 2**0.5]))  # to the value that is nearest
    known.get_buffer("line_2").copy_(torch.tensor([[0.0], [1.0]]))
    known.get_buffer("scale_2").copy_(torch.tensor([0.5]))
    found = known.distance("w.size", torch.tensor([[-1.0], [0.25], [2.0]]), (8.0, 12.0))  # from -1 to 1 on the line
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 2.0]), atol=0.1, rtol=0)


def test_the_leak_of_a_block_is_one_word(things: str, run_of: Callable[..., Path], tmp_path: Path) -> None:
    home = tmp_path / "run"
    shutil.copytree(run_of("lsvae", things, labels=("kind", "on")), home)

    def leak(found: object, block: str):
        (home / "evaluation.json").write_text(json.dumps(found))
        return Workbench.open(home).leak(block)

    def read(value: float) -> dict:
        score = {"balanced_accuracy": {"value": value, "low": value, "high": value, "n": 9}}
        return {"draws": score, "means": score}

    measured = {"kind": {"chance": 0.0, "free": read(0.05)}, "on": {"chance": 0.5, "free": read(0.6), "other.kind": read(0.9)}}
    found = kept.marked(home, {"leakage": measured})
    free, kind = leak(found, "z"), leak(found, "w.kind")
    assert free is not None
    assert free.word == "little"
    assert "reads on off this block, 20%" in free.about
    assert kind is not None
    assert kind.word == "strong"
    assert leak(found, "w.on") is None  # no probe was trained on it
    assert leak({**found, "model": "of other weights"}, "z") is None
    for damaged in ([], kept.marked(home, {}), {**found, "leakage": {"on": {"free": 3}}}, {**found, "leakage": [1]}):
        assert leak(damaged, "z") is None


def test_transparency_that_is_lost_is_said() -> None:
    pixels = np.full((16, 16, 4), 255, np.uint8)
    for least, notes in ((255, 0), (10, 1)):
        pixels[3, 3, 3] = least
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        with errors.hearing() as heard:
            read_upload(buffer.getvalue(), (3, 16, 16))
        assert len(heard) == notes
        with errors.hearing() as heard:
            read_upload(buffer.getvalue(), (4, 16, 16))
        assert not heard


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_model_that_reconstructs_nothing_says_so(
    share: float, pictures: str, session_of: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = session_of("lsvae", pictures).bench
    x = bench.data.samples(bench.cloud)
    middle = x.mean(0)
    errors_ = lambda part, labels: ((1 - share) * (part - middle)).flatten(1).square()  # noqa: E731
    monkeypatch.setattr(bench, "_errors_of", errors_)
    _, explained = bench._spread()
    assert explained == pytest.approx(share, abs=1e-3)
    monkeypatch.setattr(bench, "explained", explained)
    assert bool(bench.remark) == (share == 0.0)
